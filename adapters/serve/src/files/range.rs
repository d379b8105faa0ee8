//! Byte ranges (RFC 9110 14): which part of a file a request asks for.

use std::ops::Range;

/// The request of a `Range` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The whole file. The field is absent, or the server may ignore it: another unit, malformed,
    /// or several ranges.
    Whole,
    /// These bytes, which exist.
    Part(Range<u64>),
    /// Bytes beyond the end: 416.
    Unsatisfiable,
}

impl Wanted {
    /// Reads a `Range` field for content of `length` bytes.
    pub(super) fn read(field: &[u8], length: u64) -> Wanted {
        parse(field, length).unwrap_or(Wanted::Whole)
    }
}

fn parse(field: &[u8], length: u64) -> Option<Wanted> {
    let (unit, ranges) = str::from_utf8(field).ok()?.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = ranges.trim_matches([' ', '\t']).split_once('-')?;
    let range = if first.is_empty() {
        // A suffix: the last bytes, as many as `last` says.
        length.saturating_sub(position(last)?)..length
    } else {
        let first = position(first)?;
        if last.is_empty() {
            first..length
        } else {
            let last = position(last)?;
            if last < first {
                return None;
            }
            first..length.min(last.saturating_add(1))
        }
    };
    Some(if range.is_empty() { Wanted::Unsatisfiable } else { Wanted::Part(range) })
}

/// Parses digits, of any length: a position too large for `u64` still lies beyond every file.
fn position(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Wanted::{Part, Unsatisfiable, Whole};

    #[test]
    fn ranges_of_a_file_of_ten_bytes() {
        for (field, wanted) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=0-9", Part(0..10)),
            ("bytes=0-", Part(0..10)),
            ("bytes=9-", Part(9..10)),
            ("bytes=3-5", Part(3..6)),
            ("bytes=3-99999999999999999999999", Part(3..10)),
            ("bytes=-1", Part(9..10)),
            ("bytes=-10", Part(0..10)),
            ("bytes=-11", Part(0..10)),
            ("BYTES=1-2", Part(1..3)),
            ("bytes= 1-2 ", Part(1..3)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-11", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=5-3", Whole),
            ("bytes=", Whole),
            ("bytes=-", Whole),
            ("bytes", Whole),
            ("bytes=1", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=1-2x", Whole),
            ("bytes=--1", Whole),
            ("bytes=0-1,3-4", Whole),
            ("lines=1-2", Whole),
            ("", Whole),
        ] {
            assert_eq!(Wanted::read(field.as_bytes(), 10), wanted, "{field}");
        }
        assert_eq!(Wanted::read(b"bytes=\xff-", 10), Whole);
    }

    #[test]
    fn an_empty_file_has_no_part() {
        for field in ["bytes=0-", "bytes=0-0", "bytes=-5"] {
            assert_eq!(Wanted::read(field.as_bytes(), 0), Unsatisfiable, "{field}");
        }
    }
}
