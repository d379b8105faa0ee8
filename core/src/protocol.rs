//! The protocol that a connection speaks. The client chooses it, by ALPN (RFC 7301) or by its first bytes.
//! Without a choice it is HTTP/1.1, until a request turns it into a websocket.
//!
//! In: the connection's questions to any protocol, and the application's actions on a stream. Out: the answer
//! of the protocol in use. No other room knows which protocols there are. To add one, add it to the
//! enumeration, to the table of choices, and to the macros below.

use crate::close::{CloseReason, Expiry, Misuse, ResetReason, Violation};
use crate::config::Config;
use crate::event::{Begun, BodyLength, Sent};
use crate::h1::Http1;
use crate::h1::tunnel::Tunnel;
use crate::h2::{self, Http2};
use crate::input::Input;
use crate::socket::Socket;
use crate::step::{Desk, Step};
use crate::stream::StreamId;
use crate::transport::Transport;
use crate::websocket::session::{Session, Terms};
use crate::websocket::{Accepted, Options};
use bytes::Bytes;
use core::time::Duration;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

// With a tag of its own, since every call asks which one it is: a tag in the padding of `Http1` has to be computed.
#[repr(u8)]
#[derive(Debug)]
pub(crate) enum Protocol {
    /// Each connection begins with this. The client may choose another protocol by its first bytes. Until
    /// it has chosen, the connection waits as for an HTTP/1.1 request: one deadline runs while nothing has
    /// come, and another one from the first byte on.
    Http1(Http1),
    /// Boxed, so that other connections don't pay for its size.
    WebSocket(Box<Session>),
    /// Boxed as well.
    Http2(Box<Http2>),
    /// A connection of HTTP/1.1 that has left HTTP. Boxed as well.
    Tunnel(Box<Tunnel>),
}

/// A protocol that a client can choose instead of HTTP/1.1.
struct Choice {
    /// Its name in ALPN.
    alpn: &'static [u8],
    /// The first bytes of each of its clients.
    preface: &'static [u8],
    /// Whether the configuration allows it.
    is_offered: fn(&Config) -> bool,
    begin: fn() -> Protocol,
}

/// The protocols beside HTTP/1.1.
const CHOICES: &[Choice] = &[Choice {
    alpn: h2::ALPN,
    preface: h2::PREFACE,
    is_offered: Config::http2,
    begin: || Protocol::Http2(Box::new(Http2::new())),
}];

/// What the client has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    Http1,
    /// The protocol at this index of the table.
    Other(usize),
    /// More bytes have to arrive. The flag says whether some have arrived already.
    NotYet(bool),
}

impl Chosen {
    /// The choice of a client whose first bytes are `bytes`. Over TLS the client chooses by ALPN, and its
    /// bytes don't matter (RFC 9113 3.2). In plaintext the bytes decide (RFC 9113 3.3).
    fn of(bytes: &[u8], is_tls: bool, alpn: Option<&[u8]>, config: &Config) -> Chosen {
        let mut offered = CHOICES.iter().enumerate().filter(|(_, it)| (it.is_offered)(config));
        let http1 = match offered.clone().next() {
            // The peer that speaks nothing else is told so by the protocol that it should have spoken.
            Some((place, _)) if !config.http1() && (is_tls || !bytes.is_empty()) => {
                Chosen::Other(place)
            }
            _ => Chosen::Http1,
        };
        if is_tls {
            let chosen = offered.find(|(_, it)| alpn == Some(it.alpn));
            return chosen.map_or(http1, |(place, _)| Chosen::Other(place));
        }
        if let Some((place, _)) = offered.clone().find(|(_, it)| bytes.starts_with(it.preface)) {
            return Chosen::Other(place);
        }
        if offered.any(|(_, it)| it.preface.starts_with(bytes)) {
            return Chosen::NotYet(!bytes.is_empty());
        }
        http1
    }
}

/// For calls that every protocol answers.
macro_rules! each {
    ($protocol:ident, $it:ident => $answer:expr) => {
        match $protocol {
            Protocol::Http1($it) => $answer,
            Protocol::WebSocket($it) => $answer,
            Protocol::Http2($it) => $answer,
            Protocol::Tunnel($it) => $answer,
        }
    };
}

