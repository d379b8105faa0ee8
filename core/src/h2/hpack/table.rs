//! The static table (RFC 7541 appendix A) and the dynamic table (RFC 7541 2.3.2 and 4).
//!
//! In: fields to insert, and limits. Out: the entries by their index, as text.

use std::collections::VecDeque;

/// The size of an entry is the length of its text, plus this (RFC 7541 4.1).
pub(super) const OVERHEAD: usize = 32;

// ---- the static table ------------------------------------------------------------------------------

#[rustfmt::skip]
const FIELDS: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Texts up to this length are copied with this fixed length, which is faster than an exact copy.
pub(super) const SHORT: usize = 32;

/// Appends the first `length` bytes.
#[inline(always)]
pub(super) fn append_short(bytes: &[u8; SHORT], length: usize, text: &mut Vec<u8>) {
    let end = text.len() + length;
    text.extend_from_slice(bytes);
    text.truncate(end);
}

pub(super) struct StaticEntry {
    /// The name, then the value, then zeros.
    pub(super) text: [u8; SHORT],
    pub(super) name_length: u8,
    pub(super) length: u8,
    /// The first index with the same name.
    pub(super) name_index: u8,
}

impl StaticEntry {
    pub(super) fn name(&self) -> &[u8] {
        self.text.get(..usize::from(self.name_length)).unwrap_or_default()
    }
}

/// The entries by their index. There is no entry 0.
static STATIC: [StaticEntry; FIELDS.len() + 1] = {
    const NONE: StaticEntry =
        StaticEntry { text: [0; SHORT], name_length: 0, length: 0, name_index: 0 };
    const fn append(entry: &mut StaticEntry, text: &[u8]) {
        let mut place = 0;
        while place < text.len() {
            entry.text[entry.length as usize] = text[place];
            entry.length += 1;
            place += 1;
        }
    }
    const fn same(one: &[u8], other: &[u8]) -> bool {
        let mut place = 0;
        while place < one.len() && place < other.len() && one[place] == other[place] {
            place += 1;
        }
        place == one.len() && place == other.len()
    }
    let mut entries = [NONE; FIELDS.len() + 1];
    let mut place = 0;
    while place < FIELDS.len() {
        let (name, value) = FIELDS[place];
        let index = place + 1;
        append(&mut entries[index], name.as_bytes());
        entries[index].name_length = entries[index].length;
        append(&mut entries[index], value.as_bytes());
        let follows = place > 0 && same(name.as_bytes(), FIELDS[place - 1].0.as_bytes());
        entries[index].name_index = if follows { entries[place].name_index } else { index as u8 };
        place += 1;
    }
    entries
};

/// The first index of the dynamic table.
pub(super) const DYNAMIC: usize = FIELDS.len() + 1;

/// The entry with this index.
#[inline(always)]
pub(super) fn static_entry(index: usize) -> Option<&'static StaticEntry> {
    if index == 0 { None } else { STATIC.get(index) }
}

// ---- the dynamic table -----------------------------------------------------------------------------

/// Lengths and places are kept in 16 bits.
pub(super) const LARGEST_LIMIT: u32 = u16::MAX as u32;

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where the name starts in the ring. The value follows.
    start: u16,
    name_length: u16,
    /// The length of the name and the value.
    length: u16,
    /// The index of a static entry with this name, if the sender referred to one.
    pub(super) name_index: u8,
}

impl Entry {
    #[inline(always)]
    pub(super) fn name_length(self) -> usize {
        usize::from(self.name_length)
    }

    #[inline(always)]
    pub(super) fn length(self) -> usize {
        usize::from(self.length)
    }
}

/// Entries in the order of their insertion. The text of all of them lies in one ring of bytes, that grows
/// in small steps.
#[derive(Debug)]
pub(super) struct Table {
    /// The ring, and [`SHORT`] unused bytes: a short copy may begin anywhere in the ring.
    ring: Vec<u8>,
    /// The oldest is the first.
    entries: VecDeque<Entry>,
    /// The bytes in use.
    used: u32,
    /// Where the next entry starts in the ring.
    next: u32,
    /// The maximum size (RFC 7541 4.2).
    limit: u32,
}

/// The most that [`Table::memory`] can be with a maximum size of `limit`.
pub(crate) const fn memory_bound(limit: u32) -> usize {
    let limit = if limit < LARGEST_LIMIT { limit } else { LARGEST_LIMIT } as usize;
    // The overhead of the first entry pays for the unused bytes after the ring.
    limit + limit / OVERHEAD * size_of::<Entry>()
}

