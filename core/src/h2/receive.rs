//! Turns received frames into [`Step`]s.
//!
//! | state | reads | next |
//! |---|---|---|
//! | `Preface` | the client's first bytes | `First` |
//! | `First` | the header of the first frame, which has to be SETTINGS | `Frame` |
//! | `Frame` | a frame other than DATA, whole; or the header of DATA | `Frame`, `Content` |
//! | `Content` | the content of DATA as it comes, and its padding | `Frame` |

use super::Http2;
use super::blocks;
use super::content::DataLeft;
use super::endings::Told;
use super::frame::{self, HEADER, Header, Kind, PADDED, PREFACE};
use super::guard;
use super::schedule::QUANTUM;
use super::streams::{Due, State, Stream, Was};
use crate::close::{CloseReason, Fault, Refusal, ResetReason};
use crate::input::{Input, Span};
use crate::step::{Desk, Place, Step};
use crate::time::Timer;
use crate::transport::Transport;
use core::mem::take;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Preface,
    First,
    Frame,
    Content(DataLeft),
}
/// What [`Http2::step`] is to do next.
pub(super) enum Next {
    Step(Step),
    Again,
    Wait,
}

impl Http2 {
    /// Returns the next step that `input` yields. The caller holds the bytes that are not taken.
    ///
    /// It stays a call of its own: inlined, it would make each step of HTTP/1.1 longer.
    #[inline(never)]
    pub(crate) fn step(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Option<Step> {
        transport.blocked = false;
        if take(&mut desk.resumes) && self.promised > 0 {
            self.take_back();
        }
        if take(&mut self.is_stalled) {
            self.settings.await_ack_anew(transport);
        }
        self.settings.write(transport);
        // A tunnel whose work was paused goes on in the next pull of events.
        self.is_due |= desk.inflatable > 0 && self.is_paused();
        loop {
            if self.is_due
                && let Some(step) = self.take_due(transport, desk)
            {
                return Some(step);
            }
            if self.is_writable
                && let Some(step) = self.take_writable(transport)
            {
                return Some(step);
            }
            if self.is_due {
                // A tunnel has sent something, and tells of room.
                continue;
            }
            if !transport.is_open() {
                transport.discard(input.take_all());
                return None;
            }
            let next = match self.reading {
                Reading::Preface => self.preface(transport, input),
                Reading::First | Reading::Frame => self.frame(transport, input, desk),
                Reading::Content(content) => self.content(transport, input, content),
            };
            match next {
                Ok(Next::Step(step)) => return Some(step),
                Ok(Next::Again) => {}
                Ok(Next::Wait) => {
                    self.give_back(transport);
                    return None;
                }
                Err(fault) => self.end(transport, CloseReason::Fault(fault)),
            }
        }
    }

    // ---- what needs no bytes --------------------------------------------------------------------

    /// Takes what a stream has for the application.
    fn take_due(&mut self, transport: &mut Transport, desk: &mut Desk) -> Option<Step> {
        for place in (0..self.streams.len()).rev() {
            let Some(stream) = self.streams.get_mut(place) else { continue };
            let Some(due) = stream.due() else { continue };
            self.newest = stream.id;
            let id = stream.id;
            if let Due::Tunnel = due {
                match self.take_tunneled(transport, place, desk) {
                    Some(step) => return Some(step),
                    // The tunnel may have ended its stream, which the application is told.
                    None if self.streams.by_id(id).is_some_and(|it| !it.is_alive()) => {
                        return self.take_due(transport, desk);
                    }
                    None => continue,
                }
            }
            return Some(match due {
                Due::Tunnel => continue,
                Due::Reset(_) if stream.is_reset_told => {
                    self.end_told(transport, place);
                    continue;
                }
                Due::Reset(reason) => {
                    self.end_told(transport, place);
                    Step::Reset(reason)
                }
                Due::Content(length) => {
                    if stream.exchange.exceeds_limit(stream.unread.len() as u64) {
                        let refusal = ResetReason::Refused(Refusal::ContentTooLarge);
                        self.refuse_stream(transport, place, refusal);
                        return self.take_due(transport, desk);
                    }
                    if length == stream.unread.len() {
                        desk.whole = take(&mut stream.unread);
                    } else {
                        desk.whole.clear();
                        desk.whole.extend(stream.unread.drain(..length));
                    }
                    stream.exchange.deliver(transport, length);
                    self.unread -= length;
                    self.open_stream(transport, place);
                    Step::Data(Place::Whole)
                }
                Due::End => {
                    stream.is_end_told = true;
                    desk.lines.clear();
                    desk.whole.clear();
                    if let Some(trailers) = stream.trailers.take() {
                        blocks::put(*trailers, desk);
                    }
                    if stream.exchange.is_tunnel {
                        self.tunnel_input_ended(transport, place);
                    }
                    Step::End(Place::Whole)
                }
            });
        }
        self.is_due = false;
        None
    }

    /// The streams that were told of room have had their chance to use it. What they have not used they lose, so
    /// that they hold up nobody.
    fn take_back(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.promised = 0);
        self.promised = 0;
        self.is_writable = self.waiting > 0;
    }

