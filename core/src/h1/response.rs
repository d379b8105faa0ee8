//! Writes an answer's head and content (RFC 9112 4, 6, 7).
//!
//! In: the application's status, fields and content. Out: bytes in the [`Output`]. Only this module
//! writes the fields that frame the message, and those that keep or close the connection.

use super::grammar::decimal;
use super::trailers;
use crate::close::{CloseReason, Misuse};
use crate::event::BodyLength;
use crate::head::MethodKind;
use crate::output::{Output, reserve};
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use std::time::SystemTime;

/// The parts of the request that decide how its answer is framed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) http11: bool,
    pub(super) kind: MethodKind,
}

impl Default for Asked {
    /// No head has been parsed: answer as to an HTTP/1.1 GET.
    fn default() -> Self {
        Asked { http11: true, kind: MethodKind::Plain }
    }
}

/// The framing of an answer's content, with the length that is still to come if it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerFraming {
    /// The answer has no content: HEAD, 204, 304.
    None,
    Length(u64),
    Chunked,
    /// The content ends with the connection: its length is not known, and HTTP/1.0 has no chunks.
    UntilClose,
}

/// The result of writing a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) framing: AnswerFraming,
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
    if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Misuse::Status);
    }
    let mark = output.mark();
    let buffer = output.buffer(USUAL_HEAD);
    write_status(buffer, status);
    for (name, value) in fields {
        if name == header::CONTENT_LENGTH || name == header::TRANSFER_ENCODING {
            output.undo(mark);
            return Err(Misuse::Framing);
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
        // A 101 has no content to frame, and the handshake has settled the upgrade.
        let settled = [
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONNECTION,
            header::UPGRADE,
            header::SEC_WEBSOCKET_ACCEPT,
            header::SEC_WEBSOCKET_EXTENSIONS,
            header::SEC_WEBSOCKET_PROTOCOL,
        ];
        if settled.contains(name) {
            output.undo(mark);
            return Err(Misuse::Framing);
        }
        write_field(buffer, name.as_str(), value.as_bytes());
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
    if status.is_informational() || (asked.kind == MethodKind::Connect && status.is_success()) {
        return Err(Misuse::Status);
    }
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
    // A 204 has no content and no length (RFC 9110 8.6); answers to HEAD and a 304 may state one.
    let lengthless = status == StatusCode::NO_CONTENT;
    let contentless =
        lengthless || status == StatusCode::NOT_MODIFIED || asked.kind == MethodKind::Head;
    let mut told = None;
    for (name, value) in fields {
        if *name == header::DATE
            && let Ok(date) = <&[u8; 29]>::try_from(value.as_bytes())
        {
            write_date(buffer, date);
            continue;
        }
        let name = name.as_str();
        if !matches!(name.len(), 10 | 14 | 16 | 17) {
            // No name below has this length; nearly every field ends here.
            write_field(buffer, name, value.as_bytes());
            continue;
        }
        match name {
            "content-length" => {
                let number = decimal(value.as_bytes()).ok_or(Misuse::Framing)?;
                if told.replace(number).is_some_and(|before| before != number) {
                    return Err(Misuse::Framing);
                }
            }
            "transfer-encoding" => return Err(Misuse::Framing),
            "connection" => persist &= write_options(buffer, value),
            "keep-alive" | "proxy-connection" => {}
            _ => write_field(buffer, name, value.as_bytes()),
        }
    }
    let length = match (told, length) {
        (None, BodyLength::Known(0)) if contentless => {
            // An empty body does not tell the length that an answer to GET would have.
            BodyLength::Unknown
        }
        (None, length) => length,
        (Some(told), BodyLength::Known(length)) if told != length && !contentless => {
            return Err(Misuse::Framing);
        }
        (Some(told), _) => BodyLength::Known(told),
    };
    let framing = match length {
        _ if contentless => AnswerFraming::None,
        BodyLength::Known(length) => AnswerFraming::Length(length),
        BodyLength::Unknown if asked.http11 => AnswerFraming::Chunked,
        BodyLength::Unknown => {
            persist = false;
            AnswerFraming::UntilClose
        }
    };
    match length {
        _ if lengthless => {}
        BodyLength::Known(length) => write_length(buffer, length),
        BodyLength::Unknown if framing == AnswerFraming::Chunked => {
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
    Ok(Written { framing, persist })
}

/// Writes how long the connection may be idle (RFC 2068 19.7.1.1, as Node.js and Apache do).
#[cold]
fn write_hint(buffer: &mut Vec<u8>, seconds: u64) {
    buffer.extend_from_slice(b"keep-alive: timeout=");
    let mut line = [b'\n'; 22];
    buffer.extend_from_slice(length_line(seconds, &mut line));
}

/// Writes the options of a `Connection` field, except `close` and `keep-alive`, which the state machine
/// decides. Returns false if one is `close`.
#[cold]
fn write_options(buffer: &mut Vec<u8>, value: &HeaderValue) -> bool {
    let mut persist = true;
    for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if option.eq_ignore_ascii_case(b"close") {
            persist = false;
        } else if !option.is_empty() && !option.eq_ignore_ascii_case(b"keep-alive") {
            write_field(buffer, "connection", option);
        }
    }
    persist
}

/// Writes the whole answer that tells the peer why the connection ends.
pub(super) fn write_refusal(
    output: &mut Output,
    asked: Asked,
    status: StatusCode,
    reason: CloseReason,
    date: Option<SystemTime>,
) {
    let phrase = status.canonical_reason().unwrap_or_default();
    let content =
        [status.as_str(), " ", phrase, ": ", reason.explanation(), " (", reason.label(), ")\n"];
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
pub(super) fn write_content(output: &mut Output, framing: AnswerFraming, data: Bytes) {
    if framing == AnswerFraming::Chunked {
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
    fields: Option<&HeaderMap>,
    limit: u64,
) -> Result<(), Misuse> {
    let mark = output.mark();
    let buffer = output.buffer(5);
    buffer.extend_from_slice(b"0\r\n");
    for (name, value) in fields.into_iter().flatten() {
        if trailers::is_forbidden(name.as_ref()) {
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
