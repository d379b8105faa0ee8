//! The content of a request, for the application, which may be on another task.
//!
//! Polling it asks for content, and nothing is read before. The driver and the body meet in an [`Upload`],
//! which exists only for requests that have content.

use crate::error::BodyError;
use crate::upload::Upload;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A request's content, as it arrives.
///
/// Polling it lets the peer send. While nobody polls, no time limit of the peer's runs.
#[derive(Debug)]
pub struct Body {
    upload: Option<Arc<Upload>>,
    /// The bytes that are left of the declared length.
    left: Option<u64>,
}

impl Body {
    pub(crate) const fn empty() -> Self {
        Body { upload: None, left: Some(0) }
    }

    pub(crate) fn new(upload: Arc<Upload>, length: Option<u64>) -> Self {
        Body { upload: Some(upload), left: length }
    }

    /// Sets the limit of this content in bytes, or no limit, instead of `request_body_limit`. It counts only
    /// before the handler's first await. A declared length above it is answered with 413.
    pub fn set_limit(&self, limit: Option<u64>) {
        if let Some(upload) = &self.upload {
            upload.set_limit(limit);
        }
    }

    /// Sets the time within which the whole content has to come, or none, instead of `request_body_deadline`. It
    /// counts from the next time that the handler waits, and only while the content is polled for.
    pub fn set_deadline(&self, time: Option<Duration>) {
        if let Some(upload) = &self.upload {
            upload.set_deadline(time);
        }
    }
}

/// Sets the limits of a request's content for a layer that has no [`Body`] in hand, since another type wraps it.
/// It is among the extensions of each request that may have content.
#[derive(Clone, Debug)]
pub struct BodyLimiter(pub(crate) Arc<Upload>);

impl BodyLimiter {
    /// As [`Body::set_limit`].
    pub fn set_limit(&self, limit: Option<u64>) {
        self.0.set_limit(limit);
    }

    /// As [`Body::set_deadline`].
    pub fn set_deadline(&self, time: Option<Duration>) {
        self.0.set_deadline(time);
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.abandon();
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(upload) = &self.upload else { return Poll::Ready(None) };
        let polled = upload.poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(left)) = (&polled, &mut self.left) {
            *left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.upload {
            None => true,
            Some(upload) => upload.is_at_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;
    use portcullis::ResetReason;
    use std::task::Waker;

    fn poll(body: &mut Body) -> Poll<Option<Result<Bytes, BodyError>>> {
        let polled = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
        polled.map(|frame| frame.map(|it| it.map(|frame| frame.into_data().unwrap_or_default())))
    }

    #[test]
    fn polling_is_what_asks() {
        let cx = Context::from_waker(Waker::noop());
        let upload = Arc::new(Upload::new(http::Version::HTTP_11));
        let mut body = Body::new(upload.clone(), Some(3));
        assert_eq!(upload.wishes(&cx).wanted, None);
        assert!(poll(&mut body).is_pending());
        assert_eq!(upload.wishes(&cx).wanted, Some(1));
        assert_eq!(upload.wishes(&cx).wanted, None, "a wish is told once");
        upload.push(b"abc");
        assert_eq!(poll(&mut body), Poll::Ready(Some(Ok(Bytes::from_static(b"abc")))));
        assert_eq!(body.size_hint().exact(), Some(0));
        upload.end(Ok(None));
        upload.end(Err(BodyError::Closed));
        assert!(body.is_end_stream());
        assert_eq!(poll(&mut body), Poll::Ready(None));
    }

    #[test]
    fn an_early_end_is_an_error_after_the_data() {
        let upload = Arc::new(Upload::new(http::Version::HTTP_11));
        let mut body = Body::new(upload.clone(), None);
        upload.push(b"abc");
        upload.end(Err(BodyError::Reset(ResetReason::Truncated)));
        assert_eq!(poll(&mut body), Poll::Ready(Some(Ok(Bytes::from_static(b"abc")))));
        let error = BodyError::Reset(ResetReason::Truncated);
        assert_eq!(poll(&mut body), Poll::Ready(Some(Err(error))));
    }

    #[test]
    fn a_request_without_content_shares_nothing() {
        let mut body = Body::empty();
        assert!(body.is_end_stream());
        assert_eq!(poll(&mut body), Poll::Ready(None));
    }
}
