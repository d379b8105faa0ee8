//! A protocol of many streams over one connection, for tests only: it proves that the shape of the
//! connection carries what HTTP/2 needs, and goes away when HTTP/2 comes.
//!
//! A frame is a stream's number, a kind, a length of one byte, and so many bytes. The client sends a
//! target to begin a stream, content, and an end; the server answers with the first digit of the status,
//! content, and an end. Either side may reset a stream.

use crate::close::{CloseReason, Expiry, Misuse, ResetReason};
use crate::endings::Ending;
use crate::event::{Begun, BodyLength, Sent};
use crate::head::{ContentFraming, Head};
use crate::input::{Input, Span};
use crate::rate::Rate;
use crate::step::{Desk, Step};
use crate::stream::StreamId;
use crate::time::{Tick, Timer};
use crate::transport::Transport;
use crate::waits::Wait;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

const BEGIN: u8 = b'b';
const DATA: u8 = b'd';
const END: u8 = b'e';
const RESET: u8 = b'r';
const STATUS: u8 = b's';
/// Its name in ALPN.
pub(crate) const ALPN: &[u8] = b"many";
/// The first bytes of each client.
pub(crate) const PREFACE: &[u8] = b"many\r\n";
/// Bytes of a frame's header.
const HEADER: usize = 3;

#[derive(Debug, Default)]
pub(crate) struct Many {
    /// The preface was taken.
    is_begun: bool,
    streams: Vec<Exchange>,
    /// The stream of the newest step.
    newest: u8,
    begun: u64,
    /// Streams that the application is to be told of.
    resets: Vec<(u8, ResetReason)>,
}

/// One request and its answer.
#[derive(Debug)]
struct Exchange {
    number: u8,
    credit: u64,
    guard: Rate,
    /// The application waits for content.
    awaited: bool,
    /// All of the request has arrived.
    received: bool,
    answered: bool,
    cut_short: bool,
}

impl Many {
    pub(crate) fn stream(&self) -> StreamId {
        StreamId(self.newest.into())
    }

    pub(crate) fn requests(&self) -> u64 {
        self.begun
    }

    fn exchange(&mut self, id: StreamId) -> Result<&mut Exchange, Misuse> {
        let found = self.streams.iter_mut().find(|it| u64::from(it.number) == id.as_u64());
        found.ok_or(Misuse::UnknownStream)
    }

    // ---- bytes in -------------------------------------------------------------------------------

