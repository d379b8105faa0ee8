//! Writes the frames of an answer (RFC 9113 8.1, 8.2).
//!
//! In: the application's status, fields and content, held against the rules of
//! [`answer`](crate::exchange::answer). Out: HEADERS, CONTINUATION and DATA in the output. A call that returns an
//! error writes nothing.

use super::frame::{self, END_HEADERS, END_STREAM, HEADER, Kind, LONGEST};
use super::hpack::{CONTENT_LENGTH, CONTENT_TYPE, DATE, Encoder};
use crate::close::{CloseReason, Misuse};
use crate::event::BodyLength;
use crate::exchange::answer::{self, FieldWriter};
use crate::exchange::{Asked, Left, fields};
use crate::head::MethodKind;
use crate::output::Output;
use crate::transport::Transport;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

/// Capacity that is enough for most heads.
const USUAL_HEAD: usize = 128;

/// The result of writing a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// How much content follows; `None` if the answer has none, so that the stream has ended.
    pub(super) content: Option<Left>,
    /// The application has asked to close the connection.
    pub(super) closes: bool,
}

/// Writes fields into a field block.
struct FieldBlock<'b> {
    encoder: &'b mut Encoder,
    buffer: &'b mut Vec<u8>,
    /// Bytes of names and values.
    size: usize,
}

impl FieldWriter for FieldBlock<'_> {
    #[inline]
    fn field(&mut self, name: &str, value: &[u8]) {
        // No field may manage the connection (RFC 9113 8.2.2).
        if !matches!(name, "upgrade" | "te") {
            self.size += name.len() + value.len();
            self.encoder.field(name.as_bytes(), value, self.buffer);
        }
    }

    #[inline]
    fn date(&mut self, date: &[u8; 29]) {
        self.size += "date".len() + date.len();
        self.encoder.static_field(DATE, date, self.buffer);
    }

    fn connection_option(&mut self, _: &[u8]) {}
}

impl FieldBlock<'_> {
    fn length(&mut self, length: u64) {
        self.encoder.static_field(CONTENT_LENGTH, decimal(length, &mut [0; 20]), self.buffer);
    }
}

/// A field block that is being written, behind room for the header of its frame.
struct Block<'o> {
    output: &'o mut Output,
    encoder: &'o mut Encoder,
    mark: usize,
    stream: u32,
}

impl<'o> Block<'o> {
    fn begin(output: &'o mut Output, encoder: &'o mut Encoder, stream: u32) -> Self {
        let mark = output.mark();
        let buffer = output.buffer(USUAL_HEAD);
        buffer.extend_from_slice(&[0; HEADER]);
        encoder.begin(buffer);
        Block { output, encoder, mark, stream }
    }

    fn status(&mut self, status: StatusCode) {
        self.encoder.status(status.as_u16(), self.output.buffer(8));
    }

    fn fields(&mut self) -> FieldBlock<'_> {
        FieldBlock { encoder: self.encoder, buffer: self.output.buffer(0), size: 0 }
    }

    /// Takes back all that was written.
    fn undo<T>(self, misuse: Misuse) -> Result<T, Misuse> {
        self.output.undo(self.mark);
        self.encoder.discard_block();
        Err(misuse)
    }

    /// Writes the header of the frame. A block that is too long for one frame is split.
    fn end(self, flags: u8) {
        let start = self.mark + HEADER;
        let length = self.output.mark().saturating_sub(start);
        if length > LONGEST as usize {
            return self.split(flags);
        }
        let header = frame::header(Kind::Headers, flags | END_HEADERS, self.stream, length);
        let buffer = self.output.buffer(0);
        if let Some(place) = buffer.get_mut(self.mark..start) {
            place.copy_from_slice(&header);
        }
    }

    #[cold]
    fn split(self, flags: u8) {
        let buffer = self.output.buffer(0);
        let block = buffer.get(self.mark + HEADER..).unwrap_or_default().to_vec();
        buffer.truncate(self.mark);
        let mut kind = Kind::Headers;
        let mut rest = block.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(LONGEST as usize));
            let last = if after.is_empty() { END_HEADERS } else { 0 };
            // END_STREAM stands in HEADERS alone.
            let stream_flags = if kind == Kind::Headers { flags } else { 0 };
            self.output.write(&frame::header(kind, stream_flags | last, self.stream, piece.len()));
            self.output.write(piece);
            (kind, rest) = (Kind::Continuation, after);
        }
    }
}

