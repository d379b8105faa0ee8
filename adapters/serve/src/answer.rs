//! The future of an answer, and the short answers that all services share.

use crate::body::AnswerBody;
use crate::later::Later;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The future of an answer to a request with content of type `B`. An answer that is ready at once
/// needs no allocation.
pub struct Answer<B>(State<B>);

enum State<B> {
    Now(Option<Response<AnswerBody<B>>>),
    Later(Later<Response<AnswerBody<B>>>),
}

impl<B> Answer<B> {
    /// An answer that is ready.
    pub(crate) fn now(response: Response<AnswerBody<B>>) -> Self {
        Answer(State::Now(Some(response)))
    }

    /// An answer that is ready when the future is.
    pub(crate) fn later(
        response: impl Future<Output = Response<AnswerBody<B>>> + Send + 'static,
    ) -> Self {
        Answer(State::Later(Box::pin(response)))
    }
}

// The content is only moved, never pinned in place.
impl<B> Unpin for Answer<B> {}

impl<B> Future for Answer<B> {
    type Output = Response<AnswerBody<B>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Now(response) => response.take().map_or(Poll::Pending, Poll::Ready),
            State::Later(response) => response.as_mut().poll(cx),
        }
    }
}

impl<B> fmt::Debug for Answer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

/// Plain text, ASCII.
pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
/// An HTML page in UTF-8.
pub(crate) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Status 200 with this type and content.
pub(crate) fn of_type<B>(
    content_type: HeaderValue,
    body: AnswerBody<B>,
) -> Response<AnswerBody<B>> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// One line of plain text.
pub(crate) fn line<B>(status: StatusCode, text: impl Into<Bytes>) -> Response<AnswerBody<B>> {
    let mut response = of_type(TEXT, AnswerBody::whole(text));
    *response.status_mut() = status;
    response
}

/// The methods of RFC 9110 9.3 and RFC 5789, without CONNECT: this program is no proxy.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"];

/// Whether the program knows the method, for one resource or another.
pub(crate) fn knows(method: &str) -> bool {
    METHODS.contains(&method)
}

/// 404, whatever is missing.
pub(crate) fn not_found<B>() -> Response<AnswerBody<B>> {
    line(StatusCode::NOT_FOUND, "not found: nothing is served at this path\n")
}

/// 501, for a method that the program does not know for any resource (RFC 9110 9.1).
pub(crate) fn unknown_method<B>() -> Response<AnswerBody<B>> {
    line(StatusCode::NOT_IMPLEMENTED, "this method is not implemented here\n")
}

/// 405, with the methods that are allowed (RFC 9110 15.5.6).
pub(crate) fn wrong_method<B>(allowed: &'static str) -> Response<AnswerBody<B>> {
    let mut response = line(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("method not allowed: this path accepts {allowed}\n"),
    );
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The answer to OPTIONS (RFC 9110 9.3.7): the allowed methods, without content. Proxies use it as
/// a health check.
pub(crate) fn options<B>(allowed: &'static str) -> Response<AnswerBody<B>> {
    let mut response = Response::new(AnswerBody::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
