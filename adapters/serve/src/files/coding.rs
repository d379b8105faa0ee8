//! Content codings (RFC 9110 8.4): which of them a client takes, which files are worth one, and compressing while a
//! file is sent.

use flate2::Compression;
use flate2::read::GzEncoder;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel};

/// A coding that a file may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

/// All codings, the one that shortens most first.
const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

/// Files that are compressed while they are sent, at the same time. Each takes about 300 KB.
const MOST: usize = 32;
/// Shorter files gain nothing.
const LEAST: u64 = 1 << 10;
/// Longer files would keep a thread busy for seconds for each client.
const LONGEST: u64 = 16 << 20;
/// Nearly as short as the best level, for half of its time.
const LEVEL: u32 = 5;

impl Coding {
    /// Its name in `Content-Encoding`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// The file beside `path` that holds the same content in this coding.
    pub(super) fn sibling(self, path: &Path) -> PathBuf {
        let mut name = OsString::from(path);
        name.push(match self {
            Coding::Brotli => ".br",
            Coding::Zstd => ".zst",
            Coding::Gzip => ".gz",
        });
        name.into()
    }

    pub(super) fn field(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }
}

/// The codings that a client takes, in the order of its wishes and then of ours (RFC 9110 12.5.3).
pub(super) fn accepted(fields: &HeaderMap) -> Vec<Coding> {
    let values = fields.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let wishes: Vec<_> = values.flat_map(|value| value.split(',')).filter_map(wish).collect();
    let quality = |coding: Coding| {
        let named = |name: &str| {
            let is_alias = coding == Coding::Gzip && name.eq_ignore_ascii_case("x-gzip");
            name.eq_ignore_ascii_case(coding.name()) || is_alias
        };
        let found = wishes.iter().find(|(name, _)| named(name));
        found.or_else(|| wishes.iter().find(|(name, _)| *name == "*")).map_or(0, |(_, it)| *it)
    };
    let mut codings: Vec<_> = CODINGS.into_iter().filter(|coding| quality(*coding) > 0).collect();
    codings.sort_by_key(|coding| std::cmp::Reverse(quality(*coding)));
    codings
}

/// A coding and its weight in thousandths. A malformed weight counts as none.
fn wish(text: &str) -> Option<(&str, u16)> {
    let (name, parameters) = text.split_once(';').unwrap_or((text, ""));
    let weight = parameters.split(';').find_map(|it| {
        let (name, value) = it.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let weight = match weight {
        None => 1000,
        Some(weight) => match weight.parse::<f32>() {
            Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0) as u16,
            _ => return None,
        },
    };
    Some((name.trim(), weight))
}

/// Whether files of this type become shorter.
pub(super) fn is_worth_it(of: &mime_guess::Mime) -> bool {
    let (kind, subtype) = (of.type_().as_str(), of.subtype().as_str());
    let suffix = of.suffix().map(|it| it.as_str());
    kind == "text"
        || matches!(suffix, Some("xml" | "json"))
        || matches!(
            (kind, subtype),
            ("application", "json" | "javascript" | "xml" | "wasm" | "manifest+json" | "rtf")
                | ("image", "svg+xml" | "bmp" | "x-icon" | "vnd.microsoft.icon")
                | ("font", "ttf" | "otf")
        )
}

/// Places for files that are compressed while they are sent. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Compressors(Arc<AtomicUsize>);

/// A place, until it is dropped.
#[derive(Debug)]
struct Taken(Compressors);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, AcqRel);
    }
}

/// A file, compressed as it is read.
#[derive(Debug)]
pub(super) struct Compressed {
    file: GzEncoder<File>,
    _taken: Taken,
}

impl Compressors {
    /// Whether a file of this length is to be compressed.
    pub(super) fn want(length: u64) -> bool {
        (LEAST..=LONGEST).contains(&length)
    }

    /// Compresses `file` with gzip. Gives it back if too many others are being compressed.
    pub(super) fn begin(&self, file: File) -> Result<Compressed, File> {
        let taken = Taken(self.clone());
        if self.0.fetch_add(1, AcqRel) >= MOST {
            return Err(file);
        }
        Ok(Compressed { file: GzEncoder::new(file, Compression::new(LEVEL)), _taken: taken })
    }
}

impl Read for Compressed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(values: &[&'static str]) -> Vec<&'static str> {
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        accepted(&fields).into_iter().map(Coding::name).collect()
    }

    #[test]
    fn clients_choose_among_codings() {
        for (values, expected) in [
            (&[][..], &[][..]),
            (&["gzip, deflate, br, zstd"], &["br", "zstd", "gzip"]),
            (&["gzip", "BR"], &["br", "gzip"]),
            (&["gzip;q=1.0, br;q=0.5"], &["gzip", "br"]),
            (&["x-gzip"], &["gzip"]),
            (&["*"], &["br", "zstd", "gzip"]),
            (&["*;q=0.1, gzip"], &["gzip", "br", "zstd"]),
            (&["*, br;q=0"], &["zstd", "gzip"]),
            (&["gzip;q=0"], &[]),
            (&["identity"], &[]),
            (&["gzip;q=2, br;q=x, zstd ; Q=0.3"], &["zstd"]),
            (&[",,;, =;q"], &[]),
        ] {
            assert_eq!(accepts(values), expected, "{values:?}");
        }
    }

    #[test]
    fn text_is_worth_it_and_what_is_compressed_is_not() {
        for (name, expected) in [
            ("a.html", true),
            ("a.js", true),
            ("a.json", true),
            ("a.svg", true),
            ("a.wasm", true),
            ("a.ttf", true),
            ("a.atom", true),
            ("a.png", false),
            ("a.woff2", false),
            ("a.zip", false),
            ("a.mp4", false),
            ("a", false),
        ] {
            let kind = mime_guess::from_path(name).first_or_octet_stream();
            assert_eq!(is_worth_it(&kind), expected, "{name}: {kind}");
        }
    }

    #[test]
    fn few_are_compressed_at_once() {
        let compressors = Compressors::default();
        let begin = || compressors.begin(tempfile::tempfile().expect("a file"));
        let mut begun: Vec<_> = (0..MOST).map(|_| begin().expect("a place")).collect();
        assert!(begin().is_err());
        begun.pop();
        assert!(begin().is_ok(), "a place is free again, also after a refusal");
    }
}