/// Writes an interim answer (1xx).
pub(super) fn write_interim<'f>(
    output: &mut Output,
    encoder: &mut Encoder,
    stream: u32,
    status: StatusCode,
    fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    limit: u64,
) -> Result<(), Misuse> {
    answer::check_interim_status(status)?;
    let mut block = Block::begin(output, encoder, stream);
    block.status(status);
    let mut writer = block.fields();
    let mut misuse = None;
    for (name, value) in fields {
        match answer::check_interim_field(name) {
            Ok(()) => writer.field(name.as_str(), value.as_bytes()),
            Err(found) => misuse = Some(found),
        }
    }
    let size = writer.size as u64;
    match misuse {
        Some(misuse) => block.undo(misuse),
        None if size > limit => block.undo(Misuse::HeadTooLarge { limit }),
        None => {
            block.end(0);
            Ok(())
        }
    }
}

/// Writes the 200 by which a stream leaves HTTP (RFC 8441 5).
pub(super) fn write_tunnel<'f>(
    output: &mut Output,
    encoder: &mut Encoder,
    stream: u32,
    accepted: impl Iterator<Item = (HeaderName, HeaderValue)>,
    fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    limit: u64,
) -> Result<(), Misuse> {
    let mut block = Block::begin(output, encoder, stream);
    block.status(StatusCode::OK);
    let mut writer = block.fields();
    for (name, value) in accepted {
        writer.field(name.as_str(), value.as_bytes());
    }
    let mut is_settled = false;
    for (name, value) in fields {
        // The tunnel has no content to frame, and the handshake has settled the rest.
        is_settled |= answer::SETTLED.contains(name);
        writer.field(name.as_str(), value.as_bytes());
    }
    let size = writer.size as u64;
    if is_settled {
        return block.undo(Misuse::Framing);
    }
    if size > limit {
        return block.undo(Misuse::HeadTooLarge { limit });
    }
    block.end(0);
    Ok(())
}

/// Writes the head of 2xx by which a stream becomes a tunnel (RFC 9113 8.5).
pub(super) fn write_connected<'f>(
    output: &mut Output,
    encoder: &mut Encoder,
    stream: u32,
    asked: Asked,
    status: StatusCode,
    fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    limit: u64,
) -> Result<(), Misuse> {
    answer::check_tunnel(asked, status)?;
    let mut block = Block::begin(output, encoder, stream);
    block.status(status);
    let mut writer = block.fields();
    for (name, value) in fields {
        match answer::passes_into_tunnel(name) {
            Ok(false) => {}
            Ok(true) => writer.field(name.as_str(), value.as_bytes()),
            Err(misuse) => return block.undo(misuse),
        }
    }
    if writer.size as u64 > limit {
        return block.undo(Misuse::HeadTooLarge { limit });
    }
    block.end(0);
    Ok(())
}

/// What an answer begins with.
pub(super) struct Begins {
    pub(super) asked: Asked,
    pub(super) status: StatusCode,
    pub(super) length: BodyLength,
    /// The stream ends with the head if the content is empty.
    pub(super) ends: bool,
}

