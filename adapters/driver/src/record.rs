//! What is noted of a request while it is in progress, for the access log and for its `tracing` span.
//!
//! In: the head of a request, and what happens to it. Out: its span; at its end, one call of the log's
//! [`Hook`], and one event within the span. Callers say what happened. The record knows whether anybody wants it.
//!
//! If nobody does, a request costs two branches at its beginning, and one for each thing that happens to it.

use crate::access::{Access, Ending, Hook};
use crate::address::Address;
use crate::guard::guarded;
use crate::shared::Shared;
use crate::stats;
use crate::within::Within;
use http::{StatusCode, Version};
use portcullis::{CloseReason, RefusedHead, RequestHead, ResetReason, Sent, StreamId};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span};

/// The most bytes of a target that are kept.
const TARGET: usize = 8 << 10;
/// The most bytes of a field's value that are kept.
const VALUE: usize = 1 << 10;

/// The record of a request, if anybody wants it. Dropping it tells of the request's end.
#[derive(Debug, Default)]
pub(crate) struct Record(Option<Box<Entry>>);

/// A request in progress.
#[derive(Debug)]
struct Entry {
    hook: Option<Hook>,
    span: Option<Arc<Span>>,
    peer: Address,
    method: Box<str>,
    target: Box<str>,
    referer: Option<Box<[u8]>>,
    user_agent: Option<Box<[u8]>>,
    version: Version,
    since: Instant,
    status: Option<StatusCode>,
    sent: u64,
    ending: Ending,
    reason: Option<&'static str>,
}

impl Record {
    /// The record of a request that has just arrived.
    #[inline]
    pub(crate) fn begin(
        shared: &Shared,
        peer: &Address,
        stream: StreamId,
        head: &RequestHead<'_>,
    ) -> Self {
        let is_wanted = shared.access_log.is_some() || Level::DEBUG <= LevelFilter::current();
        if is_wanted { Record(Entry::new(shared, peer, stream, head)) } else { Record(None) }
    }

    /// Bytes that are held for it.
    pub(crate) fn memory(&self) -> usize {
        self.0.as_ref().map_or(0, |entry| entry.memory())
    }

    /// Enters the request's span, if a subscriber wants it. The request may end within it.
    #[inline]
    pub(crate) fn enter(&self) -> Within {
        Within::enter(self.0.as_ref().and_then(|entry| entry.span.as_ref()))
    }

    /// The head of the answer was sent, with so many bytes of its content.
    #[inline]
    pub(crate) fn answered(&mut self, status: StatusCode, content: usize) {
        if let Some(entry) = &mut self.0 {
            entry.status = Some(status);
            entry.sent(content);
        }
    }

    /// The answer was given on the spot.
    #[inline]
    pub(crate) fn answered_at_once(&mut self, status: StatusCode, content: usize, sent: Sent) {
        self.answered(status, content);
        if sent == Sent::All {
            self.complete();
        }
    }

    /// The connection took so many bytes of the content.
    #[inline]
    pub(crate) fn sent(&mut self, bytes: usize) {
        if let Some(entry) = &mut self.0 {
            entry.sent(bytes);
        }
    }

    /// The request became a websocket.
    #[inline]
    pub(crate) fn upgraded(&mut self) {
        if let Some(entry) = &mut self.0 {
            let is_http2 = entry.version == Version::HTTP_2;
            let status = if is_http2 { StatusCode::OK } else { StatusCode::SWITCHING_PROTOCOLS };
            entry.status = Some(status);
        }
    }

    /// The answer is complete.
    #[inline]
    pub(crate) fn complete(&mut self) {
        self.end(Ending::Complete);
    }

    /// The stream was gone before the answer was complete.
    #[inline]
    pub(crate) fn is_gone(&mut self) {
        self.end(Ending::Reset);
    }

    /// The stream has ended early. If no answer had begun, the connection has given one where it could.
    #[cold]
    pub(crate) fn reset(&mut self, reason: ResetReason) {
        self.is_gone();
        if let Some(entry) = &mut self.0 {
            entry.reason = Some(stats::label(reason));
            let truncated = ResetReason::Truncated;
            let is_told = reason != truncated || entry.version != Version::HTTP_2;
            entry.status = entry.status.or(status(reason).filter(|_| is_told));
        }
    }

    /// The application failed. `is_answered` says whether the driver answered with a 500.
    #[cold]
    pub(crate) fn failed(&mut self, is_answered: bool) {
        if let Some(entry) = &mut self.0 {
            entry.fail(is_answered);
        }
    }

    /// The first ending counts.
    #[inline]
    fn end(&mut self, ending: Ending) {
        if let Some(entry) = &mut self.0 {
            entry.end(ending);
        }
    }
}

