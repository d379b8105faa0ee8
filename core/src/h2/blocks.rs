//! Field blocks: heads of requests and trailers, in one frame or in several (RFC 9113 4.3, 8.1).
//!
//! In: HEADERS and CONTINUATION. Out: the streams that requests begin, and steps.

use super::Http2;
use super::endings::Goaway;
use super::frame::{END_HEADERS, END_STREAM, Header};
use super::guard;
use super::head::{self, Bad, Said};
use super::receive::Next;
use super::streams::{Moves, State, Stream, Trailers, Was};
use crate::close::{CloseReason, Fault};
use crate::exchange::{Exchange, Pace};
use crate::head::Line;
use crate::step::{Desk, Place, Step};
use crate::time::Tick;
use crate::transport::Transport;
use core::mem::size_of;

/// A field block that arrives in several frames.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    is_whole: bool,
    dependency: Option<u32>,
    bytes: Vec<u8>,
}

impl Block {
    pub(super) fn memory(&self) -> usize {
        size_of::<Block>() + self.bytes.capacity()
    }
}

impl Http2 {
    pub(super) fn headers(
        &mut self,
        transport: &mut Transport,
        header: Header,
        payload: &[u8],
        desk: &mut Desk,
    ) -> Result<Next, Fault> {
        let (bytes, dependency) = header.field_block(payload)?;
        let (stream, is_whole) = (header.stream, header.has(END_STREAM));
        if header.has(END_HEADERS) {
            return self.block(transport, stream, is_whole, dependency, bytes, desk);
        }
        check_block(transport, bytes.len())?;
        let bytes = bytes.to_vec();
        self.block = Some(Box::new(Block { stream, is_whole, dependency, bytes }));
        Ok(Next::Again)
    }

    pub(super) fn continuation(
        &mut self,
        transport: &mut Transport,
        header: Header,
        payload: &[u8],
        desk: &mut Desk,
    ) -> Result<Next, Fault> {
        guard::pay(transport, guard::ANSWERED)?;
        let Some(mut block) = self.block.take() else { return Err(Fault::Continuation) };
        check_block(transport, block.bytes.len() + payload.len())?;
        block.bytes.extend_from_slice(payload);
        if !header.has(END_HEADERS) {
            self.block = Some(block);
            return Ok(Next::Again);
        }
        let Block { stream, is_whole, dependency, bytes } = *block;
        self.block(transport, stream, is_whole, dependency, &bytes, desk)
    }

    /// Takes a whole field block: a request, trailers, or one of a stream that we have reset.
    fn block(
        &mut self,
        transport: &mut Transport,
        id: u32,
        is_whole: bool,
        dependency: Option<u32>,
        block: &[u8],
        desk: &mut Desk,
    ) -> Result<Next, Fault> {
        if let Some(place) = self.streams.find(id) {
            return self.trailers(transport, place, is_whole, block, desk);
        }
        match self.past.was(id) {
            Was::Idle if id.is_multiple_of(2) => Err(Fault::FrameStream),
            Was::Idle => self.request(transport, id, is_whole, dependency, block, desk),
            Was::Skipped => Err(Fault::FrameStream),
            Was::Closed => Err(Fault::ClosedStream),
            Was::Reset => {
                guard::pay(transport, guard::READ)?;
                self.read_trailers(transport, block, desk)?;
                Ok(Next::Again)
            }
        }
    }

    fn request(
        &mut self,
        transport: &mut Transport,
        id: u32,
        is_whole: bool,
        dependency: Option<u32>,
        block: &[u8],
        desk: &mut Desk,
    ) -> Result<Next, Fault> {
        let config = &transport.config;
        let Desk { whole, lines, head, .. } = desk;
        let read = head::read(&mut self.decoder, block, is_whole, config, whole, lines, head);
        let read = read.map_err(|_| Fault::Compression)?;
        self.past.begin(id);
        if let Goaway::Last(..) = self.goaway {
            // The client may send the request again on another connection.
            guard::pay(transport, guard::STREAM)?;
            self.past.reset(id);
            return Ok(Next::Again);
        }
        if self.streams.len() as u64 >= transport.config.http2_concurrent_streams() {
            return self.fault_new(transport, id, Fault::TooManyStreams);
        }
        let said = match read {
            _ if dependency == Some(id) => {
                return self.fault_new(transport, id, Fault::Dependency);
            }
            Ok(said) => said,
            Err(Bad::Malformed) => return self.fault_new(transport, id, Fault::Malformed),
            Err(Bad::Refused(refusal)) => {
                self.refuse_new(transport, id, refusal, is_whole)?;
                self.newest = id;
                return Ok(Next::Step(Step::Refused(CloseReason::Refused(refusal))));
            }
        };
        self.begin(transport, id, is_whole, said, desk);
        Ok(Next::Step(Step::Request(Place::Whole)))
    }

