//! The opening handshake (RFC 6455 4.2).
//!
//! In: an upgrade request, as a [`RequestHead`] or an `http::Request`. Out: the fields of the 101 that
//! accepts it, or the status and the fields of an ordinary answer that refuses it.

use super::extension::{self, Malformed};
use super::negotiation::{Agreed, DeflateSettings, Negotiation};
use super::origin;
use crate::head::RequestHead;
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use core::fmt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};
use sha1::{Digest, Sha1};

/// Hashed together with the client's key (RFC 6455 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The length of 16 bytes in base64.
const KEY_LENGTH: usize = 24;
/// The length of a SHA-1 hash in base64.
const ACCEPT_LENGTH: usize = 28;
const VERSION: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// The decoder ignores the bits after the last byte of a key: the example of RFC 6455 4.1 has some.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The reason why a request can't be upgraded to a websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadHandshake {
    /// The request asks for no websocket: it has no `Upgrade: websocket`, or is HTTP/1.0, which has no
    /// upgrades (RFC 9110 7.8).
    NotAsked,
    /// The method is not GET.
    Method,
    /// The request has content, which could be read as frames.
    Content,
    /// `Connection` does not list `upgrade`.
    Connection,
    /// `Sec-WebSocket-Version` is not 13 (RFC 6455 4.4).
    Version,
    /// `Sec-WebSocket-Key` is missing, repeated, or not 16 bytes in base64.
    Key,
    /// `Origin` is repeated.
    Origin,
    /// `Sec-WebSocket-Protocol` is not a list of tokens.
    Protocols,
    /// `Sec-WebSocket-Extensions` is malformed (RFC 6455 9.1).
    Extensions,
    /// `Origin` names a page that may not open websockets here (RFC 6455 10.2).
    /// [`Handshake::read`] does not check this; the application does, with
    /// [`Handshake::same_origin`] or [`Handshake::allow_origins`].
    ForeignOrigin,
}

impl BadHandshake {
    /// All reasons.
    pub const ALL: [BadHandshake; 10] = [
        BadHandshake::NotAsked,
        BadHandshake::Method,
        BadHandshake::Content,
        BadHandshake::Connection,
        BadHandshake::Version,
        BadHandshake::Key,
        BadHandshake::Origin,
        BadHandshake::Protocols,
        BadHandshake::Extensions,
        BadHandshake::ForeignOrigin,
    ];

    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        match self {
            BadHandshake::NotAsked | BadHandshake::Version => StatusCode::UPGRADE_REQUIRED,
            BadHandshake::Method => StatusCode::METHOD_NOT_ALLOWED,
            BadHandshake::Content
            | BadHandshake::Connection
            | BadHandshake::Key
            | BadHandshake::Origin
            | BadHandshake::Protocols
            | BadHandshake::Extensions => StatusCode::BAD_REQUEST,
            BadHandshake::ForeignOrigin => StatusCode::FORBIDDEN,
        }
    }

    /// The fields that the answer has to carry. They tell the client what the server would accept
    /// (RFC 9110 15.5.6, 15.5.22, RFC 6455 4.4).
    pub fn fields(self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let upgrade = self.status() == StatusCode::UPGRADE_REQUIRED;
        let allow = (header::ALLOW, HeaderValue::from_static("GET"));
        let instead = [
            (header::UPGRADE, WEBSOCKET),
            (header::CONNECTION, UPGRADE),
            (header::SEC_WEBSOCKET_VERSION, VERSION),
        ];
        let allow = (self == BadHandshake::Method).then_some(allow);
        instead.into_iter().filter(move |_| upgrade).chain(allow)
    }

    /// A sentence for people, such as the author of a client.
    pub const fn explanation(self) -> &'static str {
        match self {
            BadHandshake::NotAsked => "the request asks for no websocket",
            BadHandshake::Method => "a request that opens a websocket has the method GET",
            BadHandshake::Content => "a request that opens a websocket has no content",
            BadHandshake::Connection => "`Connection` has to list `upgrade`",
            BadHandshake::Version => "`Sec-WebSocket-Version` has to be 13",
            BadHandshake::Key => {
                "`Sec-WebSocket-Key` has to be there once, with 16 bytes in base64"
            }
            BadHandshake::Origin => "`Origin` may be there only once",
            BadHandshake::Protocols => "`Sec-WebSocket-Protocol` has to be a list of tokens",
            BadHandshake::Extensions => "`Sec-WebSocket-Extensions` is malformed",
            BadHandshake::ForeignOrigin => "pages of this `Origin` may not open websockets here",
        }
    }

    /// The name in metrics and logs, and in the answer to the client.
    pub const fn label(self) -> &'static str {
        match self {
            BadHandshake::NotAsked => "websocket_required",
            BadHandshake::Method => "websocket_method",
            BadHandshake::Content => "websocket_content",
            BadHandshake::Connection => "websocket_connection",
            BadHandshake::Version => "websocket_version",
            BadHandshake::Key => "websocket_key",
            BadHandshake::Origin => "websocket_origin",
            BadHandshake::Protocols => "websocket_protocols",
            BadHandshake::Extensions => "websocket_extensions",
            BadHandshake::ForeignOrigin => "websocket_foreign_origin",
        }
    }
}

