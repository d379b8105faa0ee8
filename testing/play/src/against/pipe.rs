//! The transport of `h2` in memory.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What `h2` reads next, and what it has written.
#[derive(Default)]
struct Ends {
    input: Vec<u8>,
    output: Vec<u8>,
}

/// One end belongs to `h2`, and a clone of it to the player. Neither wakes the other one: both are polled
/// by hand.
#[derive(Clone, Default)]
pub(super) struct Pipe(Rc<RefCell<Ends>>);

impl Pipe {
    pub(super) fn write(&self, bytes: &[u8]) {
        self.0.borrow_mut().input.extend_from_slice(bytes);
    }

    pub(super) fn read(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().output)
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let input = &mut self.0.borrow_mut().input;
        if input.is_empty() {
            return Poll::Pending;
        }
        let length = input.len().min(buffer.remaining());
        buffer.put_slice(&input[..length]);
        input.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().output.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls by hand, with a context that wakes nobody.
pub(super) fn polled<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    match poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// Polls a future by hand.
pub(super) fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    polled(|context| Pin::new(future).poll(context))
}

/// Takes the first frame off `bytes`, if it is complete.
pub(super) fn take_frame(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let [a, b, c, ..] = bytes[..] else { return None };
    let length = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
    (bytes.len() >= length).then(|| bytes.drain(..length).collect())
}
