//! What frames cost. Frames that cost us work and bring nothing pay from the one [`Budget`] of the connection,
//! which useful work and time refill. A client that has spent it is told ENHANCE_YOUR_CALM.
//!
//! | what | points | against |
//! |---|---|---|
//! | a stream that the client resets before its answer is complete | 10 | rapid reset (CVE-2023-44487) |
//! | a stream that we reset for a fault of the client | 10 | made you reset (CVE-2025-8671) |
//! | a stream that is refused | 10 | more streams than are allowed |
//! | CONTINUATION | 16 | CONTINUATION floods (CVE-2024-27316) |
//! | SETTINGS, PING | 16 | CVE-2019-9512, CVE-2019-9515: each has to be answered |
//! | PRIORITY, PRIORITY_UPDATE, GOAWAY, a frame of unknown type, any frame on a closed stream | 8 | CVE-2019-9513 |
//! | WINDOW_UPDATE | 4 | CVE-2019-9511: windows of a byte |
//! | DATA without content, unless it ends the stream | 16 | CVE-2019-9518 |
//! | DATA with content | 6, and each byte of content brings one, when it arrives | a byte in each frame |
//!
//! A complete answer brings 32, and a DATA frame of ours of at least 1 KiB brings 16. A budget is 16,384 points
//! at most, and 1,024 come back in a second: so a client may cancel 100 requests a second for ever.

use crate::budget::USELESS;
use crate::close::Fault;
use crate::transport::Transport;

/// A stream that came to nothing.
pub(super) const STREAM: u32 = 10;
/// A frame that has to be answered, or that only adds work.
pub(super) const ANSWERED: u32 = USELESS;
/// A frame that is only looked at.
pub(super) const READ: u32 = 8;
pub(super) const WINDOW_UPDATE: u32 = 4;
pub(super) const DATA: u32 = 6;

/// What a complete answer brings.
const ANSWER: usize = 32;
/// What a long DATA frame brings that we send, and how long it has to be.
const SENT: (usize, usize) = (16, 1024);

/// Takes `cost` points from the budget.
pub(super) fn pay(transport: &mut Transport, cost: u32) -> Result<(), Fault> {
    let Transport { budget, now, .. } = transport;
    if budget.spend(cost, *now) { Ok(()) } else { Err(Fault::Costly) }
}

/// An answer is complete.
pub(super) fn answered(transport: &mut Transport) {
    transport.budget.earn(ANSWER);
}

/// A DATA frame with so many bytes is sent.
pub(super) fn sent(transport: &mut Transport, bytes: usize) {
    if bytes >= SENT.1 {
        transport.budget.earn(SENT.0);
    }
}
