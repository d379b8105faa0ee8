//! The same frames for the connection and for the server of `h2`. Each side takes a request, resets its stream
//! or ends the connection.
//!
//! | `h2` | the connection has to |
//! |---|---|
//! | takes a request | take an equal one, or refuse it for a reason in [`stricter`] |
//! | resets a stream | do the same, or take the request for a reason in [`broader`] |
//! | ends the connection | deliver nothing of that frame, unless `h2` only guards itself against floods |
//! | goes on | go on, or end for a fault in [`FAULTS`] |

use super::pipe::{Pipe, poll, polled, take_frame};
use super::{Lines, joined};
use crate::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PREFACE, PRIORITY,
    PUSH_PROMISE, RST_STREAM, frame, settings as settings_frame,
};
use crate::play::Source;
use crate::play::http2_frames::any_frame;
use crate::support::text;
use bytes::Bytes;
use h2::server::{Builder, Connection as Server, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Method, Response, StatusCode};
use loona_hpack::Decoder;
use portcullis::{CloseReason, Config, Connection, Event, Events, Fault, ResetReason, Tick};
use std::collections::BTreeMap;
use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;

const NOW: Tick = Tick::ZERO;
/// Five bytes of the old priorities are in front of a field block.
const OLD_PRIORITY: u8 = 0x20;

/// Plays `bytes` as frames of a client.
pub fn frames(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let mut both = Both::new();
    let mut wire = Vec::new();
    let mut next = 1;
    for _ in 0..200 {
        if source.is_empty() {
            break;
        }
        if source.below(2) == 0 {
            wire.extend(any_frame(&mut source, &mut next));
        } else {
            head(&mut source, &mut next, &mut wire);
        }
        while let Some(frame) = take_frame(&mut wire) {
            if !both.take(&frame) {
                return;
            }
        }
    }
    both.compare();
}

// ---- the differences that are permitted ------------------------------------------------------------

/// Faults that end the connection where `h2` goes on, the types of frames they are known for, and the reason.
const FAULTS: &[(Fault, &[u8], &str)] = &[
    (Fault::FrameStream, BLOCK, "RFC 9113 5.1.1: a number smaller than those before; h2 resets it"),
    (Fault::ClosedStream, BLOCK, "RFC 9113 5.1: HEADERS on a stream that has ended; h2 resets it"),
    (
        Fault::Dependency,
        &[PRIORITY],
        "RFC 7540 5.3.1: h2 ignores that an idle stream depends on itself",
    ),
    (
        Fault::Continuation,
        ANY,
        "RFC 9113 6.10: h2 forgets that a block goes on once it is malformed",
    ),
    (
        Fault::Compression,
        &[CONTINUATION],
        "RFC 7541 4.2: h2 takes a size update at the beginning of any frame of a block",
    ),
    (
        Fault::PushPromise,
        &[PUSH_PROMISE],
        "RFC 9113 8.4: h2 looks at it once its block is complete",
    ),
    (Fault::FrameStream, &[PRIORITY_UPDATE], "RFC 9218 7.1: h2 does not know the type"),
    (Fault::FrameSize, &[PRIORITY_UPDATE], "RFC 9218 7.1: h2 does not know the type"),
];
const ANY: &[u8] = &[];
const BLOCK: &[u8] = &[HEADERS, CONTINUATION];
const PRIORITY_UPDATE: u8 = 16;

