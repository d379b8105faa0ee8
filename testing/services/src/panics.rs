//! Handlers that panic. The client gets an answer, or sees that there is none. Other connections notice
//! nothing.

use super::{Adapter, GET, ask, frame, listener, open, start, start_server, talk};
use crate::adapter::{Body, BoxError, Incoming, Native, Reply, Service, Stats, Upgrade};
use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use futures_lite::future::yield_now;
use http::header::HeaderName;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::Full;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Asserts that the client was told of the failure, and that the connection ended.
fn assert_failed(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.contains("\r\ndate: "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

pub fn a_request_whose_handler_panics_is_answered<A: Adapter>() {
    let panics = |request: Request<Body>| {
        if request.uri().path() == "/at-once" {
            panic!("as the test wants it");
        }
        async move {
            match request.uri().path() {
                "/first" => panic!("as the {} wants it", "test"),
                "/later" => {
                    yield_now().await;
                    panic!("as the test wants it");
                }
                _ => Response::new(Full::<Bytes>::from("alive")),
            }
        }
    };
    let (listener, address) = listener();
    let stats = Arc::new(Stats::new());
    start_server::<A, _, _, _, _>(A::server(listener, Arc::default(), panics).stats(stats.clone()));
    for path in ["/at-once", "/first", "/later"] {
        // A pipelined request after it is not answered.
        assert_failed(&ask(address, &request(path).repeat(2)));
    }
    assert!(ask(address, GET).ends_with("\r\n\r\nalive"));
    open(&stats, 0);
    assert_eq!(stats.snapshot().accepted, 4);
}

pub fn a_request_whose_router_panics_is_answered<A: Adapter>() {
    let router = Router::new().route("/up", get(|| async { "up" }));
    async fn never() -> &'static str {
        panic!("as the test wants it")
    }
    let address = start::<A, _, _>(router.route("/never", get(never)));
    assert_failed(&ask(address, &request("/never")));
    assert!(ask(address, "GET /up HTTP/1.0\r\n\r\n").ends_with("up"));
}

/// A service that panics where it looks at the head.
#[derive(Clone)]
struct OnTheSpot;

impl Service<Native> for OnTheSpot {
    type ResponseBody = Full<Bytes>;
    type Future = Ready<Result<Response<Full<Bytes>>, BoxError>>;

    fn call(&mut self, incoming: Incoming<'_>) -> Reply<Self::Future> {
        static NAME: HeaderName = HeaderName::from_static("x-name");
        static VALUE: HeaderValue = HeaderValue::from_static("value");
        match incoming.head().path() {
            "/before" => panic!("as the test wants it"),
            "/within" => {
                let fields = (0..3).map(|number| match number {
                    2 => panic!("as the test wants it"),
                    _ => (&NAME, &VALUE),
                });
                incoming.answer(StatusCode::OK, fields, Bytes::new())
            }
            "/behind" => {
                let _reply: Reply<Self::Future> =
                    incoming.answer(StatusCode::OK, None, Bytes::from_static(b"whole"));
                panic!("as the test wants it")
            }
            _ => incoming.handle(|_| ready(Ok(Response::new(Full::from("alive"))))),
        }
    }
}

pub fn a_request_whose_native_service_panics_is_answered<A: Adapter>() {
    let address = start::<A, _, _>(OnTheSpot);
    assert_failed(&ask(address, &request("/before")));
    // It is not known how much of the answer is there.
    assert_eq!(ask(address, &request("/within")), "");
    let behind = request("/behind") + GET;
    let answers = ask(address, &behind);
    assert!(answers.contains("whole") && answers.ends_with("alive"), "{answers}");
}

/// Content whose frames end in a panic.
struct Frames(usize);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        assert!(self.0 > 0, "as the test wants it");
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"some")))))
    }
}

pub fn content_that_panics_is_cut_off_or_answered_with_500<A: Adapter>() {
    let service = async |request: Request<Body>| {
        let frames = request.uri().path().trim_matches('/').parse().expect("a number");
        Response::new(Frames(frames))
    };
    let address = start::<A, _, _>(service);
    assert_failed(&ask(address, &request("/0")));
    let answer = ask(address, &request("/3"));
    assert!(!answer.contains("\r\n0\r\n"), "it looks whole: {answer}");
}

pub fn a_websocket_whose_handler_panics_is_closed_with_1011<A: Adapter>() {
    let service = async |request: Request<Body>| {
        let late = request.uri().path() == "/ws";
        let upgrade = Upgrade::new(&request).expect("it asks well");
        let mut given = None;
        upgrade.accept::<Full<Bytes>, _>(move |mut websocket| {
            assert!(late, "as the test wants it");
            async move {
                let message = websocket.receive().await;
                websocket.send("last").await.expect("it is open");
                given.replace(websocket);
                panic!("as the test wants it, after {message:?}");
            }
        })
    };
    let address = start::<A, _, _>(service);
    let (head, answers) = talk(address, &frame(0x81, b"a"));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(answers, b"\x81\x04last\x88\x02\x03\xf3");
}
