//! What a client sends behind bytes that wait for the application.
//!
//! While a websocket is blocked for lack of credit, some bytes are read ahead, so that the peer's life
//! shows, and its pings are answered. In: those bytes, at the places where frames begin. Out: the pings
//! among them, once each, in order. Everything else is looked at when its turn comes.

use super::frame::{self, Header, Look, Opcode};
use super::mask::Mask;

/// How far the bytes were looked at. Places count from the first byte that was not taken.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Where the next frame begins, which may lie behind all that is there.
    next: usize,
    /// What lies there is no frame, or nothing is to follow it.
    stopped: bool,
    /// Pings that were answered, and are to be passed over when their turn comes.
    answered: u32,
}

impl Ahead {
    /// The first `bytes` were taken: they come to an end there, or within what was looked at.
    #[inline]
    pub(crate) fn took(&mut self, bytes: usize) {
        match self.next.checked_sub(bytes) {
            Some(next) => self.next = next,
            None => (self.next, self.stopped) = (0, false),
        }
    }

    /// A ping's turn has come; true if it was answered ahead.
    #[inline]
    pub(crate) fn was_answered(&mut self) -> bool {
        let answered = self.answered > 0;
        self.answered = self.answered.saturating_sub(1);
        answered
    }

    /// The payload of the next ping in `bytes` that is there whole. The first `begun` bytes belong to a
    /// frame that was begun. `pays` is asked before; if it says no, the ping waits for its turn.
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
    fn what_was_taken_moves_the_place() {
        let (data, ping) = (frame(0x82, b"data"), frame(0x89, b"p"));
        let mut ahead = Ahead::default();
        let both = [data.clone(), ping.clone()].concat();
        assert_eq!(pings(&mut ahead, &both, 0), [b"p"]);
        ahead.took(data.len());
        assert!(pings(&mut ahead, &ping, 0).is_empty(), "it was answered");
        assert!(ahead.was_answered());
        ahead.took(ping.len());
        assert_eq!(pings(&mut ahead, &both, 0), [b"p"], "another one");
        assert!(ahead.was_answered());
        ahead.took(both.len() + 1000);
        assert_eq!(pings(&mut ahead, &ping, 0), [b"p"]);
    }

    #[test]
    fn nothing_is_looked_for_behind_a_mistake_a_close_or_what_is_not_paid() {
        let ping = frame(0x89, b"p");
        for bad in [frame(0x83, b""), frame(0x88, b""), vec![0x82, 0x01]] {
            let mut ahead = Ahead::default();
            let wire = [&bad[..], &ping].concat();
            assert!(pings(&mut ahead, &wire, 0).is_empty());
            assert!(pings(&mut ahead, &wire, 0).is_empty());
            ahead.took(wire.len());
            assert_eq!(pings(&mut ahead, &ping, 0), [b"p"], "what follows begins anew");
        }
        let mut ahead = Ahead::default();
        assert!(ahead.ping(&ping, 0, false, || false).is_none());
        assert!(pings(&mut ahead, &ping, 0).is_empty(), "it waits for its turn");
        assert!(!ahead.was_answered());
        ahead.took(ping.len());
        assert_eq!(pings(&mut ahead, &ping, 0), [b"p"]);
        // A long frame reaches behind all that is there.
        let mut ahead = Ahead::default();
        let long = [&[0x82, 0xff][..], &u64::MAX.to_be_bytes(), &KEY].concat();
        assert!(pings(&mut ahead, &long, 0).is_empty());
        assert!(pings(&mut ahead, &ping, u64::MAX).is_empty());
    }
}
