//! How a stream ends, and how the connection does (RFC 9113 5.4, 6.8).
//!
//! | a stream ends | the client is sent | the application is told |
//! |---|---|---|
//! | its answer is complete | nothing; if the rest of the request is discarded in vain, RST_STREAM of NO_ERROR | nothing: it said so |
//! | the client has reset it | nothing | `Cancelled` |
//! | a request is refused, or its content comes too slowly | the error status if no answer has begun, then as above | `Refused`, `Timeout` |
//! | the client breaks a rule that concerns the stream | RST_STREAM with the fault's code | `Fault` |
//! | the client does not open the window for the answer | RST_STREAM of CANCEL | `Unread` |
//! | the connection ends | GOAWAY | `Truncated`, `Timeout` or `Fault` |
//! | nothing passes through a tunnel | RST_STREAM of CANCEL | `Timeout` |
//! | the application gives up | RST_STREAM of INTERNAL_ERROR; on a tunnel CONNECT_ERROR | nothing: it said so |
//!
//! A connection that drains, or has had all its requests, sends two GOAWAYs: the first one says that it will end,
//! and takes all streams that are on their way. After `drain_idle_timeout` the second one names the last stream
//! that is answered.

use super::Http2;
use super::frame::{self, MOST};
use super::guard;
use super::response;
use super::streams::{Moves, State, Stream};
use crate::close::{CloseReason, ErrorCode, Fault, Refusal, ResetReason};
use crate::endings::Ending;
use crate::exchange::Sending;
use crate::time::{Tick, Timer};
use crate::transport::Transport;

/// The most bytes that are discarded after a fault, so that GOAWAY arrives: as many as a client that keeps to the
/// windows may have on their way.
const DISCARDED: u64 = 1 << 20;

/// What the client was told of the connection's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goaway {
    None,
    /// It will end, for this reason. The last stream is named at this tick.
    Warned(Tick, CloseReason),
    /// Streams after this one are ignored. The connection ends with the last stream, for this reason.
    Last(u32, CloseReason),
}

/// What the client is told of a stream's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing: it has reset the stream itself, or the connection ends.
    Nothing,
    Reset(ErrorCode),
    /// A whole answer. The rest of the request is discarded.
    Answer,
}

impl Goaway {
    /// Until when streams are still accepted after the first GOAWAY.
    pub(super) fn deadline(self) -> Tick {
        match self {
            Goaway::Warned(until, _) => until,
            Goaway::None | Goaway::Last(..) => Tick::NEVER,
        }
    }
}

impl Http2 {
    // ---- ends of streams ------------------------------------------------------------------------

    /// The answer on the stream at `place` is complete.
    pub(super) fn answer_ended(&mut self, transport: &mut Transport, place: usize) {
        guard::answered(transport);
        let Some(stream) = self.streams.get_mut(place) else { return };
        stream.exchange.sending.become_next(Sending::Done);
        match stream.state.next(Moves::Answered) {
            Ok(next @ State::HalfClosedLocal) => {
                stream.state = next;
                self.release(transport, place);
                self.begin_discarding(transport, place);
            }
            _ => self.forget(transport, place),
        }
    }

    /// Ends the stream at `place` for `reason`, which the application is told.
    pub(super) fn close_stream(
        &mut self,
        transport: &mut Transport,
        place: usize,
        reason: ResetReason,
        told: Told,
    ) {
        let Some(stream) = self.streams.get_mut(place).filter(|it| it.is_alive()) else { return };
        let is_open = stream.state == State::Open;
        if let Ok(next) = stream.state.next(Moves::Reset(reason)) {
            stream.state = next;
        }
        stream.exchange.sending.become_next(Sending::Closed);
        self.is_due = true;
        match told {
            Told::Nothing => {}
            Told::Answer if !is_open => {}
            Told::Answer => self.begin_discarding(transport, place),
            Told::Reset(code) => {
                frame::write_reset(&mut transport.output, stream.id, code);
                self.past.reset(stream.id);
            }
        }
        self.release(transport, place);
    }

    /// The application has been told of the end of the stream at `place`.
    pub(super) fn end_told(&mut self, transport: &mut Transport, place: usize) {
        match self.streams.get_mut(place) {
            Some(stream) if stream.is_discarding() && transport.is_open() => {
                stream.state = State::HalfClosedLocal;
                self.open_stream(transport, place);
            }
            _ => self.forget(transport, place),
        }
    }

