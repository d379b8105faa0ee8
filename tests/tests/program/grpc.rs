//! A gRPC server: tonic's routes on the adapter for tokio, called by tonic's client and by hyper. The
//! clients use HTTP/2 with prior knowledge in plaintext, and ALPN over TLS.

mod notes;

use crate::connector::Connector;
use crate::place::{Place, Transport, tests};
use crate::support::{CALM, PATIENCE};
use crate::trust;
use ::tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use ::tokio::sync::oneshot;
use ::tokio::task::JoinHandle;
use bytes::{BufMut, BytesMut};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use notes::{Caller, Note, NoteService, collect, numbered};
use portcullis_testing::{Watched, watched};
use portcullis_tokio::{Config, Report, serve};
use prost::Message;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tonic::{Code, Request};

tests! {
    tokio:
        calls_of_each_kind_are_answered,
        many_calls_share_a_connection,
        large_messages_arrive_whole,
        an_error_is_an_answer_of_trailers_only,
        the_status_of_an_answer_with_messages_is_in_its_trailers,
        the_server_keeps_to_the_deadline,
        the_client_keeps_to_the_deadline,
        a_call_that_the_client_cancels_drops_its_handler,
        a_chat_outlives_the_timers_of_idle_connections,
        a_chat_that_falls_silent_ends_at_the_limit_for_silence,
        a_chat_ends_in_good_order_when_the_server_drains;
}

/// What the service tells of its handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Started,
    Dropped,
}

/// A gRPC server, which ends with the test.
struct Server {
    place: Place,
    address: SocketAddr,
    told: UnboundedReceiver<Told>,
    stop: oneshot::Sender<()>,
    report: JoinHandle<Report>,
    _watched: Watched,
}

impl Server {
    /// Starts a server with settings such as `keep_alive_timeout=1s`.
    async fn start(place: Place, settings: &[&str]) -> Self {
        let watched = watched();
        let mut config = Config::builder();
        for setting in CALM.iter().chain(&["request_body_limit=none"]).chain(settings) {
            let (name, value) = setting.split_once('=').expect("a name and a value");
            config = config.set(name, value).expect("a setting");
        }
        if place.transport == Transport::Tls {
            config = config.tls(Arc::new(server_config()));
        }
        let config = Arc::new(config.build().expect("values in range"));
        let listener = ::tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (tell, told) = unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = serve(listener, Routes::new(NoteService::new(tell))).config(config);
        let server = server.with_graceful_shutdown(async {
            // Dropping the sender stops the server as well.
            let _ = stopped.await;
        });
        let report = ::tokio::spawn(async { server.await.expect("it never fails") });
        Server { place, address, told, stop, report, _watched: watched }
    }

    fn connector(&self) -> Connector {
        let tls = (self.place.transport == Transport::Tls).then(trust::client_config);
        Connector::http2_to(self.address, tls.as_ref())
    }

    fn url(&self, path: &str) -> String {
        let scheme = if self.place.transport == Transport::Tls { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(self.url("")).expect("a URL")
    }

    /// A client of tonic.
    async fn caller(&self) -> Caller {
        self.caller_at(&self.endpoint()).await
    }

    async fn caller_at(&self, endpoint: &Endpoint) -> Caller {
        let channel = endpoint.connect_with_connector(self.connector()).await;
        Caller::new(channel.expect("it connects"))
    }

    /// Makes a call with hyper alone, so that the answer is seen as HTTP.
    async fn bare_call(
        &self,
        method: &str,
        note: &Note,
        timeout: Option<&str>,
    ) -> http::Response<Incoming> {
        let stream = self.connector().connect().await.expect("it connects");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut client, connection) = handshake.await.expect("a handshake");
        ::tokio::spawn(connection);
        // A message is preceded by a flag, 0 for uncompressed, and its length.
        let mut message = BytesMut::new();
        message.put_u8(0);
        message.put_u32(note.encoded_len().try_into().expect("a short message"));
        note.encode(&mut message).expect("there is room");
        let mut request = http::Request::post(self.url(&format!("/notes.Notes/{method}")))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let request = request.body(Full::new(message.freeze())).expect("a request");
        client.send_request(request).await.expect("an answer")
    }

