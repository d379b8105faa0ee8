//! The memory of a connection, counted by the allocator: no heap while it is idle, and never more
//! than the configuration's bound.

use allocation_counter::measure;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use play::settings;
use play::websocket_frames::{self as frames, FIN, HANDSHAKE, PING};
use portcullis::websocket::{DeflateSettings, Handshake, Message, Options};
use portcullis::{BodyLength, CloseReason, Config, Connection, Event, Sent, StreamId, Tick};
use portcullis_play::play;
use portcullis_testing::watched;
use proptest::collection::vec;
use proptest::prelude::*;
use std::mem::size_of;
use std::sync::{Arc, LazyLock};

const NOW: Tick = Tick::ZERO;

/// How many bytes of heap dropping the connection frees.
fn weigh(connection: Connection) -> usize {
    let freed = measure(move || drop(connection)).bytes_current;
    usize::try_from(-freed).expect("dropping frees memory")
}

/// Asserts that the connection and the allocator agree exactly. Only `lent` bytes count that are
/// not on the heap.
fn assert_agrees(connection: Connection, lent: usize) -> usize {
    let told = connection.memory() - size_of::<Connection>();
    let freed = weigh(connection);
    assert_eq!(freed + lent, told, "reported and freed bytes");
    freed
}

/// A connection, with the most memory that it owned after any call.
struct Watched {
    connection: Connection,
    config: Arc<Config>,
    worst: usize,
    /// The stream of the newest request.
    stream: Option<StreamId>,
}

impl Watched {
    fn new(config: Arc<Config>) -> Self {
        let connection = Connection::new(Arc::clone(&config), NOW);
        Watched { connection, config, worst: 0, stream: None }
    }

    fn look(&mut self) {
        let memory = self.connection.memory();
        let bound = self.config.memory_bound();
        assert!(memory <= bound, "memory: {memory} of at most {bound} bytes");
        self.worst = self.worst.max(memory);
    }

    /// Feeds `wire` in reads of `step` bytes, as long as the connection reads. Returns how much was
    /// read.
    fn feed(&mut self, wire: &[u8], step: usize) -> usize {
        let mut read = 0;
        for piece in wire.chunks(step) {
            if !self.connection.status().read {
                break;
            }
            let mut piece = piece.to_vec();
            let mut events =
                self.connection.receive(NOW, &mut piece).expect("the connection reads");
            while let Some((_, event)) = events.next() {
                if let Event::Request { stream, .. } = event {
                    self.stream = Some(stream);
                }
            }
            drop(events);
            self.look();
            read += piece.len();
        }
        read
    }

    fn stream(&self) -> StreamId {
        self.stream.expect("a request was delivered")
    }

    fn take_all(&mut self) {
        self.connection.sent(NOW, usize::MAX);
        self.look();
    }
}

fn default() -> Watched {
    Watched::new(Arc::new(Config::default()))
}

#[test]
fn an_idle_connection_owns_no_heap_and_fits_in_512_bytes() {
    let fresh = default();
    let size = size_of::<Connection>() + assert_agrees(fresh.connection, 0);
    println!("an idle connection: {size} bytes");
    assert!(size <= 512, "{size} bytes");
}

#[test]
fn an_exchange_leaves_no_memory() {
    let mut watched = default();
    let wire = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    // Cut within the head and within the content, with the next request after it.
    for cut in [10, wire.len() - 2, wire.len()] {
        watched.feed(&wire[..cut], usize::MAX);
        watched.feed(&wire[cut..], usize::MAX);
        let stream = watched.stream();
        let connection = &mut watched.connection;
        connection.stream(NOW, stream).read_to(u64::MAX).expect("the stream is open");
        let mut events = connection.resume(NOW);
        while events.next().is_some() {}
        drop(events);
        let _ = connection.stream(NOW, stream).respond(StatusCode::OK, [], BodyLength::Unknown);
        let mut data = Bytes::from(vec![7; 5000]);
        connection.stream(NOW, stream).send(&mut data).expect("room");
        connection.stream(NOW, stream).finish(None).expect("complete");
        watched.take_all();
        let status = watched.connection.status();
        assert!(status.is_open() && status.read && !status.write, "{status:?}");
        assert_eq!(watched.connection.memory(), size_of::<Connection>(), "cut at {cut}");
    }
    assert_eq!(assert_agrees(watched.connection, 0), 0);
}

