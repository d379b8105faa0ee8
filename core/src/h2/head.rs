//! Turns a field block into the head of a request, or into trailers (RFC 9113 8.1 to 8.3).
//!
//! In: a field block, and the decoder's table. Out: the text of all fields, the places of their lines, and a
//! [`Head`] like that of HTTP/1.1: `:authority` becomes the `host` field, and the crumbs of a cookie are joined.
//! A block that breaks a rule is decoded to its end all the same, because the table has to stay right.

use super::hpack::{Decoder, Field, HpackError};
use super::streams::Priority;
use crate::close::Refusal;
use crate::config::Config;
use crate::exchange::fields::is_forbidden_in_trailers;
use crate::exchange::grammar::{self, decimal};
use crate::exchange::target::{self, Form};
use crate::head::{ContentFraming, Head, LONGEST_METHOD, Line, Lines, MethodKind, TextSpan};

/// The name of the field that `:authority` becomes. Each text begins with it.
const HOST: &[u8] = b"host";
/// Room for the text of most heads, so that it need not grow field by field.
const USUAL: usize = 256;
/// The longest text, so that each place in it fits into a [`Line`].
const LONGEST: usize = u16::MAX as usize;

/// Why a field block begins no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// It is no valid message, and the stream is reset (RFC 9113 8.1.1).
    Malformed,
    /// It is answered with an error status.
    Refused(Refusal),
}

const GRPC: &[u8] = b"application/grpc";

/// Whether content is of the type `application/grpc`, or of one with a suffix or parameters.
fn is_grpc(value: &[u8]) -> bool {
    let (name, rest) = value.split_at_checked(GRPC.len()).unwrap_or_default();
    name.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// What a valid block says beside its [`Head`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    pub(super) priority: Priority,
    pub(super) content_length: Option<u64>,
    /// The content is a stream of messages, which the client sends when it has something to say: gRPC. No
    /// minimum rate fits that.
    pub(super) is_sporadic: bool,
}

/// Reads the block of a request. `is_whole`: no content follows. The outer error ends the connection, and the
/// inner one the stream: `head` then has the method and the target, as far as they are known.
pub(super) fn read(
    decoder: &mut Decoder,
    block: &[u8],
    is_whole: bool,
    config: &Config,
    text: &mut Vec<u8>,
    lines: &mut Lines,
    head: &mut Head,
) -> Result<Result<Said, Bad>, HpackError> {
    let mut reader = Reader::new(config, text, lines);
    let mut parts = Parts::default();
    let mut bad = None;
    each_field(decoder, block, &mut reader, |reader, field| {
        if bad.is_none() {
            bad = parts.take(reader, field).err();
        }
    })?;
    let (method, target) = (parts.method, parts.path.or(parts.authority));
    let said = match (reader.too_large, bad) {
        (Some(refusal), _) => Err(Bad::Refused(refusal)),
        (None, Some(bad)) => Err(bad),
        (None, None) => parts.complete(&mut reader, is_whole, config, head),
    };
    if said.is_err() {
        *head = places(reader.text, method, target);
    }
    Ok(said)
}

/// What is known of a request that is refused.
#[cold]
fn places(text: &[u8], method: Option<TextSpan>, target: Option<TextSpan>) -> Head {
    let is_method = |&(start, end): &TextSpan| {
        let method = text.get(start.into()..end.into()).unwrap_or_default();
        method.len() <= LONGEST_METHOD && grammar::token_length(method) == method.len()
    };
    Head {
        method: method.filter(is_method).unwrap_or_default(),
        target: target.unwrap_or_default(),
        version: http::Version::HTTP_2,
        ..Head::default()
    }
}

