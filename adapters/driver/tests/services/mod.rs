//! What can be served, and how it ends: the tests of every adapter. Each includes this file beside the
//! few lines that are its own: `adapter`, `server`, `parts`, `spawn`, and what serves a connection or a
//! Unix socket. The clients block, and need no runtime.

mod connections;
mod counted;
mod gone;
mod kinds;
mod panics;
mod places;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod tls;
mod turns;
#[cfg(unix)]
mod unix_sockets;
mod uploads;

use super::{adapter, server, spawn};
use adapter::portcullis::websocket::Violation;
use adapter::portcullis::{Refusal, ResetReason};
use adapter::{
    Body, BoxError, CloseFrame, Closed, Config, Incoming, Listener, Message, Native, PeerAddress,
    Reply, Report, Runtime, Server, Service, Stats, Upgrade, refuse_upgrade,
};
use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, post};
use futures_lite::future::or;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use std::future::{Ready, ready};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Ends a wait for what never comes. It is no measure: whatever does come may take its time, on a
/// machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(600);

fn listener() -> (TcpListener, SocketAddr) {
    listener_at(([127, 0, 0, 1], 0).into())
}

/// A listener on an address that only one test uses. Once its port is free again, the system may give the
/// port to another test, but not at this address.
fn listener_of_its_own(test: u8) -> (TcpListener, SocketAddr) {
    // Only Linux has all of 127.0.0.0/8.
    let host = if cfg!(target_os = "linux") { [127, 31, 41, test] } else { [127, 0, 0, 1] };
    listener_at((host, 0).into())
}

fn listener_at(address: SocketAddr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).expect("a free port");
    listener.set_nonblocking(true).expect("it can be set");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// Serves on a free port.
fn start<S: Service<K>, K: 'static>(service: S) -> SocketAddr {
    let (listener, address) = listener();
    start_server(server(listener, Arc::default(), service));
    address
}

/// Runs the server; where its report will be.
fn start_server<R: Runtime, L: Listener, S: Service<K>, K: 'static>(
    server: Server<R, L, S, K>,
) -> Receiver<Report> {
    let (told, report) = channel();
    spawn(async move {
        // A test that has seen enough does not wait for the end.
        let _ = told.send(server.await);
    });
    report
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    stream
}

/// What the server sends until it closes.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    // A connection that is cut off ends, too.
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// Waits until so many connections are open.
fn open(stats: &Stats, count: u64) {
    let start = Instant::now();
    while stats.snapshot().open != count {
        assert!(start.elapsed() < PATIENCE, "{:?}", stats.snapshot());
        thread::yield_now();
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
    Response::new(Full::new(b"hello"))
}

#[test]
fn many_clients_at_once_are_served() {
    let address = start(hello);
    thread::scope(|scope| {
        let answers: Vec<_> = (0..50).map(|_| scope.spawn(|| ask(address, GET))).collect();
        for answer in answers {
            assert!(answer.join().expect("no panic").ends_with("\r\n\r\nhello"));
        }
    });
}

#[test]
fn an_axum_router_is_served_as_it_is() {
    let router = Router::new()
        .route("/greet/{name}", get(|Path(name): Path<String>| async move { format!("hi {name}") }))
        .route("/up", post(|content: String| async move { content.to_uppercase() }));
    let address = start(router);
    let greeted = "GET /greet/you HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(ask(address, greeted).ends_with("\r\n\r\nhi you"));
    let up = "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nloud";
    assert!(ask(address, up).ends_with("\r\n\r\nLOUD"));
    assert!(ask(address, GET).starts_with("HTTP/1.1 404 "));
}

/// Answers by the head alone, except for `/later`.
#[derive(Clone)]
struct OnTheSpot;

impl Service<Native> for OnTheSpot {
    type ResponseBody = Full<Bytes>;
    type Future = Ready<Result<Response<Full<Bytes>>, BoxError>>;

    fn call(&mut self, incoming: Incoming<'_>) -> Reply<Self::Future> {
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
                let content = format!("{path} for {}", incoming.peer_address());
                incoming.answer(StatusCode::ACCEPTED, None, content.into())
            }
        }
    }
}

/// More than a connection holds at once.
const LARGE: usize = 1_000_000;

