//! Websockets for axum's handlers, with the names and the methods of `axum::extract::ws`.
//!
//! ```
//! use axum::Router;
//! use axum::response::Response;
//! use axum::routing::any;
//! use portcullis_axum::ws::{WebSocket, WebSocketUpgrade}; // was: axum::extract::ws
//!
//! async fn handler(ws: WebSocketUpgrade) -> Response {
//!     ws.on_upgrade(echo)
//! }
//!
//! async fn echo(mut socket: WebSocket) {
//!     while let Some(Ok(message)) = socket.recv().await {
//!         if socket.send(message).await.is_err() {
//!             break;
//!         }
//!     }
//! }
//!
//! let app: Router = Router::new().route("/ws", any(handler));
//! # drop(app);
//! ```
//!
//! # What differs from axum's
//!
//! | axum | here |
//! |---|---|
//! | `read_buffer_size`, `write_buffer_size`, `max_write_buffer_size` | not there: a connection has no buffers of its own to size; messages wait up to 16 KiB and one message more, then `send` waits |
//! | `max_frame_size` | not there: a frame is never larger than its message may be |
//! | `accept_unmasked_frames` | not there: RFC 6455 5.1 has the server close the connection |
//! | a message has at most 64 MiB, and a frame 16 MiB; a larger one ends the connection | a message has at most `websocket_message_limit`, 16 MiB; a larger one is answered with a close of 1009 |
//! | a message is sent as one frame | a large one may be sent in several |
//! | `set_selected_protocol` sends any protocol | one that the client did not offer is left out, since the client would have to fail |
//! | a request that asks for no websocket gets a 400, or over HTTP/2 a 405 | 426 with `Upgrade: websocket` |
//! | `on_upgrade` runs the callback as a task | on the connection's own task while the client is there; a callback that computes for long should spawn. What is left of it when the client has gone becomes a task |
//! | a dropped `WebSocket`, or a callback that panics, ends without a close | it closes with 1000, or 1011 |
//! | after a close of our own the peer's reply is a message | the messages end |
//! | the reply to the peer's close repeats its code and reason | its code |
//! | closing the `Sink` sends a close without a code | with 1000 |
//! | a ping or a pong of more than 125 bytes, and a code that may not be sent, make the peer fail | `send` fails; the code is sent as 1011, and logged |
//! | every ping and pong is told | while 16 KiB of messages wait for the handler, further ones are not; pings are answered all the same, and silent clients are pinged, whose empty pongs are told |
//! | silent clients stay | they are pinged, and closed if no pong comes: `websocket_ping_interval`, `websocket_pong_timeout` |

pub mod close_code;
mod lasting;
mod message;
mod upgrade;

/// What the extractor fails with, where axum has it.
pub mod rejection {
    pub use super::upgrade::WebSocketUpgradeRejection;
}

pub use self::message::{CloseCode, CloseFrame, Message, Utf8Bytes};
pub use self::upgrade::{
    DefaultOnFailedUpgrade, OnFailedUpgrade, WebSocketUpgrade, WebSocketUpgradeRejection,
};

use async_channel::Sender;
use axum::Error;
use futures_core::Stream;
use futures_core::stream::FusedStream;
use futures_sink::Sink;
use http::HeaderValue;
use portcullis_driver as driver;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A websocket: a stream and a sink of messages. It closes with 1000 when it is dropped.
#[derive(Debug)]
pub struct WebSocket {
    inner: driver::WebSocket,
    protocol: Option<HeaderValue>,
    /// The handler was told of the end.
    has_ended: bool,
    /// Tells the callback's task when the websocket is dropped.
    _held: Sender<Infallible>,
}

impl WebSocket {
    fn new(
        inner: driver::WebSocket,
        protocol: Option<HeaderValue>,
        held: Sender<Infallible>,
    ) -> Self {
        WebSocket { inner, protocol, has_ended: false, _held: held }
    }

    /// The next message; the last one is the peer's [`Message::Close`], if it sent one. `None` after the end.
    ///
    /// # Errors
    /// The websocket ended without a close: the peer broke a rule, was too slow, or is gone.
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Sends a message. A [`Message::Close`] closes, and nothing can be sent after it.
    ///
    /// # Errors
    /// The websocket has ended, or was closed.
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        poll_fn(|cx| Pin::new(&mut *self).poll_ready(cx)).await?;
        Pin::new(&mut *self).start_send(message)?;
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    /// The subprotocol that was chosen.
    pub fn protocol(&self) -> Option<&HeaderValue> {
        self.protocol.as_ref()
    }
}

impl Stream for WebSocket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let next = ready!(Pin::new(&mut self.inner).poll_next(cx));
        Poll::Ready(match next {
            Some(Ok(driver::Message::Text(text))) => Some(Ok(Message::Text(Utf8Bytes(text)))),
            Some(Ok(driver::Message::Binary(data))) => Some(Ok(Message::Binary(data))),
            Some(Ok(driver::Message::Ping(data))) => Some(Ok(Message::Ping(data))),
            Some(Ok(driver::Message::Pong(data))) => Some(Ok(Message::Pong(data))),
            Some(Err(closed)) => {
                self.has_ended = true;
                Some(Err(Error::new(closed)))
            }
            None => {
                self.has_ended = true;
                match self.inner.closed() {
                    Some(driver::Closed::Peer(driver::CloseFrame { code, reason })) => {
                        let frame = |code| CloseFrame { code, reason: Utf8Bytes(reason) };
                        Some(Ok(Message::Close(code.map(frame))))
                    }
                    _ => None,
                }
            }
        })
    }
}

impl FusedStream for WebSocket {
    fn is_terminated(&self) -> bool {
        self.has_ended
    }
}

impl Sink<Message> for WebSocket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_ready(cx).map_err(Error::new)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let message = match message {
            Message::Text(text) => driver::Message::Text(text.0),
            Message::Binary(data) => driver::Message::Binary(data),
            Message::Close(frame) => {
                match frame {
                    Some(frame) => self.inner.begin_close(Some(frame.code), &frame.reason),
                    None => self.inner.begin_close(None, ""),
                }
                return Ok(());
            }
            Message::Ping(data) | Message::Pong(data) if data.len() > 125 => {
                return Err(Error::new("a ping or a pong has at most 125 bytes"));
            }
            Message::Ping(data) => driver::Message::Ping(data),
            Message::Pong(data) => driver::Message::Pong(data),
        };
        Pin::new(&mut self.inner).start_send(message).map_err(Error::new)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_flush(cx).map_err(Error::new)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_close(cx).map_err(Error::new)
    }
}
