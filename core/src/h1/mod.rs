//! HTTP/1.1: one exchange after the other on a connection (RFC 9112).
//!
//! In: bytes, as [`Step`]s are asked for, and actions of the application. Out: steps, which
//! `connection.rs` turns into events, and bytes in the output. Which timers run follows from the
//! states alone, in [`Http1::settle`].

mod body;
mod grammar;
pub(crate) mod head;
mod response;
pub(crate) mod section;
mod state;
mod trailers;

use crate::Config;
use crate::close::{CloseReason, Misuse, PeerClose, Refusal, ResetReason};
use crate::common::Common;
use crate::event::{Begun, BodyLength, StreamId};
use crate::input::{Input, Span};
use crate::rate::Rate;
use crate::time::{Tick, Timer};
use body::Content;
use bytes::Bytes;
use core::mem::take;
use head::{Framing as ContentFraming, Head, Kind};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use response::{Asked, Framing};
use section::{Limits, Lines, Scan};
use state::{Receiving, Sending};

/// Bytes of empty lines that are skipped before a request (RFC 9112 2.2).
const BLANK: u8 = 8;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What happened, as places in the input.
#[derive(Debug)]
pub(crate) enum Step {
    /// Its head was read.
    Request(Span),
    Data(Span),
    End(Span),
    Writable,
    Reset(ResetReason),
}

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
    asked: Asked,
    content: Content,
    /// How much more content the request may have.
    body_limit: u64,
    /// How much content the application may be given.
    credit: u64,
    /// It has been given none of what it asked for last: it waits.
    awaited: bool,
    /// How much was discarded after an early answer.
    discarded: u64,
    /// The guard over content that was asked for.
    upload: Rate,
    /// The connection is kept after this exchange.
    keep: bool,
    /// The client waits for a 100 (Continue).
    continue_owed: bool,
    /// Some content was delivered, so that its limit is settled.
    content_begun: bool,
    /// `send_data` was cut short.
    cut_short: bool,
    /// To be told to the application.
    reset: Option<ResetReason>,
}

impl Http1 {
    pub(crate) fn new(now: Tick, common: &Common) -> Self {
        Http1 {
            receiving: Receiving::Idle,
            sending: Sending::Idle,
            scan: Scan::default(),
            blank: 0,
            requests: 0,
            asked: Asked { http11: true, kind: Kind::Plain },
            content: Content::Length(0),
            body_limit: 0,
            credit: 0,
            awaited: false,
            discarded: 0,
            upload: Rate::new(common.config.request_body_minimum(), now),
            keep: true,
            continue_owed: false,
            content_begun: false,
            cut_short: false,
            reset: None,
        }
    }

