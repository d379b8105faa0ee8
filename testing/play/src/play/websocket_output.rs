//! The output of a websocket is what was accepted. The bytes that the peer took are read as a
//! server's frames, and compared with the application's calls.
//!
//! Nothing lost: messages and pings are in order, and complete unless the connection closed with
//! unsent bytes. Pongs may be between them, and nothing follows our close.

use super::websocket_frames::{CLOSE, COMPRESSED, FIN, PING, PONG};
use super::websocket_model::{Sent, Socket};
use flate2::{Decompress, FlushDecompress};
use portcullis::{CloseReason, Expiry};

/// A frame of a server.
#[derive(Debug)]
pub struct Frame<'o> {
    pub first: u8,
    pub payload: &'o [u8],
    /// Its payload is complete.
    whole: bool,
}

/// A message that was assembled.
#[derive(Debug)]
pub struct Read {
    pub text: bool,
    pub plain: Vec<u8>,
    pub complete: bool,
}

/// Everything that was read.
#[derive(Debug, Default)]
pub struct Said {
    pub messages: Vec<Read>,
    pub pings: Vec<Vec<u8>>,
    pub pongs: Vec<Vec<u8>>,
    pub close: Option<Vec<u8>>,
    /// The output ends within a head or a frame.
    pub cut: bool,
}

/// Reads the answer to a handshake, and everything after it.
pub fn read(out: &[u8]) -> Said {
    let Some(end) = out.windows(4).position(|it| it == b"\r\n\r\n") else {
        return Said { cut: true, ..Said::default() };
    };
    let head = str::from_utf8(&out[..end]).expect("a head is ASCII here");
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    let deflates = head.contains("permessage-deflate");
    let takeover = deflates && !head.contains("server_no_context_takeover");
    frames(&out[end + 4..], deflates, takeover)
}

/// Reads frames that are, or are not, compressed with a context that lasts.
pub fn frames(mut rest: &[u8], deflates: bool, takeover: bool) -> Said {
    let mut said = Said::default();
    let mut context = Decompress::new(false);
    // The message that is being read: its first byte, and its payload so far.
    let mut begun: Option<(u8, Vec<u8>)> = None;
    while !rest.is_empty() && !said.cut {
        assert!(said.close.is_none(), "nothing lost: {} bytes follow our close", rest.len());
        let Some(frame) = next(&mut rest) else {
            said.cut = true;
            break;
        };
        said.cut = !frame.whole;
        if frame.first & 0x08 != 0 {
            let list = match frame.first {
                PING => &mut said.pings,
                PONG => &mut said.pongs,
                CLOSE => {
                    said.close = Some(frame.payload.to_vec()).filter(|_| frame.whole);
                    continue;
                }
                first => panic!("a control frame {first:#x}"),
            };
            assert!(frame.payload.len() <= 125);
            if frame.whole {
                list.push(frame.payload.to_vec());
            }
            continue;
        }
        let (first, mut payload) = match (begun.take(), frame.first & 0x0f) {
            (Some(before), 0) => {
                assert_eq!(
                    frame.first & COMPRESSED,
                    0,
                    "only the first frame may have the compression bit"
                );
                before
            }
            (None, 1 | 2) => (frame.first, Vec::new()),
            (before, opcode) => panic!("opcode {opcode} follows {before:?}"),
        };
        assert!(first & COMPRESSED == 0 || deflates, "compressed without an agreement");
        payload.extend_from_slice(frame.payload);
        let complete = frame.first & FIN != 0 && frame.whole;
        if complete {
            let plain = plain(&mut context, takeover, first, payload, true);
            said.messages.push(Read { text: first & 0x0f == 1, plain, complete });
        } else {
            begun = Some((first, payload));
        }
    }
    if let Some((first, payload)) = begun {
        let plain = plain(&mut context, takeover, first, payload, false);
        said.messages.push(Read { text: first & 0x0f == 1, plain, complete: false });
    }
    said
}

/// The number of frames of each message in `out`, which has no head.
pub fn fragments(mut out: &[u8]) -> Vec<usize> {
    let mut counts = Vec::new();
    while let Some(frame) = next(&mut out) {
        assert!(frame.whole);
        match (frame.first & 0x0f, counts.last_mut()) {
            (0, Some(count)) => *count += 1,
            (1 | 2, _) => counts.push(1),
            _ => {}
        }
    }
    counts
}

