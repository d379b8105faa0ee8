//! Actions of the application: what it answers, and what it asks for.

use super::Http1;
use super::response::{self, Framing, Kept};
use super::state::{Receiving, Sending};
use crate::close::{CloseReason, Misuse, Refusal};
use crate::common::Common;
use crate::config::Config;
use crate::event::{Begun, BodyLength, Sent};
use crate::head::MethodKind;
use crate::stream::StreamId;
use bytes::Bytes;
use core::mem::take;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Http1 {
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
        let (mark, before) = (common.output.mark(), common.unsent());
        let limit = common.config.response_head_limit();
        response::write_interim(&mut common.output, status, fields, limit)?;
        if before > 0 && common.unsent() as u64 > common.config.send_buffer_limit() {
            common.output.undo(mark);
            return Err(Misuse::Full);
        }
        self.exchange.continue_owed &= status != StatusCode::CONTINUE;
        if !self.exchange.asked.http11 {
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
        let persist = self.exchange.keep && !common.draining && !self.exchange.continue_owed;
        let kept = Kept { persist, announced: announced(&common.config) };
        let limit = common.config.response_head_limit();
        let output = &mut common.output;
        let written =
            response::write_head(output, self.exchange.asked, status, fields, length, kept, limit)?;
        self.exchange.keep = written.persist;
        if written.framing == Framing::None {
            self.answer_ended(common);
            return Ok(Begun::Complete);
        }
        self.sending.become_next(Sending::Content(written.framing));
        Ok(Begun::Open)
    }

    /// The answer is a 101 with all of these fields, and what follows is no HTTP (RFC 9110 7.8).
    pub(crate) fn upgrade<'f>(
        &mut self,
        common: &mut Common,
        stream: StreamId,
        accepted: impl Iterator<Item = (HeaderName, HeaderValue)>,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), Misuse> {
        self.check_owed(common, stream)?;
        let is_whole = self.exchange.content.is_complete() && !self.exchange.content.has_trailers();
        if !self.exchange.asked.http11 || self.exchange.asked.kind != MethodKind::Plain || !is_whole
        {
            return Err(Misuse::NotUpgradable);
        }
        let limit = common.config.response_head_limit();
        response::write_switch(&mut common.output, accepted, fields, limit)
    }

    pub(crate) fn answer<'f>(
        &mut self,
        common: &mut Common,
        stream: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        content: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        let length = BodyLength::Known(content.len() as u64);
        if self.respond(common, stream, status, fields, length)? == Begun::Complete {
            // The answer to a HEAD, a 204 or a 304 has no content.
            content.clear();
            return Ok(Sent::All);
        }
        if content.len() > self.free(common) {
            return Ok(Sent::Part);
        }
        common.output.push(take(content));
        self.answer_ended(common);
        Ok(Sent::All)
    }

    pub(crate) fn send(
        &mut self,
        common: &mut Common,
        stream: StreamId,
        data: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        let framing = self.check_content(common, stream)?;
        let taken = self.free(common).min(data.len());
        if let Framing::Length(left) = framing {
            let after = left.checked_sub(data.len() as u64).ok_or(Misuse::TooLong { left })?;
            let after = after + (data.len() - taken) as u64;
            self.sending.become_next(Sending::Content(Framing::Length(after)));
        }
        self.exchange.cut_short |= taken < data.len();
        if taken > 0 {
            response::write_content(&mut common.output, framing, data.split_to(taken));
        }
        Ok(Sent::of(data))
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

    pub(crate) fn read(
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
        if let Some(upload) = &mut self.exchange.upload {
            upload.credit = upload.credit.saturating_add(bytes);
        }
        self.exchange.awaited |= bytes > 0;
        if self.exchange.continue_owed && bytes > 0 && self.sending == Sending::Owed {
            // Content that is here already needs no 100 (RFC 9110 10.1.1).
            if common.held.is_empty() {
                common.output.write(CONTINUE);
            }
            self.exchange.continue_owed = false;
        }
        Ok(())
    }

    /// The application has given up waiting. What it was charged for is void.
    pub(crate) fn cancel_read(&mut self, common: &Common, stream: StreamId) -> Result<(), Misuse> {
        self.check(common, stream)?;
        if let Some(upload) = self.exchange.upload.as_mut().filter(|_| self.exchange.awaited) {
            upload.cancel(common);
            self.exchange.awaited = false;
        }
        Ok(())
    }

    pub(crate) fn limit_body(
        &mut self,
        common: &Common,
        stream: StreamId,
        limit: Option<u64>,
    ) -> Result<(), Misuse> {
        self.check(common, stream)?;
        if self.exchange.content_begun {
            return Err(Misuse::ContentBegun);
        }
        if let Some(upload) = &mut self.exchange.upload {
            upload.limit = limit.unwrap_or(u64::MAX);
        }
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
        self.end(common, reason);
        // Who gives up knows that the request is gone.
        self.reset = None;
        if answered || reason.status().is_none() {
            common.close(reason);
        }
        Ok(())
    }

    /// How many bytes [`Http1::send`] would take.
    pub(crate) fn room(&self, common: &Common, stream: StreamId) -> usize {
        match self.check_content(common, stream) {
            Ok(_) => self.free(common),
            Err(_) => 0,
        }
    }

    fn free(&self, common: &Common) -> usize {
        (common.config.send_buffer_limit() as usize).saturating_sub(common.unsent())
    }

    pub(super) fn has_room(&self, common: &Common) -> bool {
        common.is_open() && common.unsent() as u64 <= common.config.send_buffer_limit() / 2
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
        let left = self.exchange.content.left().unwrap_or(0);
        let exceeds = self.exchange.upload.as_ref().is_some_and(|upload| left > upload.limit);
        if self.receiving == Receiving::Body && exceeds {
            self.end(common, CloseReason::Refused(Refusal::ContentTooLarge));
            return Err(Misuse::UnknownStream);
        }
        Ok(())
    }
}

/// The seconds that answers announce, if they do: the connection lives a second longer, so that a
/// request which comes in time does not meet its close on the way.
fn announced(config: &Config) -> Option<u64> {
    if !config.keep_alive_hint() {
        return None;
    }
    let seconds = config.keep_alive_timeout().as_secs();
    (seconds >= 2).then(|| seconds - 1)
}