    /// Frees what the stream at `place` holds, since nothing more is sent or delivered on it.
    pub(super) fn release(&mut self, transport: &mut Transport, place: usize) {
        self.uncount(place);
        let Some(stream) = self.streams.get_mut(place) else { return };
        (stream.exchange.cut_short, stream.exchange.upload) = (false, None);
        (stream.guard, stream.time) = (None, None);
        (stream.trailers, stream.tunnel) = (None, None);
        (stream.unread, stream.promised) = (Vec::new(), 0);
        stream.exchange.is_tunnel = false;
        self.give_back(transport);
    }

    /// Takes what the stream at `place` holds off the connection's counts. Returns whether it holds anything
    /// that keeps windows closed.
    fn uncount(&mut self, place: usize) -> bool {
        let Some(stream) = self.streams.get(place) else { return false };
        let (waiting, hoarded) = (stream.waiting_content(), stream.hoarded());
        self.waiting -= u32::from(stream.exchange.cut_short);
        self.promised -= stream.promised;
        self.tunnels -= u32::from(stream.has_left_http());
        self.unread -= waiting;
        self.hoarded -= hoarded;
        waiting > 0 || hoarded > 0
    }

    /// The rest of the request at `place` is discarded, so that the client gets the answer.
    pub(super) fn begin_discarding(&mut self, transport: &mut Transport, place: usize) {
        let (now, config) = (transport.now, &transport.config);
        if let Some(stream) = self.streams.get_mut(place) {
            stream.discarding =
                [config.linger_timeout(), config.linger_silence()].map(|it| now.after(it));
        }
        self.is_discarding = true;
        self.open_stream(transport, place);
    }

    /// The client has broken a rule that concerns the stream at `place` alone.
    pub(super) fn fault_stream(
        &mut self,
        transport: &mut Transport,
        place: usize,
        fault: Fault,
    ) -> Result<(), Fault> {
        guard::pay(transport, guard::STREAM)?;
        let code = fault.error_code();
        match self.streams.get(place) {
            Some(stream) if stream.state == State::HalfClosedLocal && !stream.is_alive() => {
                frame::write_reset(&mut transport.output, stream.id, code);
                self.past.reset(stream.id);
                self.forget(transport, place);
            }
            _ => {
                let told = Told::Reset(code);
                self.close_stream(transport, place, ResetReason::Fault(fault), told);
            }
        }
        Ok(())
    }

    /// Resets a stream that is not in the map.
    pub(super) fn reset_unknown(
        &mut self,
        transport: &mut Transport,
        id: u32,
        code: ErrorCode,
    ) -> Result<(), Fault> {
        guard::pay(transport, guard::STREAM)?;
        frame::write_reset(&mut transport.output, id, code);
        self.past.reset(id);
        Ok(())
    }

    /// Refuses the request at `place`: it is answered if no answer has begun.
    pub(super) fn refuse_stream(
        &mut self,
        transport: &mut Transport,
        place: usize,
        reason: ResetReason,
    ) {
        let told = match reason {
            ResetReason::Refused(refusal) => CloseReason::Refused(refusal),
            _ => CloseReason::Expired(crate::close::Expiry::RequestBody),
        };
        let told = self.tell_status(transport, place, told);
        self.close_stream(transport, place, reason, told);
    }

    /// Answers the request at `place` with the status of `reason`, if no answer has begun.
    fn tell_status(
        &mut self,
        transport: &mut Transport,
        place: usize,
        reason: CloseReason,
    ) -> Told {
        let window = self.open_for(place);
        let Some(stream) = self.streams.get(place) else { return Told::Nothing };
        let (Sending::Owed, Some(status)) = (stream.exchange.sending, reason.status()) else {
            return Told::Reset(ErrorCode::Cancel);
        };
        let (id, asked) = (stream.id, stream.exchange.asked);
        let refusal = response::Refused { asked, status, reason, window };
        let sent = response::write_refusal(transport, &mut self.encoder, id, refusal);
        self.window -= sent as i64;
        Told::Answer
    }

