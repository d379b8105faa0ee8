//! Decodes a request's content: counted by its length, or in chunks (RFC 9112 6.2, 7.1).
//!
//! In: the bytes after the head, and the number of content bytes that may be lent. Out: the place of
//! the content. Small chunks are moved together in place, over the chunk headers between them, so that
//! tiny chunks don't become tiny events.

use crate::close::Refusal;
use crate::config::Config;
use crate::exchange::grammar;
use crate::head::ContentFraming;

/// Chunk data of at least this length is lent in place; shorter data is gathered.
const GATHERED: usize = 1024;
/// Digits of a chunk size, enough for any `u64`. More leading zeros count as an extension.
const SIZE_DIGITS: u8 = 16;

/// The decoder's state, which carries over from one read to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// The number of bytes that are left.
    Length(u64),
    Chunked(Chunked),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunked {
    at: At,
    /// The chunk size as far as it was read, or the bytes left of the chunk's data.
    left: u64,
    /// Bytes of extensions in this chunk, and in all chunks.
    extension: u32,
    extensions: u32,
}

/// The position in a chunk. An extension is `BWS ";" BWS name [ BWS "=" BWS value ]`. BWS is optional
/// white space, and a value is a token or a quoted string (RFC 9112 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// After this many digits of the size, or after sixteen or more.
    Size(u8),
    /// White space after the size, or after a complete extension: another extension has to follow.
    Space,
    /// After the semicolon: the name comes next.
    Semicolon,
    Name,
    /// White space after a name: a value or the next extension follows.
    NameEnd,
    /// After the equals sign: the value comes next.
    Equals,
    Value,
    Quoted,
    /// After a backslash between quotes.
    Escape,
    /// After the closing quote.
    QuoteEnd,
    /// The LF of the size line.
    SizeEnd,
    Data,
    /// The CR and the LF after the data.
    DataCr,
    DataLf,
    /// After the last chunk's size line: trailers come next.
    Trailers,
}

impl At {
    /// The position after a single delimiter byte of a size line, if the grammar allows it here.
    fn after(self, byte: u8) -> Option<At> {
        Some(match (self, byte) {
            (
                At::Size(1..) | At::Space | At::Name | At::NameEnd | At::Value | At::QuoteEnd,
                b';',
            ) => At::Semicolon,
            (At::Size(1..) | At::Space | At::Value | At::QuoteEnd, b' ' | b'\t') => At::Space,
            (At::Semicolon | At::Equals, b' ' | b'\t') => self,
            (At::Name | At::NameEnd, b' ' | b'\t') => At::NameEnd,
            (At::Name | At::NameEnd, b'=') => At::Equals,
            (At::Equals, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::QuoteEnd,
            (At::Quoted, b'\\') => At::Escape,
            (At::Escape, b'\t' | b' '..=b'~' | 0x80..) => At::Quoted,
            _ => return None,
        })
    }
}

/// The outcome of decoding some bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// The number of bytes that were decoded.
    pub(crate) taken: usize,
    /// Where in these bytes the content starts.
    pub(crate) start: usize,
    /// The length of the content.
    pub(crate) length: usize,
}

impl Content {
    pub(crate) fn new(framing: ContentFraming) -> Self {
        match framing {
            ContentFraming::Length(length) => Content::Length(length),
            ContentFraming::Chunked => {
                Content::Chunked(Chunked { at: At::Size(0), left: 0, extension: 0, extensions: 0 })
            }
        }
    }

