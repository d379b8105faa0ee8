//! Tests the load with scripted servers: it must count every request once and find every fault.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;

use super::idle::{self, Arrival};
use super::{BadAnswer, Limit, LoadError, Outcome, Plan, Request, Transport, run};
use crate::reference::tls::server_config;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";

/// Answers the requests of each connection with these texts in turn, then closes it. Accepts
/// `connections` connections, one after the other. Returns the number of heads it has read.
fn server(connections: usize, answers: Vec<&'static str>) -> (SocketAddr, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let serve = move || {
        let each = |_| answer(&mut listener.accept().expect("a client").0, &answers);
        (0..connections).map(each).sum()
    };
    (address, thread::spawn(serve))
}

/// The same over TLS, in writes of at most `piece` bytes.
fn tls_server(
    connections: usize,
    answers: Vec<&'static str>,
    piece: usize,
) -> (SocketAddr, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let config = server_config().expect("a certificate");
    let serve = move || {
        let each = |_| {
            let mut stream = secure(listener.accept().expect("a client").0, &config, piece);
            let seen = answer(&mut stream, &answers);
            stream.conn.send_close_notify();
            drop(stream.flush());
            seen
        };
        (0..connections).map(each).sum()
    };
    (address, thread::spawn(serve))
}

type Secure = StreamOwned<ServerConnection, Pieces>;

fn secure(socket: TcpStream, config: &Arc<ServerConfig>, piece: usize) -> Secure {
    socket.set_nodelay(true).expect("connected");
    let session = ServerConnection::new(config.clone()).expect("a good configuration");
    StreamOwned::new(session, Pieces { socket, piece })
}

/// A socket that takes at most `piece` bytes in a write.
struct Pieces {
    socket: TcpStream,
    piece: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(&bytes[..bytes.len().min(self.piece)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn answer(stream: &mut (impl Read + Write), answers: &[&str]) -> usize {
    let (mut seen, mut bytes) = (0, Vec::new());
    while seen < answers.len() {
        let mut buffer = [0; 4096];
        // An error means that the client closed without a close_notify.
        let Ok(count @ 1..) = stream.read(&mut buffer) else {
            break;
        };
        bytes.extend_from_slice(&buffer[..count]);
        while let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            bytes.drain(..end + 4);
            if let Some(answer) = answers.get(seen) {
                // The client may have closed after a wrong answer.
                drop(stream.write_all(answer.as_bytes()));
                seen += 1;
            }
        }
    }
    seen
}

fn load(address: SocketAddr, count: u64, burst: usize) -> Result<Outcome, LoadError> {
    run(&Plan::new(address, Request::get("/"), Limit::Requests(count)).burst(burst))
}

fn load_over_tls(address: SocketAddr, count: u64, burst: usize) -> Result<Outcome, LoadError> {
    run(&Plan::new(address, Request::get("/"), Limit::Requests(count)).burst(burst).tls())
}

#[test]
fn every_request_is_counted_once() {
    let (address, server) = server(1, vec![ANSWER; 10]);
    let outcome = load(address, 10, 3).expect("good answers");
    assert_eq!(server.join().expect("no panic"), 10);
    assert_eq!((outcome.requests, outcome.received, outcome.connections), (10, 20, 1));
    assert_eq!(outcome.latencies.len(), 10);
}

#[test]
fn an_announced_close_leads_to_a_new_connection() {
    // Bursts of two on connections that take three requests: each connection leaves one request
    // unanswered.
    let (address, server) = server(3, vec![ANSWER, ANSWER, LAST]);
    let outcome = load(address, 9, 2).expect("good answers");
    assert_eq!(server.join().expect("no panic"), 9);
    assert_eq!((outcome.requests, outcome.connections), (9, 3));
}

#[test]
fn an_unannounced_close_is_an_error() {
    let (address, server) = server(1, vec![ANSWER, ANSWER]);
    assert!(matches!(load(address, 3, 1), Err(LoadError::Cut(1))));
    server.join().expect("no panic");
}

#[test]
fn a_wrong_answer_is_an_error() {
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let (address, server) = server(1, vec![missing]);
    let error = load(address, 1, 1).expect_err("not 200");
    assert!(matches!(error, LoadError::Answer(BadAnswer::Status(404))), "{error}");
    server.join().expect("no panic");
}

#[test]
fn more_answers_than_requests_are_an_error() {
    let two = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n";
    let (address, server) = server(1, vec![two]);
    let error = load(address, 2, 1).expect_err("one answer too many");
    assert!(matches!(error, LoadError::Answer(BadAnswer::Excess)), "{error}");
    server.join().expect("no panic");
}

#[test]
fn a_time_limit_ends_a_run_within_an_answer() {
    let endless = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhi";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = thread::spawn(move || {
        let mut stream = listener.accept().expect("a client").0;
        stream.write_all(endless.as_bytes()).expect("the client reads");
        stream.read_to_end(&mut Vec::new()).is_ok()
    });
    let limit = Limit::Time(Duration::from_millis(50));
    let outcome = run(&Plan::new(address, Request::get("/"), limit)).expect("nothing wrong so far");
    assert_eq!((outcome.requests, outcome.received), (0, 2));
    assert!(outcome.elapsed >= Duration::from_millis(50));
    drop(server.join());
}

#[test]
fn every_request_over_tls_is_counted_once_for_every_piece_size() {
    for piece in [3, 100, usize::MAX] {
        let (address, server) = tls_server(1, vec![ANSWER; 10], piece);
        let outcome = load_over_tls(address, 10, 3).expect("good answers");
        assert_eq!(server.join().expect("no panic"), 10, "pieces of {piece}");
        assert_eq!((outcome.requests, outcome.received, outcome.connections), (10, 20, 1));
    }
}

