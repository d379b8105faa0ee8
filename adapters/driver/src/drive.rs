//! The loop: a connection and a socket as one future.
//!
//! Each round: the clock, the application, reading, writing, the end. It goes round while there may
//! be more to do, up to a number that keeps it fair, and then waits with one timer.

use crate::clock;
use crate::control::Order;
use crate::exchange::Exchange;
use crate::runtime::{Runtime, Socket};
use crate::scratch;
use crate::server::Shared;
use crate::service::Service;
use crate::stats::Share;
use crate::timer::LazyTimer;
use portcullis::{CloseReason, Connection, Events, PeerClose, Status, Tick, Timer};
use std::future::Future;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Rounds before other tasks get their turn.
const ROUNDS: usize = 32;
/// Slices in one write.
const SLICES: usize = 16;

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
        }
    }

    fn obey(&mut self, cx: &Context<'_>, now: Tick) {
        match &mut self.member {
            None => {
                let member = self.shared.control.join(cx.waker());
                self.member = Some((member, cx.waker().clone()));
            }
            Some((member, waker)) if !waker.will_wake(cx.waker()) => {
                waker.clone_from(cx.waker());
                self.shared.control.moved(*member, waker);
            }
            Some(_) => {}
        }
        // After joining, so that no order falls in between.
        match self.shared.control.order() {
            Order::Run => {}
            Order::Drain => self.connection.drain(now),
            Order::End => self.connection.abort(now, CloseReason::Aborted),
        }
    }

    /// Writes until the socket takes no more; true if anything went.
    fn write(&mut self, cx: &mut Context<'_>, now: Tick) -> bool {
        let mut moved = false;
        while self.connection.status().wants_write() {
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
    fn read(&mut self, cx: &mut Context<'_>, now: Tick) -> bool {
        let Drive { shared, connection, socket, exchange, peer, .. } = self;
        let peer = shared.tell_peer.then_some(*peer);
        let size = shared.config.receive_buffer_limit() as usize;
        let mut pull = |cx: &mut Context<'_>, mut events: Events<'_, '_>| {
            while let Some((connection, event)) = events.next() {
                exchange.on_event(cx, now, connection, event, &shared.service, peer);
            }
        };
        scratch::with(size, |buffer| match socket.poll_read(cx, buffer) {
            Poll::Pending => false,
            Poll::Ready(Ok(0)) => {
                pull(cx, connection.receive_eof(now));
                true
            }
            Poll::Ready(Ok(bytes)) => {
                // Never refused: it wants to read, and gets no more than it may.
                let read = buffer.get_mut(..bytes).unwrap_or_default();
                let taken = connection.receive(now, read).map(|events| pull(cx, events));
                if taken.is_err() {
                    connection.abort(now, CloseReason::Aborted);
                }
                true
            }
            Poll::Ready(Err(_)) => {
                connection.abort(now, CloseReason::Peer(PeerClose::Reset));
                true
            }
        })
    }

    /// Takes the events that need no new bytes; true if there were any.
    fn resume(&mut self, cx: &mut Context<'_>, now: Tick) -> bool {
        let Drive { shared, connection, exchange, peer, .. } = self;
        let peer = shared.tell_peer.then_some(*peer);
        let mut events = connection.resume(now);
        let mut moved = false;
        while let Some((connection, event)) = events.next() {
            exchange.on_event(cx, now, connection, event, &shared.service, peer);
            moved = true;
        }
        moved
    }

    /// Does what can be done now; true if there may be more.
    fn round(&mut self, cx: &mut Context<'_>, now: Tick) -> bool {
        let mut moved = false;
        if self.exchange.is_busy() {
            self.exchange.poll(cx, now, &mut self.connection);
        }
        if self.connection.has_events() {
            moved |= self.resume(cx, now);
        }
        if self.connection.status().wants_read() {
            moved |= self.read(cx, now);
        }
        if self.write(cx, now) {
            // What was written made room for more.
            moved |= self.exchange.is_busy() || self.connection.has_events();
        }
        if !self.shut_down && self.connection.status().wants_shutdown() {
            self.shut_down = true;
            if self.socket.shutdown_write().is_err() {
                self.connection.abort(now, CloseReason::Peer(PeerClose::Reset));
            }
        }
        moved
    }

    fn closed(&mut self, reason: CloseReason) {
        if reason.is_abrupt() {
            self.socket.reset_on_close();
        }
        let requests = self.connection.requests();
        tracing::debug!(peer = %self.peer, %reason, requests, "closed");
        self.leave(reason);
    }

    fn leave(&mut self, reason: CloseReason) {
        if let Some((member, _)) = self.member.take() {
            let cut = reason == CloseReason::Expired(Timer::Drain);
            self.share.close(&self.shared.stats, reason, self.connection.requests());
            self.shared.control.leave(member, cut);
        }
    }
}

impl<R: Runtime, S: Service<K>, K> Future for Drive<R, S, K> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // One look at the clock: a poll is short, and what a handler waits for is another poll.
        let instant = Instant::now();
        let now = clock::tick(instant);
        this.obey(cx, now);
        this.connection.tick(now);
        for _ in 0..ROUNDS {
            let moved = this.round(cx, now);
            if let Status::Closed(reason) = this.connection.status() {
                this.closed(reason);
                return Poll::Ready(());
            }
            if moved {
                continue;
            }
            // Everything above may have moved the deadline: it is read last.
            let deadline = this.connection.deadline().and_then(|(at, _)| clock::instant(at));
            if deadline.is_none_or(|at| this.timer.wake_at(cx, instant, at)) {
                let Drive { connection, shared, share, .. } = this;
                let (phase, memory) = (connection.phase(), connection.memory());
                share.update(&shared.stats, phase, memory, connection.requests());
                return Poll::Pending;
            }
            this.connection.tick(now);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Runtime, S: Service<K>, K> Drop for Drive<R, S, K> {
    fn drop(&mut self) {
        // The task was dropped, or its handler panicked.
        self.leave(CloseReason::Aborted);
    }
}
