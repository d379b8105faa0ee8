//! HTTP/1.1: one exchange after the other on a connection (RFC 9112).
//!
//! In: received bytes, and the application's actions. Out: [`Step`](crate::step::Step)s, which
//! `connection.rs` turns into events, and bytes in the output. `receive` handles the bytes, and
//! `actions` the application's calls. This module ends exchanges and connections. The states alone
//! decide which timers run: see [`Http1::settle`].

mod actions;
mod body;
mod framed;
pub(crate) mod head;
mod receive;
mod response;
pub(crate) mod section;
mod state;
mod trailers;
pub(crate) mod tunnel;

use crate::close::{CloseReason, Expiry, ResetReason};
use crate::endings::Ending;
use crate::exchange::{Exchange, Sending, Upload};
use crate::stream::StreamId;
use crate::time::{Tick, Timer};
use crate::transport::Transport;
use crate::waits::Wait;
use framed::Framed;
use response::Framing;
use section::Scan;
use state::Receiving;

/// What ended a request without the application.
#[derive(Clone, Copy, Debug)]
enum Untold {
    /// The application has the request.
    Reset(ResetReason),
    /// The request was not delivered. The reason is that of the connection's end.
    Refused,
}

#[derive(Debug)]
pub(crate) struct Http1 {
    receiving: Receiving,
    /// The search for the end of the head, or of the trailers.
    scan: Scan,
    /// Bytes of empty lines that were skipped before the request.
    blank: u8,
    /// The number of requests so far. The newest request's stream has this number.
    requests: u64,
    /// The request in progress and its answer.
    exchange: Exchange,
    /// How both are framed.
    framed: Framed,
    /// What the application has not been told of yet.
    untold: Option<Untold>,
}

impl Http1 {
    pub(crate) fn new() -> Self {
        Http1 {
            receiving: Receiving::Idle,
            scan: Scan::default(),
            blank: 0,
            requests: 0,
            exchange: Exchange::none(),
            framed: Framed::none(),
            untold: None,
        }
    }

    /// Whether no byte was read as HTTP/1.1 yet, so that the client may still choose another protocol.
    #[inline]
    pub(crate) fn is_untouched(&self) -> bool {
        self.requests == 0
            && matches!(self.receiving, Receiving::Idle | Receiving::Head)
            && self.scan.is_new()
            && self.blank == 0
    }

    /// Some of the first head has come, and is not looked at yet.
    pub(crate) fn begin_head(&mut self) {
        if self.receiving == Receiving::Idle {
            self.receiving.become_next(Receiving::Head);
        }
    }

    pub(crate) fn stream(&self) -> StreamId {
        StreamId(self.requests)
    }

    /// The number of requests that were delivered.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// The number of next bytes that are content for which the application has given credit.
    pub(crate) fn passed_on(&self) -> u64 {
        match self.receiving {
            Receiving::Body => self
                .exchange
                .upload
                .as_ref()
                .map_or(0, |upload| upload.credit().min(self.framed.content.next())),
            _ => 0,
        }
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Starts and stops the timers as the states require.
    pub(crate) fn settle(&mut self, transport: &mut Transport) {
        let wait = self.waits_for(transport);
        let mut guarded = Tick::NEVER;
        if let Some(upload) = &mut self.exchange.upload {
            match wait {
                Wait::RequestBody => guarded = upload.wait(transport),
                _ => upload.rest(transport.now),
            }
        }
        transport.wait(wait, guarded);
    }

    /// The row in the table of waits that applies to the current states.
    fn waits_for(&self, transport: &Transport) -> Wait {
        let (nothing_held, flushed) = (transport.held.is_empty(), transport.is_flushed());
        match self.receiving {
            // An incomplete record may carry a head. If the record turns out empty, the wait for a
            // request continues with its old deadline.
            Receiving::Idle if transport.has_partial_record() => Wait::RequestHead,
            Receiving::Idle if nothing_held && flushed => Wait::Request,
            Receiving::Head => Wait::RequestHead,
            // If held bytes wait for credit, we wait for the application and not for the peer.
            Receiving::Body
                if self.exchange.is_awaited()
                    && (nothing_held || !transport.blocked)
                    && !transport.eof =>
            {
                Wait::RequestBody
            }
            Receiving::Discard if flushed => Wait::UnreadContent,
            _ if transport.is_half_closed() && flushed && self.exchange.is_owed() => Wait::GonePeer,
            _ => Wait::Application,
        }
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        if self.exchange.upload.is_some() { size_of::<Upload>() } else { 0 }
    }

    /// Bytes of an incomplete TLS record arrived: the peer is not silent.
    #[cold]
    pub(crate) fn trickle(&mut self, transport: &mut Transport) {
        if let Some(upload) = self.exchange.upload.as_mut().filter(|it| it.is_awaited()) {
            upload.hear(transport);
        }
        if self.receiving == Receiving::Discard {
            transport.renew_linger();
        }
    }

    /// Acts on a timer that expired.
    #[cold]
    pub(crate) fn expire(&mut self, transport: &mut Transport, expiry: Expiry) {
        match expiry {
            Expiry::KeepAlive if transport.draining => self.leave(transport, CloseReason::Drained),
            _ => self.end(transport, CloseReason::Expired(expiry)),
        }
    }

    /// Starts to drain. An idle connection stays open for a short time: a request may be on its way.
    pub(crate) fn drain(&mut self, transport: &mut Transport) {
        transport.end_since();
        transport.timers.stop(Timer::KeepAlive);
    }

    // ---- ends of exchanges and of the connection ------------------------------------------------

    fn answer_ended(&mut self, transport: &mut Transport) {
        self.exchange.sending.become_next(Sending::Done);
        self.exchange.cut_short = false;
        if self.receiving != Receiving::Body {
            return self.exchange_ended(transport);
        }
        let Framed { content, keep, .. } = &self.framed;
        let worth_it = content.left().is_none_or(|left| left <= most_discarded(transport));
        if self.framed.is_whole() {
            self.receiving.become_next(Receiving::Done);
            self.exchange_ended(transport);
        } else if *keep && worth_it {
            self.exchange.upload = None;
            self.receiving.become_next(Receiving::Discard);
        } else {
            let reason =
                if *keep { CloseReason::UnreadContent } else { self.end_reason(transport) };
            self.end(transport, reason);
        }
    }

    fn exchange_ended(&mut self, transport: &mut Transport) {
        if !self.framed.keep {
            let reason = self.end_reason(transport);
            return self.end(transport, reason);
        }
        (self.exchange, self.framed) = (Exchange::none(), Framed::none());
        transport.end_since();
        self.receiving.become_next(Receiving::Idle);
    }

    fn end_reason(&self, transport: &Transport) -> CloseReason {
        if transport.draining {
            CloseReason::Drained
        } else if self.requests >= transport.config.requests_per_connection() {
            CloseReason::RequestLimit
        } else {
            CloseReason::Completed
        }
    }

    /// Whether no byte of a request has arrived, and no request is being answered.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.receiving == Receiving::Idle
    }

