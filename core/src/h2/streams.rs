//! The streams of an HTTP/2 connection: the states of one, and a map of all.
//!
//! | state | the client may send | we may send | next |
//! |---|---|---|---|
//! | idle: a number above all that the client has used | HEADERS | nothing | `Open`, `HalfClosed` |
//! | `Open` | DATA, trailers | an answer | `HalfClosedRemote`, `HalfClosedLocal`, `Closed` |
//! | `HalfClosedRemote`: the request is whole | nothing but RST_STREAM, WINDOW_UPDATE, PRIORITY | an answer | `Closed` |
//! | `HalfClosedLocal`: the answer is complete | DATA, trailers, which are discarded; a tunnel's DATA are not | nothing | `Closed` |
//! | `Closed` | nothing; what was on its way is ignored | nothing | |
//!
//! This is figure 2 of RFC 9113 for a server that pushes nothing. A client that goes on to send the content of a
//! request that is answered may do so for as long as a connection lingers: some clients read the answer only
//! when they have sent everything. Then the stream is reset with NO_ERROR (RFC 9113 8.1).
//!
//! A stream stays in the map until the application has been told of its end. Until then it counts as one that
//! is open, so that nobody can have the application work on more streams than there may be.

use super::tunnel::Tunnel;
use crate::close::{Fault, ResetReason};
use crate::exchange::{Exchange, Sending, Upload};
use crate::rate::{Rate, Span};
use crate::time::Tick;
use core::mem::size_of;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    HalfClosedRemote,
    HalfClosedLocal,
    /// The application has not been told yet.
    Closed(ResetReason),
}

/// What moves a stream from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moves {
    /// DATA, or a field block, without END_STREAM.
    Part,
    /// END_STREAM of the client.
    End,
    /// END_STREAM of ours.
    Answered,
    /// A RST_STREAM in either direction, or a fault.
    Reset(ResetReason),
}

impl State {
    /// The next state; a fault of the stream if the client may not do that.
    pub(super) fn next(self, moves: Moves) -> Result<State, Fault> {
        match (self, moves) {
            (State::Open, Moves::Part) => Ok(State::Open),
            (State::Open, Moves::End) => Ok(State::HalfClosedRemote),
            (State::Open, Moves::Answered) => Ok(State::HalfClosedLocal),
            (State::HalfClosedLocal, Moves::Part | Moves::Answered) => Ok(State::HalfClosedLocal),
            (State::HalfClosedRemote, Moves::Part | Moves::End) => Err(Fault::ClosedStream),
            (State::Closed(first), _) => Ok(State::Closed(first)),
            (_, Moves::Reset(reason)) => Ok(State::Closed(reason)),
            // Both halves are closed, and nobody has to be told.
            (State::HalfClosedRemote, Moves::Answered) | (State::HalfClosedLocal, Moves::End) => {
                Ok(State::Closed(ResetReason::Cancelled))
            }
        }
    }
}

/// How the peer wants its answers ordered (RFC 9218 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Priority {
    /// 0 comes first, 7 last.
    pub(super) urgency: u8,
    /// Answers of the same urgency are sent in turns, and not one after the other.
    pub(super) incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Priority { urgency: 3, incremental: false }
    }
}

/// One request and its answer.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) state: State,
    pub(super) exchange: Exchange,
    pub(super) priority: Priority,
    /// The end of the request was delivered.
    pub(super) is_end_told: bool,
    /// Bytes that the peer lets us send. It may be negative (RFC 9113 6.9.2).
    pub(super) window: i64,
    /// Bytes that we let the peer send.
    pub(super) allowed: i64,
    /// Bytes of content that the peer has declared and not sent; `None` if it declared no length.
    pub(super) declared: Option<u64>,
    /// Content that arrived and waits for the application.
    pub(super) unread: Vec<u8>,
    /// The trailers, until the content before them is delivered.
    pub(super) trailers: Option<Box<Trailers>>,
    /// What the stream has become, once it has left HTTP.
    pub(super) tunnel: Option<Box<dyn Tunnel>>,
    /// The application has been told that the tunnel failed.
    pub(super) is_reset_told: bool,
    /// The request was an extended CONNECT (RFC 8441 4).
    pub(super) is_extended: bool,
    /// Bytes of content that were sent.
    pub(super) sent: u64,
    /// The guard over a window that the peer does not open.
    pub(super) guard: Option<Box<Rate>>,
    /// The time for the whole answer, if it has one of its own.
    pub(super) time: Option<Box<Span>>,
    /// Until when content is discarded after the answer: in all, and in silence.
    pub(super) discarding: [Tick; 2],
    /// Bytes of room that it was told of and has not used.
    pub(super) promised: usize,
    /// How far it has come among those that take turns: the bytes that were sent, within a quantum of theirs.
    pub(super) turn: u64,
}

