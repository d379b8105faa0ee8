//! What a service holds for a request beside what the driver holds: it counts like all else.
//!
//! In: a number of bytes, from any task. Out: that number, whenever the connection counts its memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The bytes that a service holds for one request, such as content that it has read ahead. They count in
/// [`bytes_held`](crate::Snapshot::bytes_held), and the gate sees them. A service gets it from
/// [`Incoming::held`](crate::Incoming::held).
///
/// The connection counts after each of its polls. A service that holds much more than before, while nothing else
/// happens on the connection, wakes it by the waker of the answer's content.
#[derive(Clone, Debug, Default)]
pub struct Held(Arc<AtomicUsize>);

impl Held {
    /// So many bytes are held from now on, beside those before.
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Relaxed);
    }

    /// So many bytes less are held.
    pub fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Relaxed);
    }

    /// The bytes that are held now.
    pub fn bytes(&self) -> usize {
        self.0.load(Relaxed)
    }
}
