//! WebSocket (RFC 6455) with compression (RFC 7692), as rooms that know no connection.
//!
//! | room | what flows in | what flows out |
//! |---|---|---|
//! | `handshake` | a request | the fields of the 101, or why not |
//! | `origin` | an `Origin`, and what may be one | whether a page may open a websocket |
//! | `extension`, `negotiation` | `Sec-WebSocket-Extensions` | which compression both agree on |
//! | `message` | bytes, credit | messages or pieces, pings, pongs, a close |
//! | `ahead` | bytes that wait for the application | the pings among them |
//! | `frame`, `mask`, `utf8`, `close` | the parts of a frame | what they mean, or a [`Violation`] |
//! | `deflate` | compressed bytes, messages to send | inflated bytes within limits, compressed ones |
//! | `session` | the application's actions, time | frames, pings, the close |
//!
//! # What guards an open websocket
//!
//! | the websocket | is read | pings, and the wait for the pong | `websocket_message` | `websocket_idle` |
//! |---|---|---|---|---|
//! | the application waits for a message | yes | run | runs once a message has begun | runs |
//! | it does not, and fewer than `receive_buffer_limit` bytes are unread | yes | run | off | off |
//! | it does not, and so many are unread | no | off | off | off |
//! | bytes are unsent | as above | a ping waits until they are sent; `response` runs | as above | as above |
//!
//! So an application that only sends notices a peer that is gone, although a message lies there that it
//! does not read. Everything that arrives is a sign of life, and a ping behind unread messages is
//! answered at once, if it lies within the first `receive_buffer_limit` bytes of what is unread. A read
//! may bring as much again: then no more than twice that is held.
//!
//! A peer that has sent so much has shown that it lived. From then on its pings wait, and only the
//! system's signs remain: a reset, and TCP keepalive. An application that wants more reads its messages.
//!
//! # Compression
//!
//! It is off unless `websocket_deflate`, or the application, asks for it: a compressor takes 380 KB while
//! it is used, and some clients are broken. A client that keeps its context although it was told not to
//! (Safari) is closed with 1007 (`invalid_compression`). A compressed message that fits into
//! `send_buffer_limit` leaves in one frame, since such clients inflate each frame by itself. A message
//! whose compressed data ends within a block is never delivered: 1007 as well.
//!
//! A few kilobytes may inflate to megabytes. So one pull of events inflates [`INFLATED_AT_ONCE`] bytes,
//! and the rest waits for the next one: see [`Connection::has_work`](crate::Connection::has_work).
//!
//! # Pages of other sites
//!
//! Any page in a browser can open a websocket to any server, and the browser sends the user's cookies
//! along. A websocket for logged-in users has to ask [`Handshake::same_origin`] or
//! [`Handshake::allow_origins`], or a page of somebody else's speaks in the user's name.

pub(crate) mod ahead;
pub(crate) mod close;
pub(crate) mod deflate;
pub(crate) mod extension;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod mask;
pub(crate) mod message;
pub(crate) mod negotiation;
pub(crate) mod origin;
pub(crate) mod session;
pub(crate) mod utf8;

pub use crate::budget::INFLATED_AT_ONCE;
pub use crate::close::Violation;
pub use crate::event::Message;
pub use handshake::{Accepted, BadHandshake, Handshake, NotOffered, UpgradeRequest, is_asked};
pub use negotiation::DeflateSettings;

use crate::config::Config;

/// What an application may want otherwise for one websocket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Bytes of a message, instead of `websocket_message_limit`.
    pub message_limit: Option<u64>,
    /// Messages are lent in pieces, as they arrive, instead of whole.
    pub pieces: bool,
    /// Messages that had to be put together are handed over
    /// ([`Event::OwnedMessage`](crate::Event::OwnedMessage)) instead of lent: an application that keeps
    /// them need not copy them.
    pub owned: bool,
}

impl Options {
    pub(crate) fn limits(self, config: &Config) -> message::Limits {
        let message = self.message_limit.unwrap_or(config.websocket_message_limit());
        message::Limits { message, pieces: self.pieces }
    }
}

/// The most memory that a websocket adds to its connection, if it was accepted without options.
pub(crate) fn memory_bound(config: &Config) -> usize {
    let limits = Options::default().limits(config);
    let bits = config.websocket_deflate().then_some(negotiation::MOST_BITS);
    // The small messages that wait for a handler of the adapters.
    session::memory_bound(config, limits, bits).saturating_add(17 * 1024)
}

/// What costs us and brings nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cost {
    /// A data frame without a byte.
    EmptyFrame,
    /// A fragment of fewer than [`message::TINY`] bytes.
    TinyFragment,
    /// A ping, which has to be answered.
    Ping,
    /// A pong, asked for or not.
    Pong,
    /// A DEFLATE block that ends its stream: inflating starts anew.
    FinalBlock,
}

/// Pays for what costs us and brings nothing.
pub(crate) trait Payer {
    /// Pays once; false if there is nothing left to pay with.
    fn spend(&mut self, cost: Cost) -> bool;

    /// So many bytes of messages arrived.
    fn earn(&mut self, bytes: u64);

    /// How many bytes may still be inflated before others get their turn.
    fn inflatable(&self) -> usize {
        usize::MAX
    }

    /// So many bytes came out of an inflater.
    fn inflated(&mut self, _bytes: usize) {}
}
