//! Time as a plain number, and the one table of timers.
//!
//! In: the driver's clock, as a [`Tick`] in every call. Out: the one deadline that
//! [`Connection::deadline`](crate::Connection::deadline) reports. Nothing else in the crate knows
//! what a deadline is, and nothing reads a clock.

use core::time::Duration;

/// Nanoseconds since an origin that the driver picks once; monotonic.
///
/// A `u64` of nanoseconds lasts 584 years. Arithmetic saturates. The largest value stands for
/// "never" and is not a moment that a driver may report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    /// The origin.
    pub const ZERO: Tick = Tick(0);
    pub(crate) const NEVER: Tick = Tick(u64::MAX);

    /// The tick `nanoseconds` after the origin.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Tick(nanoseconds)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is the later one.
    pub const fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The tick `delay` later; saturates at "never".
    pub const fn after(self, delay: Duration) -> Tick {
        self.after_nanos(nanos(delay))
    }

    pub(crate) const fn after_nanos(self, nanoseconds: u64) -> Tick {
        Tick(self.0.saturating_add(nanoseconds))
    }
}

/// A duration in nanoseconds, saturating.
pub(crate) const fn nanos(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(duration.subsec_nanos() as u64)
}

/// What a deadline is for: each is a wait for the peer. The value is its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// From accept to the end of the TLS handshake, not extended by progress
    /// (`tls_handshake_timeout`). No other wait for the peer runs meanwhile.
    TlsHandshake,
    /// Nothing of a request has arrived: after accept, or between two requests
    /// (`keep_alive_timeout`). Never while a request is in progress.
    KeepAlive,
    /// From the first byte of a head to its end, not extended by progress
    /// (`request_head_timeout`).
    RequestHead,
    /// The application wants bytes of the request's content and the peer sends too few
    /// (`request_body_grace`, `request_body_rate`, `request_body_silence`,
    /// `request_body_deadline`).
    RequestBody,
    /// There are bytes that the peer does not take, or takes too slowly
    /// (`response_grace`, `response_rate`, `response_silence`, `response_deadline`).
    Response,
    /// The peer has sent its FIN, and a handler goes on for it (`peer_gone_timeout`).
    PeerGone,
    /// What the peer still sends after the last answer is discarded: for so long in all
    /// (`linger_timeout`), and for so long after its last byte (`linger_silence`).
    Linger,
    /// The connection has become old (`connection_age_limit`): it drains, and is not closed at once.
    ConnectionAge,
    /// The connection was told to drain (`drain_timeout`).
    Drain,
    /// Nothing came on a websocket (`websocket_ping_interval`): it is pinged, and not closed.
    WebSocketPing,
    /// Nothing came on a websocket that was pinged (`websocket_pong_timeout`).
    WebSocketPong,
    /// Some of a websocket's message has come, and the rest comes too slowly
    /// (`request_body_grace`, `request_body_rate`).
    WebSocketMessage,
    /// No message passed on a websocket, in either direction (`websocket_idle_timeout`).
    WebSocketIdle,
    /// Our close is out, and the peer's does not come (`websocket_close_timeout`). It also bounds
    /// what an application may still say to a peer that has closed, which is then answered.
    WebSocketClose,
}

impl Timer {
    /// All timers, in the order of the table.
    pub const ALL: [Timer; 14] = [
        Timer::TlsHandshake,
        Timer::KeepAlive,
        Timer::RequestHead,
        Timer::RequestBody,
        Timer::Response,
        Timer::PeerGone,
        Timer::Linger,
        Timer::ConnectionAge,
        Timer::Drain,
        Timer::WebSocketPing,
        Timer::WebSocketPong,
        Timer::WebSocketMessage,
        Timer::WebSocketIdle,
        Timer::WebSocketClose,
    ];

    /// The timer's name in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Timer::TlsHandshake => "tls_handshake",
            Timer::KeepAlive => "keep_alive",
            Timer::RequestHead => "request_head",
            Timer::RequestBody => "request_body",
            Timer::Response => "response",
            Timer::PeerGone => "peer_gone",
            Timer::Linger => "linger",
            Timer::ConnectionAge => "connection_age",
            Timer::Drain => "drain",
            Timer::WebSocketPing => "websocket_ping",
            Timer::WebSocketPong => "websocket_pong",
            Timer::WebSocketMessage => "websocket_message",
            Timer::WebSocketIdle => "websocket_idle",
            Timer::WebSocketClose => "websocket_close",
        }
    }
}

/// When each timer expires. Timers of which no two run at a time share a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timers {
    at: [Tick; SLOTS.len()],
    /// The timer that has the first slot.
    first: Timer,
    /// The timer that has the third: a connection ages until it drains.
    third: Timer,
}

/// The timer of each slot. The first is shared by the timers that wait for the peer's next input,
/// the third by [`Timer::Drain`] and [`Timer::ConnectionAge`].
const SLOTS: [Timer; 5] = [
    Timer::KeepAlive,
    Timer::Response,
    Timer::Drain,
    Timer::WebSocketMessage,
    Timer::WebSocketIdle,
];

