//! The status on addresses of its own (`--status-listen`), served by a thread of its own.
//!
//! Visitors of the server don't see it there, and it answers whatever they do: the thread shares neither the gate nor
//! the runtime with them. It goes on during the drain, and ends with the process.

use crate::listen::Bound;
use crate::runtime::Runtime;
use bytes::Bytes;
use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};
use http_body_util::Full;
use portcullis::Builder;
use portcullis_serve::{Status, StatusSite};
use portcullis_smol::{BoxError, Incoming, Native, Reply, Service, serve_on};
use smol::net::TcpListener;
#[cfg(unix)]
use smol::net::unix::UnixListener;
use smol::{Executor, block_on};
use std::future::{Ready, pending};
use std::sync::Arc;
use std::thread;

/// The most connections. They are operators and scrapers.
const CONNECTIONS: &str = "100";

/// Serves in the background.
pub(crate) fn serve(listeners: Vec<Bound>, status: Arc<Status>) -> Result<(), BoxError> {
    let config = portcullis::Config::strict();
    let config = Builder::from(config).set("max_connections", CONNECTIONS)?.build()?;
    let config = Arc::new(config);
    let site = StatusSite::new(Elsewhere, Some(status), Runtime::Smol.sleep());
    let executor = Arc::new(Executor::new());
    for listener in listeners {
        let on = executor.clone();
        let (site, config) = (site.clone(), config.clone());
        match listener {
            Bound::Tcp(listener) => {
                let listener = TcpListener::try_from(listener)?;
                executor.spawn(serve_on(on, listener, site).config(config)).detach();
            }
            #[cfg(unix)]
            Bound::Unix(listener) => {
                let listener = UnixListener::try_from(listener)?;
                executor.spawn(serve_on(on, listener, site).config(config)).detach();
            }
        }
    }
    let run = move || block_on(executor.run(pending::<()>()));
    thread::Builder::new().name(String::from("status")).spawn(run)?;
    Ok(())
}

/// Leads from `/` to the page. There is nothing else.
#[derive(Clone, Copy, Debug)]
struct Elsewhere;

impl Service<Native> for Elsewhere {
    type ResponseBody = Full<Bytes>;
    type Future = Ready<Result<Response<Full<Bytes>>, BoxError>>;

    fn call(&mut self, incoming: Incoming<'_>) -> Reply<Self::Future> {
        static PAGE: HeaderValue = HeaderValue::from_static("/status/");
        match incoming.head().path() {
            "/" => incoming.answer(StatusCode::FOUND, [(&LOCATION, &PAGE)], Bytes::new()),
            _ => incoming.answer(StatusCode::NOT_FOUND, None, Bytes::from_static(b"not found\n")),
        }
    }
}
