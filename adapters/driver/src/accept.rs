//! Accepting connections: errors of one connection are passed over, a lack of resources is waited
//! out, and nothing ends the loop.

use crate::runtime::{Listener, Timer};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A listener that gets over errors.
#[derive(Debug)]
pub(crate) struct Acceptor<L, T> {
    listener: L,
    /// How long the last pause was, and what ends it.
    pause: Duration,
    resting: Option<T>,
}

impl<L: Listener, T: Timer> Acceptor<L, T> {
    pub(crate) fn new(listener: L) -> Self {
        Acceptor { listener, pause: Duration::ZERO, resting: None }
    }

    /// The next connection.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(L::Socket, SocketAddr)> {
        loop {
            if let Some(timer) = &mut self.resting {
                std::task::ready!(timer.poll(cx));
                self.resting = None;
            }
            match std::task::ready!(self.listener.poll_accept(cx)) {
                Ok(accepted) => {
                    self.pause = Duration::ZERO;
                    return Poll::Ready(accepted);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                    tracing::warn!(%error, pause = ?self.pause, "cannot accept");
                    self.resting = Some(T::new(Instant::now() + self.pause));
                }
            }
        }
    }
}

/// The connection was gone before it was accepted; the next one may be well.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Fails as it is told to, then accepts.
    struct Failing(Vec<io::Error>);

    impl Listener for Failing {
        type Socket = ();

        fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<((), SocketAddr)>> {
            Poll::Ready(match self.0.pop() {
                Some(error) => Err(error),
                None => Ok(((), SocketAddr::from(([127, 0, 0, 1], 1)))),
            })
        }
    }

    /// Is pending once.
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
        let mut acceptor = Acceptor::<_, Once>::new(Failing(errors));
        let mut cx = Context::from_waker(Waker::noop());
        let mut pauses = Vec::new();
        while acceptor.poll_accept(&mut cx).is_pending() {
            pauses.push(acceptor.pause.as_millis());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(acceptor.pause, Duration::ZERO, "and is forgotten after a success");
    }
}
