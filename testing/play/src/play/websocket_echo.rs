//! An application that accepts websockets and acts within events, so that the output depends on the
//! input alone. It shows that cuts make no difference.

use super::http_eager::{HANDSHAKE, each_cut};
use super::link::{Link, Plain};
use super::model::next_bytes;
use super::source::Source;
use super::websocket_model::Terms;
use bytes::Bytes;
use http::HeaderMap;
use portcullis::websocket::{Handshake, Message};
use portcullis::{
    Begun, BodyLength, CloseReason, Config, Connection, Event, Events, Misuse, Sent, StreamId, Tick,
};
use std::sync::Arc;

/// How the application behaves.
#[derive(Clone, Copy, Debug)]
pub struct Echo {
    pub terms: Terms,
    /// How many messages, or bytes of pieces, it asks for at a time, or 0 to ask for nothing.
    pub bite: u64,
    /// It sends messages back.
    pub echoes: bool,
    /// It answers the peer's close at once, not when the time is over.
    pub answers: bool,
}

/// The events that the application was told, as owned values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Opened,
    Refused(&'static str),
    Message {
        text: bool,
        bytes: Vec<u8>,
    },
    /// The pieces of the current message.
    Pieces {
        text: bool,
        bytes: Vec<u8>,
        last: bool,
    },
    Closing {
        code: Option<u16>,
        reason: String,
    },
    Reset(String),
}

/// Everything that can be seen of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub told: Vec<Told>,
    /// The bytes that the peer took.
    pub out: Vec<u8>,
    pub reason: CloseReason,
}

impl Heard {
    /// Removes the pongs. Older ones may be left out if there is no room (RFC 6455 5.5.3), and TLS
    /// records need room of their own.
    pub fn forget_pongs(&mut self) {
        let head = self.out.windows(4).position(|end| end == b"\r\n\r\n");
        let Some(mut at) = head.map(|head| head + 4).filter(|_| self.told.contains(&Told::Opened))
        else {
            return;
        };
        while let [first, length, rest @ ..] = &self.out[at..] {
            let (more, length) = match (length, rest) {
                (126, [high, low, ..]) => (2, usize::from(u16::from_be_bytes([*high, *low]))),
                (..126, _) => (0, usize::from(*length)),
                _ => break,
            };
            let end = (at + 2 + more + length).min(self.out.len());
            if *first == 0x8a {
                self.out.drain(at..end);
            } else {
                at = end;
            }
        }
    }

    /// How many pieces of a message come before a mistake depends on the cuts.
    pub fn forget_pieces(&mut self) {
        if let CloseReason::Violation(_) = self.reason {
            self.told.retain(|told| !matches!(told, Told::Pieces { last: false, .. }));
        }
    }
}

impl Echo {
    /// Takes everything and sends it back, compressed if that was agreed on.
    pub const PLAIN: Echo = Echo {
        terms: Terms {
            options: portcullis::websocket::Options {
                message_limit: None,
                pieces: false,
                owned: false,
                controls: false,
            },
            deflate: None,
        },
        bite: u64::MAX,
        echoes: true,
        answers: true,
    };

    pub(super) fn choose(source: &mut Source<'_>, config: &Config) -> Self {
        Echo {
            terms: Terms::choose(source, config),
            bite: source.one_of(&[u64::MAX, u64::MAX, 1, 7, 64, 0]),
            echoes: source.below(2) == 0,
            answers: source.below(4) > 0,
        }
    }
}

/// The events and output for `wire`, which arrives in pieces of the lengths that `next` returns,
/// and then ends.
pub fn heard(
    config: &Arc<Config>,
    echo: &Echo,
    wire: &[u8],
    next: &mut dyn FnMut(usize) -> usize,
) -> Heard {
    heard_over(config, echo, wire, &mut Plain, next)
}

/// The same, over `link`.
pub fn heard_over(
    config: &Arc<Config>,
    echo: &Echo,
    wire: &[u8],
    link: &mut dyn Link,
    next: &mut dyn FnMut(usize) -> usize,
) -> Heard {
    let (mut eager, mut connection) = Eager::new(config, echo, link);
    for _ in 0..HANDSHAKE {
        let flight = eager.link.flight();
        eager.feed(&mut connection, &flight, next);
        eager.take(&mut connection);
    }
    let mut left = 0;
    for sealed in [eager.link.seal(wire), eager.link.close()] {
        left += eager.feed(&mut connection, &sealed, next);
    }
    if connection.status().read {
        assert_eq!(left, 0);
        eager.react(connection.receive_eof(eager.now));
        eager.settle(&mut connection);
    }
    eager.close(connection)
}

/// Why the connection closes if the peer takes everything, and sends nothing after `wire`. `None`
/// if it has no deadline.
pub fn left_alone(config: &Arc<Config>, echo: &Echo, wire: &[u8]) -> Option<CloseReason> {
    let link = &mut Plain;
    let (mut eager, mut connection) = Eager::new(config, echo, link);
    eager.feed(&mut connection, wire, &mut |left| left);
    connection.deadline()?;
    Some(eager.close(connection).reason)
}

/// Plays `wire` with all cuts that are compared. Pieces of a message before a mistake depend on the
/// cuts, and are not compared.
pub fn compare_websocket(config: &Arc<Config>, echo: &Echo, wire: &[u8], seed: u8) {
    each_cut(wire, seed, |next| {
        let mut heard = heard(config, echo, wire, next);
        heard.forget_pieces();
        heard
    });
}

struct Eager<'l> {
    echo: Echo,
    link: &'l mut dyn Link,
    told: Vec<Told>,
    out: Vec<u8>,
    now: Tick,
}

