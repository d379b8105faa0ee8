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

pub use handshake::{Accepted, BadHandshake, Handshake, NotOffered, UpgradeRequest, is_asked};
pub use message::Message;
pub use negotiation::Settings as DeflateSettings;

use crate::Config;
use core::fmt;

/// Bytes that are inflated in one pull of events, or up to 16 KiB more; as many as a usual read
/// brings. The rest stays for the next [`Connection::resume`](crate::Connection::resume), so that a
/// message of some kilobytes that inflates to megabytes does not keep its thread from others.
pub const INFLATED_AT_ONCE: usize = 64 * 1024;

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

/// What the peer did that ends a websocket: nothing that it sends afterwards is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A reserved bit is set that no extension gave a meaning (RFC 6455 5.2), or the bit of
    /// compression anywhere but in the first frame of a message (RFC 7692 6).
    ReservedBits,
    /// An opcode that means nothing (RFC 6455 5.2).
    ReservedOpcode,
    /// A frame that is not masked (RFC 6455 5.1).
    Unmasked,
    /// A length in more bytes than it needs, or of more than 63 bits (RFC 6455 5.2).
    Length,
    /// A control frame in fragments (RFC 6455 5.5).
    ControlFragmented,
    /// A control frame of more than 125 bytes (RFC 6455 5.5).
    ControlTooLong,
    /// A continuation of nothing (RFC 6455 5.4).
    Continuation,
    /// A message within another one's fragments (RFC 6455 5.4).
    Interleaved,
    /// A close frame with a single byte (RFC 6455 5.5.1).
    ClosePayload,
    /// A close code that must not be sent, or that nobody has defined (RFC 6455 7.4).
    CloseCode,
    /// Text, or the reason of a close, that is not UTF-8 (RFC 6455 8.1).
    Utf8,
    /// Compressed data that cannot be inflated, or that ends in the middle (RFC 7692 7.2.2).
    Deflated,
    /// A message beyond the limit, declared or inflated.
    TooLarge,
    /// More than the budget pays for of what costs us and brings nothing.
    Costly,
}

impl Violation {
    /// Every violation there is.
    pub const ALL: [Violation; 14] = [
        Violation::ReservedBits,
        Violation::ReservedOpcode,
        Violation::Unmasked,
        Violation::Length,
        Violation::ControlFragmented,
        Violation::ControlTooLong,
        Violation::Continuation,
        Violation::Interleaved,
        Violation::ClosePayload,
        Violation::CloseCode,
        Violation::Utf8,
        Violation::Deflated,
        Violation::TooLarge,
        Violation::Costly,
    ];

    /// The close code that the peer is told (RFC 6455 7.4.1).
    pub const fn close_code(self) -> u16 {
        match self {
            Violation::ReservedBits
            | Violation::ReservedOpcode
            | Violation::Unmasked
            | Violation::Length
            | Violation::ControlFragmented
            | Violation::ControlTooLong
            | Violation::Continuation
            | Violation::Interleaved
            | Violation::ClosePayload
            | Violation::CloseCode => close::PROTOCOL_ERROR,
            Violation::Utf8 | Violation::Deflated => close::INVALID_PAYLOAD,
            Violation::TooLarge => close::TOO_BIG,
            Violation::Costly => close::POLICY,
        }
    }

    /// The name in metrics and logs; also the reason that the peer is sent.
    pub const fn label(self) -> &'static str {
        match self {
            Violation::ReservedBits => "reserved_bits",
            Violation::ReservedOpcode => "reserved_opcode",
            Violation::Unmasked => "unmasked_frame",
            Violation::Length => "bad_frame_length",
            Violation::ControlFragmented => "fragmented_control_frame",
            Violation::ControlTooLong => "long_control_frame",
            Violation::Continuation => "unexpected_continuation",
            Violation::Interleaved => "interleaved_messages",
            Violation::ClosePayload => "bad_close_payload",
            Violation::CloseCode => "bad_close_code",
            Violation::Utf8 => "invalid_utf8",
            Violation::Deflated => "invalid_compression",
            Violation::TooLarge => "message_too_large",
            Violation::Costly => "too_many_useless_frames",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl std::error::Error for Violation {}

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
pub(crate) trait Budget {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_violations_are_listed_once_and_have_codes_that_may_be_sent() {
        for (place, violation) in Violation::ALL.into_iter().enumerate() {
            assert_eq!(violation as usize, place, "{violation:?}");
            assert!(close::may_be_sent(violation.close_code()), "{violation:?}");
            assert!(violation.label().len() <= close::LONGEST_REASON);
        }
        assert_eq!(Violation::Costly as usize + 1, Violation::ALL.len(), "the last one");
        let labels: BTreeSet<_> = Violation::ALL.iter().map(|it| it.to_string()).collect();
        assert_eq!(labels.len(), Violation::ALL.len());
    }
}
