//! One connection of an attacker.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, split};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use super::Failure;
use super::notes::{End, Notes, Reader, Reading, Seen};
use super::peer::Tally;
use super::server::holds;

/// How often an attacker that reads nothing asks its socket for a reset.
const LOOK: Duration = Duration::from_millis(50);

/// The size of a read.
const READ: usize = 16 << 10;

/// A socket whose writes are cut into pieces, each a segment of its own.
pub(super) struct Chopped {
    socket: TcpStream,
    piece: usize,
}

impl Chopped {
    pub(super) fn new(socket: TcpStream, piece: usize) -> Self {
        Self { socket, piece }
    }

    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }
}

impl AsyncRead for Chopped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Chopped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let piece = &bytes[..bytes.len().min(self.piece)];
        Pin::new(&mut self.socket).poll_write(cx, piece)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// With TLS or without.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<Chopped>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.get_ref().0.socket,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => {
                let count = ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?;
                Poll::Ready(Ok(count))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A connection, and what arrived on it.
pub(super) struct Link {
    stream: Stream,
    /// Just before it connected.
    began: Instant,
    /// Just before the bytes are sent that start the server's timer.
    since: Instant,
    reader: Reader,
    pub(super) notes: Notes,
    pub(super) sent: u64,
    end: End,
    held: Duration,
    /// The same from its beginning.
    lasted: Duration,
    tally: Arc<Tally>,
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.end == End::Open {
            self.tally.closed();
        }
    }
}

impl Link {
    /// `since` is the time just before it connected.
    pub(super) fn new(stream: Stream, reading: Reading, since: Instant, tally: Arc<Tally>) -> Self {
        Self {
            stream,
            began: since,
            since,
            reader: Reader::new(reading),
            notes: Notes::default(),
            sent: 0,
            end: End::Open,
            held: Duration::ZERO,
            lasted: Duration::ZERO,
            tally,
        }
    }

    /// What was seen until now. The link is closed with this.
    pub(super) fn seen(mut self) -> Seen {
        if self.end == End::Open {
            (self.held, self.lasted) = (self.since.elapsed(), self.began.elapsed());
        }
        let (held, lasted) = (self.held, self.lasted);
        Seen {
            held,
            lasted,
            end: self.end,
            notes: std::mem::take(&mut self.notes),
            sent: self.sent,
        }
    }

    /// The time that the server holds this connection counts from now: the next bytes start the
    /// server's timer. Before this it counts from the connection's beginning.
    pub(super) fn count_from_now(&mut self) {
        self.since = Instant::now();
    }

    pub(super) fn is_open(&self) -> bool {
        self.end == End::Open
    }

    fn ended(&mut self, end: End) {
        if self.end == End::Open {
            self.end = end;
            (self.held, self.lasted) = (self.since.elapsed(), self.began.elapsed());
            self.tally.dropped();
            self.tally.closed();
        }
    }