impl fmt::Display for BadHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl std::error::Error for BadHandshake {}

/// The application chose a subprotocol that the client did not offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOffered;

/// A request of any type that has a method, a version and field lines.
pub trait UpgradeRequest {
    /// Returns the method.
    fn method(&self) -> &str;
    /// Returns the version.
    fn version(&self) -> Version;
    /// Returns the values of the field lines with this name, in order.
    fn lines(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]>;
    /// Whether this is an extended CONNECT of HTTP/2 (RFC 8441 4). No other protocol than `websocket` is
    /// delivered by one.
    fn is_extended_connect(&self) -> bool;
}

impl UpgradeRequest for RequestHead<'_> {
    fn method(&self) -> &str {
        self.method()
    }

    fn version(&self) -> Version {
        self.version()
    }

    fn lines(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        let name = name.as_str();
        self.fields().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|it| it.1)
    }

    fn is_extended_connect(&self) -> bool {
        self.protocol().is_some()
    }
}

impl<B> UpgradeRequest for http::Request<B> {
    fn method(&self) -> &str {
        self.method().as_str()
    }

    fn version(&self) -> Version {
        self.version()
    }

    fn lines(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        self.headers().get_all(name).iter().map(HeaderValue::as_bytes)
    }

    fn is_extended_connect(&self) -> bool {
        // The target of another CONNECT is an authority.
        let has_path = self.uri().path().starts_with('/') && self.uri().authority().is_none();
        self.method() == http::Method::CONNECT && has_path
    }
}

/// Returns whether a request asks for a websocket, even if the handshake is faulty. The check is
/// cheap for other requests.
pub fn is_asked(request: &impl UpgradeRequest) -> bool {
    match request.version() {
        Version::HTTP_11 => has_token(request, &header::UPGRADE, "websocket"),
        Version::HTTP_2 => request.is_extended_connect(),
        _ => false,
    }
}

/// A valid request for a websocket, which the application may accept.
#[derive(Debug)]
pub struct Handshake<'r, R> {
    request: &'r R,
    /// The proof that the server has read the client's key. HTTP/2 needs none (RFC 8441 5).
    accept: Option<[u8; ACCEPT_LENGTH]>,
}

