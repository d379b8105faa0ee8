//! Which deadline the peer let pass, where that ends the connection.

use crate::time::Timer;

/// A deadline that ends the connection when it passes. The [table](crate::close) tells what each means.
///
/// Not every [`Timer`] is here: a ping keeps a connection, its age has it drained, and the time for
/// lingering ends a connection that has its reason already. A timer of a stream ends the stream, and SETTINGS
/// without an acknowledgement are a [`Fault`](super::Fault).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The module's table has a row for each.
pub enum Expiry {
    TlsHandshake,
    KeepAlive,
    RequestHead,
    RequestBody,
    Response,
    PeerGone,
    Drain,
    WebSocketPong,
    WebSocketMessage,
    WebSocketIdle,
    WebSocketClose,
    TunnelIdle,
}

impl Expiry {
    /// Every expiry there is.
    pub const ALL: [Expiry; 12] = [
        Expiry::TlsHandshake,
        Expiry::KeepAlive,
        Expiry::RequestHead,
        Expiry::RequestBody,
        Expiry::Response,
        Expiry::PeerGone,
        Expiry::Drain,
        Expiry::WebSocketPong,
        Expiry::WebSocketMessage,
        Expiry::WebSocketIdle,
        Expiry::WebSocketClose,
        Expiry::TunnelIdle,
    ];

    /// The timer that expired. Its label is also the label of the close reason.
    pub const fn timer(self) -> Timer {
        match self {
            Expiry::TlsHandshake => Timer::TlsHandshake,
            Expiry::KeepAlive => Timer::KeepAlive,
            Expiry::RequestHead => Timer::RequestHead,
            Expiry::RequestBody => Timer::RequestBody,
            Expiry::Response => Timer::Response,
            Expiry::PeerGone => Timer::PeerGone,
            Expiry::Drain => Timer::Drain,
            Expiry::WebSocketPong => Timer::WebSocketPong,
            Expiry::WebSocketMessage => Timer::WebSocketMessage,
            Expiry::WebSocketIdle => Timer::WebSocketIdle,
            Expiry::WebSocketClose => Timer::WebSocketClose,
            Expiry::TunnelIdle => Timer::TunnelIdle,
        }
    }

    /// The expiry of a timer; `None` if the timer ends no connection by itself.
    pub(crate) const fn of(timer: Timer) -> Option<Expiry> {
        Some(match timer {
            Timer::TlsHandshake => Expiry::TlsHandshake,
            Timer::KeepAlive => Expiry::KeepAlive,
            Timer::RequestHead => Expiry::RequestHead,
            Timer::RequestBody => Expiry::RequestBody,
            Timer::Response => Expiry::Response,
            Timer::PeerGone => Expiry::PeerGone,
            Timer::Drain => Expiry::Drain,
            Timer::WebSocketPong => Expiry::WebSocketPong,
            Timer::WebSocketMessage => Expiry::WebSocketMessage,
            Timer::WebSocketIdle => Expiry::WebSocketIdle,
            Timer::WebSocketClose => Expiry::WebSocketClose,
            Timer::TunnelIdle => Expiry::TunnelIdle,
            Timer::Linger
            | Timer::ConnectionAge
            | Timer::WebSocketPing
            | Timer::Stream
            | Timer::SettingsAck => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_expiries_are_listed_once_and_lead_back_from_their_timers() {
        for (place, expiry) in Expiry::ALL.into_iter().enumerate() {
            assert_eq!(expiry as usize, place, "{expiry:?}");
            assert_eq!(Expiry::of(expiry.timer()), Some(expiry));
        }
        let ending = Timer::ALL.into_iter().filter_map(Expiry::of);
        assert_eq!(ending.count(), Expiry::ALL.len());
    }
}
