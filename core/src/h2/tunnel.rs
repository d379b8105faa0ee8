//! A stream that carries another protocol: what a protocol over a single stream has to offer (RFC 8441).
//!
//! In: content of the stream, time, the application's actions. Out: steps for the application, and bytes that
//! are sent as content of the stream. [`Http2`](super::Http2) knows no protocol that does this; it moves the
//! bytes as the windows allow.

use super::Http2;
use super::endings::Told;
use super::frame::{self, END_STREAM, Kind};
use super::guard;
use super::streams::State;
use crate::budget::Budget;
use crate::close::{CloseReason, ErrorCode, Misuse, ResetReason, Violation};
use crate::event::Sent;
use crate::output::Output;
use crate::step::{Desk, Step};
use crate::stream::StreamId;
use crate::time::Tick;
use crate::transport::Transport;
use bytes::Bytes;
use core::fmt::Debug;

/// How far a tunnel has come in ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TunnelEnd {
    None,
    /// In good order: the stream ends once all bytes are sent.
    Finished,
    /// At once: the stream is reset.
    Cut(CloseReason),
}

/// A protocol over one stream.
pub(crate) trait Tunnel: Debug + Send {
    /// Content has come.
    fn receive(&mut self, now: Tick, bytes: &[u8]);
    /// The client sends no more content.
    fn end_input(&mut self, now: Tick);
    /// What the application is told next. All parts lie on the desk. What costs work pays from the budget of the
    /// connection.
    fn step(&mut self, now: Tick, budget: &mut Budget, desk: &mut Desk) -> Option<Step>;
    /// Whether [`Tunnel::step`] may have something.
    fn has_events(&self) -> bool;
    /// Whether work is left that waits for neither party.
    fn is_paused(&self) -> bool;
    /// Whether the application takes more of what comes.
    fn takes_more(&self) -> bool;
    /// Bytes of content that wait for the application.
    fn held(&self) -> usize;
    /// Bytes of a message that is not whole yet.
    fn begun(&self) -> usize;
    /// Bytes of the last message that was delivered, until the application asks for the next one.
    fn delivered(&self) -> usize;
    /// Bytes of messages, in part or delivered.
    fn hoarded(&self) -> usize {
        self.begun() + self.delivered()
    }
    /// The client is not allowed to send on. No deadline of its own runs meanwhile.
    fn hold_back(&mut self, now: Tick, is_held_back: bool);

    /// Moves `bytes` of the bytes that wait to be sent to `output`.
    fn move_output(&mut self, now: Tick, bytes: usize, output: &mut Output);
    /// Bytes that wait to be sent.
    fn unsent(&self) -> usize;
    fn end(&self) -> TunnelEnd;

    fn deadline(&mut self) -> Tick;
    /// Acts on the deadlines that have passed.
    fn tick(&mut self, now: Tick);
    fn drain(&mut self, now: Tick);
    /// Bytes, of itself and of heap.
    fn memory(&self) -> usize;
    /// The most that its memory becomes.
    fn memory_bound(&self) -> usize;

    // The application's actions, as on a websocket.
    fn hands_over(&self) -> bool;
    fn violated(&mut self, now: Tick, violation: Violation) -> ResetReason;
    fn read_to(&mut self, now: Tick, end: u64) -> Result<(), Misuse>;
    fn received(&self) -> u64;
    fn room(&self) -> usize;
    fn await_room(&mut self, now: Tick) -> Result<(), Misuse>;
    fn send_message(&mut self, now: Tick, text: bool, data: &mut Bytes) -> Result<Sent, Misuse>;
    fn send_control(&mut self, now: Tick, ping: bool, payload: &[u8]) -> Result<(), Misuse>;
    fn close(&mut self, now: Tick, code: Option<u16>, reason: &str) -> Result<(), Misuse>;
}

impl Http2 {
    /// The stream has left HTTP: its content belongs to `tunnel` from now on.
    pub(crate) fn begin_tunnel(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        mut tunnel: Box<dyn Tunnel>,
    ) {
        let number = u32::try_from(id.as_u64()).unwrap_or(0);
        let Some(place) = self.streams.find(number) else { return };
        let Some(stream) = self.streams.get_mut(place) else { return };
        tunnel.receive(transport.now, &core::mem::take(&mut stream.unread));
        if stream.state == State::HalfClosedRemote {
            tunnel.end_input(transport.now);
        }
        if transport.draining {
            tunnel.drain(transport.now);
        }
        stream.exchange.upload = None;
        stream.is_end_told = true;
        stream.tunnel = Some(tunnel);
        self.tunnels += 1;
        self.is_due = true;
        self.pump(transport, place);
    }

    /// The next step of the tunnel on the stream at `place`.
    pub(super) fn take_tunneled(
        &mut self,
        transport: &mut Transport,
        place: usize,
        desk: &mut Desk,
    ) -> Option<Step> {
        let (now, budget) = (transport.now, &mut transport.budget);
        let step = self.with_tunnel(place, |tunnel| tunnel.step(now, budget, desk))?;
        if let (Some(Step::Reset(_)), Some(stream)) = (&step, self.streams.get_mut(place)) {
            stream.is_reset_told = true;
        }
        self.open_stream(transport, place);
        let unsent = |it: &Self| it.newest_tunnel().map_or(0, |tunnel| tunnel.unsent());
        let before = unsent(self);
        self.pump(transport, place);
        if step.is_none() && self.newest_tunnel().is_some() && unsent(self) < before {
            // There is room now, which the tunnel may have waited for.
            return self.take_tunneled(transport, place, desk);
        }
        step
    }

