//! Accepts connections. Errors of one connection are passed over. If the process lacks resources, accepting
//! pauses. If it lacks places, a newcomer waits for one, and is refused after a while. Nothing ends the loop.

use crate::address::Address;
use crate::admission::{Door, Newcomer as Candidate};
use crate::clock;
use crate::listener::Listener;
use crate::proxy_protocol::{self, ProxySource};
use crate::runtime::Timer;
use crate::shared::Shared;
use crate::socket::Socket;
use portcullis::gate::Denied;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The number of connections that may fail in a row before other tasks get their turn.
const FAILURES: u32 = 64;
/// The length of that pause. An error that stays must not keep the thread.
const BREATH: Duration = Duration::from_millis(1);
/// A newcomer whose time is over still waits this long for a connection that leaves, or that may be asked to
/// within this time. That connection only needs its turn on a thread.
const LEAVING: Duration = Duration::from_millis(250);
/// The number of waiting connections that are accepted before the listener is dropped.
const LAST: usize = 4096;

/// The answer to a newcomer that is refused (RFC 9110 15.6.4). Its request is not read.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    retry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A connection with the number of its place.
pub(crate) type Newcomer<S> = (S, Address, usize);

/// A listener that survives errors.
#[derive(Debug)]
pub(crate) struct Acceptor<L: Listener, T> {
    listener: L,
    /// A connection that was accepted, and waits for a place.
    waiting: Option<(L::Socket, Address)>,
    door: Door,
    /// Newcomers begin with a TLS handshake.
    has_tls: bool,
    /// How long newcomers wait for a place, since there was one last.
    patience: Duration,
    /// Proxies tell later whom they forward.
    proxies: Arc<[ProxySource]>,
    /// Since when there has been no place.
    full_since: Option<Instant>,
    /// Until when a newcomer whose time is over waits for those that leave.
    last_chance: Option<Instant>,
    /// The length of the last pause, and the timer that ends it.
    pause: Duration,
    resting: Option<T>,
    /// When an error was last logged.
    complained: Option<Instant>,
    /// The earliest time at which another connection may make room.
    alarm: Option<T>,
    /// The number of connections that have failed since the last success.
    failures: u32,
}

impl<L: Listener, T: Timer> Acceptor<L, T> {
    pub(crate) fn new(listener: L, shared: &Shared) -> Self {
        Acceptor {
            listener,
            waiting: None,
            door: Door::new(shared.admission.clone()),
            has_tls: shared.config.has_tls(),
            patience: shared.config.newcomer_timeout(),
            proxies: shared.proxies.clone(),
            full_since: None,
            last_chance: None,
            pause: Duration::ZERO,
            resting: None,
            complained: None,
            alarm: None,
            failures: 0,
        }
    }

    /// The next connection, and its place.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Newcomer<L::Socket>> {
        for _ in 0..FAILURES {
            let (socket, peer) = match self.waiting.take() {
                Some(newcomer) => newcomer,
                None => ready!(self.poll_socket(cx)),
            };
            match self.poll_place(cx, &peer) {
                Poll::Ready(Ok(number)) => return Poll::Ready((socket, peer, number)),
                Poll::Ready(Err(denied)) => self.refuse(cx, socket, &peer, denied),
                Poll::Pending => {
                    self.waiting = Some((socket, peer));
                    return Poll::Pending;
                }
            }
        }
        // Refusing must not keep the thread.
        T::yield_now(cx);
        Poll::Pending
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<(L::Socket, Address)> {
        loop {
            if let Some(timer) = &mut self.resting {
                ready!(timer.poll(cx));
                self.resting = None;
            }
            let Poll::Ready(accepted) = self.listener.poll_accept(cx) else {
                // No connection waits for a place, so nobody has to leave.
                self.door.close();
                (self.full_since, self.last_chance) = (None, None);
                return Poll::Pending;
            };
            match accepted {
                Ok(accepted) => {
                    (self.pause, self.failures) = (Duration::ZERO, 0);
                    return Poll::Ready(accepted);
                }
                Err(error) if is_of_one_connection(&error) => {
                    self.failures += 1;
                    if self.failures.is_multiple_of(FAILURES) {
                        self.rest(BREATH);
                    }
                }
                Err(error) => {
                    self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                    self.complain(&error);
                    if is_short_of_descriptors(&error) {
                        self.door.ask(cx, clock::tick(Instant::now()));
                    }
                    self.rest(self.pause);
                }
            }
        }
    }

    /// Logs an error. Clients can cause some errors again and again, so these are logged only now and then.
    fn complain(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.complained.is_none_or(|then| now >= then + LONGEST_PAUSE) {
            self.complained = Some(now);
            tracing::warn!(%error, pause = ?self.pause, "cannot accept");
        }
    }

    fn rest(&mut self, pause: Duration) {
        self.resting = Some(T::new(Instant::now() + pause));
    }

