//! The same bytes, cut in every way. An eager application must be told the same, and the peer must
//! get the same answers.

use super::{Seen, answer, text};
use portcullis::{CloseReason, Config, Connection, Event, Events, Refusal, Tick};
use std::io::IoSlice;
use std::sync::Arc;

/// Inputs up to this length are cut in two at every place. Longer ones are cut at a few places.
const SHORT: usize = 300;

/// The result of some bytes followed by the end of input: events with joined content, all output,
/// the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub seen: Vec<Seen>,
    pub output: String,
    pub reason: CloseReason,
}

impl Told {
    /// The number of requests that were delivered.
    pub fn requests(&self) -> usize {
        self.seen.iter().filter(|seen| matches!(seen, Seen::Request(..))).count()
    }

    /// The status lines of all answers.
    pub fn statuses(&self) -> Vec<u16> {
        let lines = self.output.split("HTTP/1.1 ").skip(1);
        lines.map(|line| line[..3].parse().expect("a status")).collect()
    }
}

/// The result of `wire`, however it is cut. The application asks for all content, and answers each
/// complete request with `ok`.
pub fn told(wire: impl AsRef<[u8]>) -> Told {
    told_under(&Arc::new(Config::default()), wire)
}

pub fn told_under(config: &Arc<Config>, wire: impl AsRef<[u8]>) -> Told {
    let wire = wire.as_ref();
    let whole = run(config, &[wire]);
    let bytes: Vec<_> = wire.chunks(1).collect();
    assert_eq!(run(config, &bytes), whole, "byte by byte: {:?}", text(wire));
    let step = if wire.len() <= SHORT { 1 } else { wire.len() / 16 + 1 };
    for cut in (1..wire.len()).step_by(step) {
        let (first, second) = wire.split_at(cut);
        assert_eq!(run(config, &[first, second]), whole, "cut at {cut}: {:?}", text(wire));
    }
    whole
}

/// Asserts that the first request in `wire` is refused before it is delivered, with a complete
/// answer. Nothing after it is read.
pub fn assert_refused(wire: impl AsRef<[u8]>, refusal: Refusal) {
    assert_refused_under(&Arc::new(Config::default()), wire, refusal);
}

pub fn assert_refused_under(config: &Arc<Config>, wire: impl AsRef<[u8]>, refusal: Refusal) {
    let wire = wire.as_ref();
    let told = told_under(config, wire);
    let [Seen::Refused(reason, ..)] = &told.seen[..] else { panic!("{:?}", told.seen) };
    assert_eq!(*reason, CloseReason::Refused(refusal), "{:?}", text(wire));
    let expected = Told {
        seen: told.seen.clone(),
        output: refusal_text(refusal),
        reason: CloseReason::Refused(refusal),
    };
    assert_eq!(told, expected, "{:?}", text(wire));
}

/// The complete answer to a refused request.
pub fn refusal_text(refusal: Refusal) -> String {
    close_text(CloseReason::Refused(refusal))
}

/// The complete answer for a close reason.
pub fn close_text(reason: CloseReason) -> String {
    let status = reason.status().expect("the reason has an answer");
    let phrase = status.canonical_reason().expect("a known status");
    let (code, why, label) = (status.as_str(), reason.explanation(), reason.label());
    let content = format!("{code} {phrase}: {why} ({label})\n");
    let fields = "content-type: text/plain; charset=utf-8\r\n";
    let length = content.len();
    format!(
        "HTTP/1.1 {code} {phrase}\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n\
         {content}"
    )
}

fn run(config: &Arc<Config>, pieces: &[&[u8]]) -> Told {
    let mut eager = Eager::new(Arc::clone(config));
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(eager.connection.receive_limit()));
            eager.read(piece);
            rest = behind;
        }
    }
    eager.eof()
}

/// An application that asks for all content and answers at once. The peer takes all output at once.
pub struct Eager {
    pub connection: Connection,
    seen: Vec<Seen>,
    /// The bytes that the peer took.
    pub output: Vec<u8>,
}

impl Eager {
    pub fn new(config: Arc<Config>) -> Eager {
        let connection = Connection::new(config, Tick::ZERO);
        Eager { connection, seen: Vec::new(), output: Vec::new() }
    }

    /// The peer sends. Bytes are dropped if the connection does not read.
    pub fn read(&mut self, piece: &[u8]) {
        if self.connection.status().read {
            let mut piece = piece.to_vec();
            let events =
                self.connection.receive(Tick::ZERO, &mut piece).expect("the connection reads");
            act(events, &mut self.seen);
            self.go_on();
        }
    }

    /// The peer ends its input, which ends the connection.
    pub fn eof(mut self) -> Told {
        act(self.connection.receive_eof(Tick::ZERO), &mut self.seen);
        self.go_on();
        let status = self.connection.status();
        let reason = status.closed().unwrap_or_else(|| panic!("{status:?} after the end of input"));
        Told { seen: self.seen, output: text(&self.output), reason }
    }

    fn go_on(&mut self) {
        loop {
            let mut slices = [IoSlice::new(&[]); 64];
            let filled = self.connection.outgoing(&mut slices);
            let sent: Vec<u8> = slices[..filled].iter().flat_map(|it| it.to_vec()).collect();
            self.connection.sent(Tick::ZERO, sent.len());
            self.output.extend_from_slice(&sent);
            let before = self.seen.len();
            act(self.connection.resume(Tick::ZERO), &mut self.seen);
            if self.seen.len() == before && !self.connection.status().write {
                return;
            }
        }
    }
}

fn act(mut events: Events<'_, '_>, seen: &mut Vec<Seen>) {
    let now = Tick::ZERO;
    while let Some((connection, event)) = events.next() {
        match (Seen::of(&event), seen.last_mut()) {
            (Seen::Data(more), Some(Seen::Data(content))) => content.push_str(&more),
            (one, _) => seen.push(one),
        }
        match event {
            Event::Request { stream, .. } | Event::Data { stream, .. } => {
                // The request may already be refused, for its declared length.
                let _ = connection.stream(now, stream).read_to(u64::MAX);
            }
            Event::End { stream, .. } => {
                let newest = seen.iter().rev().find_map(|seen| match seen {
                    Seen::Request(method, ..) => Some(method.as_str()),
                    _ => None,
                });
                // CONNECT may not be answered with a 2xx.
                let status = if newest == Some("CONNECT") { 404 } else { 200 };
                answer(connection, now, stream, status, "ok");
            }
            _ => {}
        }
    }
}
