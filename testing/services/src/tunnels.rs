//! Tunnels: CONNECT and upgrades as streams of bytes, in tasks that outlive their handlers.

use super::{Adapter, LARGE, PATIENCE, ask, connect, listener, listener_of_its_own, start_server};
use crate::adapter::{Body, Config, Report, Stats, memory_bound, upgrade};
use axum::body::Bytes;
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use http::header::UPGRADE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

const SHOUT: &str =
    "GET /shout HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n";
pub(crate) const CONNECT: &str = "CONNECT far.example:7 HTTP/1.1\r\nHost: far.example:7\r\n\r\n";

/// The answer that accepts what the request asks for.
fn accepted(request: &Request<Body>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if request.method() != Method::CONNECT {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("shout"));
    }
    response
}

/// Serves tunnels. Each is given to `run` on a task of its own.
fn tunnels<A: Adapter, F: Future<Output = ()> + Send + 'static>(
    config: Config,
    stats: Arc<Stats>,
    run: impl Fn(upgrade::Upgraded) -> F + Clone + Send + 'static,
) -> SocketAddr {
    let service = move |request: Request<Body>| {
        let run = run.clone();
        async move {
            let response = accepted(&request);
            let upgrade = upgrade::on(request);
            A::spawn(async move {
                if let Ok(upgraded) = upgrade.await {
                    run(upgraded).await;
                }
            });
            response
        }
    };
    let (listener, address) = listener();
    start_server::<A, _, _, _, _>(A::server(listener, Arc::new(config), service).stats(stats));
    address
}

