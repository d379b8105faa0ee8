//! Finds pings among bytes that wait for the application.
//!
//! While a websocket lacks credit, it reads some bytes ahead. So it notices a dead peer, and can
//! answer the pings of a live one. In: the bytes that are held. Out: the pings among them, once each,
//! in order. The receiver takes all other frames once there is credit.

use super::frame::{self, Header, Look, Opcode};
use super::mask::Mask;

/// How far the held bytes were searched. Places count from the first byte that was not taken.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Where the next frame begins; this may be past the end of the held bytes.
    next: usize,
    /// The search ended: the next frame is invalid, a close frame, or a ping that the budget can't pay.
    stopped: bool,
    /// Pings that were answered, and get no second pong when the receiver takes them.
    answered: u32,
}

impl Ahead {
    /// The receiver took the first `bytes`. If it went past the search, the search starts again there.
    #[inline]
    pub(crate) fn took(&mut self, bytes: usize) {
        match self.next.checked_sub(bytes) {
            Some(next) => self.next = next,
            None => (self.next, self.stopped) = (0, false),
        }
    }

    /// The receiver took a ping; returns whether it was answered ahead.
    #[inline]
    pub(crate) fn was_answered(&mut self) -> bool {
        let answered = self.answered > 0;
        self.answered = self.answered.saturating_sub(1);
        answered
    }

    /// Returns the payload of the next ping that lies whole in `bytes`. The first `begun` bytes belong
    /// to the current frame. If `pays` returns false, the ping waits until the receiver takes it.
    #[cold]
    pub(crate) fn ping(
        &mut self,
        bytes: &[u8],
        begun: u64,
        may_compress: bool,
        mut pays: impl FnMut() -> bool,
    ) -> Option<Box<[u8]>> {
        self.next = self.next.max(usize::try_from(begun).unwrap_or(usize::MAX));
        while !self.stopped {
            let rest = bytes.get(self.next..).filter(|rest| !rest.is_empty())?;
            let Ok(look) = frame::read(rest, may_compress) else {
                self.stopped = true;
                return None;
            };
            let Look::Whole(header) = look else { return None };
            let Header { size, length, opcode, .. } = header;
            let end = size.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
            match opcode {
                Opcode::Close => self.stopped = true,
                Opcode::Ping => {
                    let mut payload: Box<[u8]> = rest.get(size..end)?.into();
                    if !pays() {
                        self.stopped = true;
                        return None;
                    }
                    Mask::new(header.key).apply(&mut payload);
                    self.next = self.next.saturating_add(end);
                    self.answered += 1;
                    return Some(payload);
                }
                _ => self.next = self.next.saturating_add(end),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let masked = payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key);
        [first, 0x80 | payload.len() as u8].into_iter().chain(KEY).chain(masked).collect()
    }

    fn pings(ahead: &mut Ahead, bytes: &[u8], begun: u64) -> Vec<Vec<u8>> {
        let next = || ahead.ping(bytes, begun, false, || true);
        std::iter::from_fn(next).map(Vec::from).collect()
    }

    #[test]
    fn pings_are_found_once_however_they_arrive() {
        let wire = [
            b"rest".to_vec(),
            frame(0x01, &[b'x'; 100]),
            frame(0x89, b"one"),
            frame(0x80, &[0x89; 50]),
            frame(0x8a, b"no"),
            frame(0x89, b""),
            frame(0x82, b"last"),
        ]
        .concat();
        for step in [1, 7, wire.len()] {
            let mut ahead = Ahead::default();
            let mut found = Vec::new();
            for end in (0..wire.len()).step_by(step).chain([wire.len()]) {
                found.extend(pings(&mut ahead, &wire[..end], 4));
            }
            assert_eq!(found, [&b"one"[..], b""]);
            assert!(ahead.was_answered() && ahead.was_answered() && !ahead.was_answered());
        }
    }

    #[test]
    fn taken_bytes_move_the_place() {
        let (data, ping) = (frame(0x82, b"data"), frame(0x89, b"p"));
        let mut ahead = Ahead::default();
        let both = [data.clone(), ping.clone()].concat();
        assert_eq!(pings(&mut ahead, &both, 0), [b"p"]);
        ahead.took(data.len());
        assert!(pings(&mut ahead, &ping, 0).is_empty(), "the ping was answered before");
        assert!(ahead.was_answered());
        ahead.took(ping.len());
        assert_eq!(pings(&mut ahead, &both, 0), [b"p"], "a second ping");
        assert!(ahead.was_answered());
        ahead.took(both.len() + 1000);
        assert_eq!(pings(&mut ahead, &ping, 0), [b"p"]);
    }

    #[test]
    fn nothing_is_answered_after_a_violation_a_close_or_an_unpaid_ping() {
        let ping = frame(0x89, b"p");
        for bad in [frame(0x83, b""), frame(0x88, b""), vec![0x82, 0x01]] {
            let mut ahead = Ahead::default();
            let wire = [&bad[..], &ping].concat();
            assert!(pings(&mut ahead, &wire, 0).is_empty());
            assert!(pings(&mut ahead, &wire, 0).is_empty());
            ahead.took(wire.len());
            assert_eq!(pings(&mut ahead, &ping, 0), [b"p"], "the search starts again");
        }
        let mut ahead = Ahead::default();
        assert!(ahead.ping(&ping, 0, false, || false).is_none());
        assert!(pings(&mut ahead, &ping, 0).is_empty(), "an unpaid ping waits");
        assert!(!ahead.was_answered());
        ahead.took(ping.len());
        assert_eq!(pings(&mut ahead, &ping, 0), [b"p"]);
        // A long frame ends past all bytes that are held.
        let mut ahead = Ahead::default();
        let long = [&[0x82, 0xff][..], &u64::MAX.to_be_bytes(), &KEY].concat();
        assert!(pings(&mut ahead, &long, 0).is_empty());
        assert!(pings(&mut ahead, &ping, u64::MAX).is_empty());
    }
}
