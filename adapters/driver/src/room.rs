//! How much content a connection has room for, told to the content while it is polled.
//!
//! `http_body::Body` has no way to say it. Content that is read from a file, in pieces as large as the
//! room, leaves nothing that waits in memory for a slow peer.

use std::cell::Cell;

thread_local! {
    /// Zero outside of a poll.
    static ROOM: Cell<usize> = const { Cell::new(0) };
}

/// How many bytes the connection takes at once, whose answer's content is polled on this thread now.
/// `None` outside of such a poll, and at the first one, which comes before the answer begins.
///
/// More may be returned all the same: the rest waits, and the content isn't polled until it is sent.
pub fn content_room() -> Option<usize> {
    Some(ROOM.get()).filter(|room| *room > 0)
}

/// Tells of `room` while `poll` runs.
#[inline]
pub(crate) fn with<T>(room: usize, poll: impl FnOnce() -> T) -> T {
    ROOM.set(room);
    let polled = poll();
    ROOM.set(0);
    polled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_during_a_poll_only() {
        assert_eq!(content_room(), None);
        assert_eq!(with(5, content_room), Some(5));
        assert_eq!(content_room(), None);
    }
}
