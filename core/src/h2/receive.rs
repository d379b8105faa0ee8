//! Turns received frames into [`Step`]s.
//!
//! | state | reads | next |
//! |---|---|---|
//! | `Preface` | the client's first bytes | `First` |
//! | `First` | the header of the first frame, which has to be SETTINGS | `Frame` |
//! | `Frame` | a frame other than DATA, whole; or the header of DATA | `Frame`, `Content` |
//! | `Content` | the content of DATA as it comes, and its padding | `Frame` |

use super::Http2;
use super::endings::{Goaway, Told};
use super::frame::{self, END_HEADERS, END_STREAM, HEADER, Header, Kind, PADDED, PREFACE};
use super::guard;
use super::head::{self, Bad, Said};
use super::schedule::QUANTUM;
use super::streams::{Due, Moves, State, Stream, Trailers, Was};
use crate::close::{CloseReason, ErrorCode, Fault, Refusal, ResetReason};
use crate::exchange::Exchange;
use crate::head::Line;
use crate::input::{Input, Span};
use crate::step::{Desk, Place, Step};
use crate::time::{Tick, Timer};
use crate::transport::Transport;
use core::mem::{size_of, take};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Preface,
    First,
    Frame,
    Content(Content),
}

/// What is left of a DATA frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    stream: u32,
    left: u32,
    padding: u32,
    /// The request ends with it.
    is_last: bool,
}

/// A field block that arrives in several frames.
#[derive(Debug)]
pub(super) struct Block {
    stream: u32,
    is_whole: bool,
    dependency: Option<u32>,
    bytes: Vec<u8>,
}

impl Block {
    pub(super) fn memory(&self) -> usize {
        size_of::<Block>() + self.bytes.capacity()
    }
}

/// What [`Http2::step`] is to do next.
enum Next {
    Step(Step),
    Again,
    Wait,
}

