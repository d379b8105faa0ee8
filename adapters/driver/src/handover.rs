//! Hands a port over to other processes that listen on it (`SO_REUSEPORT`), without a lost connection.
//!
//! Each listener of such a group has a queue of its own, which is lost when it closes: the connections in it, and
//! those whose handshake is under way. So a listener that is about to close first lets no handshake begin, waits
//! for those under way, accepts them, and then closes. On Linux two filters do that, without privileges:
//!
//! - The listener drops each SYN. The client sends it again after a second, and by then it meets another listener.
//!   This alone loses no connection.
//! - The group gives SYNs to other listeners only, so that clients don't have to wait for that second. The group
//!   numbers its listeners, and number 0 is assumed to leave. Of two listeners that is the older one. With more of
//!   them it may be another, since the last one takes the number of one that closes. Then some clients wait.
//!
//! The kernel can also move the queue (`net.ipv4.tcp_migrate_req=1`), but only the administrator can switch that
//! on.

use socket2::SockRef;
use std::io;

/// Prepares a listener with `SO_REUSEPORT` for its close: from now on no handshake begins on it. Returns whether
/// that is so. It is not if no other socket listens on the port, so that clients would wait for nothing, or if the
/// system offers no way.
///
/// Handshakes under way still end in the listener's queue: go on accepting for as long as a round trip may take.
///
/// # Errors
/// The system's.
#[cfg(target_os = "linux")]
pub fn turn_away<'s, S>(listener: &'s S) -> io::Result<bool>
where
    SockRef<'s>: From<&'s S>,
{
    use socket2::SockFilter;
    let socket = SockRef::from(listener);
    if !socket.reuse_port()? {
        return Ok(false);
    }
    let count = linux::listeners_at(&socket)?;
    let Some(others) = count.checked_sub(1).filter(|others| *others > 0) else { return Ok(false) };
    // The byte of the flags, and SYN and ACK in it. A SYN without ACK is dropped, all else passes.
    let filter =
        [(0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (6, 0, 0, 0), (6, 0, 0, !0)];
    socket.attach_filter(
        &filter.map(|(code, yes, no, value)| SockFilter::new(code, yes, no, value)),
    )?;
    if let Err(error) = linux::steer(&socket, others) {
        // Clients that come to this listener begin a second later.
        tracing::debug!(%error, "SYNs can't be given to other listeners of the port");
    }
    Ok(true)
}

/// Prepares a listener for its close. This system offers no way.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn turn_away<'s, S>(_: &'s S) -> io::Result<bool>
where
    SockRef<'s>: From<&'s S>,
{
    Ok(false)
}

/// Makes a listener that has joined a group share its connections evenly: a listener that has
/// [left](turn_away) may have had other plans for the group.
pub fn share_evenly<'s, S>(listener: &'s S)
where
    SockRef<'s>: From<&'s S>,
{
    #[cfg(target_os = "linux")]
    linux::detach(&SockRef::from(listener));
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

#[cfg(target_os = "linux")]
mod linux {
    use socket2::SockRef;
    use std::io;
    use std::net::{IpAddr, SocketAddr};
    use std::os::fd::AsRawFd;

    /// The number of sockets that listen at the address of this one.
    pub(super) fn listeners_at(socket: &SockRef<'_>) -> io::Result<u32> {
        let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let (table, address) = match address.ip() {
            IpAddr::V4(_) => ("/proc/self/net/tcp", written(&address)),
            IpAddr::V6(_) => ("/proc/self/net/tcp6", written(&address)),
        };
        let count =
            std::fs::read_to_string(table)?.lines().filter(|line| is_at(line, &address)).count();
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Whether a line of the table is of a socket that listens (state 0A) at this address.
    fn is_at(line: &str, address: &str) -> bool {
        let mut words = line.split_ascii_whitespace().skip(1);
        words.next() == Some(address) && words.nth(1) == Some("0A")
    }

    /// The address as the table has it: words of four bytes in the machine's order, and the port.
    pub(super) fn written(address: &SocketAddr) -> String {
        let octets = match address.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let words = octets.as_chunks::<4>().0.iter();
        let words: String = words.map(|it| format!("{:08X}", u32::from_ne_bytes(*it))).collect();
        format!("{words}:{:04X}", address.port())
    }

    /// Has the group choose among the `others`, whose numbers begin with 1.
    #[allow(unsafe_code)]
    pub(super) fn steer(socket: &SockRef<'_>, others: u32) -> io::Result<()> {
        let step = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
        // A random number (SKF_AD_OFF + SKF_AD_RANDOM), its rest, one more, and that is the number.
        let mut steps = [
            step(0x20, (-0x1000_i32 + 56).cast_unsigned()),
            step(0x94, others),
            step(0x04, 1),
            step(0x16, 0),
        ];
        let program = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
        // SAFETY: the option takes a `sock_fprog`, and this is one. Its pointer and its length are those of
        // `steps`, which live until the call has copied them.
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_REUSEPORT_CBPF,
                (&raw const program).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Takes the program off the group. There may be none, and older systems cannot.
    #[allow(unsafe_code)]
    pub(super) fn detach(socket: &SockRef<'_>) {
        let none: libc::c_int = 0;
        // SAFETY: the option reads an `int`, and the pointer is valid for one.
        let _done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_DETACH_REUSEPORT_BPF,
                (&raw const none).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::io::ErrorKind;
    use std::net::{SocketAddr, TcpListener, TcpStream};

    fn listener(at: &str) -> TcpListener {
        let at: SocketAddr = at.parse().expect("an address");
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).expect("a socket");
        socket.set_reuse_port(true).expect("it can be set");
        socket.bind(&at.into()).expect("it is free");
        socket.listen(1024).expect("it listens");
        socket.set_nonblocking(true).expect("it can be set");
        share_evenly(&socket);
        socket.into()
    }

    fn accepted(listener: &TcpListener) -> usize {
        let accepted = std::iter::from_fn(|| match listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            accepted => Some(accepted.expect("a connection")),
        });
        accepted.count()
    }

    #[test]
    fn an_address_is_written_as_in_the_table_of_the_system() {
        if cfg!(target_endian = "little") {
            let written = |address: &str| linux::written(&address.parse().expect("an address"));
            assert_eq!(written("127.0.0.1:8080"), "0100007F:1F90");
            assert_eq!(written("[::1]:80"), "00000000000000000000000001000000:0050");
        }
    }

    #[test]
    fn the_last_listener_of_a_port_turns_nobody_away() {
        let only = listener("127.0.0.1:0");
        assert!(!turn_away(&only).expect("it works"));
        let _client = TcpStream::connect(only.local_addr().expect("bound")).expect("it listens");
        assert_eq!(accepted(&only), 1);
        let alone = TcpListener::bind("127.0.0.1:0").expect("a free port");
        assert!(!turn_away(&alone).expect("it has not the option"));
    }

    #[test]
    fn connections_go_to_the_others_until_a_new_listener_shares_them_again() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(_) = TcpListener::bind(at) else { continue };
            let old = listener(at);
            let address = old.local_addr().expect("bound");
            let [one, two] = [(); 2].map(|()| listener(&address.to_string()));
            let connect = |count: usize| -> Vec<_> {
                (0..count).map(|_| TcpStream::connect(address).expect("it listens")).collect()
            };
            // Connections from before stay where they are.
            let mut clients = connect(90);
            assert!(turn_away(&old).expect("it works"));
            let before = accepted(&old);
            assert_eq!(before + accepted(&one) + accepted(&two), 90);
            assert_ne!(before, 0);
            clients.extend(connect(90));
            let [first, second] = [&one, &two].map(accepted);
            assert_eq!((first + second, accepted(&old)), (90, 0));
            assert!(first > 0 && second > 0, "{first} {second}");
            drop(old);
            // The listeners have other numbers now.
            clients.extend(connect(90));
            assert_eq!(accepted(&one) + accepted(&two), 90);
            let three = listener(&address.to_string());
            clients.extend(connect(90));
            let counts = [&one, &two, &three].map(accepted);
            assert!(counts.iter().sum::<usize>() == 90 && !counts.contains(&0), "{counts:?}");
        }
    }
}
