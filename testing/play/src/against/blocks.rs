//! Field blocks in both directions against `loona-hpack`: the fields of requests as the connection reads them,
//! and the fields of answers as it writes them.
//!
//! The blocks go through a connection, because its HPACK is no public API. A request that the connection refuses
//! tells nothing of its fields, but its block changes the table: later blocks refer to it.

use super::Lines;
use super::pipe::take_frame;
use crate::http2::settings as settings_frame;
use crate::http2::{ACK, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, integer};
use crate::play::{Source, settings};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use loona_hpack::{Decoder, Encoder};
use portcullis::{CloseReason, Config, Connection, Event, Fault, StreamId, Tick};
use std::io::IoSlice;
use std::sync::{Arc, LazyLock};

const NOW: Tick = Tick::ZERO;
/// The size of a table until somebody sets another one (RFC 9113 6.5.2).
const TABLE: usize = 4096;

static CONFIGS: LazyLock<[Arc<Config>; 5]> = LazyLock::new(|| {
    ["4096", "0", "64", "1000", "65535"].map(|size| {
        settings::with(&[("http2_header_table_size", size)]).expect("a valid size of the table")
    })
});

/// Plays `bytes` as blocks of a client, and fields of answers. At the end the client asks for all entries of its
/// table.
pub fn blocks(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let mut play = Play::new(CONFIGS[source.below(CONFIGS.len())].clone());
    let mut encoder = (source.below(4) == 0).then(Encoder::new);
    for _ in 0..100 {
        if source.is_empty() {
            break;
        }
        let block = match &mut encoder {
            Some(encoder) if play.limit >= TABLE => encoder.encode(
                (BASE.iter().copied().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
                    .chain(
                        lines(&mut source)
                            .iter()
                            .map(|(name, value)| (name.as_bytes(), value.as_slice())),
                    ),
            ),
            _ => block(&mut source),
        };
        if block.len() > 16_000 {
            // It does not fit into a frame.
            return;
        }
        if source.below(8) == 0 {
            play.set(source.one_of(&[0, 1, 31, 64, 100, 1000, 1024, 4096, 100_000]));
        }
        if !play.exchange(&block, &lines(&mut source)) {
            return;
        }
    }
    for index in 62..1 << 12 {
        let mut block = VALID.to_vec();
        integer(&mut block, index, 0x80, 0x7f);
        if !play.exchange(&block, &Lines::new()) {
            return;
        }
    }
    panic!("more entries than a table can have");
}

const BASE: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
/// [`BASE`], without a change of the table.
const VALID: [u8; 6] = [0x82, 0x86, 0x84, 0x01, 1, b'a'];

struct Play {
    server: Connection,
    /// Reads what the client sends.
    reader: Decoder<'static>,
    /// Reads what the server sends.
    client: Decoder<'static>,
    /// The server's limit of the client's table.
    limit: usize,
    /// The next block has to begin with an update to this size, or a smaller one.
    due: Option<usize>,
    /// The client's limit of the server's table, and the size that the server has told.
    allowed: (usize, usize),
    next: u32,
    newest: Option<StreamId>,
}

impl Play {
    fn new(config: Arc<Config>) -> Play {
        let limit = config.http2_header_table_size() as usize;
        let (mut reader, mut client) = (Decoder::new(), Decoder::new());
        reader.set_max_allowed_table_size(limit);
        client.set_max_allowed_table_size(TABLE);
        let mut play = Play {
            server: Connection::new(config, NOW),
            reader,
            client,
            limit,
            due: (limit < TABLE).then_some(limit),
            allowed: (TABLE, TABLE),
            next: 1,
            newest: None,
        };
        let hello = [PREFACE, &settings_frame(&[]), &frame(SETTINGS, ACK, 0, &[])].concat();
        assert!(play.receive(&hello).is_empty());
        play.sent();
        play
    }

    /// The client allows another size of the server's table.
    fn set(&mut self, limit: u32) {
        assert!(self.receive(&settings_frame(&[(1, limit)])).is_empty());
        self.sent();
        self.allowed.0 = limit as usize;
        self.client.set_max_allowed_table_size(limit as usize);
    }

    /// The client sends a request with `block`, and is answered with `answer`. Returns whether the connection
    /// goes on.
    fn exchange(&mut self, block: &[u8], answer: &Lines) -> bool {
        let id = self.next;
        self.next += 2;
        let walk = Walk::of(block, self.due);
        let read = self.reader.decode(block);
        let told = self.receive(&frame(HEADERS, END_HEADERS | END_STREAM, id, block));
        if !self.server.status().is_open() {
            self.sent();
            drop(self.server.receive_eof(NOW));
            let reason = self.server.status().closed();
            assert_eq!(reason, Some(CloseReason::Fault(Fault::Compression)));
            assert!(told.is_empty());
            let permitted = read.is_err() || walk.is_broken;
            assert!(permitted, "we can't read what is {read:?}: {block:?}");
            return false;
        }
        assert!(!walk.is_broken, "a block that breaks a rule is read: {block:?}");
        self.due = walk.due;
        let read = match read {
            Ok(read) => read,
            // The reader is too strict, and has lost its way.
            Err(_) if walk.is_exotic => return false,
            Err(error) => panic!("we read what is none: {error}: {block:?}"),
        };
        match &told[..] {
            [] => assert!(!is_plain(&read), "refused: {:?}", names(&read)),
            [fields] => assert_eq!(*fields, expected(&read), "{block:?}"),
            _ => panic!("two requests in one"),
        }
        if !told.is_empty() {
            self.answer(id, answer);
        }
        self.sent();
        true
    }

    /// Answers the newest request, and compares what the client reads.
    fn answer(&mut self, id: u32, lines: &Lines) {
        let mut map = HeaderMap::new();
        for (name, value) in lines.iter().filter(|(name, _)| !name.starts_with(':')) {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.append(name, HeaderValue::from_bytes(value).expect("a value"));
        }
        let status = [200, 204, 404, 299, 500][lines.len() % 5];
        let status = StatusCode::from_u16(status).expect("a status");
        let stream = self.newest.expect("a request has come");
        let mut content = Bytes::new();
        let answered = self.server.stream(NOW, stream).answer(status, &map, &mut content);
        answered.expect("an answer");
        let blocks = self.sent();
        let [(of, read)] = &blocks[..] else { panic!("an answer is one block: {blocks:?}") };
        assert_eq!(*of, id);
        let mut expected = vec![(":status".to_owned(), status.as_str().into())];
        expected
            .extend(map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().into())));
        let mut read = names(read);
        read.retain(|(name, _)| name != "content-length");
        // The order of fields with different names may change.
        read.sort_by(|a, b| a.0.cmp(&b.0));
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(read, expected);
    }

    /// The server reads `bytes`. Returns the fields of the requests.
    fn receive(&mut self, bytes: &[u8]) -> Vec<Lines> {
        let mut bytes = bytes.to_vec();
        let mut told = Vec::new();
        let limit = self.server.receive_limit();
        for piece in bytes.chunks_mut(limit) {
            let mut events = self.server.receive(NOW, piece).expect("it reads");
            while let Some((_, event)) = events.next() {
                match event {
                    Event::Request { stream, head } => {
                        self.newest = Some(stream);
                        let fields = head.fields();
                        told.push(fields.map(|(n, v)| (n.to_owned(), v.to_owned())).collect());
                    }
                    Event::End { .. } | Event::Refused { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        told
    }

    /// Takes what the server sends. Returns the fields of each block.
    fn sent(&mut self) -> Vec<(u32, Fields)> {
        let mut sent = Vec::new();
        while self.server.status().write {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = self.server.outgoing(&mut slices);
            let part: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
            self.server.sent(NOW, part.len());
            sent.extend(part);
        }
        let mut blocks = Vec::new();
        while let Some(frame) = take_frame(&mut sent) {
            if frame[3] == HEADERS {
                let id = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]);
                blocks.push((id, self.read(&frame[9..])));
            }
        }
        blocks
    }

    /// The client reads a block.
    fn read(&mut self, block: &[u8]) -> Fields {
        let walk = Walk::of(block, None);
        assert!(!walk.is_broken && !walk.is_exotic, "{block:?}");
        let (limit, size) = &mut self.allowed;
        *size = walk.size.unwrap_or(*size);
        assert!(*size <= *limit, "a table of {size} bytes, and at most {limit}: {block:?}");
        self.client.decode(block).expect("a valid block")
    }
}

/// Fields as the other decoder reads them.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What a block looks like without its meaning.
struct Walk {
    /// It breaks a rule that the other decoder does not know: the place of size updates.
    is_broken: bool,
    /// It is valid, but the other decoder refuses it: an integer of six bytes, or a size update at the end.
    is_exotic: bool,
    /// The last size update.
    size: Option<usize>,
    /// The size update that is still due.
    due: Option<usize>,
}

impl Walk {
    /// `due`: the block has to begin with an update to this size, or a smaller one.
    fn of(mut block: &[u8], due: Option<usize>) -> Walk {
        let mut walk = Walk { is_broken: false, is_exotic: false, size: None, due };
        let (mut updates, mut in_fields) = (0, false);
        while let [first, ..] = block {
            if first & 0xe0 == 0x20 {
                let Some(size) = walk.number(&mut block, 0x1f) else { return walk };
                updates += 1;
                walk.is_broken |= in_fields || updates > 2;
                walk.is_exotic |= block.is_empty();
                walk.size = Some(size);
                walk.due = walk.due.filter(|due| size > *due);
                continue;
            }
            in_fields = true;
            walk.is_broken |= walk.due.is_some();
            let mask = match first {
                0x80.. => 0x7f,
                0x40.. => 0x3f,
                _ => 0x0f,
            };
            let Some(index) = walk.number(&mut block, mask) else { return walk };
            let strings = if *first >= 0x80 { 0 } else { 1 + usize::from(index == 0) };
            for _ in 0..strings {
                let Some(length) = walk.number(&mut block, 0x7f) else { return walk };
                let Some((_, rest)) = block.split_at_checked(length) else { return walk };
                block = rest;
            }
        }
        walk
    }

    fn number(&mut self, block: &mut &[u8], mask: u8) -> Option<usize> {
        let mut number = usize::from(block.split_off_first()? & mask);
        if number < usize::from(mask) {
            return Some(number);
        }
        for place in 0..5 {
            let byte = block.split_off_first()?;
            number += usize::from(byte & 0x7f) << (7 * place);
            self.is_exotic |= place == 4 || place == 3 && byte & 0x80 != 0;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

fn names(fields: &[(Vec<u8>, Vec<u8>)]) -> Lines {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    fields.iter().map(|(name, value)| (text(name), value.clone())).collect()
}

/// The fields as the application is told.
fn expected(read: &[(Vec<u8>, Vec<u8>)]) -> Lines {
    let has_authority = read.iter().any(|(name, _)| name == b":authority");
    let mut crumbs: Vec<&[u8]> = Vec::new();
    let mut told = Lines::new();
    for (name, value) in names(read) {
        match name.as_str() {
            ":authority" => told.push(("host".to_owned(), value)),
            "cookie" | ":method" | ":scheme" | ":path" => {}
            "host" if has_authority => {}
            _ => told.push((name, value)),
        }
    }
    crumbs.extend(read.iter().filter(|it| it.0 == b"cookie").map(|(_, value)| value.as_slice()));
    if !crumbs.is_empty() {
        told.push(("cookie".to_owned(), crumbs.join(&b"; "[..])));
    }
    told
}

/// Whether these are the fields of a request that no rule objects to.
fn is_plain(read: &[(Vec<u8>, Vec<u8>)]) -> bool {
    const RULED: [&[u8]; 10] = [
        b"host",
        b"content-length",
        b"expect",
        b"te",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
        b"",
    ];
    let base = BASE.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let size: usize = read.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    let is_valid = |(name, value): &(Vec<u8>, Vec<u8>)| {
        let is_name = |it: &u8| it.is_ascii_lowercase() || it.is_ascii_digit() || *it == b'-';
        let is_value = |it: &u8| *it > 32 && *it != 127;
        name.iter().all(is_name) && value.iter().all(is_value) && !RULED.contains(&name.as_slice())
    };
    let (pseudo, rest) = read.split_at(read.len().min(BASE.len()));
    let pseudo = pseudo.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    size < 60_000 && read.len() < 200 && pseudo.eq(base) && rest.iter().all(is_valid)
}

/// A block: mostly the fields of a valid request, in any representation.
fn block(source: &mut Source<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    for _ in 0..source.below(4).saturating_sub(1) {
        let size = source.one_of(&[0, 31, 64, 100, 1000, 4096, 65_535, 65_536]);
        integer(&mut block, size, 0x20, 0x1f);
    }
    if source.below(16) > 0 {
        block.extend(VALID);
    }
    for _ in 0..source.below(8) {
        match source.below(16) {
            0..4 => integer(&mut block, 62 + source.below(64), 0x80, 0x7f),
            4 => integer(&mut block, source.below(130), 0x80, 0x7f),
            5 => block.extend(source.raw(6)),
            6 => integer(&mut block, source.size() as usize & 0xffff, 0x20, 0x1f),
            choice => {
                let (pattern, mask) =
                    source.one_of(&[(0x40, 0x3f), (0x40, 0x3f), (0, 15), (16, 15)]);
                let index = match choice {
                    7 | 8 => source.below(62),
                    9 | 10 => 62 + source.below(40),
                    _ => 0,
                };
                integer(&mut block, index, pattern, mask);
                if index == 0 {
                    string(source, &mut block);
                }
                string(source, &mut block);
            }
        }
    }
    block
}

/// A string, plain or in the Huffman code.
fn string(source: &mut Source<'_>, block: &mut Vec<u8>) {
    match source.below(6) {
        0 => {
            let text = source.one_of(&["a", "", "x-b", "0123456789"]);
            integer(block, text.len(), 0, 0x7f);
            block.extend_from_slice(text.as_bytes());
        }
        1 => {
            let length = source.size().min(5000) as usize;
            integer(block, length, 0, 0x7f);
            block.extend(vec![b'v'; length]);
        }
        2 => {
            // Any bytes, as Huffman code.
            let length = source.below(16);
            let code = source.raw(length);
            integer(block, code.len(), 0x80, 0x7f);
            block.extend_from_slice(code);
        }
        3 => {
            // The symbols of five bits: 0, 1, 2, a, c, e, i, o, s, t.
            let (mut bits, mut count) = (0_u128, 0);
            for _ in 0..source.below(24) {
                bits = bits << 5 | (source.below(10) as u128);
                count += 5;
            }
            let padding = (8 - count % 8) % 8;
            let code = (bits << padding | ((1 << padding) - 1)).to_be_bytes();
            let length = (count + padding) / 8;
            integer(block, length, 0x80, 0x7f);
            block.extend_from_slice(&code[16 - length..]);
        }
        _ => {
            let length = source.below(24);
            let text: Vec<u8> = source.raw(length).iter().map(|it| b'a' + it % 26).collect();
            integer(block, text.len(), 0, 0x7f);
            block.extend(text);
        }
    }
}

/// Fields of an answer, or of a request that the other encoder writes.
fn lines(source: &mut Source<'_>) -> Lines {
    const NAMES: [&str; 12] = [
        "x-a",
        "x-b",
        "cookie",
        "server",
        "set-cookie",
        "vary",
        "content-type",
        "date",
        "etag",
        "authorization",
        "x-request-id",
        "cache-control",
    ];
    let count = source.below(6);
    let value = |source: &mut Source<'_>| match source.below(4) {
        0 => source.one_of(&["", "a", "text/html", "gzip, deflate"]).as_bytes().to_vec(),
        1 => vec![b'v'; source.size().min(1500) as usize],
        _ => {
            let count = source.below(24);
            let visible = |byte: &u8| if matches!(byte, 0..=32 | 127) { b'!' } else { *byte };
            source.raw(count).iter().map(visible).collect()
        }
    };
    (0..count).map(|_| (source.one_of(&NAMES).to_owned(), value(source))).collect()
}
