//! Mistakes of the caller.

use core::fmt;

/// The caller's mistake: the call did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misuse {
    /// There is no such stream, or it has ended: answered whole, reset, or closed with its connection.
    UnknownStream,
    /// The stream has its response head already.
    AlreadyAnswered,
    /// The stream has no response head yet.
    NotAnswered,
    /// More content than the declared length.
    TooLong {
        /// How many bytes were still to come.
        left: u64,
    },
    /// Less content than the declared length.
    TooShort {
        /// How many bytes are missing.
        missing: u64,
    },
    /// The head or the trailers exceed `response_head_limit`.
    HeadTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The fields frame the content in a way that contradicts the call: `Transfer-Encoding`, or a
    /// `Content-Length` that is malformed or another than the one given.
    Framing,
    /// A 1xx status where a final one belongs, a final one where 1xx belongs, 101 (an upgrade is not
    /// a plain answer), 2xx to CONNECT (a tunnel is not an answer), or another one for a tunnel.
    Status,
    /// Some of the content was delivered already: its limit is settled.
    ContentBegun,
    /// As much is unsent as may be; ask again later. Over HTTP/2 the head of an answer may have to wait for
    /// this reason, and [`Event::Writable`](crate::Event::Writable) follows.
    Full,
    /// The stream is a websocket: requests and answers are over.
    IsWebSocket,
    /// The stream is not a websocket.
    NotWebSocket,
    /// The stream is not a tunnel.
    NotTunnel,
    /// The request cannot become a websocket or a tunnel: it has content, or, over HTTP/2, some of what follows it was
    /// delivered as content already; or it asks for none in its version of HTTP.
    NotUpgradable,
    /// A close code that must not be sent (RFC 6455 7.4).
    CloseCode,
    /// Reading is not wanted at the moment: `Connection::status` says so.
    NotReading,
    /// The configuration is not one that pressure made of the connection's.
    OtherConfig,
    /// More bytes at once than `Connection::receive_limit`.
    Overfed {
        /// The limit in bytes.
        limit: u64,
    },
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misuse::UnknownStream => f.write_str("no such stream, or it has ended"),
            Misuse::AlreadyAnswered => f.write_str("the stream has a response head already"),
            Misuse::NotAnswered => f.write_str("the stream has no response head yet"),
            Misuse::TooLong { left } => write!(f, "content is too long: {left} bytes were left"),
            Misuse::TooShort { missing } => write!(f, "content is {missing} bytes short"),
            Misuse::HeadTooLarge { limit } => write!(f, "more than {limit} bytes of fields"),
            Misuse::Framing => f.write_str("fields contradict the content's framing"),
            Misuse::Status => f.write_str("the status is not one for this call"),
            Misuse::ContentBegun => f.write_str("some of the content was delivered already"),
            Misuse::Full => f.write_str("too much is unsent"),
            Misuse::IsWebSocket => f.write_str("the stream is a websocket"),
            Misuse::NotWebSocket => f.write_str("the stream is not a websocket"),
            Misuse::NotTunnel => f.write_str("the stream is not a tunnel"),
            Misuse::NotUpgradable => {
                f.write_str("the request cannot become a websocket or a tunnel")
            }
            Misuse::CloseCode => f.write_str("the close code must not be sent"),
            Misuse::NotReading => f.write_str("nothing is to be read at the moment"),
            Misuse::OtherConfig => f.write_str("the configuration differs in more than timers"),
            Misuse::Overfed { limit } => write!(f, "more than {limit} bytes at once"),
        }
    }
}

impl std::error::Error for Misuse {}
