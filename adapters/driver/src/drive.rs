//! The loop: a connection and a socket as one future.
//!
//! A round reads, polls the application, and writes. So a request is answered at once, and answers that
//! are ready together leave in one write. The loop goes round while there may be more to do, up to a
//! number of rounds that keeps it fair, and then waits with one timer.
//!
//! Time comes last: before a deadline fires, the loop takes into account everything that has arrived and
//! everything that the peer has taken. See [`Drive::expire`].

mod header;
mod panic;
mod room;

use crate::accept::Newcomer;
use crate::address::Address;
use crate::clock;
use crate::control::Order;
use crate::exchanges::Exchanges;
use crate::guard::guarded;
use crate::membership::Membership;
use crate::roster::Listed;
use crate::runtime;
use crate::scratch::{self, Scratch};
use crate::service::Service;
use crate::shared::Shared;
use crate::socket::Socket;
use crate::stats::Share;
use crate::timer::LazyTimer;
use crate::within::Within;
use header::Expected;
use portcullis::websocket::Message;
use portcullis::{
    CloseReason, Config, Connection, Event, Expiry, PeerClose, Phase, Status, StreamId, Stress,
    Tick, Timer,
};
use std::future::Future;
use std::io::IoSlice;
use std::mem::replace;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tracing::Span;
use tracing::field::Empty;

/// Rounds before other tasks get their turn.
const ROUNDS: usize = 32;
/// The interval at which a socket that is not read is checked for a reset.
const WATCH: Duration = Duration::from_secs(2);
/// A wake-up that is later than this means that the process stood still or is overloaded. The peer then gets
/// the same time again to show itself, because its bytes may still be on their way.
const LATE: Duration = Duration::from_secs(1);
/// Slices in one write.
const SLICES: usize = 16;
/// From this length on, a piece of a read may be shared with the application instead of copied.
const SHARED: usize = 16 << 10;
/// The most bytes that may follow a shared piece in its read, because these bytes are copied.
const COPIED: usize = 1 << 10;

/// What a large piece of a read is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Content,
    Message,
}

/// A large piece of a read, and the stream that it belongs to.
struct Piece {
    kind: Kind,
    stream: StreamId,
    place: Range<usize>,
}

impl Kind {
    /// The most memory that a shared piece may keep alive, as a multiple of its length. Many pieces of
    /// content may wait, but only one message of this size, and there is room for the longest message.
    fn most_kept(self, config: &Config) -> usize {
        let has_room = config.websocket_message_limit() >= config.receive_buffer_limit();
        match self {
            Kind::Message if has_room => 4,
            _ => 2,
        }
    }
}

/// One connection being served. Ends when the connection is closed.
pub(crate) struct Drive<T: runtime::Timer, I: Socket, S: Service<K>, K> {
    shared: Arc<Shared>,
    connection: Connection,
    socket: I,
    peer: Address,
    /// Gives log lines of this connection its peer. `None` if no subscriber wants it.
    span: Option<Arc<Span>>,
    /// The header of a proxy, until it is complete.
    header: Option<Box<Expected>>,
    exchanges: Exchanges<S, K>,
    timer: LazyTimer<T>,
    share: Share,
    /// Its place in the list of connections, if the server keeps one.
    listed: Option<Listed>,
    membership: Membership,
    /// The [place](Stress::index) of the stress that the connection knows of.
    stress: u8,
    /// The socket may hold back bytes that were written.
    unflushed: bool,
    /// The connection is closed, and the socket has to be flushed until `put_off`.
    closing: bool,
    shut_down: bool,
    /// The last read would have filled a usual buffer, so the next read gets a larger buffer if it may.
    filled: bool,
    /// The socket had nothing to read in this poll. It wakes the task when it has, and is not read before.
    drained: bool,
    /// The end of the connection is counted.
    over: bool,
    /// When the socket was last checked for a reset.
    watched: Tick,
    /// Until when a deadline that has passed is put off.
    put_off: Tick,
}

// No field is pinned in place: futures that have to be pinned are boxed.
impl<T: runtime::Timer, I: Socket, S: Service<K>, K> Unpin for Drive<T, I, S, K> {}

