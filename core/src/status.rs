//! The driver's next step ([`Status`]), and the state of a connection for metrics ([`Phase`]).

use crate::close::CloseReason;

/// The driver's next step. Ask again after any call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// In use.
    Open {
        /// Read from the socket, and pass it to [`receive`](crate::Connection::receive). False when
        /// bytes are held that the application has not asked for.
        read: bool,
        /// There is something to write: [`outgoing`](crate::Connection::outgoing).
        write: bool,
    },
    /// The last answer is on its way; what the peer still sends is discarded (RFC 9112 9.6).
    Lingering {
        /// As in [`Status::Open`].
        read: bool,
        /// As in [`Status::Open`].
        write: bool,
        /// Everything is written: shut the socket down for writing, once.
        shutdown_write: bool,
    },
    /// Nothing is left to do but to close the socket.
    Closed(CloseReason),
}

impl Status {
    /// Whether to read.
    pub const fn wants_read(self) -> bool {
        matches!(self, Status::Open { read: true, .. } | Status::Lingering { read: true, .. })
    }

    /// Whether to write.
    pub const fn wants_write(self) -> bool {
        matches!(self, Status::Open { write: true, .. } | Status::Lingering { write: true, .. })
    }

    /// Whether to shut down the socket's writing side, if that has not been done.
    pub const fn wants_shutdown(self) -> bool {
        matches!(self, Status::Lingering { shutdown_write: true, .. })
    }
}

/// Which party has to act next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The peer: a deadline runs.
    Peer,
    /// The application: it computes, or has not asked for content. No deadline of the peer's runs.
    Application,
    /// Either: a websocket is open, on which both may say something.
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
    /// Waits for the peer to end, after the last answer.
    Lingering,
    /// Is closed.
    Closed,
}

impl Phase {
    /// All phases.
    pub const ALL: [Phase; 9] = [
        Phase::Handshake,
        Phase::Idle,
        Phase::RequestHead,
        Phase::RequestBody,
        Phase::Application,
        Phase::Response,
        Phase::WebSocket,
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
            Phase::Lingering => "lingering",
            Phase::Closed => "closed",
        }
    }
}
