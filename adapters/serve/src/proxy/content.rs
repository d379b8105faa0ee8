//! Content on its way through the proxy. It streams; both sides are held back by each other's pace.
//!
//! Of a request, the first 64 KiB are read before the request takes a place at the upstream server. So a small upload
//! holds none while it is slow. Of an answer nothing is collected.

use super::places::Place;
use crate::body::BoxError;
use crate::later::{Later, Sleep};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use portcullis_driver::{Body as Received, BodyError};
use std::fmt;
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// What is read of a request's content before it takes a place, in bytes; the last piece may exceed it.
const FIRST: usize = 64 << 10;

/// The content of a request to the upstream server.
#[derive(Debug, Default)]
pub(super) struct Content {
    first: Bytes,
    /// Unless all of it was read first.
    rest: Option<Received>,
    trailers: Option<HeaderMap>,
    upload: Upload,
}

/// Whether an upload moves, for whoever waits for the answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Upload(Arc<AtomicU64>);

/// The count while the upload waits for the client.
const CLIENT: u64 = u64::MAX;

impl Upload {
    /// A value that changes while the upload moves; `None` while it waits for the client, to whom the time is
    /// charged elsewhere.
    pub(super) fn moved(&self) -> Option<u64> {
        Some(self.0.load(Relaxed)).filter(|count| *count != CLIENT)
    }
}

impl Content {
    /// Reads the first bytes of a request's content, or all of it.
    pub(super) async fn begin(mut received: Received) -> Result<Self, BodyError> {
        let (mut first, mut trailers) = (BytesMut::new(), None);
        while first.len() < FIRST {
            let Some(frame) = received.frame().await else {
                let first = first.freeze();
                return Ok(Content { first, rest: None, trailers, upload: Upload::default() });
            };
            match frame?.into_data() {
                Ok(data) => first.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        let upload = Upload::default();
        Ok(Content { first: first.freeze(), rest: Some(received), trailers, upload })
    }

    /// Whether there is none. Such a request can be sent again.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.rest.is_none() && self.trailers.is_none()
    }

    /// Whether a part is still to come from the client.
    pub(super) fn is_on_its_way(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether trailers may come.
    pub(super) fn may_have_trailers(&self) -> bool {
        self.rest.is_some() || self.trailers.is_some()
    }

    pub(super) fn upload(&self) -> Upload {
        self.upload.clone()
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(take(&mut self.first)))));
        }
        let Content { rest, trailers, upload, .. } = &mut *self;
        let Some(rest) = rest else {
            return Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        };
        let before = upload.0.load(Relaxed);
        let frame = Pin::new(rest).poll_frame(cx);
        let count = match &frame {
            Poll::Pending => CLIENT,
            Poll::Ready(_) if before == CLIENT => 1,
            Poll::Ready(_) => before.wrapping_add(1) % CLIENT,
        };
        upload.0.store(count, Relaxed);
        if matches!(frame, Poll::Ready(None)) {
            self.rest = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty()
            && self.trailers.is_none()
            && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.len() as u64;
        match &self.rest {
            // Trailers need chunks.
            None if self.trailers.is_some() => SizeHint::default(),
            None => SizeHint::with_exact(first),
            Some(rest) => rest
                .size_hint()
                .exact()
                .and_then(|rest| rest.checked_add(first))
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// The content of an answer of the proxy.
pub struct ProxyBody(Kind);

enum Kind {
    /// A short text of the proxy's own.
    Own(Bytes),
    Upstream(Box<Passed>),
}

/// An answer's content on its way from the upstream server.
struct Passed {
    content: hyper::body::Incoming,
    /// Until all has come.
    place: Option<Place>,
    timeout: Duration,
    sleep: Sleep,
    /// While nothing comes.
    stall: Option<Later<()>>,
}

impl From<Bytes> for ProxyBody {
    fn from(text: Bytes) -> Self {
        ProxyBody::own(text)
    }
}

impl ProxyBody {
    pub(super) fn own(text: impl Into<Bytes>) -> Self {
        ProxyBody(Kind::Own(text.into()))
    }

    /// Content of the upstream server, which holds `place` until all has come.
    pub(super) fn pass(
        content: hyper::body::Incoming,
        place: Place,
        timeout: Duration,
        sleep: Sleep,
    ) -> Self {
        let place = Some(place).filter(|_| !content.is_end_stream());
        ProxyBody(Kind::Upstream(Box::new(Passed { content, place, timeout, sleep, stall: None })))
    }
}

impl Default for ProxyBody {
    fn default() -> Self {
        ProxyBody::own(Bytes::new())
    }
}

impl fmt::Debug for ProxyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Own(_) => "Own",
            Kind::Upstream(_) => "Upstream",
        })
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Own(text) if text.is_empty() => Poll::Ready(None),
            Kind::Own(text) => Poll::Ready(Some(Ok(Frame::data(take(text))))),
            Kind::Upstream(passed) => passed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Own(text) => text.is_empty(),
            Kind::Upstream(passed) => passed.content.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Own(text) => SizeHint::with_exact(text.len() as u64),
            Kind::Upstream(passed) => passed.content.size_hint(),
        }
    }
}

impl Passed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.content).poll_frame(cx) else {
            let Passed { timeout, sleep, stall, .. } = self;
            ready!(stall.get_or_insert_with(|| sleep(*timeout)).as_mut().poll(cx));
            (self.stall, self.place) = (None, None);
            return Poll::Ready(Some(Err("the server behind the proxy has stalled".into())));
        };
        self.stall = None;
        if !matches!(frame, Some(Ok(_))) || self.content.is_end_stream() {
            self.place = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }
}
