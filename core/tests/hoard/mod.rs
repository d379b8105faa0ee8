//! A connection whose heap is counted after each call, and peers and applications that make it hold
//! as much as they can, under configurations that are drawn as well.
//!
//! In: a seed. Out: nothing, or a panic that says which figure is wrong. Over TLS the same is played
//! with what a [`Peer`] makes of plaintext.

// Each of the programs that include this module uses a part of it.
#![allow(dead_code, unused_imports)]

mod application;
mod peer;

pub(crate) use application::{fields, lent};
pub(crate) use peer::{Peer, Plain};

use crate::play::websocket_frames as frames;
use allocation_counter::measure;
use application::Application;
use fastrand::Rng;
use peer::Script;
use portcullis::{Builder, Config, Connection, Event, Phase, Status, StreamId, Tick};
use std::io::IoSlice;
use std::sync::Arc;

/// More pieces than a queue may have under any configuration that is drawn.
const SLICES: usize = 10_000;
pub(crate) const NOW: Tick = Tick::ZERO;

/// The limits that decide about memory, and the range in which they are drawn.
const LIMITS: [(&str, u64, u64); 9] = [
    ("request_head_limit", 256, 64 << 10),
    ("request_fields_limit", 8, 256),
    ("trailers_limit", 64, 64 << 10),
    ("send_buffer_limit", 1 << 10, 256 << 10),
    ("receive_buffer_limit", 1 << 10, 128 << 10),
    ("response_head_limit", 1 << 10, 32 << 10),
    ("websocket_message_limit", 16, 256 << 10),
    ("chunk_extensions_limit", 256, 4 << 10),
    ("tls_handshake_limit", 4 << 10, 128 << 10),
];

/// Some configuration: each limit is as likely to be of one magnitude as of another.
pub(crate) fn configuration(draw: &mut Rng) -> Builder {
    let mut builder = Config::builder()
        .websocket_deflate(draw.bool())
        .request_body_limit(None)
        .requests_per_connection(u64::MAX);
    for (name, least, most) in LIMITS {
        let value = magnitude(draw, least, most);
        builder = builder.set(name, &value.to_string()).expect("a setting");
    }
    builder
}

/// A number of any magnitude.
pub(crate) fn magnitude(draw: &mut Rng, least: u64, most: u64) -> u64 {
    let span = (most as f64 / least as f64).ln();
    let value = least as f64 * (draw.f64() * span).exp();
    (value as u64).clamp(least, most)
}

/// A connection, and the figures about it.
pub(crate) struct Hoard {
    connection: Option<Connection>,
    pub(crate) config: Arc<Config>,
    /// Bytes of heap, by the allocator's count.
    heap: i64,
    /// What the connection may tell beyond that, and the content lent to it: estimates.
    estimated: usize,
    /// What it may own beyond what it tells: what compressed messages keep alive.
    pinned: usize,
    /// The worst that was told, or counted, with the connection itself.
    pub(crate) worst: usize,
    /// The worst that was counted.
    pub(crate) worst_counted: usize,
}

impl Hoard {
    pub(crate) fn new(config: Arc<Config>) -> Hoard {
        Hoard::with(config, 0)
    }

    /// Over TLS, of which rustls's share is estimated.
    pub(crate) fn over_tls(config: Arc<Config>) -> Hoard {
        Hoard::with(config, 4 << 10)
    }

    fn with(config: Arc<Config>, estimated: usize) -> Hoard {
        let mut connection = None;
        let info = measure(|| connection = Some(Connection::new(Arc::clone(&config), NOW)));
        let heap = info.bytes_current;
        let mut hoard =
            Hoard { connection, config, heap, estimated, pinned: 0, worst: 0, worst_counted: 0 };
        hoard.check();
        hoard
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("it was not dropped")
    }

    /// What it owns, by the allocator's count and as it tells.
    pub(crate) fn figures(&mut self) -> (usize, usize) {
        let heap = usize::try_from(self.heap).expect("no more is freed than was allocated");
        (heap, self.connection().memory() - size_of::<Connection>())
    }

    pub(crate) fn is_open(&mut self) -> bool {
        matches!(self.connection().status(), Status::Open { .. })
    }

