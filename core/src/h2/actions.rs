//! Actions of the application on a stream: it answers requests, and asks for their content.

use super::frame::{HEADER, LONGEST};
use super::response::{self, Begins};
use super::streams::State;
use super::{Http2, guard};
use crate::close::{CloseReason, Misuse, Refusal, ResetReason};
use crate::event::{Begun, BodyLength, Sent};
use crate::exchange::{Left, Pace, Sending};
use crate::stream::StreamId;
use crate::transport::Transport;
use bytes::Bytes;
use core::mem::take;
use core::time::Duration;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

impl Http2 {
    // ---- the answer -----------------------------------------------------------------------------

    pub(crate) fn inform<'f>(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), Misuse> {
        let place = self.find_owed(transport, id)?;
        if transport.is_full() {
            return Err(Misuse::Full);
        }
        let limit = transport.config.response_head_limit();
        let number = self.number(place);
        let Transport { output, .. } = transport;
        response::write_interim(output, &mut self.encoder, number, status, fields, limit)?;
        if let Some(stream) = self.streams.get_mut(place) {
            stream.exchange.continue_owed &= status != StatusCode::CONTINUE;
        }
        Ok(())
    }

    pub(crate) fn respond<'f>(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        length: BodyLength,
    ) -> Result<Begun, Misuse> {
        let (begun, _) = self.begin_answer(transport, id, status, fields, length, false)?;
        Ok(begun)
    }

    pub(crate) fn answer<'f>(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        content: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        let length = BodyLength::Known(content.len() as u64);
        let (begun, place) =
            self.begin_answer(transport, id, status, fields, length, content.is_empty())?;
        if begun == Begun::Complete {
            // The answer to a HEAD, a 204 or a 304 has no content.
            content.clear();
            return Ok(Sent::All);
        }
        if content.len() > self.free(transport, place) {
            return self.send(transport, id, content);
        }
        self.write_content(transport, place, take(content), true);
        self.answer_ended(transport, place);
        Ok(Sent::All)
    }

    /// Writes the head of an answer. `ends`: the stream ends with it if the content is empty.
    fn begin_answer<'f>(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        length: BodyLength,
        ends: bool,
    ) -> Result<(Begun, usize), Misuse> {
        let place = self.find_owed(transport, id)?;
        self.check_declared_length(transport, place)?;
        if transport.is_full() {
            self.wait_for_room(place);
            return Err(Misuse::Full);
        }
        let stream = self.streams.get(place).ok_or(Misuse::UnknownStream)?;
        let begins = Begins { asked: stream.exchange.asked, status, length, ends };
        let limit = transport.config.response_head_limit();
        let (output, number) = (&mut transport.output, stream.id);
        let written =
            response::write_head(output, &mut self.encoder, number, begins, fields, limit)?;
        if written.closes {
            self.drain(transport);
        }
        let Some(left) = written.content else {
            self.answer_ended(transport, place);
            return Ok((Begun::Complete, place));
        };
        if let Some(stream) = self.streams.get_mut(place) {
            stream.exchange.sending.become_next(Sending::Content(left));
            if let Some(upload) = &mut stream.exchange.upload {
                // Content that still comes is one side of a conversation.
                upload.pace = Pace::Sporadic;
            }
        }
        Ok((Begun::Open, place))
    }

    pub(crate) fn send(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        data: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        let place = self.find_request(transport, id)?;
        let free = self.free(transport, place);
        let stream = self.streams.get_mut(place).ok_or(Misuse::UnknownStream)?;
        let waited = take(&mut stream.exchange.cut_short);
        self.waiting -= u32::from(waited);
        let piece = stream.exchange.take_content(data, free);
        if piece.is_err() {
            stream.exchange.cut_short = waited;
            self.waiting += u32::from(waited);
        }
        let piece = piece?;
        stream.exchange.moved();
        let used = piece.len().min(stream.promised);
        (stream.promised, self.promised) = (stream.promised - used, self.promised - used);
        let waits = take(&mut stream.exchange.cut_short);
        if !piece.is_empty() {
            self.write_content(transport, place, piece, false);
        }
        if waits {
            self.wait_for_room(place);
        }
        Ok(Sent::of(data))
    }

    pub(crate) fn await_room(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
    ) -> Result<(), Misuse> {
        let place = self.find(transport, id)?;
        let stream = self.streams.get(place).ok_or(Misuse::UnknownStream)?;
        if stream.tunnel.is_some() {
            return self.on_tunnel(transport, id, |tunnel, now| tunnel.await_room(now));
        }
        stream.exchange.check_content()?;
        self.wait_for_room(place);
        Ok(())
    }

    pub(crate) fn finish(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        trailers: Option<&HeaderMap>,
    ) -> Result<(), Misuse> {
        let place = self.find_request(transport, id)?;
        let stream = self.streams.get(place).ok_or(Misuse::UnknownStream)?;
        if stream.exchange.is_tunnel {
            return self.finish_tunnel(transport, place);
        }
        stream.exchange.check_complete()?;
        let (limit, number) = (transport.config.response_head_limit(), stream.id);
        let output = &mut transport.output;
        response::write_end(output, &mut self.encoder, number, trailers, limit)?;
        self.answer_ended(transport, place);
        Ok(())
    }

    /// The number of bytes that [`Http2::send`] would take.
    pub(crate) fn room(&self, transport: &Transport, id: StreamId) -> usize {
        let Ok(place) = self.find(transport, id) else { return 0 };
        if let Some(tunnel) = self.streams.get(place).and_then(|it| it.tunnel.as_ref()) {
            return tunnel.room();
        }
        let speaks = self.streams.get(place).is_some_and(|it| it.exchange.check_content().is_ok());
        if speaks { self.free(transport, place) } else { 0 }
    }

    /// The number of bytes of content that the stream at `place` may send now.
    pub(super) fn free(&self, transport: &Transport, place: usize) -> usize {
        let free = transport.room();
        let frames = free / LONGEST as usize + 1;
        let free = free.saturating_sub(frames * HEADER).min(self.open_for(place));
        let is_shared = self.waiting > 0 || self.promised > 0;
        if is_shared { self.streams.share(place, free) } else { free }
    }

    pub(super) fn write_content(
        &mut self,
        transport: &mut Transport,
        place: usize,
        content: Bytes,
        ends: bool,
    ) {
        let bytes = content.len();
        let (number, longest) = (self.number(place), self.settings.longest as usize);
        response::write_content(&mut transport.output, number, content, longest, ends);
        self.spend_window(transport, place, bytes);
        guard::sent(transport, bytes);
    }

    /// The stream at `place` waits until it is told of room.
    pub(super) fn wait_for_room(&mut self, place: usize) {
        if let Some(stream) = self.streams.get_mut(place)
            && !stream.exchange.cut_short
        {
            stream.exchange.cut_short = true;
            self.promised -= take(&mut stream.promised);
            self.waiting += 1;
            self.is_writable = true;
            self.streams.line_up(place);
        }
    }

    // ---- the content of the request -------------------------------------------------------------

    pub(crate) fn read_to(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        end: u64,
    ) -> Result<(), Misuse> {
        let place = self.find(transport, id)?;
        if self.streams.get(place).is_some_and(|stream| stream.tunnel.is_some()) {
            return self.on_tunnel(transport, id, |tunnel, now| tunnel.read_to(now, end));
        }
        self.check_declared_length(transport, place)?;
        let stream = self.streams.get_mut(place).ok_or(Misuse::UnknownStream)?;
        if stream.state != State::Open && stream.unread.is_empty() {
            // No more content follows: End was delivered, or is about to be.
            return Ok(());
        }
        let owes_continue = stream.exchange.grant(end) && stream.unread.is_empty();
        self.is_due |= !stream.unread.is_empty();
        if owes_continue {
            let number = stream.id;
            let limit = transport.config.response_head_limit();
            let output = &mut transport.output;
            let status = StatusCode::CONTINUE;
            response::write_interim(output, &mut self.encoder, number, status, [], limit)?;
        }
        self.open_stream(transport, place);
        self.open_connection(transport);
        Ok(())
    }

    /// Bytes of content that were delivered.
    pub(crate) fn received(&self, id: StreamId) -> u64 {
        let place = u32::try_from(id.as_u64()).ok().and_then(|id| self.streams.find(id));
        let stream = place.and_then(|place| self.streams.get(place));
        stream.map_or(0, |stream| match &stream.tunnel {
            Some(tunnel) => tunnel.received(),
            None => stream.exchange.received(),
        })
    }

    /// The application no longer waits for content. The time charged to the peer is void.
    pub(crate) fn cancel_read(
        &mut self,
        transport: &Transport,
        id: StreamId,
    ) -> Result<(), Misuse> {
        let place = self.find(transport, id)?;
        if let Some(stream) = self.streams.get_mut(place) {
            stream.exchange.cancel(transport);
        }
        Ok(())
    }

    pub(crate) fn limit_body(
        &mut self,
        transport: &Transport,
        id: StreamId,
        limit: Option<u64>,
    ) -> Result<(), Misuse> {
        let place = self.find_request(transport, id)?;
        let stream = self.streams.get_mut(place).ok_or(Misuse::UnknownStream)?;
        stream.exchange.limit_content(limit)
    }

    pub(crate) fn limit_body_time(
        &mut self,
        transport: &Transport,
        id: StreamId,
        time: Option<Duration>,
    ) -> Result<(), Misuse> {
        let place = self.find_request(transport, id)?;
        let stream = self.streams.get_mut(place).ok_or(Misuse::UnknownStream)?;
        stream.exchange.limit_content_time(time, transport.now)
    }

    /// The client has to take the whole answer within `time`.
    pub(crate) fn limit_response_time(
        &mut self,
        transport: &Transport,
        id: StreamId,
        time: Option<Duration>,
    ) -> Result<(), Misuse> {
        let place = self.find_request(transport, id)?;
        self.limit_wait(transport, place, time).ok_or(Misuse::UnknownStream)
    }

    /// Refuses a declared length above the limit, at the application's first call for the request: until then
    /// the application may change the limit.
    fn check_declared_length(
        &mut self,
        transport: &mut Transport,
        place: usize,
    ) -> Result<(), Misuse> {
        let stream = self.streams.get(place).ok_or(Misuse::UnknownStream)?;
        let declared = stream.declared.unwrap_or(0) + stream.unread.len() as u64;
        if stream.exchange.exceeds_limit(declared) {
            let refusal = ResetReason::Refused(Refusal::ContentTooLarge);
            self.refuse_stream(transport, place, refusal);
            return Err(Misuse::UnknownStream);
        }
        Ok(())
    }

    // ---- others ---------------------------------------------------------------------------------

    /// Answers an extended CONNECT with a 200 that has all these fields (RFC 8441 5). The stream then leaves HTTP:
    /// see [`Http2::begin_tunnel`].
    pub(crate) fn upgrade<'f>(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        accepted: impl Iterator<Item = (HeaderName, HeaderValue)>,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), Misuse> {
        let place = self.find_owed(transport, id)?;
        let stream = self.streams.get(place).ok_or(Misuse::UnknownStream)?;
        // What was delivered as content would be missing at the beginning of the tunnel.
        if !stream.is_extended || stream.exchange.received() > 0 {
            return Err(Misuse::NotUpgradable);
        }
        let (limit, number) = (transport.config.response_head_limit(), stream.id);
        let output = &mut transport.output;
        response::write_tunnel(output, &mut self.encoder, number, accepted, fields, limit)?;
        if let Some(stream) = self.streams.get_mut(place) {
            stream.exchange.sending.become_next(Sending::Content(Left::Unknown));
        }
        Ok(())
    }

    /// Ends the stream, because the application or the driver gives up.
    #[cold]
    pub(crate) fn give_up(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        reason: CloseReason,
    ) -> Result<(), Misuse> {
        let place = self.find(transport, id)?;
        self.give_up_stream(transport, place, reason);
        Ok(())
    }

    fn number(&self, place: usize) -> u32 {
        self.streams.get(place).map_or(0, |stream| stream.id)
    }

    /// The place of the stream of that number, if it goes on.
    pub(super) fn find(&self, transport: &Transport, id: StreamId) -> Result<usize, Misuse> {
        let id = u32::try_from(id.as_u64()).map_err(|_| Misuse::UnknownStream)?;
        let place = self.streams.find(id).filter(|_| transport.is_open());
        let place = place.ok_or(Misuse::UnknownStream)?;
        match self.streams.get(place) {
            Some(stream) if stream.is_alive() => stream.exchange.check().map(|()| place),
            _ => Err(Misuse::UnknownStream),
        }
    }

    /// The place of the stream of that number, if it goes on as a request.
    fn find_request(&self, transport: &Transport, id: StreamId) -> Result<usize, Misuse> {
        let place = self.find(transport, id)?;
        match self.streams.get(place) {
            Some(stream) if stream.tunnel.is_none() => Ok(place),
            _ => Err(Misuse::IsWebSocket),
        }
    }

    /// The place of the stream of that number, if the head of its answer is owed.
    pub(super) fn find_owed(&self, transport: &Transport, id: StreamId) -> Result<usize, Misuse> {
        let place = self.find_request(transport, id)?;
        let stream = self.streams.get(place).ok_or(Misuse::UnknownStream)?;
        stream.exchange.check_owed().map(|()| place)
    }
}
