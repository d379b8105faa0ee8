//! A request head: find its end, then parse it once, strictly (RFC 9112 2 to 6).
//!
//! In: the bytes from the first one of the request line. Out: offsets, and how the content is
//! framed. Whatever two parsers could read differently is refused; nothing is repaired. `httparse`
//! knows the grammar of lines and fields, the rules beyond it are here.

use crate::Config;
use crate::close::Refusal;
use core::mem::MaybeUninit;
use core::ops::Range;

/// Most field lines that any configuration allows.
pub(crate) const MOST_FIELDS: usize = 256;
/// What a request line may have beside its target: the longest method, two spaces, the version.
const LINE_OVERHEAD: usize = LONGEST_METHOD + 10;
const LONGEST_METHOD: usize = 32;

/// The limits of one section of lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of the section, its empty line included, and what is said if there are more.
    pub(crate) bytes: (usize, Refusal),
    /// Lines before the empty one, and what is said if there are more.
    pub(crate) lines: (usize, Refusal),
    /// Bytes of the first line, without its end, and what is said if there are more.
    pub(crate) first_line: (usize, Refusal),
}

impl Limits {
    pub(crate) fn of_head(config: &Config) -> Self {
        let target = config.request_target_limit().min(config.request_head_limit()) as usize;
        Limits {
            bytes: (config.request_head_limit() as usize, Refusal::HeadTooLarge),
            lines: (config.request_fields_limit() as usize + 1, Refusal::TooManyFields),
            first_line: (target + LINE_OVERHEAD, Refusal::TargetTooLong),
        }
    }

    pub(crate) fn of_trailers(config: &Config) -> Self {
        Limits {
            bytes: (config.trailers_limit() as usize, Refusal::Trailers),
            lines: (config.request_fields_limit() as usize, Refusal::Trailers),
            first_line: (usize::MAX, Refusal::Trailers),
        }
    }
}

/// The search for the empty line that ends a section; goes on where it stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    scanned: u32,
    line_start: u32,
    lines: u32,
}

impl Scan {
    /// The length of the section at the start of `unit`, or `None` if its end has not arrived.
    ///
    /// `unit` has to begin with the bytes of the call before. Verdicts are given in the order of the
    /// bytes, and none looks beyond the limit, so that cuts make no difference.
    pub(crate) fn find_end(
        &mut self,
        unit: &[u8],
        limits: Limits,
    ) -> Result<Option<usize>, Refusal> {
        let seen = unit.get(..limits.bytes.0).unwrap_or(unit);
        while let Some(rest) = seen.get(self.scanned as usize..) {
            let Some(found) = memchr::memchr(b'\n', rest) else { break };
            let newline = self.scanned as usize + found;
            let line = seen.get(self.line_start as usize..newline).unwrap_or_default();
            self.check_first_line(line.len().saturating_sub(1), limits)?;
            if line.last() != Some(&b'\r') {
                return Err(Refusal::BareCrOrLf);
            }
            if line.len() == 1 {
                return Ok(Some(newline + 1));
            }
            self.lines += 1;
            if self.lines as usize > limits.lines.0 {
                return Err(limits.lines.1);
            }
            self.scanned = newline as u32 + 1;
            self.line_start = self.scanned;
        }
        self.scanned = seen.len() as u32;
        // A CR at the end may belong to the line's end: it does not count yet.
        let line = (seen.len() - self.line_start as usize).saturating_sub(1);
        self.check_first_line(line, limits)?;
        if seen.len() >= limits.bytes.0 {
            return Err(limits.bytes.1);
        }
        Ok(None)
    }

    fn check_first_line(&self, length: usize, limits: Limits) -> Result<(), Refusal> {
        if self.lines == 0 && length > limits.first_line.0 {
            return Err(limits.first_line.1);
        }
        Ok(())
    }
}

/// Where a field line's name and value stand in its section.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FieldPlace {
    name: (u32, u32),
    value: (u32, u32),
}

impl FieldPlace {
    pub(crate) fn name(self) -> Range<usize> {
        self.name.0 as usize..self.name.1 as usize
    }

    pub(crate) fn value(self) -> Range<usize> {
        self.value.0 as usize..self.value.1 as usize
    }
}

const INLINE: usize = 24;

/// The field lines of one section; as many as most requests have stand inline.
#[derive(Debug)]
pub(crate) struct Fields {
    inline: [FieldPlace; INLINE],
    more: Vec<FieldPlace>,
    count: usize,
}

