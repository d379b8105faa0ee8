//! Writes an answer's head and content (RFC 9112 4, 6, 7).
//!
//! In: the application's status, fields and content, held against the rules of
//! [`answer`](crate::exchange::answer). Out: bytes in the [`Output`]. Only this module writes the fields that
//! frame the message, and those that keep or close the connection.

use crate::close::{CloseReason, Misuse};
use crate::event::BodyLength;
use crate::exchange::answer::{self, FieldWriter};
use crate::exchange::{Asked, Left, fields};
use crate::head::MethodKind;
use crate::output::{Output, reserve};
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use std::time::SystemTime;

/// The framing of an answer's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Content of a known length stands as it is.
    Counted,
    Chunked,
    /// The content ends with the connection: its length is not known, and HTTP/1.0 has no chunks.
    UntilClose,
}

/// The result of writing a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// How much content follows; `None` if the answer has none: HEAD, 204, 304.
    pub(super) content: Option<Left>,
    pub(super) framing: Framing,
    pub(super) persist: bool,
}

/// Whether the connection is kept after an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) persist: bool,
    /// The idle seconds that the answer announces, if the connection persists.
    pub(super) announced: Option<u64>,
}

const CRLF: &[u8] = b"\r\n";
/// Capacity that is enough for most heads and for every status line, so that the buffer is allocated
/// once.
const USUAL_HEAD: usize = 256;

/// Writes an interim answer (1xx).
pub(super) fn write_interim<'f>(
    output: &mut Output,
    status: StatusCode,
    fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    limit: u64,
) -> Result<(), Misuse> {
    answer::check_interim_status(status)?;
    let mark = output.mark();
    let buffer = output.buffer(USUAL_HEAD);
    write_status(buffer, status);
    for (name, value) in fields {
        if let Err(misuse) = answer::check_interim_field(name) {
            output.undo(mark);
            return Err(misuse);
        }
        write_field(buffer, name.as_str(), value.as_bytes());
    }
    buffer.extend_from_slice(CRLF);
    within_limit(output, mark, limit)
}

/// Writes a 101 (Switching Protocols). Writes nothing if it returns an error.
pub(super) fn write_switch<'f>(
    output: &mut Output,
    accepted: impl Iterator<Item = (HeaderName, HeaderValue)>,
    fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    limit: u64,
) -> Result<(), Misuse> {
    let mark = output.mark();
    let buffer = output.buffer(USUAL_HEAD);
    write_status(buffer, StatusCode::SWITCHING_PROTOCOLS);
    for (name, value) in accepted {
        write_field(buffer, name.as_str(), value.as_bytes());
    }
    for (name, value) in fields {
        if answer::SETTLED.contains(name) {
            output.undo(mark);
            return Err(Misuse::Framing);
        }
        write_field(buffer, name.as_str(), value.as_bytes());
    }
    buffer.extend_from_slice(CRLF);
    within_limit(output, mark, limit)
}

/// Writes the head that begins a tunnel: 2xx, or 101 with the `Upgrade` that is among `fields`. Writes nothing if it
/// returns an error.
pub(super) fn write_tunnel<'f>(
    output: &mut Output,
    asked: Asked,
    status: StatusCode,
    fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    limit: u64,
) -> Result<(), Misuse> {
    answer::check_tunnel(asked, status)?;
    let mark = output.mark();
    let buffer = output.buffer(USUAL_HEAD);
    write_status(buffer, status);
    let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
    let mut misuse = is_switch.then_some(Misuse::Framing);
    if is_switch {
        write_field(buffer, "connection", b"upgrade");
    }
    for (name, value) in fields {
        match answer::passes_into_tunnel(name) {
            Ok(false) => {}
            Ok(true) => write_field(buffer, name.as_str(), value.as_bytes()),
            Err(found) => {
                misuse = Some(found);
                break;
            }
        }
        if name == http::header::UPGRADE {
            misuse = None;
        }
    }
    if let Some(misuse) = misuse {
        output.undo(mark);
        return Err(misuse);
    }
    buffer.extend_from_slice(CRLF);
    within_limit(output, mark, limit)
}

