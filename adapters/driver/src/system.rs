//! The system's socket below a stream, and what the system tells about its peer.

use crate::tcp;
use portcullis::Config;
#[cfg(target_os = "linux")]
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::Shutdown;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The system's socket below a stream, or none. An implementation of [`Socket`](crate::Socket) passes on its
/// answers. The socket must not block.
#[derive(Debug)]
pub struct System<'s> {
    socket: Option<SockRef<'s>>,
    is_tcp: bool,
}

impl<'s> System<'s> {
    /// A TCP socket.
    pub fn tcp<S>(socket: &'s S) -> Self
    where
        SockRef<'s>: From<&'s S>,
    {
        System { socket: Some(socket.into()), is_tcp: true }
    }

    /// A Unix socket.
    pub fn unix<S>(socket: &'s S) -> Self
    where
        SockRef<'s>: From<&'s S>,
    {
        System { socket: Some(socket.into()), is_tcp: false }
    }

    /// There is no socket of the system, or it is not known.
    pub const fn none() -> Self {
        System { socket: None, is_tcp: false }
    }

    /// Sets the [options](tcp::Options) of a TCP socket whose listener has not set them.
    pub fn prepare(&self, config: &Config) {
        if let Some(socket) = &self.socket
            && self.is_tcp
        {
            tcp::prepare(socket, config);
        }
    }

    /// Sends a FIN, and never waits. `None` if there is no socket of the system.
    ///
    /// # Errors
    /// The system's. It is no error if the peer has ended the connection.
    pub fn shutdown_write(&self) -> Option<io::Result<()>> {
        Some(match self.socket.as_ref()?.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            done => done,
        })
    }

    /// Does what [`Socket::reset_on_close`](crate::Socket::reset_on_close) asks for. Unix sockets have no
    /// reset: bytes that the peer has not read stay there until it closes.
    pub fn reset_on_close(&self) {
        if let Some(socket) = &self.socket
            && self.is_tcp
        {
            // If this fails, the kernel only keeps the rest for a while.
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }

    /// Whether [`unacknowledged`](Self::unacknowledged) has an answer. On Linux.
    pub fn is_measured(&self) -> bool {
        cfg!(target_os = "linux") && self.socket.is_some()
    }

    /// The number of written bytes that the peer has not acknowledged (`SIOCOUTQ`), for
    /// [`Socket::unacknowledged`](crate::Socket::unacknowledged). On Linux.
    ///
    /// A Unix socket counts the bytes that the peer has not read, with the kernel's own overhead. That is
    /// somewhat more than was written, and 0 once the peer has read everything.
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code)]
    pub fn unacknowledged(&self) -> Option<u64> {
        let socket = self.socket.as_ref()?;
        let mut bytes: libc::c_int = 0;
        // SAFETY: the request writes one `int` through the pointer, which is valid for it. For a descriptor
        // that is no socket the system returns an error.
        let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        if done == 0 { u64::try_from(bytes).ok() } else { None }
    }

    /// The number of written bytes that the peer has not acknowledged. This system does not tell.
    #[cfg(not(target_os = "linux"))]
    pub fn unacknowledged(&self) -> Option<u64> {
        None
    }

