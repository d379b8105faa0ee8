//! The input of an attacker on a websocket: frames, valid and invalid, sometimes a handshake, and
//! sometimes raw bytes.

use super::source::Source;
use flate2::{Compress, Compression, FlushCompress};
use std::sync::LazyLock;

pub const FIN: u8 = 0x80;
pub const COMPRESSED: u8 = 0x40;
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;
const MASKED: u8 = 0x80;

/// The most bytes of a repeated unit: above some limits, but not slow.
const MOST: usize = 6000;

/// A valid handshake that offers compression.
pub const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

/// Handshakes, valid and invalid ones.
pub const HANDSHAKES: &[&[u8]] = &[
    HANDSHAKE,
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n\
        Sec-WebSocket-Extensions: x-other; a=\"b\", permessage-deflate; \
        server_no_context_takeover; client_no_context_takeover; client_max_window_bits\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: close\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Content-Length: 3\r\nSec-WebSocket-Version: 13\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
];

const TEXTS: &[&[u8]] = &[
    b"",
    b"a",
    b"text of a message, as plain as it gets",
    "h\u{e9}llo \u{6f22}\u{5b57} \u{1f600}".as_bytes(),
    b"\xf0\x9f\x98",
    b"\x80 begins with the rest of a character",
    b"bad: \xff",
    b"\xed\xa0\x80 a surrogate",
    b"\xc0\xaf overlong",
];

/// First bytes of data frames. Valid ones are more frequent.
const FIRSTS: [u8; 16] = [
    FIN | TEXT,
    FIN | BINARY,
    FIN | TEXT,
    FIN | BINARY,
    TEXT,
    BINARY,
    CONTINUATION,
    CONTINUATION,
    FIN | CONTINUATION,
    FIN | CONTINUATION,
    FIN | COMPRESSED | TEXT,
    FIN | COMPRESSED | BINARY,
    COMPRESSED | TEXT,
    COMPRESSED | BINARY,
    FIN | COMPRESSED | CONTINUATION,
    FIN | 0x20 | BINARY,
];

const CODES: [u16; 16] =
    [1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1014, 1015, 2999, 3000, 4999, 5000, 0];

/// Payloads of compressed messages, valid and invalid ones.
static DEFLATED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut context = compressor();
    let mut deflated = |message: &[u8]| deflate(&mut context, message);
    let mut all = vec![
        deflated(b"some text that is compressed"),
        // The following ones may refer to earlier ones.
        deflated(b"some text that is compressed, and some text that refers to it"),
        deflated(&[0; 4000]),
        // More than one pull inflates.
        deflated(&vec![b'b'; 100_000]),
        deflated("h\u{e9}llo ".repeat(50).as_bytes()),
        deflated(b"not \xff text"),
        // RFC 7692 7.2.3.1, 7.2.3.3, 7.2.3.4, 7.2.3.5, 7.2.3.6.
        b"\xf2\x48\xcd\xc9\xc9\x07\x00".to_vec(),
        b"\xf2\x00\x11\x00\x00".to_vec(),
        b"\x00\x05\x00\xfa\xffHello\x00".to_vec(),
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00".to_vec(),
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00".to_vec(),
        b"\x00".to_vec(),
        b"\x03\x00".repeat(70),
        b"\x01\x15\x00\xea\xffa final, stored block".repeat(90),
        b"\x00\x00\x00\xff\xff".repeat(200),
        b"\x07\xff\xff".to_vec(),
    ];
    let cut = all[4].len() - 2;
    all.push(all[4][..cut].to_vec());
    all
});

/// A compressor whose context lasts.
pub fn compressor() -> Compress {
    Compress::new(Compression::new(6), false)
}

/// The payload of a compressed message (RFC 7692 7.2.1).
pub fn deflate(context: &mut Compress, message: &[u8]) -> Vec<u8> {
    if message.is_empty() {
        // A second flush without input puts nothing out (7.2.3.6).
        return vec![0];
    }
    let mut payload = Vec::with_capacity(message.len() + message.len() / 8 + 64);
    let before = context.total_in();
    loop {
        let taken = (context.total_in() - before) as usize;
        let rest = &message[taken..];
        context.compress_vec(rest, &mut payload, FlushCompress::Sync).expect("it compresses");
        let all_taken = (context.total_in() - before) as usize == message.len();
        if all_taken && payload.len() < payload.capacity() {
            break;
        }
        payload.reserve(64);
    }
    assert_eq!(payload.split_off(payload.len() - 4), [0, 0, 0xff, 0xff]);
    payload
}

