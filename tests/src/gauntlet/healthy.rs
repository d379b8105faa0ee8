//! The healthy client: one request after the other on a connection that it keeps, and now and then
//! one on a fresh connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::load::Transport;
use crate::load::blocking::Connection;

/// The pause between two requests.
const PAUSE: Duration = Duration::from_millis(5);
/// Every so many requests, one goes over a fresh connection.
const FRESH: usize = 20;
/// More than a head and the content of `/hello` have.
const LONGEST: usize = 64 << 10;

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// When it began, since the client started.
    pub(super) at: Duration,
    pub(super) took: Duration,
    /// Over a fresh connection, whose opening is part of its time.
    pub(super) fresh: bool,
    pub(super) failed: bool,
}

/// A running client.
pub(super) struct Healthy {
    stop: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<Request>>>,
    thread: Option<JoinHandle<()>>,
}

impl Healthy {
    /// Starts the client in a thread of its own. `began` is the origin of its times. A request that
    /// waits longer than `patience` has failed.
    pub(super) fn start(
        address: SocketAddr,
        tls: bool,
        path: &str,
        began: Instant,
        patience: Duration,
    ) -> Self {
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let client = Client {
            address,
            transport: if tls { Transport::tls() } else { Transport::Plain },
            request: format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            kept: None,
            patience,
        };
        let thread = {
            let (stop, requests) = (stop.clone(), Arc::clone(&requests));
            thread::spawn(move || client.run(began, &stop, &requests))
        };
        Self { stop, requests, thread: Some(thread) }
    }

    /// How many requests were answered so far.
    pub(super) fn count(&self) -> usize {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Stops the client and returns its requests, in order.
    pub(super) fn stop(mut self) -> Vec<Request> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there would be a failure of the gauntlet, and its requests are missing then.
            drop(thread.join());
        }
        std::mem::take(&mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Healthy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Client {
    address: SocketAddr,
    transport: Transport,
    request: String,
    kept: Option<Connection>,
    patience: Duration,
}

impl Client {
    fn run(mut self, began: Instant, stop: &AtomicBool, requests: &Mutex<Vec<Request>>) {
        for number in 1.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let start = Instant::now();
            let mut fresh = number % FRESH == 0;
            let done = if fresh { self.once() } else { self.again(&mut fresh) };
            let request =
                Request { at: start - began, took: start.elapsed(), fresh, failed: done.is_err() };
            requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            thread::sleep(PAUSE);
        }
    }

    /// One request on a fresh connection.
    fn once(&self) -> io::Result<()> {
        let mut connection = Connection::open(self.address, &self.transport, self.patience)?;
        self.ask(&mut connection).map(drop)
    }

    /// One request on the connection that is kept. A server may close that between two requests;
    /// then a client asks again on a fresh one, as browsers do.
    fn again(&mut self, fresh: &mut bool) -> io::Result<()> {
        if let Some(mut connection) = self.kept.take()
            && let Ok(keeps) = self.ask(&mut connection)
        {
            self.kept = keeps.then_some(connection);
            return Ok(());
        }
        *fresh = true;
        let mut connection = Connection::open(self.address, &self.transport, self.patience)?;
        let keeps = self.ask(&mut connection)?;
        self.kept = keeps.then_some(connection);
        Ok(())
    }

    /// Sends the request and reads its answer. Returns whether the server keeps the connection.
    fn ask(&self, connection: &mut Connection) -> io::Result<bool> {
        connection.write_all(self.request.as_bytes())?;
        connection.flush()?;
        let mut held = Vec::new();
        let mut bytes = [0; 4096];
        while held.len() < LONGEST {
            let count = connection.read(&mut bytes)?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            held.extend_from_slice(&bytes[..count]);
            if let Some(keeps) = whole(&held)? {
                return Ok(keeps);
            }
        }
        Err(io::Error::new(ErrorKind::InvalidData, "the answer is too long"))
    }
}

/// Whether these bytes are a whole answer with a success, and the connection is kept after it.
fn whole(bytes: &[u8]) -> io::Result<Option<bool>> {
    let wrong = |what: &str| Err(io::Error::new(ErrorKind::InvalidData, what.to_owned()));
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut fields);
    let head = match answer.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return wrong("not an answer of HTTP/1.1"),
    };
    if answer.code != Some(200) {
        return wrong("not a success");
    }
    let field = |name: &str| {
        let found = answer.headers.iter().find(|it| it.name.eq_ignore_ascii_case(name));
        found.and_then(|it| std::str::from_utf8(it.value).ok())
    };
    let Some(length) = field("content-length").and_then(|it| it.parse::<usize>().ok()) else {
        return wrong("no length");
    };
    let keeps = !field("connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
    Ok((bytes.len() >= head + length).then_some(keeps))
}
