//! Parses a request head strictly (RFC 9110 7, RFC 9112 3 to 6).
//!
//! In: bytes that begin with a head. Out: offsets, and the framing of the content. A head that two
//! parsers could read differently is refused, and never repaired.

use super::section::read_fields;
use crate::close::Refusal;
use crate::config::Config;
use crate::exchange::grammar::{self, decimal};
use crate::exchange::target::{self, Form};
use crate::head::{ContentFraming, Head, LONGEST_METHOD, Lines, MethodKind};
use http::Version;

/// Reads the head at the start of `section`, and puts the places of its fields into `lines`. If the
/// application gets the target in another form, that form goes into `told`. Returns the head's length.
///
/// # Errors
/// The rule that the head breaks. A head that is incomplete or has too many fields fails too; the
/// caller's search tells these cases apart.
pub(super) fn read(
    section: &[u8],
    config: &Config,
    lines: &mut Lines,
    head: &mut Head,
    told: &mut Vec<u8>,
) -> Result<usize, Refusal> {
    let RequestLine { method, target, encoded, http11, rest } = RequestLine::read(section)?;
    if target.len() as u64 > config.request_target_limit() {
        return Err(Refusal::TargetTooLong);
    }
    let kind = match method {
        b"HEAD" => MethodKind::Head,
        b"CONNECT" => MethodKind::Connect,
        _ => MethodKind::Plain,
    };
    let mut seen = Seen::default();
    let most = config.request_fields_limit() as usize;
    let length = read_fields(lines, section, rest, most, |name, value| seen.look(name, value))?;
    let is_plain = encoded && target.starts_with(b"/") && kind != MethodKind::Connect;
    let is_told = !is_plain && other_target(section, kind, seen.host, config, told)?;
    seen.check_host(http11)?;
    let framing = seen.framing(http11, kind)?;
    let target_start = method.len() + 1;
    *head = Head {
        method: (0, method.len() as u16),
        target: (target_start as u16, (target_start + target.len()) as u16),
        told: is_told,
        version: if http11 { Version::HTTP_11 } else { Version::HTTP_10 },
        framing,
        persist: if http11 { !seen.close } else { seen.keep_alive && !seen.close },
        expects_continue: seen.expects_continue && http11 && framing != ContentFraming::Length(0),
        kind,
        asks_for_tunnel: (seen.upgrade && http11) || kind == MethodKind::Connect,
        protocol: (0, 0),
    };
    Ok(length)
}

/// The places of the method and the target in a request line that is refused, as far as they can be told.
#[cold]
pub(super) fn places(line: &[u8]) -> Head {
    let mut head = Head::default();
    let length = grammar::token_length(line);
    if length == 0 || length > LONGEST_METHOD || line.get(length) != Some(&b' ') {
        return head;
    }
    let start = length + 1;
    let target = line.get(start..).unwrap_or_default();
    let end = start + memchr::memchr(b' ', target).unwrap_or(target.len());
    (head.method, head.target) = ((0, length as u16), (start as u16, end as u16));
    if line.ends_with(b" HTTP/1.0") {
        head.version = Version::HTTP_10;
    }
    head
}

/// Checks a target that is not an encoded path, and whether the `Host` field agrees with it. Returns
/// true if the application gets the target in another form, which is then in `told`.
#[cold]
fn other_target(
    section: &[u8],
    kind: MethodKind,
    host: Option<&[u8]>,
    config: &Config,
    told: &mut Vec<u8>,
) -> Result<bool, Refusal> {
    // Such targets are rare: parse the line again instead of keeping its parts.
    let RequestLine { method, target, encoded, .. } = RequestLine::read(section)?;
    let form = Form::of(target, method, kind)?;
    if host.is_some_and(|host| !form.agrees_with(host)) {
        return Err(Refusal::Host);
    }
    let is_told = !encoded || matches!(form, Form::Absolute(_));
    if is_told {
        form.tell(target, config, told)?;
    }
    Ok(is_told)
}

/// `method SP request-target SP HTTP-version` (RFC 9112 3), with single spaces.
struct RequestLine<'h> {
    method: &'h [u8],
    target: &'h [u8],
    /// The target needs no percent-encoding.
    encoded: bool,
    http11: bool,
    /// The bytes after the line's end.
    rest: &'h [u8],
}

impl<'h> RequestLine<'h> {
    #[inline(always)]
    fn read(line: &'h [u8]) -> Result<Self, Refusal> {
        let split = |line: &'h [u8], at| line.split_at_checked(at).unwrap_or_default();
        // Most requests are GETs.
        let length = if line.starts_with(b"GET ") { 3 } else { grammar::token_length(line) };
        let (method, rest) = split(line, length);
        let [b' ', rest @ ..] = rest else { return Err(Refusal::RequestLine) };
        let (target, after) = split(rest, grammar::target_length(rest));
        let (target, version, encoded) = match after {
            [b' ', version @ ..] => (target, version, true),
            _ => raw_target(rest)?,
        };
        let (http11, rest) = if let Some(rest) = version.strip_prefix(b"HTTP/1.1\r\n") {
            (true, rest)
        } else if let Some(rest) = version.strip_prefix(b"HTTP/1.0\r\n") {
            (false, rest)
        } else {
            return Err(other_version(version));
        };
        if method.is_empty() || target.is_empty() {
            return Err(Refusal::RequestLine);
        }
        if method.len() > LONGEST_METHOD {
            return Err(Refusal::Method);
        }
        Ok(RequestLine { method, target, encoded, http11, rest })
    }
}

