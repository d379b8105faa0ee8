//! The server behind the proxy: its address, and connections to it.
//!
//! hyper-util's client keeps the connections and speaks HTTP/1.1. A request that it could not begin on a kept
//! connection it begins anew by itself. All else is an error, with a mark that tells whether the connection
//! had brought an answer before.

use super::content::Content;
use super::counters::{Counters, Present};
use http::Uri;
use http::uri::Authority;
use hyper::rt::{Executor, Read, ReadBufCursor, Write};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioIo, TokioTimer};
use smol_hyper::rt::FuturesIo;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
#[cfg(unix)]
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

/// How long a connection is kept unused. Servers close theirs after 2 s (Gunicorn), 5 s (Node, Hypercorn) or more;
/// a request that meets such a close may be lost.
const IDLE: Duration = Duration::from_secs(1);
/// The most memory for an answer's head, and for what a connection has read ahead, in bytes.
const BUFFER: usize = 64 << 10;

/// What a client of the upstream server is made of.
pub(super) type Client = legacy::Client<Connector, Content>;

/// Where the server behind the proxy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Tcp {
        authority: Authority,
        host: String,
        port: u16,
    },
    #[cfg(unix)]
    Unix(PathBuf),
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected http://127.0.0.1:8000 or unix:/run/app.sock";
        #[cfg(unix)]
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(format!("the path is missing; {EXPECTED}"));
            }
            return Ok(Upstream(Place::Unix(path.into())));
        }
        let uri: Uri = text.parse().map_err(|error| format!("{error}; {EXPECTED}"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(format!(
                    "TLS to the server behind the proxy is not supported; {EXPECTED}"
                ));
            }
            _ => return Err(EXPECTED.to_owned()),
        }
        if uri.path_and_query().is_some_and(|path| path != "/") {
            return Err(format!(
                "a path is not supported: paths are passed on as they are; {EXPECTED}"
            ));
        }
        let authority = uri.authority().ok_or(EXPECTED)?.clone();
        if authority.as_str().contains('@') {
            return Err(format!("a user name is not supported; {EXPECTED}"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(80);
        Ok(Upstream(Place::Tcp { authority, host, port }))
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Tcp { authority, .. } => write!(f, "http://{authority}"),
            #[cfg(unix)]
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Upstream {
    /// The authority in requests without one of their own (HTTP/1.0), and the key of kept connections.
    pub(super) fn authority(&self) -> Authority {
        match &self.0 {
            Place::Tcp { authority, .. } => authority.clone(),
            #[cfg(unix)]
            Place::Unix(_) => Authority::from_static("localhost"),
        }
    }
}

/// What opens sockets and runs tasks for the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reactor {
    /// The runtime tokio, within which the proxy is called.
    Tokio,
    /// smol's reactor and its global executor, which work on any runtime.
    Smol,
}

impl Reactor {
    /// A client of `upstream` that keeps at most `kept` unused connections.
    pub(super) fn client(
        self,
        upstream: &Upstream,
        kept: usize,
        counters: Arc<Counters>,
    ) -> Client {
        let mut builder = legacy::Client::builder(self);
        builder.pool_idle_timeout(IDLE).pool_max_idle_per_host(kept);
        builder.http1_max_buf_size(BUFFER).set_host(false);
        if self == Reactor::Tokio {
            builder.pool_timer(TokioTimer::new());
        }
        builder.build(Connector { reactor: self, place: Arc::new(upstream.0.clone()), counters })
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Reactor {
    fn execute(&self, future: F) {
        match self {
            Reactor::Tokio => drop(tokio::spawn(future)),
            Reactor::Smol => smol::spawn(future).detach(),
        }
    }
}

/// Connects to the one upstream server, whatever the URI says.
#[derive(Clone)]
pub(super) struct Connector {
    reactor: Reactor,
    place: Arc<Place>,
    counters: Arc<Counters>,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Connector { reactor, place, counters } = self.clone();
        Box::pin(async move {
            let io: Box<dyn Io> = match (reactor, &*place) {
                (Reactor::Tokio, Place::Tcp { host, port, .. }) => {
                    let stream = tokio::net::TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    Box::new(TokioIo::new(stream))
                }
                (Reactor::Smol, Place::Tcp { host, port, .. }) => {
                    let stream = smol::net::TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    Box::new(FuturesIo::new(stream))
                }
                #[cfg(unix)]
                (Reactor::Tokio, Place::Unix(path)) => {
                    Box::new(TokioIo::new(tokio::net::UnixStream::connect(path).await?))
                }
                #[cfg(unix)]
                (Reactor::Smol, Place::Unix(path)) => {
                    Box::new(FuturesIo::new(smol::net::unix::UnixStream::connect(path).await?))
                }
            };
            let buffer = ReadBuffer::default();
            Ok(Stream { io, used: Used::default(), buffer, _open: counters.connection() })
        })
    }
}

/// Whether a connection has brought an answer. A failure after that may only mean that the server has closed a
/// connection that it did not use.
#[derive(Clone, Debug, Default)]
pub(super) struct Used(Arc<AtomicBool>);

impl Used {
    /// An answer has come.
    pub(super) fn set(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether the connection of a failed request had brought an answer before.
    pub(super) fn is_set_for(error: &legacy::Error) -> bool {
        let mut extensions = http::Extensions::new();
        if let Some(connected) = error.connect_info() {
            connected.get_extras(&mut extensions);
        }
        extensions.get::<Used>().is_some_and(|used| used.0.load(Relaxed))
    }
}

trait Io: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Io for T {}

/// A connection to the upstream server.
pub(super) struct Stream {
    io: Box<dyn Io>,
    used: Used,
    buffer: ReadBuffer,
    _open: Present,
}

/// The memory into which a connection reads, in bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadBuffer(Arc<AtomicUsize>);

impl ReadBuffer {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.used.clone()).extra(self.buffer.clone())
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // It grows as more comes at once, and is kept.
        self.buffer.0.fetch_max(buffer.remaining(), Relaxed);
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for text in
            ["http://127.0.0.1:8000", "http://[::1]:8000", "http://app", "unix:/run/app.sock"]
        {
            let upstream: Upstream = text.parse().expect(text);
            assert_eq!(upstream.to_string(), text);
        }
        assert_eq!("http://a:1/".parse::<Upstream>().expect("a root").to_string(), "http://a:1");
        for (text, said) in [
            ("https://a", "TLS"),
            ("http://a/b", "a path is not supported"),
            ("http://u@a", "a user name"),
            ("unix:", "the path is missing"),
            ("8000", "expected http://127.0.0.1:8000"),
            ("127.0.0.1:8000", "expected http://127.0.0.1:8000"),
        ] {
            let error = text.parse::<Upstream>().expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
