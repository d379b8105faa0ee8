//! A request's content: counted by its length, or in chunks (RFC 9112 6.2, 7.1).
//!
//! In: the bytes behind the head, and how many of content may be lent. Out: where content stands
//! now. Chunks that lie together are moved together in place, over the chunk heads between them,
//! so that content in tiny chunks does not become tiny events.

use super::head::Framing;
use crate::Config;
use crate::close::Refusal;

/// Content in pieces of at least this length is lent as it lies; smaller ones are gathered.
const GATHERED: usize = 1024;
/// Digits of a chunk size: all of a `u64`.
const SIZE_DIGITS: u8 = 16;

/// Where in the content we are; remembers everything that is needed across a cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunked),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunked {
    at: At,
    /// The size read so far, or what is left of the chunk.
    left: u64,
    /// Bytes of extensions in this chunk, and in all.
    extension: u32,
    extensions: u32,
}

/// Where in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// After so many digits of the size.
    Size(u8),
    /// White space after the size, which only an extension may follow.
    Space,
    Extension,
    /// The LF of the size line.
    SizeEnd,
    Data,
    /// The CR and the LF behind the data.
    DataCr,
    DataLf,
    /// The last chunk's size line was read: trailers come next.
    Trailers,
}

/// What a look at some bytes gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// How many bytes are done with.
    pub(crate) taken: usize,
    /// Where in them the content starts that may be lent.
    pub(crate) start: usize,
    /// How much content that is.
    pub(crate) length: usize,
}