    fn candidate(&self, peer: &Address) -> Candidate {
        let address = peer.ip().filter(|_| !proxy_protocol::is_proxy(&self.proxies, peer));
        Candidate { address, is_handshaking: self.has_tls }
    }

    /// A place for a newcomer, or why there is none.
    fn poll_place(&mut self, cx: &mut Context<'_>, peer: &Address) -> Poll<Result<usize, Denied>> {
        loop {
            let now = Instant::now();
            let candidate = self.candidate(peer);
            let wait = match self.door.enter(cx, clock::tick(now), candidate) {
                Ok(number) => {
                    (self.alarm, self.full_since, self.last_chance) = (None, None, None);
                    return Poll::Ready(Ok(number));
                }
                Err(wait) => wait,
            };
            let patience = *self.full_since.get_or_insert(now) + self.patience;
            if wait.is_final {
                (self.full_since, self.last_chance) = (None, None);
                return Poll::Ready(Err(wait.denied));
            }
            // If the process stood still, the newcomer's time may be over before anybody could leave.
            let mut patience = patience;
            let until = wait.until.and_then(clock::instant);
            let is_soon = until.is_some_and(|at| at <= now + LEAVING);
            if now >= patience && (is_soon || self.door.admission().asks()) {
                patience = *self.last_chance.get_or_insert(now + LEAVING);
            }
            if now >= patience {
                self.door.close();
                return Poll::Ready(Err(wait.denied));
            }
            let at = until.map_or(patience, |at| at.min(patience));
            let alarm = self.alarm.insert(T::new(at));
            ready!(alarm.poll(cx));
        }
    }

    /// Turns a newcomer away. In plaintext it is told why; a TLS handshake would cost too much.
    fn refuse(&mut self, cx: &mut Context<'_>, mut socket: L::Socket, peer: &Address, why: Denied) {
        self.door.admission().count(why);
        tracing::debug!(%peer, %why, "refused a connection");
        if !self.has_tls
            && socket.poll_write(cx, &[IoSlice::new(REFUSAL)]).is_ready()
            && socket.poll_shutdown_write(cx).is_ready()
        {
            // What has arrived is read, since closing would otherwise send an RST at once.
            let _ = socket.poll_read(cx, &mut [0; 1024]);
        }
    }

    /// The connections that have arrived before accepting ends, as many as there are places for. The
    /// connection that waits for a place has one.
    pub(crate) fn accept_last(mut self) -> Vec<Newcomer<L::Socket>> {
        let mut last = Vec::new();
        let now = clock::tick(Instant::now());
        if let Some((socket, peer)) = self.waiting.take() {
            let candidate = self.candidate(&peer);
            last.push((socket, peer, self.door.enter_now(now, candidate)));
        }
        for _ in 0..LAST {
            let candidate = self.candidate(&Address::Unknown);
            let Some(number) = self.door.admission().try_enter(now, candidate) else { break };
            let accepted = self.listener.accept_now();
            match accepted {
                Ok(Some((socket, peer))) => last.push((socket, peer, number)),
                Ok(None) => {
                    self.door.admission().leave(number, now);
                    break;
                }
                Err(error) => {
                    self.door.admission().leave(number, now);
                    if !is_of_one_connection(&error) {
                        break;
                    }
                }
            }
        }
        last
    }
}

/// Whether the error concerns this connection only: it was gone before it was accepted, a firewall refused
/// it, or the network failed. The next connection may succeed.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    let told = matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | ConnectionRefused
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | PermissionDenied
            | TimedOut
    );
    told || is_of_the_network(error)
}

/// The errors that accept(2) passes on from the network, and the error of a firewall.
#[cfg(unix)]
fn is_of_the_network(error: &io::Error) -> bool {
    use rustix::io::Errno;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const NONET: Errno = Errno::NONET;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const NONET: Errno = Errno::NETDOWN;
    let errors = [
        Errno::NETDOWN,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        NONET,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
        Errno::PERM,
    ];
    Errno::from_io_error(error).is_some_and(|error| errors.contains(&error))
}

/// Whether the process, or the system, has as many files open as it may. A connection that ends helps.
#[cfg(unix)]
fn is_short_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let error = Errno::from_io_error(error);
    matches!(error, Some(Errno::MFILE | Errno::NFILE))
}

/// This system does not tell.
#[cfg(not(unix))]
fn is_short_of_descriptors(_: &io::Error) -> bool {
    false
}