    /// Refuses a request whose stream has not begun.
    pub(super) fn refuse_new(
        &mut self,
        transport: &mut Transport,
        id: u32,
        refusal: Refusal,
        is_whole: bool,
    ) -> Result<(), Fault> {
        guard::pay(transport, guard::STREAM)?;
        let window = self.window.min(self.settings.their_window);
        let reason = CloseReason::Refused(refusal);
        let refused = response::Refused {
            asked: Default::default(),
            status: refusal.status(),
            reason,
            window: usize::try_from(window).unwrap_or(0),
        };
        let sent = response::write_refusal(transport, &mut self.encoder, id, refused);
        self.window -= sent as i64;
        if !is_whole {
            frame::write_reset(&mut transport.output, id, ErrorCode::NoError);
            self.past.reset(id);
        }
        Ok(())
    }

    /// The application gives up on the stream at `place`.
    pub(super) fn give_up_stream(
        &mut self,
        transport: &mut Transport,
        place: usize,
        reason: CloseReason,
    ) {
        let is_tunnel = self.streams.get(place).is_some_and(|it| it.exchange.is_tunnel);
        let told = match reason {
            CloseReason::Refused(_) => self.tell_status(transport, place, reason),
            _ if is_tunnel => Told::Reset(ErrorCode::ConnectError),
            _ => Told::Reset(ErrorCode::InternalError),
        };
        self.close_stream(transport, place, ResetReason::Cancelled, told);
        // The caller knows.
        self.end_told(transport, place);
    }

    /// Removes the stream at `place`, whose end nobody has to be told.
    pub(super) fn forget(&mut self, transport: &mut Transport, place: usize) {
        let gives_back = self.uncount(place);
        if self.streams.remove(place).is_none() {
            return;
        }
        if gives_back {
            self.give_back(transport);
        }
        if self.streams.is_empty()
            && let Goaway::Last(_, reason) = self.goaway
        {
            self.end(transport, reason);
        }
    }

    // ---- deadlines of streams -------------------------------------------------------------------

    /// Ends the streams whose content comes too slowly.
    #[cold]
    pub(super) fn expire_content(&mut self, transport: &mut Transport) {
        for place in (0..self.streams.len()).rev() {
            let Some(stream) = self.streams.get_mut(place) else { continue };
            let waits = stream.state == State::Open && stream.exchange.is_awaited();
            let upload = stream.exchange.upload.as_mut().filter(|_| waits);
            if upload.is_some_and(|upload| upload.wait(transport) <= transport.now) {
                self.refuse_stream(transport, place, ResetReason::Timeout);
            }
        }
    }

    /// The earliest deadline of the streams whose content is discarded.
    pub(super) fn discarding_deadline(&mut self) -> Tick {
        if !self.is_discarding {
            return Tick::NEVER;
        }
        let discarding = self.streams.iter().filter(|stream| stream.is_discarding());
        self.is_discarding = discarding.clone().next().is_some();
        // Before the application is told of the end, nothing waits for the client.
        let waiting = discarding.filter(|stream| stream.state == State::HalfClosedLocal);
        waiting.flat_map(|stream| stream.discarding).min().unwrap_or(Tick::NEVER)
    }

    /// Ends the streams whose window stays closed, or whose content does not end, and names the last stream of
    /// a connection that drains.
    #[cold]
    pub(crate) fn expire_streams(&mut self, transport: &mut Transport) {
        if self.ack_deadline() <= transport.now {
            // Only the earlier one of the two timers was running.
            return self.end(transport, CloseReason::Fault(Fault::SettingsTimeout));
        }
        if let Goaway::Warned(until, reason) = self.goaway
            && until <= transport.now
        {
            self.name_last(transport, reason);
        }
        self.tick_tunnels(transport);
        self.expire_quiet(transport);
        for place in (0..self.streams.len()).rev() {
            let Some(stream) = self.streams.get(place) else { continue };
            if self.has_waited_in_vain(transport, place) {
                let told = Told::Reset(ErrorCode::Cancel);
                self.close_stream(transport, place, ResetReason::Unread, told);
            } else if stream.state == State::HalfClosedLocal
                && stream.discarding.iter().any(|until| *until <= transport.now)
            {
                frame::write_reset(&mut transport.output, stream.id, ErrorCode::NoError);
                self.past.reset(stream.id);
                self.forget(transport, place);
            }
        }
    }

    // ---- ends of the connection -----------------------------------------------------------------

    /// Tells the client that the connection will end.
    pub(crate) fn drain(&mut self, transport: &mut Transport) {
        transport.end_since();
        transport.timers.stop(Timer::KeepAlive);
        let is_first = self.goaway == Goaway::None;
        if is_first {
            self.warn(transport, CloseReason::Drained);
        }
        // The client may have been warned for another reason, which is none for a tunnel to end.
        if is_first || transport.draining {
            self.drain_tunnels(transport);
        }
    }