impl Fields {
    pub(crate) fn new() -> Self {
        Fields { inline: [FieldPlace::default(); INLINE], more: Vec::new(), count: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.more.clear();
        self.count = 0;
    }

    pub(crate) fn as_slices(&self) -> (&[FieldPlace], &[FieldPlace]) {
        (self.inline.get(..self.count.min(INLINE)).unwrap_or_default(), &self.more)
    }

    fn push(&mut self, place: FieldPlace) {
        match self.inline.get_mut(self.count) {
            Some(free) => *free = place,
            None => self.more.push(place),
        }
        self.count += 1;
    }

    /// Notes where `name` and `value`, which lie in `section`, stand.
    pub(super) fn note(&mut self, section: &[u8], field: &httparse::Header<'_>) {
        self.push(FieldPlace {
            name: place(section, field.name.as_bytes()),
            value: place(section, field.value),
        });
    }
}

/// Where `part`, a slice of `whole`, stands.
fn place(whole: &[u8], part: &[u8]) -> (u32, u32) {
    // An empty value may be a slice from elsewhere: its place does not matter.
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize).min(whole.len());
    (start as u32, (start + part.len()).min(whole.len()) as u32)
}

/// How a request's content is framed (RFC 9112 6.3). Without framing fields there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

/// What a head says, as offsets into it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) method: (u32, u32),
    pub(crate) target: (u32, u32),
    /// HTTP/1.1, not HTTP/1.0.
    pub(crate) http11: bool,
    pub(crate) framing: Framing,
    /// The peer would keep the connection (RFC 9112 9.3).
    pub(crate) persist: bool,
    /// `Expect: 100-continue`, with content to come.
    pub(crate) expects_continue: bool,
    pub(crate) kind: Kind,
}

/// Methods that change how an answer is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// HEAD: the answer has no content (RFC 9110 9.3.2).
    Head,
    /// CONNECT: a 2xx answer would be a tunnel (RFC 9110 9.3.6).
    Connect,
}

/// Parses a complete head, and notes its field lines in `fields`.
pub(crate) fn parse(head: &[u8], config: &Config, fields: &mut Fields) -> Result<Head, Refusal> {
    let mut lines = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut lines) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Refusal::RequestLine),
        Err(error) => return Err(refusal(error, head)),
    }
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Err(Refusal::RequestLine);
    };
    if method.len() > LONGEST_METHOD {
        return Err(Refusal::Method);
    }
    if target.len() as u64 > config.request_target_limit() {
        return Err(Refusal::TargetTooLong);
    }
    let kind = match method {
        "HEAD" => Kind::Head,
        "CONNECT" => Kind::Connect,
        _ => Kind::Plain,
    };
    let http11 = request.version == Some(1);

    let mut seen = Seen::default();
    fields.clear();
    for field in request.headers.iter() {
        seen.look(field)?;
        fields.note(head, field);
    }
    let authority = authority_of_target(target.as_bytes(), method, kind)?;
    seen.check_host(http11, authority)?;
    let framing = seen.framing(http11, kind)?;
    Ok(Head {
        method: place(head, method.as_bytes()),
        target: place(head, target.as_bytes()),
        http11,
        framing,
        persist: if http11 { !seen.close } else { seen.keep_alive && !seen.close },
        expects_continue: seen.expects_continue && http11 && framing != Framing::Length(0),
        kind,
    })
}

fn refusal(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Refusal::Field,
        httparse::Error::TooManyHeaders => Refusal::TooManyFields,
        httparse::Error::Version => {
            // Another version is told so only if it is one.
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            match line.rsplit(|byte| *byte == b' ').next() {
                Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
                    if major.is_ascii_digit() && minor.is_ascii_digit() =>
                {
                    Refusal::Version
                }
                _ => Refusal::RequestLine,
            }
        }
        _ => Refusal::RequestLine,
    }
}