    async fn wait_for(&mut self, expected: Told) {
        let told = self.told.recv().await;
        assert_eq!(told, Some(expected));
    }
}

fn server_config() -> ServerConfig {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.into()], own.signing_key.into())
        .expect("a certificate with its key")
}

fn run(test: impl Future<Output = ()>) {
    ::tokio::runtime::Runtime::new().expect("a runtime").block_on(test);
}

fn calls_of_each_kind_are_answered(place: Place) {
    run(async {
        let server = Server::start(place, &[]).await;
        let caller = server.caller().await;
        let answer = caller.one("Echo", Note::new(7, 100)).await.expect("an answer");
        assert_eq!(answer.metadata().get("greeting").expect("metadata"), "hello");
        assert_eq!(answer.into_inner(), Note::new(7, 100));

        let answer = caller.many("List", Note::new(1000, 1000)).await.expect("an answer");
        let (notes, end) = collect(answer).await;
        end.expect("the status is good");
        assert!(notes == vec![Note::new(1000, 1000); 1000], "{} notes", notes.len());
        let answer = caller.many("List", Note::new(0, 0)).await.expect("an answer");
        let (notes, end) = collect(answer).await;
        assert!(notes.is_empty() && end.is_ok(), "{end:?}");

        let sum = caller.upload("Sum", numbered(0..1000, 1000)).await.expect("an answer");
        assert_eq!(sum.into_inner(), Note::new(499_500, 1_000_000));
        let sum = caller.upload("Sum", stream::empty()).await.expect("an answer");
        assert_eq!(sum.into_inner(), Note::default());

        // Each note is sent only after the answer to the one before.
        let (say, mut said) = unbounded_channel();
        let said = stream::poll_fn(move |cx| said.poll_recv(cx));
        let mut chat = caller.chat(said).await.expect("an answer");
        for number in 1..=100 {
            say.send(Note::new(number, 10)).expect("the client reads it");
            let answer = chat.message().await.expect("no error");
            assert_eq!(answer, Some(Note::new(number, 10)));
        }
        drop(say);
        assert_eq!(chat.message().await.expect("the status is good"), None);

        let status = caller.one("Nothing", Note::new(1, 0)).await.expect_err("no such method");
        assert_eq!(status.code(), Code::Unimplemented);
    });
}

fn many_calls_share_a_connection(place: Place) {
    run(async {
        // More calls than streams: the client has to wait for some of them.
        let server = Server::start(place, &["http2_concurrent_streams=20"]).await;
        let caller = &server.caller().await;
        // Until the server's SETTINGS have come, hyper assumes that it may open 100 streams.
        caller.one("Echo", Note::new(1, 0)).await.expect("an answer");
        let calls = (1..=200).map(|number| async move {
            match number % 4 {
                0 => {
                    let note = Note::new(number, 1000);
                    let answer = caller.one("Echo", note.clone()).await.expect("an answer");
                    assert_eq!(answer.into_inner(), note);
                }
                1 => {
                    let note = Note::new(number, 100);
                    let answer = caller.many("List", note.clone()).await.expect("an answer");
                    let (notes, end) = collect(answer).await;
                    end.expect("the status is good");
                    assert_eq!(notes, vec![note; number as usize]);
                }
                2 => {
                    let sum = caller.upload("Sum", numbered(0..number, 100)).await;
                    let sum = sum.expect("an answer").into_inner();
                    assert_eq!(sum, Note::new(number * (number - 1) / 2, 100 * number as usize));
                }
                _ => {
                    let chat = caller.chat(numbered(0..number, 100)).await.expect("an answer");
                    let (notes, end) = collect(chat).await;
                    end.expect("the status is good");
                    assert_eq!(notes.len(), number as usize);
                }
            }
        });
        join_all(calls).await;
    });
}