/// For calls on requests. A websocket can't answer them, and a tunnel is answered.
macro_rules! of_requests {
    ($protocol:ident, $it:ident => $answer:expr) => {
        match $protocol {
            Protocol::Http1($it) => $answer,
            Protocol::WebSocket(_) => Err(Misuse::IsWebSocket),
            Protocol::Http2($it) => $answer,
            Protocol::Tunnel(_) => Err(Misuse::AlreadyAnswered),
        }
    };
}

/// For calls on the bytes of either direction. A websocket can't answer them.
macro_rules! of_bytes {
    ($protocol:ident, $it:ident => $answer:expr) => {
        match $protocol {
            Protocol::Http1($it) => $answer,
            Protocol::WebSocket(_) => Err(Misuse::IsWebSocket),
            Protocol::Http2($it) => $answer,
            Protocol::Tunnel($it) => $answer,
        }
    };
}

/// For calls that change something for websockets only.
macro_rules! if_websocket {
    ($protocol:ident, $it:ident => $answer:expr) => {
        match $protocol {
            Protocol::WebSocket($it) => $answer,
            _ => Default::default(),
        }
    };
}

impl Protocol {
    /// Looks for the client's choice. Returns false if more bytes have to arrive.
    #[cold]
    fn choose(&mut self, transport: &mut Transport, input: &mut Input<'_>) -> bool {
        let Protocol::Http1(http) = self else { return true };
        if transport.is_handshaking() {
            // The client's offer is known before the handshake is complete. Until then nothing can be sent.
            transport.blocked = false;
            return false;
        }
        let longest = CHOICES.iter().map(|it| it.preface.len()).max().unwrap_or(0);
        input.join(longest);
        let (is_tls, alpn) = (transport.tls.is_some(), transport.alpn());
        let chosen = match Chosen::of(input.bytes(), is_tls, alpn, &transport.config) {
            // The input has ended, or it no longer matters.
            Chosen::NotYet(_) if transport.eof || !transport.is_open() => Chosen::Http1,
            chosen => chosen,
        };
        input.part();
        match chosen {
            Chosen::Http1 => {}
            Chosen::Other(place) => {
                if let Some(choice) = CHOICES.get(place) {
                    *self = (choice.begin)();
                }
            }
            Chosen::NotYet(has_begun) => {
                // Held bytes wait for the peer.
                transport.blocked = false;
                if has_begun {
                    http.begin_head();
                }
                return false;
            }
        }
        true
    }

    /// The stream of the newest step.
    #[inline]
    pub(crate) fn stream(&self) -> StreamId {
        each!(self, it => it.stream())
    }

    /// The number of requests that were delivered.
    #[inline]
    pub(crate) fn requests(&self) -> u64 {
        each!(self, it => it.requests())
    }

