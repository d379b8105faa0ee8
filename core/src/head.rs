//! The head of a request, and its trailers, as views of the bytes that arrived.
//!
//! In: text, and the places of its parts. Out: the parts, as text or in the types of `http`. The protocol
//! decides which bytes the text is made of: a span of the input, or a decoded block.

use crate::close::Refusal;
use crate::config::Config;
use bytes::{Bytes, BytesMut};
use core::ops::Range;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

// ---- the places of the parts -----------------------------------------------------------------------

/// A part of a head: the place of its first byte, and the place after its last byte.
pub(crate) type TextSpan = (u16, u16);

pub(crate) fn range((start, end): TextSpan) -> Range<usize> {
    usize::from(start)..usize::from(end)
}

/// How a request's content is framed (RFC 9112 6.3). Without framing fields there is no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentFraming {
    Length(u64),
    Chunked,
}

impl Default for ContentFraming {
    fn default() -> Self {
        ContentFraming::Length(0)
    }
}

/// The contents of a head, as offsets into it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head {
    pub(crate) method: TextSpan,
    pub(crate) target: TextSpan,
    /// The application gets the target in another form than the client sent it.
    pub(crate) told: bool,
    pub(crate) version: Version,
    pub(crate) framing: ContentFraming,
    /// The peer would keep the connection (RFC 9112 9.3).
    pub(crate) persist: bool,
    /// `Expect: 100-continue`, with content to come.
    pub(crate) expects_continue: bool,
    pub(crate) kind: MethodKind,
    /// The method is CONNECT, or the client asks to leave HTTP/1.1 (RFC 9110 7.8).
    pub(crate) asks_for_tunnel: bool,
    /// The protocol that an extended CONNECT asks for (RFC 8441 4); empty for other requests.
    pub(crate) protocol: TextSpan,
}

/// Methods that change how an answer is framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MethodKind {
    #[default]
    Plain,
    /// HEAD: the answer has no content (RFC 9110 9.3.2).
    Head,
    /// CONNECT: a 2xx answer would be a tunnel (RFC 9110 9.3.6).
    Connect,
}

/// Where the name and the value of a field line stand in their section, which is at most 64 KiB
/// long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    start: u16,
    name_end: u16,
    value_start: u16,
    end: u16,
}

impl Line {
    /// A line from `start` to `end`. Its name and its value are parts of it.
    #[inline(always)]
    pub(crate) fn new(start: usize, name_end: usize, value_start: usize, end: usize) -> Self {
        let [start, name_end, value_start, end] =
            [start, name_end, value_start, end].map(|place| place as u16);
        Line { start, name_end, value_start, end }
    }

    pub(crate) fn name(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.name_end)
    }

    pub(crate) fn value(self) -> Range<usize> {
        usize::from(self.value_start)..usize::from(self.end)
    }
}

const INLINE: usize = 16;

/// The field lines of one section. The lines of most requests fit inline.
#[derive(Debug)]
pub(crate) struct Lines {
    inline: [Line; INLINE],
    more: Vec<Line>,
    count: usize,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Lines { inline: [Line::default(); INLINE], more: Vec::new(), count: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.more.clear();
        self.count = 0;
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, line: Line) {
        match self.inline.get_mut(self.count) {
            Some(free) => *free = line,
            None => self.more.push(line),
        }
        self.count += 1;
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The field line at that place.
    pub(crate) fn get(&self, place: usize) -> Option<Line> {
        match self.inline.get(..self.count.min(INLINE)).and_then(|inline| inline.get(place)) {
            Some(line) => Some(*line),
            None => self.more.get(place.checked_sub(INLINE)?).copied(),
        }
    }
}

/// The most memory that [`Lines`] own under `config`: a list that doubles as it grows.
pub(crate) fn memory_bound(config: &Config) -> usize {
    let more = (config.request_fields_limit() as usize).saturating_sub(INLINE);
    more.next_power_of_two().max(4) * size_of::<Line>()
}

// ---- the parts -------------------------------------------------------------------------------------

/// Field lines, in order, as they were sent.
#[derive(Clone, Debug)]
pub struct FieldLines<'e> {
    section: &'e [u8],
    lines: &'e Lines,
    next: usize,
}

impl<'e> FieldLines<'e> {
    fn new(section: &'e [u8], lines: &'e Lines) -> Self {
        FieldLines { section, lines, next: 0 }
    }

    fn next_line(&mut self) -> Option<Line> {
        let line = self.lines.get(self.next)?;
        self.next += 1;
        Some(line)
    }
}