    /// Does something to the connection, of which nothing is kept elsewhere.
    pub(crate) fn act(&mut self, action: impl FnOnce(&mut Connection)) {
        let pinned = self.pinned;
        self.pin(|connection| {
            action(connection);
            pinned
        });
    }

    /// The same, after which so many bytes more may be pinned than the connection tells.
    fn pin(&mut self, action: impl FnOnce(&mut Connection) -> usize) {
        let connection = self.connection.as_mut().expect("it was not dropped");
        self.heap += measure(|| self.pinned = action(connection)).bytes_current;
        self.check();
    }

    /// Bytes that can be written now.
    pub(crate) fn waiting(&mut self) -> usize {
        let mut waiting = 0;
        let connection = self.connection.as_mut().expect("it was not dropped");
        // Over TLS records are made.
        let info = measure(|| {
            let few = connection.outgoing(&mut [IoSlice::new(&[]); 8]);
            let mut slices = vec![IoSlice::new(&[]); if few < 8 { 8 } else { SLICES }];
            let filled = connection.outgoing(&mut slices);
            assert!(filled < SLICES, "more pieces than the cap allows");
            waiting = slices[..filled].iter().map(|slice| slice.len()).sum();
        });
        self.heap += info.bytes_current;
        waiting
    }

    /// The figures agree, and stay within the bound.
    fn check(&mut self) {
        let own = size_of::<Connection>();
        let waiting = self.waiting();
        let shakes = self.connection().phase() == Phase::Handshake || !self.is_open();
        let (told, bound) = (self.connection().memory(), self.connection().memory_bound());
        let heap = usize::try_from(self.heap).expect("no more is freed than was allocated") + own;
        let config = &self.config;
        assert!(told <= bound, "{told} bytes told, of at most {bound}: {config:?}");
        assert!(
            heap <= bound + self.pinned,
            "{heap} bytes counted, of at most {bound}: {config:?}"
        );
        assert!(heap <= told + self.pinned, "{heap} bytes counted, {told} told: {config:?}");
        // What is lent by the application belongs to nobody's heap here; over TLS it waits to be sealed.
        let lent = if self.estimated > 0 { config.send_buffer_limit() as usize } else { waiting };
        let most = heap + lent + self.estimated;
        // What rustls owns within the handshake is not known until its end.
        assert!(
            told <= most || shakes,
            "{told} bytes told, {heap} counted, {lent} lent: {config:?}"
        );
        // A full queue or an interim answer, a head, trailers, and what the connection itself adds.
        let (limit, head) = (config.send_buffer_limit(), config.response_head_limit());
        let most = (limit.max(head) + 2 * head) as usize + 512;
        assert!(waiting <= most || shakes, "{waiting} bytes unsent, of at most {most}: {config:?}");
        self.worst = self.worst.max(told);
        self.worst_counted = self.worst_counted.max(heap);
    }

    /// The whole of what was read is well and taken, or refused.
    pub(crate) fn feed(&mut self, wire: &[u8], stream: &mut Option<StreamId>) {
        let step = self.config.receive_buffer_limit() as usize;
        for piece in wire.chunks(step) {
            if !self.connection().wants_read() {
                break;
            }
            self.read(piece.to_vec(), usize::MAX, |_, event| {
                if let Event::Request { stream: newest, .. } = event {
                    *stream = Some(newest);
                }
                0
            });
        }
    }

    /// The peer takes so many of what waits, in hundreds.
    pub(crate) fn take_share(&mut self, share: usize) {
        let bytes = self.waiting() * share / 100;
        self.act(|connection| connection.sent(NOW, bytes));
    }

    /// The application sends pieces of `length` until it is told to wait.
    pub(crate) fn fill(&mut self, stream: StreamId, length: usize) {
        self.act(|connection| {
            let mut piece = lent(length);
            while connection.stream(NOW, stream).send(&mut piece).is_ok() && piece.len() < length {
                piece = lent(length);
            }
        });
    }

