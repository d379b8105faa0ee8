//! An application that acts within events, so that the output depends on the input alone. It shows
//! that cuts make no difference.

use super::link::{Link, Plain};
use super::model::{next_bytes, pattern};
use super::source::Source;
use bytes::Bytes;
use http::StatusCode;
use portcullis::{
    BodyLength, CloseReason, Config, Connection, Event, Events, Misuse, StreamId, Tick,
};
use std::fmt::Debug;
use std::sync::Arc;

/// How the application behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// It answers at the head, not at the end of the content.
    pub early: bool,
    /// How many bytes of content it asks for at a time, or 0 to ask for no content.
    pub bite: u64,
    pub status: StatusCode,
    pub length: BodyLength,
}

/// The events that the application was told, as owned values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Request { method: String, target: String, fields: Vec<(String, Vec<u8>)> },
    Content(Vec<u8>),
    End { trailers: Vec<(String, Vec<u8>)> },
    Reset(String),
}

/// Everything that can be seen of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub told: Vec<Told>,
    /// The bytes that the peer took, except for 100 (Continue). A 100 is sent only to a peer that
    /// waits for it, and that depends on the cuts (RFC 9110 10.1.1).
    pub out: Vec<u8>,
    pub reason: CloseReason,
}

impl Manner {
    /// Takes all content, and answers at its end.
    pub const PLAIN: Manner = Manner {
        early: false,
        bite: u64::MAX,
        status: StatusCode::OK,
        length: BodyLength::Known(5),
    };

    pub(super) fn choose(source: &mut Source<'_>) -> Self {
        Manner {
            early: source.below(4) == 0,
            bite: source.one_of(&[u64::MAX, u64::MAX, 1, 7, 64, 0]),
            status: source.one_of(&[StatusCode::OK, StatusCode::NO_CONTENT]),
            length: source.one_of(&[
                BodyLength::Unknown,
                BodyLength::Known(0),
                BodyLength::Known(300),
            ]),
        }
    }
}

/// The events and output for `wire`, which arrives in one piece and then ends.
pub fn told(config: &Arc<Config>, manner: Manner, wire: &[u8]) -> Seen {
    run(config, manner, wire, &mut Plain, &mut |left| left)
}

/// At how many places one input is cut in two. The places depend on the input and the seed. A
/// sample of many inputs finds more than all places of a few.
const PLACES: usize = 6;

/// Plays `wire` whole, byte by byte, cut in two at a few places, and in pieces of many sizes.
pub fn compare(config: &Arc<Config>, manner: Manner, wire: &[u8], seed: u8) {
    each_cut(wire, seed, |next| run(config, manner, wire, &mut Plain, next));
}

/// The same for any player of `wire`. It asks before each read how many of the remaining bytes
/// come.
pub(super) fn each_cut<S: PartialEq + Debug>(
    wire: &[u8],
    seed: u8,
    play: impl Fn(&mut dyn FnMut(usize) -> usize) -> S,
) {
    let whole = play(&mut |left| left);
    let check = |name: &str, next: &mut dyn FnMut(usize) -> usize| {
        let cut = play(next);
        assert_eq!(cut, whole, "cuts: {name} of {:?}", wire.escape_ascii().to_string());
    };
    check("single bytes", &mut |_| 1);
    let stride = 1 + wire.len() / PLACES;
    for place in (1 + usize::from(seed) % stride..wire.len()).step_by(stride) {
        let mut first = Some(place);
        check(&format!("two pieces at {place}"), &mut |left| first.take().unwrap_or(left));
    }
    check("pieces", &mut pieces(seed, 23));
}

/// Pieces of many sizes.
pub(super) fn pieces(seed: u8, most: usize) -> impl FnMut(usize) -> usize {
    let mut state = u64::from(seed) | 1;
    move |_| {
        // The generator need not be good, but must repeat itself.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        1 + (state >> 33) as usize % most
    }
}

struct Eager<'l> {
    manner: Manner,
    link: &'l mut dyn Link,
    told: Vec<Told>,
    out: Vec<u8>,
    now: Tick,
}

/// The events and output for `wire`, which goes over `link`, arrives in pieces of the lengths that
/// `next` returns, and then ends.
pub fn run(
    config: &Arc<Config>,
    manner: Manner,
    wire: &[u8],
    link: &mut dyn Link,
    next: &mut dyn FnMut(usize) -> usize,
) -> Seen {
    let now = Tick::from_nanos(1);
    let mut connection = Connection::new(Arc::clone(config), now);
    let mut eager = Eager { manner, link, told: Vec::new(), out: Vec::new(), now };
    // More flights than a handshake can have.
    for _ in 0..HANDSHAKE {
        let flight = eager.link.flight();
        eager.feed(&mut connection, flight, next);
        eager.take(&mut connection);
    }
    for sealed in [eager.link.seal(wire), eager.link.close()] {
        eager.feed(&mut connection, sealed, next);
    }
    if connection.status().read {
        eager.react(connection.receive_eof(now));
        eager.settle(&mut connection);
    }
    eager.close(connection)
}

/// The most flights of a client before it may send.
pub(super) const HANDSHAKE: usize = 4;

