//! Tunnels for handlers: a CONNECT, or an upgrade of HTTP/1.1, as a stream of bytes in both directions.
//!
//! The names and the way are those of `hyper::upgrade`. The handler's side and the driver meet in a pipe, which a
//! request brings along if it asks for a tunnel. The answer that accepts begins the tunnel, and the handler may be
//! over then: the stream is most often given to a task of its own.
//!
//! ```
//! use futures_lite::{AsyncReadExt, AsyncWriteExt};
//! use http::{Request, Response, StatusCode};
//! use portcullis_driver::{Body, upgrade};
//! # fn spawn(_: impl Future<Output = ()> + Send + 'static) {}
//!
//! /// Accepts an upgrade to a protocol that sends everything back.
//! async fn echo(mut request: Request<Body>) -> Response<String> {
//!     let mut response = Response::new(String::new());
//!     if request.headers().get("upgrade").is_none_or(|it| it != "echo") {
//!         *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
//!         response.headers_mut().insert("upgrade", "echo".parse().expect("a value"));
//!         return response;
//!     }
//!     let upgrade = upgrade::on(&mut request);
//!     spawn(async move {
//!         let Ok(mut upgraded) = upgrade.await else { return };
//!         let mut buffer = [0; 1024];
//!         while let Ok(length @ 1..) = upgraded.read(&mut buffer).await {
//!             if upgraded.write_all(&buffer[..length]).await.is_err() {
//!                 break;
//!             }
//!         }
//!     });
//!     *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
//!     response.headers_mut().insert("upgrade", "echo".parse().expect("a value"));
//!     response
//! }
//! # let _ = echo;
//! ```

mod pipe;
mod tunneling;

use crate::error::BodyError;
use crate::presence::Presence;
use bytes::{Buf, Bytes};
use http::{Request, header};
use http_body::Frame;
use portcullis::ResetReason;
use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pub(crate) use pipe::Pipe;
pub(crate) use tunneling::Tunneling;

/// The tunnel that the request asks for: by CONNECT (RFC 9110 9.3.6), or with HTTP/1.1 by an upgrade (RFC 9110 7.8).
///
/// The handler accepts it by its answer, which has no content: a 2xx to CONNECT, a 101 with the `Upgrade` that it has
/// chosen to an upgrade. Such an answer is an error (the client gets a 500) if nothing holds the request any more, nor
/// what this function has returned. So a handler that knows nothing of tunnels accepts none.
pub fn on<R: Upgradable>(request: R) -> OnUpgrade {
    OnUpgrade(request.offer().map(|Offer(claim)| claim))
}

/// A request, or a reference to one: see [`on`].
pub trait Upgradable: sealed::Offers {}

impl<R: sealed::Offers> Upgradable for R {}

mod sealed {
    use super::{Offer, Request};

    pub trait Offers {
        #[doc(hidden)]
        fn offer(self) -> Option<Offer>;
    }

    impl<B> Offers for Request<B> {
        fn offer(mut self) -> Option<Offer> {
            self.extensions_mut().remove()
        }
    }

    impl<B> Offers for &mut Request<B> {
        fn offer(self) -> Option<Offer> {
            self.extensions_mut().remove()
        }
    }
}

/// What a request that asks for a tunnel has among its extensions.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Offer(Arc<Claim>);

/// The application's side of a tunnel that is not accepted yet. Dropping it leaves the tunnel.
#[derive(Debug)]
struct Claim(Arc<Pipe>);

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.0.is_taken() {
            self.0.leave();
        }
    }
}

/// Adds the offer of a tunnel to a request.
#[cold]
pub(crate) fn offer<B>(request: &mut Request<B>, presence: &Presence) {
    let named = request.headers().get_all(header::UPGRADE).iter().cloned().collect();
    let pipe = Arc::new(Pipe::new(request.version(), named));
    presence.offer(pipe.clone());
    request.extensions_mut().insert(Offer(Arc::new(Claim(pipe))));
}

/// A future of the tunnel, which is ready when the answer that accepts it was sent. Made by [`on`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct OnUpgrade(Option<Arc<Claim>>);

