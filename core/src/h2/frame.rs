//! Frames: the header that each begins with, and the frames that the server writes (RFC 9113 4.1, 6).
//!
//! In: nine bytes of a frame's header. Out: its type, flags, stream and length, checked against the rules that
//! hold for a header alone. The writers append whole frames to the output's buffer.

use crate::close::{ErrorCode, Fault};
use crate::output::Output;

/// The first bytes of each client (RFC 9113 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's header.
pub(crate) const HEADER: usize = 9;
/// The longest payload that we allow, and the least that every peer has to allow (RFC 9113 4.2).
pub(crate) const LONGEST: u32 = 16_384;
/// The largest window (RFC 9113 6.9.1), and the largest number of a stream (5.1.1).
pub(crate) const MOST: u32 = (1 << 31) - 1;

/// The types of frames (RFC 9113 6, RFC 9218 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Headers,
    Priority,
    ResetStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    PriorityUpdate,
    /// A type that we don't know: its frames are ignored (RFC 9113 5.5).
    Unknown,
}

impl Kind {
    const fn of(number: u8) -> Kind {
        match number {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::ResetStream,
            4 => Kind::Settings,
            5 => Kind::PushPromise,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            16 => Kind::PriorityUpdate,
            _ => Kind::Unknown,
        }
    }
}

/// The last frame of the stream: of DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 0x01;
/// The answer to SETTINGS or to PING.
pub(crate) const ACK: u8 = 0x01;
/// The last frame of a field block: of HEADERS and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 0x04;
/// A byte in front tells how much padding is at the end: of DATA and HEADERS.
pub(crate) const PADDED: u8 = 0x08;
/// Five bytes of the old priorities are in front: of HEADERS.
const PRIORITY: u8 = 0x20;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    /// Bytes of the payload.
    pub(crate) length: u32,
}

/// Whether the beginning of a frame shows that it carries the head of a request, or trailers.
pub(super) fn begins_head(bytes: &[u8]) -> bool {
    bytes.get(3).is_some_and(|kind| Kind::of(*kind) == Kind::Headers)
}

impl Header {
    /// Reads a header, and checks what holds for it alone: the length of the payload, and whether the frame
    /// is one of a stream or of the connection.
    pub(crate) fn read(bytes: [u8; HEADER]) -> Result<Header, Fault> {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        let length = u32::from_be_bytes([0, a, b, c]);
        // The highest bit is reserved, and ignored (RFC 9113 4.1).
        let stream = u32::from_be_bytes(stream) & MOST;
        let header = Header { kind: Kind::of(kind), flags, stream, length };
        if length > LONGEST {
            return Err(Fault::FrameSize);
        }
        header.check_stream()?;
        header.check_length()?;
        Ok(header)
    }

    fn check_stream(&self) -> Result<(), Fault> {
        let is_allowed = match self.kind {
            Kind::Data
            | Kind::Headers
            | Kind::Priority
            | Kind::ResetStream
            | Kind::Continuation => self.stream != 0,
            Kind::Settings | Kind::Ping | Kind::GoAway | Kind::PriorityUpdate => self.stream == 0,
            Kind::PushPromise => return Err(Fault::PushPromise),
            Kind::WindowUpdate | Kind::Unknown => true,
        };
        if is_allowed { Ok(()) } else { Err(Fault::FrameStream) }
    }

