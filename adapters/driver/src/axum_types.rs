//! What axum asks of types of this crate: the peer's address for `ConnectInfo`, and [`Disconnected`] as an
//! extractor. axum's own types and these allow it nowhere else.

use crate::address::Address;
use crate::make_service::Peer;
use crate::presence::Disconnected;
use axum::extract::FromRequestParts;
use axum::extract::connect_info::Connected;
use http::StatusCode;
use http::request::Parts;
use std::net::SocketAddr;

/// An extractor. It fails with 500 if the request does not come from a server of portcullis.
impl<S: Sync> FromRequestParts<S> for Disconnected {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let why = "`Disconnected` can be extracted only if the application is served by portcullis";
        parts.extensions.get().cloned().ok_or((StatusCode::INTERNAL_SERVER_ERROR, why))
    }
}

/// `axum::extract::ConnectInfo<Address>`.
impl Connected<Peer> for Address {
    fn connect_info(peer: Peer) -> Self {
        peer.address().clone()
    }
}

/// `axum::extract::ConnectInfo<SocketAddr>`. A peer without an IP address, such as that of a Unix socket, has
/// `0.0.0.0:0`.
impl Connected<Peer> for SocketAddr {
    fn connect_info(peer: Peer) -> Self {
        peer.socket_addr().unwrap_or_else(|| ([0, 0, 0, 0], 0).into())
    }
}