impl Http2 {
    /// Returns the next step that `input` yields. The caller holds the bytes that are not taken.
    pub(crate) fn step(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Option<Step> {
        transport.blocked = false;
        if take(&mut self.is_stalled) {
            self.settings.await_ack_anew(transport);
        }
        self.settings.write(transport);
        // A tunnel whose work was paused goes on in the next pull of events.
        self.is_due |= desk.inflatable > 0 && self.is_paused();
        loop {
            if self.is_due
                && let Some(step) = self.take_due(transport, desk)
            {
                return Some(step);
            }
            if self.is_writable
                && let Some(step) = self.take_writable(transport, desk)
            {
                return Some(step);
            }
            if self.is_due {
                // A tunnel has sent something, and tells of room.
                continue;
            }
            if !transport.is_open() {
                transport.discard(input.take_all());
                return None;
            }
            let next = match self.reading {
                Reading::Preface => self.preface(transport, input),
                Reading::First | Reading::Frame => self.frame(transport, input, desk),
                Reading::Content(content) => self.content(transport, input, content),
            };
            match next {
                Ok(Next::Step(step)) => return Some(step),
                Ok(Next::Again) => {}
                Ok(Next::Wait) => {
                    self.give_back(transport);
                    return None;
                }
                Err(fault) => self.end(transport, CloseReason::Fault(fault)),
            }
        }
    }

    // ---- what needs no bytes --------------------------------------------------------------------

    /// Takes what a stream has for the application.
    fn take_due(&mut self, transport: &mut Transport, desk: &mut Desk) -> Option<Step> {
        for place in (0..self.streams.len()).rev() {
            let Some(stream) = self.streams.get_mut(place) else { continue };
            let Some(due) = stream.due() else { continue };
            self.newest = stream.id;
            if let Due::Tunnel = due {
                match self.take_tunneled(transport, place, desk) {
                    Some(step) => return Some(step),
                    None => continue,
                }
            }
            return Some(match due {
                Due::Tunnel => continue,
                Due::Reset(_) if stream.is_reset_told => {
                    self.end_told(transport, place);
                    continue;
                }
                Due::Reset(reason) => {
                    self.end_told(transport, place);
                    Step::Reset(reason)
                }
                Due::Content(length) => {
                    if stream.exchange.exceeds_limit(stream.unread.len() as u64) {
                        let refusal = ResetReason::Refused(Refusal::ContentTooLarge);
                        self.refuse_stream(transport, place, refusal);
                        return self.take_due(transport, desk);
                    }
                    if length == stream.unread.len() {
                        desk.whole = take(&mut stream.unread);
                    } else {
                        desk.whole.clear();
                        desk.whole.extend(stream.unread.drain(..length));
                    }
                    stream.exchange.deliver(transport, length);
                    self.unread -= length;
                    self.open_stream(transport, place);
                    Step::Data(Place::Whole)
                }
                Due::End => {
                    stream.is_end_told = true;
                    desk.lines.clear();
                    desk.whole.clear();
                    if let Some(trailers) = stream.trailers.take() {
                        put(*trailers, desk);
                    }
                    Step::End(Place::Whole)
                }
            });
        }
        self.is_due = false;
        None
    }

    /// Tells the stream with the best claim that there is room. What the streams were told of in this pull of
    /// events counts as taken.
    fn take_writable(&mut self, transport: &mut Transport, desk: &mut Desk) -> Option<Step> {
        let limit = transport.config.send_buffer_limit() as usize;
        let room = limit.saturating_sub(transport.unsent()).saturating_sub(desk.promised);
        if self.waiting == 0 || room < limit / 2 || !transport.is_open() {
            self.is_writable = self.waiting > 0 && desk.promised > 0;
            return None;
        }
        let place = loop {
            let Some(place) = self.streams.next_waiting(self.window > 0) else {
                self.is_writable = false;
                return None;
            };
            let stream = self.streams.get_mut(place)?;
            stream.exchange.cut_short = false;
            self.waiting -= 1;
            if stream.tunnel.is_none() {
                break place;
            }
            let id = stream.id;
            self.pump(transport, place);
            let waits = self.streams.by_id(id).is_some_and(|stream| stream.waits_for_room());
            if waits || transport.is_full() {
                // There is no more room on the connection. Whoever makes some says so.
                self.is_writable = false;
                return None;
            }
        };
        let stream = self.streams.get_mut(place)?;
        let takes_turns = stream.priority.incremental && self.waiting > 0;
        stream.quota = if takes_turns { QUANTUM as u32 } else { u32::MAX };
        let share = if takes_turns { QUANTUM } else { room };
        desk.promised += share.min(usize::try_from(stream.window).unwrap_or(0));
        self.newest = stream.id;
        Some(Step::Writable)
    }

    // ---- bytes in -------------------------------------------------------------------------------

    fn preface(&mut self, transport: &mut Transport, input: &mut Input<'_>) -> Result<Next, Fault> {
        input.join(PREFACE.len());
        let bytes = &*input.bytes();
        let length = bytes.len().min(PREFACE.len());
        if bytes.get(..length) != PREFACE.get(..length) {
            return Err(Fault::Preface);
        }
        if length < PREFACE.len() {
            input.part();
            return Ok(self.starved(transport));
        }
        input.take(PREFACE.len());
        input.part();
        self.reading = Reading::First;
        Ok(Next::Again)
    }

    /// No frame is complete.
    fn starved(&mut self, transport: &mut Transport) -> Next {
        if !transport.eof {
            return Next::Wait;
        }
        self.input_ended(transport);
        if self.is_due || !transport.is_open() { Next::Again } else { Next::Wait }
    }

    fn frame(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Result<Next, Fault> {
        if transport.is_full() && !input.is_empty() {
            // Frames have to be answered, so no more of them are read until the answers are written.
            transport.blocked = true;
            self.is_stalled = true;
            return Ok(Next::Wait);
        }
        let Some(header) = self.header(input)? else { return Ok(self.starved(transport)) };
        if header.kind == Kind::Data {
            let ahead = HEADER + usize::from(header.has(PADDED));
            if !gather(input, ahead) {
                return Ok(self.starved(transport));
            }
            let padding = match input.bytes().get(HEADER) {
                Some(byte) if header.has(PADDED) => u32::from(*byte),
                _ => 0,
            };
            input.take(ahead);
            input.part();
            return self.data(transport, header, padding);
        }
        let whole = HEADER + header.length as usize;
        if !gather(input, whole) {
            return Ok(self.starved(transport));
        }
        let payload = input.take(whole).skip(HEADER);
        input.part();
        let is_first = self.reading == Reading::First;
        if is_first {
            self.reading = Reading::Frame;
        }
        let next = self.whole_frame(transport, header, payload, input, desk);
        let is_head = is_first || matches!(header.kind, Kind::Headers | Kind::Continuation);
        if is_head && self.block.is_none() {
            // The wait for the rest of a head is over. Other frames don't end it, so that nobody can wait for a
            // head for ever behind them.
            transport.timers.stop(Timer::RequestHead);
        }
        next
    }

    /// The next frame's header, if it is there. Nothing is taken.
    fn header(&self, input: &mut Input<'_>) -> Result<Option<Header>, Fault> {
        if !gather(input, HEADER) {
            return Ok(None);
        }
        let Some(bytes) = input.bytes().first_chunk() else { return Ok(None) };
        let header = Header::read(*bytes)?;
        if self.reading == Reading::First
            && (header.kind != Kind::Settings || header.has(frame::ACK))
        {
            return Err(Fault::Preface);
        }
        let in_order = match &self.block {
            Some(block) => header.kind == Kind::Continuation && header.stream == block.stream,
            None => header.kind != Kind::Continuation,
        };
        if in_order { Ok(Some(header)) } else { Err(Fault::Continuation) }
    }

    /// Acts on a frame other than DATA.
    fn whole_frame(
        &mut self,
        transport: &mut Transport,
        header: Header,
        payload: Span,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Result<Next, Fault> {
        let id = header.stream;
        let payload = &*input.span(payload);
        match header.kind {
            Kind::Headers => return self.headers(transport, header, payload, desk),
            Kind::Continuation => return self.continuation(transport, header, payload, desk),
            Kind::ResetStream => self.reset_by_peer(transport, id)?,
            Kind::Settings => self.take_settings(transport, header, payload)?,
            Kind::Ping => {
                guard::pay(transport, guard::ANSWERED)?;
                self.hear_sporadic(transport);
                if let (false, Some(payload)) = (header.has(frame::ACK), payload.first_chunk()) {
                    frame::write_pong(&mut transport.output, *payload);
                }
            }
            Kind::WindowUpdate => self.window_update(transport, id, frame::number(payload))?,
            Kind::Priority => {
                guard::pay(transport, guard::READ)?;
                let fault = match payload.len() {
                    5 if frame::number(payload) & frame::MOST == id => Some(Fault::Dependency),
                    5 => None,
                    _ => Some(Fault::FrameSize),
                };
                match (fault, self.streams.find(id)) {
                    (None, _) => {}
                    (Some(fault), Some(place)) => self.fault_stream(transport, place, fault)?,
                    (Some(fault), None) if self.past.was(id) == Was::Idle => return Err(fault),
                    (Some(fault), None) => {
                        self.reset_unknown(transport, id, fault.error_code())?;
                    }
                }
            }
            Kind::PriorityUpdate => {
                guard::pay(transport, guard::READ)?;
                let (of, value) = payload.split_at_checked(4).unwrap_or_default();
                let of = frame::number(of) & frame::MOST;
                if of == 0 {
                    // RFC 9218 7.1.
                    return Err(Fault::FrameStream);
                }
                if let Some(stream) = self.streams.by_id(of) {
                    stream.priority = super::streams::Priority::read(value);
                }
            }
            Kind::Data | Kind::GoAway | Kind::PushPromise | Kind::Unknown => {
                guard::pay(transport, guard::READ)?;
            }
        }
        Ok(Next::Again)
    }

    fn reset_by_peer(&mut self, transport: &mut Transport, id: u32) -> Result<(), Fault> {
        match (self.streams.find(id), self.past.was(id)) {
            (Some(place), _) => {
                guard::pay(transport, guard::STREAM)?;
                if self.streams.get(place).is_some_and(|it| it.state == State::HalfClosedLocal) {
                    self.forget(transport, place);
                } else {
                    self.close_stream(transport, place, ResetReason::Cancelled, Told::Nothing);
                }
                Ok(())
            }
            (None, Was::Idle) => Err(Fault::IdleStream),
            (None, _) => guard::pay(transport, guard::READ),
        }
    }

    fn window_update(
        &mut self,
        transport: &mut Transport,
        id: u32,
        more: u32,
    ) -> Result<(), Fault> {
        guard::pay(transport, guard::WINDOW_UPDATE)?;
        let more = more & frame::MOST;
        if id == 0 {
            return if more == 0 { Err(Fault::WindowUpdate) } else { self.widen(more) };
        }
        let Some(place) = self.streams.find(id) else {
            let is_idle = self.past.was(id) == Was::Idle;
            return if is_idle { Err(Fault::IdleStream) } else { Ok(()) };
        };
        if more == 0 {
            return self.fault_stream(transport, place, Fault::WindowUpdate);
        }
        match self.widen_stream(place, more) {
            Ok(()) => Ok(()),
            Err(fault) => self.fault_stream(transport, place, fault),
        }
    }

    // ---- field blocks ---------------------------------------------------------------------------

    fn headers(
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

    fn continuation(
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
            let code = Fault::TooManyStreams.error_code();
            self.reset_unknown(transport, id, code)?;
            return Ok(Next::Again);
        }
        let said = match read {
            _ if dependency == Some(id) => {
                self.reset_unknown(transport, id, Fault::Dependency.error_code())?;
                return Ok(Next::Again);
            }
            Ok(said) => said,
            Err(Bad::Malformed) => {
                self.reset_unknown(transport, id, ErrorCode::ProtocolError)?;
                return Ok(Next::Again);
            }
            Err(Bad::Refused(refusal)) => {
                self.refuse_new(transport, id, refusal, is_whole)?;
                return Ok(Next::Again);
            }
        };
        self.begin(transport, id, is_whole, said, desk);
        Ok(Next::Step(Step::Request(Place::Whole)))
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
        self.turn = self.turn.wrapping_add(1);
        self.newest = id;
        let mut exchange = Exchange::new(&desk.head, transport);
        if let Some(upload) = &mut exchange.upload {
            upload.is_sporadic = said.is_sporadic;
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
            discarding: [Tick::NEVER; 2],
            quota: u32::MAX,
            turn: self.turn,
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
        let is_valid = is_valid && stream.tunnel.is_none();
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

    // ---- content --------------------------------------------------------------------------------

    /// Takes the header of a DATA frame.
    fn data(
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
        let ignored = Content { stream: 0, left, padding, is_last: false };
        let content = match self.streams.find(id) {
            Some(place) => {
                self.data_of(transport, place, header, Content { stream: id, is_last, ..ignored })?
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
        content: Content,
    ) -> Result<Content, Fault> {
        let ignored = Content { stream: 0, is_last: false, ..content };
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

    fn content(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        content: Content,
    ) -> Result<Next, Fault> {
        let Content { stream: id, left, padding, is_last } = content;
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
            self.reading = Reading::Content(Content { padding: padding - taken as u32, ..content });
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
            self.reading = Reading::Content(Content { left: left - most as u32, ..content });
            return Ok(Next::Again);
        };
        if let Some(tunnel) = &mut stream.tunnel {
            let span = input.take(most);
            tunnel.receive(transport.now, input.span(span));
            self.unread += most;
            self.is_due = true;
            // The first bytes pay for the frame. What the others are worth, the tunnel knows.
            transport.budget.earn(most.min(guard::DATA as usize));
            self.reading = Reading::Content(Content { left: left - most as u32, ..content });
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
        self.reading = Reading::Content(Content { left: left - taken as u32, ..content });
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
            State::HalfClosedLocal => self.forget(transport, place),
            state => {
                if let Ok(next) = state.next(Moves::End) {
                    stream.state = next;
                }
                if let Some(tunnel) = &mut stream.tunnel {
                    tunnel.end_input(transport.now);
                }
                self.is_due = true;
            }
        }
        Ok(Next::Again)
    }
}

/// Brings `bytes` bytes together at the front of the input. Returns whether they are there.
fn gather(input: &mut Input<'_>, bytes: usize) -> bool {
    if input.bytes().len() < bytes {
        input.join(bytes);
    }
    input.bytes().len() >= bytes
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
fn put(Trailers { text, lengths }: Trailers, desk: &mut Desk) {
    let mut start = 0;
    for (name, value) in lengths {
        let name_end = start + usize::from(name);
        let end = name_end + usize::from(value);
        desk.lines.push(Line::new(start, name_end, name_end, end));
        start = end;
    }
    desk.whole = text;
}