    /// Whether all content was taken; for chunks, all but the trailer section.
    #[inline(always)]
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Content::Length(left) => *left == 0,
            Content::Chunked(chunked) => chunked.at == At::Trailers,
        }
    }

    pub(crate) fn has_trailers(&self) -> bool {
        matches!(self, Content::Chunked(_))
    }

    /// The bytes of content still to come, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Content::Length(left) => Some(*left),
            Content::Chunked(chunked) if chunked.at == At::Trailers => Some(0),
            Content::Chunked(_) => None,
        }
    }

    /// The number of next bytes that are known to be content without framing in between.
    #[inline(always)]
    pub(crate) fn next(&self) -> u64 {
        match self {
            Content::Length(left) => *left,
            Content::Chunked(chunked) if chunked.at == At::Data => chunked.left,
            Content::Chunked(_) => 0,
        }
    }

    /// Takes framing, and at most `most` bytes of content, from the start of `bytes`. All content from
    /// here on may not exceed `limit`. Content before an error is returned before the refusal, so that
    /// the split into reads makes no difference.
    pub(crate) fn decode(
        &mut self,
        bytes: &mut [u8],
        most: u64,
        limit: u64,
        config: &Config,
    ) -> Result<Decoded, Refusal> {
        match self {
            Content::Length(left) if *left > limit => Err(Refusal::ContentTooLarge),
            Content::Length(left) => {
                let length = most.min(*left).min(bytes.len() as u64) as usize;
                *left -= length as u64;
                Ok(Decoded { taken: length, start: 0, length })
            }
            Content::Chunked(chunked) => chunked.decode(bytes, most, limit, config),
        }
    }
}

impl Chunked {
    fn decode(
        &mut self,
        bytes: &mut [u8],
        most: u64,
        limit: u64,
        config: &Config,
    ) -> Result<Decoded, Refusal> {
        let mut seen = Decoded::default();
        loop {
            let framed = match self.frames(bytes, &mut seen.taken, config) {
                Ok(()) if self.at != At::Data => break,
                Ok(()) if self.left > limit - seen.length as u64 => Err(Refusal::ContentTooLarge),
                framed => framed,
            };
            match framed {
                Err(refusal) if seen.length == 0 => return Err(refusal),
                Err(_) => break,
                Ok(()) => {}
            }
            let room = most - seen.length as u64;
            let piece = self.left.min(room).min((bytes.len() - seen.taken) as u64) as usize;
            if piece == 0 || (seen.length > 0 && piece >= GATHERED) {
                break;
            }
            if seen.length == 0 {
                seen.start = seen.taken;
            } else if piece == 1 {
                bytes[seen.start + seen.length] = bytes[seen.taken];
            } else {
                bytes.copy_within(seen.taken..seen.taken + piece, seen.start + seen.length);
            }
            seen.length += piece;
            seen.taken += piece;
            self.left -= piece as u64;
            if self.left == 0 {
                self.at = At::DataCr;
            }
        }
        Ok(seen)
    }

    /// Takes framing, up to content or to the trailers. Common framing is taken in one step, other
    /// framing byte by byte.
    fn frames(&mut self, bytes: &[u8], taken: &mut usize, config: &Config) -> Result<(), Refusal> {
        while !matches!(self.at, At::Data | At::Trailers) {
            let rest = bytes.get(*taken..).unwrap_or_default();
            *taken += match (self.at, rest) {
                (_, []) => break,
                (At::DataCr, [b'\r', b'\n', ..]) => {
                    self.left = 0;
                    self.at = At::Size(0);
                    2
                }
                (At::Size(0), [first, ..]) if first.is_ascii_hexdigit() => self.size(rest),
                (_, [byte, ..]) => self.unusual(*byte, rest, config)?,
            };
        }
        Ok(())
    }

    /// Takes a part of a size line that has extensions, or a single byte.
    #[inline(never)]
    fn unusual(&mut self, byte: u8, rest: &[u8], config: &Config) -> Result<usize, Refusal> {
        let (length, at) = match self.at {
            At::Size(1..) if byte == b';' => {
                if let Some(length) = simple_extensions(rest) {
                    self.pay(length as u32 - 2, config)?;
                    self.size_ended();
                    return Ok(length);
                }
                (0, self.at)
            }
            At::Semicolon | At::Name => (grammar::token_length(rest), At::Name),
            At::Equals | At::Value => (grammar::token_length(rest), At::Value),
            At::Quoted => (grammar::quoted_length(rest), At::Quoted),
            at => (0, at),
        };
        if length == 0 {
            self.frame(byte, config)?;
            return Ok(1);
        }
        self.pay(length as u32, config)?;
        self.at = at;
        Ok(length)
    }

