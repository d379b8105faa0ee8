//! A request as a service first sees it. Its head still lies where it was read.

use crate::PeerAddress;
use crate::address::Address;
use crate::body::{Body, BodyLimiter};
use crate::exchange::Shares;
use crate::held::Held;
use crate::interim::Interim;
use crate::presence::Disconnected;
use crate::reply;
use crate::spare;
use crate::tls_told::TlsTold;
use crate::upgrade;
use crate::upload::Upload;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Request, StatusCode};
#[cfg(feature = "tls")]
use portcullis::TlsInfo;
use portcullis::{Misuse, Refusal, RequestHead, Sent, Stream};
use std::fmt;
use std::sync::Arc;

/// A request that has just arrived. The service answers it on the spot, or hands it to a handler.
pub struct Incoming<'r> {
    pub(crate) stream: Stream<'r>,
    pub(crate) head: &'r RequestHead<'r>,
    pub(crate) peer: &'r Address,
    pub(crate) tell_peer: bool,
    pub(crate) tls: &'r TlsTold,
    /// The content of the answer for which there was no room.
    pub(crate) left: &'r mut Option<Bytes>,
    /// What the application may hold longer than the exchange lasts.
    pub(crate) shares: &'r mut Shares,
    /// An answer is being written. Its fields come from the service, which may panic.
    pub(crate) answering: &'r mut bool,
}

/// A service's reply to an [`Incoming`] request.
#[derive(Debug)]
#[must_use]
pub struct Reply<F>(pub(crate) Option<F>);

impl Incoming<'_> {
    /// The request's head.
    pub fn head(&self) -> &RequestHead<'_> {
        self.head
    }

    /// The peer's address.
    pub fn peer_address(&self) -> &Address {
        self.peer
    }

    /// What the TLS handshake has agreed on; `None` without TLS.
    #[cfg(feature = "tls")]
    pub fn tls_info(&self) -> Option<&TlsInfo> {
        self.tls.info()
    }

    /// A future that is ready when the peer has gone, for work that goes on after this call.
    pub fn disconnected(&mut self) -> Disconnected {
        Disconnected::new(self.shares.presence.get_or_insert_with(spare::presence).clone())
    }

    /// Where the service tells how many bytes it holds for this request, in work that goes on after this call.
    pub fn held(&mut self) -> Held {
        self.shares.held.get_or_insert_default().clone()
    }

    /// Sends interim answers (1xx), in work that goes on after this call.
    pub fn interim(&mut self) -> Interim {
        self.shares.interim.get_or_insert_default().clone()
    }

    /// Answers now, with all of the content. The request's own content is not read. The driver adds a `Date`
    /// if `fields` have none, and the fields that frame the message.
    ///
    /// If the answer cannot be sent, because its fields contradict its length or are too many, the client
    /// gets a 500.
    pub fn answer<'f, F>(
        mut self,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        mut content: Bytes,
    ) -> Reply<F> {
        let length = content.len();
        *self.answering = true;
        let answered = reply::answer(&mut self.stream, status, fields.into_iter(), &mut content);
        *self.answering = false;
        match answered {
            Ok(sent) => {
                self.shares.record.answered_at_once(status, length - content.len(), sent);
                if sent == Sent::Part {
                    *self.left = Some(content);
                }
            }
            Err(Misuse::UnknownStream) => self.shares.record.is_gone(),
            Err(misuse) => {
                let why = "the service's answer cannot be sent";
                let is_answered = reply::fail(&mut self.stream, why, misuse);
                self.shares.record.failed(is_answered);
            }
        }
        Reply(None)
    }

    /// Refuses the request with the status that goes with `refusal`, and closes the connection.
    pub fn refuse<F>(mut self, refusal: Refusal) -> Reply<F> {
        // A stream that is gone needs no answer.
        if self.stream.refuse(refusal).is_ok() {
            self.shares.record.answered_at_once(refusal.status(), 0, Sent::All);
        }
        Reply(None)
    }

    /// Hands the request to `handler` in the types of `http`. The handler's future answers it.
    pub fn handle<F>(mut self, handler: impl FnOnce(Request<Body>) -> F) -> Reply<F> {
        // The request is made where it stays, because moving it costs too much.
        let mut request = Request::new(self.body());
        if let Err(refusal) = spare::write(self.head, &mut request) {
            return self.refuse(refusal);
        }
        if self.tell_peer {
            request.extensions_mut().insert(PeerAddress(self.peer.clone()));
        }
        if let Some(upload) = &self.shares.upload {
            request.extensions_mut().insert(BodyLimiter(upload.clone()));
        }
        self.tls.tell(request.extensions_mut());
        let disconnected = self.disconnected();
        request.extensions_mut().insert(disconnected);
        if self.head.asks_for_tunnel()
            && let Some(presence) = &self.shares.presence
        {
            upgrade::offer(&mut request, presence);
        }
        Reply(Some(handler(request)))
    }

    fn body(&mut self) -> Body {
        match self.head.content_length() {
            Some(0) => Body::empty(),
            length => {
                let upload = Arc::new(Upload::new(self.head.version()));
                Body::new(self.shares.upload.insert(upload).clone(), length)
            }
        }
    }
}

impl<F> Reply<F> {
    /// The same reply, with another future for the handler's answer, if a handler has the request: for services
    /// around other services.
    #[inline]
    pub fn map<T>(self, wrap: impl FnOnce(F) -> T) -> Reply<T> {
        Reply(self.0.map(wrap))
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("head", &self.head)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
