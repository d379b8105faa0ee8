//! Websockets on streams of HTTP/2 (RFC 8441), for the sessions of `http2_session`: what the client sends on
//! each of them, the application's actions, and what has to hold.
//!
//! Messages that the client sends in valid frames arrive in order and complete. What the client takes of a
//! stream are frames of a server with the messages and pings that the application has sent, in order.

use super::source::Source;
use super::websocket_frames::{self, BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, put};
use super::websocket_output;
use crate::http2::{DATA, END_HEADERS, END_STREAM, HEADERS, block, frame};
use bytes::Bytes;
use http::header;
use portcullis::websocket::{Accepted, Message, Options};
use portcullis::{Event, Misuse, Sent, Stream, StreamId};
use std::collections::{BTreeMap, VecDeque};

/// A message: whether it is text, and its bytes.
type Whole = (bool, Vec<u8>);

/// What the application sends: text in which each part differs from its neighbours.
static LETTERS: [u8; 41_000] = {
    let mut letters = [0; 41_000];
    let mut place = 0;
    while place < letters.len() {
        letters[place] = b'A' + ((place + place / 26) % 26) as u8;
        place += 1;
    }
    letters
};

/// The client's side of a stream that is, or may become, a websocket.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The messages that the client has sent in valid frames, and that were not delivered.
    messages: VecDeque<Whole>,
    /// Something else was sent, so the messages may be others.
    is_vague: bool,
    /// The content that the client took.
    taken: Vec<u8>,
}

/// The application's side of a websocket.
#[derive(Debug)]
pub(super) struct Socket {
    pieces: bool,
    deflates: bool,
    takeover: bool,
    /// Messages, or bytes of pieces, for which there was credit, and those that were delivered.
    granted: u64,
    delivered: u64,
    /// The current message in pieces.
    begun: Option<Whole>,
    /// What was sent. The last message may not be complete.
    messages: Vec<Whole>,
    rest: Option<(bool, Bytes)>,
    pings: Vec<Vec<u8>>,
    is_closed: bool,
    closing: bool,
    is_reset: bool,
}

/// Every websocket, by the number of its stream, and what the client has sent and taken.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    pub(super) client: BTreeMap<u32, Told>,
    sockets: BTreeMap<u32, Socket>,
    /// Frames of the server, whole ones or not.
    output: Vec<u8>,
}

impl Sockets {
    /// The number of websockets that were accepted.
    pub(super) fn count(&self) -> usize {
        self.sockets.len()
    }

    // ---- the client -----------------------------------------------------------------------------

    /// HEADERS that ask for a websocket, mostly valid ones.
    pub(super) fn open(&mut self, source: &mut Source<'_>, next: &mut u32) -> Vec<u8> {
        let id = *next;
        *next += 2;
        let version = source.one_of(&["13", "13", "13", "13", "13", "13", "13", "8"]);
        let protocol = source.one_of(&["websocket", "websocket", "websocket", "other"]);
        let mut fields = vec![
            (":method", "CONNECT"),
            (":protocol", protocol),
            (":scheme", "http"),
            (":path", "/chat"),
            (":authority", "a"),
            ("sec-websocket-version", version),
        ];
        match source.below(4) {
            0 => fields.push(("sec-websocket-extensions", "permessage-deflate")),
            1 => fields.push((
                "sec-websocket-extensions",
                "permessage-deflate; server_no_context_takeover",
            )),
            _ => {}
        }
        let flags = if source.below(16) == 0 { END_STREAM } else { 0 };
        self.client.insert(id, Told::default());
        frame(HEADERS, END_HEADERS | flags, id, &block(&fields))
    }

    /// DATA on some stream that is a websocket, or may become one.
    pub(super) fn speak(&mut self, source: &mut Source<'_>) -> Vec<u8> {
        let place = source.below(self.client.len());
        let Some((id, told)) = self.client.iter_mut().nth(place) else { return Vec::new() };
        let mut content = Vec::new();
        for _ in 0..=source.below(3) {
            told.write(source, &mut content);
        }
        let flags = if source.below(32) == 0 { END_STREAM } else { 0 };
        let size = source.one_of(&[16_384, 16_384, 1000, 30, 7]).max(content.len() / 40 + 1);
        let mut frames = Vec::new();
        let mut pieces = content.chunks(size).peekable();
        while let Some(piece) = pieces.next() {
            let flags = if pieces.peek().is_none() { flags } else { 0 };
            frames.extend(frame(DATA, flags, *id, piece));
        }
        frames
    }

    /// Other bytes were sent, which may be frames on any stream.
    pub(super) fn others(&mut self, mut bytes: &[u8]) {
        while let [a, b, c, kind, _, d, e, f, g, ..] = bytes {
            let length = 9 + u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let id = u32::from_be_bytes([*d, *e, *f, *g]) & 0x7fff_ffff;
            let Some(rest) = bytes.get(length..) else { break };
            if let (DATA, Some(told)) = (*kind, self.client.get_mut(&id)) {
                told.is_vague = true;
            }
            bytes = rest;
        }
        if !bytes.is_empty() {
            self.lost();
        }
    }