/// Reads the block of a trailer section. Returns whether it is valid.
pub(super) fn read_trailers(
    decoder: &mut Decoder,
    block: &[u8],
    config: &Config,
    text: &mut Vec<u8>,
    lines: &mut Lines,
) -> Result<bool, HpackError> {
    let mut reader = Reader::new(config, text, lines);
    reader.left = reader.left.min(config.trailers_limit() as usize);
    let mut is_valid = true;
    each_field(decoder, block, &mut reader, |reader, field| {
        let (name, value) = reader.parts(&field);
        let is_allowed = is_name(name) && is_value(value) && !is_forbidden_in_trailers(name);
        is_valid &= is_allowed;
        reader.push(&field);
    })?;
    Ok(is_valid && reader.too_large.is_none())
}

/// Decodes `block` field by field. A field beyond the limits is not looked at.
fn each_field<'r>(
    decoder: &mut Decoder,
    mut block: &[u8],
    reader: &mut Reader<'r>,
    mut look: impl FnMut(&mut Reader<'r>, Field),
) -> Result<(), HpackError> {
    decoder.begin();
    while let Some(field) = decoder.field(&mut block, reader.text, reader.room())? {
        if reader.counts(&field) {
            look(reader, field);
        }
    }
    Ok(())
}

/// The text and the lines of a block as they grow.
struct Reader<'r> {
    text: &'r mut Vec<u8>,
    lines: &'r mut Lines,
    /// What is left of `http2_header_list_limit`.
    left: usize,
    /// What is left of `http2_header_fields_limit`.
    fields_left: u64,
    too_large: Option<Refusal>,
}

impl<'r> Reader<'r> {
    fn new(config: &Config, text: &'r mut Vec<u8>, lines: &'r mut Lines) -> Self {
        text.clear();
        if text.capacity() < USUAL {
            // Cheaper than to grow.
            *text = Vec::with_capacity(USUAL);
        }
        text.extend_from_slice(HOST);
        lines.clear();
        Reader {
            text,
            lines,
            left: config.http2_header_list_limit() as usize,
            fields_left: config.http2_header_fields_limit(),
            too_large: None,
        }
    }

    /// How many bytes of name and value the next field may have.
    fn room(&self) -> usize {
        match self.too_large {
            Some(_) => 0,
            None => self.left.min(LONGEST.saturating_sub(self.text.len())),
        }
    }

    /// Counts a field against the limits. Returns whether it is to be looked at.
    fn counts(&mut self, field: &Field) -> bool {
        match (self.left.checked_sub(field.size), self.fields_left.checked_sub(1)) {
            _ if self.too_large.is_some() => {}
            (Some(left), Some(fields_left)) if field.fits => {
                (self.left, self.fields_left) = (left, fields_left);
            }
            (_, None) => self.too_large = Some(Refusal::TooManyFields),
            _ => self.too_large = Some(Refusal::HeadTooLarge),
        }
        self.too_large.is_none()
    }

    /// The name and the value of a field.
    fn parts(&self, field: &Field) -> (&[u8], &[u8]) {
        let name = self.text.get(field.start..field.name_end).unwrap_or_default();
        (name, self.text.get(field.name_end..field.end).unwrap_or_default())
    }

    fn push(&mut self, field: &Field) {
        self.lines.push(Line::new(field.start, field.name_end, field.name_end, field.end));
    }
}

/// Whether this is a name of a field: a token in small letters (RFC 9113 8.2.1).
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && grammar::token_length(name) == name.len()
        && !name.iter().any(u8::is_ascii_uppercase)
}

/// Whether this is a value of a field: no control characters, no white space around it (RFC 9113 8.2.1).
fn is_value(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    grammar::value_length(value) == value.len()
        && !is_space(value.first())
        && !is_space(value.last())
}

/// The parts of a request that the server acts on, as places in the text.
#[derive(Default)]
struct Parts {
    method: Option<TextSpan>,
    scheme: Option<TextSpan>,
    path: Option<TextSpan>,
    authority: Option<TextSpan>,
    protocol: Option<TextSpan>,
    host: Option<TextSpan>,
    /// A field that is no pseudo-field has come.
    in_fields: bool,
    expects_continue: bool,
    said: Said,
    /// The crumbs of the cookie, joined. A crumb may be empty.
    cookie: Option<Vec<u8>>,
}

