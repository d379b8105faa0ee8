//! Tells the content of an answer, while it is polled, how much the connection takes.
//!
//! `http_body::Body` has no way to say this. A file that is read in pieces of that size leaves no bytes in
//! memory for a slow peer.

use std::cell::Cell;

thread_local! {
    /// 0 outside of a poll.
    static ROOM: Cell<usize> = const { Cell::new(0) };
}

/// The number of bytes that the connection takes at once, whose answer's content is polled on this thread
/// now. `None` outside of a poll, and at the first poll, which comes before the answer begins, unless the
/// connection works on other requests as well.
///
/// The content may return more bytes. They wait, and the content isn't polled until they are sent.
pub fn content_room() -> Option<usize> {
    Some(ROOM.get()).filter(|room| *room > 0)
}

/// Makes `room` known while `poll` runs.
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
