//! Limits of a request and its answer, by route.
//!
//! In: a request before its content is read, and the answer to it. Out: the same, and the connection holds them to
//! other limits than those of its configuration: `request_body_limit`, `request_body_deadline` and
//! `response_deadline`.

use http::{Request, Response};
use pin_project_lite::pin_project;
use portcullis_driver::{BodyLimiter, ResponseDeadline};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tower_layer::Layer;
use tower_service::Service;

/// A layer that sets the limit of a request's content in bytes, instead of `request_body_limit`. A larger
/// content is refused with 413 before the handler gets the bytes past the limit.
///
/// The extractors of axum that collect the content, such as `Bytes` and `Json`, have a limit of their own beside
/// it, 2 MB: see `axum::extract::DefaultBodyLimit`.
///
/// ```
/// use axum::Router;
/// use axum::routing::post;
/// use portcullis_axum::BodyLimit;
///
/// let app: Router = Router::new()
///     .route("/avatar", post(async || "thanks").layer(BodyLimit::bytes(100_000)))
///     .route("/backup", post(async || "thanks").layer(BodyLimit::none()));
/// # drop(app);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(Option<u64>);

impl BodyLimit {
    /// At most this many bytes.
    pub const fn bytes(limit: u64) -> Self {
        BodyLimit(Some(limit))
    }

    /// No limit. The content still has to arrive at the minimum rate.
    pub const fn none() -> Self {
        BodyLimit(None)
    }
}

impl<S> Layer<S> for BodyLimit {
    type Service = LimitBody<S>;

    fn layer(&self, inner: S) -> LimitBody<S> {
        LimitBody { inner, limit: *self }
    }
}

/// The service that [`BodyLimit`] makes.
#[derive(Clone, Debug)]
pub struct LimitBody<S> {
    inner: S,
    limit: BodyLimit,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for LimitBody<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        // A request without content needs no limit.
        if let Some(limiter) = request.extensions().get::<BodyLimiter>() {
            limiter.set_limit(self.limit.0);
        }
        self.inner.call(request)
    }
}

/// A layer that sets how long a request's content and its answer may take, instead of `request_body_deadline` and
/// `response_deadline`. Both times count only while the server waits for the client: a slow handler needs another
/// layer, such as tower's `TimeoutLayer`. The minimum rates count beside them.
///
/// A request whose content takes longer is answered with 408. An answer that is not taken in time is reset.
///
/// ```
/// use axum::Router;
/// use axum::routing::{get, post};
/// use portcullis_axum::Deadlines;
/// use std::time::Duration;
///
/// let quick = Deadlines::new()
///     .body(Some(Duration::from_secs(10)))
///     .response(Some(Duration::from_secs(30)));
/// let app: Router = Router::new()
///     .route("/login", post(async || "welcome").layer(quick))
///     .route("/film", get(async || "long").layer(Deadlines::new().response(None)));
/// # drop(app);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    body: Option<Option<Duration>>,
    response: Option<Option<Duration>>,
}

impl Deadlines {
    /// Those of the configuration.
    pub const fn new() -> Self {
        Deadlines { body: None, response: None }
    }

    /// The whole content of the request has to come within this time; `None` is no deadline.
    pub const fn body(mut self, time: Option<Duration>) -> Self {
        self.body = Some(time);
        self
    }

    /// The client has to take the whole answer within this time; `None` is no deadline.
    pub const fn response(mut self, time: Option<Duration>) -> Self {
        self.response = Some(time);
        self
    }
}

impl<S> Layer<S> for Deadlines {
    type Service = LimitTime<S>;

    fn layer(&self, inner: S) -> LimitTime<S> {
        LimitTime { inner, deadlines: *self }
    }
}

/// The service that [`Deadlines`] makes.
#[derive(Clone, Debug)]
pub struct LimitTime<S> {
    inner: S,
    deadlines: Deadlines,
}

impl<S, B, A> Service<Request<B>> for LimitTime<S>
where
    S: Service<Request<B>, Response = Response<A>>,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = LimitedAnswer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // A request without content needs no limit.
        if let Some(time) = self.deadlines.body
            && let Some(limiter) = request.extensions().get::<BodyLimiter>()
        {
            limiter.set_deadline(time);
        }
        LimitedAnswer { answer: self.inner.call(request), time: self.deadlines.response }
    }
}

pin_project! {
    /// The future of [`LimitTime`].
    #[derive(Debug)]
    pub struct LimitedAnswer<F> {
        #[pin]
        answer: F,
        time: Option<Option<Duration>>,
    }
}

impl<F: Future<Output = Result<Response<A>, E>>, A, E> Future for LimitedAnswer<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut answer = ready!(this.answer.poll(cx));
        if let (Ok(response), Some(time)) = (&mut answer, *this.time) {
            response.extensions_mut().insert(ResponseDeadline(time));
        }
        Poll::Ready(answer)
    }
}
