//! The encoder: the fields of an answer to a field block (RFC 7541 6).
//!
//! In: a status, then names in lower case and values; and the peer's limit of the dynamic table. Out: bytes
//! that are appended to a block.
//!
//! Fields that tend to repeat are indexed in a small dynamic table. Fields that change with each answer are
//! not, because they would evict the others. Secrets are marked, so that no intermediary indexes them.

use super::table::{self, Entry, OVERHEAD, Table};
use super::{huffman, integer};

/// The maximum size of the dynamic table, unless the peer allows less.
const LARGEST_TABLE: u32 = 1024;
/// The entries that are remembered. The peer may still keep older ones: they don't change the indices of
/// the newer ones.
const MOST_ENTRIES: usize = 16;
/// Larger fields are not indexed (size by RFC 7541 4.1).
const LARGEST_ENTRY: usize = 256;
/// Longer values of unknown fields are not indexed.
const LONGEST_UNKNOWN: usize = 64;
/// The table's maximum size before any SETTINGS (RFC 9113 6.5.2).
const INITIAL_TABLE: u32 = 4096;

/// The most that [`Encoder::memory`] can be.
pub(crate) const ENCODER_MEMORY: usize = LARGEST_TABLE as usize + MOST_ENTRIES * size_of::<Entry>();

/// The static indices of names that every answer may have.
pub(crate) const CONTENT_LENGTH: u8 = 28;
pub(crate) const CONTENT_TYPE: u8 = 31;
pub(crate) const DATE: u8 = 33;
const STATUS: u8 = 8;

/// Our compression context. It owns no heap before the first entry is inserted.
#[derive(Debug)]
pub(crate) struct Encoder {
    table: Table,
    /// The maximum size that the peer's decoder works with.
    signaled: u32,
    /// The peer's SETTINGS_HEADER_TABLE_SIZE.
    limit: u32,
    /// The smallest limit since the last block that fell below `signaled`.
    lowest: Option<u32>,
}

/// How a literal is represented (RFC 7541 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Indexing {
    Incremental,
    Without,
    Never,
}

impl Encoder {
    pub(crate) const fn new() -> Self {
        Encoder {
            table: Table::new(LARGEST_TABLE),
            signaled: INITIAL_TABLE,
            limit: INITIAL_TABLE,
            lowest: None,
        }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE. The next block signals a new size if it has to.
    pub(crate) fn set_peer_limit(&mut self, limit: u32) {
        self.limit = limit;
        if limit < self.signaled {
            self.lowest = Some(self.lowest.map_or(limit, |lowest| lowest.min(limit)));
        }
    }

    /// The last block is not sent after all. The next one empties both tables, because the peer does not know
    /// what the last one has put into ours.
    pub(crate) fn discard_block(&mut self) {
        self.lowest = Some(0);
    }

    /// The bytes of heap that the encoder owns: at most [`ENCODER_MEMORY`].
    pub(crate) fn memory(&self) -> usize {
        self.table.memory()
    }

    /// Begins a block, with the size updates that are due (RFC 7541 4.2).
    ///
    /// A peer that leaves the limit at 4096, or raises it, gets no update. Its table is then larger than
    /// ours: it keeps entries that we have evicted and never refer to.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        let wanted = self.limit.min(LARGEST_TABLE);
        if let Some(lowest) = self.lowest.take() {
            self.signal(lowest.min(LARGEST_TABLE), out);
        }
        if self.signaled < wanted {
            self.signal(wanted, out);
        }
    }

    fn signal(&mut self, size: u32, out: &mut Vec<u8>) {
        integer::encode(size, 0x20, 0x1f, out);
        self.signaled = size;
        self.table.set_limit(size);
    }