/// Reads a target that has bytes to be encoded. Returns it, the bytes after its space, and false for
/// `encoded`. The target has to be UTF-8, because parsers differ about any other text.
#[cold]
fn raw_target(rest: &[u8]) -> Result<(&[u8], &[u8], bool), Refusal> {
    match rest.split_at_checked(grammar::raw_target_length(rest)) {
        Some((target, [b' ', version @ ..])) if core::str::from_utf8(target).is_ok() => {
            Ok((target, version, false))
        }
        Some((_, [b'\r', b'\n', ..])) => Err(Refusal::RequestLine),
        _ => Err(Refusal::Target),
    }
}

/// The refusal of a version that we don't speak, or of text that is no version.
#[cold]
fn other_version(version: &[u8]) -> Refusal {
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b'\r', b'\n', ..]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Refusal::Version
        }
        _ => Refusal::RequestLine,
    }
}

/// The fields that the server acts on.
#[derive(Default)]
struct Seen<'h> {
    host: Option<&'h [u8]>,
    content_length: Option<&'h [u8]>,
    transfer_encoding: Option<&'h [u8]>,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    upgrade: bool,
}

impl<'h> Seen<'h> {
    #[inline(always)]
    fn look(&mut self, name: &[u8], value: &'h [u8]) -> Result<(), Refusal> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        // Check length and first letter first: most fields match none of these names.
        match (name.len(), name.first().map_or(0, u8::to_ascii_lowercase)) {
            (4, b'h') if is("host") => once(&mut self.host, value, Refusal::Host)?,
            (6, b'e') if is("expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refusal::Expectation);
                }
                self.expects_continue = true;
            }
            (10, b'c') if is("connection") => match value {
                b"keep-alive" => self.keep_alive = true,
                _ => self.look_at_options(value),
            },
            (14, b'c') if is("content-length") => {
                once(&mut self.content_length, value, Refusal::ContentLength)?
            }
            (17, b't') if is("transfer-encoding") => {
                once(&mut self.transfer_encoding, value, Refusal::TransferEncoding)?
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the options of a `Connection` field (RFC 9110 7.6.1).
    fn look_at_options(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    #[inline(always)]
    fn check_host(&self, http11: bool) -> Result<(), Refusal> {
        let allowed = match self.host {
            // An http URI always has a host (RFC 9110 4.2.1), but HTTP/1.0 has no `Host` field.
            None | Some([]) => !http11,
            Some(host) => target::is_authority(host),
        };
        if allowed { Ok(()) } else { Err(Refusal::Host) }
    }

    #[inline(always)]
    fn framing(&self, http11: bool, kind: MethodKind) -> Result<ContentFraming, Refusal> {
        match (self.transfer_encoding, self.content_length) {
            (Some(_), Some(_)) => Err(Refusal::ConflictingFraming),
            // CONNECT has no content, so two parsers could read the bytes after it differently.
            (Some(_), None) | (None, Some(_)) if kind == MethodKind::Connect => {
                Err(Refusal::ConflictingFraming)
            }
            (Some(_), None) if !http11 => Err(Refusal::TransferEncoding),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(ContentFraming::Chunked)
            }
            (Some(codings), None) => Err(other_coding(codings)),
            (None, Some(length)) => {
                decimal(length).map(ContentFraming::Length).ok_or(Refusal::ContentLength)
            }
            (None, None) => Ok(ContentFraming::Length(0)),
        }
    }
}

/// Keeps the value of a field that may occur only once.
fn once<'h>(
    place: &mut Option<&'h [u8]>,
    value: &'h [u8],
    refusal: Refusal,
) -> Result<(), Refusal> {
    if place.replace(value).is_some() { Err(refusal) } else { Ok(()) }
}

/// The refusal of transfer codings other than `chunked`. A list that ends in `chunked` is valid but not
/// supported; any other list does not frame the message.
fn other_coding(codings: &[u8]) -> Refusal {
    let is_token = |it: &[u8]| {
        !it.is_empty() && it.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    let mut names = codings.rsplit(|byte| *byte == b',').map(|name| name.trim_ascii());
    let chunked_last = names.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    let others_known = names.all(|name| {
        is_token(name)
            && !name.eq_ignore_ascii_case(b"chunked")
            && !name.eq_ignore_ascii_case(b"identity")
    });
    if chunked_last && others_known { Refusal::Coding } else { Refusal::TransferEncoding }
}