    /// Reads `fresh`, or goes on with what is held if that is empty; pulls so many events.
    pub(crate) fn read(
        &mut self,
        mut fresh: Vec<u8>,
        pulls: usize,
        mut look: impl FnMut(&mut Connection, Event<'_>) -> usize,
    ) {
        let own = size_of::<Connection>() as i64;
        let connection = self.connection.as_mut().expect("it was not dropped");
        let mut bound = connection.memory_bound();
        let mut heap = self.heap;
        {
            let mut events = None;
            let info = measure(|| {
                events = Some(match fresh.len() {
                    0 => connection.resume(NOW),
                    _ => connection.receive(NOW, &mut fresh).expect("it reads as much"),
                });
            });
            heap += info.bytes_current;
            let mut events = events.expect("they were made");
            for _ in 0..pulls {
                let mut is_over = false;
                let info = measure(|| match events.next() {
                    None => is_over = true,
                    Some((connection, event)) => {
                        self.pinned = look(connection, event);
                        bound = connection.memory_bound();
                    }
                });
                heap += info.bytes_current;
                let owned = heap + own - self.pinned as i64;
                assert!(owned <= bound as i64, "{owned} bytes, at most {bound}: {:?}", self.config);
                self.worst = self.worst.max(usize::try_from(heap + own).unwrap_or(0));
                if is_over {
                    break;
                }
            }
            heap += measure(|| drop(events)).bytes_current;
        }
        self.heap = heap;
        self.check();
    }

    /// Drops the connection: nothing is left of it.
    pub(crate) fn end(mut self) -> usize {
        let connection = self.connection.take();
        let freed = measure(|| drop(connection)).bytes_current;
        assert_eq!(self.heap + freed, 0, "all that was allocated is freed");
        self.worst
    }
}

/// What is played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Http,
    WebSocket,
}

/// Plays a peer and an application that are as bad as `draw` makes them.
pub(crate) fn play(hoard: &mut Hoard, kind: Kind, peer: &mut impl Peer, draw: &mut Rng) {
    let mut application = Application::new(kind, &hoard.config, draw);
    let message = application.message_limit().unwrap_or(hoard.config.websocket_message_limit());
    let mut script = Script::new(kind, &hoard.config, message as usize);
    let steps = draw.usize(10..60);
    // Bytes on their way to the connection.
    let mut wire = Vec::new();
    for _ in 0..steps {
        if !hoard.is_open() {
            break;
        }
        match draw.u8(0..8) {
            0..3 => {
                let most = hoard.connection().receive_limit();
                let length = read_length(draw, most);
                while wire.len() < length {
                    let plaintext = script.unit(draw);
                    wire.extend(peer.wrap(&plaintext, draw));
                }
                let reads = hoard.connection().wants_read();
                let rest = wire.split_off(if reads { length } else { 0 });
                let fresh = std::mem::replace(&mut wire, rest);
                let pulls = [0, 1, usize::MAX, usize::MAX, usize::MAX][draw.usize(0..5)];
                hoard.read(fresh, pulls, |connection, event| {
                    application.look(connection, event, draw)
                });
            }
            3 => {
                hoard.read(Vec::new(), usize::MAX, |connection, event| {
                    application.look(connection, event, draw)
                });
            }
            4..7 => {
                for _ in 0..draw.usize(1..10) {
                    hoard.pin(|connection| application.act(connection, draw));
                }
            }
            _ => take(hoard, draw),
        }
    }
    hoard.act(|_| drop(application));
}

/// The peer takes some of what waits.
fn take(hoard: &mut Hoard, draw: &mut Rng) {
    for _ in 0..draw.usize(1..4) {
        let unsent = hoard.waiting();
        let taken = match draw.u8(0..6) {
            0 => 1,
            1 => unsent.saturating_sub(1),
            2 => unsent,
            3 => unsent / 4 + 1,
            4 => unsent / 2,
            _ => draw.usize(0..=unsent),
        };
        hoard.act(|connection| connection.sent(NOW, taken));
    }
    if draw.u8(0..4) == 0 {
        hoard.act(|connection| connection.lend_buffer(Vec::with_capacity(4096)));
    } else if draw.bool() {
        hoard.act(|connection| drop(connection.return_buffer()));
    }
}

fn read_length(draw: &mut Rng, most: usize) -> usize {
    let length = match draw.u8(0..6) {
        0 => 1,
        1 => most,
        2 => most / 2 + 1,
        3 => draw.usize(1..2000),
        _ => magnitude(draw, 1, most as u64) as usize,
    };
    length.min(most)
}

/// A frame of a client.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    frames::put(&mut wire, first, [1, 2, 3, 4], payload);
    wire
}
