//! Points for what costs us and brings nothing: empty records, key updates, a byte in a record of
//! its own, pings.
//!
//! In: what something cost, the useful bytes that came, and the time. Out: whether the peer may go
//! on. Points come back with time, so that a slow trickle is never refused, and with useful bytes,
//! so that a long transfer is not. A flood of the useless has neither.
//!
//! Two bytes of content in a record of their own cost what they earn: a chat of a thousand tiny
//! messages a second goes on for ever, over TLS as in plaintext.

use crate::time::Tick;

/// Bytes that are inflated in one pull of events, or up to 16 KiB more; as many as a usual read
/// brings. The rest stays for the next [`Connection::resume`](crate::Connection::resume), so that a
/// message of some kilobytes that inflates to megabytes does not keep its thread from others.
pub const INFLATED_AT_ONCE: usize = 64 * 1024;

/// What a peer may spend at once. A thousand pings cost about a millisecond of work.
const MOST: u32 = 1024 * USELESS;
/// Points come back with time: 1024 a second, 64 of the useless.
const INTERVAL: u64 = 1_000_000_000 / 1024;

/// The price of what is of no use at all, or has to be answered.
pub(crate) const USELESS: u32 = 16;
/// The price of a record that brings content: what two bytes earn.
#[cfg(feature = "tls")]
pub(crate) const TINY_RECORD: u32 = 2;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    points: u32,
    /// Up to when time was turned into points.
    refilled: Tick,
}

impl Budget {
    /// All of it.
    pub(crate) fn new(now: Tick) -> Self {
        Budget { points: MOST, refilled: now }
    }

    /// Takes `cost` points; false if there are not as many.
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

    /// Useful bytes came: a point for each.
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
    fn time_refills_and_no_more_than_fits() {
        let mut budget = Budget::new(at(0));
        // Time before anything was spent does not count twice.
        assert_eq!(spends(&mut budget, USELESS, at(1000)), 1024 + 64);
        assert_eq!(spends(&mut budget, USELESS, at(1015)), 0);
        assert_eq!(spends(&mut budget, USELESS, at(1016)), 1, "a 64th of a second");
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
