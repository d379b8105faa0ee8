//! One request over HTTP/2 with prior knowledge, and the frames of its answer: enough to hold idle connections.
//!
//! The answer is recognized by its status alone, so only the static table of HPACK is used.

use super::BadAnswer;
use super::answer::{End, Step};

/// The preface, and SETTINGS without a value.
pub(super) const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The acknowledgement of the server's SETTINGS, which stands before the request.
const SETTINGS_ACK: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";

/// The bytes of a frame's header.
const HEADER: usize = 9;
/// Longer frames are no part of an answer for which this is enough.
const LONGEST: usize = 16 << 10;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;

/// `:status: 200` in the static table.
const STATUS_200: u8 = 0x88;

/// The bytes that ask for `target` on the first stream, with or without TLS.
pub(super) fn get(target: &str, tls: bool) -> Vec<u8> {
    // `:method: GET` and `:scheme`, then `:path` and `:authority` with values that are not indexed.
    let mut block = vec![0x82, if tls { 0x87 } else { 0x86 }];
    for (name, value) in [(4, target), (1, "127.0.0.1")] {
        block.extend([name, value.len() as u8]);
        block.extend(value.as_bytes());
    }
    let mut bytes = SETTINGS_ACK.to_vec();
    // END_HEADERS and END_STREAM.
    bytes.extend([0, 0, block.len() as u8, HEADERS, 0x05, 0, 0, 0, 1]);
    bytes.extend(block);
    bytes
}

/// The frames of one connection, read in pieces.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// An incomplete frame.
    held: Vec<u8>,
    /// The server's SETTINGS have come.
    is_open: bool,
}

impl Frames {
    /// Whether the request may be sent.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Reads to the end of one frame, or of `bytes`. Call it again with the rest.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<Step, BadAnswer> {
        let mut used = 0;
        let whole = loop {
            let whole = self.whole();
            if whole > HEADER + LONGEST {
                return Err(BadAnswer::Frame);
            }
            let missing = (whole - self.held.len()).min(bytes.len() - used);
            if missing == 0 {
                break whole;
            }
            self.held.extend_from_slice(&bytes[used..used + missing]);
            used += missing;
        };
        if self.held.len() < whole {
            return Ok(Step { used, body: 0, end: None });
        }
        let (kind, flags, payload) = (self.held[3], self.held[4], &self.held[HEADER..]);
        match kind {
            HEADERS if payload.first() != Some(&STATUS_200) => return Err(BadAnswer::Frame),
            RST_STREAM | GOAWAY => return Err(BadAnswer::Frame),
            _ => {}
        }
        self.is_open |= kind == SETTINGS && flags & ACK == 0;
        let body = if kind == DATA { payload.len() } else { 0 };
        let ends = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        self.held.clear();
        Ok(Step { used, body, end: ends.then_some(End { closes: false }) })
    }

    /// The length of the frame that is held, or of its header if that is incomplete.
    fn whole(&self) -> usize {
        match self.held[..] {
            [a, b, c, ..] if self.held.len() >= HEADER => {
                HEADER + u32::from_be_bytes([0, a, b, c]) as usize
            }
            _ => HEADER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server sends: SETTINGS, the acknowledgement of ours, HEADERS and DATA.
    const ANSWER: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0\
        \0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x05\0\x01\0\0\0\x01Hello";

    #[test]
    fn an_answer_is_read_whole_or_byte_by_byte() {
        for size in [1, ANSWER.len()] {
            let (mut frames, mut bodies, mut ends) = (Frames::default(), 0, 0);
            for mut bytes in ANSWER.chunks(size) {
                while !bytes.is_empty() {
                    let step = frames.step(bytes).expect("it is right");
                    bytes = &bytes[step.used..];
                    bodies += step.body;
                    ends += usize::from(step.end.is_some());
                }
            }
            assert_eq!((frames.is_open(), bodies, ends), (true, 5, 1));
        }
    }

    #[test]
    fn other_answers_are_wrong() {
        for wrong in [
            b"\0\0\x01\x01\x04\0\0\0\x01\x8d".as_slice(),
            b"\0\0\0\x03\0\0\0\0\x01",
            b"\0\0\0\x07\0\0\0\0\0",
            b"\x01\0\0\0\0\0\0\0\x01",
        ] {
            assert_eq!(Frames::default().step(wrong), Err(BadAnswer::Frame), "{wrong:?}");
        }
    }
}
