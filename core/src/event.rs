//! What a connection tells the application, and the plain types of its actions.
//!
//! Everything in an event is lent: out of the driver's buffer, or out of the held bytes.

use crate::close::{Refusal, ResetReason};
use crate::h1::head::{Framing, Head, range};
use crate::h1::section::{Line, Lines};
use crate::websocket::Message;
use bytes::{Bytes, BytesMut};
use core::fmt;
use core::ops::Range;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

/// One exchange of a request and its answer.
///
/// On an HTTP/1.1 connection they are numbered from 1 in the order of the requests, and only the
/// newest is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) u64);

impl StreamId {
    /// The number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How much content an answer will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// Exactly so many bytes; 0 for none.
    Known(u64),
    /// As it comes: chunked, or until the connection closes for HTTP/1.0. A `Content-Length` among
    /// the fields makes it known.
    Unknown,
}

/// Whether an answer that was begun waits for content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Begun {
    /// Content may be sent, and [`Connection::finish`](crate::Connection::finish) is owed.
    Open,
    /// The answer is complete: to HEAD, or 204, or 304. The stream has ended as far as sending goes.
    Complete,
}

/// What happened. Each request is followed by any number of [`Event::Data`], and then by exactly one
/// [`Event::End`] or [`Event::Reset`]; or by nothing more, once its answer is complete.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A request's head has arrived.
    Request {
        /// The stream to answer on.
        stream: StreamId,
        /// The head.
        head: RequestHead<'e>,
    },
    /// Some of the request's content: never more than was asked for.
    Data {
        /// Its stream.
        stream: StreamId,
        /// The bytes; they may be changed in place.
        data: &'e mut [u8],
        /// How many bytes are at hand behind these: who wants to keep the driver's buffer instead
        /// of copying out of it stops here if they are few, since they are then copied.
        behind: usize,
    },
    /// The request is complete.
    End {
        /// Its stream.
        stream: StreamId,
        /// The trailer fields; empty for most requests.
        trailers: Trailers<'e>,
    },
    /// A whole message of a websocket.
    Message {
        /// The stream of the request that became the websocket.
        stream: StreamId,
        /// The message.
        message: Message<'e>,
        /// How many bytes are at hand behind this message, as with [`Event::Data`]; none: it is the
        /// last one for now.
        behind: usize,
    },
    /// A whole message of a websocket that was put together, for an application that asked for
    /// [`Options::owned`](crate::websocket::Options::owned). A message that lies whole in the driver's
    /// buffer is lent all the same.
    OwnedMessage {
        /// The stream of the request that became the websocket.
        stream: StreamId,
        /// It is text, and valid UTF-8.
        text: bool,
        /// All of it, without much room to spare.
        bytes: Vec<u8>,
        /// As with [`Event::Message`].
        behind: usize,
    },
    /// Some of a websocket's message, as it comes: for who asked for pieces.
    Piece {
        /// The stream of the request that became the websocket.
        stream: StreamId,
        /// It is text: valid UTF-8, of which a piece may begin and end within a character.
        text: bool,
        /// The message ends with this piece, which may be empty.
        last: bool,
        /// The bytes; they may be changed in place.
        data: &'e mut [u8],
    },
    /// The peer closes its websocket: nothing more comes on it. What the application was about to
    /// say can still be sent, for `websocket_close_timeout`;
    /// [`Connection::close`](crate::Connection::close) is owed, and answers with the peer's code.
    Closing {
        /// The stream of the request that became the websocket.
        stream: StreamId,
        /// The close code (RFC 6455 7.4), if there was one.
        code: Option<u16>,
        /// The reason, for people: at most 123 bytes; most often empty.
        reason: &'e str,
    },
    /// There is room again after a [`send_data`](crate::Connection::send_data) or
    /// [`send_message`](crate::Connection::send_message) that was cut short.
    Writable {
        /// The stream that was cut short.
        stream: StreamId,
    },
    /// The request, or the websocket, ended early. An answer to it goes nowhere.
    Reset {
        /// Its stream.
        stream: StreamId,
        /// Why.
        reason: ResetReason,
    },
}

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
    /// The target, if it does not stand in `bytes` as it is told.
    told: &'e [u8],
}

impl<'e> RequestHead<'e> {
    pub(crate) fn new(bytes: &'e [u8], head: &'e Head, lines: &'e Lines, told: &'e [u8]) -> Self {
        RequestHead { bytes, head, lines, told }
    }

    /// The method; a token of at most 32 bytes (RFC 9110 9.1).
    pub fn method(&self) -> &'e str {
        match bytes_at(self.bytes, range(self.head.method)) {
            // Nearly all: that it is text needs no look.
            b"GET" => "GET",
            _ => text(self.bytes, range(self.head.method)),
        }
    }

    /// The request target in one of its four forms (RFC 9112 3.2): visible ASCII, without `#` and
    /// ``"<>\^`{|}``. What has no place in a target, but is put there by clients, is
    /// percent-encoded here: `/café` is `/caf%C3%A9`, however it was sent. The absolute form has its
    /// scheme in small letters, and a path.
    ///
    /// `http::Uri` says the same: this is its text.
    pub fn target(&self) -> &'e str {
        if self.head.told {
            return text(self.told, 0..self.told.len());
        }
        text(self.bytes, range(self.head.target))
    }

    /// The path of the target, without its query: `/` where an absolute target has none
    /// (RFC 9110 4.2.3), `*` for the asterisk form, and empty for the authority form.
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

    /// HTTP/1.0 or HTTP/1.1.
    pub fn version(&self) -> Version {
        if self.head.http11 { Version::HTTP_11 } else { Version::HTTP_10 }
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
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        }
    }

    /// The client waits with its content for a 100 (Continue), which is sent when the application
    /// asks for the content.
    pub fn expects_continue(&self) -> bool {
        self.head.expects_continue
    }

    /// The head in the ecosystem's types.
    ///
    /// # Errors
    /// None that is known of: every request that is delivered fits. A refusal is to be answered with
    /// [`Connection::refuse`](crate::Connection::refuse).
    pub fn to_http(&self) -> Result<http::Request<()>, Refusal> {
        let mut request = http::Request::new(());
        self.write_to(&mut request, &mut BytesMut::new())?;
        Ok(request)
    }

    /// Writes the head into `request`, in whose map the fields are appended to what is there.
    ///
    /// The texts share copies that are cut from the front of `text`. Who passes the same `text`, and
    /// a map with room, again and again saves the allocations of each request; a text that is kept
    /// keeps at most the copy of a long head, or the allocation of `text`.
    ///
    /// # Errors
    /// As for [`to_http`](Self::to_http); `request` is of no use then.
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

    /// The trailers in the ecosystem's types; `None` if there are none.
    pub fn to_http(&self) -> Option<HeaderMap> {
        let mut map = HeaderMap::new();
        append(&mut map, self.fields(), &Bytes::copy_from_slice(self.section)).ok()?;
        (!map.is_empty()).then_some(map)
    }
}

/// From this length on a head is copied into an allocation of its own.
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

/// What the parser took for a token or a target is ASCII.
pub(crate) fn text(section: &[u8], place: Range<usize>) -> &str {
    core::str::from_utf8(bytes_at(section, place)).unwrap_or_default()
}
