//! What a server calls for each connection: a service, of which the connection gets a clone, or something that
//! makes a service for the peer.

use crate::address::Address;
use crate::error::BoxError;
use crate::service::{Service, Tower};
use std::fmt;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The peer of a connection that was accepted: what a tower service that makes services is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    address: Address,
}

impl Peer {
    pub(crate) fn new(address: Address) -> Self {
        Peer { address }
    }

    /// Where the peer is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The IP address and the port, if the peer has some.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.address.socket_addr()
    }
}

/// Gives each connection its service.
///
/// It is implemented for
/// - every [`Service`]: an async function, a router. Each connection gets a clone;
/// - every tower service from a [`Peer`] to a service, such as what `axum::Router::into_make_service` returns.
///   An error is logged, and its connection closes.
///
/// `Kind` only tells them apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer requests",
    label = "this is no service",
    note = "an async function takes one `http::Request<Body>`, with the `Body` of this crate, and returns `http::Response<B>` or `Result<http::Response<B>, E>`",
    note = "a `tower::Service<http::Request<Body>>`, such as an `axum::Router`, returns `http::Response<B>`",
    note = "both have to be `Clone + Send + 'static`, since each connection has its own clone; share in an `Arc` what is not `Clone`",
    note = "their futures have to be `Send + 'static`",
    note = "the content `B` is an `http_body::Body + Send + 'static`; its errors, and `E`, have to be `Into<Box<dyn Error + Send + Sync>>`"
)]
pub trait MakeService<Kind>: Send + 'static {
    /// The kind of the service.
    type Kind: 'static;
    /// What answers the requests of a connection.
    type Service: Service<Self::Kind>;
    /// The service on its way.
    type Making: Future<Output = Result<Self::Service, BoxError>> + Send + Unpin + 'static;

    /// Gives the connection with this peer its service.
    fn make(&mut self, peer: Peer) -> Self::Making;
}

/// A service of this kind, of which each connection has a clone.
#[derive(Debug)]
pub struct Cloned<Kind>(PhantomData<fn() -> Kind>);

/// A tower service that makes services.
#[derive(Debug)]
pub enum Made {}

impl<S: Service<K>, K: 'static> MakeService<Cloned<K>> for S {
    type Kind = K;
    type Service = S;
    type Making = Ready<Result<S, BoxError>>;

    fn make(&mut self, _: Peer) -> Self::Making {
        ready(Ok(self.clone()))
    }
}

impl<M, S> MakeService<Made> for M
where
    M: tower_service::Service<Peer, Response = S, Error: Into<BoxError>> + Clone + Send + 'static,
    M::Future: Send + 'static,
    S: Service<Tower>,
{
    type Kind = Tower;
    type Service = S;
    type Making = Making<M>;

    fn make(&mut self, peer: Peer) -> Self::Making {
        Making { maker: self.clone(), peer: Some(peer), made: None }
    }
}

/// A service that a tower service makes.
pub struct Making<M: tower_service::Service<Peer>> {
    maker: M,
    /// Until the maker is ready.
    peer: Option<Peer>,
    made: Option<Pin<Box<M::Future>>>,
}

// The future of the maker is boxed, and the rest is never pinned.
impl<M: tower_service::Service<Peer>> Unpin for Making<M> {}

impl<M: tower_service::Service<Peer, Error: Into<BoxError>>> Future for Making<M> {
    type Output = Result<M::Response, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if let Some(made) = &mut this.made {
                return made.as_mut().poll(cx).map_err(Into::into);
            }
            ready!(this.maker.poll_ready(cx)).map_err(Into::into)?;
            let Some(peer) = this.peer.take() else {
                return Poll::Ready(Err("polled after an error".into()));
            };
            this.made = Some(Box::pin(this.maker.call(peer)));
        }
    }
}

impl<M: tower_service::Service<Peer>> fmt::Debug for Making<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Making").finish_non_exhaustive()
    }
}