    pub(crate) fn stream(&self) -> StreamId {
        StreamId(self.requests)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    // ---- bytes in -------------------------------------------------------------------------------

    /// The next thing that happened, if there is one in `input`. What is not taken is to be held.
    pub(crate) fn step(
        &mut self,
        common: &mut Common,
        input: &mut Input<'_>,
        lines: &mut Lines,
        head: &mut Head,
    ) -> Option<Step> {
        common.blocked = false;
        loop {
            if let Some(reason) = self.reset.take() {
                return Some(Step::Reset(reason));
            }
            if self.cut_short && self.has_room(common) {
                self.cut_short = false;
                return Some(Step::Writable);
            }
            if !common.is_open() {
                common.discard(input.take_all());
                return None;
            }
            let step = match self.receiving {
                Receiving::Idle => self.begin(common, input, lines, head),
                Receiving::Head => self.head(common, input, lines, head),
                Receiving::Body | Receiving::Discard if self.content.is_complete() => {
                    self.end(common, input, lines)
                }
                Receiving::Body => self.body(common, input),
                Receiving::Discard => self.discard(common, input),
                Receiving::Done | Receiving::Closed => {
                    common.blocked = true;
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
    pub(crate) fn has_events(&self, common: &Common) -> bool {
        let too_large = self.receiving == Receiving::Body && self.content.exceeds(self.body_limit);
        let over = common.eof && self.receiving == Receiving::Idle && common.is_open();
        self.reset.is_some() || (self.cut_short && self.has_room(common)) || too_large || over
    }

    /// Skips empty lines; then a request begins.
    fn begin(
        &mut self,
        common: &mut Common,
        input: &mut Input<'_>,
        lines: &mut Lines,
        head: &mut Head,
    ) -> Next {
        if common.is_full() {
            common.blocked = true;
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
                    return self.refuse_head(common, Refusal::BlankLines);
                }
                Some(b'\n') => return self.refuse_head(common, Refusal::BareCrOrLf),
                Some(_) if expected == b'\n' => {
                    return self.refuse_head(common, Refusal::BareCrOrLf);
                }
                Some(_) => {
                    self.receiving.become_next(Receiving::Head);
                    self.scan = Scan::default();
                    return self.head(common, input, lines, head);
                }
                None => {
                    if common.eof {
                        common.linger(CloseReason::Peer(PeerClose::Done), 0);
                    }
                    return Next::Wait;
                }
            }
        }
    }

    fn head(
        &mut self,
        common: &mut Common,
        input: &mut Input<'_>,
        lines: &mut Lines,
        head: &mut Head,
    ) -> Next {
        let read = self.section(common, input, Limits::of_head, |section, config| {
            head::read(section, config, lines, head)
        });
        match read {
            Ok(Some(span)) => {
                self.begin_exchange(common, head);
                Next::Step(Step::Request(span))
            }
            Ok(None) => Next::Wait,
            Err(refusal) => self.refuse_head(common, refusal),
        }
    }

    fn begin_exchange(&mut self, common: &Common, head: &Head) {
        self.receiving.become_next(Receiving::Body);
        self.sending.become_next(Sending::Owed);
        self.requests += 1;
        self.asked = Asked { http11: head.http11, kind: head.kind };
        self.content = Content::new(head.framing);
        self.scan = Scan::default();
        self.blank = 0;
        self.credit = 0;
        self.awaited = false;
        self.discarded = 0;
        self.body_limit = common.config.request_body_limit().unwrap_or(u64::MAX);
        self.keep = head.persist && self.requests < common.config.requests_per_connection();
        self.continue_owed = head.expects_continue;
        self.content_begun = false;
        self.cut_short = false;
        if head.framing != ContentFraming::Length(0) {
            self.upload = Rate::new(common.config.request_body_minimum(), common.now);
        }
    }

    /// Takes a head or a trailer section, which `read` reads and tells the length of.
    ///
    /// Nearly all have arrived whole and well, and are just read. With any other the search comes
    /// first, which knows what is incomplete, and the limits.
    #[inline(always)]
    fn section(
        &mut self,
        common: &mut Common,
        input: &mut Input<'_>,
        limits: fn(&Config) -> Limits,
        mut read: impl FnMut(&[u8], &Config) -> Result<usize, Refusal>,
    ) -> Result<Option<Span>, Refusal> {
        if self.scan.is_new() {
            let most = limits(&common.config).bytes.0;
            let bytes = &*input.bytes();
            if let Ok(length) = read(bytes.get(..most).unwrap_or(bytes), &common.config) {
                return Ok(Some(input.take(length)));
            }
        }
        let Some(span) = self.search(common, input, limits)? else { return Ok(None) };
        read(input.span(span), &common.config)?;
        Ok(Some(span))
    }

    /// Takes what reaches to the end of a head or of a trailer section.
    #[cold]
    fn search(
        &mut self,
        common: &mut Common,
        input: &mut Input<'_>,
        limits: fn(&Config) -> Limits,
    ) -> Result<Option<Span>, Refusal> {
        let limits = limits(&common.config);
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
        if common.eof {
            self.fail(common, CloseReason::Peer(PeerClose::Truncated));
        }
        Ok(None)
    }

    fn body(&mut self, common: &mut Common, input: &mut Input<'_>) -> Next {
        if self.content.exceeds(self.body_limit) {
            return self.refuse_content(common, Refusal::ContentTooLarge);
        }
        let bytes = input.bytes();
        if bytes.is_empty() {
            if common.eof {
                self.fail(common, CloseReason::Peer(PeerClose::Truncated));
                return Next::Again;
            }
            if !self.awaited {
                self.credit = 0;
            }
            return Next::Wait;
        }
        let decoded = match self.content.decode(bytes, self.credit, self.body_limit, &common.config)
        {
            Ok(decoded) => decoded,
            Err(refusal) => return self.refuse_content(common, refusal),
        };
        if decoded.taken == 0 {
            common.blocked = true;
            return Next::Wait;
        }
        let span = input.take(decoded.taken);
        if decoded.length == 0 {
            return Next::Again;
        }
        self.content_begun = true;
        self.continue_owed = false;
        self.awaited = false;
        self.credit -= decoded.length as u64;
        self.body_limit -= decoded.length as u64;
        self.upload.progress(common.config.request_body_minimum(), decoded.length, common.now);
        Next::Step(Step::Data(span.skip(decoded.start).first(decoded.length)))
    }

    /// The rest of the content of a request that was answered.
    #[cold]
    fn discard(&mut self, common: &mut Common, input: &mut Input<'_>) -> Next {
        let bytes = input.bytes();
        if bytes.is_empty() {
            if common.eof {
                self.fail(common, CloseReason::Peer(PeerClose::Truncated));
            }
            return Next::Wait;
        }
        let most = u64::MAX;
        match self.content.decode(bytes, most, most, &common.config) {
            Ok(decoded) => {
                input.take(decoded.taken);
                self.discarded += decoded.taken as u64;
                if self.discarded > most_discarded(common) {
                    self.fail(common, CloseReason::UnreadContent);
                }
            }
            Err(_) => self.fail(common, CloseReason::UnreadContent),
        }
        Next::Again
    }

    /// The content was taken; what is left is the trailer section of chunked content.
    fn end(&mut self, common: &mut Common, input: &mut Input<'_>, lines: &mut Lines) -> Next {
        let discards = self.receiving == Receiving::Discard;
        let taken = if !self.content.has_trailers() {
            lines.clear();
            Ok(Some(input.take(0)))
        } else if discards {
            self.search(common, input, Limits::of_trailers)
        } else {
            self.section(common, input, Limits::of_trailers, |section, config| {
                trailers::read(section, config, lines)
            })
        };
        let span = match taken {
            Ok(Some(span)) => span,
            Ok(None) if !common.is_open() => return Next::Again,
            Ok(None) => return Next::Wait,
            Err(Refusal::BareCrOrLf) => return self.refuse_content(common, Refusal::BareCrOrLf),
            Err(_) => return self.refuse_content(common, Refusal::Trailers),
        };
        if discards {
            self.exchange_ended(common);
            return Next::Again;
        }
        self.receiving.become_next(Receiving::Done);
        Next::Step(Step::End(span))
    }

    // ---- actions --------------------------------------------------------------------------------

    pub(crate) fn inform<'f>(
        &mut self,
        common: &mut Common,
        stream: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), Misuse> {
        self.check_owed(common, stream)?;
        if common.is_full() {
            return Err(Misuse::Full);
        }
        let mark = common.output.mark();
        let limit = common.config.response_head_limit();
        response::write_interim(&mut common.output, status, fields, limit)?;
        self.continue_owed &= status != StatusCode::CONTINUE;
        if !self.asked.http11 {
            // It doesn't know them (RFC 9110 15.2).
            common.output.undo(mark);
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn respond<'f>(
        &mut self,
        common: &mut Common,
        stream: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        length: BodyLength,
    ) -> Result<Begun, Misuse> {
        self.check_owed(common, stream)?;
        self.check_declared_length(common)?;
        // Who was not told to go on may send the content all the same, or the next request.
        let persist = self.keep && !common.draining && !self.continue_owed;
        let limit = common.config.response_head_limit();
        let output = &mut common.output;
        let written =
            response::write_head(output, self.asked, status, fields, length, persist, limit)?;
        self.keep = written.persist;
        if written.framing == Framing::None {
            self.answer_ended(common);
            return Ok(Begun::Complete);
        }
        self.sending.become_next(Sending::Content(written.framing));
        Ok(Begun::Open)
    }

    pub(crate) fn answer<'f>(
        &mut self,
        common: &mut Common,
        stream: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        content: &mut Bytes,
    ) -> Result<Begun, Misuse> {
        let length = BodyLength::Known(content.len() as u64);
        let begun = self.respond(common, stream, status, fields, length)?;
        if begun == Begun::Open && content.len() <= self.free(common) {
            common.output.push(take(content));
            self.answer_ended(common);
            return Ok(Begun::Complete);
        }
        Ok(begun)
    }

    pub(crate) fn send_data(
        &mut self,
        common: &mut Common,
        stream: StreamId,
        data: &mut Bytes,
    ) -> Result<usize, Misuse> {
        let framing = self.check_content(common, stream)?;
        let taken = self.free(common).min(data.len());
        if let Framing::Length(left) = framing {
            let after = left.checked_sub(data.len() as u64).ok_or(Misuse::TooLong { left })?;
            let after = after + (data.len() - taken) as u64;
            self.sending.become_next(Sending::Content(Framing::Length(after)));
        }
        self.cut_short |= taken < data.len();
        if taken > 0 {
            response::write_content(&mut common.output, framing, data.split_to(taken));
        }
        Ok(taken)
    }

    pub(crate) fn finish(
        &mut self,
        common: &mut Common,
        stream: StreamId,
        trailers: Option<&HeaderMap>,
    ) -> Result<(), Misuse> {
        match self.check_content(common, stream)? {
            Framing::Length(missing) if missing > 0 => return Err(Misuse::TooShort { missing }),
            Framing::Chunked => {
                let limit = common.config.response_head_limit();
                response::write_end(&mut common.output, trailers, limit)?;
            }
            // Without chunks there is no place for trailers, and they may be dropped (RFC 9110 6.5).
            Framing::Length(_) | Framing::UntilClose | Framing::None => {}
        }
        self.answer_ended(common);
        Ok(())
    }

    pub(crate) fn request_data(
        &mut self,
        common: &mut Common,
        stream: StreamId,
        bytes: u64,
    ) -> Result<(), Misuse> {
        self.check(common, stream)?;
        if self.receiving != Receiving::Body {
            // Nothing more will come: End was delivered, or is about to be.
            return Ok(());
        }
        self.check_declared_length(common)?;
        self.credit = self.credit.saturating_add(bytes);
        self.awaited |= bytes > 0;
        if self.continue_owed && bytes > 0 && self.sending == Sending::Owed {
            // Content that is here already needs no 100 (RFC 9110 10.1.1).
            if common.held.is_empty() {
                common.output.write(CONTINUE);
            }
            self.continue_owed = false;
        }
        Ok(())
    }

    pub(crate) fn limit_request_body(
        &mut self,
        common: &Common,
        stream: StreamId,
        limit: Option<u64>,
    ) -> Result<(), Misuse> {
        self.check(common, stream)?;
        if self.content_begun {
            return Err(Misuse::ContentBegun);
        }
        self.body_limit = limit.unwrap_or(u64::MAX);
        Ok(())
    }

    /// The application, or the driver, ends the exchange and the connection with it.
    #[cold]
    pub(crate) fn give_up(
        &mut self,
        common: &mut Common,
        stream: StreamId,
        reason: CloseReason,
    ) -> Result<(), Misuse> {
        self.check(common, stream)?;
        let answered = self.sending != Sending::Owed;
        self.fail(common, reason);
        // Who gives up knows that the request is gone.
        self.reset = None;
        if answered || reason.status().is_none() {
            common.close(reason);
        }
        Ok(())
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Lets the timers follow the states; the last thing that every public call does.
    pub(crate) fn settle(&mut self, common: &mut Common) {
        let (nothing_held, flushed) = (common.held.is_empty(), common.output.is_empty());
        let config = &common.config;
        let wait = match self.receiving {
            Receiving::Idle if nothing_held && flushed && common.draining => {
                Some((Timer::KeepAlive, config.drain_idle_timeout()))
            }
            Receiving::Idle if nothing_held && flushed => {
                Some((Timer::KeepAlive, config.keep_alive_timeout()))
            }
            Receiving::Head => Some((Timer::RequestHead, config.request_head_timeout())),
            // While something is held that the application may have, nobody waits for the peer.
            Receiving::Body if self.awaited && (nothing_held || !common.blocked) && !common.eof => {
                self.upload.resume(common.now);
                common.timers.stop_request();
                return common.timers.set(Timer::RequestBody, self.upload.deadline());
            }
            Receiving::Discard if flushed => Some((Timer::Linger, config.linger_timeout())),
            _ => None,
        };
        self.upload.pause(common.now);
        common.run_request_timer(wait);
    }

    /// A timer has expired.
    #[cold]
    pub(crate) fn expire(&mut self, common: &mut Common, timer: Timer) {
        let reason = CloseReason::Expired(timer);
        match timer {
            Timer::KeepAlive if common.draining => self.close(common, CloseReason::Drained),
            Timer::RequestHead | Timer::RequestBody => self.fail(common, reason),
            Timer::Linger => self.close(common, CloseReason::UnreadContent),
            Timer::KeepAlive | Timer::Response | Timer::Drain => self.close(common, reason),
        }
    }

    /// An idle connection gets a short last chance, in which a request may be on its way.
    pub(crate) fn drain(&mut self, common: &mut Common) {
        if common.timers.is_set(Timer::KeepAlive) {
            common.timers.stop(Timer::KeepAlive);
        }
    }

    // ---- the ends of things ---------------------------------------------------------------------

    /// How many bytes [`Http1::send_data`] would take.
    pub(crate) fn room(&self, common: &Common, stream: StreamId) -> usize {
        match self.check_content(common, stream) {
            Ok(_) => self.free(common),
            Err(_) => 0,
        }
    }

    fn free(&self, common: &Common) -> usize {
        (common.config.send_buffer_limit() as usize).saturating_sub(common.output.unsent())
    }

    fn has_room(&self, common: &Common) -> bool {
        common.is_open() && common.output.unsent() as u64 <= common.config.send_buffer_limit() / 2
    }

    fn check(&self, common: &Common, stream: StreamId) -> Result<(), Misuse> {
        let alive = common.is_open() && matches!(self.sending, Sending::Owed | Sending::Content(_));
        if alive && stream == self.stream() { Ok(()) } else { Err(Misuse::UnknownStream) }
    }

    fn check_owed(&self, common: &Common, stream: StreamId) -> Result<(), Misuse> {
        if self.sending == Sending::Owed && common.is_open() && stream == self.stream() {
            return Ok(());
        }
        self.check(common, stream)?;
        Err(Misuse::AlreadyAnswered)
    }

    fn check_content(&self, common: &Common, stream: StreamId) -> Result<Framing, Misuse> {
        self.check(common, stream)?;
        match self.sending {
            Sending::Content(framing) => Ok(framing),
            _ => Err(Misuse::NotAnswered),
        }
    }

    /// A declared length is refused at the first call after its request, before anything else is
    /// done with it: until then the application may change the limit.
    fn check_declared_length(&mut self, common: &mut Common) -> Result<(), Misuse> {
        let left = self.content.left().unwrap_or(0);
        if self.receiving == Receiving::Body && left > self.body_limit {
            self.refuse_content(common, Refusal::ContentTooLarge);
            return Err(Misuse::UnknownStream);
        }
        Ok(())
    }

    fn answer_ended(&mut self, common: &mut Common) {
        self.sending.become_next(Sending::Done);
        self.cut_short = false;
        if self.receiving != Receiving::Body {
            return self.exchange_ended(common);
        }
        let nothing_left = self.content.is_complete() && !self.content.has_trailers();
        let worth_it = self.content.left().is_none_or(|left| left <= most_discarded(common));
        if nothing_left {
            self.receiving.become_next(Receiving::Done);
            self.exchange_ended(common);
        } else if self.keep && worth_it {
            self.receiving.become_next(Receiving::Discard);
        } else {
            let reason =
                if self.keep { CloseReason::UnreadContent } else { self.end_reason(common) };
            self.fail(common, reason);
        }
    }

    fn exchange_ended(&mut self, common: &mut Common) {
        if !self.keep {
            let reason = self.end_reason(common);
            return self.fail(common, reason);
        }
        self.discarded = 0;
        self.receiving.become_next(Receiving::Idle);
        self.sending.become_next(Sending::Idle);
    }

    fn end_reason(&self, common: &Common) -> CloseReason {
        if common.draining {
            CloseReason::Drained
        } else if self.requests >= common.config.requests_per_connection() {
            CloseReason::RequestLimit
        } else {
            CloseReason::Completed
        }
    }

    #[cold]
    fn refuse_head(&mut self, common: &mut Common, refusal: Refusal) -> Next {
        // Nothing is known yet of who asks for what.
        self.asked = Asked { http11: true, kind: Kind::Plain };
        self.fail(common, CloseReason::Refused(refusal));
        Next::Again
    }

    #[cold]
    fn refuse_content(&mut self, common: &mut Common, refusal: Refusal) -> Next {
        self.fail(common, CloseReason::Refused(refusal));
        Next::Again
    }

    /// Ends the connection at once, whatever it is at.
    #[cold]
    pub(crate) fn close(&mut self, common: &mut Common, reason: CloseReason) {
        common.cut_off |= common.is_open() && matches!(self.sending, Sending::Content(_));
        common.close(reason);
    }

    /// Nothing more is received or sent for `reason`; the peer is told, if it can be.
    #[cold]
    fn fail(&mut self, common: &mut Common, reason: CloseReason) {
        if let (Sending::Idle | Sending::Owed, Some(status)) = (self.sending, reason.status()) {
            let with_content = self.asked.kind != Kind::Head;
            response::write_refusal(&mut common.output, status, reason, with_content);
        }
        let alive = matches!(self.sending, Sending::Owed | Sending::Content(_));
        if alive && self.receiving == Receiving::Body {
            self.reset = match reason {
                CloseReason::Refused(refusal) => Some(ResetReason::Refused(refusal)),
                CloseReason::Expired(_) => Some(ResetReason::Timeout),
                CloseReason::Peer(_) => Some(ResetReason::Truncated),
                _ => None,
            };
        }
        common.cut_off |= matches!(self.sending, Sending::Content(_));
        if self.sending == Sending::Content(Framing::UntilClose) {
            // Its end in good order would look like the content's.
            common.close(reason);
        } else {
            common.linger(reason, self.discarded);
        }
        self.receiving.become_next(Receiving::Closed);
        self.sending.become_next(Sending::Closed);
    }
}

/// What [`Http1::step`] does next.
enum Next {
    Step(Step),
    Again,
    Wait,
}

/// Half of what may be discarded is for saving the connection, the other for closing it well.
fn most_discarded(common: &Common) -> u64 {
    common.config.linger_limit() / 2
}
