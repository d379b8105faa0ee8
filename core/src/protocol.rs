//! The protocol that a connection speaks: HTTP/1.1, until a request turns it into a websocket.
//!
//! What both have to answer is asked here; what only one of them can do is asked of that one.

use crate::close::{CloseReason, Misuse, ResetReason, Violation};
use crate::common::Common;
use crate::config::Config;
use crate::h1::Http1;
use crate::input::Input;
use crate::step::{Desk, Step};
use crate::stream::StreamId;
use crate::time::Timer;
use crate::websocket::session::Session;

#[derive(Debug)]
pub(crate) enum Protocol {
    Http1(Http1),
    /// Boxed, so that those that never become one don't pay for it.
    WebSocket(Box<Session>),
}

impl Protocol {
    /// HTTP/1.1, for what only that can do.
    #[inline]
    pub(crate) fn http1(&mut self) -> Result<&mut Http1, Misuse> {
        match self {
            Protocol::Http1(http) => Ok(http),
            Protocol::WebSocket(_) => Err(Misuse::IsWebSocket),
        }
    }

    /// The websocket, for what only that can do.
    #[inline]
    pub(crate) fn websocket(&mut self) -> Result<&mut Session, Misuse> {
        match self {
            Protocol::Http1(_) => Err(Misuse::NotWebSocket),
            Protocol::WebSocket(session) => Ok(session),
        }
    }

    /// The newest stream.
    #[inline]
    pub(crate) fn stream(&self) -> StreamId {
        match self {
            Protocol::Http1(http) => http.stream(),
            Protocol::WebSocket(session) => session.stream(),
        }
    }

    /// How many requests were delivered.
    #[inline]
    pub(crate) fn requests(&self) -> u64 {
        self.stream().0
    }

    /// The next thing that happened, if there is one in `input`. What is not taken is to be held.
    #[inline]
    pub(crate) fn step(
        &mut self,
        common: &mut Common,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Option<Step> {
        match self {
            Protocol::Http1(http) => http.step(common, input, desk),
            Protocol::WebSocket(session) => session.step(common, input, desk),
        }
    }

    /// Whether [`Protocol::step`] has something to do without new bytes.
    #[inline]
    pub(crate) fn has_events(&self, common: &Common) -> bool {
        match self {
            Protocol::Http1(http) => http.has_events(common),
            Protocol::WebSocket(session) => session.has_events(common),
        }
    }

    /// Work was left undone that needs nothing from anybody.
    #[inline]
    pub(crate) fn is_paused(&self) -> bool {
        match self {
            Protocol::Http1(_) => false,
            Protocol::WebSocket(session) => session.is_paused(),
        }
    }

    /// Messages that were put together become the application's own.
    pub(crate) fn hands_over(&self) -> bool {
        match self {
            Protocol::Http1(_) => false,
            Protocol::WebSocket(session) => session.hands_over(),
        }
    }

    /// More was read behind bytes that wait for the application.
    #[cold]
    pub(crate) fn look_ahead(&mut self, common: &mut Common) {
        if let Protocol::WebSocket(session) = self {
            session.look_ahead(common);
        }
    }

    /// Whether the held bytes are worth another look.
    #[inline]
    pub(crate) fn may_go_on(&self, common: &Common) -> bool {
        match self {
            Protocol::Http1(http) => http.may_go_on(common),
            Protocol::WebSocket(session) => session.may_go_on(common),
        }
    }

    /// The peer took some of what waited.
    #[inline]
    pub(crate) fn sent(&mut self, common: &Common) {
        if let Protocol::WebSocket(session) = self {
            session.sent(common);
        }
    }

    /// Frees what is of no use until more bytes arrive; the last thing that every public call does.
    #[inline]
    pub(crate) fn release(&mut self, common: &Common) {
        if let Protocol::WebSocket(session) = self {
            session.release(common);
        }
    }

    /// Lets the timers follow the states.
    #[inline]
    pub(crate) fn settle(&mut self, common: &mut Common) {
        match self {
            Protocol::Http1(http) => http.settle(common),
            Protocol::WebSocket(session) => session.settle(common),
        }
    }

    /// A timer has expired.
    #[cold]
    pub(crate) fn expire(&mut self, common: &mut Common, timer: Timer) {
        match self {
            Protocol::Http1(http) => http.expire(common, timer),
            Protocol::WebSocket(session) => session.expire(common, timer),
        }
    }

    /// Finishes what is in progress, and begins nothing new.
    #[cold]
    pub(crate) fn drain(&mut self, common: &mut Common) {
        match self {
            Protocol::Http1(http) => http.drain(common),
            Protocol::WebSocket(session) => session.drain(common),
        }
    }

    /// Nothing of a request has arrived, and none is being answered.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Protocol::Http1(http) => http.is_idle(),
            Protocol::WebSocket(_) => false,
        }
    }

    /// Ends the connection for `reason`, as the table of endings says.
    #[cold]
    pub(crate) fn end(&mut self, common: &mut Common, reason: CloseReason) {
        match self {
            Protocol::Http1(http) => http.end(common, reason),
            Protocol::WebSocket(session) => session.end(common, reason),
        }
    }

    /// Bytes of an incomplete TLS record arrived. They may become content: the peer is not silent.
    #[cold]
    pub(crate) fn trickle(&mut self, common: &mut Common) {
        match self {
            Protocol::Http1(http) => http.trickle(common),
            Protocol::WebSocket(session) => session.trickle(common),
        }
    }

    /// Bytes arrived, whatever they are: the peer is there.
    #[inline]
    pub(crate) fn heard(&mut self, common: &Common) {
        if let Protocol::WebSocket(session) = self {
            session.heard(common);
        }
    }

    /// The peer is still taking what was sent before what it has to answer.
    #[cold]
    pub(crate) fn taking(&mut self, common: &mut Common, taken: u64) {
        if let Protocol::WebSocket(session) = self {
            session.taking(common, taken);
        }
    }

    /// Ends the connection at once, whatever it is at.
    #[cold]
    pub(crate) fn cut(&mut self, common: &mut Common, reason: CloseReason) {
        match self {
            Protocol::Http1(http) => http.cut(common, reason),
            Protocol::WebSocket(session) => session.cut(common, reason),
        }
    }

    /// What was lent as text is none.
    #[cold]
    pub(crate) fn violated(&mut self, common: &mut Common, violation: Violation) -> ResetReason {
        if let Protocol::WebSocket(session) = self {
            session.violated(common, violation);
        }
        ResetReason::Violation(violation)
    }

    /// How much content, or of a message, would be taken now.
    #[inline]
    pub(crate) fn room(&self, common: &Common, stream: StreamId) -> usize {
        match self {
            Protocol::Http1(http) => http.room(common, stream),
            Protocol::WebSocket(session) => session.room(common, stream),
        }
    }

    /// The most that [`Protocol::memory`] becomes, with what is lent.
    pub(crate) fn memory_bound(&self, config: &Config) -> usize {
        match self {
            Protocol::Http1(_) => 0,
            Protocol::WebSocket(session) => session.memory_bound(config),
        }
    }

    /// Bytes of heap.
    #[inline]
    pub(crate) fn memory(&self) -> usize {
        match self {
            Protocol::Http1(http) => http.memory(),
            Protocol::WebSocket(session) => size_of::<Session>() + session.memory(),
        }
    }
}