#[test]
fn held_heads_and_content_are_reported_exactly() {
    let mut head = default();
    head.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: ", usize::MAX);
    head.feed(&[b'x'; 5000], 1);
    assert!(assert_agrees(head.connection, 0) >= 5000);

    let mut content = default();
    content.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n", usize::MAX);
    content.feed(&[b'x'; 9999], usize::MAX);
    assert!(!content.connection.status().read, "no more is read while content is unread");
    // The content, and 96 bytes for its credit, limits and guard.
    assert_eq!(assert_agrees(content.connection, 0), 9999 + 96);
}

#[test]
fn unsent_output_is_reported_exactly() {
    let mut watched = default();
    watched.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", usize::MAX);
    let stream = watched.stream();
    let connection = &mut watched.connection;
    let _ = connection.stream(NOW, stream).respond(StatusCode::OK, [], BodyLength::Unknown);
    // Static bytes are not on the heap, but count as unsent.
    let mut lent = Bytes::from_static(&[1; 2000]);
    connection.stream(NOW, stream).send(&mut lent).expect("room");
    let mut copied = Bytes::from_static(&[2; 900]);
    connection.stream(NOW, stream).send(&mut copied).expect("room");
    // An allocation of its own, taken over whole.
    let mut owned = Bytes::from(vec![3; 3000].into_boxed_slice());
    connection.stream(NOW, stream).send(&mut owned).expect("room");
    connection.sent(NOW, 30);
    assert!(assert_agrees(watched.connection, 2000) >= 3900);
}

// ---- websockets ---------------------------------------------------------------------------------

/// A websocket, and its stream.
fn websocket(deflate: Option<DeflateSettings>) -> (Connection, StreamId) {
    // The configuration is shared, as in a server.
    static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(|| {
        let config = Config::builder().websocket_deflate(true).build();
        Arc::new(config.expect("valid"))
    });
    let mut connection = Connection::new(Arc::clone(&CONFIG), NOW);
    let mut wire = HANDSHAKE.to_vec();
    let mut events = connection.receive(NOW, &mut wire).expect("the connection reads");
    let Some((_, Event::Request { stream, head })) = events.next() else { panic!("a request") };
    let handshake = Handshake::read(&head).expect("a valid handshake");
    let accepted = handshake.accept(None, deflate.as_ref()).expect("no subprotocol was chosen");
    drop(events);
    connection
        .stream(NOW, stream)
        .accept_websocket(&accepted, None, Options::default())
        .expect("the handshake is accepted");
    connection.stream(NOW, stream).read_to(u64::MAX).expect("the stream is open");
    connection.sent(NOW, usize::MAX);
    (connection, stream)
}

/// Feeds `wire` and echoes its messages. The peer does not take them.
fn echo(connection: &mut Connection, wire: &[u8]) {
    let most = connection.config().receive_buffer_limit() as usize;
    let bound = connection.config().websocket_memory_bound();
    for piece in wire.chunks(most) {
        let mut piece = piece.to_vec();
        let mut events = connection.receive(NOW, &mut piece).expect("the connection reads");
        while let Some((connection, event)) = events.next() {
            let Event::Message { stream, message: Message::Binary(data), .. } = event else {
                continue;
            };
            let mut data = Bytes::copy_from_slice(data);
            let _ = connection
                .stream(NOW, stream)
                .send_message(false, &mut data)
                .expect("the stream is open");
            assert!(connection.memory() <= bound, "while events are pulled");
        }
        drop(events);
        assert!(connection.memory() <= bound, "memory: {} of {bound}", connection.memory());
    }
}

fn message(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    frames::put(&mut wire, first, [1, 2, 3, 4], payload);
    wire
}

const BINARY: u8 = FIN | frames::BINARY;

#[test]
fn an_idle_websocket_fits_in_1_kib() {
    let (mut connection, _) = websocket(None);
    let at_first = connection.memory();
    echo(&mut connection, &message(BINARY, &[7; 5000]));
    // Cut, so that the message has to be assembled.
    let long = message(BINARY, &[7; 5000]);
    echo(&mut connection, &long[..3000]);
    echo(&mut connection, &long[3000..]);
    connection.sent(NOW, usize::MAX);
    assert_eq!(connection.memory(), at_first, "messages leave no memory");
    let size = size_of::<Connection>() + assert_agrees(connection, 0);
    println!("an idle websocket: {size} bytes");
    assert!(size <= 1024, "{size} bytes");
}

