//! Turns received bytes into [`Step`]s, one request after the other.

use super::framed::Framed;
use super::head;
use super::section::{Limits, Scan};
use super::state::Receiving;
use super::trailers;
use super::{Http1, Untold, most_discarded};
use crate::close::{CloseReason, PeerClose, Refusal};
use crate::config::Config;
use crate::exchange::Exchange;
use crate::head::Head;
use crate::input::{Input, Span};
use crate::step::{Desk, Place, Step};
use crate::transport::Transport;

/// The most bytes of empty lines that are skipped before a request (RFC 9112 2.2).
const BLANK: u8 = 8;

/// What [`Http1::step`] is to do next.
enum Next {
    Step(Step),
    Again,
    Wait,
}

impl Http1 {
    /// Returns the next step that `input` yields. The caller holds the bytes that are not taken.
    pub(crate) fn step(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Option<Step> {
        transport.blocked = false;
        loop {
            if let Some(untold) = self.untold.take() {
                match tell(untold, transport, input, desk) {
                    Some(step) => return Some(step),
                    None => continue,
                }
            }
            if self.exchange.cut_short && transport.has_room() {
                self.exchange.cut_short = false;
                return Some(Step::Writable);
            }
            if !transport.is_open() {
                transport.discard(input.take_all());
                return None;
            }
            let step = match self.receiving {
                Receiving::Idle => self.begin(transport, input, desk),
                Receiving::Head => self.head(transport, input, desk),
                Receiving::Body | Receiving::Discard if self.framed.content.is_complete() => {
                    self.content_end(transport, input, desk)
                }
                Receiving::Body => self.body(transport, input),
                Receiving::Discard => self.discard(transport, input),
                Receiving::Done | Receiving::Closed => {
                    transport.blocked = true;
                    Next::Wait
                }
            };
            match step {
                Next::Step(step) => return Some(step),
                Next::Again => {}
                Next::Wait => return None,
            }
        }
    }

    /// Whether [`Http1::step`] has something to do without new bytes.
    #[inline(always)]
    pub(crate) fn has_events(&self, transport: &Transport) -> bool {
        let too_large = self.receiving == Receiving::Body && self.is_too_large();
        let idle = self.receiving == Receiving::Idle && transport.is_open() && !transport.is_full();
        let over = transport.eof && idle;
        self.untold.is_some()
            || (self.exchange.cut_short && transport.has_room())
            || too_large
            || over
    }

    /// Whether [`Http1::step`] can go on with held bytes. An incomplete head waits for the peer, and
    /// content waits for credit. The next request waits for the end of the answer, and then for room.
    #[inline(always)]
    pub(crate) fn may_go_on(&self, transport: &Transport) -> bool {
        !transport.held.is_empty()
            && match self.receiving {
                Receiving::Idle => !transport.is_full(),
                Receiving::Body => {
                    !self.framed.content.is_complete()
                        && self.exchange.upload.as_ref().is_some_and(|upload| upload.credit() > 0)
                }
                Receiving::Discard => !self.framed.content.is_complete(),
                Receiving::Head | Receiving::Done | Receiving::Closed => false,
            }
    }

    /// Skips empty lines, and begins a request.
    fn begin(&mut self, transport: &mut Transport, input: &mut Input<'_>, desk: &mut Desk) -> Next {
        if transport.is_full() {
            transport.blocked = true;
            return Next::Wait;
        }
        loop {
            let expected = if self.blank.is_multiple_of(2) { b'\r' } else { b'\n' };
            match input.bytes().first() {
                Some(byte) if *byte == expected && self.blank < BLANK => {
                    input.take(1);
                    self.blank += 1;
                }
                Some(b'\r' | b'\n') if self.blank >= BLANK => {
                    return self.refuse_head(transport, Refusal::BlankLines, &[], desk);
                }
                Some(b'\n') => {
                    return self.refuse_head(transport, Refusal::BareCrOrLf, &[], desk);
                }
                Some(_) if expected == b'\n' => {
                    return self.refuse_head(transport, Refusal::BareCrOrLf, &[], desk);
                }
                Some(_) => {
                    self.receiving.become_next(Receiving::Head);
                    self.scan = Scan::default();
                    return self.head(transport, input, desk);
                }
                None => {
                    if transport.eof {
                        self.end(transport, CloseReason::Peer(transport.peer_close()));
                    }
                    return Next::Wait;
                }
            }
        }
    }

    fn head(&mut self, transport: &mut Transport, input: &mut Input<'_>, desk: &mut Desk) -> Next {
        let Desk { lines, head, whole: told, .. } = desk;
        let read = self.section(transport, input, Limits::of_head, |section, config| {
            head::read(section, config, lines, head, told)
        });
        match read {
            Ok(Some(span)) => {
                transport.budget.earn(span.len());
                self.begin_exchange(transport, head);
                Next::Step(Step::Request(Place::Input(span)))
            }
            // The input may have ended.
            Ok(None) if self.untold.is_some() => Next::Again,
            Ok(None) => Next::Wait,
            Err((refusal, at)) => {
                let unit = match at {
                    Some(span) => input.span(span),
                    None => input.bytes(),
                };
                self.refuse_head(transport, refusal, unit, desk)
            }
        }
    }

    fn begin_exchange(&mut self, transport: &mut Transport, head: &Head) {
        // The wait for this request is over; the wait for the next one gets a fresh deadline.
        transport.timers.stop_waits();
        transport.end_since();
        self.receiving.become_next(Receiving::Body);
        self.requests += 1;
        self.scan = Scan::default();
        self.blank = 0;
        (self.exchange, self.framed) = (Exchange::new(head, transport), Framed::new(head));
        self.framed.keep &= self.requests < transport.config.requests_per_connection();
        transport.begin_answer();
        if transport.draining && !transport.is_timed_drain() {
            // The connection drains because of its age: this request is its last.
            transport.begin_timed_drain();
        }
    }

    /// Takes a head or a trailer section; `read` parses it and returns its length.
    ///
    /// Nearly all sections arrive whole and valid, so `read` is tried first. If it fails, the search
    /// decides whether the section is incomplete or exceeds a limit. A section that is refused is still the next
    /// of the input, or was taken if its place is told.
    #[inline(always)]
    fn section(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        limits: fn(&Config) -> Limits,
        mut read: impl FnMut(&[u8], &Config) -> Result<usize, Refusal>,
    ) -> Result<Option<Span>, (Refusal, Option<Span>)> {
        if self.scan.is_new() {
            let most = limits(&transport.config).bytes.0;
            let bytes = &*input.bytes();
            if let Ok(length) = read(bytes.get(..most).unwrap_or(bytes), &transport.config) {
                return Ok(Some(input.take(length)));
            }
        }
        let found = self.search(transport, input, limits).map_err(|refusal| (refusal, None))?;
        let Some(span) = found else { return Ok(None) };
        match read(input.span(span), &transport.config) {
            Ok(_) => Ok(Some(span)),
            Err(refusal) => Err((refusal, Some(span))),
        }
    }

    /// Searches for the end of a head or a trailer section, and takes the bytes up to it.
    #[cold]
    fn search(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        limits: fn(&Config) -> Limits,
    ) -> Result<Option<Span>, Refusal> {
        let limits = limits(&transport.config);
        loop {
            if let Some(length) = self.scan.find_end(input.bytes(), &limits)? {
                let span = input.take(length);
                input.part();
                return Ok(Some(span));
            }
            if !input.join(limits.bytes.0) {
                break;
            }
        }
        if transport.eof {
            self.end(transport, CloseReason::Peer(PeerClose::Truncated));
        }
        Ok(None)
    }

    /// Whether the declared length, or the current chunk's size, exceeds the limit of the content.
    #[inline(always)]
    fn is_too_large(&self) -> bool {
        self.exchange.exceeds_limit(self.framed.content.next())
    }

    fn body(&mut self, transport: &mut Transport, input: &mut Input<'_>) -> Next {
        if self.is_too_large() {
            return self.refuse(transport, Refusal::ContentTooLarge);
        }
        let bytes = input.bytes();
        if bytes.is_empty() {
            if transport.eof {
                self.end(transport, CloseReason::Peer(PeerClose::Truncated));
                return Next::Again;
            }
            return Next::Wait;
        }
        let Some(upload) = &mut self.exchange.upload else { return Next::Wait };
        let decoded = match self.framed.content.decode(
            bytes,
            upload.credit(),
            upload.limit,
            &transport.config,
        ) {
            Ok(decoded) => decoded,
            Err(refusal) => return self.refuse(transport, refusal),
        };
        if decoded.taken == 0 {
            transport.blocked = true;
            return Next::Wait;
        }
        let span = input.take(decoded.taken);
        if decoded.length == 0 {
            return Next::Again;
        }
        self.exchange.deliver(transport, decoded.length);
        transport.budget.earn_piece(decoded.length);
        let content = span.skip(decoded.start).first(decoded.length);
        Next::Step(Step::Data(Place::Input(content)))
    }

    /// Discards the rest of the content after an early answer.
    #[cold]
    fn discard(&mut self, transport: &mut Transport, input: &mut Input<'_>) -> Next {
        let bytes = input.bytes();
        if bytes.is_empty() {
            if transport.eof {
                self.end(transport, CloseReason::Peer(PeerClose::Truncated));
            }
            return Next::Wait;
        }
        let most = u64::MAX;
        match self.framed.content.decode(bytes, most, most, &transport.config) {
            Ok(decoded) => {
                input.take(decoded.taken);
                self.framed.discarded = self.framed.discarded.saturating_add(decoded.taken as u32);
                transport.budget.earn_piece(decoded.length);
                transport.renew_linger();
                if u64::from(self.framed.discarded) > most_discarded(transport) {
                    self.end(transport, CloseReason::UnreadContent);
                }
            }
            Err(_) => self.end(transport, CloseReason::UnreadContent),
        }
        Next::Again
    }

    /// Ends the content, and takes the trailer section of chunked content. Discarded trailers are
    /// checked too: bytes that another parser takes for a request must not pass as a trailer.
    fn content_end(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Next {
        let lines = &mut desk.lines;
        let taken = if self.framed.content.has_trailers() {
            self.section(transport, input, Limits::of_trailers, |section, config| {
                trailers::read(section, config, lines)
            })
        } else {
            lines.clear();
            Ok(Some(input.take(0)))
        };
        let span = match taken {
            Ok(Some(span)) => span,
            Ok(None) if !transport.is_open() => return Next::Again,
            Ok(None) => return Next::Wait,
            Err((Refusal::BareCrOrLf, _)) => return self.refuse(transport, Refusal::BareCrOrLf),
            Err(_) => return self.refuse(transport, Refusal::Trailers),
        };
        if self.receiving == Receiving::Discard {
            self.exchange_ended(transport);
            return Next::Again;
        }
        self.receiving.become_next(Receiving::Done);
        Next::Step(Step::End(Place::Input(span)))
    }

    #[cold]
    fn refuse(&mut self, transport: &mut Transport, refusal: Refusal) -> Next {
        self.end(transport, CloseReason::Refused(refusal));
        Next::Again
    }

    /// Refuses a request that was not delivered; `unit` has come of it.
    #[cold]
    fn refuse_head(
        &mut self,
        transport: &mut Transport,
        refusal: Refusal,
        unit: &[u8],
        desk: &mut Desk,
    ) -> Next {
        let reason = CloseReason::Refused(refusal);
        self.end(transport, reason);
        self.untold = None;
        put_line(transport, unit, desk);
        Next::Step(Step::Refused(reason))
    }
}

/// The step that tells the application of an end. The input begins with what has come of a request that was not
/// delivered.
#[cold]
fn tell(
    untold: Untold,
    transport: &mut Transport,
    input: &mut Input<'_>,
    desk: &mut Desk,
) -> Option<Step> {
    match untold {
        Untold::Reset(reason) => Some(Step::Reset(reason)),
        Untold::Refused => {
            put_line(transport, input.bytes(), desk);
            transport.end_reason().map(Step::Refused)
        }
    }
}

/// Puts the request line that `unit` begins with on the desk.
fn put_line(transport: &mut Transport, unit: &[u8], desk: &mut Desk) {
    transport.keep_held(false);
    let line = Limits::of_head(&transport.config).first_line_of(unit);
    desk.head = head::places(line);
    desk.whole.clear();
    desk.whole.extend_from_slice(line);
}