    /// Resets the stream of a request that was not delivered. What is known of it is on the desk.
    #[cold]
    fn fault_new(
        &mut self,
        transport: &mut Transport,
        id: u32,
        fault: Fault,
    ) -> Result<Next, Fault> {
        self.reset_unknown(transport, id, fault.error_code())?;
        self.newest = id;
        Ok(Next::Step(Step::Refused(CloseReason::Fault(fault))))
    }

    /// Begins the exchange of a request.
    fn begin(
        &mut self,
        transport: &mut Transport,
        id: u32,
        is_whole: bool,
        said: Said,
        desk: &Desk,
    ) {
        if self.streams.is_empty() {
            // The wait for a request is over. The deadline of a whole answer counts for the first of those
            // that are under way.
            transport.timers.stop_waits();
            transport.end_since();
            transport.begin_answer();
            self.guard = None;
        }
        self.newest = id;
        let mut exchange = Exchange::new(&desk.head, transport);
        if let Some(upload) = &mut exchange.upload
            && said.is_sporadic
        {
            upload.pace = Pace::Sporadic;
        }
        self.streams.push(Stream {
            id,
            state: if is_whole { State::HalfClosedRemote } else { State::Open },
            exchange,
            priority: said.priority,
            is_end_told: false,
            window: self.settings.their_window,
            allowed: if is_whole { 0 } else { self.settings.our_window },
            declared: said.content_length.filter(|_| !is_whole),
            unread: Vec::new(),
            trailers: None,
            tunnel: None,
            is_reset_told: false,
            is_extended: desk.head.protocol != (0, 0),
            sent: 0,
            guard: None,
            time: None,
            discarding: [Tick::NEVER; 2],
            promised: 0,
            turn: 0,
        });
        // The end of a request without content is told next.
        self.is_due |= is_whole;
        self.count_request(transport);
        if transport.draining && !transport.is_timed_drain() {
            // The connection drains because of its age: this request is its last.
            transport.begin_timed_drain();
            self.drain(transport);
        }
    }

    fn trailers(
        &mut self,
        transport: &mut Transport,
        place: usize,
        is_whole: bool,
        block: &[u8],
        desk: &mut Desk,
    ) -> Result<Next, Fault> {
        let is_valid = self.read_trailers(transport, block, desk)? && is_whole;
        let Some(stream) = self.streams.get_mut(place) else { return Ok(Next::Again) };
        // A stream that has left HTTP carries nothing but DATA (RFC 9113 8.5).
        let is_valid = is_valid && !stream.has_left_http();
        let next = match stream.state.next(Moves::End) {
            Ok(next) if is_valid && stream.declared.is_none_or(|left| left == 0) => next,
            Ok(_) => {
                self.fault_stream(transport, place, Fault::Malformed)?;
                return Ok(Next::Again);
            }
            Err(fault) => {
                self.fault_stream(transport, place, fault)?;
                return Ok(Next::Again);
            }
        };
        if stream.state == State::HalfClosedLocal {
            self.forget(transport, place);
            return Ok(Next::Again);
        }
        stream.state = next;
        if !stream.is_alive() {
            return Ok(Next::Again);
        }
        if stream.unread.is_empty() {
            stream.is_end_told = true;
            self.newest = stream.id;
            return Ok(Next::Step(Step::End(Place::Whole)));
        }
        stream.trailers = Some(Box::new(keep(desk)));
        Ok(Next::Again)
    }

    /// Decodes the block of a trailer section, valid or not. Returns whether it is.
    fn read_trailers(
        &mut self,
        transport: &Transport,
        block: &[u8],
        desk: &mut Desk,
    ) -> Result<bool, Fault> {
        let Desk { whole, lines, .. } = desk;
        let read = head::read_trailers(&mut self.decoder, block, &transport.config, whole, lines);
        read.map_err(|_| Fault::Compression)
    }
}

/// Fails if a field block is too long as it is encoded. It can't be skipped, because it changes the table.
fn check_block(transport: &Transport, length: usize) -> Result<(), Fault> {
    let limit = transport.config.http2_header_list_limit();
    if length as u64 > limit { Err(Fault::BlockTooLarge) } else { Ok(()) }
}

/// Copies the trailers on the desk.
fn keep(desk: &Desk) -> Trailers {
    let (mut text, mut lengths) = (Vec::new(), Vec::new());
    for line in (0..desk.lines.count()).filter_map(|place| desk.lines.get(place)) {
        for part in [line.name(), line.value()] {
            text.extend_from_slice(desk.whole.get(part).unwrap_or_default());
        }
        lengths.push((line.name().len() as u16, line.value().len() as u16));
    }
    Trailers { text, lengths }
}

/// Puts trailers that were kept on the desk.
pub(super) fn put(Trailers { text, lengths }: Trailers, desk: &mut Desk) {
    let mut start = 0;
    for (name, value) in lengths {
        let name_end = start + usize::from(name);
        let end = name_end + usize::from(value);
        desk.lines.push(Line::new(start, name_end, name_end, end));
        start = end;
    }
    desk.whole = text;
}
