//! Sessions of HTTP/2: frames, actions on any stream, time and output in any order. After each call the
//! invariants have to hold.

use super::Weigh;
use super::http_eager::HANDSHAKE;
use super::http2_frames::{any_frame, wire};
use super::http2_sockets::Sockets;
use super::http2_tunnels::Tunnels;
use super::link::{Link, Plain};
use super::settings;
use super::source::Source;
use crate::http2::{PREFACE, settings as settings_frame};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use portcullis::websocket::{Accepted, DeflateSettings, Handshake};
use portcullis::{
    BodyLength, Builder, CloseReason, Config, Connection, Event, Events, Misuse, Party, Refusal,
    StreamId, Tick,
};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

/// First bytes from here on select a session with websockets. It is a multiple of the number of profiles, so that
/// a smaller first byte still selects the session that it always did.
const SOCKETS: u8 = 128;

/// Plays `bytes` as a session. At the end only time passes until the connection has closed; or it is weighed.
pub fn http2(bytes: &[u8], weigh: Option<Weigh>) {
    let mut source = Source::new(bytes);
    let mut session = Session::new(settings::http2_profile(&mut source));
    if bytes.first().is_some_and(|first| *first >= SOCKETS) {
        session.sockets = Some(Sockets::default());
    }
    session.play(source, weigh);
}

/// Like [`http2`], with requests that become tunnels.
pub fn http2_tunnels(bytes: &[u8], weigh: Option<Weigh>) {
    let mut source = Source::new(bytes);
    let mut session = Session::new(settings::http2_profile(&mut source));
    session.tunnels = Some(Tunnels::default());
    session.play(source, weigh);
}

/// What the application sends.
static CONTENT: [u8; 70_000] = [b'a'; 70_000];

/// What the application knows of a stream.
#[derive(Debug, Default)]
struct Known {
    /// No more content comes.
    ended: bool,
    delivered: u64,
    credit: u64,
    /// It asks for a websocket, which may be accepted so.
    accepted: Option<Accepted>,
    is_socket: bool,
}

struct Session {
    connection: Connection,
    config: Arc<Config>,
    now: Tick,
    streams: BTreeMap<StreamId, Known>,
    sockets: Option<Sockets>,
    tunnels: Option<Tunnels>,
    eof: bool,
}

impl Session {
    fn new(config: Arc<Config>) -> Session {
        let connection = Connection::new(config.clone(), Tick::ZERO);
        let (now, streams) = (Tick::ZERO, BTreeMap::new());
        Session { connection, config, now, streams, sockets: None, tunnels: None, eof: false }
    }

    /// Plays a session. At the end only time passes until the connection has closed; or it is weighed.
    fn play(mut self, mut source: Source<'_>, weigh: Option<Weigh>) {
        let mut next = 1;
        let mut hello = PREFACE.to_vec();
        hello.extend(settings_frame(&[]));
        self.receive(&mut hello);
        let mut steps = 0;
        while !source.is_empty() && steps < 500 {
            steps += 1;
            match self.sockets {
                Some(_) if source.below(2) == 0 => self.socket_step(&mut source, &mut next),
                _ if self.tunnels.is_some() && source.below(2) == 0 => {
                    self.tunnel_step(&mut source, &mut next);
                }
                _ => self.step(&mut source, &mut next),
            }
            self.check();
        }
        if let Some(sockets) = &self.sockets {
            sockets.compare();
        }
        match weigh {
            Some(weigh) => self.weigh(weigh),
            None => self.end(),
        }
    }

    fn step(&mut self, source: &mut Source<'_>, next: &mut u32) {
        match source.below(16) {
            0..=5 => {
                let mut bytes = any_frame(source, next);
                if let Some(sockets) = &mut self.sockets {
                    sockets.others(&bytes);
                }
                if let Some(tunnels) = &mut self.tunnels {
                    tunnels.others(&bytes);
                }
                if source.below(4) == 0 {
                    let cut = source.below(bytes.len() + 1);
                    let mut rest = bytes.split_off(cut);
                    self.receive(&mut bytes);
                    self.check();
                    self.receive(&mut rest);
                } else {
                    self.receive(&mut bytes);
                }
            }
            6 => self.resume(),
            7 => self.take(source.size() as usize),
            8 => {
                let nanoseconds = source.size().min(1 << 24) * 1000;
                self.pass(Duration::from_nanos(nanoseconds));
            }
            9 => {
                if let Some((at, _)) = self.connection.deadline() {
                    self.now = self.now.max(at);
                    self.tick();
                }
            }
            10 if source.below(20) == 0 => {
                self.eof = true;
                let events = self.connection.receive_eof(self.now);
                let _ = pull(events, &mut self.streams, &mut self.sockets, &mut self.tunnels);
            }
            10 if source.below(20) == 1 => self.connection.drain(self.now),
            10 => self.take(usize::MAX),
            _ => self.act(source),
        }
    }

