//! A tunnel: a connection of HTTP/1.1 that has left HTTP (RFC 9110 7.8, 9.3.6). Both directions carry bytes, without
//! any framing, and each ends by itself.
//!
//! In: received bytes, and the application's actions. Out: [`Step`]s, and bytes in the output. The states of the two
//! directions are in the [`Exchange`]:
//!
//! | direction | open | ended |
//! |---|---|---|
//! | the application's | `sending` is `Content` | `Finished`, or `Done` if the peer's has ended before |
//! | the peer's | there is an `upload` | there is none, and the application was told |
//!
//! The connection ends with the second of the two.

use crate::close::{CloseReason, Expiry, Misuse, PeerClose, ResetReason};
use crate::endings::Ending;
use crate::event::Sent;
use crate::exchange::{Exchange, Sending, Upload};
use crate::input::Input;
use crate::step::{Desk, Place, Step};
use crate::stream::StreamId;
use crate::time::Tick;
use crate::transport::Transport;
use crate::waits::Wait;
use bytes::Bytes;

/// The most memory of a tunnel, apart from buffers.
pub(crate) const MEMORY: usize = size_of::<Tunnel>() + size_of::<Upload>();

#[derive(Debug)]
pub(crate) struct Tunnel {
    stream: StreamId,
    exchange: Exchange,
    /// A reset that the application has not been told of yet.
    untold: Option<ResetReason>,
}

impl Tunnel {
    /// The tunnel that the request of `exchange` becomes.
    pub(super) fn begin(stream: StreamId, mut exchange: Exchange, transport: &Transport) -> Self {
        exchange.begin_tunnel(transport, true);
        Tunnel { stream, exchange, untold: None }
    }

    pub(crate) fn stream(&self) -> StreamId {
        self.stream
    }

    /// The number of requests delivered. The one that became this tunnel was the last.
    pub(crate) fn requests(&self) -> u64 {
        self.stream.as_u64()
    }

    /// A tunnel counts as in use even while no byte passes.
    pub(crate) fn is_idle(&self) -> bool {
        false
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Tunnel>() + self.exchange.upload.as_ref().map_or(0, |_| size_of::<Upload>())
    }

    /// The number of next bytes for which the application has given credit.
    pub(crate) fn passed_on(&self) -> u64 {
        self.exchange.upload.as_ref().map_or(0, |upload| upload.credit())
    }

    // ---- bytes in -------------------------------------------------------------------------------

