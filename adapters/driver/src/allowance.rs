//! How much one connection may do before others on its thread get their turn.
//!
//! A handler that was called is not interrupted: the turn ends behind it. Nothing is lost by that, and
//! what it costs is next to nothing beside what may be done in a turn.

use crate::clock;
use portcullis::Tick;
use std::time::Instant;

/// What polling a handler, or the handler of a websocket, counts for.
pub(crate) const HANDLER: u16 = 4;
/// What polling for a piece of an answer's content counts for.
pub(crate) const PIECE: u16 = 1;
/// How much of that is done in one turn.
const WORK: u16 = 256 * HANDLER;
/// After so much the clock is looked at.
const LOOK: u16 = 4 * HANDLER;
/// How long a turn is, if what is done in it takes long: about a millisecond.
const TURN: u32 = 1000;
/// Bytes that are read and written in one turn.
const BYTES: usize = 1 << 20;

/// What is left of a turn. Every connection has one: it is small.
#[derive(Debug)]
pub(crate) struct Allowance {
    /// The moment at which it began.
    begin: u32,
    bytes: u32,
    work: u16,
    spent: bool,
}

impl Allowance {
    pub(crate) const fn new() -> Self {
        Allowance { begin: 0, bytes: 0, work: 0, spent: false }
    }

    /// A turn begins.
    #[inline]
    pub(crate) fn renew(&mut self, now: Tick) {
        *self = Allowance { begin: moment(now), ..Allowance::new() };
    }

    /// Nothing more should be begun.
    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.spent
    }

    /// Nothing was read or written in this turn.
    pub(crate) fn is_untouched(&self) -> bool {
        self.bytes == 0
    }

    /// Something was done that counts for `work`.
    #[inline]
    pub(crate) fn work(&mut self, work: u16) {
        self.work = self.work.wrapping_add(work);
        if self.work % LOOK < work {
            self.look();
        }
    }

    /// A handler has worked at a stretch: whether it took long is looked at now.
    pub(crate) fn stretch(&mut self) {
        self.work(LOOK);
    }

    #[cold]
    fn look(&mut self) {
        // A clock is not looked at for small requests, one by one.
        let now = moment(clock::tick(Instant::now()));
        self.spent |= self.work >= WORK || now.wrapping_sub(self.begin) >= TURN;
    }

    /// So many bytes were read or written.
    #[inline]
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u32);
        self.spent |= self.bytes as usize >= BYTES;
    }
}

/// A moment in units of about a microsecond; an hour later they begin anew.
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
            // However long this takes, no time has passed.
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