    /// The next step that `input` yields. The caller holds the bytes that are not taken.
    #[inline]
    pub(crate) fn step(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Option<Step> {
        if let Protocol::Http1(http) = self
            && http.is_untouched()
            && !self.choose(transport, input)
        {
            return None;
        }
        each!(self, it => it.step(transport, input, desk))
    }

    /// Whether [`Protocol::step`] has something to do without new bytes.
    #[inline(always)]
    pub(crate) fn has_events(&self, transport: &Transport) -> bool {
        each!(self, it => it.has_events(transport))
    }

    /// Whether work is left that waits for neither party.
    #[inline(always)]
    pub(crate) fn is_paused(&self) -> bool {
        match self {
            Protocol::Http1(_) | Protocol::Tunnel(_) => false,
            Protocol::WebSocket(it) => it.is_paused(),
            Protocol::Http2(it) => it.is_paused(),
        }
    }

    /// Whether assembled messages become the application's own.
    pub(crate) fn hands_over(&self) -> bool {
        match self {
            Protocol::Http1(_) | Protocol::Tunnel(_) => false,
            Protocol::WebSocket(it) => it.hands_over(),
            Protocol::Http2(it) => it.hands_over(),
        }
    }

    /// The driver has read on, although held bytes wait for the application.
    #[cold]
    pub(crate) fn look_ahead(&mut self, transport: &mut Transport) {
        if_websocket!(self, it => it.look_ahead(transport))
    }

    /// Whether the held bytes may yield another step.
    #[inline(always)]
    pub(crate) fn may_go_on(&self, transport: &Transport) -> bool {
        each!(self, it => it.may_go_on(transport))
    }

    /// The peer has taken some of the unsent bytes.
    #[inline]
    pub(crate) fn sent(&mut self, transport: &Transport) {
        match self {
            Protocol::Http1(_) | Protocol::Tunnel(_) => {}
            Protocol::WebSocket(it) => it.sent(transport),
            Protocol::Http2(it) => it.sent(),
        }
    }

    /// The driver turns to other connections: frees memory that is not needed until it comes back.
    #[inline]
    pub(crate) fn rest(&mut self) {
        if let Protocol::Http2(it) = self {
            it.rest();
        }
    }

    /// A deadline of a stream has passed.
    #[cold]
    pub(crate) fn expire_streams(&mut self, transport: &mut Transport) {
        if let Protocol::Http2(it) = self {
            it.expire_streams(transport);
        }
    }

    /// Frees memory that is not needed until more bytes arrive. Every public call ends with this.
    #[inline]
    pub(crate) fn release(&mut self, transport: &Transport) {
        if_websocket!(self, it => it.release(transport))
    }

    /// Brings the timers in line with the states.
    #[inline]
    pub(crate) fn settle(&mut self, transport: &mut Transport) {
        each!(self, it => it.settle(transport))
    }

    /// A deadline has passed that ends the connection, or a stream.
    #[cold]
    pub(crate) fn expire(&mut self, transport: &mut Transport, expiry: Expiry) {
        each!(self, it => it.expire(transport, expiry))
    }

    /// The peer of a websocket has been silent for the interval of pings.
    #[cold]
    pub(crate) fn ping_silent(&mut self, transport: &mut Transport) {
        if_websocket!(self, it => it.ping_silent(transport))
    }

    /// Finishes the exchanges in progress, and begins no other.
    #[cold]
    pub(crate) fn drain(&mut self, transport: &mut Transport) {
        each!(self, it => it.drain(transport))
    }

    /// Whether nothing of a request has arrived, and no request is being answered.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        each!(self, it => it.is_idle())
    }

    /// Ends the connection for `reason`, as the table of endings says.
    #[cold]
    pub(crate) fn end(&mut self, transport: &mut Transport, reason: CloseReason) {
        each!(self, it => it.end(transport, reason))
    }

    /// Bytes of an incomplete TLS record arrived. They may become content, so the peer is not silent.
    #[cold]
    pub(crate) fn trickle(&mut self, transport: &mut Transport) {
        each!(self, it => it.trickle(transport))
    }

    /// Bytes arrived, so the peer is alive.
    #[inline]
    pub(crate) fn heard(&mut self, transport: &Transport) {
        if_websocket!(self, it => it.heard(transport))
    }

    /// The peer has taken `taken` bytes of those that were sent before the frame that it has to answer.
    #[cold]
    pub(crate) fn taking(&mut self, transport: &mut Transport, taken: u64) {
        if_websocket!(self, it => it.taking(transport, taken))
    }

    /// Ends the connection at once, in any state.
    #[cold]
    pub(crate) fn cut(&mut self, transport: &mut Transport, reason: CloseReason) {
        each!(self, it => it.cut(transport, reason))
    }

    /// A message that was lent as text is not UTF-8.
    #[cold]
    pub(crate) fn violated(
        &mut self,
        transport: &mut Transport,
        violation: Violation,
    ) -> ResetReason {
        match self {
            Protocol::Http1(_) | Protocol::Tunnel(_) => {}
            Protocol::WebSocket(it) => it.violated(transport, violation),
            Protocol::Http2(it) => it.violated(transport, violation),
        }
        ResetReason::Violation(violation)
    }

    // ---- actions on a stream --------------------------------------------------------------------