impl Entry {
    /// `None` if the span is not wanted either.
    #[cold]
    fn new(
        shared: &Shared,
        peer: &Address,
        stream: StreamId,
        head: &RequestHead<'_>,
    ) -> Option<Box<Self>> {
        let (method, target, version) = (head.method(), head.target(), head.version());
        let span = tracing::debug_span!(
            "request",
            method,
            target,
            ?version,
            stream = stream.as_u64(),
            status = Empty,
            sent = Empty,
            seconds = Empty,
            ending = Empty,
            reason = Empty,
        );
        let hook = shared.access_log.clone();
        let span = (!span.is_disabled()).then(|| Arc::new(span));
        if hook.is_none() && span.is_none() {
            return None;
        }
        let value = |name| head.field(name).map(|value| value[..value.len().min(VALUE)].into());
        Some(Box::new(Entry {
            hook,
            span,
            peer: peer.clone(),
            method: method.into(),
            target: cut(target).into(),
            referer: value("referer"),
            user_agent: value("user-agent"),
            version,
            since: Instant::now(),
            status: None,
            sent: 0,
            ending: Ending::Closed,
            reason: None,
        }))
    }

    fn memory(&self) -> usize {
        let values = [&self.referer, &self.user_agent].into_iter().flatten();
        let values: usize = values.map(|value| value.len()).sum();
        size_of::<Self>() + self.method.len() + self.target.len() + values
    }

    /// Answers to HEAD have no content, nor have a 204 and a 304.
    fn sent(&mut self, bytes: usize) {
        let is_empty = self
            .status
            .is_some_and(|it| it == StatusCode::NO_CONTENT || it == StatusCode::NOT_MODIFIED);
        if !is_empty && &*self.method != "HEAD" {
            self.sent += bytes as u64;
        }
    }

    fn end(&mut self, ending: Ending) {
        if self.ending == Ending::Closed {
            self.ending = ending;
        }
    }

    #[cold]
    fn fail(&mut self, is_answered: bool) {
        self.end(Ending::Failed);
        if is_answered && self.status.is_none() {
            self.status = Some(StatusCode::INTERNAL_SERVER_ERROR);
        }
    }

    /// Writes the end into the span.
    #[cold]
    fn close(&self, span: &Span, duration: Duration) {
        if let Some(status) = self.status {
            span.record("status", status.as_u16());
        }
        if let Some(reason) = self.reason {
            span.record("reason", reason);
        }
        span.record("sent", self.sent);
        span.record("seconds", duration.as_secs_f64());
        span.record("ending", self.ending.label());
        span.in_scope(|| tracing::debug!("request over"));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if thread::panicking() {
            // The service panicked before it gave the request to a handler.
            self.fail(true);
        }
        let duration = self.since.elapsed();
        if let Some(span) = &self.span {
            // A subscriber that panics must not cost the connection.
            let _ = guarded(|| self.close(span, duration));
        }
        if let Some(hook) = &self.hook {
            hook.tell(&Access {
                peer: &self.peer,
                method: Some(&self.method),
                target: Some(&self.target),
                version: self.version,
                status: self.status,
                sent: self.sent,
                duration,
                referer: self.referer.as_deref(),
                user_agent: self.user_agent.as_deref(),
                ending: self.ending,
                reason: self.reason,
            });
        }
    }
}

/// Tells of a request that the connection has refused by itself.
#[cold]
pub(crate) fn refused(
    shared: &Shared,
    peer: &Address,
    stream: StreamId,
    reason: CloseReason,
    head: RefusedHead<'_>,
) {
    let (method, target, version) = (head.method(), head.target().map(cut), head.version());
    let (status, reason) = (reason.status(), reason.label());
    // Debugging output escapes what the client has chosen.
    tracing::debug!(
        ?method,
        ?target,
        ?version,
        stream = stream.as_u64(),
        status = status.map(|status| status.as_u16()),
        reason,
        "request refused"
    );
    if let Some(hook) = &shared.access_log {
        hook.tell(&Access {
            peer,
            method,
            target,
            version,
            status,
            sent: 0,
            duration: Duration::ZERO,
            referer: None,
            user_agent: None,
            ending: Ending::Refused,
            reason: Some(reason),
        });
    }
}

fn cut(target: &str) -> &str {
    // A character has at most four bytes.
    (TARGET - 3..=TARGET).rev().find_map(|end| target.get(..end)).unwrap_or(target)
}

/// The status that the connection has answered with, if no answer had begun.
fn status(reason: ResetReason) -> Option<StatusCode> {
    match reason {
        ResetReason::Truncated => Some(StatusCode::BAD_REQUEST),
        ResetReason::Timeout => Some(StatusCode::REQUEST_TIMEOUT),
        ResetReason::Refused(refusal) => Some(refusal.status()),
        ResetReason::Violation(_)
        | ResetReason::Fault(_)
        | ResetReason::Cancelled
        | ResetReason::Unread => None,
    }
}