#[test]
fn an_idle_websocket_with_compression_fits_in_1_kib_unless_contexts_are_kept() {
    let deflated = || {
        let payload = frames::deflate(&mut frames::compressor(), &b"line of text ".repeat(300));
        message(BINARY | frames::COMPRESSED, &payload)
    };
    let (mut connection, _) = websocket(Some(DeflateSettings::default()));
    let at_first = connection.memory();
    echo(&mut connection, &deflated());
    connection.sent(NOW, usize::MAX);
    assert_eq!(connection.memory(), at_first, "messages leave no memory");
    let size = size_of::<Connection>() + assert_agrees(connection, 0);
    println!("an idle websocket with compression: {size} bytes");
    assert!(size <= 1024, "{size} bytes");

    // The application asked to keep contexts: 48 KiB for one direction, 380 KiB for the other.
    for (client, server, most) in [(true, false, 50), (false, true, 381), (true, true, 430)] {
        let settings = DeflateSettings {
            client_takeover: client,
            server_takeover: server,
            ..DeflateSettings::default()
        };
        let (mut connection, _) = websocket(Some(settings));
        echo(&mut connection, &deflated());
        connection.sent(NOW, usize::MAX);
        let size = size_of::<Connection>() + assert_agrees(connection, 0);
        println!("the same with contexts of the client {client}, of the server {server}: {size}");
        assert!(size <= most * 1024, "{size} bytes");
    }
}

#[test]
fn read_ahead_bytes_are_bounded_and_not_copied_for_each_byte() {
    let (mut connection, _) = blocked_websocket();
    let limit = connection.config().receive_buffer_limit() as usize;
    let bound = connection.config().memory_bound() + 2 * limit;
    let wire = message(BINARY, &[7; 60_000]).repeat(3);
    let mut read = 0;
    let counted = measure(|| {
        while connection.status().read {
            let mut byte = [wire[read]];
            assert!(
                connection.receive(NOW, &mut byte).expect("the connection reads").next().is_none()
            );
            read += 1;
            assert!(connection.memory() <= bound);
        }
    });
    assert_eq!(read, limit, "reads up to the limit");
    assert!(counted.bytes_total < 6 * limit as u64, "{} bytes", counted.bytes_total);
    // The last read may be as large as any.
    let (mut connection, stream) = blocked_websocket();
    for place in [limit - 1, 2 * limit - 1] {
        let from = (place + 1).saturating_sub(limit);
        let mut piece = wire[from..place].to_vec();
        assert!(
            connection.receive(NOW, &mut piece).expect("the connection reads").next().is_none()
        );
        assert!(connection.memory() <= bound);
    }
    assert!(!connection.status().read);
    connection.stream(NOW, stream).read_to(u64::MAX).expect("the stream is open");
    while connection.resume(NOW).next().is_some() {}
    assert!(connection.status().read && connection.memory() <= bound + 60_000);
}

/// A websocket whose application asks for no messages.
fn blocked_websocket() -> (Connection, StreamId) {
    let mut connection = Connection::new(Arc::default(), NOW);
    let mut wire = HANDSHAKE.to_vec();
    let mut events = connection.receive(NOW, &mut wire).expect("the connection reads");
    let Some((_, Event::Request { stream, head })) = events.next() else { panic!("a request") };
    let handshake = Handshake::read(&head).expect("a valid handshake");
    let accepted = handshake.accept(None, None).expect("no subprotocol was chosen");
    drop(events);
    connection
        .stream(NOW, stream)
        .accept_websocket(&accepted, None, Options::default())
        .expect("the handshake is accepted");
    connection.sent(NOW, usize::MAX);
    drop(connection.resume(NOW));
    (connection, stream)
}

