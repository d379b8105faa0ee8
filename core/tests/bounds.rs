//! The memory bound holds for any configuration, and can be reached. The worst peers and
//! applications are played, and the allocator's count is checked after each call.

use bytes::Bytes;
use fastrand::Rng;
use hoard::{Hoard, Kind, NOW, Plain, fields, lent};
use http::StatusCode;
use play::settings;
use play::websocket_frames::{self as frames, BINARY, COMPRESSED, FIN, HANDSHAKE};
use portcullis::websocket::{DeflateSettings, Handshake, Options};
use portcullis::{Begun, BodyLength, Builder, Config, Connection, Event, Misuse, Sent, StreamId};
use portcullis_play::{hoard, play};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// How many cases are played. `PORTCULLIS_CASES` sets another number.
fn cases(usual: u64) -> u64 {
    std::env::var("PORTCULLIS_CASES").map_or(usual, |cases| cases.parse().expect("a number"))
}

/// Runs `case` for each seed, and prints the seed that failed.
fn for_seeds(usual: u64, mut case: impl FnMut(&mut Rng)) {
    for seed in 0..cases(usual) {
        let mut draw = Rng::with_seed(seed);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case(&mut draw))) {
            eprintln!("seed {seed}");
            resume_unwind(panic);
        }
    }
}

#[test]
fn no_configuration_is_exceeded() {
    let (mut near, mut all) = (0, 0);
    for_seeds(150, |draw| {
        for kind in [Kind::Http, Kind::WebSocket] {
            let config = hoard::configuration(draw).build().expect("valid settings");
            let mut hoard = Hoard::new(Arc::new(config));
            hoard::play(&mut hoard, kind, &mut Plain, draw);
            let bound = hoard.connection().memory_bound();
            near += usize::from(hoard.end() * 2 >= bound);
            all += 1;
        }
    });
    println!("{near} of {all} reach half of their bound");
    assert!(near * 20 >= all, "only {near} of {all} reach half of their bound");
}

/// The smallest limits that still allow a handshake.
const SMALL: &[(&str, &str)] = &[
    ("request_head_limit", "256"),
    ("request_fields_limit", "16"),
    ("trailers_limit", "64"),
    ("send_buffer_limit", "1KiB"),
    ("receive_buffer_limit", "1KiB"),
    ("response_head_limit", "1KiB"),
];

