//! How often the configuration was read again, for `/status`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts how often the program has read its configuration again. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Reloads(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    failed: AtomicU64,
}

impl Reloads {
    /// The configuration was read, or the previous one stays in use.
    pub fn count(&self, is_done: bool) {
        let count = if is_done { &self.0.done } else { &self.0.failed };
        count.fetch_add(1, Relaxed);
    }

    /// How often that was done, and how often it failed.
    pub fn counts(&self) -> (u64, u64) {
        (self.0.done.load(Relaxed), self.0.failed.load(Relaxed))
    }
}
