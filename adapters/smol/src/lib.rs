//! portcullis on smol.
//!
//! [`serve`] takes a listener, for TCP or a Unix socket, and what answers requests: an
//! async function, an [axum router](#with-axum), or any other tower service. [`serve_connection`] serves
//! [one connection](#one-connection), on any stream of bytes.
//!
//! This page has the examples for this runtime. Everything else is in the guide of `portcullis-tokio`, whose names
//! are the same here: [every timer and limit][settings], [every attack and its answer][attacks], [tuning],
//! [proxies], [limits by route], [migrating] from other servers. In a checkout,
//! `cargo doc --no-deps --open -p portcullis-tokio` shows it.
//!
//! [settings]: https://docs.rs/portcullis-tokio/latest/portcullis_tokio/guide/settings/
//! [attacks]: https://docs.rs/portcullis-tokio/latest/portcullis_tokio/guide/attacks/
//! [tuning]: https://docs.rs/portcullis-tokio/latest/portcullis_tokio/guide/tuning/
//! [proxies]: https://docs.rs/portcullis-tokio/latest/portcullis_tokio/guide/behind_a_proxy/
//! [limits by route]: https://docs.rs/portcullis-tokio/latest/portcullis_tokio/guide/limits_by_route/
//! [migrating]: https://docs.rs/portcullis-tokio/latest/portcullis_tokio/guide/migrating/
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
//!     let server = serve(listener, hello).config(Config::strict());
//! #   let server = server.with_graceful_shutdown(async {});
//!     let report = server.await?;
//!     println!("{} finished, {} cut", report.finished, report.cut);
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # With axum
//!
//! ```
//! use axum::Router;
//! use axum::extract::Path;
//! use axum::routing::get;
//! use portcullis_smol::serve;
//! use std::sync::Arc;
//!
//! async fn greet(Path(name): Path<String>) -> String {
//!     format!("Hello, {name}!")
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! smol::block_on(async {
//!     let router = Router::new().route("/greet/{name}", get(greet));
//!     let listener = smol::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let server = serve(listener, router);
//! #   let server = server.with_graceful_shutdown(async {});
//!     server.await?;
//!     Ok(())
//! })
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
//! # use portcullis_smol::Body;
//! use portcullis_smol::portcullis::rustls::ServerConfig;
//! use portcullis_smol::portcullis::rustls::pki_types::pem::PemObject;
//! use portcullis_smol::portcullis::rustls::pki_types::{CertificateDer, PrivateKeyDer};
//! use portcullis_smol::{Config, serve};
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
//! let listener = smol::net::TcpListener::bind("0.0.0.0:443").await?;
//! serve(listener, hello).config(config).await?;
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! # With a websocket
//!
//! Any request can become a websocket, also that of a handler of axum.
//!
//! ```
//! use http::{Request, Response};
//! use portcullis_smol::{Body, Upgrade, refuse_upgrade, serve};
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
//! # fn main() -> std::io::Result<()> {
//! smol::block_on(async {
//!     let listener = smol::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let server = serve(listener, echo);
//! #   let server = server.with_graceful_shutdown(async {});
//!     server.await?;
//!     Ok(())
//! })
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
//! # use portcullis_smol::Body;
//! use portcullis_smol::serve;
//! use std::sync::Arc;
//!
//! # async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
//! #     Response::new(Full::new(b"Hello, world!"))
//! # }
//! #
//! # fn main() -> std::io::Result<()> {
//! smol::block_on(async {
//!     let (stop, stopped) = smol::channel::bounded::<()>(1);
//!     let listener = smol::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let server = serve(listener, hello);
//!     let server = smol::spawn(server.with_graceful_shutdown(async move { _ = stopped.recv().await }));
//!     // Later, from a handler of signals for example:
//!     drop(stop);
//!     let report = server.await?;
//!     assert_eq!((report.finished, report.cut), (0, 0));
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # One connection
//!
//! For a stream that something else has accepted, or that is not a socket at all, such as one in
//! [memory]. The future tells how the connection ended.
//!
//! ```
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! # use portcullis_smol::Body;
//! use portcullis_smol::{memory, serve_connection};
//! use std::sync::Arc;
//! use smol::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
//! #     Response::new(Full::new(b"Hello, world!"))
//! # }
//! #
//! # fn main() -> std::io::Result<()> {
//! smol::block_on(async {
//!     let (mut client, server) = memory::pair(1024);
//!     let connection = serve_connection(server, hello);
//!     let asking = async move {
//!         let request = b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n";
//!         client.write_all(request).await?;
//!         let mut answer = String::new();
//!         client.read_to_string(&mut answer).await?;
//!         std::io::Result::Ok(answer)
//!     };
//!     let (reason, answer) = smol::future::zip(connection, asking).await;
//!     assert!(answer?.ends_with("\r\n\r\nHello, world!"));
//!     assert_eq!(reason.label(), "completed");
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

/// Serves the connections that `listener` accepts: requests go to `service`, an async function from
/// [`http::Request<Body>`](Body) to an `http::Response`, or any tower service. The listener is a
/// [`TcpListener`] or a `UnixListener`.
///
/// Connections run as tasks of smol's global executor, which has one thread unless `SMOL_THREADS` says
/// otherwise. [`serve_on`] has them run on an executor of your own.
pub fn serve<L: IntoListener, M: MakeService<L::Listener, K>, K: 'static>(
    listener: L,
    service: M,
) -> Server<Smol, L::Listener, M, K> {
    Server::new(Smol, listener.into_listener(), service)
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
///     let server = serve_on(executor.clone(), listener, hello);
/// #   let server = server.with_graceful_shutdown(async {});
///     server.await?;
///     Ok(())
/// }))
/// # }
/// ```
pub fn serve_on<E, L: IntoListener, M: MakeService<L::Listener, K>, K: 'static>(
    executor: E,
    listener: L,
    service: M,
) -> Server<SmolOn<E>, L::Listener, M, K>
where
    E: Deref<Target = Executor<'static>> + Clone + Send + Sync + 'static,
{
    Server::new(SmolOn(executor), listener.into_listener(), service)
}

/// Serves one connection on `io`, any stream of bytes: a future that is ready with how the connection
/// ended. It accepts nothing and spawns nothing, and runs on any executor.
///
/// What the system knows of the peer of a [`TcpStream`] or a
/// `UnixStream` is used, and a TCP socket gets the
/// [options](tcp::Options) that `config` asks for. A stream that is not `Unpin` can be passed as
/// `Box::pin(io)`.
pub fn serve_connection<I, S: Service<K>, K>(
    io: I,
    service: S,
) -> ServeConnection<AsyncTimer, FuturesSocket<I>, S, K>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    ServeConnection::new(FuturesSocket::new(io, system), service)
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

    /// What accepts for a server.
    fn into_listener(self) -> Self::Listener;
}

impl IntoListener for TcpListener {
    type Listener = AsyncListener<net::TcpListener>;

    fn into_listener(self) -> Self::Listener {
        AsyncListener::new(self.into())
    }
}

#[cfg(unix)]
impl IntoListener for UnixListener {
    type Listener = AsyncListener<unix_net::UnixListener>;

    fn into_listener(self) -> Self::Listener {
        AsyncListener::new(self.into())
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
