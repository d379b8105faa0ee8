//! HTTP/1.1: one exchange after the other on a connection (RFC 9112).
//!
//! In: bytes, as [`Step`](crate::step::Step)s are asked for, and actions of the application. Out: steps, which
//! `connection.rs` turns into events, and bytes in the output. Which timers run follows from the
//! states alone, in [`Http1::settle`]. `receive` is what the bytes do to the states, `actions` what the
//! application does; both end in what is here.

mod actions;
mod body;
mod exchange;
mod grammar;
pub(crate) mod head;
mod receive;
mod response;
pub(crate) mod section;
mod state;
pub(crate) mod target;
mod trailers;
mod upload;

use crate::close::{CloseReason, ResetReason};
use crate::endings::Ending;
use crate::stream::StreamId;
use crate::time::{Tick, Timer};
use crate::transport::Transport;
use crate::waits::Wait;
use exchange::Exchange;
use response::AnswerFraming;
use section::Scan;
use state::{Receiving, Sending};
use upload::Upload;

/// The most memory that a request with content needs beside buffers.
pub(crate) const MEMORY: usize = size_of::<Upload>();

#[derive(Debug)]
pub(crate) struct Http1 {
    receiving: Receiving,
    sending: Sending,
    /// Where the search for the end of the head, or of the trailers, stands.
    scan: Scan,
    /// Bytes of empty lines seen before the request.
    blank: u8,
    /// The number of the newest request: its stream.
    requests: u64,
    /// The request in progress and its answer.
    exchange: Exchange,
    /// To be told to the application.
    reset: Option<ResetReason>,
}

impl Http1 {
    pub(crate) fn new() -> Self {
        Http1 {
            receiving: Receiving::Idle,
            sending: Sending::Idle,
            scan: Scan::default(),
            blank: 0,
            requests: 0,
            exchange: Exchange::none(),
            reset: None,
        }
    }

    pub(crate) fn stream(&self) -> StreamId {
        StreamId(self.requests)
    }