/// Writes the head of a final answer.
pub(super) fn write_head<'f>(
    output: &mut Output,
    encoder: &mut Encoder,
    stream: u32,
    Begins { asked, status, length, ends }: Begins,
    fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    limit: u64,
) -> Result<Written, Misuse> {
    answer::check_status(asked, status)?;
    let mut block = Block::begin(output, encoder, stream);
    block.status(status);
    let mut writer = block.fields();
    let framed = match answer::write(&mut writer, asked, status, fields, length) {
        Ok(framed) => framed,
        Err(misuse) => return block.undo(misuse),
    };
    if let (true, BodyLength::Known(length)) = (framed.tells_length, framed.length) {
        writer.length(length);
    }
    if writer.size as u64 > limit {
        return block.undo(Misuse::HeadTooLarge { limit });
    }
    let content = match framed.length {
        _ if framed.is_contentless => None,
        BodyLength::Known(0) if ends => None,
        BodyLength::Known(length) => Some(Left::Exactly(length)),
        BodyLength::Unknown => Some(Left::Unknown),
    };
    block.end(if content.is_none() { END_STREAM } else { 0 });
    Ok(Written { content, closes: framed.closes })
}

/// Writes the end of an answer: its trailers, or an empty DATA frame.
pub(super) fn write_end(
    output: &mut Output,
    encoder: &mut Encoder,
    stream: u32,
    trailers: Option<&HeaderMap>,
    limit: u64,
) -> Result<(), Misuse> {
    let Some(trailers) = trailers.filter(|it| !it.is_empty()) else {
        output.write(&frame::header(Kind::Data, END_STREAM, stream, 0));
        return Ok(());
    };
    if trailers.keys().any(|name| fields::is_forbidden_in_trailers(name.as_ref())) {
        return Err(Misuse::Framing);
    }
    let mut block = Block::begin(output, encoder, stream);
    let mut writer = block.fields();
    for (name, value) in trailers {
        writer.field(name.as_str(), value.as_bytes());
    }
    if writer.size as u64 > limit {
        return block.undo(Misuse::HeadTooLarge { limit });
    }
    block.end(END_STREAM);
    Ok(())
}

/// Writes content as DATA frames of at most `longest` bytes. `ends`: the stream ends with it.
pub(super) fn write_content(
    output: &mut Output,
    stream: u32,
    mut content: Bytes,
    longest: usize,
    ends: bool,
) {
    while !content.is_empty() {
        let piece = content.split_to(content.len().min(longest));
        let flags = if ends && content.is_empty() { END_STREAM } else { 0 };
        output.write(&frame::header(Kind::Data, flags, stream, piece.len()));
        output.push(piece);
    }
}

/// An answer that tells the client why its request is refused.
pub(super) struct Refused {
    pub(super) asked: Asked,
    pub(super) status: StatusCode,
    pub(super) reason: CloseReason,
    /// The bytes of content that the client lets us send.
    pub(super) window: usize,
}

/// Writes a whole answer of our own. Returns the bytes of its content, which is left out if the window is too
/// small for it.
pub(super) fn write_refusal(
    transport: &mut Transport,
    encoder: &mut Encoder,
    stream: u32,
    Refused { asked, status, reason, window }: Refused,
) -> usize {
    let date = transport.wall_clock();
    let content = answer::refusal(&status, reason);
    let length: usize = content.iter().map(|text| text.len()).sum();
    let has_content = asked.kind != MethodKind::Head && length <= window;
    let mut block = Block::begin(&mut transport.output, encoder, stream);
    block.status(status);
    let mut writer = block.fields();
    if let Some(date) = date {
        writer.field("date", httpdate::fmt_http_date(date).as_bytes());
    }
    if has_content {
        writer.encoder.static_field(CONTENT_TYPE, b"text/plain; charset=utf-8", writer.buffer);
        writer.length(length as u64);
    }
    block.end(if has_content { 0 } else { END_STREAM });
    if !has_content {
        return 0;
    }
    transport.output.write(&frame::header(Kind::Data, END_STREAM, stream, length));
    content.iter().for_each(|text| transport.output.write(text.as_bytes()));
    length
}

/// The digits of a number.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}
