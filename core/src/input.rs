//! The bytes at hand: first the held bytes, then the bytes of the driver's last read.
//!
//! A parser looks at [`Input::bytes`] and takes the bytes that it is done with as a [`Span`]. Only
//! [`Events::next`](crate::Events::next) turns spans into slices that it lends. Bytes that are left when
//! the events are dropped are copied into a [`Held`].
//!
//! [`Input::join`] completes a unit that began in the held bytes. [`Input::part`] hands back the joined
//! bytes that lie after the unit's end, so that a large read is never copied behind a small rest.

/// Bytes that are kept between two calls. Owns no memory when it is empty.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    /// The number of bytes at the front that were taken already.
    start: usize,
}

impl Held {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Appends bytes to the held ones.
    pub(crate) fn append(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = Held { bytes, start: 0 };
        } else {
            grow(&mut self.bytes, bytes.len(), 0);
            self.bytes.extend_from_slice(&bytes);
        }
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity()
    }
}

/// A range of bytes in an [`Input`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    held: bool,
    start: usize,
    end: usize,
}

impl Span {
    pub(crate) fn len(self) -> usize {
        self.end - self.start
    }

    /// The span without its first `bytes`.
    pub(crate) fn skip(self, bytes: usize) -> Span {
        Span { start: (self.start + bytes).min(self.end), ..self }
    }

    /// The first `bytes` of the span.
    pub(crate) fn first(self, bytes: usize) -> Span {
        Span { end: self.start.saturating_add(bytes).min(self.end), ..self }
    }
}

/// The view of the received bytes that protocols work on.
#[derive(Debug)]
pub(crate) struct Input<'i> {
    held: Held,
    fresh: &'i mut [u8],
    fresh_start: usize,
    /// How many of the held bytes `join` has copied from the fresh ones.
    joined: usize,
}

impl<'i> Input<'i> {
    pub(crate) fn new(held: Held, fresh: &'i mut [u8]) -> Self {
        Input { held, fresh, fresh_start: 0, joined: 0 }
    }

    /// The bytes that can be looked at without copying: the held bytes if there are any, or else the fresh
    /// ones.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        let (bytes, start) = if self.held.is_empty() {
            (&mut *self.fresh, self.fresh_start)
        } else {
            (self.held.bytes.as_mut_slice(), self.held.start)
        };
        bytes.get_mut(start..).unwrap_or_default()
    }

    /// Takes the first `bytes` of [`Input::bytes`].
    pub(crate) fn take(&mut self, bytes: usize) -> Span {
        let held = !self.held.is_empty();
        let (start, len) = if held {
            (&mut self.held.start, self.held.bytes.len())
        } else {
            (&mut self.fresh_start, self.fresh.len())
        };
        let span = Span { held, start: *start, end: start.saturating_add(bytes).min(len) };
        *start = span.end;
        span
    }

    /// Appends fresh bytes to an incomplete unit in the held bytes, up to `limit` bytes. False if that
    /// changes nothing: the unit lies in the fresh bytes, no fresh bytes are left, or the limit is reached.
    pub(crate) fn join(&mut self, limit: usize) -> bool {
        let rest = self.fresh.get(self.fresh_start..).unwrap_or_default();
        let room = limit.saturating_sub(self.held.len());
        let more = rest.get(..room.min(rest.len())).unwrap_or_default();
        if self.held.is_empty() || more.is_empty() {
            return false;
        }
        grow(&mut self.held.bytes, more.len(), limit.saturating_add(self.held.start));
        self.held.bytes.extend_from_slice(more);
        self.fresh_start += more.len();
        self.joined += more.len();
        true
    }

    /// Hands back joined bytes that lie after the end of a unit that was taken.
    pub(crate) fn part(&mut self) {
        if self.joined == 0 {
            return;
        }
        let surplus = self.held.len().min(self.joined);
        let end = self.held.bytes.len() - surplus;
        self.held.bytes.truncate(end);
        self.fresh_start -= surplus;
        self.joined = 0;
    }

    /// Takes all bytes, to be discarded. Returns their number.
    pub(crate) fn take_all(&mut self) -> usize {
        let held = self.held.len();
        let fresh = self.fresh_len();
        self.held = Held::default();
        self.fresh_start = self.fresh.len();
        held + fresh
    }

    pub(crate) fn span(&mut self, span: Span) -> &mut [u8] {
        let bytes = if span.held { self.held.bytes.as_mut_slice() } else { &mut *self.fresh };
        bytes.get_mut(span.start..span.end).unwrap_or_default()
    }

    /// The number of bytes that were not taken.
    pub(crate) fn len(&self) -> usize {
        self.held.len() + self.fresh_len()
    }

    /// The number of bytes of the driver's last read that were not taken.
    pub(crate) fn fresh_len(&self) -> usize {
        self.fresh.len().saturating_sub(self.fresh_start)
    }

    /// Whether all bytes were taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that were not taken, to be held: an exact copy, or a copy with room to grow up to `most`
    /// bytes.
    pub(crate) fn put_back(&mut self, most: usize) -> Held {
        let mut held = core::mem::take(&mut self.held);
        let fresh = self.fresh.get(self.fresh_start..).unwrap_or_default();
        self.fresh_start = self.fresh.len();
        if held.is_empty() {
            let bytes = if fresh.is_empty() { Vec::new() } else { fresh.to_vec() };
            return Held { bytes, start: 0 };
        }
        // Moves the rest to the front only when it is the smaller part. That is cheaper than a copy
        // for each byte taken, and bounds the memory.
        let moves = match most {
            0 => held.start >= held.len() || !fresh.is_empty(),
            _ => held.start >= held.len() / 2,
        };
        if held.start > 0 && moves {
            held.bytes.drain(..held.start);
            held.start = 0;
        }
        if !fresh.is_empty() {
            grow(&mut held.bytes, fresh.len(), most);
            held.bytes.extend_from_slice(fresh);
        }
        if most > 0 {
            // Leaves room for the plaintext that TLS appends.
            let length = held.bytes.len();
            grow(&mut held.bytes, (length / 2).min(most.saturating_sub(length)), most);
        }
        held
    }
}

