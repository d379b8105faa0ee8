//! How a client breaks the rules of websockets, with the close code that it is told.

use super::code;
use core::fmt;

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
            | Violation::CloseCode => code::PROTOCOL_ERROR,
            Violation::Utf8 | Violation::Deflated => code::INVALID_PAYLOAD,
            Violation::TooLarge => code::TOO_BIG,
            Violation::Costly => code::POLICY,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_violations_are_listed_once_and_have_codes_that_may_be_sent() {
        for (place, violation) in Violation::ALL.into_iter().enumerate() {
            assert_eq!(violation as usize, place, "{violation:?}");
            assert!(code::may_be_sent(violation.close_code()), "{violation:?}");
            assert!(violation.label().len() <= code::LONGEST_REASON);
        }
        assert_eq!(Violation::Costly as usize + 1, Violation::ALL.len(), "the last one");
        let labels: BTreeSet<_> = Violation::ALL.iter().map(|it| it.to_string()).collect();
        assert_eq!(labels.len(), Violation::ALL.len());
    }
}
