//! Reads what a server sends to an attacker, and notes what expectations are about.

use std::time::Duration;

use loona_hpack::Decoder;

use super::frames;

/// The protocol of a connection, by which its bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Bytes are only counted.
    Raw,
    Http1,
    Http2,
    /// Answers of HTTP/1.1 until a 101, then frames.
    WebSocket,
}

/// How a connection ended for its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// It has not ended.
    #[default]
    Open,
    /// The server closed it.
    Closed,
    /// The server reset it.
    Reset,
}

/// What arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// The status of each answer, in order.
    pub(super) statuses: Vec<u16>,
    /// The close code of a websocket, or the error code of GOAWAY.
    pub(super) code: Option<u32>,
    /// Streams that the server reset, or pings of a websocket.
    pub(super) resets: u64,
    pub(super) pings: u64,
    /// Content: bytes of DATA frames, or of messages.
    pub(super) content: u64,
    /// Messages, or streams that ended.
    pub(super) ends: u64,
    /// An answer said `Connection: close`.
    pub(super) says_close: bool,
    /// The server's SETTINGS arrived.
    pub(super) settings: bool,
}

/// What one attacker saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// From just before the server's timer can have started until the end.
    pub(super) held: Duration,
    /// The same from the beginning of the connection.
    pub(super) lasted: Duration,
    pub(super) end: End,
    pub(super) notes: Notes,
    pub(super) sent: u64,
}

/// Splits the bytes of a connection into answers or frames.
pub(super) struct Reader {
    reading: Reading,
    held: Vec<u8>,
    /// Bytes of content that follow the last head of HTTP/1.1. All, if the length is unknown.
    skip: u64,
    upgraded: bool,
    hpack: Option<Box<Decoder<'static>>>,
}

impl Reader {
    pub(super) fn new(reading: Reading) -> Self {
        let hpack = (reading == Reading::Http2).then(|| Box::new(Decoder::new()));
        Self { reading, held: Vec::new(), skip: 0, upgraded: false, hpack }
    }

    /// Takes bytes, and notes what is complete.
    pub(super) fn take(&mut self, mut bytes: &[u8], notes: &mut Notes) {
        while !bytes.is_empty() {
            let skipped = (bytes.len() as u64).min(self.skip);
            self.skip -= skipped;
            notes.content += skipped;
            bytes = &bytes[skipped as usize..];
            self.held.extend_from_slice(bytes);
            bytes = &[];
            while self.step(notes) {}
        }
    }

    /// Reads one unit of the bytes held. False if it is incomplete.
    fn step(&mut self, notes: &mut Notes) -> bool {
        let used = match self.reading {
            Reading::Raw => self.held.len(),
            Reading::Http2 => self.http2(notes),
            Reading::WebSocket if self.upgraded => self.websocket(notes),
            Reading::Http1 | Reading::WebSocket => self.http1(notes),
        };
        self.held.drain(..used);
        used > 0 && !self.held.is_empty()
    }