#[test]
fn a_context_is_made_once_for_all_messages_of_a_read() {
    let payload = frames::deflate(&mut frames::compressor(), b"the same for each of them");
    let one = message(FIN | frames::COMPRESSED | frames::BINARY, &payload);
    let allocations = |count: usize| {
        let (mut connection, stream) = websocket(Some(DeflateSettings::default()));
        let mut wire = one.repeat(count);
        let counted = measure(|| {
            let mut events = connection.receive(NOW, &mut wire).expect("the connection reads");
            while let Some((connection, event)) = events.next() {
                assert!(matches!(event, Event::Message { .. }), "{event:?}");
                play::read_more(connection.stream(NOW, stream), 1).expect("the stream is open");
            }
        });
        counted.bytes_total
    };
    let (few, many) = (allocations(1), allocations(101));
    // Each message is assembled in its own memory.
    assert!(many - few < 100 * 1024, "{few} bytes for one, {many} for more");
}

#[test]
fn a_large_message_owns_twice_what_has_arrived_of_it_at_most() {
    let mut wire = message(BINARY, &vec![7; 4 << 20]);
    for arrived in [1, 100, 5000, 100_000, 3_000_000] {
        for first in [BINARY, frames::BINARY] {
            let (mut connection, _) = websocket(None);
            let idle = connection.memory();
            wire[0] = first;
            echo(&mut connection, &wire[..14 + arrived]);
            let owned = assert_agrees(connection, 0) + size_of::<Connection>() - idle;
            println!("{arrived} bytes of a message of 4 MiB: {owned} bytes");
            assert!(owned >= arrived && owned <= 2 * arrived + 64, "{owned} for {arrived} bytes");
        }
    }
}

#[test]
fn a_websocket_with_a_full_output_is_reported_exactly() {
    let (mut connection, stream) = websocket(None);
    let idle = connection.memory();
    let limit = connection.config().send_buffer_limit() as usize;
    for size in [0, 100, 1025, 100_000, 100_000] {
        let mut data = Bytes::from(vec![7; size].into_boxed_slice()).slice(..);
        let _ = connection
            .stream(NOW, stream)
            .send_message(false, &mut data)
            .expect("the stream is open");
    }
    assert_eq!(connection.stream(Tick::ZERO, stream).room(), 0);
    // The pong for the newest ping has to wait.
    echo(&mut connection, &message(PING, &[b'p'; 125]).repeat(100));
    let (unsent, memory) = (play::unsent(&mut connection), connection.memory());
    assert!(unsent <= limit + 256, "{unsent} bytes unsent");
    assert!(memory - idle <= unsent + 4096, "{memory} bytes for {unsent} unsent ones");
    connection.sent(NOW, usize::MAX);
    assert!(connection.status().resume, "there is room for the pong, and for the application");
    while connection.resume(NOW).next().is_some() {}
    connection.sent(NOW, usize::MAX);
    assert_eq!(connection.memory(), idle);
    // Only the rest of a lent message counts.
    let mut data = Bytes::from_static(&[7; 200_000]);
    let sent = connection.stream(NOW, stream).send_message(false, &mut data);
    assert!(sent == Ok(Sent::Part) && data.len() == 200_000 - limit);
    connection.sent(NOW, 1000);
    let lent = limit - (1000 - 4);
    assert!(assert_agrees(connection, lent) <= lent + 1024);
}

/// One call of a driver that reads as much as it may, and pulls some or all events.
#[derive(Clone, Debug)]
struct Turn {
    credit: u64,
    read: usize,
    pulls: usize,
}

fn turn() -> impl Strategy<Value = Turn> {
    let credit = prop_oneof![Just(0), Just(1), 900..6000_u64, Just(u64::MAX)];
    let pulls = prop_oneof![Just(0), Just(1), Just(usize::MAX), Just(usize::MAX)];
    (credit, 1..6000_usize, pulls).prop_map(|(credit, read, pulls)| Turn { credit, read, pulls })
}