/// Sends everything back in capitals, and a line behind the end.
async fn shout(mut tunnel: upgrade::Upgraded) {
    let mut buffer = [0; 5000];
    loop {
        match tunnel.read(&mut buffer).await {
            Ok(0) => break,
            Ok(length) => {
                buffer.make_ascii_uppercase();
                if tunnel.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
    // The client has ended its direction, and hears the end of this one.
    let _ = tunnel.write_all(b"\nTHAT WAS ALL").await;
    let _ = tunnel.close().await;
}

/// Serves [`shout`].
pub(crate) fn shouting<A: Adapter>(config: Config) -> SocketAddr {
    tunnels::<A, _>(config, Arc::default(), shout)
}

/// Reads the head of an answer, and no more.
pub(crate) fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// A client in a tunnel that was accepted.
fn open(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("it reads");
    let head = head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 ") || head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

pub fn an_upgrade_and_connect_become_tunnels_whose_directions_end_by_themselves<A: Adapter>() {
    let address = tunnels::<A, _>(Config::default(), Arc::default(), shout);
    for (request, answer) in [(SHOUT, "HTTP/1.1 101 "), (CONNECT, "HTTP/1.1 200 OK\r\n")] {
        let mut stream = connect(address);
        // The first bytes of the tunnel come with the head.
        stream.write_all(format!("{request}hello ").as_bytes()).expect("it reads");
        let head = head(&mut stream);
        assert!(head.starts_with(answer) && head.contains("\r\ndate: "), "{head}");
        assert_eq!(head.contains("\r\nupgrade: shout\r\n"), request == SHOUT, "{head}");
        assert!(!head.contains("content-length"), "{head}");
        let mut first = [0; 6];
        stream.read_exact(&mut first).expect("it is sent back");
        assert_eq!(&first, b"HELLO ");
        stream.write_all(b"there").expect("it reads");
        stream.shutdown(Shutdown::Write).expect("it is open");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("an end in good order");
        assert_eq!(rest, "THERE\nTHAT WAS ALL");
    }
}

pub fn the_application_may_end_its_direction_first<A: Adapter>() {
    let (told, heard) = channel();
    let address = tunnels::<A, _>(Config::default(), Arc::default(), move |mut tunnel| {
        let told = told.clone();
        async move {
            tunnel.write_all(b"I am done").await.expect("it is open");
            tunnel.close().await.expect("it is open");
            assert_eq!(
                tunnel.write(b"x").await.expect_err("it is over").kind(),
                ErrorKind::BrokenPipe
            );
            let mut rest = String::new();
            tunnel.read_to_string(&mut rest).await.expect("an end in good order");
            told.send(rest).expect("the test waits");
        }
    });
    let mut stream = open(address, CONNECT);
    let mut all = String::new();
    stream.read_to_string(&mut all).expect("an end in good order");
    assert_eq!(all, "I am done");
    stream.write_all(b"and I go on").expect("it reads");
    drop(stream);
    assert_eq!(heard.recv_timeout(PATIENCE).expect("it ends"), "and I go on");
}

pub fn a_tunnel_that_is_dropped_sends_its_rest_and_one_that_panics_is_reset<A: Adapter>() {
    let address = tunnels::<A, _>(Config::default(), Arc::default(), async |mut tunnel| {
        let mut buffer = [0; 5];
        tunnel.read_exact(&mut buffer).await.expect("it is sent");
        tunnel.write_all(&vec![b'x'; LARGE]).await.expect("it is open");
        if &buffer == b"panic" {
            // As an error of the application's, without a message on the test's output.
            std::panic::resume_unwind(Box::new("as it was told"));
        }
    });
    let mut stream = open(address, CONNECT);
    stream.write_all(b"leave").expect("it reads");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("an end in good order");
    assert_eq!(all.len(), LARGE);
    let mut stream = open(address, CONNECT);
    stream.write_all(b"panic").expect("it reads");
    assert!(stream.read_to_end(&mut Vec::new()).is_err(), "it must not look complete");
}

pub fn a_handler_that_knows_nothing_of_tunnels_accepts_none<A: Adapter>() {
    let (told, ends) = channel();
    let service = move |mut request: Request<Body>| {
        let told = told.clone();
        async move {
            let mut response = accepted(&request);
            match request.uri().path() {
                // It is not named by the client.
                "/shout" => {
                    let other = HeaderValue::from_static("other");
                    response.headers_mut().insert(UPGRADE, other);
                    let upgrade = upgrade::on(&mut request);
                    A::spawn(async move { told.send(upgrade.await.is_ok()).expect("it waits") });
                }
                "/refused" => {
                    let upgrade = upgrade::on(&mut request);
                    A::spawn(async move { told.send(upgrade.await.is_ok()).expect("it waits") });
                    *response.status_mut() = StatusCode::FORBIDDEN;
                }
                _ => {}
            }
            response
        }
    };
    let (listener, address) = listener();
    start_server::<A, _, _, _, _>(A::server(listener, Arc::default(), service));
    // Nothing holds the request any more.
    assert!(ask(address, CONNECT).starts_with("HTTP/1.1 500 "));
    assert!(ends.try_recv().is_err());
    let close = SHOUT.replace("Upgrade\r\n", "Upgrade, close\r\n");
    assert!(ask(address, &close).starts_with("HTTP/1.1 500 "));
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(false));
    assert!(ask(address, &close.replace("/shout", "/refused")).starts_with("HTTP/1.1 403 "));
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(false));
}

pub fn a_request_that_asks_for_no_tunnel_has_none<A: Adapter>() {
    let service = async |mut request: Request<Body>| {
        let has = upgrade::on(&mut request).await.is_ok();
        Response::new(Full::new(Bytes::from(format!("{has}"))))
    };
    let (listener, address) = listener();
    start_server::<A, _, _, _, _>(A::server(listener, Arc::default(), service));
    assert!(ask(address, super::GET).ends_with("\r\n\r\nfalse"));
}

pub fn much_passes_in_both_directions_at_once<A: Adapter>() {
    const MUCH: usize = 20 * LARGE;
    let address = tunnels::<A, _>(Config::default(), Arc::default(), shout);
    let mut stream = open(address, SHOUT);
    let mut writer = stream.try_clone().expect("it can be cloned");
    let sender = thread::spawn(move || {
        let piece: Vec<u8> = (0..LARGE).map(|place| b'a' + (place % 23) as u8).collect();
        for _ in 0..MUCH / LARGE {
            writer.write_all(&piece).expect("it reads");
        }
        writer.shutdown(Shutdown::Write).expect("it is open");
        piece
    });
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("an end in good order");
    let piece = sender.join().expect("no panic").to_ascii_uppercase();
    let rest = all.split_off(MUCH);
    assert_eq!(rest, b"\nTHAT WAS ALL");
    assert!(all.chunks(LARGE).all(|part| part == piece), "it is what was sent");
}

/// Waits until `stats` have counted a tunnel in which nothing moves any more.
fn at_rest(stats: &Stats) -> u64 {
    let (mut before, mut since, start) = (0, Instant::now(), Instant::now());
    while since.elapsed() < Duration::from_millis(200) {
        assert!(start.elapsed() < PATIENCE);
        let held = stats.snapshot().bytes_held;
        if held != before {
            (before, since) = (held, Instant::now());
        }
        thread::sleep(Duration::from_millis(5));
    }
    before
}

pub fn a_client_that_reads_slowly_holds_up_the_writer_and_little_is_held<A: Adapter>() {
    const MUCH: usize = 40 * LARGE;
    let stats = Arc::new(Stats::new());
    // The client takes its time.
    let config = Config::builder().response_grace(Duration::from_secs(600));
    let config = config.response_silence(Duration::from_secs(600)).build().expect("valid");
    let bound = memory_bound(&config) as u64;
    let address = tunnels::<A, _>(config, stats.clone(), async |mut tunnel| {
        let piece = [b'x'; 50_000];
        for _ in 0..MUCH / piece.len() {
            tunnel.write_all(&piece).await.expect("it is open");
        }
        tunnel.close().await.expect("it is open");
    });
    let mut stream = open(address, CONNECT);
    let held = at_rest(&stats);
    assert!(held >= 16 << 10 && held <= bound, "{held} of {bound}");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("an end in good order");
    assert_eq!(all.len(), MUCH);
}

pub fn an_application_that_reads_slowly_holds_up_the_client_and_little_is_held<A: Adapter>() {
    let stats = Arc::new(Stats::new());
    let (go, goes) = async_channel::bounded::<()>(1);
    let (told, heard) = channel();
    let bound = memory_bound(&Config::default()) as u64;
    let address = tunnels::<A, _>(Config::default(), stats.clone(), move |mut tunnel| {
        let (goes, told) = (goes.clone(), told.clone());
        async move {
            _ = goes.recv().await;
            let mut all = Vec::new();
            tunnel.read_to_end(&mut all).await.expect("an end in good order");
            told.send(all.len()).expect("the test waits");
        }
    });
    let mut stream = open(address, CONNECT);
    let mut writer = stream.try_clone().expect("it can be cloned");
    let sender = thread::spawn(move || {
        writer.write_all(&vec![b'x'; 20 * LARGE]).expect("it is read in the end");
        writer.shutdown(Shutdown::Write).expect("it is open");
    });
    let held = at_rest(&stats);
    assert!(held > 0 && held <= bound, "{held} of {bound}");
    drop(go);
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(20 * LARGE));
    sender.join().expect("no panic");
    assert_eq!(stream.read(&mut [0]).expect("an end in good order"), 0);
}

/// Tells how reading ends.
fn listening(
    told: Sender<ErrorKind>,
) -> impl Fn(upgrade::Upgraded) -> futures_lite::future::Boxed<()> + Clone + Send + 'static {
    move |mut tunnel| {
        let told = told.clone();
        Box::pin(async move {
            let error = tunnel.read(&mut [0; 10]).await.expect_err("nothing comes");
            let failed = tunnel.write(b"x").await.expect_err("it is over").kind();
            assert_eq!(failed, error.kind());
            told.send(error.kind()).expect("the test waits");
        })
    }
}