/// Takes the first frame; `None` if its header is incomplete.
fn next<'o>(rest: &mut &'o [u8]) -> Option<Frame<'o>> {
    let (first, short) = (*rest.first()?, *rest.get(1)?);
    assert_eq!(first & 0x30, 0, "reserved bits are set");
    assert!(short < 0x80, "a server's frame is masked");
    let (length, size) = match short {
        126 => {
            let bytes: [u8; 2] = rest.get(2..4)?.try_into().expect("two bytes");
            let length = u16::from_be_bytes(bytes) as usize;
            assert!(length > 125, "a length that is not minimal");
            (length, 4)
        }
        127 => {
            let bytes: [u8; 8] = rest.get(2..10)?.try_into().expect("eight bytes");
            let length = u64::from_be_bytes(bytes) as usize;
            assert!(length > 0xffff, "a length that is not minimal");
            (length, 10)
        }
        short => (usize::from(short), 2),
    };
    let there = length.min(rest.len() - size);
    let payload = &rest[size..size + there];
    *rest = &rest[size + there..];
    Some(Frame { first, payload, whole: there == length })
}

fn plain(
    context: &mut Decompress,
    takeover: bool,
    first: u8,
    mut payload: Vec<u8>,
    whole: bool,
) -> Vec<u8> {
    if first & COMPRESSED == 0 {
        return payload;
    }
    if whole {
        payload.extend([0, 0, 0xff, 0xff]);
    }
    if !takeover {
        context.reset(false);
    }
    let mut plain = Vec::with_capacity(4 * payload.len() + 64);
    let before = context.total_in();
    loop {
        let taken = (context.total_in() - before) as usize;
        let out = plain.len();
        context
            .decompress_vec(&payload[taken..], &mut plain, FlushDecompress::Sync)
            .expect("what we compress can be inflated");
        if plain.len() == plain.capacity() {
            plain.reserve(plain.len());
        } else if (context.total_in() - before) as usize == payload.len() || plain.len() == out {
            return plain;
        }
    }
}

/// Compares `out`, all bytes that were taken from the 101 on, with what the application sent. If
/// bytes were `dropped` at the close, the end may be missing.
pub fn check(out: &[u8], socket: &Socket, dropped: bool, reason: CloseReason) {
    let said = read(out);
    assert!(dropped || !said.cut, "nothing lost: the end is cut off");
    assert!(dropped || said.messages.len() == socket.messages.len(), "nothing lost: messages");
    assert!(said.messages.len() <= socket.messages.len(), "more messages than were sent");
    for (read, sent) in said.messages.iter().zip(&socket.messages) {
        let Sent { text, plain, complete } = sent;
        assert_eq!(read.text, *text, "the type of a message differs");
        assert!(dropped || read.complete == *complete, "nothing lost: the end of a message");
        assert!(!read.complete || *complete, "a message ends that the application did not end");
        let whole = read.complete || !dropped && !socket.deflates;
        let length = if whole { plain.len() } else { read.plain.len() };
        assert_eq!(read.plain.len(), length, "nothing lost: the length of a message differs");
        assert!(plain.starts_with(&read.plain), "nothing lost: the bytes of a message differ");
    }
    // The pings of the connection's own are empty.
    let mut sent = socket.pings.iter().filter(|ping| !ping.is_empty());
    for ping in said.pings.iter().filter(|ping| !ping.is_empty()) {
        assert_eq!(Some(ping), sent.next(), "pings are out of order");
    }
    assert!(dropped || sent.next().is_none(), "nothing lost: pings");
    check_close(&said, socket, dropped, reason);
}

/// Our close has the application's code and reason, or those of the close reason.
fn check_close(said: &Said, socket: &Socket, dropped: bool, reason: CloseReason) {
    let payload = |code: u16, text: &str| [&code.to_be_bytes()[..], text.as_bytes()].concat();
    let Some(close) = &said.close else {
        let is_told = socket.close.is_some() || reason.close_code().is_some();
        assert!(dropped || !is_told, "nothing lost: the close for {reason:?}");
        return;
    };
    if let Some(expected) = &socket.close {
        assert_eq!(close, expected, "the close differs from the application's");
        return;
    }
    let text = match reason {
        CloseReason::Expired(Expiry::WebSocketIdle) => "idle",
        CloseReason::Drained => "",
        other => other.label(),
    };
    let own = reason.close_code().map(|code| payload(code, text));
    let drained = socket.drained.then(|| payload(1001, ""));
    // Idling was ended, but the peer did not answer.
    let idle = socket.idles.then(|| payload(1001, "idle"));
    let answer = socket.closing.map(|code| code.map_or(Vec::new(), |code| payload(code, "")));
    let known = [own, drained, idle, answer];
    assert!(known.iter().flatten().any(|it| it == close), "{close:x?} for {reason:?}: {known:x?}");
}
