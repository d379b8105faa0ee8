//! The table of endings: for each reason to close a connection, what is still sent and what is still read.
//!
//! In: the reason. Out: one of four endings. The protocol in use carries it out; the documentation of
//! [`close`](crate::close) shows the ending of each reason, and a test holds the two against each other.

use crate::close::{CloseReason, Expiry, PeerClose, TlsFailure};

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// After an answer: the peer may still be sending, and has to get all of the answer.
    Finish,
    /// The peer did something wrong, and is told.
    Refuse,
    /// Neither side owes anything.
    Leave,
    /// Nobody is there to be told, or nothing more may be said.
    Cut,
}

impl Ending {
    /// How a connection ends for `reason`.
    pub(crate) const fn of(reason: CloseReason) -> Ending {
        match reason {
            CloseReason::Completed
            | CloseReason::RequestLimit
            | CloseReason::UnreadContent
            | CloseReason::Drained
            | CloseReason::Expired(Expiry::WebSocketIdle) => Ending::Finish,
            CloseReason::Refused(_)
            | CloseReason::Violation(_)
            | CloseReason::Fault(_)
            | CloseReason::Peer(PeerClose::Truncated)
            | CloseReason::Expired(
                Expiry::RequestHead
                | Expiry::RequestBody
                | Expiry::WebSocketPong
                | Expiry::WebSocketMessage,
            ) => Ending::Refuse,
            CloseReason::Tls(failure) => match failure {
                TlsFailure::Unavailable | TlsFailure::Abandoned | TlsFailure::OnPlainPort => {
                    Ending::Cut
                }
                _ => Ending::Refuse,
            },
            CloseReason::Peer(PeerClose::Done | PeerClose::Unannounced)
            | CloseReason::Expired(Expiry::KeepAlive)
            | CloseReason::OtherProtocol
            | CloseReason::MadeRoom => Ending::Leave,
            CloseReason::Peer(PeerClose::Reset)
            | CloseReason::Expired(_)
            | CloseReason::ProxyHeader
            | CloseReason::Denied
            | CloseReason::Application
            | CloseReason::Aborted => Ending::Cut,
        }
    }

    /// The ending's name in the documentation.
    #[cfg(test)]
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Ending::Finish => "finish",
            Ending::Refuse => "refuse",
            Ending::Leave => "leave",
            Ending::Cut => "cut",
        }
    }
}
