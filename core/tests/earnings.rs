//! The exact prices and earnings of a websocket's budget, through the public calls.
//!
//! The budget starts with 1024 times the price of a ping. Once pings have used it up, the rest
//! shows exactly what later input has earned or cost. Time stands still.

use bytes::Bytes;
use play::websocket_frames::{
    self as frames, BINARY, COMPRESSED, CONTINUATION, FIN, HANDSHAKE, PING, PONG,
};
use portcullis::websocket::{DeflateSettings, Handshake, Options, Violation};
use portcullis::{CloseReason, Config, Connection, Event, Events, Sent, StreamId, Tick};
use portcullis_play::play;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

/// The number of pings that a fresh budget pays for.
const PINGS: usize = 1024;
/// The price of a ping, in bytes of messages.
const PING_COSTS: usize = 16;

struct Socket {
    connection: Connection,
    stream: StreamId,
    now: Tick,
    /// How many messages or last pieces were received.
    messages: usize,
}

impl Socket {
    fn new(now: Tick, options: Options, deflate: bool) -> Socket {
        let config = Config::builder().websocket_deflate(deflate).websocket_ping_interval(None);
        let mut connection = Connection::new(Arc::new(config.build().expect("valid")), now);
        let mut wire = HANDSHAKE.to_vec();
        let mut events = connection.receive(now, &mut wire).expect("the connection reads");
        let Some((_, Event::Request { stream, head })) = events.next() else { panic!("a request") };
        let settings = deflate.then(DeflateSettings::default);
        let handshake = Handshake::read(&head).expect("a valid handshake");
        let accepted =
            handshake.accept(None, settings.as_ref()).expect("no subprotocol was chosen");
        drop(events);
        connection
            .stream(now, stream)
            .accept_websocket(&accepted, None, options)
            .expect("the handshake is accepted");
        let mut socket = Socket { connection, stream, now, messages: 0 };
        socket.sent();
        socket
    }

    /// A websocket whose application asks for all messages.
    fn eager(options: Options, deflate: bool) -> Socket {
        Socket::eager_at(Tick::ZERO, options, deflate)
    }

    fn eager_at(now: Tick, options: Options, deflate: bool) -> Socket {
        let mut socket = Socket::new(now, options, deflate);
        socket
            .connection
            .stream(socket.now, socket.stream)
            .read_to(u64::MAX)
            .expect("the stream is open");
        socket
    }

    /// A websocket whose budget is used up.
    fn poor(options: Options, deflate: bool) -> Socket {
        let mut socket = Socket::eager(options, deflate);
        socket.receive(&control(PING).repeat(PINGS));
        assert!(socket.is_open());
        socket
    }

    fn is_open(&self) -> bool {
        self.connection.status().is_open()
    }

    fn receive(&mut self, wire: &[u8]) {
        for piece in wire.chunks(60_000) {
            if self.connection.status().read {
                let mut piece = piece.to_vec();
                let events =
                    self.connection.receive(self.now, &mut piece).expect("the connection reads");
                self.messages += pull(events);
                while self.connection.status().has_work {
                    self.messages += pull(self.connection.resume(self.now));
                }
                self.sent();
            }
        }
    }

    /// Takes all output, and returns it.
    fn sent(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.status().write {
            let mut slices = [IoSlice::new(&[]); 64];
            let count = self.connection.outgoing(&mut slices);
            let before = out.len();
            slices[..count].iter().for_each(|slice| out.extend_from_slice(slice));
            let bytes = out.len() - before;
            self.connection.sent(self.now, bytes);
        }
        out
    }

    /// How many of the frames are accepted before they are a flood.
    fn until_costly(mut self, frame: &[u8]) -> usize {
        let count = (0..100_000).find(|_| {
            self.receive(frame);
            !self.is_open()
        });
        drop(self.connection.receive_eof(self.now));
        let reason = CloseReason::Violation(Violation::Costly);
        assert_eq!(self.connection.status().closed(), Some(reason));
        count.expect("the budget runs out")
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

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut draw = fastrand::Rng::with_seed(7);
    (0..length).map(|_| draw.u8(..)).collect()
}

const WHOLE: Options =
    Options { message_limit: None, pieces: false, owned: false, controls: false };
const PIECES: Options = Options { pieces: true, ..WHOLE };

#[test]
fn each_useless_frame_has_its_price() {
    // Pings and pongs, empty and with the longest payload: a control frame's payload earns nothing.
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
        // Fifteen bytes earn a point less than their fragment costs, until the price cannot be
        // paid.
        let mut socket = Socket::eager(options, false);
        socket.receive(&frame(BINARY, &[1; 64]));
        let price = PING_COSTS;
        let expected = (PINGS - 1) * price + 1;
        assert_eq!(socket.until_costly(&frame(CONTINUATION, &[1; 15])), expected);
        // Sixteen bytes pay for their fragment, so they go on for ever.
        let mut socket = Socket::eager(options, false);
        socket.receive(&frame(BINARY, &[1; 64]));
        socket.receive(&control(PING).repeat(PINGS - 1));
        socket.receive(&frame(CONTINUATION, &[1; 16]).repeat(2000));
        assert!(socket.is_open());
    }
    // With an empty budget, only a fragment that costs nothing is accepted. This finds the smallest
    // one.
    for (length, lives) in [(64, true), (63, false)] {
        let mut socket = Socket::poor(WHOLE, false);
        socket.receive(&frame(BINARY, &vec![1; length]));
        assert_eq!(socket.is_open(), lives, "{length} bytes");
    }
    // A message in one frame is no fragment, however small.
    let mut socket = Socket::poor(WHOLE, false);
    socket.receive(&frame(FIN | BINARY, b"1").repeat(100));
    assert_eq!((socket.is_open(), socket.messages), (true, 100));
}