    /// Nobody knows what the client has sent.
    pub(super) fn lost(&mut self) {
        self.client.values_mut().for_each(|told| told.is_vague = true);
    }

    /// The client takes output.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        while let [a, b, c, kind, _, d, e, f, g, ..] = self.output[..] {
            let length = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
            if self.output.len() < length {
                return;
            }
            let frame: Vec<u8> = self.output.drain(..length).collect();
            let id = u32::from_be_bytes([d, e, f, g]);
            if let (DATA, Some(told)) = (kind, self.client.get_mut(&id)) {
                told.taken.extend_from_slice(&frame[9..]);
            }
        }
    }

    // ---- the application ------------------------------------------------------------------------

    pub(super) fn accept(
        &mut self,
        stream: &mut Stream<'_>,
        accepted: &Accepted,
        source: &mut Source<'_>,
    ) -> Result<(), Misuse> {
        let form = source.below(6);
        let options = Options {
            message_limit: source.one_of(&[None, None, Some(10)]),
            pieces: form.is_multiple_of(3),
            owned: form > 2,
            controls: false,
        };
        stream.accept_websocket(accepted, None, options)?;
        let extensions = accepted
            .fields()
            .filter(|(name, _)| *name == header::SEC_WEBSOCKET_EXTENSIONS)
            .map(|(_, value)| value.to_str().expect("ASCII").to_owned());
        let extensions: Vec<_> = extensions.collect();
        let socket = Socket {
            pieces: options.pieces,
            deflates: !extensions.is_empty(),
            takeover: !extensions.iter().any(|it| it.contains("server_no_context_takeover")),
            granted: 0,
            delivered: 0,
            begun: None,
            messages: Vec::new(),
            rest: None,
            pings: Vec::new(),
            is_closed: false,
            closing: false,
            is_reset: false,
        };
        let before = self.sockets.insert(number(stream), socket);
        assert!(before.is_none(), "{} becomes a websocket twice", stream.id());
        Ok(())
    }

    pub(super) fn act(
        &mut self,
        stream: &mut Stream<'_>,
        source: &mut Source<'_>,
    ) -> Result<(), Misuse> {
        let socket = self.sockets.get_mut(&number(stream));
        match source.below(8) {
            0..3 => message(socket, stream, source),
            3 => {
                let payload = vec![b'p'; source.size().min(126) as usize];
                stream.ping(&payload)?;
                let socket = socket.expect("a websocket is pinged");
                assert!(payload.len() <= 125 && !socket.is_closed && !socket.is_reset);
                socket.pings.push(payload);
                Ok(())
            }
            4 if source.below(4) == 0 => {
                let code = source.one_of(&[None, Some(1000), Some(3000), Some(1005)]);
                stream.close(code, source.one_of(&["", "bye"]))?;
                let socket = socket.expect("a websocket is closed");
                assert!(!socket.is_closed && !socket.is_reset && code != Some(1005));
                socket.is_closed = true;
                Ok(())
            }
            5 => stream.await_room(),
            _ => {
                let Some(socket) = socket else { return Ok(()) };
                let end = stream.received().saturating_add(source.size().min(100_000));
                stream.read_to(end)?;
                socket.granted = socket.granted.max(end);
                Ok(())
            }
        }
    }

    /// The application gives credit on a stream, which may be a websocket.
    pub(super) fn granted(&mut self, id: StreamId, end: u64) {
        if let Some(socket) = self.sockets.get_mut(&(id.as_u64() as u32)) {
            socket.granted = socket.granted.max(end);
        }
    }

    // ---- events ---------------------------------------------------------------------------------

    /// Takes an event of a websocket. Returns whether it is one.
    pub(super) fn event(&mut self, id: u32, event: &Event<'_>) -> bool {
        let Some(socket) = self.sockets.get_mut(&id) else { return false };
        assert!(!socket.is_reset, "{id}: an event after the reset: {event:?}");
        let told = self.client.get_mut(&id);
        match event {
            Event::Message { message, .. } => {
                let (is_text, bytes) = match message {
                    Message::Text(text) => (true, text.as_bytes()),
                    Message::Binary(bytes) => (false, &**bytes),
                };
                socket.delivers(1, false);
                check(id, told, (is_text, bytes.to_vec()));
            }
            Event::OwnedMessage { text, bytes, .. } => {
                socket.delivers(1, false);
                check(id, told, (*text, bytes.clone()));
            }
            Event::Piece { text, last, data, .. } => {
                socket.delivers(data.len() as u64, true);
                assert!(*last || !data.is_empty(), "{id}: an empty piece");
                let (kind, mut bytes) = socket.begun.take().unwrap_or((*text, Vec::new()));
                assert_eq!(kind, *text, "{id}: the type changed within a message");
                bytes.extend_from_slice(data);
                match last {
                    true => check(id, told, (kind, bytes)),
                    false => socket.begun = Some((kind, bytes)),
                }
            }
            Event::Closing { .. } => {
                assert!(!socket.closing, "{id}: the client closes twice");
                socket.closing = true;
            }
            Event::Writable { .. } => assert!(!socket.is_closed, "{id}: room after our close"),
            // Unlike over HTTP/1.1 the client may reset the stream after its close: our answer is then lost.
            Event::Reset { .. } => socket.is_reset = true,
            other => panic!("{id}: not an event of a websocket: {other:?}"),
        }
        true
    }

    // ---- the end --------------------------------------------------------------------------------

    /// Compares what the client took with what the application sent.
    pub(super) fn compare(&self) {
        for (id, socket) in &self.sockets {
            let Some(told) = self.client.get(id) else { continue };
            let said = websocket_output::frames(&told.taken, socket.deflates, socket.takeover);
            assert!(said.messages.len() <= socket.messages.len(), "{id}: more than was sent");
            for (read, (is_text, bytes)) in said.messages.iter().zip(&socket.messages) {
                assert_eq!(read.text, *is_text, "{id}: the type of a message");
                assert!(bytes.starts_with(&read.plain), "{id}: the bytes of a message");
                let is_whole = read.plain.len() == bytes.len();
                assert!(!read.complete || is_whole, "{id}: a message ends early");
            }
            // The pings of the connection's own are empty.
            let mut sent = socket.pings.iter().filter(|ping| !ping.is_empty());
            for ping in said.pings.iter().filter(|ping| !ping.is_empty()) {
                assert_eq!(Some(ping), sent.next(), "{id}: pings are out of order");
            }
        }
    }
}