fn kind(ends: &Receiver<ErrorKind>) -> ErrorKind {
    ends.recv_timeout(PATIENCE).expect("it ends")
}

pub fn a_tunnel_in_which_nothing_passes_is_ended_on_time<A: Adapter>() {
    let time = Duration::from_millis(300);
    let config = Config::builder().tunnel_idle_timeout(time).build().expect("valid");
    let (told, ends) = channel();
    let address = tunnels::<A, _>(config, Arc::default(), listening(told));
    let mut stream = open(address, SHOUT);
    let start = Instant::now();
    assert!(stream.read(&mut [0]).is_err(), "it is reset");
    assert!(start.elapsed() > time / 2, "{:?}", start.elapsed());
    assert_eq!(kind(&ends), ErrorKind::TimedOut);
}

pub fn a_client_of_a_tunnel_that_is_gone_is_noticed<A: Adapter>() {
    let (told, ends) = channel();
    let address = tunnels::<A, _>(Config::default(), Arc::default(), listening(told));
    let stream = open(address, CONNECT);
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("it can be set");
    drop(stream);
    assert_eq!(kind(&ends), ErrorKind::ConnectionReset);
}

pub fn a_shutdown_gives_tunnels_their_time<A: Adapter>() {
    let config = Config::builder().drain_timeout(Duration::from_millis(500)).build();
    let config = Arc::new(config.expect("valid"));
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let service = async |request: Request<Body>| {
        let response = accepted(&request);
        let upgrade = upgrade::on(request);
        A::spawn(async move { shout(upgrade.await.expect("it is accepted")).await });
        response
    };
    let (listener, address) = listener_of_its_own(77);
    let server = A::server(listener, config, service);
    let server = server.with_graceful_shutdown(async move { _ = stopped.recv().await });
    let (told, report) = channel();
    A::spawn(async move { told.send(server.await.expect("it never fails")).expect("it waits") });
    let (mut leaves, mut stays) = (open(address, CONNECT), open(address, CONNECT));
    drop(stop);
    // No newcomer is let in any more, and the tunnels go on.
    while TcpStream::connect(address).is_ok() {
        thread::yield_now();
    }
    leaves.write_all(b"still there?").expect("it reads");
    leaves.shutdown(Shutdown::Write).expect("it is open");
    let mut rest = String::new();
    leaves.read_to_string(&mut rest).expect("an end in good order");
    assert_eq!(rest, "STILL THERE?\nTHAT WAS ALL");
    assert!(stays.read(&mut [0]).is_err(), "it is cut when its time is over");
    let Report { finished, cut, .. } = report.recv_timeout(PATIENCE).expect("it ends");
    // The connections that were made to see the shutdown are among those that finished.
    assert!(finished >= 1 && cut == 1, "{finished} finished, {cut} cut");
}

