//! Counts the server's calls of its runtime. It polls nothing without a reason, and moves no alarm for
//! nothing.

use super::{Adapter, PATIENCE, connect, hello, listener, start_server};
use crate::adapter::{
    Address, Body, Config, Listener, Runtime, Server, Service, Socket, Timer, Upgrade,
    refuse_upgrade,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// The number of requests in a test.
pub(crate) const REQUESTS: u64 = 1000;

/// The calls since the last look. Timers are made from nothing, so the counters have to be global, and the
/// tests of this file take turns.
#[derive(Debug)]
struct Counts {
    polls: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    alarms: AtomicU64,
}

static COUNTS: Counts = Counts {
    polls: AtomicU64::new(0),
    reads: AtomicU64::new(0),
    writes: AtomicU64::new(0),
    alarms: AtomicU64::new(0),
};

/// When the newest alarm will fire.
static ALARM: Mutex<Option<Instant>> = Mutex::new(None);

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Counts {
    /// The numbers of polls of connections, reads, writes and alarms since the last call.
    fn take(&self) -> [u64; 4] {
        [&self.polls, &self.reads, &self.writes, &self.alarms].map(|count| count.swap(0, SeqCst))
    }
}

fn note_alarm(at: Instant) {
    COUNTS.alarms.fetch_add(1, SeqCst);
    *ALARM.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
}

fn newest_alarm() -> Instant {
    let alarm = ALARM.lock().unwrap_or_else(PoisonError::into_inner);
    alarm.expect("a connection has an alarm")
}

/// A runtime that counts.
#[derive(Clone)]
struct Counted<T>(T);

impl<R: Runtime> Runtime for Counted<R> {
    type Timer = Counted<R::Timer>;

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut future = Box::pin(future);
        self.0.spawn(poll_fn(move |cx| {
            COUNTS.polls.fetch_add(1, SeqCst);
            future.as_mut().poll(cx)
        }));
    }
}

impl<L: Listener> Listener for Counted<L> {
    type Socket = Counted<L::Socket>;
    type Peer<'s> = L::Peer<'s>;

    fn peer<'s>(socket: &'s Self::Socket, address: &'s Address) -> L::Peer<'s> {
        L::peer(&socket.0, address)
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Address)>> {
        self.0.poll_accept(cx).map_ok(|(socket, peer)| (Counted(socket), peer))
    }

    fn accept_now(&mut self) -> io::Result<Option<(Self::Socket, Address)>> {
        Ok(self.0.accept_now()?.map(|(socket, peer)| (Counted(socket), peer)))
    }
}

impl<S: Socket> Socket for Counted<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        COUNTS.reads.fetch_add(1, SeqCst);
        self.0.poll_read(cx, buffer)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        COUNTS.writes.fetch_add(1, SeqCst);
        self.0.poll_write(cx, slices)
    }

    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown_write(cx)
    }

    fn reset_on_close(&mut self) {
        self.0.reset_on_close();
    }
}

impl<T: Timer> Timer for Counted<T> {
    fn new(at: Instant) -> Self {
        note_alarm(at);
        Counted(T::new(at))
    }

    fn reset(&mut self, at: Instant) {
        note_alarm(at);
        self.0.reset(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx)
    }

    fn yield_now(cx: &mut Context<'_>) {
        T::yield_now(cx);
    }
}

/// Serves `service` on a runtime that counts. Returns a connection that has had its first answer.
fn begin<A: Adapter, S: Service<K>, K: 'static>(service: S) -> TcpStream {
    let (listener, address) = listener();
    let (runtime, listener) = A::parts(listener);
    // No timer ends before the test, however long it takes.
    let config = Config::builder()
        .requests_per_connection(u64::MAX)
        .keep_alive_timeout(HOUR)
        .request_head_timeout(HOUR / 2)
        .request_body_grace(HOUR)
        .websocket_ping_interval(Some(HOUR))
        .build();
    let config = Arc::new(config.expect("valid"));
    let server = Server::new(Counted(runtime), Counted(listener), service).config(config);
    start_server::<A, _, _, _, _>(server);
    let mut stream = connect(address);
    exchange(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    stream
}

/// Sends a request, and waits for its answer.
fn exchange(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).expect("it reads");
    let (mut answer, mut bytes) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"\r\n\r\nhello") {
        let count = stream.read(&mut bytes).expect("an answer");
        assert!(count > 0, "{answer:?}");
        answer.extend_from_slice(&bytes[..count]);
    }
}

/// The alarms that a test may need. A deadline moves to an earlier time at most once, and none comes.
const MOST_ALARMS: u64 = 2;