impl<'r, R: UpgradeRequest> Handshake<'r, R> {
    /// Checks a request against RFC 6455 4.2.1. `Host` was checked already, as in every request.
    pub fn read(request: &'r R) -> Result<Self, BadHandshake> {
        if !is_asked(request) {
            return Err(BadHandshake::NotAsked);
        }
        let is_upgrade = request.version() == Version::HTTP_11;
        if is_upgrade && request.method() != "GET" {
            return Err(BadHandshake::Method);
        }
        let has_content = request.lines(&header::TRANSFER_ENCODING).next().is_some()
            || request
                .lines(&header::CONTENT_LENGTH)
                .any(|length| length.iter().any(|digit| *digit != b'0'));
        if has_content {
            return Err(BadHandshake::Content);
        }
        if is_upgrade && !has_token(request, &header::CONNECTION, "upgrade") {
            return Err(BadHandshake::Connection);
        }
        let only = |name| {
            let mut lines = request.lines(name);
            let first = lines.next();
            if lines.next().is_none() { Ok(first) } else { Err(()) }
        };
        if only(&header::SEC_WEBSOCKET_VERSION) != Ok(Some(b"13")) {
            return Err(BadHandshake::Version);
        }
        let accept = match is_upgrade {
            true => {
                let key = only(&header::SEC_WEBSOCKET_KEY).ok().flatten();
                Some(accept(key.filter(|key| is_key(key)).ok_or(BadHandshake::Key)?))
            }
            false => None,
        };
        only(&header::ORIGIN).map_err(|()| BadHandshake::Origin)?;
        for list in request.lines(&header::SEC_WEBSOCKET_PROTOCOL) {
            if extension::tokens(list).any(|token| token.is_err()) {
                return Err(BadHandshake::Protocols);
            }
        }
        for list in request.lines(&header::SEC_WEBSOCKET_EXTENSIONS) {
            extension::read(list, |_| {}).map_err(|Malformed| BadHandshake::Extensions)?;
        }
        Ok(Handshake { request, accept })
    }

    /// The origin of the page that opens the websocket, as the browser states it (RFC 6454 7). Any page
    /// can open a websocket to any server, and the browser sends the user's cookies along: see
    /// [`same_origin`](Self::same_origin) and [`allow_origins`](Self::allow_origins).
    pub fn origin(&self) -> Option<&'r [u8]> {
        self.request.lines(&header::ORIGIN).next()
    }

    /// Checks that the page came from this server: `Origin` has to name the host and the port that
    /// `Host` names. A request without `Origin` passes: it comes from no browser, so it carries no
    /// user's cookies.
    ///
    /// Names are compared without regard to case. A missing port is the scheme's default. The scheme
    /// itself is not compared, because a server behind a proxy that terminates TLS does not know it. The
    /// proxy has to pass on `Host`. The origin `null`, of sandboxed pages and local files, fails.
    ///
    /// # Errors
    /// [`BadHandshake::ForeignOrigin`], whose status is 403.
    pub fn same_origin(&self) -> Result<(), BadHandshake> {
        let Some(origin) = self.origin() else { return Ok(()) };
        let host = self.request.lines(&header::HOST).next().unwrap_or_default();
        let same = origin::is_same(origin, host);
        same.then_some(()).ok_or(BadHandshake::ForeignOrigin)
    }

    /// Checks that the page came from one of the `allowed` origins, such as `https://example.org` or
    /// `http://localhost:3000`. Scheme, host and port are compared; a missing port is the scheme's
    /// default. List the server's own origin too. A request without `Origin` passes: it comes from no
    /// browser. The origin `null` passes only if it is listed.
    ///
    /// # Errors
    /// [`BadHandshake::ForeignOrigin`], whose status is 403.
    pub fn allow_origins<A: AsRef<str>>(
        &self,
        allowed: impl IntoIterator<Item = A>,
    ) -> Result<(), BadHandshake> {
        let Some(origin) = self.origin() else { return Ok(()) };
        let mut allowed = allowed.into_iter();
        let found = allowed.any(|allowed| origin::is_allowed(origin, allowed.as_ref()));
        found.then_some(()).ok_or(BadHandshake::ForeignOrigin)
    }

    /// The subprotocols that the client offers, in order of its preference.
    pub fn protocols(&self) -> impl Iterator<Item = &'r str> {
        let lists = self.request.lines(&header::SEC_WEBSOCKET_PROTOCOL);
        lists.flat_map(extension::tokens).filter_map(Result::ok)
    }

    /// Accepts the websocket, with `protocol` as its subprotocol if one is given. It is compressed if
    /// `deflate` has settings and the client offers compression.
    pub fn accept(
        &self,
        protocol: Option<&str>,
        deflate: Option<&DeflateSettings>,
    ) -> Result<Accepted, NotOffered> {
        let protocol = match protocol {
            None => None,
            Some(chosen) if self.protocols().any(|offered| offered == chosen) => {
                Some(HeaderValue::from_str(chosen).map_err(|_| NotOffered)?)
            }
            Some(_) => return Err(NotOffered),
        };
        let deflate = deflate.and_then(|settings| {
            let mut negotiation = Negotiation::new(settings);
            for list in self.request.lines(&header::SEC_WEBSOCKET_EXTENSIONS) {
                extension::read(list, |part| negotiation.look(part)).ok()?;
            }
            negotiation.finish()
        });
        Ok(Accepted { accept: self.accept, protocol, deflate })
    }
}

