//! What a runtime has to offer: a listener, a socket, a timer, a way to spawn.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// A runtime. Its value is a handle, cheap to clone.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Accepts connections.
    type Listener: Listener<Socket = Self::Socket>;
    /// One connection.
    type Socket: Socket;
    /// Wakes a task later.
    type Timer: Timer;

    /// Runs `future` to its end, as a task of its own: whoever else is polled with the same waker is
    /// not woken by it.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);

    /// Has the current task come again behind the others that can go on, also those whose sockets have
    /// something to tell.
    fn yield_now(cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }
}

/// Accepts connections.
pub trait Listener: Send + Unpin + 'static {
    /// What it accepts.
    type Socket;

    /// The next connection and its peer; wakes the task when one has come.
    fn poll_accept(&mut self, cx: &mut Context<'_>)
    -> Poll<io::Result<(Self::Socket, SocketAddr)>>;

    /// The next connection among those that have come already; `None` if there is none. Called before
    /// the listener is dropped, so that nobody who has come is turned away.
    fn accept_now(&mut self) -> io::Result<Option<(Self::Socket, SocketAddr)>> {
        match self.poll_accept(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(accepted) => accepted.map(Some),
            Poll::Pending => Ok(None),
        }
    }
}

/// A connected stream of bytes.
pub trait Socket: Send + Unpin + 'static {
    /// Reads into the front of `buffer`; 0 bytes are the peer's FIN. Wakes the task when there is
    /// something to read.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes from the front of `slices`, of which there is at least one. Wakes the task when there
    /// is room to write.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Sends a FIN behind what was written. Called once.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Makes the close that follows a reset: what the kernel still holds for the peer is dropped.
    fn reset_on_close(&mut self);

    /// Whether [`unacknowledged`](Self::unacknowledged) has an answer.
    const IS_MEASURED: bool = false;

    /// How many of the bytes that were written the peer has not acknowledged, if the system tells.
    fn unacknowledged(&self) -> Option<u64> {
        None
    }

    /// Whether there is something to read now, or the end: the system is asked itself, since the
    /// runtime may not have heard of it yet. False if that can't be told.
    fn has_arrived(&self) -> bool {
        false
    }

    /// The error by which the connection has ended, if it has: also a reset that nobody has read.
    fn take_error(&self) -> Option<io::Error> {
        None
    }

    /// Whether the peer's FIN has arrived, also behind bytes that nobody has read. False if the system
    /// does not tell.
    fn has_fin(&self) -> bool {
        false
    }
}

/// Wakes a task once, at a moment that can be moved.
pub trait Timer: Send + Unpin + 'static {
    /// A timer for `at`.
    fn new(at: Instant) -> Self;

    /// Moves it to `at`.
    fn reset(&mut self, at: Instant);

    /// Ready when the moment has come; wakes the task then.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
