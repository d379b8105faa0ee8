//! The loop: a connection and a socket as one future.
//!
//! Each round: reading, the application, writing, so that what arrives is answered at once, and
//! answers which are ready together leave together. It goes round while there may be more to do, up
//! to a number that keeps it fair, and then waits with one timer.

use crate::clock;
use crate::control::Order;
use crate::exchange::Exchange;
use crate::runtime::{Runtime, Socket};
use crate::scratch::{self, Scratch};
use crate::service::Service;
use crate::shared::Shared;
use crate::stats::Share;
use crate::timer::LazyTimer;
use portcullis::websocket::Message;
use portcullis::{CloseReason, Connection, Event, PeerClose, Status, Tick, Timer};
use std::future::Future;
use std::io::IoSlice;
use std::mem::replace;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Rounds before other tasks get their turn.
const ROUNDS: usize = 32;
/// Slices in one write.
const SLICES: usize = 16;
/// From this length on what was read may be shared with the application instead of being copied.
const SHARED: usize = 16 << 10;
/// What follows such a piece is copied then, so it should be no more than so many bytes.
const COPIED: usize = 1 << 10;

/// What a large piece of what was read is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Content,
    Message,
}

/// One connection being served. Ends when the connection is closed.
pub(crate) struct Drive<R: Runtime, S: Service<K>, K> {
    shared: Arc<Shared<S>>,
    connection: Connection,
    socket: R::Socket,
    peer: SocketAddr,
    exchange: Exchange<S, K>,
    timer: LazyTimer<R::Timer>,
    share: Share,
    /// The number among the server's connections, and the waker it is told by.
    member: Option<(usize, Waker)>,
    shut_down: bool,
    /// The last read would have filled a usual buffer: the next one gets more, if it may.
    filled: bool,
    /// In this poll the socket had nothing to read: it wakes the task when it does, and is not asked
    /// again before.
    drained: bool,
    /// Its end is accounted for.
    over: bool,
}

// Nothing in it is pinned in place: what has to be is boxed.
impl<R: Runtime, S: Service<K>, K> Unpin for Drive<R, S, K> {}

impl<R: Runtime, S: Service<K>, K> Drive<R, S, K> {
    pub(crate) fn new(shared: Arc<Shared<S>>, socket: R::Socket, peer: SocketAddr) -> Self {
        let now = clock::tick(Instant::now());
        Drive {
            connection: Connection::new(shared.config.clone(), now),
            share: Share::new(&shared.stats),
            shared,
            socket,
            peer,
            exchange: Exchange::new(),
            timer: LazyTimer::new(),
            member: None,
            shut_down: false,
            filled: false,
            drained: false,
            over: false,
        }
    }

    fn obey(&mut self, cx: &Context<'_>, now: Tick) {
        match &self.member {
            Some((_, waker)) if waker.will_wake(cx.waker()) => {}
            _ => self.enroll(cx.waker()),
        }
        // After joining, so that no order falls in between.
        match self.shared.control.order() {
            Order::Run => {}
            Order::Drain => self.connection.drain(now),
            Order::End => self.connection.abort(now, CloseReason::Aborted),
        }
    }

    /// Says by which waker this task is to be woken from now on.
    #[cold]
    fn enroll(&mut self, waker: &Waker) {
        let control = &self.shared.control;
        let member = match &self.member {
            None => control.join(waker),
            Some((member, _)) => {
                control.moved(*member, waker);
                *member
            }
        };
        self.member = Some((member, waker.clone()));
        self.timer.moved();
    }