/// The smallest allocation.
pub(crate) const LEAST: usize = 64;

/// Makes room for `more` bytes: doubles the capacity, but goes beyond `limit` only if needed.
#[inline]
pub(crate) fn grow(bytes: &mut Vec<u8>, more: usize, limit: usize) {
    let needed = bytes.len().saturating_add(more);
    if needed > bytes.capacity() {
        grow_to(bytes, needed, limit);
    }
}

#[cold]
fn grow_to(bytes: &mut Vec<u8>, needed: usize, limit: usize) {
    let target = bytes.capacity().saturating_mul(2).clamp(LEAST, limit.max(LEAST)).max(needed);
    bytes.reserve_exact(target - bytes.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(bytes: &[u8]) -> Held {
        Held { bytes: bytes.to_vec(), start: 0 }
    }

    #[test]
    fn a_cut_unit_is_completed_and_the_rest_stays_fresh() {
        let mut fresh = *b"lo, rest of a large read";
        let mut input = Input::new(held(b"hel"), &mut fresh);
        assert_eq!(input.bytes(), b"hel");
        assert!(input.join(10));
        assert_eq!(input.bytes(), b"hello, res");
        assert!(!input.join(10), "the limit is reached");
        let unit = input.take(5);
        input.part();
        assert_eq!(input.span(unit), b"hello");
        assert_eq!(input.bytes(), b", rest of a large read");
        input.take(2);
        let held = input.put_back(0);
        assert_eq!((held.bytes.as_slice(), held.start), (&b"rest of a large read"[..], 0));
    }

    #[test]
    fn nothing_left_holds_nothing() {
        let mut fresh = *b"all";
        let mut input = Input::new(Held::default(), &mut fresh);
        assert!(!input.join(10), "fresh bytes need no joining");
        let span = input.take(usize::MAX);
        assert_eq!(input.span(span.skip(1).first(1)), b"l");
        assert!(input.bytes().is_empty());
        assert_eq!(input.put_back(0).memory(), 0);
    }

    #[test]
    fn held_bytes_come_before_fresh_ones() {
        let mut fresh = *b"cd";
        let mut input = Input::new(held(b"ab"), &mut fresh);
        input.take(1);
        let mut held = input.put_back(0);
        assert_eq!(held.len(), 3);
        let mut input = Input::new(core::mem::take(&mut held), &mut []);
        assert_eq!(input.bytes(), b"bcd");
        assert_eq!(input.take_all(), 3);
    }

    #[test]
    fn taking_read_ahead_bytes_in_small_steps_copies_little() {
        let mut rest = held(&[7; 4096]);
        let mut moved = 0;
        while !rest.is_empty() {
            let mut input = Input::new(rest, &mut []);
            input.take(1);
            let before = input.held.start;
            rest = input.put_back(8192);
            if rest.start < before {
                moved += rest.len();
            }
        }
        assert!(moved <= 4096 * 3, "{moved} bytes moved");
    }

    #[test]
    fn memory_of_taken_read_ahead_bytes_is_freed() {
        let mut rest = held(&[7; 1000]);
        for _ in 0..1000 {
            let mut fresh = [8; 100];
            let mut input = Input::new(rest, &mut fresh);
            input.take(100);
            rest = input.put_back(4096);
            assert_eq!(rest.len(), 1000);
            assert!(rest.memory() <= 4096, "{}", rest.memory());
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn taken_bytes_are_dropped_before_more_are_appended() {
        let mut rest = held(&[7; 4096]);
        for _ in 0..4000 {
            let mut input = Input::new(rest, &mut []);
            input.take(1);
            rest = input.put_back(0);
        }
        rest.append(vec![8; 1000]);
        assert_eq!((rest.len(), rest.memory()), (1096, 4096));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn read_ahead_bytes_leave_room_for_appended_ones() {
        let mut rest = held(&[7; 100]);
        let mut grown = 0;
        for _ in 0..3000 {
            let before = rest.memory();
            rest.append(vec![8; 10]);
            rest = Input::new(rest, &mut []).put_back(40_000);
            grown += usize::from(rest.memory() > before);
        }
        assert!(grown <= 20 && rest.memory() <= 40_000, "{grown} times, {}", rest.memory());
    }

    #[test]
    fn taking_a_held_rest_in_small_steps_copies_little() {
        let mut rest = held(&[7; 4096]);
        let mut moved = 0;
        while !rest.is_empty() {
            let mut input = Input::new(rest, &mut []);
            input.take(1);
            let before = input.held.start;
            rest = input.put_back(0);
            if rest.start < before {
                moved += rest.len();
            }
        }
        assert!(moved <= 4096, "{moved} bytes moved");
    }
}
