//! One connection as a future, on streams of every kind.

use super::{Adapter, GET, PATIENCE, UPGRADE, frame, hello};
use crate::adapter;
use crate::adapter::{
    Address, Body, Config, Incoming, Native, PeerAddress, ProxySource, Reply, ServeConnection,
    Service, Socket, Stats, Timer, Upgrade, memory, refuse_upgrade,
};
use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use futures_lite::future::{block_on, or};
use futures_lite::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use http::{Request, Response};
use http_body_util::Full;
use socket2::SockRef;
use std::future::{Ready, ready};
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A client's end of a stream in memory, for clients that block.
#[derive(Debug)]
pub(crate) struct Client(memory::Stream);

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        block_on(self.0.read(buffer))
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        block_on(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs the connection. Returns where its end will be told.
pub(crate) fn run<A: Adapter, T: Timer, I: Socket, S: Service<K>, K: 'static>(
    connection: ServeConnection<T, I, S, K>,
) -> Receiver<&'static str> {
    let (told, end) = channel();
    A::spawn(async move {
        let reason = connection.await;
        // The test may be over before the connection ends.
        let _ = told.send(reason.label());
    });
    end
}

/// A stream with less room than most requests and answers need.
fn pair() -> (Client, memory::Stream) {
    let (client, server) = memory::pair(16);
    (Client(client), server)
}

/// Serves a client in memory.
pub(crate) fn start<A: Adapter, S: Service<K>, K: 'static>(
    config: Config,
    service: S,
) -> (Client, Receiver<&'static str>) {
    let (client, server) = pair();
    (client, run::<A, _, _, _, _>(A::connection(server, Arc::new(config), service)))
}

pub(crate) fn ask(mut client: impl Read + Write, request: &str) -> String {
    client.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an end");
    answer
}

