//! The messages of one websocket, which the server sends back (RFC 6455).

use std::sync::Arc;

use httparse::{EMPTY_HEADER, Response, Status};

use super::BadAnswer;
use super::answer::{End, Step};

/// The longest head of an answer to the handshake.
const HEAD_LIMIT: usize = 4 << 10;

/// The key of RFC 6455 1.3, and the value that a server derives from it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A fixed mask: its value does not change the cost for the server.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const LONGEST_HEADER: usize = 10;

/// A message that is sent repeatedly over a websocket, and its opening.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// The request that opens the websocket.
    pub(super) opening: Arc<[u8]>,
    /// The message as the client sends it: one masked frame.
    pub(super) frame: Arc<[u8]>,
    payload: Arc<[u8]>,
    opcode: u8,
}

impl Message {
    /// A text or binary message of `length` bytes.
    pub(super) fn new(target: &str, length: usize, text: bool) -> Self {
        let opening = format!(
            "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        let opcode = if text { 1 } else { 2 };
        let payload: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
        let mut frame = vec![FIN | opcode];
        match length {
            0..=125 => frame.push(MASKED | length as u8),
            126..=0xffff => {
                frame.push(MASKED | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(MASKED | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        Message {
            opening: opening.into_bytes().into(),
            frame: frame.into(),
            payload: payload.into(),
            opcode,
        }
    }
}

/// The messages that come back on one websocket, read in pieces.
#[derive(Debug)]
pub(super) struct Echoes {
    message: Message,
    open: bool,
    /// An incomplete head, or the incomplete header of a frame.
    held: Vec<u8>,
    /// Bytes of the current message that came back.
    echoed: usize,
    /// Bytes left of the current frame, and whether it is the message's last one.
    frame: Option<(usize, bool)>,
}

impl Echoes {
    pub(super) fn new(message: Message) -> Self {
        Echoes { message, open: false, held: Vec::new(), echoed: 0, frame: None }
    }

    /// Starts over, for a new connection.
    pub(super) fn restart(&mut self) {
        *self = Echoes::new(self.message.clone());
    }

    /// Whether the server has accepted the websocket.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Reads to the end of one message, or of `bytes`. Call it again with the rest.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<Step, BadAnswer> {
        if !self.open {
            let used = self.head(bytes)?;
            return Ok(Step { used, body: 0, end: None });
        }
        let (used, left, last) = match self.frame {
            Some((left, last)) => (0, left, last),
            None => match self.header(bytes)? {
                (used, Some((length, last))) => (used, length, last),
                (used, None) => return Ok(Step { used, body: 0, end: None }),
            },
        };
        let body = left.min(bytes.len() - used);
        let expected = self.message.payload.get(self.echoed..self.echoed + body);
        if expected != Some(&bytes[used..used + body]) {
            return Err(BadAnswer::Echo);
        }
        self.echoed += body;
        let left = left - body;
        self.frame = (left > 0).then_some((left, last));
        let ends = left == 0 && last;
        if ends {
            if self.echoed != self.message.payload.len() {
                return Err(BadAnswer::Echo);
            }
            self.echoed = 0;
        }
        Ok(Step { used: used + body, body, end: ends.then_some(End { closes: false }) })
    }

    /// The number of bytes that belong to the handshake's answer.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, BadAnswer> {
        let before = self.held.len();
        let room = (HEAD_LIMIT - before).min(bytes.len());
        self.held.extend_from_slice(&bytes[..room]);
        let mut fields = [EMPTY_HEADER; 32];
        let mut response = Response::new(&mut fields);
        match response.parse(&self.held) {
            Ok(Status::Partial) if self.held.len() < HEAD_LIMIT => Ok(bytes.len()),
            Ok(Status::Complete(length)) => {
                let status = response.code.unwrap_or_default();
                if status != 101 {
                    return Err(BadAnswer::Status(status));
                }
                let mut fields = response.headers.iter();
                let accepts = fields.any(|field| {
                    field.name.eq_ignore_ascii_case("sec-websocket-accept") && field.value == ACCEPT
                });
                if !accepts {
                    return Err(BadAnswer::Frame);
                }
                self.held.clear();
                self.open = true;
                Ok(length - before)
            }
            _ => Err(BadAnswer::Malformed),
        }
    }

    /// The number of bytes that belong to a frame's header. If it is complete, also the payload's
    /// length and whether the frame ends the message.
    fn header(&mut self, bytes: &[u8]) -> Result<(usize, Option<(usize, bool)>), BadAnswer> {
        let before = self.held.len();
        let room = (LONGEST_HEADER - before).min(bytes.len());
        self.held.extend_from_slice(&bytes[..room]);
        let (length, size) = match self.held[..] {
            [_, length @ 0..=125, ..] => (u64::from(length), 2),
            [_, 126, high, low, ..] => (u64::from(u16::from_be_bytes([high, low])), 4),
            [_, 127, a, b, c, d, e, f, g, h, ..] => {
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10)
            }
            [_, MASKED..=u8::MAX, ..] => return Err(BadAnswer::Frame),
            _ => return Ok((bytes.len(), None)),
        };
        let opcode = if self.echoed == 0 { self.message.opcode } else { 0 };
        let first = self.held[0];
        if first & !FIN != opcode {
            return Err(BadAnswer::Frame);
        }
        self.held.clear();
        let length = usize::try_from(length).map_err(|_| BadAnswer::Echo)?;
        Ok((size - before, Some((length, first & FIN != 0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 101 Switching Protocols\r\n\
        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    /// The number of messages that came back in `bytes`, read in pieces of this size.
    fn read(length: usize, bytes: &[u8], piece: usize) -> Result<usize, BadAnswer> {
        let mut echoes = Echoes::new(Message::new("/ws", length, true));
        let mut ends = 0;
        for mut rest in bytes.chunks(piece) {
            while !rest.is_empty() {
                let step = echoes.step(rest)?;
                rest = &rest[step.used..];
                ends += usize::from(step.end.is_some());
            }
        }
        assert!(echoes.is_open());
        Ok(ends)
    }

    #[test]
    fn echoes_are_counted_for_every_piece_size_and_fragmentation() {
        let frames = b"\x81\x03abc\x01\x01a\x00\x01b\x80\x01c\x81\x03abc";
        let bytes = [HEAD.as_bytes(), frames].concat();
        for piece in 1..=bytes.len() {
            assert_eq!(read(3, &bytes, piece), Ok(3), "pieces of {piece}");
        }
        let payload = Message::new("/ws", 300, true).payload;
        let bytes = [HEAD.as_bytes(), &[0x81, 126, 1, 44], &payload].concat();
        assert_eq!(read(300, &bytes, 7), Ok(1));
    }

    #[test]
    fn changed_echoes_are_errors() {
        let told = |frames: &[u8]| read(3, &[HEAD.as_bytes(), frames].concat(), usize::MAX);
        assert_eq!(told(b"\x81\x03abd"), Err(BadAnswer::Echo));
        assert_eq!(told(b"\x81\x02ab"), Err(BadAnswer::Echo));
        assert_eq!(told(b"\x81\x04abca"), Err(BadAnswer::Echo));
        assert_eq!(told(b"\x82\x03abc"), Err(BadAnswer::Frame));
        assert_eq!(told(b"\x81\x83abc"), Err(BadAnswer::Frame));
        assert_eq!(told(b"\x88\x02\x03\xe8"), Err(BadAnswer::Frame));
        assert_eq!(
            read(3, b"HTTP/1.1 404 Not Found\r\n\r\n", usize::MAX),
            Err(BadAnswer::Status(404))
        );
        let other = HEAD.replace("s3p", "S3p");
        assert_eq!(read(3, other.as_bytes(), usize::MAX), Err(BadAnswer::Frame));
    }
}