/// Trailers that wait.
#[derive(Debug)]
pub(super) struct Trailers {
    /// The lines as the application gets them: each name, its value, and the lengths of both.
    pub(super) text: Vec<u8>,
    pub(super) lengths: Vec<(u16, u16)>,
}

/// What a stream has for the application without more bytes of the peer.
#[derive(Debug)]
pub(super) enum Due {
    Reset(ResetReason),
    /// So many bytes of the unread content.
    Content(usize),
    End,
    /// What the tunnel has.
    Tunnel,
}

impl Stream {
    /// What the application is to be told next, whether there is room or not.
    pub(super) fn due(&self) -> Option<Due> {
        match self.state {
            State::Closed(reason) => return Some(Due::Reset(reason)),
            State::HalfClosedLocal if !self.is_alive() => return None,
            State::Open | State::HalfClosedRemote | State::HalfClosedLocal => {}
        }
        if let Some(tunnel) = &self.tunnel {
            return tunnel.has_events().then_some(Due::Tunnel);
        }
        if !self.unread.is_empty() {
            let credit = self.exchange.upload.as_ref().map_or(0, |upload| upload.credit());
            let length = credit.min(self.unread.len() as u64) as usize;
            return (length > 0).then_some(Due::Content(length));
        }
        (self.state == State::HalfClosedRemote && !self.is_end_told).then_some(Due::End)
    }

    /// Whether the stream waits for room, and could use it.
    pub(super) fn waits_for_room(&self) -> bool {
        let waits = self.exchange.cut_short && self.is_alive();
        waits && (self.window > 0 || self.owes_head())
    }

    /// Whether the stream waits for room, or was promised room, and could use it.
    pub(super) fn has_claim(&self) -> bool {
        self.waits_for_room() || (self.promised > 0 && self.is_alive())
    }

    /// Whether the stream waits for room or for its window, with content.
    pub(super) fn waits_for_window(&self) -> bool {
        self.exchange.cut_short && self.is_alive() && !self.owes_head()
    }

    /// Whether the head of its answer is still to be sent. That needs no window.
    pub(super) fn owes_head(&self) -> bool {
        self.exchange.sending == Sending::Owed
    }

    /// Whether the application can still act on it.
    pub(super) fn is_alive(&self) -> bool {
        match self.state {
            State::Open | State::HalfClosedRemote => true,
            State::HalfClosedLocal => self.exchange.sending == Sending::Finished,
            State::Closed(_) => false,
        }
    }

    /// Whether it carries another protocol, or is a tunnel.
    pub(super) fn has_left_http(&self) -> bool {
        self.tunnel.is_some() || self.exchange.is_tunnel
    }

    /// Bytes of content that wait for the application.
    pub(super) fn waiting_content(&self) -> usize {
        self.unread.len() + self.tunnel.as_ref().map_or(0, |tunnel| tunnel.held())
    }

    /// Bytes of messages that the stream holds, or has delivered to an application that is not done with them.
    pub(super) fn hoarded(&self) -> usize {
        self.tunnel.as_ref().map_or(0, |tunnel| tunnel.hoarded())
    }

    /// Whether the rest of the request is to be discarded.
    pub(super) fn is_discarding(&self) -> bool {
        self.discarding != [Tick::NEVER; 2]
    }

    /// Bytes of heap.
    fn memory(&self) -> usize {
        let upload = self.exchange.upload.as_ref().map_or(0, |_| size_of::<Upload>());
        let guard = self.guard.as_ref().map_or(0, |_| size_of::<Rate>())
            + self.time.as_ref().map_or(0, |_| size_of::<Span>());
        let trailers = self
            .trailers
            .as_ref()
            .map_or(0, |it| size_of::<Trailers>() + it.text.capacity() + it.lengths.capacity() * 4);
        let tunnel = self.tunnel.as_ref().map_or(0, |tunnel| tunnel.memory());
        self.unread.capacity() + upload + guard + trailers + tunnel
    }
}

/// The most memory of one stream, apart from its unread content and its trailers.
pub(super) const MEMORY: usize =
    size_of::<Stream>() + size_of::<Upload>() + size_of::<Rate>() + size_of::<Span>();

/// The streams in use, in the order of their numbers. Owns no memory while there are none.
#[derive(Debug, Default)]
pub(super) struct Streams {
    all: VecDeque<Stream>,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds a stream, whose number is larger than all others.
    pub(super) fn push(&mut self, stream: Stream) {
        if self.all.capacity() == 0 {
            // Cheaper than to grow, and as many.
            self.all = VecDeque::with_capacity(4);
        }
        self.all.push_back(stream);
    }

    /// The place of a stream, until one is added or removed.
    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<usize> {
        // The newest stream is asked for most of all.
        match self.all.back() {
            Some(last) if last.id == id => Some(self.all.len() - 1),
            Some(_) => self.all.binary_search_by_key(&id, |stream| stream.id).ok(),
            None => None,
        }
    }