    /// Tells the stream with the best claim that there is room. What streams were promised counts as taken.
    fn take_writable(&mut self, transport: &mut Transport) -> Option<Step> {
        let limit = transport.config.send_buffer_limit() as usize;
        let room = transport.room().saturating_sub(self.promised);
        if self.waiting == 0 || room < limit / 2 || !transport.is_open() {
            self.is_writable = self.waiting > 0 && self.promised > 0;
            return None;
        }
        let place = loop {
            let has_window = self.window > self.promised as i64;
            let Some(place) = self.streams.next_waiting(has_window) else {
                // What is promised and not used goes to others when events are resumed.
                self.is_writable = self.promised > 0;
                return None;
            };
            let stream = self.streams.get_mut(place)?;
            stream.exchange.cut_short = false;
            self.waiting -= 1;
            if stream.tunnel.is_none() {
                break place;
            }
            let id = stream.id;
            self.pump(transport, place);
            let waits = self.streams.by_id(id).is_some_and(|stream| stream.waits_for_room());
            if waits || transport.is_full() {
                // There is no more room on the connection. Whoever makes some says so.
                self.is_writable = false;
                return None;
            }
        };
        let window = self.window - self.promised as i64;
        let stream = self.streams.get_mut(place)?;
        let window = usize::try_from(stream.window.min(window)).unwrap_or(0);
        let is_alone = self.waiting == 0 && self.promised == 0;
        let takes_turns = stream.priority.incremental && !is_alone;
        let share = if takes_turns { QUANTUM } else { room };
        // A head needs no window, but some room.
        stream.promised = share.min(window).max(1);
        self.promised += stream.promised;
        self.newest = stream.id;
        Some(Step::Writable)
    }

    // ---- bytes in -------------------------------------------------------------------------------

    fn preface(&mut self, transport: &mut Transport, input: &mut Input<'_>) -> Result<Next, Fault> {
        input.join(PREFACE.len());
        let bytes = &*input.bytes();
        let length = bytes.len().min(PREFACE.len());
        if bytes.get(..length) != PREFACE.get(..length) {
            return Err(Fault::Preface);
        }
        if length < PREFACE.len() {
            input.part();
            return Ok(self.starved(transport));
        }
        input.take(PREFACE.len());
        input.part();
        self.reading = Reading::First;
        Ok(Next::Again)
    }

    /// No frame is complete.
    pub(super) fn starved(&mut self, transport: &mut Transport) -> Next {
        if !transport.eof {
            return Next::Wait;
        }
        self.input_ended(transport);
        if self.is_due || !transport.is_open() { Next::Again } else { Next::Wait }
    }