/// Writes the head of a final answer. Writes nothing if it returns an error.
pub(super) fn write_head<'f>(
    output: &mut Output,
    asked: Asked,
    status: StatusCode,
    fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    length: BodyLength,
    kept: Kept,
    limit: u64,
) -> Result<Written, Misuse> {
    answer::check_status(asked, status)?;
    let mark = output.mark();
    let buffer = output.buffer(USUAL_HEAD);
    write_status(buffer, status);
    let written = write_fields(buffer, asked, status, fields, length, kept);
    if written.is_err() {
        output.undo(mark);
    }
    let written = written?;
    within_limit(output, mark, limit)?;
    Ok(written)
}

fn write_fields<'f>(
    buffer: &mut Vec<u8>,
    asked: Asked,
    status: StatusCode,
    fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    length: BodyLength,
    Kept { mut persist, announced }: Kept,
) -> Result<Written, Misuse> {
    let mut lines = FieldLines { buffer };
    let framed = answer::write(&mut lines, asked, status, fields, length)?;
    persist &= !framed.closes;
    let (content, framing) = match framed.length {
        _ if framed.is_contentless => (None, Framing::Counted),
        BodyLength::Known(length) => (Some(Left::Exactly(length)), Framing::Counted),
        BodyLength::Unknown if asked.http11 => (Some(Left::Unknown), Framing::Chunked),
        BodyLength::Unknown => {
            persist = false;
            (Some(Left::Unknown), Framing::UntilClose)
        }
    };
    match framed.length {
        _ if !framed.tells_length => {}
        BodyLength::Known(length) => write_length(buffer, length),
        BodyLength::Unknown if framing == Framing::Chunked => {
            write_field(buffer, "transfer-encoding", b"chunked");
        }
        BodyLength::Unknown => {}
    }
    match (persist, asked.http11) {
        (true, true) if announced.is_none() => {}
        (false, _) => write_field(buffer, "connection", b"close"),
        (true, _) => {
            write_field(buffer, "connection", b"keep-alive");
            if let Some(seconds) = announced {
                write_hint(buffer, seconds);
            }
        }
    }
    buffer.extend_from_slice(CRLF);
    Ok(Written { content, framing, persist })
}

/// Writes how long the connection may be idle (RFC 2068 19.7.1.1, as Node.js and Apache do).
#[cold]
fn write_hint(buffer: &mut Vec<u8>, seconds: u64) {
    buffer.extend_from_slice(b"keep-alive: timeout=");
    let mut line = [b'\n'; 22];
    buffer.extend_from_slice(length_line(seconds, &mut line));
}

/// Writes fields as lines.
struct FieldLines<'b> {
    buffer: &'b mut Vec<u8>,
}

impl FieldWriter for FieldLines<'_> {
    #[inline(always)]
    fn field(&mut self, name: &str, value: &[u8]) {
        write_field(self.buffer, name, value);
    }

    #[inline(always)]
    fn date(&mut self, date: &[u8; 29]) {
        write_date(self.buffer, date);
    }

    fn connection_option(&mut self, option: &[u8]) {
        write_field(self.buffer, "connection", option);
    }
}

/// Writes the whole answer that tells the peer why the connection ends.
pub(super) fn write_refusal(
    output: &mut Output,
    asked: Asked,
    status: StatusCode,
    reason: CloseReason,
    date: Option<SystemTime>,
) {
    let content = answer::refusal(&status, reason);
    let length: usize = content.iter().map(|text| text.len()).sum();
    let buffer = output.buffer(USUAL_HEAD + length);
    write_status(buffer, status);
    if let Some(date) = date {
        write_field(buffer, "date", httpdate::fmt_http_date(date).as_bytes());
    }
    buffer.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\n");
    write_length(buffer, length as u64);
    buffer.extend_from_slice(b"connection: close\r\n\r\n");
    if asked.kind != MethodKind::Head {
        content.iter().for_each(|text| buffer.extend_from_slice(text.as_bytes()));
    }
}

/// Writes content. The caller has checked that there is room for all of it.
pub(super) fn write_content(output: &mut Output, framing: Framing, data: Bytes) {
    if framing == Framing::Chunked {
        let mut line = [0; 18];
        output.write(chunk_line(data.len(), &mut line));
        output.push(data);
        output.write(CRLF);
    } else {
        output.push(data);
    }
}

