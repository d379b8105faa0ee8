//! One request on its way through the application: the handler, then its answer's content.
//!
//! In: events of the connection. Out: actions on it. The handler is polled on the connection's own
//! task; it is boxed while it runs, and gone when its answer is complete.

use crate::body::{Body, BodyError, Upload};
use crate::clock;
use crate::service::{BoxError, Service};
use bytes::{Buf, Bytes};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode, response};
use http_body::Body as _;
use pin_project_lite::pin_project;
use portcullis::{Begun, BodyLength, Connection, Event, Misuse, RequestHead, StreamId, Tick};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The peer's address, among the request's extensions if the server was told to add it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

pin_project! {
    #[project = WorkProjection]
    enum Work<F, B> {
        Handling { #[pin] future: F },
        Answering { #[pin] answer: Answering<B> },
    }
}

pin_project! {
    struct Answering<B> {
        // Until it is sent.
        head: Option<response::Parts>,
        #[pin]
        body: B,
        // What came from the body and had no room yet.
        data: Bytes,
        trailers: Option<HeaderMap>,
        ended: bool,
    }
}

/// The application's side of a connection.
pub(crate) struct Exchange<S: Service<K>, K> {
    stream: Option<StreamId>,
    work: Option<Pin<Box<Work<S::Future, S::ResponseBody>>>>,
    upload: Option<Arc<Upload>>,
}

/// How far a step came.
enum Outcome {
    /// It waits: for the handler, for the content, or for room.
    Waits,
    /// The answer is complete, or can't be.
    Over,
}

impl<S: Service<K>, K> Exchange<S, K> {
    pub(crate) const fn new() -> Self {
        Exchange { stream: None, work: None, upload: None }
    }

    /// Whether a request is on its way.
    pub(crate) fn is_busy(&self) -> bool {
        self.work.is_some()
    }

    /// Takes in an event. A handler is called, and polled for the first time, within its event.
    pub(crate) fn on_event(
        &mut self,
        cx: &mut Context<'_>,
        now: Tick,
        connection: &mut Connection,
        event: Event<'_>,
        service: &S,
        peer: Option<SocketAddr>,
    ) {
        match event {
            Event::Request { stream, head } => {
                self.end(Err(BodyError::Closed));
                self.begin(now, connection, stream, &head, service, peer);
                self.poll(cx, now, connection);
            }
            Event::Data { data, .. } => {
                if let Some(upload) = &self.upload {
                    upload.push(Bytes::copy_from_slice(data));
                }
            }
            Event::End { trailers, .. } => {
                if let Some(upload) = &self.upload {
                    upload.end(Ok(trailers.to_http()));
                }
            }
            Event::Reset { reason, .. } => {
                if let Some(upload) = &self.upload {
                    upload.end(Err(BodyError::Reset(reason)));
                }
            }
            // The next poll sees the room.
            _ => {}
        }
    }

    fn begin(
        &mut self,
        now: Tick,
        connection: &mut Connection,
        stream: StreamId,
        head: &RequestHead<'_>,
        service: &S,
        peer: Option<SocketAddr>,
    ) {
        let request = match head.to_http() {
            Ok(request) => request,
            Err(refusal) => {
                // The stream is alive: it was delivered just now.
                let _ = connection.refuse(now, stream, refusal);
                return;
            }
        };
        let length = head.content_length();
        let body = if length == Some(0) {
            Body::empty()
        } else {
            let upload = Arc::<Upload>::default();
            self.upload = Some(upload.clone());
            Body::new(upload, length)
        };
        let mut request = request.map(|()| body);
        if let Some(peer) = peer {
            request.extensions_mut().insert(PeerAddress(peer));
        }
        self.stream = Some(stream);
        self.work = Some(Box::pin(Work::Handling { future: service.call(request) }));
    }

    /// Lets the application work as far as it can.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Tick, connection: &mut Connection) {
        let (Some(stream), Some(mut work)) = (self.stream, self.work.take()) else { return };
        let mut link = Link { now, connection, stream, upload: self.upload.as_deref() };
        match work.as_mut().poll_work(cx, &mut link) {
            Outcome::Waits => self.work = Some(work),
            Outcome::Over => self.end(Err(BodyError::Closed)),
        }
    }

    /// The exchange is over; whoever still reads its content is told.
    pub(crate) fn end(&mut self, end: Result<Option<HeaderMap>, BodyError>) {
        self.work = None;
        self.stream = None;
        if let Some(upload) = self.upload.take() {
            upload.end(end);
        }
    }
}

impl<S: Service<K>, K> Drop for Exchange<S, K> {
    fn drop(&mut self) {
        self.end(Err(BodyError::Closed));
    }
}

/// What a step works on.
struct Link<'a> {
    now: Tick,
    connection: &'a mut Connection,
    stream: StreamId,
    upload: Option<&'a Upload>,
}