    /// Takes the digits at the start of `line`, and the line's end if it follows. Returns the number of
    /// bytes taken.
    fn size(&mut self, line: &[u8]) -> usize {
        let mut digits = 0;
        for byte in line.iter().take(usize::from(SIZE_DIGITS)) {
            let Some(digit) = (*byte as char).to_digit(16) else { break };
            self.left = self.left << 4 | u64::from(digit);
            digits += 1;
        }
        self.at = At::Size(digits);
        let taken = usize::from(digits);
        match line.get(taken..) {
            Some([b'\r', b'\n', ..]) => {
                self.size_ended();
                taken + 2
            }
            _ => taken,
        }
    }

    fn size_ended(&mut self) {
        self.extension = 0;
        self.at = if self.left == 0 { At::Trailers } else { At::Data };
    }

    /// Counts bytes of extensions against the limits.
    fn pay(&mut self, bytes: u32, config: &Config) -> Result<(), Refusal> {
        self.extension = self.extension.saturating_add(bytes);
        self.extensions = self.extensions.saturating_add(bytes);
        if u64::from(self.extension) > config.chunk_extension_limit()
            || u64::from(self.extensions) > config.chunk_extensions_limit()
        {
            return Err(Refusal::ChunkExtensions);
        }
        Ok(())
    }