impl<T: runtime::Timer, I: Socket, S: Service<K>, K> Drive<T, I, S, K> {
    pub(crate) fn new(shared: Arc<Shared>, newcomer: Newcomer<I>, service: S) -> Self {
        let (socket, peer, number) = newcomer;
        let now = clock::tick(Instant::now());
        let mut connection = Connection::new(shared.config.clone(), now);
        if socket.is_measured() {
            connection.acknowledged(now, 0);
        }
        connection.set_wall_clock(now, clock::since_epoch());
        let header = shared.is_proxy(&peer).then(Expected::new);
        let span = span(&peer, &shared);
        Drive {
            connection,
            share: Share::new(&shared.stats),
            listed: shared.roster.as_ref().map(|it| it.list(&peer, now)),
            membership: Membership::join(&shared, number, now),
            stress: Stress::NONE.index() as u8,
            shared,
            socket,
            peer,
            span,
            header,
            exchanges: Exchanges::new(service),
            timer: LazyTimer::new(),
            unflushed: false,
            closing: false,
            shut_down: false,
            filled: false,
            drained: false,
            over: false,
            watched: now,
            put_off: now,
        }
    }

    fn obey(&mut self, cx: &Context<'_>, now: Tick) {
        if !self.membership.is_told_by(cx) {
            self.enroll(cx);
        }
        // Read after enrolling, so that no order is missed in between.
        match self.shared.control.order() {
            Order::Run => {}
            Order::Drain => self.connection.drain(now),
            Order::End => self.connection.abort(now, CloseReason::Aborted),
        }
        let stress = self.shared.admission.stress();
        if stress != self.stress {
            self.hurry(stress, now);
        }
    }

    /// The pressure on all connections has changed: timers become shorter or longer.
    #[cold]
    fn hurry(&mut self, stress: u8, now: Tick) {
        self.stress = stress;
        let stress = Stress::at(stress.into()).unwrap_or(Stress::NONE);
        let changed = self.connection.set_config(now, self.shared.stressed(stress));
        debug_assert_eq!(changed, Ok(()));
        self.shared.admission.tell_on();
    }

    /// Registers the task's new waker wherever the old one was.
    #[cold]
    fn enroll(&mut self, cx: &Context<'_>) {
        self.membership.moved(&self.shared, cx.waker());
        self.exchanges.moved(cx);
        self.timer.moved();
    }

