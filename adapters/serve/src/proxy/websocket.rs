//! A websocket on both sides of the proxy.
//!
//! The client's side is a websocket of the driver, with all its limits and pings. The server's side is
//! tungstenite's. Messages pass in both directions, one at a time: the next one is read when the last one was taken.
//! A close passes with its code and reason. Compression is negotiated with the client only.
//!
//! What is held of the server's messages, and a message of the client's that waits for the server, count for the
//! client's connection.

use super::Failure;
use super::buffers::Charge;
use crate::later::Sleep;
use bytes::Bytes;
use bytestring::ByteString;
use futures_core::Stream;
use futures_sink::Sink;
use futures_util::future::{join, select};
use http::header::{
    self, CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
};
use http::{Method, Request, Response};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use portcullis_driver::{CloseFrame, Closed, Held, Message, WebSocket};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{self, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Utf8Bytes};

/// How long the upstream server may take to answer a close.
const CLOSING: Duration = Duration::from_secs(5);
/// Memory for what is read of the upstream server's frames at once, in bytes.
const READ_BUFFER: usize = 16 << 10;
/// Messages that pass before other tasks have their turn.
const TURN: usize = 32;

/// The upstream server's side.
pub(super) struct Server {
    websocket: WebSocketStream<Counting>,
    /// Bytes that were read since its last message.
    read: Arc<AtomicUsize>,
}

