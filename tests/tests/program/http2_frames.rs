//! A client that writes frames of HTTP/2 by hand, also those that no library sends.

use crate::support::{Client, Program};

/// Flags of HEADERS: the stream and the block end.
const WHOLE: u8 = 0x5;

/// A connection over plaintext, on which the preface was sent.
pub(crate) struct Http2(pub(crate) Client);

impl Http2 {
    pub(crate) fn begin(program: &Program) -> Self {
        let mut client = Http2(program.connect());
        client.0.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.frame(4, 0, 0, b"");
        client
    }

    /// Sends a frame.
    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.send([&head, payload].concat());
    }

    /// Sends a whole GET.
    pub(crate) fn request(&mut self, stream: u32, path: &str, fields: &[(&str, &str)]) {
        let block = block("GET", path, fields);
        self.frame(1, WHOLE, stream, &block);
    }

    /// Sends the head of a POST. Its content is to follow.
    pub(crate) fn begin_post(&mut self, stream: u32, path: &str) {
        self.frame(1, 0x4, stream, &block("POST", path, &[]));
    }
}

/// A field block in which no field is compressed (RFC 7541 6.2.2).
fn block(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a")];
    let mut block = Vec::new();
    for (name, value) in pseudo.iter().chain(fields) {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// A text with its length (RFC 7541 5.1, 5.2).
fn text(block: &mut Vec<u8>, text: &str) {
    if text.len() < 127 {
        block.push(text.len() as u8);
    } else {
        let mut rest = text.len() - 127;
        block.push(127);
        while rest >= 128 {
            block.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        block.push(rest as u8);
    }
    block.extend_from_slice(text.as_bytes());
}
