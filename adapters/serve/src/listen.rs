//! Listening: from an address as it was written to a socket.

use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::str::FromStr;

/// Connections that wait to be accepted; the system may allow fewer. A burst should find room.
const BACKLOG: i32 = 4096;

/// Where to listen.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    text: String,
    /// What a name stands for; the first that works is taken.
    candidates: Vec<SocketAddr>,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            "expected an address and a port, such as 127.0.0.1:8080, [::1]:0 or localhost:80";
        let candidates: Vec<_> =
            text.to_socket_addrs().map_err(|error| format!("{error}; {expected}"))?.collect();
        if candidates.is_empty() {
            return Err(format!("the name has no address; {expected}"));
        }
        Ok(Address { text: text.to_owned(), candidates })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Listens on an address; the socket does not block.
pub(crate) fn listen(address: &Address) -> Result<TcpListener, String> {
    let mut failed = String::new();
    for candidate in &address.candidates {
        match listen_on(*candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = format!("cannot listen on {address}: {error}"),
        }
    }
    Err(failed)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // What an earlier server left in TIME_WAIT does not matter; another listener does.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_understood() {
        for text in ["127.0.0.1:0", "[::1]:8080", "localhost:0", "0.0.0.0:80"] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
        for text in ["", "8080", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:65536", ":::1:80"] {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.contains("such as 127.0.0.1:8080"), "{text}: {error}");
        }
    }

    #[test]
    fn port_0_takes_a_free_one_and_a_taken_one_is_an_error() {
        let free: Address = "127.0.0.1:0".parse().expect("an address");
        let listener = listen(&free).expect("listening");
        let taken = listener.local_addr().expect("an address");
        assert_ne!(taken.port(), 0);
        let again: Address = taken.to_string().parse().expect("an address");
        let error = listen(&again).expect_err("taken");
        assert!(error.starts_with(&format!("cannot listen on {taken}: ")), "{error}");
    }
}