impl<'l> Eager<'l> {
    fn new(config: &Arc<Config>, echo: &Echo, link: &'l mut dyn Link) -> (Self, Connection) {
        let now = Tick::from_nanos(1);
        let connection = Connection::new(Arc::clone(config), now);
        (Eager { echo: *echo, link, told: Vec::new(), out: Vec::new(), now }, connection)
    }

    /// Feeds `wire` as long as the connection reads. Returns how much is left.
    fn feed(
        &mut self,
        connection: &mut Connection,
        wire: &[u8],
        next: &mut dyn FnMut(usize) -> usize,
    ) -> usize {
        let limit = connection.config().receive_buffer_limit() as usize;
        let mut wire = wire.to_vec();
        let mut rest = wire.as_mut_slice();
        while !rest.is_empty() && connection.status().read {
            let most = rest.len().min(limit);
            let (piece, behind) = rest.split_at_mut(next(most).clamp(1, most));
            rest = behind;
            let events = connection.receive(self.now, piece).expect("the connection reads");
            self.react(events);
            self.settle(connection);
        }
        rest.len()
    }

    fn react(&mut self, mut events: Events<'_, '_>) {
        while let Some((connection, event)) = events.next() {
            match event {
                Event::Request { stream, head } => match Handshake::read(&head) {
                    Ok(handshake) => {
                        let deflate = self.echo.terms.deflate.as_ref();
                        let accepted =
                            handshake.accept(None, deflate).expect("no subprotocol was chosen");
                        let options = self.echo.terms.options;
                        connection
                            .stream(self.now, stream)
                            .accept_websocket(&accepted, None, options)
                            .expect("a valid handshake");
                        self.told.push(Told::Opened);
                        self.ask(connection, stream);
                        self.take(connection);
                    }
                    Err(bad) => {
                        self.told.push(Told::Refused(bad.label()));
                        let fields: HeaderMap = bad.fields().collect();
                        let length = BodyLength::Known(0);
                        let begun = connection.stream(self.now, stream).respond(
                            bad.status(),
                            &fields,
                            length,
                        );
                        if begun == Ok(Begun::Open) {
                            connection
                                .stream(self.now, stream)
                                .finish(None)
                                .expect("nothing is owed");
                        }
                    }
                },
                Event::Message { stream, message, .. } => {
                    let (text, bytes) = match message {
                        Message::Text(text) => (true, text.as_bytes().to_vec()),
                        Message::Binary(bytes) => (false, bytes.to_vec()),
                    };
                    self.told.push(Told::Message { text, bytes: bytes.clone() });
                    self.ask(connection, stream);
                    self.echo(connection, stream, text, bytes);
                }
                Event::OwnedMessage { stream, text, bytes, .. } => {
                    self.told.push(Told::Message { text, bytes: bytes.clone() });
                    self.ask(connection, stream);
                    self.echo(connection, stream, text, bytes);
                }
                Event::Piece { stream, text, last, data } => {
                    let mut bytes = match self.told.pop() {
                        Some(Told::Pieces { text: before, bytes, last: false }) => {
                            assert_eq!(before, text);
                            bytes
                        }
                        other => {
                            self.told.extend(other);
                            Vec::new()
                        }
                    };
                    bytes.extend_from_slice(data);
                    // Copying the whole message at each piece would take quadratic time.
                    let whole = last.then(|| bytes.clone());
                    self.told.push(Told::Pieces { text, bytes, last });
                    self.ask(connection, stream);
                    if let Some(whole) = whole {
                        self.echo(connection, stream, text, whole);
                    }
                }
                Event::Closing { stream, code, reason } => {
                    self.told.push(Told::Closing { code, reason: reason.to_owned() });
                    if self.echo.answers {
                        connection
                            .stream(self.now, stream)
                            .close(Some(1000), "")
                            .expect("an answer is owed");
                    }
                }
                Event::Reset { reason, .. } => self.told.push(Told::Reset(reason.to_string())),
                Event::Refused { reason, head, .. } => {
                    let words = format!("{reason} {:?} {:?}", head.method(), head.target());
                    self.told.push(Told::Reset(words));
                }
                // The handler sends what it has at once, and asks for no content of a refused
                // request.
                Event::Writable { .. } | Event::Data { .. } | Event::End { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn ask(&mut self, connection: &mut Connection, stream: StreamId) {
        if self.echo.bite > 0 {
            super::read_more(connection.stream(self.now, stream), self.echo.bite)
                .expect("the stream is open");
        }
    }

    fn echo(&mut self, connection: &mut Connection, stream: StreamId, text: bool, bytes: Vec<u8>) {
        let mut data = Bytes::from(bytes);
        while self.echo.echoes {
            match connection.stream(self.now, stream).send_message(text, &mut data) {
                Ok(Sent::All) => break,
                // If the buffer is full, the peer takes some output.
                Ok(Sent::Part) => self.take(connection),
                Err(misuse) => {
                    // Invalid text is reported as a reset instead.
                    assert_eq!(misuse, Misuse::UnknownStream);
                    break;
                }
            }
        }
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
            if stuck && !connection.status().write && !connection.status().has_work {
                return;
            }
        }
    }

    /// Lets time pass until the connection closes.
    fn close(mut self, mut connection: Connection) -> Heard {
        for _ in 0..16 {
            if let Some(reason) = connection.status().closed() {
                return Heard { told: self.told, out: self.out, reason };
            }
            match connection.deadline() {
                Some((at, _)) => {
                    self.now = at;
                    connection.tick(at);
                }
                // It waits for an application that asks for nothing.
                None => connection.abort(self.now, CloseReason::Aborted),
            }
            self.settle(&mut connection);
        }
        panic!("deadline: left alone, it never closed: {:?}", connection.status());
    }
}