    #[inline]
    pub(crate) fn inform<'f>(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), Misuse> {
        of_requests!(self, it => it.inform(transport, id, status, fields))
    }

    #[inline]
    pub(crate) fn respond<'f>(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        length: BodyLength,
    ) -> Result<Begun, Misuse> {
        of_requests!(self, it => it.respond(transport, id, status, fields, length))
    }

    #[inline]
    pub(crate) fn answer<'f>(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        content: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        of_requests!(self, it => it.answer(transport, id, status, fields, content))
    }

    #[inline]
    pub(crate) fn send(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        data: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        of_bytes!(self, it => it.send(transport, id, data))
    }

    /// The application is to be told of room.
    pub(crate) fn await_room(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
    ) -> Result<(), Misuse> {
        each!(self, it => it.await_room(transport, id))
    }

    #[inline]
    pub(crate) fn finish(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        trailers: Option<&HeaderMap>,
    ) -> Result<(), Misuse> {
        match self {
            Protocol::Http1(it) => it.finish(transport, id, trailers),
            Protocol::WebSocket(_) => Err(Misuse::IsWebSocket),
            Protocol::Http2(it) => it.finish(transport, id, trailers),
            Protocol::Tunnel(it) => it.finish(transport, id),
        }
    }

    #[inline]
    pub(crate) fn read_to(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        end: u64,
    ) -> Result<(), Misuse> {
        each!(self, it => it.read_to(transport, id, end))
    }

    /// How much of a request's content, or how many messages, were delivered.
    pub(crate) fn received(&self, id: StreamId) -> u64 {
        each!(self, it => it.received(id))
    }

    pub(crate) fn cancel_read(
        &mut self,
        transport: &Transport,
        id: StreamId,
    ) -> Result<(), Misuse> {
        each!(self, it => it.cancel_read(transport, id))
    }

    pub(crate) fn limit_body(
        &mut self,
        transport: &Transport,
        id: StreamId,
        limit: Option<u64>,
    ) -> Result<(), Misuse> {
        of_requests!(self, it => it.limit_body(transport, id, limit))
    }

    pub(crate) fn limit_body_time(
        &mut self,
        transport: &Transport,
        id: StreamId,
        time: Option<Duration>,
    ) -> Result<(), Misuse> {
        of_requests!(self, it => it.limit_body_time(transport, id, time))
    }

    pub(crate) fn limit_response_time(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        time: Option<Duration>,
    ) -> Result<(), Misuse> {
        of_requests!(self, it => it.limit_response_time(transport, id, time))
    }

    /// Gives up on a stream for `reason`.
    #[cold]
    pub(crate) fn give_up(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        reason: CloseReason,
    ) -> Result<(), Misuse> {
        of_bytes!(self, it => it.give_up(transport, id, reason))
    }

    /// Makes the request a websocket, which takes over the connection; over HTTP/2 only the stream.
    #[cold]
    pub(crate) fn accept_websocket<'f>(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        accepted: &Accepted,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        options: Options,
    ) -> Result<(), Misuse> {
        of_requests!(self, it => it.upgrade(transport, stream, accepted.fields(), fields))?;
        let limits = options.limits(&transport.config);
        let deflate = accepted.deflate();
        let (owned, controls) = (options.owned, options.controls);
        let terms = Terms { stream, limits, deflate, owned, controls };
        if let Protocol::Http2(http) = self {
            let socket = Socket::new(terms, transport);
            http.begin_tunnel(transport, stream, Box::new(socket));
            return Ok(());
        }
        *self = Protocol::WebSocket(Box::new(Session::new(terms, transport)));
        transport.begin_endless_answer();
        if transport.draining {
            self.drain(transport);
        }
        Ok(())
    }

    /// Makes the request a tunnel, which takes over the connection; over HTTP/2 only the stream.
    #[cold]
    pub(crate) fn accept_tunnel<'f>(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), Misuse> {
        let tunnel = match self {
            Protocol::Http1(it) => it.accept_tunnel(transport, stream, status, fields)?,
            Protocol::Http2(it) => return it.accept_tunnel(transport, stream, status, fields),
            Protocol::WebSocket(_) => return Err(Misuse::IsWebSocket),
            Protocol::Tunnel(_) => return Err(Misuse::AlreadyAnswered),
        };
        *self = Protocol::Tunnel(Box::new(tunnel));
        transport.begin_endless_answer();
        Ok(())
    }

    /// Ends both directions of a tunnel.
    pub(crate) fn close_tunnel(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
    ) -> Result<(), Misuse> {
        match self {
            Protocol::Tunnel(it) => it.close_tunnel(transport, stream),
            Protocol::Http2(it) => it.close_tunnel(transport, stream),
            Protocol::Http1(_) | Protocol::WebSocket(_) => Err(Misuse::NotTunnel),
        }
    }

    #[inline]
    pub(crate) fn send_message(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        text: bool,
        data: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        match self {
            Protocol::Http1(_) | Protocol::Tunnel(_) => Err(Misuse::NotWebSocket),
            Protocol::WebSocket(it) => it.send_message(transport, id, text, data),
            Protocol::Http2(it) => {
                it.on_tunnel(transport, id, |tunnel, now| tunnel.send_message(now, text, data))
            }
        }
    }

    /// Sends a ping, or a pong.
    pub(crate) fn send_control(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        ping: bool,
        payload: &[u8],
    ) -> Result<(), Misuse> {
        match self {
            Protocol::Http1(_) | Protocol::Tunnel(_) => Err(Misuse::NotWebSocket),
            Protocol::WebSocket(it) => it.send_control(transport, id, ping, payload),
            Protocol::Http2(it) => {
                it.on_tunnel(transport, id, |tunnel, now| tunnel.send_control(now, ping, payload))
            }
        }
    }

    /// Closes a websocket.
    pub(crate) fn close(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        code: Option<u16>,
        reason: &str,
    ) -> Result<(), Misuse> {
        match self {
            Protocol::Http1(_) | Protocol::Tunnel(_) => Err(Misuse::NotWebSocket),
            Protocol::WebSocket(it) => it.close(transport, id, code, reason),
            Protocol::Http2(it) => {
                it.on_tunnel(transport, id, |tunnel, now| tunnel.close(now, code, reason))
            }
        }
    }

    /// How much content, or how much of a message, would be taken now.
    #[inline]
    pub(crate) fn room(&self, transport: &Transport, stream: StreamId) -> usize {
        each!(self, it => it.room(transport, stream))
    }

    /// The number of next bytes that are content for which there is credit.
    #[inline]
    pub(crate) fn passed_on(&self) -> u64 {
        match self {
            Protocol::Http1(http) => http.passed_on(),
            Protocol::Tunnel(it) => it.passed_on(),
            _ => 0,
        }
    }

    /// The most that [`Protocol::memory`] becomes, together with the bytes that are lent.
    pub(crate) fn memory_bound(&self, config: &Config) -> usize {
        match self {
            Protocol::Http1(_) | Protocol::Tunnel(_) => 0,
            Protocol::WebSocket(it) => it.memory_bound(config),
            Protocol::Http2(it) => it.memory_bound(config),
        }
    }

    /// Bytes of heap.
    #[inline]
    pub(crate) fn memory(&self) -> usize {
        each!(self, it => it.memory())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_http1_every_client_has_to_speak_http2() {
        let config = Config::builder().http1(false).build().expect("valid");
        for (bytes, alpn, chosen) in [
            ("", None, Chosen::NotYet(false)),
            ("PRI * HT", None, Chosen::NotYet(true)),
            ("GET / HTTP/1.1", None, Chosen::Other(0)),
            ("\r", None, Chosen::Other(0)),
            ("", Some("h2"), Chosen::Other(0)),
            ("", Some(""), Chosen::Other(0)),
        ] {
            let is_tls = alpn.is_some();
            let alpn = alpn.filter(|it| !it.is_empty()).map(str::as_bytes);
            assert_eq!(Chosen::of(bytes.as_bytes(), is_tls, alpn, &config), chosen, "{bytes:?}");
        }
    }

    #[test]
    fn a_client_chooses_by_alpn_over_tls_and_by_its_first_bytes_in_plaintext() {
        let config = Config::default();
        let of = |bytes: &str, alpn: Option<&str>| {
            let is_tls = alpn.is_some();
            let alpn = alpn.filter(|it| !it.is_empty()).map(str::as_bytes);
            Chosen::of(bytes.as_bytes(), is_tls, alpn, &config)
        };
        for (bytes, chosen) in [
            ("", Chosen::NotYet(false)),
            ("P", Chosen::NotYet(true)),
            ("PO", Chosen::Http1),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r", Chosen::NotYet(true)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Chosen::Other(0)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Chosen::Other(0)),
            ("PRI * HTTP/2.0\r\n\r\nXX", Chosen::Http1),
            ("GET / HTTP/1.1", Chosen::Http1),
            ("\r", Chosen::Http1),
        ] {
            assert_eq!(of(bytes, None), chosen, "{bytes:?}");
        }
        for (alpn, chosen) in
            [("", Chosen::Http1), ("http/1.1", Chosen::Http1), ("h2", Chosen::Other(0))]
        {
            for bytes in ["", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET"] {
                assert_eq!(of(bytes, Some(alpn)), chosen, "{alpn:?}, {bytes:?}");
            }
        }
    }
}