    fn frame(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Result<Next, Fault> {
        if transport.is_full() && !input.is_empty() {
            // Frames have to be answered, so no more of them are read until the answers are written.
            transport.blocked = true;
            self.is_stalled = true;
            return Ok(Next::Wait);
        }
        let Some(header) = self.header(input)? else { return Ok(self.starved(transport)) };
        if header.kind == Kind::Data {
            let ahead = HEADER + usize::from(header.has(PADDED));
            if !gather(input, ahead) {
                return Ok(self.starved(transport));
            }
            let padding = match input.bytes().get(HEADER) {
                Some(byte) if header.has(PADDED) => u32::from(*byte),
                _ => 0,
            };
            input.take(ahead);
            input.part();
            return self.data(transport, header, padding);
        }
        let whole = HEADER + header.length as usize;
        if !gather(input, whole) {
            return Ok(self.starved(transport));
        }
        let payload = input.take(whole).skip(HEADER);
        input.part();
        let is_first = self.reading == Reading::First;
        if is_first {
            self.reading = Reading::Frame;
        }
        let next = self.whole_frame(transport, header, payload, input, desk);
        let is_head = is_first || matches!(header.kind, Kind::Headers | Kind::Continuation);
        if is_head && self.block.is_none() {
            // The wait for the rest of a head is over. Other frames don't end it, so that nobody can wait for a
            // head for ever behind them.
            transport.timers.stop(Timer::RequestHead);
        }
        next
    }

    /// The next frame's header, if it is there. Nothing is taken.
    fn header(&self, input: &mut Input<'_>) -> Result<Option<Header>, Fault> {
        if !gather(input, HEADER) {
            return Ok(None);
        }
        let Some(bytes) = input.bytes().first_chunk() else { return Ok(None) };
        let header = Header::read(*bytes)?;
        if self.reading == Reading::First
            && (header.kind != Kind::Settings || header.has(frame::ACK))
        {
            return Err(Fault::Preface);
        }
        let in_order = match &self.block {
            Some(block) => header.kind == Kind::Continuation && header.stream == block.stream,
            None => header.kind != Kind::Continuation,
        };
        if in_order { Ok(Some(header)) } else { Err(Fault::Continuation) }
    }

    /// Acts on a frame other than DATA.
    fn whole_frame(
        &mut self,
        transport: &mut Transport,
        header: Header,
        payload: Span,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Result<Next, Fault> {
        let id = header.stream;
        let payload = &*input.span(payload);
        match header.kind {
            Kind::Headers => return self.headers(transport, header, payload, desk),
            Kind::Continuation => return self.continuation(transport, header, payload, desk),
            Kind::ResetStream => self.reset_by_peer(transport, id)?,
            Kind::Settings => self.take_settings(transport, header, payload)?,
            Kind::Ping => {
                guard::pay(transport, guard::ANSWERED)?;
                self.hear_sporadic(transport);
                if let (false, Some(payload)) = (header.has(frame::ACK), payload.first_chunk()) {
                    frame::write_pong(&mut transport.output, *payload);
                }
            }
            Kind::WindowUpdate => self.window_update(transport, id, frame::number(payload))?,
            Kind::Priority => {
                guard::pay(transport, guard::READ)?;
                let fault = match payload.len() {
                    5 if frame::number(payload) & frame::MOST == id => Some(Fault::Dependency),
                    5 => None,
                    _ => Some(Fault::FrameSize),
                };
                match (fault, self.streams.find(id)) {
                    (None, _) => {}
                    (Some(fault), Some(place)) => self.fault_stream(transport, place, fault)?,
                    (Some(fault), None) if self.past.was(id) == Was::Idle => return Err(fault),
                    (Some(fault), None) => {
                        self.reset_unknown(transport, id, fault.error_code())?;
                    }
                }
            }
            Kind::PriorityUpdate => {
                guard::pay(transport, guard::READ)?;
                let (of, value) = payload.split_at_checked(4).unwrap_or_default();
                let of = frame::number(of) & frame::MOST;
                if of == 0 {
                    // RFC 9218 7.1.
                    return Err(Fault::FrameStream);
                }
                if let Some(stream) = self.streams.by_id(of) {
                    stream.priority = super::streams::Priority::read(value);
                }
            }
            Kind::Data | Kind::GoAway | Kind::PushPromise | Kind::Unknown => {
                guard::pay(transport, guard::READ)?;
            }
        }
        Ok(Next::Again)
    }

    fn reset_by_peer(&mut self, transport: &mut Transport, id: u32) -> Result<(), Fault> {
        match (self.streams.find(id), self.past.was(id)) {
            (Some(place), _) => {
                guard::pay(transport, guard::STREAM)?;
                let is_over = |it: &Stream| it.state == State::HalfClosedLocal && !it.is_alive();
                if self.streams.get(place).is_some_and(is_over) {
                    self.forget(transport, place);
                } else {
                    self.close_stream(transport, place, ResetReason::Cancelled, Told::Nothing);
                }
                Ok(())
            }
            (None, Was::Idle) => Err(Fault::IdleStream),
            (None, _) => guard::pay(transport, guard::READ),
        }
    }

    fn window_update(
        &mut self,
        transport: &mut Transport,
        id: u32,
        more: u32,
    ) -> Result<(), Fault> {
        guard::pay(transport, guard::WINDOW_UPDATE)?;
        let more = more & frame::MOST;
        if id == 0 {
            return if more == 0 { Err(Fault::WindowUpdate) } else { self.widen(more) };
        }
        let Some(place) = self.streams.find(id) else {
            let is_idle = self.past.was(id) == Was::Idle;
            return if is_idle { Err(Fault::IdleStream) } else { Ok(()) };
        };
        if more == 0 {
            return self.fault_stream(transport, place, Fault::WindowUpdate);
        }
        match self.widen_stream(place, more) {
            Ok(()) => Ok(()),
            Err(fault) => self.fault_stream(transport, place, fault),
        }
    }
}

/// Brings `bytes` bytes together at the front of the input. Returns whether they are there.
fn gather(input: &mut Input<'_>, bytes: usize) -> bool {
    if input.bytes().len() < bytes {
        input.join(bytes);
    }
    input.bytes().len() >= bytes
}
