//! The buffers for reading and writing: one pair a thread, not one a connection.

use bytes::{Bytes, BytesMut};
use portcullis::Connection;
use std::cell::RefCell;
use std::mem::take;
use std::ops::Range;

/// Room that most answers' heads get along with.
const WRITE: usize = 1024;
/// How many times its own length what is shared may keep alive.
const PINNED: usize = 4;

#[derive(Default)]
pub(crate) struct Scratch {
    read: BytesMut,
    /// The buffer for reading, if a part of it was shared; then there is none in `read`.
    shared: Option<Bytes>,
    write: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// `size` bytes to read into.
    pub(crate) fn read(&mut self, size: usize) -> &mut [u8] {
        if self.read.len() < size {
            // What was shared is used again if everybody else has dropped it.
            let shared = self.shared.take().and_then(|shared| shared.try_into_mut().ok());
            let again = shared.filter(|read| read.len() >= size);
            self.read = again.unwrap_or_else(|| BytesMut::zeroed(size));
        }
        self.read.get_mut(..size).unwrap_or_default()
    }

    /// A part of what was read. It is not copied if it keeps the whole buffer alive by that, but no
    /// more than four times its own length.
    pub(crate) fn share(&mut self, place: Range<usize>) -> Bytes {
        if place.len() < self.read.len() / PINNED {
            return Bytes::copy_from_slice(self.read.get(place).unwrap_or_default());
        }
        self.shared.get_or_insert_with(|| take(&mut self.read).freeze()).slice(place)
    }

    /// Lets `connection` write its answers here, until [`Scratch::take_back`].
    pub(crate) fn lend(&mut self, connection: &mut Connection) {
        if self.write.capacity() == 0 {
            self.write.reserve(WRITE);
        }
        connection.lend_buffer(take(&mut self.write));
    }

    /// A connection with unsent bytes keeps what it was lent.
    pub(crate) fn take_back(&mut self, connection: &mut Connection) {
        self.write = connection.return_buffer();
    }
}

/// Lends the thread's buffers. A use within a use gets a pair of its own, so that handlers may run
/// meanwhile.
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
            assert_eq!(outer.read(1000).len(), 1000);
            with(|inner| inner.read(10).fill(1));
            assert!(outer.read(1000).iter().all(|byte| *byte == 0));
            outer.read(1).as_ptr() as usize
        });
        assert_eq!(with(|again| again.read(500).as_ptr() as usize), first);
    }

    #[test]
    fn a_shared_buffer_is_used_again_when_it_is_dropped() {
        with(|scratch| {
            scratch.read(1000).fill(7);
            let kept = scratch.share(10..260);
            let dropped = scratch.share(20..30);
            assert_eq!(kept, [7; 250][..]);
            scratch.read(1000).fill(8);
            assert_eq!((&kept[..], &dropped[..]), (&[7; 250][..], &[7; 10][..]));
            let again = scratch.share(0..1000);
            let address = again.as_ptr();
            drop(again);
            assert_eq!(scratch.read(1000).as_ptr(), address);
        });
    }

    #[test]
    fn a_small_part_does_not_keep_the_whole_alive() {
        with(|scratch| {
            let address = scratch.read(1000).as_ptr() as usize;
            scratch.read(1000).fill(7);
            let part = scratch.share(10..259);
            scratch.read(500).fill(8);
            assert_eq!(part, [7; 249][..]);
            assert_eq!(scratch.read(1000).as_ptr() as usize, address);
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