    /// Returns the next step that `input` yields. The caller holds the bytes that are not taken.
    pub(crate) fn step(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Option<Step> {
        transport.blocked = false;
        if let Some(reason) = self.untold.take() {
            return Some(Step::Reset(reason));
        }
        if self.exchange.cut_short && transport.has_room() {
            self.exchange.cut_short = false;
            return Some(Step::Writable);
        }
        if !transport.is_open() {
            transport.discard(input.take_all());
            return None;
        }
        let credit = self.exchange.upload.as_ref()?.credit();
        let arrived = input.bytes().len();
        if arrived == 0 {
            return if transport.eof { self.input_ended(transport, input, desk) } else { None };
        }
        let taken = credit.min(arrived as u64) as usize;
        if taken == 0 {
            transport.blocked = true;
            return None;
        }
        self.exchange.deliver(transport, taken);
        transport.budget.earn_piece(taken);
        Some(Step::Data(Place::Input(input.take(taken))))
    }

    /// All bytes of the peer were delivered. Over TLS only a close_notify tells an end from a cut.
    fn input_ended(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Option<Step> {
        if transport.peer_close() == PeerClose::Unannounced {
            self.end(transport, CloseReason::Peer(PeerClose::Truncated));
            return self.untold.take().map(Step::Reset);
        }
        self.exchange.upload = None;
        if self.exchange.sending == Sending::Finished {
            self.exchange.sending.become_next(Sending::Done);
            self.complete(transport);
        }
        desk.lines.clear();
        Some(Step::End(Place::Input(input.take(0))))
    }

    /// Whether [`Tunnel::step`] has something to do without new bytes.
    pub(crate) fn has_events(&self, transport: &Transport) -> bool {
        let over = transport.eof && !transport.blocked && self.exchange.upload.is_some();
        self.untold.is_some()
            || (self.exchange.cut_short && transport.has_room())
            || (over && transport.is_open())
    }

    /// Whether held bytes that lacked credit can be taken now.
    pub(crate) fn may_go_on(&self, transport: &Transport) -> bool {
        !transport.held.is_empty() && self.passed_on() > 0
    }

    // ---- actions --------------------------------------------------------------------------------

    /// Gives credit up to byte `end` of those that the peer sends.
    pub(crate) fn read_to(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        end: u64,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        self.exchange.grant(end);
        Ok(())
    }

    /// The number of bytes that were delivered.
    pub(crate) fn received(&self, stream: StreamId) -> u64 {
        if stream == self.stream { self.exchange.received() } else { 0 }
    }

    /// The application no longer waits for the peer.
    pub(crate) fn cancel_read(
        &mut self,
        transport: &Transport,
        stream: StreamId,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        self.exchange.cancel(transport);
        Ok(())
    }

    pub(crate) fn send(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        data: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        self.check(transport, stream)?;
        let piece = self.exchange.take_content(data, transport.room())?;
        if !piece.is_empty() {
            transport.output.push(piece);
            self.exchange.moved();
        }
        Ok(Sent::of(data))
    }

    pub(crate) fn await_room(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        self.exchange.check_content()?;
        self.exchange.cut_short = true;
        Ok(())
    }

    /// The number of bytes that [`Tunnel::send`] would take.
    pub(crate) fn room(&self, transport: &Transport, stream: StreamId) -> usize {
        let speaks = self.check(transport, stream).and_then(|()| self.exchange.check_content());
        if speaks.is_ok() { transport.room() } else { 0 }
    }

    /// Ends the application's direction.
    pub(crate) fn finish(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        match self.exchange.finish_tunnel()? {
            true => transport.finish(),
            false => self.complete(transport),
        }
        Ok(())
    }

    /// Ends both directions. What is unsent is still sent, and what still comes is discarded.
    pub(crate) fn close_tunnel(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        self.exchange.sending.become_next(Sending::Done);
        self.complete(transport);
        Ok(())
    }

    /// The application or the driver gives up: the socket is reset.
    #[cold]
    pub(crate) fn give_up(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        reason: CloseReason,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        self.cut(transport, reason);
        // The caller knows.
        self.untold = None;
        Ok(())
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Starts and stops the timers as the states require. Unsent bytes have a guard of their own.
    pub(crate) fn settle(&mut self, transport: &mut Transport) {
        let flushed = transport.is_flushed();
        let has_all = transport.held.is_empty() || !transport.blocked;
        let mut guarded = Tick::NEVER;
        if let Some(upload) = &mut self.exchange.upload {
            match upload.is_awaited() && has_all && flushed && !transport.eof {
                true => guarded = upload.wait(transport),
                false => upload.rest(transport.now),
            }
        }
        let is_gone = transport.is_half_closed() && flushed;
        transport.wait(if is_gone { Wait::GonePeer } else { Wait::Tunnel }, guarded);
    }

    /// Bytes of an incomplete TLS record arrived, so the peer is not silent.
    #[cold]
    pub(crate) fn trickle(&mut self, _: &Transport) {
        self.exchange.moved();
    }

    /// Acts on a deadline that has passed.
    #[cold]
    pub(crate) fn expire(&mut self, transport: &mut Transport, expiry: Expiry) {
        self.end(transport, CloseReason::Expired(expiry));
    }

    /// A drain gives the tunnel its time. How to end is for the application to know.
    pub(crate) fn drain(&mut self, _: &mut Transport) {}

    // ---- the end --------------------------------------------------------------------------------

    /// Both directions have ended, or nobody takes what the peer still sends.
    fn complete(&mut self, transport: &mut Transport) {
        self.exchange.upload = None;
        self.exchange.cut_short = false;
        let reason = if transport.draining { CloseReason::Drained } else { CloseReason::Completed };
        transport.end_since();
        transport.linger(reason, 0);
    }

    /// Ends the connection for `reason`. An orderly close would look like the end of the application's bytes, so the
    /// socket is reset, unless that end was sent before. An alert is still sent.
    #[cold]
    pub(crate) fn end(&mut self, transport: &mut Transport, reason: CloseReason) {
        match (Ending::of(reason), reason) {
            (Ending::Refuse, CloseReason::Tls(_)) => {
                self.stop(transport, reason);
                transport.end_since();
                transport.linger(reason, 0);
            }
            _ => self.cut(transport, reason),
        }
    }

    /// Ends the connection at once, in any state.
    #[cold]
    pub(crate) fn cut(&mut self, transport: &mut Transport, reason: CloseReason) {
        self.stop(transport, reason);
        transport.close(reason);
    }

    /// Stops both directions for `reason`.
    fn stop(&mut self, transport: &mut Transport, reason: CloseReason) {
        if !transport.is_open() {
            return;
        }
        transport.cut_off |= matches!(self.exchange.sending, Sending::Content(_));
        // Once the peer's direction has ended, the end of the connection tells enough.
        let is_open = self.exchange.upload.is_some();
        self.untold = match reason {
            _ if !is_open => None,
            CloseReason::Expired(_) => Some(ResetReason::Timeout),
            CloseReason::Peer(PeerClose::Reset) => Some(ResetReason::Cancelled),
            CloseReason::Peer(_) | CloseReason::Tls(_) => Some(ResetReason::Truncated),
            _ => None,
        };
        (self.exchange.upload, self.exchange.cut_short) = (None, false);
        self.exchange.sending.become_next(Sending::Closed);
    }

    /// Fails unless this is the tunnel's stream, and a direction is open.
    fn check(&self, transport: &Transport, stream: StreamId) -> Result<(), Misuse> {
        if transport.is_open() && stream == self.stream {
            self.exchange.check()
        } else {
            Err(Misuse::UnknownStream)
        }
    }
}

impl super::Http1 {
    /// Answers with the head that makes the request a tunnel, which takes over the connection.
    pub(crate) fn accept_tunnel<'f>(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        status: http::StatusCode,
        fields: impl IntoIterator<Item = (&'f http::HeaderName, &'f http::HeaderValue)>,
    ) -> Result<Tunnel, Misuse> {
        self.check_owed(transport, stream)?;
        if !self.framed.is_whole() {
            return Err(Misuse::NotUpgradable);
        }
        let limit = transport.config.response_head_limit();
        let asked = self.exchange.asked;
        super::response::write_tunnel(&mut transport.output, asked, status, fields, limit)?;
        let exchange = core::mem::replace(&mut self.exchange, Exchange::none());
        Ok(Tunnel::begin(stream, exchange, transport))
    }
}