impl Table {
    pub(super) const fn new(limit: u32) -> Self {
        let entries = VecDeque::new();
        Table { ring: Vec::new(), entries, used: 0, next: 0, limit }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    /// The bytes of heap that the table owns.
    pub(super) fn memory(&self) -> usize {
        self.ring.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The size as RFC 7541 4.1 defines it.
    fn size(&self) -> usize {
        self.used as usize + OVERHEAD * self.entries.len()
    }

    /// The longest text that an entry can have.
    pub(super) fn longest(&self) -> usize {
        (self.limit as usize).saturating_sub(OVERHEAD)
    }

    /// The entry with this index. The first one is [`DYNAMIC`].
    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> Option<Entry> {
        // An index that is too small or too large leads to a place beyond all entries.
        let place = (self.entries.len() + DYNAMIC - 1).wrapping_sub(index);
        self.entries.get(place).copied()
    }

    /// The index of the newest entry with this name and this value. `name_index` is the name's static
    /// index, or 0.
    #[inline(always)]
    pub(super) fn find(&self, name_index: u8, name: &[u8], value: &[u8]) -> Option<usize> {
        let (index, entry) = self.candidate(DYNAMIC, name_index, name, value)?;
        if self.has(entry, name, value) {
            return Some(index);
        }
        self.find_older(index + 1, name_index, name, value)
    }

    /// The rest of [`Table::find`], which is rarely needed. Apart, it leaves more registers to the rest.
    #[cold]
    fn find_older(
        &self,
        mut index: usize,
        name_index: u8,
        name: &[u8],
        value: &[u8],
    ) -> Option<usize> {
        while let Some((found, entry)) = self.candidate(index, name_index, name, value) {
            if self.has(entry, name, value) {
                return Some(found);
            }
            index = found + 1;
        }
        None
    }

    /// The first entry, from this index on, whose lengths and static index match.
    #[inline(always)]
    fn candidate(
        &self,
        mut index: usize,
        name_index: u8,
        name: &[u8],
        value: &[u8],
    ) -> Option<(usize, Entry)> {
        let length = name.len().saturating_add(value.len());
        while let Some(entry) = self.get(index) {
            if entry.name_index == name_index
                && entry.length() == length
                && entry.name_length() == name.len()
            {
                return Some((index, entry));
            }
            index += 1;
        }
        None
    }

    #[inline(always)]
    fn has(&self, entry: Entry, name: &[u8], value: &[u8]) -> bool {
        self.has_value(entry, value) && (entry.name_index != 0 || self.has_name(entry, name))
    }

    #[inline(always)]
    fn has_value(&self, entry: Entry, value: &[u8]) -> bool {
        let start = usize::from(entry.start);
        match self.ring.get(start + entry.name_length()..start + entry.length()) {
            Some(whole) if start + entry.length() <= self.ring_length() => equal(whole, value),
            _ => is(self.value(entry), value),
        }
    }

    #[inline(never)]
    fn has_name(&self, entry: Entry, name: &[u8]) -> bool {
        is(self.name(entry), name)
    }

    fn ring_length(&self) -> usize {
        self.ring.len().saturating_sub(SHORT)
    }

    /// The first bytes of an entry, and bytes that follow it, unless it wraps around the ring.
    #[inline(always)]
    pub(super) fn short(&self, entry: Entry) -> Option<&[u8; SHORT]> {
        let rest = self.ring.get(usize::from(entry.start)..)?;
        if entry.length() + SHORT > rest.len() { None } else { rest.first_chunk() }
    }

    /// Appends an entry, name and value.
    #[inline(never)]
    pub(super) fn append(&self, entry: Entry, text: &mut Vec<u8>) {
        append(self.text(entry), text);
    }

    /// Appends the name of an entry.
    pub(super) fn append_name(&self, entry: Entry, text: &mut Vec<u8>) {
        append(self.name(entry), text);
    }

    /// The text of an entry in two parts. The second is empty unless the entry wraps around the ring.
    #[inline(always)]
    pub(super) fn text(&self, entry: Entry) -> (&[u8], &[u8]) {
        self.part(usize::from(entry.start), entry.length())
    }

    #[inline(always)]
    pub(super) fn name(&self, entry: Entry) -> (&[u8], &[u8]) {
        self.part(usize::from(entry.start), entry.name_length())
    }

    fn value(&self, entry: Entry) -> (&[u8], &[u8]) {
        let start = usize::from(entry.start) + entry.name_length();
        let start = start.checked_sub(self.ring_length()).unwrap_or(start);
        self.part(start, entry.length().saturating_sub(entry.name_length()))
    }

    #[inline(always)]
    fn part(&self, start: usize, length: usize) -> (&[u8], &[u8]) {
        let ring = self.ring.get(..self.ring_length()).unwrap_or_default();
        match ring.get(start..start + length) {
            Some(whole) => (whole, &[]),
            None => {
                let first = ring.get(start..).unwrap_or_default();
                let rest = length.saturating_sub(first.len());
                (first, ring.get(..rest).unwrap_or_default())
            }
        }
    }

    /// Inserts an entry, and evicts old ones to make room (RFC 7541 4.4). An entry that exceeds the limit
    /// empties the table. The name is the first part of the text.
    pub(super) fn insert(&mut self, text: &[u8], name_length: usize, name_index: u8) {
        if text.len() > self.longest() || self.limit < OVERHEAD as u32 {
            self.clear();
            return;
        }
        let room = self.longest() - text.len();
        while self.size() > room && !self.entries.is_empty() {
            self.evict();
        }
        if self.entries.is_empty() {
            self.next = 0;
        }
        self.make_room(text.len());
        let start = self.next as usize;
        let (first, rest) = text.split_at(text.len().min(self.ring_length().saturating_sub(start)));
        copy(&mut self.ring, start, first);
        copy(&mut self.ring, 0, rest);
        let end = start + text.len();
        self.next = end.checked_sub(self.ring_length()).unwrap_or(end) as u32;
        self.used += text.len() as u32;
        self.entries.push_back(Entry {
            start: start as u16,
            name_length: name_length as u16,
            length: text.len() as u16,
            name_index,
        });
    }

    /// Removes the oldest entry.
    pub(super) fn evict(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.used = self.used.saturating_sub(oldest.length() as u32);
        }
    }

    /// Removes all entries, and frees their memory.
    pub(super) fn clear(&mut self) {
        *self = Table::new(self.limit);
    }

    /// Changes the maximum size, and evicts entries as needed (RFC 7541 4.3).
    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
        while self.size() > limit as usize {
            self.evict();
        }
        if self.entries.is_empty() {
            self.clear();
            return;
        }
        if self.ring_length() > self.longest() {
            self.move_ring(self.used as usize);
        }
        self.entries.shrink_to(limit as usize / OVERHEAD);
    }

