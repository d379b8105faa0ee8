//! Where the driver and a websocket's handler meet, who may be on another task.
//!
//! In one direction a few messages wait for the handler, in the other a few for the connection; how
//! many is bounded by their bytes.

use super::{CloseFrame, Closed, Message};
use crate::waiting::{Calls, Place, Waiting};
use bytes::Bytes;
use bytestring::ByteString;
use portcullis::{Connection, Misuse, StreamId, Tick};
use std::collections::VecDeque;
use std::mem::take;
use std::task::{Context, Poll, ready};

/// Bytes of messages that wait in one direction, besides the last one. A message counts for more
/// than its bytes.
const WAITING: usize = 16 * 1024;
const EACH: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Meeting(Place<State>);

#[derive(Debug, Default)]
struct State {
    incoming: Queue,
    outgoing: Queue,
    /// The rest of a message that did not fit, and whether it is text.
    begun: Option<(bool, Bytes)>,
    /// The handler waits for a message.
    wanted: bool,
    /// It has one, and has not come back for another.
    busy: bool,
    /// Messages that the connection may still deliver.
    asked: u64,
    /// The handler closes.
    close: Option<CloseFrame>,
    /// Nothing more is sent from here.
    closing: bool,
    end: Option<Closed>,
    /// The end was told to who reads.
    told: bool,
    reader: Waiting,
    writer: Waiting,
    driver: Waiting,
}

