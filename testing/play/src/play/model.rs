//! The model of a connection: which stream is open, what was asked for, and what was accepted for
//! sending.
//!
//! In: every call's result and every event. Out: a panic at the first contradiction to the
//! contract.

use super::http_answers::Answer;
use super::websocket_model::{Socket, Terms};
use portcullis::websocket::{Accepted, Handshake, Message};
use portcullis::{
    CloseReason, Config, Connection, Event, Expiry, Life, PeerClose, Phase, Status, StreamId, Tick,
    Timer,
};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IoSlice;
use std::mem::size_of;
use std::sync::Arc;

/// Bytes that a closed connection still owns if it was a websocket.
const SOCKET: usize = 600;
/// The same of a tunnel.
const TUNNEL: usize = 200;

/// Content sent by the application: its byte at offset `k` is the `k % PATTERN_PERIOD`-th of this.
pub const PATTERN_PERIOD: usize = 251;
const PATTERN_LENGTH: usize = PATTERN_PERIOD * 600;
static PATTERN: [u8; PATTERN_LENGTH] = {
    let mut bytes = [0; PATTERN_LENGTH];
    let mut at = 0;
    while at < PATTERN_LENGTH {
        bytes[at] = (at % PATTERN_PERIOD) as u8;
        at += 1;
    }
    bytes
};

/// `length` bytes of content from `offset` on, or somewhat fewer.
pub fn pattern(offset: u64, length: u64) -> &'static [u8] {
    let start = (offset % PATTERN_PERIOD as u64) as usize;
    let end = start.saturating_add(length.min(PATTERN_LENGTH as u64) as usize);
    &PATTERN[start..end.min(PATTERN_LENGTH)]
}

/// How many of the unsent bytes are the pattern itself, not copies.
pub fn lent(connection: &mut Connection) -> usize {
    let own = PATTERN.as_ptr_range();
    let is_lent = |slice: &&IoSlice<'_>| own.contains(&slice.as_ptr());
    with_outgoing(connection, |slices| slices.iter().filter(is_lent).map(|it| it.len()).sum())
}

/// The next bytes for the peer, at most `most`.
pub fn next_bytes(connection: &mut Connection, most: usize) -> Vec<u8> {
    with_outgoing(connection, |slices| {
        let all = slices.iter().flat_map(|slice| slice.iter().copied());
        all.take(most).collect()
    })
}