/// An accepted handshake.
#[derive(Clone, Debug)]
pub struct Accepted {
    accept: Option<[u8; ACCEPT_LENGTH]>,
    protocol: Option<HeaderValue>,
    deflate: Option<Agreed>,
}

impl Accepted {
    /// The compression that was negotiated, if any.
    pub(crate) fn deflate(&self) -> Option<Agreed> {
        self.deflate
    }

    /// Declines compression, whatever was negotiated.
    pub fn without_deflate(self) -> Self {
        Accepted { deflate: None, ..self }
    }

    /// The fields of the 101 (RFC 6455 4.2.2), or of the 200 over HTTP/2 (RFC 8441 5).
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let accept = self.accept.and_then(|accept| HeaderValue::from_bytes(&accept).ok());
        let fields = [
            (header::UPGRADE, accept.is_some().then_some(WEBSOCKET)),
            (header::CONNECTION, accept.is_some().then_some(UPGRADE)),
            (header::SEC_WEBSOCKET_ACCEPT, accept),
            (header::SEC_WEBSOCKET_PROTOCOL, self.protocol.clone()),
            (header::SEC_WEBSOCKET_EXTENSIONS, self.deflate.map(|agreed| agreed.answer())),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// Adds the fields of the 101 to a [`HeaderMap`].
    pub fn write_to(&self, fields: &mut HeaderMap) {
        fields.extend(self.fields());
    }
}

/// Whether a field of this name lists `token`, in any case.
fn has_token(request: &impl UpgradeRequest, name: &HeaderName, token: &str) -> bool {
    let mut tokens = request.lines(name).flat_map(options);
    tokens.any(|other| other.eq_ignore_ascii_case(token.as_bytes()))
}

/// The elements of a list. [`extension::tokens`] is too strict for `Upgrade`, whose elements may
/// contain a slash.
fn options(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn is_key(key: &[u8]) -> bool {
    // The decoder needs room for the padding too.
    let mut bytes = [0; 18];
    key.len() == KEY_LENGTH && BASE64.decode_slice(key, &mut bytes) == Ok(16)
}

/// The value of `Sec-WebSocket-Accept` for `key` (RFC 6455 4.2.2).
fn accept(key: &[u8]) -> [u8; ACCEPT_LENGTH] {
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; ACCEPT_LENGTH];
    let written = BASE64.encode_slice(hash, &mut accept);
    debug_assert_eq!(written, Ok(ACCEPT_LENGTH));
    accept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Connection, Event, Tick};
    use std::sync::Arc;

