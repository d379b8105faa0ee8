//! portcullis on tokio.
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
//! let server = serve(listener, Arc::new(Config::strict()), hello);
//! # let server = server.shutdown_on(async {});
//! let report = server.await;
//! println!("{} finished, {} cut", report.finished, report.cut);
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

pub use portcullis::{self, Config};
pub use portcullis_driver::*;

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};

/// Serves the connections that `listener` accepts: requests go to `service`, an async function from
/// [`http::Request<Body>`](Body) to an `http::Response`, or any tower service.
///
/// Connections run as tasks of the current runtime, of either flavour.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn serve<S: Service<K>, K>(
    listener: TcpListener,
    config: Arc<Config>,
    service: S,
) -> Server<Tokio, S, K> {
    let listener = TokioListener::new(listener, &config);
    Server::new(Tokio::current(), listener, config, service)
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

/// A listener.
#[derive(Debug)]
pub struct TokioListener {
    listener: TcpListener,
    options: tcp::Options,
}

impl TokioListener {
    /// Accepts from `listener`, whose sockets have the [options](tcp::Options) that `config` asks for.
    pub fn new(listener: TcpListener, config: &Config) -> Self {
        let options = tcp::Options::new(&listener, config);
        TokioListener { listener, options }
    }

    fn socket(&mut self, stream: TcpStream) -> TokioSocket {
        self.options.complete(&stream);
        tcp::send_at_once(&stream);
        TokioSocket(stream)
    }
}

/// A connected socket.
#[derive(Debug)]
pub struct TokioSocket(TcpStream);

/// A timer.
#[derive(Debug)]
pub struct TokioTimer(Pin<Box<Sleep>>);

impl Runtime for Tokio {
    type Listener = TokioListener;
    type Socket = TokioSocket;
    type Timer = TokioTimer;

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawn(future));
    }

    fn yield_now(cx: &mut Context<'_>) {
        // Behind a look at the sockets, which other tasks wait for: a wake-up alone would come first.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
    }
}

impl Listener for TokioListener {
    type Socket = TokioSocket;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TokioSocket, SocketAddr)>> {
        let (stream, peer) = ready!(self.listener.poll_accept(cx))?;
        Poll::Ready(Ok((self.socket(stream), peer)))
    }

    fn accept_now(&mut self) -> io::Result<Option<(TokioSocket, SocketAddr)>> {
        // The system is asked: the runtime may not have heard yet.
        let Some((stream, peer)) = tcp::accept_now(&self.listener)? else { return Ok(None) };
        let stream = TcpStream::from_std(stream)?;
        Ok(Some((self.socket(stream), peer)))
    }
}

impl Socket for TokioSocket {
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

    fn shutdown_write(&mut self) -> io::Result<()> {
        tcp::shutdown_write(&self.0)
    }

    fn reset_on_close(&mut self) {
        tcp::reset_on_close(&self.0);
    }

    const IS_MEASURED: bool = tcp::IS_MEASURED;

    fn unacknowledged(&self) -> Option<u64> {
        tcp::unacknowledged(&self.0)
    }

    fn has_arrived(&self) -> bool {
        tcp::has_arrived(&self.0)
    }

    fn take_error(&self) -> Option<io::Error> {
        tcp::take_error(&self.0)
    }

    fn has_fin(&self) -> bool {
        tcp::has_fin(&self.0)
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
}