pub(crate) fn end(end: &Receiver<&'static str>) -> &'static str {
    end.recv_timeout(PATIENCE).expect("it ends")
}

pub fn a_connection_in_memory_is_served_and_tells_how_it_ended<A: Adapter>() {
    let (client, ended) = start::<A, _, _>(Config::default(), hello);
    let two = format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{GET}");
    let answers = ask(client, &two);
    assert_eq!(answers.matches("\r\n\r\nhello").count(), 2, "{answers}");
    assert_eq!(end(&ended), "completed");
}

pub fn a_connection_in_memory_ends_on_time_and_with_its_peer<A: Adapter>() {
    let brief = Config::builder().keep_alive_timeout(Duration::from_millis(20)).build();
    let (mut client, ended) = start::<A, _, _>(brief.expect("valid"), hello);
    assert_eq!(client.read(&mut [0]).expect("an end"), 0);
    assert_eq!(end(&ended), "keep_alive");
    let (client, ended) = start::<A, _, _>(Config::default(), hello);
    drop(client);
    assert_eq!(end(&ended), "peer_done");
}

pub fn a_connection_that_is_dropped_is_closed<A: Adapter>() {
    let (mut client, server) = pair();
    let stats = Arc::new(Stats::new());
    let connection = A::connection(server, Arc::default(), hello).stats(stats.clone());
    let (stop, stopped) = async_channel::bounded::<()>(1);
    // When one future is ready, the other is dropped.
    A::spawn(or(async { _ = connection.await }, async move { _ = stopped.recv().await }));
    client.write_all(b"GET / HTTP/1.1\r\n").expect("it reads");
    super::open(&stats, 1);
    drop(stop);
    assert_eq!(client.read(&mut [0]).expect("an end"), 0);
    super::open(&stats, 0);
    assert_eq!(stats.snapshot().closes, [("aborted", 1)]);
}

pub fn a_connection_drains_when_it_is_told_to<A: Adapter>() {
    let (begun, begins) = channel();
    let (go_on, goes_on) = async_channel::bounded::<()>(1);
    let slow = move |_: Request<Body>| {
        let (begun, goes_on) = (begun.clone(), goes_on.clone());
        async move {
            begun.send(()).expect("the test waits");
            let _ = goes_on.recv().await;
            Response::new(Full::new(&b"hello"[..]))
        }
    };
    let (mut client, server) = pair();
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let signal = async move { _ = stopped.recv().await };
    let ended = run::<A, _, _, _, _>(
        A::connection(server, Arc::default(), slow).with_graceful_shutdown(signal),
    );
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    begins.recv_timeout(PATIENCE).expect("the request comes");
    drop(stop);
    go_on.try_send(()).expect("there is room");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    drop(client);
    assert_eq!(end(&ended), "drained");
}

pub fn a_router_and_a_websocket_are_served_on_a_stream_in_memory<A: Adapter>() {
    let echo = async |request: Request<axum::body::Body>| match Upgrade::new(&request) {
        Err(bad) => refuse_upgrade(bad),
        Ok(upgrade) => upgrade.accept::<axum::body::Body, _>(async |mut websocket| {
            while let Some(Ok(message)) = websocket.receive().await {
                let _ = websocket.send(message).await;
            }
        }),
    };
    let router = Router::new().route("/", get(async || "routed")).route("/ws", get(echo));
    let (client, _) = start::<A, _, _>(Config::default(), router.clone());
    assert!(ask(client, GET).ends_with("\r\n\r\nrouted"));
    let (mut client, ended) = start::<A, _, _>(Config::default(), router);
    let said = [frame(0x81, b"hi"), frame(0x88, &1000u16.to_be_bytes())].concat();
    client.write_all(&[UPGRADE.as_bytes(), &said].concat()).expect("it reads");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("an end");
    assert!(answer.ends_with(b"\r\n\r\n\x81\x02hi\x88\x02\x03\xe8"), "{answer:?}");
    drop(client);
    assert_eq!(end(&ended), "completed");
}

/// Answers with the peer's address.
#[derive(Clone)]
struct Tell;

impl Service<Native> for Tell {
    type ResponseBody = Full<Bytes>;
    type Future = Ready<Result<Response<Full<Bytes>>, adapter::BoxError>>;

    fn call(&mut self, incoming: Incoming<'_>) -> Reply<Self::Future> {
        let address = incoming.peer_address().to_string();
        incoming.handle(|request| {
            let told = request.extensions().get::<PeerAddress>().map(|peer| peer.0.to_string());
            ready(Ok(Response::new(Full::from(format!("{address}, {}", told.unwrap_or_default())))))
        })
    }
}

pub fn the_peer_address_is_what_the_caller_says<A: Adapter>() {
    let (client, server) = pair();
    run::<A, _, _, _, _>(A::connection(server, Arc::default(), Tell));
    assert!(ask(client, GET).ends_with("\r\n\r\nunknown, "));
    let (client, server) = pair();
    let address: std::net::SocketAddr = "192.0.2.1:5".parse().expect("an address");
    run::<A, _, _, _, _>(
        A::connection(server, Arc::default(), Tell).peer_address(address).tell_peer_address(),
    );
    assert!(ask(client, GET).ends_with("\r\n\r\n192.0.2.1:5, 192.0.2.1:5"));
}

pub fn the_header_of_a_proxy_tells_the_peer_address_of_a_connection<A: Adapter>() {
    let header = "PROXY TCP4 192.0.2.1 10.0.0.1 5 80\r\n";
    for (peer, trusted) in [(Address::Unix(None), true), (Address::Unknown, false)] {
        let (client, server) = pair();
        let connection = A::connection(server, Arc::default(), Tell).peer_address(peer);
        run::<A, _, _, _, _>(connection.tell_peer_address().trust_proxies([ProxySource::Unix]));
        let answer = ask(client, &format!("{header}{GET}"));
        let told = answer.ends_with("\r\n\r\n192.0.2.1:5, 192.0.2.1:5");
        assert_eq!((told, answer.starts_with("HTTP/1.1 400 ")), (trusted, !trusted), "{answer}");
    }
}

/// Both ends of a TCP connection. The server's end does not block.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    client.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    let (server, _) = listener.accept().expect("it has come");
    server.set_nonblocking(true).expect("it can be set");
    (client, server)
}