    fn http1(&mut self, notes: &mut Notes) -> usize {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut fields);
        let used = match answer.parse(&self.held) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) => return 0,
            // No answer of HTTP/1.1, such as an alert of TLS.
            Err(_) => return self.held.len(),
        };
        let status = answer.code.unwrap_or(0);
        notes.statuses.push(status);
        let field = |name: &str| {
            let found = answer.headers.iter().find(|it| it.name.eq_ignore_ascii_case(name));
            found.and_then(|it| std::str::from_utf8(it.value).ok())
        };
        notes.says_close |= field("connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
        self.upgraded = status == 101;
        self.skip = match field("content-length") {
            _ if status < 200 || status == 204 || status == 304 => 0,
            Some(length) => length.parse().unwrap_or(u64::MAX),
            None => u64::MAX,
        };
        let skipped = self.skip.min((self.held.len() - used) as u64);
        self.skip -= skipped;
        notes.content += skipped;
        used + skipped as usize
    }

    fn http2(&mut self, notes: &mut Notes) -> usize {
        let [a, b, c, kind, flags, ..] = self.held[..] else { return 0 };
        let whole = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
        let Some(payload) = self.held.get(9..whole) else { return 0 };
        match kind {
            frames::HEADERS => {
                let fields = self.hpack.as_mut().and_then(|it| it.decode(payload).ok());
                let status = fields.and_then(|fields| {
                    let status = fields.iter().find(|(name, _)| &name[..] == b":status");
                    status
                        .and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse::<u16>().ok())
                });
                notes.statuses.extend(status);
            }
            frames::DATA => notes.content += payload.len() as u64,
            frames::RST_STREAM => notes.resets += 1,
            frames::SETTINGS => notes.settings |= flags & frames::ACK == 0,
            frames::PING => notes.pings += 1,
            // The last one counts: a first one may only announce the end.
            frames::GOAWAY => {
                let code = payload.get(4..8).and_then(|it| it.try_into().ok());
                notes.code = code.map(u32::from_be_bytes);
            }
            _ => {}
        }
        let ends = matches!(kind, frames::DATA | frames::HEADERS);
        notes.ends += u64::from(ends && flags & frames::END_STREAM != 0);
        whole
    }

    fn websocket(&mut self, notes: &mut Notes) -> usize {
        let [first, length, ..] = self.held[..] else { return 0 };
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let (head, length) = match length {
            126 => (4, self.held.get(2..4).map(number)),
            127 => (10, self.held.get(2..10).map(number)),
            short => (2, Some(short.into())),
        };
        let Some(length) = length else { return 0 };
        let whole = head + length as usize;
        let Some(payload) = self.held.get(head..whole) else { return 0 };
        match first & 0x0f {
            8 => notes.code = payload.get(..2).map(|code| number(code) as u32),
            9 => notes.pings += 1,
            10 => {}
            _ => {
                notes.content += length;
                notes.ends += u64::from(first & 0x80 != 0);
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(reading: Reading, bytes: &[u8], size: usize) -> Notes {
        let (mut reader, mut notes) = (Reader::new(reading), Notes::default());
        bytes.chunks(size).for_each(|bytes| reader.take(bytes, &mut notes));
        notes
    }

    #[test]
    fn answers_are_noted_however_they_are_cut() {
        let answers =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
            HTTP/1.1 408 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        for size in [1, 7, answers.len()] {
            let notes = notes(Reading::Http1, answers, size);
            assert_eq!((&notes.statuses[..], notes.content), (&[100, 200, 408][..], 3));
            assert!(notes.says_close);
        }
    }

    #[test]
    fn frames_are_noted_however_they_are_cut() {
        let bytes = [
            frames::settings(&[]),
            frames::frame(frames::HEADERS, frames::END_HEADERS, 1, &[0x88]),
            frames::frame(frames::DATA, frames::END_STREAM, 1, b"hello"),
            frames::rst_stream(3),
            frames::frame(frames::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 11]),
        ];
        let bytes = bytes.concat();
        for size in [1, 7, bytes.len()] {
            let notes = notes(Reading::Http2, &bytes, size);
            assert_eq!((&notes.statuses[..], notes.content, notes.ends), (&[200][..], 5, 1));
            assert_eq!((notes.resets, notes.code, notes.settings), (1, Some(11), true));
        }
    }

    #[test]
    fn websocket_frames_follow_the_101() {
        let bytes = b"HTTP/1.1 101 X\r\n\r\n\x81\x02hi\x89\x00\x88\x02\x03\xf1";
        for size in [1, 5, bytes.len()] {
            let notes = notes(Reading::WebSocket, bytes, size);
            assert_eq!((notes.ends, notes.content, notes.pings), (1, 2, 1));
            assert_eq!(notes.code, Some(1009));
        }
    }
}
