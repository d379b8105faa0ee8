//! The application's side of a connection: the service, and an exchange for each stream that it works on.
//!
//! In: events of the connection, and wake-ups of handlers. Out: actions on the streams. A wake-up polls the
//! handler that was woken, and no other. An exchange is dropped with its stream.

use crate::address::Address;
use crate::allowance::{Allowance, HANDLER};
use crate::bell::{self, Bell, Queue};
use crate::exchange::{Exchange, Shares};
use crate::incoming::{Incoming, Reply};
use crate::reply;
use crate::service::Service;
use crate::shared::Shared;
use crate::spare::{self, Slot};
use crate::websocket::Message;
use crate::work::Work;
use bytes::Bytes;
use portcullis::{CloseReason, Connection, Event, RequestHead, StreamId, Tick};
use smallvec::SmallVec;
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

type Of<S, K> = Exchange<<S as Service<K>>::Future, <S as Service<K>>::ResponseBody>;

/// The application's side of a connection.
pub(crate) struct Exchanges<S: Service<K>, K> {
    service: S,
    /// Sorted by their streams: a new stream has the highest number. HTTP/1.1 has one at most.
    exchanges: SmallVec<[Slot<Of<S, K>>; 1]>,
    /// The streams whose handlers were woken, while there are exchanges.
    queue: Option<Arc<Queue>>,
    /// The service is being called for this stream.
    calling: Option<StreamId>,
    /// The service is writing an answer.
    answering: bool,
    /// An exchange is due although nothing has woken it.
    due: bool,
    /// What is left of the connection's turn.
    pub(crate) allowance: Allowance,
}

impl<S: Service<K>, K> Exchanges<S, K> {
    pub(crate) const fn new(service: S) -> Self {
        Exchanges {
            service,
            exchanges: SmallVec::new_const(),
            queue: None,
            calling: None,
            answering: false,
            due: false,
            allowance: Allowance::new(),
        }
    }