    /// An action on a stream that is there, or that was.
    fn act(&mut self, source: &mut Source<'_>) {
        let place = source.below(self.streams.len());
        let Some(id) = self.streams.keys().nth(place).copied() else { return };
        let (action, size) = (source.below(10), source.size());
        if (3..6).contains(&action) && self.tunnels.as_ref().is_some_and(|it| it.has(number(id))) {
            // Its content is known: see `tunnel_step`.
            return;
        }
        let mut stream = self.connection.stream(self.now, id);
        // Static bytes own no memory, and count with their length.
        let mut content = Bytes::from_static(&CONTENT).slice(..size.min(70_000) as usize);
        let over = |misuse| misuse == Misuse::UnknownStream;
        let mut fields = HeaderMap::new();
        fields.insert("server", HeaderValue::from_static("played"));
        let gone = match action {
            0 => stream.answer(StatusCode::OK, &fields, &mut content).is_err_and(over),
            1 => stream.respond(StatusCode::OK, &fields, BodyLength::Unknown).is_err_and(over),
            2 => stream
                .respond(StatusCode::OK, None, BodyLength::Known(size.min(70_000)))
                .is_err_and(over),
            3 | 4 => stream.send(&mut content).is_err_and(over),
            5 => stream.finish(source.one_of(&[None, Some(&fields)])).is_err_and(over),
            6 => {
                let read = stream.read_to(size);
                if let (Ok(()), Some(known)) = (read, self.streams.get_mut(&id)) {
                    known.credit = known.credit.max(size);
                    if let Some(sockets) = &mut self.sockets {
                        sockets.granted(id, size);
                    }
                }
                read.is_err_and(over)
            }
            7 => stream.inform(StatusCode::PROCESSING, None).is_err_and(over),
            8 => stream.limit_body(Some(size)).is_err_and(over),
            _ => match source.below(5) {
                choice @ (0 | 1) => {
                    let given_up = match choice {
                        0 => stream.reset(),
                        _ => stream.refuse(Refusal::Unavailable),
                    };
                    if let (Ok(()), Some(tunnels)) = (given_up, &mut self.tunnels) {
                        tunnels.given_up(number(id));
                    }
                    given_up.is_err_and(over)
                }
                2 => stream.limit_body_time(Some(Duration::from_millis(size))).is_err_and(over),
                3 => stream.limit_response_time(Some(Duration::from_millis(size))).is_err_and(over),
                _ => stream.cancel_read().is_err_and(over),
            },
        };
        if gone && source.below(2) == 0 {
            self.resume();
        }
    }

    /// The client or the application does something with a websocket.
    fn socket_step(&mut self, source: &mut Source<'_>, next: &mut u32) {
        let Session { sockets: Some(sockets), streams, connection, now, .. } = self else { return };
        match source.below(8) {
            0 => {
                let mut bytes = sockets.open(source, next);
                self.receive(&mut bytes);
            }
            1..4 => {
                let mut bytes = sockets.speak(source);
                self.receive(&mut bytes);
            }
            choice => {
                let place = source.below(streams.len());
                let Some((id, known)) = streams.iter_mut().nth(place) else { return };
                let mut stream = connection.stream(*now, *id);
                let acted = match &known.accepted {
                    Some(accepted) if !known.is_socket && choice < 7 => {
                        let result = sockets.accept(&mut stream, accepted, source);
                        known.is_socket = result.is_ok();
                        result
                    }
                    _ => sockets.act(&mut stream, source),
                };
                assert!(known.is_socket || acted != Err(Misuse::IsWebSocket), "{id}");
                // Messages that had come before the websocket was accepted are told now.
                if source.below(2) == 0 && connection.status().resume {
                    self.resume();
                }
            }
        }
    }

