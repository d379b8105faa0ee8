//! The numbers of streams. Each exchange of a request and its answer has one.

use core::fmt;

/// The number of one exchange of a request and its answer.
///
/// On an HTTP/1.1 connection they are numbered from 1 in the order of the requests, and only the newest is
/// alive. Over HTTP/2 it is the number that the client has given to the stream, and many are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) u64);

impl StreamId {
    /// The number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