    fn check_length(&self) -> Result<(), Fault> {
        let is_allowed = match self.kind {
            Kind::ResetStream | Kind::WindowUpdate => self.length == 4,
            Kind::Ping => self.length == 8,
            Kind::Settings if self.has(ACK) => self.length == 0,
            Kind::Settings => self.length.is_multiple_of(6),
            Kind::GoAway => self.length >= 8,
            Kind::PriorityUpdate => self.length >= 4,
            // A PRIORITY of another length is an error of its stream alone (RFC 9113 6.3).
            _ => true,
        };
        if is_allowed { Ok(()) } else { Err(Fault::FrameSize) }
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The field block in the payload of HEADERS, and the stream that it depends on by the old priorities
    /// (RFC 9113 6.2).
    pub(crate) fn field_block<'p>(
        &self,
        payload: &'p [u8],
    ) -> Result<(&'p [u8], Option<u32>), Fault> {
        let mut rest = payload;
        let mut padding = 0;
        if self.has(PADDED) {
            let (length, after) = rest.split_first().ok_or(Fault::FrameSize)?;
            (padding, rest) = (usize::from(*length), after);
        }
        let mut dependency = None;
        if self.has(PRIORITY) {
            let (old, after) = rest.split_at_checked(5).ok_or(Fault::FrameSize)?;
            dependency = Some(number(old) & MOST);
            rest = after;
        }
        let length = rest.len().checked_sub(padding).ok_or(Fault::Padding)?;
        Ok((rest.get(..length).unwrap_or_default(), dependency))
    }
}

/// The number in the first four bytes.
pub(crate) fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

// ---- what the server writes ------------------------------------------------------------------------

/// The header of a frame that the server writes.
pub(crate) fn header(kind: Kind, flags: u8, stream: u32, length: usize) -> [u8; HEADER] {
    let number = match kind {
        Kind::Data => 0,
        Kind::Headers => 1,
        Kind::Priority => 2,
        Kind::ResetStream => 3,
        Kind::Settings => 4,
        Kind::PushPromise => 5,
        Kind::Ping => 6,
        Kind::GoAway => 7,
        Kind::WindowUpdate => 8,
        Kind::Continuation => 9,
        Kind::PriorityUpdate => 16,
        Kind::Unknown => 255,
    };
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [a, b, c, number, flags, d, e, f, g]
}

/// Writes a frame whose payload is short.
fn write(output: &mut Output, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    let buffer = output.buffer(HEADER + payload.len());
    buffer.extend_from_slice(&header(kind, flags, stream, payload.len()));
    buffer.extend_from_slice(payload);
}

pub(crate) fn write_reset(output: &mut Output, stream: u32, code: ErrorCode) {
    write(output, Kind::ResetStream, 0, stream, &code.number().to_be_bytes());
}

pub(crate) fn write_window_update(output: &mut Output, stream: u32, more: u32) {
    write(output, Kind::WindowUpdate, 0, stream, &more.to_be_bytes());
}

pub(crate) fn write_pong(output: &mut Output, payload: [u8; 8]) {
    write(output, Kind::Ping, ACK, 0, &payload);
}

pub(crate) fn write_settings_ack(output: &mut Output) {
    write(output, Kind::Settings, ACK, 0, &[]);
}

/// Writes our SETTINGS: pairs of an identifier and a value.
pub(crate) fn write_settings(output: &mut Output, settings: &[(u16, u32)]) {
    let length = settings.len() * 6;
    let buffer = output.buffer(HEADER + length);
    buffer.extend_from_slice(&header(Kind::Settings, 0, 0, length));
    for (identifier, value) in settings {
        buffer.extend_from_slice(&identifier.to_be_bytes());
        buffer.extend_from_slice(&value.to_be_bytes());
    }
}