#[test]
fn a_service_of_its_own_kind_answers_on_the_spot() {
    let (listener, address) = listener();
    let stats = Arc::new(Stats::new());
    start_server(server(listener, Arc::default(), OnTheSpot).stats(stats.clone()));
    let get = |method: &str, path: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        ask(address, &request)
    };
    let small = get("GET", "/small?query");
    assert!(small.starts_with("HTTP/1.1 202 Accepted\r\n") && small.contains("\r\ndate: "));
    assert!(small.contains("\r\n\r\n/small for 127.0.0.1:"), "{small}");
    let large = get("GET", "/large");
    assert_eq!(large.split_once("\r\n\r\n").map(|(_, content)| content.len()), Some(LARGE));
    let head = get("HEAD", "/large");
    assert!(head.contains("content-length: 1000000\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(get("GET", "/later").ends_with("\r\n\r\nh"));
    assert!(get("GET", "/wrong").starts_with("HTTP/1.1 500 "));
    assert!(get("GET", "/refused").starts_with("HTTP/1.1 400 "));
    // Content that nobody asks for does not keep the next request from being answered.
    let two = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let two = ask(address, two);
    assert!(two.contains("/a for ") && two.contains("/b for 127.0.0.1:"), "{two}");
    open(&stats, 0);
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: odd, even\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A small frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// What comes of an upgrade and what follows it: the head, and the bytes behind it.
fn talk(address: SocketAddr, said: &[u8]) -> (String, Vec<u8>) {
    let mut stream = connect(address);
    stream.write_all(&[UPGRADE.as_bytes(), said].concat()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an end");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let rest = answer.split_off(end);
    (String::from_utf8(answer).expect("text"), rest)
}

#[test]
fn a_handler_of_axum_becomes_a_websocket() {
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
    let address = start(Router::new().route("/ws", get(counts)));
    let said = [frame(0x81, b"a"), frame(0x82, b"b"), frame(0x88, &1000u16.to_be_bytes())];
    let (head, answers) = talk(address, &said.concat());
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("\r\ndate: "), "{head}");
    assert!(head.contains("\r\nsec-websocket-protocol: even\r\n"), "{head}");
    // The handler's end closes it with 1000.
    assert_eq!(answers, b"\x81\x06text 1\x81\x07bytes 2\x88\x02\x03\xe8");
    assert!(ask(address, GET).starts_with("HTTP/1.1 404 "));
    let plain = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(ask(address, plain).starts_with("HTTP/1.1 426 "));
}

#[test]
fn a_websocket_tells_how_it_ended_and_may_be_used_from_another_task() {
    let (told, ends) = channel();
    let service = move |request: Request<Body>| {
        let told = told.clone();
        async move {
            let upgrade = Upgrade::new(&request).expect("it asks well").message_limit(10);
            upgrade.accept::<Full<Bytes>, _>(async move |mut websocket| {
                let (done, ended) = async_channel::bounded::<()>(1);
                spawn(async move {
                    while let Some(Ok(message)) = websocket.receive().await {
                        websocket.send(message).await.expect("it is open");
                    }
                    told.send(websocket.closed()).expect("the test waits");
                    drop(done);
                });
                // The handler may be dropped first: the connection is closed by now.
                _ = ended.recv().await;
            })
        }
    };
    let address = start(service);
    let close = [&4000u16.to_be_bytes()[..], b"enough"].concat();
    let (_, answers) = talk(address, &[frame(0x81, b"hi"), frame(0x88, &close)].concat());
    assert_eq!(answers, b"\x81\x02hi\x88\x02\x0f\xa0");
    let by_peer = Closed::Peer(CloseFrame { code: Some(4000), reason: "enough".into() });
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(Some(by_peer)));
    let (_, answers) = talk(address, &frame(0x81, b"eleven byte"));
    assert_eq!(answers, b"\x88\x13\x03\xf1message_too_large");
    let too_large = ResetReason::Violation(Violation::TooLarge);
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(Some(Closed::Reset(too_large))));
}

