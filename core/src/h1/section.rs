//! Reads the field lines of a head or a trailer section, and searches for the empty line that ends it
//! (RFC 9112 2.2, 5).
//!
//! In: bytes from the first line on. Out: the places of names and values. A section that is whole and
//! valid is read in one pass. Any other section is searched first, in the order of its bytes, to tell
//! whether it is incomplete or too large. With more bytes the search goes on where it stopped.

use crate::close::Refusal;
use crate::config::Config;
use crate::exchange::grammar;
use crate::head::{LONGEST_METHOD, Line, Lines};

/// Bytes of a request line beside its target: the longest method, two spaces, the version.
const LINE_OVERHEAD: usize = LONGEST_METHOD + 10;

/// The limits of one section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The most bytes of the section with its empty line, and the refusal if there are more.
    pub(super) bytes: (usize, Refusal),
    /// The most lines before the empty one, and the refusal if there are more.
    pub(super) lines: (usize, Refusal),
    /// The most bytes of the first line without its end, and the refusal if there are more.
    pub(super) first_line: (usize, Refusal),
}

impl Limits {
    pub(super) fn of_head(config: &Config) -> Self {
        let target = config.request_target_limit().min(config.request_head_limit()) as usize;
        Limits {
            bytes: (config.request_head_limit() as usize, Refusal::HeadTooLarge),
            lines: (config.request_fields_limit() as usize + 1, Refusal::TooManyFields),
            first_line: (target + LINE_OVERHEAD, Refusal::TargetTooLong),
        }
    }

    pub(super) fn of_trailers(config: &Config) -> Self {
        Limits {
            bytes: (config.trailers_limit() as usize, Refusal::Trailers),
            lines: (config.request_fields_limit() as usize, Refusal::Trailers),
            first_line: (usize::MAX, Refusal::Trailers),
        }
    }

    /// The first line of `unit` without its end, or as much of it as it may have: the same wherever reads are cut.
    pub(super) fn first_line_of<'u>(&self, unit: &'u [u8]) -> &'u [u8] {
        let end = memchr::memchr(b'\n', unit);
        let line = end.and_then(|end| unit.get(..end)).unwrap_or(unit);
        let line = if end.is_some() { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        line.get(..self.first_line.0.min(self.bytes.0)).unwrap_or(line)
    }
}

/// The search for the empty line that ends a section. It goes on where it stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    scanned: u32,
    line_start: u32,
    lines: u32,
}

impl Scan {
    /// Whether no byte was searched yet.
    pub(super) fn is_new(&self) -> bool {
        self.scanned == 0
    }

    /// The length of the section at the start of `unit`, or `None` if its end has not arrived.
    ///
    /// `unit` has to begin with the bytes of the previous call. The first fault in the order of the
    /// bytes decides, and the search never looks past the limit. So the split into reads makes no
    /// difference.
    pub(super) fn find_end(
        &mut self,
        unit: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, Refusal> {
        let seen = unit.get(..limits.bytes.0).unwrap_or(unit);
        // The search may have stopped within the first line: its known bytes have no LF.
        let mut rest = seen.get(self.line_start as usize..).unwrap_or_default();
        let mut known = (self.scanned - self.line_start) as usize;
        while let Some((line, after)) = split_line(rest, known) {
            self.check_first_line(line, limits)?;
            let [line @ .., b'\r'] = line else { return Err(Refusal::BareCrOrLf) };
            if line.is_empty() {
                return Ok(Some(seen.len() - after.len()));
            }
            self.lines += 1;
            if self.lines as usize > limits.lines.0 {
                return Err(limits.lines.1);
            }
            (rest, known) = (after, 0);
        }
        self.line_start = (seen.len() - rest.len()) as u32;
        self.scanned = seen.len() as u32;
        // A CR at the end may be part of the line's end, so it does not count yet.
        self.check_first_line(rest, limits)?;
        if seen.len() >= limits.bytes.0 {
            return Err(limits.bytes.1);
        }
        Ok(None)
    }

    /// Checks the length of the first line, or of its beginning. The last byte of `line` may be the CR
    /// of the line's end.
    fn check_first_line(&self, line: &[u8], limits: &Limits) -> Result<(), Refusal> {
        if self.lines > 0 || line.len().saturating_sub(1) <= limits.first_line.0 {
            return Ok(());
        }
        let method = line.get(..=LONGEST_METHOD).unwrap_or(line);
        if method.contains(&b' ') { Err(limits.first_line.1) } else { Err(Refusal::Method) }
    }
}

/// The first line without its LF, and the bytes after it. The first `known` bytes have no LF.
fn split_line(bytes: &[u8], known: usize) -> Option<(&[u8], &[u8])> {
    let found = known + memchr::memchr(b'\n', bytes.get(known..)?)?;
    let (line, rest) = bytes.split_at_checked(found)?;
    Some((line, rest.get(1..)?))
}

/// The parts of a field line.
struct Field<'s> {
    name: &'s [u8],
    value: &'s [u8],
    /// Bytes of white space before the value.
    before: usize,
    /// The bytes after the line's end.
    rest: &'s [u8],
}

impl<'s> Field<'s> {
    /// Reads a name, a colon, a value that white space may surround, and the line's end. White space
    /// is refused before the colon (RFC 9112 5.1). It is refused before the name too, so folded lines
    /// fail (RFC 9112 5.2).
    #[inline(always)]
    fn read(line: &'s [u8]) -> Option<Self> {
        let (name, rest) = line.split_at_checked(grammar::token_length(line))?;
        let [b':', behind_colon @ ..] = rest else { return None };
        // Most values have one space before them, and no white space after.
        let mut rest = behind_colon.strip_prefix(b" ").unwrap_or(behind_colon);
        if let [b' ' | b'\t', ..] = rest {
            rest = without_space_before(rest);
        }
        let before = behind_colon.len() - rest.len();
        let (mut value, rest) = rest.split_at_checked(grammar::value_length(rest))?;
        let [b'\r', b'\n', rest @ ..] = rest else { return None };
        if let [.., b' ' | b'\t'] = value {
            value = without_space_behind(value);
        }
        if name.is_empty() { None } else { Some(Field { name, value, before, rest }) }
    }
}

#[cold]
fn without_space_before(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', after @ ..] = value {
        value = after;
    }
    value
}

#[cold]
fn without_space_behind(mut value: &[u8]) -> &[u8] {
    while let [ahead @ .., b' ' | b'\t'] = value {
        value = ahead;
    }
    value
}

/// Reads the field lines at the start of `rest`, and the empty line after them; `rest` is the end of
/// `section`. Calls `look` with each field, and returns where the section ends.
///
/// # Errors
/// The rule that a field breaks. A section that is incomplete or has more than `most` fields fails too.
#[inline(always)]
pub(super) fn read_fields<'s>(
    lines: &mut Lines,
    section: &'s [u8],
    mut rest: &'s [u8],
    most: usize,
    mut look: impl FnMut(&'s [u8], &'s [u8]) -> Result<(), Refusal>,
) -> Result<usize, Refusal> {
    lines.clear();
    loop {
        let start = section.len() - rest.len();
        if let [b'\r', b'\n', ..] = rest {
            return Ok(start + 2);
        }
        let field = Field::read(rest).ok_or(Refusal::Field)?;
        if lines.count() == most {
            return Err(Refusal::TooManyFields);
        }
        let name_end = start + field.name.len();
        let value_start = name_end + 1 + field.before;
        let end = value_start + field.value.len();
        lines.push(Line::new(start, name_end, value_start, end));
        look(field.name, field.value)?;
        rest = field.rest;
    }
}