impl<'e> Iterator for FieldLines<'e> {
    type Item = (&'e str, &'e [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.next_line()?;
        Some((text(self.section, line.name()), bytes_at(self.section, line.value())))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.lines.count() - self.next;
        (left, Some(left))
    }
}

/// A request head, as a view of the bytes that arrived.
#[derive(Debug)]
pub struct RequestHead<'e> {
    bytes: &'e [u8],
    head: &'e Head,
    lines: &'e Lines,
    /// The target, if the application gets it in another form than it has in `bytes`.
    told: &'e [u8],
}

impl<'e> RequestHead<'e> {
    pub(crate) fn new(bytes: &'e [u8], head: &'e Head, lines: &'e Lines, told: &'e [u8]) -> Self {
        RequestHead { bytes, head, lines, told }
    }

    /// The method; a token of at most 32 bytes (RFC 9110 9.1).
    pub fn method(&self) -> &'e str {
        match bytes_at(self.bytes, range(self.head.method)) {
            // Nearly all requests: this text needs no check.
            b"GET" => "GET",
            _ => text(self.bytes, range(self.head.method)),
        }
    }

    /// The request target in one of its four forms (RFC 9112 3.2): visible ASCII, without `#` and
    /// ``"<>\^`{|}``. Bytes that clients send although a target can't have them are percent-encoded here:
    /// `/café` is `/caf%C3%A9`, however it was sent. The absolute form has its scheme in small letters, and a
    /// path.
    ///
    /// The text of `http::Uri` is the same.
    pub fn target(&self) -> &'e str {
        if self.head.told {
            return text(self.told, 0..self.told.len());
        }
        text(self.bytes, range(self.head.target))
    }

    /// The target as the client has sent it, before the changes that [`target`](Self::target) tells of. It costs
    /// less, for a first look.
    #[inline]
    pub fn target_bytes(&self) -> &'e [u8] {
        bytes_at(self.bytes, range(self.head.target))
    }

    /// The path of the target, without its query. It is `/` if an absolute target has none (RFC 9110 4.2.3),
    /// `*` for the asterisk form, and empty for the authority form.
    pub fn path(&self) -> &'e str {
        let target = self.target();
        let path = match target.as_bytes() {
            [b'/', ..] | [b'*'] => target,
            _ => match target.split_once("://") {
                Some((_, rest)) => rest.find('/').map_or("", |start| rest.split_at(start).1),
                None => "",
            },
        };
        let end = memchr::memchr(b'?', path.as_bytes());
        end.and_then(|end| path.get(..end)).unwrap_or(path)
    }

    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The protocol that the client asks for by an extended CONNECT: `websocket` (RFC 8441).
    pub fn protocol(&self) -> Option<&'e str> {
        let protocol = text(self.bytes, range(self.head.protocol));
        (!protocol.is_empty()).then_some(protocol)
    }

    /// Whether the client asks for a tunnel, which [`Stream::accept_tunnel`](crate::Stream::accept_tunnel) can
    /// accept: by CONNECT (RFC 9110 9.3.6), or with HTTP/1.1 by an upgrade, also one to a websocket
    /// (RFC 9110 7.8).
    #[inline]
    pub fn asks_for_tunnel(&self) -> bool {
        self.head.asks_for_tunnel
    }

    /// All field lines in order.
    pub fn fields(&self) -> FieldLines<'e> {
        FieldLines::new(self.bytes, self.lines)
    }

    /// The value of the first field line of that name, whatever its case.
    pub fn field(&self, name: &str) -> Option<&'e [u8]> {
        let found = self.fields().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// The length of the content, if the request tells it; `Some(0)` without content.
    pub fn content_length(&self) -> Option<u64> {
        match self.head.framing {
            ContentFraming::Length(length) => Some(length),
            ContentFraming::Chunked => None,
        }
    }

    /// Whether the client waits with its content for a 100 (Continue). The connection sends it when the
    /// application asks for the content.
    pub fn expects_continue(&self) -> bool {
        self.head.expects_continue
    }

    /// The head in the types of `http`.
    ///
    /// # Errors
    /// No error is known: every request that is delivered fits. Answer a refusal with
    /// [`Stream::refuse`](crate::Stream::refuse).
    pub fn to_http(&self) -> Result<http::Request<()>, Refusal> {
        let mut request = http::Request::new(());
        self.write_to(&mut request, &mut BytesMut::new())?;
        Ok(request)
    }

    /// Writes the head into `request`, and appends the fields to its map.
    ///
    /// The texts share copies that are cut from the front of `text`. A caller that passes the same `text`,
    /// and a map with room, saves the allocations of each request. A text that is kept keeps at most the copy
    /// of a long head, or the allocation of `text`.
    ///
    /// # Errors
    /// As for [`to_http`](Self::to_http). `request` is of no use then.
    pub fn write_to<B>(
        &self,
        request: &mut http::Request<B>,
        text: &mut BytesMut,
    ) -> Result<(), Refusal> {
        let shared = if self.bytes.len() < LONG {
            text.extend_from_slice(self.bytes);
            text.split().freeze()
        } else {
            Bytes::copy_from_slice(self.bytes)
        };
        let method = bytes_at(self.bytes, range(self.head.method));
        *request.method_mut() = Method::from_bytes(method).map_err(|_| Refusal::RequestLine)?;
        *request.version_mut() = self.version();
        append(request.headers_mut(), self.fields(), &shared)?;
        let target = if self.head.told {
            Bytes::copy_from_slice(self.told)
        } else {
            shared.slice(range(self.head.target))
        };
        *request.uri_mut() = Uri::from_maybe_shared(target).map_err(|_| Refusal::Target)?;
        Ok(())
    }
}

