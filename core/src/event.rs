//! What a connection tells the application, and the plain types of its actions.
//!
//! Everything in an event is lent: out of the driver's buffer, or out of the held bytes.

use crate::close::ResetReason;
use crate::head::{RequestHead, Trailers};
use crate::stream::StreamId;
use bytes::Bytes;

/// How much content an answer will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// Exactly so many bytes; 0 for none.
    Known(u64),
    /// As it comes: chunked, or until the connection closes for HTTP/1.0. A `Content-Length` among
    /// the fields makes it known.
    Unknown,
}

/// How much was taken of what was to be sent: what was taken is gone from the front of the caller's
/// `Bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All of it.
    All,
    /// As much as there was room for, or nothing. [`Event::Writable`] follows once.
    Part,
}

impl Sent {
    /// [`Sent::All`] if nothing of `data` is left.
    pub(crate) fn of(data: &Bytes) -> Self {
        if data.is_empty() { Sent::All } else { Sent::Part }
    }
}

/// Whether an answer that was begun waits for content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Begun {
    /// Content may be sent, and [`Stream::finish`](crate::Stream::finish) is owed.
    Open,
    /// The answer is complete: to HEAD, or 204, or 304. The stream has ended as far as sending goes.
    Complete,
}

/// What happened. Each request is followed by any number of [`Event::Data`], and then by exactly one
/// [`Event::End`] or [`Event::Reset`]; or by nothing more, once its answer is complete.
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
    /// Some of the request's content: never more than was asked for.
    Data {
        /// Its stream.
        stream: StreamId,
        /// The bytes; they may be changed in place.
        data: &'e mut [u8],
        /// How many bytes are at hand behind these: who wants to keep the driver's buffer instead
        /// of copying out of it stops here if they are few, since they are then copied.
        behind: usize,
    },
    /// The request is complete.
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
        /// How many bytes are at hand behind this message, as with [`Event::Data`]; none: it is the
        /// last one for now.
        behind: usize,
    },
    /// A whole message of a websocket that was put together, for an application that asked for
    /// [`Options::owned`](crate::websocket::Options::owned). A message that lies whole in the driver's
    /// buffer is lent all the same.
    OwnedMessage {
        /// The stream of the request that became the websocket.
        stream: StreamId,
        /// It is text, and valid UTF-8.
        text: bool,
        /// All of it, without much room to spare.
        bytes: Vec<u8>,
        /// As with [`Event::Message`].
        behind: usize,
    },
    /// Some of a websocket's message, as it comes: for who asked for pieces.
    Piece {
        /// The stream of the request that became the websocket.
        stream: StreamId,
        /// It is text: valid UTF-8, of which a piece may begin and end within a character.
        text: bool,
        /// The message ends with this piece, which may be empty.
        last: bool,
        /// The bytes; they may be changed in place.
        data: &'e mut [u8],
    },
    /// The peer closes its websocket: nothing more comes on it. What the application was about to
    /// say can still be sent, for `websocket_close_timeout`;
    /// [`Stream::close`](crate::Stream::close) is owed, and answers with the peer's code.
    Closing {
        /// The stream of the request that became the websocket.
        stream: StreamId,
        /// The close code (RFC 6455 7.4), if there was one.
        code: Option<u16>,
        /// The reason, for people: at most 123 bytes; most often empty.
        reason: &'e str,
    },
    /// There is room again after a [`send`](crate::Stream::send) or
    /// [`send_message`](crate::Stream::send_message) that was cut short.
    Writable {
        /// The stream that was cut short.
        stream: StreamId,
    },
    /// The request, or the websocket, ended early. An answer to it goes nowhere.
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