fn large_messages_arrive_whole(place: Place) {
    run(async {
        let server = Server::start(place, &[]).await;
        let caller = server.caller().await;
        // tonic decodes no message above 4 MiB unless it is told to.
        let note = Note::new(1, 4_000_000);
        let answer = caller.one("Echo", note.clone()).await.expect("an answer");
        assert!(answer.into_inner() == note, "the echo differs from what was sent");
        let chat = caller.chat(numbered(0..20, 1_000_000)).await.expect("an answer");
        let (notes, end) = collect(chat).await;
        end.expect("the status is good");
        let is_next = |(number, note): (usize, &Note)| *note == Note::new(number as u64, 1_000_000);
        assert!(notes.len() == 20 && notes.iter().enumerate().all(is_next));
    });
}

fn an_error_is_an_answer_of_trailers_only(place: Place) {
    run(async {
        let server = Server::start(place, &[]).await;
        let caller = server.caller().await;
        let status = caller.one("Echo", Note::new(0, 10)).await.expect_err("no number");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "no number, 0 % \u{fc}\n");
        assert_eq!(status.details(), b"\0details");
        assert_eq!(status.metadata().get("hint").expect("metadata"), "count from 1");
        let binary = status.metadata().get_bin("hint-bin").expect("metadata");
        assert_eq!(binary.to_bytes().expect("base64"), &[0, 255][..]);

        let answer = server.bare_call("Echo", &Note::new(0, 10), None).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], "3");
        assert!(answer.body().is_end_stream(), "the HEADERS frame ends the stream");
        assert!(answer.into_body().collect().await.expect("no error").to_bytes().is_empty());
    });
}

fn the_status_of_an_answer_with_messages_is_in_its_trailers(place: Place) {
    run(async {
        let server = Server::start(place, &[]).await;
        let caller = server.caller().await;
        let answer = caller.many("Fail", Note::new(50, 100)).await.expect("an answer");
        let (notes, end) = collect(answer).await;
        assert_eq!(notes.len(), 50);
        let status = end.expect_err("it fails");
        assert_eq!((status.code(), status.message()), (Code::DataLoss, "the notes are lost"));

        for (method, expected) in [("List", "0"), ("Fail", "15")] {
            let answer = server.bare_call(method, &Note::new(3, 10), None).await;
            assert_eq!(answer.headers()["content-type"], "application/grpc");
            assert!(!answer.headers().contains_key("grpc-status"), "{answer:?}");
            let body = answer.into_body().collect().await.expect("no error");
            let trailers = body.trailers().expect("trailers");
            assert_eq!(trailers["grpc-status"], expected);
            let length = 3 * (5 + Note::new(3, 10).encoded_len());
            assert_eq!(body.to_bytes().len(), length);
        }
    });
}

fn the_server_keeps_to_the_deadline(place: Place) {
    run(async {
        let mut server = Server::start(place, &[]).await;
        let answer = server.bare_call("Wait", &Note::new(1, 0), Some("50m")).await;
        assert_eq!(answer.headers()["grpc-status"], "4");
        assert!(answer.body().is_end_stream());
        server.wait_for(Told::Started).await;
        server.wait_for(Told::Dropped).await;
    });
}

fn the_client_keeps_to_the_deadline(place: Place) {
    run(async {
        let server = Server::start(place, &[]).await;
        let caller = server.caller().await;
        let mut request = Request::new(Note::new(1, 0));
        request.set_timeout(Duration::from_millis(50));
        let status = caller.one("Wait", request).await.expect_err("it takes too long");
        // The client says that it has cancelled the call, unless the server's answer comes first.
        assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status:?}");
        let answer = caller.one("Echo", Note::new(1, 0)).await;
        assert_eq!(answer.expect("the connection is still good").into_inner().number, 1);
    });
}