/// How many pings the bytes in `wires` pay for, with one read for each.
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
fn the_budget_never_exceeds_a_fresh_one() {
    let wire = frame(FIN | BINARY, &noise(50_000));
    assert_eq!(pings_after(WHOLE, false, &[&wire]), PINGS);
}

#[test]
fn a_compressed_message_earns_its_compressed_bytes() {
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
            // A stored block that is marked as final, and the empty block that RFC 7692 7.2.3.4
            // adds.
            let stored = length - 6;
            let mut payload = vec![0x01, stored as u8, (stored >> 8) as u8];
            payload.extend([!(stored as u8), !((stored >> 8) as u8)]);
            payload.extend(noise(stored));
            payload.push(0);
            let wire = frame(FIN | COMPRESSED | BINARY, &payload);
            assert_eq!(pings_after(options, true, &[&wire]), paid, "{length} bytes");
        }
        // Without the bytes that pay for it, a final block is a flood.
        let mut payload = vec![0x01, 1, 0, 0xfe, 0xff, b'x', 0];
        let mut socket = Socket::poor(options, true);
        socket.receive(&frame(FIN | COMPRESSED | BINARY, &payload));
        assert!(!socket.is_open());
        // A fresh budget pays for 64 of them, and their own bytes for one more.
        payload[5] = b'y';
        let count =
            Socket::eager(options, true).until_costly(&frame(FIN | COMPRESSED | BINARY, &payload));
        assert_eq!(count, 65);
    }
}

#[test]
fn pings_answered_ahead_are_paid_once_and_in_full() {
    let mut socket = Socket::new(Tick::ZERO, WHOLE, false);
    // A message that the application does not ask for, and pings behind it.
    let message = frame(FIN | BINARY, &[7; 32]);
    socket.receive(&message);
    let mut wire = control(PING).repeat(PINGS + 10);
    drop(socket.connection.receive(socket.now, &mut wire).expect("the connection reads"));
    let pongs = |out: &[u8]| out.chunks(2).filter(|frame| *frame == [PONG, 0]).count();
    while socket.connection.resume(socket.now).next().is_some() {}
    assert_eq!(
        pongs(&socket.sent()),
        PINGS,
        "as many pings as the budget pays for are answered at once"
    );
    assert!(socket.is_open());
    // The message pays for two of the pings whose turn comes now.
    play::read_more(socket.connection.stream(socket.now, socket.stream), 1)
        .expect("the stream is open");
    socket.messages += pull(socket.connection.resume(socket.now));
    assert_eq!(socket.messages, 1);
    let out = socket.sent();
    assert_eq!(pongs(&out[..4]), 2, "{out:?}");
    assert!(!socket.is_open(), "further pings are a flood");
    // Pings that were answered ahead cost nothing at their turn.
    let mut socket = Socket::new(Tick::ZERO, WHOLE, false);
    socket.receive(&message);
    socket.receive(&control(PING).repeat(PINGS));
    socket
        .connection
        .stream(socket.now, socket.stream)
        .read_to(u64::MAX)
        .expect("the stream is open");
    socket.messages += pull(socket.connection.resume(socket.now));
    assert_eq!((socket.messages, socket.is_open(), socket.sent().len()), (1, true, 0));
    assert_eq!(socket.until_costly(&control(PING)), 32 / PING_COSTS);
}

#[test]
fn time_pays_for_64_pings_a_second_since_acceptance() {
    // An hour before the acceptance earns nothing.
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
fn sent_messages_earn_nothing() {
    let mut socket = Socket::poor(WHOLE, false);
    let mut data = Bytes::from(vec![1; 10_000]);
    let sent = socket.connection.stream(socket.now, socket.stream).send_message(false, &mut data);
    assert_eq!(sent, Ok(Sent::All));
    socket.sent();
    assert_eq!(socket.until_costly(&control(PING)), 0);
}
