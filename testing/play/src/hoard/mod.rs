//! A connection whose heap is counted after each call. Peers and applications make it hold as much
//! as they can, under random configurations.
//!
//! In: a seed. Out: nothing, or a panic that says which figure is wrong. Over TLS the same is
//! played, with the plaintext that a [`Peer`] wraps.

mod application;
mod peer;

pub use application::{fields, lent};
pub use peer::{Peer, Plain};

use crate::play::websocket_frames as frames;
use allocation_counter::measure;
use application::Application;
use fastrand::Rng;
use peer::Script;
use portcullis::{Builder, Config, Connection, Event, Phase, StreamId, Tick};
use std::io::IoSlice;
use std::sync::Arc;

/// More pieces than a queue may have under any configuration here.
const SLICES: usize = 10_000;
pub const NOW: Tick = Tick::ZERO;

/// The limits that decide about memory, with the range of their random values.
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

/// A random configuration: each limit has a random order of magnitude.
pub fn configuration(draw: &mut Rng) -> Builder {
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

/// A random number of a random order of magnitude.
pub fn magnitude(draw: &mut Rng, least: u64, most: u64) -> u64 {
    let span = (most as f64 / least as f64).ln();
    let value = least as f64 * (draw.f64() * span).exp();
    (value as u64).clamp(least, most)
}

/// A connection with its figures.
pub struct Hoard {
    connection: Option<Connection>,
    pub config: Arc<Config>,
    /// Bytes of heap, counted by the allocator.
    heap: i64,
    /// How much the connection may report beyond that and the lent content: estimates.
    estimated: usize,
    /// How much it may own beyond its report: allocations that compressed messages keep alive.
    pinned: usize,
    /// The largest figure that was reported or counted, with the connection itself.
    pub worst: usize,
    /// The largest figure that was counted.
    pub worst_counted: usize,
}

impl Hoard {
    pub fn new(config: Arc<Config>) -> Hoard {
        Hoard::with(config, 0)
    }

    /// Over TLS, where the share of rustls is an estimate.
    pub fn over_tls(config: Arc<Config>) -> Hoard {
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

    pub fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("the connection was not dropped")
    }

    /// The connection's memory, as counted by the allocator and as reported.
    pub fn figures(&mut self) -> (usize, usize) {
        let heap = usize::try_from(self.heap).expect("no more is freed than was allocated");
        (heap, self.connection().memory() - size_of::<Connection>())
    }

    pub fn is_open(&mut self) -> bool {
        self.connection().status().is_open()
    }

    /// Calls the connection. Nothing of the call is kept outside of it.
    pub fn act(&mut self, action: impl FnOnce(&mut Connection)) {
        let pinned = self.pinned;
        self.pin(|connection| {
            action(connection);
            pinned
        });
    }

    /// Calls the connection, which may then pin as many bytes beyond its report as `action`
    /// returns.
    fn pin(&mut self, action: impl FnOnce(&mut Connection) -> usize) {
        let connection = self.connection.as_mut().expect("the connection was not dropped");
        self.heap += measure(|| self.pinned = action(connection)).bytes_current;
        self.check();
    }

    /// How many bytes can be written now.
    pub fn waiting(&mut self) -> usize {
        let mut waiting = 0;
        let connection = self.connection.as_mut().expect("the connection was not dropped");
        // Over TLS this seals records.
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

    /// Checks that the figures agree, and stay within the bound.
    fn check(&mut self) {
        let own = size_of::<Connection>();
        let waiting = self.waiting();
        let shakes = self.connection().phase() == Phase::Handshake || !self.is_open();
        let (told, bound) = (self.connection().memory(), self.connection().memory_bound());
        let heap = usize::try_from(self.heap).expect("no more is freed than was allocated") + own;
        let config = &self.config;
        assert!(told <= bound, "{told} bytes reported, at most {bound} allowed: {config:?}");
        assert!(
            heap <= bound + self.pinned,
            "{heap} bytes counted, at most {bound} allowed: {config:?}"
        );
        assert!(heap <= told + self.pinned, "{heap} bytes counted, {told} reported: {config:?}");
        // Lent content is not on the heap here. Over TLS it waits to be sealed.
        let lent = if self.estimated > 0 { config.send_buffer_limit() as usize } else { waiting };
        let most = heap + lent + self.estimated;
        // During the handshake the memory of rustls is only estimated.
        assert!(
            told <= most || shakes,
            "{told} bytes reported, {heap} counted, {lent} lent: {config:?}"
        );
        // A full queue or an interim answer, a head, trailers, and the bytes that the connection
        // itself adds.
        let (limit, head) = (config.send_buffer_limit(), config.response_head_limit());
        let most = (limit.max(head) + 2 * head) as usize + 512;
        assert!(
            waiting <= most || shakes,
            "{waiting} bytes unsent, at most {most} allowed: {config:?}"
        );
        self.worst = self.worst.max(told);
        self.worst_counted = self.worst_counted.max(heap);
    }

    /// Feeds bytes that are all valid and taken, or refused.
    pub fn feed(&mut self, wire: &[u8], stream: &mut Option<StreamId>) {
        let step = self.config.receive_buffer_limit() as usize;
        for piece in wire.chunks(step) {
            if !self.connection().status().read {
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

    /// The peer takes `bytes` of the output, a hundred at a time.
    pub fn take_share(&mut self, share: usize) {
        let bytes = self.waiting() * share / 100;
        self.act(|connection| connection.sent(NOW, bytes));
    }

    /// The application sends pieces of `length` until the queue is full.
    pub fn fill(&mut self, stream: StreamId, length: usize) {
        self.act(|connection| {
            let mut piece = lent(length);
            while connection.stream(NOW, stream).send(&mut piece).is_ok() && piece.len() < length {
                piece = lent(length);
            }
        });
    }

    /// Reads `fresh`, or resumes held bytes if `fresh` is empty. Pulls at most `pulls` events.
    pub fn read(
        &mut self,
        mut fresh: Vec<u8>,
        pulls: usize,
        mut look: impl FnMut(&mut Connection, Event<'_>) -> usize,
    ) {
        let own = size_of::<Connection>() as i64;
        let connection = self.connection.as_mut().expect("the connection was not dropped");
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
            let mut events = events.expect("the events were made above");
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
                assert!(
                    owned <= bound as i64,
                    "{owned} bytes owned, at most {bound} allowed: {:?}",
                    self.config
                );
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

    /// Drops the connection, and checks that all its memory was freed.
    pub fn end(mut self) -> usize {
        let connection = self.connection.take();
        let freed = measure(|| drop(connection)).bytes_current;
        assert_eq!(self.heap + freed, 0, "all allocations are freed");
        self.worst
    }
}

/// The protocol that a run plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Http,
    WebSocket,
}

/// Plays the worst peer and application that `draw` comes up with.
pub fn play(hoard: &mut Hoard, kind: Kind, peer: &mut impl Peer, draw: &mut Rng) {
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
                let reads = hoard.connection().status().read;
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

/// The peer takes some of the output.
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
