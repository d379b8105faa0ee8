//! WebSocket (RFC 6455) with compression (RFC 7692), in modules that know nothing of the connection.
//!
//! | module | in | out |
//! |---|---|---|
//! | `handshake` | a request | the fields of the 101, or the reason to refuse it |
//! | `origin` | an `Origin`, and the origins that are allowed | whether the page may open a websocket |
//! | `extension`, `negotiation` | `Sec-WebSocket-Extensions` | the compression that both sides agree on |
//! | `message` | bytes, credit | messages or pieces of them, pings, pongs, a close |
//! | `ahead` | bytes that wait for the application | the pings among them |
//! | `frame`, `mask`, `utf8`, `close` | the parts of a frame | their meaning, or a [`Violation`] |
//! | `deflate` | compressed bytes, messages to send | inflated bytes within limits, compressed messages |
//! | `session` | the application's actions, time | frames, pings, the close |
//!
//! # Over HTTP/2
//!
//! A websocket may be one stream of an HTTP/2 connection (RFC 8441). It has the same API, limits and timers,
//! answers 200 instead of 101, and ends its stream alone. Its frames pay from the budget of the connection.
//! Beyond 256 KiB of unfinished messages on one connection, the oldest large one goes on alone; the others wait
//! for their windows, without a deadline.
//!
//! # Timers of an open websocket
//!
//! | situation | socket is read | pings, and the wait for the pong | `websocket_message` | `websocket_idle` |
//! |---|---|---|---|---|
//! | the application waits for a message | yes | run | runs once a message has begun | runs |
//! | it does not wait, and fewer than `receive_buffer_limit` bytes are unread | yes | run | off | off |
//! | it does not wait, and that many bytes or more are unread | no | off | off | off |
//! | bytes are unsent | as above | a ping waits until they are sent; `response` runs | as above | as above |
//!
//! An application that only sends, and reads no message, still notices a dead peer. Any byte that
//! arrives is a sign of life. A ping that follows unread messages is answered at once if it lies within
//! the first `receive_buffer_limit` unread bytes. One read may exceed the limit by as much again, so a
//! websocket holds at most twice that.
//!
//! Once the buffer is full, the peer's pings wait. Only the system then tells of a dead peer, by a
//! reset or TCP keepalive. The pings resume when the application reads its messages.
//!
//! # Compression
//!
//! Compression is off unless `websocket_deflate` or the application asks for it. A compressor takes
//! 380 KB while it is in use, and some clients implement compression wrongly. Safari keeps its context
//! even if it was told not to; that websocket is closed with 1007 (`invalid_compression`). Some
//! clients inflate each frame by itself, so a compressed message that fits into `send_buffer_limit`
//! is sent in one frame. A message whose compressed data ends within a block is never delivered: the
//! websocket is closed with 1007 too.
//!
//! A few kilobytes may inflate to megabytes. So one pull of events inflates [`INFLATED_AT_ONCE`] bytes,
//! and the next one goes on: see [`Status::has_work`](crate::Status::has_work).
//!
//! # Pages of other sites
//!
//! Any page in a browser can open a websocket to any server, and the browser sends the user's cookies
//! along. A server that relies on those cookies has to call [`Handshake::same_origin`] or
//! [`Handshake::allow_origins`]. Otherwise a foreign page can act in the user's name.

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

/// Settings of one websocket that differ from the server's configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The most bytes of a message, instead of `websocket_message_limit`.
    pub message_limit: Option<u64>,
    /// Lends messages in pieces as they arrive, instead of whole.
    pub pieces: bool,
    /// Assembled messages are handed over ([`Event::OwnedMessage`](crate::Event::OwnedMessage)) instead
    /// of lent, so that an application that keeps them need not copy them.
    pub owned: bool,
    /// Lends the peer's pings and pongs too ([`Event::Ping`](crate::Event::Ping),
    /// [`Event::Pong`](crate::Event::Pong)). Pings are answered either way.
    pub controls: bool,
}

impl Options {
    pub(crate) fn limits(self, config: &Config) -> message::Limits {
        let message = self.message_limit.unwrap_or(config.websocket_message_limit());
        message::Limits { message, pieces: self.pieces }
    }
}

/// The most memory that a websocket adds to its connection, if it was accepted with default
/// options.
pub(crate) fn memory_bound(config: &Config) -> usize {
    let limits = Options::default().limits(config);
    let bits = config.websocket_deflate().then_some(negotiation::MOST_BITS);
    // Adapters queue small messages for their handler, up to 17 KiB.
    session::memory_bound(config, limits, bits).saturating_add(17 * 1024)
}

/// A frame or block that costs work and carries little or no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cost {
    /// A data frame without payload.
    EmptyFrame,
    /// A fragment of fewer than [`message::TINY`] bytes.
    TinyFragment,
    /// A ping, which needs a pong.
    Ping,
    /// A pong, whether it answers a ping or not.
    Pong,
    /// A DEFLATE block that ends its stream: the inflater has to start again.
    FinalBlock,
}

/// Charges a peer for frames that cost more work than they carry data.
pub(crate) trait Payer {
    /// Pays for `cost`; returns false if the budget is used up.
    fn spend(&mut self, cost: Cost) -> bool;

    /// `bytes` of messages arrived, which refill the budget.
    fn earn(&mut self, bytes: u64);

    /// The number of bytes that may be inflated before other connections get their turn.
    fn inflatable(&self) -> usize {
        usize::MAX
    }

    /// The inflater produced this many bytes.
    fn inflated(&mut self, _bytes: usize) {}
}
