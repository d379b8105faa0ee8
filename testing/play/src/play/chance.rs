//! Choices for a long simulation. The bytes decide as long as they last, and then a generator that
//! they have seeded.

use super::source::Source;

pub struct Chance<'b> {
    source: Source<'b>,
    state: u64,
}

impl<'b> Chance<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Chance { source: Source::new(bytes), state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// A generator alone.
    pub fn seeded(seed: u8) -> Chance<'static> {
        Chance { source: Source::new(&[]), state: u64::from(seed) << 32 }
    }

    fn next(&mut self) -> u64 {
        // splitmix64: it need not be good, but must repeat itself.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15 ^ u64::from(self.source.byte()));
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number in `0..count`, or 0 if `count` is 0.
    pub fn below(&mut self, count: u64) -> u64 {
        self.next() % count.max(1)
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// A size up to `most`. Small sizes are as frequent as large ones.
    pub fn size(&mut self, most: u64) -> u64 {
        let bits = self.below(u64::from(most.max(1).ilog2()) + 2);
        self.between(0, (1 << bits).min(most))
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
