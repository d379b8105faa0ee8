//! The limit of a request's content, by route.
//!
//! In: a request, before its content is read. Out: the same request, whose connection holds the content to
//! another limit than `request_body_limit`.

use http::Request;
use portcullis_driver::BodyLimiter;
use std::task::{Context, Poll};
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