    const LINES: [(&str, &str); 4] = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    /// [`LINES`] with changes. A value in `other` replaces the line's, an empty value removes the line,
    /// and a new name adds one.
    fn lines<'l>(other: &[(&'l str, &'l str)]) -> Vec<(&'l str, &'l str)> {
        let usual = LINES.into_iter().filter(|(name, _)| other.iter().all(|it| it.0 != *name));
        let mut lines: Vec<_> = usual.collect();
        lines.extend(other.iter().filter(|(_, value)| !value.is_empty()));
        lines
    }

    /// Reads a request as a `RequestHead` and as an `http::Request`; the results have to agree.
    fn read<T: PartialEq + fmt::Debug>(
        start: &str,
        lines: &[(&str, &str)],
        seen: impl Fn(Result<&dyn Read, BadHandshake>) -> T,
    ) -> T {
        let mut wire = format!("{start}\r\nHost: example.org\r\n");
        for (name, value) in lines {
            wire += &format!("{name}: {value}\r\n");
        }
        wire += "\r\n";
        let mut wire = wire.into_bytes();
        let mut connection = Connection::new(Arc::new(Config::default()), Tick::ZERO);
        let mut events = connection.receive(Tick::ZERO, &mut wire).expect("it reads");
        let Some((_, Event::Request { head, .. })) = events.next() else { panic!("{start}") };
        let request = head.to_http().expect("a valid target");
        let one = Handshake::read(&head);
        let other = Handshake::read(&request);
        assert_eq!(is_asked(&head), is_asked(&request));
        assert_eq!(one.as_ref().err(), other.as_ref().err());
        let one = seen(one.as_ref().map(|it| it as &dyn Read).map_err(|it| *it));
        assert_eq!(one, seen(other.as_ref().map(|it| it as &dyn Read).map_err(|it| *it)));
        one
    }

    /// The methods of [`Handshake`] under test, without the request's type.
    trait Read {
        fn origin(&self) -> Option<&[u8]>;
        fn same_origin(&self) -> bool;
        fn allow_origins(&self, allowed: &[&str]) -> bool;
        fn protocols(&self) -> Vec<&str>;
        fn accept(&self, protocol: Option<&str>, deflate: bool) -> Result<String, NotOffered>;
    }

    impl<R: UpgradeRequest> Read for Handshake<'_, R> {
        fn origin(&self) -> Option<&[u8]> {
            self.origin()
        }

        fn same_origin(&self) -> bool {
            self.same_origin().is_ok()
        }

        fn allow_origins(&self, allowed: &[&str]) -> bool {
            self.allow_origins(allowed).is_ok()
        }

        fn protocols(&self) -> Vec<&str> {
            self.protocols().collect()
        }

        fn accept(&self, protocol: Option<&str>, deflate: bool) -> Result<String, NotOffered> {
            let settings = deflate.then(DeflateSettings::default);
            let accepted = self.accept(protocol, settings.as_ref())?;
            let mut map = HeaderMap::new();
            accepted.write_to(&mut map);
            assert_eq!(map.contains_key("sec-websocket-extensions"), accepted.deflate().is_some());
            let line = |(name, value): (HeaderName, HeaderValue)| {
                format!("{name}: {}\n", value.to_str().expect("ASCII"))
            };
            Ok(accepted.fields().map(line).collect())
        }
    }

    fn refused(start: &str, other: &[(&str, &str)]) -> Option<BadHandshake> {
        read(start, &lines(other), |it| it.err())
    }

    const GET: &str = "GET /chat HTTP/1.1";

    #[test]
    fn the_example_of_the_rfc() {
        let other = [
            ("Origin", "http://example.com"),
            ("Sec-WebSocket-Protocol", "chat, superchat"),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ];
        let expected = "upgrade: websocket\n\
            connection: upgrade\n\
            sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n";
        read(GET, &lines(&other), |it| {
            let handshake = it.expect("a good handshake");
            assert_eq!(handshake.origin(), Some(&b"http://example.com"[..]));
            assert_eq!(handshake.protocols(), ["chat", "superchat"]);
            assert_eq!(handshake.accept(None, false).as_deref(), Ok(expected));
            let all = format!(
                "{expected}sec-websocket-protocol: superchat\n\
                sec-websocket-extensions: permessage-deflate; server_no_context_takeover; \
                client_no_context_takeover\n"
            );
            assert_eq!(handshake.accept(Some("superchat"), true), Ok(all));
            assert_eq!(handshake.accept(Some("Chat"), true), Err(NotOffered));
        });
        read(GET, &lines(&[]), |it| {
            let handshake = it.expect("a good handshake");
            assert_eq!((handshake.origin(), handshake.protocols()), (None, vec![]));
            assert_eq!(handshake.accept(None, true).as_deref(), Ok(expected), "not offered");
            assert_eq!(handshake.accept(Some("chat"), false), Err(NotOffered));
        });
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let list = ["https://one.example", "http://localhost:3000"];
        for (origin, same, allowed) in [
            ("", true, true),
            ("https://example.org", true, false),
            ("http://EXAMPLE.org:80", true, false),
            ("http://example.org:8080", false, false),
            ("https://one.example", false, true),
            ("http://one.example", false, false),
            ("http://localhost:3000", false, true),
            ("null", false, false),
        ] {
            let seen = read(GET, &lines(&[("Origin", origin)]), |it| {
                let handshake = it.expect("a good handshake");
                (handshake.same_origin(), handshake.allow_origins(&list))
            });
            assert_eq!(seen, (same, allowed), "{origin}");
        }
    }

    #[test]
    fn valid_spellings() {
        for other in [
            [("Upgrade", "WebSocket"), ("Connection", "keep-alive, Upgrade")],
            [("Upgrade", "h2c, websocket"), ("Connection", "UPGRADE")],
            [("Upgrade", "TLS/1.0 ,, websocket"), ("Connection", "close,upgrade")],
            [("Content-Length", "0"), ("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEC==")],
            [("Upgrade", "websocket"), ("Upgrade", "h2c")],
            [("Connection", "keep-alive"), ("Connection", "upgrade")],
            [("Sec-WebSocket-Protocol", "a,b"), ("Sec-WebSocket-Protocol", "c")],
        ] {
            assert_eq!(refused(GET, &other), None, "{other:?}");
        }
    }

    #[test]
    fn requests_that_do_not_ask() {
        use BadHandshake::NotAsked;
        assert_eq!(refused("GET /chat HTTP/1.0", &[]), Some(NotAsked));
        for upgrade in ["", "h2c", "websockets", "web socket", "websocket/13", "\"websocket\""] {
            assert_eq!(refused(GET, &[("Upgrade", upgrade)]), Some(NotAsked), "{upgrade}");
        }
    }

    #[test]
    fn invalid_handshakes() {
        use BadHandshake::*;
        assert_eq!(refused("POST /chat HTTP/1.1", &[]), Some(Method));
        assert_eq!(refused("HEAD /chat HTTP/1.1", &[]), Some(Method));
        for (name, value, expected) in [
            ("Content-Length", "5", Content),
            ("Transfer-Encoding", "chunked", Content),
            ("Connection", "", Connection),
            ("Connection", "keep-alive", Connection),
            ("Connection", "not-upgrade", Connection),
            ("Sec-WebSocket-Version", "", Version),
            ("Sec-WebSocket-Version", "8", Version),
            ("Sec-WebSocket-Version", "14", Version),
            ("Sec-WebSocket-Version", "013", Version),
            ("Sec-WebSocket-Version", "13, 8", Version),
            ("Sec-WebSocket-Key", "", Key),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ", Key),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=", Key),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZSE=", Key),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j", Key),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j ZQ=", Key),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=*", Key),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZ===", Key),
            ("Sec-WebSocket-Key", "dGhl_HNhbXBsZSBub25jZQ==", Key),
            ("Sec-WebSocket-Protocol", "a b", Protocols),
            ("Sec-WebSocket-Protocol", "chat/1", Protocols),
            ("Sec-WebSocket-Extensions", "permessage-deflate;", Extensions),
            ("Sec-WebSocket-Extensions", "a=b", Extensions),
        ] {
            assert_eq!(refused(GET, &[(name, value)]), Some(expected), "{name}: {value}");
        }
        for (name, value, expected) in [
            ("Sec-WebSocket-Version", "13", Version),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", Key),
            ("Origin", "https://example.org", Origin),
        ] {
            let twice = [(name, value), (name, value)];
            assert_eq!(refused(GET, &twice), Some(expected), "{name} twice");
        }
    }

    #[test]
    fn refusals_name_what_would_be_accepted() {
        for (place, bad) in BadHandshake::ALL.into_iter().enumerate() {
            assert_eq!(bad as usize, place, "{bad}");
            let fields: HeaderMap = bad.fields().collect();
            let names = match bad.status().as_u16() {
                426 => vec!["upgrade", "connection", "sec-websocket-version"],
                405 => vec!["allow"],
                400 | 403 => vec![],
                other => panic!("{bad}: {other}"),
            };
            assert_eq!(fields.keys().map(HeaderName::as_str).collect::<Vec<_>>(), names, "{bad}");
        }
        assert_eq!(
            BadHandshake::ForeignOrigin as usize + 1,
            BadHandshake::ALL.len(),
            "`ALL` has every reason"
        );
        let version: HeaderMap = BadHandshake::Version.fields().collect();
        assert_eq!(version["sec-websocket-version"], "13");
    }
}