    pub(crate) fn step(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Option<Step> {
        transport.blocked = false;
        if let Some((number, reason)) = self.resets.pop() {
            self.newest = number;
            return Some(Step::Reset(reason));
        }
        let has_room = transport.unsent() as u64 <= transport.config.send_buffer_limit() / 2;
        if let Some(cut) = self.streams.iter_mut().find(|it| it.cut_short && has_room) {
            (cut.cut_short, self.newest) = (false, cut.number);
            return Some(Step::Writable);
        }
        if !transport.is_open() {
            transport.discard(input.take_all());
            return None;
        }
        if !self.is_begun {
            self.is_begun = true;
            input.join(PREFACE.len());
            input.take(PREFACE.len());
            input.part();
        }
        let &mut [number, kind, length, ..] = input.bytes() else {
            if transport.eof {
                self.end(transport, CloseReason::Peer(transport.peer_close()));
            }
            return None;
        };
        if input.bytes().len() < HEADER + usize::from(length) {
            return None;
        }
        let payload = input.take(HEADER + usize::from(length)).skip(HEADER);
        self.newest = number;
        self.frame(transport, kind, payload, desk)
    }

    fn frame(
        &mut self,
        transport: &Transport,
        kind: u8,
        payload: Span,
        desk: &mut Desk,
    ) -> Option<Step> {
        let number = self.newest;
        if kind == BEGIN {
            self.begun += 1;
            self.streams.push(Exchange {
                number,
                credit: 0,
                guard: Rate::new(transport.config.request_body_minimum(), transport.now),
                awaited: false,
                received: false,
                answered: false,
                cut_short: false,
            });
            let framing = ContentFraming::Chunked;
            let target = (0, payload.len() as u16);
            desk.head = Head { target, http11: true, framing, ..Head::default() };
            return Some(Step::Request(payload));
        }
        let exchange = self.exchange(self.stream()).ok()?;
        exchange.awaited = false;
        match kind {
            DATA => {
                let minimum = transport.config.request_body_minimum();
                exchange.credit = exchange.credit.saturating_sub(payload.len() as u64);
                exchange.guard.progress(minimum, payload.len(), transport.now);
                Some(Step::Data(payload))
            }
            END => {
                exchange.received = true;
                Some(Step::End(payload))
            }
            _ => {
                self.streams.retain(|it| it.number != number);
                Some(Step::Reset(ResetReason::Truncated))
            }
        }
    }

    pub(crate) fn has_events(&self, transport: &Transport) -> bool {
        let has_room = transport.unsent() as u64 <= transport.config.send_buffer_limit() / 2;
        !self.resets.is_empty() || self.streams.iter().any(|it| it.cut_short && has_room)
    }

    pub(crate) fn may_go_on(&self, _: &Transport) -> bool {
        false
    }

    // ---- actions --------------------------------------------------------------------------------

    fn write(transport: &mut Transport, id: StreamId, kind: u8, payload: &[u8]) {
        transport.output.write(&[id.as_u64() as u8, kind, payload.len() as u8]);
        transport.output.write(payload);
    }

    pub(crate) fn inform<'f>(
        &mut self,
        _: &mut Transport,
        _: StreamId,
        _: StatusCode,
        _: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), Misuse> {
        Err(Misuse::Status)
    }