    /// Writes until the socket takes no more; true if anything went.
    fn write(&mut self, cx: &mut Context<'_>, now: Tick) -> bool {
        let mut moved = false;
        while self.connection.wants_write() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.connection.outgoing(&mut slices);
            match self.socket.poll_write(cx, slices.get(..count).unwrap_or_default()) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => {
                    self.connection.sent(now, bytes);
                    moved = true;
                }
                Poll::Ready(_) => {
                    self.connection.abort(now, CloseReason::Peer(PeerClose::Reset));
                    return true;
                }
                Poll::Pending => break,
            }
        }
        moved
    }

    /// Reads once; true if anything came.
    fn read(&mut self, cx: &mut Context<'_>, now: Tick, scratch: &mut Scratch) -> bool {
        if self.drained {
            return false;
        }
        let usual = self.shared.config.receive_buffer_limit() as usize;
        let size = if self.filled { self.connection.receive_limit() } else { usual };
        let buffer = scratch.read(size);
        match self.socket.poll_read(cx, buffer) {
            Poll::Pending => {
                self.drained = true;
                return false;
            }
            Poll::Ready(Ok(0)) => {
                // What it brings is taken where all is taken that needs no new bytes.
                drop(self.connection.receive_eof(now));
                self.resume(cx, now);
            }
            Poll::Ready(Ok(bytes)) => {
                self.filled = bytes >= usual;
                let read = buffer.get_mut(..bytes).unwrap_or_default();
                if let Some((kind, place)) = self.receive(cx, now, read) {
                    let bytes = scratch.share(place);
                    match kind {
                        Kind::Content => self.exchange.on_data(bytes),
                        Kind::Message => {
                            self.exchange.on_message(now, &mut self.connection, bytes.into());
                        }
                    }
                    self.resume(cx, now);
                }
            }
            Poll::Ready(Err(_)) => self.connection.abort(now, CloseReason::Peer(PeerClose::Reset)),
        }
        true
    }

    /// Passes on what was read; a large piece of content, or message, is left to the caller, who may
    /// share it instead of copying it, if it lies there and next to nothing follows.
    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Tick,
        read: &mut [u8],
    ) -> Option<(Kind, Range<usize>)> {
        let Drive { shared, connection, exchange, peer, .. } = self;
        let (start, length) = (read.as_ptr() as usize, read.len());
        // What is held lies elsewhere.
        let place = |data: &[u8]| {
            let begin = (data.as_ptr() as usize).checked_sub(start)?;
            let end = begin.checked_add(data.len())?;
            (end <= length).then_some(begin..end)
        };
        // Never refused: it wants to read, and gets no more than it may.
        let mut events = connection.receive(now, read).ok()?;
        while let Some((connection, event)) = events.next() {
            let large = match &event {
                Event::Data { data, behind, .. } => Some((Kind::Content, &**data, *behind)),
                // Text is checked again where it becomes the application's: it is as well copied.
                Event::Message { message: Message::Binary(data), behind, .. } => {
                    Some((Kind::Message, &**data, *behind))
                }
                _ => None,
            };
            if let Some((kind, data, behind)) = large
                && data.len() >= SHARED
                && behind <= COPIED
                && let Some(place) = place(data)
            {
                return Some((kind, place));
            }
            exchange.on_event(cx, now, connection, event, shared, *peer);
        }
        None
    }

    /// Takes the events that need no new bytes; true if there were any.
    fn resume(&mut self, cx: &mut Context<'_>, now: Tick) -> bool {
        let Drive { shared, connection, exchange, peer, .. } = self;
        let mut events = connection.resume(now);
        let mut moved = false;
        while let Some((connection, event)) = events.next() {
            exchange.on_event(cx, now, connection, event, shared, *peer);
            moved = true;
        }
        moved
    }

    /// Does what can be done now; true if there may be more.
    fn round(&mut self, cx: &mut Context<'_>, now: Tick, scratch: &mut Scratch) -> bool {
        let mut moved = self.connection.has_events() && self.resume(cx, now);
        let reads = self.connection.wants_read();
        if reads && self.read(cx, now, scratch) {
            // What came may be for the handler, which may then ask for more; without one, whether
            // more has come is looked at now, so that answers leave together.
            moved |= self.exchange.is_due()
                || (self.connection.wants_read() && self.read(cx, now, scratch));
        }
        let due = self.exchange.is_due();
        if due {
            self.exchange.poll(cx, now, &mut self.connection);
        }
        let wrote = self.write(cx, now);
        if wrote {
            // What was written made room for more.
            self.exchange.written();
        }
        let reads_now = !reads && self.connection.wants_read();
        // Only what was done here can have brought events that were not there before.
        let resumes = (due || wrote) && self.connection.has_events();
        moved || reads_now || resumes || self.exchange.is_due()
    }

    /// Goes round until there is nothing left to do now.
    fn attend(&mut self, cx: &mut Context<'_>, now: Tick, scratch: &mut Scratch) -> Poll<()> {
        for _ in 0..ROUNDS {
            if self.round(cx, now, scratch) {
                continue;
            }
            let status = self.connection.status();
            if status.wants_shutdown() && !replace(&mut self.shut_down, true) {
                if self.socket.shutdown_write().is_err() {
                    self.connection.abort(now, CloseReason::Peer(PeerClose::Reset));
                }
                continue;
            }
            if let Status::Closed(reason) = status {
                self.closed(reason);
                return Poll::Ready(());
            }
            // Everything above may have moved the deadline: it is read last.
            let deadline = self.connection.deadline();
            if deadline.is_none_or(|(at, _)| self.timer.wake_at(cx, now, at)) {
                return Poll::Pending;
            }
            self.connection.tick(now);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Brings the server's counters up to date.
    fn count(&mut self) {
        if !self.over {
            let Drive { connection, shared, share, .. } = self;
            let (phase, memory) = (connection.phase(), connection.memory());
            share.update(&shared.stats, phase, memory, connection.requests());
        }
    }

    /// Accounts for the end of the connection, once.
    fn closed(&mut self, reason: CloseReason) {
        if replace(&mut self.over, true) {
            return;
        }
        if self.connection.is_cut_off() {
            self.socket.reset_on_close();
        }
        let requests = self.connection.requests();
        tracing::debug!(peer = %self.peer, %reason, requests, "closed");
        self.share.close(&self.shared.stats, reason, requests);
        if let Some((member, _)) = self.member.take() {
            self.shared.control.leave(member, reason == CloseReason::Expired(Timer::Drain));
        }
    }
}

impl<R: Runtime, S: Service<K>, K> Future for Drive<R, S, K> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // One look at the clock: a poll is short, and what a handler waits for is another poll.
        let now = clock::tick(Instant::now());
        self.obey(cx, now);
        self.connection.tick(now);
        self.exchange.woken();
        self.drained = false;
        scratch::with(|scratch| {
            scratch.lend(&mut self.connection);
            let polled = self.attend(cx, now, scratch);
            scratch.take_back(&mut self.connection);
            self.count();
            polled
        })
    }
}

impl<R: Runtime, S: Service<K>, K> Drop for Drive<R, S, K> {
    fn drop(&mut self) {
        // If it was not closed: the task was dropped, or its handler panicked.
        self.connection.abort(Tick::ZERO, CloseReason::Aborted);
        self.closed(CloseReason::Aborted);
    }
}