    /// Does something with the tunnel on the stream at `place`, if it has one. Whatever that is, the tunnel may
    /// hold less or more afterwards: it may end.
    pub(super) fn with_tunnel<T>(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut dyn Tunnel) -> T,
    ) -> Option<T> {
        let tunnel = self.streams.get_mut(place)?.tunnel.as_mut()?;
        let (held, hoarded) = (tunnel.held(), tunnel.hoarded());
        let result = act(&mut **tunnel);
        self.unread = self.unread + tunnel.held() - held;
        self.hoarded = self.hoarded + tunnel.hoarded() - hoarded;
        Some(result)
    }

    /// Sends what the tunnel on the stream at `place` has to send, as far as there is room, and ends the stream
    /// if the tunnel has ended.
    pub(super) fn pump(&mut self, transport: &mut Transport, place: usize) {
        loop {
            let free = self.free(transport, place);
            let Some(stream) = self.streams.get_mut(place) else { return };
            let Some(tunnel) = &mut stream.tunnel else { return };
            self.is_due |= tunnel.has_events();
            if tunnel.unsent() == 0 {
                break;
            }
            if free == 0 {
                return self.wait_for_room(place);
            }
            let bytes = tunnel.unsent().min(free).min(self.settings.longest as usize);
            transport.output.write(&frame::header(Kind::Data, 0, stream.id, bytes));
            let (now, output) = (transport.now, &mut transport.output);
            self.with_tunnel(place, |tunnel| tunnel.move_output(now, bytes, output));
            self.spend_window(transport, place, bytes);
            guard::sent(transport, bytes);
        }
        let Some(stream) = self.streams.get_mut(place) else { return };
        let Some(tunnel) = stream.tunnel.as_ref().filter(|it| !it.has_events()) else { return };
        match tunnel.end() {
            TunnelEnd::None => {}
            TunnelEnd::Finished => {
                let header = frame::header(Kind::Data, END_STREAM, stream.id, 0);
                transport.output.write(&header);
                self.answer_ended(transport, place);
            }
            TunnelEnd::Cut(_) if stream.is_reset_told => {
                frame::write_reset(&mut transport.output, stream.id, ErrorCode::Cancel);
                self.past.reset(stream.id);
                self.forget(transport, place);
            }
            TunnelEnd::Cut(reason) => {
                let reason = match reason {
                    CloseReason::Expired(_) => ResetReason::Timeout,
                    _ => ResetReason::Truncated,
                };
                self.close_stream(transport, place, reason, Told::Reset(ErrorCode::Cancel));
            }
        }
    }

    /// The earliest deadline of the tunnels.
    pub(super) fn tunnel_deadline(&mut self, transport: &Transport) -> Tick {
        if self.tunnels == 0 {
            return Tick::NEVER;
        }
        let quiet = self.quiet_deadline(transport);
        let tunnels = self.streams.iter_mut().filter_map(|stream| stream.tunnel.as_mut());
        tunnels.map(|tunnel| tunnel.deadline()).min().unwrap_or(Tick::NEVER).min(quiet)
    }

    /// Acts on the deadlines of tunnels that have passed.
    pub(super) fn tick_tunnels(&mut self, transport: &mut Transport) {
        self.each_tunnel(transport, |tunnel, now| {
            if tunnel.deadline() <= now {
                tunnel.tick(now);
            }
        });
    }

    pub(super) fn drain_tunnels(&mut self, transport: &mut Transport) {
        self.each_tunnel(transport, |tunnel, now| tunnel.drain(now));
    }

    fn each_tunnel(&mut self, transport: &mut Transport, act: impl Fn(&mut dyn Tunnel, Tick)) {
        if self.tunnels == 0 {
            return;
        }
        for place in (0..self.streams.len()).rev() {
            if self.with_tunnel(place, |tunnel| act(tunnel, transport.now)).is_some() {
                self.pump(transport, place);
            }
        }
        self.give_back(transport);
    }

    /// The application acts on the tunnel of a stream.
    pub(crate) fn on_tunnel<T>(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        act: impl FnOnce(&mut dyn Tunnel, Tick) -> Result<T, Misuse>,
    ) -> Result<T, Misuse> {
        let place = self.find(transport, id)?;
        let before = self.unread + self.hoarded;
        let result = self.with_tunnel(place, |tunnel| act(tunnel, transport.now));
        let result = result.ok_or(Misuse::NotWebSocket)?;
        self.pump(transport, place);
        if self.unread + self.hoarded < before {
            self.give_back(transport);
        }
        result
    }

    /// The tunnel of the newest step.
    fn newest_tunnel(&self) -> Option<&dyn Tunnel> {
        let stream = self.streams.find(self.newest).and_then(|place| self.streams.get(place));
        stream.and_then(|stream| stream.tunnel.as_deref())
    }

    /// Whether assembled messages become the application's own.
    pub(crate) fn hands_over(&self) -> bool {
        self.newest_tunnel().is_some_and(|tunnel| tunnel.hands_over())
    }

    /// Whether work is left that waits for neither party.
    pub(crate) fn is_paused(&self) -> bool {
        self.tunnels > 0
            && self.streams.iter().any(|it| it.tunnel.as_ref().is_some_and(|it| it.is_paused()))
    }

    /// A message that was lent as text is not UTF-8.
    pub(crate) fn violated(&mut self, transport: &mut Transport, violation: Violation) {
        let Some(place) = self.streams.find(self.newest) else { return };
        let now = transport.now;
        if self.with_tunnel(place, |tunnel| tunnel.violated(now, violation)).is_some() {
            if let Some(stream) = self.streams.get_mut(place) {
                stream.is_reset_told = true;
            }
            self.pump(transport, place);
            self.give_back(transport);
        }
    }
}
