//! The peer's input on an HTTP/2 connection: frames that are mostly valid, in any order.

use super::source::Source;
use crate::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE,
    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, request, settings,
};

/// The preface, and frames that `source` describes, up to about 4 KiB.
pub fn wire(source: &mut Source<'_>) -> Vec<u8> {
    let mut wire = PREFACE.to_vec();
    wire.extend(settings(&[]));
    let mut next = 1;
    while !source.is_empty() && wire.len() < 4096 {
        wire.extend(any_frame(source, &mut next));
    }
    wire
}

/// The number of a stream: most often the next one, or one that has begun.
fn stream(source: &mut Source<'_>, next: u32) -> u32 {
    match source.below(8) {
        0 => 0,
        1 => next + 1,
        2 => next + 2,
        back => next.saturating_sub(2 * (back as u32 - 2)),
    }
}

/// A frame. `next` is the number of the stream that begins next.
pub fn any_frame(source: &mut Source<'_>, next: &mut u32) -> Vec<u8> {
    let flags = if source.below(2) == 0 { END_STREAM } else { 0 };
    match source.below(20) {
        0..=4 => {
            let id = *next;
            *next += 2;
            frame(HEADERS, END_HEADERS | flags, id, &head(source))
        }
        5..=8 => {
            let id = stream(source, *next);
            let length = source.size().min(500) as usize;
            let padded = source.below(4) == 0;
            let mut payload = vec![b'x'; length];
            if padded {
                payload.insert(0, source.byte());
            }
            frame(DATA, flags | if padded { PADDED } else { 0 }, id, &payload)
        }
        9 | 10 => {
            let more = source.size() as u32;
            frame(WINDOW_UPDATE, 0, stream(source, *next), &more.to_be_bytes())
        }
        11 => frame(RST_STREAM, 0, stream(source, *next), &8_u32.to_be_bytes()),
        12 => {
            let pairs: Vec<_> = (0..source.below(3))
                .map(|_| (source.below(8) as u16, source.size() as u32))
                .collect();
            settings(&pairs)
        }
        13 => frame(SETTINGS, ACK, 0, &[]),
        14 => frame(PING, flags & ACK, 0, &[7; 8]),
        15 => {
            let fields = block(&[("trailer", "value")]);
            frame(HEADERS, END_HEADERS | flags, stream(source, *next), &fields)
        }
        16 => {
            // A head in pieces, or a part of one.
            let id = *next;
            *next += 2;
            let head = head(source);
            let (first, rest) = head.split_at(source.below(head.len() + 1));
            let last = source.one_of(&[END_HEADERS, END_HEADERS, 0]);
            let first = frame(HEADERS, flags, id, first);
            [first, frame(CONTINUATION, last, id, rest)].concat()
        }
        17 => {
            let kind = source.one_of(&[PRIORITY, PUSH_PROMISE, GOAWAY, 16, 77]);
            let length = source.one_of(&[5, 4, 8, 0, 30]);
            frame(kind, source.byte(), stream(source, *next), &vec![0; length])
        }
        18 => {
            let (kind, flags) = (source.byte() % 12, source.byte());
            let payload = source.raw(20).to_vec();
            frame(kind, flags, stream(source, *next), &payload)
        }
        _ => source.raw(30).to_vec(),
    }
}

/// The field block of a request, mostly valid. Some of it stays in the table.
fn head(source: &mut Source<'_>) -> Vec<u8> {
    let method = source.one_of(&["GET", "POST", "HEAD", "PUT", "CONNECT"]);
    let path = source.one_of(&["/", "/a?b", "*", "", "/\u{e9}", "//x"]);
    let more: &[(&str, &str)] = source.one_of(&[
        &[][..],
        &[("content-length", "10")],
        &[("expect", "100-continue")],
        &[("cookie", "a=1"), ("cookie", "b=2")],
        &[("te", "trailers"), ("priority", "u=1, i")],
        &[("connection", "close")],
        &[("x", "0123456789012345678901234567890123456789012345678901234567890123456789")],
    ]);
    let mut head = request(method, path, more);
    match source.below(6) {
        0 => head.extend([0x40, 1, b'y', 1, b'z']),
        1 => head.extend([0x80 | 62]),
        2 => head.extend(source.raw(8)),
        _ => {}
    }
    head
}