/// Why a request is refused that `h2` takes.
fn stricter(head: &Block) -> Option<&'static str> {
    let all = |name: &'static str| {
        let lines = head.lines.iter().filter(move |(other, _)| other == name);
        lines.map(|(_, value)| value.as_slice())
    };
    let one = |name| all(name).next();
    let is_host = |host: &[u8]| {
        !host.is_empty() && host.iter().all(|it| it.is_ascii_alphanumeric() || b".-:".contains(it))
    };
    let (authority, host) = (one(":authority"), one("host"));
    let is_tunnel = one(":method") == Some(b"CONNECT") && one(":protocol").is_none();
    match (authority, host) {
        (None, None) => return Some("RFC 9113 8.3.1: no host is named, and it might be any"),
        (Some(a), Some(b)) if !a.eq_ignore_ascii_case(b) => {
            return Some("RFC 9113 8.3.1: two hosts are named");
        }
        (Some(named), _) | (None, Some(named)) if !is_host(named) => {
            return Some("RFC 9113 8.3.1: the host is none, or has a user's name");
        }
        (Some(named), _) if is_tunnel && !named.contains(&b':') => {
            return Some("RFC 9110 9.3.6: a tunnel leads to a port");
        }
        _ if all("host").count() > 1 => return Some("RFC 9110 7.2: two lines of Host"),
        _ => {}
    }
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if head.lines.iter().any(|(_, value)| is_space(value.first()) || is_space(value.last())) {
        return Some("RFC 9113 8.2.1: white space around a value");
    }
    if let Some(path) = one(":path") {
        let is_asterisk = path == b"*" && one(":method") == Some(b"OPTIONS");
        let is_text = str::from_utf8(path).is_ok() && !path.iter().any(|it| b" #\x7f".contains(it));
        if !(path.starts_with(b"/") && is_text || is_asterisk) {
            return Some("RFC 9113 8.3.1: the path is none, or has a fragment");
        }
    } else if !is_tunnel {
        return Some("RFC 9113 8.3.1: a request has a path");
    }
    let is_number = |it: &[u8]| !it.is_empty() && it.iter().all(u8::is_ascii_digit);
    let lengths: Vec<_> = all("content-length").collect();
    match lengths[..] {
        [] => {}
        [length]
            if is_number(length) && !(head.is_whole && length.iter().any(|it| *it != b'0')) => {}
        _ => return Some("RFC 9110 8.6: no number, several, or content that can't come"),
    }
    if all("expect").any(|it| !it.eq_ignore_ascii_case(b"100-continue")) {
        return Some("RFC 9110 10.1.1: an expectation that nobody meets is answered with 417");
    }
    if one(":protocol").is_some_and(|it| it != b"websocket") {
        return Some("RFC 9220 3: another protocol is answered with 501");
    }
    let names = || head.lines.iter().map(|(name, _)| name.as_str());
    let is_late = names().skip_while(|it| it.starts_with(':')).any(|it| it.starts_with(':'));
    let is_twice = names().any(|name| name.starts_with(':') && all_named(head, name) > 1);
    let is_hop = names().any(|name| HOP_BY_HOP.contains(&name));
    if names().any(str::is_empty) {
        return Some(
            "RFC 9110 5.1: a name has a character at least, also one from the dynamic table",
        );
    }
    if head.in_pieces && (is_late || is_twice || is_hop) {
        return Some("RFC 9113 8.2.2, 8.3: h2 forgets what the first frame of a block breaks");
    }
    if one(":method").is_some_and(|it| it.len() > 32) {
        return Some("a method of more than 32 bytes is answered with 501");
    }
    None
}

fn all_named(head: &Block, name: &str) -> usize {
    head.lines.iter().filter(|(other, _)| other == name).count()
}

const HOP_BY_HOP: [&str; 6] =
    ["te", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Why a request is reset, after it was taken, that `h2` takes whole.
fn stricter_end(blocks: &[Block], content: usize) -> Option<&'static str> {
    let declared = blocks.first()?.lines.iter().find(|(name, _)| name == "content-length");
    if declared.is_some_and(|(_, length)| text(length).parse() != Ok(content)) {
        return Some("RFC 9113 8.1.1: the content has another length than was declared");
    }
    let forbidden = ["trailer", "content-length", "expect", "te", "cookie", "host", "priority"];
    if blocks[1..].iter().flat_map(|it| &it.lines).any(|it| forbidden.contains(&it.0.as_str())) {
        return Some("RFC 9110 6.5.1: a field that means something before the content only");
    }
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let mut values = blocks[1..].iter().flat_map(|it| &it.lines).map(|(_, value)| value);
    if values.any(|it| is_space(it.first()) || is_space(it.last())) {
        return Some("RFC 9113 8.2.1: white space around a value");
    }
    None
}

