//! Points that pay for input that costs us work and brings nothing: empty records, key updates, records of
//! a single byte, pings. A connection has one budget, from which TLS and the protocol above it both pay.
//!
//! In: the cost of the input, the number of useful bytes, and the time. Out: whether the peer may go on.
//! Points come back with time, so a slow trickle is never refused. They also come back with useful bytes,
//! so a long transfer is never refused. A flood of useless input gets neither.
//!
//! The protocol decides which bytes are useful: heads and content of requests, messages of websockets. TLS
//! only pays, since it can't tell a message from a ping. The first two bytes of a record pay for the record,
//! and so earn nothing more. So a chat of a thousand tiny messages a second can go on for ever, over TLS as
//! in plaintext.

use crate::time::Tick;

/// The number of bytes that one pull of events inflates, or up to 16 KiB more: as many as a usual read
/// brings. The rest waits for the next [`Connection::resume`](crate::Connection::resume). So a message of
/// some kilobytes that inflates to megabytes does not hold up the other connections of its thread.
pub const INFLATED_AT_ONCE: usize = 64 * 1024;

/// The points that a peer may spend at once. A thousand pings cost about a millisecond of work.
const MOST: u32 = 1024 * USELESS;
/// Points that come back in a second: they pay for 64 useless inputs.
const INTERVAL: u64 = 1_000_000_000 / 1024;

/// The price of input that is useless, or has to be answered.
pub(crate) const USELESS: u32 = 16;
/// The price of a record with content, which its first bytes pay.
pub(crate) const RECORD: u32 = 2;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    points: u32,
    /// The tick up to which time was turned into points.
    refilled: Tick,
}

impl Budget {
    /// A full budget.
    pub(crate) fn new(now: Tick) -> Self {
        Budget { points: MOST, refilled: now }
    }

    /// Takes `cost` points. False if there are fewer.
    #[must_use]
    pub(crate) fn spend(&mut self, cost: u32, now: Tick) -> bool {
        if self.points < cost {
            let elapsed = now.as_nanos().saturating_sub(self.refilled.as_nanos());
            self.refill((elapsed / INTERVAL).min(MOST.into()) as u32);
            self.refilled = self.refilled.after_nanos(elapsed - elapsed % INTERVAL);
        }
        match self.points.checked_sub(cost) {
            Some(left) => {
                self.points = left;
                true
            }
            None => false,
        }
    }

    /// Adds points for a piece of content: one for each byte that does not pay for its record.
    pub(crate) fn earn_piece(&mut self, bytes: usize) {
        self.earn(bytes.saturating_sub(RECORD as usize));
    }

    /// Adds a point for each useful byte.
    pub(crate) fn earn(&mut self, bytes: usize) {
        self.refill((bytes as u64).min(MOST.into()) as u32);
    }

    fn refill(&mut self, points: u32) {
        self.points = MOST.min(self.points.saturating_add(points));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Tick {
        Tick::from_nanos(milliseconds * 1_000_000)
    }

    /// How many times `cost` can be spent at `now`.
    fn spends(budget: &mut Budget, cost: u32, now: Tick) -> u32 {
        (0..=MOST * 2).find(|_| !budget.spend(cost, now)).expect("it ends")
    }

    #[test]
    fn a_flood_ends() {
        assert_eq!(spends(&mut Budget::new(at(0)), USELESS, at(0)), 1024);
        assert_eq!(spends(&mut Budget::new(at(0)), 4 * USELESS, at(0)), 256);
    }

    #[test]
    fn time_refills_up_to_the_maximum() {
        let mut budget = Budget::new(at(0));
        // The time before the first spending does not count twice.
        assert_eq!(spends(&mut budget, USELESS, at(1000)), 1024 + 64);
        assert_eq!(spends(&mut budget, USELESS, at(1015)), 0);
        assert_eq!(spends(&mut budget, USELESS, at(1016)), 1, "after a 64th of a second");
        assert_eq!(spends(&mut budget, USELESS, at(2000)), 63);
        assert_eq!(spends(&mut budget, USELESS, at(1000)), 0, "time that runs backwards");
        assert_eq!(spends(&mut budget, USELESS, at(3_600_000)), 1024);
    }

    #[test]
    fn a_useful_peer_goes_on_for_ever() {
        let mut budget = Budget::new(at(0));
        for _ in 0..100_000 {
            assert!(budget.spend(USELESS, at(0)));
            budget.earn(USELESS as usize);
        }
        for _ in 0..1024 * 2 - 2 {
            assert!(budget.spend(USELESS, at(0)));
            budget.earn(USELESS as usize / 2);
        }
        budget.earn(usize::MAX);
        assert_eq!(spends(&mut budget, USELESS, at(0)), 1024);
    }
}