/// Writes the last chunk and the trailers.
pub(super) fn write_end(
    output: &mut Output,
    trailers: Option<&HeaderMap>,
    limit: u64,
) -> Result<(), Misuse> {
    let mark = output.mark();
    let buffer = output.buffer(5);
    buffer.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if fields::is_forbidden_in_trailers(name.as_ref()) {
            output.undo(mark);
            return Err(Misuse::Framing);
        }
        write_field(buffer, name.as_str(), value.as_bytes());
    }
    buffer.extend_from_slice(CRLF);
    within_limit(output, mark, limit)
}

fn within_limit(output: &mut Output, mark: usize, limit: u64) -> Result<(), Misuse> {
    if (output.mark() - mark) as u64 > limit {
        output.undo(mark);
        return Err(Misuse::HeadTooLarge { limit });
    }
    Ok(())
}

#[inline]
fn write_status(buffer: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        buffer.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        write_other_status(buffer, status);
    }
}

fn write_other_status(buffer: &mut Vec<u8>, status: StatusCode) {
    buffer.extend_from_slice(b"HTTP/1.1 ");
    buffer.extend_from_slice(status.as_str().as_bytes());
    buffer.push(b' ');
    buffer.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    buffer.extend_from_slice(CRLF);
}

#[inline(always)]
fn write_field(buffer: &mut Vec<u8>, name: &str, value: &[u8]) {
    // Check the capacity once, for all four parts and for the empty line after the fields.
    reserve(buffer, name.len() + value.len() + 4 + CRLF.len());
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(b": ");
    buffer.extend_from_slice(value);
    buffer.extend_from_slice(CRLF);
}

/// Writes the date in one piece: nearly every answer has one, and its length is fixed.
#[inline]
fn write_date(buffer: &mut Vec<u8>, date: &[u8; 29]) {
    let mut line = *b"date: ddd, dd mmm yyyy hh:mm:ss GMT\r\n";
    line[6..35].copy_from_slice(date);
    reserve(buffer, line.len() + CRLF.len());
    buffer.extend_from_slice(&line);
}

#[inline]
fn write_length(buffer: &mut Vec<u8>, length: u64) {
    let mut line = [b'\n'; 22];
    reserve(buffer, 16 + line.len() + CRLF.len());
    buffer.extend_from_slice(b"content-length: ");
    buffer.extend_from_slice(length_line(length, &mut line));
}

/// Formats a number in decimal, with CRLF.
#[inline]
fn length_line(mut length: u64, line: &mut [u8; 22]) -> &[u8] {
    line[20] = b'\r';
    let mut start = 20;
    for digit in line[..20].iter_mut().rev() {
        *digit = b'0' + (length % 10) as u8;
        length /= 10;
        start -= 1;
        if length == 0 {
            break;
        }
    }
    line.get(start..).unwrap_or_default()
}

/// Formats a chunk's size in hexadecimal, with CRLF.
fn chunk_line(mut size: usize, line: &mut [u8; 18]) -> &[u8] {
    let mut start = line.len();
    let mut put = |byte| {
        start -= 1;
        if let Some(place) = line.get_mut(start) {
            *place = byte;
        }
    };
    put(b'\n');
    put(b'\r');
    loop {
        put(b"0123456789abcdef"[size % 16]);
        size /= 16;
        if size == 0 {
            break;
        }
    }
    line.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::OWN;

    #[test]
    fn a_refusal_is_a_sentence_and_fits_into_its_reserve() {
        let date = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(784_111_777);
        for reason in CloseReason::all() {
            let Some(status) = reason.status() else { continue };
            let mut output = Output::default();
            write_refusal(&mut output, Asked::default(), status, reason, Some(date));
            // The overhead of a chunk, and a 100, may take some of the room too.
            assert!(output.len() <= OWN - 64, "{reason}: {} bytes", output.len());
            let text = String::from_utf8(output.buffer(0).clone()).expect("text");
            let (head, content) = text.split_once("\r\n\r\n").expect("a head");
            assert!(head.contains("\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "{head}");
            assert!(head.contains(&format!("content-length: {}\r\n", content.len())), "{head}");
            let end = format!(" ({reason})\n");
            let said = content.strip_prefix(&head[9..head.find('\r').expect("a line")]);
            let sentence = said.and_then(|it| it.strip_prefix(": ")?.strip_suffix(&end));
            assert!(sentence.is_some_and(|it| it.split(' ').count() > 3), "{content}");
        }
    }
}
