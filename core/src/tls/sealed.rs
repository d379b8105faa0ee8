//! The buffer of records that wait to be sent. It grows as needed, and is dropped when it is empty.

use rustls::unbuffered::{EncodeError, EncryptError};

#[derive(Debug, Default)]
pub(super) struct Sealed {
    /// All bytes are initialised, so that reused room need not be zeroed again.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Sealed {
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of heap.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Makes room for `more` bytes, without spare capacity.
    pub(super) fn reserve(&mut self, more: usize) {
        if self.bytes.len() - self.end < more {
            self.grow(more);
        }
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.len());
        let needed = self.end.saturating_add(more);
        if needed > self.bytes.len() {
            self.bytes.reserve_exact(needed - self.bytes.len());
            self.bytes.resize(needed, 0);
        }
    }

    /// Appends the bytes that `write` puts into the free room. If `write` needs more room, it gets that
    /// and is called again.
    pub(super) fn append<E: NeedsRoom>(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        for _ in 0..2 {
            let room = self.bytes.get_mut(self.end..).unwrap_or_default();
            match write(room) {
                Ok(written) => {
                    self.end = self.bytes.len().min(self.end + written);
                    return Ok(());
                }
                Err(error) => match error.needed() {
                    Some(bytes) => self.reserve(bytes),
                    None => return Err(error),
                },
            }
        }
        // `write` already got the room that it asked for: return its error.
        write(&mut []).map(|_| ())
    }

    /// Appends a record.
    pub(super) fn push(&mut self, record: &[u8]) {
        self.reserve(record.len());
        if let Some(room) = self.bytes.get_mut(self.end..self.end + record.len()) {
            room.copy_from_slice(record);
            self.end += record.len();
        }
    }

    /// The first `bytes` were written to the socket.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.start = self.end.min(self.start.saturating_add(bytes));
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    pub(super) fn release(&mut self) {
        *self = Sealed::default();
    }
}

/// An error that may say that the buffer is too small.
pub(super) trait NeedsRoom {
    fn needed(&self) -> Option<usize>;
}

impl NeedsRoom for EncodeError {
    fn needed(&self) -> Option<usize> {
        match self {
            EncodeError::InsufficientSize(needed) => Some(needed.required_size),
            EncodeError::AlreadyEncoded => None,
        }
    }
}

impl NeedsRoom for EncryptError {
    fn needed(&self) -> Option<usize> {
        match self {
            EncryptError::InsufficientSize(needed) => Some(needed.required_size),
            EncryptError::EncryptExhausted => None,
        }
    }
}