    /// Makes room for one more entry with a text of this length. It fits into the limit.
    fn make_room(&mut self, length: usize) {
        const ROUND: usize = 64;
        let needed = self.used as usize + length;
        if needed > self.ring_length() {
            let step = self.ring_length() / 4;
            let larger = needed.max(self.ring_length() + step).next_multiple_of(ROUND);
            self.move_ring(larger.min(self.longest()));
        }
        let count = self.entries.len();
        if count == self.entries.capacity() {
            let most = self.limit as usize / OVERHEAD;
            let step = (count / 4).max(4).min(most.saturating_sub(count));
            self.entries.reserve_exact(step);
        }
    }

    /// Moves all text into a new ring of that length.
    fn move_ring(&mut self, length: usize) {
        let mut ring = Vec::with_capacity(length + SHORT);
        for place in 0..self.entries.len() {
            if let Some(&entry) = self.entries.get(place) {
                let start = ring.len() as u16;
                let (first, rest) = self.text(entry);
                ring.extend_from_slice(first);
                ring.extend_from_slice(rest);
                if let Some(entry) = self.entries.get_mut(place) {
                    entry.start = start;
                }
            }
        }
        self.next = if ring.len() < length { ring.len() as u32 } else { 0 };
        ring.resize(length + SHORT, 0);
        self.ring = ring;
    }
}

fn append((first, rest): (&[u8], &[u8]), text: &mut Vec<u8>) {
    text.extend_from_slice(first);
    if !rest.is_empty() {
        text.extend_from_slice(rest);
    }
}

#[inline(never)]
fn is((first, rest): (&[u8], &[u8]), text: &[u8]) -> bool {
    text.strip_prefix(first).is_some_and(|after| after == rest)
}

/// Whether two texts are equal. For most lengths this needs no call.
#[inline(always)]
pub(super) fn equal(one: &[u8], other: &[u8]) -> bool {
    #[inline(always)]
    fn ends<const N: usize>(one: &[u8], other: &[u8]) -> bool {
        one.first_chunk::<N>() == other.first_chunk() && one.last_chunk::<N>() == other.last_chunk()
    }
    one.len() == other.len()
        && match one.len() {
            4..=7 => ends::<4>(one, other),
            8..=15 => ends::<8>(one, other),
            16..=32 => ends::<16>(one, other),
            _ => one == other,
        }
}