    /// Whether a poll may bring the application further.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.due || self.queue.as_ref().is_some_and(|queue| queue.is_rung())
    }

    /// Whether the application is at work.
    pub(crate) fn is_busy(&self) -> bool {
        !self.exchanges.is_empty()
    }

    /// The turn of the connection begins.
    pub(crate) fn begin_turn(&mut self, now: Tick) {
        self.allowance.renew(now);
    }

    /// The connection's task has another waker now.
    #[cold]
    pub(crate) fn moved(&mut self, cx: &Context<'_>) {
        if let Some(queue) = &self.queue {
            queue.set_task(cx.waker());
        }
    }

    /// Bytes that the exchanges hold: content that waits for the handler or for room.
    pub(crate) fn memory(&self) -> usize {
        self.exchanges
            .iter()
            .filter_map(|slot| slot.as_ref().as_pin_ref())
            .map(|exchange| exchange.memory())
            .sum()
    }

    // ---- what the connection tells --------------------------------------------------------------

    /// Takes in an event. A handler is called and polled for the first time within the event of its request;
    /// a websocket's handler is polled with the last message at hand. Returns whether the turn is over.
    pub(crate) fn on_event(
        &mut self,
        cx: &Context<'_>,
        now: Tick,
        connection: &mut Connection,
        event: Event<'_>,
        shared: &Shared,
        peer: &Address,
    ) -> bool {
        let stream = match &event {
            Event::Request { stream, head } => {
                let stream = *stream;
                self.begin(cx, now, connection, stream, head, shared, peer);
                self.poll(now, connection, stream);
                return self.allowance.is_spent();
            }
            Event::Data { stream, .. }
            | Event::End { stream, .. }
            | Event::Reset { stream, .. }
            | Event::Closing { stream, .. }
            | Event::Writable { stream }
            | Event::Message { stream, .. }
            | Event::OwnedMessage { stream, .. }
            | Event::Piece { stream, .. } => *stream,
            _ => return false,
        };
        match event {
            Event::Message { message, behind, .. } => {
                self.deliver(now, connection, stream, message.into(), behind)
            }
            Event::OwnedMessage { text, bytes, behind, .. } => {
                self.deliver(now, connection, stream, Message::own(text, bytes), behind)
            }
            event => {
                if let Some(exchange) = self.exchange(stream) {
                    exchange.on_event(event);
                    self.due = true;
                }
                false
            }
        }
    }

    /// Takes in a message that an event brought, and polls the handler when no byte is at hand `behind` it.
    /// Returns whether the turn is over.
    fn deliver(
        &mut self,
        now: Tick,
        connection: &mut Connection,
        stream: StreamId,
        message: Message,
        behind: usize,
    ) -> bool {
        self.on_message(now, connection, stream, message, 0);
        if behind == 0 {
            self.poll(now, connection, stream);
        }
        self.allowance.is_spent()
    }

    /// Takes in a message of a websocket, which keeps `kept` bytes alive beside its own.
    pub(crate) fn on_message(
        &mut self,
        now: Tick,
        connection: &mut Connection,
        stream: StreamId,
        message: Message,
        kept: usize,
    ) {
        if let Some(exchange) = self.exchange(stream) {
            exchange.on_message(connection.stream(now, stream), message, kept);
            self.due = true;
        }
    }

    /// Takes in content, which keeps `kept` bytes alive.
    pub(crate) fn on_data(&mut self, stream: StreamId, data: Bytes, kept: usize) {
        if let Some(exchange) = self.exchange(stream) {
            exchange.on_data(data, kept);
            self.due = true;
        }
    }

    /// Bytes were written, so there may be room. A websocket is told of room by an event.
    #[inline]
    pub(crate) fn written(&mut self) {
        for exchange in self.exchanges.iter_mut().filter_map(|slot| slot.as_mut().as_pin_mut()) {
            let mut exchange = exchange;
            exchange.as_mut().written();
            self.due |= exchange.is_due();
        }
    }

    /// Tells the handlers that the peer has sent its FIN and may be gone.
    pub(crate) fn disconnect(&mut self) {
        self.each(|exchange| exchange.disconnect());
    }

    /// Tells the handlers that the connection drains.
    pub(crate) fn drain(&mut self) {
        self.each(|exchange| exchange.drain());
    }

    /// Wakes the readers of content, to see which of them ask again.
    pub(crate) fn ask_readers(&mut self) {
        for exchange in self.exchanges.iter_mut().filter_map(|slot| slot.as_mut().as_pin_mut()) {
            exchange.ask_reader();
            self.due = true;
        }
    }

    /// Whether all readers have asked for content since they were woken.
    pub(crate) fn are_read(&self) -> bool {
        self.exchanges.iter().flat_map(|slot| slot.as_ref().get_ref()).all(|it| it.is_read())
    }

    /// Ends the waits of the readers that have not asked again.
    pub(crate) fn cancel_unread(&mut self, now: Tick, connection: &mut Connection) {
        self.each(|exchange| {
            if !exchange.is_read() {
                // A stream that has ended needs no content.
                let _ = connection.stream(now, exchange.stream()).cancel_read();
            }
        });
    }

    // ---- handlers -------------------------------------------------------------------------------

    #[allow(clippy::too_many_arguments)]
    fn begin(
        &mut self,
        cx: &Context<'_>,
        now: Tick,
        connection: &mut Connection,
        stream: StreamId,
        head: &RequestHead<'_>,
        shared: &Shared,
        peer: &Address,
    ) {
        // Set first, in case the service panics.
        self.calling = Some(stream);
        let (mut left, mut shares) = (None, Shares::default());
        let incoming = Incoming {
            stream: connection.stream(now, stream),
            head,
            peer,
            tell_peer: shared.tell_peer,
            left: &mut left,
            shares: &mut shares,
            answering: &mut self.answering,
        };
        let reply = self.service.call(incoming);
        self.calling = None;
        // Each value is made in its box: moving a handler costs more than the branch.
        let slot = match (reply, left) {
            (Reply(Some(future)), _) => {
                let bell = self.bell(cx, stream);
                spare::boxed(|| Exchange::new(stream, Work::Handling { future }, shares, bell))
            }
            (Reply(None), Some(content)) => {
                let bell = self.bell(cx, stream);
                spare::boxed(|| Exchange::new(stream, Work::Finishing { content }, shares, bell))
            }
            // The service has answered on the spot, and the exchange is over.
            (Reply(None), None) => return,
        };
        self.exchanges.push(slot);
    }

    /// A bell for the handler of `stream`.
    fn bell(&mut self, cx: &Context<'_>, stream: StreamId) -> Arc<Bell> {
        if let Some(queue) = &self.queue {
            return Bell::of(queue, stream);
        }
        let bell = bell::spare::bell(stream);
        bell.queue().set_task(cx.waker());
        self.queue = Some(Arc::clone(bell.queue()));
        bell
    }

    /// Polls the exchanges that are due: first those that were woken, in the order of their wake-ups. Each
    /// is polled once, unless the turn ends before.
    pub(crate) fn poll_due(&mut self, now: Tick, connection: &mut Connection) {
        // An exchange that is not polled in this turn, or after a panic, stays due.
        let order = self.take_order();
        for stream in order {
            if self.allowance.is_spent() {
                return;
            }
            self.poll(now, connection, stream);
        }
        self.due =
            self.exchanges.iter().flat_map(|slot| slot.as_ref().get_ref()).any(|it| it.is_due());
    }

    /// The streams whose exchanges are to be polled: all of them are marked as due.
    fn take_order(&mut self) -> SmallVec<[StreamId; 8]> {
        let mut order = SmallVec::new();
        if self.due {
            let due = self.exchanges.iter().flat_map(|slot| slot.as_ref().get_ref());
            order.extend(due.filter(|it| it.is_due()).map(|it| it.stream()));
        }
        let Some(queue) = self.queue.as_ref().filter(|queue| queue.is_rung()) else { return order };
        let queue = Arc::clone(queue);
        let woken = queue.take();
        let marked = woken.iter().filter(|stream| self.exchange(**stream).is_some_and(hear));
        order.insert_many(0, marked.copied());
        queue.give_back(woken);
        self.due = true;
        order
    }

    /// Lets the application work for `stream` as far as it can.
    fn poll(&mut self, now: Tick, connection: &mut Connection, stream: StreamId) {
        let Some(place) = self.place(stream) else { return };
        self.allowance.work(HANDLER);
        let Exchanges { exchanges, allowance, due, .. } = self;
        let slot = exchanges.get_mut(place);
        let Some(mut exchange) = slot.and_then(|slot| slot.as_mut().as_pin_mut()) else { return };
        if exchange.as_mut().poll(connection.stream(now, stream), allowance) {
            let slot = exchanges.remove(place);
            self.ended(slot);
        } else {
            *due |= exchange.is_due();
        }
    }

    /// The service, its handler, the body of its answer, or the handler of a websocket has panicked.
    #[cold]
    pub(crate) fn panicked(&mut self, now: Tick, connection: &mut Connection) {
        let polled = self
            .exchanges
            .iter()
            .position(|slot| slot.as_ref().get_ref().as_ref().is_some_and(|it| it.is_polled()));
        let slot = polled.and_then(|place| self.exchanges.get_mut(place));
        if let Some(exchange) = slot.and_then(|slot| slot.as_mut().as_pin_mut())
            && exchange.panicked()
        {
            self.due = true;
            return;
        }
        let slot = polled.map(|place| self.exchanges.remove(place));
        let stream = slot.as_ref().and_then(|slot| slot.as_ref().get_ref().as_ref());
        let stream = stream.map(|it| it.stream()).or(self.calling.take());
        let given_up = match stream {
            Some(stream) if !self.answering => {
                reply::give_up(&mut connection.stream(now, stream)).is_ok()
            }
            // The answer may have ended within its head.
            _ => false,
        };
        if !given_up {
            connection.abort(now, CloseReason::Application);
        }
        if let Some(slot) = slot {
            self.ended(slot);
        }
    }

    /// The exchange in `slot` was taken out of the map, and is over.
    fn ended(&mut self, slot: Slot<Of<S, K>>) {
        if self.exchanges.is_empty() {
            // A connection without an exchange owns no queue.
            self.queue = None;
            self.due = false;
        }
        Exchange::end(slot);
    }

    // ---- the map --------------------------------------------------------------------------------

    fn place(&self, stream: StreamId) -> Option<usize> {
        let number = |slot: &Slot<Of<S, K>>| {
            slot.as_ref().get_ref().as_ref().map(|exchange| exchange.stream())
        };
        self.exchanges.binary_search_by_key(&Some(stream), number).ok()
    }

    fn exchange(&mut self, stream: StreamId) -> Option<Pin<&mut Of<S, K>>> {
        let place = self.place(stream)?;
        self.exchanges.get_mut(place)?.as_mut().as_pin_mut()
    }

    fn each(&mut self, act: impl FnMut(&Of<S, K>)) {
        self.exchanges.iter().flat_map(|slot| slot.as_ref().get_ref()).for_each(act);
    }
}

/// Marks the exchange, which was woken, as due. Returns whether it was not due before.
fn hear<F, B>(exchange: Pin<&mut Exchange<F, B>>) -> bool {
    exchange.hear()
}

impl<S: Service<K>, K> Drop for Exchanges<S, K> {
    fn drop(&mut self) {
        for slot in take(&mut self.exchanges) {
            Exchange::end(slot);
        }
    }
}