#[test]
fn a_websocket_ends_with_its_handler_though_it_was_given_away() {
    let (given, kept) = channel();
    let service = move |request: Request<Body>| {
        let given = given.clone();
        async move {
            let upgrade = Upgrade::new(&request).expect("it asks well");
            upgrade.accept::<Full<Bytes>, _>(async move |websocket| {
                given.send(websocket).expect("the test waits");
            })
        }
    };
    let (_, answers) = talk(start(service), &frame(0x88, &1000u16.to_be_bytes()));
    assert_eq!(answers, b"\x88\x02\x03\xe8");
    assert!(kept.recv_timeout(PATIENCE).expect("it was given away").closed().is_some());
}

#[test]
fn the_peer_address_is_told_on_demand() {
    let tell = |request: Request<Body>| async move {
        let peer = request.extensions().get::<PeerAddress>().map(|peer| peer.0.clone());
        let ip = peer.and_then(|peer| peer.ip()).map(|ip| ip.to_string());
        Response::new(Full::<Bytes>::from(ip.unwrap_or_default()))
    };
    for (demand, expected) in [(false, "\r\n\r\n"), (true, "\r\n\r\n127.0.0.1")] {
        let (listener, address) = listener();
        let server = server(listener, Arc::default(), tell);
        start_server(if demand { server.tell_peer_address() } else { server });
        assert!(ask(address, GET).ends_with(expected));
    }
}

#[test]
fn a_body_limit_of_the_handlers_own() {
    let limited = |request: Request<Body>| async move {
        request.body().set_limit(Some(3));
        let content = http_body_util::BodyExt::collect(request.into_body()).await;
        Response::new(Full::<Bytes>::from(content.map(|it| it.to_bytes()).unwrap_or_default()))
    };
    let address = start(limited);
    let post = |content: &str| {
        let length = content.len();
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{content}"
        )
    };
    assert!(ask(address, &post("abc")).ends_with("\r\n\r\nabc"));
    assert!(ask(address, &post("abcd")).starts_with("HTTP/1.1 413 "));
}

#[test]
fn content_of_a_fast_peer_comes_in_large_pieces() {
    const READ: usize = 8 << 10;
    const CONTENT: usize = 8 * READ;
    let (wrote, written) = channel();
    let (told, lengths) = channel();
    let written = Arc::new(Mutex::new(written));
    let service = move |request: Request<Body>| {
        let (written, told) = (written.clone(), told.clone());
        async move {
            // Blocks the server, so that all of it lies there.
            let waited = written.lock().map(|written| written.recv_timeout(PATIENCE));
            waited.expect("no panic").expect("the test writes");
            let mut body = request.into_body();
            let mut pieces = Vec::new();
            while let Some(Ok(frame)) = http_body_util::BodyExt::frame(&mut body).await {
                pieces.extend(frame.into_data().map(|data| data.len()));
            }
            told.send(pieces).expect("the test waits");
            Response::new(Full::<Bytes>::default())
        }
    };
    let (listener, address) = listener();
    let config = Config::builder().receive_buffer_limit(READ as u64).build().expect("in range");
    start_server(server(listener, Arc::new(config), service));
    let mut stream = connect(address);
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {CONTENT}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it reads");
    stream.write_all(&[b'y'; CONTENT]).expect("the kernel takes it");
    wrote.send(()).expect("the handler waits");
    let pieces = lengths.recv_timeout(PATIENCE).expect("all was read");
    assert_eq!(pieces.iter().sum::<usize>(), CONTENT);
    assert!(pieces.contains(&(4 * READ)), "{pieces:?}");
    assert!(pieces.iter().all(|piece| *piece <= 4 * READ), "{pieces:?}");
}

#[test]
fn content_is_read_on_another_task_while_the_answer_waits_for_its_reader() {
    const CONTENT: usize = 1 << 20;
    let (told, lengths) = channel();
    let service = move |request: Request<Body>| {
        let told = told.clone();
        async move {
            spawn(async move {
                let content = http_body_util::BodyExt::collect(request.into_body()).await;
                told.send(content.map(|it| it.to_bytes().len())).expect("the test waits");
            });
            // More than the kernel takes for a peer that does not read.
            Response::new(Full::<Bytes>::from(vec![b'x'; 64 << 20]))
        }
    };
    let mut stream = connect(start(service));
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {CONTENT}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it reads");
    stream.write_all(&[b'y'; CONTENT]).expect("it reads");
    assert_eq!(lengths.recv_timeout(PATIENCE), Ok(Ok(CONTENT)));
}