/// Why a request is taken whose stream `h2` resets.
fn broader(head: &Block) -> Option<&'static str> {
    if head.lines.iter().any(|(name, value)| name == "te" && value != b"trailers") {
        return Some("RFC 9110 10.1.4: `trailers` may be in capitals");
    }
    None
}

// ---- both servers ----------------------------------------------------------------------------------

/// A field block of the client, as a third decoder reads it.
#[derive(Clone, Default)]
struct Block {
    lines: Lines,
    is_whole: bool,
    /// It came in several frames.
    in_pieces: bool,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "whole: {}", self.is_whole)?;
        write!(f, ", in pieces: {}", self.in_pieces)?;
        self.lines.iter().try_for_each(|(name, value)| write!(f, ", {name:?}: {:?}", text(value)))
    }
}

/// A request as a server takes it.
#[derive(Debug, Default)]
struct Taken {
    method: String,
    target: String,
    lines: HeaderMap,
    content: Vec<u8>,
    trailers: HeaderMap,
    ended: bool,
    failed: Option<String>,
}

struct Both {
    ours: Ours,
    theirs: Theirs,
    decoder: Decoder<'static>,
    /// The block that is not complete.
    part: Vec<u8>,
    /// HEADERS say that their stream depends on itself.
    is_knotted: bool,
    /// The client has sent GOAWAY. It may still send requests, but h2 ends the connection with the last stream.
    is_leaving: bool,
    /// The blocks of each stream: of its request, and of its trailers.
    blocks: BTreeMap<u32, Vec<Block>>,
}

impl Both {
    fn new() -> Both {
        let mut both = Both {
            ours: Ours::new(),
            theirs: Theirs::new(),
            decoder: Decoder::new(),
            part: Vec::new(),
            is_knotted: false,
            is_leaving: false,
            blocks: BTreeMap::new(),
        };
        both.ours.take(PREFACE);
        both.theirs.take(PREFACE);
        assert!(both.take(&settings_frame(&[])));
        both
    }

