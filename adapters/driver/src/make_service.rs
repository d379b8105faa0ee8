//! What a server calls for each connection: a service, of which the connection gets a clone, or something that
//! makes a service for the peer.

use crate::address::Address;
use crate::error::BoxError;
use crate::listener::Listener;
use crate::service::{Service, Tower};
use std::fmt;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The peer of a connection that was accepted: what a tower service that makes services is called with, unless the
/// adapter has a type of its own for that ([`Listener::Peer`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    address: Address,
}

impl Peer {
    /// A peer with this address.
    pub fn new(address: Address) -> Self {
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
/// - every tower service from the [`Listener::Peer`] to a service, such as what `axum::Router::into_make_service`
///   returns. An error is logged, and its connection closes.
///
/// `Kind` only tells them apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer requests",
    label = "this is no service",
    note = "an async function takes one `http::Request<Body>`, with the `Body` of this crate, and returns `http::Response<B>` or `Result<http::Response<B>, E>`",
    note = "a `tower::Service<http::Request<Body>>`, such as an `axum::Router`, returns `http::Response<B>`",
    note = "both have to be `Clone + Send + 'static`, since each connection has its own clone; share in an `Arc` what is not `Clone`",
    note = "their futures have to be `Send + 'static`",
    note = "the content `B` is an `http_body::Body + Send + 'static`; its errors, and `E`, have to be `Into<Box<dyn Error + Send + Sync>>`",
    note = "what `into_make_service_with_connect_info` of axum returns needs the feature `axum` of the adapter, and for a type of your own an implementation of `Connected`"
)]
pub trait MakeService<L: Listener, Kind>: Clone + Send + 'static {
    /// The kind of the service.
    type Kind: 'static;
    /// What answers the requests of a connection.
    type Service: Service<Self::Kind>;
    /// The service on its way.
    type Making: Future<Output = Result<Self::Service, BoxError>> + Send + Unpin + 'static;

    /// Whether a service can be made now. Each connection asks its own clone until it is ready, and then calls
    /// [`make`](Self::make).
    ///
    /// # Errors
    /// There will be no service: the connection closes.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;

    /// Gives the connection with this peer its service.
    fn make(self, peer: L::Peer<'_>) -> Self::Making;
}

/// A service of this kind, of which each connection has a clone.
#[derive(Debug)]
pub struct Cloned<Kind>(PhantomData<fn() -> Kind>);

/// A tower service that makes services.
#[derive(Debug)]
pub enum Made {}

impl<L: Listener, S: Service<K>, K: 'static> MakeService<L, Cloned<K>> for S {
    type Kind = K;
    type Service = S;
    type Making = Ready<Result<S, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn make(self, _: L::Peer<'_>) -> Self::Making {
        ready(Ok(self))
    }
}

impl<L, M, S, E> MakeService<L, Made> for M
where
    L: Listener,
    M: for<'s> tower_service::Service<L::Peer<'s>, Response = S, Error = E>
        + Clone
        + Send
        + 'static,
    for<'s> <M as tower_service::Service<L::Peer<'s>>>::Future: Send + 'static,
    S: Service<Tower>,
    E: Into<BoxError>,
{
    type Kind = Tower;
    type Service = S;
    type Making = Making<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        tower_service::Service::poll_ready(self, cx).map_err(Into::into)
    }

    fn make(mut self, peer: L::Peer<'_>) -> Self::Making {
        let made = self.call(peer);
        Making(Box::pin(async move { made.await.map_err(Into::into) }))
    }
}

/// A service that a tower service makes.
pub struct Making<S>(Pin<Box<dyn Future<Output = Result<S, BoxError>> + Send>>);

impl<S> Future for Making<S> {
    type Output = Result<S, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<S> fmt::Debug for Making<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Making").finish_non_exhaustive()
    }
}