/// Calls `look` with everything that waits to be sent.
pub fn with_outgoing<T>(connection: &mut Connection, look: impl Fn(&[IoSlice<'_>]) -> T) -> T {
    if connection.outgoing(&mut [IoSlice::new(&[]); 8]) < 8 {
        let mut few = [IoSlice::new(&[]); 8];
        let filled = connection.outgoing(&mut few);
        return look(&few[..filled]);
    }
    let mut slices = vec![IoSlice::new(&[]); 1024];
    let filled = connection.outgoing(&mut slices);
    assert!(filled < slices.len(), "nothing lost: more slices than the cap allows");
    look(&slices[..filled])
}

pub fn unsent(connection: &mut Connection) -> usize {
    with_outgoing(connection, |slices| slices.iter().map(|slice| slice.len()).sum())
}

/// The stream that the application may still act on.
#[derive(Debug)]
pub struct Live {
    pub id: StreamId,
    pub http11: bool,
    /// How much content may still be delivered for the credit.
    pub credit: u64,
    /// Content was asked for, and no event came since.
    pub awaited: bool,
    /// `End` was delivered.
    pub ended: bool,
    pub begun: bool,
    /// `send` was cut short, and `Writable` is owed.
    pub cut: bool,
    /// It has become a tunnel. `ended` is the peer's end of it from then on.
    pub tunnel: bool,
    /// The application has ended its direction of the tunnel.
    pub finished: bool,
}

pub struct Model {
    pub config: Arc<Config>,
    pub live: Option<Live>,
    pub known: Vec<StreamId>,
    pub answers: Vec<Answer>,
    /// The bytes that the peer has taken.
    pub taken: Vec<u8>,
    /// Bytes were unsent when the connection closed. They are lost, and the reason says so.
    pub dropped: bool,
    pub eof: bool,
    /// The application itself gave up a stream.
    pub gave_up: bool,
    pub draining: bool,
    last: Status,
    pub wrote: bool,
    pub trace: Vec<u64>,
    /// For a session of websockets: how they are accepted.
    pub terms: Option<Terms>,
    /// The acceptance of the newest handshake.
    pub accepted: Option<Accepted>,
    pub socket: Option<Socket>,
    /// A request has become a tunnel.
    pub tunneled: bool,
    /// The deadline is read after every call, not only before time passes.
    pub looks: bool,
    /// Time also passes between two ticks.
    pub restless: bool,
    /// The connection has a buffer that the driver has lent it.
    pub lent: bool,
}

/// The largest buffer that may be lent.
const LENT: usize = 4096;

impl Model {
    pub fn new(config: Arc<Config>, connection: &Connection) -> Self {
        Model {
            config,
            live: None,
            known: Vec::new(),
            answers: Vec::new(),
            taken: Vec::new(),
            dropped: false,
            eof: false,
            gave_up: false,
            draining: false,
            last: connection.status(),
            wrote: false,
            trace: Vec::new(),
            terms: None,
            accepted: None,
            socket: None,
            tunneled: false,
            looks: true,
            restless: false,
            lent: false,
        }
    }

    /// Notes if the connection has begun to drain: it was told to, or it is too old.
    pub fn note_drain(&mut self, connection: &Connection) {
        if !connection.is_draining() || self.draining {
            return;
        }
        self.draining = true;
        if let Some(socket) = &mut self.socket {
            socket.drained |= socket.close.is_none() && socket.closing.is_none();
        }
    }

    /// Records something that a second run has to repeat.
    pub fn note(&mut self, what: impl Hash) {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.trace.push(hasher.finish());
    }

    // ---- events ---------------------------------------------------------------------------------

    pub fn event(&mut self, event: &Event<'_>) {
        match event {
            // These events may be long, so they are hashed without formatting them.
            Event::Piece { text, last, data, .. } => self.note((text, last, &**data)),
            Event::OwnedMessage { bytes, .. } => self.note(&**bytes),
            Event::Message { message: Message::Text(text), .. } => self.note(text),
            Event::Message { message: Message::Binary(bytes), .. } => self.note(&**bytes),
            event => self.note(format!("{event:?}")),
        }
        if let Event::Request { stream, head } = event {
            assert!(self.socket.is_none(), "a request on a websocket");
            assert!(!self.tunneled, "a request on a tunnel");
            assert!(self.live.is_none(), "a request before the last one's answer: {event:?}");
            let next = self.known.last().map_or(1, |last| last.as_u64() + 1);
            assert_eq!(stream.as_u64(), next, "requests are numbered in order");
            assert!(next <= self.config.requests_per_connection(), "too many requests");
            assert!(self.last.is_open(), "a request after the end");
            self.known.push(*stream);
            self.accepted = self.terms.and_then(|terms| {
                let handshake = Handshake::read(head).ok()?;
                handshake.accept(None, terms.deflate.as_ref()).ok()
            });
            self.answers.push(Answer::default());
            self.live = Some(Live {
                id: *stream,
                http11: head.version() == http::Version::HTTP_11,
                credit: 0,
                awaited: false,
                ended: false,
                begun: false,
                cut: false,
                tunnel: false,
                finished: false,
            });
            return;
        }
        if let Some(socket) = &mut self.socket {
            return socket.event(event, self.last);
        }
        if let Event::Refused { reason, head, .. } = event {
            assert!(self.live.is_none(), "a refusal before the last answer: {event:?}");
            assert!(!self.last.is_open() || reason.status().is_some(), "{event:?}");
            assert!(head.method().is_some() || head.target().is_none(), "{event:?}");
            return;
        }
        let live = self.live.as_mut().unwrap_or_else(|| panic!("no stream for {event:?}"));
        match event {
            Event::Data { stream, data, .. } => {
                assert_eq!(*stream, live.id);
                assert!(!live.ended, "content after the end");
                assert!(!data.is_empty(), "an empty piece of content");
                let left = live.credit.checked_sub(data.len() as u64);
                live.credit = left.expect("no more content than was asked for");
                live.awaited &= live.credit > 0;
            }
            Event::End { stream, .. } => {
                assert_eq!(*stream, live.id);
                assert!(!live.ended, "a second end");
                live.ended = true;
                live.awaited = false;
                if live.finished {
                    self.live = None;
                }
            }
            Event::Writable { stream } => {
                assert_eq!(*stream, live.id);
                assert!(live.cut, "Writable, but nothing was cut short");
                assert!(self.last.is_open(), "Writable after the end");
                live.cut = false;
            }
            Event::Reset { stream, .. } => {
                assert_eq!(*stream, live.id);
                assert!(!live.ended, "a reset after the end");
                self.live = None;
            }
            other => panic!("an event that is not HTTP/1.1's: {other:?}"),
        }
    }

    // ---- after every call -----------------------------------------------------------------------

    /// Checks what holds after every call, also between two events.
    pub fn check(&mut self, connection: &mut Connection) {
        let memory = connection.memory();
        let bound = match &self.socket {
            Some(_) => self.config.websocket_memory_bound(),
            None => self.config.memory_bound(),
        };
        assert!(memory <= bound, "memory: {memory} of at most {bound} bytes");
        let status = connection.status();
        let unsent = unsent(connection);
        assert_eq!(status.write, unsent > 0, "{status:?}, but {unsent} bytes are unsent");
        match (self.last.life, status.life) {
            (Life::Closed { .. }, _) => assert_eq!(status.life, self.last.life, "reason"),
            (Life::Lingering { .. }, Life::Open | Life::Finished { .. })
            | (Life::Finished { .. }, Life::Open) => panic!("open again"),
            (_, Life::Closed { .. }) => self.dropped |= self.wrote,
            _ => {}
        }
        assert!(!(self.eof && status.read), "reading goes on after the end of input");
        match status.life {
            Life::Closed { reason, .. } => {
                let heap = memory - size_of::<Connection>();
                let least = if self.socket.is_some() { SOCKET } else { 0 };
                let least = least + if self.tunneled { TUNNEL } else { 0 };
                let least = least + if self.lent { LENT } else { 0 };
                assert!(heap <= least, "a closed connection owns {heap} bytes");
                assert_eq!(connection.deadline(), None, "a closed connection waits for nothing");
                assert!(
                    CloseReason::all().any(|known| known == reason),
                    "{reason:?} is not in `CloseReason::all`"
                );
            }
            Life::Finished { shutdown_write } | Life::Lingering { shutdown_write } => {
                assert_ne!(
                    status.write, shutdown_write,
                    "shutdown and writing must not be wanted together"
                );
            }
            Life::Open => {}
        }
        if self.looks {
            let closed = status.closed().is_some();
            assert_eq!(connection.phase() == Phase::Closed, closed);
            connection.deadline();
        }
        if let Some(live) = &self.live {
            let room = connection.stream(Tick::ZERO, live.id).room();
            assert!(room == 0 || live.begun && !live.finished && status.is_open());
            assert!(room as u64 <= self.config.send_buffer_limit());
            let is_finished = matches!(status.life, Life::Finished { .. });
            assert!(!status.is_open() || is_finished == live.finished, "{status:?}, {live:?}");
        }
        if let Some(socket) = &self.socket {
            let room = connection.stream(Tick::ZERO, socket.id).room();
            let open = status.is_open();
            assert!(room == 0 || open && socket.close.is_none() && !socket.drained);
            assert!(room as u64 <= self.config.send_buffer_limit());
        }
        self.last = status;
        self.wrote = status.write;
        self.note((memory, unsent, format!("{status:?}")));
    }

    /// Checks what holds once all events were pulled, and every side waits.
    pub fn check_waits(&mut self, connection: &mut Connection) {
        if !self.looks {
            return;
        }
        let status = connection.status();
        let deadline = connection.deadline().map(|(_, timer)| timer);
        let live = self.live.as_ref();
        let Status { read, write, .. } = status;
        if let (Some(socket), Life::Open) = (&self.socket, status.life) {
            let config = &self.config;
            socket.check_waits(config, (read, write), deadline, self.draining, self.eof);
            // If the connection closed the websocket and the application does not know yet, `room`
            // is 0.
            let limit = config.send_buffer_limit();
            let room = connection.stream(Tick::ZERO, socket.id).room() as u64 >= limit - limit / 2;
            assert!(!(socket.cut && room && socket.speaks()), "room, but no Writable");
            return;
        }
        let awaits = live.is_some_and(|live| live.awaited && !live.ended);
        if status.is_open() {
            let for_peer = write || live.is_none() || awaits;
            let allowed = match deadline {
                None => !for_peer && !self.eof,
                Some(Timer::PeerGone) => self.eof && live.is_some() && !write,
                Some(Timer::KeepAlive) => live.is_none() && !write,
                Some(Timer::RequestHead) => live.is_none(),
                Some(Timer::RequestBody) => awaits && !live.is_some_and(|live| live.tunnel),
                Some(Timer::TunnelIdle) => awaits && !write && live.is_some_and(|live| live.tunnel),
                Some(Timer::Response) => write,
                Some(Timer::Linger) => live.is_none() && !write,
                Some(Timer::Drain) => self.draining,
                Some(Timer::ConnectionAge) => self.config.connection_age_limit().is_some(),
                Some(other) => panic!("an unexpected timer {other:?}"),
            };
            assert!(allowed, "deadline: {deadline:?} while {status:?} with {live:?}");
            assert!(
                read || self.eof || !awaits,
                "the connection waits for content, but does not read"
            );
            assert!(
                read || self.eof || write || live.is_some(),
                "the connection neither reads nor waits for anything"
            );
            assert!(!self.eof || write || live.is_some(), "open after the end of input");
            if let Some(live) = live {
                let room = unsent(connection) as u64 <= self.config.send_buffer_limit() / 2;
                assert!(!(live.cut && room), "room, but no Writable");
            }
            return;
        }
        if status.is_lingering() {
            assert!(deadline.is_some(), "deadline: lingers for ever");
        }
        let told = match self.reason(connection) {
            Some(
                CloseReason::Refused(_)
                | CloseReason::Expired(Expiry::RequestBody | Expiry::TunnelIdle)
                | CloseReason::Peer(PeerClose::Truncated),
            ) => !self.gave_up,
            _ => false,
        };
        let owed = live.filter(|live| told && !live.ended);
        assert!(owed.is_none(), "neither End nor Reset, and {status:?}: {owed:?}");
        let told = matches!(
            self.reason(connection),
            Some(
                CloseReason::Violation(_)
                    | CloseReason::Expired(Expiry::WebSocketPong | Expiry::WebSocketMessage)
                    | CloseReason::Peer(PeerClose::Truncated)
            )
        );
        let owed = self.socket.as_ref().filter(|socket| told && !socket.reset);
        assert!(owed.is_none(), "no Reset, and {status:?}: {owed:?}");
    }

    fn reason(&self, connection: &Connection) -> Option<CloseReason> {
        connection.status().closed()
    }

    /// Checks the deadline after a tick.
    pub fn check_tick(&self, connection: &mut Connection, now: Tick) {
        if let Some((at, timer)) = connection.deadline() {
            assert!(at > now, "deadline: {timer:?} is still set to {at:?} at {now:?}");
        }
    }
}
