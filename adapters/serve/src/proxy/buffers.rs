//! Memory for content on its way through the proxy: a bound for all requests together, and what each may take of it.
//!
//! A request may take an eighth of what is left, so there is always some left for the next one. All bytes also count
//! for the request's own connection, where the gate sees them.

use portcullis_driver::Held;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most that is read ahead of one answer, in bytes: more than most pages and answers of an API have.
const MOST: usize = 1 << 20;
/// What may be read ahead without regard to others, in bytes.
pub(super) const LEAST: usize = 16 << 10;
/// What is left is divided by this.
const PART: usize = 8;

/// What all requests may take together, and have taken.
#[derive(Debug)]
pub(super) struct Buffers {
    limit: usize,
    used: AtomicUsize,
}

impl Buffers {
    pub(super) const fn new(limit: usize) -> Self {
        Buffers { limit, used: AtomicUsize::new(0) }
    }

    /// Bytes that are in use.
    pub(super) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// What one request may have in all, now.
    fn share(&self) -> usize {
        (self.limit.saturating_sub(self.used()) / PART).clamp(LEAST, MOST)
    }
}

/// What one request has taken. Dropping it gives all back.
#[derive(Debug)]
pub(super) struct Taken {
    buffers: Arc<Buffers>,
    held: Held,
    bytes: usize,
}

impl Taken {
    /// Nothing yet.
    pub(super) fn new(buffers: Arc<Buffers>, held: Held) -> Self {
        Taken { buffers, held, bytes: 0 }
    }

    /// Whether more may be taken. The last piece may go beyond the share.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.buffers.share()
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.buffers.used.fetch_add(bytes, Relaxed);
        self.held.add(bytes);
    }

    pub(super) fn remove(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.buffers.used.fetch_sub(bytes, Relaxed);
        self.held.remove(bytes);
    }

    pub(super) fn remove_all(&mut self) {
        self.remove(self.bytes);
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.remove_all();
    }
}

/// Other bytes that count for a request, but not as buffers. Dropping it takes them back.
#[derive(Debug)]
pub(super) struct Charge {
    held: Held,
    bytes: usize,
}

impl Charge {
    pub(super) fn new(held: Held, bytes: usize) -> Self {
        held.add(bytes);
        Charge { held, bytes }
    }

    /// It is so many bytes now.
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.held.add(bytes);
            self.held.remove(std::mem::replace(&mut self.bytes, bytes));
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.held.remove(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_shrink_and_something_is_always_left() {
        let buffers = Arc::new(Buffers::new(1 << 20));
        let taken: Vec<_> = (0..100)
            .map(|_| {
                let mut taken = Taken::new(buffers.clone(), Held::default());
                while taken.has_room() {
                    taken.add(1 << 10);
                }
                taken
            })
            .collect();
        assert_eq!(taken[0].bytes(), (1 << 20) / 9 + (1 << 10) - ((1 << 20) / 9) % (1 << 10));
        assert!(taken.windows(2).all(|two| two[0].bytes() >= two[1].bytes()));
        assert_eq!(taken[99].bytes(), LEAST, "nobody goes without");
        let all: usize = taken.iter().map(Taken::bytes).sum();
        assert!(all == buffers.used() && all <= (1 << 20) + 100 * LEAST, "{all}");
        drop(taken);
        assert_eq!(buffers.used(), 0);
    }

    #[test]
    fn what_is_taken_counts_for_the_request() {
        let held = Held::default();
        let mut taken = Taken::new(Arc::new(Buffers::new(0)), held.clone());
        taken.add(5000);
        assert_eq!(held.bytes(), 5000);
        taken.remove(1000);
        let mut charge = Charge::new(held.clone(), 10);
        charge.set(7);
        assert_eq!(held.bytes(), 4007);
        drop((taken, charge));
        assert_eq!(held.bytes(), 0);
    }
}