    /// Takes one byte of framing. An error leaves the state as it was, because the caller first returns
    /// the content before it and then meets the error again.
    fn frame(&mut self, byte: u8, config: &Config) -> Result<(), Refusal> {
        self.at = match (self.at, byte) {
            (At::Size(digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                return self.digit(digits, byte, config);
            }
            (At::Size(1..) | At::Name | At::Value | At::QuoteEnd, b'\r') => At::SizeEnd,
            (At::SizeEnd, b'\n') => {
                self.size_ended();
                return Ok(());
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => {
                self.left = 0;
                At::Size(0)
            }
            (at, _) => {
                let next = at.after(byte).ok_or(Refusal::Chunk)?;
                self.pay(1, config)?;
                next
            }
        };
        Ok(())
    }

    /// Takes one digit of the size, after `before` others.
    fn digit(&mut self, before: u8, byte: u8, config: &Config) -> Result<(), Refusal> {
        if self.left >> 60 != 0 {
            return Err(Refusal::Chunk);
        }
        if before < SIZE_DIGITS {
            self.at = At::Size(before + 1);
        } else {
            self.pay(1, config)?;
        }
        let digit = (byte as char).to_digit(16).unwrap_or_default();
        self.left = self.left << 4 | u64::from(digit);
        Ok(())
    }
}

/// The length of the extensions at the start of `line`, with the line's end. `None` if they are
/// incomplete, or have white space or quotes.
fn simple_extensions(line: &[u8]) -> Option<usize> {
    let mut rest = line;
    loop {
        rest = match rest {
            [b'\r', b'\n', ..] => return Some(line.len() - rest.len() + 2),
            [b';', rest @ ..] => after_token(rest)?,
            _ => return None,
        };
        if let [b'=', value @ ..] = rest {
            rest = after_token(value)?;
        }
    }
}

/// The bytes after the token at the start, if there is one.
#[inline(always)]
fn after_token(bytes: &[u8]) -> Option<&[u8]> {
    let length = grammar::token_length(bytes);
    if length == 0 { None } else { bytes.get(length..) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces of `step`. Returns whether the content is complete, the content, and the
    /// number of bytes left over.
    fn run(wire: &[u8], step: usize, config: &Config) -> Result<(bool, Vec<u8>, usize), Refusal> {
        let mut content = Content::new(ContentFraming::Chunked);
        let mut got = Vec::new();
        let mut used = 0;
        for piece in wire.chunks(step) {
            let mut piece = piece.to_vec();
            let mut at = 0;
            loop {
                let seen = content.decode(&mut piece[at..], u64::MAX, u64::MAX, config)?;
                got.extend_from_slice(&piece[at + seen.start..][..seen.length]);
                at += seen.taken;
                if seen.taken == 0 {
                    break;
                }
            }
            used += at;
        }
        Ok((content.is_complete(), got, wire.len() - used))
    }

    fn refused(wire: &[u8]) -> Option<Refusal> {
        let whole = run(wire, wire.len(), &Config::default()).err();
        for step in 1..wire.len() {
            let cut = run(wire, step, &Config::default()).err();
            assert_eq!(whole, cut, "cuts in steps of {step} decide about {wire:?}");
        }
        whole
    }

    #[test]
    fn chunks_are_gathered_whatever_the_cuts() {
        let mut wire = b"3\r\nabc\r\n2;name=value\r\nde\r\n0A \t;x\r\n0123456789\r\n".to_vec();
        wire.extend(b"1000\r\n");
        wire.extend([b'x'; 4096]);
        wire.extend(b"\r\n1\r\nf\r\n00\r\n\r\nnext");
        for step in 1..wire.len() + 1 {
            let (complete, got, left) = run(&wire, step, &Config::default()).expect("valid");
            assert!(complete);
            assert!(got.starts_with(b"abcde0123456789x") && got.ends_with(b"xf"));
            assert_eq!((got.len(), left), (3 + 2 + 10 + 4096 + 1, 6), "in steps of {step}");
        }
    }

    #[test]
    fn tiny_chunks_make_one_piece() {
        let mut wire = b"1\r\nx\r\n".repeat(1000);
        let mut content = Content::new(ContentFraming::Chunked);
        let seen = content.decode(&mut wire, 900, 1000, &Config::default()).expect("valid");
        assert_eq!((seen.start, seen.length), (3, 900));
        assert!(wire[3..903].iter().all(|byte| *byte == b'x'));
        let rest =
            content.decode(&mut wire[seen.taken..], 900, 100, &Config::default()).expect("valid");
        assert_eq!(rest.length, 100);
    }

    #[test]
    fn no_more_content_than_asked_for_but_all_framing() {
        let mut wire = *b"4\r\nabcd\r\n0\r\n\r\n";
        let mut content = Content::new(ContentFraming::Chunked);
        let config = Config::default();
        assert_eq!(content.decode(&mut wire, 0, 9, &config).expect("valid").taken, 3);
        assert_eq!(content.decode(&mut wire[3..], 3, 9, &config).expect("valid").length, 3);
        assert!(!content.is_complete());
        let last = content.decode(&mut wire[6..], 1, 1, &config).expect("valid");
        assert_eq!((last.length, last.taken), (1, 6));
        assert!(content.is_complete());
    }

    #[test]
    fn malformed_chunks() {
        for wire in [
            &b"\r\n"[..],
            b";x\r\n",
            b"g\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b" 1\r\n",
            b"1 \r\n",
            b"1\n",
            b"1\rx",
            b"1\r\nab",
            b"1\r\na\n",
            b"1\r\na\rb",
            b"1;a\nb\r\n",
            b"1;\x00\r\n",
            b"1;\x80\r\n",
            b"10000000000000000\r\n",
            b"fffffffffffffffff\r\n",
            b"000fffffffffffffffff\r\n",
        ] {
            assert_eq!(refused(wire), Some(Refusal::Chunk), "{wire:?}");
        }
    }

    #[test]
    fn extensions_are_those_of_the_grammar() {
        for extension in [
            &b";a"[..],
            b";a=b",
            b";a=\"\"",
            b";a=\"b c;d=e\tf\x80\xff\"",
            b";a=\"\\\"\\\\\\\t\\\x80\"",
            b" \t; \ta \t= \tb \t; c ;d=\"\" ;e",
            b";!#$%&'*+-.^_`|~=!#$%&'*+-.^_`|~",
        ] {
            let wire = [b"1", extension, b"\r\na\r\n0", extension, b"\r\n\r\n"].concat();
            assert_eq!(refused(&wire), None, "{:?}", extension.escape_ascii().to_string());
        }
        for extension in [
            &b";"[..],
            b";;a",
            b"; ",
            b";=b",
            b";a=",
            b";a= ",
            b";a==b",
            b";a b",
            b";a=b c",
            b";a=b=c",
            b";a ",
            b";a=b ",
            b";a=\"b\" ",
            b";a=\"b\"c",
            b";a=b\"c\"",
            b";a=\"b",
            b";a=\"b\\",
            b";a=\"b\\\"",
            b";a=\"\0\"",
            b";a=\"\x7f\"",
            b";a=\"\\\0\"",
            b";a=\"\\\r\"",
            b";\"a\"",
            b";a/b",
            b";a=b/c",
            b";a=\x80",
            b"=a",
            b",a",
            b"\x0b;a",
        ] {
            for size in [&b"1"[..], b"0"] {
                let wire = [size, extension, b"\r\nX\r\n0\r\n\r\n"].concat();
                let shown = extension.escape_ascii().to_string();
                assert_eq!(refused(&wire), Some(Refusal::Chunk), "{shown:?}");
            }
        }
    }

    /// Checks `*( BWS ";" BWS name [ BWS "=" BWS value ] )`, written directly from the grammar.
    fn is_by_the_grammar(mut rest: &[u8]) -> bool {
        fn trim(mut rest: &[u8]) -> &[u8] {
            while let [b' ' | b'\t', after @ ..] = rest {
                rest = after;
            }
            rest
        }
        fn token(rest: &[u8]) -> Option<&[u8]> {
            let allowed = |it: &u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(it);
            let length = rest.iter().take_while(|it| allowed(it)).count();
            (length > 0).then(|| &rest[length..])
        }
        fn quoted(mut rest: &[u8]) -> Option<&[u8]> {
            loop {
                rest = match rest {
                    [b'"', after @ ..] => return Some(after),
                    [b'\\', b'\t' | b' '..=b'~' | 0x80.., after @ ..] => after,
                    [b'\\', ..] => return None,
                    [b'\t' | b' '..=b'~' | 0x80.., after @ ..] => after,
                    _ => return None,
                }
            }
        }
        while !rest.is_empty() {
            let Some(after) = trim(rest).strip_prefix(b";").and_then(|it| token(trim(it))) else {
                return false;
            };
            rest = after;
            if let Some(value) = trim(rest).strip_prefix(b"=") {
                let value = trim(value);
                let after = value.strip_prefix(b"\"").map_or_else(|| token(value), quoted);
                let Some(after) = after else { return false };
                rest = after;
            }
        }
        true
    }

    /// Tries every text of up to four of these bytes, and longer random ones.
    #[test]
    fn extensions_are_taken_if_and_only_if_the_grammar_has_them() {
        const BYTES: [u8; 9] = *b"; =\"\\x,\x80\x00";
        let config = Config::default();
        let mut taken = 0;
        let mut check = |extension: &[u8]| {
            let wire = [b"1", extension, b"\r\na\r\n0\r\n"].concat();
            let expected = if is_by_the_grammar(extension) { None } else { Some(Refusal::Chunk) };
            for step in [1, 2, wire.len()] {
                let got = run(&wire, step, &config).err();
                assert_eq!(got, expected, "{} in steps of {step}", extension.escape_ascii());
            }
            taken += usize::from(expected.is_none());
        };
        for length in 0..=4u32 {
            for number in 0..9usize.pow(length) {
                let digit = |place| BYTES[number / 9usize.pow(place) % 9];
                check(&(0..length).map(digit).collect::<Vec<u8>>());
            }
        }
        let pieces = [&b";"[..], b" ", b"=", b"\"", b"\\", b"x", b";a=", b";b", b"=\"c\"", b" ; d"];
        let mut random = fastrand::Rng::with_seed(14);
        for _ in 0..20_000 {
            let count = random.usize(1..8);
            let chosen = (0..count).map(|_| pieces[random.usize(..pieces.len())]);
            check(&chosen.collect::<Vec<_>>().concat());
        }
        assert!(taken > 1_000, "{taken}");
    }

    #[test]
    fn zeros_before_a_size_count_as_an_extension() {
        let chunk = |zeros: usize, rest: &str| "0".repeat(zeros) + rest + "\r\na\r\n";
        let limit = Some(Refusal::ChunkExtensions);
        // The first sixteen digits are free.
        assert_eq!(refused(chunk(15 + 256, "1").as_bytes()), None);
        assert_eq!(refused(chunk(15 + 257, "1").as_bytes()), limit);
        let named = |length: usize| format!("1;{}", "e".repeat(length - 1));
        assert_eq!(refused(chunk(15 + 200, &named(56)).as_bytes()), None);
        assert_eq!(refused(chunk(15 + 200, &named(57)).as_bytes()), limit);
        let all = chunk(15 + 256, "1").repeat(16);
        assert_eq!(refused(all.as_bytes()), None);
        assert_eq!(refused((all + &chunk(16, "1")).as_bytes()), limit);
        assert_eq!(refused(b"00000000ffffffffffffffff\r\n"), None);
    }

    #[test]
    fn extensions_at_the_limit_and_one_past_it() {
        let chunk =
            |length: usize| [&b"1"[..], b";", &vec![b'e'; length - 1], b"\r\na\r\n"].concat();
        assert_eq!(refused(&chunk(256)), None);
        assert_eq!(refused(&chunk(257)), Some(Refusal::ChunkExtensions));
        let all = chunk(256).repeat(16);
        assert_eq!(refused(&all), None);
        assert_eq!(refused(&[&all[..], b"1;e\r\n"].concat()), Some(Refusal::ChunkExtensions));
    }

    #[test]
    fn content_at_the_limit_and_one_past_it() {
        let config = Config::default();
        let mut wire = *b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n";
        assert!(
            Content::new(ContentFraming::Chunked).decode(&mut wire.clone(), 99, 7, &config).is_ok()
        );
        let mut content = Content::new(ContentFraming::Chunked);
        let first = content.decode(&mut wire, 99, 6, &config).expect("the first chunk");
        assert_eq!(first.length, 3, "content before it is lent");
        let second = content.decode(&mut wire[first.taken..], 99, 3, &config);
        assert_eq!(second, Err(Refusal::ContentTooLarge), "content above the limit is refused");
    }

    #[test]
    fn content_before_a_mistake_is_returned_first() {
        let config = Config::default();
        let mut wire = *b"3\r\nabc\r\nx";
        let mut content = Content::new(ContentFraming::Chunked);
        let first = content.decode(&mut wire, 99, 99, &config).expect("the chunk");
        assert_eq!((first.length, first.taken), (3, 8));
        let second = content.decode(&mut wire[8..], 99, 96, &config);
        assert_eq!(second, Err(Refusal::Chunk));
    }

    #[test]
    fn a_length_is_counted() {
        let mut content = Content::new(ContentFraming::Length(5));
        let mut wire = *b"abcdefg";
        let config = Config::default();
        assert_eq!(content.decode(&mut wire, 3, 5, &config).expect("valid").length, 3);
        assert_eq!(content.left(), Some(2));
        assert_eq!(content.decode(&mut wire[3..], 9, 2, &config).expect("valid").taken, 2);
        assert!(content.is_complete() && !content.has_trailers());
    }
}