/// An upload, in one piece or in chunks of one length, with other requests after it.
fn upload(content: &[u8], chunk: Option<usize>) -> Vec<u8> {
    let mut wire = b"POST / HTTP/1.1\r\nHost: a\r\n".to_vec();
    match chunk {
        None => {
            wire.extend(format!("Content-Length: {}\r\n\r\n", content.len()).into_bytes());
            wire.extend(content);
        }
        Some(length) => {
            wire.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in content.chunks(length) {
                wire.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                wire.extend([chunk, b"\r\n"].concat());
            }
            wire.extend(b"0\r\n\r\n");
        }
    }
    wire.extend(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100));
    wire
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Large reads lose nothing, and hold no more than small ones. A large read whose events are
    /// not pulled ends the connection.
    #[test]
    fn large_reads_are_passed_on(
        length in 1..40_000_usize,
        chunk in proptest::option::of(1..9000_usize),
        turns in vec(turn(), 1..60),
    ) {
        let _watched = watched();
        let config = settings::narrow();
        let limit = config.receive_buffer_limit() as usize;
        let content: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
        let wire = upload(&content, chunk);
        let mut watched = Watched::new(config);
        let (mut at, mut got, mut ended) = (0, Vec::new(), false);
        for Turn { credit, read, pulls } in turns {
            let connection = &mut watched.connection;
            if let Some(stream) = watched.stream && !ended {
                play::read_more(connection.stream(NOW, stream), credit).expect("the stream is open");
            }
            let most = if connection.status().read { connection.receive_limit() } else { 0 };
            let mut piece = wire[at..].iter().copied().take(read.min(most)).collect::<Vec<u8>>();
            at += piece.len();
            let is_large = piece.len() > limit;
            let mut events = match piece.len() {
                0 => connection.resume(NOW),
                _ => connection.receive(NOW, &mut piece).expect("as much as it takes"),
            };
            let mut pulled = 0;
            while pulled < pulls && let Some((_, event)) = events.next() {
                match event {
                    Event::Request { stream, .. } => watched.stream = Some(stream),
                    Event::Data { data, .. } => got.extend_from_slice(data),
                    Event::End { .. } => ended = true,
                    other => panic!("{other:?}"),
                }
                pulled += 1;
            }
            drop(events);
            watched.look();
            match watched.connection.status().closed() {
                Some(reason) => {
                    prop_assert_eq!(reason, CloseReason::Aborted);
                    prop_assert!(is_large && pulls < usize::MAX, "closed although the read was small or pulled");
                    break;
                }
                None => prop_assert!(!is_large || pulls > 0, "a large read was held"),
            }
        }
        prop_assert!(content.starts_with(&got), "{} of {} bytes", got.len(), length);
        prop_assert!(!ended || got.len() == length, "content was lost");
        assert_agrees(watched.connection, 0);
    }
}

// ---- the worst inputs ---------------------------------------------------------------------------

fn configs() -> [Arc<Config>; 4] {
    [Arc::new(Config::default()), Arc::new(Config::strict()), settings::tiny(), settings::narrow()]
}

/// Reads of the sizes that matter.
fn steps(config: &Config) -> [usize; 4] {
    let most = config.receive_buffer_limit() as usize;
    [1, 100, most / 2 + 1, most]
}

fn worst(name: &str, attack: impl Fn(&mut Watched, usize)) {
    for config in configs() {
        let mut worst = 0;
        for step in steps(&config) {
            let mut watched = Watched::new(Arc::clone(&config));
            attack(&mut watched, step);
            worst = worst.max(watched.worst);
        }
        println!("{name}: {worst} of {}", config.memory_bound());
    }
}

#[test]
fn a_head_as_large_as_it_may_be() {
    worst("one long field", |watched, step| {
        let limit = watched.config.request_head_limit() as usize;
        watched.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: ", step);
        watched.feed(&vec![b'x'; limit - 30], step);
        watched.feed(&vec![b'x'; 200_000], step);
        assert!(!watched.connection.status().is_open(), "431");
    });
    worst("many short fields", |watched, step| {
        watched.feed(b"GET / HTTP/1.1\r\nHost: a\r\n", step);
        watched.feed(&b"a:\r\n".repeat(50_000), step);
        assert!(!watched.connection.status().is_open(), "431");
    });
}

#[test]
fn a_flood_of_pipelined_requests() {
    worst("pipelined, nothing answered", |watched, step| {
        let read = watched.feed(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20_000), step);
        assert!(read as u64 <= watched.config.receive_buffer_limit() + step as u64, "one read");
    });
    worst("pipelined, answers unread", |watched, step| {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for _ in 0..2000 {
            if watched.feed(head, step) == 0 || watched.connection.requests() == 0 {
                break;
            }
            let stream = watched.stream();
            let connection = &mut watched.connection;
            let length = BodyLength::Known(0);
            if connection.stream(NOW, stream).respond(StatusCode::OK, [], length).is_ok() {
                connection.stream(NOW, stream).finish(None).expect("complete");
            }
            watched.look();
        }
    });
}