/// This system knows no more errors.
#[cfg(not(unix))]
fn is_of_the_network(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Admission;
    use portcullis::Tick;
    use portcullis::gate::{Report, Standing};
    use std::io::IoSlice;
    use std::task::Waker;

    /// A listener that fails as the test says, and then accepts.
    struct Failing(Vec<io::Error>);

    fn places(most: u64) -> Arc<Admission> {
        let limit = portcullis::ConnectionLimit::Count(most);
        let config = portcullis::Config::builder().max_connections(limit).build();
        Arc::new(Admission::new(&Arc::new(config.expect("valid"))))
    }

    fn acceptor(errors: Vec<io::Error>) -> Acceptor<Failing, Once> {
        Acceptor::new(Failing(errors), &Shared::new(Arc::default(), places(1)))
    }

    impl Listener for Failing {
        type Socket = Dead;
        type Peer<'s> = ();

        fn peer<'s>(_: &'s Dead, _: &'s Address) {}

        fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(Dead, Address)>> {
            Poll::Ready(match self.0.pop() {
                Some(error) => Err(error),
                None => Ok((Dead, Address::Unknown)),
            })
        }
    }

    /// A socket that is never used.
    #[derive(Debug)]
    struct Dead;

    impl Socket for Dead {
        fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_write(
            &mut self,
            _: &mut Context<'_>,
            _: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_shutdown_write(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    /// A future that is pending once.
    struct Once(bool);

    impl Timer for Once {
        fn new(_: Instant) -> Self {
            Once(false)
        }

        fn reset(&mut self, _: Instant) {}

        fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    #[test]
    fn a_lack_of_resources_pauses_longer_each_time_and_ends_nothing() {
        let emfile = || io::Error::from_raw_os_error(24);
        let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
        let errors = (0..9).map(|_| emfile()).chain([aborted]).collect();
        let mut acceptor = acceptor(errors);
        let mut cx = Context::from_waker(Waker::noop());
        let mut pauses = Vec::new();
        while acceptor.poll_accept(&mut cx).is_pending() {
            pauses.push(acceptor.pause.as_millis());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(acceptor.pause, Duration::ZERO, "and is forgotten after a success");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_goes_wrong_on_the_network_delays_nobody() {
        use rustix::io::Errno;
        let numbers = [
            Errno::NETDOWN,
            Errno::PROTO,
            Errno::NOPROTOOPT,
            Errno::HOSTDOWN,
            Errno::NONET,
            Errno::HOSTUNREACH,
            Errno::OPNOTSUPP,
            Errno::NETUNREACH,
            Errno::CONNABORTED,
            Errno::PERM,
        ];
        let errors = numbers.iter().flat_map(|error| [(*error).into(), (*error).into()]).collect();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(acceptor(errors).poll_accept(&mut cx).is_ready());
    }

    #[test]
    fn connections_that_fail_one_after_the_other_let_others_have_their_turn() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let mut acceptor = acceptor((0..2 * FAILURES + 1).map(|_| reset()).collect());
        let mut cx = Context::from_waker(Waker::noop());
        let mut turns = 0;
        while acceptor.poll_accept(&mut cx).is_pending() {
            turns += 1;
        }
        assert_eq!(turns, 2);
    }

    #[test]
    fn who_has_come_is_taken_in_as_far_as_there_are_places() {
        let admission = places(3);
        let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
        let mut acceptor = Acceptor::<_, Once>::new(
            Failing(vec![aborted]),
            &Shared::new(Arc::default(), admission.clone()),
        );
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready((.., number)) = acceptor.poll_accept(&mut cx) else { panic!("nobody") };
        assert_eq!(number, 0);
        let candidate = acceptor.candidate(&Address::Unknown);
        assert_eq!(acceptor.accept_last().len(), 2);
        assert!(admission.try_enter(Tick::ZERO, candidate).is_none());

        let mut acceptor = Acceptor::<_, Once>::new(
            Failing(Vec::new()),
            &Shared::new(Arc::default(), admission.clone()),
        );
        assert!(acceptor.poll_accept(&mut cx).is_pending(), "there is no place");
        assert_eq!(acceptor.accept_last().len(), 1, "and none for those that come behind it");
        assert!(!admission.asks());
    }

    #[test]
    fn a_newcomer_is_not_refused_while_a_connection_leaves_for_it() {
        let admission = places(1);
        let shared = Shared::new(Arc::default(), admission.clone());
        let mut acceptor = Acceptor::<_, Once>::new(Failing(Vec::new()), &shared);
        // Its time is over at once, as if the process had stood still.
        acceptor.patience = Duration::ZERO;
        let candidate = acceptor.candidate(&Address::Unknown);
        let now = clock::tick(Instant::now());
        let number = admission.try_enter(now, candidate).expect("a place");
        let report =
            |standing| Report { standing, bytes: 0, is_handshaking: false, since: now, until: now };
        let refused = || admission.gauge().denied.iter().map(|(_, count)| count).sum::<u64>();
        let mut cx = Context::from_waker(Waker::noop());
        admission.report(number, report(Standing::Idle), now);
        assert!(acceptor.poll_accept(&mut cx).is_pending());
        assert_eq!((admission.asks(), refused()), (true, 0));
        admission.leave(number, now);
        let Poll::Ready((.., number)) = acceptor.poll_accept(&mut cx) else { panic!("no place") };
        assert_eq!(refused(), 0);
        admission.report(number, report(Standing::Working), now);
        assert!(acceptor.poll_accept(&mut cx).is_pending());
        assert!(refused() > 0, "nobody leaves");
    }
}
