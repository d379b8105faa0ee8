//! Requests as an access log is told of them when they are over.
//!
//! In: requests that are over, from `record`. Out: one call of the hook for each, however it ended, and also for
//! those that the connection refused before they reached the service.

use crate::address::Address;
use crate::guard::guarded;
use http::{StatusCode, Version};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A request that is over.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Access<'a> {
    /// Where the client is.
    pub peer: &'a Address,
    /// The method; `None` if the request was refused before it was known.
    pub method: Option<&'a str>,
    /// The target as the service gets it, cut after 8 KiB. Escape it: the client has chosen it. That of a request
    /// that was refused is as it was sent, and may hold anything; `None` if it is not known.
    pub target: Option<&'a str>,
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// The status that was sent; `None` if no answer began. A websocket has 101, and over HTTP/2 200.
    pub status: Option<StatusCode>,
    /// Bytes of the answer's content that the connection took. Messages of websockets don't count.
    pub sent: u64,
    /// The time from the request's head to its end; zero if it was refused.
    pub duration: Duration,
    /// The value of `Referer`, cut after 1 KiB. It may hold anything: escape it.
    pub referer: Option<&'a [u8]>,
    /// The value of `User-Agent`, cut after 1 KiB. It may hold anything: escape it.
    pub user_agent: Option<&'a [u8]>,
    /// How the request ended.
    pub ending: Ending,
    /// Why the connection refused or reset it: a label of [`CloseReason`](portcullis::CloseReason), or of
    /// [`ResetReason`](portcullis::ResetReason) if there is no closer one.
    pub reason: Option<&'static str>,
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
    /// The connection refused it by itself. It did not reach the service.
    Refused,
}

impl Ending {
    /// The ending as a label for logs.
    pub const fn label(self) -> &'static str {
        match self {
            Ending::Complete => "complete",
            Ending::Reset => "reset",
            Ending::Failed => "failed",
            Ending::Closed => "closed",
            Ending::Refused => "refused",
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

    /// Tells of a request. A hook that panics must not cost the connection.
    pub(crate) fn tell(&self, access: &Access<'_>) {
        let _ = guarded(|| (self.0)(access));
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
