//! The content of requests: DATA as it comes, and its padding (RFC 9113 6.1).
//!
//! In: the header of a DATA frame, and its bytes. Out: content for the application as far as it has given credit;
//! the rest waits on its stream. Content of streams that are gone is discarded.

use super::Http2;
use super::frame::{END_STREAM, Header, PADDED};
use super::guard;
use super::receive::{Next, Reading};
use super::streams::{Moves, State, Was};
use crate::close::{ErrorCode, Fault, Refusal, ResetReason};
use crate::input::Input;
use crate::step::{Place, Step};
use crate::transport::Transport;

/// What is left of a DATA frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DataLeft {
    stream: u32,
    left: u32,
    padding: u32,
    /// The request ends with it.
    is_last: bool,
}

impl Http2 {
    /// Takes the header of a DATA frame.
    pub(super) fn data(
        &mut self,
        transport: &mut Transport,
        header: Header,
        padding: u32,
    ) -> Result<Next, Fault> {
        let (id, length, is_last) = (header.stream, header.length, header.has(END_STREAM));
        let own = u32::from(header.has(PADDED));
        let left = match length.checked_sub(own) {
            Some(left) => left.checked_sub(padding).ok_or(Fault::Padding)?,
            None => return Err(Fault::FrameSize),
        };
        let cost = if left == 0 && !is_last { guard::ANSWERED } else { guard::DATA };
        guard::pay(transport, cost)?;
        if i64::from(length) > self.allowed {
            return Err(Fault::FlowControl);
        }
        self.allowed -= i64::from(length);
        let ignored = DataLeft { stream: 0, left, padding, is_last: false };
        let content = match self.streams.find(id) {
            Some(place) => {
                self.data_of(transport, place, header, DataLeft { stream: id, is_last, ..ignored })?
            }
            None => {
                match self.past.was(id) {
                    Was::Idle => return Err(Fault::IdleStream),
                    Was::Reset => {}
                    Was::Closed | Was::Skipped => {
                        self.reset_unknown(transport, id, ErrorCode::StreamClosed)?;
                    }
                }
                ignored
            }
        };
        self.reading = Reading::Content(content);
        Ok(Next::Again)
    }

    /// Checks a DATA frame of the stream at `place`.
    fn data_of(
        &mut self,
        transport: &mut Transport,
        place: usize,
        header: Header,
        content: DataLeft,
    ) -> Result<DataLeft, Fault> {
        let ignored = DataLeft { stream: 0, is_last: false, ..content };
        let Some(stream) = self.streams.get_mut(place) else { return Ok(ignored) };
        let fault = match stream.state.next(Moves::Part) {
            Err(fault) => Some(fault),
            Ok(State::Closed(_)) => return Ok(ignored),
            Ok(_) if i64::from(header.length) > stream.allowed => Some(Fault::FlowControl),
            Ok(_) if stream.declared.is_some_and(|left| u64::from(content.left) > left) => {
                Some(Fault::Malformed)
            }
            Ok(_) => None,
        };
        if let Some(fault) = fault {
            self.fault_stream(transport, place, fault)?;
            return Ok(ignored);
        }
        stream.allowed -= i64::from(header.length);
        Ok(content)
    }

    pub(super) fn content(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        content: DataLeft,
    ) -> Result<Next, Fault> {
        let DataLeft { stream: id, left, padding, is_last } = content;
        if left == 0 && padding == 0 {
            self.reading = Reading::Frame;
            return match is_last {
                true => self.content_ended(transport, id),
                false => Ok(Next::Again),
            };
        }
        let arrived = input.bytes().len();
        if arrived == 0 {
            return Ok(self.starved(transport));
        }
        if left == 0 {
            let taken = arrived.min(padding as usize);
            input.take(taken);
            self.reading =
                Reading::Content(DataLeft { padding: padding - taken as u32, ..content });
            return Ok(Next::Again);
        }
        let most = arrived.min(left as usize);
        let place = self.streams.find(id);
        let stream = place.and_then(|place| self.streams.get_mut(place));
        let (Some(place), Some(stream)) = (place, stream.filter(|it| it.is_alive())) else {
            input.take(most);
            if let Some(place) = place {
                self.discard(transport, place, most);
            }
            self.reading = Reading::Content(DataLeft { left: left - most as u32, ..content });
            return Ok(Next::Again);
        };
        if let Some(tunnel) = &mut stream.tunnel {
            let span = input.take(most);
            tunnel.receive(transport.now, input.span(span));
            self.unread += most;
            self.is_due = true;
            // The first bytes pay for the frame. What the others are worth, the tunnel knows.
            transport.budget.earn(most.min(guard::DATA as usize));
            self.reading = Reading::Content(DataLeft { left: left - most as u32, ..content });
            return Ok(Next::Again);
        }
        let known = stream.declared.unwrap_or(left.into());
        if stream.exchange.exceeds_limit(known) && stream.unread.is_empty() {
            let refusal = ResetReason::Refused(Refusal::ContentTooLarge);
            self.refuse_stream(transport, place, refusal);
            return Ok(Next::Again);
        }
        let credit = stream.exchange.upload.as_ref().map_or(0, |upload| upload.credit());
        let credit = if stream.unread.is_empty() { credit } else { 0 };
        let passed_on = (most as u64).min(credit) as usize;
        let taken = if passed_on > 0 { passed_on } else { most };
        if let Some(declared) = &mut stream.declared {
            *declared = declared.saturating_sub(taken as u64);
        }
        let span = input.take(taken);
        self.reading = Reading::Content(DataLeft { left: left - taken as u32, ..content });
        // Earned when it arrives: the client can't know when the application takes it.
        transport.budget.earn(taken);
        if passed_on == 0 {
            stream.unread.extend_from_slice(input.span(span));
            self.unread += taken;
            return Ok(Next::Again);
        }
        stream.exchange.deliver(transport, taken);
        self.newest = id;
        self.open_stream(transport, place);
        Ok(Next::Step(Step::Data(Place::Input(span))))
    }

    /// Discards content of the stream at `place`, whose answer is complete.
    fn discard(&mut self, transport: &mut Transport, place: usize, bytes: usize) {
        let until = transport.now.after(transport.config.linger_silence());
        if let Some(stream) = self.streams.get_mut(place)
            && let [_, silence] = &mut stream.discarding
        {
            *silence = until;
            stream.declared = stream.declared.map(|left| left.saturating_sub(bytes as u64));
        }
        transport.budget.earn(bytes);
        self.open_stream(transport, place);
    }

    /// The last DATA frame of a request is complete.
    fn content_ended(&mut self, transport: &mut Transport, id: u32) -> Result<Next, Fault> {
        let Some(place) = self.streams.find(id) else { return Ok(Next::Again) };
        let Some(stream) = self.streams.get_mut(place) else { return Ok(Next::Again) };
        if stream.declared.is_some_and(|left| left > 0) {
            self.fault_stream(transport, place, Fault::Malformed)?;
            return Ok(Next::Again);
        }
        match stream.state {
            State::HalfClosedLocal if !stream.is_alive() => self.forget(transport, place),
            state => {
                stream.state = match state.next(Moves::End) {
                    // The tunnel goes on until the application is told of this end.
                    _ if state == State::HalfClosedLocal => State::HalfClosedRemote,
                    Ok(next) => next,
                    Err(_) => state,
                };
                if let Some(tunnel) = &mut stream.tunnel {
                    tunnel.end_input(transport.now);
                }
                self.is_due = true;
            }
        }
        Ok(Next::Again)
    }
}