    /// Ends the connection for `reason`, with the ending that [`Ending::of`] gives.
    #[cold]
    pub(crate) fn end(&mut self, transport: &mut Transport, reason: CloseReason) {
        match Ending::of(reason) {
            Ending::Finish | Ending::Refuse => self.fail(transport, reason),
            // During a handshake there is no session yet that could be closed in an orderly way.
            Ending::Leave if transport.is_handshaking() => self.cut(transport, reason),
            Ending::Leave => self.leave(transport, reason),
            Ending::Cut => self.cut(transport, reason),
        }
    }

    /// Ends an idle connection. There is nothing to discard, so the connection closes as soon as our
    /// close_notify is sent, or at once without TLS.
    #[cold]
    fn leave(&mut self, transport: &mut Transport, reason: CloseReason) {
        transport.end_since();
        transport.linger(reason, u64::MAX);
        self.receiving.become_next(Receiving::Closed);
        self.exchange.upload = None;
        self.exchange.sending.become_next(Sending::Closed);
    }

    /// Ends the connection at once, in any state.
    #[cold]
    pub(crate) fn cut(&mut self, transport: &mut Transport, reason: CloseReason) {
        transport.cut_off |=
            transport.is_open() && matches!(self.exchange.sending, Sending::Content(_));
        self.exchange.upload = None;
        transport.close(reason);
    }

    /// Stops receiving and sending for `reason`. The peer gets an error answer if none was begun.
    #[cold]
    fn fail(&mut self, transport: &mut Transport, reason: CloseReason) {
        if let (Sending::Idle | Sending::Owed, Some(status)) =
            (self.exchange.sending, reason.status())
        {
            if self.exchange.sending == Sending::Idle {
                // There is no request yet, and the last answer's deadline may have passed.
                transport.begin_answer();
                self.untold = Some(Untold::Refused);
            }
            let date = transport.wall_clock();
            response::write_refusal(
                &mut transport.output,
                self.exchange.asked,
                status,
                reason,
                date,
            );
        }
        if self.exchange.is_owed() && self.receiving == Receiving::Body {
            let reset = match reason {
                CloseReason::Refused(refusal) => Some(ResetReason::Refused(refusal)),
                CloseReason::Expired(_) => Some(ResetReason::Timeout),
                CloseReason::Peer(_) | CloseReason::Tls(_) => Some(ResetReason::Truncated),
                _ => None,
            };
            self.untold = reset.map(Untold::Reset);
        }
        transport.cut_off |= matches!(self.exchange.sending, Sending::Content(_));
        if self.receiving != Receiving::Discard {
            // Only the time spent discarding content counts towards the time for lingering.
            transport.end_since();
        }
        let has_content = matches!(self.exchange.sending, Sending::Content(_));
        if has_content && self.framed.framing == Framing::UntilClose {
            // An orderly close would look like the end of the content, so cut the connection.
            transport.close(reason);
        } else {
            transport.linger(reason, self.framed.discarded.into());
            transport.keep_held(matches!(self.untold, Some(Untold::Refused)));
        }
        self.receiving.become_next(Receiving::Closed);
        self.exchange.upload = None;
        self.exchange.sending.become_next(Sending::Closed);
    }
}

/// Unread content up to this length is discarded to keep the connection. Beyond it, a new connection
/// costs less.
const WORTH_DISCARDING: u64 = 512 * 1024;

/// The most content that is discarded to keep the connection. At least half of `linger_limit` stays
/// for an orderly close.
fn most_discarded(transport: &Transport) -> u64 {
    transport.config.linger_limit().map_or(WORTH_DISCARDING, |most| WORTH_DISCARDING.min(most / 2))
}
