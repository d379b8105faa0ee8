//! portcullis on tokio.
//!
//! [`serve`] takes a listener, for TCP or a Unix socket, and what answers requests: an
//! async function, an [axum router](#with-axum), or any other tower service. [`serve_connection`] serves
//! [one connection](#one-connection), on any stream of bytes.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use portcullis_tokio::{Body, Config, serve};
//! use std::sync::Arc;
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
//! # With axum
//!
//! ```
//! use axum::Router;
//! use axum::extract::Path;
//! use axum::routing::get;
//! use portcullis_tokio::serve;
//! use std::sync::Arc;
//!
//! async fn greet(Path(name): Path<String>) -> String {
//!     format!("Hello, {name}!")
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let router = Router::new().route("/greet/{name}", get(greet));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let server = serve(listener, router);
//! # let server = server.with_graceful_shutdown(async {});
//! server.await?;
//! # Ok(())
//! # }
//! ```
//!
//! # With TLS
//!
//! TLS is a part of the configuration. With it a server speaks HTTPS only, on every listener and stream.
//!
//! ```no_run
//! # #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
//! # mod example {
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! # use portcullis_tokio::Body;
//! use portcullis_tokio::portcullis::rustls::ServerConfig;
//! use portcullis_tokio::portcullis::rustls::pki_types::pem::PemObject;
//! use portcullis_tokio::portcullis::rustls::pki_types::{CertificateDer, PrivateKeyDer};
//! use portcullis_tokio::{Config, serve};
//! use std::error::Error;
//! use std::sync::Arc;
//!
//! # async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
//! #     Response::new(Full::new(b"Hello, world!"))
//! # }
//! #
//! # pub async fn start() -> Result<(), Box<dyn Error>> {
//! let chain = CertificateDer::pem_file_iter("chain.pem")?.collect::<Result<_, _>>()?;
//! let key = PrivateKeyDer::from_pem_file("key.pem")?;
//! let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
//! let config = Config::builder().tls(Arc::new(tls)).build()?;
//! let listener = tokio::net::TcpListener::bind("0.0.0.0:443").await?;
//! serve(listener, hello).config(config).await?;
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! | for | there is |
//! |---|---|
//! | what the handshake has agreed on: the server's name (SNI), ALPN, version, the client's certificates | [`TlsInfo`], among the extensions of each request; with axum `Extension<TlsInfo>` |
//! | settings that depend on the client's first message: certificates of clients for some hosts only, ACME's TLS-ALPN-01 | [`ChooseTls`], for [`Builder::choose_tls`](portcullis::Builder::choose_tls) |
//! | several certificates | `with_cert_resolver` of rustls, with its `ResolvesServerCertUsingSni` or a resolver of your own |
//! | certificates that are renewed while the server runs | [`LiveConfig`] |
//! | sessions that are resumed by other processes, or after a restart | [`TicketKeys`] |
//!
//! The example `tls` of this crate tells clients their certificates, and reads its files again at SIGHUP.
//!
//! # With a websocket
//!
//! Any request can become a websocket, also that of a handler of axum.
//!
//! ```
//! use http::{Request, Response};
//! use portcullis_tokio::{Body, Upgrade, refuse_upgrade, serve};
//! use std::sync::Arc;
//!
//! /// Sends every message back.
//! async fn echo(request: Request<Body>) -> Response<String> {
//!     match Upgrade::new(&request) {
//!         Err(bad) => refuse_upgrade(bad),
//!         Ok(upgrade) => upgrade.accept(async |mut websocket| {
//!             while let Some(Ok(message)) = websocket.receive().await {
//!                 if websocket.send(message).await.is_err() {
//!                     break;
//!                 }
//!             }
//!         }),
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let server = serve(listener, echo);
//! # let server = server.with_graceful_shutdown(async {});
//! server.await?;
//! # Ok(())
//! # }
//! ```
//!
//! # With a shutdown
//!
//! When the signal is ready, nothing more is accepted; requests in progress are finished within
//! `drain_timeout`.
//!
//! ```
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! # use portcullis_tokio::Body;
//! use portcullis_tokio::serve;
//! use std::sync::Arc;
//!
//! # async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
//! #     Response::new(Full::new(b"Hello, world!"))
//! # }
//! #
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let (stop, stopped) = async_channel::bounded::<()>(1);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let server = serve(listener, hello);
//! let server = tokio::spawn(server.with_graceful_shutdown(async move { _ = stopped.recv().await }));
//! // Later, from a handler of signals for example:
//! drop(stop);
//! let report = server.await??;
//! assert_eq!((report.finished, report.cut), (0, 0));
//! # Ok(())
//! # }
//! ```
//!
//! # With handlers that compute
//!
//! A connection is one task. Over HTTP/2 its handlers run side by side, but on one thread at a time. That suits
//! handlers that wait. A handler that computes for long holds up the others of its connection: run it as a task of
//! its own. A [`JoinSet`](tokio::task::JoinSet) aborts its tasks when it is dropped, so the work still ends with
//! its stream, at its next `await`.
//!
//! ```
//! use http::{Request, Response};
//! use portcullis_tokio::{Body, serve};
//! use std::sync::Arc;
//! use tokio::task::JoinSet;
//!
//! async fn compute(_: Request<Body>) -> Response<String> {
//!     // … for some hundred microseconds or more
//!     Response::new("42".to_owned())
//! }
//!
//! async fn on_any_thread(request: Request<Body>) -> Response<String> {
//!     let mut task = JoinSet::new();
//!     task.spawn(compute(request));
//!     match task.join_next().await {
//!         Some(Ok(response)) => response,
//!         // A panic goes on here, where it is answered with 500.
//!         Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
//!         None => unreachable!("there is a task"),
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let server = serve(listener, on_any_thread);
//! # let server = server.with_graceful_shutdown(async {});
//! server.await?;
//! # Ok(())
//! # }
//! ```
//!
//! Small handlers are better off without: a task for each costs about four microseconds of processor time, several
//! times as much as all else that is done for a small request.
//!
//! # One connection
//!
//! For a stream that something else has accepted, or that is not a socket at all, such as one in
//! [memory]. The future tells how the connection ended.
//!
//! ```
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! # use portcullis_tokio::Body;
//! use portcullis_tokio::{memory, serve_connection};
//! use std::sync::Arc;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
//! #     Response::new(Full::new(b"Hello, world!"))
//! # }
//! #
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let (mut client, server) = memory::pair(1024);
//! let connection = serve_connection(server, hello);
//! let asking = async move {
//!     let request = b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n";
//!     client.write_all(request).await?;
//!     let mut answer = String::new();
//!     client.read_to_string(&mut answer).await?;
//!     std::io::Result::Ok(answer)
//! };
//! let (reason, answer) = tokio::join!(connection, asking);
//! assert!(answer?.ends_with("\r\n\r\nHello, world!"));
//! assert_eq!(reason.label(), "completed");
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

pub use portcullis::{self, Config};
pub use portcullis_driver::*;

use std::any::Any;
use std::future::Future;
use std::io::{self, IoSlice};
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
pub fn serve<L: IntoListener, M: MakeService<K>, K: 'static>(
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

    /// What accepts for a server.
    fn into_listener(self) -> Self::Listener;
}

impl IntoListener for TcpListener {
    type Listener = TokioListener<TcpListener>;

    fn into_listener(self) -> Self::Listener {
        TokioListener { listener: self, options: tcp::Options::none() }
    }
}

#[cfg(unix)]
impl IntoListener for UnixListener {
    type Listener = TokioListener<UnixListener>;

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