pub fn a_tcp_stream_is_served_and_gets_its_options<A: Adapter>() {
    let (client, server) = tcp_pair();
    let same = server.try_clone().expect("the same socket");
    let ended = run::<A, _, _, _, _>(A::tcp_connection(server, Arc::default(), hello));
    assert!(ask(client, GET).ends_with("\r\n\r\nhello"));
    assert!(same.nodelay().expect("told"));
    assert!(SockRef::from(&same).keepalive().expect("told"));
    assert_eq!(end(&ended), "completed");
}

/// Unread content keeps the driver from reading the socket, so only the system knows of the reset.
pub fn a_reset_of_a_tcp_stream_is_noticed_though_it_is_not_read<A: Adapter>() {
    let (begun, begins) = channel();
    let never = move |request: Request<Body>| {
        begun.send(()).expect("the test waits");
        async move {
            let _unread = request;
            std::future::pending::<Response<Full<Bytes>>>().await
        }
    };
    let (mut client, server) = tcp_pair();
    let ended = run::<A, _, _, _, _>(A::tcp_connection(server, Arc::default(), never));
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n12345";
    client.write_all(request).expect("it reads");
    begins.recv_timeout(PATIENCE).expect("the request comes");
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("it can be set");
    drop(client);
    assert_eq!(end(&ended), "peer_reset");
}

/// A socket that sends nothing before it is flushed or shut down, and then one byte at a time.
struct Held {
    stream: memory::Stream,
    held: Vec<u8>,
    /// How often the socket was flushed to the end, and how often it was shut down.
    done: Arc<Mutex<(usize, usize)>>,
}

impl Held {
    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(first) = self.held.first() {
            ready!(Pin::new(&mut self.stream).poll_write(cx, &[*first]))?;
            self.held.remove(0);
        }
        Poll::Ready(Ok(()))
    }
}

impl Socket for Held {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(Pin::new(&mut self.stream), cx, buffer)
    }

    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.held.extend_from_slice(&slices[0]);
        Poll::Ready(Ok(slices[0].len()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(cx))?;
        self.done.lock().expect("no panic").0 += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(cx))?;
        self.done.lock().expect("no panic").1 += 1;
        AsyncWrite::poll_close(Pin::new(&mut self.stream), cx)
    }
}

/// Serves a socket of the test, with the timer of the runtime.
fn serve_held<A: Adapter, R: adapter::Runtime, L>(
    _: fn(TcpListener) -> (R, L),
    held: Held,
) -> Receiver<&'static str> {
    run::<A, _, _, _, _>(ServeConnection::<R::Timer, Held, _, _>::new(held, hello))
}

pub fn bytes_that_a_socket_holds_back_are_flushed_also_at_the_end<A: Adapter>() {
    // The second client has ended its side already, so after the answer the server waits for nothing.
    for ends_first in [false, true] {
        let (mut client, stream) = pair();
        let done = Arc::<Mutex<(usize, usize)>>::default();
        let ended =
            serve_held::<A, _, _>(A::parts, Held { stream, held: Vec::new(), done: done.clone() });
        // No shutdown follows this answer.
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
        let mut first = String::new();
        while !first.ends_with("\r\n\r\nhello") {
            let mut bytes = [0; 16];
            let count = client.read(&mut bytes).expect("an answer");
            assert!(count > 0, "{first}");
            first.push_str(std::str::from_utf8(&bytes[..count]).expect("text"));
        }
        client.write_all(GET.as_bytes()).expect("it reads");
        if ends_first {
            block_on(client.0.close()).expect("closed");
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an end");
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
        drop(client);
        assert_eq!(end(&ended), "completed", "ends first: {ends_first}");
        let (flushed, shut_down) = *done.lock().expect("no panic");
        assert!(flushed + shut_down > 0 && shut_down <= 1, "{flushed}, {shut_down}");
    }
}
