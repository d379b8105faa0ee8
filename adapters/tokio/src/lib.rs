//! portcullis on tokio.
//!
//! [`serve`] takes a listener, for TCP or a Unix socket, and what answers requests: an
//! async function, an axum router, or any other tower service. [`serve_connection`] serves one connection, on
//! any stream of bytes.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use portcullis_tokio::{Body, Config, serve};
//!
//! async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
//!     Response::new(Full::new(b"Hello, world!"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let server = serve(listener, hello).config(Config::strict());
//! # let server = server.with_graceful_shutdown(async {});
//! let report = server.await?;
//! println!("{} finished, {} cut", report.finished, report.cut);
//! # Ok(())
//! # }
//! ```
//!
//! The [`guide`] goes on from here: [axum and tower](guide::quick_start), [TLS](guide::tls),
//! [websockets](guide::websockets), [tunnels](guide::tunnels), [shutdown](guide::shutdown), [every timer and limit](guide::settings),
//! [every attack and its answer](guide::attacks), [tuning](guide::tuning), [proxies](guide::behind_a_proxy),
//! [migrating](guide::migrating) from other servers.

#![deny(missing_docs)]

pub mod guide;
mod incoming;

pub use incoming::IncomingStream;
pub use portcullis::{self, Config};
pub use portcullis_driver::*;

use std::any::Any;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};

/// Serves the connections that `listener` accepts: requests go to `service`, an async function from
/// [`http::Request<Body>`](Body) to an `http::Response`, or any tower service. The listener is a
/// [`TcpListener`] or a `UnixListener`.
///
/// Connections run as tasks of the current runtime, of either flavour.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn serve<L: IntoListener, M: MakeService<L::Listener, K>, K: 'static>(
    listener: L,
    service: M,
) -> Server<Tokio, L::Listener, M, K> {
    Server::new(Tokio::current(), listener.into_listener(), service)
}

/// Serves one connection on `io`, any stream of bytes: a future that is ready with how the connection
/// ended. It accepts nothing and spawns nothing; it has to be polled within a tokio runtime that has its
/// timer enabled.
///
/// What the system knows of the peer of a [`TcpStream`] or a `UnixStream` is
/// used, and a TCP socket gets the [options](tcp::Options) that `config` asks for. A stream that is not
/// `Unpin` can be passed as `Box::pin(io)`.
pub fn serve_connection<I, S: Service<K>, K>(
    io: I,
    service: S,
) -> ServeConnection<TokioTimer, TokioSocket<I>, S, K>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    ServeConnection::new(TokioSocket(io), service)
}

/// The runtime.
#[derive(Clone, Debug)]
pub struct Tokio(Handle);

impl Tokio {
    /// The runtime of the current task or thread.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn current() -> Self {
        Tokio(Handle::current())
    }
}

/// A listener that [`serve`] takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no listener that `serve` can accept connections from",
    label = "this is no listener of the runtime",
    note = "pass a `tokio::net::TcpListener` or a `tokio::net::UnixListener`; a listener of the standard library has to be made non-blocking, and converted with `from_std`",
    note = "to accept connections yourself, pass each to `serve_connection`"
)]
pub trait IntoListener {
    /// What accepts for the server.
    type Listener: Listener;
    /// A connected stream.
    type Io;
    /// The address of its peer.
    type Addr;

    /// What accepts for a server.
    fn into_listener(self) -> Self::Listener;
}

impl IntoListener for TcpListener {
    type Listener = TokioListener<TcpListener>;
    type Io = TcpStream;
    type Addr = SocketAddr;

    fn into_listener(self) -> Self::Listener {
        TokioListener { listener: self, options: tcp::Options::none() }
    }
}

#[cfg(unix)]
impl IntoListener for UnixListener {
    type Listener = TokioListener<UnixListener>;
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    fn into_listener(self) -> Self::Listener {
        TokioListener { listener: self, options: tcp::Options::none() }
    }
}

/// A listener, for TCP or a Unix socket.
#[derive(Debug)]
pub struct TokioListener<L> {
    listener: L,
    options: tcp::Options,
}