/// Appends a client's frame, with the shortest encoding of its length.
pub fn put(wire: &mut Vec<u8>, first: u8, key: [u8; 4], payload: &[u8]) {
    wire.push(first);
    match payload.len() {
        short @ 0..=125 => wire.push(MASKED | short as u8),
        medium @ 126..=0xffff => {
            wire.push(MASKED | 126);
            wire.extend((medium as u16).to_be_bytes());
        }
        long => {
            wire.push(MASKED | 127);
            wire.extend((long as u64).to_be_bytes());
        }
    }
    wire.extend(key);
    wire.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Writes the next piece.
pub fn write(source: &mut Source<'_>, wire: &mut Vec<u8>) {
    match source.below(32) {
        0..8 => {
            let first = source.one_of(&FIRSTS);
            let payload = payload(source);
            put(wire, first, key(source), &payload);
        }
        8..12 => {
            let first = source.one_of(&[PING, PING, PONG, 0x09, 0x80 | 0x0b]);
            let length = source.below(127);
            let payload = source.raw(length);
            put(wire, first, key(source), payload);
        }
        12..14 => close(source, wire),
        14..18 => {
            let payload = &DEFLATED[source.below(DEFLATED.len())];
            let kind = source.one_of(&[TEXT, BINARY]);
            fragments(source, wire, COMPRESSED | kind, payload);
        }
        18..22 => {
            let kind = source.one_of(&[TEXT, BINARY]);
            let payload = payload(source);
            fragments(source, wire, kind, &payload);
        }
        22..24 => header(source, wire),
        24..26 => {
            // A frame without its last bytes.
            let payload = payload(source);
            put(wire, source.one_of(&FIRSTS), key(source), &payload);
            let less = source.below(16);
            wire.truncate(wire.len().saturating_sub(less));
        }
        26..28 => {
            let mut one = Vec::new();
            let first = source.one_of(&[PING, PONG, FIN | TEXT, CONTINUATION, BINARY]);
            let payload = source.one_of(&[&b""[..], b"x", b"xyz", &[b'x'; 70]]);
            put(&mut one, first, key(source), payload);
            let times = (source.size() as usize).min(MOST / one.len());
            wire.extend(one.repeat(times));
        }
        28 => wire.extend(source.one_of(HANDSHAKES)),
        29 => super::http_input::write(source, wire),
        _ => {
            let count = source.below(32) + 1;
            wire.extend_from_slice(source.raw(count));
        }
    }
}

fn key(source: &mut Source<'_>) -> [u8; 4] {
    source.one_of(&[[0; 4], [0x37, 0xfa, 0x21, 0x3d], [0xff; 4], [1, 2, 3, 4]])
}

fn payload(source: &mut Source<'_>) -> Vec<u8> {
    match source.below(8) {
        0..3 => source.one_of(TEXTS).to_vec(),
        3 => TEXTS.concat(),
        4 => {
            let length = (source.size() as usize).min(MOST);
            b"0123456789 a longer one. ".iter().copied().cycle().take(length).collect()
        }
        5 => DEFLATED[source.below(DEFLATED.len())].clone(),
        _ => {
            let length = source.below(64);
            source.raw(length).to_vec()
        }
    }
}

fn close(source: &mut Source<'_>, wire: &mut Vec<u8>) {
    let payload = match source.below(8) {
        0 => Vec::new(),
        1 => vec![3],
        2 => source.raw(2).to_vec(),
        kind => {
            let code = source.one_of(&CODES).to_be_bytes();
            let reason = if kind < 5 { &b""[..] } else { source.one_of(TEXTS) };
            [&code[..], reason].concat()
        }
    };
    put(wire, CLOSE, key(source), &payload);
}

/// A fragmented message, with control frames between its fragments.
fn fragments(source: &mut Source<'_>, wire: &mut Vec<u8>, first: u8, payload: &[u8]) {
    let size = source.one_of(&[usize::MAX, 1, 7, 64, 100, 1000]).max(payload.len() / 200 + 1);
    let control = source.one_of(&[None, None, Some(PING), Some(PONG)]);
    let mut parts = payload.chunks(size).peekable();
    let mut kind = first;
    while let Some(part) = parts.next() {
        let fin = if parts.peek().is_none() { FIN } else { 0 };
        put(wire, fin | kind, key(source), part);
        if let (Some(control), 0) = (control, fin) {
            put(wire, control, [0; 4], b"between");
        }
        kind = CONTINUATION;
    }
}

/// A header alone: with a length that is not minimal, or large, or of 64 bits, or unmasked, or of
/// random bits.
fn header(source: &mut Source<'_>, wire: &mut Vec<u8>) {
    wire.push(match source.below(4) {
        0 => source.byte(),
        _ => source.one_of(&FIRSTS),
    });
    let length = source.size();
    match source.below(8) {
        0..4 => {
            wire.push(MASKED | 127);
            wire.extend(length.to_be_bytes());
        }
        4..6 => {
            wire.push(MASKED | 126);
            wire.extend((length as u16).to_be_bytes());
        }
        6 => wire.push(source.byte() & !MASKED),
        _ => wire.push(source.byte()),
    }
    wire.extend(key(source));
}
