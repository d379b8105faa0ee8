//! The application's side of a connection: the service, and an exchange for each stream that it works on.
//!
//! In: events of the connection, and wake-ups of handlers. Out: actions on the streams. A wake-up polls the
//! handler that was woken, and no other. An exchange is dropped with its stream.

use crate::address::Address;
use crate::allowance::{Allowance, HANDLER};
use crate::bell::{self, Bell, Queue};
use crate::exchange::{Exchange, Shares};
use crate::incoming::{Incoming, Reply};
use crate::record::{self, Record};
use crate::reply;
use crate::service::Service;
use crate::shared::Shared;
use crate::spare;
use crate::streams::{OfStream, Streams};
use crate::tls_told::TlsTold;
use crate::websocket::Message;
use crate::work::Work;
use bytes::Bytes;
use portcullis::{CloseReason, Connection, Event, RequestHead, StreamId, Tick};
use std::sync::Arc;
use std::task::Context;

type Of<S, K> = Exchange<<S as Service<K>>::Future, <S as Service<K>>::ResponseBody>;

/// The application's side of a connection.
pub(crate) struct Exchanges<S: Service<K>, K> {
    service: S,
    exchanges: Streams<Of<S, K>>,
    /// The service is being called for this stream.
    calling: Option<StreamId>,
    /// The service is writing an answer.
    answering: bool,
    /// An exchange is due although nothing has woken it.
    due: bool,
    /// The last turn was over before all that were due were polled.
    postponed: bool,
    /// What the service is told of TLS.
    tls: TlsTold,
    /// What is left of the connection's turn.
    pub(crate) allowance: Allowance,
}

impl<S: Service<K>, K> Exchanges<S, K> {
    pub(crate) const fn new(service: S) -> Self {
        Exchanges {
            service,
            exchanges: Streams::new(),
            calling: None,
            answering: false,
            due: false,
            postponed: false,
            tls: TlsTold::new(),
            allowance: Allowance::new(),
        }
    }