/// A connection that counts what is read.
struct Counting {
    io: TokioIo<Upgraded>,
    read: Arc<AtomicUsize>,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        self.read.fetch_add(before - buffer.remaining(), Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Makes `request` ask for a websocket, and returns its key.
pub(super) fn ask(request: &mut Request<()>) -> String {
    let key = generate_key();
    // Over HTTP/2 the client has sent CONNECT (RFC 8441).
    *request.method_mut() = Method::GET;
    let fields = request.headers_mut();
    fields.remove(SEC_WEBSOCKET_EXTENSIONS);
    fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    if let Ok(key) = HeaderValue::try_from(&key) {
        fields.insert(SEC_WEBSOCKET_KEY, key);
    }
    key
}

/// The websocket that the upstream server has accepted, the subprotocol, and fields for the client. `limit` is
/// that of its messages.
pub(super) async fn accepted(
    mut answer: Response<hyper::body::Incoming>,
    key: &str,
    limit: usize,
) -> Result<(Server, Option<HeaderValue>, HeaderMap), Failure> {
    let expected = derive_accept_key(key.as_bytes());
    let is_accepted = answer.headers().get(SEC_WEBSOCKET_ACCEPT).is_some_and(|it| *it == expected);
    // None was offered.
    if !is_accepted || answer.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(Failure::Malformed);
    }
    let upgraded = hyper::upgrade::on(&mut answer).await.map_err(|_| Failure::Broken)?;
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = READ_BUFFER;
    // Each message is written at once, and the next one waits for it.
    config.write_buffer_size = 0;
    config.max_message_size = Some(limit);
    config.max_frame_size = Some(limit);
    let read = Arc::<AtomicUsize>::default();
    let io = Counting { io: TokioIo::new(upgraded), read: read.clone() };
    let websocket = WebSocketStream::from_raw_socket(io, Role::Client, Some(config)).await;
    let server = Server { websocket, read };
    let mut fields = std::mem::take(answer.headers_mut());
    let protocol = fields.remove(SEC_WEBSOCKET_PROTOCOL);
    const OWN: [HeaderName; 2] = [SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_VERSION];
    OWN.iter().for_each(|name| drop(fields.remove(name)));
    Ok((server, protocol, fields))
}

/// How one side ended.
enum End {
    Client(Option<Closed>),
    Server(Option<protocol::CloseFrame>),
    /// Its connection is gone, or it broke a rule.
    ServerLost,
}

/// Passes messages on until one side closes, and closes the other.
pub(super) async fn pass(mut client: WebSocket, server: Server, sleep: Sleep, held: Held) {
    let Server { websocket: mut server, read } = server;
    let mut messages = Messages { read, ..Messages::default() };
    let mut charge = Charge::new(held, READ_BUFFER);
    let passed = poll_fn(|cx| {
        let polled = messages.poll(cx, &mut client, &mut server);
        charge.set(READ_BUFFER + messages.memory());
        polled
    });
    match passed.await {
        End::Client(closed) => {
            let frame = match closed {
                Some(Closed::Peer(CloseFrame { code: None, .. })) => None,
                Some(Closed::Peer(CloseFrame { code: Some(code), reason })) => {
                    Some((CloseCode::from(code), text_of(reason.into_bytes())))
                }
                // The client is gone, or has broken a rule.
                _ => Some((CloseCode::Away, Utf8Bytes::default())),
            };
            let frame = frame.map(|(code, reason)| protocol::CloseFrame { code, reason });
            // It may be gone too.
            let closing = pin!(async { _ = finish(&mut server, frame).await });
            select(closing, sleep(CLOSING)).await;
        }
        End::Server(frame) => {
            let answered = pin!(async { _ = finish(&mut server, None).await });
            let answered = select(answered, sleep(CLOSING));
            let closed = async {
                match frame {
                    Some(frame) => client.close(frame.code.into(), frame.reason.as_str()).await,
                    None => poll_fn(|cx| Pin::new(&mut client).poll_close(cx)).await,
                }
            };
            _ = join(answered, closed).await;
        }
        End::ServerLost => {
            let reason = "the server behind the proxy has gone";
            _ = client.close(CloseCode::Error.into(), reason).await;
        }
    }
}

/// Sends a close, or answers one, and waits for the end of the connection.
async fn finish(
    server: &mut WebSocketStream<Counting>,
    frame: Option<protocol::CloseFrame>,
) -> Result<(), tungstenite::Error> {
    server.close(frame).await?;
    while let Some(message) = poll_fn(|cx| Pin::new(&mut *server).poll_next(cx)).await {
        message?;
    }
    Ok(())
}

/// The messages between the two sides: at most one in each direction.
#[derive(Default)]
struct Messages {
    to_server: Option<tungstenite::Message>,
    to_client: Option<Message>,
    /// The server's side has bytes to write: of a message, or of an answer to a ping.
    unflushed: bool,
    /// Bytes that were read of the server's next message.
    read: Arc<AtomicUsize>,
}

impl Messages {
    /// The bytes that are held of messages.
    fn memory(&self) -> usize {
        let to_server = self.to_server.as_ref().map_or(0, tungstenite::Message::len);
        let to_client = self.to_client.as_ref().map_or(0, |message| match message {
            Message::Text(text) => text.len(),
            Message::Binary(data) | Message::Ping(data) | Message::Pong(data) => data.len(),
        });
        to_server + to_client + self.read.load(Relaxed)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut WebSocket,
        server: &mut WebSocketStream<Counting>,
    ) -> Poll<End> {
        for _ in 0..TURN {
            let up = self.poll_up(cx, client, server);
            if let Poll::Ready(Some(end)) = up {
                return Poll::Ready(end);
            }
            let down = self.poll_down(cx, client, server);
            if let Poll::Ready(Some(end)) = down {
                return Poll::Ready(end);
            }
            if up.is_pending() && down.is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves a message on to the server.
    fn poll_up(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut WebSocket,
        server: &mut WebSocketStream<Counting>,
    ) -> Poll<Option<End>> {
        let mut server = Pin::new(server);
        if self.to_server.is_some() || self.unflushed {
            match server.as_mut().poll_flush(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Some(End::ServerLost)),
            }
        }
        if let Some(message) = self.to_server.take() {
            self.unflushed = true;
            return Poll::Ready(match server.start_send(message) {
                Ok(()) => None,
                Err(_) => Some(End::ServerLost),
            });
        }
        match Pin::new(&mut *client).poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(message))) => {
                self.to_server = Some(match message {
                    Message::Text(text) => tungstenite::Message::Text(text_of(text.into_bytes())),
                    Message::Binary(data) => tungstenite::Message::Binary(data),
                    // Each side answers pings by itself, and we have not asked to be told.
                    Message::Ping(_) | Message::Pong(_) => return Poll::Ready(None),
                });
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(closed))) => Poll::Ready(Some(End::Client(Some(closed)))),
            Poll::Ready(None) => Poll::Ready(Some(End::Client(client.closed()))),
        }
    }

    /// Moves a message on to the client.
    fn poll_down(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut WebSocket,
        server: &mut WebSocketStream<Counting>,
    ) -> Poll<Option<End>> {
        let mut client = Pin::new(client);
        if self.to_client.is_some() {
            match client.as_mut().poll_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(closed)) => return Poll::Ready(Some(End::Client(Some(closed)))),
            }
            if let Some(message) = self.to_client.take()
                && let Err(closed) = client.start_send(message)
            {
                return Poll::Ready(Some(End::Client(Some(closed))));
            }
            return Poll::Ready(None);
        }
        let message = match Pin::new(server).poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(message))) => message,
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Some(End::ServerLost)),
        };
        self.read.store(0, Relaxed);
        match message {
            tungstenite::Message::Text(text) => {
                // It is checked already.
                self.to_client = ByteString::try_from(Bytes::from(text)).ok().map(Message::Text);
            }
            tungstenite::Message::Binary(data) => self.to_client = Some(Message::Binary(data)),
            tungstenite::Message::Close(frame) => return Poll::Ready(Some(End::Server(frame))),
            // A ping has been answered into the buffer.
            _ => self.unflushed = true,
        }
        Poll::Ready(None)
    }
}

/// Text that was checked before.
fn text_of(bytes: Bytes) -> Utf8Bytes {
    Utf8Bytes::try_from(bytes).unwrap_or_default()
}
