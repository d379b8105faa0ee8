//! Actions of the application: it answers requests, and asks for their content.

use super::Http1;
use super::response::{self, Framing, Kept};
use super::state::Receiving;
use crate::close::{CloseReason, Misuse, Refusal};
use crate::config::Config;
use crate::event::{Begun, BodyLength, Sent};
use crate::exchange::Sending;
use crate::head::MethodKind;
use crate::stream::StreamId;
use crate::transport::Transport;
use bytes::Bytes;
use core::mem::take;
use core::time::Duration;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Http1 {
    pub(crate) fn inform<'f>(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), Misuse> {
        self.check_owed(transport, stream)?;
        if transport.is_full() {
            return Err(Misuse::Full);
        }
        let (mark, before) = (transport.output.mark(), transport.unsent());
        let limit = transport.config.response_head_limit();
        response::write_interim(&mut transport.output, status, fields, limit)?;
        if before > 0 && transport.unsent() as u64 > transport.config.send_buffer_limit() {
            transport.output.undo(mark);
            return Err(Misuse::Full);
        }
        self.exchange.continue_owed &= status != StatusCode::CONTINUE;
        if !self.exchange.asked.http11 {
            // An HTTP/1.0 client does not know interim answers (RFC 9110 15.2).
            transport.output.undo(mark);
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn respond<'f>(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        length: BodyLength,
    ) -> Result<Begun, Misuse> {
        self.check_owed(transport, stream)?;
        self.check_declared_length(transport)?;
        // Without its 100 the client may send either the body or the next request, so the
        // connection can't be kept.
        let persist = self.framed.keep && !transport.draining && !self.exchange.continue_owed;
        let kept = Kept { persist, announced: announced(&transport.config) };
        let limit = transport.config.response_head_limit();
        let output = &mut transport.output;
        let written =
            response::write_head(output, self.exchange.asked, status, fields, length, kept, limit)?;
        (self.framed.keep, self.framed.framing) = (written.persist, written.framing);
        let Some(left) = written.content else {
            self.answer_ended(transport);
            return Ok(Begun::Complete);
        };
        self.exchange.sending.become_next(Sending::Content(left));
        Ok(Begun::Open)
    }

    /// Answers with a 101 that has all these fields. The connection then leaves HTTP (RFC 9110 7.8).
    pub(crate) fn upgrade<'f>(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        accepted: impl Iterator<Item = (HeaderName, HeaderValue)>,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), Misuse> {
        self.check_owed(transport, stream)?;
        let asked = self.exchange.asked;
        if !asked.http11 || asked.kind != MethodKind::Plain || !self.framed.is_whole() {
            return Err(Misuse::NotUpgradable);
        }
        let limit = transport.config.response_head_limit();
        response::write_switch(&mut transport.output, accepted, fields, limit)
    }

    pub(crate) fn answer<'f>(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        content: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        let length = BodyLength::Known(content.len() as u64);
        if self.respond(transport, stream, status, fields, length)? == Begun::Complete {
            // The answer to a HEAD, a 204 or a 304 has no content.
            content.clear();
            return Ok(Sent::All);
        }
        if content.len() > transport.room() {
            return self.send(transport, stream, content);
        }
        transport.output.push(take(content));
        self.answer_ended(transport);
        Ok(Sent::All)
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
            response::write_content(&mut transport.output, self.framed.framing, piece);
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

    pub(crate) fn finish(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        trailers: Option<&HeaderMap>,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        self.exchange.check_complete()?;
        // Only chunked content can have trailers; elsewhere they may be dropped (RFC 9110 6.5).
        if self.framed.framing == Framing::Chunked {
            let limit = transport.config.response_head_limit();
            response::write_end(&mut transport.output, trailers, limit)?;
        }
        self.answer_ended(transport);
        Ok(())
    }

    pub(crate) fn read_to(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        end: u64,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        if self.receiving != Receiving::Body {
            // No more content follows: End was delivered, or is about to be.
            return Ok(());
        }
        self.check_declared_length(transport)?;
        // If content has arrived already, the client needs no 100 (RFC 9110 10.1.1).
        if self.exchange.grant(end) && transport.held.is_empty() {
            transport.output.write(CONTINUE);
        }
        Ok(())
    }

    /// The application no longer waits for content. The time charged to the peer is void.
    pub(crate) fn cancel_read(
        &mut self,
        transport: &Transport,
        stream: StreamId,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        self.exchange.cancel(transport);
        Ok(())
    }

    /// Bytes of content that were delivered.
    pub(crate) fn received(&self, stream: StreamId) -> u64 {
        if stream == self.stream() { self.exchange.received() } else { 0 }
    }

    pub(crate) fn limit_body(
        &mut self,
        transport: &Transport,
        stream: StreamId,
        limit: Option<u64>,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        self.exchange.limit_content(limit)
    }

    pub(crate) fn limit_body_time(
        &mut self,
        transport: &Transport,
        stream: StreamId,
        time: Option<Duration>,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        self.exchange.limit_content_time(time, transport.now)
    }

    pub(crate) fn limit_response_time(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        time: Option<Duration>,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        self.exchange.check()?;
        transport.limit_response_time(time);
        Ok(())
    }

    /// Ends the exchange and the connection, because the application or the driver gives up.
    #[cold]
    pub(crate) fn give_up(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        reason: CloseReason,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        let answered = self.exchange.sending != Sending::Owed;
        self.end(transport, reason);
        // The caller knows that the request is over, so it needs no reset.
        self.untold = None;
        if answered || reason.status().is_none() {
            transport.close(reason);
        }
        Ok(())
    }

    /// The number of bytes that [`Http1::send`] would take.
    pub(crate) fn room(&self, transport: &Transport, stream: StreamId) -> usize {
        let speaks = self.check(transport, stream).and_then(|()| self.exchange.check_content());
        if speaks.is_ok() { transport.room() } else { 0 }
    }

    /// Fails unless the exchange of that number goes on.
    fn check(&self, transport: &Transport, stream: StreamId) -> Result<(), Misuse> {
        if transport.is_open() && stream == self.stream() {
            self.exchange.check()
        } else {
            Err(Misuse::UnknownStream)
        }
    }

    /// Fails unless the exchange of that number is to be answered.
    pub(super) fn check_owed(&self, transport: &Transport, stream: StreamId) -> Result<(), Misuse> {
        if transport.is_open() && stream == self.stream() {
            self.exchange.check_owed()
        } else {
            Err(Misuse::UnknownStream)
        }
    }

    /// Refuses a declared length above the limit. This happens at the application's first call for the
    /// request, because until then the application may change the limit.
    fn check_declared_length(&mut self, transport: &mut Transport) -> Result<(), Misuse> {
        let left = self.framed.content.left().unwrap_or(0);
        if self.receiving == Receiving::Body && self.exchange.exceeds_limit(left) {
            self.end(transport, CloseReason::Refused(Refusal::ContentTooLarge));
            return Err(Misuse::UnknownStream);
        }
        Ok(())
    }
}

/// The keep-alive seconds that answers announce, if they do. The connection lives a second longer, so
/// that it does not close while a request that is in time is on its way.
fn announced(config: &Config) -> Option<u64> {
    if !config.keep_alive_hint() {
        return None;
    }
    let seconds = config.keep_alive_timeout().as_secs();
    (seconds >= 2).then(|| seconds - 1)
}
