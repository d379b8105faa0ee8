//! What answers requests: an async function, or a tower service.

use crate::Body;
use http::{Request, Response};
use pin_project_lite::pin_project;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// An error of the application's, to be logged.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Answers requests. Implemented for functions from [`Request<Body>`](Body) to a future of a
/// [`Response`], and for every [`tower_service::Service`], such as a router; `Kind` only tells the
/// two apart.
pub trait Service<Kind>: Clone + Send + Sync + 'static {
    /// The answer's content.
    type ResponseBody: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static;
    /// The answer on its way.
    type Future: Future<Output = Result<Response<Self::ResponseBody>, BoxError>> + Send + 'static;

    /// Begins to answer `request`.
    fn call(&self, request: Request<Body>) -> Self::Future;
}

/// An async function.
#[derive(Debug)]
pub enum Function {}

/// A tower service.
#[derive(Debug)]
pub enum Tower {}

impl<F, Answer, B> Service<Function> for F
where
    F: Fn(Request<Body>) -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type ResponseBody = B;
    type Future = FunctionAnswer<Answer>;

    fn call(&self, request: Request<Body>) -> Self::Future {
        FunctionAnswer { answer: self(request) }
    }
}

impl<S, B> Service<Tower> for S
where
    S: tower_service::Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type ResponseBody = B;
    type Future = TowerAnswer<S>;

    fn call(&self, request: Request<Body>) -> Self::Future {
        TowerAnswer::Waiting { service: self.clone(), request: Some(request) }
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

impl<Answer: Future> Future for FunctionAnswer<Answer> {
    type Output = Result<Answer::Output, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().answer.poll(cx).map(Ok)
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