impl Timers {
    pub(crate) const fn new() -> Self {
        Timers { at: [Tick::NEVER; SLOTS.len()], first: Timer::KeepAlive, third: Timer::Drain }
    }

    /// Lets it run until `at`. The one that had its slot runs no more.
    pub(crate) fn set(&mut self, timer: Timer, at: Tick) {
        let [first, response, third, message, idle] = &mut self.at;
        *match timer {
            Timer::Response => response,
            Timer::Drain | Timer::ConnectionAge => {
                self.third = timer;
                third
            }
            Timer::WebSocketMessage => message,
            Timer::WebSocketIdle => idle,
            _ => {
                self.first = timer;
                first
            }
        } = at;
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        if self.is_set(timer) {
            self.set(timer, Tick::NEVER);
        }
    }

    pub(crate) fn stop_all(&mut self) {
        *self = Self::new();
    }

    /// Stops the timers that wait for a request.
    pub(crate) fn stop_request(&mut self) {
        if matches!(
            self.first,
            Timer::KeepAlive
                | Timer::RequestHead
                | Timer::RequestBody
                | Timer::PeerGone
                | Timer::Linger
        ) {
            self.set(self.first, Tick::NEVER);
        }
    }

    /// [`Tick::NEVER`] if it does not run.
    pub(crate) fn get(&self, timer: Timer) -> Tick {
        let [first, response, third, message, idle] = self.at;
        match timer {
            Timer::Response => response,
            Timer::Drain | Timer::ConnectionAge if timer == self.third => third,
            Timer::Drain | Timer::ConnectionAge => Tick::NEVER,
            Timer::WebSocketMessage => message,
            Timer::WebSocketIdle => idle,
            _ if timer == self.first => first,
            _ => Tick::NEVER,
        }
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.get(timer) != Tick::NEVER
    }

    /// The earliest deadline, with its reason; of equal ones the first in the table.
    pub(crate) fn next(&self) -> Option<(Tick, Timer)> {
        let mut next = (Tick::NEVER, self.first);
        for (at, timer) in self.at.into_iter().zip(SLOTS) {
            if at < next.0 {
                next = match timer {
                    Timer::KeepAlive => (at, self.first),
                    Timer::Drain => (at, self.third),
                    _ => (at, timer),
                };
            }
        }
        (next.0 != Tick::NEVER).then_some(next)
    }

    /// Whether [`Timers::expired`] may have something.
    #[inline]
    pub(crate) fn any_expired(&self, now: Tick) -> bool {
        self.at.iter().any(|at| *at <= now)
    }

    /// Takes the earliest timer that has expired at `now`. It is stopped before it is handled, so
    /// that no deadline is ever reported twice at the same tick.
    pub(crate) fn expired(&mut self, now: Tick) -> Option<Timer> {
        let (at, timer) = self.next()?;
        if at > now {
            return None;
        }
        self.stop(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_order_is_the_enum_order() {
        for (slot, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer as usize, slot, "{timer:?}");
        }
    }

    #[test]
    fn the_earliest_comes_first_and_only_once() {
        let mut timers = Timers::new();
        assert_eq!(timers.next(), None);
        timers.set(Timer::Drain, Tick(7));
        timers.set(Timer::KeepAlive, Tick(5));
        assert_eq!(timers.next(), Some((Tick(5), Timer::KeepAlive)));
        assert_eq!(timers.expired(Tick(4)), None);
        assert_eq!(timers.expired(Tick(5)), Some(Timer::KeepAlive));
        assert_eq!(timers.expired(Tick(5)), None);
        assert_eq!(timers.expired(Tick(9)), Some(Timer::Drain));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn timers_that_share_a_slot_give_way_to_each_other_and_to_no_other() {
        let mut timers = Timers::new();
        for timer in Timer::ALL {
            timers.set(timer, Tick(5));
            assert_eq!((timers.get(timer), timers.is_set(timer)), (Tick(5), true), "{timer:?}");
        }
        let running: Vec<_> =
            Timer::ALL.into_iter().filter(|timer| timers.is_set(*timer)).collect();
        let last = Timer::WebSocketClose;
        let expected =
            [Timer::Response, Timer::Drain, Timer::WebSocketMessage, Timer::WebSocketIdle, last];
        assert_eq!(running, expected);
        timers.stop(Timer::KeepAlive);
        timers.stop_request();
        assert!(timers.is_set(last), "it has the slot");
        timers.set(Timer::RequestHead, Tick(4));
        assert_eq!(
            (timers.is_set(last), timers.next()),
            (false, Some((Tick(4), Timer::RequestHead)))
        );
        timers.stop_request();
        assert_eq!(timers.next(), Some((Tick(5), Timer::Response)));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Tick(1).after(Duration::MAX), Tick::NEVER);
        assert_eq!(Tick(1).since(Tick(2)), Duration::ZERO);
    }
}