    /// Writes until the socket takes no more. Returns whether any byte was written.
    #[inline(always)]
    fn write(&mut self, cx: &mut Context<'_>, now: Tick) -> bool {
        let mut moved = false;
        while self.connection.status().write {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.connection.outgoing(&mut slices);
            match self.socket.poll_write(cx, slices.get(..count).unwrap_or_default()) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => {
                    self.connection.sent(now, bytes);
                    self.exchanges.allowance.moved(bytes);
                    self.membership.progress(bytes);
                    moved = true;
                }
                Poll::Ready(_) => {
                    self.connection.abort(now, CloseReason::Peer(PeerClose::Reset));
                    return true;
                }
                Poll::Pending => break,
            }
        }
        self.unflushed |= moved;
        if self.unflushed {
            self.flush(cx, now);
        }
        moved
    }

    /// Flushes a socket that buffers.
    fn flush(&mut self, cx: &mut Context<'_>, now: Tick) {
        if let Poll::Ready(flushed) = self.socket.poll_flush(cx) {
            self.unflushed = false;
            if flushed.is_err() {
                self.connection.abort(now, CloseReason::Peer(PeerClose::Reset));
            }
        }
    }

    /// Reads once. Returns whether the socket had anything to tell.
    fn read(&mut self, cx: &mut Context<'_>, now: Tick, scratch: &mut Scratch) -> bool {
        if self.drained {
            return false;
        }
        let usual = self.shared.config.receive_buffer_limit() as usize;
        let limit = if self.filled { self.connection.receive_limit() } else { usual };
        // A usual read needs no large buffer.
        let large = limit >= 2 * usual;
        let buffer = scratch.read(if large { limit } else { usual }, large);
        match self.socket.poll_read(cx, buffer) {
            Poll::Pending => {
                self.drained = true;
                return false;
            }
            Poll::Ready(Ok(0)) if self.has_begun_header() => self.refuse_header(now),
            Poll::Ready(Ok(0)) => {
                // The next round pulls these events.
                drop(self.connection.receive_eof(now));
            }
            Poll::Ready(Ok(bytes)) => {
                self.filled = bytes >= usual;
                self.exchanges.allowance.moved(bytes);
                self.membership.progress(bytes);
                let read = buffer.get_mut(..bytes).unwrap_or_default();
                let Some(start) = self.read_header(now, read) else { return true };
                if let Some(Piece { kind, stream, place }) = self.receive(cx, now, read, start) {
                    let (bytes, kept) = scratch.share(place, kind.most_kept(&self.shared.config));
                    match kind {
                        Kind::Content => self.exchanges.on_data(stream, bytes, kept),
                        Kind::Message => {
                            let more = kept.saturating_sub(bytes.len());
                            let connection = &mut self.connection;
                            let message = bytes.into();
                            self.exchanges.on_message(now, connection, stream, message, more);
                        }
                    }
                }
            }
            Poll::Ready(Err(_)) => self.connection.abort(now, CloseReason::Peer(PeerClose::Reset)),
        }
        true
    }

    /// Passes the read bytes to the connection and its events to the exchange. A large piece of content, or
    /// a large message, is returned instead: the caller shares it with the application without a copy. The
    /// connection gets the bytes after `begin`.
    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Tick,
        read: &mut [u8],
        begin: usize,
    ) -> Option<Piece> {
        let Drive { shared, connection, exchanges, peer, .. } = self;
        let (start, length) = (read.as_ptr() as usize, read.len());
        // Held bytes lie outside of the read buffer.
        let place = |data: &[u8]| {
            let begin = (data.as_ptr() as usize).checked_sub(start)?;
            let end = begin.checked_add(data.len())?;
            (end <= length).then_some(begin..end)
        };
        // Not refused: the connection wants to read, and gets at most its limit.
        let mut events = connection.receive(now, read.get_mut(begin..)?).ok()?;
        while let Some((connection, event)) = events.next() {
            let large = match &event {
                Event::Data { stream, data, behind } => {
                    Some((Kind::Content, *stream, &**data, *behind))
                }
                // Text is validated again when it becomes the application's, so it may as well be copied.
                Event::Message { stream, message: Message::Binary(data), behind } => {
                    Some((Kind::Message, *stream, &**data, *behind))
                }
                _ => None,
            };
            if let Some((kind, stream, data, behind)) = large
                && data.len() >= SHARED
                && behind <= COPIED
                && let Some(place) = place(data)
            {
                return Some(Piece { kind, stream, place });
            }
            // A large read has brought content, all of which comes before anything else in it: what is
            // left behind a request may be held.
            if exchanges.on_event(cx, now, connection, event, shared, peer) {
                break;
            }
        }
        None
    }

    /// Takes the events that need no new bytes. Returns whether there were any.
    fn resume(&mut self, cx: &mut Context<'_>, now: Tick) -> bool {
        let Drive { shared, connection, exchanges, peer, .. } = self;
        let mut events = connection.resume(now);
        let mut moved = false;
        while let Some((connection, event)) = events.next() {
            moved = true;
            if exchanges.on_event(cx, now, connection, event, shared, peer) {
                break;
            }
        }
        moved
    }

    /// Does one round. Returns whether there may be more to do.
    fn round(&mut self, cx: &mut Context<'_>, now: Tick, scratch: &mut Scratch) -> bool {
        let mut moved = self.exchanges.has_postponed();
        if moved {
            self.exchanges.poll_due(now, &mut self.connection);
            if self.exchanges.has_postponed() {
                // The turn is over again. Those that were told of room keep it until they have been polled.
                self.write(cx, now);
                return true;
            }
        }
        moved |= self.connection.status().resume && self.resume(cx, now);
        let reads = self.connection.status().read;
        let has_read = reads && self.read(cx, now, scratch);
        if has_read {
            // A handler that is due may ask for more content, so it comes first. Without a handler, one more
            // read lets the answers of pipelined requests leave together.
            moved |= self.exchanges.is_due()
                || (self.connection.status().read && self.read(cx, now, scratch));
        }
        let due = self.exchanges.is_due();
        if due {
            self.exchanges.poll_due(now, &mut self.connection);
        }
        let wrote = self.write(cx, now);
        let reads_now = !reads && self.connection.status().read;
        // Only what this round has done can have made new events due.
        let resumes = (has_read || due || wrote) && self.connection.status().resume;
        moved
            || reads_now
            || resumes
            || self.exchanges.is_due()
            || self.connection.status().has_work
    }

    /// Goes round until there is nothing left to do.
    #[inline(always)]
    fn attend(
        &mut self,
        cx: &mut Context<'_>,
        now: Tick,
        scratch: &mut Scratch,
    ) -> Poll<CloseReason> {
        for _ in 0..ROUNDS {
            let goes_on = self.round(cx, now, scratch);
            if self.exchanges.allowance.is_spent() {
                return self.end_turn(cx, now);
            }
            if goes_on {
                continue;
            }
            let status = self.connection.status();
            if status.wants_shutdown()
                && !self.shut_down
                && let Poll::Ready(done) = self.socket.poll_shutdown_write(cx)
            {
                self.shut_down = true;
                if done.is_err() {
                    self.connection.abort(now, CloseReason::Peer(PeerClose::Reset));
                }
                continue;
            }
            if let Some(reason) = status.closed() {
                if self.unflushed && self.waits_for_flush(cx, now, reason) {
                    return Poll::Pending;
                }
                self.closed(reason);
                return Poll::Ready(reason);
            }
            self.tell_handler();
            let is_unwatched = is_unwatched(status);
            if is_unwatched && self.looks(now) {
                continue;
            }
            // Everything above may have moved the deadline, so it is read last.
            if self.wait(cx, now, is_unwatched).is_pending() {
                return Poll::Pending;
            }
        }
        // There may be more to do, but deadlines pass all the same.
        self.connection.tick(now);
        T::yield_now(cx);
        Poll::Pending
    }

    /// Whether to wait for bytes that the socket holds back, since the connection has ended in good order.
    /// The peer may be silent for as long as while a connection lingers.
    #[cold]
    fn waits_for_flush(&mut self, cx: &mut Context<'_>, now: Tick, reason: CloseReason) -> bool {
        use CloseReason::{Aborted, MadeRoom, Peer};
        if matches!(reason, Aborted | MadeRoom | Peer(PeerClose::Reset))
            || self.connection.status().is_cut_off()
        {
            return false;
        }
        if !replace(&mut self.closing, true) {
            // No deadline is left to be put off.
            self.put_off = now.after(self.shared.config.linger_silence());
        }
        self.timer.wake_at(cx, now, self.put_off)
    }

    /// Ends the turn before the work is done. The peer is not charged for bytes that were not looked at:
    /// only the deadlines that don't depend on the peer fire.
    #[cold]
    fn end_turn(&mut self, cx: &mut Context<'_>, now: Tick) -> Poll<CloseReason> {
        if let Some((at, Timer::Drain | Timer::ConnectionAge)) = self.connection.deadline()
            && at <= now
        {
            self.connection.tick(now);
        }
        T::yield_now(cx);
        Poll::Pending
    }

    /// Tells the handler of a FIN and of a drain.
    fn tell_handler(&mut self) {
        if self.connection.is_half_closed() {
            self.exchanges.disconnect();
        }
        if self.connection.is_draining() {
            self.exchanges.drain();
        }
    }

    /// Checks from time to time whether the peer has reset or ended a connection that is not read, because
    /// of backpressure or because its FIN was read. No read would notice that. Returns whether it has.
    fn looks(&mut self, now: Tick) -> bool {
        if self.watched.after(WATCH) > now {
            return false;
        }
        self.watched = now;
        if self.socket.take_error().is_some() {
            self.connection.abort(now, CloseReason::Peer(PeerClose::Reset));
            return true;
        }
        let has_ended = !self.connection.is_half_closed() && self.socket.has_fin();
        if has_ended {
            self.connection.fin_arrived(now);
        }
        has_ended
    }

    /// Arms the timer for the deadline. Ready if the deadline has passed and there is more to do.
    fn wait(&mut self, cx: &mut Context<'_>, now: Tick, is_unwatched: bool) -> Poll<()> {
        let deadline = self.deadline();
        if let Some((at, timer)) = deadline
            && at <= now
        {
            return self.expire(cx, now, at, timer);
        }
        let mut alarm = deadline.map(|(at, _)| at);
        if is_unwatched {
            let watch = self.watched.after(WATCH);
            alarm = Some(alarm.map_or(watch, |at| at.min(watch)));
        }
        match alarm {
            Some(at) if !self.timer.wake_at(cx, now, at) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    /// A deadline has passed, and there was nothing left to read, poll or write. Before it fires, three more
    /// questions are asked. Have bytes arrived that the runtime has not reported? Has the peer taken bytes
    /// that only the system knows of? Has the reader of the content given up? Ready if there is more to do.
    fn expire(&mut self, cx: &mut Context<'_>, now: Tick, at: Tick, timer: Timer) -> Poll<()> {
        if self.connection.status().read && self.socket.has_arrived() {
            T::yield_now(cx);
            return Poll::Pending;
        }
        if self.connection.unacknowledged() > 0
            && let Some(held) = self.socket.unacknowledged()
        {
            self.connection.acknowledged(now, held);
            if self.connection.deadline().is_none_or(|(at, _)| at > now) {
                return Poll::Ready(());
            }
        }
        let (asks, is_late) = (timer == Timer::RequestBody, now.since(at) > LATE);
        if (asks || is_late) && self.put_off <= at {
            self.put_off = now.after(LATE);
            if asks {
                self.exchanges.ask_readers();
            }
            return Poll::Ready(());
        }
        let is_read = !asks || self.exchanges.are_read();
        if (is_late || !is_read) && now < self.put_off {
            let wakes = self.timer.wake_at(cx, now, self.put_off);
            return if wakes { Poll::Pending } else { Poll::Ready(()) };
        }
        if !is_read {
            self.exchanges.cancel_unread(now, &mut self.connection);
        }
        self.expire_header(now);
        // Nothing happens if the deadline was that of a wait that was cancelled.
        self.connection.tick(now);
        Poll::Ready(())
    }

    /// Attends to the connection with the thread's scratch buffers.
    fn take_turn(&mut self, cx: &mut Context<'_>, now: Tick) -> Poll<CloseReason> {
        scratch::with(|scratch| {
            scratch.lend(&mut self.connection);
            let mut leaves = false;
            let polled = loop {
                let polled = self.attend(cx, now, scratch);
                // A connection with more to do is polled again.
                let done = polled.is_pending() && !self.exchanges.allowance.is_spent();
                let asked = done && self.shared.admission.asks();
                if !asked || !self.make_room(now, &mut leaves) {
                    break polled;
                }
            };
            scratch.take_back(&mut self.connection);
            self.count(now);
            polled
        })
    }

    /// Brings the server's counters up to date.
    fn count(&mut self, now: Tick) {
        if !self.over {
            let Drive { connection, exchanges, shared, share, header, .. } = self;
            let header = header.as_ref().map_or(0, |_| size_of::<Expected>());
            let memory = connection.memory() + exchanges.memory() + header;
            let phase = connection.phase();
            let requests = connection.requests();
            let is_new = share.update(&shared.stats, phase, memory, requests);
            self.stand(phase, memory, is_new, now);
            if self.listed.is_some() {
                self.tell_list(phase, memory, requests);
            }
        }
    }

    /// Tells the list of connections what this one does.
    fn tell_list(&mut self, phase: Phase, memory: usize, requests: u64) {
        let deadline = self.deadline();
        if let Some(listed) = &self.listed {
            listed.tell(phase, memory, requests, deadline);
        }
    }

    /// Counts the end of the connection, once.
    fn closed(&mut self, reason: CloseReason) {
        if replace(&mut self.over, true) {
            return;
        }
        if self.connection.status().is_cut_off() {
            self.socket.reset_on_close();
        }
        self.listed = None;
        let requests = self.connection.requests();
        if let Some(span) = &self.span {
            span.record("requests", requests);
            span.record("reason", reason.label());
        }
        tracing::debug!(peer = %self.peer, %reason, requests, "closed");
        self.share.close(&self.shared.stats, reason, requests);
        let cut = reason == CloseReason::Expired(Expiry::Drain);
        self.membership.leave(&self.shared, cut, clock::tick(Instant::now()));
    }
}

/// The span of a connection, if a subscriber wants it.
fn span(peer: &Address, shared: &Shared) -> Option<Arc<Span>> {
    let span = tracing::debug_span!(
        "connection",
        %peer,
        client = Empty,
        tls = shared.config.has_tls(),
        requests = Empty,
        reason = Empty,
    );
    (!span.is_disabled()).then(|| Arc::new(span))
}

/// Whether the socket is not read though the connection is in use.
fn is_unwatched(status: Status) -> bool {
    status.is_open() && !status.read
}

impl<T: runtime::Timer, I: Socket, S: Service<K>, K> Future for Drive<T, I, S, K> {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let _within = Within::enter(self.span.as_ref());
        // One look at the clock is enough, because a poll is short.
        let now = clock::tick(Instant::now());
        self.obey(cx, now);
        self.exchanges.begin_turn(now);
        self.drained = false;
        let this = &mut *self;
        let mut aborts = 0;
        loop {
            if let Some(polled) = guarded(|| this.take_turn(cx, now)) {
                return polled;
            }
            if !this.recovers(now, &mut aborts) {
                return Poll::Ready(CloseReason::Aborted);
            }
        }
    }
}

impl<T: runtime::Timer, I: Socket, S: Service<K>, K> Drop for Drive<T, I, S, K> {
    fn drop(&mut self) {
        // A connection that is not closed here lost its task, or its handler panicked.
        let _within = Within::enter(self.span.as_ref());
        self.connection.abort(Tick::ZERO, CloseReason::Aborted);
        self.closed(CloseReason::Aborted);
    }
}
