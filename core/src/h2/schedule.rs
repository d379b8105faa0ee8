//! Which stream sends next (RFC 9218).
//!
//! In: the priorities of the streams that wait for room. Out: the stream with the best claim. The most urgent
//! one comes first. Of equally urgent ones, those that can't be used in parts are served one after the other in
//! the order of their numbers, and those that can (`incremental`) take turns.
//!
//! A stream that is told of room is promised so many bytes, until events are resumed once more. One that asks for
//! room while another one with a better claim waits, or has not used what it was promised, gets none and waits too.

use super::streams::{Priority, Stream, Streams};
use core::cmp::Ordering;

/// The most bytes that an incremental answer takes while another one waits.
pub(super) const QUANTUM: usize = 16 * 1024;

impl Priority {
    /// Reads the value of a `priority` field or of a PRIORITY_UPDATE: a dictionary with the keys `u` and `i`.
    /// What can't be read is ignored (RFC 9218 4).
    pub(super) fn read(value: &[u8]) -> Priority {
        let mut priority = Priority::default();
        for member in value.split(|byte| *byte == b',') {
            match member.trim_ascii() {
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

/// Compares the claims of two streams that wait. The smaller one goes first.
fn claims(one: &Stream, other: &Stream) -> Ordering {
    let (a, b) = (one.priority, other.priority);
    let by_urgency = a.urgency.cmp(&b.urgency).then(a.incremental.cmp(&b.incremental));
    by_urgency.then_with(|| match a.incremental {
        true => one.turn.cmp(&other.turn).then(one.id.cmp(&other.id)),
        false => one.id.cmp(&other.id),
    })
}

impl Streams {
    /// The place of the stream that is served next, of those that wait for room and could use it. Without a
    /// window of the connection these are the streams that owe a head.
    pub(super) fn next_waiting(&self, has_window: bool) -> Option<usize> {
        let waiting = (0..self.len())
            .filter_map(|place| Some((place, self.get(place)?)))
            .filter(|(_, stream)| stream.waits_for_room() && (has_window || stream.owes_head()));
        waiting.min_by(|(_, one), (_, other)| claims(one, other)).map(|(place, _)| place)
    }

    /// The stream at `place` begins to wait. Whatever it has sent before, it comes at most a quantum before or
    /// after those with which it takes turns.
    pub(super) fn line_up(&mut self, place: usize) {
        let Some(stream) = self.get(place) else { return };
        let is_peer =
            |it: &&Stream| it.id != stream.id && it.priority == stream.priority && it.has_claim();
        let Some(first) = self.iter().filter(is_peer).map(|it| it.turn).min() else { return };
        if let Some(stream) = self.get_mut(place) {
            let most = QUANTUM as u64;
            stream.turn = stream.turn.clamp(first.saturating_sub(most), first.saturating_add(most));
        }
    }

    /// How many bytes the stream at `place` may take of `free` ones, with regard to those that wait and to
    /// those that were promised room.
    pub(super) fn share(&self, place: usize, free: usize) -> usize {
        let Some(stream) = self.get(place) else { return 0 };
        if stream.promised > 0 {
            return free.min(stream.promised);
        }
        let mut others = self.iter().filter(|it| it.id != stream.id && it.has_claim());
        // A stream that waits itself has been passed over, or asks although it was not told of room.
        if others.clone().any(|other| claims(other, stream) == Ordering::Less) {
            return 0;
        }
        match stream.priority.incremental && others.next().is_some() {
            true => free.min(QUANTUM),
            false => free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_read_as_the_rfc_says() {
        for (value, urgency, incremental) in [
            ("", 3, false),
            ("u=0", 0, false),
            ("u=5, i", 5, true),
            ("i, u=7", 7, true),
            ("i=?0", 3, false),
            ("i=?1,u=1", 1, true),
            ("u=8", 3, false),
            ("u=-1, x=\"y\", i", 3, true),
            ("u=2, u=4", 4, false),
            ("nonsense", 3, false),
        ] {
            assert_eq!(
                Priority::read(value.as_bytes()),
                Priority { urgency, incremental },
                "{value}"
            );
        }
    }
}
