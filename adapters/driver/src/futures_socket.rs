//! Any stream with the traits of `futures_io` as a socket.

use crate::socket::Socket;
use crate::system::System;
use futures_io::{AsyncRead, AsyncWrite};
use portcullis::Config;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Any stream of bytes that has the traits of `futures_io`.
pub struct FuturesSocket<I> {
    stream: I,
    system: for<'s> fn(&'s I) -> System<'s>,
}

impl<I> FuturesSocket<I> {
    /// The socket that `stream` is. `system` returns the system's socket below the stream, if there is one.
    pub const fn new(stream: I, system: for<'s> fn(&'s I) -> System<'s>) -> Self {
        FuturesSocket { stream, system }
    }

    /// The system's socket below the stream, if there is one.
    pub fn system(&self) -> System<'_> {
        (self.system)(&self.stream)
    }
}

impl<I: AsyncRead + AsyncWrite + Send + Unpin + 'static> Socket for FuturesSocket<I> {
    fn prepare(&mut self, config: &Config) {
        self.system().prepare(config);
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            [one] => Pin::new(&mut self.stream).poll_write(cx, one),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.system().shutdown_write() {
            Some(done) => Poll::Ready(done),
            None => Pin::new(&mut self.stream).poll_close(cx),
        }
    }

    fn reset_on_close(&mut self) {
        self.system().reset_on_close();
    }

    fn is_measured(&self) -> bool {
        self.system().is_measured()
    }

    fn unacknowledged(&self) -> Option<u64> {
        self.system().unacknowledged()
    }

    fn has_arrived(&self) -> bool {
        self.system().has_arrived()
    }

    fn take_error(&self) -> Option<io::Error> {
        self.system().take_error()
    }

    fn has_fin(&self) -> bool {
        self.system().has_fin()
    }
}

impl<I: fmt::Debug> fmt::Debug for FuturesSocket<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FuturesSocket").field(&self.stream).finish()
    }
}