    #[inline]
    pub(super) fn get(&self, place: usize) -> Option<&Stream> {
        self.all.get(place)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Stream> {
        self.all.get_mut(place)
    }

    #[inline]
    pub(super) fn by_id(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.find(id)?;
        self.all.get_mut(place)
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<Stream> {
        self.all.remove(place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> + Clone {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.all.iter_mut()
    }

    /// Frees the memory of streams that are gone.
    pub(super) fn rest(&mut self) {
        if self.all.is_empty() {
            self.all = VecDeque::new();
        }
    }

    /// Bytes of heap.
    pub(super) fn memory(&self) -> usize {
        let own = self.all.capacity() * size_of::<Stream>();
        self.all.iter().map(Stream::memory).sum::<usize>() + own
    }
}

/// Which of the newest 64 numbers were used, and which of these streams we have reset. A client's frames on a
/// stream that we have reset were on their way, and are ignored (RFC 9113 5.4.2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past {
    /// The largest number that was used.
    pub(super) last: u32,
    used: u64,
    reset: u64,
}

/// What a stream is that is not in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Was {
    /// It has not begun.
    Idle,
    /// Its number was passed over.
    Skipped,
    /// It has ended.
    Closed,
    /// We have reset it, or it ended so long ago that nobody knows.
    Reset,
}

impl Past {
    /// A stream begins; its number is larger than all before.
    pub(super) fn begin(&mut self, id: u32) {
        let steps = (id - self.last.min(id)).div_ceil(2);
        self.used = self.used.checked_shl(steps).unwrap_or(0) | 1;
        self.reset = self.reset.checked_shl(steps).unwrap_or(0);
        self.last = id;
    }

    /// The mark of a number, if it is one of the newest.
    fn mark(&self, id: u32) -> Option<u64> {
        let steps = self.last.checked_sub(id)? / 2;
        (steps < u64::BITS).then(|| 1 << steps)
    }

    /// We have reset the stream.
    pub(super) fn reset(&mut self, id: u32) {
        self.reset |= self.mark(id).unwrap_or(0);
    }

    pub(super) fn was(&self, id: u32) -> Was {
        // No stream of ours, with an even number, ever begins.
        if id > self.last || id.is_multiple_of(2) {
            return Was::Idle;
        }
        match self.mark(id) {
            Some(mark) if self.used & mark == 0 => Was::Skipped,
            Some(mark) if self.reset & mark == 0 => Was::Closed,
            _ => Was::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_those_of_the_rfc() {
        let cancelled = ResetReason::Cancelled;
        let closed = State::Closed(cancelled);
        for (state, moves, next) in [
            (State::Open, Moves::Part, Ok(State::Open)),
            (State::Open, Moves::End, Ok(State::HalfClosedRemote)),
            (State::Open, Moves::Answered, Ok(State::HalfClosedLocal)),
            (State::Open, Moves::Reset(cancelled), Ok(closed)),
            (State::HalfClosedRemote, Moves::Part, Err(Fault::ClosedStream)),
            (State::HalfClosedRemote, Moves::End, Err(Fault::ClosedStream)),
            (State::HalfClosedRemote, Moves::Answered, Ok(closed)),
            (State::HalfClosedRemote, Moves::Reset(cancelled), Ok(closed)),
            (State::HalfClosedLocal, Moves::Part, Ok(State::HalfClosedLocal)),
            (State::HalfClosedLocal, Moves::End, Ok(closed)),
            (State::HalfClosedLocal, Moves::Reset(cancelled), Ok(closed)),
            (closed, Moves::Part, Ok(closed)),
            (closed, Moves::End, Ok(closed)),
            (closed, Moves::Reset(ResetReason::Timeout), Ok(closed)),
        ] {
            assert_eq!(state.next(moves), next, "{state:?}, {moves:?}");
        }
    }

    #[test]
    fn the_past_tells_streams_apart() {
        let mut past = Past::default();
        assert_eq!(past.was(1), Was::Idle);
        past.begin(1);
        past.begin(7);
        past.begin(9);
        past.reset(7);
        assert_eq!(past.was(1), Was::Closed);
        assert_eq!((past.was(3), past.was(5)), (Was::Skipped, Was::Skipped));
        assert_eq!((past.was(7), past.was(9)), (Was::Reset, Was::Closed));
        assert_eq!(past.was(11), Was::Idle);
        past.begin(9 + 2 * 63);
        assert_eq!((past.was(9), past.was(7)), (Was::Closed, Was::Reset), "the oldest known");
        past.begin(u32::MAX / 2);
        assert_eq!(past.was(9), Was::Reset, "nobody knows");
        assert_eq!(past.was(u32::MAX / 2 - 2), Was::Skipped);
    }
}