    /// Appends the pseudo-field `:status`. It has three digits.
    pub(crate) fn status(&mut self, status: u16, out: &mut Vec<u8>) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digits = [100, 10, 1].map(|unit| b'0' + (status / unit % 10) as u8);
                self.static_field(STATUS, &digits, out);
                return;
            }
        };
        out.push(0x80 | index);
    }

    /// Appends a field. The name is in lower case.
    pub(crate) fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let name_index = static_name(name);
        let indexing = match INDEXING.get(usize::from(name_index)) {
            Some(indexing) if name_index != 0 => *indexing,
            _ => unknown(name, value),
        };
        self.represent(name_index, name, value, indexing, out);
    }

    /// Appends a field whose name is the one of this static entry, for example [`DATE`]. An index that the
    /// static table does not have appends nothing.
    pub(crate) fn static_field(&mut self, name_index: u8, value: &[u8], out: &mut Vec<u8>) {
        let index = usize::from(name_index);
        if let (Some(entry), Some(indexing)) = (table::static_entry(index), INDEXING.get(index)) {
            self.represent(name_index, entry.name(), value, *indexing, out);
        }
    }

    #[inline(always)]
    fn represent(
        &mut self,
        name_index: u8,
        name: &[u8],
        value: &[u8],
        indexing: Indexing,
        out: &mut Vec<u8>,
    ) {
        if indexing == Indexing::Incremental
            && let Some(index) = self.table.find(name_index, name, value)
        {
            integer::encode(index as u32, 0x80, 0x7f, out);
        } else {
            self.literal(name_index, name, value, indexing, out);
        }
    }

    /// Appends a field with a literal value.
    #[inline(never)]
    fn literal(
        &mut self,
        name_index: u8,
        name: &[u8],
        value: &[u8],
        indexing: Indexing,
        out: &mut Vec<u8>,
    ) {
        let (pattern, mask) = match indexing {
            Indexing::Incremental if self.insert(name_index, name, value) => (0x40, 0x3f),
            Indexing::Incremental | Indexing::Without => (0, 0x0f),
            Indexing::Never => (0x10, 0x0f),
        };
        integer::encode(u32::from(name_index), pattern, mask, out);
        if name_index == 0 {
            string(name, out);
        }
        string(value, out);
    }

    /// Inserts an entry, unless it is too large.
    #[inline(never)]
    fn insert(&mut self, name_index: u8, name: &[u8], value: &[u8]) -> bool {
        let longest = self.table.longest().min(LARGEST_ENTRY - OVERHEAD);
        let length = name.len().saturating_add(value.len());
        if length > longest {
            return false;
        }
        if self.table.count() >= MOST_ENTRIES {
            self.table.evict();
        }
        let mut text = [0; LARGEST_ENTRY];
        for (place, byte) in text.iter_mut().zip(name.iter().chain(value)) {
            *place = *byte;
        }
        self.table.insert(text.get(..length).unwrap_or_default(), name.len(), name_index);
        true
    }
}

/// Appends a string literal, in the shorter one of its two forms (RFC 7541 5.2).
fn string(text: &[u8], out: &mut Vec<u8>) {
    // Two bytes can't become shorter: no code has less than five bits.
    let coded = if text.len() > 2 { huffman::encoded_length(text) } else { text.len() };
    if coded < text.len() {
        integer::encode(saturated(coded), 0x80, 0x7f, out);
        huffman::encode(text, out);
    } else {
        integer::encode(saturated(text.len()), 0, 0x7f, out);
        out.extend_from_slice(text);
    }
}