impl Link<'_> {
    /// Passes the application's wishes for content on to the connection.
    fn pass_wishes(&mut self, cx: &Context<'_>) {
        let Some(upload) = self.upload else { return };
        let (limit, wanted) = upload.wishes(cx);
        if let Some(limit) = limit
            && self.connection.limit_request_body(self.now, self.stream, limit).is_err()
        {
            tracing::warn!("a limit for content came after the content had begun");
        }
        if wanted {
            // A stream that is gone gets its end by an event.
            let most = u64::MAX;
            let _ = self.connection.request_data(self.now, self.stream, most);
        }
    }

    /// Answers with a bare 500, if no answer has begun; otherwise cuts it off.
    fn fail(&mut self, why: &str, error: impl std::fmt::Display) {
        tracing::error!(%error, "{why}");
        let Link { now, connection, stream, .. } = self;
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let answered = connection.respond(*now, *stream, status, None, BodyLength::Known(0));
        let _ = match answered {
            Ok(_) => connection.finish(*now, *stream, None),
            Err(_) => connection.reset(*now, *stream),
        };
    }

    fn respond(&mut self, parts: &response::Parts, length: BodyLength) -> Result<Begun, Misuse> {
        let date = clock::date(self.now);
        let fields = WithDate { fields: parts.headers.iter(), date: Some(&date) };
        self.connection.respond(self.now, self.stream, parts.status, fields, length)
    }
}

impl<F, B> Work<F, B>
where
    F: Future<Output = Result<Response<B>, BoxError>>,
    B: http_body::Body<Error: Into<BoxError>>,
{
    fn poll_work(mut self: Pin<&mut Self>, cx: &mut Context<'_>, link: &mut Link<'_>) -> Outcome {
        loop {
            let response = match self.as_mut().project() {
                WorkProjection::Handling { future } => {
                    let polled = future.poll(cx);
                    link.pass_wishes(cx);
                    match polled {
                        Poll::Pending => return Outcome::Waits,
                        Poll::Ready(Ok(response)) => response,
                        Poll::Ready(Err(error)) => {
                            link.fail("the handler failed", error);
                            return Outcome::Over;
                        }
                    }
                }
                WorkProjection::Answering { answer } => return answer.poll_answer(cx, link),
            };
            let (head, body) = response.into_parts();
            let answer = Answering {
                head: Some(head),
                body,
                data: Bytes::new(),
                trailers: None,
                ended: false,
            };
            self.set(Work::Answering { answer });
        }
    }
}

impl<B: http_body::Body<Error: Into<BoxError>>> Answering<B> {
    fn poll_answer(mut self: Pin<&mut Self>, cx: &mut Context<'_>, link: &mut Link<'_>) -> Outcome {
        loop {
            // The length has to be asked for before the first frame is taken.
            let length = match &self.head {
                Some(_) if self.body.is_end_stream() => BodyLength::Known(0),
                Some(_) => {
                    self.body.size_hint().exact().map_or(BodyLength::Unknown, BodyLength::Known)
                }
                None => BodyLength::Unknown,
            };
            let polled = self.as_mut().poll_data(cx, link);
            if let Some(head) = self.as_mut().project().head.take() {
                match link.respond(&head, length) {
                    Ok(Begun::Open) => {}
                    Ok(Begun::Complete) | Err(Misuse::UnknownStream) => return Outcome::Over,
                    Err(misuse) => {
                        link.fail("the handler's answer cannot be sent", misuse);
                        return Outcome::Over;
                    }
                }
            }
            if let Err(error) = polled {
                link.fail("the answer's content failed", error);
                return Outcome::Over;
            }
            let this = self.as_mut().project();
            if !this.data.is_empty() {
                let (now, stream) = (link.now, link.stream);
                match link.connection.send_data(now, stream, this.data) {
                    Ok(_) if this.data.is_empty() => continue,
                    Ok(_) => return Outcome::Waits,
                    Err(Misuse::UnknownStream) => return Outcome::Over,
                    Err(misuse) => {
                        link.fail("the answer's content cannot be sent", misuse);
                        return Outcome::Over;
                    }
                }
            }
            if *this.ended {
                let trailers = this.trailers.take();
                let (now, stream) = (link.now, link.stream);
                match link.connection.finish(now, stream, trailers.as_ref()) {
                    Ok(()) | Err(Misuse::UnknownStream) => {}
                    Err(misuse) => link.fail("the answer cannot be ended", misuse),
                }
                return Outcome::Over;
            }
            return Outcome::Waits;
        }
    }

    /// Takes the next frame out of the body, if there is one and the last one was sent.
    fn poll_data(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        link: &mut Link<'_>,
    ) -> Result<(), BoxError> {
        let mut this = self.project();
        let has_room = this.head.is_some() || link.connection.room(link.stream) > 0;
        while this.data.is_empty() && !*this.ended && has_room {
            if this.body.is_end_stream() {
                *this.ended = true;
                break;
            }
            let polled = this.body.as_mut().poll_frame(cx);
            link.pass_wishes(cx);
            match polled {
                Poll::Pending => break,
                Poll::Ready(None) => *this.ended = true,
                Poll::Ready(Some(Err(error))) => return Err(error.into()),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(mut data) => *this.data = data.copy_to_bytes(data.remaining()),
                    Err(frame) => *this.trailers = frame.into_trailers().ok(),
                },
            }
        }
        Ok(())
    }
}

/// The answer's fields, and a `Date` if they have none (RFC 9110 6.6.1).
struct WithDate<'f, I> {
    fields: I,
    date: Option<&'f HeaderValue>,
}

impl<'f, I: Iterator<Item = (&'f HeaderName, &'f HeaderValue)>> Iterator for WithDate<'f, I> {
    type Item = (&'f HeaderName, &'f HeaderValue);

    fn next(&mut self) -> Option<Self::Item> {
        match self.fields.next() {
            Some((name, value)) => {
                if *name == header::DATE {
                    self.date = None;
                }
                Some((name, value))
            }
            None => self.date.take().map(|date| (&header::DATE, date)),
        }
    }
}
