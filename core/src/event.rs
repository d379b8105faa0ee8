//! The events of a connection for the application, and the plain types of its actions.
//!
//! The parts of an event are lent out of the driver's buffer, or out of the held bytes.

use crate::close::{CloseReason, ResetReason};
use crate::head::{RefusedHead, RequestHead, Trailers};
use crate::stream::StreamId;
use bytes::Bytes;

/// How much content an answer will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// Exactly this number of bytes; 0 for an answer without content.
    Known(u64),
    /// The content is sent as it comes: in chunks, or for HTTP/1.0 until the connection closes. A
    /// `Content-Length` among the fields makes the length known.
    Unknown,
}

/// How much of the caller's `Bytes` was taken to be sent. Taken bytes are gone from its front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All bytes were taken.
    All,
    /// There was no room for all bytes. Some were taken, or none. [`Event::Writable`] follows once.
    Part,
}

impl Sent {
    /// [`Sent::All`] if nothing of `data` is left.
    pub(crate) fn of(data: &Bytes) -> Self {
        if data.is_empty() { Sent::All } else { Sent::Part }
    }
}

/// Whether content may follow the head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Begun {
    /// Content may be sent, and [`Stream::finish`](crate::Stream::finish) is owed.
    Open,
    /// The answer is complete without content: it answers HEAD, or its status is 204 or 304. Nothing more
    /// can be sent on the stream.
    Complete,
}

/// An event of the connection. After each request come any number of [`Event::Data`], and then exactly one
/// [`Event::End`] or [`Event::Reset`]. After a complete answer nothing more comes. Once a request has become a tunnel,
/// the same events tell of the bytes of the tunnel, with an [`Event::End`] of its own.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A request's head has arrived.
    Request {
        /// The stream to answer on.
        stream: StreamId,
        /// The head.
        head: RequestHead<'e>,
    },
    /// The connection refuses a request by itself, and has told the peer. The application owes nothing: this is
    /// for logs and counters. No other event of the stream follows.
    Refused {
        /// Its stream. A request of HTTP/1.1 that is refused has none, and this is the one before.
        stream: StreamId,
        /// Why. The peer was sent its [`status`](CloseReason::status). A stream of HTTP/2 without one was reset
        /// with its [`error_code`](CloseReason::error_code). HTTP/1.1 closes the connection, HTTP/2 does not.
        reason: CloseReason,
        /// What is known of the request.
        head: RefusedHead<'e>,
    },
    /// Some of the request's content, or of the bytes of a tunnel, never more than there is credit for.
    Data {
        /// Its stream.
        stream: StreamId,
        /// The bytes; they may be changed in place.
        data: &'e mut [u8],
        /// The number of bytes that follow in the same read. A driver that shares its buffer with the
        /// application can stop here if few bytes follow, because the connection copies them.
        behind: usize,
    },
    /// The request is complete, or the peer has ended its direction of a tunnel.
    End {
        /// Its stream.
        stream: StreamId,
        /// The trailer fields; empty for most requests.
        trailers: Trailers<'e>,
    },
    /// A whole message of a websocket.
    Message {
        /// The stream of the request that became the websocket.
        stream: StreamId,
        /// The message.
        message: Message<'e>,
        /// The number of bytes that follow in the same read, as with [`Event::Data`]. It is 0 for the last
        /// message at hand.
        behind: usize,
    },
    /// A whole message of a websocket that was assembled from several frames or reads. Only an application
    /// that asked for [`Options::owned`](crate::websocket::Options::owned) gets it. A message that lies whole
    /// in the driver's buffer is lent to that application too.
    OwnedMessage {
        /// The stream of the request that became the websocket.
        stream: StreamId,
        /// The message is text, and valid UTF-8.
        text: bool,
        /// The whole message, with little spare capacity.
        bytes: Vec<u8>,
        /// As with [`Event::Message`].
        behind: usize,
    },
    /// A piece of a websocket's message, for an application that asked for pieces.
    Piece {
        /// The stream of the request that became the websocket.
        stream: StreamId,
        /// The message is text: valid UTF-8, but a piece may begin and end within a character.
        text: bool,
        /// The message ends with this piece, which may be empty.
        last: bool,
        /// The bytes; they may be changed in place.
        data: &'e mut [u8],
    },
    /// A ping of the peer's, for an application that asked for [`Options::controls`]. The pong is sent, or will
    /// be. It needs no credit, and comes in its place among the messages.
    ///
    /// [`Options::controls`]: crate::websocket::Options::controls
    Ping {
        /// The stream of the request that became the websocket.
        stream: StreamId,
        /// At most 125 bytes.
        payload: &'e [u8],
    },
    /// A pong of the peer's, for an application that asked for [`Options::controls`]. Pongs to the connection's
    /// own pings, which are empty, are among them.
    ///
    /// [`Options::controls`]: crate::websocket::Options::controls
    Pong {
        /// The stream of the request that became the websocket.
        stream: StreamId,
        /// At most 125 bytes.
        payload: &'e [u8],
    },
    /// The peer closes its websocket and sends nothing more on it. The application may still send messages
    /// for `websocket_close_timeout`. It then owes a [`Stream::close`](crate::Stream::close), which answers
    /// with the peer's code.
    Closing {
        /// The stream of the request that became the websocket.
        stream: StreamId,
        /// The close code (RFC 6455 7.4), if there was one.
        code: Option<u16>,
        /// The reason, for people: at most 123 bytes, and most often empty.
        reason: &'e str,
    },
    /// There is room again after a [`send`](crate::Stream::send) or
    /// [`send_message`](crate::Stream::send_message) that took only a part.
    Writable {
        /// The stream of that call.
        stream: StreamId,
    },
    /// The request, the websocket or the tunnel ended early. Nothing more can be sent on the stream.
    Reset {
        /// Its stream.
        stream: StreamId,
        /// Why.
        reason: ResetReason,
    },
}

/// A whole message, lent.
#[derive(Debug)]
pub enum Message<'m> {
    /// Text (RFC 6455 5.6).
    Text(&'m str),
    /// Bytes; they may be changed in place.
    Binary(&'m mut [u8]),
}
