//! Close codes of websockets (RFC 6455 7.4).

/// The server goes down.
pub(crate) const GOING_AWAY: u16 = 1001;
/// The peer broke the protocol.
pub(crate) const PROTOCOL_ERROR: u16 = 1002;
/// Data that is not what it says: text that is not UTF-8.
pub(crate) const INVALID_PAYLOAD: u16 = 1007;
/// What no other code says.
pub(crate) const POLICY: u16 = 1008;
/// A message that is too large.
pub(crate) const TOO_BIG: u16 = 1009;
/// Something is wrong on our side, or the peer does not answer.
pub(crate) const INTERNAL_ERROR: u16 = 1011;

/// The most bytes that the reason of a close frame may have: a control frame has at most 125, and the code
/// takes two of them.
pub(crate) const LONGEST_REASON: usize = 123;

/// Whether a close frame may have that code: those that are defined, but for 1004 to 1006 and 1015,
/// and those for libraries and applications.
pub(crate) const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