impl Eager<'_> {
    /// The peer sends `wire`, as long as the connection reads.
    fn feed(
        &mut self,
        connection: &mut Connection,
        mut wire: Vec<u8>,
        next: &mut dyn FnMut(usize) -> usize,
    ) {
        let mut rest = wire.as_mut_slice();
        while !rest.is_empty() && connection.status().read {
            let most = rest.len().min(connection.receive_limit());
            let (piece, behind) = rest.split_at_mut(next(most).clamp(1, most));
            rest = behind;
            let events = connection.receive(self.now, piece).expect("the connection reads");
            self.react(events);
            self.settle(connection);
        }
    }

    fn react(&mut self, mut events: Events<'_, '_>) {
        while let Some((connection, event)) = events.next() {
            match event {
                Event::Request { stream, head } => {
                    self.told.push(Told::Request {
                        method: head.method().to_owned(),
                        target: head.target().to_owned(),
                        fields: head.fields().map(|(n, v)| (n.to_owned(), v.to_vec())).collect(),
                    });
                    if self.manner.bite > 0 {
                        let asked =
                            super::read_more(connection.stream(self.now, stream), self.manner.bite);
                        if asked.is_err() {
                            continue;
                        }
                    }
                    if self.manner.early {
                        self.answer(connection, stream);
                    }
                }
                Event::Data { stream, data, .. } => {
                    match self.told.last_mut() {
                        Some(Told::Content(before)) => before.extend_from_slice(data),
                        _ => self.told.push(Told::Content(data.to_vec())),
                    }
                    let asked =
                        super::read_more(connection.stream(self.now, stream), self.manner.bite);
                    assert_eq!(asked, Ok(()));
                }
                Event::End { stream, trailers } => {
                    let trailers = trailers.fields();
                    self.told.push(Told::End {
                        trailers: trailers.map(|(n, v)| (n.to_owned(), v.to_vec())).collect(),
                    });
                    self.answer(connection, stream);
                }
                Event::Reset { reason, .. } => self.told.push(Told::Reset(reason.to_string())),
                Event::Refused { reason, head, .. } => {
                    let words = format!("{reason} {:?} {:?}", head.method(), head.target());
                    self.told.push(Told::Reset(words));
                }
                other => panic!("a short answer was not accepted whole: {other:?}"),
            }
        }
    }

    fn answer(&mut self, connection: &mut Connection, stream: StreamId) {
        let Manner { status, length, .. } = self.manner;
        let begun = connection.stream(self.now, stream).respond(status, [], length);
        match begun {
            Ok(portcullis::Begun::Complete) | Err(Misuse::UnknownStream) => return,
            Ok(portcullis::Begun::Open) => {}
            Err(Misuse::Status) => {
                let _ = connection.stream(self.now, stream).respond(
                    StatusCode::NOT_FOUND,
                    [],
                    BodyLength::Known(0),
                );
                let _ = connection.stream(self.now, stream).finish(None);
                return;
            }
            Err(misuse) => panic!("{misuse:?}"),
        }
        let content = match length {
            BodyLength::Known(length) => pattern(0, length),
            BodyLength::Unknown => pattern(0, 3),
        };
        let mut data = Bytes::from_static(content);
        // Answers to a pipeline may fill the buffer. Then the peer takes some output.
        while !data.is_empty() {
            let _ = connection.stream(self.now, stream).send(&mut data).expect("an open answer");
            if !data.is_empty() {
                self.take(connection);
            }
        }
        connection.stream(self.now, stream).finish(None).expect("an open answer");
        self.take(connection);
    }

    fn take(&mut self, connection: &mut Connection) {
        let taken = next_bytes(connection, usize::MAX);
        self.out.extend(self.link.open(&taken));
        connection.sent(self.now, taken.len());
    }

    /// The peer takes all output, and held bytes are resumed.
    fn settle(&mut self, connection: &mut Connection) {
        loop {
            self.take(connection);
            let (told, was) = (self.told.len(), connection.status());
            self.react(connection.resume(self.now));
            let stuck = told == self.told.len() && was == connection.status();
            if stuck && !connection.status().write {
                return;
            }
        }
    }

    /// Lets time pass until the connection closes. The application refuses to give answers that it
    /// still owes.
    fn close(mut self, mut connection: Connection) -> Seen {
        for _ in 0..16 {
            if let Some(reason) = connection.status().closed() {
                return Seen { told: self.told, out: without_continue(&self.out), reason };
            }
            match connection.deadline() {
                Some((at, _)) => {
                    self.now = at;
                    connection.tick(at);
                }
                // An application that asks for no content chooses to wait for ever.
                None => connection.abort(self.now, CloseReason::Aborted),
            }
            self.settle(&mut connection);
        }
        panic!("deadline: left alone, it never closed: {:?}", connection.status());
    }
}

fn without_continue(out: &[u8]) -> Vec<u8> {
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut kept = Vec::with_capacity(out.len());
    let mut rest = out;
    while let Some((first, behind)) = rest.split_first() {
        match rest.strip_prefix(CONTINUE) {
            Some(behind) => rest = behind,
            None => {
                kept.push(*first);
                rest = behind;
            }
        }
    }
    kept
}
