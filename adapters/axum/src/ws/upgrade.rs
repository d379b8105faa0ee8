//! The extractor of a request that may become a websocket.

use super::WebSocket;
use super::lasting::Lasting;
use async_channel::bounded;
use axum::Error;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode};
use portcullis::websocket::BadHandshake;
use portcullis_driver::{Disconnected, Upgrade};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// An extractor: a request that may become a websocket, over HTTP/1.1 (GET) or HTTP/2 (CONNECT). A route takes
/// both with `axum::routing::any`.
#[must_use]
pub struct WebSocketUpgrade<F = DefaultOnFailedUpgrade> {
    /// The head, which was checked.
    request: Request<()>,
    offered: BTreeSet<HeaderValue>,
    protocol: Option<HeaderValue>,
    message_limit: Option<u64>,
    on_failed_upgrade: F,
}

/// What is called if the websocket never begins.
pub trait OnFailedUpgrade: Send + 'static {
    /// Calls it.
    fn call(self, error: Error);
}

impl<F: FnOnce(Error) + Send + 'static> OnFailedUpgrade for F {
    fn call(self, error: Error) {
        self(error);
    }
}

/// Ignores the failure: it is in the server's log.
#[derive(Debug)]
#[non_exhaustive]
pub struct DefaultOnFailedUpgrade;

impl OnFailedUpgrade for DefaultOnFailedUpgrade {
    fn call(self, _: Error) {}
}

/// Why a request can't become a websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebSocketUpgradeRejection {
    /// The handshake is faulty, or the request asks for no websocket. The client is told what is accepted.
    BadHandshake(BadHandshake),
    /// The application is not served by portcullis, so this extractor can't work. The client gets a 500.
    NotPortcullis,
}

impl WebSocketUpgradeRejection {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            WebSocketUpgradeRejection::BadHandshake(bad) => bad.status(),
            WebSocketUpgradeRejection::NotPortcullis => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The content of the answer: a sentence.
    pub fn body_text(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for WebSocketUpgradeRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WebSocketUpgradeRejection::BadHandshake(bad) => {
                write!(f, "{} ({})", bad.explanation(), bad.label())
            }
            WebSocketUpgradeRejection::NotPortcullis => {
                f.write_str("websockets of portcullis-axum need a server of portcullis")
            }
        }
    }
}

impl std::error::Error for WebSocketUpgradeRejection {}

impl IntoResponse for WebSocketUpgradeRejection {
    fn into_response(self) -> Response {
        let mut answer = (self.status(), format!("{self}\n")).into_response();
        if let WebSocketUpgradeRejection::BadHandshake(bad) = self {
            answer.headers_mut().extend(bad.fields());
        }
        answer
    }
}

impl<S: Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketUpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        if parts.extensions.get::<Disconnected>().is_none() {
            return Err(WebSocketUpgradeRejection::NotPortcullis);
        }
        let mut request = Request::new(());
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.version_mut() = parts.version;
        *request.headers_mut() = parts.headers.clone();
        let upgrade = Upgrade::new(&request).map_err(WebSocketUpgradeRejection::BadHandshake)?;
        // Tokens are field values.
        let offered = upgrade.protocols().filter_map(|it| HeaderValue::from_str(it).ok()).collect();
        Ok(WebSocketUpgrade {
            request,
            offered,
            protocol: None,
            message_limit: None,
            on_failed_upgrade: DefaultOnFailedUpgrade,
        })
    }
}

impl<F> WebSocketUpgrade<F> {
    /// The most bytes of a message, instead of `websocket_message_limit`. A larger one closes the websocket
    /// with 1009.
    pub fn max_message_size(mut self, limit: usize) -> Self {
        self.message_limit = Some(limit as u64);
        self
    }

    /// Chooses the first of these subprotocols that the client offers.
    pub fn protocols<I>(mut self, protocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Cow<'static, str>>,
    {
        let known = protocols.into_iter().map(Into::into);
        let known = known.filter_map(|it: Cow<'static, str>| HeaderValue::from_str(&it).ok());
        self.protocol = known.into_iter().find(|it| self.offered.contains(it));
        self
    }

    /// The subprotocols that the client offers, sorted.
    pub fn requested_protocols(&self) -> impl Iterator<Item = &HeaderValue> {
        self.offered.iter()
    }

    /// Chooses a subprotocol. One that the client did not offer is left out of the answer.
    pub fn set_selected_protocol(&mut self, protocol: HeaderValue) {
        self.protocol = Some(protocol);
    }

    /// The subprotocol that was chosen.
    pub fn selected_protocol(&self) -> Option<&HeaderValue> {
        self.protocol.as_ref()
    }

    /// Calls `callback` if the websocket never begins, since the client has gone or a layer has replaced the
    /// answer.
    pub fn on_failed_upgrade<C: OnFailedUpgrade>(self, callback: C) -> WebSocketUpgrade<C> {
        let WebSocketUpgrade { request, offered, protocol, message_limit, .. } = self;
        WebSocketUpgrade { request, offered, protocol, message_limit, on_failed_upgrade: callback }
    }

    /// The answer that accepts. When it was sent, `callback` is called with the websocket.
    ///
    /// The callback's future is polled on the connection's own task, as long as the connection lasts. If the
    /// client is gone before the future has ended, tokio gets the rest of it as a task of its own: it sees the
    /// end of the websocket, and can clean up. Without tokio it is polled once more, and dropped.
    ///
    /// The websocket may be given to other tasks: it lasts until both the future has ended and the websocket is
    /// dropped.
    #[must_use = "the websocket begins when this answer is sent"]
    pub fn on_upgrade<C, Fut>(self, callback: C) -> Response
    where
        C: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
        F: OnFailedUpgrade,
    {
        let WebSocketUpgrade { request, offered, protocol, message_limit, on_failed_upgrade } =
            self;
        let untold = Untold(Some(on_failed_upgrade));
        let protocol = protocol.filter(|protocol| offered.contains(protocol));
        let accept = || {
            let mut upgrade = Upgrade::new(&request)?.controls(true);
            if let Some(limit) = message_limit {
                upgrade = upgrade.message_limit(limit);
            }
            match protocol.as_ref().and_then(|protocol| protocol.to_str().ok()) {
                // It is among those that the client offers.
                Some(protocol) => upgrade.protocol(protocol).map_err(|_| BadHandshake::Protocols),
                None => Ok(upgrade),
            }
        };
        let upgrade = match accept() {
            Ok(upgrade) => upgrade,
            Err(bad) => return WebSocketUpgradeRejection::BadHandshake(bad).into_response(),
        };
        let chosen = protocol.clone();
        upgrade.accept(move |inner| {
            untold.has_begun();
            let (held, dropped) = bounded(1);
            let running = Lasting::new(callback(WebSocket::new(inner, chosen, held)));
            async move {
                running.await;
                // Other tasks may have the websocket still: nothing is ever sent on this channel.
                let _ = dropped.recv().await;
            }
        })
    }
}

impl<F> fmt::Debug for WebSocketUpgrade<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade")
            .field("offered", &self.offered)
            .field("protocol", &self.protocol)
            .field("message_limit", &self.message_limit)
            .finish_non_exhaustive()
    }
}

/// The callback for a failure, until the websocket has begun.
struct Untold<F: OnFailedUpgrade>(Option<F>);

impl<F: OnFailedUpgrade> Untold<F> {
    fn has_begun(mut self) {
        self.0 = None;
    }
}

impl<F: OnFailedUpgrade> Drop for Untold<F> {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            callback.call(Error::new("the websocket was never begun"));
        }
    }
}