#[test]
fn an_announced_close_over_tls_leads_to_a_new_handshake() {
    let (address, server) = tls_server(3, vec![ANSWER, ANSWER, LAST], usize::MAX);
    let outcome = load_over_tls(address, 9, 2).expect("good answers");
    assert_eq!(server.join().expect("no panic"), 9);
    assert_eq!((outcome.requests, outcome.connections), (9, 3));
}

#[test]
fn an_unannounced_close_over_tls_is_an_error() {
    let (address, server) = tls_server(1, vec![ANSWER, ANSWER], usize::MAX);
    assert!(matches!(load_over_tls(address, 3, 1), Err(LoadError::Cut(1))));
    server.join().expect("no panic");
}

#[test]
fn bodies_over_tls_are_counted_both_ways() {
    // More than one read and one record hold; the upload is also larger than the sockets' buffers.
    const UP: u64 = 12_000_003;
    const DOWN: usize = 700_001;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    SockRef::from(&listener).set_recv_buffer_size(4096).expect("a small size");
    let address = listener.local_addr().expect("bound");
    let config = server_config().expect("a certificate");
    let server = thread::spawn(move || {
        let mut stream = secure(listener.accept().expect("a client").0, &config, usize::MAX);
        let head = Request::post("/", UP).head().to_vec();
        let mut request = vec![0; head.len() + UP as usize];
        stream.read_exact(&mut request).expect("the whole request");
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {DOWN}\r\n\r\n")
            .expect("the client reads");
        stream.write_all(&vec![b'y'; DOWN]).expect("the client reads");
        request.starts_with(&head) && request[head.len()..].iter().all(|byte| *byte == b'x')
    });
    let plan = Plan::new(address, Request::post("/", UP), Limit::Requests(1));
    let outcome = run(&plan.answer_length(DOWN as u64).tls()).expect("a good answer");
    assert!(server.join().expect("no panic"), "the body arrived changed");
    assert_eq!((outcome.requests, outcome.sent, outcome.received), (1, UP, DOWN as u64));
}

#[test]
fn plaintext_where_tls_is_expected_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = thread::spawn(move || {
        let mut stream = listener.accept().expect("a client").0;
        stream.write_all(LAST.as_bytes()).expect("the client reads");
        // Waits until the client is gone.
        drop(stream.read_to_end(&mut Vec::new()));
    });
    match load_over_tls(address, 1, 1) {
        Err(LoadError::Io(error)) => assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}"),
        other => panic!("{other:?}"),
    }
    server.join().expect("no panic");
}

#[test]
fn a_connection_is_held_until_it_is_dropped() {
    let process = std::process::id();
    for arrival in [Arrival::InTurn, Arrival::AtOnce] {
        // The client must not send a second request.
        let (address, server) = server(1, vec![ANSWER, ANSWER]);
        let held = idle::hold(address, process, 1, &Transport::Plain, &hello(), arrival);
        drop(held.expect("a good answer"));
        assert_eq!(server.join().expect("no panic"), 1, "{arrival:?}");

        let (address, server) = tls_server(1, vec![ANSWER, ANSWER], usize::MAX);
        let held = idle::hold(address, process, 1, &Transport::tls(), &hello(), arrival);
        drop(held.expect("a good answer"));
        assert_eq!(server.join().expect("no panic"), 1, "{arrival:?} over TLS");
    }
}

#[test]
fn a_closed_connection_is_an_error() {
    let process = std::process::id();
    let (address, server) = server(1, vec![ANSWER]);
    let held = idle::hold(address, process, 1, &Transport::Plain, &hello(), Arrival::InTurn);
    assert!(matches!(held, Err(LoadError::Cut(0))), "{held:?}");
    server.join().expect("no panic");

    let (address, server) = tls_server(1, vec![ANSWER], usize::MAX);
    let held = idle::hold(address, process, 1, &Transport::tls(), &hello(), Arrival::InTurn);
    assert!(matches!(held, Err(LoadError::Cut(0))), "{held:?}");
    server.join().expect("no panic");
}

fn hello() -> Request {
    Request::get("/hello")
}

/// Accepts `connections` websockets and sends back their messages, each on a thread of its own.
fn echo_server(connections: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for _ in 0..connections {
            let stream = listener.accept().expect("a client").0;
            thread::spawn(|| {
                let mut websocket = tungstenite::accept(stream).expect("a handshake");
                // Ends when the client does.
                while let Ok(message) = websocket.read() {
                    if websocket.send(message).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn messages_are_counted_once_they_have_come_back() {
    for (size, text) in [(0, true), (64, false), (70_000, true)] {
        let plan =
            Plan::new(echo_server(2), Request::message("/", size, text), Limit::Requests(20));
        let outcome = run(&plan.connections(2).burst(3)).expect("messages come back");
        assert_eq!((outcome.requests, outcome.connections), (20, 2));
        assert_eq!(outcome.received, 20 * size as u64);
        assert_eq!(outcome.latencies.len(), 20);
    }
}

#[test]
fn idle_websockets_have_had_a_message_sent_back() {
    let message = Request::message("/", 64, false);
    let process = std::process::id();
    for arrival in [Arrival::InTurn, Arrival::AtOnce] {
        let address = echo_server(3);
        let held = idle::hold(address, process, 3, &Transport::Plain, &message, arrival);
        assert!(held.is_ok(), "{held:?}");
    }
}
