//! Reads the answers of one connection, strictly enough to count them and fast enough not to be the
//! bottleneck.

use std::fmt;

use httparse::{EMPTY_HEADER, Response, Status};

/// The longest head that is read. Heads in a benchmark are much shorter.
const HEAD_LIMIT: usize = 8 << 10;

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// Not HTTP, or a head without an end.
    Malformed,
    /// HTTP/1.1 with a status other than 200, or other than 101 for a websocket.
    Status(u16),
    /// A transfer coding, or not exactly one valid `Content-Length`.
    Framing,
    /// A body of this unexpected length.
    Length(u64),
    /// More bytes than the answers have.
    Excess,
    /// Not the expected handshake or frame of a websocket or of HTTP/2.
    Frame,
    /// A message that differs from the one that was sent.
    Echo,
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(f, "the answer is not HTTP/1.1"),
            Self::Status(status) => write!(f, "the answer has status {status}"),
            Self::Framing => write!(f, "the answer does not have exactly one Content-Length"),
            Self::Length(length) => {
                write!(f, "the answer's body has an unexpected length of {length} bytes")
            }
            Self::Excess => write!(f, "bytes arrived after the last answer"),
            Self::Frame => {
                write!(f, "the answer is not the expected handshake or frame")
            }
            Self::Echo => write!(f, "the echo differs from the message"),
        }
    }
}

impl std::error::Error for BadAnswer {}

/// The relevant parts of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    length: u64,
    closes: bool,
}

/// The answers of one connection, read in pieces.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// An incomplete head.
    held: Vec<u8>,
    /// The last complete head. A server repeats its head byte by byte, except for the date once a
    /// second, so comparing mostly replaces parsing.
    known: Vec<u8>,
    known_head: Option<Head>,
    /// Bytes left of the current body; `None` between answers.
    body: Option<u64>,
    expected_length: Option<u64>,
}

/// One step through the bytes received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes used, body included.
    pub(super) used: usize,
    /// Bytes of the body among them.
    pub(super) body: usize,
    /// Set if an answer ended here.
    pub(super) end: Option<End>,
}

/// The end of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The answer says that it is the connection's last.
    pub(super) closes: bool,
}

impl Answers {
    pub(super) fn new(expected_length: Option<u64>) -> Self {
        Self { expected_length, ..Self::default() }
    }

    /// Drops the state of the previous connection.
    pub(super) fn restart(&mut self) {
        self.held.clear();
        self.body = None;
    }

    /// Reads to the end of one answer, or of `bytes`. Call it again with the rest.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<Step, BadAnswer> {
        let (used, left) = match self.body {
            Some(left) => (0, left),
            None => match self.head(bytes)? {
                (used, Some(head)) => (used, head.length),
                (used, None) => {
                    return Ok(Step { used, body: 0, end: None });
                }
            },
        };
        let body = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - used);
        let left = left - body as u64;
        self.body = (left > 0).then_some(left);
        let closes = self.known_head.is_some_and(|head| head.closes);
        Ok(Step { used: used + body, body, end: (left == 0).then_some(End { closes }) })
    }

    /// The number of bytes that belong to the current head, and the head if it is complete.
    fn head(&mut self, bytes: &[u8]) -> Result<(usize, Option<Head>), BadAnswer> {
        if self.held.is_empty() && !self.known.is_empty() && bytes.starts_with(&self.known) {
            return Ok((self.known.len(), self.known_head));
        }
        let before = self.held.len();
        let room = (HEAD_LIMIT - before).min(bytes.len());
        self.held.extend_from_slice(&bytes[..room]);
        let Some((length, head)) = parse(&self.held)? else {
            if self.held.len() == HEAD_LIMIT {
                return Err(BadAnswer::Malformed);
            }
            return Ok((bytes.len(), None));
        };
        if self.expected_length.is_some_and(|expected| expected != head.length) {
            return Err(BadAnswer::Length(head.length));
        }
        self.held.truncate(length);
        self.known.clear();
        self.known.append(&mut self.held);
        self.known_head = Some(head);
        Ok((length - before, Some(head)))
    }
}

/// Parses a head at the start of `bytes`; also returns its length.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Head)>, BadAnswer> {
    let mut fields = [EMPTY_HEADER; 32];
    let mut response = Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(BadAnswer::Malformed),
    };
    if response.version != Some(1) {
        return Err(BadAnswer::Malformed);
    }
    if let Some(status) = response.code.filter(|status| *status != 200) {
        return Err(BadAnswer::Status(status));
    }
    let (mut content_length, mut closes) = (None, false);
    for field in response.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            let value = std::str::from_utf8(field.value).ok().and_then(|text| text.parse().ok());
            if content_length.is_some() || value.is_none() {
                return Err(BadAnswer::Framing);
            }
            content_length = value;
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(BadAnswer::Framing);
        } else if field.name.eq_ignore_ascii_case("connection") {
            closes |= field.value.eq_ignore_ascii_case(b"close");
        }
    }
    let content_length = content_length.ok_or(BadAnswer::Framing)?;
    Ok(Some((length, Head { length: content_length, closes })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"HTTP/1.1 200 OK\r\nDate: a\r\ncontent-length: 5\r\n\r\nhello\
                         HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

    /// The body bytes and the ends in `bytes`, read in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Result<(usize, Vec<bool>), BadAnswer> {
        let mut answers = Answers::new(None);
        let (mut body, mut ends) = (0, Vec::new());
        for mut rest in bytes.chunks(piece) {
            while !rest.is_empty() {
                let step = answers.step(rest)?;
                rest = &rest[step.used..];
                body += step.body;
                ends.extend(step.end.map(|end| end.closes));
            }
        }
        Ok((body, ends))
    }

    #[test]
    fn answers_are_counted_for_every_piece_size() {
        for piece in 1..=TWO.len() {
            assert_eq!(read(TWO, piece), Ok((5, vec![false, true])), "pieces of {piece}");
        }
    }

    #[test]
    fn repeated_heads_are_recognised() {
        let one = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        for piece in 1..=3 * one.len() {
            assert_eq!(read(&one.repeat(3), piece), Ok((6, vec![false; 3])), "pieces of {piece}");
        }
    }

    #[test]
    fn unexpected_answers_are_errors() {
        let refused = |head: &str| read(head.as_bytes(), head.len()).unwrap_err();
        let bad = BadAnswer::Status(404);
        assert_eq!(refused("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), bad);
        assert_eq!(refused("HTTP/1.1 200 OK\r\n\r\n"), BadAnswer::Framing);
        let twice = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(refused(twice), BadAnswer::Framing);
        let chunked = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(refused(chunked), BadAnswer::Framing);
        assert_eq!(refused("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"), BadAnswer::Malformed);
        assert_eq!(refused("220 smtp.example ESMTP\r\n"), BadAnswer::Malformed);
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_LIMIT));
        assert_eq!(refused(&endless), BadAnswer::Malformed);
    }

    #[test]
    fn a_body_of_another_length_is_an_error() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert!(Answers::new(Some(5)).step(answer).is_ok());
        assert_eq!(Answers::new(Some(4)).step(answer), Err(BadAnswer::Length(5)));
    }
}