    /// Both take a frame. Returns whether both go on.
    fn take(&mut self, frame: &[u8]) -> bool {
        let id = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]) & 0x7fff_ffff;
        self.read(frame, id);
        self.is_leaving |= frame[3] == GOAWAY;
        let (ours, theirs) = (self.ours.taken.len(), self.theirs.taken.len());
        self.ours.take(frame);
        self.theirs.take(frame);
        let (ours, theirs) = (self.ours.taken.len() > ours, self.theirs.taken.len() > theirs);
        if self.is_knotted {
            // h2 resets the stream without reading the block, and so loses what it puts into the table.
            assert!(!ours, "{id}: taken, though it depends on itself");
            return false;
        }
        if let Some(reason) = self.theirs.failed {
            let guards = reason == Some(Reason::ENHANCE_YOUR_CALM);
            let is_over = self.is_leaving && reason.is_none();
            // In several frames, h2 ends the connection for what resets a stream otherwise.
            let block = self.blocks.get(&id).and_then(|blocks| blocks.first());
            let is_broader = block.is_some_and(|block| broader(block).is_some());
            assert!(
                !ours || guards || is_over || is_broader,
                "taken, but h2 ends the connection for {reason:?}: {frame:?}"
            );
            return false;
        }
        if let Some(reason) = self.ours.failed {
            assert!(!ours, "a request is taken, and the connection ends");
            let CloseReason::Fault(fault) = reason else { panic!("{reason:?} ends it") };
            let is_known = FAULTS.iter().any(|(of, kinds, _)| {
                *of == fault && (kinds.is_empty() || kinds.contains(&frame[3]))
            });
            assert!(is_known, "only we end the connection: {fault:?} for {frame:?}");
            return false;
        }
        let blocks = self.blocks.get(&id);
        let block = blocks.and_then(|blocks| blocks.first()).cloned().unwrap_or_default();
        match (ours, theirs) {
            (true, true) => {
                let (ours, theirs) = (&self.ours.taken[&id], &self.theirs.taken[&id].taken);
                assert_eq!(ours.method, theirs.method, "{id}: {block:?}");
                assert_eq!(ours.target, encoded(&theirs.target), "{id}: {block:?}");
                let (mut ours, mut theirs) = (ours.lines.clone(), theirs.lines.clone());
                if block.in_pieces && broader(&block).is_some() {
                    // Of a field in the first of several frames, h2 forgets that it would refuse it.
                    [&mut ours, &mut theirs].into_iter().for_each(|lines| drop(lines.remove("te")));
                }
                assert_eq!(ours, theirs, "{id}: {block:?}");
            }
            (false, true) => {
                let told = &self.ours.told.get(&id);
                assert!(told.is_some(), "{id}: nothing is told of the refusal of {block:?}");
                assert!(stricter(&block).is_some(), "{id}: we refuse, with {told:?}: {block:?}");
            }
            (true, false) => {
                assert!(broader(&block).is_some(), "{id}: only we take {block:?}");
            }
            (false, false) => {}
        }
        true
    }

    /// Keeps the fields of a block.
    fn read(&mut self, frame: &[u8], id: u32) {
        let (kind, flags, mut payload) = (frame[3], frame[4], &frame[9..]);
        if kind != HEADERS && kind != CONTINUATION {
            return;
        }
        if kind == HEADERS {
            let mut padding = 0;
            if let (PADDED, [length, rest @ ..]) = (flags & PADDED, payload) {
                (padding, payload) = (usize::from(*length), rest);
            }
            if let (OLD_PRIORITY, Some(of)) = (flags & OLD_PRIORITY, payload.first_chunk()) {
                self.is_knotted = u32::from_be_bytes(*of) & 0x7fff_ffff == id;
                payload = payload.get(5..).unwrap_or_default();
            }
            payload = &payload[..payload.len().saturating_sub(padding)];
            self.part.clear();
            let is_whole = flags & END_STREAM != 0;
            self.blocks.entry(id).or_default().push(Block { is_whole, ..Block::default() });
        }
        if let (CONTINUATION, Some(blocks)) = (kind, self.blocks.get_mut(&id)) {
            blocks.iter_mut().next_back().into_iter().for_each(|block| block.in_pieces = true);
        }
        self.part.extend_from_slice(payload);
        if flags & END_HEADERS != 0 {
            // An error ends the connection, on both sides.
            let lines = self.decoder.decode(&self.part).unwrap_or_default();
            let text = |name: Vec<u8>| String::from_utf8_lossy(&name).into_owned();
            let lines = lines.into_iter().map(|(name, value)| (text(name), value)).collect();
            if let Some(block) = self.blocks.get_mut(&id).and_then(|blocks| blocks.last_mut()) {
                block.lines = lines;
            }
        }
    }

    /// Compares the content of the requests that both have taken.
    fn compare(&self) {
        for (id, theirs) in &self.theirs.taken {
            let theirs = &theirs.taken;
            let Some(ours) = self.ours.taken.get(id) else { continue };
            let (long, short) = match ours.content.len() > theirs.content.len() {
                true => (&ours.content, &theirs.content),
                false => (&theirs.content, &ours.content),
            };
            assert!(long.starts_with(short), "{id}: content");
            match (&ours.failed, &theirs.failed) {
                (None, None) => {
                    assert_eq!(ours.ended, theirs.ended, "{id}: the end");
                    assert_eq!(ours.content, theirs.content, "{id}: content");
                    assert_eq!(ours.trailers, theirs.trailers, "{id}: trailers");
                }
                (Some(_), Some(_)) => {}
                (ours, theirs) => {
                    let blocks = self.blocks.get(id).map_or(&[][..], |blocks| blocks);
                    let content = long.len();
                    let permitted = ours.is_some() && stricter_end(blocks, content).is_some();
                    assert!(
                        permitted,
                        "{id}: ours {ours:?}, theirs {theirs:?}: {content} bytes, {blocks:?}"
                    );
                }
            }
        }
    }
}

/// A path as the application is told: with percent-encoding for what no target has (RFC 3986 2).
fn encoded(target: &str) -> String {
    let mut encoded = String::new();
    for byte in target.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80.. => {
                encoded += &format!("%{byte:02X}");
            }
            _ => encoded.push(byte.into()),
        }
    }
    encoded
}