/// The authority in a request target, if its form has one (RFC 9112 3.2). Checks the form.
fn authority_of_target<'h>(
    target: &'h [u8],
    method: &str,
    kind: Kind,
) -> Result<Option<&'h [u8]>, Refusal> {
    // A fragment is never sent; other readers cut it off, or don't.
    if target.iter().any(|byte| !byte.is_ascii_graphic() || *byte == b'#') {
        return Err(Refusal::Target);
    }
    if kind == Kind::Connect {
        let port =
            target.iter().rposition(|byte| *byte == b':').and_then(|at| target.get(at + 1..));
        let has_port = port.is_some_and(|port| !port.is_empty());
        return if has_port && is_authority(target) {
            Ok(Some(target))
        } else {
            Err(Refusal::Target)
        };
    }
    match target {
        [b'/', ..] => Ok(None),
        b"*" if method == "OPTIONS" => Ok(None),
        _ => {
            let scheme = ["http://", "https://"].into_iter().find(|scheme| {
                target
                    .get(..scheme.len())
                    .is_some_and(|it| it.eq_ignore_ascii_case(scheme.as_bytes()))
            });
            let rest =
                scheme.and_then(|scheme| target.get(scheme.len()..)).ok_or(Refusal::Target)?;
            let end =
                rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            let authority = rest.get(..end).unwrap_or_default();
            if authority.is_empty() || !is_authority(authority) {
                return Err(Refusal::Target);
            }
            Ok(Some(authority))
        }
    }
}

/// `uri-host [ ":" port ]` (RFC 9110 7.2), without userinfo; the empty one too.
fn is_authority(authority: &[u8]) -> bool {
    let (host, port) = match authority {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let (address, after) = rest.split_at(end);
            let is_address = !address.is_empty()
                && address
                    .iter()
                    .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
            match after {
                _ if !is_address => return false,
                [b']'] => return true,
                [b']', b':', port @ ..] => (&[][..], port),
                _ => return false,
            }
        }
        _ => match authority.iter().position(|byte| *byte == b':') {
            Some(colon) => {
                let (host, port) = authority.split_at(colon);
                (host, port.get(1..).unwrap_or_default())
            }
            None => (authority, &[][..]),
        },
    };
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    host.iter().all(allowed) && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

/// What the fields say that matters to a server.
#[derive(Default)]
struct Seen<'h> {
    host: Option<&'h [u8]>,
    content_length: Option<&'h [u8]>,
    transfer_encoding: Option<&'h [u8]>,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl<'h> Seen<'h> {
    fn look(&mut self, field: &httparse::Header<'h>) -> Result<(), Refusal> {
        let value = field.value;
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        // By length first: most fields of most requests are none of these.
        match field.name.len() {
            4 if is("host") => {
                if self.host.replace(value).is_some() {
                    return Err(Refusal::Host);
                }
            }
            6 if is("expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refusal::Expectation);
                }
                self.expects_continue = true;
            }
            10 if is("connection") => {
                for option in value.split(|byte| *byte == b',') {
                    let option = option.trim_ascii();
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if is("content-length") => {
                if self.content_length.replace(value).is_some() {
                    return Err(Refusal::ContentLength);
                }
            }
            17 if is("transfer-encoding") => {
                if self.transfer_encoding.replace(value).is_some() {
                    return Err(Refusal::TransferEncoding);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn check_host(&self, http11: bool, authority: Option<&[u8]>) -> Result<(), Refusal> {
        match (self.host, authority) {
            (None, _) if http11 => Err(Refusal::Host),
            (None, _) => Ok(()),
            (Some(host), _) if !is_authority(host) => Err(Refusal::Host),
            // The target's counts (RFC 9112 3.2.2), but others look at the field.
            (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
                Err(Refusal::Host)
            }
            _ => Ok(()),
        }
    }

    fn framing(&self, http11: bool, kind: Kind) -> Result<Framing, Refusal> {
        match (self.transfer_encoding, self.content_length) {
            (Some(_), Some(_)) => Err(Refusal::ConflictingFraming),
            // CONNECT has no content, so that what follows could be read in two ways.
            (Some(_), None) | (None, Some(_)) if kind == Kind::Connect => {
                Err(Refusal::ConflictingFraming)
            }
            (Some(_), None) if !http11 => Err(Refusal::TransferEncoding),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (Some(codings), None) => Err(other_coding(codings)),
            (None, Some(length)) => {
                decimal(length).map(Framing::Length).ok_or(Refusal::ContentLength)
            }
            (None, None) => Ok(Framing::Length(0)),
        }
    }
}

/// Codings that end in `chunked` frame the message well, but are none of ours; others do not.
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

/// Digits and nothing else; saturates, since any limit is smaller.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}