#[derive(Debug, Default)]
struct Queue {
    /// Most of the time there is no other.
    first: Option<Message>,
    rest: VecDeque<Message>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, message: Message) {
        self.bytes += EACH + message.len();
        match &self.first {
            None => self.first = Some(message),
            Some(_) => self.rest.push_back(message),
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<Message> {
        let message = self.first.take()?;
        self.bytes -= EACH + message.len();
        if self.rest.capacity() > 0 {
            self.move_up();
        }
        Some(message)
    }

    #[cold]
    fn move_up(&mut self) {
        self.first = self.rest.pop_front();
        if self.rest.is_empty() {
            // An idle websocket keeps nothing.
            self.rest = VecDeque::new();
        }
    }

    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn has_room(&self) -> bool {
        self.bytes < WAITING
    }
}

// ---- the handler's side ----------------------------------------------------------------------------

impl Meeting {
    #[inline]
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<Message, Closed>>> {
        self.0.visit(|state, calls| {
            if let Some(message) = state.incoming.pop() {
                state.busy = true;
                return Poll::Ready(Some(Ok(message)));
            }
            let was_busy = take(&mut state.busy);
            if let Some(end) = &state.end {
                if was_busy {
                    // The driver has waited for that, to answer the peer's close.
                    state.driver.call(cx, calls);
                }
                let in_order = matches!(end, Closed::Peer(_) | Closed::Here);
                let error = (!in_order && !state.told).then(|| Err(end.clone()));
                state.told = true;
                return Poll::Ready(error);
            }
            state.wanted = true;
            state.reader.register(cx, calls);
            state.driver.call(cx, calls);
            Poll::Pending
        })
    }

    pub(super) fn poll_ready(&self, cx: &Context<'_>) -> Poll<Result<(), Closed>> {
        self.0.visit(|state, calls| state.poll_ready(cx, calls))
    }

    /// Takes the message out of its place, to be sent, as soon as there is room for it.
    #[inline]
    pub(super) fn poll_send(
        &self,
        cx: &Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), Closed>> {
        self.0.visit(|state, calls| {
            ready!(state.poll_ready(cx, calls))?;
            if let Some(message) = message.take() {
                state.outgoing.push(message);
                state.driver.call(cx, calls);
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Whether anything can still be sent.
    pub(super) fn check_open(&self) -> Result<(), Closed> {
        self.0.visit(|state, _| state.ended().map_or(Ok(()), Err))
    }

    /// Takes a message to be sent.
    pub(super) fn push(&self, message: Message) {
        self.0.visit(|state, _| state.outgoing.push(message));
    }

    pub(super) fn poll_flush(&self, cx: &Context<'_>) -> Poll<Result<(), Closed>> {
        self.0.visit(|state, calls| {
            if state.is_flushed() {
                return Poll::Ready(Ok(()));
            }
            if let Some(end) = state.ended() {
                return Poll::Ready(Err(end));
            }
            state.writer.register(cx, calls);
            state.driver.call(cx, calls);
            Poll::Pending
        })
    }

    /// Closes behind what waits to be sent; only the first close counts.
    pub(super) fn close(&self, frame: Option<CloseFrame>) {
        self.0.visit(|state, calls| {
            if !state.closing && !state.is_lost() {
                state.closing = true;
                let normal = CloseFrame { code: Some(1000), reason: ByteString::new() };
                state.close = Some(frame.unwrap_or(normal));
                state.driver.wake(calls);
            }
        });
    }

    /// Closes since the handler has panicked.
    pub(super) fn fail(&self) {
        self.close(Some(CloseFrame { code: Some(1011), reason: ByteString::new() }));
    }

    pub(super) fn poll_end(&self, cx: &Context<'_>) -> Poll<Result<(), Closed>> {
        self.0.visit(|state, calls| {
            match &state.end {
                Some(Closed::Here) => return Poll::Ready(Ok(())),
                Some(end) => return Poll::Ready(Err(end.clone())),
                None => {}
            }
            state.writer.register(cx, calls);
            state.driver.call(cx, calls);
            Poll::Pending
        })
    }

    pub(super) fn closed(&self) -> Option<Closed> {
        self.0.visit(|state, _| state.end.clone())
    }
}

// ---- the driver's side -----------------------------------------------------------------------------

impl Meeting {
    /// Takes in a message. True if the connection may deliver another one.
    #[inline]
    pub(crate) fn receive(&self, message: Message) -> bool {
        self.0.visit(|state, calls| {
            state.incoming.push(message);
            state.wanted = false;
            state.reader.wake_from(&state.driver, calls);
            let more = state.incoming.has_room();
            state.asked = u64::from(more);
            more
        })
    }

    /// Passes the handler's wishes on to the connection. True if that made room for the handler to
    /// go on.
    #[inline]
    pub(crate) fn pass_wishes(
        &self,
        cx: &Context<'_>,
        now: Tick,
        connection: &mut Connection,
        stream: StreamId,
    ) -> bool {
        self.0.visit(|state, calls| {
            state.driver.register(cx, calls);
            if state.wanted && state.asked == 0 && state.incoming.is_empty() {
                state.asked = 1;
                // A stream that is gone gets its end by an event.
                let _ = connection.request_data(now, stream, 1);
            }
            let sent = state.send(now, connection, stream);
            let closed = state.close(now, connection, stream);
            let goes_on = (sent || closed) && state.writer.is_some();
            if goes_on {
                state.writer.wake_from(&state.driver, calls);
            }
            goes_on
        })
    }

    /// Nothing is left to be passed on.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.visit(|state, _| state.is_lost() || (state.is_flushed() && state.close.is_none()))
    }

    /// The websocket has ended; only the first end counts.
    pub(crate) fn end(&self, end: Closed) {
        // What is let go of is dropped behind the visit, whatever that does.
        let _left = self.0.visit(|state, calls| {
            if state.end.is_some() {
                return None;
            }
            // An answer to our close is no close of the peer's. One that comes before ours is out is none,
            // and what waits before ours still goes.
            let is_out = state.closing && state.close.is_none();
            let here = is_out && matches!(end, Closed::Peer(_));
            state.end = Some(if here { Closed::Here } else { end });
            state.reader.wake(calls);
            state.writer.wake(calls);
            let is_over = state.is_lost() || here;
            is_over.then(|| (state.driver.leave(), take(&mut state.outgoing), state.begun.take()))
        });
    }
}

impl State {
    fn next_outgoing(&mut self) -> Option<(bool, Bytes)> {
        self.begun.take().or_else(|| {
            self.outgoing.pop().map(|message| match message {
                Message::Text(text) => (true, text.into_bytes()),
                Message::Binary(data) => (false, data),
            })
        })
    }

    /// Sends what waits, as far as there is room; true if a message went.
    #[inline]
    fn send(&mut self, now: Tick, connection: &mut Connection, stream: StreamId) -> bool {
        let mut moved = false;
        while let Some((text, mut data)) = self.next_outgoing() {
            match connection.send_message(now, stream, text, &mut data) {
                Ok(true) => moved = true,
                Ok(false) => {
                    self.begun = Some((text, data));
                    break;
                }
                Err(Misuse::UnknownStream) => break,
                Err(misuse) => {
                    tracing::error!(%misuse, "a message cannot be sent");
                    break;
                }
            }
        }
        moved
    }

    /// Closes the websocket, if it is to be and all that comes before has gone; true if it did.
    #[inline]
    fn close(&mut self, now: Tick, connection: &mut Connection, stream: StreamId) -> bool {
        self.answer_close();
        if self.close.is_none() || !self.is_flushed() {
            return false;
        }
        let Some(CloseFrame { code, reason }) = self.close.take() else { return false };
        if connection.close(now, stream, code, &reason) == Err(Misuse::CloseCode) {
            tracing::error!(?code, "a websocket cannot be closed with this code");
            let _ = connection.close(now, stream, Some(1011), &reason);
        }
        true
    }

    /// The connection has taken all there was.
    fn is_flushed(&self) -> bool {
        self.outgoing.is_empty() && self.begun.is_none()
    }

    /// Why nothing can be sent any more. To a peer that has closed it can, until that is answered.
    fn ended(&self) -> Option<Closed> {
        match &self.end {
            Some(Closed::Peer(_)) if !self.closing => None,
            Some(end) => Some(end.clone()),
            None => self.closing.then_some(Closed::Here),
        }
    }

    /// It has ended, and not by a close of the peer's.
    fn is_lost(&self) -> bool {
        self.end.as_ref().is_some_and(|end| !matches!(end, Closed::Peer(_)))
    }

    /// The peer has closed: once the handler has answered all that came before, so does this side.
    fn answer_close(&mut self) {
        let is_answered = self.incoming.is_empty() && !self.busy;
        if let Some(Closed::Peer(frame)) = &self.end
            && is_answered
            && !self.closing
        {
            self.closing = true;
            self.close = Some(frame.clone());
        }
    }

    fn poll_ready(&mut self, cx: &Context<'_>, calls: &mut Calls) -> Poll<Result<(), Closed>> {
        if let Some(end) = self.ended() {
            return Poll::Ready(Err(end));
        }
        if self.outgoing.has_room() {
            return Poll::Ready(Ok(()));
        }
        self.writer.register(cx, calls);
        self.driver.call(cx, calls);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis::Event;
    use portcullis::websocket::{Handshake, Options};
    use std::io::IoSlice;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::{Wake, Waker};

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn task() -> (Arc<Woken>, Waker) {
        let woken = Arc::new(Woken::default());
        (woken.clone(), woken.into())
    }

    fn text(text: &str) -> Message {
        Message::Text(text.into())
    }

    #[test]
    fn messages_wake_who_waits_and_come_before_the_end() {
        let (woken, waker) = task();
        let cx = Context::from_waker(&waker);
        let meeting = Meeting::default();
        assert!(meeting.poll_next(&cx).is_pending());
        assert!(meeting.receive(text("a")), "there is room for more");
        assert_eq!(woken.0.load(Relaxed), 1);
        meeting.end(Closed::Reset(portcullis::ResetReason::Timeout));
        assert_eq!(meeting.poll_next(&cx), Poll::Ready(Some(Ok(text("a")))));
        let end = Closed::Reset(portcullis::ResetReason::Timeout);
        assert_eq!(meeting.poll_next(&cx), Poll::Ready(Some(Err(end.clone()))));
        assert_eq!(meeting.poll_next(&cx), Poll::Ready(None), "it is told once");
        assert_eq!(meeting.poll_ready(&cx), Poll::Ready(Err(end)));
    }

    #[test]
    fn few_messages_wait_and_none_leaves_memory_behind() {
        let cx = Context::from_waker(Waker::noop());
        let meeting = Meeting::default();
        let mut count = 1;
        while meeting.receive(vec![0; 1000].into()) {
            count += 1;
        }
        assert_eq!(count, WAITING.div_ceil(1000 + EACH));
        while meeting.poll_next(&cx).is_ready() {
            count -= 1;
        }
        assert_eq!(count, 0);
        assert_eq!(meeting.0.visit(|state, _| state.incoming.bytes), 0);
    }

    #[test]
    fn sending_waits_for_room_and_the_driver_is_called_from_another_task() {
        let (driver, waker) = task();
        let meeting = Meeting::default();
        let own = Context::from_waker(&waker);
        meeting.0.visit(|state, calls| state.driver.register(&own, calls));
        let cx = Context::from_waker(Waker::noop());
        while meeting.poll_ready(&cx).is_ready() {
            meeting.push(Message::Binary(Bytes::from_static(&[0; 1000])));
        }
        assert_eq!(driver.0.load(Relaxed), 1);
        assert!(meeting.poll_flush(&cx).is_pending());
        assert_eq!(driver.0.load(Relaxed), 2);
        // On the driver's own task there is nobody to call.
        assert!(meeting.poll_flush(&own).is_pending());
        assert_eq!(driver.0.load(Relaxed), 2);
    }

    #[test]
    fn a_close_of_the_peers_is_answered_when_the_handler_is_done_with_what_came_before() {
        let cx = Context::from_waker(Waker::noop());
        let meeting = Meeting::default();
        meeting.receive(text("a"));
        meeting.end(Closed::Peer(CloseFrame { code: Some(1000), reason: ByteString::new() }));
        let answered = || {
            meeting.0.visit(|state, _| {
                state.answer_close();
                state.closing
            })
        };
        assert!(!answered(), "a message waits");
        assert!(meeting.poll_next(&cx).is_ready());
        assert!(!answered(), "it is being handled");
        assert_eq!(meeting.check_open(), Ok(()));
        assert_eq!(meeting.poll_next(&cx), Poll::Ready(None));
        assert!(answered());
        assert!(meeting.check_open().is_err());
    }

    #[test]
    fn what_was_sent_before_this_side_closed_reaches_a_peer_that_closes_meanwhile() {
        let cx = Context::from_waker(Waker::noop());
        let mut connection = Connection::new(Arc::default(), Tick::ZERO);
        let stream = open(&mut connection);
        let meeting = Meeting::default();
        meeting.push(Message::Binary(vec![7; 200_000].into()));
        meeting.close(None);
        meeting.pass_wishes(&cx, Tick::ZERO, &mut connection, stream);
        // A close of the client's, with 1000; the mask is of zeros.
        let mut frame = [0x88, 0x82, 0, 0, 0, 0, 3, 232];
        let mut events = connection.receive(Tick::ZERO, &mut frame).expect("it reads");
        let Some((_, Event::Closing { code, .. })) = events.next() else { panic!("no close") };
        let close = Closed::Peer(CloseFrame { code, reason: ByteString::new() });
        meeting.end(close.clone());
        drop(events);
        assert_eq!((meeting.closed(), meeting.is_settled()), (Some(close), false));
        let mut sent = Vec::new();
        for _ in 0..10 {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = connection.outgoing(&mut slices);
            let before = sent.len();
            slices[..count].iter().for_each(|slice| sent.extend_from_slice(slice));
            let bytes = sent.len() - before;
            connection.sent(Tick::ZERO, bytes);
            meeting.pass_wishes(&cx, Tick::ZERO, &mut connection, stream);
        }
        assert_eq!(sent.iter().filter(|byte| **byte == 7).count(), 200_000);
        assert!(sent.ends_with(&[0x88, 2, 3, 232]), "our close comes last");
        assert!(meeting.is_settled());
    }

    /// Makes it a websocket, whose handshake has been answered.
    fn open(connection: &mut Connection) -> StreamId {
        let mut head =
            *b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let stream = {
            let mut events = connection.receive(Tick::ZERO, &mut head).expect("it reads");
            let Some((connection, Event::Request { stream, head })) = events.next() else {
                panic!("no request");
            };
            let handshake = Handshake::read(&head).expect("a good request");
            let accepted = handshake.accept(None, None).expect("nothing was chosen");
            connection
                .accept_websocket(Tick::ZERO, stream, &accepted, None, Options::default())
                .expect("it is owed an answer");
            stream
        };
        connection.sent(Tick::ZERO, usize::MAX);
        stream
    }
}
