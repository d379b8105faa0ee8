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
use smol::net::TcpListener;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

/// Serves the connections that `listener` accepts: requests go to `service`, an async function from
/// [`http::Request<Body>`](Body) to an `http::Response`, or any tower service.
///
/// Connections run as tasks of smol's global executor, which has one thread unless `SMOL_THREADS` says
/// otherwise. [`serve_on`] has them run on an executor of your own.
pub fn serve<S: Service<K>, K>(
    listener: TcpListener,
    config: Arc<Config>,
    service: S,
) -> Server<Smol, S, K> {
    let listener = AsyncListener::new(listener.into(), &config);
    Server::new(Smol, listener, config, service)
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
pub fn serve_on<E, S: Service<K>, K>(
    executor: E,
    listener: TcpListener,
    config: Arc<Config>,
    service: S,
) -> Server<SmolOn<E>, S, K>
where
    E: Deref<Target = Executor<'static>> + Clone + Send + Sync + 'static,
{
    let listener = AsyncListener::new(listener.into(), &config);
    Server::new(SmolOn(executor), listener, config, service)
}

/// The runtime: smol's global executor.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

/// The runtime: an executor of one's own.
#[derive(Clone, Debug)]
pub struct SmolOn<E>(E);

impl Runtime for Smol {
    type Listener = AsyncListener;
    type Socket = AsyncSocket;
    type Timer = AsyncTimer;

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(future).detach();
    }
}

impl<E> Runtime for SmolOn<E>
where
    E: Deref<Target = Executor<'static>> + Clone + Send + Sync + 'static,
{
    type Listener = AsyncListener;
    type Socket = AsyncSocket;
    type Timer = AsyncTimer;

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(future).detach();
    }
}
