//! The decoder: a field block to fields (RFC 7541 3 and 6).
//!
//! In: field blocks in the order of the connection, and our limit of the dynamic table. Out: one field after
//! the other, as text.

use super::table::{self, LARGEST_LIMIT, OVERHEAD, SHORT, StaticEntry, Table, append_short};
use super::{HpackError, huffman, integer};

/// The place in a block, and so what may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A field, or a size update if this many are left. A peer needs at most two (RFC 7541 4.2).
    Start(u8),
    /// Fields only.
    Fields,
}

/// The peer's compression context. It owns no heap before the first entry is inserted.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
    /// Our SETTINGS_HEADER_TABLE_SIZE that the peer has acknowledged.
    limit: u32,
    /// Our limit fell below the table's maximum size: the next block has to begin with an update to this
    /// size, or a smaller one.
    due: Option<u32>,
    stage: Stage,
}

/// A field, as places in the text that it was appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) start: usize,
    pub(crate) name_end: usize,
    pub(crate) end: usize,
    /// The length of the name and the value, plus 32 (RFC 7541 4.1), even of a field that does not fit.
    pub(crate) size: usize,
    /// The first index of the static table with this name, or 0. It is 0 too if the
    /// peer sent the name as a literal.
    pub(crate) name_index: u8,
    /// The index in the static table of the whole field, or 0.
    pub(crate) static_index: u8,
    /// The text was appended.
    pub(crate) fits: bool,
    /// No intermediary may index this field (RFC 7541 6.2.3).
    pub(crate) never_indexed: bool,
}

/// Where a string comes from.
enum Source {
    Static(&'static StaticEntry),
    Dynamic(table::Entry),
    Literal,
}

impl Decoder {
    /// `limit` is our SETTINGS_HEADER_TABLE_SIZE, which is 4096 before the first acknowledgement. The
    /// largest that is supported is 65535.
    ///
    /// Two bytes of input can copy a name as long as the table, so the limit also bounds the work.
    pub(crate) const fn new(limit: u32) -> Self {
        let limit = if limit < LARGEST_LIMIT { limit } else { LARGEST_LIMIT };
        Decoder { table: Table::new(limit), limit, due: None, stage: Stage::Start(2) }
    }

    /// The peer acknowledged another SETTINGS_HEADER_TABLE_SIZE.
    pub(crate) fn set_limit(&mut self, limit: u32) {
        self.limit = limit.min(LARGEST_LIMIT);
        if self.limit < self.table.limit() {
            // The next update would evict the same entries.
            self.table.set_limit(self.limit);
            self.due = Some(self.limit);
        }
    }

    /// The bytes of heap that the decoder owns: at most [`memory_bound`](super::memory_bound) of the limit.
    pub(crate) fn memory(&self) -> usize {
        self.table.memory()
    }

    /// Begins a block.
    pub(crate) fn begin(&mut self) {
        self.stage = Stage::Start(2);
    }

    /// Decodes the next field of `block`, which is advanced, and appends its name and its value to `text`.
    /// Returns `None` at the end of the block.
    ///
    /// A field whose name and value are longer than `room` is only accounted for: `text` stays as it
    /// is. In between, `text` grows by at most the larger one of `room` and the table's limit.
    ///
    /// After an error the connection can't go on, because the state of the table is unknown.
    // A call, and the result through memory, would double the cost of an indexed field.
    #[inline(always)]
    pub(crate) fn field(
        &mut self,
        block: &mut &[u8],
        text: &mut Vec<u8>,
        room: usize,
    ) -> Result<Option<Field>, HpackError> {
        let Some((&first, rest)) = block.split_first() else { return Ok(None) };
        *block = rest;
        let mut first = first;
        if self.stage != Stage::Fields {
            match self.start(first, block)? {
                Some(field) => first = field,
                None => return Ok(None),
            }
        }
        if first & 0x80 != 0 {
            self.indexed(first, block, text, room).map(Some)
        } else {
            self.literal(first, block, text, room).map(Some)
        }
    }

    /// Processes size updates, and returns the first byte of the first field.
    #[inline(always)]
    fn start(&mut self, first: u8, block: &mut &[u8]) -> Result<Option<u8>, HpackError> {
        if first & 0xe0 == 0x20 || self.due.is_some() {
            return self.update_sizes(first, block);
        }
        self.stage = Stage::Fields;
        Ok(Some(first))
    }

    #[cold]
    fn update_sizes(&mut self, mut first: u8, block: &mut &[u8]) -> Result<Option<u8>, HpackError> {
        while first & 0xe0 == 0x20 {
            self.update_size(first, block)?;
            let Some((&next, rest)) = block.split_first() else { return Ok(None) };
            *block = rest;
            first = next;
        }
        if self.due.is_some() {
            return Err(HpackError::MissingTableSize);
        }
        self.stage = Stage::Fields;
        Ok(Some(first))
    }

