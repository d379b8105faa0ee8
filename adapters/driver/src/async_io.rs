//! Listener, socket and timer of `async-io`, the reactor that both smol and async-std stand on. It
//! belongs to no executor, and has a thread of its own in case that nobody else looks after it.
//!
//! The system is asked first, and readiness waited for only when it has nothing. That loses no
//! wake-up: `async-io` arms a socket for one event at a time, and the system reports what is ready
//! already when it is armed, so nothing has to be tried once more in between.

use crate::runtime;
use crate::tcp;
use ::async_io::{Async, ReadableOwned, Timer};
use portcullis::Config;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// A listener.
#[derive(Debug)]
pub struct AsyncListener {
    listener: Arc<Async<TcpListener>>,
    options: tcp::Options,
    /// Waits for the next connection. It has a place of its own among those who do: others may accept
    /// from the same listener.
    arrival: Option<ReadableOwned<TcpListener>>,
}

/// A connected socket.
#[derive(Debug)]
pub struct AsyncSocket {
    stream: Async<TcpStream>,
    /// The last read left nothing behind.
    emptied: bool,
}

/// A timer.
#[derive(Debug)]
pub struct AsyncTimer(Timer);

impl AsyncListener {
    /// Accepts from `listener`, whose sockets have the [options](tcp::Options) that `config` asks for.
    pub fn new(listener: Arc<Async<TcpListener>>, config: &Config) -> Self {
        let options = tcp::Options::new(listener.get_ref(), config);
        AsyncListener { listener, options, arrival: None }
    }
}

impl runtime::Listener for AsyncListener {
    type Socket = AsyncSocket;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(AsyncSocket, SocketAddr)>> {
        loop {
            match self.listener.get_ref().accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok((stream, peer)) => {
                    self.arrival = None;
                    self.options.complete(&stream);
                    tcp::send_at_once(&stream);
                    let stream = Async::new(stream)?;
                    return Poll::Ready(Ok((AsyncSocket { stream, emptied: false }, peer)));
                }
            }
            let listener = &self.listener;
            let arrival = self.arrival.get_or_insert_with(|| listener.clone().readable_owned());
            let arrived = ready!(Pin::new(arrival).poll(cx));
            self.arrival = None;
            arrived?;
        }
    }
}

impl runtime::Socket for AsyncSocket {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            // After a read that did not fill the buffer there is nothing: it is not asked for again.
            if !std::mem::take(&mut self.emptied) {
                match self.stream.get_ref().read(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                    Ok(bytes) => {
                        self.emptied = 0 < bytes && bytes < buffer.len();
                        return Poll::Ready(Ok(bytes));
                    }
                }
            }
            ready!(armed(|| self.stream.poll_readable(cx)))?;
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let written = match slices {
                [one] => self.stream.get_ref().write(one),
                _ => self.stream.get_ref().write_vectored(slices),
            };
            match written {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            ready!(armed(|| self.stream.poll_writable(cx)))?;
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        tcp::shutdown_write(self.stream.get_ref())
    }

    fn reset_on_close(&mut self) {
        tcp::reset_on_close(self.stream.get_ref());
    }

    const IS_MEASURED: bool = tcp::IS_MEASURED;

    fn unacknowledged(&self) -> Option<u64> {
        tcp::unacknowledged(self.stream.get_ref())
    }

    fn has_arrived(&self) -> bool {
        tcp::has_arrived(self.stream.get_ref())
    }

    fn take_error(&self) -> Option<io::Error> {
        tcp::take_error(self.stream.get_ref())
    }

    fn has_fin(&self) -> bool {
        tcp::has_fin(self.stream.get_ref())
    }
}

/// Arms the socket with `poll`, which at first may be ready by an event that was seen to already.
fn armed(mut poll: impl FnMut() -> Poll<io::Result<()>>) -> Poll<io::Result<()>> {
    ready!(poll())?;
    poll()
}

impl runtime::Timer for AsyncTimer {
    fn new(at: Instant) -> Self {
        AsyncTimer(Timer::at(at))
    }

    fn reset(&mut self, at: Instant) {
        self.0.set_at(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}
