//! A request's content as the content of its answer.

use crate::body::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Passes content on, frame by frame, trailers included.
#[derive(Debug)]
pub(crate) struct Echo<B> {
    /// What was there when the content was asked for.
    first: Option<Frame<Bytes>>,
    content: B,
}

impl<B> Echo<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    /// Asks for the content, without waiting for it: a client that expects a 100 (Continue) gets it
    /// only if it is asked before it is answered.
    pub(crate) async fn begin(mut content: B) -> Result<Echo<B>, B::Error> {
        let asked = |cx: &mut Context<'_>| Poll::Ready(Pin::new(&mut content).poll_frame(cx));
        let first = match poll_fn(asked).await {
            Poll::Ready(first) => first.transpose()?,
            Poll::Pending => None,
        };
        Ok(Echo { first, content })
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => {
                let frame = Pin::new(&mut self.content).poll_frame(cx);
                frame.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.content.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len);
        match self.content.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(first as u64 + rest),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;
    use futures_lite::future::block_on;
    use http::{HeaderMap, HeaderValue};
    use http_body_util::Full;
    use std::task::Waker;

    fn next<B>(echo: &mut Echo<B>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        echo.poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn frames_and_trailers_come_back_in_their_order() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        let frames = [
            Frame::data(Bytes::from("a")),
            Frame::data(Bytes::from("b")),
            Frame::trailers(trailers.clone()),
        ];
        let content = Frames::from_iter(frames.map(Ok));
        let mut echo = block_on(Echo::begin(content)).expect("no error");
        assert_eq!(echo.size_hint().exact(), None);
        let mut frame = || match next(&mut echo) {
            Poll::Ready(Some(Ok(frame))) => frame,
            other => panic!("{other:?}"),
        };
        assert_eq!(frame().data_ref(), Some(&Bytes::from("a")));
        assert_eq!(frame().data_ref(), Some(&Bytes::from("b")));
        assert_eq!(frame().trailers_ref(), Some(&trailers));
        assert!(matches!(next(&mut echo), Poll::Ready(None)));
    }

    #[test]
    fn a_known_length_is_told_in_full() {
        let mut echo = block_on(Echo::begin(Full::new(Bytes::from("abc")))).expect("no error");
        assert_eq!(echo.size_hint().exact(), Some(3));
        assert!(!echo.is_end_stream());
        assert!(next(&mut echo).is_ready());
        assert!(echo.is_end_stream());
        let empty = block_on(Echo::begin(Full::new(Bytes::new()))).expect("no error");
        assert!(empty.is_end_stream());
    }

    #[test]
    fn content_is_asked_for_but_not_waited_for() {
        /// Content that does not come, and counts how often it is asked for.
        struct Slow(u32);
        impl Body for Slow {
            type Data = Bytes;
            type Error = BoxError;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
                self.0 += 1;
                Poll::Pending
            }
        }
        let mut echo = block_on(Echo::begin(Slow(0))).expect("no error");
        assert_eq!(echo.content.0, 1);
        assert!(next(&mut echo).is_pending());
    }

    #[test]
    fn content_that_fails_at_once_is_no_echo() {
        let content = Frames::from_iter([Err("cut off".into())]);
        assert!(block_on(Echo::begin(content)).is_err());
    }
}
