//! The driver's next steps ([`Status`]), and the state of a connection for metrics ([`Phase`]).

use crate::close::CloseReason;

/// What the driver has to do next. Ask again after any call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Read from the socket, and pass it to [`receive`](crate::Connection::receive). False when
    /// bytes are held that the application has not asked for.
    pub read: bool,
    /// There is something to write: [`outgoing`](crate::Connection::outgoing).
    pub write: bool,
    /// [`resume`](crate::Connection::resume) may bring events. False is definite. If `resume` brings
    /// no event after true, the answer is false until something else happens.
    pub resume: bool,
    /// Work is left that waits for neither party: events were dropped before their end, or a
    /// websocket has inflated [as much as it may at once](crate::websocket::INFLATED_AT_ONCE). Call
    /// [`resume`](crate::Connection::resume) again as soon as the thread's other connections have
    /// had their turn.
    pub has_work: bool,
    /// How far the connection has come in ending.
    pub life: Life,
}

/// How far a connection has come in ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// In use.
    Open,
    /// The connection is a tunnel in which the application has ended its direction. The peer's direction goes on.
    Finished {
        /// Everything is written: shut the socket down for writing, once.
        shutdown_write: bool,
    },
    /// The last answer is on its way; what the peer still sends is discarded (RFC 9112 9.6).
    Lingering {
        /// Everything is written: shut the socket down for writing, once.
        shutdown_write: bool,
    },
    /// Nothing is left to do but to close the socket.
    Closed {
        /// Why.
        reason: CloseReason,
        /// The connection closed before all of an answer was handed out. The driver then resets the
        /// socket (`SO_LINGER` of zero) instead of closing it. After a plain close the peer would
        /// take a part of the answer for the whole, and the bytes that the kernel holds would be
        /// sent in vain.
        cut_off: bool,
    },
}

impl Status {
    /// Whether the connection is in use: it is neither lingering nor closed.
    pub const fn is_open(self) -> bool {
        matches!(self.life, Life::Open | Life::Finished { .. })
    }

    /// Whether the last answer is on its way, and the peer's input is discarded.
    pub const fn is_lingering(self) -> bool {
        matches!(self.life, Life::Lingering { .. })
    }

    /// Whether to shut down the socket's writing side, if that has not been done.
    pub const fn wants_shutdown(self) -> bool {
        matches!(
            self.life,
            Life::Lingering { shutdown_write: true } | Life::Finished { shutdown_write: true }
        )
    }

    /// Why the connection is closed, if it is.
    pub const fn closed(self) -> Option<CloseReason> {
        match self.life {
            Life::Closed { reason, .. } => Some(reason),
            Life::Open | Life::Finished { .. } | Life::Lingering { .. } => None,
        }
    }

    /// Whether the connection is closed, and the socket has to be reset.
    pub const fn is_cut_off(self) -> bool {
        matches!(self.life, Life::Closed { cut_off: true, .. })
    }
}

/// Which party has to act next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The peer: a deadline runs.
    Peer,
    /// The application: it computes, or has not asked for content. No deadline of the peer's runs.
    Application,
    /// Either: a websocket or a tunnel is open, on which both may say something.
    Either,
}

/// The row of the table of waits that a connection stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waits for the rest of a TLS handshake.
    Handshake,
    /// Waits for a request of which nothing has arrived.
    Idle,
    /// Waits for the rest of a head.
    RequestHead,
    /// Waits for content that the application asked for.
    RequestBody,
    /// Waits for the application.
    Application,
    /// Waits for the peer to take what was written.
    Response,
    /// Is a websocket.
    WebSocket,
    /// Is a tunnel.
    Tunnel,
    /// Waits for the peer to end, after the last answer.
    Lingering,
    /// Is closed.
    Closed,
}

impl Phase {
    /// All phases.
    pub const ALL: [Phase; 10] = [
        Phase::Handshake,
        Phase::Idle,
        Phase::RequestHead,
        Phase::RequestBody,
        Phase::Application,
        Phase::Response,
        Phase::WebSocket,
        Phase::Tunnel,
        Phase::Lingering,
        Phase::Closed,
    ];

    /// The phase's name in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Phase::Handshake => "handshake",
            Phase::Idle => "idle",
            Phase::RequestHead => "request_head",
            Phase::RequestBody => "request_body",
            Phase::Application => "application",
            Phase::Response => "response",
            Phase::WebSocket => "websocket",
            Phase::Tunnel => "tunnel",
            Phase::Lingering => "lingering",
            Phase::Closed => "closed",
        }
    }
}
