//! A load generator: sends many requests of one kind to one server and measures the latencies.
//!
//! [`run`] drives a number of keep-alive connections from one thread. Each connection sends a burst
//! of requests in one write, waits for all answers, then sends the next burst. A burst of one is
//! plain keep-alive; a burst of sixteen is pipelining. After `Connection: close` in an answer or a
//! request, the next burst goes over a new connection.
//!
//! With [`Plan::tls`] everything goes over TLS. With [`Request::message`] a connection is a
//! websocket, a request a message, and its answer the echo.
//!
//! Everything is bounded: the requests or the time, the bytes held, and the time without progress.
//! A wrong answer ends the run with an error, since the figures of a wrong server mean nothing.
//! Wrong means: a status other than 200, an unexpected length, no `Content-Length`, unexpected
//! bytes, or a connection cut short.
//!
//! ```no_run
//! use portcullis_tests::load::{self, Limit, Plan, Request};
//!
//! let address = "127.0.0.1:8080".parse()?;
//! let plan = Plan::new(address, Request::get("/hello"), Limit::Requests(10_000)).connections(8);
//! let outcome = load::run(&plan)?;
//! println!("{:.0} requests/s", outcome.per_second());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
pub mod blocking;
mod client;
mod echo;
mod frames;
pub mod idle;
mod reader;
mod request;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod transport;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

pub use answer::BadAnswer;
pub use request::{Browser, Request};
pub use transport::Transport;
pub(crate) use transport::server_name;

use client::Client;

/// A run without progress for this long fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// 100 s in nanoseconds. Longer latencies count as this.
const MAX_LATENCY: u64 = 100_000_000_000;

/// The size of a read. All connections share the buffer.
const READ_BUFFER: usize = 256 << 10;

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After this many answers.
    Requests(u64),
    /// After this time. Requests still in progress don't count.
    Time(Duration),
}

/// Requests, their target, and the limits of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    address: SocketAddr,
    request: Request,
    limit: Limit,
    transport: Transport,
    connections: usize,
    burst: usize,
    answer_length: Option<u64>,
}

impl Plan {
    /// One plaintext connection, one request at a time, answers of any length.
    pub fn new(address: SocketAddr, request: Request, limit: Limit) -> Self {
        let transport = Transport::Plain;
        Self { address, request, limit, transport, connections: 1, burst: 1, answer_length: None }
    }

    /// Over TLS 1.3, with a full handshake on each connection.
    pub fn tls(self) -> Self {
        self.over(Transport::tls())
    }

    /// Over this transport.
    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// The number of connections at once: at least one.
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = count.max(1);
        self
    }

    /// The number of requests sent in one write before their answers are awaited: at least one.
    /// Requests with a body go one by one.
    pub fn burst(mut self, count: usize) -> Self {
        self.burst = count.max(1);
        self
    }

    /// The length that every answer's body must have.
    pub fn answer_length(mut self, length: u64) -> Self {
        self.answer_length = Some(length);
        self
    }
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Complete answers.
    pub requests: u64,
    /// Bytes of bodies received, with those of incomplete answers.
    pub received: u64,
    /// Bytes of bodies sent, with those of incomplete requests.
    pub sent: u64,
    /// Connections opened.
    pub connections: u64,
    /// From the first connection attempt to the last answer.
    pub elapsed: Duration,
    /// Nanoseconds from the start of a burst, or of the connection opened for it, to each answer's
    /// end.
    pub latencies: Histogram<u64>,
}

impl Outcome {
    /// Answers a second.
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Bytes of bodies a second, in both directions.
    pub fn bytes_per_second(&self) -> f64 {
        (self.received + self.sent) as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that this share of the answers (0.0 to 1.0) did not exceed.
    pub fn latency(&self, share: f64) -> Duration {
        Duration::from_nanos(self.latencies.value_at_quantile(share))
    }
}

/// Why a run ended before its limit.
#[derive(Debug)]
pub enum LoadError {
    /// A socket, the poller or TLS failed.
    Io(io::Error),
    /// The server sent a wrong answer.
    Answer(BadAnswer),
    /// The server closed a connection with this many answers missing.
    Cut(usize),
    /// No progress for ten seconds.
    Stalled,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Answer(bad) => write!(f, "{bad}"),
            Self::Cut(owed) => {
                write!(f, "the server closed a connection with {owed} answers missing")
            }
            Self::Stalled => write!(f, "no connection made progress for {} s", PATIENCE.as_secs()),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<BadAnswer> for LoadError {
    fn from(bad: BadAnswer) -> Self {
        Self::Answer(bad)
    }
}

/// Shared by the connections of a run: the requests left, and the counts so far.
struct Tally {
    /// Requests that no connection has taken yet.
    left: u64,
    /// When the run ends, if it is limited in time.
    until: Option<Instant>,
    requests: u64,
    received: u64,
    sent: u64,
    connections: u64,
    latencies: Histogram<u64>,
}

impl Tally {
    fn new(limit: Limit, start: Instant) -> Self {
        let (left, until) = match limit {
            Limit::Requests(count) => (count, None),
            Limit::Time(time) => (u64::MAX, Some(start + time)),
        };
        let latencies =
            Histogram::new_with_max(MAX_LATENCY, 3).expect("constants that the crate allows");
        Self { left, until, requests: 0, received: 0, sent: 0, connections: 0, latencies }
    }

    /// Takes up to `count` of the remaining requests.
    fn take(&mut self, count: usize) -> usize {
        let taken = self.left.min(count as u64);
        self.left -= taken;
        taken as usize
    }

    fn answered(&mut self, took: Duration) {
        self.requests += 1;
        self.latencies.saturating_record(took.as_nanos() as u64);
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now >= until)
    }
}

/// Runs a plan and counts the answers.
pub fn run(plan: &Plan) -> Result<Outcome, LoadError> {
    let start = Instant::now();
    let mut tally = Tally::new(plan.limit, start);
    let mut poll = Poll::new()?;
    let mut buffer = vec![0; READ_BUFFER];

    let mut clients = Vec::with_capacity(plan.connections);
    for index in 0..plan.connections {
        if let Some(client) = Client::start(plan, &poll, Token(index), &mut tally)? {
            clients.push(client);
        }
    }

    let mut busy = clients.len();
    let mut events = Events::with_capacity(1024);
    let mut progress = start;
    while busy > 0 {
        let now = Instant::now();
        if tally.is_over(now) {
            break;
        }
        let until = tally.until.unwrap_or(progress + PATIENCE).min(progress + PATIENCE);
        poll.poll(&mut events, Some(until.saturating_duration_since(now)))?;
        if events.is_empty() {
            if Instant::now() >= progress + PATIENCE {
                return Err(LoadError::Stalled);
            }
            continue;
        }
        progress = Instant::now();
        for event in &events {
            let client = &mut clients[event.token().0];
            if !client.is_done() && client.ready(&poll, event, &mut buffer, &mut tally)? {
                busy -= 1;
            }
        }
    }

    Ok(Outcome {
        requests: tally.requests,
        received: tally.received,
        sent: tally.sent,
        connections: tally.connections,
        elapsed: start.elapsed(),
        latencies: tally.latencies,
    })
}