impl TokioListener<TcpListener> {
    fn socket(&mut self, stream: TcpStream) -> TokioSocket<TcpStream> {
        self.options.complete(&stream);
        tcp::send_at_once(&stream);
        TokioSocket(stream)
    }
}

/// A connected stream of bytes.
#[derive(Debug)]
pub struct TokioSocket<I>(I);

impl<I: 'static> TokioSocket<I> {
    /// The system's socket, if it is known to be one: the comparison of types costs nothing.
    fn system(&self) -> System<'_> {
        let stream: &dyn Any = &self.0;
        if let Some(stream) = stream.downcast_ref::<TcpStream>() {
            return System::tcp(stream);
        }
        #[cfg(unix)]
        if let Some(stream) = stream.downcast_ref::<UnixStream>() {
            return System::unix(stream);
        }
        System::none()
    }
}

/// A timer.
#[derive(Debug)]
pub struct TokioTimer(Pin<Box<Sleep>>);

impl Runtime for Tokio {
    type Timer = TokioTimer;

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawn(future));
    }
}

impl Listener for TokioListener<TcpListener> {
    type Socket = TokioSocket<TcpStream>;
    type Peer<'s> = IncomingStream<'s, TcpListener>;

    fn peer<'s>(socket: &'s Self::Socket, address: &'s Address) -> Self::Peer<'s> {
        IncomingStream::new(&socket.0, incoming::tcp_address(address), address)
    }

    fn prepare(&mut self, config: &Config) {
        self.options = tcp::Options::new(&self.listener, config);
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Address)>> {
        let (stream, peer) = ready!(self.listener.poll_accept(cx))?;
        Poll::Ready(Ok((self.socket(stream), peer.into())))
    }

    fn accept_now(&mut self) -> io::Result<Option<(Self::Socket, Address)>> {
        // The system is asked: the runtime may not have heard yet.
        let Some((stream, peer)) = tcp::accept_now(&self.listener)? else { return Ok(None) };
        let stream = TcpStream::from_std(stream)?;
        Ok(Some((self.socket(stream), peer)))
    }
}

#[cfg(unix)]
impl Listener for TokioListener<UnixListener> {
    type Socket = TokioSocket<UnixStream>;
    type Peer<'s> = IncomingStream<'s, UnixListener>;

    fn peer<'s>(socket: &'s Self::Socket, address: &'s Address) -> Self::Peer<'s> {
        IncomingStream::new(&socket.0, incoming::unix_address(address), address)
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Address)>> {
        let (stream, peer) = ready!(self.listener.poll_accept(cx))?;
        // Of tokio's address only the path can be had.
        let peer = Address::Unix(peer.as_pathname().map(Arc::from));
        Poll::Ready(Ok((TokioSocket(stream), peer)))
    }

    fn accept_now(&mut self) -> io::Result<Option<(Self::Socket, Address)>> {
        let Some((stream, peer)) = unix::accept_now(&self.listener)? else { return Ok(None) };
        Ok(Some((TokioSocket(UnixStream::from_std(stream)?), peer)))
    }
}

impl<I: AsyncRead + AsyncWrite + Send + Unpin + 'static> Socket for TokioSocket<I> {
    fn prepare(&mut self, config: &Config) {
        self.system().prepare(config);
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            [one] => Pin::new(&mut self.0).poll_write(cx, one),
            _ => Pin::new(&mut self.0).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.system().shutdown_write() {
            Some(done) => Poll::Ready(done),
            None => Pin::new(&mut self.0).poll_shutdown(cx),
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

impl Timer for TokioTimer {
    fn new(at: Instant) -> Self {
        TokioTimer(Box::pin(sleep_until(TokioInstant::from_std(at))))
    }

    fn reset(&mut self, at: Instant) {
        self.0.as_mut().reset(TokioInstant::from_std(at));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }

    fn yield_now(cx: &mut Context<'_>) {
        // The runtime looks at the sockets first, which other tasks wait for: a wake-up alone would come
        // before that.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
    }
}