    /// How many requests were delivered.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// How many of the next bytes are content that the application waits for.
    pub(crate) fn passed_on(&self) -> u64 {
        match self.receiving {
            Receiving::Body => self
                .exchange
                .upload
                .as_ref()
                .map_or(0, |upload| upload.credit.min(self.exchange.content.next())),
            _ => 0,
        }
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Lets the timers follow the states.
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

    /// The row of the table of waits that the states stand in.
    fn waits_for(&self, transport: &Transport) -> Wait {
        let (nothing_held, flushed) = (transport.held.is_empty(), transport.is_flushed());
        match self.receiving {
            // A record that has begun may carry a head. An empty record is no request: the wait for a
            // request then goes on from its beginning.
            Receiving::Idle if transport.has_partial_record() => Wait::RequestHead,
            Receiving::Idle if nothing_held && flushed => Wait::Request,
            Receiving::Head => Wait::RequestHead,
            // Bytes that are held and that the application may have are not the peer's to send.
            Receiving::Body
                if self.exchange.awaited
                    && (nothing_held || !transport.blocked)
                    && !transport.eof =>
            {
                Wait::RequestBody
            }
            Receiving::Discard if flushed => Wait::UnreadContent,
            _ if transport.is_half_closed() && flushed && self.is_owed() => Wait::GonePeer,
            _ => Wait::Application,
        }
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        if self.exchange.upload.is_some() { size_of::<Upload>() } else { 0 }
    }

    /// The application owes an answer, or the rest of one.
    fn is_owed(&self) -> bool {
        matches!(self.sending, Sending::Owed | Sending::Content(_))
    }

    /// Bytes of an incomplete TLS record arrived: the peer is not silent.
    #[cold]
    pub(crate) fn trickle(&mut self, transport: &mut Transport) {
        if let Some(upload) = self.exchange.upload.as_mut().filter(|_| self.exchange.awaited) {
            upload.hear(transport);
        }
        if self.receiving == Receiving::Discard {
            transport.renew_linger();
        }
    }

    /// A timer has expired.
    #[cold]
    pub(crate) fn expire(&mut self, transport: &mut Transport, timer: Timer) {
        match timer {
            Timer::KeepAlive if transport.draining => self.leave(transport, CloseReason::Drained),
            // The peer goes on sending what nobody wants, or has stopped in the middle of it.
            Timer::Linger => self.cut(transport, CloseReason::UnreadContent),
            _ => self.end(transport, CloseReason::Expired(timer)),
        }
    }

    /// An idle connection gets a short last chance, in which a request may be on its way.
    pub(crate) fn drain(&mut self, transport: &mut Transport) {
        transport.end_since();
        transport.timers.stop(Timer::KeepAlive);
    }

    // ---- the ends of things ---------------------------------------------------------------------

    fn answer_ended(&mut self, transport: &mut Transport) {
        self.sending.become_next(Sending::Done);
        self.exchange.cut_short = false;
        if self.receiving != Receiving::Body {
            return self.exchange_ended(transport);
        }
        let nothing_left =
            self.exchange.content.is_complete() && !self.exchange.content.has_trailers();
        let worth_it =
            self.exchange.content.left().is_none_or(|left| left <= most_discarded(transport));
        if nothing_left {
            self.receiving.become_next(Receiving::Done);
            self.exchange_ended(transport);
        } else if self.exchange.keep && worth_it {
            self.exchange.upload = None;
            self.receiving.become_next(Receiving::Discard);
        } else {
            let reason = if self.exchange.keep {
                CloseReason::UnreadContent
            } else {
                self.end_reason(transport)
            };
            self.end(transport, reason);
        }
    }

    fn exchange_ended(&mut self, transport: &mut Transport) {
        if !self.exchange.keep {
            let reason = self.end_reason(transport);
            return self.end(transport, reason);
        }
        self.exchange = Exchange::none();
        transport.end_since();
        self.receiving.become_next(Receiving::Idle);
        self.sending.become_next(Sending::Idle);
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

    /// Nothing of a request has arrived, and none is being answered.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.receiving == Receiving::Idle
    }

    /// Ends the connection for `reason`, as the table of endings says.
    #[cold]
    pub(crate) fn end(&mut self, transport: &mut Transport, reason: CloseReason) {
        match Ending::of(reason) {
            Ending::Finish | Ending::Refuse => self.fail(transport, reason),
            // Within a handshake nothing was said yet that could be ended in good order.
            Ending::Leave if transport.is_handshaking() => self.cut(transport, reason),
            Ending::Leave => self.leave(transport, reason),
            Ending::Cut => self.cut(transport, reason),
        }
    }

    /// Ends an idle connection: nothing is left to discard, so it is over once our close_notify, if
    /// there is TLS, has gone.
    #[cold]
    fn leave(&mut self, transport: &mut Transport, reason: CloseReason) {
        transport.end_since();
        transport.linger(reason, u64::MAX);
        self.receiving.become_next(Receiving::Closed);
        self.exchange.upload = None;
        self.sending.become_next(Sending::Closed);
    }

    /// Ends the connection at once, whatever it is at.
    #[cold]
    pub(crate) fn cut(&mut self, transport: &mut Transport, reason: CloseReason) {
        transport.cut_off |= transport.is_open() && matches!(self.sending, Sending::Content(_));
        self.exchange.upload = None;
        transport.close(reason);
    }

    /// Nothing more is received or sent for `reason`; the peer is told, if it can be.
    #[cold]
    fn fail(&mut self, transport: &mut Transport, reason: CloseReason) {
        if let (Sending::Idle | Sending::Owed, Some(status)) = (self.sending, reason.status()) {
            if self.sending == Sending::Idle {
                // No request began an answer, and the time of the last one may be over.
                transport.begin_answer();
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
        if self.is_owed() && self.receiving == Receiving::Body {
            self.reset = match reason {
                CloseReason::Refused(refusal) => Some(ResetReason::Refused(refusal)),
                CloseReason::Expired(_) => Some(ResetReason::Timeout),
                CloseReason::Peer(_) | CloseReason::Tls(_) => Some(ResetReason::Truncated),
                _ => None,
            };
        }
        transport.cut_off |= matches!(self.sending, Sending::Content(_));
        if self.receiving != Receiving::Discard {
            // What was discarded until here counts towards the time for lingering.
            transport.end_since();
        }
        if self.sending == Sending::Content(AnswerFraming::UntilClose) {
            // Its end in good order would look like the content's.
            transport.close(reason);
        } else {
            transport.linger(reason, self.exchange.discarded);
        }
        self.receiving.become_next(Receiving::Closed);
        self.exchange.upload = None;
        self.sending.become_next(Sending::Closed);
    }
}

/// Unread content up to this length is discarded to keep the connection; a new one costs less than more.
const WORTH_DISCARDING: u64 = 512 * 1024;

/// How much is discarded to keep the connection: half of what may be is for closing it well.
fn most_discarded(transport: &Transport) -> u64 {
    transport.config.linger_limit().map_or(WORTH_DISCARDING, |most| WORTH_DISCARDING.min(most / 2))
}
