//! portcullis on smol.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use portcullis_smol::{Body, Config, serve};
//! use std::sync::Arc;
//!
//! async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
//!     Response::new(Full::new(b"Hello, world!"))
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! smol::block_on(async {
//!     let listener = smol::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let server = serve(listener, Arc::new(Config::strict()), hello);
//! #   let server = server.shutdown_on(async {});
//!     let report = server.await;
//!     println!("{} finished, {} cut", report.finished, report.cut);
//!     Ok(())
//! })
//! # }
//! ```

#![deny(missing_docs)]

pub use portcullis::{self, Config};
pub use portcullis_driver::*;

use smol::Executor;
use smol::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use smol::net::unix::{UnixListener, UnixStream};
use smol::net::{TcpListener, TcpStream};
use std::any::Any;
use std::future::Future;
use std::net;
use std::ops::Deref;
#[cfg(unix)]
use std::os::unix::net as unix_net;
use std::sync::Arc;

/// Serves the connections that `listener` accepts: requests go to `service`, an async function from
/// [`http::Request<Body>`](Body) to an `http::Response`, or any tower service. The listener is a
/// [`TcpListener`] or a [`UnixListener`](smol::net::unix::UnixListener).
///
/// Connections run as tasks of smol's global executor, which has one thread unless `SMOL_THREADS` says
/// otherwise. [`serve_on`] has them run on an executor of your own.
pub fn serve<L: IntoListener, S: Service<K>, K: 'static>(
    listener: L,
    config: Arc<Config>,
    service: S,
) -> Server<Smol, L::Listener, S, K> {
    Server::new(Smol, listener.into_listener(&config), config, service)
}

/// Serves as [`serve`] does, with connections as tasks of `executor`: an `Arc<Executor>`, or a
/// reference to one that lives for ever.
///
/// ```
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use portcullis_smol::{Body, serve_on};
/// # use std::sync::Arc;
/// # async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
/// #     Response::new(Full::new(b"Hello, world!"))
/// # }
/// # fn main() -> std::io::Result<()> {
/// let executor = Arc::new(smol::Executor::new());
/// smol::block_on(executor.run(async {
///     let listener = smol::net::TcpListener::bind("127.0.0.1:0").await?;
///     let server = serve_on(executor.clone(), listener, Arc::default(), hello);
/// #   let server = server.shutdown_on(async {});
///     server.await;
///     Ok(())
/// }))
/// # }
/// ```
pub fn serve_on<E, L: IntoListener, S: Service<K>, K: 'static>(
    executor: E,
    listener: L,
    config: Arc<Config>,
    service: S,
) -> Server<SmolOn<E>, L::Listener, S, K>
where
    E: Deref<Target = Executor<'static>> + Clone + Send + Sync + 'static,
{
    Server::new(SmolOn(executor), listener.into_listener(&config), config, service)
}

/// Serves one connection on `io`, any stream of bytes: a future that is ready with how the connection
/// ended. It accepts nothing and spawns nothing, and runs on any executor.
///
/// What the system knows of the peer of a [`TcpStream`] or a
/// [`UnixStream`](smol::net::unix::UnixStream) is used, and a TCP socket gets the
/// [options](tcp::Options) that `config` asks for. A stream that is not `Unpin` can be passed as
/// `Box::pin(io)`.
pub fn serve_connection<I, S: Service<K>, K>(
    io: I,
    config: Arc<Config>,
    service: S,
) -> ServeConnection<AsyncTimer, FuturesSocket<I>, S, K>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let socket = FuturesSocket::new(io, system);
    socket.system().prepare(&config);
    ServeConnection::new(socket, config, service)
}

/// The system's socket below a stream, if it is known to be one.
fn system<I: 'static>(stream: &I) -> System<'_> {
    let stream: &dyn Any = stream;
    if let Some(stream) = stream.downcast_ref::<TcpStream>() {
        return System::tcp(stream);
    }
    #[cfg(unix)]
    if let Some(stream) = stream.downcast_ref::<UnixStream>() {
        return System::unix(stream);
    }
    System::none()
}

/// A listener that [`serve`] takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no listener that `serve` can accept connections from",
    label = "this is no listener of the runtime",
    note = "pass a `smol::net::TcpListener` or a `smol::net::unix::UnixListener`; a listener of the standard library is converted with `try_from`",
    note = "to accept connections yourself, pass each to `serve_connection`"
)]
pub trait IntoListener {
    /// What accepts for the server.
    type Listener: Listener;

    /// What accepts for a server that is configured by `config`.
    fn into_listener(self, config: &Config) -> Self::Listener;
}

impl IntoListener for TcpListener {
    type Listener = AsyncListener<net::TcpListener>;

    fn into_listener(self, config: &Config) -> Self::Listener {
        AsyncListener::new(self.into(), config)
    }
}

#[cfg(unix)]
impl IntoListener for UnixListener {
    type Listener = AsyncListener<unix_net::UnixListener>;

    fn into_listener(self, config: &Config) -> Self::Listener {
        AsyncListener::new(self.into(), config)
    }
}

/// The runtime: smol's global executor.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

/// The runtime: an executor of one's own.
#[derive(Clone, Debug)]
pub struct SmolOn<E>(E);

impl Runtime for Smol {
    type Timer = AsyncTimer;

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(future).detach();
    }
}

impl<E> Runtime for SmolOn<E>
where
    E: Deref<Target = Executor<'static>> + Clone + Send + Sync + 'static,
{
    type Timer = AsyncTimer;

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(future).detach();
    }
}