#[test]
fn dropping_the_server_closes_everything() {
    let (listener, address) = listener_of_its_own(1);
    let patient = Config::builder().keep_alive_timeout(Duration::from_secs(3600)).build();
    let stats = Arc::new(Stats::new());
    let server = server(listener, Arc::new(patient.expect("valid")), hello).stats(stats.clone());
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let (dropped, drops) = channel();
    spawn(async move {
        // Whichever is ready first, the other is dropped.
        or(async { _ = server.await }, async move { _ = stopped.recv().await }).await;
        dropped.send(()).expect("the test waits");
    });
    let mut stream = connect(address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    let mut answer = [0; 4096];
    assert!(stream.read(&mut answer).expect("an answer") > 0);
    open(&stats, 1);
    drop(stop);
    assert_eq!(drops.recv_timeout(PATIENCE), Ok(()));
    assert_eq!(stream.read(&mut answer).unwrap_or(0), 0);
    open(&stats, 0);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn a_graceful_shutdown_reports() {
    let (listener, address) = listener();
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let signal = async move { _ = stopped.recv().await };
    let stats = Arc::new(Stats::new());
    let server = server(listener, Arc::default(), hello).stats(stats.clone()).shutdown_on(signal);
    let report = start_server(server);
    let stream = connect(address);
    let answer = ask(address, GET);
    assert!(answer.ends_with("hello"));
    open(&stats, 1);
    drop(stop);
    let report = report.recv_timeout(PATIENCE).expect("it ends");
    assert_eq!((report.finished, report.cut), (1, 0));
    drop(stream);
}

#[test]
fn what_waits_for_the_peer_ends_on_time() {
    let (listener, address) = listener();
    let timeout = Duration::from_millis(300);
    let brief = Config::builder()
        .keep_alive_timeout(timeout)
        .request_head_timeout(timeout)
        .response_grace(timeout)
        .response_silence(timeout)
        .build();
    let stats = Arc::new(Stats::new());
    let server = server(listener, Arc::new(brief.expect("valid")), OnTheSpot);
    start_server(server.stats(stats.clone()));
    let large = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20);
    let requests = ["", "GET / HTTP/1.1\r\nHost: ", &large];
    let start = Instant::now();
    let mut clients = Vec::new();
    let closes = |reason| stats.snapshot().closes.iter().any(|(label, _)| *label == reason);
    while !["keep_alive", "request_head", "response"].into_iter().all(closes) {
        assert!(start.elapsed() < PATIENCE, "{:?}", stats.snapshot());
        // On a machine that is busy a request may be sent too late: then it is the next one's turn.
        for request in requests {
            let mut client = connect(address);
            let _ = client.write_all(request.as_bytes());
            clients.push(client);
        }
        thread::sleep(timeout / 2);
    }
    assert!(start.elapsed() >= timeout, "{:?}", start.elapsed());
}

#[test]
fn large_content_goes_both_ways_at_its_readers_pace() {
    const SIZE: usize = 4 << 20;
    let echo = |request: Request<Body>| async move { Response::new(request.into_body()) };
    let mut stream = connect(start(echo));
    let mut sender = stream.try_clone().expect("the same socket");
    let sending = thread::spawn(move || {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n");
        sender.write_all(head.as_bytes()).expect("it reads");
        for part in 0..SIZE / 65536 {
            sender.write_all(&[part as u8; 65536]).expect("it reads");
        }
        sender.shutdown(std::net::Shutdown::Write).expect("it is open");
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("all of it");
    sending.join().expect("no panic");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let content = answer.split_off(end);
    let expected: Vec<u8> = (0..SIZE / 65536).flat_map(|part| [part as u8; 65536]).collect();
    let unchunked = dechunk(&answer, content);
    assert!(unchunked == expected, "{} bytes of {SIZE}", unchunked.len());
}

/// The content, if it is chunked without its frame.
fn dechunk(head: &[u8], content: Vec<u8>) -> Vec<u8> {
    if !head.windows(7).any(|seven| seven == b"chunked") {
        return content;
    }
    let (mut rest, mut whole) = (&content[..], Vec::new());
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").expect("a size");
        let size = std::str::from_utf8(&rest[..line]).expect("digits");
        let size = usize::from_str_radix(size, 16).expect("hexadecimal");
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
}