    fn update_size(&mut self, first: u8, block: &mut &[u8]) -> Result<(), HpackError> {
        let size = integer::decode(first, 0x1f, block)?;
        self.stage = match self.stage {
            Stage::Start(more @ 1..) => Stage::Start(more - 1),
            Stage::Start(0) | Stage::Fields => return Err(HpackError::MisplacedTableSize),
        };
        if size > self.limit {
            return Err(HpackError::TableSize);
        }
        if self.due.is_some_and(|due| size <= due) {
            self.due = None;
        }
        self.table.set_limit(size);
        Ok(())
    }

    /// A whole field by its index (RFC 7541 6.1).
    #[inline(always)]
    fn indexed(
        &self,
        first: u8,
        block: &mut &[u8],
        text: &mut Vec<u8>,
        room: usize,
    ) -> Result<Field, HpackError> {
        let index = integer::decode(first, 0x7f, block)? as usize;
        let start = text.len();
        let (name_length, length, name_index, static_index, bytes, entry);
        if let Some(whole) = table::static_entry(index) {
            name_length = usize::from(whole.name_length);
            length = usize::from(whole.length);
            (name_index, static_index) = (whole.name_index, index as u8);
            (bytes, entry) = (Some(&whole.text), None);
        } else {
            let whole = self.table.get(index).ok_or(HpackError::BadIndex)?;
            name_length = whole.name_length();
            length = whole.length();
            (name_index, static_index) = (whole.name_index, 0);
            (bytes, entry) = (self.table.short(whole), Some(whole));
        }
        let fits = length <= room;
        if let Some(bytes) = bytes
            && length <= SHORT
            && room >= SHORT
        {
            append_short(bytes, length, text);
        } else if fits {
            match entry {
                Some(entry) => self.table.append(entry, text),
                None => text
                    .extend_from_slice(bytes.and_then(|it| it.get(..length)).unwrap_or_default()),
            }
        }
        Ok(Field {
            start,
            name_end: if fits { start + name_length } else { start },
            end: if fits { start + length } else { start },
            size: length + OVERHEAD,
            name_index,
            static_index,
            fits,
            never_indexed: false,
        })
    }

    /// A field with a literal value (RFC 7541 6.2).
    #[inline(never)]
    fn literal(
        &mut self,
        first: u8,
        block: &mut &[u8],
        text: &mut Vec<u8>,
        room: usize,
    ) -> Result<Field, HpackError> {
        if first & 0xe0 == 0x20 {
            return Err(HpackError::MisplacedTableSize);
        }
        let indexing = first & 0x40 != 0;
        let index = integer::decode(first, if indexing { 0x3f } else { 0x0f }, block)? as usize;
        let source = match table::static_entry(index) {
            Some(entry) => Source::Static(entry),
            None if index == 0 => Source::Literal,
            None => Source::Dynamic(self.table.get(index).ok_or(HpackError::BadIndex)?),
        };
        // An entry goes into the table even if there is no room for it in the text.
        let keep = if indexing { room.max(self.table.longest()) } else { room };
        let start = text.len();
        let mut name_index = 0;
        let name_length = match source {
            Source::Static(entry) => {
                name_index = entry.name_index;
                if entry.name().len() <= keep {
                    text.extend_from_slice(entry.name());
                }
                entry.name().len()
            }
            Source::Dynamic(entry) => {
                name_index = entry.name_index;
                let length = entry.name_length();
                if length <= keep {
                    self.table.append_name(entry, text);
                }
                length
            }
            Source::Literal => string(block, text, keep)?,
        };
        let value_length = string(block, text, keep.saturating_sub(name_length))?;
        let length = name_length.saturating_add(value_length);
        if indexing {
            if length <= keep {
                let text = text.get(start..).unwrap_or_default();
                self.table.insert(text, name_length, name_index);
            } else {
                self.table.clear();
            }
        }
        let fits = length <= room;
        if !fits {
            text.truncate(start);
        }
        Ok(Field {
            start,
            name_end: if fits { start + name_length } else { start },
            end: if fits { start + length } else { start },
            size: length.saturating_add(OVERHEAD),
            name_index,
            static_index: 0,
            fits,
            never_indexed: first & 0xf0 == 0x10,
        })
    }
}

/// Decodes a string literal (RFC 7541 5.2), appends it unless it is longer than `room`, and returns its
/// length.
#[inline(always)]
fn string(block: &mut &[u8], text: &mut Vec<u8>, room: usize) -> Result<usize, HpackError> {
    let (&first, rest) = block.split_first().ok_or(HpackError::Truncated)?;
    *block = rest;
    let length = integer::decode(first, 0x7f, block)? as usize;
    let (bytes, rest) = block.split_at_checked(length).ok_or(HpackError::Truncated)?;
    *block = rest;
    if first & 0x80 != 0 {
        return huffman::decode(bytes, text, room);
    }
    if length <= room {
        text.extend_from_slice(bytes);
    }
    Ok(length)
}