    /// Sends bytes. False if the server has closed; then its last words have been read.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        if !self.is_open() {
            return false;
        }
        let bytes = bytes.as_ref();
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match write.await {
            Ok(()) => self.sent += bytes.len() as u64,
            Err(_) => self.until_end().await,
        }
        self.is_open()
    }

    /// Reads once. False at the end.
    pub(super) async fn more(&mut self) -> bool {
        if !self.is_open() {
            return false;
        }
        let mut bytes = [0; READ];
        match self.stream.read(&mut bytes).await {
            Ok(0) => self.ended(End::Closed),
            Ok(count) => self.reader.take(&bytes[..count], &mut self.notes),
            // TLS without its own goodbye is still a close.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => self.ended(End::Closed),
            Err(_) => self.ended(End::Reset),
        }
        self.is_open()
    }

    /// Reads at most this many bytes. False at the end.
    pub(super) async fn more_of(&mut self, most: usize) -> bool {
        let mut bytes = vec![0; most];
        match self.stream.read(&mut bytes).await {
            Ok(0) => self.ended(End::Closed),
            Ok(count) => self.reader.take(&bytes[..count], &mut self.notes),
            Err(_) => self.ended(End::Reset),
        }
        self.is_open()
    }

    /// The same, but ends as soon as the server has closed, also if this machine's kernel has
    /// buffered more.
    pub(super) async fn sip(&mut self, most: usize) -> bool {
        match self.early_end() {
            Some(end) => self.ended(end),
            None => return self.more_of(most).await,
        }
        false
    }

    /// Reads for this long. False at the end.
    pub(super) async fn listen(&mut self, time: Duration) -> bool {
        let reading = async { while self.more().await {} };
        // At the end of the connection the pause is over too.
        let _elapsed = timeout(time, reading).await;
        self.is_open()
    }

    /// Reads until the server ends the connection.
    pub(super) async fn until_end(&mut self) {
        while self.more().await {}
    }

    /// Reads until this holds.
    pub(super) async fn wait(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&Notes) -> bool,
    ) -> Result<(), Failure> {
        while !holds(&self.notes) {
            if !self.more().await && !holds(&self.notes) {
                let seen = &self.notes.statuses;
                let code = self.notes.code;
                return Err(
                    format!("closed before {what}; statuses {seen:?}, code {code:?}").into()
                );
            }
        }
        Ok(())
    }

    /// Sends a part at intervals, and reads meanwhile, until the server ends the connection.
    pub(super) async fn drip(&mut self, part: impl AsRef<[u8]>, pause: Duration) {
        while self.send(part.as_ref()).await && self.listen(pause).await {}
    }

    /// Sends `part` again and again, as fast as the server takes it, and reads meanwhile, until the
    /// server ends the connection.
    pub(super) async fn flood(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        {
            let Self { stream, reader, notes, sent, .. } = self;
            let (mut read, mut write) = split(stream);
            let writing = async {
                while write.write_all(part).await.is_ok() && write.flush().await.is_ok() {
                    *sent += part.len() as u64;
                    // On loopback a write never waits long; the other attackers have their turn.
                    tokio::task::yield_now().await;
                }
            };
            let reading = async {
                let mut bytes = [0; READ];
                loop {
                    match read.read(&mut bytes).await {
                        Ok(0) => break End::Closed,
                        Ok(count) => reader.take(&bytes[..count], notes),
                        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                            break End::Closed;
                        }
                        Err(_) => break End::Reset,
                    }
                }
            };
            // A server that has closed its side may still discard what is sent: for the attacker the
            // connection is held until a write fails too.
            let (end, ()) = tokio::join!(reading, writing);
            self.ended(end);
        }
    }

    /// The same, but reads nothing before the server has reset the connection.
    pub(super) async fn flood_unread(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        let mut at = 0;
        let end = loop {
            if let Some(end) = self.early_end() {
                break end;
            }
            match timeout(LOOK, self.stream.write(&part[at..])).await {
                Ok(Ok(count)) => {
                    at = (at + count) % part.len();
                    self.sent += count as u64;
                }
                Ok(Err(_)) => break End::Reset,
                // The server takes nothing at the moment.
                Err(_) => {}
            }
        };
        self.ended(end);
    }

    /// Waits for the end, and reads nothing.
    pub(super) async fn until_end_unread(&mut self) {
        loop {
            if let Some(end) = self.early_end() {
                return self.ended(end);
            }
            sleep(LOOK).await;
        }
    }

    /// How the server has ended the connection, although there may be unread bytes.
    fn early_end(&self) -> Option<End> {
        let socket = self.stream.socket();
        let was_reset = || !matches!(socket.take_error(), Ok(None));
        if was_reset() {
            return Some(End::Reset);
        }
        let (Ok(SocketAddr::V4(own)), Ok(server)) = (socket.local_addr(), socket.peer_addr())
        else {
            return was_reset().then_some(End::Reset);
        };
        if holds(server.port(), own, self.since) {
            return None;
        }
        Some(if was_reset() { End::Reset } else { End::Closed })
    }

    /// Ends this side of the connection.
    pub(super) async fn finish_sending(&mut self) -> Result<(), Failure> {
        Ok(self.stream.shutdown().await?)
    }

    /// Ends the connection with a RST.
    pub(super) fn reset(self) -> Result<(), Failure> {
        let socket = socket2::SockRef::from(self.stream.socket());
        Ok(socket.set_linger(Some(Duration::ZERO))?)
    }

    /// Ends the TCP connection without a word of TLS.
    pub(super) fn close(self) {
        let socket = socket2::SockRef::from(self.stream.socket());
        // The server may have closed before.
        drop(socket.shutdown(Shutdown::Both));
    }

    /// The address that the server sees.
    pub(super) fn local_port(&self) -> Result<u16, Failure> {
        Ok(self.stream.socket().local_addr()?.port())
    }

    /// Makes TLS send a KeyUpdate next.
    pub(super) fn update_keys(&mut self) -> Result<(), Failure> {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.get_mut().1.refresh_traffic_keys()?;
        }
        Ok(())
    }
}
