//! Peers that have gone while a handler works, readers that have given up, and a process that stood still.
//! The driver notices them, and does not charge the peer for the last two.

use super::{Adapter, PATIENCE, connect, listener, start_server};
use crate::adapter::{Body, Config, Disconnected, Stats};
use futures_lite::future::{or, poll_once};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use socket2::SockRef;
use std::future::{pending, ready};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

const BRIEF: Duration = Duration::from_millis(300);

/// Tells the test when it is dropped.
struct Guard(Sender<&'static str>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// Serves with a handler that tells when it begins, when the peer has gone, and when it is dropped.
fn start_endless<A: Adapter>(config: Config) -> (SocketAddr, Receiver<&'static str>) {
    let (listener, address) = listener();
    let (told, seen) = channel();
    let endless = move |request: Request<Body>| {
        let guard = Guard(told.clone());
        async move {
            let gone = request.extensions().get::<Disconnected>().cloned().expect("it is there");
            let _ = guard.0.send("begun");
            gone.await;
            let _ = guard.0.send("disconnected");
            pending::<()>().await;
            drop(request);
            Response::new(Full::new(&b""[..]))
        }
    };
    start_server::<A, _, _, _, _>(A::server(listener, Arc::new(config), endless));
    (address, seen)
}

fn next(seen: &Receiver<&'static str>) -> &'static str {
    seen.recv_timeout(PATIENCE).expect("it is noticed")
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

pub fn a_handler_is_told_of_a_fin_at_once_and_dropped_later<A: Adapter>() {
    let config = Config::builder().peer_gone_timeout(BRIEF).build().expect("valid");
    let (address, seen) = start_endless::<A>(config);
    let mut stream = connect(address);
    stream.write_all(GET.as_bytes()).expect("it reads");
    assert_eq!(next(&seen), "begun");
    let start = Instant::now();
    stream.shutdown(Shutdown::Write).expect("shut down");
    assert_eq!(next(&seen), "disconnected");
    assert_eq!(next(&seen), "dropped");
    assert!(start.elapsed() >= BRIEF, "{:?}", start.elapsed());
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "and the connection is closed");
}

pub fn a_reset_is_noticed_whatever_is_held<A: Adapter>() {
    for (sent, fin) in [
        (GET.to_owned(), false),
        (format!("{GET}G"), false),
        (GET.repeat(3), false),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n12345".to_owned(), false),
        (GET.to_owned(), true),
        (format!("{GET}G"), true),
    ] {
        // `peer_gone_timeout` is longer than the patience of this test.
        let (address, seen) = start_endless::<A>(Config::default());
        let mut stream = connect(address);
        stream.write_all(sent.as_bytes()).expect("it reads");
        assert_eq!(next(&seen), "begun");
        if fin {
            stream.shutdown(Shutdown::Write).expect("shut down");
        }
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("it can be set");
        drop(stream);
        while next(&seen) != "dropped" {}
    }
}

pub fn a_read_that_was_given_up_is_no_wait_for_the_peer<A: Adapter>() {
    let (listener, address) = listener();
    let grace = Config::builder().request_body_grace(BRIEF).build().expect("valid");
    let (release, released) = async_channel::bounded::<()>(1);
    let handler = move |request: Request<Body>| {
        let released = released.clone();
        async move {
            let path = request.uri().path().to_owned();
            let mut body = request.into_body();
            match path.as_str() {
                // The handler polls once and drops the future, or drops the body with it.
                "/once" | "/dropped" => {
                    assert!(poll_once(body.frame()).await.is_none());
                    let body = (path == "/once").then_some(body);
                    let _ = released.recv().await;
                    drop(body);
                }
                // The handler polls in a race that the other side wins.
                "/race" => {
                    let frame = async { drop(body.frame().await) };
                    let release = async {
                        let _ = released.recv().await;
                    };
                    or(frame, release).await;
                    let _ = released.recv().await;
                }
                _ => drop(body.frame().await),
            }
            Response::new(Full::new(&b"answered"[..]))
        }
    };
    start_server::<A, _, _, _, _>(A::server(listener, Arc::new(grace), handler));
    let post = |path: &str| {
        let mut stream = connect(address);
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        stream
    };
    let given_up = ["/once", "/dropped"].map(post);
    // Two deadlines that pass one after the other show that the time of the others has passed at least twice.
    for _ in 0..2 {
        let mut answer = String::new();
        post("/waits").read_to_string(&mut answer).expect("a close");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    // In a race the handler waits for content as long as the race goes on.
    let mut answer = String::new();
    post("/race").read_to_string(&mut answer).expect("a close");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    release.close();
    for mut stream in given_up {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
}

pub fn requests_that_arrived_while_a_handler_blocked_its_thread_are_answered<A: Adapter>() {
    // An attempt does not count if the test itself was too slow.
    let judged = (0..20).any(|_| outlasts_a_blocked_thread::<A>());
    assert!(judged, "the machine is too slow for any attempt");
}

/// Clients whose time passes while a handler blocks the thread. They have sent their bytes before, so each
/// has to be answered. Returns false if the attempt does not count.
fn outlasts_a_blocked_thread<A: Adapter>() -> bool {
    let (listener, address) = listener();
    let brief = Config::builder().keep_alive_timeout(BRIEF).request_head_timeout(BRIEF);
    let stats = Arc::new(Stats::new());
    let (told, blocks) = channel();
    let seen = stats.clone();
    let blocking = move |request: Request<Body>| {
        if request.uri().path() == "/block" {
            let _ = told.send(seen.snapshot().closes.len());
            // No handler should block its thread.
            thread::sleep(3 * BRIEF);
        }
        ready(Response::new(Full::new(&b"answered"[..])))
    };
    let config = Arc::new(brief.build().expect("valid"));
    start_server::<A, _, _, _, _>(A::server(listener, config, blocking).stats(stats.clone()));
    let [mut idle, mut begun, mut block] = [(); 3].map(|()| connect(address));
    idle.write_all(GET.as_bytes()).expect("it is open");
    read_answer(&mut idle);
    begun.write_all(b"GET / HTTP/1.1\r\n").expect("it is open");
    block.write_all(b"GET /block HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
    let closed = blocks.recv_timeout(PATIENCE).expect("it is called");
    let start = Instant::now();
    let sent = idle.write_all(GET.as_bytes()).and(begun.write_all(b"Host: a\r\n\r\n"));
    if closed > 0 || sent.is_err() || start.elapsed() >= BRIEF / 2 {
        return false;
    }
    [idle, begun, block].iter_mut().for_each(read_answer);
    true
}

fn read_answer(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"answered") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it is answered, not closed");
        answer.push(byte[0]);
    }
}
