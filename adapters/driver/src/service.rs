//! What answers requests: an async function, a tower service, or a type that looks at the head first.

use crate::body::Body;
use crate::error::BoxError;
use crate::incoming::{Incoming, Reply};
use http::{Request, Response};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Answers requests.
///
/// It is implemented for
/// - async functions that take a [`Request<Body>`](Body), and return a [`Response`] or a [`Result`] of
///   one. An error is logged, and its client gets a 500;
/// - every [`tower_service::Service`], such as a router.
///
/// `Kind` only tells them apart. A type that implements the trait itself ([`Native`]) sees the head where
/// it was read, and may answer on the spot, for two fifths fewer instructions than through the types of
/// `http`.
///
/// Each connection calls its own clone of the service.
///
/// ```
/// use http::header::{CONTENT_TYPE, HeaderValue};
/// use http::{Response, StatusCode};
/// use http_body_util::Full;
/// use bytes::Bytes;
/// use portcullis_driver::{BoxError, Incoming, Native, Reply, Service};
/// use std::future::{Ready, ready};
///
/// #[derive(Clone)]
/// struct Site;
///
/// impl Service<Native> for Site {
///     type ResponseBody = Full<Bytes>;
///     type Future = Ready<Result<Response<Full<Bytes>>, BoxError>>;
///
///     fn call(&mut self, incoming: Incoming<'_>) -> Reply<Self::Future> {
///         static TEXT: HeaderValue = HeaderValue::from_static("text/plain");
///         match (incoming.head().method(), incoming.head().path()) {
///             ("GET", "/health") => {
///                 let content = Bytes::from_static(b"well\n");
///                 incoming.answer(StatusCode::OK, [(&CONTENT_TYPE, &TEXT)], content)
///             }
///             _ => incoming.handle(|request| {
///                 let content = Bytes::from(request.uri().to_string());
///                 ready(Ok(Response::new(Full::new(content))))
///             }),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer requests",
    label = "this is no service",
    note = "an async function takes one `http::Request<Body>`, with the `Body` of this crate, and returns `http::Response<B>` or `Result<http::Response<B>, E>`",
    note = "a `tower::Service<http::Request<Body>>`, such as an `axum::Router`, returns `http::Response<B>`",
    note = "both have to be `Clone + Send + 'static`, since each connection has its own clone; share in an `Arc` what is not `Clone`",
    note = "their futures have to be `Send + 'static`",
    note = "the content `B` is an `http_body::Body + Send + 'static`; its errors, and `E`, have to be `Into<Box<dyn Error + Send + Sync>>`"
)]
pub trait Service<Kind>: Clone + Send + 'static {
    /// The answer's content.
    type ResponseBody: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static;
    /// The answer on its way.
    type Future: Future<Output = Result<Response<Self::ResponseBody>, BoxError>> + Send + 'static;

    /// Answers the request, or begins to.
    fn call(&mut self, incoming: Incoming<'_>) -> Reply<Self::Future>;
}

/// An async function.
#[derive(Debug)]
pub enum Function {}

/// A tower service.
#[derive(Debug)]
pub enum Tower {}

/// A type with an implementation of its own.
#[derive(Debug)]
pub enum Native {}

impl<F, Answer> Service<Function> for F
where
    F: FnMut(Request<Body>) -> Answer + Clone + Send + 'static,
    Answer: Future + Send + 'static,
    Answer::Output: IntoAnswer,
{
    type ResponseBody = <Answer::Output as IntoAnswer>::Body;
    type Future = FunctionAnswer<Answer>;

    fn call(&mut self, incoming: Incoming<'_>) -> Reply<Self::Future> {
        incoming.handle(|request| FunctionAnswer::new(self(request)))
    }
}

impl<S, B> Service<Tower> for S
where
    S: tower_service::Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type ResponseBody = B;
    type Future = TowerAnswer<S>;

    fn call(&mut self, incoming: Incoming<'_>) -> Reply<Self::Future> {
        incoming.handle(|request| TowerAnswer::Waiting {
            service: self.clone(),
            request: Some(request),
        })
    }
}

/// What an async function returns: a [`Response`], or a [`Result`] of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no answer to a request",
    label = "an async function that answers requests cannot return this",
    note = "return `http::Response<B>`, or `Result<http::Response<B>, E>`",
    note = "the content `B` is an `http_body::Body + Send + 'static`; its errors, and `E`, have to be `Into<Box<dyn Error + Send + Sync>>`"
)]
pub trait IntoAnswer {
    /// The answer's content.
    type Body: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static;

    /// The response, or the error by which the function failed: it is logged, and the client gets a 500.
    ///
    /// # Errors
    /// The function's.
    fn into_answer(self) -> Result<Response<Self::Body>, BoxError>;
}

impl<B> IntoAnswer for Response<B>
where
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;

    #[inline]
    fn into_answer(self) -> Result<Response<B>, BoxError> {
        Ok(self)
    }
}

impl<B, E> IntoAnswer for Result<Response<B>, E>
where
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    E: Into<BoxError>,
{
    type Body = B;

    fn into_answer(self) -> Result<Response<B>, BoxError> {
        self.map_err(Into::into)
    }
}

pin_project! {
    /// The answer of an async function.
    #[derive(Debug)]
    pub struct FunctionAnswer<Answer> {
        #[pin]
        answer: Answer,
    }
}

impl<Answer> FunctionAnswer<Answer> {
    /// The answer that `answer` becomes.
    pub const fn new(answer: Answer) -> Self {
        FunctionAnswer { answer }
    }
}

impl<Answer: Future<Output: IntoAnswer>> Future for FunctionAnswer<Answer> {
    type Output = Result<Response<<Answer::Output as IntoAnswer>::Body>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().answer.poll(cx).map(IntoAnswer::into_answer)
    }
}

pin_project! {
    /// The answer of a tower service, which is waited for until it is ready.
    #[project = TowerAnswerProjection]
    pub enum TowerAnswer<S: tower_service::Service<Request<Body>>> {
        /// The service is not ready yet.
        #[allow(missing_docs)]
        Waiting { service: S, request: Option<Request<Body>> },
        /// It has the request.
        #[allow(missing_docs)]
        Called { #[pin] answer: S::Future },
    }
}

impl<S> std::fmt::Debug for TowerAnswer<S>
where
    S: tower_service::Service<Request<Body>>,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TowerAnswer").finish_non_exhaustive()
    }
}

impl<S> Future for TowerAnswer<S>
where
    S: tower_service::Service<Request<Body>, Error: Into<BoxError>>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let answer = match self.as_mut().project() {
                TowerAnswerProjection::Called { answer } => {
                    return answer.poll(cx).map_err(Into::into);
                }
                TowerAnswerProjection::Waiting { service, request } => {
                    ready!(service.poll_ready(cx)).map_err(Into::into)?;
                    let Some(request) = request.take() else {
                        return Poll::Ready(Err("polled after an error".into()));
                    };
                    service.call(request)
                }
            };
            self.set(TowerAnswer::Called { answer });
        }
    }
}
