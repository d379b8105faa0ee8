//! A gRPC service of tonic and its client, written by hand: generated code would need protoc.

use super::Told;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http::uri::PathAndQuery;
use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tonic::body::Body;
use tonic::client::Grpc as Client;
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Channel;
use tonic::{Code, IntoStreamingRequest, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;
use tower_service::Service;

/// The message of every call.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Note {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) content: Bytes,
}

impl Note {
    pub(super) fn new(number: u64, length: usize) -> Self {
        Note { number, content: vec![b'n'; length].into() }
    }
}

type Codec = ProstCodec<Note, Note>;
type Answer = Result<Response<Note>, Status>;
type Notes = Pin<Box<dyn Stream<Item = Result<Note, Status>> + Send>>;
type Answers = Result<Response<Notes>, Status>;

/// The service.
///
/// | method | request | answer |
/// |---|---|---|
/// | `Echo` | a note | the note; `InvalidArgument` for the number 0 |
/// | `Wait` | a note | `DeadlineExceeded` at the deadline; never anything else |
/// | `List` | a note | that many copies of it |
/// | `Fail` | a note | that many copies of it, then `DataLoss` |
/// | `Endless` | a note | copies of it without end |
/// | `Sum` | notes | a note with the sum of the numbers, and all content |
/// | `Chat` | notes | each note, as soon as it arrives |
#[derive(Clone, Debug)]
pub(super) struct NoteService {
    told: UnboundedSender<Told>,
}

impl NamedService for NoteService {
    const NAME: &'static str = "notes.Notes";
}

impl NoteService {
    pub(super) fn new(told: UnboundedSender<Told>) -> Self {
        NoteService { told }
    }

    /// Tells that a handler has started, and later that it was dropped.
    fn presence(&self) -> Presence {
        // A test that waits for neither may have ended.
        let _ = self.told.send(Told::Started);
        Presence(self.told.clone())
    }

    async fn wait(self, request: Request<Note>) -> Answer {
        let _presence = self.presence();
        match deadline(request.metadata()) {
            Some(time) => tokio::time::sleep(time).await,
            None => pending().await,
        }
        Err(Status::deadline_exceeded("it took too long"))
    }

    async fn sum(self, request: Request<Streaming<Note>>) -> Answer {
        let (mut notes, mut sum) = (request.into_inner(), Note::default());
        let mut content = Vec::new();
        while let Some(note) = notes.message().await? {
            sum.number += note.number;
            content.extend_from_slice(&note.content);
        }
        sum.content = content.into();
        Ok(Response::new(sum))
    }

    async fn chat(self, request: Request<Streaming<Note>>) -> Answers {
        let presence = self.presence();
        let notes = request.into_inner().map(move |note| {
            let _ = &presence;
            note
        });
        Ok(Response::new(Box::pin(notes)))
    }

    async fn endless(self, request: Request<Note>) -> Answers {
        let presence = self.presence();
        let note = request.into_inner();
        let notes = stream::repeat_with(move || {
            let _ = &presence;
            Ok(note.clone())
        });
        Ok(Response::new(Box::pin(notes)))
    }
}

async fn echo(request: Request<Note>) -> Answer {
    let note = request.into_inner();
    if note.number == 0 {
        let mut metadata = MetadataMap::new();
        metadata.insert("hint", "count from 1".parse().expect("ASCII"));
        metadata.insert_bin("hint-bin", tonic::metadata::MetadataValue::from_bytes(&[0, 255]));
        let (message, details) = ("no number, 0 % \u{fc}\n", Bytes::from_static(b"\0details"));
        let code = Code::InvalidArgument;
        return Err(Status::with_details_and_metadata(code, message, details, metadata));
    }
    let mut response = Response::new(note);
    response.metadata_mut().insert("greeting", "hello".parse().expect("ASCII"));
    Ok(response)
}

async fn list(request: Request<Note>, last: Option<Status>) -> Answers {
    let note = request.into_inner();
    let count = note.number as usize;
    let notes = stream::repeat_with(move || Ok(note.clone())).take(count);
    Ok(Response::new(Box::pin(notes.chain(stream::iter(last.map(Err))))))
}

