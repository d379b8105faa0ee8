//! Connections take turns on a thread: one that has much to do does not keep it.

use super::counted::{self, REQUESTS};
use super::{ask, connect, start};
use crate::adapter;
use adapter::Body;
use axum::body::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[test]
fn many_requests_at_once_take_many_turns() {
    let polls = counted::polls_of_pipelined_requests();
    // A turn is up to 256 requests.
    assert!(polls > REQUESTS / 256, "{polls} polls for {REQUESTS} requests");
}

#[test]
fn a_request_is_answered_beside_many_that_take_their_time() {
    const MANY: usize = 300;
    let calls = Arc::new(AtomicUsize::new(0));
    let (begun, begins) = channel();
    let (sent, goes_on) = channel::<()>();
    let goes_on = Arc::new(Mutex::new(goes_on));
    let counted = calls.clone();
    let service = move |request: Request<Body>| {
        let (counted, begun, goes_on) = (counted.clone(), begun.clone(), goes_on.clone());
        async move {
            if request.uri().path() == "/bully" {
                // The first one keeps the thread until the other request is there.
                if counted.fetch_add(1, SeqCst) == 0 {
                    begun.send(()).expect("the test waits");
                    _ = goes_on.lock().expect("no panic").recv();
                }
                thread::sleep(Duration::from_millis(1));
            }
            Response::new(Full::<Bytes>::from(counted.load(SeqCst).to_string()))
        }
    };
    let address = start(service);
    let mut bully = connect(address);
    let mut other = connect(address);
    bully
        .write_all("GET /bully HTTP/1.1\r\nHost: a\r\n\r\n".repeat(MANY).as_bytes())
        .expect("it reads");
    begins.recv().expect("it begins");
    other
        .write_all(b"GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .expect("the kernel takes it");
    sent.send(()).expect("it waits");
    let mut answer = String::new();
    other.read_to_string(&mut answer).expect("an answer");
    let before: usize =
        answer.rsplit("\r\n").next().and_then(|it| it.parse().ok()).expect("a number");
    assert!(before < MANY, "all were called before");
    drop(bully);
    assert!(ask(address, super::GET).starts_with("HTTP/1.1 200 "));
}
