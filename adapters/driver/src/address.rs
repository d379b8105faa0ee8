//! Where a peer is: an address of the network, a Unix socket, or unknown.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// The address of a peer.
///
/// A clone costs no allocation. It prints as `192.0.2.1:80`, `[2001:db8::1]:80`, `unix:/run/client.sock`, `unix`
/// or `unknown`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A Unix socket, with the path that it is bound to. Most clients bind theirs to none.
    Unix(Option<Arc<Path>>),
    /// The stream has no address, or none was given.
    Unknown,
}

impl Address {
    /// The IP address, if this is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket_addr().map(|address| address.ip())
    }

    /// The IP address and the port, if this is an IP address.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(address) => Some(*address),
            _ => None,
        }
    }

    /// The path, if this is a Unix socket that is bound to one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Address::Unix(path) => path.as_deref(),
            _ => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Ip(address)
    }
}

/// An abstract name (Linux) is no path: such an address counts as unnamed.
#[cfg(unix)]
impl From<std::os::unix::net::SocketAddr> for Address {
    fn from(address: std::os::unix::net::SocketAddr) -> Self {
        Address::Unix(address.as_pathname().map(Arc::from))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            // A path may hold line breaks, which would forge lines of a log.
            Address::Unix(Some(path)) => {
                write!(f, "unix:{}", path.to_string_lossy().escape_debug())
            }
            Address::Unix(None) => f.write_str("unix"),
            Address::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_people_write_it() {
        let path = |path: &str| Address::Unix(Some(Path::new(path).into()));
        let ip = |text: &str| Address::Ip(text.parse().expect("an address"));
        for (address, text) in [
            (ip("192.0.2.1:80"), "192.0.2.1:80"),
            (ip("[2001:db8::1]:80"), "[2001:db8::1]:80"),
            (path("/run/client.sock"), "unix:/run/client.sock"),
            (path("/run/a\nb"), "unix:/run/a\\nb"),
            (Address::Unix(None), "unix"),
            (Address::Unknown, "unknown"),
        ] {
            assert_eq!(address.to_string(), text);
        }
    }

    /// Each connection holds one.
    #[test]
    fn an_address_takes_no_more_room_than_a_socket_addr() {
        assert_eq!(size_of::<Address>(), size_of::<SocketAddr>());
    }

    #[cfg(unix)]
    #[test]
    fn a_unix_socket_has_the_path_it_is_bound_to_or_none() {
        use std::os::unix::net::SocketAddr;
        let named = SocketAddr::from_pathname("/run/a.sock").expect("a path");
        let address = Address::from(named);
        assert_eq!(address.path(), Some(Path::new("/run/a.sock")));
        assert_eq!((address.ip(), address.socket_addr()), (None, None));
        let (unnamed, _peer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let unnamed = unnamed.local_addr().expect("an address");
        assert_eq!(Address::from(unnamed), Address::Unix(None));
    }
}
