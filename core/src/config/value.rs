//! The kinds of value that a setting can have, read from text and written as text.

use bytesize::ByteSize;
use core::time::Duration;

/// One kind of value.
pub(super) trait Value: Sized {
    const EXPECTED: &'static str;
    fn parse(text: &str) -> Option<Self>;
    fn text(&self) -> String;
    fn lies_between(&self, least: &Self, most: &Self) -> bool;
}

impl Value for Duration {
    const EXPECTED: &'static str = "a time with its unit, such as 5s or 250ms";

    fn parse(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }

    fn text(&self) -> String {
        humantime::format_duration(*self).to_string()
    }

    fn lies_between(&self, least: &Self, most: &Self) -> bool {
        (least..=most).contains(&self)
    }
}

impl Value for u64 {
    const EXPECTED: &'static str = "a number, or a size such as 64KiB or 16MiB";

    fn parse(text: &str) -> Option<Self> {
        // A plain number keeps all of its digits; the crate's parser goes through a float.
        match text.parse() {
            Ok(number) => Some(number),
            Err(_) if text.starts_with('-') => None,
            Err(_) => Some(text.parse::<ByteSize>().ok()?.as_u64()),
        }
    }

    fn text(&self) -> String {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.iter().find(|(size, _)| *self >= *size && self.is_multiple_of(*size)) {
            Some((size, unit)) => format!("{}{unit}", self / size),
            None => self.to_string(),
        }
    }

    fn lies_between(&self, least: &Self, most: &Self) -> bool {
        (least..=most).contains(&self)
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "on or off";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "on" | "true" => Some(true),
            "off" | "false" => Some(false),
            _ => None,
        }
    }

    fn text(&self) -> String {
        if *self { "on".to_owned() } else { "off".to_owned() }
    }

    fn lies_between(&self, _: &Self, _: &Self) -> bool {
        true
    }
}

/// How many connections are served at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionLimit {
    /// This many, at least one.
    Count(u64),
    /// A share, from 1 to 100 %, of the descriptors that the process may open.
    DescriptorsPercent(u8),
}

impl Value for ConnectionLimit {
    const EXPECTED: &'static str =
        "a number such as 1000, or a share of the descriptors such as 75%";

    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().map(ConnectionLimit::DescriptorsPercent),
            None => u64::parse(text).map(ConnectionLimit::Count),
        }
    }

    fn text(&self) -> String {
        match self {
            ConnectionLimit::Count(count) => count.to_string(),
            ConnectionLimit::DescriptorsPercent(percent) => format!("{percent}%"),
        }
    }

    fn lies_between(&self, _: &Self, _: &Self) -> bool {
        match self {
            ConnectionLimit::Count(count) => *count > 0,
            ConnectionLimit::DescriptorsPercent(percent) => (1..=100).contains(percent),
        }
    }
}

/// How much memory all connections together may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// This many bytes, at least one.
    Bytes(u64),
    /// A share, from 1 to 100 %, of the memory that the process may use: the machine's, or that of its control
    /// group if this is less.
    Percent(u8),
}

impl Value for MemoryLimit {
    const EXPECTED: &'static str =
        "a size such as 512MiB, or a share of the memory that the process may use such as 25%";

    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().map(MemoryLimit::Percent),
            None => u64::parse(text).map(MemoryLimit::Bytes),
        }
    }

    fn text(&self) -> String {
        match self {
            MemoryLimit::Bytes(bytes) => bytes.text(),
            MemoryLimit::Percent(percent) => format!("{percent}%"),
        }
    }

    fn lies_between(&self, _: &Self, _: &Self) -> bool {
        match self {
            MemoryLimit::Bytes(bytes) => *bytes > 0,
            MemoryLimit::Percent(percent) => (1..=100).contains(percent),
        }
    }
}

/// A value that may be absent: `none`, or `off`.
impl<T: Value + PartialOrd + Copy + OrNone> Value for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED_OR_NONE;

    fn parse(text: &str) -> Option<Self> {
        if matches!(text, "none" | "off") { Some(None) } else { T::parse(text).map(Some) }
    }

    fn text(&self) -> String {
        self.map_or_else(|| "none".to_owned(), |value| value.text())
    }

    fn lies_between(&self, least: &Self, most: &Self) -> bool {
        self.is_none() || (least..=most).contains(&self)
    }
}

/// Kinds that may be absent.
pub(super) trait OrNone {
    const EXPECTED_OR_NONE: &'static str;
}

impl OrNone for u64 {
    const EXPECTED_OR_NONE: &'static str = "a number, a size such as 16MiB, or none";
}

impl OrNone for Duration {
    const EXPECTED_OR_NONE: &'static str = "a time with its unit, such as 5s or 250ms, or none";
}
