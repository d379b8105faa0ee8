//! A client of HTTP/2 that sends frames, valid or not, and tells in words what the application is told and
//! what the server sends.

use crate::support::text;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use loona_hpack::Decoder;
use portcullis::websocket::{DeflateSettings, Handshake, Message, Options};
use portcullis::{
    BodyLength, CloseReason, Config, Connection, Event, Events, FieldLines, Sent, Stream, StreamId,
    Tick,
};
use std::fmt::Write;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let header = [length[1], length[2], length[3], kind, flags];
    [&header[..], &stream.to_be_bytes(), payload].concat()
}

/// A field block of literals, without Huffman code or table.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for part in [name, value] {
            integer(&mut block, part.len(), 0, 0x7f);
            block.extend_from_slice(part.as_bytes());
        }
    }
    block
}

/// Writes an integer behind the bits of `pattern`; `mask` has the bits of its prefix (RFC 7541 5.1).
pub(crate) fn integer(block: &mut Vec<u8>, mut number: usize, pattern: u8, mask: u8) {
    if number < usize::from(mask) {
        return block.push(pattern | number as u8);
    }
    block.push(pattern | mask);
    number -= usize::from(mask);
    while number >= 128 {
        block.push(number as u8 | 128);
        number >>= 7;
    }
    block.push(number as u8);
}

/// The pseudo-fields of a request, and other fields.
pub fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a")];
    block(&[&pseudo[..], more].concat())
}

/// HEADERS of a request without content.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", path, &[]))
}

/// HEADERS of a request with content.
pub fn post(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &request("POST", path, more))
}

pub fn data(stream: u32, content: &[u8]) -> Vec<u8> {
    frame(DATA, 0, stream, content)
}

pub fn last_data(stream: u32, content: &[u8]) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, content)
}

pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

pub fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = pairs
        .iter()
        .flat_map(|(identifier, value)| {
            [&identifier.to_be_bytes()[..], &value.to_be_bytes()].concat()
        })
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// HEADERS of a request for a websocket (RFC 8441).
pub fn connect(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/chat"),
        (":authority", "a"),
        ("sec-websocket-version", "13"),
    ];
    frame(HEADERS, END_HEADERS, stream, &block(&[&fields[..], more].concat()))
}

