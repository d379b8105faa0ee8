//! Frame headers (RFC 6455 5.2).
//!
//! In: bytes that begin with a frame. Out: its header, or the number of bytes needed to read on.
//! A header is refused at the first byte that breaks a rule, before the rest has arrived.

use super::Violation;

/// The most payload bytes of a control frame (RFC 6455 5.5).
pub(crate) const LONGEST_CONTROL: usize = 125;
/// Bytes of the longest header that we send.
const LONGEST_WRITTEN: usize = 10;

const FIN: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;
/// The length is in the next two bytes, or in the next eight.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn of(byte: u8) -> Option<Self> {
        Some(match byte & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    fn number(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    pub(crate) fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// Whether a frame that begins with this byte is a control frame, including reserved opcodes.
pub(crate) fn is_control(first: u8) -> bool {
    first & 0x08 != 0
}

/// The header of a frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// This frame is the last of its message.
    pub(crate) fin: bool,
    /// The message is compressed (RFC 7692 6). Only its first frame says so.
    pub(crate) compressed: bool,
    pub(crate) opcode: Opcode,
    pub(crate) key: [u8; 4],
    /// Bytes of payload.
    pub(crate) length: u64,
    /// Bytes of the header itself: 6, 8 or 14.
    pub(crate) size: usize,
}

/// The outcome of reading a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Whole(Header),
    /// The header is incomplete; this many bytes are needed to read on.
    Short(usize),
}

/// Reads the header at the start of `bytes`. A compressed frame is a violation unless compression was
/// negotiated.
#[inline]
pub(crate) fn read(bytes: &[u8], may_compress: bool) -> Result<Look, Violation> {
    let Some(first) = bytes.first() else { return Ok(Look::Short(2)) };
    let opcode = Opcode::of(*first).ok_or(Violation::ReservedOpcode)?;
    let (fin, compressed) = (first & FIN != 0, first & COMPRESSED != 0);
    let begins = matches!(opcode, Opcode::Text | Opcode::Binary);
    if first & RESERVED != 0 || (compressed && !(may_compress && begins)) {
        return Err(Violation::ReservedBits);
    }
    if opcode.is_control() && !fin {
        return Err(Violation::ControlFragmented);
    }
    let Some(second) = bytes.get(1) else { return Ok(Look::Short(2)) };
    if second & MASKED == 0 {
        return Err(Violation::Unmasked);
    }
    let short = second & !MASKED;
    if opcode.is_control() && usize::from(short) > LONGEST_CONTROL {
        return Err(Violation::ControlTooLong);
    }
    let (length, size) = match short {
        LENGTH_16 => match bytes.get(2..).and_then(<[u8]>::first_chunk) {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 8),
            None => return Ok(Look::Short(8)),
        },
        LENGTH_64 => match bytes.get(2..).and_then(<[u8]>::first_chunk) {
            Some(length) => (u64::from_be_bytes(*length), 14),
            None => return Ok(Look::Short(14)),
        },
        length => (u64::from(length), 6),
    };
    let is_minimal = match short {
        LENGTH_16 => length >= u64::from(LENGTH_16),
        LENGTH_64 => length > u64::from(u16::MAX) && length <= i64::MAX as u64,
        _ => true,
    };
    if !is_minimal {
        return Err(Violation::Length);
    }
    let Some(key) = bytes.get(size - 4..).and_then(<[u8]>::first_chunk) else {
        return Ok(Look::Short(size));
    };
    Ok(Look::Whole(Header { fin, compressed, opcode, key: *key, length, size }))
}

/// The header of a frame that a server sends; servers don't mask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    bytes: [u8; LONGEST_WRITTEN],
    size: usize,
}

impl Written {
    /// The header of a control frame, or of a message in a single frame.
    #[inline]
    pub(crate) fn whole(opcode: Opcode, compressed: bool, length: u64) -> Self {
        Written::new(opcode, true, compressed, length)
    }

    /// The header of any frame. Only a message's first frame may set `compressed`.
    #[inline]
    pub(crate) fn new(opcode: Opcode, fin: bool, compressed: bool, length: u64) -> Self {
        let first =
            opcode.number() | if fin { FIN } else { 0 } | if compressed { COMPRESSED } else { 0 };
        let [a, b, c, d, rest @ ..] = length.to_be_bytes();
        let [e, f, g, h] = rest;
        let (bytes, size) = if length < u64::from(LENGTH_16) {
            ([first, h, 0, 0, 0, 0, 0, 0, 0, 0], 2)
        } else if length <= u64::from(u16::MAX) {
            ([first, LENGTH_16, g, h, 0, 0, 0, 0, 0, 0], 4)
        } else {
            ([first, LENGTH_64, a, b, c, d, e, f, g, h], 10)
        };
        Written { bytes, size }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.size).unwrap_or_default()
    }
}

