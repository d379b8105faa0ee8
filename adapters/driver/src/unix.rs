//! Accepting from Unix sockets, for every runtime.

use crate::address::Address;
use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Accepts a connection that has arrived already, if there is one, and never waits. The socket does not
/// block.
///
/// # Errors
/// The system's.
pub fn accept_now<'s, S>(listener: &'s S) -> io::Result<Option<(UnixStream, Address)>>
where
    SockRef<'s>: From<&'s S>,
{
    let (socket, peer) = match SockRef::from(listener).accept() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
        accepted => accepted?,
    };
    socket.set_nonblocking(true)?;
    Ok(Some((socket.into(), Address::Unix(peer.as_pathname().map(Arc::from)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{SocketAddr, UnixListener};

    #[test]
    fn a_client_that_has_come_is_accepted_and_nobody_is_waited_for() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("a.sock");
        let listener = UnixListener::bind(&path).expect("bound");
        listener.set_nonblocking(true).expect("it can be set");
        assert!(accept_now(&listener).expect("no error").is_none());
        let address = SocketAddr::from_pathname(&path).expect("a path");
        let _client = UnixStream::connect_addr(&address).expect("it listens");
        let (_, peer) = accept_now(&listener).expect("no error").expect("it has come");
        assert_eq!(peer, Address::Unix(None));
    }
}