impl Content {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Content::Length(length),
            Framing::Chunked => {
                Content::Chunked(Chunked { at: At::Size(0), left: 0, extension: 0, extensions: 0 })
            }
        }
    }

    /// All content was taken; for chunks, all but the trailer section.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Content::Length(left) => *left == 0,
            Content::Chunked(chunked) => chunked.at == At::Trailers,
        }
    }

    pub(crate) fn has_trailers(&self) -> bool {
        matches!(self, Content::Chunked(_))
    }

    /// How much is still to come, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Content::Length(left) => Some(*left),
            Content::Chunked(chunked) if chunked.at == At::Trailers => Some(0),
            Content::Chunked(_) => None,
        }
    }

    /// How many of the next bytes are content, and nothing else, as far as that is known.
    pub(crate) fn next(&self) -> u64 {
        match self {
            Content::Length(left) => *left,
            Content::Chunked(chunked) if chunked.at == At::Data => chunked.left,
            Content::Chunked(_) => 0,
        }
    }

    /// What was declared so far, as a length or as the size of a chunk, exceeds `limit`.
    pub(crate) fn exceeds(&self, limit: u64) -> bool {
        self.next() > limit
    }

    /// Takes framing, and at most `most` bytes of content, from the start of `bytes`. All content
    /// from here on may not exceed `limit`; content before a mistake is given before the refusal, so
    /// that cuts make no difference.
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

    /// Takes framing, up to content or to the trailers: what is usual in one step, and the rest
    /// byte by byte.
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
                (At::Extension, [b'\r', b'\n', ..]) => {
                    self.size_ended();
                    2
                }
                (At::Extension, [first, ..]) if is_extension(*first) => {
                    let length = rest.iter().take_while(|byte| is_extension(**byte)).count();
                    self.pay(length as u32, config)?;
                    length
                }
                (_, [byte, ..]) => {
                    self.frame(*byte, config)?;
                    1
                }
            };
        }
        Ok(())
    }

    /// Takes the digits at the start of `line`, and its end if that follows; says how much that is.
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

    /// Counts bytes of extensions.
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

    /// One byte of framing.
    fn frame(&mut self, byte: u8, config: &Config) -> Result<(), Refusal> {
        self.at = match (self.at, byte) {
            (At::Size(digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < SIZE_DIGITS => {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                self.left = self.left << 4 | u64::from(digit);
                At::Size(digits + 1)
            }
            (At::Size(1..), b'\r') => At::SizeEnd,
            (At::Size(1..) | At::Space, b';') => At::Extension,
            (At::Size(1..) | At::Space, b' ' | b'\t') => At::Space,
            (At::Extension, b'\r') => At::SizeEnd,
            (At::Extension, _) if is_extension(byte) => At::Extension,
            (At::SizeEnd, b'\n') => {
                self.size_ended();
                return Ok(());
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => {
                self.left = 0;
                At::Size(0)
            }
            _ => return Err(Refusal::Chunk),
        };
        if matches!(self.at, At::Extension | At::Space) {
            self.pay(1, config)?;
        }
        Ok(())
    }
}

/// Whether an extension may have that byte; what it means is not looked at.
fn is_extension(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces of `step`; what is complete, what was content, what is left over.
    fn run(wire: &[u8], step: usize, config: &Config) -> Result<(bool, Vec<u8>, usize), Refusal> {
        let mut content = Content::new(Framing::Chunked);
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
        assert_eq!(whole, run(wire, 1, &Config::default()).err(), "cuts decide about {wire:?}");
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
        let mut content = Content::new(Framing::Chunked);
        let seen = content.decode(&mut wire, 900, 1000, &Config::default()).expect("valid");
        assert_eq!((seen.start, seen.length), (3, 900));
        assert!(wire[3..903].iter().all(|byte| *byte == b'x'));
        let rest =
            content.decode(&mut wire[seen.taken..], 900, 100, &Config::default()).expect("valid");
        assert_eq!(rest.length, 100);
    }

    #[test]
    fn no_more_than_asked_for_but_all_of_the_framing() {
        let mut wire = *b"4\r\nabcd\r\n0\r\n\r\n";
        let mut content = Content::new(Framing::Chunked);
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
            b"00000000000000001\r\n",
            b"fffffffffffffffff\r\n",
        ] {
            assert_eq!(refused(wire), Some(Refusal::Chunk), "{wire:?}");
        }
    }

    #[test]
    fn extensions_at_the_limit_and_one_past_it() {
        let chunk =
            |length: usize| [&b"1"[..], b";", &vec![b'e'; length - 1], b"\r\na\r\n"].concat();
        assert_eq!(refused(&chunk(256)), None);
        assert_eq!(refused(&chunk(257)), Some(Refusal::ChunkExtensions));
        let all = chunk(256).repeat(16);
        assert_eq!(refused(&all), None);
        assert_eq!(refused(&[&all[..], b"1;\r\n"].concat()), Some(Refusal::ChunkExtensions));
    }

    #[test]
    fn content_at_the_limit_and_one_past_it() {
        let config = Config::default();
        let mut wire = *b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n";
        assert!(Content::new(Framing::Chunked).decode(&mut wire.clone(), 99, 7, &config).is_ok());
        let mut content = Content::new(Framing::Chunked);
        let first = content.decode(&mut wire, 99, 6, &config).expect("the first chunk");
        assert_eq!(first.length, 3, "what came before is given");
        let second = content.decode(&mut wire[first.taken..], 99, 3, &config);
        assert_eq!(second, Err(Refusal::ContentTooLarge), "and nothing of what exceeds the limit");
    }

    #[test]
    fn content_before_a_mistake_is_given_first() {
        let config = Config::default();
        let mut wire = *b"3\r\nabc\r\nx";
        let mut content = Content::new(Framing::Chunked);
        let first = content.decode(&mut wire, 99, 99, &config).expect("the chunk");
        assert_eq!((first.length, first.taken), (3, 8));
        let second = content.decode(&mut wire[8..], 99, 96, &config);
        assert_eq!(second, Err(Refusal::Chunk));
    }

    #[test]
    fn a_length_is_counted() {
        let mut content = Content::new(Framing::Length(5));
        let mut wire = *b"abcdefg";
        let config = Config::default();
        assert_eq!(content.decode(&mut wire, 3, 5, &config).expect("valid").length, 3);
        assert_eq!(content.left(), Some(2));
        assert_eq!(content.decode(&mut wire[3..], 9, 2, &config).expect("valid").taken, 2);
        assert!(content.is_complete() && !content.has_trailers());
    }
}
