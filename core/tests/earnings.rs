//! What a websocket's budget pays for and earns, to the point, through the public calls.
//!
//! The budget begins with 1024 times the price of a ping. Once pings have used it up, what is left tells
//! exactly what anything that follows has earned or cost. Time stands still.

mod play;

use bytes::Bytes;
use play::websocket_frames::{
    self as frames, BINARY, COMPRESSED, CONTINUATION, FIN, HANDSHAKE, PING, PONG,
};
use portcullis::websocket::{DeflateSettings, Handshake, Options, Violation};
use portcullis::{CloseReason, Config, Connection, Event, Events, Sent, Status, StreamId, Tick};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

/// What a fresh budget pays for.
const PINGS: usize = 1024;
/// The price of a ping, in bytes of a message.
const PING_COSTS: usize = 16;

struct Socket {
    connection: Connection,
    stream: StreamId,
    now: Tick,
    /// Messages, and last pieces.
    messages: usize,
}

impl Socket {
    fn new(now: Tick, options: Options, deflate: bool) -> Socket {
        let config = Config::builder().websocket_deflate(deflate).websocket_ping_interval(None);
        let mut connection = Connection::new(Arc::new(config.build().expect("valid")), now);
        let mut wire = HANDSHAKE.to_vec();
        let mut events = connection.receive(now, &mut wire).expect("it reads");
        let Some((_, Event::Request { stream, head })) = events.next() else { panic!("a request") };
        let settings = deflate.then(DeflateSettings::default);
        let handshake = Handshake::read(&head).expect("a good handshake");
        let accepted = handshake.accept(None, settings.as_ref()).expect("nothing was chosen");
        drop(events);
        connection
            .stream(now, stream)
            .accept_websocket(&accepted, None, options)
            .expect("it may be one");
        let mut socket = Socket { connection, stream, now, messages: 0 };
        socket.sent();
        socket
    }

    /// One whose application asks for all messages.
    fn eager(options: Options, deflate: bool) -> Socket {
        Socket::eager_at(Tick::ZERO, options, deflate)
    }

    fn eager_at(now: Tick, options: Options, deflate: bool) -> Socket {
        let mut socket = Socket::new(now, options, deflate);
        socket.connection.stream(socket.now, socket.stream).read(u64::MAX).expect("it lives");
        socket
    }

    /// One whose budget is used up.
    fn poor(options: Options, deflate: bool) -> Socket {
        let mut socket = Socket::eager(options, deflate);
        socket.receive(&control(PING).repeat(PINGS));
        assert!(socket.is_open());
        socket
    }

    fn is_open(&self) -> bool {
        matches!(self.connection.status(), Status::Open { .. })
    }

    fn receive(&mut self, wire: &[u8]) {
        for piece in wire.chunks(60_000) {
            if self.connection.wants_read() {
                let mut piece = piece.to_vec();
                let events = self.connection.receive(self.now, &mut piece).expect("it reads");
                self.messages += pull(events);
                while self.connection.has_work() {
                    self.messages += pull(self.connection.resume(self.now));
                }
                self.sent();
            }
        }
    }

    /// What there is to send is taken; its bytes.
    fn sent(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.wants_write() {
            let mut slices = [IoSlice::new(&[]); 64];
            let count = self.connection.outgoing(&mut slices);
            let before = out.len();
            slices[..count].iter().for_each(|slice| out.extend_from_slice(slice));
            let bytes = out.len() - before;
            self.connection.sent(self.now, bytes);
        }
        out
    }

    /// How many of the frames come until they are too many.
    fn until_costly(mut self, frame: &[u8]) -> usize {
        let count = (0..100_000).find(|_| {
            self.receive(frame);
            !self.is_open()
        });
        drop(self.connection.receive_eof(self.now));
        let reason = CloseReason::Violation(Violation::Costly);
        assert_eq!(self.connection.status(), Status::Closed(reason));
        count.expect("it ends")
    }
}

fn pull(mut events: Events<'_, '_>) -> usize {
    let mut messages = 0;
    while let Some((_, event)) = events.next() {
        messages += usize::from(matches!(
            event,
            Event::Message { .. } | Event::OwnedMessage { .. } | Event::Piece { last: true, .. }
        ));
    }
    messages
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    frames::put(&mut wire, first, [1, 2, 3, 4], payload);
    wire
}

/// A control frame without payload.
fn control(first: u8) -> Vec<u8> {
    frame(first, b"")
}

/// Bytes that don't compress.
fn noise(length: usize) -> Vec<u8> {
    let mut draw = fastrand::Rng::with_seed(7);
    (0..length).map(|_| draw.u8(..)).collect()
}