// ---- ours ------------------------------------------------------------------------------------------

struct Ours {
    connection: Connection,
    decoder: Decoder<'static>,
    taken: BTreeMap<u32, Taken>,
    /// The status or the error code that was sent last on a stream.
    told: BTreeMap<u32, String>,
    failed: Option<CloseReason>,
}

impl Ours {
    fn new() -> Ours {
        Ours {
            connection: Connection::new(Arc::new(Config::default()), NOW),
            decoder: Decoder::new(),
            taken: BTreeMap::new(),
            told: BTreeMap::new(),
            failed: None,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let mut ended = Vec::new();
        let limit = self.connection.receive_limit();
        for piece in bytes.chunks_mut(limit) {
            if let Ok(events) = self.connection.receive(NOW, piece) {
                pull(events, &mut self.taken, &mut ended);
            }
        }
        loop {
            for id in ended.drain(..) {
                let mut content = Bytes::new();
                let mut stream = self.connection.stream(NOW, id);
                stream.answer(StatusCode::NOT_FOUND, None, &mut content).expect("it is owed");
            }
            self.write();
            if !self.connection.status().resume {
                break;
            }
            pull(self.connection.resume(NOW), &mut self.taken, &mut ended);
        }
        if self.failed.is_none() && !self.connection.status().is_open() {
            let mut copy = Vec::new();
            std::mem::swap(&mut copy, &mut ended);
            drop(self.connection.receive_eof(NOW));
            self.failed = self.connection.status().closed();
            assert!(self.failed.is_some(), "{:?}", self.connection);
        }
    }

    fn write(&mut self) {
        let mut sent = Vec::new();
        while self.connection.status().write {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = self.connection.outgoing(&mut slices);
            let part: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
            self.connection.sent(NOW, part.len());
            sent.extend(part);
        }
        while let Some(frame) = take_frame(&mut sent) {
            let id = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]);
            let payload = &frame[9..];
            match frame[3] {
                HEADERS => {
                    let fields = self.decoder.decode(payload).expect("a valid block");
                    let status = String::from_utf8_lossy(&fields[0].1).into_owned();
                    self.told.insert(id, status);
                }
                RST_STREAM => {
                    self.told.insert(id, format!("reset {}", payload[3]));
                }
                _ => {}
            }
        }
        assert!(sent.is_empty(), "part of a frame");
    }
}

fn pull(
    mut events: Events<'_, '_>,
    all: &mut BTreeMap<u32, Taken>,
    ended: &mut Vec<portcullis::StreamId>,
) {
    while let Some((connection, event)) = events.next() {
        let number = |id: portcullis::StreamId| id.as_u64() as u32;
        match event {
            Event::Request { stream, head } => {
                let taken = Taken {
                    method: head.method().to_owned(),
                    target: head.target().to_owned(),
                    lines: joined(head.fields()),
                    ..Taken::default()
                };
                assert!(all.insert(number(stream), taken).is_none(), "{stream} begins twice");
                connection.stream(NOW, stream).read_to(u64::MAX).expect("it has begun");
            }
            Event::Data { stream, data, .. } => {
                let taken = all.get_mut(&number(stream)).expect("it has begun");
                taken.content.extend_from_slice(data);
            }
            Event::End { stream, trailers } => {
                let taken = all.get_mut(&number(stream)).expect("it has begun");
                taken.ended = true;
                taken.trailers = trailers.to_http().unwrap_or_default();
                ended.push(stream);
            }
            Event::Reset { stream, reason } => {
                let taken = all.get_mut(&number(stream)).expect("it has begun");
                let is_fault = matches!(reason, ResetReason::Fault(_) | ResetReason::Cancelled);
                assert!(is_fault || reason == ResetReason::Truncated, "{reason:?}");
                taken.failed = Some(format!("{reason:?}"));
                ended.retain(|it| *it != stream);
            }
            Event::Refused { .. } => {}
            other => panic!("not an event of HTTP/2: {other:?}"),
        }
    }
}

// ---- theirs ----------------------------------------------------------------------------------------

struct Their {
    taken: Taken,
    body: RecvStream,
    respond: SendResponse<Bytes>,
}

