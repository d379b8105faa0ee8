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

/// The reason of a deadline. Each timer is a wait for the peer. The value is its place in the table.
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
    /// Nothing has passed through a tunnel, in either direction, while its application waits for the peer's bytes
    /// (`tunnel_idle_timeout`).
    TunnelIdle,
    /// The earliest deadline of the streams of an HTTP/2 connection, apart from that of their content: a
    /// window that the peer does not open for an answer (`response_grace`, `response_rate`,
    /// `response_silence`, `response_deadline`), and the timers of websockets and tunnels. It ends the stream, and not
    /// the connection.
    Stream,
    /// The peer has not acknowledged our SETTINGS (`http2_settings_ack_timeout`).
    SettingsAck,
}

impl Timer {
    /// All timers, in the order of the table.
    pub const ALL: [Timer; 17] = [
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
        Timer::TunnelIdle,
        Timer::Stream,
        Timer::SettingsAck,
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
            Timer::TunnelIdle => "tunnel_idle",
            Timer::Stream => "stream",
            Timer::SettingsAck => "settings_ack",
        }
    }
}

/// When each timer expires. Timers of which no two run at a time share a slot; setting one of them while
/// another runs is a mistake, since that would stop the other without a word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timers {
    at: [Tick; SLOTS],
    /// The timer that has each slot.
    has: [Timer; SLOTS],
}

const SLOTS: usize = 5;

/// The slot of a timer.
const fn slot(timer: Timer) -> usize {
    match timer {
        // The connection waits for one of these at a time: see the table of waits.
        Timer::TlsHandshake
        | Timer::KeepAlive
        | Timer::RequestHead
        | Timer::PeerGone
        | Timer::Linger
        | Timer::TunnelIdle
        | Timer::WebSocketPing
        | Timer::WebSocketPong
        | Timer::WebSocketClose => 0,
        Timer::Response => 1,
        // A connection ages until it drains.
        Timer::Drain | Timer::ConnectionAge => 2,
        // The content of a stream: of a request, or of a websocket.
        Timer::RequestBody | Timer::WebSocketMessage => 3,
        // A connection is a websocket, or has streams, of which the earlier one of two runs.
        Timer::WebSocketIdle | Timer::Stream | Timer::SettingsAck => 4,
    }
}

impl Timers {
    pub(crate) const fn new() -> Self {
        Timers {
            at: [Tick::NEVER; SLOTS],
            has: [
                Timer::KeepAlive,
                Timer::Response,
                Timer::Drain,
                Timer::RequestBody,
                Timer::WebSocketIdle,
            ],
        }
    }

    /// Lets it run until `at`. Nothing else may run in its slot.
    #[inline]
    pub(crate) fn set(&mut self, timer: Timer, at: Tick) {
        let slot = slot(timer);
        if let (Some(place), Some(has)) = (self.at.get_mut(slot), self.has.get_mut(slot)) {
            debug_assert!(
                *place == Tick::NEVER || *has == timer,
                "{timer:?} would stop {has:?} without a word"
            );
            (*place, *has) = (at, timer);
        }
    }

    #[inline]
    pub(crate) fn stop(&mut self, timer: Timer) {
        if self.is_set(timer) {
            self.set(timer, Tick::NEVER);
        }
    }

    pub(crate) fn stop_all(&mut self) {
        *self = Self::new();
    }

    /// Stops the timers of the table of waits.
    #[inline]
    pub(crate) fn stop_waits(&mut self) {
        let [next, _, _, content, ..] = &mut self.at;
        let [has_next, _, _, has_content, ..] = self.has;
        if matches!(
            has_next,
            Timer::TlsHandshake
                | Timer::KeepAlive
                | Timer::RequestHead
                | Timer::PeerGone
                | Timer::Linger
                | Timer::TunnelIdle
        ) {
            *next = Tick::NEVER;
        }
        if has_content == Timer::RequestBody {
            *content = Tick::NEVER;
        }
    }

    /// [`Tick::NEVER`] if it does not run.
    #[inline]
    pub(crate) fn get(&self, timer: Timer) -> Tick {
        let slot = slot(timer);
        match (self.at.get(slot), self.has.get(slot)) {
            (Some(at), Some(has)) if *has == timer => *at,
            _ => Tick::NEVER,
        }
    }

    #[inline]
    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.get(timer) != Tick::NEVER
    }

    /// The earliest deadline, with its reason; of equal ones the first in the table.
    pub(crate) fn next(&self) -> Option<(Tick, Timer)> {
        let mut next = (Tick::NEVER, Timer::KeepAlive);
        for (at, timer) in self.at.into_iter().zip(self.has) {
            if at < next.0 || at == next.0 && (timer as u8) < next.1 as u8 {
                next = (at, timer);
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
    fn a_timer_runs_beside_those_of_other_slots() {
        let mut timers = Timers::new();
        for timer in Timer::ALL {
            timers.set(timer, Tick(5));
            assert_eq!((timers.get(timer), timers.is_set(timer)), (Tick(5), true), "{timer:?}");
            let running = Timer::ALL.into_iter().filter(|other| timers.is_set(*other));
            assert_eq!(running.collect::<Vec<_>>(), [timer]);
            timers.stop(timer);
            assert_eq!(timers.next(), None);
        }
        timers.set(Timer::RequestHead, Tick(5));
        timers.set(Timer::RequestBody, Tick(6));
        timers.set(Timer::Response, Tick(7));
        assert!(timers.is_set(Timer::RequestHead), "a head may follow while content is awaited");
        timers.stop_waits();
        assert_eq!(timers.next(), Some((Tick(7), Timer::Response)));
        timers.set(Timer::WebSocketMessage, Tick(5));
        timers.set(Timer::WebSocketPing, Tick(6));
        timers.stop_waits();
        assert!(timers.is_set(Timer::WebSocketMessage) && timers.is_set(Timer::WebSocketPing));
    }

    #[test]
    #[should_panic(expected = "RequestHead would stop KeepAlive without a word")]
    fn no_timer_stops_another_without_a_word() {
        let mut timers = Timers::new();
        timers.set(Timer::KeepAlive, Tick(5));
        timers.set(Timer::RequestHead, Tick(5));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Tick(1).after(Duration::MAX), Tick::NEVER);
        assert_eq!(Tick(1).since(Tick(2)), Duration::ZERO);
    }
}
