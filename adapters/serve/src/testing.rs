//! Shared by the unit tests: content made of given frames, and answers read whole.

use crate::answer::Answer;
use crate::body::{AnswerBody, BoxError};
use bytes::Bytes;
use futures_lite::future::block_on;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Content of unknown length, made of given frames.
#[derive(Debug)]
pub(crate) struct Frames(VecDeque<Result<Frame<Bytes>, BoxError>>);

impl FromIterator<Result<Frame<Bytes>, BoxError>> for Frames {
    fn from_iter<I: IntoIterator<Item = Result<Frame<Bytes>, BoxError>>>(frames: I) -> Self {
        Frames(frames.into_iter().collect())
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.pop_front())
    }
}

/// Waits for an answer and collects its content, up to the first error.
pub(crate) fn whole<B>(answer: Answer<B>) -> Response<Result<Bytes, BoxError>>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let (head, content) = block_on(answer).into_parts();
    Response::from_parts(head, block_on(collect(content)))
}

async fn collect<B>(content: AnswerBody<B>) -> Result<Bytes, BoxError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    Ok(content.collect().await?.to_bytes())
}