const WHOLE: Options = Options { message_limit: None, pieces: false, owned: false };
const PIECES: Options = Options { pieces: true, ..WHOLE };

#[test]
fn each_useless_frame_has_its_price() {
    // Pings and pongs, also with as much payload as they may have: that is no message.
    for useless in [control(PING), control(PONG), frame(PING, &[1; 125]), frame(PONG, &[1; 125])] {
        assert_eq!(Socket::eager(WHOLE, false).until_costly(&useless), PINGS, "{:?}", useless[0]);
    }
    // Empty messages, and empty fragments.
    assert_eq!(Socket::eager(WHOLE, false).until_costly(&frame(FIN | BINARY, b"")), PINGS);
    for options in [WHOLE, PIECES] {
        let mut fragments = Socket::eager(options, false);
        fragments.receive(&frame(BINARY, &[1; 64]));
        assert_eq!(fragments.until_costly(&frame(CONTINUATION, b"")), PINGS);
    }
}

#[test]
fn a_small_fragment_costs_what_sixteen_bytes_earn() {
    for options in [WHOLE, PIECES] {
        // Fifteen bytes bring a point less than they cost: until the last price can't be paid.
        let mut socket = Socket::eager(options, false);
        socket.receive(&frame(BINARY, &[1; 64]));
        let price = PING_COSTS;
        let expected = (PINGS - 1) * price + 1;
        assert_eq!(socket.until_costly(&frame(CONTINUATION, &[1; 15])), expected);
        // Sixteen go on for ever.
        let mut socket = Socket::eager(options, false);
        socket.receive(&frame(BINARY, &[1; 64]));
        socket.receive(&control(PING).repeat(PINGS - 1));
        socket.receive(&frame(CONTINUATION, &[1; 16]).repeat(2000));
        assert!(socket.is_open());
    }
    // Where nothing can be paid, the smallest fragment that costs nothing tells itself apart.
    for (length, lives) in [(64, true), (63, false)] {
        let mut socket = Socket::poor(WHOLE, false);
        socket.receive(&frame(BINARY, &vec![1; length]));
        assert_eq!(socket.is_open(), lives, "{length} bytes");
    }
    // A whole message is no fragment, however small.
    let mut socket = Socket::poor(WHOLE, false);
    socket.receive(&frame(FIN | BINARY, b"1").repeat(100));
    assert_eq!((socket.is_open(), socket.messages), (true, 100));
}

/// How many pings can be paid with what `wires` earned, read by read.
fn pings_after(options: Options, deflate: bool, wires: &[&[u8]]) -> usize {
    let mut socket = Socket::poor(options, deflate);
    wires.iter().for_each(|wire| socket.receive(wire));
    assert!(socket.is_open() && socket.messages > 0, "{} messages", socket.messages);
    socket.until_costly(&control(PING))
}

#[test]
fn bytes_of_messages_earn_a_point_each() {
    for options in [WHOLE, PIECES, Options { owned: true, ..WHOLE }] {
        for length in [159, 160, 161, 1600] {
            let (bytes, paid) = (noise(length), length / PING_COSTS);
            let whole = frame(FIN | BINARY, &bytes);
            assert_eq!(pings_after(options, false, &[&whole]), paid, "whole: {length}");
            let cuts: Vec<&[u8]> = whole.chunks(50).collect();
            assert_eq!(pings_after(options, false, &cuts), paid, "in parts: {length}");
            let cuts: Vec<&[u8]> = whole.chunks(1).collect();
            assert_eq!(pings_after(options, false, &cuts), paid, "byte by byte: {length}");
            let (first, second) = bytes.split_at(70);
            let fragments = [frame(BINARY, first), frame(FIN | CONTINUATION, second)].concat();
            assert_eq!(pings_after(options, false, &[&fragments]), paid, "in fragments: {length}");
        }
    }
}

#[test]
fn no_more_is_kept_than_a_fresh_budget_has() {
    let wire = frame(FIN | BINARY, &noise(50_000));
    assert_eq!(pings_after(WHOLE, false, &[&wire]), PINGS);
}

#[test]
fn a_compressed_message_earns_what_came_and_not_what_it_inflates_to() {
    for options in [WHOLE, PIECES] {
        for content in [noise(400), vec![0; 100_000]] {
            let payload = frames::deflate(&mut frames::compressor(), &content);
            let wire = frame(FIN | COMPRESSED | BINARY, &payload);
            let paid = payload.len() / PING_COSTS;
            assert_eq!(pings_after(options, true, &[&wire]), paid, "{} bytes", payload.len());
            let cuts: Vec<&[u8]> = wire.chunks(1).collect();
            assert_eq!(pings_after(options, true, &cuts), paid, "byte by byte");
        }
    }
}

