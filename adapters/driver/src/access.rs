//! Tells an access log of each request when it is over.
//!
//! In: the head of a request, and how its answer goes. Out: one call of the hook for each request that reached
//! the service, however it ended. Requests that the connection refuses by itself are not told: their closes count
//! in [`Stats`](crate::Stats), by reason.
//!
//! Without a hook, a request costs one branch here.

use crate::address::Address;
use crate::guard::guarded;
use http::{StatusCode, Version};
use portcullis::RequestHead;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The most bytes of a target that are kept for the log.
const TARGET: usize = 8 << 10;
/// The most bytes of a field's value that are kept for the log.
const VALUE: usize = 1 << 10;

/// A request that is over.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Access<'a> {
    /// Where the client is.
    pub peer: &'a Address,
    /// The method.
    pub method: &'a str,
    /// The target as the service gets it, cut after 8 KiB. Escape it: the client has chosen it.
    pub target: &'a str,
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// The status of the answer; `None` if no answer began. A websocket has 101, and over HTTP/2 200.
    pub status: Option<StatusCode>,
    /// Bytes of the answer's content that the connection took. Messages of websockets don't count.
    pub sent: u64,
    /// The time from the request's head to its end.
    pub duration: Duration,
    /// The value of `Referer`, cut after 1 KiB. It may hold anything: escape it.
    pub referer: Option<&'a [u8]>,
    /// The value of `User-Agent`, cut after 1 KiB. It may hold anything: escape it.
    pub user_agent: Option<&'a [u8]>,
    /// How the request ended.
    pub ending: Ending,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The answer is complete, as far as the application is concerned.
    Complete,
    /// The stream ended early: the client reset it, was too slow, or broke a rule.
    Reset,
    /// The application failed, or panicked.
    Failed,
    /// The connection ended first.
    Closed,
}

impl Ending {
    /// The ending as a label for logs.
    pub const fn label(self) -> &'static str {
        match self {
            Ending::Complete => "complete",
            Ending::Reset => "reset",
            Ending::Failed => "failed",
            Ending::Closed => "closed",
        }
    }
}

/// What is called when a request is over. It runs on the connection's task, so it must not block.
#[derive(Clone)]
pub(crate) struct Hook(Arc<dyn Fn(&Access<'_>) + Send + Sync>);

impl Hook {
    pub(crate) fn new(hook: impl Fn(&Access<'_>) + Send + Sync + 'static) -> Self {
        Hook(Arc::new(hook))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// A request in progress. Dropping it calls the hook.
#[derive(Debug)]
pub(crate) struct Entry {
    hook: Hook,
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
}

impl Entry {
    #[cold]
    pub(crate) fn new(hook: &Hook, peer: &Address, head: &RequestHead<'_>) -> Box<Self> {
        let value = |name| head.field(name).map(|value| value[..value.len().min(VALUE)].into());
        let target = head.target();
        Box::new(Entry {
            hook: hook.clone(),
            peer: peer.clone(),
            method: head.method().into(),
            target: target.get(..TARGET).unwrap_or(target).into(),
            referer: value("referer"),
            user_agent: value("user-agent"),
            version: head.version(),
            since: Instant::now(),
            status: None,
            sent: 0,
            ending: Ending::Closed,
        })
    }

    /// Bytes that are held for the log.
    pub(crate) fn memory(&self) -> usize {
        let values = [&self.referer, &self.user_agent].into_iter().flatten();
        let values: usize = values.map(|value| value.len()).sum();
        size_of::<Self>() + self.method.len() + self.target.len() + values
    }

    /// The head of the answer was sent.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The connection took bytes of the content. Answers to HEAD have none, nor have a 204 and a 304.
    pub(crate) fn sent(&mut self, bytes: usize) {
        let is_empty = self
            .status
            .is_some_and(|it| it == StatusCode::NO_CONTENT || it == StatusCode::NOT_MODIFIED);
        if !is_empty && &*self.method != "HEAD" {
            self.sent += bytes as u64;
        }
    }

    /// The request became a websocket.
    pub(crate) fn upgraded(&mut self) {
        let is_http2 = self.version == Version::HTTP_2;
        let status = if is_http2 { StatusCode::OK } else { StatusCode::SWITCHING_PROTOCOLS };
        self.status = Some(status);
    }

    /// The exchange is over. The first ending counts.
    pub(crate) fn end(&mut self, ending: Ending) {
        if self.ending == Ending::Closed {
            self.ending = ending;
        }
    }

    /// The application failed. `is_answered` says whether the driver answered with a 500.
    #[cold]
    pub(crate) fn fail(&mut self, is_answered: bool) {
        self.end(Ending::Failed);
        if is_answered && self.status.is_none() {
            self.status = Some(StatusCode::INTERNAL_SERVER_ERROR);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if thread::panicking() {
            // The service panicked before it gave the request to a handler.
            self.fail(true);
        }
        let access = Access {
            peer: &self.peer,
            method: &self.method,
            target: &self.target,
            version: self.version,
            status: self.status,
            sent: self.sent,
            duration: self.since.elapsed(),
            referer: self.referer.as_deref(),
            user_agent: self.user_agent.as_deref(),
            ending: self.ending,
        };
        // A hook that panics must not cost the connection.
        let _ = guarded(|| (self.hook.0)(&access));
    }
}