struct Theirs {
    pipe: Pipe,
    server: Server<Pipe, Bytes>,
    taken: BTreeMap<u32, Their>,
    /// The error code that the connection ends with.
    failed: Option<Option<Reason>>,
}

impl Theirs {
    fn new() -> Theirs {
        let config = Config::default();
        let pipe = Pipe::default();
        pipe.write(PREFACE);
        let mut builder = Builder::new();
        builder.initial_window_size(1 << 18);
        builder.initial_connection_window_size(1 << 20);
        builder.max_concurrent_streams(config.http2_concurrent_streams() as u32);
        builder.max_header_list_size(config.http2_header_list_limit() as u32);
        builder.enable_connect_protocol();
        let mut shaking = Box::pin(builder.handshake(pipe.clone()));
        let server = poll(&mut shaking).expect("the preface is there").expect("it is valid");
        Theirs { pipe, server, taken: BTreeMap::new(), failed: None }
    }

    fn take(&mut self, bytes: &[u8]) {
        if bytes == PREFACE {
            return;
        }
        self.pipe.write(bytes);
        loop {
            match polled(|context| self.server.poll_accept(context)) {
                None => break,
                Some(None) => {
                    self.failed = Some(None);
                    break;
                }
                Some(Some(Err(error))) => {
                    self.failed = Some(error.reason());
                    break;
                }
                Some(Some(Ok((request, respond)))) => {
                    let id = respond.stream_id().as_u32();
                    self.taken.insert(id, Their::new(request, respond));
                }
            }
        }
        self.taken.values_mut().for_each(Their::read);
        if self.failed.is_none()
            && let Some(Some(Err(error))) = polled(|context| self.server.poll_accept(context))
        {
            self.failed = Some(error.reason());
        }
        drop(self.pipe.read());
    }
}

impl Their {
    fn new(request: http::Request<RecvStream>, respond: SendResponse<Bytes>) -> Their {
        let (parts, body) = request.into_parts();
        let authority = parts.uri.authority().map(|it| it.to_string());
        let target = match (&parts.method, parts.uri.path_and_query()) {
            (&Method::CONNECT, None) => authority.clone().unwrap_or_default(),
            (_, path) => path.map(|it| it.to_string()).unwrap_or_default(),
        };
        let others = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let others = others.filter(|(name, _)| authority.is_none() || *name != "host");
        let host = authority.as_deref().map(|it| ("host", it.as_bytes()));
        let lines = joined(host.into_iter().chain(others));
        let method = parts.method.to_string();
        let taken = Taken { method, target, lines, ..Taken::default() };
        Their { taken, body, respond }
    }

    fn read(&mut self) {
        let Their { taken, body, respond } = self;
        while !taken.ended && taken.failed.is_none() {
            match polled(|context| body.poll_data(context)) {
                None => return,
                Some(Some(Ok(content))) => {
                    let _ = body.flow_control().release_capacity(content.len());
                    taken.content.extend_from_slice(&content);
                }
                Some(Some(Err(error))) => taken.failed = Some(error.to_string()),
                Some(None) => match polled(|context| body.poll_trailers(context)) {
                    None => return,
                    Some(Ok(trailers)) => {
                        taken.ended = true;
                        taken.trailers = trailers.unwrap_or_default();
                        let mut answer = Response::new(());
                        *answer.status_mut() = StatusCode::NOT_FOUND;
                        let _ = respond.send_response(answer, true);
                    }
                    Some(Err(error)) => taken.failed = Some(error.to_string()),
                },
            }
        }
    }
}

// ---- the client ------------------------------------------------------------------------------------

