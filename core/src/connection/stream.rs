//! One stream of a connection, as the application acts on it.
//!
//! In: the application's actions. Each goes to the protocol in use, which checks it; a call that makes no
//! sense is a [`Misuse`] and changes nothing.

use super::Connection;
use crate::close::{CloseReason, Misuse, Refusal};
use crate::config::Config;
use crate::event::{Begun, BodyLength, Sent};
use crate::protocol::Protocol;
use crate::stream::StreamId;
use crate::time::Tick;
use crate::transport::Transport;
use crate::websocket::{Accepted, Options};
use bytes::Bytes;
use core::fmt;
use core::time::Duration;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

/// One exchange of a request and its answer, or the websocket or the tunnel that it became: what the application
/// does on it, at one moment. [`Connection::stream`] makes one for as long as it is needed.
///
/// A stream that does not exist, or has ended, answers each call with [`Misuse::UnknownStream`].
pub struct Stream<'c> {
    connection: &'c mut Connection,
    now: Tick,
    id: StreamId,
}

impl<'c> Stream<'c> {
    pub(super) fn new(connection: &'c mut Connection, now: Tick, id: StreamId) -> Self {
        Stream { connection, now, id }
    }

    /// The stream's number.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The moment at which its actions happen.
    pub fn now(&self) -> Tick {
        self.now
    }

    /// The configuration of the connection.
    pub fn config(&self) -> &Config {
        self.connection.config()
    }

    #[inline]
    fn act<T>(
        &mut self,
        action: impl FnOnce(StreamId, &mut Protocol, &mut Transport) -> Result<T, Misuse>,
    ) -> Result<T, Misuse> {
        let id = self.id;
        self.connection.act(self.now, |protocol, transport| action(id, protocol, transport))
    }

    // ---- the answer -----------------------------------------------------------------------------

