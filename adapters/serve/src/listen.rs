//! Turns the addresses of the command line into listening sockets.

#[cfg(unix)]
use crate::unix_socket::SocketFiles;
use portcullis_driver::handover;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
#[cfg(unix)]
use std::path::PathBuf;
use std::str::FromStr;

/// Connections that wait to be accepted; the system may allow fewer. A burst should find room.
const BACKLOG: i32 = 4096;

/// Attempts to find a port that is free at all addresses of a name.
const ATTEMPTS: usize = 16;

/// What the path of a Unix socket begins with.
const UNIX: &str = "unix:";

/// Where to listen: one address, all that a name or a mere port stands for, or a Unix socket.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    text: String,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Ip(Vec<SocketAddr>),
    #[cfg(unix)]
    Unix(PathBuf),
}

/// A socket that listens and does not block.
#[derive(Debug)]
pub(crate) enum Bound {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Bound {
    /// Where it listens, as the program tells it.
    pub(crate) fn address(&self) -> io::Result<String> {
        match self {
            Bound::Tcp(listener) => Ok(listener.local_addr()?.to_string()),
            #[cfg(unix)]
            Bound::Unix(listener) => {
                Ok(portcullis_driver::Address::from(listener.local_addr()?).to_string())
            }
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected an address and a port, such as 127.0.0.1:8080, [::1]:0 or localhost:80, \
            or a port: 8080 on this machine only, :8080 for everybody, or unix:/run/app.sock";
        if let Some(path) = text.strip_prefix(UNIX) {
            return unix(text, path).map_err(|error| format!("{error}; {expected}"));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some(parts) => parts,
            None => ("localhost", text),
        };
        let hosts = match host {
            "" => Some([IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()]),
            // Always the loopback addresses, even if the resolver says otherwise (RFC 6761 6.3).
            "localhost" => Some([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
            _ => None,
        };
        let mut addresses: Vec<SocketAddr> = match hosts {
            Some(hosts) => {
                let port: u16 = port.parse().map_err(|error| format!("{error}; {expected}"))?;
                hosts.into_iter().map(|host| (host, port).into()).collect()
            }
            None => {
                text.to_socket_addrs().map_err(|error| format!("{error}; {expected}"))?.collect()
            }
        };
        // IPv4 first: a client that supports only one of the two in most cases supports IPv4.
        addresses.sort();
        addresses.dedup();
        if addresses.is_empty() {
            return Err(format!("the name resolves to no address; {expected}"));
        }
        Ok(Address { text: text.to_owned(), place: Place::Ip(addresses) })
    }
}

#[cfg(unix)]
fn unix(text: &str, path: &str) -> Result<Address, &'static str> {
    if path.is_empty() {
        return Err("the path of the Unix socket is missing");
    }
    Ok(Address { text: text.to_owned(), place: Place::Unix(path.into()) })
}

#[cfg(not(unix))]
fn unix(_: &str, _: &str) -> Result<Address, &'static str> {
    Err("there are no Unix sockets on this system")
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Listens on all that an address stands for, on one port; the sockets do not block. Of several
/// addresses those are left out that the machine lacks, such as all of IPv6. A Unix socket's file is
/// added to `files`. With `reuse_port` other processes may listen on the same ports.
pub(crate) fn listen(
    address: &Address,
    reuse_port: bool,
    #[cfg(unix)] files: &SocketFiles,
) -> Result<Vec<Bound>, String> {
    match &address.place {
        Place::Ip(addresses) => {
            let listeners = listen_on_ip(address, addresses, reuse_port)?;
            Ok(listeners.into_iter().map(Bound::Tcp).collect())
        }
        #[cfg(unix)]
        Place::Unix(path) => {
            let listener = files.listen(path, BACKLOG);
            let listener =
                listener.map_err(|problem| format!("cannot listen on {address}: {problem}"))?;
            Ok(vec![Bound::Unix(listener)])
        }
    }
}

fn listen_on_ip(
    address: &Address,
    addresses: &[SocketAddr],
    reuse_port: bool,
) -> Result<Vec<TcpListener>, String> {
    let mut attempts = 0..ATTEMPTS;
    loop {
        match listen_on_all(addresses, reuse_port) {
            // A free port of one address may be taken at another one.
            Err((at, error))
                if at.port() == 0
                    && error.kind() == ErrorKind::AddrInUse
                    && attempts.next().is_some() => {}
            done => {
                return done.map_err(|(at, error)| match addresses {
                    [_] => format!("cannot listen on {address}: {error}"),
                    _ => format!("cannot listen on {address}: {at}: {error}"),
                });
            }
        }
    }
}

fn listen_on_all(
    addresses: &[SocketAddr],
    reuse_port: bool,
) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let (mut listeners, mut missing, mut free) = (Vec::new(), None, None);
    for address in addresses {
        let mut at = *address;
        if let Some(port) = free.filter(|_| at.port() == 0) {
            at.set_port(port);
        }
        match listen_on(at, addresses.len() > 1, reuse_port) {
            Ok(listener) => {
                free = listener.local_addr().ok().map(|address| address.port());
                listeners.push(listener);
            }
            Err(error) if is_missing(&error) => missing = Some((*address, error)),
            Err(error) => return Err((*address, error)),
        }
    }
    match missing {
        Some(missing) if listeners.is_empty() => Err(missing),
        _ => Ok(listeners),
    }
}

/// Whether the machine lacks the address or its whole family.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

/// Listens on one address; `one_of_several` if the same name has others.
fn listen_on(
    address: SocketAddr,
    one_of_several: bool,
    reuse_port: bool,
) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && one_of_several {
        // `[::]` alone also accepts IPv4, depending on the system's settings.
        socket.set_only_v6(true)?;
    }
    // Connections in TIME_WAIT from an earlier server must not prevent binding. Another listener
    // still does.
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    if reuse_port {
        handover::share_evenly(&socket);
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<String> {
        let address: Address = text.parse().expect(text);
        assert_eq!(address.to_string(), text);
        let Place::Ip(addresses) = address.place else { panic!("{text} is no IP address") };
        addresses.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn addresses_names_and_ports_are_understood() {
        for text in ["127.0.0.1:0", "[::1]:8080", "0.0.0.0:80", "[::]:80"] {
            assert_eq!(parsed(text), [text]);
        }
        assert_eq!(parsed("localhost:80"), ["127.0.0.1:80", "[::1]:80"]);
        assert_eq!(parsed("8080"), ["127.0.0.1:8080", "[::1]:8080"]);
        assert_eq!(parsed(":8080"), ["0.0.0.0:8080", "[::]:8080"]);
        for text in
            ["", ":", "65536", ":x", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:65536", ":::1:80"]
        {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.contains("such as 127.0.0.1:8080"), "{text}: {error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_path_of_a_unix_socket_is_what_follows_the_colon() {
        let address: Address = "unix:/run/a:1.sock".parse().expect("a path");
        assert!(matches!(&address.place, Place::Unix(path) if path == "/run/a:1.sock"));
        assert_eq!(address.to_string(), "unix:/run/a:1.sock");
        let error = "unix:".parse::<Address>().expect_err("no path");
        assert!(error.starts_with("the path of the Unix socket is missing; "), "{error}");
    }

    fn listen(address: &Address) -> Result<Vec<TcpListener>, String> {
        match &address.place {
            Place::Ip(addresses) => listen_on_ip(address, addresses, false),
            other => panic!("{other:?} is no IP address"),
        }
    }

    fn ports(listeners: &[TcpListener]) -> Vec<u16> {
        listeners.iter().map(|it| it.local_addr().expect("an address").port()).collect()
    }

    #[test]
    fn all_addresses_of_a_name_share_a_port() {
        for text in ["0", ":0", "localhost:0"] {
            let listeners = listen(&text.parse().expect(text)).expect("listening");
            let ports = ports(&listeners);
            assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        }
    }

    #[test]
    fn a_missing_address_is_left_out_unless_it_is_the_only_one() {
        // An address reserved for documentation (RFC 5737).
        let (lacking, there) = ("192.0.2.1:0", "127.0.0.1:0");
        let addresses = [lacking, there].map(|it| it.parse().expect("an address"));
        assert_eq!(listen_on_all(&addresses, false).expect("one is there").len(), 1);
        let (at, error) = listen_on_all(&addresses[..1], false).expect_err("there is none");
        assert!(is_missing(&error) && at == addresses[0], "{at}: {error}");
    }

    #[test]
    fn port_0_picks_a_free_port_and_a_taken_port_is_an_error() {
        let free: Address = "127.0.0.1:0".parse().expect("an address");
        let listeners = listen(&free).expect("listening");
        let taken = listeners[0].local_addr().expect("an address");
        assert_ne!(taken.port(), 0);
        let again: Address = taken.to_string().parse().expect("an address");
        let error = listen(&again).expect_err("taken");
        assert!(error.starts_with(&format!("cannot listen on {taken}: ")), "{error}");
        // One taken address makes the whole name an error.
        let several: Address = taken.port().to_string().parse().expect("a port");
        let error = listen(&several).expect_err("taken");
        assert!(error.contains(&format!(": {taken}: ")), "{error}");
    }
}
