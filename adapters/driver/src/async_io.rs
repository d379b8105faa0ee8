//! The listener, the socket and the timer of `async-io`, the reactor below both smol and async-std. The
//! reactor belongs to no executor, and has a thread of its own if nothing else drives it.
//!
//! Each call asks the system first, and waits for readiness only if the system has nothing. This loses no
//! wake-up: `async-io` arms a socket for one event at a time, and the system then reports readiness that
//! exists already. So nothing has to be tried again in between.

use crate::address::Address;
use crate::listener::Listener;
use crate::make_service::Peer;
use crate::runtime;
use crate::socket::Socket;
use crate::system::System;
use crate::tcp;
use ::async_io::{Async, ReadableOwned, Timer};
use portcullis::Config;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// A listener of the standard library, for TCP or a Unix socket.
pub trait StdListener: Send + Sync + 'static {
    /// A connection.
    type Stream: StdStream;

    /// The options for its sockets. The call sets them on the listener.
    fn options(&self, config: &Config) -> tcp::Options;

    /// Accepts without waiting.
    ///
    /// # Errors
    /// The system's.
    fn accept_stream(&self, options: &mut tcp::Options) -> io::Result<(Self::Stream, Address)>;
}

/// A stream of the standard library, over TCP or a Unix socket.
pub trait StdStream: Sized + Send + Unpin + 'static {
    /// The stream, watched by the reactor.
    ///
    /// # Errors
    /// The system's.
    fn watch(self) -> io::Result<Async<Self>>;

    /// The system's socket.
    fn system(&self) -> System<'_>;

    /// Reads without waiting.
    ///
    /// # Errors
    /// The system's.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes without waiting.
    ///
    /// # Errors
    /// The system's.
    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

impl StdListener for TcpListener {
    type Stream = TcpStream;

    fn options(&self, config: &Config) -> tcp::Options {
        tcp::Options::new(self, config)
    }

    fn accept_stream(&self, options: &mut tcp::Options) -> io::Result<(TcpStream, Address)> {
        let (stream, peer) = self.accept()?;
        options.complete(&stream);
        tcp::send_at_once(&stream);
        Ok((stream, peer.into()))
    }
}

#[cfg(unix)]
impl StdListener for UnixListener {
    type Stream = UnixStream;

    fn options(&self, _: &Config) -> tcp::Options {
        tcp::Options::none()
    }

    fn accept_stream(&self, _: &mut tcp::Options) -> io::Result<(UnixStream, Address)> {
        let (stream, peer) = self.accept()?;
        Ok((stream, peer.into()))
    }
}

macro_rules! std_stream {
    ($stream:ty, $system:path) => {
        impl StdStream for $stream {
            fn watch(self) -> io::Result<Async<Self>> {
                Async::new(self)
            }

            fn system(&self) -> System<'_> {
                $system(self)
            }

            fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buffer)
            }

            fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
                match slices {
                    [one] => (&*self).write(one),
                    _ => (&*self).write_vectored(slices),
                }
            }
        }
    };
}

std_stream!(TcpStream, System::tcp);
#[cfg(unix)]
std_stream!(UnixStream, System::unix);

/// A listener.
#[derive(Debug)]
pub struct AsyncListener<L> {
    listener: Arc<Async<L>>,
    options: tcp::Options,
    /// Waits for the next connection. Others may accept from the same listener, so it registers separately.
    arrival: Option<ReadableOwned<L>>,
}

/// A connected socket.
#[derive(Debug)]
pub struct AsyncSocket<I> {
    stream: Async<I>,
    /// The last read has left nothing.
    emptied: bool,
}

/// A timer.
#[derive(Debug)]
pub struct AsyncTimer(Timer);

impl<L: StdListener> AsyncListener<L> {
    /// Accepts from `listener`. Its TCP sockets get the [options](tcp::Options) that the configuration of the server
    /// asks for.
    pub fn new(listener: Arc<Async<L>>) -> Self {
        AsyncListener { listener, options: tcp::Options::none(), arrival: None }
    }
}

impl<L: StdListener> Listener for AsyncListener<L> {
    type Socket = AsyncSocket<L::Stream>;
    type Peer<'s> = Peer;

    fn peer<'s>(_: &'s Self::Socket, address: &'s Address) -> Peer {
        Peer::new(address.clone())
    }

    fn prepare(&mut self, config: &Config) {
        self.options = self.listener.get_ref().options(config);
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Address)>> {
        loop {
            match self.listener.get_ref().accept_stream(&mut self.options) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok((stream, peer)) => {
                    self.arrival = None;
                    let stream = stream.watch()?;
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

impl<I: StdStream> Socket for AsyncSocket<I> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            // A read that did not fill the buffer has left nothing, so the system is not asked again.
            if !std::mem::take(&mut self.emptied) {
                match self.stream.get_ref().receive(buffer) {
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
            match self.stream.get_ref().send(slices) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            ready!(armed(|| self.stream.poll_writable(cx)))?;
        }
    }

    fn poll_shutdown_write(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.get_ref().system().shutdown_write().unwrap_or(Ok(())))
    }

    fn reset_on_close(&mut self) {
        self.stream.get_ref().system().reset_on_close();
    }

    fn is_measured(&self) -> bool {
        self.stream.get_ref().system().is_measured()
    }

    fn unacknowledged(&self) -> Option<u64> {
        self.stream.get_ref().system().unacknowledged()
    }

    fn has_arrived(&self) -> bool {
        self.stream.get_ref().system().has_arrived()
    }

    fn take_error(&self) -> Option<io::Error> {
        self.stream.get_ref().system().take_error()
    }

    fn has_fin(&self) -> bool {
        self.stream.get_ref().system().has_fin()
    }
}

/// Arms the socket with `poll`. The first poll may be ready because of an event that was handled already.
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
