//! Websockets for handlers: the upgrade of a request, and its messages as a [`Stream`] and a [`Sink`].
//!
//! Reading from the stream lets the peer send. A message that nobody asks for stays unread. The driver and
//! the handler meet in a [`Meeting`]. The driver passes the handler's wishes on to the connection after each
//! poll, or when another task wakes it.

mod meeting;
mod messaging;

use bytes::Bytes;
use bytestring::ByteString;
use futures_core::Stream;
use futures_sink::Sink;
use http::response::Parts;
use http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use portcullis::ResetReason;
use portcullis::websocket::{
    Accepted, BadHandshake, DeflateSettings, Handshake, NotOffered, Options,
};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pub(crate) use meeting::Meeting;
pub(crate) use messaging::Messaging;

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(ByteString),
    /// Bytes.
    Binary(Bytes),
    /// A ping with at most 125 bytes. Those of the peer, which are answered already, are told only after
    /// [`Upgrade::controls`]. Keeping the connection needs no ping of the handler's.
    Ping(Bytes),
    /// A pong with at most 125 bytes; told only after [`Upgrade::controls`].
    Pong(Bytes),
}

impl Message {
    fn len(&self) -> usize {
        match self {
            Message::Text(text) => text.len(),
            Message::Binary(data) | Message::Ping(data) | Message::Pong(data) => data.len(),
        }
    }
}

impl From<portcullis::websocket::Message<'_>> for Message {
    fn from(lent: portcullis::websocket::Message<'_>) -> Self {
        match lent {
            portcullis::websocket::Message::Text(text) => Message::Text(text.into()),
            portcullis::websocket::Message::Binary(data) => {
                Message::Binary(Bytes::copy_from_slice(data))
            }
        }
    }
}

impl Message {
    /// A message that the connection hands over. Its text is valid.
    pub(crate) fn own(text: bool, bytes: Vec<u8>) -> Self {
        if text {
            // Checking the text again costs less than a copy.
            ByteString::try_from(bytes).map_or_else(|_| Bytes::new().into(), Message::Text)
        } else {
            Message::Binary(bytes.into())
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Message::Text(text.into())
    }
}

impl From<ByteString> for Message {
    fn from(text: ByteString) -> Self {
        Message::Text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Message::Text(text.into())
    }
}

impl From<Bytes> for Message {
    fn from(data: Bytes) -> Self {
        Message::Binary(data)
    }
}

impl From<Vec<u8>> for Message {
    fn from(data: Vec<u8>) -> Self {
        Message::Binary(data.into())
    }
}

/// The contents of a close frame (RFC 6455 5.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// The code (RFC 6455 7.4), if there was one.
    pub code: Option<u16>,
    /// The reason, for people.
    pub reason: ByteString,
}

/// Which side ended a websocket, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// The peer closed it. It may have been asked to, because the server shuts down (1001).
    Peer(CloseFrame),
    /// This side closed it, with [`WebSocket::close`] or by dropping it, and the peer has answered.
    Here,
    /// It ended without a close of the peer's: the peer broke a rule, was too slow, or is gone. The peer was
    /// told if that was possible.
    Reset(ResetReason),
    /// The connection is gone.
    Lost,
    /// These messages were accepted and then discarded. When their turn came, this side had closed already
    /// because the server shuts down, or the websocket had ended.
    Unsent {
        /// The number of messages, including those of which a part was sent.
        messages: u64,
    },
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closed::Peer(CloseFrame { code: Some(code), reason }) => {
                write!(f, "closed by the peer with {code} {reason}")
            }
            Closed::Peer(_) => f.write_str("closed by the peer"),
            Closed::Here => f.write_str("closed by this side"),
            Closed::Reset(reason) => reason.fmt(f),
            Closed::Lost => f.write_str("the connection is gone"),
            Closed::Unsent { messages } => {
                write!(f, "{messages} messages were not sent: the websocket had closed before")
            }
        }
    }
}

impl std::error::Error for Closed {}

/// A request that may become a websocket.
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use portcullis_driver::{Body, Upgrade, refuse_upgrade};
///
/// async fn count(request: Request<Body>) -> Response<Full<&'static [u8]>> {
///     // Pages of other sites may not use the cookies of this one's users.
///     match Upgrade::new(&request).and_then(Upgrade::same_origin) {
///         Ok(upgrade) => upgrade.accept(async |mut websocket| {
///             let mut count = 0;
///             while let Some(Ok(_)) = websocket.receive().await {
///                 count += 1;
///                 if websocket.send(format!("message {count}")).await.is_err() {
///                     break;
///                 }
///             }
///         }),
///         Err(bad) => refuse_upgrade(bad),
///     }
/// }
/// # let _ = count;
/// ```
#[derive(Debug)]
pub struct Upgrade<'r, B> {
    handshake: Handshake<'r, Request<B>>,
    protocol: Option<&'r str>,
    /// How to compress, if the handler has decided that.
    deflate: Option<Option<DeflateSettings>>,
    options: Options,
}