    /// The client or the application does something with a tunnel.
    fn tunnel_step(&mut self, source: &mut Source<'_>, next: &mut u32) {
        let Session { tunnels: Some(tunnels), streams, connection, now, .. } = self else { return };
        match source.below(8) {
            0 => {
                let mut bytes = tunnels.open(source, next);
                self.receive(&mut bytes);
            }
            1..4 => {
                let mut bytes = tunnels.speak(source);
                self.receive(&mut bytes);
            }
            choice => {
                let place = source.below(streams.len());
                let Some((&id, known)) = streams.iter_mut().nth(place) else { return };
                let mut stream = connection.stream(*now, id);
                if !tunnels.has(number(id)) {
                    if tunnels.accept(&mut stream, number(id)) {
                        *known = Known::default();
                    }
                } else if choice == 4 {
                    let end = stream.received().saturating_add(source.size().min(100_000));
                    if stream.read_to(end).is_ok() {
                        known.credit = known.credit.max(end);
                    }
                } else if tunnels.act(&mut stream, number(id), source) {
                    streams.remove(&id);
                }
                if source.below(2) == 0 && connection.status().resume {
                    self.resume();
                }
            }
        }
    }

    fn receive(&mut self, bytes: &mut [u8]) {
        let limit = self.connection.receive_limit();
        for piece in bytes.chunks_mut(limit) {
            match self.connection.receive(self.now, piece) {
                Ok(events) => {
                    let _ = pull(events, &mut self.streams, &mut self.sockets, &mut self.tunnels);
                }
                Err(misuse) => {
                    assert_eq!(misuse, Misuse::NotReading);
                    if let Some(sockets) = &mut self.sockets {
                        sockets.lost();
                    }
                    if let Some(tunnels) = &mut self.tunnels {
                        tunnels.lost();
                    }
                }
            }
        }
    }

    fn resume(&mut self) {
        let events = self.connection.resume(self.now);
        let told = pull(events, &mut self.streams, &mut self.sockets, &mut self.tunnels);
        assert!(
            told > 0 || !self.connection.status().resume || self.connection.status().has_work,
            "resume brings nothing, and is asked for again: {:?}",
            self.connection
        );
    }