impl Parts {
    /// Takes a field.
    fn take(&mut self, reader: &mut Reader<'_>, field: Field) -> Result<(), Bad> {
        let (name, value) = reader.parts(&field);
        let at = (field.name_end as u16, field.end as u16);
        if name.first() == Some(&b':') {
            return self.take_pseudo(reader, &field, at);
        }
        self.in_fields = true;
        // Names of the static table are valid.
        if (field.name_index == 0 && !is_name(name)) || !is_value(value) {
            return Err(Bad::Malformed);
        }
        match name {
            b"host" => {
                once(&mut self.host, at)?;
                if self.authority.is_some() {
                    // `:authority` is the `host` field already.
                    return Ok(());
                }
            }
            b"cookie" => {
                match &mut self.cookie {
                    Some(cookie) => {
                        cookie.extend_from_slice(b"; ");
                        cookie.extend_from_slice(value);
                    }
                    None => self.cookie = Some(value.to_vec()),
                }
                reader.text.truncate(field.start);
                return Ok(());
            }
            b"content-length" => {
                let length = decimal(value).ok_or(Bad::Malformed)?;
                if self.said.content_length.replace(length).is_some() {
                    return Err(Bad::Malformed);
                }
            }
            b"expect" if value.eq_ignore_ascii_case(b"100-continue") => {
                self.expects_continue = true;
            }
            b"expect" => return Err(Bad::Refused(Refusal::Expectation)),
            b"te" if value.eq_ignore_ascii_case(b"trailers") => {}
            b"te" | b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => return Err(Bad::Malformed),
            b"content-type" => self.said.is_sporadic = is_grpc(value),
            b"priority" => self.said.priority = Priority::read(value),
            _ => {}
        }
        reader.push(&field);
        Ok(())
    }

    fn take_pseudo(
        &mut self,
        reader: &mut Reader<'_>,
        field: &Field,
        at: TextSpan,
    ) -> Result<(), Bad> {
        let (name, value) = reader.parts(field);
        if self.in_fields || !is_value(value) {
            return Err(Bad::Malformed);
        }
        match name {
            b":method" => once(&mut self.method, at),
            b":scheme" => once(&mut self.scheme, at),
            b":path" => once(&mut self.path, at),
            b":authority" => {
                once(&mut self.authority, at)?;
                // The text begins with the name.
                reader.lines.push(Line::new(0, HOST.len(), field.name_end, field.end));
                Ok(())
            }
            b":protocol" => once(&mut self.protocol, at),
            _ => Err(Bad::Malformed),
        }
    }

