//! State that the driver shares with a websocket's handler, which may run on another task.
//!
//! Messages of the peer wait here for the handler, and messages of the handler wait for the connection. In
//! each direction one large message waits at most, or a few small ones: the next message is taken only
//! while less than 16 KiB wait.
//!
//! Messages are dropped while the place is unlocked, because the owner of a [`Bytes`] may run any code when
//! it is dropped, even code that comes back to the websocket.

use super::{CloseFrame, Closed, Message};
use crate::waiting::{Calls, Place, Waiting};
use bytes::Bytes;
use bytestring::ByteString;
use portcullis::{Misuse, Sent, Stream};
use std::collections::VecDeque;
use std::mem::take;
use std::task::{Context, Poll, ready};

/// The most bytes of messages that wait in one direction, not counting the last message.
pub(super) const WAITING: usize = 16 * 1024;
const EACH: usize = 64;
/// Messages that a handler takes and sends before it makes a pause, so that other connections of its
/// thread get their turn.
const STRETCH: u8 = 8;

#[derive(Debug, Default)]
pub(crate) struct Meeting(Place<State>);

#[derive(Debug, Default)]
struct State {
    incoming: Queue,
    /// Bytes that the last message of `incoming` keeps alive beside its own. Counts only while a message
    /// waits.
    kept: usize,
    outgoing: Queue,
    /// A message of which the connection has taken a part, or nothing yet.
    begun: Option<Begun>,
    /// The driver is passing a message to the connection.
    passing: bool,
    /// Messages of the handler that will never be sent.
    unsent: u64,
    /// The handler waits for a message.
    wanted: bool,
    /// The handler has taken a message, and has not asked for another.
    busy: bool,
    /// The handler has dropped the websocket.
    left: bool,
    /// Messages that the handler has taken and sent since its last pause.
    stretch: u8,
    /// The handler makes a pause, and the driver is to poll it again.
    pauses: bool,
    /// Messages that the connection may still deliver.
    asked: u64,
    /// The close that the handler asked for, until it is passed on.
    close: Option<CloseFrame>,
    /// The handler has closed: it sends nothing more.
    closing: bool,
    /// The connection sends no more messages: it drains, or has closed.
    shut: bool,
    end: Option<Closed>,
    /// The handler was told of the end when it read.
    told: bool,
    reader: Waiting,
    writer: Waiting,
    driver: Waiting,
}

/// A message on its way to the connection.
#[derive(Debug)]
struct Begun {
    kind: Kind,
    /// The bytes that the connection has not taken.
    data: Bytes,
    /// The bytes that it keeps alive: the whole message, until all of it is taken.
    size: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Binary,
    Ping,
    Pong,
}

impl Begun {
    /// Hands it to the connection, as far as there is room.
    #[inline]
    fn send(&mut self, stream: &mut Stream<'_>) -> Result<Sent, Misuse> {
        match self.kind {
            Kind::Text => stream.send_message(true, &mut self.data),
            Kind::Binary => stream.send_message(false, &mut self.data),
            Kind::Ping | Kind::Pong => self.send_control(stream),
        }
    }