impl Socket {
    fn delivers(&mut self, count: u64, in_pieces: bool) {
        assert_eq!(self.pieces, in_pieces, "messages come in the other form");
        assert!(!self.closing && !self.is_closed, "a message after a close");
        self.delivered += count;
        assert!(self.delivered <= self.granted, "more than there is credit for");
    }
}

impl Told {
    /// Appends a valid message in one frame or several, or a control frame, or anything.
    fn write(&mut self, source: &mut Source<'_>, content: &mut Vec<u8>) {
        let key = source.one_of(&[[0; 4], [0x37, 0xfa, 0x21, 0x3d]]);
        match source.below(8) {
            0 => put(content, PING, key, &vec![b'p'; source.below(126)]),
            1 => put(content, PONG, key, b""),
            2 if source.below(4) == 0 => {
                put(content, CLOSE, key, b"\x03\xe8bye");
                self.is_vague = true;
            }
            3 => {
                websocket_frames::write(source, content);
                self.is_vague = true;
            }
            _ => {
                let length = source.size().min(3000) as usize;
                let start = source.byte();
                let bytes: Vec<u8> =
                    (0..length).map(|place| b'a' + (start ^ place as u8) % 26).collect();
                let is_text = source.below(2) == 0;
                let size = source.one_of(&[usize::MAX, usize::MAX, 100, 1000]);
                let mut kind = if is_text { TEXT } else { BINARY };
                let mut pieces = bytes.chunks(size).peekable();
                if bytes.is_empty() {
                    put(content, FIN | kind, key, &[]);
                }
                while let Some(piece) = pieces.next() {
                    let fin = if pieces.peek().is_none() { FIN } else { 0 };
                    put(content, fin | kind, key, piece);
                    if fin == 0 && source.below(4) == 0 {
                        put(content, PING, key, b"between");
                    }
                    kind = CONTINUATION;
                }
                self.messages.push_back((is_text, bytes));
            }
        }
    }
}

/// A message was delivered.
fn check(id: u32, told: Option<&mut Told>, message: Whole) {
    assert!(!message.0 || str::from_utf8(&message.1).is_ok(), "{id}: text that is not UTF-8");
    let Some(told) = told.filter(|told| !told.is_vague) else { return };
    assert_eq!(told.messages.pop_front(), Some(message), "{id}: a message that was not sent");
}

/// Sends a message, or the rest of one.
fn message(
    socket: Option<&mut Socket>,
    stream: &mut Stream<'_>,
    source: &mut Source<'_>,
) -> Result<(), Misuse> {
    let Some(socket) = socket else {
        return stream.send_message(true, &mut Bytes::from_static(b"no")).map(drop);
    };
    let rest = socket.rest.take();
    let is_new = rest.is_none();
    let (is_text, mut data) = rest.unwrap_or_else(|| {
        let start = usize::from(source.byte());
        let size = source.size().min(40_000) as usize;
        // Static bytes own no memory, so that the connection can be weighed.
        (source.below(2) == 0, Bytes::from_static(&LETTERS[start..start + size]))
    });
    let offered = data.clone();
    match stream.send_message(is_text, &mut data) {
        Ok(sent) => {
            assert!(!socket.is_closed && !socket.is_reset, "sent after the end");
            if is_new {
                socket.messages.push((is_text, offered.into()));
            }
            socket.rest = (sent == Sent::Part).then_some((is_text, data));
            Ok(())
        }
        Err(misuse) => {
            assert_eq!(data, offered, "a refused call took bytes");
            socket.rest = (!is_new).then_some((is_text, offered));
            Err(misuse)
        }
    }
}

fn number(stream: &Stream<'_>) -> u32 {
    u32::try_from(stream.id().as_u64()).expect("the number of a stream")
}
