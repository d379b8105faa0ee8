//! The table of waits: for each state of a connection, which party it waits for and which timer runs.
//!
//! In: the row that the protocol in use stands in, as a [`Wait`]. Out: the row's timer and phase, which
//! [`Transport::wait`](crate::transport::Transport::wait) applies. A timer of this table runs only in its own row.
//! The documentation of the crate shows the table; a test holds the two against each other.

use crate::status::{Party, Phase};
use crate::time::Timer;

/// What a connection waits for. Bytes that wait to be sent have a guard of their own beside it:
/// [`Timer::Response`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Handshake,
    Request,
    RequestHead,
    RequestBody,
    Application,
    GonePeer,
    UnreadContent,
    WebSocket,
    Tunnel,
    Streams,
}

/// When the time of a wait begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// When the connection enters the row. Progress does not extend it.
    Entry,
    /// When the connection first waited for this, although another row may have come in between.
    FirstEntry,
    /// As the guard over a minimum rate says: progress pays for more time.
    Guard,
    /// Timers of the protocol's own run, or none.
    Elsewhere,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) party: Party,
    pub(crate) timer: Option<Timer>,
    pub(crate) start: Start,
    pub(crate) phase: Phase,
}

impl Wait {
    /// The row.
    #[inline]
    pub(crate) const fn row(self) -> Row {
        use Party::{Application, Either, Peer};
        use Start::{Elsewhere, Entry, FirstEntry, Guard};
        let (party, timer, start, phase) = match self {
            Wait::Handshake => (Peer, Some(Timer::TlsHandshake), Elsewhere, Phase::Handshake),
            Wait::Request => (Peer, Some(Timer::KeepAlive), FirstEntry, Phase::Idle),
            Wait::RequestHead => (Peer, Some(Timer::RequestHead), Entry, Phase::RequestHead),
            Wait::RequestBody => (Peer, Some(Timer::RequestBody), Guard, Phase::RequestBody),
            Wait::Application => (Application, None, Elsewhere, Phase::Application),
            Wait::GonePeer => (Application, Some(Timer::PeerGone), Entry, Phase::Application),
            Wait::UnreadContent => (Peer, Some(Timer::Linger), FirstEntry, Phase::Lingering),
            Wait::WebSocket => (Either, None, Elsewhere, Phase::WebSocket),
            Wait::Tunnel => (Either, Some(Timer::TunnelIdle), Guard, Phase::Tunnel),
            Wait::Streams => (Peer, Some(Timer::Stream), Guard, Phase::Response),
        };
        Row { party, timer, start, phase }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(Wait, &str); 10] = [
        (Wait::Handshake, "the rest of a TLS handshake"),
        (Wait::Request, "a request of which nothing has arrived"),
        (Wait::RequestHead, "the rest of a head, or of the record that carries it"),
        (Wait::RequestBody, "content that the application asked for"),
        (Wait::Application, "the application: an answer, or that it asks for content"),
        (Wait::GonePeer, "the application, although the peer has sent its FIN"),
        (Wait::UnreadContent, "the rest of the content of a request that is answered"),
        (Wait::WebSocket, "messages of a websocket, in either direction"),
        (Wait::Tunnel, "bytes of a tunnel, in either direction"),
        (
            Wait::Streams,
            "a window for an answer, or the rest of the content of an answered request (HTTP/2)",
        ),
    ];

    /// A row as the documentation has it.
    fn printed(wait: Wait, about: &str) -> String {
        let Row { party, timer, start, phase } = wait.row();
        let party = match party {
            Party::Peer => "the peer",
            Party::Application => "the application",
            Party::Either => "either",
        };
        let timer = timer.map_or(String::new(), |timer| format!("`{}`", timer.label()));
        let start = match start {
            Start::Entry => "its beginning",
            Start::FirstEntry => "its first beginning",
            Start::Guard => "as progress pays",
            Start::Elsewhere => "",
        };
        format!("//! | {about} | {party} | {timer} | {start} | `{}` |", phase.label())
    }

    #[test]
    fn the_documentation_shows_the_table() {
        let documented: Vec<&str> = include_str!("lib.rs")
            .split("//! | it waits for |")
            .nth(1)
            .expect("the table of waits")
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with("//! |"))
            .collect();
        let printed: Vec<_> = ALL.iter().map(|(wait, about)| printed(*wait, about)).collect();
        assert_eq!(documented, printed, "expected:\n{}", printed.join("\n"));
    }

    #[test]
    fn a_wait_for_the_peer_has_a_timer() {
        for (wait, _) in ALL {
            let row = wait.row();
            assert!(row.party != Party::Peer || row.timer.is_some(), "{wait:?}");
        }
    }
}