    #[cold]
    fn send_control(&mut self, stream: &mut Stream<'_>) -> Result<Sent, Misuse> {
        let sent = match self.kind {
            Kind::Ping => stream.ping(&self.data),
            _ => stream.pong(&self.data),
        };
        match sent {
            Err(Misuse::Full) => stream.await_room().map(|()| Sent::Part),
            Err(misuse @ Misuse::TooLong { .. }) => {
                // Nothing else is held up by it.
                tracing::error!(%misuse, "a ping or a pong cannot be sent");
                Ok(Sent::All)
            }
            sent => sent.map(|()| Sent::All),
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// The only message, most of the time.
    first: Option<Message>,
    // Each idle websocket has two queues, so the rare part is boxed.
    #[allow(clippy::box_collection)]
    rest: Option<Box<VecDeque<Message>>>,
    bytes: usize,
}

impl Queue {
    #[inline]
    fn push(&mut self, message: Message) {
        self.bytes += EACH + message.len();
        match &self.first {
            None => self.first = Some(message),
            Some(_) => self.push_behind(message),
        }
    }

    #[cold]
    fn push_behind(&mut self, message: Message) {
        self.rest.get_or_insert_default().push_back(message);
    }

    #[inline]
    fn pop(&mut self) -> Option<Message> {
        let message = self.first.take()?;
        self.bytes -= EACH + message.len();
        if self.rest.is_some() {
            self.move_up();
        }
        Some(message)
    }

    #[cold]
    fn move_up(&mut self) {
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
            if rest.is_empty() {
                // An idle websocket keeps nothing.
                self.rest = None;
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn count(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
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
            if !state.incoming.is_empty() && state.makes_pause(cx, calls) {
                return Poll::Pending;
            }
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

    /// Queues the message as soon as there is room, and then waits until there is room for the next one.
    #[inline]
    pub(super) fn poll_send(
        &self,
        cx: &Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), Closed>> {
        self.0.visit(|state, calls| {
            if message.is_some() {
                ready!(state.poll_ready(cx, calls))?;
            }
            if let Some(message) = message.take() {
                state.outgoing.push(message);
                state.driver.call(cx, calls);
            }
            state.check_sent()?;
            if !state.has_room() {
                state.writer.register(cx, calls);
                return Poll::Pending;
            }
            if state.makes_pause(cx, calls) { Poll::Pending } else { Poll::Ready(Ok(())) }
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
            state.check_sent()?;
            if state.is_flushed() {
                return Poll::Ready(Ok(()));
            }
            state.writer.register(cx, calls);
            state.driver.call(cx, calls);
            Poll::Pending
        })
    }

    /// Closes after the queued messages. Only the first close counts.
    pub(super) fn close(&self, frame: Option<CloseFrame>) {
        self.0.visit(|state, calls| state.begin_close(frame, calls));
    }

    /// The handler dropped its websocket: closes it, and drops messages that still come.
    pub(super) fn leave(&self) {
        let _unread = self.0.visit(|state, calls| {
            state.left = true;
            state.begin_close(None, calls);
            take(&mut state.incoming)
        });
    }

    /// Closes with 1011, because the handler has panicked.
    pub(super) fn fail(&self) {
        self.close(Some(CloseFrame { code: Some(1011), reason: ByteString::new() }));
    }

    pub(super) fn poll_end(&self, cx: &Context<'_>) -> Poll<Result<(), Closed>> {
        self.0.visit(|state, calls| {
            match &state.end {
                Some(Closed::Here) => return Poll::Ready(state.check_sent()),
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
    /// Queues a message for the handler; it keeps `kept` bytes alive beside its own. Returns whether the
    /// connection may deliver another message.
    #[inline]
    pub(crate) fn receive(&self, message: Message, kept: usize) -> bool {
        let mut message = Some(message);
        self.0.visit(|state, calls| {
            state.asked = 0;
            state.wanted = false;
            if state.left {
                return false;
            }
            if let Some(message) = message.take() {
                state.incoming.push(message);
                state.kept = kept;
            }
            state.reader.wake_from(&state.driver, calls);
            let more = state.incoming.has_room();
            state.asked = u64::from(more);
            more
        })
    }

    /// Queues a ping or a pong for the handler, if there is room. It takes no credit of messages.
    #[cold]
    pub(crate) fn tell(&self, control: Message) {
        let mut control = Some(control);
        self.0.visit(|state, calls| {
            if !state.left
                && state.incoming.has_room()
                && let Some(control) = control.take()
            {
                // The last message may keep more alive than itself, until it is read.
                state.incoming.push(control);
                state.reader.wake_from(&state.driver, calls);
            }
        });
    }

    /// Passes the handler's wishes on to the connection. Returns whether to poll the handler again: because
    /// there is room now, or after a pause.
    #[inline]
    pub(crate) fn pass_wishes(&self, cx: &Context<'_>, stream: &mut Stream<'_>) -> bool {
        let (wants, next, paused) = self.0.visit(|state, calls| {
            state.driver.register(cx, calls);
            state.stretch = 0;
            let paused = take(&mut state.pauses);
            let wants = state.wanted && state.asked == 0 && state.incoming.is_empty();
            state.asked += u64::from(wants);
            (wants, state.next_outgoing(), paused)
        });
        if wants {
            // An event tells of the end of a stream.
            let end = stream.received() + 1;
            let _ = stream.read_to(end);
        }
        let goes_on = match next {
            Some(next) => self.send(next, stream),
            None => self.0.visit(|state, calls| {
                let closed = state.close(stream);
                state.go_on(closed, calls)
            }),
        };
        goes_on || paused
    }

    /// Sends `next` and the messages after it, as far as there is room. Returns whether the handler can go
    /// on.
    fn send(&self, mut next: Begun, stream: &mut Stream<'_>) -> bool {
        let mut moved = false;
        loop {
            let before = next.data.len();
            // The place is unlocked, because sent bytes are dropped here and in the connection.
            let result = next.send(stream);
            moved |= result != Ok(Sent::Part) || next.data.len() != before;
            if let Err(misuse) = result {
                if misuse != Misuse::UnknownStream {
                    tracing::error!(%misuse, "a message cannot be sent");
                }
                let _unsent = self.0.visit(|state, _| state.shut());
            }
            // Dropped after the visit.
            let mut rest = Some(next);
            let following = self.0.visit(|state, calls| {
                match result {
                    Ok(Sent::All) => {
                        if let Some(following) = state.next_outgoing() {
                            return Ok(following);
                        }
                    }
                    Ok(Sent::Part) => {
                        state.passing = false;
                        state.begun = rest.take();
                    }
                    Err(_) => {}
                }
                let closed = state.close(stream);
                let has_room = moved && state.has_room();
                Err(state.go_on(has_room || closed, calls))
            });
            match following {
                Ok(following) => next = following,
                Err(goes_on) => return goes_on,
            }
        }
    }

    /// Whether nothing is left to be passed on.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.visit(|state, _| state.is_lost() || (state.is_flushed() && state.close.is_none()))
    }

    /// Bytes of messages that are held here, in both directions.
    pub(crate) fn memory(&self) -> usize {
        self.0.visit(|state, _| {
            let begun = state.begun.as_ref().map_or(0, |begun| begun.size);
            let kept = if state.incoming.is_empty() { 0 } else { state.kept };
            state.incoming.bytes + kept + state.outgoing.bytes + begun
        })
    }

    /// The websocket has ended; only the first end counts.
    pub(crate) fn end(&self, end: Closed) {
        // Dropped after the visit.
        let _left = self.0.visit(|state, calls| {
            if state.end.is_some() {
                return None;
            }
            // After our close frame went out, the peer's is the reply. If ours is still queued, the peer
            // closed first, and the messages before ours are still sent.
            let is_out = state.closing && state.close.is_none();
            let here = is_out && matches!(end, Closed::Peer(_));
            state.end = Some(if here { Closed::Here } else { end });
            state.reader.wake(calls);
            state.writer.wake(calls);
            let is_over = state.is_lost() || here;
            is_over.then(|| (state.driver.leave(), state.discard()))
        });
    }
}

impl State {
    /// Counts a message that the handler takes or sends. Returns whether the handler has to make a pause
    /// first. The driver polls it again if both are on one task; otherwise its own task is woken.
    #[inline]
    fn makes_pause(&mut self, cx: &Context<'_>, calls: &mut Calls) -> bool {
        self.stretch += 1;
        self.stretch > STRETCH && self.pause(cx, calls)
    }

    #[cold]
    fn pause(&mut self, cx: &Context<'_>, calls: &mut Calls) -> bool {
        self.stretch = 0;
        self.pauses = self.driver.is(cx);
        if !self.pauses {
            calls.wake(cx.waker().clone());
        }
        true
    }

    /// The next message for the connection. It counts as unflushed until the next one is asked for.
    #[inline]
    fn next_outgoing(&mut self) -> Option<Begun> {
        let begun = self.begun.take();
        let next = begun.or_else(|| {
            let (kind, data) = match self.outgoing.pop()? {
                Message::Text(text) => (Kind::Text, text.into_bytes()),
                Message::Binary(data) => (Kind::Binary, data),
                Message::Ping(data) => (Kind::Ping, data),
                Message::Pong(data) => (Kind::Pong, data),
            };
            let size = EACH + data.len();
            Some(Begun { kind, data, size })
        });
        self.passing = next.is_some();
        next
    }

    /// The connection takes no more messages, and did not take the last one.
    #[cold]
    fn shut(&mut self) -> (Option<Begun>, Queue) {
        self.shut = true;
        self.unsent += u64::from(take(&mut self.passing));
        self.discard()
    }

    /// Takes out the messages that will not be sent. The caller drops them after the visit.
    #[cold]
    fn discard(&mut self) -> (Option<Begun>, Queue) {
        let (begun, queue) = (self.begun.take(), take(&mut self.outgoing));
        self.unsent += u64::from(begun.is_some()) + queue.count() as u64;
        (begun, queue)
    }

    fn begin_close(&mut self, frame: Option<CloseFrame>, calls: &mut Calls) {
        if !self.closing && !self.is_lost() {
            self.closing = true;
            let normal = CloseFrame { code: Some(1000), reason: ByteString::new() };
            self.close = Some(frame.unwrap_or(normal));
            self.driver.wake(calls);
        }
    }

    /// Wakes the handler if it waits to send and `may` go on. Returns whether it does.
    #[inline]
    fn go_on(&mut self, may: bool, calls: &mut Calls) -> bool {
        let goes_on = may && self.writer.is_some();
        if goes_on {
            self.writer.wake_from(&self.driver, calls);
        }
        goes_on
    }

    /// Closes the websocket if the handler asked for it and all messages before were passed on. Returns
    /// whether it did.
    #[inline]
    fn close(&mut self, stream: &mut Stream<'_>) -> bool {
        let is_open = self.close.is_none() && self.end.is_none();
        !is_open && self.close_now(stream)
    }

    #[cold]
    fn close_now(&mut self, stream: &mut Stream<'_>) -> bool {
        self.answer_close();
        if self.close.is_none() || !self.is_flushed() {
            return false;
        }
        let Some(CloseFrame { code, reason }) = self.close.take() else { return false };
        if stream.close(code, &reason) == Err(Misuse::CloseCode) {
            tracing::error!(?code, "a websocket cannot be closed with this code");
            let _ = stream.close(Some(1011), &reason);
        }
        true
    }

    /// The connection has taken all messages.
    fn is_flushed(&self) -> bool {
        self.outgoing.is_empty() && self.begun.is_none() && !self.passing
    }

    /// There is room for the handler's next message.
    fn has_room(&self) -> bool {
        let begun = self.begun.as_ref().map_or(0, |begun| begun.data.len());
        self.outgoing.bytes + begun < WAITING
    }

    /// An error if messages were taken that will not be sent.
    fn check_sent(&self) -> Result<(), Closed> {
        match self.unsent {
            0 => Ok(()),
            messages => Err(Closed::Unsent { messages }),
        }
    }

    /// Why nothing more can be sent. A peer that has closed can be sent messages until our close answers.
    fn ended(&self) -> Option<Closed> {
        match &self.end {
            Some(Closed::Peer(_)) if !self.closing && !self.shut => None,
            Some(end) => Some(end.clone()),
            None => (self.closing || self.shut).then_some(Closed::Here),
        }
    }

    /// The websocket has ended, and not by a close of the peer's.
    fn is_lost(&self) -> bool {
        self.end.as_ref().is_some_and(|end| !matches!(end, Closed::Peer(_)))
    }

    /// Answers the peer's close, once the handler is done with the messages before it.
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
        if self.has_room() {
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
    use crate::counted::Counted;
    use portcullis::websocket::{Handshake, Options};
    use portcullis::{Connection, Event, StreamId, Tick};
    use std::io::IoSlice;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Waker;

    fn text(text: &str) -> Message {
        Message::Text(text.into())
    }

    #[test]
    fn messages_wake_who_waits_and_come_before_the_end() {
        let (woken, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        let meeting = Meeting::default();
        assert!(meeting.poll_next(&cx).is_pending());
        assert!(meeting.receive(text("a"), 0), "there is room for more");
        assert_eq!(woken.times_woken(), 1);
        meeting.end(Closed::Reset(portcullis::ResetReason::Timeout));
        assert_eq!(meeting.poll_next(&cx), Poll::Ready(Some(Ok(text("a")))));
        let end = Closed::Reset(portcullis::ResetReason::Timeout);
        assert_eq!(meeting.poll_next(&cx), Poll::Ready(Some(Err(end.clone()))));
        assert_eq!(meeting.poll_next(&cx), Poll::Ready(None), "it is told once");
        assert_eq!(meeting.poll_ready(&cx), Poll::Ready(Err(end)));
    }

    #[test]
    fn a_message_counts_with_all_that_it_keeps() {
        let cx = Context::from_waker(Waker::noop());
        let meeting = Meeting::default();
        meeting.receive(vec![0; 1000].into(), 0);
        assert!(!meeting.receive(vec![0; WAITING].into(), 3 * WAITING));
        assert_eq!(meeting.memory(), 1000 + 2 * EACH + 4 * WAITING);
        assert!(meeting.poll_next(&cx).is_ready());
        assert_eq!(meeting.memory(), EACH + 4 * WAITING);
        assert!(meeting.poll_next(&cx).is_ready());
        assert_eq!(meeting.memory(), 0);
        meeting.receive(vec![0; 1000].into(), 0);
        assert_eq!(meeting.memory(), 1000 + EACH);
    }

    #[test]
    fn few_messages_wait_and_none_leaves_memory_behind() {
        let cx = Context::from_waker(Waker::noop());
        let meeting = Meeting::default();
        let mut count = 1;
        while meeting.receive(vec![0; 1000].into(), 0) {
            count += 1;
        }
        assert_eq!(count, WAITING.div_ceil(1000 + EACH));
        while count > 0 {
            // It makes a pause now and then.
            count -= usize::from(meeting.poll_next(&cx).is_ready());
        }
        assert!(meeting.poll_next(&cx).is_pending());
        assert_eq!(meeting.0.visit(|state, _| state.incoming.bytes), 0);
    }

    #[test]
    fn a_handler_makes_pauses_and_loses_nothing_by_them() {
        let mut connection = Connection::new(Arc::default(), Tick::ZERO);
        let stream = open(&mut connection);
        let [(driver, own), (other, foreign)] = [Counted::task(), Counted::task()];
        let [own, foreign] = [&own, &foreign].map(Context::from_waker);
        let meeting = Meeting::default();
        let mut pass_wishes =
            || meeting.pass_wishes(&own, &mut connection.stream(Tick::ZERO, stream));
        assert!(!pass_wishes());
        (0..40).for_each(|_| assert!(meeting.receive(text("a"), 0)));
        // On the driver's task the driver looks after it.
        for _ in 0..STRETCH {
            assert!(meeting.poll_next(&own).is_ready());
        }
        assert!(meeting.poll_next(&own).is_pending());
        assert!(pass_wishes() && !pass_wishes(), "it goes on, once");
        assert_eq!(driver.times_woken(), 0);
        // On another task it comes again by itself.
        let stretch = |cx| (0..).take_while(|_| meeting.poll_next(cx).is_ready()).count();
        assert_eq!((stretch(&foreign), other.times_woken()), (STRETCH.into(), 1));
        assert!(!pass_wishes());
        // What is sent counts as well, and is taken all the same.
        let mut count = 0;
        let pause = (1..).find(|_| {
            count += 1;
            meeting.poll_send(&own, &mut Some(text("b"))).is_pending()
        });
        assert_eq!(pause, Some(STRETCH + 1));
        assert_eq!(meeting.0.visit(|state, _| state.outgoing.count()), count);
    }

    #[test]
    fn sending_waits_for_room_and_the_driver_is_called_from_another_task() {
        let (driver, waker) = Counted::task();
        let meeting = Meeting::default();
        let own = Context::from_waker(&waker);
        meeting.0.visit(|state, calls| state.driver.register(&own, calls));
        let cx = Context::from_waker(Waker::noop());
        while meeting.poll_ready(&cx).is_ready() {
            meeting.push(Message::Binary(Bytes::from_static(&[0; 1000])));
        }
        assert_eq!(driver.times_woken(), 1);
        assert!(meeting.poll_flush(&cx).is_pending());
        assert_eq!(driver.times_woken(), 2);
        // On the driver's own task there is nobody to call.
        assert!(meeting.poll_flush(&own).is_pending());
        assert_eq!(driver.times_woken(), 2);
    }

    #[test]
    fn a_close_of_the_peers_is_answered_when_the_handler_is_done_with_what_came_before() {
        let cx = Context::from_waker(Waker::noop());
        let meeting = Meeting::default();
        meeting.receive(text("a"), 0);
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
        meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
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
            meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
        }
        assert_eq!(sent.iter().filter(|byte| **byte == 7).count(), 200_000);
        assert!(sent.ends_with(&[0x88, 2, 3, 232]), "our close comes last");
        assert!(meeting.is_settled());
    }

    /// Lets the connection's peer take everything, and passes on what room that made, until nothing moves.
    fn take_all(meeting: &Meeting, connection: &mut Connection, stream: StreamId) -> usize {
        let cx = Context::from_waker(Waker::noop());
        let mut taken = 0;
        loop {
            meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
            let mut slices = [IoSlice::new(&[]); 16];
            let count = connection.outgoing(&mut slices);
            let bytes: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            if bytes == 0 {
                return taken;
            }
            taken += bytes;
            connection.sent(Tick::ZERO, bytes);
        }
    }

    #[test]
    fn a_large_message_stays_with_its_sender_until_most_of_it_is_taken() {
        let cx = Context::from_waker(Waker::noop());
        let mut connection = Connection::new(Arc::default(), Tick::ZERO);
        let stream = open(&mut connection);
        let meeting = Meeting::default();
        let mut large = Some(Message::Binary(vec![7; 1 << 20].into()));
        assert!(meeting.poll_send(&cx, &mut large).is_pending());
        assert!(large.is_none(), "it waits for the connection");
        let mut next = Some(text("next"));
        assert!(meeting.poll_send(&cx, &mut next).is_pending());
        assert!(next.is_some(), "and nothing joins it");
        assert_eq!(meeting.memory(), (1 << 20) + EACH);
        // The connection takes what fits; all of it is alive until the last byte is taken.
        meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
        assert_eq!(meeting.memory(), (1 << 20) + EACH);
        assert!(meeting.poll_send(&cx, &mut large).is_pending());
        assert!(take_all(&meeting, &mut connection, stream) > 1 << 20);
        assert_eq!(meeting.poll_send(&cx, &mut large), Poll::Ready(Ok(())));
        assert_eq!(meeting.memory(), 0);
        assert_eq!(meeting.poll_send(&cx, &mut next), Poll::Ready(Ok(())));
    }

    #[test]
    fn the_next_message_is_asked_for_when_the_last_one_is_read() {
        let cx = Context::from_waker(Waker::noop());
        let mut connection = Connection::new(Arc::default(), Tick::ZERO);
        let stream = open(&mut connection);
        let meeting = Meeting::default();
        let asked = || meeting.0.visit(|state, _| state.asked);
        assert!(meeting.poll_next(&cx).is_pending());
        meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
        assert_eq!(asked(), 1);
        assert!(!meeting.receive(vec![0; 1 << 20].into(), 0), "no other one beside it");
        assert_eq!((asked(), meeting.memory()), (0, (1 << 20) + EACH));
        meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
        assert_eq!(asked(), 0);
        assert!(meeting.poll_next(&cx).is_ready());
        meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
        assert_eq!(
            (asked(), meeting.memory()),
            (0, 0),
            "the handler has it, and wants no other yet"
        );
        assert!(meeting.poll_next(&cx).is_pending());
        meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
        assert_eq!(asked(), 1);
    }

    #[test]
    fn nothing_is_kept_for_a_handler_that_has_left() {
        let meeting = Meeting::default();
        meeting.receive(vec![0; 1000].into(), 0);
        meeting.leave();
        assert_eq!(meeting.memory(), 0);
        assert!(!meeting.receive(vec![0; 1000].into(), 0));
        assert_eq!(meeting.memory(), 0);
    }

    #[test]
    fn flushing_tells_what_was_not_sent() {
        let cx = Context::from_waker(Waker::noop());
        let unsent = |messages| Poll::Ready(Err(Closed::Unsent { messages }));
        let long = || Message::Binary(vec![7; 200_000].into());
        // The server drains: its close is out before these are.
        let mut connection = Connection::new(Arc::default(), Tick::ZERO);
        let stream = open(&mut connection);
        let meeting = Meeting::default();
        meeting.push(text("before"));
        meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
        assert_eq!(meeting.poll_flush(&cx), Poll::Ready(Ok(())));
        connection.drain(Tick::ZERO);
        (0..3).for_each(|_| meeting.push(text("after")));
        meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
        assert_eq!(meeting.poll_flush(&cx), unsent(3));
        assert_eq!(meeting.poll_ready(&cx), Poll::Ready(Err(Closed::Here)));
        meeting.close(None);
        meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
        assert!(meeting.is_settled());
        let normal = CloseFrame { code: Some(1001), reason: ByteString::new() };
        meeting.end(Closed::Peer(normal));
        assert_eq!(meeting.poll_end(&cx), unsent(3));
        // Some of a message was sent, and another waits behind it.
        for is_drained in [false, true] {
            let mut connection = Connection::new(Arc::default(), Tick::ZERO);
            let stream = open(&mut connection);
            let meeting = Meeting::default();
            meeting.push(long());
            meeting.push(text("behind"));
            meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
            assert!(meeting.poll_flush(&cx).is_pending());
            if is_drained {
                connection.drain(Tick::ZERO);
                take_all(&meeting, &mut connection, stream);
            } else {
                meeting.end(Closed::Reset(portcullis::ResetReason::Timeout));
            }
            assert_eq!(meeting.poll_flush(&cx), unsent(2));
            assert_eq!(meeting.memory(), 0);
        }
    }

    /// What a message's bytes belong to: it comes back to the websocket when it is dropped.
    struct Owner(Arc<Meeting>, Arc<AtomicUsize>, Vec<u8>);

    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.2
        }
    }

    impl Drop for Owner {
        fn drop(&mut self) {
            let _ = self.0.closed();
            let _ = self.0.poll_flush(&Context::from_waker(Waker::noop()));
            self.1.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn the_owner_of_a_message_may_come_back_when_it_is_dropped() {
        let cx = Context::from_waker(Waker::noop());
        let dropped = Arc::new(AtomicUsize::new(0));
        for length in [10, 2000, 200_000] {
            let owned = |meeting: &Arc<Meeting>| {
                let owner = Owner(meeting.clone(), dropped.clone(), vec![7; length]);
                Message::Binary(Bytes::from_owner(owner))
            };
            // They are sent.
            let mut connection = Connection::new(Arc::default(), Tick::ZERO);
            let stream = open(&mut connection);
            let meeting = Arc::<Meeting>::default();
            (0..3).for_each(|_| meeting.push(owned(&meeting)));
            take_all(&meeting, &mut connection, stream);
            assert_eq!(dropped.swap(0, Relaxed), 3, "sent");
            // They are not, since this side has closed.
            (0..3).for_each(|_| meeting.push(owned(&meeting)));
            connection.drain(Tick::ZERO);
            meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
            assert_eq!(dropped.swap(0, Relaxed), 3, "not sent");
            // They wait, some of the first is sent, and the websocket ends.
            let mut connection = Connection::new(Arc::default(), Tick::ZERO);
            let stream = open(&mut connection);
            (0..3).for_each(|_| meeting.push(owned(&meeting)));
            meeting.pass_wishes(&cx, &mut connection.stream(Tick::ZERO, stream));
            meeting.end(Closed::Lost);
            drop(connection);
            assert_eq!(dropped.swap(0, Relaxed), 3, "the end");
            // The handler lets go of what it has not read.
            (0..3).for_each(|_| _ = meeting.receive(owned(&meeting), 0));
            meeting.leave();
            meeting.receive(owned(&meeting), 0);
            assert_eq!(dropped.swap(0, Relaxed), 4, "not read");
        }
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
                .stream(Tick::ZERO, stream)
                .accept_websocket(&accepted, None, Options::default())
                .expect("it is owed an answer");
            stream
        };
        connection.sent(Tick::ZERO, usize::MAX);
        stream
    }
}
