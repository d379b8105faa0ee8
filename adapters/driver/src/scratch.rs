//! The read buffer: one a thread, not one a connection.

use std::cell::Cell;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends at least `size` bytes of the thread's buffer.
///
/// The buffer is taken for the time being: a use within a use gets one of its own, so that
/// handlers may run while it is lent.
pub(crate) fn with<T>(size: usize, use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = SCRATCH.take();
    if buffer.len() < size {
        buffer.resize(size, 0);
    }
    let result = use_it(buffer.get_mut(..size).unwrap_or_default());
    SCRATCH.set(buffer);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_and_can_be_used_within_a_use() {
        let first = with(1000, |outer| {
            assert_eq!(outer.len(), 1000);
            with(10, |inner| inner.fill(1));
            assert!(outer.iter().all(|byte| *byte == 0));
            outer.as_ptr() as usize
        });
        assert_eq!(with(500, |again| again.as_ptr() as usize), first);
    }
}
