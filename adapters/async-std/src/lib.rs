//! portcullis on async-std.
//!
//! **async-std is discontinued** by its maintainers (advisory RUSTSEC-2025-0052), who point to smol:
//! use `portcullis-smol`, which has the same names, unless you stand on async-std and cannot move yet.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use portcullis_async_std::{Body, Config, serve};
//! use std::sync::Arc;
//!
//! async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
//!     Response::new(Full::new(b"Hello, world!"))
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! async_std::task::block_on(async {
//!     let listener = async_std::net::TcpListener::bind("127.0.0.1:0").await?;
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

use async_io::Async;
use async_std::io::{Read, Write};
use async_std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use async_std::os::unix::net::{UnixListener, UnixStream};
use async_std::task;
use std::any::Any;
use std::future::Future;
use std::io;
use std::net;
#[cfg(unix)]
use std::os::unix::net as unix_net;
use std::sync::Arc;

/// Serves the connections that `listener` accepts: requests go to `service`, an async function from
/// [`http::Request<Body>`](Body) to an `http::Response`, or any tower service. The listener is a
/// [`TcpListener`] or a [`UnixListener`](async_std::os::unix::net::UnixListener).
///
/// Connections run as tasks of async-std. Its listeners cannot be polled, and are taken apart into the
/// `async-io` that they are made of.
///
/// # Panics
/// If the system refuses to watch the listener, which it did before: only when it is out of memory.
pub fn serve<L: IntoListener, S: Service<K>, K: 'static>(
    listener: L,
    config: Arc<Config>,
    service: S,
) -> Server<AsyncStd, L::Listener, S, K> {
    Server::new(AsyncStd, listener.into_listener(&config), config, service)
}

/// Serves one connection on `io`, any stream of bytes: a future that is ready with how the connection
/// ended. It accepts nothing and spawns nothing, and runs on any executor.
///
/// What the system knows of the peer of a [`TcpStream`] or a
/// [`UnixStream`](async_std::os::unix::net::UnixStream) is used, and a TCP socket gets the
/// [options](tcp::Options) that `config` asks for. A stream that is not `Unpin` can be passed as
/// `Box::pin(io)`.
pub fn serve_connection<I, S: Service<K>, K>(
    io: I,
    config: Arc<Config>,
    service: S,
) -> ServeConnection<AsyncTimer, FuturesSocket<I>, S, K>
where
    I: Read + Write + Send + Unpin + 'static,
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
    note = "pass a `async_std::net::TcpListener` or a `async_std::os::unix::net::UnixListener`; a listener of the standard library is converted with `from`",
    note = "to accept connections yourself, pass each to `serve_connection`"
)]
pub trait IntoListener {
    /// What accepts for the server.
    type Listener: Listener;

    /// What accepts for a server that is configured by `config`.
    ///
    /// # Panics
    /// If the system refuses to watch the listener, which it did before: only when it is out of memory.
    fn into_listener(self, config: &Config) -> Self::Listener;
}

impl IntoListener for TcpListener {
    type Listener = AsyncListener<net::TcpListener>;

    fn into_listener(self, config: &Config) -> Self::Listener {
        listener(net::TcpListener::try_from(self).and_then(Async::new), config)
    }
}

#[cfg(unix)]
impl IntoListener for UnixListener {
    type Listener = AsyncListener<unix_net::UnixListener>;

    fn into_listener(self, config: &Config) -> Self::Listener {
        listener(unix_net::UnixListener::try_from(self).and_then(Async::new), config)
    }
}

fn listener<L: StdListener>(watched: io::Result<Async<L>>, config: &Config) -> AsyncListener<L> {
    AsyncListener::new(Arc::new(watched.expect("the listener was watched before")), config)
}

/// The runtime.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStd;

impl Runtime for AsyncStd {
    type Timer = AsyncTimer;

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(task::spawn(future));
    }
}