fn a_call_that_the_client_cancels_drops_its_handler(place: Place) {
    run(async {
        let mut server = Server::start(place, &[]).await;
        let caller = server.caller().await;
        // Before its answer.
        let waiting = caller.clone();
        let call = ::tokio::spawn(async move { waiting.one("Wait", Note::new(1, 0)).await });
        server.wait_for(Told::Started).await;
        call.abort();
        server.wait_for(Told::Dropped).await;
        // Within its answer, which the client does not read: the handler waits for room then.
        let mut endless = caller.many("Endless", Note::new(1, 50_000)).await.expect("an answer");
        server.wait_for(Told::Started).await;
        for _ in 0..3 {
            assert_eq!(endless.message().await.expect("no error"), Some(Note::new(1, 50_000)));
        }
        drop(endless);
        server.wait_for(Told::Dropped).await;
        // Within its request: the handler waits for more. hyper sends no reset for a dropped answer
        // while the request goes on, so this takes tonic's handle.
        let mut request = Request::new(stream::pending());
        let handle = request.cancellation_handle();
        let _chat = caller.chat(request).await.expect("an answer");
        server.wait_for(Told::Started).await;
        handle.cancel();
        server.wait_for(Told::Dropped).await;
        let answer = caller.one("Echo", Note::new(1, 0)).await;
        assert_eq!(answer.expect("the connection is still good").into_inner().number, 1);
    });
}

fn a_chat_outlives_the_timers_of_idle_connections(place: Place) {
    run(async {
        let times = ["keep_alive_timeout=200ms", "request_head_timeout=200ms"];
        let settings = ["request_body_grace=1h", "request_body_silence=1h"];
        let server = Server::start(place, &[times, settings].concat()).await;
        // The client pings during the call, as long-lived calls do to notice a server that is gone.
        let endpoint = server.endpoint();
        let endpoint = endpoint
            .http2_keep_alive_interval(Duration::from_millis(50))
            .keep_alive_timeout(PATIENCE);
        let (say, mut chat) = loop {
            // A busy machine may lose an idle connection before its first call.
            let Ok(channel) = endpoint.connect_with_connector(server.connector()).await else {
                continue;
            };
            let (say, mut said) = unbounded_channel();
            let said = stream::poll_fn(move |cx| said.poll_recv(cx));
            if let Ok(chat) = Caller::new(channel).chat(said).await {
                break (say, chat);
            }
        };
        for number in 1..=4 {
            say.send(Note::new(number, 10)).expect("the client reads it");
            assert_eq!(chat.message().await.expect("no error"), Some(Note::new(number, 10)));
            // Longer than an idle connection may last.
            ::tokio::time::sleep(Duration::from_millis(300)).await;
        }
        drop(say);
        assert_eq!(chat.message().await.expect("the status is good"), None);
    });
}

fn a_chat_that_falls_silent_ends_at_the_limit_for_silence(place: Place) {
    run(async {
        let mut server = Server::start(place, &["request_body_silence=300ms"]).await;
        let caller = server.caller().await;
        let said = numbered(1..2, 10).chain(stream::pending());
        let end = match caller.chat(said).await {
            Ok(chat) => collect(chat).await.1,
            Err(status) => Err(status),
        };
        end.expect_err("a time limit ends the chat");
        server.wait_for(Told::Started).await;
        server.wait_for(Told::Dropped).await;
    });
}

fn a_chat_ends_in_good_order_when_the_server_drains(place: Place) {
    run(async {
        let server = Server::start(place, &[]).await;
        let caller = server.caller().await;
        let (say, mut said) = unbounded_channel();
        let said = stream::poll_fn(move |cx| said.poll_recv(cx));
        let mut chat = caller.chat(said).await.expect("an answer");
        let address = server.address;
        server.stop.send(()).expect("it runs");
        while ::tokio::net::TcpStream::connect(address).await.is_ok() {
            // The order is on its way.
        }
        for number in 1..=3 {
            say.send(Note::new(number, 10)).expect("the client reads it");
            assert_eq!(chat.message().await.expect("no error"), Some(Note::new(number, 10)));
        }
        drop(say);
        assert_eq!(chat.message().await.expect("the status is good"), None);
        let report = server.report.await.expect("it ends");
        // The connections that only looked whether the server still accepts have finished as well.
        assert!(report.finished >= 1 && report.cut == 0, "{report:?}");
        caller.one("Echo", Note::new(1, 0)).await.expect_err("the server is gone");
    });
}
