//! What every adapter tells the system about its TCP sockets, whatever its runtime calls them.

use portcullis::Config;
#[cfg(target_os = "linux")]
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpStream};
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Bytes of an answer that the kernel takes beyond what is on its way to the peer.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 << 10;
/// How often the system asks a peer that is silent, and how long it waits after each.
#[cfg(not(target_os = "windows"))]
const PROBES: u32 = 4;
const PROBE_PAUSE: Duration = Duration::from_secs(15);

/// What the sockets of a listener are told.
///
/// - The kernel takes no megabytes for a peer that does not read: on Linux, 128 KiB beyond what is on
///   its way.
/// - The system asks a peer that is silent for [`Config::tcp_keepalive`] whether it is still there: four
///   times within a minute, after which the connection fails.
///
/// Accepted sockets inherit it, so that it costs next to nothing for each. Those that had come before
/// the listener was told are told themselves.
#[derive(Debug)]
pub struct Options {
    keepalive: Option<Duration>,
    /// One was accepted that has inherited it, and so have all that come behind it.
    inherited: bool,
}

impl Options {
    /// Tells `listener`.
    pub fn new<'s, S>(listener: &'s S, config: &Config) -> Self
    where
        SockRef<'s>: From<&'s S>,
    {
        let mut options = Options { keepalive: config.tcp_keepalive(), inherited: false };
        if let Err(error) = options.set(&SockRef::from(listener)) {
            tracing::warn!(%error, "a listener does not take its options");
            // Nor will what it accepts.
            options.inherited = true;
        }
        options
    }

    /// Tells a socket that was accepted, if it has not inherited it.
    #[inline]
    pub fn complete<'s, S>(&mut self, socket: &'s S)
    where
        SockRef<'s>: From<&'s S>,
    {
        if !self.inherited {
            self.complete_early(&SockRef::from(socket));
        }
    }

    #[cold]
    fn complete_early(&mut self, socket: &SockRef<'_>) {
        self.inherited = self.is_set(socket).unwrap_or(false);
        if !self.inherited {
            // One that can't be told so serves as well.
            let _ = self.set(socket);
        }
    }

    fn is_set(&self, socket: &SockRef<'_>) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        let limited = socket.tcp_notsent_lowat()? == UNSENT;
        #[cfg(not(target_os = "linux"))]
        let limited = true;
        Ok(limited && (self.keepalive.is_none() || socket.keepalive()?))
    }

    fn set(&self, socket: &SockRef<'_>) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        socket.set_tcp_notsent_lowat(UNSENT)?;
        let Some(idle) = self.keepalive else { return Ok(()) };
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(PROBE_PAUSE);
        #[cfg(not(target_os = "windows"))]
        let keepalive = keepalive.with_retries(PROBES);
        socket.set_tcp_keepalive(&keepalive)
    }
}

/// Accepts a connection that has come already, if there is one; never waits. The socket does not block.
///
/// # Errors
/// The system's.
pub fn accept_now<'s, S>(listener: &'s S) -> io::Result<Option<(TcpStream, SocketAddr)>>
where
    SockRef<'s>: From<&'s S>,
{
    let (socket, peer) = match SockRef::from(listener).accept() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
        accepted => accepted?,
    };
    socket.set_nonblocking(true)?;
    let peer = peer.as_socket().ok_or(ErrorKind::AddrNotAvailable)?;
    Ok(Some((socket.into(), peer)))
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

/// Whether the peer's FIN has arrived, as [`Socket::has_fin`](crate::Socket::has_fin) tells. On Linux.
#[cfg(target_os = "linux")]
pub fn has_fin<S: AsFd>(socket: &S) -> bool {
    let mut asked = [PollFd::new(socket, PollFlags::RDHUP)];
    let answered = poll(&mut asked, Some(&Timespec::default()));
    answered.is_ok() && asked.iter().any(|it| it.revents().contains(PollFlags::RDHUP))
}

/// Whether the peer's FIN has arrived: this system does not tell.
#[cfg(not(target_os = "linux"))]
pub fn has_fin<S>(_: &S) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn what_is_accepted_asks_silent_peers_unless_told_not_to() {
        let default = Config::default();
        let brief = Config::builder().tcp_keepalive(Some(Duration::from_secs(7))).build();
        let none = Config::builder().tcp_keepalive(None).build().expect("valid");
        let configs = [(default, 60), (brief.expect("valid"), 7), (none, 0)];
        for ((config, idle), early) in configs.iter().flat_map(|it| [(it, false), (it, true)]) {
            let idle = *idle;
            let (socket, _peer) = pair_with(config, early);
            let socket = SockRef::from(&socket);
            assert_eq!(socket.keepalive().expect("told"), idle > 0);
            #[cfg(target_os = "linux")]
            if idle > 0 {
                let told = (
                    socket.tcp_keepalive_time().expect("told").as_secs(),
                    socket.tcp_keepalive_interval().expect("told"),
                    socket.tcp_keepalive_retries().expect("told"),
                );
                assert_eq!(told, (idle, PROBE_PAUSE, PROBES));
            }
        }
    }

    fn pair_with(config: &Config, early_too: bool) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        // Whoever comes first has inherited nothing.
        let early = TcpStream::connect(address).expect("it listens");
        let mut options = Options::new(&listener, config);
        let peer = TcpStream::connect(address).expect("it listens");
        let mut accept = || {
            let socket = listener.accept().expect("it has come").0;
            options.complete(&socket);
            let inherited = options.inherited;
            (socket, inherited)
        };
        let [(first, false), (second, true)] = [accept(), accept()] else { panic!("both have it") };
        if early_too { (first, early) } else { (second, peer) }
    }

    fn pair() -> (TcpStream, TcpStream) {
        pair_with(&Config::default(), false)
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
    #[cfg(target_os = "linux")]
    fn a_fin_is_seen_behind_bytes_that_are_unread() {
        let (mut socket, mut peer) = pair();
        peer.write_all(b"xy").expect("written");
        while !has_arrived(&socket) {}
        assert!(!has_fin(&socket));
        peer.shutdown(Shutdown::Write).expect("shut down");
        while !has_fin(&socket) {}
        let mut rest = String::new();
        socket.read_to_string(&mut rest).expect("all of it");
        assert_eq!(rest, "xy");
        assert!(has_fin(&socket) && take_error(&socket).is_none());
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
