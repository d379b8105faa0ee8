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
use async_std::net::TcpListener;
use async_std::task;
use std::future::Future;
use std::net::TcpListener as StdListener;
use std::sync::Arc;

/// Serves the connections that `listener` accepts: requests go to `service`, an async function from
/// [`http::Request<Body>`](Body) to an `http::Response`, or any tower service.
///
/// Connections run as tasks of async-std. Its listener cannot be polled, and is taken apart into the
/// `async-io` that it is made of.
///
/// # Panics
/// If the system refuses to watch the listener, which it did before: only when it is out of memory.
pub fn serve<S: Service<K>, K>(
    listener: TcpListener,
    config: Arc<Config>,
    service: S,
) -> Server<AsyncStd, S, K> {
    let listener = StdListener::try_from(listener).and_then(Async::new);
    let listener = listener.expect("the listener was watched before");
    let listener = AsyncListener::new(Arc::new(listener), &config);
    Server::new(AsyncStd, listener, config, service)
}

/// The runtime.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStd;

impl Runtime for AsyncStd {
    type Listener = AsyncListener;
    type Socket = AsyncSocket;
    type Timer = AsyncTimer;

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(task::spawn(future));
    }
}
