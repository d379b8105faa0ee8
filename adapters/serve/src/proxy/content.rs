//! A request's content on its way to the upstream server.
//!
//! The first 64 KiB are read before the request takes a place at the server. So a small upload holds none while it is
//! slow. If [buffers](super::buffers) are short, less is read before. The rest streams; both sides are held back by
//! each other's pace.

use super::buffers::Taken;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use portcullis_driver::{Body as Received, BodyError};
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

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
    /// What counts of the first bytes until all is sent: the client of the upstream server may hold as much.
    taken: Option<Taken>,
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
    pub(super) async fn begin(mut received: Received, mut taken: Taken) -> Result<Self, BodyError> {
        let (mut first, mut trailers, mut has_ended) = (BytesMut::new(), None, false);
        while first.len() < FIRST && taken.has_room() {
            let Some(frame) = received.frame().await else {
                has_ended = true;
                break;
            };
            match frame?.into_data() {
                Ok(data) => {
                    let before = first.capacity();
                    first.extend_from_slice(&data);
                    taken.add(first.capacity() - before);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        let rest = if has_ended { None } else { Some(received) };
        let (first, upload, taken) = (first.freeze(), Upload::default(), Some(taken));
        Ok(Content { first, rest, trailers, upload, taken })
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

    /// What counts of content that has come whole. It is to be kept until the answer comes: the client of the upstream
    /// server takes the content at once, and may wait with it for the server.
    pub(super) fn whole(&mut self) -> Option<Taken> {
        if self.is_on_its_way() { None } else { self.taken.take() }
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
