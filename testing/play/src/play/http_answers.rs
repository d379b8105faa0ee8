//! The output is what was accepted: the bytes that the peer took are read as answers, and compared
//! with the application's calls.
//!
//! Nothing lost: content is in order, and complete unless the connection closed with unsent bytes.
//! Otherwise the output has at most one refusal of the connection's own, at the end.

use super::model::pattern;

/// The application's answer to one request.
#[derive(Debug, Default)]
pub struct Answer {
    /// Interim answers except 100, which the connection also sends by itself.
    pub interim: Vec<u16>,
    pub status: Option<u16>,
    /// Bytes of content that were accepted.
    pub accepted: u64,
    pub complete: bool,
}

/// Why the rest of the bytes cannot be read.
struct Ends;

struct Reader<'o> {
    rest: &'o [u8],
}

struct Head<'o> {
    status: u16,
    length: Option<u64>,
    chunked: bool,
    lines: Vec<&'o str>,
}

/// Compares `out`, all bytes that the peer took, with `answers`. If bytes were `dropped` at the
/// close, the end may be missing.
pub fn check(out: &[u8], answers: &[Answer], dropped: bool, refused: Option<u16>) {
    let mut reader = Reader { rest: out };
    for (place, answer) in answers.iter().enumerate() {
        let last = place + 1 == answers.len();
        match reader.answer(answer, refused.filter(|_| last)) {
            Ok(()) => assert!(last || answer.complete, "an answer follows an incomplete one"),
            Err(Ends) if dropped => return,
            Err(Ends) => panic!("nothing lost: the end of answer {place} {answer:?} is missing"),
        }
        if refused.is_some() && last && answer.status.is_none() {
            assert!(reader.rest.is_empty(), "bytes follow a refusal");
            return;
        }
    }
    if reader.rest.is_empty() {
        return;
    }
    let Some(refused) = refused else {
        panic!("bytes follow the last of {answers:?}: {}", reader.rest.escape_ascii())
    };
    match reader.refusal(refused) {
        Ok(()) => assert!(reader.rest.is_empty(), "bytes follow a refusal"),
        Err(Ends) => assert!(dropped, "nothing lost: the end of a refusal is missing"),
    }
}

impl<'o> Reader<'o> {
    fn answer(&mut self, answer: &Answer, refused: Option<u16>) -> Result<(), Ends> {
        let mut interim = answer.interim.iter();
        while self.rest.starts_with(b"HTTP/1.1 1") && !self.switches(answer) {
            let status = self.head()?.status;
            if status != 100 {
                assert_eq!(Some(&status), interim.next(), "interim answers in order");
            }
        }
        if !self.rest.is_empty() && b"HTTP/1.1 1".starts_with(self.rest) {
            return Err(Ends);
        }
        let missing = interim.next().is_some();
        let Some(status) = answer.status else {
            assert!(!missing || self.rest.is_empty(), "an interim answer is missing");
            return match refused {
                Some(_) if missing => Err(Ends),
                Some(status) if !self.rest.is_empty() => self.refusal(status),
                _ if missing => Err(Ends),
                _ => Ok(()),
            };
        };
        if self.rest.is_empty() || missing {
            return Err(Ends);
        }
        let head = self.head()?;
        assert_eq!(head.status, status, "{answer:?}");
        let seen = match (head.length, head.chunked) {
            _ if answer.accepted == 0 && answer.complete && !head.chunked => 0,
            (Some(length), chunked) => {
                assert!(!chunked, "an answer has two framings");
                assert!(answer.accepted <= length, "longer than declared: {answer:?}");
                assert!(
                    !answer.complete || answer.accepted == length,
                    "shorter than declared: {answer:?}"
                );
                self.content(answer.accepted, 0)?
            }
            (None, true) => self.chunks(answer)?,
            (None, false) => self.content(answer.accepted, 0)?,
        };
        assert_eq!(seen, answer.accepted, "nothing lost: {answer:?}");
        Ok(())
    }

    /// Whether the next head is the 101 that begins a tunnel.
    fn switches(&self, answer: &Answer) -> bool {
        answer.status == Some(101) && self.rest.starts_with(b"HTTP/1.1 101")
    }

    fn head(&mut self) -> Result<Head<'o>, Ends> {
        let end = self.rest.windows(4).position(|it| it == b"\r\n\r\n").ok_or(Ends)?;
        let (head, rest) = self.rest.split_at(end + 4);
        self.rest = rest;
        let text = std::str::from_utf8(head).expect("a head is ASCII here");
        let mut lines = text.split("\r\n").take_while(|line| !line.is_empty());
        let first = lines.next().expect("a status line");
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|line| line.get(..3));
        let mut head = Head {
            status: status.and_then(|it| it.parse().ok()).expect("a status"),
            length: None,
            chunked: false,
            lines: lines.collect(),
        };
        for line in &head.lines {
            let (name, value) = line.split_once(": ").expect("a field line");
            match name {
                "content-length" => {
                    assert_eq!(head.length.replace(value.parse().expect("a length")), None);
                }
                "transfer-encoding" => {
                    assert_eq!((value, head.chunked), ("chunked", false));
                    head.chunked = true;
                }
                _ => {}
            }
        }
        Ok(head)
    }

    /// Compares `length` bytes with the content that was sent from `offset` on.
    fn content(&mut self, length: u64, offset: u64) -> Result<u64, Ends> {
        let mut seen = 0;
        while seen < length {
            let expected = pattern(offset + seen, (length - seen).min(self.rest.len() as u64));
            if expected.is_empty() {
                return Err(Ends);
            }
            let (bytes, rest) = self.rest.split_at(expected.len());
            assert!(bytes == expected, "nothing lost: content is not what was sent");
            seen += expected.len() as u64;
            self.rest = rest;
        }
        Ok(length)
    }

    fn chunks(&mut self, answer: &Answer) -> Result<u64, Ends> {
        let mut seen = 0;
        while seen < answer.accepted || answer.complete {
            let line = self.rest.windows(2).position(|it| it == b"\r\n").ok_or(Ends)?;
            let size = std::str::from_utf8(&self.rest[..line]).expect("a chunk size");
            let size = u64::from_str_radix(size, 16).expect("a chunk size");
            if size == 0 {
                assert!(answer.complete, "the last chunk came before the end");
                // The last chunk's line and the trailers end as a head does.
                self.rest = &self.rest[line..];
                let end = self.rest.windows(4).position(|it| it == b"\r\n\r\n").ok_or(Ends)?;
                self.rest = &self.rest[end + 4..];
                return Ok(seen);
            }
            assert!(seen + size <= answer.accepted, "more content than was sent");
            self.rest = &self.rest[line + 2..];
            seen += self.content(size, seen)?;
            let end = self.rest.get(..2).ok_or(Ends)?;
            assert_eq!(end, b"\r\n", "the end of a chunk");
            self.rest = &self.rest[2..];
        }
        Ok(seen)
    }

    /// The refusal that the connection wrote by itself.
    fn refusal(&mut self, status: u16) -> Result<(), Ends> {
        let head = self.head()?;
        assert_eq!(head.status, status, "the status does not fit the reason");
        assert!(head.lines.contains(&"connection: close"));
        let length = head.length.expect("the length of a refusal") as usize;
        // An answer to HEAD has no content.
        if !self.rest.is_empty() {
            self.rest = self.rest.get(length..).ok_or(Ends)?;
        }
        Ok(())
    }
}