#[test]
fn a_final_block_costs_as_much_as_sixteen_pings() {
    for options in [WHOLE, PIECES] {
        for (length, paid) in [(16 * 19, 3), (16 * 19 - 1, 2), (16 * 16 + 1, 0)] {
            // A stored block that says that it is the last, and the empty one that RFC 7692 7.2.3.4 adds.
            let stored = length - 6;
            let mut payload = vec![0x01, stored as u8, (stored >> 8) as u8];
            payload.extend([!(stored as u8), !((stored >> 8) as u8)]);
            payload.extend(noise(stored));
            payload.push(0);
            let wire = frame(FIN | COMPRESSED | BINARY, &payload);
            assert_eq!(pings_after(options, true, &[&wire]), paid, "{length} bytes");
        }
        // Without the bytes that pay for it, it is too much.
        let mut payload = vec![0x01, 1, 0, 0xfe, 0xff, b'x', 0];
        let mut socket = Socket::poor(options, true);
        socket.receive(&frame(FIN | COMPRESSED | BINARY, &payload));
        assert!(!socket.is_open());
        // 64 of them are paid by a fresh budget, and the bytes of all by one more.
        payload[5] = b'y';
        let count =
            Socket::eager(options, true).until_costly(&frame(FIN | COMPRESSED | BINARY, &payload));
        assert_eq!(count, 65);
    }
}

#[test]
fn pings_that_are_read_ahead_are_paid_once_and_in_full() {
    let mut socket = Socket::new(Tick::ZERO, WHOLE, false);
    // A message that nobody asks for, and pings behind it.
    let message = frame(FIN | BINARY, &[7; 32]);
    socket.receive(&message);
    let mut wire = control(PING).repeat(PINGS + 10);
    drop(socket.connection.receive(socket.now, &mut wire).expect("it reads"));
    let pongs = |out: &[u8]| out.chunks(2).filter(|frame| *frame == [PONG, 0]).count();
    while socket.connection.resume(socket.now).next().is_some() {}
    assert_eq!(pongs(&socket.sent()), PINGS, "what the budget pays for is answered at once");
    assert!(socket.is_open());
    // The message pays for two of those whose turn comes now, and no more.
    socket.connection.stream(socket.now, socket.stream).read(1).expect("it lives");
    socket.messages += pull(socket.connection.resume(socket.now));
    assert_eq!(socket.messages, 1);
    let out = socket.sent();
    assert_eq!(pongs(&out[..4]), 2, "{out:?}");
    assert!(!socket.is_open(), "and the others are a flood");
    // Those that were answered cost nothing at their turn.
    let mut socket = Socket::new(Tick::ZERO, WHOLE, false);
    socket.receive(&message);
    socket.receive(&control(PING).repeat(PINGS));
    socket.connection.stream(socket.now, socket.stream).read(u64::MAX).expect("it lives");
    socket.messages += pull(socket.connection.resume(socket.now));
    assert_eq!((socket.messages, socket.is_open(), socket.sent().len()), (1, true, 0));
    assert_eq!(socket.until_costly(&control(PING)), 32 / PING_COSTS);
}

#[test]
fn time_brings_back_64_pings_a_second_from_when_it_was_accepted() {
    // An hour before brings nothing.
    let hour = Tick::ZERO.after(Duration::from_secs(3600));
    let mut socket = Socket::eager_at(hour, WHOLE, false);
    socket.receive(&control(PING).repeat(PINGS));
    assert!(socket.is_open());
    assert_eq!(socket.until_costly(&control(PING)), 0);
    for (milliseconds, paid) in [(15, 0), (1000, 64), (1500, 96), (3_600_000, PINGS)] {
        let mut socket = Socket::poor(WHOLE, false);
        socket.now = Tick::ZERO.after(Duration::from_millis(milliseconds));
        assert_eq!(socket.until_costly(&control(PING)), paid, "after {milliseconds} ms");
    }
}

#[test]
fn what_we_send_earns_the_peer_nothing() {
    let mut socket = Socket::poor(WHOLE, false);
    let mut data = Bytes::from(vec![1; 10_000]);
    let sent = socket.connection.stream(socket.now, socket.stream).send_message(false, &mut data);
    assert_eq!(sent, Ok(Sent::All));
    socket.sent();
    assert_eq!(socket.until_costly(&control(PING)), 0);
}
