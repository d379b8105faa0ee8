//! The buffers for reading and writing. They belong to the thread, not to a connection.

use bytes::{Bytes, BytesMut};
use portcullis::Connection;
use std::cell::RefCell;
use std::mem::take;
use std::ops::Range;

/// Enough room for the heads of most answers.
const WRITE: usize = 1024;

#[derive(Default)]
pub(crate) struct Scratch {
    /// For usual reads and for large ones. A piece of a read that is shared keeps the whole buffer alive.
    read: [Buffer; 2],
    /// The index of the buffer of the newest read.
    newest: usize,
    write: Vec<u8>,
}

#[derive(Default)]
struct Buffer {
    bytes: BytesMut,
    /// The bytes, if a part of them was shared. `bytes` is empty then.
    shared: Option<Bytes>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// `size` bytes to read into, for a usual or a `large` read.
    pub(crate) fn read(&mut self, size: usize, large: bool) -> &mut [u8] {
        self.newest = usize::from(large);
        self.read[usize::from(large)].read(size)
    }

    /// A part of the newest read, and the number of bytes that it keeps alive. It is shared if the whole
    /// buffer has at most `most` times its length, and otherwise copied.
    pub(crate) fn share(&mut self, place: Range<usize>, most: usize) -> (Bytes, usize) {
        self.read[self.newest].share(place, most)
    }

    /// Lets `connection` write its answers into the thread's buffer, until [`Scratch::take_back`].
    pub(crate) fn lend(&mut self, connection: &mut Connection) {
        if self.write.capacity() == 0 {
            self.write.reserve(WRITE);
        }
        connection.lend_buffer(take(&mut self.write));
    }

    /// Takes the buffer back. A connection with unsent bytes keeps it.
    pub(crate) fn take_back(&mut self, connection: &mut Connection) {
        self.write = connection.return_buffer();
    }
}

impl Buffer {
    fn read(&mut self, size: usize) -> &mut [u8] {
        if self.bytes.len() < size {
            // A shared buffer is used again when all other references are dropped.
            let shared = self.shared.take().and_then(|shared| shared.try_into_mut().ok());
            let again = shared.filter(|bytes| bytes.len() >= size);
            self.bytes = again.unwrap_or_else(|| BytesMut::zeroed(size));
        }
        self.bytes.get_mut(..size).unwrap_or_default()
    }

    fn share(&mut self, place: Range<usize>, most: usize) -> (Bytes, usize) {
        if place.len() < self.bytes.len() / most {
            let copy = Bytes::copy_from_slice(self.bytes.get(place).unwrap_or_default());
            let kept = copy.len();
            return (copy, kept);
        }
        let shared = self.shared.get_or_insert_with(|| take(&mut self.bytes).freeze());
        (shared.slice(place), shared.len())
    }
}

/// Lends the thread's buffers. A nested call gets buffers of its own, so that handlers may run meanwhile.
pub(crate) fn with<T>(use_it: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => use_it(&mut scratch),
        Err(_) => use_it(&mut Scratch::default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis::{Config, Tick};
    use std::sync::Arc;

    #[test]
    fn it_is_kept_and_can_be_used_within_a_use() {
        let first = with(|outer| {
            assert_eq!(outer.read(1000, false).len(), 1000);
            with(|inner| inner.read(10, false).fill(1));
            assert!(outer.read(1000, false).iter().all(|byte| *byte == 0));
            outer.read(1, false).as_ptr() as usize
        });
        assert_eq!(with(|again| again.read(500, false).as_ptr() as usize), first);
    }

    #[test]
    fn a_shared_buffer_is_used_again_when_it_is_dropped() {
        with(|scratch| {
            scratch.read(1000, false).fill(7);
            let kept = scratch.share(10..510, 2);
            let dropped = scratch.share(20..30, 2);
            assert_eq!((&kept.0[..], kept.1), (&[7; 500][..], 1000));
            scratch.read(1000, false).fill(8);
            assert_eq!((&kept.0[..], &dropped.0[..]), (&[7; 500][..], &[7; 10][..]));
            let (again, _) = scratch.share(0..1000, 2);
            let address = again.as_ptr();
            drop(again);
            assert_eq!(scratch.read(1000, false).as_ptr(), address);
        });
    }

    #[test]
    fn a_large_read_leaves_the_usual_buffer_alone() {
        with(|scratch| {
            let usual = scratch.read(1000, false).as_ptr() as usize;
            let large = scratch.read(4000, true).as_ptr() as usize;
            let (part, kept) = scratch.share(0..2000, 2);
            assert_eq!((part.as_ptr() as usize, kept), (large, 4000));
            assert_eq!(scratch.read(1000, false).as_ptr() as usize, usual);
            assert_eq!(scratch.share(0..600, 2).1, 1000);
        });
    }

    #[test]
    fn a_small_part_does_not_keep_the_whole_alive() {
        with(|scratch| {
            let address = scratch.read(1000, false).as_ptr() as usize;
            scratch.read(1000, false).fill(7);
            let (part, kept) = scratch.share(10..509, 2);
            scratch.read(500, false).fill(8);
            assert_eq!((&part[..], kept), (&[7; 499][..], 499));
            assert_eq!(scratch.read(1000, false).as_ptr() as usize, address);
        });
    }

    #[test]
    fn a_connection_has_the_buffer_only_while_it_is_lent() {
        let mut connection = Connection::new(Arc::new(Config::default()), Tick::ZERO);
        let before = connection.memory();
        with(|scratch| {
            scratch.lend(&mut connection);
            assert_eq!(connection.memory(), before + WRITE);
            scratch.take_back(&mut connection);
            assert_eq!((connection.memory(), scratch.write.capacity()), (before, WRITE));
        });
    }
}