#[test]
fn content_that_is_not_read() {
    worst("unread content", |watched, step| {
        watched.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n", step);
        watched.feed(&vec![b'x'; 200_000], step);
    });
    worst("a storm of chunks", |watched, step| {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        watched.feed(head, step);
        watched.feed(&b"1;e\r\nx\r\n".repeat(20_000), step);
    });
    worst("endless trailers", |watched, step| {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
        watched.feed(head, step);
        watched.feed(&b"a: b\r\n".repeat(20_000), step);
        assert!(!watched.connection.status().is_open(), "refused");
    });
}

/// Fields that make a head exactly as large as allowed.
fn large_fields(config: &Config) -> HeaderMap {
    let length = config.response_head_limit() as usize - 200;
    let value = HeaderValue::from_bytes(&vec![b'v'; length]).expect("a valid value");
    HeaderMap::from_iter([(HeaderName::from_static("x-large"), value)])
}

#[test]
fn an_application_that_sends_as_much_as_it_may() {
    // The peer takes a few bytes now and then, so that the unsent bytes move in the buffer.
    for taken in [0, 1, 500, 3000] {
        for piece in [1, 900, 1025, 100_000] {
            worst("all that is accepted", |watched, step| {
                all_that_is_accepted(watched, step, taken, piece);
            });
        }
    }
}

fn all_that_is_accepted(watched: &mut Watched, step: usize, taken: usize, piece: usize) {
    let fields = large_fields(&watched.config);
    for _ in 0..20 {
        if watched.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", step) == 0 {
            break;
        }
        let Some(stream) = watched.stream else { break };
        for _ in 0..50 {
            let status = StatusCode::EARLY_HINTS;
            if watched.connection.stream(NOW, stream).inform(status, &fields).is_err() {
                break;
            }
            watched.look();
            watched.connection.sent(NOW, taken);
        }
        let length = BodyLength::Unknown;
        if watched.connection.stream(NOW, stream).respond(StatusCode::OK, &fields, length).is_err()
        {
            break;
        }
        watched.look();
        for _ in 0..2000 {
            let mut data = Bytes::from(vec![b'c'; piece]);
            let sent =
                watched.connection.stream(NOW, stream).send(&mut data).expect("the stream is open");
            if sent == Sent::Part && data.len() == piece {
                break;
            }
            watched.look();
            watched.connection.sent(NOW, taken / 8);
        }
        watched.look();
        watched.connection.stream(NOW, stream).finish(Some(&fields)).expect("complete");
        watched.look();
        watched.connection.sent(NOW, taken);
        watched.look();
    }
}

/// A peer that takes so much that the buffer is never moved, or always.
#[test]
fn a_buffer_that_is_refilled_as_it_empties() {
    let settings = [("send_buffer_limit", "64KiB"), ("response_head_limit", "1KiB")];
    for round in 0..40 {
        // First the same share each time, then a different one each time.
        let mut share = [10, 25, 33, 49, 50, 51, 75, 90].get(round).copied().unwrap_or(round);

        let config = settings::with(&settings).expect("valid");
        let mut watched = Watched::new(config);
        watched.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", usize::MAX);
        let stream = watched.stream();
        let length = BodyLength::Unknown;
        let _ = watched.connection.stream(NOW, stream).respond(StatusCode::OK, [], length);
        let mut accepted = 0;
        while accepted < 4 << 20 {
            let mut data = Bytes::from_static(&[b'c'; 1000]);
            let sent =
                watched.connection.stream(NOW, stream).send(&mut data).expect("the stream is open");
            accepted += 1000 - data.len();
            watched.look();
            if sent == Sent::Part {
                let unsent = play::unsent(&mut watched.connection);
                watched.connection.sent(NOW, (unsent * share / 100).max(1));
                if round >= 8 {
                    share = (share * 7 + round) % 100;
                }
                watched.look();
            }
        }
        println!("shares, {round}: {} of {}", watched.worst, watched.config.memory_bound());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was played, the connection reports what the allocator counts.
    #[test]
    fn any_session_is_reported_exactly(bytes in vec(any::<u8>(), 0..300)) {
        let _watched = watched();
        play::session(&bytes, Some(weigh));
    }

    /// The same for a websocket.
    #[test]
    fn any_websocket_session_is_reported_exactly(bytes in vec(any::<u8>(), 0..300)) {
        let _watched = watched();
        play::websocket(&bytes, Some(weigh));
    }
}
