//! Connections take turns on a thread. A connection with much work does not keep the thread.

use super::counted::{self, REQUESTS};
use super::{Adapter, GET, UPGRADE, ask, connect, frame, start};
use crate::adapter::{Body, Upgrade};
use axum::body::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub fn many_requests_at_once_take_many_turns<A: Adapter>() {
    let polls = counted::polls_of_pipelined_requests::<A>();
    // A turn is up to 256 requests.
    assert!(polls > REQUESTS / 256, "{polls} polls for {REQUESTS} requests");
}

pub fn a_request_is_answered_beside_many_that_take_their_time<A: Adapter>() {
    let request = "GET /bully HTTP/1.1\r\nHost: a\r\n\r\n";
    beside_a_bully::<A>(request.repeat(MANY).as_bytes());
}

pub fn a_request_is_answered_beside_many_messages_that_take_their_time<A: Adapter>() {
    let whole = frame(0x82, b"ab");
    beside_a_bully::<A>(&[UPGRADE.as_bytes(), &whole.repeat(MANY)].concat());
}

pub fn a_request_is_answered_beside_many_assembled_messages_that_take_their_time<A: Adapter>() {
    let fragments = [frame(0x02, b"a"), frame(0x80, b"b")].concat();
    beside_a_bully::<A>(&[UPGRADE.as_bytes(), &fragments.repeat(MANY)].concat());
}

/// The number of requests or messages that the bully sends at once.
const MANY: usize = 300;

/// The slow work for the bully.
struct Work {
    calls: AtomicUsize,
    begun: Sender<()>,
    goes_on: Mutex<Receiver<()>>,
}

impl Work {
    fn call(&self) {
        // The first call keeps the thread until the other request has arrived.
        if self.calls.fetch_add(1, SeqCst) == 0 {
            self.begun.send(()).expect("the test waits");
            _ = self.goes_on.lock().expect("no panic").recv();
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// One connection sends `wire`, which causes much work. Another one has to be answered before all of it is
/// done.
fn beside_a_bully<A: Adapter>(wire: &[u8]) {
    let (begun, begins) = channel();
    let (sent, goes_on) = channel::<()>();
    let work = Arc::new(Work { calls: AtomicUsize::new(0), begun, goes_on: Mutex::new(goes_on) });
    let service = move |request: Request<Body>| {
        let work = work.clone();
        async move {
            match request.uri().path() {
                "/bully" => work.call(),
                "/ws" => {
                    let upgrade = Upgrade::new(&request).expect("it asks well");
                    return upgrade.accept(async move |mut websocket| {
                        while let Some(Ok(_)) = websocket.receive().await {
                            work.call();
                        }
                    });
                }
                _ => {}
            }
            Response::new(Full::<Bytes>::from(work.calls.load(SeqCst).to_string()))
        }
    };
    let address = start::<A, _, _>(service);
    let mut bully = connect(address);
    let mut other = connect(address);
    bully.write_all(wire).expect("it reads");
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
    assert!(ask(address, GET).starts_with("HTTP/1.1 200 "));
}
