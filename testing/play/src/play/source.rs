//! Choices made by arbitrary bytes. After the last byte every choice is the first option.

/// The bytes that are left to choose by.
pub struct Source<'b> {
    bytes: &'b [u8],
}

impl<'b> Source<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Source { bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All remaining bytes.
    pub fn rest(&self) -> &'b [u8] {
        self.bytes
    }

    pub fn byte(&mut self) -> u8 {
        self.bytes.split_off_first().copied().unwrap_or_default()
    }

    /// A number in `0..count`, for a small `count`.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Up to `count` raw bytes.
    pub fn raw(&mut self, count: usize) -> &'b [u8] {
        let (taken, rest) = self.bytes.split_at(count.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }

    /// A size: often small, or a neighbour of a power of two, and sometimes huge.
    pub fn size(&mut self) -> u64 {
        let choice = self.byte();
        match choice {
            0..160 => u64::from(choice),
            160..250 => {
                let power = 1_u64 << (u32::from(choice - 160) / 3 % 24);
                (power + u64::from(choice % 3)).saturating_sub(1)
            }
            250..253 => 100_000,
            _ => u64::MAX - u64::from(choice % 2),
        }
    }
}