/// What is known of a request that the connection refuses: as much of its method and its target as has come. Both
/// may be cut, and the target may be malformed.
#[derive(Clone, Copy, Debug)]
pub struct RefusedHead<'e> {
    bytes: &'e [u8],
    head: &'e Head,
}

impl<'e> RefusedHead<'e> {
    pub(crate) fn new(bytes: &'e [u8], head: &'e Head) -> Self {
        RefusedHead { bytes, head }
    }

    /// The method, if a token of at most 32 bytes came.
    pub fn method(&self) -> Option<&'e str> {
        Some(text(self.bytes, range(self.head.method))).filter(|method| !method.is_empty())
    }

    /// The target as it was sent, if it is UTF-8. It may hold any character, also controls, and may be as long as
    /// `request_target_limit` and somewhat longer; over HTTP/2 as long as `http2_header_list_limit`.
    pub fn target(&self) -> Option<&'e str> {
        Some(text(self.bytes, range(self.head.target))).filter(|target| !target.is_empty())
    }

    /// HTTP/1.0 or HTTP/2 if the request says so, or else HTTP/1.1.
    pub fn version(&self) -> Version {
        self.head.version
    }
}

/// A longer method is not a known one, and is refused.
pub(crate) const LONGEST_METHOD: usize = 32;

/// The trailer fields of a request.
#[derive(Debug)]
pub struct Trailers<'e> {
    section: &'e [u8],
    lines: &'e Lines,
}

impl<'e> Trailers<'e> {
    pub(crate) fn new(section: &'e [u8], lines: &'e Lines) -> Self {
        Trailers { section, lines }
    }

    /// All field lines in order.
    pub fn fields(&self) -> FieldLines<'e> {
        FieldLines::new(self.section, self.lines)
    }

    /// The trailers in the types of `http`; `None` if there are none.
    pub fn to_http(&self) -> Option<HeaderMap> {
        let mut map = HeaderMap::new();
        append(&mut map, self.fields(), &Bytes::copy_from_slice(self.section)).ok()?;
        (!map.is_empty()).then_some(map)
    }
}

/// A head of at least this length is copied into an allocation of its own.
const LONG: usize = 1024;

/// `shared` is a copy of the lines' section.
fn append(map: &mut HeaderMap, mut lines: FieldLines<'_>, shared: &Bytes) -> Result<(), Refusal> {
    let count = lines.size_hint().0;
    if map.capacity() < map.len() + count {
        map.reserve(count);
    }
    while let Some(line) = lines.next_line() {
        let name = HeaderName::from_bytes(bytes_at(lines.section, line.name()));
        let value = HeaderValue::from_maybe_shared(shared.slice(line.value()));
        map.append(name.map_err(|_| Refusal::Field)?, value.map_err(|_| Refusal::Field)?);
    }
    Ok(())
}

fn bytes_at(section: &[u8], place: Range<usize>) -> &[u8] {
    section.get(place).unwrap_or_default()
}

/// The text at `place`. Tokens and targets are ASCII after parsing.
pub(crate) fn text(section: &[u8], place: Range<usize>) -> &str {
    core::str::from_utf8(bytes_at(section, place)).unwrap_or_default()
}