impl<'r, B> Upgrade<'r, B> {
    /// Checks what the request asks for (RFC 6455 4.2.1).
    ///
    /// # Errors
    /// Why the request cannot become a websocket. [`refuse_upgrade`] makes the answer.
    pub fn new(request: &'r Request<B>) -> Result<Self, BadHandshake> {
        let handshake = Handshake::read(request)?;
        Ok(Upgrade {
            handshake,
            protocol: None,
            deflate: None,
            options: Options { owned: true, ..Options::default() },
        })
    }

    /// The origin of the page that asks, if a browser asks. Any page can open a websocket to any server, and
    /// the browser sends the user's cookies: see [`same_origin`](Self::same_origin) and
    /// [`allow_origins`](Self::allow_origins).
    pub fn origin(&self) -> Option<&'r [u8]> {
        self.handshake.origin()
    }

    /// Goes on only if the page that asks came from this server, or if no browser asks. Without an `Origin`,
    /// no user's cookies can be misused. This keeps other sites from hijacking the websockets of users who
    /// are logged in here.
    ///
    /// The host and the port of `Origin` have to equal `Host`. The scheme is not compared, because a server
    /// behind a proxy that ends TLS does not know its own scheme. The proxy has to pass on `Host`.
    ///
    /// # Errors
    /// [`BadHandshake::ForeignOrigin`], for which [`refuse_upgrade`] makes a 403.
    pub fn same_origin(self) -> Result<Self, BadHandshake> {
        self.handshake.same_origin()?;
        Ok(self)
    }

    /// Goes on only if the page that asks came from one of these origins, such as `https://example.org` or
    /// `http://localhost:3000`, or if no browser asks. List the server's own origin as well.
    /// # Errors
    /// [`BadHandshake::ForeignOrigin`], for which [`refuse_upgrade`] makes a 403.
    pub fn allow_origins<A: AsRef<str>>(
        self,
        allowed: impl IntoIterator<Item = A>,
    ) -> Result<Self, BadHandshake> {
        self.handshake.allow_origins(allowed)?;
        Ok(self)
    }

    /// The subprotocols that the client offers, in the order of its preference.
    pub fn protocols(&self) -> impl Iterator<Item = &'r str> {
        self.handshake.protocols()
    }

    /// Chooses one of the subprotocols.
    ///
    /// # Errors
    /// The client did not offer it.
    pub fn protocol(mut self, protocol: &str) -> Result<Self, NotOffered> {
        let found = self.handshake.protocols().find(|offered| *offered == protocol);
        self.protocol = Some(found.ok_or(NotOffered)?);
        Ok(self)
    }

    /// How to compress if the client can, or not at all. Without this call `websocket_deflate` decides.
    pub fn deflate(mut self, settings: Option<DeflateSettings>) -> Self {
        self.deflate = Some(settings);
        self
    }

    /// The limit of a message in bytes, instead of `websocket_message_limit`.
    pub fn message_limit(mut self, limit: u64) -> Self {
        self.options.message_limit = Some(limit);
        self
    }

    /// Tells the handler of the peer's pings and pongs, in their place among the messages. While 16 KiB wait
    /// for the handler, further ones are not told.
    pub fn controls(mut self, told: bool) -> Self {
        self.options.controls = told;
        self
    }

    /// The answer that accepts. When it was sent, `run` is called with the websocket. Its future is polled on
    /// the connection's own task, as the handler was. When the future ends, the websocket is closed with
    /// 1000, unless it was closed before. When the client has gone, the future is polled once more, which finds
    /// the websocket's end, and dropped: what has to be done in any case belongs into a `Drop`, or a task.
    ///
    /// You may add fields to the answer. Its content is ignored.
    pub fn accept<A: Default, F>(
        self,
        run: impl FnOnce(WebSocket) -> F + Send + 'static,
    ) -> Response<A>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let usual = DeflateSettings::default();
        let deflate = match &self.deflate {
            Some(settings) => settings.as_ref(),
            None => Some(&usual),
        };
        // The protocol was chosen among the offered ones.
        let Ok(accepted) = self.handshake.accept(self.protocol, deflate) else {
            return refuse_upgrade(BadHandshake::Protocols);
        };
        let accepting = Accepting {
            accepted,
            deflate_by_config: self.deflate.is_none(),
            options: self.options,
            run: Box::new(|websocket| Box::pin(run(websocket))),
        };
        let mut response = Response::new(A::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.extensions_mut().insert(Accepts(Arc::new(Mutex::new(Some(accepting)))));
        response
    }
}

