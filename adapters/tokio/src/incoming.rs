//! A connection that has just been accepted, as a tower service that makes services sees it.

use crate::IntoListener;
use portcullis_driver::Address;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
#[cfg(unix)]
use std::os::unix::net as std_unix;
#[cfg(unix)]
use tokio::net::unix;

/// A connection that a listener has just accepted: what a tower service that makes services is called with.
///
/// It has the name and the methods of `axum::serve::IncomingStream`. With the feature `axum`, a type of your own
/// for `ConnectInfo` implements `Connected<IncomingStream<'_, TcpListener>>`, and looks at the stream.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # mod example {
/// use axum::extract::connect_info::Connected;
/// use portcullis_tokio::IncomingStream; // was: axum::serve::IncomingStream
/// use tokio::net::TcpListener;
///
/// /// For `ConnectInfo<Hops>` in handlers.
/// #[derive(Clone)]
/// struct Hops(Option<u32>);
///
/// impl Connected<IncomingStream<'_, TcpListener>> for Hops {
///     fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
///         Hops(stream.io().ttl().ok())
///     }
/// }
/// # }
/// ```
pub struct IncomingStream<'s, L: IntoListener> {
    io: &'s L::Io,
    remote: L::Addr,
    address: &'s Address,
}

impl<'s, L: IntoListener> IncomingStream<'s, L> {
    pub(crate) fn new(io: &'s L::Io, remote: L::Addr, address: &'s Address) -> Self {
        IncomingStream { io, remote, address }
    }

    /// The stream.
    pub fn io(&self) -> &L::Io {
        self.io
    }

    /// The address of the peer, in the type of tokio.
    pub fn remote_addr(&self) -> &L::Addr {
        &self.remote
    }

    /// The address of the peer, in the type that all listeners share.
    pub fn address(&self) -> &Address {
        self.address
    }
}

impl<L: IntoListener> fmt::Debug for IncomingStream<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingStream").field("address", self.address).finish_non_exhaustive()
    }
}

/// The address of a peer over TCP. One without is not known.
pub(crate) fn tcp_address(address: &Address) -> SocketAddr {
    address.socket_addr().unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into())
}

/// The address of a peer of a Unix socket. Most are bound to no path.
#[cfg(unix)]
pub(crate) fn unix_address(address: &Address) -> unix::SocketAddr {
    let path = address.path().and_then(|path| std_unix::SocketAddr::from_pathname(path).ok());
    let unnamed =
        || std_unix::SocketAddr::from_pathname("").expect("an empty path is short enough");
    path.unwrap_or_else(unnamed).into()
}

#[cfg(feature = "axum")]
mod connected {
    use super::{IncomingStream, tcp_address};
    use crate::IntoListener;
    use axum::extract::connect_info::Connected;
    use portcullis_driver::Address;
    use std::net::SocketAddr;

    /// `axum::extract::ConnectInfo<SocketAddr>`. A peer without an IP address, such as that of a Unix socket, has
    /// `0.0.0.0:0`.
    impl<L: IntoListener> Connected<IncomingStream<'_, L>> for SocketAddr {
        fn connect_info(stream: IncomingStream<'_, L>) -> Self {
            tcp_address(stream.address())
        }
    }

    /// `axum::extract::ConnectInfo<Address>`.
    impl<L: IntoListener> Connected<IncomingStream<'_, L>> for Address {
        fn connect_info(stream: IncomingStream<'_, L>) -> Self {
            stream.address().clone()
        }
    }
}
