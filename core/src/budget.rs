//! Tokens for what costs us and brings nothing: empty records, key updates, a byte in a record of
//! its own.
//!
//! In: what something cost, the useful bytes that came, and the time. Out: whether the peer may go
//! on. Tokens come back with time, so that nobody is punished for a slow trickle, and with useful
//! bytes, so that nobody is for a long one; a flood of the useless has neither.

use crate::time::Tick;

/// What a peer may spend at once. A thousand tiny records cost about a millisecond of work.
const MOST: u32 = 1024;
/// A token comes back after so many nanoseconds: 64 a second.
const INTERVAL: u64 = 1_000_000_000 / 64;
/// A token comes back with so many useful bytes.
const BYTES: u32 = 16;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    tokens: u32,
    /// Useful bytes that have not made a whole token yet.
    bytes: u32,
    /// Up to when time was turned into tokens.
    refilled: Tick,
}

impl Budget {
    /// All of it.
    pub(crate) fn new(now: Tick) -> Self {
        Budget { tokens: MOST, bytes: 0, refilled: now }
    }

    /// Takes `cost` tokens; false if there are not as many.
    #[must_use]
    pub(crate) fn spend(&mut self, cost: u32, now: Tick) -> bool {
        if self.tokens < cost {
            let elapsed = now.as_nanos().saturating_sub(self.refilled.as_nanos());
            self.refill((elapsed / INTERVAL).min(MOST.into()) as u32);
            self.refilled = self.refilled.after_nanos(elapsed - elapsed % INTERVAL);
        }
        match self.tokens.checked_sub(cost) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    /// Useful bytes came.
    pub(crate) fn earn(&mut self, bytes: usize) {
        // Anything from here on fills it up.
        let bytes = self.bytes + (bytes as u64).min((MOST * BYTES).into()) as u32;
        self.bytes = bytes % BYTES;
        self.refill(bytes / BYTES);
    }

    fn refill(&mut self, tokens: u32) {
        self.tokens = MOST.min(self.tokens.saturating_add(tokens));
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
        assert_eq!(spends(&mut Budget::new(at(0)), 1, at(0)), MOST);
        assert_eq!(spends(&mut Budget::new(at(0)), 4, at(0)), MOST / 4);
    }

    #[test]
    fn time_refills_and_no_more_than_fits() {
        let mut budget = Budget::new(at(0));
        // Time before anything was spent does not count twice.
        assert_eq!(spends(&mut budget, 1, at(1000)), MOST + 64);
        assert_eq!(spends(&mut budget, 1, at(1015)), 0);
        assert_eq!(spends(&mut budget, 1, at(1016)), 1, "a 64th of a second");
        assert_eq!(spends(&mut budget, 1, at(2000)), 63);
        assert_eq!(spends(&mut budget, 1, at(1000)), 0, "time that runs backwards");
        assert_eq!(spends(&mut budget, 1, at(3_600_000)), MOST);
    }

    #[test]
    fn who_is_useful_goes_on_for_ever() {
        let mut budget = Budget::new(at(0));
        for _ in 0..100_000 {
            assert!(budget.spend(1, at(0)));
            budget.earn(BYTES as usize);
        }
        for _ in 0..MOST * 2 - 2 {
            assert!(budget.spend(1, at(0)));
            budget.earn(BYTES as usize / 2);
        }
        budget.earn(usize::MAX);
        assert_eq!(spends(&mut budget, 1, at(0)), MOST);
    }
}