    pub(crate) fn respond<'f>(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        status: StatusCode,
        _: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        _: BodyLength,
    ) -> Result<Begun, Misuse> {
        let exchange = self.exchange(id)?;
        if std::mem::replace(&mut exchange.answered, true) {
            return Err(Misuse::AlreadyAnswered);
        }
        Self::write(transport, id, STATUS, &status.as_str().as_bytes()[..1]);
        Ok(Begun::Open)
    }

    pub(crate) fn answer<'f>(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        content: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        let _ = self.respond(transport, id, status, fields, BodyLength::Unknown)?;
        let sent = self.send(transport, id, content)?;
        if sent == Sent::All {
            self.finish(transport, id, None)?;
        }
        Ok(sent)
    }

    pub(crate) fn send(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        data: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        let exchange = self.exchange(id)?;
        while !data.is_empty() && !transport.is_full() {
            let piece = data.split_to(data.len().min(255));
            Self::write(transport, id, DATA, &piece);
        }
        exchange.cut_short = !data.is_empty();
        Ok(Sent::of(data))
    }

    pub(crate) fn room(&self, transport: &Transport, id: StreamId) -> usize {
        let is_known = self.streams.iter().any(|it| u64::from(it.number) == id.as_u64());
        if is_known && !transport.is_full() { 255 } else { 0 }
    }

    pub(crate) fn finish(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        _: Option<&HeaderMap>,
    ) -> Result<(), Misuse> {
        self.exchange(id)?;
        Self::write(transport, id, END, &[]);
        self.streams.retain(|it| u64::from(it.number) != id.as_u64());
        Ok(())
    }

    pub(crate) fn read_to(&mut self, _: &Transport, id: StreamId, end: u64) -> Result<(), Misuse> {
        let exchange = self.exchange(id)?;
        exchange.credit = exchange.credit.max(end);
        exchange.awaited = !exchange.received;
        Ok(())
    }

    pub(crate) fn received(&self, _: StreamId) -> u64 {
        0
    }

    pub(crate) fn cancel_read(&mut self, _: &Transport, id: StreamId) -> Result<(), Misuse> {
        self.exchange(id)?.awaited = false;
        Ok(())
    }

    pub(crate) fn limit_body(
        &mut self,
        _: &Transport,
        id: StreamId,
        _: Option<u64>,
    ) -> Result<(), Misuse> {
        self.exchange(id).map(drop)
    }

    pub(crate) fn upgrade<'f>(
        &mut self,
        _: &mut Transport,
        _: StreamId,
        _: impl Iterator<Item = (HeaderName, HeaderValue)>,
        _: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), Misuse> {
        Err(Misuse::NotUpgradable)
    }

    /// Ends the stream, and not the connection.
    pub(crate) fn give_up(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        _: CloseReason,
    ) -> Result<(), Misuse> {
        self.exchange(id)?;
        Self::write(transport, id, RESET, &[]);
        self.streams.retain(|it| u64::from(it.number) != id.as_u64());
        Ok(())
    }

    // ---- time -----------------------------------------------------------------------------------

    /// The earliest deadline of the streams whose application waits for content.
    pub(crate) fn settle(&mut self, transport: &mut Transport) {
        let minimum = transport.config.request_body_minimum();
        let mut earliest = Tick::NEVER;
        for exchange in &mut self.streams {
            if exchange.awaited {
                exchange.guard.resume(transport.now);
                earliest = earliest.min(exchange.guard.deadline(minimum, 0));
            } else {
                exchange.guard.pause(transport.now);
            }
        }
        let flushed = transport.is_flushed();
        match earliest {
            Tick::NEVER if self.is_idle() && flushed => transport.wait(Wait::Request, Tick::NEVER),
            Tick::NEVER => transport.wait(Wait::Application, Tick::NEVER),
            at => transport.wait(Wait::RequestBody, at),
        }
    }

    pub(crate) fn expire(&mut self, transport: &mut Transport, expiry: Expiry) {
        if expiry != Expiry::RequestBody {
            return self.end(transport, CloseReason::Expired(expiry));
        }
        let minimum = transport.config.request_body_minimum();
        let late = |it: &Exchange| it.awaited && it.guard.deadline(minimum, 0) <= transport.now;
        let late: Vec<u8> = self.streams.iter().filter(|it| late(it)).map(|it| it.number).collect();
        for number in late {
            Self::write(transport, StreamId(number.into()), RESET, &[]);
            self.streams.retain(|it| it.number != number);
            self.resets.push((number, ResetReason::Timeout));
        }
    }

    pub(crate) fn trickle(&mut self, _: &mut Transport) {}

    pub(crate) fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    pub(crate) fn memory(&self) -> usize {
        size_of::<Many>() + self.streams.capacity() * size_of::<Exchange>()
    }

    // ---- endings --------------------------------------------------------------------------------

    pub(crate) fn drain(&mut self, _: &mut Transport) {}

    pub(crate) fn end(&mut self, transport: &mut Transport, reason: CloseReason) {
        match Ending::of(reason) {
            Ending::Finish | Ending::Refuse => transport.linger(reason, 0),
            Ending::Leave => transport.linger(reason, u64::MAX),
            Ending::Cut => self.cut(transport, reason),
        }
        self.streams.clear();
    }

    pub(crate) fn cut(&mut self, transport: &mut Transport, reason: CloseReason) {
        transport.close(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::connection::Connection;
    use crate::event::Event;
    use crate::status::Party;
    use core::time::Duration;
    use std::io::IoSlice;
    use std::sync::Arc;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Tick {
        Tick::from_nanos(seconds * SECOND)
    }

    fn connection() -> Connection {
        let config = Config::builder()
            .request_body_grace(Duration::from_secs(5))
            .send_buffer_limit(1024)
            .build()
            .expect("valid");
        let mut connection = Connection::new(Arc::new(config), at(0));
        let mut preface = PREFACE.to_vec();
        assert!(connection.receive(at(0), &mut preface).expect("it reads").next().is_none());
        connection
    }

    fn stream(number: u64) -> StreamId {
        StreamId(number)
    }

    /// What the events of these frames, or of what is due, say.
    fn told(connection: &mut Connection, now: Tick, frames: &[(u8, u8, &str)]) -> Vec<String> {
        let mut wire: Vec<u8> = frames
            .iter()
            .flat_map(|(number, kind, text)| {
                [&[*number, *kind, text.len() as u8], text.as_bytes()].concat()
            })
            .collect();
        let mut told = Vec::new();
        let mut events = match wire.as_slice() {
            [] => connection.resume(now),
            _ => connection.receive(now, &mut wire).expect("it reads"),
        };
        while let Some((_, event)) = events.next() {
            told.push(match event {
                Event::Request { stream, head } => format!("{stream} asks {}", head.target()),
                Event::Data { stream, data, .. } => {
                    format!("{stream} sends {}", String::from_utf8_lossy(data))
                }
                Event::End { stream, .. } => format!("{stream} ends"),
                Event::Writable { stream } => format!("{stream} has room"),
                Event::Reset { stream, reason } => format!("{stream} is reset: {reason:?}"),
                other => panic!("{other:?}"),
            });
        }
        told
    }

    /// What the peer is sent, as frames: stream, kind, length.
    fn take(connection: &mut Connection, now: Tick) -> Vec<(u8, char, u8)> {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = connection.outgoing(&mut slices);
        let bytes: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
        connection.sent(now, bytes.len());
        let (mut rest, mut frames) = (bytes.as_slice(), Vec::new());
        while let [number, kind, length, behind @ ..] = rest {
            frames.push((*number, char::from(*kind), *length));
            rest = &behind[usize::from(*length)..];
        }
        frames
    }

    fn respond(connection: &mut Connection, now: Tick, number: u64) {
        let mut stream = connection.stream(now, stream(number));
        assert_eq!(stream.respond(StatusCode::OK, [], BodyLength::Unknown), Ok(Begun::Open));
    }

    #[test]
    fn two_streams_respond_in_turns() {
        let (mut it, now) = (connection(), at(0));
        let requests = [(3, BEGIN, "/a"), (9, BEGIN, "/b"), (3, END, ""), (9, END, "")];
        let expected = ["3 asks /a", "9 asks /b", "3 ends", "9 ends"];
        assert_eq!(told(&mut it, now, &requests), expected);
        assert_eq!((it.requests(), it.waits_for()), (2, Party::Application));
        let send = |it: &mut Connection, number: u64, length: usize| {
            let mut data = Bytes::from(vec![b'x'; length]);
            it.stream(now, stream(number)).send(&mut data)
        };
        respond(&mut it, now, 9);
        respond(&mut it, now, 3);
        assert_eq!(send(&mut it, 3, 2), Ok(Sent::All));
        assert_eq!(send(&mut it, 9, 3), Ok(Sent::All));
        assert_eq!(it.stream(now, stream(3)).finish(None), Ok(()));
        // One cap for both: it is full for either, and whoever was cut short is told of room.
        assert_eq!(send(&mut it, 9, 5000), Ok(Sent::Part));
        assert!(!it.status().resume);
        let frames = take(&mut it, now);
        assert_eq!(frames[..5], [(9, 's', 1), (3, 's', 1), (3, 'd', 2), (9, 'd', 3), (3, 'e', 0)]);
        assert_eq!(told(&mut it, now, &[]), ["9 has room"]);
        assert_eq!(it.stream(now, stream(3)).finish(None), Err(Misuse::UnknownStream));
        assert_eq!(it.stream(now, stream(9)).finish(None), Ok(()));
    }

    #[test]
    fn one_stream_is_reset_while_another_goes_on() {
        let (mut it, now) = (connection(), at(0));
        told(&mut it, now, &[(1, BEGIN, "/a"), (2, BEGIN, "/b"), (3, BEGIN, "/c")]);
        assert_eq!(told(&mut it, now, &[(1, RESET, "")]), ["1 is reset: Truncated"]);
        assert_eq!(it.stream(now, stream(1)).reset(), Err(Misuse::UnknownStream));
        assert_eq!(it.stream(now, stream(2)).reset(), Ok(()));
        respond(&mut it, now, 3);
        assert_eq!(it.stream(now, stream(3)).finish(None), Ok(()));
        assert_eq!(take(&mut it, now), [(2, 'r', 0), (3, 's', 1), (3, 'e', 0)]);
        assert!(it.status().is_open());
        assert_eq!(it.deadline(), Some((at(5), Timer::KeepAlive)));
    }

    #[test]
    fn each_stream_has_its_own_deadline_and_the_earliest_is_told() {
        let mut it = connection();
        told(&mut it, at(0), &[(1, BEGIN, "/a"), (2, BEGIN, "/b"), (3, BEGIN, "/c")]);
        // All of them wait for the application.
        assert_eq!((it.waits_for(), it.deadline()), (Party::Application, None));
        assert_eq!(it.stream(at(0), stream(1)).read_to(10), Ok(()));
        assert_eq!(it.stream(at(2), stream(2)).read_to(10), Ok(()));
        assert_eq!(
            (it.waits_for(), it.deadline()),
            (Party::Peer, Some((at(5), Timer::RequestBody)))
        );
        // The first one passes; the second goes on, and the third still waits for the application.
        it.tick(at(5));
        assert_eq!(told(&mut it, at(5), &[]), ["1 is reset: Timeout"]);
        assert_eq!(take(&mut it, at(5)), [(1, 'r', 0)]);
        assert_eq!(it.deadline(), Some((at(7), Timer::RequestBody)));
        assert_eq!(told(&mut it, at(6), &[(2, DATA, "hi")]), ["2 sends hi"]);
        assert_eq!((it.waits_for(), it.deadline()), (Party::Application, None));
        respond(&mut it, at(6), 3);
        // What is sent has a guard of its own, whichever stream it is of.
        assert_eq!((it.waits_for(), it.deadline()), (Party::Peer, Some((at(11), Timer::Response))));
    }

    #[test]
    fn a_head_of_one_stream_does_not_stop_the_deadline_of_another() {
        let mut it = connection();
        told(&mut it, at(0), &[(1, BEGIN, "/a")]);
        assert_eq!(it.stream(at(0), stream(1)).read_to(10), Ok(()));
        assert_eq!(told(&mut it, at(1), &[(2, BEGIN, "/b")]), ["2 asks /b"]);
        assert_eq!(it.deadline(), Some((at(5), Timer::RequestBody)));
    }

    #[test]
    fn the_preface_chooses_in_pieces_too_under_one_deadline() {
        let mut it = Connection::new(Arc::new(Config::default()), at(0));
        assert_eq!(it.deadline(), Some((at(5), Timer::KeepAlive)));
        for (place, byte) in PREFACE.iter().enumerate() {
            let now = at(1 + place as u64);
            assert!(it.receive(now, &mut [*byte]).expect("it reads").next().is_none());
            if place + 1 < PREFACE.len() {
                assert_eq!(it.deadline(), Some((at(11), Timer::RequestHead)));
            }
        }
        assert_eq!(told(&mut it, at(7), &[(1, BEGIN, "/a")]), ["1 asks /a"]);
    }

    #[test]
    fn other_first_bytes_are_those_of_http_1() {
        let mut it = Connection::new(Arc::new(Config::default()), at(0));
        assert!(it.receive(at(0), &mut b"many".to_vec()).expect("it reads").next().is_none());
        let mut rest = b" / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        let mut events = it.receive(at(0), &mut rest).expect("it reads");
        let Some((_, Event::Request { head, .. })) = events.next() else { panic!("a request") };
        assert_eq!((head.method(), head.target()), ("many", "/"));
    }
}