/// Every field of an answer is shorter than 4 GiB.
fn saturated(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The index of the static entry with this name, or 0. Names of the same length differ in one known byte.
#[inline(always)]
fn static_name(name: &[u8]) -> u8 {
    let byte = |place: usize| name.get(place).copied().unwrap_or(0);
    let index = match name.len() {
        3 => match byte(0) {
            b'a' => 21,
            _ => 60,
        },
        4 => match byte(0) {
            b'd' => 33,
            b'e' => 34,
            b'f' => 37,
            b'h' => 38,
            b'l' => 45,
            _ => 59,
        },
        5 => match byte(0) {
            b'a' => 22,
            _ => 50,
        },
        6 => match byte(0) {
            b'a' => 19,
            b'c' => 32,
            b'e' => 35,
            _ => 54,
        },
        7 => match byte(3) {
            b'i' => 36,
            b'e' => 51,
            _ => 52,
        },
        8 => match byte(3) {
            b'm' => 39,
            b'r' => 42,
            _ => 46,
        },
        10 => match byte(0) {
            b's' => 55,
            _ => 58,
        },
        11 => 53,
        12 => match byte(0) {
            b'c' => 31,
            _ => 47,
        },
        13 => match byte(6) {
            b'-' => 18,
            b'i' => 23,
            b'c' => 24,
            b't' => 30,
            b'e' => 41,
            _ => 44,
        },
        14 => match byte(0) {
            b'a' => 15,
            _ => 28,
        },
        15 => match byte(7) {
            b'e' => 16,
            _ => 17,
        },
        16 => match byte(11) {
            b'o' => 26,
            b'g' => 27,
            b'a' => 29,
            _ => 61,
        },
        17 => match byte(0) {
            b'i' => 40,
            _ => 57,
        },
        18 => 48,
        19 => match byte(0) {
            b'c' => 25,
            b'i' => 43,
            _ => 49,
        },
        25 => 56,
        27 => 20,
        _ => return 0,
    };
    match table::static_entry(usize::from(index)) {
        Some(entry) if table::equal(entry.name(), name) => index,
        _ => 0,
    }
}

/// How a field with a static name is represented, by the index of the name.
static INDEXING: [Indexing; table::DYNAMIC] = {
    let mut all = [Indexing::Incremental; table::DYNAMIC];
    // age, content-disposition, content-length, content-location, content-range, etag, expires,
    // last-modified, location, proxy-authenticate, range, www-authenticate.
    let changing = [21, 25, 28, 29, 30, 34, 36, 44, 46, 48, 50, 61];
    let mut place = 0;
    while place < changing.len() {
        all[changing[place]] = Indexing::Without;
        place += 1;
    }
    // authorization, cookie, proxy-authorization, set-cookie.
    let secret = [23, 32, 49, 55];
    place = 0;
    while place < secret.len() {
        all[secret[place]] = Indexing::Never;
        place += 1;
    }
    all
};

/// How a field without a static name is represented. Most have a configured value or an identifier.
#[inline(never)]
fn unknown(name: &[u8], value: &[u8]) -> Indexing {
    const STABLE: [&[u8]; 14] = [
        b"alt-svc",
        b"content-security-policy",
        b"cross-origin-embedder-policy",
        b"cross-origin-opener-policy",
        b"cross-origin-resource-policy",
        b"grpc-status",
        b"keep-alive",
        b"permissions-policy",
        b"priority",
        b"referrer-policy",
        b"x-content-type-options",
        b"x-frame-options",
        b"x-powered-by",
        b"x-xss-protection",
    ];
    let secret = [&b"token"[..], b"-key", b"secret", b"authentication-info"];
    if secret.iter().any(|end| name.ends_with(end)) {
        return Indexing::Never;
    }
    let stable = name.starts_with(b"access-control-") || STABLE.contains(&name);
    // A value without digits is no number, and hardly an identifier.
    let word = value.len() <= LONGEST_UNKNOWN && !value.iter().any(u8::is_ascii_digit);
    if stable || word { Indexing::Incremental } else { Indexing::Without }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_static_names_are_found() {
        for index in 15..table::DYNAMIC {
            let name = table::static_entry(index).expect("an entry").name();
            assert_eq!(usize::from(static_name(name)), index);
            let mut blocks = [Vec::new(), Vec::new()];
            Encoder::new().field(name, b"value", &mut blocks[0]);
            Encoder::new().static_field(index as u8, b"value", &mut blocks[1]);
            assert_eq!(blocks[0], blocks[1]);
            for place in 0..name.len() {
                let mut other = name.to_vec();
                other[place] ^= 0x80;
                assert_eq!(static_name(&other), 0);
                let found = static_name(&name[..place]);
                assert!(found == 0 || name[..place] == *b"accept", "{}", name.escape_ascii());
            }
        }
    }

    #[test]
    fn names_of_every_answer() {
        for (index, name) in [
            (CONTENT_LENGTH, "content-length"),
            (CONTENT_TYPE, "content-type"),
            (DATE, "date"),
            (STATUS, ":status"),
        ] {
            let entry = table::static_entry(index.into()).expect("an entry");
            assert_eq!(entry.name(), name.as_bytes());
        }
        let mut out = Vec::new();
        Encoder::new().static_field(0, b"a", &mut out);
        Encoder::new().static_field(62, b"a", &mut out);
        assert_eq!(out, []);
    }

    #[test]
    fn what_is_indexed() {
        use Indexing::*;
        for (name, value, expected) in [
            ("content-type", "text/html", Incremental),
            ("date", "Thu, 01 Jan 1970 00:00:00 GMT", Incremental),
            ("server", "portcullis/1.0", Incremental),
            ("access-control-max-age", "600", Incremental),
            ("content-length", "13", Without),
            ("etag", "\"a\"", Without),
            ("x-request-id", "0f3c", Without),
            ("x-cache", "HIT", Incremental),
            ("set-cookie", "a=b", Never),
            ("authorization", "Basic", Never),
            ("x-csrf-token", "a", Never),
            ("x-api-key", "a", Never),
        ] {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            let found = match static_name(name) {
                0 => unknown(name, value),
                index => INDEXING[usize::from(index)],
            };
            assert_eq!(found, expected, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn an_indexed_field_is_one_byte() {
        let mut encoder = Encoder::new();
        let mut out = Vec::new();
        encoder.begin(&mut out);
        encoder.status(200, &mut out);
        encoder.field(b"server", b"a", &mut out);
        encoder.field(b"vary", b"origin", &mut out);
        assert_eq!(out, [&[0x88, 0x40 + 54, 1, b'a', 0x40 + 59, 0x85][..], &out[6..]].concat());
        out.clear();
        encoder.begin(&mut out);
        encoder.status(404, &mut out);
        encoder.field(b"server", b"a", &mut out);
        encoder.field(b"vary", b"origin", &mut out);
        assert_eq!(out, [0x8d, 0x80 + 63, 0x80 + 62]);
        assert!(encoder.memory() > 0 && encoder.memory() <= ENCODER_MEMORY);
    }

    #[test]
    fn size_updates() {
        fn begun(encoder: &mut Encoder) -> Vec<u8> {
            let mut out = Vec::new();
            encoder.begin(&mut out);
            out
        }
        // None without a smaller limit.
        let mut encoder = Encoder::new();
        for limit in [4096, 65_536, u32::MAX, 4096] {
            encoder.set_peer_limit(limit);
            assert_eq!(begun(&mut encoder), []);
        }
        // 2048: we work with 1024, and say so.
        encoder.set_peer_limit(2048);
        assert_eq!(begun(&mut encoder), [0x3f, 0xe1, 0x07]);
        encoder.set_peer_limit(1500);
        assert_eq!(begun(&mut encoder), []);
        encoder.set_peer_limit(100);
        assert_eq!(begun(&mut encoder), [0x3f, 100 - 31]);
        encoder.set_peer_limit(200);
        assert_eq!(begun(&mut encoder), [0x3f, 0xa9, 0x01]);
        // The smallest one and the last one.
        for limit in [300, 0, 30, 300] {
            encoder.set_peer_limit(limit);
        }
        assert_eq!(begun(&mut encoder), [0x20, 0x3f, 0x8d, 0x02]);
        assert_eq!(begun(&mut encoder), []);
        encoder.set_peer_limit(0);
        assert_eq!(begun(&mut encoder), [0x20]);
        let mut out = Vec::new();
        encoder.field(b"server", b"a", &mut out);
        assert_eq!((out, encoder.memory()), (vec![0x0f, 54 - 15, 1, b'a'], 0));
    }
}
