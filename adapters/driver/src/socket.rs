//! A connected stream of bytes, as a connection uses it.

use portcullis::Config;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

/// A connected stream of bytes.
///
/// Reading and writing are all that a stream needs. The other methods return what the system knows of the
/// peer. Their default implementations serve streams of which it knows nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `Socket` that a connection can be served on",
    label = "this is no `Socket`",
    note = "pass a stream of bytes of the runtime to the adapter's `serve_connection`, which makes a `Socket` of it",
    note = "a stream of the standard library has to be made non-blocking and converted to the runtime's own first"
)]
pub trait Socket: Send + Unpin + 'static {
    /// A connection that is configured by `config` begins, which no listener has prepared: sets the options of the
    /// socket.
    fn prepare(&mut self, _: &Config) {}

    /// Reads into the front of `buffer`. 0 bytes mean the peer's FIN. Wakes the task when there is something
    /// to read.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes from the front of `slices`, of which there is at least one. Wakes the task when there is room
    /// to write.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Sends the written bytes, if the stream has a buffer of its own. The driver calls it after writing, and
    /// again whenever the task is woken, until it is ready.
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Sends a FIN after the written bytes. The driver calls it until it is ready, and then not again. The
    /// stream can still be read.
    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Makes the close a reset: the kernel drops the bytes that it still holds for the peer.
    fn reset_on_close(&mut self) {}

    /// Whether [`unacknowledged`](Self::unacknowledged) has an answer.
    fn is_measured(&self) -> bool {
        false
    }

    /// The number of written bytes that the peer has not acknowledged, if the system tells.
    fn unacknowledged(&self) -> Option<u64> {
        None
    }

    /// Whether there are bytes to read now, or the end of the stream. It asks the system itself, because the
    /// runtime may not know yet. False if that is not possible.
    fn has_arrived(&self) -> bool {
        false
    }

    /// The error that has ended the connection, if there is one. It may be a reset that was not read yet.
    fn take_error(&self) -> Option<io::Error> {
        None
    }

    /// Whether the peer's FIN has arrived, also after bytes that were not read yet. False if the system does
    /// not tell.
    fn has_fin(&self) -> bool {
        false
    }
}