/// DATA with a frame of a websocket, masked with a key of zeros.
pub fn socket_frame(stream: u32, first: u8, payload: &[u8]) -> Vec<u8> {
    let header = match payload.len() {
        length @ 0..126 => vec![first, 0x80 | length as u8],
        length => [&[first, 0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
    };
    data(stream, &[&header[..], &[0; 4], payload].concat())
}

/// A connection, and a client that has sent its preface.
pub struct Pair {
    pub connection: Connection,
    /// Kept, so that it does not count as the connection's memory.
    pub config: Arc<Config>,
    pub now: Tick,
    decoder: Decoder<'static>,
    /// The streams that began.
    begun: Vec<StreamId>,
}

impl Pair {
    /// A connection at 0 on which both sides have sent and acknowledged their SETTINGS.
    pub fn new(config: Config) -> Pair {
        let mut pair = Pair::greeted(config, &[]);
        pair.takes();
        assert_eq!(pair.send(&[frame(SETTINGS, ACK, 0, &[])]), [""; 0]);
        pair
    }

    /// A connection at 0, and a client that has sent its preface and `settings`.
    pub fn greeted(config: Config, with: &[(u16, u32)]) -> Pair {
        let mut pair = Pair::untouched(config);
        assert_eq!(pair.send(&[PREFACE.to_vec(), settings(with)]), [""; 0]);
        pair
    }

    /// A connection at 0.
    pub fn untouched(config: Config) -> Pair {
        let config = Arc::new(config);
        let connection = Connection::new(config.clone(), Tick::ZERO);
        Pair { connection, config, now: Tick::ZERO, decoder: Decoder::new(), begun: Vec::new() }
    }

    /// The time moves on, as far as the next deadline or the one after it may be.
    pub fn after(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.connection.tick(self.now);
    }

    /// A stream that has begun.
    pub fn stream(&mut self, id: u32) -> Stream<'_> {
        let begun = self.begun.iter().find(|it| it.as_u64() == u64::from(id));
        let stream = *begun.unwrap_or_else(|| panic!("stream {id} has not begun"));
        self.connection.stream(self.now, stream)
    }

    /// Sends frames, and returns what the application is told.
    pub fn send(&mut self, frames: &[Vec<u8>]) -> Vec<String> {
        let mut told = Vec::new();
        let mut bytes = frames.concat();
        let limit = self.connection.config().receive_buffer_limit() as usize;
        for piece in bytes.chunks_mut(limit) {
            if let Ok(events) = self.connection.receive(self.now, piece) {
                pull(events, &mut told, &mut self.begun);
            }
        }
        told
    }

    /// What the application is told without new bytes.
    pub fn resume(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        pull(self.connection.resume(self.now), &mut told, &mut self.begun);
        told
    }

    /// The client takes all that is to be sent. Returns the frames in words.
    pub fn takes(&mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        while self.connection.status().write {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.connection.outgoing(&mut slices);
            let part: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
            self.connection.sent(self.now, part.len());
            bytes.extend(part);
        }
        self.told(&bytes)
    }

    fn told(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut told = Vec::new();
        while let [a, b, c, kind, flags, d, e, f, g, rest @ ..] = bytes {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let stream = u32::from_be_bytes([*d, *e, *f, *g]);
            let (payload, rest) = rest.split_at(length);
            told.push(format!("{stream} {}", self.words(*kind, *flags, payload)));
            bytes = rest;
        }
        assert!(bytes.is_empty(), "part of a frame: {bytes:?}");
        told
    }

    /// A frame in words.
    fn words(&mut self, kind: u8, flags: u8, payload: &[u8]) -> String {
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four"));
        let end = if flags & END_STREAM != 0 { ", end" } else { "" };
        match kind {
            DATA => format!("DATA {}{end}", payload.len()),
            HEADERS => {
                let fields = self.decoder.decode(payload).expect("a valid block");
                let mut words = String::from("HEADERS");
                for (name, value) in fields {
                    let _ = write!(words, " {}={}", text(&name), text(&value));
                }
                words + end
            }
            RST_STREAM => format!("RST_STREAM {}", code(number(0))),
            SETTINGS if flags & ACK != 0 => "SETTINGS ack".into(),
            SETTINGS => {
                let settings = payload.chunks_exact(6).map(|it| {
                    let value = u32::from_be_bytes([it[2], it[3], it[4], it[5]]);
                    format!(" {}={value}", u16::from_be_bytes([it[0], it[1]]))
                });
                format!("SETTINGS{}", settings.collect::<String>())
            }
            PING => format!("PING ack {}", text(payload)),
            GOAWAY => {
                format!("GOAWAY {} {} {}", number(0), code(number(4)), text(&payload[8..]))
            }
            WINDOW_UPDATE => format!("WINDOW_UPDATE {}", number(0)),
            other => panic!("a frame of type {other}"),
        }
    }

    /// Sends a request for a websocket, and accepts it.
    pub fn opens_socket(&mut self, id: u32, options: Options) {
        self.opens_socket_with(id, &[], None, options);
    }

    /// Sends a request for a websocket with more fields, and accepts it, with compression if both want that.
    pub fn opens_socket_with(
        &mut self,
        id: u32,
        fields: &[(&str, &str)],
        deflate: Option<&DeflateSettings>,
        options: Options,
    ) {
        let mut bytes = connect(id, fields);
        let mut events = self.connection.receive(self.now, &mut bytes).expect("it reads");
        let Some((connection, Event::Request { stream, head })) = events.next() else {
            panic!("a request")
        };
        let accepted = Handshake::read(&head).expect("a handshake").accept(None, deflate);
        let accepted = accepted.expect("no protocol is asked for");
        let mut stream = connection.stream(self.now, stream);
        stream.accept_websocket(&accepted, None, options).expect("a websocket");
        self.begun.push(stream.id());
        drop(events);
    }

    /// Answers with `length` bytes of content.
    pub fn answer(&mut self, id: u32, length: usize) -> Sent {
        let mut content = Bytes::from(vec![b'x'; length]);
        self.stream(id).answer(StatusCode::OK, None, &mut content).expect("an answer")
    }

    /// Begins an answer without a known length.
    pub fn respond(&mut self, id: u32) {
        let begun = self.stream(id).respond(StatusCode::OK, None, BodyLength::Unknown);
        begun.map(drop).expect("a head");
    }

    /// Sends content. Returns how much was taken.
    pub fn sends(&mut self, id: u32, length: usize) -> usize {
        let mut content = Bytes::from(vec![b'x'; length]);
        let sent = self.stream(id).send(&mut content).expect("content");
        assert_eq!(sent == Sent::All, content.is_empty());
        length - content.len()
    }

    pub fn finish(&mut self, id: u32) {
        self.stream(id).finish(None::<&HeaderMap>).expect("the end");
    }

    /// Why the connection is closed, once the client has ended it too.
    pub fn closed(&mut self) -> Option<CloseReason> {
        self.takes();
        drop(self.connection.receive_eof(self.now));
        drop(self.resume());
        self.connection.status().closed()
    }
}

/// What events tell, in words.
fn pull(mut events: Events<'_, '_>, told: &mut Vec<String>, begun: &mut Vec<StreamId>) {
    while let Some((_, event)) = events.next() {
        told.push(match event {
            Event::Request { stream, head } => {
                begun.push(stream);
                let (method, target) = (head.method().to_owned(), head.target().to_owned());
                format!("{stream} {method} {target}{}", lines(head.fields()))
            }
            Event::Data { stream, data, .. } => format!("{stream} data {}", data.len()),
            Event::End { stream, trailers } => format!("{stream} end{}", lines(trailers.fields())),
            Event::Writable { stream } => format!("{stream} room"),
            Event::Reset { stream, reason } => format!("{stream} reset {reason:?}"),
            Event::Refused { stream, reason, head } => {
                let [method, target] = [head.method(), head.target()].map(|it| it.unwrap_or("-"));
                format!("{stream} refused {method} {target}: {reason}")
            }
            Event::Message { stream, message: Message::Text(text), .. } => {
                format!("{stream} text {text}")
            }
            Event::Message { stream, message: Message::Binary(bytes), .. } => {
                format!("{stream} binary {}", bytes.len())
            }
            Event::OwnedMessage { stream, bytes, .. } => format!("{stream} owned {}", bytes.len()),
            Event::Piece { stream, last, data, .. } => {
                format!("{stream} piece {}{}", data.len(), if last { ", last" } else { "" })
            }
            Event::Closing { stream, code, reason } => {
                format!("{stream} closes {code:?} {reason}")
            }
            other => panic!("{other:?}"),
        });
    }
}

/// Fields but `host`.
fn lines(fields: FieldLines<'_>) -> String {
    let others = fields.filter(|(name, _)| *name != "host");
    others.map(|(name, value)| format!(" {name}={}", text(value))).collect()
}

/// The name of an error code.
fn code(number: u32) -> String {
    match number {
        0 => "NO_ERROR".into(),
        1 => "PROTOCOL_ERROR".into(),
        2 => "INTERNAL_ERROR".into(),
        3 => "FLOW_CONTROL_ERROR".into(),
        4 => "SETTINGS_TIMEOUT".into(),
        5 => "STREAM_CLOSED".into(),
        6 => "FRAME_SIZE_ERROR".into(),
        7 => "REFUSED_STREAM".into(),
        8 => "CANCEL".into(),
        9 => "COMPRESSION_ERROR".into(),
        10 => "CONNECT_ERROR".into(),
        11 => "ENHANCE_YOUR_CALM".into(),
        other => other.to_string(),
    }
}