    /// As [`Socket::has_arrived`](crate::Socket::has_arrived) tells.
    pub fn has_arrived(&self) -> bool {
        let Some(socket) = &self.socket else { return false };
        let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
        !peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// As [`Socket::take_error`](crate::Socket::take_error) tells.
    pub fn take_error(&self) -> Option<io::Error> {
        self.socket.as_ref()?.take_error().unwrap_or_else(Some)
    }

    /// As [`Socket::has_fin`](crate::Socket::has_fin) tells. On Linux.
    #[cfg(target_os = "linux")]
    pub fn has_fin(&self) -> bool {
        let Some(socket) = &self.socket else { return false };
        let mut asked = [PollFd::new(&**socket, PollFlags::RDHUP)];
        let answered = poll(&mut asked, Some(&Timespec::default()));
        answered.is_ok() && asked.iter().any(|it| it.revents().contains(PollFlags::RDHUP))
    }

    /// Whether the peer's FIN has arrived. This system does not tell.
    #[cfg(not(target_os = "linux"))]
    pub fn has_fin(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn tcp_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        (listener.accept().expect("it has come").0, peer)
    }

    #[cfg(unix)]
    fn unix_pair() -> (std::os::unix::net::UnixStream, std::os::unix::net::UnixStream) {
        std::os::unix::net::UnixStream::pair().expect("a pair")
    }

    fn tells_what_has_arrived_and_what_was_taken<S: Read + Write>(
        (mut socket, mut peer): (S, S),
        system: for<'s> fn(&'s S) -> System<'s>,
    ) {
        assert!(!system(&socket).has_arrived() && system(&socket).take_error().is_none());
        peer.write_all(b"x").expect("written");
        while !system(&socket).has_arrived() {}
        let mut sent = 0;
        while let Ok(bytes) = socket.write(&[0; 4096]) {
            sent += bytes;
        }
        if system(&socket).is_measured() {
            assert!(system(&socket).unacknowledged() > Some(0));
            let mut left = vec![0; sent];
            peer.read_exact(&mut left).expect("all of it");
            while system(&socket).unacknowledged() != Some(0) {}
        }
    }

    #[test]
    fn the_system_tells_what_has_arrived_and_what_was_taken() {
        let (socket, peer) = tcp_pair();
        socket.set_nonblocking(true).expect("it can be set");
        tells_what_has_arrived_and_what_was_taken((socket, peer), |it| System::tcp(it));
        #[cfg(unix)]
        {
            let (socket, peer) = unix_pair();
            socket.set_nonblocking(true).expect("it can be set");
            tells_what_has_arrived_and_what_was_taken((socket, peer), |it| System::unix(it));
        }
    }

    #[test]
    fn a_reset_is_seen_though_a_byte_is_unread() {
        let (socket, mut peer) = tcp_pair();
        peer.write_all(b"x").expect("written");
        System::tcp(&peer).reset_on_close();
        drop(peer);
        while System::tcp(&socket).take_error().is_none() {}
    }

    #[cfg(unix)]
    #[test]
    fn a_unix_peer_that_leaves_bytes_unread_has_reset() {
        let (mut socket, peer) = unix_pair();
        socket.write_all(b"x").expect("written");
        assert!(System::unix(&socket).take_error().is_none());
        drop(peer);
        assert!(System::unix(&socket).take_error().is_some());
    }

    #[cfg(target_os = "linux")]
    fn a_fin_is_seen<S: Read + Write>(
        (mut socket, mut peer): (S, S),
        system: for<'s> fn(&'s S) -> System<'s>,
    ) {
        peer.write_all(b"xy").expect("written");
        while !system(&socket).has_arrived() {}
        assert!(!system(&socket).has_fin());
        system(&peer).shutdown_write().expect("a socket").expect("shut down");
        while !system(&socket).has_fin() {}
        let mut rest = String::new();
        socket.read_to_string(&mut rest).expect("all of it");
        assert_eq!(rest, "xy");
        assert!(system(&socket).has_fin() && system(&socket).take_error().is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_fin_is_seen_behind_bytes_that_are_unread() {
        a_fin_is_seen(tcp_pair(), |it| System::tcp(it));
        a_fin_is_seen(unix_pair(), |it| System::unix(it));
    }

    #[test]
    fn a_fin_comes_after_what_was_written_and_a_reset_instead_of_it() {
        let (mut socket, mut peer) = tcp_pair();
        socket.write_all(b"last").expect("written");
        System::tcp(&socket).shutdown_write().expect("a socket").expect("shut down");
        let mut rest = String::new();
        peer.read_to_string(&mut rest).expect("a FIN");
        assert_eq!(rest, "last");
        let (socket, mut peer) = tcp_pair();
        System::tcp(&socket).reset_on_close();
        drop(socket);
        let error = peer.read(&mut [0]).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_stream_without_a_socket_tells_nothing() {
        let mut none = System::none();
        none.is_tcp = true;
        none.prepare(&Config::default());
        none.reset_on_close();
        assert!(none.shutdown_write().is_none() && none.take_error().is_none());
        assert!(!none.is_measured() && !none.has_arrived() && !none.has_fin());
        assert_eq!(none.unacknowledged(), None);
    }
}
