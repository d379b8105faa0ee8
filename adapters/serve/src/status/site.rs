//! The routes that show the server's state, before the routes of any service.
//!
//! | route | answer |
//! |---|---|
//! | `GET /status` | JSON: [`Status`] |
//! | `GET /status/` | a page that shows the same as it changes, with the connections that are open |
//! | `GET /status/live` | the websocket that the page listens to; 403 for pages of other origins |
//! | `GET /metrics` | the counters as Prometheus' text |
//!
//! Whoever can reach the server can see them. They tell no address of a client.

use super::Status;
use super::live::Live;
use crate::answer::{self, HTML, TEXT};
use crate::later::{Later, Sleep};
use blocking::unblock;
use bytes::Bytes;
use futures_util::future::Either;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use portcullis_driver::{BoxError, Incoming, Reply, Service, Upgrade, refuse_upgrade};
use std::sync::Arc;

const PAGE: &str = include_str!("page.html");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Version 0.0.4 is Prometheus' text format, which every version of Prometheus reads.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// The page has its style and its script within, and speaks to its own server only. No other page may show it within
/// itself.
const OWN_ONLY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
     img-src data:; frame-ancestors 'none'",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// A service with the routes of a [`Status`] before its own.
#[derive(Clone, Debug)]
pub struct StatusSite<S> {
    service: S,
    live: Option<Arc<Live>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Status,
    Page,
    Live,
    Metrics,
}

impl<S> StatusSite<S> {
    /// The service with the routes; without them if there is no `status` to show. The page's websocket waits with
    /// `sleep`.
    pub fn new(service: S, status: Option<Arc<Status>>, sleep: Sleep) -> Self {
        StatusSite { service, live: status.map(|status| Arc::new(Live::new(status, sleep))) }
    }
}

impl<S: Service<K>, K> Service<K> for StatusSite<S>
where
    S::ResponseBody: Default + From<Bytes>,
{
    type ResponseBody = S::ResponseBody;
    type Future = Either<S::Future, Later<Result<Response<S::ResponseBody>, BoxError>>>;

    #[inline]
    fn call(&mut self, incoming: Incoming<'_>) -> Reply<Self::Future> {
        if let Some(live) = &self.live
            && may_ask(incoming.head().target_bytes())
            && let Some(route) = Route::find(incoming.head().path())
        {
            return route.answer(live, incoming).map(Either::Right);
        }
        self.service.call(incoming).map(Either::Left)
    }
}

/// Whether this target may have one of the paths. Every request pays for this question.
#[inline]
fn may_ask(target: &[u8]) -> bool {
    match target {
        [b'/', rest @ ..] => rest.starts_with(b"status") || rest.starts_with(b"metrics"),
        _ => true,
    }
}

impl Route {
    fn find(path: &str) -> Option<Route> {
        match path {
            "/status" => Some(Route::Status),
            "/status/" => Some(Route::Page),
            "/status/live" => Some(Route::Live),
            "/metrics" => Some(Route::Metrics),
            _ => None,
        }
    }

    fn answer<B: Default + From<Bytes> + Send + 'static>(
        self,
        live: &Arc<Live>,
        incoming: Incoming<'_>,
    ) -> Reply<Later<Result<Response<B>, BoxError>>> {
        let is_connect = incoming.head().protocol().is_some();
        match (self, incoming.head().method()) {
            // Over HTTP/2 a websocket begins with an extended CONNECT (RFC 8441).
            (Route::Live, "GET" | "HEAD" | "CONNECT") => self.watch(live, incoming),
            (_, "GET" | "HEAD") if !is_connect => self.show(live, incoming),
            (_, "OPTIONS") => {
                incoming.answer(StatusCode::NO_CONTENT, [(&ALLOW, &METHODS)], Bytes::new())
            }
            (_, method) if answer::knows(method) || is_connect => incoming.answer(
                StatusCode::METHOD_NOT_ALLOWED,
                [(&CONTENT_TYPE, &TEXT), (&ALLOW, &METHODS)],
                Bytes::from_static(b"method not allowed: this path accepts GET, HEAD, OPTIONS\n"),
            ),
            _ => incoming.answer(
                StatusCode::NOT_IMPLEMENTED,
                [(&CONTENT_TYPE, &TEXT)],
                Bytes::from_static(b"this method is not implemented here\n"),
            ),
        }
    }

    fn show<B: From<Bytes> + Send + 'static>(
        self,
        live: &Arc<Live>,
        incoming: Incoming<'_>,
    ) -> Reply<Later<Result<Response<B>, BoxError>>> {
        static PAGES: [(HeaderName, HeaderValue); 4] = [
            (CONTENT_TYPE, HTML),
            (CACHE_CONTROL, NO_STORE),
            (X_CONTENT_TYPE_OPTIONS, NOSNIFF),
            (CONTENT_SECURITY_POLICY, OWN_ONLY),
        ];
        match self {
            Route::Metrics => {
                let live = live.clone();
                // The first scrape takes longer than a connection may hold up others.
                incoming.handle(|_| {
                    later(async move {
                        let text = unblock(move || live.status().prometheus()).await;
                        let mut response = Response::new(Bytes::from(text).into());
                        response.headers_mut().insert(CONTENT_TYPE, METRICS);
                        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
                        response
                    })
                })
            }
            Route::Status => incoming.answer(
                StatusCode::OK,
                [(&CONTENT_TYPE, &JSON), (&CACHE_CONTROL, &NO_STORE)],
                live.status().json().into(),
            ),
            Route::Page | Route::Live => incoming.answer(
                StatusCode::OK,
                PAGES.iter().map(|(name, value)| (name, value)),
                Bytes::from_static(PAGE.as_bytes()),
            ),
        }
    }

    /// Accepts the page's websocket.
    fn watch<B: Default + Send + 'static>(
        self,
        live: &Arc<Live>,
        incoming: Incoming<'_>,
    ) -> Reply<Later<Result<Response<B>, BoxError>>> {
        incoming.handle(|request| {
            let live = live.clone();
            // Otherwise a page of another site could watch with its visitor's rights.
            let answer = match Upgrade::new(&request).and_then(Upgrade::same_origin) {
                Ok(upgrade) => {
                    upgrade.message_limit(Live::PROBE).accept(|websocket| live.show(websocket))
                }
                Err(bad) => refuse_upgrade(bad),
            };
            later(async move { answer })
        })
    }
}

fn later<B>(
    answer: impl Future<Output = Response<B>> + Send + 'static,
) -> Later<Result<Response<B>, BoxError>> {
    Box::pin(async move { Ok(answer.await) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_may_be_asked_for_and_near_misses_have_none() {
        for (path, route) in [
            ("/status", Route::Status),
            ("/status/", Route::Page),
            ("/status/live", Route::Live),
            ("/metrics", Route::Metrics),
        ] {
            assert_eq!(Route::find(path), Some(route), "{path}");
            assert!(may_ask(path.as_bytes()) && may_ask(format!("http://a{path}").as_bytes()));
        }
        for path in ["", "/", "/statu", "/statuses", "/status//", "/status/live/", "/metrics/"] {
            assert_eq!(Route::find(path), None, "{path}");
        }
        assert!(!may_ask(b"/") && !may_ask(b"/hello"), "most requests are not asked further");
    }

    #[test]
    fn the_page_needs_nothing_but_its_own_server() {
        for foreign in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
    }
}
