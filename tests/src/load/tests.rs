//! The load against a scripted server: that every request is counted once, and every fault found.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{BadAnswer, Limit, LoadError, Outcome, Plan, Request, run};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";

/// Answers the requests of each connection with the texts in turn, then closes it; so many
/// connections, one after the other. Returns how many heads it has seen.
fn server(connections: usize, answers: Vec<&'static str>) -> (SocketAddr, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let serve = move || {
        let each = |_| answer(&mut listener.accept().expect("a client").0, &answers);
        (0..connections).map(each).sum()
    };
    (address, thread::spawn(serve))
}

fn answer(stream: &mut TcpStream, answers: &[&str]) -> usize {
    let (mut seen, mut bytes) = (0, Vec::new());
    while seen < answers.len() {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).expect("bytes or an end");
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..count]);
        while let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            bytes.drain(..end + 4);
            if let Some(answer) = answers.get(seen) {
                // The client may have had enough of a wrong answer.
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
    // Bursts of two on connections that take three: each leaves one request over.
    let (address, server) = server(3, vec![ANSWER, ANSWER, LAST]);
    let outcome = load(address, 9, 2).expect("good answers");
    assert_eq!(server.join().expect("no panic"), 9);
    assert_eq!((outcome.requests, outcome.connections), (9, 3));
}

#[test]
fn a_close_that_was_not_announced_is_an_error() {
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
fn time_ends_a_run_whose_answers_do_not() {
    let endless = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhi";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = thread::spawn(move || {
        let mut stream = listener.accept().expect("a client").0;
        stream.write_all(endless.as_bytes()).expect("room");
        stream.read_to_end(&mut Vec::new()).is_ok()
    });
    let limit = Limit::Time(Duration::from_millis(50));
    let outcome = run(&Plan::new(address, Request::get("/"), limit)).expect("nothing wrong so far");
    assert_eq!((outcome.requests, outcome.received), (0, 2));
    assert!(outcome.elapsed >= Duration::from_millis(50));
    drop(server.join());
}
