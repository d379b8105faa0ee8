//! A section of lines that an empty line ends: a head, or trailers. Finding its end, and reading its
//! field lines (RFC 9112 2.2, 5).
//!
//! In: bytes from the first line on. Out: where lines, names and values stand. The search goes on
//! where it stopped, and what it finds is read once, when the section is whole.

use super::grammar;
use crate::Config;
use crate::close::Refusal;
use core::ops::Range;

/// What a request line may have beside its target: the longest method, two spaces, the version.
const LINE_OVERHEAD: usize = super::head::LONGEST_METHOD + 10;

/// The limits of one section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of the section, its empty line included, and what is said if there are more.
    pub(super) bytes: (usize, Refusal),
    /// Lines before the empty one, and what is said if there are more.
    pub(super) lines: (usize, Refusal),
    /// Bytes of the first line, without its end, and what is said if there are more.
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
}

/// The search for the empty line that ends a section; goes on where it stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    scanned: u32,
    line_start: u32,
    lines: u32,
}

impl Scan {
    /// The length of the section at the start of `unit`, or `None` if its end has not arrived. Then
    /// `lines` has the places of the lines before the empty one.
    ///
    /// `unit` has to begin with the bytes of the call before. Verdicts are given in the order of the
    /// bytes, and none looks beyond the limit, so that cuts make no difference.
    pub(super) fn find_end(
        &mut self,
        unit: &[u8],
        limits: &Limits,
        lines: &mut Lines,
    ) -> Result<Option<usize>, Refusal> {
        let resumed = self.scanned > 0;
        lines.clear();
        let seen = unit.get(..limits.bytes.0).unwrap_or(unit);
        // Each line is split off what is left; the first may have been looked at in part.
        let mut rest = seen.get(self.line_start as usize..).unwrap_or_default();
        let mut known = (self.scanned - self.line_start) as usize;
        while let Some((line, after)) = split_line(rest, known) {
            let start = seen.len() - rest.len();
            self.check_first_line(line.len().saturating_sub(1), limits)?;
            let [line @ .., b'\r'] = line else { return Err(Refusal::BareCrOrLf) };
            if line.is_empty() {
                let length = seen.len() - after.len();
                if resumed {
                    lines.find_again(unit.get(..length).unwrap_or_default());
                }
                return Ok(Some(length));
            }
            self.lines += 1;
            if self.lines as usize > limits.lines.0 {
                return Err(limits.lines.1);
            }
            lines.push(Line::new(start, start + line.len()));
            (rest, known) = (after, 0);
        }
        self.line_start = (seen.len() - rest.len()) as u32;
        self.scanned = seen.len() as u32;
        // A CR at the end may belong to the line's end: it does not count yet.
        self.check_first_line(rest.len().saturating_sub(1), limits)?;
        if seen.len() >= limits.bytes.0 {
            return Err(limits.bytes.1);
        }
        Ok(None)
    }

    fn check_first_line(&self, length: usize, limits: &Limits) -> Result<(), Refusal> {
        if self.lines == 0 && length > limits.first_line.0 {
            return Err(limits.first_line.1);
        }
        Ok(())
    }
}

/// The first line, without its LF, and what is behind it. The first `known` bytes have no LF.
fn split_line(bytes: &[u8], known: usize) -> Option<(&[u8], &[u8])> {
    let found = known + memchr::memchr(b'\n', bytes.get(known..)?)?;
    let (line, rest) = bytes.split_at_checked(found)?;
    Some((line, rest.get(1..)?))
}

/// Where a line stands in its section, which is at most 64 KiB long; once it is read as a field
/// line, where its name and its value end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    start: u16,
    name_end: u16,
    value_start: u16,
    end: u16,
}

impl Line {
    fn new(start: usize, end: usize) -> Self {
        Line { start: start as u16, name_end: 0, value_start: 0, end: end as u16 }
    }

    pub(super) fn whole(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }

    pub(crate) fn name(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.name_end)
    }

    pub(crate) fn value(self) -> Range<usize> {
        usize::from(self.value_start)..usize::from(self.end)
    }

    /// Reads the line as a field line: a name, a colon, and a value that white space may surround.
    /// Nothing may stand between name and colon (RFC 9112 5.1), nor before the name, so that folded
    /// lines are none (RFC 9112 5.2).
    fn read<'s>(&mut self, section: &'s [u8]) -> Result<(&'s [u8], &'s [u8]), Refusal> {
        let line = section.get(self.whole()).unwrap_or_default();
        let (name, rest) = line.split_at(grammar::token_length(line));
        let [b':', rest @ ..] = rest else { return Err(Refusal::Field) };
        let mut value = rest;
        while let [b' ' | b'\t', after @ ..] = value {
            value = after;
        }
        let before = rest.len() - value.len();
        while let [ahead @ .., b' ' | b'\t'] = value {
            value = ahead;
        }
        if name.is_empty() || !grammar::is_field_value(value) {
            return Err(Refusal::Field);
        }
        self.name_end = self.start + name.len() as u16;
        self.value_start = self.name_end + 1 + before as u16;
        self.end = self.value_start + value.len() as u16;
        Ok((name, value))
    }
}

const INLINE: usize = 16;

/// The lines of one section; as many as most requests have stand inline.
#[derive(Debug)]
pub(crate) struct Lines {
    inline: [Line; INLINE],
    more: Vec<Line>,
    count: usize,
    /// Lines before the field lines.
    leading: usize,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Lines { inline: [Line::default(); INLINE], more: Vec::new(), count: 0, leading: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.more.clear();
        self.count = 0;
        self.leading = 0;
    }

    fn push(&mut self, line: Line) {
        match self.inline.get_mut(self.count) {
            Some(free) => *free = line,
            None => self.more.push(line),
        }
        self.count += 1;
    }

    /// Finds the lines of a whole section whose search was resumed: keeping the places while the
    /// rest was waited for would have cost memory.
    #[cold]
    fn find_again(&mut self, section: &[u8]) {
        self.clear();
        let mut start = 0;
        for newline in memchr::memchr_iter(b'\n', section) {
            if newline > start + 1 {
                self.push(Line::new(start, newline - 1));
            }
            start = newline + 1;
        }
    }

    pub(super) fn first(&self) -> Option<Line> {
        self.inline.first().copied().filter(|_| self.count > 0)
    }

    /// Reads all lines but the first `leading` as field lines, and shows each to `look`.
    pub(super) fn read_fields<'s>(
        &mut self,
        section: &'s [u8],
        leading: usize,
        mut look: impl FnMut(&'s [u8], &'s [u8]) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.leading = leading;
        // What leads stands inline.
        let inline = self.inline.get_mut(leading..self.count.min(INLINE)).unwrap_or_default();
        for line in inline.iter_mut().chain(&mut self.more) {
            let (name, value) = line.read(section)?;
            look(name, value)?;
        }
        Ok(())
    }

    pub(crate) fn count_fields(&self) -> usize {
        self.count - self.leading
    }

    /// The field line at that place.
    pub(crate) fn field(&self, place: usize) -> Option<Line> {
        let place = place + self.leading;
        match self.inline.get(..self.count.min(INLINE)).and_then(|inline| inline.get(place)) {
            Some(line) => Some(*line),
            None => self.more.get(place.checked_sub(INLINE)?).copied(),
        }
    }
}
