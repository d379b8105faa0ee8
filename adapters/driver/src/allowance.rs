//! How much one connection may do before the other connections of its thread get their turn.
//!
//! A handler that runs is not interrupted. The turn ends when the handler returns.

use crate::clock;
use portcullis::Tick;
use std::time::Instant;

/// The cost of polling a handler, also that of a websocket.
pub(crate) const HANDLER: u16 = 4;
/// The cost of polling for a piece of an answer's content.
pub(crate) const PIECE: u16 = 1;
/// The work of one turn.
const WORK: u16 = 256 * HANDLER;
/// The work after which the clock is read.
const LOOK: u16 = 4 * HANDLER;
/// The longest turn, in microseconds: about a millisecond.
const TURN: u32 = 1000;
/// The bytes that may be read and written in one turn.
const BYTES: usize = 1 << 20;

/// The rest of a turn. Every connection has one, so it is small.
#[derive(Debug)]
pub(crate) struct Allowance {
    /// When the turn began.
    begin: u32,
    bytes: u32,
    work: u16,
    spent: bool,
}

impl Allowance {
    pub(crate) const fn new() -> Self {
        Allowance { begin: 0, bytes: 0, work: 0, spent: false }
    }

    /// Begins a turn.
    #[inline]
    pub(crate) fn renew(&mut self, now: Tick) {
        *self = Allowance { begin: moment(now), ..Allowance::new() };
    }

    /// Whether the turn is over: nothing more should begin.
    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.spent
    }

    /// Whether nothing was read or written in this turn.
    pub(crate) fn is_untouched(&self) -> bool {
        self.bytes == 0
    }

    /// Counts work.
    #[inline]
    pub(crate) fn work(&mut self, work: u16) {
        self.work = self.work.wrapping_add(work);
        if self.work % LOOK < work {
            self.look();
        }
    }

    /// A handler has worked at a stretch, so the clock is read now.
    pub(crate) fn stretch(&mut self) {
        self.work(LOOK);
    }

    #[cold]
    fn look(&mut self) {
        // Reading the clock for each small request would cost too much.
        let now = moment(clock::tick(Instant::now()));
        self.spent |= self.work >= WORK || now.wrapping_sub(self.begin) >= TURN;
    }

    /// Counts bytes that were read or written.
    #[inline]
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u32);
        self.spent |= self.bytes as usize >= BYTES;
    }
}

/// A moment in units of about a microsecond. They begin anew after about an hour.
#[inline]
fn moment(now: Tick) -> u32 {
    (now.as_nanos() >> 10) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_turn_ends_by_work_and_by_bytes() {
        let mut allowance = Allowance::new();
        let handlers = (1..).find(|_| {
            // However long this takes, no time passes for the turn.
            allowance.begin = moment(clock::tick(Instant::now()));
            allowance.work(HANDLER);
            allowance.is_spent()
        });
        assert!(handlers.is_some_and(|handlers| handlers <= 256), "{handlers:?}");
        allowance.renew(Tick::ZERO);
        let writes = (1..).find(|_| {
            allowance.moved(60_000);
            allowance.is_spent()
        });
        assert_eq!(writes, Some(18));
    }

    #[test]
    fn a_turn_ends_by_time_soon_after_it_has_passed() {
        let mut allowance = Allowance::new();
        let begin = Instant::now();
        allowance.renew(clock::tick(begin));
        while begin.elapsed() < Duration::from_millis(2) {}
        let handlers = (1..).find(|_| {
            allowance.work(HANDLER);
            allowance.is_spent()
        });
        assert_eq!(handlers, Some(4));
    }
}