/// The profiles, a configuration that once broke the bound, and small and large values of each
/// limit.
fn configs() -> Vec<Arc<Config>> {
    let mut configs = vec![
        Config::default().into(),
        Config::strict().into(),
        settings::tiny(),
        settings::narrow(),
    ];
    // One layer is large and all others are small, so that nothing hides it.
    for large in [
        ("send_buffer_limit", "100000"),
        ("response_head_limit", "100000"),
        ("request_head_limit", "40000"),
        ("trailers_limit", "40000"),
        ("receive_buffer_limit", "100000"),
    ] {
        let settings = [SMALL, &[large]].concat();
        configs.push(settings::with(&settings).expect("valid settings"));
    }
    for settings in [
        &[("send_buffer_limit", "800000")][..],
        &[("send_buffer_limit", "4MiB")],
        &[("send_buffer_limit", "1KiB"), ("response_head_limit", "64KiB")],
        &[("send_buffer_limit", "64KiB"), ("response_head_limit", "1KiB")],
        &[("send_buffer_limit", "1KiB"), ("request_head_limit", "64KiB")],
        &[("receive_buffer_limit", "1KiB"), ("trailers_limit", "64KiB")],
        &[("receive_buffer_limit", "1MiB"), ("request_head_limit", "64")],
    ] {
        configs.push(settings::with(settings).expect("valid settings"));
    }
    let mut draw = Rng::with_seed(16);
    configs
        .extend((0..10).map(|_| Arc::new(hoard::configuration(&mut draw).build().expect("valid"))));
    configs
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const UPLOAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Sends an answer of the largest size, in pieces of two lengths. The peer takes a share of it in
/// between.
fn answer(hoard: &mut Hoard, request: &[u8], first: usize, share: usize, second: usize) {
    let mut stream = None;
    hoard.feed(request, &mut stream);
    let stream = stream.expect("a request");
    let fields = fields(hoard.config.response_head_limit() as usize - 60);
    hoard.act(|connection| {
        while connection.stream(NOW, stream).inform(StatusCode::EARLY_HINTS, &fields).is_ok() {}
    });
    let begin = BodyLength::Unknown;
    hoard.act(|connection| {
        let begun = connection.stream(NOW, stream).respond(StatusCode::OK, &fields, begin);
        assert_eq!(begun, Ok(Begun::Open));
    });
    hoard.fill(stream, first);
    // A part of the buffer is sent, and stays there before the next bytes.
    for piece in [first, second, second] {
        hoard.take_share(share);
        hoard.fill(stream, piece);
    }
    if request == UPLOAD {
        hold_trailers(hoard);
    }
    hoard.act(|connection| {
        connection.stream(NOW, stream).finish(Some(&fields)).expect("there is room")
    });
}

/// Takes output until another request may begin.
fn make_room(hoard: &mut Hoard) {
    let limit = hoard.config.send_buffer_limit() as usize;
    let surplus = (hoard.waiting() + 1).saturating_sub(limit);
    hoard.act(|connection| connection.sent(NOW, surplus));
}

/// Holds an incomplete head, and a read whose events are not pulled.
fn hold_head(hoard: &mut Hoard) {
    let limit = hoard.config.request_head_limit() as usize;
    hold(hoard, b"GET / HTTP/1.1\r\nHost: a\r\nX: ", limit);
}

/// Holds incomplete trailers in the same way.
fn hold_trailers(hoard: &mut Hoard) {
    let limit = hoard.config.trailers_limit() as usize;
    hoard.feed(b"0\r\n", &mut None);
    hold(hoard, b"X: ", limit);
}

fn hold(hoard: &mut Hoard, begun: &[u8], limit: usize) {
    let begun = [begun, &vec![b'x'; limit]].concat();
    hoard.feed(&begun[..limit - 1], &mut None);
    let read = vec![b'x'; hoard.config.receive_buffer_limit() as usize];
    assert!(hoard.connection().status().read);
    hoard.read(read, 0, |_, _| 0);
}

#[test]
fn the_bound_is_reached_by_half_at_least() {
    for config in configs() {
        let mut worst = 0;
        let limit = config.send_buffer_limit() as usize;
        for share in [0, 10, 24, 25, 26, 33, 45, 49, 51, 60, 74, 76, 90, 99] {
            for (first, second) in
                [(1000, 1000), (1024, limit), (limit, 900), (1025, 1025), (limit / 7 + 1, 1024)]
            {
                let mut hoard = Hoard::new(Arc::clone(&config));
                answer(&mut hoard, GET, first, share, second);
                make_room(&mut hoard);
                hold_head(&mut hoard);
                worst = worst.max(hoard.end());
                let mut hoard = Hoard::new(Arc::clone(&config));
                answer(&mut hoard, UPLOAD, first, share, second);
                worst = worst.max(hoard.end());
            }
        }
        let bound = config.memory_bound();
        println!("{worst} of {bound}");
        assert!(worst * 2 >= bound, "{worst} of {bound}: {config:?}");
    }
}

/// The buffer holds little, and pieces of the application follow.
#[test]
fn a_large_buffer_is_freed_for_pieces() {
    for config in configs().into_iter().filter(|it| it.send_buffer_limit() > 4096) {
        let mut hoard = Hoard::new(Arc::clone(&config));
        answer(&mut hoard, GET, 1000, 24, 1000);
        make_room(&mut hoard);
        let mut stream = None;
        hoard.feed(GET, &mut stream);
        let stream = stream.expect("a request");
        let length = BodyLength::Known(1 << 30);
        hoard.act(|connection| {
            let begun = connection.stream(NOW, stream).respond(StatusCode::OK, [], length);
            assert_eq!(begun, Ok(Begun::Open));
        });
        let all = hoard.waiting();
        hoard.act(|connection| connection.sent(NOW, all - 1));
        let limit = config.send_buffer_limit() as usize;
        hoard.act(|connection| {
            let mut data = lent(limit - 1);
            assert_eq!(connection.stream(NOW, stream).send(&mut data), Ok(Sent::All));
        });
        let told = hoard.connection().memory();
        assert!(told <= 2 * limit + 8192, "{told} bytes reported, {limit} lent: {config:?}");
        hoard.end();
    }
}

/// A refused head frees its memory, however large it was.
#[test]
fn a_head_that_is_too_large_leaves_no_memory() {
    for unsent in [0, 1] {
        let config = settings::with(&[]).expect("the defaults");
        let mut hoard = Hoard::new(Arc::clone(&config));
        let mut stream = None;
        if unsent > 0 {
            answer(&mut hoard, GET, 10, 99, 10);
            let all = hoard.waiting();
            hoard.act(|connection| connection.sent(NOW, all - unsent));
        }
        hoard.feed(GET, &mut stream);
        let stream = stream.expect("a request");
        let before = hoard.connection().memory();
        let fields = fields(4 << 20);
        hoard.act(|connection| {
            let limit = config.response_head_limit();
            let refused = Err(Misuse::HeadTooLarge { limit });
            let length = BodyLength::Unknown;
            let status = StatusCode::OK;
            assert_eq!(
                connection.stream(NOW, stream).respond(status, &fields, length).map(|_| ()),
                refused
            );
            assert_eq!(
                connection.stream(NOW, stream).inform(StatusCode::EARLY_HINTS, &fields),
                refused
            );
        });
        let after = hoard.connection().memory();
        assert!(after <= before.max(8192), "{before} bytes before, {after} after");
        hoard.end();
    }
}

// ---- websockets -----------------------------------------------------------------------------------

/// Compression with contexts that are kept.
fn takeover() -> DeflateSettings {
    DeflateSettings { server_takeover: true, client_takeover: true, ..DeflateSettings::default() }
}

/// Accepts a websocket with the largest interim answers and fields, and asks for all messages.
fn accept(hoard: &mut Hoard, options: Options, deflate: Option<DeflateSettings>) -> StreamId {
    let mut stream = None;
    let fields = fields(hoard.config.response_head_limit() as usize - 400);
    let accept = |connection: &mut Connection, event: Event<'_>| {
        if let Event::Request { stream: newest, head } = event {
            stream = Some(newest);
            let handshake = Handshake::read(&head).expect("a valid handshake");
            let accepted =
                handshake.accept(None, deflate.as_ref()).expect("no subprotocol was chosen");
            let early = StatusCode::EARLY_HINTS;
            while connection.stream(NOW, newest).inform(early, &fields).is_ok() {}
            connection
                .stream(NOW, newest)
                .accept_websocket(&accepted, &fields, options)
                .expect("the handshake is accepted");
        }
        0
    };
    hoard.read(HANDSHAKE.to_vec(), usize::MAX, accept);
    let stream = stream.expect("a handshake");
    hoard.act(|connection| {
        connection.stream(NOW, stream).read_to(u64::MAX).expect("the stream is open")
    });
    stream
}