    fn take(&mut self, most: usize) {
        while self.connection.status().write {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = self.connection.outgoing(&mut slices);
            let length: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            assert!(length > 0, "something is to be written, but there is nothing");
            let taken = length.min(most.max(1));
            let mut bytes: Vec<u8> = Vec::new();
            if self.sockets.is_some() || self.tunnels.is_some() {
                slices[..count].iter().for_each(|slice| bytes.extend_from_slice(slice));
                bytes.truncate(taken);
            }
            if let Some(sockets) = &mut self.sockets {
                sockets.take(&bytes);
            }
            if let Some(tunnels) = &mut self.tunnels {
                tunnels.take(&bytes);
            }
            self.connection.sent(self.now, taken);
            if most != usize::MAX {
                break;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.tick();
    }

    fn tick(&mut self) {
        self.connection.tick(self.now);
        if let Some((at, timer)) = self.connection.deadline() {
            assert!(at > self.now, "deadline: {timer:?} is still set to {at:?} at {:?}", self.now);
        }
    }

    fn check(&mut self) {
        let (memory, bound) = (self.connection.memory(), self.connection.memory_bound());
        assert!(memory <= bound, "memory: {memory} of {bound}");
        let party = self.connection.waits_for();
        let status = self.connection.status();
        if status.closed().is_none() && party == Party::Peer {
            let deadline = self.connection.deadline();
            assert!(deadline.is_some(), "deadline: none while {status:?}: {:?}", self.connection);
        }
        if status.is_open() {
            assert!(
                status.read || self.eof || status.write || status.resume || party != Party::Peer,
                "it waits for the peer, but does not read: {:?}",
                self.connection
            );
        }
        let streams = self.config.http2_concurrent_streams() as usize;
        let phase = self.connection.phase();
        assert!(!phase.label().is_empty() && streams > 0);
    }

    /// The application gives up on all streams, and time passes until the connection has closed.
    fn end(mut self) {
        self.resume();
        if let Some(tunnels) = self.tunnels.as_ref().filter(|_| self.connection.status().is_open())
        {
            for id in self.streams.keys() {
                let is_there = self.connection.stream(self.now, *id).cancel_read().is_ok();
                assert!(tunnels.is_there(number(*id)).is_none_or(|it| it == is_there), "{id}");
            }
        }
        for id in std::mem::take(&mut self.streams).into_keys() {
            let _ = self.connection.stream(self.now, id).reset();
        }
        for _ in 0..1000 {
            self.check();
            if self.connection.status().resume {
                self.resume();
            }
            let Some((at, _)) = self.connection.deadline() else { break };
            self.now = self.now.max(at);
            self.tick();
        }
        let status = self.connection.status();
        assert!(status.closed().is_some(), "it never closes: {:?}", self.connection);
    }

    fn weigh(self, weigh: Weigh) {
        let Session { mut connection, config, sockets, .. } = self;
        drop(connection.return_buffer());
        // Each websocket has an output of its own.
        let outputs = 1 + sockets.map_or(0, |sockets| sockets.count());
        let (told, bound) = (connection.memory(), connection.memory_bound());
        let owned = weigh(connection) + size_of::<Connection>();
        assert!(owned <= bound, "memory: {owned} owned, of {bound}");
        assert!(told + 64 >= owned, "memory: {owned} owned, but {told} told");
        let lent = outputs * config.send_buffer_limit() as usize;
        assert!(told <= owned + lent + 1024, "memory: {owned} owned, and {told} told");
    }
}

fn number(stream: StreamId) -> u32 {
    stream.as_u64() as u32
}

fn stream_of(event: &Event<'_>) -> Option<StreamId> {
    match event {
        Event::Request { .. } => None,
        Event::Data { stream, .. }
        | Event::End { stream, .. }
        | Event::Message { stream, .. }
        | Event::OwnedMessage { stream, .. }
        | Event::Piece { stream, .. }
        | Event::Closing { stream, .. }
        | Event::Writable { stream }
        | Event::Reset { stream, .. } => Some(*stream),
        _ => None,
    }
}

/// Takes all events, and holds them against what the application knows. Returns how many there were.
fn pull(
    mut events: Events<'_, '_>,
    streams: &mut BTreeMap<StreamId, Known>,
    sockets: &mut Option<Sockets>,
    tunnels: &mut Option<Tunnels>,
) -> usize {
    let mut told = 0;
    while let Some((connection, event)) = events.next() {
        told += 1;
        if let (Some(sockets), Some(stream)) = (sockets.as_mut(), stream_of(&event))
            && sockets.event(stream.as_u64() as u32, &event)
        {
            if let Event::Reset { .. } = event {
                // One that was closed can't be reset, so it may be told of its end after all others.
                streams.remove(&stream);
            }
            continue;
        }
        match event {
            Event::Request { stream, head } => {
                assert!(head.target().len() <= 1 << 16 && !head.method().is_empty());
                assert!(head.to_http().is_ok(), "{head:?}");
                let handshake = head.protocol().and_then(|_| Handshake::read(&head).ok());
                let deflate = DeflateSettings::default();
                let deflate = connection.config().websocket_deflate().then_some(&deflate);
                let accepted = handshake.map(|it| it.accept(None, deflate));
                let accepted = accepted.map(|it| it.expect("no subprotocol was chosen"));
                let before = streams.insert(stream, Known { accepted, ..Known::default() });
                assert!(before.is_none(), "{stream} begins twice");
            }
            Event::Data { stream, data, .. } => {
                let known = streams.get_mut(&stream).expect("a stream that has begun");
                known.delivered += data.len() as u64;
                assert!(!known.ended && !data.is_empty(), "{stream}");
                assert!(known.delivered <= known.credit, "{stream}: more than there is credit for");
                if let Some(tunnels) = tunnels {
                    tunnels.hears(number(stream), data, false);
                }
            }
            Event::End { stream, trailers } => {
                let known = streams.get_mut(&stream).expect("a stream that has begun");
                assert!(!known.ended, "{stream} ends twice");
                known.ended = true;
                let _ = trailers.to_http();
                if let Some(tunnels) = tunnels {
                    tunnels.hears(number(stream), &[], true);
                }
            }
            Event::Writable { stream } => assert!(streams.contains_key(&stream)),
            Event::Refused { stream, reason, .. } => {
                assert!(!streams.contains_key(&stream), "{stream} is refused, but has begun");
                assert!(matches!(reason, CloseReason::Refused(_) | CloseReason::Fault(_)));
            }
            Event::Reset { stream, .. } => {
                let known = streams.remove(&stream);
                assert!(known.is_some(), "{stream} is reset, but never began, or twice");
                let now = Tick::from_nanos(0);
                let gone = connection.stream(now, stream).finish(None);
                assert_eq!(gone, Err(Misuse::UnknownStream));
            }
            other => panic!("not an event of HTTP/2: {other:?}"),
        }
    }
    told
}

/// An application that answers each request when it is whole, and reads all content. What it is told and what
/// it sends must not depend on how the input is cut.
pub fn http2_cuts(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let config = settings::http2_profile(&mut source);
    let seed = source.byte();
    let wire = wire(&mut source);
    let whole = eager(&config, &wire, wire.len(), &mut Plain);
    for step in [1, usize::from(seed % 97) + 2, 1000] {
        let cut = eager(&config, &wire, step, &mut Plain);
        assert_eq!(cut, whole, "cuts of {step}: {:?}", wire.escape_ascii().to_string());
    }
}

/// Input over `link` gives the same as in plaintext. `transport` adds the server's side of the link.
pub fn http2_same<L: Link>(
    bytes: &[u8],
    mut link: L,
    transport: impl FnOnce(Builder) -> Arc<Config>,
) {
    let mut source = Source::new(bytes);
    let config = settings::http2_profile(&mut source);
    let step = usize::from(source.byte()) * 16 + 1;
    let wire = wire(&mut source);
    let plain = eager(&config, &wire, wire.len(), &mut Plain);
    let sealed = transport(Config::clone(&config).into());
    let over = eager(&sealed, &wire, step, &mut link);
    let shown = wire.escape_ascii().to_string();
    assert_eq!(over, plain, "the result differs from plaintext: {shown:?}");
}

/// What the application is told, with the pieces of content of a stream together; and what is sent, without the
/// window updates, which may be cut differently.
fn eager(
    config: &Arc<Config>,
    wire: &[u8],
    step: usize,
    link: &mut dyn Link,
) -> (Vec<String>, Vec<Vec<u8>>) {
    let mut connection = Connection::new(config.clone(), Tick::ZERO);
    let (mut told, mut sent) = (BTreeMap::new(), Vec::new());
    for _ in 0..HANDSHAKE {
        let mut flight = link.flight();
        for piece in flight.chunks_mut(connection.receive_limit()) {
            serve(connection.receive(Tick::ZERO, piece).expect("it reads"), &mut told);
        }
        let mut sealed = Vec::new();
        take_all(&mut connection, &mut sealed);
        sent.extend(link.open(&sealed));
    }
    let mut bytes = link.seal(wire);
    let step = step.min(connection.receive_limit()).min(config.receive_buffer_limit() as usize);
    for piece in bytes.chunks_mut(step) {
        if let Ok(events) = connection.receive(Tick::ZERO, piece) {
            serve(events, &mut told);
        }
        for _ in 0..100 {
            let mut sealed = Vec::new();
            take_all(&mut connection, &mut sealed);
            sent.extend(link.open(&sealed));
            if !connection.status().resume {
                break;
            }
            serve(connection.resume(Tick::ZERO), &mut told);
        }
    }
    let told = told.into_iter().map(|(id, told)| format!("{id}: {told}")).collect();
    let mut frames = frames(&sent);
    frames.retain(|frame| frame[3] != crate::http2::WINDOW_UPDATE);
    (told, frames)
}

fn take_all(connection: &mut Connection, sent: &mut Vec<u8>) {
    while connection.status().write {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = connection.outgoing(&mut slices);
        let before = sent.len();
        slices[..count].iter().for_each(|slice| sent.extend_from_slice(slice));
        let length = sent.len() - before;
        connection.sent(Tick::ZERO, length);
    }
}

/// The frames in `bytes`.
fn frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let [a, b, c, ..] = bytes {
        let length = 9 + u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let (frame, rest) = bytes.split_at(length);
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

/// Reads content, and answers a request when it is whole.
fn serve(mut events: Events<'_, '_>, told: &mut BTreeMap<u64, String>) {
    while let Some((connection, event)) = events.next() {
        let (stream, words, answers) = match event {
            Event::Request { stream, head } => {
                let words = format!("{} {};", head.method(), head.target());
                let _ = connection.stream(Tick::ZERO, stream).read_to(u64::MAX);
                (stream, words, false)
            }
            Event::Data { stream, data, .. } => (stream, "x".repeat(data.len()), false),
            Event::End { stream, trailers } => {
                let count = trailers.fields().count();
                (stream, format!("; end {count}"), true)
            }
            Event::Writable { stream } => (stream, String::new(), false),
            Event::Reset { stream, reason } => (stream, format!("; {reason:?}"), false),
            Event::Refused { stream, reason, head } => {
                (stream, format!("{reason:?} {:?} {:?};", head.method(), head.target()), false)
            }
            other => panic!("not an event of HTTP/2: {other:?}"),
        };
        *told.entry(stream.as_u64()).or_default() += &words;
        if answers {
            let mut content = Bytes::from_static(b"answer");
            let _ =
                connection.stream(Tick::ZERO, stream).answer(StatusCode::OK, None, &mut content);
        }
    }
}