fn copy(ring: &mut [u8], start: usize, text: &[u8]) {
    if let Some(place) = ring.get_mut(start..start + text.len()) {
        place.copy_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(table: &Table) -> Vec<String> {
        (DYNAMIC..DYNAMIC + table.count())
            .filter_map(|index| table.get(index))
            .map(|entry| {
                let parts = [table.name(entry), table.value(entry)];
                let [name, value] = parts.map(|(first, rest)| [first, rest].concat());
                let mut text = b"?".to_vec();
                table.append(entry, &mut text);
                assert_eq!(text, [b"?", &name[..], &value[..]].concat());
                if let Some(short) = table.short(entry) {
                    let length = short.len().min(text.len() - 1);
                    assert_eq!(short[..length], text[1..=length]);
                }
                assert!(table.find(0, &name, &value).is_some());
                format!("{}: {}", name.escape_ascii(), value.escape_ascii())
            })
            .collect()
    }

    fn insert(table: &mut Table, name: &str, value: &str) {
        table.insert(format!("{name}{value}").as_bytes(), name.len(), 0);
    }

    #[test]
    fn static_entries() {
        assert!(static_entry(0).is_none() && static_entry(62).is_none());
        for (index, name_index, name, value) in [
            (1, 1, ":authority", ""),
            (3, 2, ":method", "POST"),
            (14, 8, ":status", "500"),
            (16, 16, "accept-encoding", "gzip, deflate"),
            (61, 61, "www-authenticate", ""),
        ] {
            let entry = static_entry(index).expect("an entry");
            assert_eq!((entry.name_index, entry.name()), (name_index, name.as_bytes()));
            assert_eq!(entry.text[..entry.length.into()], *format!("{name}{value}").as_bytes());
        }
    }

    #[test]
    fn old_entries_are_evicted() {
        let mut table = Table::new(100);
        insert(&mut table, "a", "1");
        insert(&mut table, "b", "2");
        assert_eq!((texts(&table), table.size()), (vec!["b: 2".into(), "a: 1".into()], 68));
        insert(&mut table, "c", "3");
        assert_eq!(texts(&table), ["c: 3", "b: 2"]);
        // One that fills the table, and one that exceeds it.
        let long = "x".repeat(67);
        insert(&mut table, "d", &long);
        assert_eq!(texts(&table), [format!("d: {long}")]);
        insert(&mut table, "d", &(long + "x"));
        assert_eq!((texts(&table), table.memory()), (vec![], 0));
    }

    #[test]
    fn tiny_limits_hold_nothing() {
        for limit in 0..32 {
            let mut table = Table::new(limit);
            insert(&mut table, "", "");
            assert_eq!((table.count(), table.memory()), (0, 0));
        }
        let mut table = Table::new(32);
        insert(&mut table, "", "");
        assert_eq!(texts(&table), [": "]);
    }

    /// Against a list, with limits that change.
    #[test]
    fn random_insertions_within_the_bound() {
        let mut random = fastrand::Rng::with_seed(3);
        for round in 0..100 {
            let most = [40, 200, 1000, 4096, 65_535][round % 5];
            let mut limit = random.u32(..=most);
            let mut table = Table::new(limit);
            let mut model: Vec<(String, String)> = Vec::new();
            for _ in 0..200 {
                if random.u8(..20) == 0 {
                    limit = random.u32(..=most);
                    table.set_limit(limit);
                } else {
                    let longest = random.usize(..=(most as usize / 3).max(2));
                    let name = "n".repeat(random.usize(..=longest.min(40)));
                    let value: String =
                        (0..random.usize(..=longest)).map(|_| random.alphanumeric()).collect();
                    insert(&mut table, &name, &value);
                    model.insert(0, (name, value));
                }
                let size = |model: &[(String, String)]| -> usize {
                    model.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
                };
                while size(&model) > limit as usize {
                    model.pop();
                }
                assert_eq!(table.size(), size(&model));
                let expected: Vec<_> =
                    model.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                assert_eq!(texts(&table), expected);
                assert!(table.memory() <= memory_bound(limit), "{limit}: {table:?}");
                assert!(!table.entries.is_empty() || table.memory() == 0 || size(&model) == 0);
            }
        }
    }
}