/// Writes a control frame. A payload that is too long is cut to its first 125 bytes.
pub(crate) fn write_control(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let payload = payload.get(..LONGEST_CONTROL).unwrap_or(payload);
    out.extend_from_slice(Written::whole(opcode, false, payload.len() as u64).as_bytes());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    /// A client's header with this first byte, and with the length in the encoding that `short` selects.
    fn header(first: u8, short: u8, length: u64) -> Vec<u8> {
        let mut bytes = vec![first, MASKED | short];
        match short {
            LENGTH_16 => bytes.extend((length as u16).to_be_bytes()),
            LENGTH_64 => bytes.extend(length.to_be_bytes()),
            _ => {}
        }
        bytes.extend(KEY);
        bytes
    }

    /// Reads a header byte by byte. Checks that `Short` asks for the right number of bytes, and that
    /// more bytes don't change a verdict.
    fn grown(bytes: &[u8], may_compress: bool) -> Result<Header, Violation> {
        let mut most = 0;
        for length in 0..=bytes.len() {
            match read(&bytes[..length], may_compress) {
                Ok(Look::Short(needed)) => {
                    assert!(needed > length && needed >= most, "{needed} of {length}");
                    most = needed;
                }
                Ok(Look::Whole(header)) => {
                    assert_eq!(header.size, length.max(most), "read as soon as it is whole");
                    let more = [bytes, b"more"].concat();
                    assert_eq!(read(&more, may_compress), Ok(Look::Whole(header)));
                    return Ok(header);
                }
                Err(violation) => {
                    assert_eq!(read(bytes, may_compress), Err(violation));
                    return Err(violation);
                }
            }
        }
        panic!("no header could be read from {bytes:x?}");
    }

    #[test]
    fn lengths_and_their_encodings() {
        let cases = [
            (0, 0, 6),
            (1, 1, 6),
            (125, 125, 6),
            (LENGTH_16, 126, 8),
            (LENGTH_16, 127, 8),
            (LENGTH_16, 65_535, 8),
            (LENGTH_64, 65_536, 14),
            (LENGTH_64, i64::MAX as u64, 14),
        ];
        for (short, length, size) in cases {
            let bytes = header(0x82, short, length);
            let expected = Header {
                fin: true,
                compressed: false,
                opcode: Opcode::Binary,
                key: KEY,
                length,
                size,
            };
            assert_eq!(grown(&bytes, false), Ok(expected));
        }
        let too_long = [
            (LENGTH_16, 0),
            (LENGTH_16, 125),
            (LENGTH_64, 0),
            (LENGTH_64, 126),
            (LENGTH_64, 65_535),
            (LENGTH_64, i64::MAX as u64 + 1),
            (LENGTH_64, u64::MAX),
        ];
        for (short, length) in too_long {
            let bytes = header(0x82, short, length);
            assert_eq!(grown(&bytes, false), Err(Violation::Length), "{length}");
            let without_key = &bytes[..bytes.len() - 4];
            assert_eq!(
                read(without_key, false),
                Err(Violation::Length),
                "refused before the key arrives"
            );
        }
    }

    #[test]
    fn every_first_byte() {
        for first in 0..=255u8 {
            for may_compress in [false, true] {
                let opcode = first & 0x0f;
                let compressible = may_compress && matches!(opcode, 1 | 2);
                let expected = if !matches!(opcode, 0..=2 | 8..=10) {
                    Some(Violation::ReservedOpcode)
                } else if first & 0x30 != 0 || (first & 0x40 != 0 && !compressible) {
                    Some(Violation::ReservedBits)
                } else if opcode >= 8 && first & 0x80 == 0 {
                    Some(Violation::ControlFragmented)
                } else {
                    None
                };
                let got = grown(&header(first, 5, 5), may_compress);
                assert_eq!(got.err(), expected, "{first:#x}");
                assert_eq!(is_control(first), opcode >= 8);
                if let Ok(header) = got {
                    assert_eq!(header.fin, first & 0x80 != 0);
                    assert_eq!(header.compressed, first & 0x40 != 0);
                    assert_eq!(header.opcode.number(), opcode);
                } else {
                    assert!(read(&[first], may_compress).is_err(), "refused at once");
                }
            }
        }
    }

    #[test]
    fn clients_mask_and_keep_control_frames_short() {
        for first in [0x00, 0x81, 0x02, 0x88, 0x89, 0x8a] {
            for second in 0..=127 {
                assert_eq!(read(&[first, second], false), Err(Violation::Unmasked));
            }
        }
        for first in [0x88, 0x89, 0x8a] {
            assert!(grown(&header(first, 125, 125), false).is_ok());
            for short in [LENGTH_16, LENGTH_64] {
                let bytes = [first, MASKED | short];
                assert_eq!(read(&bytes, false), Err(Violation::ControlTooLong));
            }
        }
    }

    #[test]
    fn written_headers_are_minimal_and_can_be_read() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, i64::MAX as u64] {
            for opcode in [Opcode::Continuation, Opcode::Text, Opcode::Binary] {
                for (fin, compressed) in [(true, false), (false, false), (true, true)] {
                    let written = Written::new(opcode, fin, compressed, length);
                    // The header as a client sends it: masked, and with a key.
                    let mut bytes = written.as_bytes().to_vec();
                    bytes[1] |= MASKED;
                    bytes.extend(KEY);
                    let read = read(&bytes, true);
                    if compressed && opcode == Opcode::Continuation {
                        assert_eq!(read, Err(Violation::ReservedBits));
                        continue;
                    }
                    let size = bytes.len();
                    let expected = Header { fin, compressed, opcode, key: KEY, length, size };
                    assert_eq!(read, Ok(Look::Whole(expected)));
                }
            }
        }
        let mut out = Vec::new();
        write_control(&mut out, Opcode::Pong, &[b'x'; 200]);
        assert_eq!((out[0], out[1], out.len()), (0x8a, 125, 127));
    }

    #[test]
    fn examples_of_the_rfc() {
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let Ok(Look::Whole(header)) = read(&hello, false) else { panic!("a masked text") };
        assert_eq!((header.opcode, header.fin, header.length), (Opcode::Text, true, 5));
        assert_eq!(Written::new(Opcode::Text, false, false, 3).as_bytes(), [0x01, 0x03]);
        assert_eq!(Written::whole(Opcode::Binary, false, 256).as_bytes(), [0x82, 0x7e, 1, 0]);
        let large = [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(Written::whole(Opcode::Binary, false, 65_536).as_bytes(), large);
    }
}