/// Writes a GOAWAY. `about` tells people the reason.
pub(crate) fn write_goaway(output: &mut Output, last: u32, code: ErrorCode, about: &str) {
    let mut payload = Vec::with_capacity(8 + about.len());
    payload.extend_from_slice(&last.to_be_bytes());
    payload.extend_from_slice(&code.number().to_be_bytes());
    payload.extend_from_slice(about.as_bytes());
    write(output, Kind::GoAway, 0, 0, &payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(length: u32, kind: u8, flags: u8, stream: u32) -> Result<Header, Fault> {
        let [_, a, b, c] = length.to_be_bytes();
        let [d, e, f, g] = stream.to_be_bytes();
        Header::read([a, b, c, kind, flags, d, e, f, g])
    }

    #[test]
    fn headers_are_checked_by_themselves() {
        for (length, kind, flags, stream, expected) in [
            (LONGEST, 0, 0, 1, None),
            (LONGEST + 1, 0, 0, 1, Some(Fault::FrameSize)),
            (LONGEST + 1, 99, 0, 0, Some(Fault::FrameSize)),
            (0, 0, 0, 0, Some(Fault::FrameStream)),
            (0, 1, 0, 0, Some(Fault::FrameStream)),
            (5, 2, 0, 0, Some(Fault::FrameStream)),
            (4, 3, 0, 0, Some(Fault::FrameStream)),
            (3, 3, 0, 1, Some(Fault::FrameSize)),
            (0, 4, 0, 1, Some(Fault::FrameStream)),
            (6, 4, 0, 0, None),
            (7, 4, 0, 0, Some(Fault::FrameSize)),
            (6, 4, ACK, 0, Some(Fault::FrameSize)),
            (0, 4, ACK, 0, None),
            (4, 5, 0, 1, Some(Fault::PushPromise)),
            (8, 6, 0, 0, None),
            (8, 6, 0, 1, Some(Fault::FrameStream)),
            (7, 6, 0, 0, Some(Fault::FrameSize)),
            (8, 7, 0, 1, Some(Fault::FrameStream)),
            (7, 7, 0, 0, Some(Fault::FrameSize)),
            (4, 8, 0, 0, None),
            (4, 8, 0, 7, None),
            (5, 8, 0, 7, Some(Fault::FrameSize)),
            (0, 9, 0, 0, Some(Fault::FrameStream)),
            (3, 16, 0, 0, Some(Fault::FrameSize)),
            (4, 16, 0, 1, Some(Fault::FrameStream)),
            (1, 77, 0xff, 12, None),
        ] {
            let read = read(length, kind, flags, stream);
            assert_eq!(read.err(), expected, "type {kind}, {length} bytes, stream {stream}");
        }
        let reserved = read(0, 0, 0, (1 << 31) | 5).expect("the bit is ignored");
        assert_eq!(reserved.stream, 5);
    }

    #[test]
    fn padding_and_priority_stand_around_the_field_block() {
        let of = |flags, payload: &'static [u8]| {
            let header = Header { kind: Kind::Headers, flags, stream: 1, length: 0 };
            header.field_block(payload)
        };
        assert_eq!(of(0, b"block"), Ok((&b"block"[..], None)));
        assert_eq!(of(PADDED, b"\x02block\0\0"), Ok((&b"block"[..], None)));
        assert_eq!(of(PRIORITY, b"\x80\0\0\x07\x10block"), Ok((&b"block"[..], Some(7))));
        let both = of(PADDED | PRIORITY, b"\x01\0\0\0\x07\x10block\0");
        assert_eq!(both, Ok((&b"block"[..], Some(7))));
        assert_eq!(of(PADDED, b"\x05block"), Ok((&b""[..], None)));
        assert_eq!(of(PADDED, b"\x06block"), Err(Fault::Padding));
        assert_eq!(of(PADDED, b""), Err(Fault::FrameSize));
        assert_eq!(of(PRIORITY, b"\0\0\0\0"), Err(Fault::FrameSize));
    }

    #[test]
    fn written_headers_can_be_read() {
        for (kind, length, stream) in [
            (Kind::Data, 16_384, 7),
            (Kind::Headers, 300, MOST),
            (Kind::ResetStream, 4, 1),
            (Kind::Settings, 12, 0),
            (Kind::Ping, 8, 0),
            (Kind::GoAway, 9, 0),
            (Kind::WindowUpdate, 4, 0),
            (Kind::Continuation, 1, 3),
        ] {
            let expected = Header { kind, flags: 0, stream, length: length as u32 };
            assert_eq!(Header::read(header(kind, 0, stream, length)), Ok(expected));
        }
    }
}