    /// Sends an interim answer (1xx, but not 101) before the final one. An HTTP/1.0 client is sent
    /// nothing, since it does not know interim answers.
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`], [`Misuse::AlreadyAnswered`], [`Misuse::Status`],
    /// [`Misuse::Framing`], [`Misuse::HeadTooLarge`], and [`Misuse::Full`] if other bytes are unsent
    /// and the answer does not fit under `send_buffer_limit`.
    pub fn inform<'f>(
        &mut self,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), Misuse> {
        self.act(|id, protocol, transport| protocol.inform(transport, id, status, fields))
    }

    /// Begins the answer.
    ///
    /// The connection adds the fields that frame the message or manage the connection
    /// (`Content-Length`, `Transfer-Encoding`, `Connection`). `Connection: close` among `fields`
    /// closes the connection after the answer. `Transfer-Encoding: chunked` among them is left out, so that
    /// an answer of another server can be passed on: its content is framed anew. A `Date` is the caller's to
    /// add, since there is no clock here.
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`], [`Misuse::AlreadyAnswered`], [`Misuse::Status`] for 1xx and for
    /// 2xx to CONNECT, [`Misuse::Framing`] if the fields contradict `length`,
    /// [`Misuse::HeadTooLarge`]. Over HTTP/2 [`Misuse::Full`] if the answers of other streams have filled the
    /// output: [`Event::Writable`](crate::Event::Writable) follows when there is room again.
    #[inline]
    pub fn respond<'f>(
        &mut self,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        length: BodyLength,
    ) -> Result<Begun, Misuse> {
        self.act(|id, protocol, transport| protocol.respond(transport, id, status, fields, length))
    }

    /// Sends the whole answer: does what [`respond`](Self::respond), [`send`](Self::send) and
    /// [`finish`](Self::finish) do. [`Sent::Part`] means that there is no room for all of `content`:
    /// the answer has begun, and what is left in `content` is to be sent and finished after the
    /// [`Event::Writable`](crate::Event::Writable) that follows.
    ///
    /// # Errors
    /// As for [`respond`](Self::respond).
    #[inline]
    pub fn answer<'f>(
        &mut self,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        content: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        self.act(|id, protocol, transport| protocol.answer(transport, id, status, fields, content))
    }

    /// Sends content of the answer: takes from the front of `data` what fits under
    /// `send_buffer_limit`. After [`Sent::Part`] one [`Event::Writable`](crate::Event::Writable)
    /// follows when half of the limit is free.
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`], [`Misuse::NotAnswered`], [`Misuse::TooLong`].
    pub fn send(&mut self, data: &mut Bytes) -> Result<Sent, Misuse> {
        self.act(|id, protocol, transport| protocol.send(transport, id, data))
    }

    /// How many bytes [`send`](Self::send) would take now. The room is 0 where `send` would be a
    /// misuse.
    pub fn room(&self) -> usize {
        self.connection.protocol.room(&self.connection.transport, self.id)
    }

    /// Asks to be told when there is room: [`Event::Writable`](crate::Event::Writable) follows once, as after a
    /// [`send`](Self::send) that took only a part. For an application that looks at [`room`](Self::room) before
    /// it makes content.
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`]; [`Misuse::NotAnswered`] before the head of the answer.
    pub fn await_room(&mut self) -> Result<(), Misuse> {
        self.act(|id, protocol, transport| protocol.await_room(transport, id))
    }

    /// Ends the answer. Trailers are sent if the content is chunked, and dropped otherwise. On a tunnel it ends the
    /// application's direction, and the peer's goes on.
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`], [`Misuse::NotAnswered`], [`Misuse::TooShort`],
    /// [`Misuse::HeadTooLarge`], [`Misuse::Framing`] for a field that trailers may not carry.
    pub fn finish(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Misuse> {
        self.act(|id, protocol, transport| protocol.finish(transport, id, trailers))
    }

    // ---- the content of the request -------------------------------------------------------------

    /// Gives credit: the application takes the request's content up to byte `end`, counted from the
    /// beginning of the content. Credit is never taken back, so a smaller `end` changes nothing.
    ///
    /// Without credit no content is delivered. While there is credit left, the application waits for
    /// the peer, and `request_body` runs; [`cancel_read`](Self::cancel_read) ends that wait. To take
    /// a piece at a time, ask for [`received`](Self::received) bytes and some more. The first call
    /// also sends the 100 (Continue) that a client may wait for.
    ///
    /// On a websocket the credit is a number of messages, or of bytes if messages come in pieces.
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`].
    pub fn read_to(&mut self, end: u64) -> Result<(), Misuse> {
        self.act(|id, protocol, transport| protocol.read_to(transport, id, end))
    }

    /// How many bytes of content were delivered; on a websocket how many messages, or bytes if
    /// messages come in pieces. 0 for a stream that does not exist, or has ended.
    pub fn received(&self) -> u64 {
        self.connection.protocol.received(self.id)
    }

    /// The application no longer waits for content: no deadline of the peer's runs until the next
    /// [`read_to`](Self::read_to), which begins a wait of its own. The credit stays, so content that
    /// the peer sends meanwhile is delivered. On a websocket the call does nothing.
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`].
    pub fn cancel_read(&mut self) -> Result<(), Misuse> {
        self.act(|id, protocol, transport| protocol.cancel_read(transport, id))
    }

    /// Sets the limit of this request's content in bytes, or no limit, instead of
    /// `request_body_limit`. The next call on the connection holds a declared length against it, so
    /// set the limit while handling [`Event::Request`](crate::Event::Request).
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`], [`Misuse::ContentBegun`].
    pub fn limit_body(&mut self, limit: Option<u64>) -> Result<(), Misuse> {
        self.act(|id, protocol, transport| protocol.limit_body(transport, id, limit))
    }

    /// Sets the time within which the whole content of this request has to come, or none, instead of
    /// `request_body_deadline`. It counts from this call on, and only while the application waits for
    /// content. The minimum rate and the silence count beside it.
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`].
    pub fn limit_body_time(&mut self, time: Option<Duration>) -> Result<(), Misuse> {
        self.act(|id, protocol, transport| protocol.limit_body_time(transport, id, time))
    }

    /// Sets the time within which the peer has to take the whole answer to this request, or none,
    /// instead of `response_deadline`. It counts from this call on, and only while bytes of the answer
    /// wait for the peer. The minimum rate and the silence count beside it.
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`].
    pub fn limit_response_time(&mut self, time: Option<Duration>) -> Result<(), Misuse> {
        self.act(|id, protocol, transport| protocol.limit_response_time(transport, id, time))
    }

    // ---- the websocket --------------------------------------------------------------------------

    /// Makes the request a websocket, as its handshake agreed: answers with 101, and with `fields`
    /// beside those of the handshake. From then on the stream carries messages.
    ///
    /// Bytes that the client sent after its request are the beginning of its first frame.
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`], [`Misuse::AlreadyAnswered`], [`Misuse::NotUpgradable`],
    /// [`Misuse::Framing`] for fields that are not the caller's to set, [`Misuse::HeadTooLarge`],
    /// [`Misuse::IsWebSocket`].
    pub fn accept_websocket<'f>(
        &mut self,
        accepted: &Accepted,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        options: Options,
    ) -> Result<(), Misuse> {
        let result = self.act(|id, protocol, transport| {
            protocol.accept_websocket(transport, id, accepted, fields, options)
        });
        // Held bytes, and the end of input, are now a websocket's.
        self.connection.unfinished |= result.is_ok();
        result
    }

    /// Sends a message on a websocket, or as much of it as there is room for. After
    /// [`Sent::Part`] one [`Event::Writable`](crate::Event::Writable) follows when half of
    /// `send_buffer_limit` is free: repeat the call with what is left in `data`.
    ///
    /// The rest of a message that is to be compressed lies in `data` compressed. The caller
    /// guarantees that text is UTF-8.
    ///
    /// # Errors
    /// [`Misuse::NotWebSocket`]; [`Misuse::UnknownStream`] also once either side has closed.
    pub fn send_message(&mut self, text: bool, data: &mut Bytes) -> Result<Sent, Misuse> {
        self.act(|id, protocol, transport| protocol.send_message(transport, id, text, data))
    }

    /// Sends a ping with up to 125 bytes (RFC 6455 5.5.2). Keeping a connection needs no ping of the
    /// application's: `websocket_ping_interval` does that.
    ///
    /// # Errors
    /// [`Misuse::NotWebSocket`], [`Misuse::UnknownStream`], [`Misuse::TooLong`], and
    /// [`Misuse::Full`] if `send_buffer_limit` bytes are unsent.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Misuse> {
        self.act(|id, protocol, transport| protocol.send_control(transport, id, true, payload))
    }

    /// Sends a pong that answers no ping, with up to 125 bytes (RFC 6455 5.5.3). Pings are answered without
    /// it.
    ///
    /// # Errors
    /// As for [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), Misuse> {
        self.act(|id, protocol, transport| protocol.send_control(transport, id, false, payload))
    }

    /// Closes a websocket (RFC 6455 7.1.2), with a code, and with a reason of which the first 123
    /// bytes count. Messages that still arrive are dropped, and the peer has
    /// `websocket_close_timeout` to answer. If the peer has closed already, the answer repeats the
    /// peer's code.
    ///
    /// # Errors
    /// [`Misuse::NotWebSocket`], [`Misuse::UnknownStream`], [`Misuse::CloseCode`].
    pub fn close(&mut self, code: Option<u16>, reason: &str) -> Result<(), Misuse> {
        self.act(|id, protocol, transport| protocol.close(transport, id, code, reason))
    }

    // ---- the tunnel -----------------------------------------------------------------------------

    /// Makes the request a tunnel: answers with `status` and `fields`, and leaves HTTP. From then on the stream
    /// carries bytes in both directions, without framing.
    ///
    /// - CONNECT (RFC 9110 9.3.6) is accepted with a 2xx status. Over HTTP/2 the stream becomes the tunnel
    ///   (RFC 9113 8.5), and over HTTP/1.1 the connection.
    /// - An upgrade (RFC 9110 7.8), which only HTTP/1.1 has, is accepted with 101. `fields` have the `Upgrade` that
    ///   names the new protocol. The caller guarantees that the client has named it too.
    ///
    /// The connection adds a `Connection` field, and drops one that `fields` have.
    ///
    /// Bytes of the peer come as [`Event::Data`](crate::Event::Data), as far as there is credit:
    /// [`read_to`](Self::read_to) and [`received`](Self::received) count from 0 for the tunnel. Bytes that came with
    /// the request's head are the first. [`Event::End`](crate::Event::End) tells that the peer has ended its
    /// direction. [`send`](Self::send) sends, and [`finish`](Self::finish) ends the application's direction. Either
    /// direction goes on without the other. The tunnel is over when both have ended, or with
    /// [`Event::Reset`](crate::Event::Reset), [`close_tunnel`](Self::close_tunnel) or [`reset`](Self::reset).
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`], [`Misuse::AlreadyAnswered`], [`Misuse::Status`]; [`Misuse::NotUpgradable`] if the
    /// request asks for no tunnel, or has content; [`Misuse::Framing`] for fields that frame content, and for a 101
    /// without `Upgrade`; [`Misuse::HeadTooLarge`], [`Misuse::IsWebSocket`]. Over HTTP/2 [`Misuse::Full`], as with
    /// [`respond`](Self::respond).
    pub fn accept_tunnel<'f>(
        &mut self,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), Misuse> {
        let result = self
            .act(|id, protocol, transport| protocol.accept_tunnel(transport, id, status, fields));
        // Held bytes, and the end of input, are now the tunnel's.
        self.connection.unfinished |= result.is_ok();
        result
    }

    /// Ends both directions of a tunnel: what is unsent is sent, and what the peer still sends is discarded, for as
    /// long as a connection lingers.
    ///
    /// # Errors
    /// [`Misuse::NotTunnel`], [`Misuse::UnknownStream`].
    pub fn close_tunnel(&mut self) -> Result<(), Misuse> {
        self.act(|id, protocol, transport| protocol.close_tunnel(transport, id))
    }

    // ---- giving up ------------------------------------------------------------------------------

    /// Answers with the status that goes with `refusal`, and closes the connection. An answer that
    /// has begun is cut off.
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`].
    pub fn refuse(&mut self, refusal: Refusal) -> Result<(), Misuse> {
        let reason = CloseReason::Refused(refusal);
        self.act(|id, protocol, transport| protocol.give_up(transport, id, reason))
    }

    /// Gives up on an answer, or on a tunnel. Over HTTP/1.1 that closes the connection at once, so that the peer
    /// cannot take the part that it has for the whole.
    ///
    /// # Errors
    /// [`Misuse::UnknownStream`].
    pub fn reset(&mut self) -> Result<(), Misuse> {
        self.act(|id, protocol, transport| {
            protocol.give_up(transport, id, CloseReason::Application)
        })
    }
}

impl fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id).finish_non_exhaustive()
    }
}
