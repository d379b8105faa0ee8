//! What every adapter tells the system about its TCP sockets, whatever its runtime calls them.

use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::Shutdown;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Bytes of an answer that the kernel takes beyond what is on its way to the peer.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 << 10;

/// Keeps the kernel from taking megabytes for a peer that does not read: on Linux, 128 KiB beyond what
/// is on its way. Sockets that `listener` accepts inherit it.
pub fn limit_unsent<'s, S>(listener: &'s S)
where
    SockRef<'s>: From<&'s S>,
{
    // Without it more is held outside of this process: no more than that.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(listener).set_tcp_notsent_lowat(UNSENT);
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

/// Sends what is written at once: answers leave in one write each, and waiting for more would only
/// delay them.
pub fn send_at_once<'s, S>(socket: &'s S)
where
    SockRef<'s>: From<&'s S>,
{
    // A socket that can't be told so serves as well.
    let _ = SockRef::from(socket).set_tcp_nodelay(true);
}

/// Sends a FIN, as [`Socket::shutdown_write`](crate::Socket::shutdown_write) asks for. Never waits.
///
/// # Errors
/// The system's; none if the peer has ended the connection.
pub fn shutdown_write<'s, S>(socket: &'s S) -> io::Result<()>
where
    SockRef<'s>: From<&'s S>,
{
    match SockRef::from(socket).shutdown(Shutdown::Write) {
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
        done => done,
    }
}

/// Makes the close that follows a reset, as [`Socket::reset_on_close`](crate::Socket::reset_on_close)
/// asks for.
pub fn reset_on_close<'s, S>(socket: &'s S)
where
    SockRef<'s>: From<&'s S>,
{
    // If it fails, the kernel keeps the rest for a while: no more than that.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// Whether [`unacknowledged`] has an answer.
pub const IS_MEASURED: bool = cfg!(target_os = "linux");

/// How many of the written bytes the peer has not acknowledged (`SIOCOUTQ`), as
/// [`Socket::unacknowledged`](crate::Socket::unacknowledged) tells. On Linux.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub fn unacknowledged<S: AsRawFd>(socket: &S) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one `int` through the pointer, which is valid for that. A
    // descriptor that is no socket is answered with an error.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { u64::try_from(bytes).ok() } else { None }
}

/// How many of the written bytes the peer has not acknowledged: this system does not tell.
#[cfg(not(target_os = "linux"))]
pub fn unacknowledged<S>(_: &S) -> Option<u64> {
    None
}

/// Whether there is something to read, or the end, as
/// [`Socket::has_arrived`](crate::Socket::has_arrived) tells. The socket must not block.
pub fn has_arrived<'s, S>(socket: &'s S) -> bool
where
    SockRef<'s>: From<&'s S>,
{
    let peeked = SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]);
    !peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// The error by which the connection has ended, as
/// [`Socket::take_error`](crate::Socket::take_error) tells.
pub fn take_error<'s, S>(socket: &'s S) -> Option<io::Error>
where
    SockRef<'s>: From<&'s S>,
{
    SockRef::from(socket).take_error().unwrap_or_else(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        limit_unsent(&listener);
        let address = listener.local_addr().expect("it is bound");
        let peer = TcpStream::connect(address).expect("it listens");
        (listener.accept().expect("it has come").0, peer)
    }

    #[test]
    fn what_is_accepted_inherits_the_limit_and_sends_at_once() {
        let (socket, _peer) = pair();
        send_at_once(&socket);
        assert!(socket.nodelay().expect("told"));
        #[cfg(target_os = "linux")]
        assert_eq!(SockRef::from(&socket).tcp_notsent_lowat().expect("told"), UNSENT);
    }

    #[test]
    fn the_system_tells_what_has_arrived_and_what_was_taken() {
        let (mut socket, mut peer) = pair();
        socket.set_nonblocking(true).expect("it can be set");
        assert!(!has_arrived(&socket) && take_error(&socket).is_none());
        peer.write_all(b"x").expect("written");
        while !has_arrived(&socket) {}
        let mut sent = 0;
        while let Ok(bytes) = socket.write(&[0; 4096]) {
            sent += bytes as u64;
        }
        if IS_MEASURED {
            let held = unacknowledged(&socket).expect("it tells");
            assert!(0 < held && held < sent, "{held} of {sent}");
            let mut left = vec![0; sent as usize];
            peer.read_exact(&mut left).expect("all of it");
            while unacknowledged(&socket) != Some(0) {}
        }
        // A reset is seen though a byte is unread.
        reset_on_close(&peer);
        drop(peer);
        while take_error(&socket).is_none() {}
    }

    #[test]
    fn a_fin_comes_behind_what_was_written_and_a_reset_instead_of_it() {
        let (mut socket, mut peer) = pair();
        socket.write_all(b"last").expect("written");
        shutdown_write(&socket).expect("shut down");
        let mut rest = String::new();
        peer.read_to_string(&mut rest).expect("a FIN");
        assert_eq!(rest, "last");
        let (socket, mut peer) = pair();
        reset_on_close(&socket);
        drop(socket);
        let error = peer.read(&mut [0]).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}
