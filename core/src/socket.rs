//! A websocket over a stream of HTTP/2 (RFC 8441): the session of `websocket`, with a transport of its own whose
//! bytes are the content of the stream.
//!
//! The session does not know the difference. Its timers and limits are those of any websocket; it ends its
//! stream, and not the connection.

use crate::budget::Budget;
use crate::close::{CloseReason, Expiry, Misuse, ResetReason, Violation};
use crate::endings::Ending;
use crate::event::Sent;
use crate::h2::tunnel::{Tunnel, TunnelEnd};
use crate::input::Input;
use crate::output::Output;
use crate::status::Life;
use crate::step::{Desk, Place, Step};
use crate::stream::StreamId;
use crate::time::{Tick, Timer};
use crate::transport::Transport;
use crate::websocket::message;
use crate::websocket::session::{Session, Terms};
use bytes::Bytes;
use core::mem::{size_of, swap, take};
use std::io::IoSlice;

#[derive(Debug)]
pub(crate) struct Socket {
    stream: StreamId,
    transport: Transport,
    session: Session,
    /// Content has come that the session has not looked at.
    is_fresh: bool,
    /// The length of the last message that was delivered.
    delivered: usize,
}

impl Socket {
    /// The websocket that begins on a stream of `outer`.
    pub(crate) fn new(terms: Terms, outer: &Transport) -> Self {
        let transport = Transport::of_stream(outer);
        let stream = terms.stream;
        Socket {
            stream,
            session: Session::new(terms, &transport),
            transport,
            is_fresh: false,
            delivered: 0,
        }
    }

    /// Nothing that has come is looked at: a compressed message could grow as well.
    fn is_held_back(&self) -> bool {
        self.session.is_held_back() && self.transport.is_open()
    }

    /// Does something at `now`. The timers are right afterwards.
    fn act<T>(&mut self, now: Tick, act: impl FnOnce(&mut Session, &mut Transport) -> T) -> T {
        self.transport.advance(now);
        let result = act(&mut self.session, &mut self.transport);
        self.settle();
        result
    }

    fn settle(&mut self) {
        self.session.release(&self.transport);
        if self.transport.is_open() {
            self.session.settle(&mut self.transport);
        }
        self.transport.settle();
    }

    /// Checks text that is handed over as it lies in `input`: only assembled messages were checked before, and
    /// those that are lent are checked when they are.
    fn checked(&mut self, input: &mut Input<'_>, step: Step) -> Step {
        if let Step::Message { text: true, at: Place::Input(span) } = step
            && self.session.hands_over()
            && let Err(violation) = message::lend(true, input.span(span))
        {
            self.session.violated(&mut self.transport, violation);
            return Step::Reset(ResetReason::Violation(violation));
        }
        step
    }

    /// Moves the parts of a step that lie in `input` to the desk.
    fn move_to_desk(input: &mut Input<'_>, desk: &mut Desk, step: Step) -> Step {
        let mut moved = |at: Place| {
            if let Place::Input(span) = at {
                desk.whole.clear();
                desk.whole.extend_from_slice(input.span(span));
            }
            Place::Whole
        };
        match step {
            Step::Message { text, at } => Step::Message { text, at: moved(at) },
            Step::Piece { text, last, at } => Step::Piece { text, last, at: moved(at) },
            Step::Control { ping, at } => Step::Control { ping, at: moved(at) },
            Step::Closing { code, reason } => Step::Closing { code, reason: moved(reason) },
            other => other,
        }
    }
}

impl Tunnel for Socket {
    fn receive(&mut self, now: Tick, bytes: &[u8]) {
        self.transport.advance(now);
        self.session.heard(&self.transport);
        self.transport.held.append(bytes.to_vec());
        self.is_fresh = true;
    }

    fn end_input(&mut self, now: Tick) {
        self.transport.advance(now);
        self.transport.eof = true;
        self.is_fresh = true;
    }

    fn step(&mut self, now: Tick, budget: &mut Budget, desk: &mut Desk) -> Option<Step> {
        self.transport.advance(now);
        if self.is_held_back() {
            return None;
        }
        swap(&mut self.transport.budget, budget);
        let mut input = Input::new(take(&mut self.transport.held), &mut []);
        let step = self.session.step(&mut self.transport, &mut input, desk);
        let step = step.map(|step| self.checked(&mut input, step));
        let step = step.map(|step| Self::move_to_desk(&mut input, desk, step));
        if let Some(Step::Message { .. }) = step {
            self.delivered = desk.whole.len();
        }
        if self.transport.is_open() {
            let most = if self.transport.reads_ahead { self.transport.most_ahead() } else { 0 };
            self.transport.held = input.put_back(most);
        }
        // There may be another step behind this one.
        self.is_fresh = step.is_some();
        if step.is_none() && self.transport.reads_ahead {
            self.session.look_ahead(&mut self.transport);
        }
        swap(&mut self.transport.budget, budget);
        self.settle();
        step
    }

