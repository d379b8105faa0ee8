//! A session over TLS with a real client, mixed with actions and time. The client's bytes are cut,
//! changed, repeated, left out or extended. The invariants are checked after every call.
//!
//! Other sessions of HTTP or a websocket arrive unchanged, and are compared with the same session
//! in plaintext.
//!
//! Property tests, the fuzz target `tls` and its corpus all call [`session`].

use crate::http2::{PREFACE, settings as settings_frame};
use crate::play::http2_frames::any_frame;
use crate::play::{Source, http2_same, same, stream, unsent};
use crate::tls::pair::{VERSIONS, client, client_settings, over_tls};
use bytes::Bytes;
use http::StatusCode;
use portcullis::rustls::ClientConnection;
use portcullis::{BodyLength, CloseReason, Config, Connection, Event, Events, StreamId, Tick};
use std::io::{IoSlice, Read, Write};
use std::sync::Arc;

/// The most steps of a session. Further bytes are not used.
const STEPS: usize = 300;

struct Session<'b> {
    source: Source<'b>,
    config: Arc<Config>,
    server: Connection,
    client: ClientConnection,
    /// Bytes that the client has sent and the server has not read.
    wire: Vec<u8>,
    /// The client reads no more: it has sent its close_notify, or got invalid records.
    deaf: bool,
    stream: Option<StreamId>,
    /// The number of the next stream of HTTP/2, and all streams that have begun.
    http2: Option<u32>,
    streams: Vec<StreamId>,
    now: Tick,
}

/// First bytes from here on select a session without changes, in which TLS makes no difference. It
/// is an even number, so that a smaller first byte still selects the version that it always did.
const SAME: u8 = 192;
/// From here on that session is one of HTTP/2.
const SAME_HTTP2: u8 = 224;
/// First bytes from here to [`SAME`] select a session of HTTP/2 whose bytes are changed.
const HTTP2: u8 = 128;

/// Plays `bytes`: a session that is compared with plaintext, or one whose bytes are changed. At the
/// end of a changed session only time passes until the connection has closed.
pub fn session(bytes: &[u8]) {
    match bytes.split_first() {
        Some((first, rest)) if *first >= SAME => {
            let mut settings = client_settings(VERSIONS[usize::from(*first) % 2]);
            let most = usize::from(*first - SAME) / 2 % 4;
            settings.max_fragment_size = [None, Some(40), Some(300), Some(3000)][most];
            let is_http2 = *first >= SAME_HTTP2;
            if is_http2 {
                settings.alpn_protocols = vec![b"h2".to_vec()];
            }
            match is_http2 {
                true => http2_same(rest, client(settings), over_tls),
                false => same(rest, client(settings), over_tls),
            }
        }
        _ => changed(bytes),
    }
}

fn changed(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let version = VERSIONS[source.below(2)];
    let builder = Config::builder();
    let config = over_tls(match source.below(3) {
        0 => builder,
        1 => Config::strict().into(),
        _ => builder.receive_buffer_limit(1024).send_buffer_limit(1024).tls_handshake_limit(4096),
    });
    let mut settings = client_settings(version);
    settings.max_fragment_size = source.one_of(&[None, None, Some(40), Some(300)]);
    let http2 = bytes.first().filter(|first| **first >= HTTP2).map(|_| 1);
    if http2.is_some() {
        settings.alpn_protocols = vec![b"h2".to_vec()];
    }
    let server = Connection::new(Arc::clone(&config), Tick::ZERO);
    let client = client(settings);
    let (wire, stream, now) = (Vec::new(), None, Tick::ZERO);
    let deaf = false;
    let streams = Vec::new();
    let mut session =
        Session { source, config, server, client, wire, deaf, stream, http2, streams, now };
    if session.http2.is_some() {
        let hello = [PREFACE, &settings_frame(&[])].concat();
        let _ = session.client.writer().write_all(&hello);
    }
    // Most sessions begin with a successful handshake.
    if session.source.below(4) > 0 {
        for _ in 0..6 {
            session.flight();
            session.read(usize::MAX);
            session.taken(usize::MAX);
        }
    }
    for _ in 0..STEPS {
        if session.source.is_empty() {
            break;
        }
        session.step();
    }
    session.left_alone();
}

