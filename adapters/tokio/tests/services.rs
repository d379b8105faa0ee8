//! What can be served, on which runtime, and how it ends.

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, post};
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use portcullis_tokio::portcullis::websocket::Violation;
use portcullis_tokio::portcullis::{Refusal, ResetReason};
use portcullis_tokio::{
    Body, BoxError, CloseFrame, Closed, Config, Incoming, Message, Native, PeerAddress, Reply,
    Service, Stats, Upgrade, refuse_upgrade, serve,
};
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// What the server sends until it closes.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it accepts");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    // A connection that is cut off ends, too.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

/// Waits until so many connections are open.
async fn open(stats: &Stats, count: u64) {
    let wait = async {
        while stats.snapshot().open != count {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
    assert!(waited.is_ok(), "{:?}", stats.snapshot());
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
    Response::new(Full::new(b"hello"))
}

#[test]
fn both_flavours_of_the_runtime_serve() {
    let one = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    for runtime in [one, many] {
        runtime.expect("a runtime").block_on(async {
            let (listener, address) = listener().await;
            tokio::spawn(serve(listener, Arc::default(), hello));
            let answers = (0..50).map(|_| tokio::spawn(ask(address, GET)));
            for answer in answers.collect::<Vec<_>>() {
                assert!(answer.await.expect("no panic").ends_with("\r\n\r\nhello"));
            }
        });
    }
}

#[tokio::test]
async fn an_axum_router_is_served_as_it_is() {
    let router = Router::new()
        .route("/greet/{name}", get(|Path(name): Path<String>| async move { format!("hi {name}") }))
        .route("/up", post(|content: String| async move { content.to_uppercase() }));
    let (listener, address) = listener().await;
    tokio::spawn(serve(listener, Arc::default(), router));
    let greeted = "GET /greet/you HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(ask(address, greeted).await.ends_with("\r\n\r\nhi you"));
    let up = "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nloud";
    assert!(ask(address, up).await.ends_with("\r\n\r\nLOUD"));
    assert!(ask(address, GET).await.starts_with("HTTP/1.1 404 "));
}

/// Answers by the head alone, except for `/later`.
#[derive(Clone)]
struct OnTheSpot;

impl Service<Native> for OnTheSpot {
    type ResponseBody = Full<Bytes>;
    type Future = Ready<Result<Response<Full<Bytes>>, BoxError>>;

    fn call(&self, incoming: Incoming<'_>) -> Reply<Self::Future> {
        let length = HeaderValue::from_static("7");
        match incoming.head().path() {
            "/large" => incoming.answer(StatusCode::OK, None, vec![b'x'; LARGE].into()),
            "/wrong" => incoming.answer(StatusCode::OK, [(&CONTENT_LENGTH, &length)], Bytes::new()),
            "/refused" => incoming.refuse(Refusal::Field),
            "/later" => incoming.handle(|request| {
                let host = Bytes::copy_from_slice(request.headers()[HOST].as_bytes());
                ready(Ok(Response::new(Full::new(host))))
            }),
            path => {
                let content = format!("{path} for {}", incoming.peer_address().ip());
                incoming.answer(StatusCode::ACCEPTED, None, content.into())
            }
        }
    }
}

/// More than a connection holds at once.
const LARGE: usize = 1_000_000;

#[tokio::test]
async fn a_service_of_its_own_kind_answers_on_the_spot() {
    let (listener, address) = listener().await;
    let stats = Arc::new(Stats::new());
    tokio::spawn(serve(listener, Arc::default(), OnTheSpot).stats(stats.clone()));
    let get = async |method: &str, path: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        ask(address, &request).await
    };
    let small = get("GET", "/small?query").await;
    assert!(small.starts_with("HTTP/1.1 202 Accepted\r\n") && small.contains("\r\ndate: "));
    assert!(small.ends_with("\r\n\r\n/small for 127.0.0.1"), "{small}");
    let large = get("GET", "/large").await;
    assert_eq!(large.split_once("\r\n\r\n").map(|(_, content)| content.len()), Some(LARGE));
    let head = get("HEAD", "/large").await;
    assert!(head.contains("content-length: 1000000\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(get("GET", "/later").await.ends_with("\r\n\r\nh"));
    assert!(get("GET", "/wrong").await.starts_with("HTTP/1.1 500 "));
    assert!(get("GET", "/refused").await.starts_with("HTTP/1.1 400 "));
    // Content that nobody asks for does not keep the next request from being answered.
    let two = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let two = ask(address, two).await;
    assert!(two.contains("/a for ") && two.ends_with("/b for 127.0.0.1"), "{two}");
    open(&stats, 0).await;
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: odd, even\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A small frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// What comes of an upgrade and what follows it: the head, and the bytes behind it.
async fn talk(address: SocketAddr, said: &[u8]) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.expect("it accepts");
    stream.write_all(&[UPGRADE.as_bytes(), said].concat()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an end");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let rest = answer.split_off(end);
    (String::from_utf8(answer).expect("text"), rest)
}

#[tokio::test]
async fn a_handler_of_axum_becomes_a_websocket() {
    let counts = |request: axum::extract::Request| async move {
        let upgrade = match Upgrade::new(&request) {
            Ok(upgrade) => upgrade.protocol("even").expect("it is offered"),
            Err(bad) => return refuse_upgrade(bad),
        };
        upgrade.accept::<axum::body::Body, _>(async |mut websocket| {
            let mut count = 0;
            while let Some(Ok(message)) = websocket.receive().await {
                count += 1;
                let kind = if matches!(message, Message::Text(_)) { "text" } else { "bytes" };
                websocket.send(format!("{kind} {count}")).await.expect("it is open");
                if count == 2 {
                    break;
                }
            }
        })
    };
    let (listener, address) = listener().await;
    tokio::spawn(serve(listener, Arc::default(), Router::new().route("/ws", get(counts))));
    let said = [frame(0x81, b"a"), frame(0x82, b"b"), frame(0x88, &1000u16.to_be_bytes())];
    let (head, answers) = talk(address, &said.concat()).await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("\r\ndate: "), "{head}");
    assert!(head.contains("\r\nsec-websocket-protocol: even\r\n"), "{head}");
    // The handler's end closes it with 1000.
    assert_eq!(answers, b"\x81\x06text 1\x81\x07bytes 2\x88\x02\x03\xe8");
    assert!(ask(address, GET).await.starts_with("HTTP/1.1 404 "));
    let plain = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(ask(address, plain).await.starts_with("HTTP/1.1 426 "));
}

#[tokio::test]
async fn a_websocket_tells_how_it_ended_and_may_be_used_from_another_task() {
    let (told, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let service = move |request: Request<Body>| {
        let told = told.clone();
        async move {
            let upgrade = Upgrade::new(&request).expect("it asks well").message_limit(10);
            upgrade.accept::<Full<Bytes>, _>(async move |websocket| {
                let task = tokio::spawn(async move {
                    let mut websocket = websocket;
                    while let Some(Ok(message)) = websocket.receive().await {
                        websocket.send(message).await.expect("it is open");
                    }
                    websocket.closed()
                });
                told.send(task.await.expect("no panic")).expect("the test waits");
            })
        }
    };
    let (listener, address) = listener().await;
    tokio::spawn(serve(listener, Arc::default(), service));
    let close = [&4000u16.to_be_bytes()[..], b"enough"].concat();
    let (_, answers) = talk(address, &[frame(0x81, b"hi"), frame(0x88, &close)].concat()).await;
    assert_eq!(answers, b"\x81\x02hi\x88\x02\x0f\xa0");
    let by_peer = Closed::Peer(CloseFrame { code: Some(4000), reason: "enough".into() });
    assert_eq!(ends.recv().await, Some(Some(by_peer)));
    let (_, answers) = talk(address, &frame(0x81, b"eleven byte")).await;
    assert_eq!(answers, b"\x88\x13\x03\xf1message_too_large");
    let too_large = ResetReason::Violation(Violation::TooLarge);
    assert_eq!(ends.recv().await, Some(Some(Closed::Reset(too_large))));
}

#[tokio::test]
async fn the_peer_address_is_told_on_demand() {
    let tell = |request: Request<Body>| async move {
        let peer = request.extensions().get::<PeerAddress>().map(|peer| peer.0.ip().to_string());
        Response::new(Full::<Bytes>::from(peer.unwrap_or_default()))
    };
    for (demand, expected) in [(false, "\r\n\r\n"), (true, "\r\n\r\n127.0.0.1")] {
        let (listener, address) = listener().await;
        let server = serve(listener, Arc::default(), tell);
        tokio::spawn(if demand { server.tell_peer_address() } else { server });
        assert!(ask(address, GET).await.ends_with(expected));
    }
}

#[tokio::test]
async fn a_body_limit_of_the_handlers_own() {
    let limited = |request: Request<Body>| async move {
        request.body().set_limit(Some(3));
        let content = http_body_util::BodyExt::collect(request.into_body()).await;
        Response::new(Full::<Bytes>::from(content.map(|it| it.to_bytes()).unwrap_or_default()))
    };
    let (listener, address) = listener().await;
    tokio::spawn(serve(listener, Arc::default(), limited));
    let post = |content: &str| {
        let length = content.len();
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{content}"
        )
    };
    assert!(ask(address, &post("abc")).await.ends_with("\r\n\r\nabc"));
    assert!(ask(address, &post("abcd")).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_handler_that_panics_takes_only_its_own_connection_along() {
    let panics = |request: Request<Body>| async move {
        assert_eq!(request.uri().path(), "/", "as the test wants it");
        Response::new(Full::<Bytes>::from("alive"))
    };
    let (listener, address) = listener().await;
    let stats = Arc::new(Stats::new());
    tokio::spawn(serve(listener, Arc::default(), panics).stats(stats.clone()));
    assert_eq!(ask(address, "GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await, "");
    assert!(ask(address, GET).await.ends_with("\r\n\r\nalive"));
    open(&stats, 0).await;
    assert_eq!(stats.snapshot().accepted, 2);
}

#[tokio::test]
async fn dropping_the_server_closes_everything() {
    let (listener, address) = listener().await;
    let patient = Config::builder().keep_alive_timeout(Duration::from_secs(3600)).build();
    let stats = Arc::new(Stats::new());
    let server = serve(listener, Arc::new(patient.expect("valid")), hello).stats(stats.clone());
    let server = tokio::spawn(server);
    let mut stream = TcpStream::connect(address).await.expect("it accepts");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("it reads");
    let mut answer = [0; 4096];
    assert!(stream.read(&mut answer).await.expect("an answer") > 0);
    open(&stats, 1).await;
    server.abort();
    assert_eq!(stream.read(&mut answer).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_graceful_shutdown_reports() {
    let (listener, address) = listener().await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let signal = async { drop(stopped.await) };
    let stats = Arc::new(Stats::new());
    let server = serve(listener, Arc::default(), hello).stats(stats.clone()).shutdown_on(signal);
    let server = tokio::spawn(server);
    let stream = TcpStream::connect(address).await.expect("it accepts");
    let answer = ask(address, GET).await;
    assert!(answer.ends_with("hello"));
    open(&stats, 1).await;
    stop.send(()).expect("it listens");
    let report = server.await.expect("no panic");
    assert_eq!((report.finished, report.cut), (1, 0));
    drop(stream);
}