// ---- HTTP/2 ---------------------------------------------------------------------------------------

/// A frame of a client.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let header = [length[1], length[2], length[3], kind, flags];
    [&header[..], &stream.to_be_bytes(), payload].concat()
}

/// The type, the flags, the stream and the payload of the next frame, apart from SETTINGS and WINDOW_UPDATE.
fn next(stream: &mut TcpStream) -> (u8, u8, u32, Vec<u8>) {
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).expect("a frame");
        let [a, b, c, kind, flags, id @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).expect("a payload");
        if kind != 4 && kind != 8 {
            return (kind, flags, u32::from_be_bytes(id), payload);
        }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The field block of a CONNECT, as literals.
fn connect_block() -> Vec<u8> {
    let fields = [(":method", "CONNECT"), (":authority", "far.example:7")];
    let literal = |(name, value): (&str, &str)| {
        let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        [vec![0], text(name), text(value)].concat()
    };
    fields.into_iter().flat_map(literal).collect()
}

pub fn connect_over_http2_becomes_a_tunnel_beside_others<A: Adapter>() {
    let address = tunnels::<A, _>(Config::default(), Arc::default(), shout);
    let mut stream = connect(address);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let connect = |id| frame(HEADERS, END_HEADERS, id, &connect_block());
    let hello = [preface, frame(4, 0, 0, &[]), connect(1), connect(3)].concat();
    stream.write_all(&hello).expect("it reads");
    for id in [1, 3] {
        let (kind, flags, stream, _) = next(&mut stream);
        assert_eq!((kind, flags, stream), (HEADERS, END_HEADERS, id));
    }
    for (id, said) in [(3, "one"), (1, "two"), (3, "three")] {
        stream.write_all(&frame(DATA, 0, id, said.as_bytes())).expect("it reads");
        let heard = next(&mut stream);
        assert_eq!(heard, (DATA, 0, id, said.to_ascii_uppercase().into_bytes()));
    }
    stream.write_all(&frame(DATA, END_STREAM, 1, b"last")).expect("it reads");
    let mut rest = Vec::new();
    loop {
        let (kind, flags, id, payload) = next(&mut stream);
        assert_eq!((kind, id), (DATA, 1));
        rest.extend(payload);
        if flags & END_STREAM != 0 {
            break;
        }
    }
    assert_eq!(rest, b"LAST\nTHAT WAS ALL");
    // The other one goes on, and a reset ends it.
    stream.write_all(&frame(DATA, 0, 3, b"still")).expect("it reads");
    assert_eq!(next(&mut stream), (DATA, 0, 3, b"STILL".to_vec()));
}