    /// Checks the request as a whole, and writes its head.
    fn complete(
        self,
        reader: &mut Reader<'_>,
        is_whole: bool,
        config: &Config,
        head: &mut Head,
    ) -> Result<Said, Bad> {
        let part = |at: Option<TextSpan>| {
            at.and_then(|(start, end)| reader.text.get(start.into()..end.into()))
        };
        let method_at = self.method.ok_or(Bad::Malformed)?;
        let method = part(self.method).unwrap_or_default();
        let kind = match method {
            b"GET" => MethodKind::Plain,
            b"HEAD" => MethodKind::Head,
            b"CONNECT" => MethodKind::Connect,
            _ => MethodKind::Plain,
        };
        if method.is_empty() || grammar::token_length(method) != method.len() {
            return Err(Bad::Malformed);
        }
        if method.len() > LONGEST_METHOD {
            return Err(Bad::Refused(Refusal::Method));
        }
        self.check_authority(part(self.authority), part(self.host))?;
        let is_tunnel = kind == MethodKind::Connect && self.protocol.is_none();
        let has_target = self.scheme.is_some() && self.path.is_some();
        let lacks_target = self.scheme.is_none() && self.path.is_none();
        let is_extended = self.protocol.is_some();
        if (is_tunnel && !lacks_target)
            || (!is_tunnel && !has_target)
            || (is_extended && kind != MethodKind::Connect)
        {
            return Err(Bad::Malformed);
        }
        if let (Some(length), true) = (self.said.content_length, is_whole)
            && length > 0
        {
            return Err(Bad::Malformed);
        }
        if part(self.protocol).is_some_and(|protocol| protocol != b"websocket") {
            // RFC 9220 3: not implemented.
            return Err(Bad::Refused(Refusal::Method));
        }
        let target_at = if is_tunnel { self.authority } else { self.path };
        let target = part(target_at).ok_or(Bad::Malformed)?;
        if target.len() as u64 > config.request_target_limit() {
            return Err(Bad::Refused(Refusal::TargetTooLong));
        }
        // The path of an extended CONNECT is an ordinary one (RFC 8441 4).
        let kind_of_target = if is_tunnel { MethodKind::Connect } else { MethodKind::Plain };
        let encoded = target_encoding(target)?;
        let form = Form::of(target, method, kind_of_target).map_err(|_| Bad::Malformed)?;
        if matches!(form, Form::Absolute(_)) {
            return Err(Bad::Malformed);
        }
        let mut target_at = target_at.unwrap_or_default();
        if !encoded {
            let mut told = Vec::new();
            form.tell(target, config, &mut told).map_err(Bad::Refused)?;
            target_at = append(reader.text, &told).ok_or(Bad::Refused(Refusal::TargetTooLong))?;
        }
        if let Some(cookie) = &self.cookie {
            let name_at = append(reader.text, b"cookie");
            let value_at = append(reader.text, cookie);
            let (Some(name), Some(value)) = (name_at, value_at) else {
                return Err(Bad::Refused(Refusal::HeadTooLarge));
            };
            reader.lines.push(Line::new(
                name.0.into(),
                name.1.into(),
                value.0.into(),
                value.1.into(),
            ));
        }
        let framing = match self.said.content_length {
            _ if is_whole => ContentFraming::Length(0),
            Some(length) => ContentFraming::Length(length),
            None => ContentFraming::Chunked,
        };
        *head = Head {
            method: method_at,
            target: target_at,
            told: false,
            version: http::Version::HTTP_2,
            framing,
            persist: true,
            expects_continue: self.expects_continue && !is_whole,
            kind,
            asks_for_tunnel: kind == MethodKind::Connect,
            protocol: self.protocol.unwrap_or_default(),
        };
        Ok(self.said)
    }

    /// Checks that the request names a host, and no other one in `host` than in `:authority` (RFC 9113 8.3.1).
    fn check_authority(&self, authority: Option<&[u8]>, host: Option<&[u8]>) -> Result<(), Bad> {
        let named = authority.or(host).ok_or(Bad::Malformed)?;
        let is_valid = !named.is_empty() && target::is_authority(named);
        let agrees = match (authority, host) {
            (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
            _ => true,
        };
        if is_valid && agrees { Ok(()) } else { Err(Bad::Malformed) }
    }
}

/// Whether a target needs no percent-encoding.
fn target_encoding(target: &[u8]) -> Result<bool, Bad> {
    if grammar::target_length(target) == target.len() {
        return Ok(true);
    }
    let is_raw = grammar::raw_target_length(target) == target.len();
    if is_raw && core::str::from_utf8(target).is_ok() { Ok(false) } else { Err(Bad::Malformed) }
}

/// Appends to the text. Returns the place, if the text does not become too long.
fn append(text: &mut Vec<u8>, bytes: &[u8]) -> Option<TextSpan> {
    let start = u16::try_from(text.len()).ok()?;
    let end = u16::try_from(text.len().checked_add(bytes.len())?).ok()?;
    text.extend_from_slice(bytes);
    Some((start, end))
}

/// Keeps the place of a field that may occur only once.
fn once(place: &mut Option<TextSpan>, at: TextSpan) -> Result<(), Bad> {
    if place.replace(at).is_some() { Err(Bad::Malformed) } else { Ok(()) }
}