/// Sends messages until the queue is full. The peer sends two messages: one that is lent, and one
/// that lacks only its last byte.
fn exchange_messages(hoard: &mut Hoard, options: Options, deflate: Option<DeflateSettings>) {
    let stream = accept(hoard, options, deflate);
    let limit = options.message_limit.unwrap_or(hoard.config.websocket_message_limit()) as usize;
    let mut wire = Vec::new();
    // Zeros are compressed, if compression was agreed on.
    hoard.take_share(100);
    hoard.act(|connection| {
        connection
            .stream(NOW, stream)
            .send_message(false, &mut lent(4000))
            .expect("the stream is open");
    });
    for share in [0, 24, 24, 24, 24] {
        hoard.take_share(share);
        hoard.act(|connection| {
            let mut data = Bytes::new();
            while data.is_empty() {
                data = Bytes::from_static(&[7; 100]);
                connection
                    .stream(NOW, stream)
                    .send_message(false, &mut data)
                    .expect("the stream is open");
                let _ = connection.stream(NOW, stream).ping(&[7; 125]);
            }
        });
    }
    let payload = vec![7; limit];
    let first = if deflate.is_some() { FIN | COMPRESSED | BINARY } else { FIN | BINARY };
    let (whole, part) = match deflate {
        Some(_) => {
            let whole = frames::deflate(&mut frames::compressor(), &payload);
            (whole.clone(), whole)
        }
        None => (payload.clone(), payload[..limit - 1].to_vec()),
    };
    frames::put(&mut wire, first, [1, 2, 3, 4], &whole);
    // The last byte of the first message comes with the second one.
    let (step, cut) = (hoard.config.receive_buffer_limit() as usize, wire.len() - 1);
    frames::put(&mut wire, first & !FIN, [1, 2, 3, 4], &part);
    let (before, held) = (hoard.connection().memory(), if deflate.is_some() { 50_000 } else { 0 });
    for piece in wire[..cut].chunks(step).chain(wire[cut..].chunks(step)) {
        hoard.read(piece.to_vec(), usize::MAX, |_, _| 0);
        // Inflating takes several calls.
        while hoard.connection().status().has_work {
            hoard.read(Vec::new(), usize::MAX, |_, _| 0);
        }
        assert!(hoard.is_open());
    }
    // Memory has grown by the message at most.
    let grown = hoard.connection().memory() - before;
    assert!(grown <= limit.max(63) + 1 + held, "{grown} bytes for {limit}");
    hoard.read(vec![7; step], 0, |_, _| 0);
}

