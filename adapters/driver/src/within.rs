//! Being within a span, if there is one: what the application logs is within it.
//!
//! Without a span this costs a branch at each end. A [`tracing::span::Entered`] borrows its span, so it would need
//! a second guard beside a clone of the span.

use std::sync::Arc;
use tracing::Span;

/// Leaves the span when it is dropped.
#[must_use = "the span is left when this is dropped"]
pub(crate) struct Within(Option<Arc<Span>>);

impl Within {
    /// Enters the span.
    #[inline]
    pub(crate) fn enter(span: Option<&Arc<Span>>) -> Self {
        Within(span.map(entered))
    }
}

impl Drop for Within {
    #[inline]
    fn drop(&mut self) {
        if let Some(span) = &self.0 {
            leave(span);
        }
    }
}

#[cold]
fn entered(span: &Arc<Span>) -> Arc<Span> {
    span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
    Arc::clone(span)
}

#[cold]
fn leave(span: &Span) {
    span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
}