/// Appends HEADERS of a request that is valid, or nearly so, in one frame or several.
fn head(source: &mut Source<'_>, next: &mut u32, wire: &mut Vec<u8>) {
    let mut fields: Vec<(&str, &[u8])> = vec![
        (":method", source.one_of(&[&b"GET"[..], b"POST", b"CONNECT", b"OPTIONS", b"gEt"])),
        (":scheme", source.one_of(&[&b"http"[..], b"http", b"https", b"ftp", b""])),
        (":path", source.one_of(PATHS)),
        (":authority", source.one_of(&[&b"a"[..], b"a", b"a.example:80", b"b@a", b"", b"a b"])),
    ];
    for _ in 0..source.below(4) {
        let place = source.below(fields.len() + 1);
        match source.below(8) {
            0 | 1 if place < fields.len() => drop(fields.remove(place)),
            2 => fields.insert(place, source.one_of(ODD)),
            _ => fields.push(source.one_of(ODD)),
        }
    }
    let mut block = match source.below(4) {
        // A size update.
        0 => vec![source.one_of(&[0x20, 0x21, 0x3f, 0x25])],
        _ => Vec::new(),
    };
    for (name, value) in fields {
        block.push(source.one_of(&[0, 0, 0x10, 0x40]));
        for part in [name.as_bytes(), value] {
            block.push(part.len() as u8);
            block.extend_from_slice(part);
        }
    }
    if source.below(4) == 0 {
        block.push(0x80 | (source.byte() % 70));
    }
    let id = *next;
    *next += 2;
    let mut flags = if source.below(2) == 0 { END_STREAM } else { 0 };
    let mut rest = Vec::new();
    if source.below(4) == 0 {
        rest = block.split_off(source.below(block.len() + 1));
    } else {
        flags |= END_HEADERS;
    }
    if source.below(4) == 0 {
        flags |= OLD_PRIORITY;
        let depends = source.one_of(&[0, 1, id, 99]).to_be_bytes();
        block = [&depends[..], &[16], &block].concat();
    }
    if source.below(4) == 0 {
        flags |= PADDED;
        let padding = source.below(20);
        block.insert(0, padding as u8);
        block.extend(vec![0; padding]);
    }
    wire.extend(frame(HEADERS, flags, id, &block));
    if flags & END_HEADERS == 0 {
        wire.extend(frame(CONTINUATION, END_HEADERS, id, &rest));
    }
    if flags & END_STREAM == 0 && source.below(2) == 0 {
        let content = [b'x'; 10];
        let length = source.one_of(&[10, 3, 0]);
        wire.extend(frame(DATA, END_STREAM, id, &content[..length]));
    }
    if source.below(30) == 0 {
        wire.extend(frame(GOAWAY, 0, 0, &[0; 8]));
    }
}

const PATHS: &[&[u8]] = &[
    b"/",
    b"/",
    b"/a?b",
    b"*",
    b"",
    b"/\xc3\xa9",
    b"/\xe9",
    b"/a#b",
    b"/a b",
    b"a",
    b"//x",
    b"/{\"|}",
];

/// Fields that some rule has something to say about.
const ODD: &[(&str, &[u8])] = &[
    ("content-length", b"10"),
    ("content-length", b"3"),
    ("content-length", b"0"),
    ("content-length", b"+3"),
    ("content-length", b""),
    ("expect", b"100-continue"),
    ("expect", b"other"),
    ("te", b"trailers"),
    ("te", b"Trailers"),
    ("te", b"gzip"),
    ("connection", b"close"),
    ("transfer-encoding", b"chunked"),
    ("upgrade", b"h2c"),
    ("keep-alive", b"1"),
    ("proxy-connection", b"close"),
    ("host", b"a"),
    ("host", b"b"),
    ("host", b"A"),
    ("host", b""),
    ("cookie", b"a=1"),
    ("cookie", b"b=2"),
    ("cookie", b""),
    (":protocol", b"websocket"),
    (":protocol", b"other"),
    (":status", b"200"),
    (":method", b"GET"),
    (":method", b"012345678901234567890123456789012"),
    (":path", b"/x"),
    (":scheme", b"http"),
    (":authority", b"a"),
    (":other", b"x"),
    ("Upper", b"x"),
    ("", b"x"),
    ("x y", b"x"),
    ("x", b" x"),
    ("x", b"x\t"),
    ("x", b"a\tb"),
    ("x", b"a\rb"),
    ("x", b"a\nb"),
    ("x", b"a\0b"),
    ("x", b"\x7f"),
    ("x", b"\x80\xff"),
    ("x", b""),
    ("priority", b"u=1, i"),
];
