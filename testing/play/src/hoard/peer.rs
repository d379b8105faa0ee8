//! The worst peer: its units end exactly at a limit, or just past it.

use super::{Kind, frame, magnitude};
use crate::play::websocket_frames::{
    self as frames, COMPRESSED, CONTINUATION, FIN, HANDSHAKE, PING, PONG,
};
use fastrand::Rng;
use portcullis::Config;

/// How plaintext is wrapped on its way.
pub trait Peer {
    fn wrap(&mut self, plaintext: &[u8], draw: &mut Rng) -> Vec<u8>;
}

/// Plaintext that is not wrapped.
pub struct Plain;

impl Peer for Plain {
    fn wrap(&mut self, plaintext: &[u8], _: &mut Rng) -> Vec<u8> {
        plaintext.to_vec()
    }
}

pub(super) struct Script {
    kind: Kind,
    head: usize,
    fields: usize,
    trailers: usize,
    message: usize,
    read: usize,
    /// A payload that inflates to the longest message.
    deflated: Option<Vec<u8>>,
    begun: bool,
    /// A fragmented message has begun.
    fragmented: bool,
}

impl Script {
    pub(super) fn new(kind: Kind, config: &Config, message: usize) -> Script {
        Script {
            kind,
            head: config.request_head_limit() as usize,
            fields: config.request_fields_limit() as usize,
            trailers: config.trailers_limit() as usize,
            message,
            read: config.receive_buffer_limit() as usize,
            deflated: None,
            begun: false,
            fragmented: false,
        }
    }

    pub(super) fn unit(&mut self, draw: &mut Rng) -> Vec<u8> {
        match (self.kind, std::mem::replace(&mut self.begun, true)) {
            (Kind::Http, _) => self.request(draw),
            (Kind::WebSocket, false) => HANDSHAKE.to_vec(),
            (Kind::WebSocket, true) => self.frame(draw),
        }
    }

    fn request(&self, draw: &mut Rng) -> Vec<u8> {
        match draw.u8(0..8) {
            0 => b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(draw.usize(1..200)),
            1 => {
                // As long as allowed, or a little longer.
                let most = edge(self.head, draw);
                let value = vec![b'x'; most.saturating_sub(31)];
                [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", value.as_slice(), b"\r\n\r\n"].concat()
            }
            2 => {
                let most = self.fields.min((self.head - 30) / 4) - 1;
                let fields = b"a:\r\n".repeat(edge(most, draw));
                [b"GET / HTTP/1.1\r\nHost: a\r\n", fields.as_slice(), b"\r\n"].concat()
            }
            3..5 => {
                let length = magnitude(draw, 1, 2 * self.read as u64) as usize;
                let head =
                    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
                [head.into_bytes(), vec![b'x'; length]].concat()
            }
            _ => self.chunked(draw),
        }
    }

    fn chunked(&self, draw: &mut Rng) -> Vec<u8> {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut wire = head.to_vec();
        let size = magnitude(draw, 1, self.read as u64) as usize;
        let count = (self.read / size).min(200);
        for _ in 0..count {
            wire.extend(format!("{size:x}\r\n").into_bytes());
            wire.resize(wire.len() + size, b'x');
            wire.extend(b"\r\n");
        }
        wire.extend(b"0\r\n");
        match draw.u8(0..3) {
            0 => {}
            1 => wire.extend(b"b:\r\n".repeat((self.trailers / 4).min(self.fields) - 1)),
            _ => {
                wire.extend(b"X-T: ");
                let most = edge(self.trailers, draw);
                wire.resize(wire.len() + most.saturating_sub(9), b't');
                wire.extend(b"\r\n");
            }
        }
        wire.extend(b"\r\n");
        wire
    }

    fn frame(&mut self, draw: &mut Rng) -> Vec<u8> {
        let control = [PING, PONG][draw.usize(0..2)];
        match draw.u8(0..8) {
            0 => frame(control, &[b'p'; 125]).repeat(draw.usize(1..4)),
            1..3 if !self.fragmented => {
                // It inflates to as much as is allowed.
                let message = self.message;
                let payload = self.deflated.get_or_insert_with(|| {
                    frames::deflate(&mut frames::compressor(), &vec![0; message])
                });
                let length = draw.usize(payload.len() / 2..=payload.len()).max(1);
                frame(FIN | COMPRESSED | frames::BINARY, &payload[..length])
            }
            3..5 => {
                let opcode = if self.fragmented { CONTINUATION } else { frames::BINARY };
                self.fragmented = draw.bool();
                let fin = if self.fragmented { 0 } else { FIN };
                let length = magnitude(draw, 1, self.message as u64) as usize;
                frame(fin | opcode, &vec![b'm'; length / 4 + 1])
            }
            _ => {
                let opcode = if self.fragmented { CONTINUATION } else { frames::BINARY };
                self.fragmented = false;
                let length = if draw.bool() { self.message } else { draw.usize(0..=self.message) };
                frame(FIN | opcode, &vec![b'm'; length])
            }
        }
    }
}

/// Mostly exactly the limit, sometimes just past it.
fn edge(limit: usize, draw: &mut Rng) -> usize {
    if draw.u8(0..16) == 0 { limit + 2 } else { draw.usize(limit / 2..=limit) }
}