    /// Tells the client that the connection will end for `reason`, with the first GOAWAY.
    fn warn(&mut self, transport: &mut Transport, reason: CloseReason) {
        self.settings.write(transport);
        frame::write_goaway(&mut transport.output, MOST, ErrorCode::NoError, "");
        let until = transport.now.after(transport.config.drain_idle_timeout());
        self.goaway = Goaway::Warned(until, reason);
    }

    /// A request has come. After the last one that the connection may have, more are answered only if they may
    /// have been on their way.
    pub(super) fn count_request(&mut self, transport: &mut Transport) {
        self.requests += 1;
        let most = transport.config.requests_per_connection();
        let on_their_way = transport.config.http2_concurrent_streams();
        if self.requests >= most && self.goaway == Goaway::None {
            self.warn(transport, CloseReason::RequestLimit);
        } else if self.requests >= most.saturating_add(on_their_way) {
            self.name_last(transport, CloseReason::RequestLimit);
        }
    }

    /// Names the last stream that is answered. The connection ends with it, for `reason`.
    pub(super) fn name_last(&mut self, transport: &mut Transport, reason: CloseReason) {
        if matches!(self.goaway, Goaway::Last(..)) || !transport.is_open() {
            return;
        }
        let last = self.past.last;
        frame::write_goaway(&mut transport.output, last, ErrorCode::NoError, reason.label());
        self.goaway = Goaway::Last(last, reason);
        if self.streams.is_empty() {
            self.end(transport, reason);
        }
    }

    /// Whether the client was told that the connection ends for `reason`.
    fn has_said_so(&self, reason: CloseReason) -> bool {
        matches!(self.goaway, Goaway::Last(_, said) if said == reason)
    }

    /// Ends the connection for `reason`, with the ending that [`Ending::of`] gives.
    #[cold]
    pub(crate) fn end(&mut self, transport: &mut Transport, reason: CloseReason) {
        let discarded = match Ending::of(reason) {
            Ending::Cut => return self.cut(transport, reason),
            _ if !transport.is_open() => return,
            // Who breaks the rules need not be heard for long.
            _ if matches!(reason, CloseReason::Fault(_)) => u64::MAX - DISCARDED,
            Ending::Finish | Ending::Refuse => 0,
            Ending::Leave => u64::MAX,
        };
        self.settings.write(transport);
        let (last, code) = (self.past.last, reason.error_code());
        if !self.has_said_so(reason) {
            frame::write_goaway(&mut transport.output, last, code, reason.label());
        }
        transport.end_since();
        transport.linger(reason, discarded);
        self.close_all(transport, reason);
    }

    /// Ends the connection at once, in any state.
    #[cold]
    pub(crate) fn cut(&mut self, transport: &mut Transport, reason: CloseReason) {
        self.close_all(transport, reason);
        transport.close(reason);
    }

    fn close_all(&mut self, transport: &mut Transport, reason: CloseReason) {
        let reason = match reason {
            CloseReason::Fault(fault) => ResetReason::Fault(fault),
            CloseReason::Expired(_) => ResetReason::Timeout,
            _ => ResetReason::Truncated,
        };
        for place in (0..self.streams.len()).rev() {
            self.close_stream(transport, place, reason, Told::Nothing);
            self.forget_discarding(transport, place);
        }
        self.block = None;
    }

    /// Removes the stream at `place` if only the rest of its content is awaited.
    fn forget_discarding(&mut self, transport: &mut Transport, place: usize) {
        if self.streams.get(place).is_some_and(|it| it.state == State::HalfClosedLocal) {
            self.forget(transport, place);
        }
    }

    /// The input has ended: requests that are not whole never will be.
    pub(super) fn input_ended(&mut self, transport: &mut Transport) {
        for place in (0..self.streams.len()).rev() {
            let may_send = |it: &Stream| it.is_alive() && it.state != State::HalfClosedRemote;
            if self.streams.get(place).is_some_and(may_send) {
                self.close_stream(transport, place, ResetReason::Truncated, Told::Nothing);
            }
            self.forget_discarding(transport, place);
        }
        if self.streams.is_empty() {
            self.end(transport, CloseReason::Peer(transport.peer_close()));
        }
    }
}
