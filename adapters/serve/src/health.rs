//! `GET /healthz` and `GET /readyz`, for balancers: whether the process serves, and whether it wants new
//! connections.
//!
//! A balancer sends its clients elsewhere once `/readyz` answers 503. The program does that as the first thing
//! when it is told to stop, and goes on serving for a while (`--drain-delay`). So no client meets a closed door.

use crate::answer::{self, TEXT};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use portcullis_driver::{Incoming, Reply, Service};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Whether the program wants new connections. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on the program wants no new connections, and `/readyz` answers 503.
    pub fn end(&self) {
        self.0.store(true, SeqCst);
    }

    fn has_ended(&self) -> bool {
        self.0.load(SeqCst)
    }
}

/// A service with the routes `/healthz` and `/readyz` before its own.
#[derive(Clone, Debug)]
pub struct Health<S> {
    service: S,
    readiness: Option<Readiness>,
}

impl<S> Health<S> {
    /// The service with both routes; without them if there is no `readiness` to tell.
    pub fn new(service: S, readiness: Option<Readiness>) -> Self {
        Health { service, readiness }
    }
}

impl<S: Service<K>, K> Service<K> for Health<S> {
    type ResponseBody = S::ResponseBody;
    type Future = S::Future;

    #[inline]
    fn call(&mut self, incoming: Incoming<'_>) -> Reply<Self::Future> {
        if let Some(readiness) = &self.readiness
            && may_ask(incoming.head().target_bytes())
            && incoming.head().protocol().is_none()
            && let Some(answer) =
                answer(incoming.head().method(), incoming.head().path(), readiness)
        {
            let (status, content) = answer;
            // OPTIONS and wrong methods are told what works (RFC 9110 10.2.1).
            let fields = [(&CONTENT_TYPE, &TEXT), (&CACHE_CONTROL, &NO_STORE), (&ALLOW, &METHODS)];
            let count = if status == StatusCode::METHOD_NOT_ALLOWED { 3 } else { 2 };
            return match status {
                StatusCode::NO_CONTENT => {
                    incoming.answer(status, fields.into_iter().skip(2), Bytes::new())
                }
                _ => incoming.answer(status, fields.into_iter().take(count), content),
            };
        }
        self.service.call(incoming)
    }
}

/// Whether this target may have one of the two paths. Every request pays for this question.
#[inline]
fn may_ask(target: &[u8]) -> bool {
    match target {
        [b'/', rest @ ..] => rest.starts_with(b"healthz") || rest.starts_with(b"readyz"),
        _ => true,
    }
}

/// The answer to a request for one of the two routes; `None` for other paths.
fn answer(method: &str, path: &str, readiness: &Readiness) -> Option<(StatusCode, Bytes)> {
    let (status, content) = match path {
        "/healthz" => (StatusCode::OK, "serving\n"),
        "/readyz" if readiness.has_ended() => {
            (StatusCode::SERVICE_UNAVAILABLE, "stopping: send new requests elsewhere\n")
        }
        "/readyz" => (StatusCode::OK, "ready\n"),
        _ => return None,
    };
    Some(match method {
        "GET" | "HEAD" => (status, Bytes::from_static(content.as_bytes())),
        "OPTIONS" => (StatusCode::NO_CONTENT, Bytes::new()),
        _ if answer::knows(method) => (
            StatusCode::METHOD_NOT_ALLOWED,
            Bytes::from_static(b"method not allowed: this path accepts GET, HEAD, OPTIONS\n"),
        ),
        _ => (
            StatusCode::NOT_IMPLEMENTED,
            Bytes::from_static(b"this method is not implemented here\n"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_ends_and_health_does_not() {
        let readiness = Readiness::default();
        let status = |method, path| answer(method, path, &readiness).map(|it| it.0.as_u16());
        let ask =
            || ["/healthz", "/readyz", "/", "/healthz/", "/readyz2"].map(|it| status("GET", it));
        assert_eq!(ask(), [Some(200), Some(200), None, None, None]);
        readiness.clone().end();
        assert_eq!(ask(), [Some(200), Some(503), None, None, None]);
        for (method, expected) in [("HEAD", 503), ("OPTIONS", 204), ("POST", 405), ("X", 501)] {
            assert_eq!(status(method, "/readyz"), Some(expected), "{method}");
        }
    }
}