pub fn a_request_is_one_poll_and_no_alarm<A: Adapter>() {
    let _turn = turn();
    let mut stream = begin::<A, _, _>(hello);
    COUNTS.take();
    for _ in 0..REQUESTS {
        exchange(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    // The second read learns of the next request.
    check(2);
}

/// So deadlines are kept, as far as the runtime and the machine allow.
pub fn the_alarm_is_never_later_than_the_deadline<A: Adapter>() {
    let _turn = turn();
    let mut stream = begin::<A, _, _>(hello);
    assert!(newest_alarm() <= Instant::now() + HOUR, "the keep-alive timeout");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ").expect("it reads");
    let start = Instant::now();
    while newest_alarm() > Instant::now() + HOUR / 2 {
        assert!(start.elapsed() < PATIENCE, "the alarm is not moved to the deadline of the head");
        std::thread::yield_now();
    }
}

pub fn a_connection_that_waits_is_not_polled<A: Adapter>() {
    let _turn = turn();
    let waits = [
        "",
        "GET / HTTP/1.1\r\nHost: ",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: ",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbo",
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\u{1}",
        "GET /never HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    let service = async |request: Request<Body>| match request.uri().path() {
        "/never" => std::future::pending().await,
        "/ws" => match Upgrade::new(&request) {
            Ok(upgrade) => {
                upgrade.accept(async |mut websocket| while websocket.receive().await.is_some() {})
            }
            Err(bad) => refuse_upgrade(bad),
        },
        _ => {
            let _ = request.into_body().collect().await;
            Response::new(Full::new(&b"hello"[..]))
        }
    };
    for said in waits {
        let mut stream = begin::<A, _, _>(service);
        stream.write_all(said.as_bytes()).expect("it reads");
        stream.set_read_timeout(Some(Duration::from_millis(200))).expect("it can be set");
        // The answer comes first. After it, the time of this pause is the time in which nothing may happen.
        while stream.read(&mut [0; 1024]).is_ok() {}
        COUNTS.take();
        // A busy machine may still work on the last bytes. When it is done, nothing happens.
        let start = Instant::now();
        loop {
            let error = stream.read(&mut [0]).expect_err("nothing");
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            let counts = COUNTS.take();
            if counts == [0; 4] {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{counts:?} for {said:?}");
        }
    }
}

pub fn content_that_comes_in_pieces_is_one_poll_a_piece<A: Adapter>() {
    let _turn = turn();
    let mut stream = begin::<A, _, _>(async |request: Request<Body>| {
        // The handler answers only if the content was complete.
        let whole = request.into_body().collect().await.is_ok();
        Response::new(Full::new(if whole { b"hello" } else { &b"cut"[..] }))
    });
    stream.set_nodelay(true).expect("it can be set");
    COUNTS.take();
    for _ in 0..REQUESTS / 2 {
        let head =
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
        stream.write_all(head).expect("it reads");
        // The 100 shows that the handler waits for the content.
        let mut informed = [0; 25];
        stream.read_exact(&mut informed).expect("a 100");
        exchange(&mut stream, b"body");
    }
    check(3);
}

/// Checks the counters after a thousand pieces with an answer each: one poll, at most this many reads, and
/// one write for each.
fn check(most_reads: u64) {
    let [polls, reads, writes, alarms] = COUNTS.take();
    // An alarm may fire for nothing, and a piece that comes early enough needs no poll of its own.
    let most = REQUESTS + MOST_ALARMS;
    assert!((1..=most).contains(&polls), "{polls} polls");
    assert!((REQUESTS..=most_reads * most).contains(&reads), "{reads} reads");
    assert_eq!(writes, REQUESTS);
    assert!(alarms <= MOST_ALARMS, "{alarms} alarms");
}

/// The number of polls of a connection on which [`REQUESTS`] requests arrive at once.
pub(crate) fn polls_of_pipelined_requests<A: Adapter>() -> u64 {
    let _turn = turn();
    let mut stream = begin::<A, _, _>(hello);
    COUNTS.take();
    let requests = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(REQUESTS as usize);
    stream.write_all(requests.as_bytes()).expect("it reads");
    let (mut answers, mut text) = (0, Vec::new());
    while answers < REQUESTS {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).expect("an answer");
        assert!(count > 0, "after {answers} answers");
        text.extend_from_slice(&bytes[..count]);
        while let Some(end) = text.windows(9).position(|nine| nine == b"\r\n\r\nhello") {
            text.drain(..end + 9);
            answers += 1;
        }
    }
    let [polls, ..] = COUNTS.take();
    polls
}

pub fn a_socket_without_bytes_is_read_once_a_poll<A: Adapter>() {
    static LARGE: [u8; 4 << 20] = [b'x'; 4 << 20];
    let _turn = turn();
    let mut stream = begin::<A, _, _>(async |request: Request<Body>| {
        let large = request.uri().path() == "/large";
        Response::new(Full::new(if large { &LARGE[..] } else { b"hello" }))
    });
    COUNTS.take();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    let (mut answer, mut bytes) = (0, vec![0; 64 << 10]);
    while answer < LARGE.len() {
        let count = stream.read(&mut bytes).expect("an answer");
        assert!(count > 0, "{answer} bytes");
        answer += count;
    }
    exchange(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let [polls, reads, writes, _] = COUNTS.take();
    assert!(writes > LARGE.len() as u64 / (128 << 10), "it takes many rounds: {writes} writes");
    // One read for each poll, and one more for each poll in which a request came. The poll of the first
    // answer may have had one read left when the counters were taken.
    assert!(reads <= polls + 3, "{reads} reads in {polls} polls");
}