/// The answer to a request that cannot become a websocket: 426, 405 or 400 with what is accepted instead, or
/// 403 for a page that may not open a websocket.
pub fn refuse_upgrade<A: Default>(bad: BadHandshake) -> Response<A> {
    let mut response = Response::new(A::default());
    *response.status_mut() = bad.status();
    response.headers_mut().extend(bad.fields());
    response
}

/// The future of a websocket's handler.
pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What an accepting answer passes to the driver.
pub(crate) struct Accepting {
    pub(crate) accepted: Accepted,
    pub(crate) deflate_by_config: bool,
    pub(crate) options: Options,
    pub(crate) run: Box<dyn FnOnce(WebSocket) -> Running + Send>,
}

/// Holds an [`Accepting`] among an answer's extensions, which have to be cloneable.
#[derive(Clone)]
struct Accepts(Arc<Mutex<Option<Accepting>>>);

impl Accepting {
    /// Takes it out of an answer.
    #[inline]
    pub(crate) fn take(answer: &mut Parts) -> Option<Self> {
        if answer.status != StatusCode::SWITCHING_PROTOCOLS {
            return None;
        }
        let Accepts(place) = answer.extensions.remove()?;
        place.lock().take()
    }
}

/// A websocket: whole messages in both directions. Dropping it closes it with 1000.
///
/// The driver answers pings, and sends its own.
///
/// For the handler at most one more message of the peer's is held, or some small ones of 16 KiB together. The
/// connection asks for no other message until these are read. This memory is inside of
/// [`Config::websocket_memory_bound`](portcullis::Config::websocket_memory_bound). Of the handler's messages
/// one is held, or some small ones, until the peer has taken it. Both count in the server's
/// [`bytes_held`](crate::Snapshot::bytes_held).
#[derive(Debug)]
pub struct WebSocket {
    meeting: Arc<Meeting>,
}

impl WebSocket {
    pub(crate) fn new(meeting: Arc<Meeting>) -> Self {
        WebSocket { meeting }
    }

    /// The next message; `None` after an end in good order, and after an error.
    ///
    /// # Errors
    /// How it ended otherwise.
    pub async fn receive(&mut self) -> Option<Result<Message, Closed>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Sends a message after those that wait already. The message joins them when less than 16 KiB wait.
    /// `send` is ready when less than that waits again. So a large message stays with its handler until the
    /// peer has taken most of it, and only one is held at a time. A message that has joined the others is
    /// sent even if this future is dropped.
    ///
    /// Flushing the [`Sink`] waits until the connection has taken all messages.
    ///
    /// # Errors
    /// How the websocket has ended; [`Closed::Unsent`] if messages were discarded.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Closed> {
        let mut message = Some(message.into());
        poll_fn(|cx| self.meeting.poll_send(cx, &mut message)).await
    }

    /// Closes, and waits until the peer has closed too, or `websocket_close_timeout` has passed. Messages
    /// that still arrive are dropped.
    ///
    /// A code has to be one that may be sent (RFC 6455 7.4). Otherwise the peer is sent 1011.
    ///
    /// # Errors
    /// How it had ended before, or ended instead; [`Closed::Unsent`] if messages were discarded because the
    /// server shuts down.
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<(), Closed> {
        self.meeting.close(Some(CloseFrame { code: Some(code), reason: reason.into() }));
        poll_fn(|cx| self.meeting.poll_end(cx)).await
    }

    /// Closes as [`close`](Self::close) does, after the messages that wait, and does not wait for the peer.
    /// Without a code the close frame is empty. Only the first close counts.
    pub fn begin_close(&mut self, code: Option<u16>, reason: &str) {
        self.meeting.close(Some(CloseFrame { code, reason: reason.into() }));
    }

    /// How it ended, if it has.
    pub fn closed(&self) -> Option<Closed> {
        self.meeting.closed()
    }
}

impl Stream for WebSocket {
    type Item = Result<Message, Closed>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.meeting.poll_next(cx)
    }
}

impl Sink<Message> for WebSocket {
    type Error = Closed;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.meeting.poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Closed> {
        self.meeting.check_open()?;
        self.meeting.push(message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.meeting.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.meeting.close(None);
        self.meeting.poll_end(cx)
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // It ends with its handler.
            self.meeting.fail();
        }
        self.meeting.leave();
    }
}