#[test]
fn the_bound_of_a_websocket_is_reached_by_half_at_least() {
    for (message, options, deflates, asked) in [
        ("100", None, false, None),
        ("100KiB", None, false, None),
        ("100", None, true, None),
        ("300000", None, true, None),
        // More than the configuration allows.
        ("100", Some(500_000), false, None),
        ("100", Some(500_000), false, Some(takeover())),
    ] {
        let deflate = deflates.then(takeover).or(asked);
        let deflates = if deflates { "true" } else { "false" };
        let queue = if message == "100" { "100000" } else { "1KiB" };
        let settings = [
            ("websocket_message_limit", message),
            ("websocket_deflate", deflates),
            ("send_buffer_limit", queue),
            (
                "receive_buffer_limit",
                if deflate.is_some() || message == "100" { "1KiB" } else { "110000" },
            ),
        ];
        let config = settings::with(&[SMALL, &settings].concat()).expect("valid settings");
        let options = Options { message_limit: options, ..Options::default() };
        let mut hoard = Hoard::new(Arc::clone(&config));
        exchange_messages(&mut hoard, options, deflate);
        let bound = hoard.connection().memory_bound();
        let is_plain = options.message_limit.is_none();
        assert!(
            !is_plain || bound <= config.websocket_memory_bound(),
            "the configured bound holds"
        );
        let worst = hoard.end();
        println!("{worst} of {bound}");
        // Without inflating, the lent message, the next one and the bytes that were read ahead are
        // never all there at once.
        let least = if deflate.is_some() { 2 } else { 3 };
        assert!(worst * least >= bound, "{worst} of {bound}");
    }
}

/// A piece of an inflated message is no larger than the credit allows.
#[test]
fn pieces_are_within_the_bound_of_small_messages() {
    let socket = [("websocket_message_limit", "100"), ("websocket_deflate", "true")];
    let config = settings::with(&[SMALL, &socket].concat()).expect("valid settings");
    let mut hoard = Hoard::new(Arc::clone(&config));
    let options = Options { pieces: true, ..Options::default() };
    exchange_messages(&mut hoard, options, Some(takeover()));
    let bound = hoard.connection().memory_bound();
    assert!(hoard.end() * 2 >= bound);
}

// ---- after a burst ----------------------------------------------------------------------------------

