//! The options of TCP sockets, and accepting them, for every runtime.

use crate::address::Address;
use portcullis::Config;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

/// The number of bytes of an answer that the kernel takes beyond those on their way to the peer.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 << 10;
/// How often the system probes a silent peer, and how long it waits after each probe.
#[cfg(not(target_os = "windows"))]
const PROBES: u32 = 4;
const PROBE_PAUSE: Duration = Duration::from_secs(15);

/// The options that a listener's sockets get.
///
/// - The kernel takes no megabytes for a peer that does not read. On Linux it takes 128 KiB beyond the bytes
///   on their way.
/// - The system probes a peer that is silent for [`Config::tcp_keepalive`]: four times within a minute, and
///   then the connection fails.
///
/// Accepted sockets inherit the options from the listener, at almost no cost. Sockets that arrived before the
/// listener got them are set one by one.
#[derive(Debug)]
pub struct Options {
    keepalive: Option<Duration>,
    /// A socket was accepted that has inherited the options, so all later ones have too.
    inherited: bool,
}

impl Options {
    /// Sets the options of `listener`.
    pub fn new<'s, S>(listener: &'s S, config: &Config) -> Self
    where
        SockRef<'s>: From<&'s S>,
    {
        let mut options = Options { keepalive: config.tcp_keepalive(), inherited: false };
        if let Err(error) = options.set(&SockRef::from(listener)) {
            tracing::warn!(%error, "a listener does not take its options");
            // The sockets that it accepts can't be set either.
            options.inherited = true;
        }
        options
    }

    /// No options, for streams other than TCP.
    pub const fn none() -> Self {
        Options { keepalive: None, inherited: true }
    }

    /// Sets the options of an accepted socket that has not inherited them.
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
            // A socket without the options serves as well.
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

/// Accepts a connection that has arrived already, if there is one, and never waits. The socket does not
/// block.
///
/// # Errors
/// The system's.
pub fn accept_now<'s, S>(listener: &'s S) -> io::Result<Option<(TcpStream, Address)>>
where
    SockRef<'s>: From<&'s S>,
{
    let (socket, peer) = match SockRef::from(listener).accept() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
        accepted => accepted?,
    };
    socket.set_nonblocking(true)?;
    let peer = peer.as_socket().ok_or(ErrorKind::AddrNotAvailable)?;
    Ok(Some((socket.into(), peer.into())))
}

/// Sends written bytes at once (`TCP_NODELAY`). Each answer leaves in one write, so waiting for more bytes
/// would only delay it.
pub fn send_at_once<'s, S>(socket: &'s S)
where
    SockRef<'s>: From<&'s S>,
{
    // A socket without the option serves as well.
    let _ = SockRef::from(socket).set_tcp_nodelay(true);
}

/// Sets all options of a socket whose listener had none.
pub(crate) fn prepare(socket: &SockRef<'_>, config: &Config) {
    let _ = socket.set_tcp_nodelay(true);
    let options = Options { keepalive: config.tcp_keepalive(), inherited: false };
    // A socket without the options serves as well.
    let _ = options.set(socket);
}

#[cfg(test)]
mod tests {
    use super::*;
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
        // The first socket has inherited nothing.
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
    fn a_socket_of_another_listener_gets_the_same_options() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let _peer = TcpStream::connect(address).expect("it listens");
        let socket = listener.accept().expect("it has come").0;
        prepare(&SockRef::from(&socket), &Config::default());
        assert!(socket.nodelay().expect("told"));
        assert!(SockRef::from(&socket).keepalive().expect("told"));
        #[cfg(target_os = "linux")]
        assert_eq!(SockRef::from(&socket).tcp_notsent_lowat().expect("told"), UNSENT);
    }
}