    /// Whether a poll may bring the application further.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.due || self.queue().is_some_and(|queue| queue.is_rung())
    }

    /// Whether the last turn was over before all that were due were polled. They come before new events
    /// then, so that a client can't fill each turn with requests and hold up the handlers of others.
    #[inline]
    pub(crate) fn has_postponed(&self) -> bool {
        self.postponed
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
        if let Some(queue) = self.queue() {
            queue.set_task(cx.waker());
        }
    }

    /// Bytes that the exchanges hold: content that waits for the handler or for room, and what they are told
    /// of TLS.
    pub(crate) fn memory(&self) -> usize {
        let exchanges: usize = self.exchanges.iter().map(|exchange| exchange.memory()).sum();
        exchanges + self.tls.memory()
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
                if self.begin(cx, now, connection, stream, head, shared, peer) {
                    self.poll(now, connection, stream);
                } else {
                    self.allowance.work(HANDLER);
                }
                return self.allowance.is_spent();
            }
            Event::Refused { stream, reason, head } => {
                shared.stats.count_refusal(*reason);
                record::refused(shared, peer, *stream, *reason, *head);
                return false;
            }
            Event::Data { stream, .. }
            | Event::End { stream, .. }
            | Event::Reset { stream, .. }
            | Event::Ping { stream, .. }
            | Event::Pong { stream, .. }
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
                let is_reset = match &event {
                    Event::Reset { reason, .. } => {
                        shared.stats.count_reset(*reason);
                        true
                    }
                    _ => false,
                };
                if let Some(exchange) = self.exchanges.get(stream) {
                    exchange.on_event(event);
                    self.due |= exchange.is_due();
                    if is_reset {
                        // Polled for the last time and dropped at once, however little is left of the turn:
                        // handlers of streams that are gone must not pile up.
                        self.poll(now, connection, stream);
                        return self.allowance.is_spent();
                    }
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
        if let Some(exchange) = self.exchanges.get(stream) {
            exchange.on_message(connection.stream(now, stream), message, kept);
            self.due = true;
        }
    }

    /// Takes in content, which keeps `kept` bytes alive.
    pub(crate) fn on_data(&mut self, stream: StreamId, data: Bytes, kept: usize) {
        if let Some(exchange) = self.exchanges.get(stream) {
            exchange.on_data(data, kept);
            self.due = true;
        }
    }

    /// Tells the handlers that the peer has sent its FIN and may be gone.
    pub(crate) fn disconnect(&self) {
        self.exchanges.iter().for_each(Exchange::disconnect);
    }

    /// Tells the handlers that the connection drains.
    pub(crate) fn drain(&self) {
        self.exchanges.iter().for_each(Exchange::drain);
    }

    /// Wakes the readers of content, to see which of them ask again.
    pub(crate) fn ask_readers(&mut self) {
        for exchange in self.exchanges.iter_mut() {
            exchange.ask_reader();
            self.due = true;
        }
    }

    /// Whether all readers have asked for content since they were woken.
    pub(crate) fn are_read(&self) -> bool {
        self.exchanges.iter().all(Exchange::is_read)
    }

    /// Ends the waits of the readers that have not asked again.
    pub(crate) fn cancel_unread(&self, now: Tick, connection: &mut Connection) {
        for exchange in self.exchanges.iter().filter(|exchange| !exchange.is_read()) {
            // A stream that has ended needs no content.
            let _ = connection.stream(now, exchange.stream()).cancel_read();
        }
    }

    // ---- handlers -------------------------------------------------------------------------------

    /// Calls the service. Returns whether an exchange has begun: the service may have answered on the spot.
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
    ) -> bool {
        // Set first, in case the service panics.
        self.calling = Some(stream);
        let record = Record::begin(shared, peer, stream, head);
        let (mut left, mut shares) =
            (None, Shares { upload: None, presence: None, held: None, interim: None, record });
        let _within = shares.record.enter();
        self.tls.ask(connection);
        let incoming = Incoming {
            stream: connection.stream(now, stream),
            head,
            peer,
            tell_peer: shared.tell_peer,
            tls: &self.tls,
            left: &mut left,
            shares: &mut shares,
            answering: &mut self.answering,
        };
        // Each value is made in its box: moving a handler costs more than the branch.
        let work = match self.service.call(incoming) {
            Reply(Some(future)) => spare::boxed(|| Work::Handling { future }),
            Reply(None) => match left {
                Some(content) => spare::boxed(|| Work::Finishing { content }),
                // The service has answered on the spot, and the exchange is over.
                None => {
                    self.calling = None;
                    return false;
                }
            },
        };
        self.calling = None;
        let bell = self.bell(cx, stream);
        self.exchanges.push(Exchange::new(stream, work, shares, bell));
        true
    }

    /// A bell for the handler of `stream`.
    fn bell(&self, cx: &Context<'_>, stream: StreamId) -> Arc<Bell> {
        match self.queue() {
            Some(queue) => Bell::of(queue, stream),
            None => bell::spare::bell(stream, cx.waker()),
        }
    }

    /// The streams whose handlers were woken. A connection without an exchange has no queue.
    #[inline]
    fn queue(&self) -> Option<&Arc<Queue>> {
        self.exchanges.first().map(Exchange::queue)
    }

    /// Polls the exchanges that are due: first those that were woken, in the order of their wake-ups. Each
    /// is polled once. If the turn ends before, the rest come first in the next one.
    pub(crate) fn poll_due(&mut self, now: Tick, connection: &mut Connection) {
        // After a panic, an exchange that was not polled stays due.
        let mut order = self.take_order();
        let mut polled = 0;
        for stream in &order {
            if self.allowance.is_spent() {
                break;
            }
            polled += 1;
            // A stream that was postponed and woken again is noted twice.
            if self.exchanges.get(*stream).is_some_and(|exchange| exchange.is_due()) {
                self.poll(now, connection, *stream);
            }
        }
        order.drain(..polled);
        order.retain(|stream| self.exchanges.get(*stream).is_some_and(Exchange::postpone));
        // An exchange that is still due was polled when the turn was over, or within it.
        self.due = self.exchanges.iter().any(Exchange::is_due);
        self.postponed = self.due || !order.is_empty();
        if let Some(queue) = self.queue() {
            queue.give_back(order);
        }
    }

    /// The streams whose exchanges are to be polled. All of them are marked as due.
    fn take_order(&mut self) -> Vec<StreamId> {
        let is_rung = |queue: &&Arc<Queue>| queue.is_rung();
        let mut order = self.queue().filter(is_rung).map_or_else(Vec::new, |queue| queue.take());
        // Those that were due before come after those that were woken, once.
        order.retain(|stream| self.exchanges.get(*stream).map(Exchange::hear).is_some());
        let woken = order.len();
        if self.due {
            let due = self.exchanges.iter().filter(|exchange| exchange.is_due());
            let others = due.map(Exchange::stream).filter(|it| !order.contains(it));
            let others: Vec<_> = others.collect();
            order.extend(others);
        }
        self.due = woken > 0 || self.due;
        order
    }

    /// Lets the application work for `stream` as far as it can.
    fn poll(&mut self, now: Tick, connection: &mut Connection, stream: StreamId) {
        self.allowance.work(HANDLER);
        let Exchanges { exchanges, allowance, due, .. } = self;
        let handlers = exchanges.len();
        let Some(exchange) = exchanges.get(stream) else { return };
        if !exchange.poll(connection.stream(now, stream), allowance, handlers) {
            // Of several exchanges another one may be due.
            *due = exchange.is_due() || (*due && handlers > 1);
            return;
        }
        if let Some(exchange) = exchanges.remove(stream) {
            *due &= !exchanges.is_empty();
            exchange.end();
        }
    }

    /// The service, its handler, the body of its answer, or the handler of a websocket has panicked. Returns
    /// whether that ends its stream alone: the connection is aborted otherwise.
    #[cold]
    pub(crate) fn panicked(&mut self, now: Tick, connection: &mut Connection) -> bool {
        // So a turn ends however many requests panic.
        self.allowance.work(HANDLER);
        let polled = self.exchanges.iter_mut().find(|exchange| exchange.is_polled());
        let stream = polled.as_ref().map(|exchange| exchange.stream());
        if polled.is_some_and(Exchange::panicked) {
            self.due = true;
            return true;
        }
        let mut exchange = stream.and_then(|stream| self.exchanges.remove(stream));
        let given_up = match stream.or(self.calling.take()) {
            Some(stream) if !self.answering => {
                reply::give_up(&mut connection.stream(now, stream)).is_ok()
            }
            // The answer may have ended within its head.
            _ => false,
        };
        if !given_up {
            connection.abort(now, CloseReason::Application);
        }
        if let Some(exchange) = &mut exchange {
            exchange.given_up(given_up);
        }
        if let Some(exchange) = exchange {
            self.due &= !self.exchanges.is_empty();
            exchange.end();
        }
        given_up
    }
}