/// The time that the client gives, as gRPC writes it: a number and the letter of a unit.
fn deadline(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let nanoseconds = match unit {
        "S" => 1_000_000_000,
        "m" => 1_000_000,
        "u" => 1_000,
        "n" => 1,
        _ => return None,
    };
    Some(Duration::from_nanos(number.parse::<u64>().ok()? * nanoseconds))
}

impl Service<http::Request<Body>> for NoteService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        let mut grpc = Grpc::new(Codec::default());
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let (_, method) = path.rsplit_once('/').unwrap_or_default();
            Ok(match method {
                "Echo" => grpc.unary(service_fn(echo), request).await,
                "Wait" => grpc.unary(service_fn(|it| this.clone().wait(it)), request).await,
                "List" => grpc.server_streaming(service_fn(|it| list(it, None)), request).await,
                "Fail" => {
                    let status = Status::data_loss("the notes are lost");
                    let fail = service_fn(|it| list(it, Some(status.clone())));
                    grpc.server_streaming(fail, request).await
                }
                "Endless" => {
                    let endless = service_fn(|it| this.clone().endless(it));
                    grpc.server_streaming(endless, request).await
                }
                "Sum" => {
                    grpc.client_streaming(service_fn(|it| this.clone().sum(it)), request).await
                }
                "Chat" => grpc.streaming(service_fn(|it| this.clone().chat(it)), request).await,
                _ => Status::unimplemented(path).into_http(),
            })
        })
    }
}

/// A handler that runs.
struct Presence(UnboundedSender<Told>);

impl Drop for Presence {
    fn drop(&mut self) {
        let _ = self.0.send(Told::Dropped);
    }
}

/// The client.
#[derive(Clone)]
pub(super) struct Caller(Client<Channel>);

impl Caller {
    pub(super) fn new(channel: Channel) -> Self {
        Caller(Client::new(channel))
    }

    /// A client that is ready for a call, and the method's path.
    async fn ready(&self, method: &str) -> Result<(Client<Channel>, PathAndQuery), Status> {
        let path = format!("/{}/{method}", NoteService::NAME);
        let mut client = self.0.clone();
        let ready = client.ready().await;
        ready.map_err(|error| Status::unavailable(format!("the client is not ready: {error}")))?;
        Ok((client, path.parse().expect("a path")))
    }

    pub(super) async fn one(&self, method: &str, request: impl tonic::IntoRequest<Note>) -> Answer {
        let (mut client, path) = self.ready(method).await?;
        client.unary(request.into_request(), path, Codec::default()).await
    }

    pub(super) async fn many(&self, method: &str, note: Note) -> Result<Streaming<Note>, Status> {
        let (mut client, path) = self.ready(method).await?;
        let answer = client.server_streaming(Request::new(note), path, Codec::default()).await?;
        Ok(answer.into_inner())
    }

    pub(super) async fn upload(
        &self,
        method: &str,
        notes: impl IntoStreamingRequest<Message = Note>,
    ) -> Answer {
        let (mut client, path) = self.ready(method).await?;
        client.client_streaming(notes.into_streaming_request(), path, Codec::default()).await
    }

    pub(super) async fn chat(
        &self,
        notes: impl IntoStreamingRequest<Message = Note>,
    ) -> Result<Streaming<Note>, Status> {
        let (mut client, path) = self.ready("Chat").await?;
        let answer = client.streaming(notes.into_streaming_request(), path, Codec::default());
        Ok(answer.await?.into_inner())
    }
}

/// All messages of an answer, and the status at its end.
pub(super) async fn collect(mut answer: Streaming<Note>) -> (Vec<Note>, Result<(), Status>) {
    let mut notes = Vec::new();
    loop {
        match answer.message().await {
            Ok(Some(note)) => notes.push(note),
            Ok(None) => return (notes, Ok(())),
            Err(status) => return (notes, Err(status)),
        }
    }
}

/// A stream of one note for each number.
pub(super) fn numbered(
    numbers: std::ops::Range<u64>,
    length: usize,
) -> impl Stream<Item = Note> + Send + 'static {
    stream::iter(numbers).map(move |number| Note::new(number, length))
}