impl Session<'_> {
    fn step(&mut self) {
        match self.source.below(16) {
            0..4 => {
                let count = self.source.size() as usize;
                self.read(count);
            }
            4 | 5 => {
                let count = self.source.size() as usize;
                self.taken(count);
            }
            6 | 7 => {
                let plaintext = match &mut self.http2 {
                    Some(next) => any_frame(&mut self.source, next),
                    None => stream(self.source.raw(6)),
                };
                let length = plaintext.len().min(20_000);
                let _ = self.client.writer().write_all(&plaintext[..length]);
                self.flight();
            }
            8 => {
                let _ = self.client.refresh_traffic_keys();
                self.flight();
            }
            9 => self.mutate(),
            10 => self.wire.extend_from_slice(self.source.raw(12)),
            11 => {
                self.client.send_close_notify();
                self.deaf = true;
                self.flight();
            }
            12 => self.time(),
            13 if self.source.below(4) == 0 => {
                let events = self.server.receive_eof(self.now);
                react(events, self.now, &mut self.stream, &mut self.streams, usize::MAX);
            }
            _ => self.act(),
        }
        self.check();
    }

    /// Puts the client's output on the wire.
    fn flight(&mut self) {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.wire).expect("writing to memory does not fail");
        }
    }

    /// Changes a byte on the wire, leaves some out, or repeats some.
    fn mutate(&mut self) {
        let place = self.source.size() as usize % self.wire.len().max(1);
        match (self.source.below(4), self.wire.get_mut(place)) {
            (0 | 1, Some(byte)) => *byte ^= self.source.byte() | 1,
            (2, Some(_)) => {
                let count = (self.wire.len() - place).min(self.source.size() as usize);
                self.wire.drain(place..place + count);
            }
            (_, Some(_)) => self.wire.extend_from_within(place..),
            _ => {}
        }
    }

    /// The server reads some of the wire. The application asks for some content, or for no content.
    fn read(&mut self, most: usize) {
        let limit = self.config.receive_buffer_limit() as usize;
        let mut left = most.min(self.wire.len());
        while left > 0 && self.server.status().read {
            let mut piece: Vec<u8> = self.wire.drain(..left.min(limit)).collect();
            left -= piece.len();
            let credit = self.source.one_of(&[u64::MAX, 0, 7]);
            let most = self.source.one_of(&[usize::MAX, usize::MAX, 1]);
            let mut events =
                self.server.receive(self.now, &mut piece).expect("the connection reads");
            for _ in 0..most {
                let Some((server, event)) = events.next() else { break };
                if let Some(stream) = note(&event, &mut self.stream, &mut self.streams) {
                    let _ = crate::support::read_more(server.stream(self.now, stream), credit);
                }
            }
            drop(events);
            self.check();
        }
    }

    /// The client takes some of the server's output.
    fn taken(&mut self, most: usize) {
        let mut slices = [IoSlice::new(&[]); 4];
        let count = self.server.outgoing(&mut slices);
        let mut bytes: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
        bytes.truncate(most);
        self.server.sent(self.now, bytes.len());
        let mut rest = bytes.as_slice();
        while !self.deaf && matches!(self.client.read_tls(&mut rest), Ok(1..)) {
            self.deaf = self.client.process_new_packets().is_err();
            let mut plaintext = Vec::new();
            let _ = self.client.reader().read_to_end(&mut plaintext);
        }
        self.flight();
    }

    fn act(&mut self) {
        let now = self.now;
        let Some(stream) = self.stream else { return self.order() };
        let refused = match self.source.below(8) {
            0 | 1 => self.server.stream(now, stream).read_to(u64::MAX).is_err(),
            2 => {
                let length = BodyLength::Unknown;
                self.server.stream(now, stream).respond(StatusCode::OK, [], length).is_err()
            }
            3 => {
                let length = self.source.size().min(100_000) as usize;
                let content = &mut Bytes::from(vec![b'c'; length]);
                self.server.stream(now, stream).send(content).is_err()
            }
            4 => self.server.stream(now, stream).finish(None).is_err(),
            5 => {
                let content = &mut Bytes::from_static(b"whole");
                self.server.stream(now, stream).answer(StatusCode::OK, [], content).is_err()
            }
            6 if self.source.below(8) == 0 => self.server.stream(now, stream).reset().is_err(),
            _ => false,
        };
        if !refused {
            self.order();
        }
    }

    /// The driver sometimes drains or aborts, and always resumes held bytes.
    fn order(&mut self) {
        let now = self.now;
        match self.source.below(32) {
            0 => self.server.drain(now),
            1 => self.server.abort(now, CloseReason::Aborted),
            _ => {}
        }
        react(self.server.resume(now), now, &mut self.stream, &mut self.streams, usize::MAX);
    }

    fn time(&mut self) {
        let Some((at, _)) = self.server.deadline() else { return };
        let early = self.source.below(3) as u64;
        self.now = self.now.max(Tick::from_nanos(at.as_nanos().saturating_sub(early)));
        self.server.tick(self.now);
    }

    fn check(&mut self) {
        let (memory, bound) = (self.server.memory(), self.config.memory_bound());
        assert!(memory <= bound, "memory: {memory} bytes, at most {bound} allowed");
        let status = self.server.status();
        let unsent = unsent(&mut self.server);
        // Sealing for the check above may have ended the connection.
        assert!(status.write == (unsent > 0) || status != self.server.status());
        if let Some(reason) = self.server.status().closed() {
            // HTTP/2 keeps its tables until it is dropped.
            assert!(self.server.memory() == size_of::<Connection>() || self.http2.is_some());
            assert_eq!(self.server.deadline(), None);
            assert!(
                CloseReason::all().any(|known| known == reason),
                "{reason:?} is not in `CloseReason::all`"
            );
        }
    }

    /// Only time passes. The application gives up the answers that it owes.
    fn left_alone(&mut self) {
        // A record that turned out to be empty was no request. So the wait for a request goes on
        // from its beginning, and may be over.
        self.server.tick(self.now);
        for _ in 0..4000 {
            react(
                self.server.resume(self.now),
                self.now,
                &mut self.stream,
                &mut self.streams,
                usize::MAX,
            );
            self.check();
            let status = self.server.status();
            match (status.closed(), self.server.deadline()) {
                (Some(_), _) => return,
                (_, Some((at, timer))) => {
                    assert!(at > self.now, "deadline: {timer:?} is still set");
                    self.now = at;
                    self.server.tick(at);
                }
                (None, None) if self.http2.is_some() && !self.streams.is_empty() => {
                    for stream in std::mem::take(&mut self.streams) {
                        let _ = self.server.stream(self.now, stream).reset();
                    }
                }
                (None, None) => {
                    let stream = self
                        .stream
                        .unwrap_or_else(|| panic!("the connection waits for ever: {status:?}"));
                    self.server
                        .stream(self.now, stream)
                        .reset()
                        .expect("the connection waits for the application");
                }
            }
        }
        panic!("deadline: left alone, it never closed: {:?}", self.server.status());
    }
}

/// Keeps the newest stream. Returns a stream that may have content.
fn note(
    event: &Event<'_>,
    newest: &mut Option<StreamId>,
    all: &mut Vec<StreamId>,
) -> Option<StreamId> {
    match event {
        Event::Request { stream, .. } => {
            all.push(*stream);
            *newest = Some(*stream);
            Some(*stream)
        }
        Event::Data { stream, .. } => Some(*stream),
        _ => None,
    }
}

fn react(
    mut events: Events<'_, '_>,
    now: Tick,
    newest: &mut Option<StreamId>,
    all: &mut Vec<StreamId>,
    most: usize,
) {
    for _ in 0..most {
        let Some((server, event)) = events.next() else { return };
        if let Some(stream) = note(&event, newest, all) {
            let _ = crate::support::read_more(server.stream(now, stream), 100);
        }
    }
}