impl<S: Service<K>, K> Drop for Exchanges<S, K> {
    fn drop(&mut self) {
        self.exchanges.take_all().for_each(Exchange::end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Admission;
    use crate::clock;
    use crate::counted::Counted;
    use crate::error::BoxError;
    use crate::guard::guarded;
    use crate::service::Native;
    use http::Response;
    use http_body_util::Full;
    use portcullis::{Config, ResetReason};
    use std::future::poll_fn;
    use std::mem::take;
    use std::pin::Pin;
    use std::sync::Mutex;
    use std::task::{Poll, Waker};
    use std::time::{Duration, Instant};

    /// What a handler does when it is polled.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Manner {
        Waits,
        WakesItself,
        Panics,
        Answers,
        /// Takes the rest of the turn.
        TakesLong,
    }

    /// Handlers that note when they are polled, by the numbers of their streams.
    #[derive(Clone, Default)]
    struct Noting(Arc<Mutex<Notes>>);

    #[derive(Default)]
    struct Notes {
        polled: Vec<usize>,
        /// The handlers that were polled after they were told that the client is gone.
        told: Vec<usize>,
        wakers: Vec<Option<Waker>>,
        manners: Vec<Option<Manner>>,
    }

    impl Noting {
        fn visit<T>(&self, visit: impl FnOnce(&mut Notes) -> T) -> T {
            visit(&mut self.0.lock().expect("no handler panics while it is locked"))
        }

        fn behave(&self, number: usize, manner: Manner) {
            self.visit(|notes| notes.manners[number] = Some(manner));
        }

        fn wake(&self, number: usize) {
            let waker = self.visit(|notes| notes.wakers[number].clone());
            waker.expect("the handler was polled").wake();
        }

        /// The handlers that were polled since the last call.
        fn polled(&self) -> Vec<usize> {
            self.visit(|notes| take(&mut notes.polled))
        }
    }

    type Answer = Result<Response<Full<Bytes>>, BoxError>;

    impl Service<Native> for Noting {
        type ResponseBody = Full<Bytes>;
        type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

        fn call(&mut self, mut incoming: Incoming<'_>) -> Reply<Self::Future> {
            let gone = incoming.disconnected();
            let number: usize = incoming.head().path()[1..].parse().expect("a number");
            let noting = self.clone();
            noting.visit(|notes| {
                notes.wakers.resize(notes.wakers.len().max(number + 1), None);
                notes.manners.resize(notes.manners.len().max(number + 1), None);
            });
            incoming.handle(|_| -> Self::Future {
                Box::pin(poll_fn(move |cx| {
                    let manner = noting.visit(|notes| {
                        notes.polled.push(number);
                        if gone.is_disconnected() {
                            notes.told.push(number);
                        }
                        notes.wakers[number] = Some(cx.waker().clone());
                        notes.manners[number].unwrap_or(Manner::Waits)
                    });
                    match manner {
                        Manner::Waits => {}
                        Manner::WakesItself => cx.waker().wake_by_ref(),
                        Manner::TakesLong => {
                            let begin = Instant::now();
                            while begin.elapsed() < Duration::from_millis(1) {}
                            cx.waker().wake_by_ref();
                        }
                        Manner::Panics => panic!("as it was told"),
                        Manner::Answers => return Poll::Ready(Ok(Response::default())),
                    }
                    Poll::Pending
                }))
            })
        }
    }

    struct Played {
        noting: Noting,
        exchanges: Exchanges<Noting, Native>,
        connection: Connection,
        task: (Arc<Counted>, Waker),
    }

    const NOW: Tick = Tick::ZERO;

    impl Played {
        /// The application's side of a connection on which the handlers of streams 1 to `count` wait.
        ///
        /// HTTP/1.1 has one stream at a time, so the requests come from connections of their own.
        fn with(count: usize) -> Self {
            let noting = Noting::default();
            let connection = Connection::new(Arc::default(), NOW);
            let exchanges = Exchanges::new(noting.clone());
            let mut played = Played { noting, exchanges, connection, task: Counted::task() };
            (1..=count).for_each(|number| played.request(number));
            assert_eq!(played.noting.polled(), (1..=count).collect::<Vec<_>>());
            played
        }

        fn request(&mut self, number: usize) {
            let config = Arc::new(Config::default());
            let admission = Arc::new(Admission::of_one(&config));
            let shared = Shared::new(config, admission);
            let mut other = Connection::new(Arc::default(), NOW);
            for place in 1..=number {
                let mut wire = format!("GET /{place} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
                let mut events = other.receive(NOW, &mut wire).expect("it reads");
                let Some((inside, event)) = events.next() else { panic!("no request") };
                let Event::Request { stream, .. } = event else { panic!("{event:?}") };
                if place == number {
                    let cx = Context::from_waker(&self.task.1);
                    let peer = Address::Unknown;
                    let Played { exchanges, connection, .. } = self;
                    exchanges.on_event(&cx, NOW, connection, event, &shared, &peer);
                    return;
                }
                let mut stream = inside.stream(NOW, stream);
                let status = http::StatusCode::OK;
                stream.answer(status, None, &mut Bytes::new()).expect("it is owed");
                drop(events);
                other.sent(NOW, usize::MAX);
            }
        }

        /// The client resets the stream of a handler.
        fn reset(&mut self, number: usize) {
            self.on_event(number, |stream| Event::Reset { stream, reason: ResetReason::Cancelled });
        }

        fn writable(&mut self, number: usize) {
            self.on_event(number, |stream| Event::Writable { stream });
        }

        fn on_event(&mut self, number: usize, event: fn(StreamId) -> Event<'static>) {
            let config = Arc::new(Config::default());
            let admission = Arc::new(Admission::of_one(&config));
            let shared = Shared::new(config, admission);
            let cx = Context::from_waker(&self.task.1);
            let ids: Vec<_> = self.exchanges.exchanges.iter().map(Exchange::stream).collect();
            let (event, peer) = (event(ids[number - 1]), Address::Unknown);
            let Played { exchanges, connection, .. } = self;
            exchanges.on_event(&cx, NOW, connection, event, &shared, &peer);
        }

        fn woken(&self) -> usize {
            self.task.0.times_woken()
        }

        /// The task is polled. Returns the handlers that were polled.
        fn turn(&mut self) -> Vec<usize> {
            self.exchanges.begin_turn(NOW);
            if self.exchanges.is_due() {
                self.exchanges.poll_due(NOW, &mut self.connection);
            }
            self.noting.polled()
        }
    }

    #[test]
    fn a_wake_up_polls_the_handler_that_was_woken_and_no_other() {
        let mut played = Played::with(3);
        assert_eq!((played.woken(), played.turn()), (0, vec![]), "a wake-up for the socket");
        played.noting.wake(2);
        assert_eq!((played.woken(), played.turn()), (1, vec![2]));
        assert_eq!(played.turn(), [], "once");
        for number in [3, 1, 3] {
            played.noting.wake(number);
        }
        assert_eq!(
            (played.woken(), played.turn()),
            (2, vec![3, 1]),
            "in the order of the wake-ups"
        );
    }

    #[test]
    fn handlers_that_are_told_of_room_are_polled_in_the_order_of_their_streams_claims() {
        let mut played = Played::with(3);
        [3, 1].into_iter().for_each(|number| played.writable(number));
        assert!(played.exchanges.is_due());
        assert_eq!((played.woken(), played.turn()), (0, vec![3, 1]), "no wake-up is needed");
        assert_eq!(played.turn(), [], "once");
    }

    #[test]
    fn a_handler_that_wakes_itself_lets_the_others_go_first() {
        let mut played = Played::with(2);
        played.noting.behave(1, Manner::WakesItself);
        played.noting.wake(1);
        assert_eq!(played.turn(), [1]);
        played.noting.wake(2);
        assert_eq!(played.turn(), [1, 2]);
        assert_eq!(played.turn(), [1]);
    }

    #[test]
    fn a_late_wake_up_of_a_handler_that_is_gone_polls_nobody() {
        let mut played = Played::with(2);
        played.noting.behave(2, Manner::Answers);
        played.noting.wake(2);
        assert_eq!(played.turn(), [2]);
        played.noting.wake(2);
        assert_eq!(played.turn(), []);
        // A new exchange on the thread is not reached either.
        let mut next = Played::with(1);
        played.noting.wake(2);
        assert_eq!((next.woken(), next.turn()), (0, vec![]));
        assert!(played.exchanges.is_busy());
    }

    #[test]
    fn a_task_that_moves_is_woken_where_it_is() {
        let mut played = Played::with(2);
        let (before, moved) = (played.task.0.clone(), Counted::task());
        played.exchanges.moved(&Context::from_waker(&moved.1));
        played.noting.wake(2);
        assert_eq!((before.times_woken(), moved.0.times_woken()), (0, 1));
        assert_eq!(played.turn(), [2]);
    }

    #[test]
    fn a_panic_of_one_handler_ends_it_and_the_others_are_polled() {
        let mut played = Played::with(3);
        played.noting.behave(2, Manner::Panics);
        [1, 2, 3].into_iter().for_each(|number| played.noting.wake(number));
        assert!(guarded(|| played.turn()).is_none());
        assert_eq!(played.noting.polled(), [1, 2]);
        played.exchanges.panicked(NOW, &mut played.connection);
        assert!(played.exchanges.is_due());
        played.exchanges.poll_due(NOW, &mut played.connection);
        assert!(played.noting.polled().contains(&3));
        played.noting.wake(2);
        assert_eq!(played.turn(), [], "it is gone");
    }

    #[test]
    fn a_handler_whose_stream_was_reset_is_told_polled_once_more_and_dropped() {
        let mut played = Played::with(3);
        // Handlers of streams that are gone must not pile up, so this does not wait for the next turn.
        played.exchanges.allowance.moved(usize::MAX);
        played.reset(2);
        assert_eq!(played.noting.polled(), [2]);
        assert_eq!(played.noting.visit(|notes| take(&mut notes.told)), [2], "before it is dropped");
        assert_eq!(played.exchanges.exchanges.iter().count(), 2);
        (1..=3).for_each(|number| played.noting.wake(number));
        assert_eq!(played.turn(), [1, 3]);
        assert_eq!(played.noting.visit(|notes| take(&mut notes.told)), [], "the others go on");
    }

    #[test]
    fn each_handler_that_panics_ends_alone_however_many_do() {
        let mut played = Played::with(5);
        [1, 2, 4, 5].into_iter().for_each(|number| played.noting.behave(number, Manner::Panics));
        (1..=5).for_each(|number| played.noting.wake(number));
        for _ in 0..4 {
            assert!(guarded(|| played.turn()).is_none());
            assert!(played.exchanges.panicked(NOW, &mut played.connection), "it is accounted for");
        }
        let mut polled = played.turn();
        polled.sort_unstable();
        assert_eq!(polled, [1, 2, 3, 4, 5], "each once");
        assert_eq!(played.exchanges.exchanges.iter().count(), 1);
        played.noting.wake(3);
        assert_eq!(played.turn(), [3]);
        assert!(!played.exchanges.panicked(NOW, &mut played.connection), "nothing was polled");
    }

    #[test]
    fn handlers_that_take_whole_turns_starve_nobody() {
        let mut played = Played::with(10);
        (1..=5).for_each(|number| played.noting.behave(number, Manner::TakesLong));
        (1..=10).for_each(|number| played.noting.wake(number));
        let mut polled = Vec::new();
        for _ in 0..5 {
            // What comes for a handler that was postponed does not put it back.
            [6, 9].into_iter().for_each(|number| played.writable(number));
            played.exchanges.begin_turn(clock::tick(Instant::now()));
            played.exchanges.poll_due(NOW, &mut played.connection);
            polled.extend(played.noting.polled());
        }
        // Those that were woken first come first, whoever wakes itself meanwhile.
        assert_eq!(polled[..10], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(polled[10..15], [1, 2, 3, 4, 5], "once each, before any goes twice");
    }

    #[test]
    fn a_turn_that_is_over_leaves_the_rest_to_the_next_one() {
        let mut played = Played::with(3);
        [3, 2, 1].into_iter().for_each(|number| played.noting.wake(number));
        played.exchanges.begin_turn(NOW);
        played.exchanges.allowance.moved(usize::MAX);
        played.exchanges.poll_due(NOW, &mut played.connection);
        assert_eq!(played.noting.polled(), [], "the turn was over");
        assert!(played.exchanges.is_due() && played.exchanges.has_postponed());
        let mut polled = played.turn();
        polled.sort_unstable();
        assert_eq!(polled, [1, 2, 3]);
        assert!(!played.exchanges.is_due() && !played.exchanges.has_postponed());
    }
}