/// Takes everything that is held and everything that waits.
fn calm(hoard: &mut Hoard, stream: StreamId) {
    for _ in 0..3 {
        hoard.act(|connection| {
            let _ = connection.stream(NOW, stream).read_to(u64::MAX);
        });
        hoard.read(Vec::new(), usize::MAX, |_, _| 0);
        hoard.take_share(100);
    }
}

#[test]
fn a_burst_leaves_no_memory() {
    for config in configs() {
        let config = Config::clone(&config);
        let config = Builder::from(config).request_body_limit(None).requests_per_connection(99);
        let mut hoard = Hoard::new(Arc::new(config.build().expect("valid settings")));
        assert_eq!(hoard.figures(), (0, 0));
        for burst in 0..4 {
            let mut stream = None;
            let size = hoard.config.receive_buffer_limit() as usize;
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
            hoard.feed(head.as_bytes(), &mut stream);
            let stream = stream.expect("a request");
            hoard.feed(&vec![b'x'; size], &mut None);
            let fields = fields(hoard.config.response_head_limit() as usize - 60);
            hoard.act(|connection| {
                let length = BodyLength::Unknown;
                let begun = connection.stream(NOW, stream).respond(StatusCode::OK, &fields, length);
                assert_eq!(begun, Ok(Begun::Open));
            });
            for piece in [1000, 1025, 100, 5000] {
                hoard.fill(stream, piece);
                hoard.take_share(24 * burst);
            }
            assert_ne!(hoard.figures(), (0, 0));
            calm(&mut hoard, stream);
            hoard.act(|connection| {
                connection.stream(NOW, stream).finish(Some(&fields)).expect("whole")
            });
            calm(&mut hoard, stream);
            assert!(hoard.is_open());
            assert_eq!(hoard.figures(), (0, 0), "after burst {burst}: {:?}", hoard.config);
        }
        hoard.end();
    }
}

#[test]
fn a_burst_of_messages_leaves_no_memory() {
    for pieces in [false, true] {
        for deflate in [None, Some(DeflateSettings::default())] {
            let config = settings::with(&[("send_buffer_limit", "100000")]).expect("valid");
            let mut hoard = Hoard::new(config);
            let options = Options { message_limit: Some(300_000), pieces, ..Options::default() };
            let stream = accept(&mut hoard, options, deflate);
            hoard.take_share(100);
            let idle = hoard.figures();
            assert_eq!(idle.0, idle.1, "the idle connection's memory is reported exactly");
            for burst in 0..3 {
                let payload = vec![7; 300_000];
                let deflated = frames::deflate(&mut frames::compressor(), &payload);
                let mut wire = Vec::new();
                frames::put(&mut wire, FIN | BINARY, [1, 2, 3, 4], &payload);
                frames::put(&mut wire, BINARY, [1, 2, 3, 4], &payload[..1000]);
                frames::put(&mut wire, frames::PING, [1, 2, 3, 4], &[1; 125]);
                frames::put(&mut wire, FIN | frames::CONTINUATION, [1, 2, 3, 4], &payload[..1000]);
                if deflate.is_some() {
                    frames::put(&mut wire, FIN | COMPRESSED | BINARY, [1, 2, 3, 4], &deflated);
                }
                for read in wire.chunks(60_000) {
                    hoard.act(|connection| {
                        for length in [200, 700, 1500 * (burst + 1)] {
                            let mut data = lent(length);
                            let sent =
                                connection.stream(NOW, stream).send_message(false, &mut data);
                            assert_eq!(sent, Ok(Sent::All));
                        }
                    });
                    hoard.read(read.to_vec(), usize::MAX, |_, _| 0);
                    hoard.take_share(30);
                    assert_ne!(hoard.figures(), idle);
                    calm(&mut hoard, stream);
                }
                calm(&mut hoard, stream);
                assert!(hoard.is_open());
                assert_eq!(hoard.figures(), idle, "pieces {pieces}, {deflate:?}");
            }
            hoard.end();
        }
    }
}
