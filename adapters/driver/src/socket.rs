//! A connected stream of bytes, as a connection uses it.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

/// A connected stream of bytes.
///
/// Reading and writing are all that a stream needs. The other methods tell what the system knows of the peer,
/// and have answers for streams of which it knows nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `Socket` that a connection can be served on",
    label = "this is no `Socket`",
    note = "pass a stream of bytes of the runtime to the adapter's `serve_connection`, which makes a `Socket` of it",
    note = "a stream of the standard library has to be made non-blocking and converted to the runtime's own first"
)]
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

    /// Sends what was written, if the stream has a buffer of its own. Called after writing, and again
    /// whenever the task is woken, until it is ready.
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Sends a FIN after what was written. Called until it is ready, and not again. The stream can still be
    /// read.
    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Makes the close that follows a reset: what the kernel still holds for the peer is dropped.
    fn reset_on_close(&mut self) {}

    /// Whether [`unacknowledged`](Self::unacknowledged) has an answer.
    fn is_measured(&self) -> bool {
        false
    }

    /// How many of the bytes that were written the peer has not acknowledged, if the system tells.
    fn unacknowledged(&self) -> Option<u64> {
        None
    }

    /// Whether there is something to read now, or the end: the system is asked itself, since the
    /// runtime may not have heard of it yet. False if that can't be told.
    fn has_arrived(&self) -> bool {
        false
    }

    /// The error by which the connection has ended, if it has: also a reset that was not read yet.
    fn take_error(&self) -> Option<io::Error> {
        None
    }

    /// Whether the peer's FIN has arrived, also behind bytes that were not read yet. False if the system
    /// does not tell.
    fn has_fin(&self) -> bool {
        false
    }
}