impl Future for OnUpgrade {
    type Output = Result<Upgraded, NotUpgraded>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(claim) = &self.0 else { return Poll::Ready(Err(NotUpgraded(()))) };
        let is_open = ready!(claim.0.poll_open(cx));
        let upgraded = || Upgraded { pipe: claim.0.clone(), rest: Bytes::new() };
        Poll::Ready(if is_open { Ok(upgraded()) } else { Err(NotUpgraded(())) })
    }
}

/// There is no tunnel: the request asked for none, its answer was another one, or the client is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUpgraded(());

impl fmt::Display for NotUpgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request did not become a tunnel")
    }
}

impl std::error::Error for NotUpgraded {}

/// A tunnel: bytes in both directions, each of which ends by itself.
///
/// It has the traits of `futures_io`. With the feature `tokio`, which the adapter for tokio turns on, it also has those
/// of tokio. Closing it, or shutting it down, ends this direction, and the peer may send on. Dropping it ends both: what
/// was written is still sent, and what still comes is discarded. If it is dropped by a panic, the client is told that
/// the tunnel has failed: by a reset of the connection, or over HTTP/2 of the stream.
///
/// Reading lets the peer send. At most 16 KiB of what was written wait for the connection, and count in the server's
/// [`bytes_held`](crate::Snapshot::bytes_held). A tunnel in which nothing passes while its reader waits is ended after
/// [`tunnel_idle_timeout`](portcullis::Config::tunnel_idle_timeout).
///
/// Errors hold a [`BodyError`] that tells how the tunnel has ended.
#[derive(Debug)]
pub struct Upgraded {
    pipe: Arc<Pipe>,
    /// Bytes that came and are not read yet.
    rest: Bytes,
}

impl Upgraded {
    fn poll_fill(&mut self, cx: &Context<'_>) -> Poll<io::Result<&[u8]>> {
        while self.rest.is_empty() {
            let frame = match ready!(self.pipe.upload().poll_frame(cx)) {
                None => break,
                Some(frame) => frame.map_err(error)?,
            };
            self.rest = Frame::into_data(frame).unwrap_or_default();
        }
        Poll::Ready(Ok(&self.rest))
    }

    fn poll_into(&mut self, cx: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let filled = ready!(self.poll_fill(cx))?;
        let length = filled.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), filled.get(..length)) {
            to.copy_from_slice(from);
        }
        self.rest.advance(length);
        Poll::Ready(Ok(length))
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.pipe.fail();
        }
        self.pipe.leave();
    }
}

/// How a tunnel has ended, as an error of reading or writing.
fn error(error: BodyError) -> io::Error {
    let kind = match error {
        BodyError::Reset(ResetReason::Truncated) => ErrorKind::UnexpectedEof,
        BodyError::Reset(ResetReason::Timeout | ResetReason::Unread) => ErrorKind::TimedOut,
        BodyError::Reset(_) => ErrorKind::ConnectionReset,
        BodyError::Closed => ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, error)
}

/// The same of a write: after the end of this direction the pipe is broken.
fn write_error(ended: BodyError) -> io::Error {
    match ended {
        BodyError::Closed => io::Error::new(ErrorKind::BrokenPipe, ended),
        BodyError::Reset(_) => error(ended),
    }
}

impl futures_io::AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_into(cx, buffer)
    }
}

impl futures_io::AsyncWrite for Upgraded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(cx, bytes).map_err(write_error)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_flush(cx).map_err(error)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_finish(cx).map_err(error)
    }
}

#[cfg(feature = "tokio")]
impl tokio::io::AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = ready!(self.poll_fill(cx))?;
        let length = filled.len().min(buffer.remaining());
        buffer.put_slice(filled.get(..length).unwrap_or_default());
        self.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

#[cfg(feature = "tokio")]
impl tokio::io::AsyncWrite for Upgraded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(cx, bytes).map_err(write_error)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_flush(cx).map_err(error)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_finish(cx).map_err(error)
    }
}

/// Whether each protocol that the answer's `Upgrade` fields name is one that the client has named (RFC 9110 7.8). Names
/// have no case.
fn is_named(named: &[header::HeaderValue], chosen: &header::HeaderMap) -> bool {
    fn names(value: &header::HeaderValue) -> impl Iterator<Item = &[u8]> {
        value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
    }
    let mut chosen = chosen.get_all(header::UPGRADE).iter().flat_map(names);
    chosen.all(|name| named.iter().flat_map(names).any(|other| other.eq_ignore_ascii_case(name)))
}