    fn has_events(&self) -> bool {
        let session = &self.session;
        !self.is_held_back()
            && (self.is_fresh
                || session.has_events(&self.transport)
                || session.may_go_on(&self.transport))
    }

    fn is_paused(&self) -> bool {
        self.session.is_paused() && !self.is_held_back()
    }

    fn takes_more(&self) -> bool {
        self.session.takes_more()
    }

    fn held(&self) -> usize {
        self.transport.held.len()
    }

    fn begun(&self) -> usize {
        self.session.begun()
    }

    fn delivered(&self) -> usize {
        if self.session.takes_more() { 0 } else { self.delivered }
    }

    fn hold_back(&mut self, now: Tick, is_held_back: bool) {
        self.act(now, |session, transport| session.hold_back(transport, is_held_back));
    }

    fn move_output(&mut self, now: Tick, bytes: usize, output: &mut Output) {
        self.transport.advance(now);
        let mut left = bytes.min(self.transport.unsent());
        while left > 0 {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.transport.slices(&mut slices);
            let mut moved = 0;
            for slice in slices.get(..count).unwrap_or_default() {
                let part = slice.get(..slice.len().min(left - moved)).unwrap_or_default();
                output.write(part);
                moved += part.len();
            }
            self.transport.sent(moved);
            left = if moved == 0 { 0 } else { left - moved };
        }
        self.session.sent(&self.transport);
        self.settle();
    }

    fn unsent(&self) -> usize {
        self.transport.unsent()
    }

    fn end(&self) -> TunnelEnd {
        match self.transport.life() {
            Life::Open | Life::Finished { .. } => TunnelEnd::None,
            Life::Lingering { .. } => TunnelEnd::Finished,
            Life::Closed { reason, cut_off } => match Ending::of(reason) {
                Ending::Cut => TunnelEnd::Cut(reason),
                _ if cut_off => TunnelEnd::Cut(reason),
                Ending::Finish | Ending::Refuse | Ending::Leave => TunnelEnd::Finished,
            },
        }
    }

    fn deadline(&mut self) -> Tick {
        self.transport.timers.next().map_or(Tick::NEVER, |(at, _)| at)
    }

    fn tick(&mut self, now: Tick) {
        self.transport.advance(now);
        while let Some(timer) = self.transport.timers.expired(now) {
            let Socket { transport, session, .. } = self;
            match (timer, Expiry::of(timer)) {
                (Timer::Response, _) if transport.goes_on_taking() => {}
                (_, Some(expiry)) => session.expire(transport, expiry),
                (Timer::WebSocketPing, None) => session.ping_silent(transport),
                (_, None) => session.cut(transport, CloseReason::Completed),
            }
        }
        self.is_fresh = true;
        self.settle();
    }

    fn drain(&mut self, now: Tick) {
        self.act(now, |session, transport| session.drain(transport));
    }

    fn memory(&self) -> usize {
        // The session counts itself.
        size_of::<Socket>() - size_of::<Session>() + self.transport.memory() + self.session.memory()
    }

    fn memory_bound(&self) -> usize {
        let config = &self.transport.config;
        let own = size_of::<Socket>() + crate::output::memory_bound(config);
        // Content that the stream's window has let in is counted there.
        own.saturating_add(self.session.memory_bound(config))
    }

    fn hands_over(&self) -> bool {
        self.session.hands_over()
    }

    fn violated(&mut self, now: Tick, violation: Violation) -> ResetReason {
        self.act(now, |session, transport| session.violated(transport, violation));
        ResetReason::Violation(violation)
    }

    fn read_to(&mut self, now: Tick, end: u64) -> Result<(), Misuse> {
        let stream = self.stream;
        self.act(now, |session, transport| session.read_to(transport, stream, end))
    }

    fn received(&self) -> u64 {
        self.session.received(self.stream)
    }

    fn room(&self) -> usize {
        self.session.room(&self.transport, self.stream)
    }

    fn await_room(&mut self, now: Tick) -> Result<(), Misuse> {
        let stream = self.stream;
        self.act(now, |session, transport| session.await_room(transport, stream))
    }

    fn send_message(&mut self, now: Tick, text: bool, data: &mut Bytes) -> Result<Sent, Misuse> {
        let stream = self.stream;
        self.act(now, |session, transport| session.send_message(transport, stream, text, data))
    }

    fn send_control(&mut self, now: Tick, ping: bool, payload: &[u8]) -> Result<(), Misuse> {
        let stream = self.stream;
        self.act(now, |session, transport| session.send_control(transport, stream, ping, payload))
    }

    fn close(&mut self, now: Tick, code: Option<u16>, reason: &str) -> Result<(), Misuse> {
        let stream = self.stream;
        self.act(now, |session, transport| session.close(transport, stream, code, reason))
    }
}
