//! An attacker: where it connects, from which address, and what all attackers count together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use rustls::{ClientConfig, ClientConnection};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::Failure;
use super::link::{Chopped, Link, Stream};
use super::notes::Reading;
use super::records::Sealer;
use crate::load::Transport;
use crate::load::server_name;

/// How many attackers connect at the same time. More would overflow the backlog of the listener.
pub(super) const CONNECTING: usize = 256;

/// What the attackers of one attack count together.
pub(super) struct Tally {
    began: Instant,
    pub(super) open: AtomicUsize,
    pub(super) peak: AtomicUsize,
    /// Connections that the server ended, and when it ended the last one, in microseconds.
    pub(super) dropped: AtomicUsize,
    pub(super) last_drop: AtomicU64,
    /// Attackers that have ended.
    pub(super) over: AtomicUsize,
    connecting: Semaphore,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            open: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            last_drop: AtomicU64::new(0),
            over: AtomicUsize::new(0),
            connecting: Semaphore::new(CONNECTING),
        }
    }

    fn opened(&self) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(open, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        let after = self.began.elapsed().as_micros() as u64;
        self.last_drop.fetch_max(after, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one attacker knows.
#[derive(Clone)]
pub(super) struct Peer {
    /// The number of this attacker, from zero.
    pub(super) index: usize,
    pub(super) address: SocketAddr,
    /// Whether the server speaks TLS.
    pub(super) tls: bool,
    /// The server's process, if it is known.
    pub(super) pids: Vec<u32>,
    pub(super) one_address: bool,
    pub(super) tally: Arc<Tally>,
}

impl Peer {
    /// The address that this attacker comes from: one of thousands of this machine's own.
    fn source(&self) -> Ipv4Addr {
        let host = if self.one_address { 0 } else { self.index };
        Ipv4Addr::new(127, 50, (host / 250 % 250) as u8, (host % 250 + 2) as u8)
    }

    /// Connects without TLS, and returns when it began to. `buffer` limits what this machine's kernel
    /// holds unread.
    async fn socket(&self, buffer: Option<u32>) -> Result<(TcpStream, Instant), Failure> {
        let _permit = self.tally.connecting.acquire().await?;
        let socket = TcpSocket::new_v4().map_err(|error| format!("no socket: {error}"))?;
        if let Some(size) = buffer {
            socket.set_recv_buffer_size(size)?;
        }
        let source = SocketAddr::new(IpAddr::V4(self.source()), 0);
        socket.bind(source).map_err(|error| format!("cannot bind to {source}: {error}"))?;
        let since = Instant::now();
        let stream = socket.connect(self.address).await;
        let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
        stream.set_nodelay(true)?;
        Ok((stream, since))
    }

    fn link(&self, stream: Stream, reading: Reading, since: Instant) -> Link {
        self.tally.opened();
        Link::new(stream, reading, since, self.tally.clone())
    }

    /// Connects without TLS, whatever the server speaks.
    pub(super) async fn tcp(&self) -> Result<Link, Failure> {
        let (stream, since) = self.socket(None).await?;
        Ok(self.link(Stream::Plain(stream), Reading::Raw, since))
    }

    /// The same, but reads answers of HTTP/1.1.
    pub(super) async fn plain_http1(&self) -> Result<Link, Failure> {
        let (stream, since) = self.socket(None).await?;
        Ok(self.link(Stream::Plain(stream), Reading::Http1, since))
    }

    pub(super) async fn http1(&self) -> Result<Link, Failure> {
        self.connect(Reading::Http1, None, usize::MAX).await
    }

    /// With a small receive buffer, so that unread bytes soon wait at the server.
    pub(super) async fn http1_narrow(&self) -> Result<Link, Failure> {
        self.connect(Reading::Http1, Some(4096), usize::MAX).await
    }

    pub(super) async fn websocket(&self) -> Result<Link, Failure> {
        self.connect(Reading::WebSocket, None, usize::MAX).await
    }

    pub(super) async fn websocket_narrow(&self) -> Result<Link, Failure> {
        self.connect(Reading::WebSocket, Some(4096), usize::MAX).await
    }

    /// Each write is cut into pieces of this many bytes.
    pub(super) async fn websocket_chopped(&self, piece: usize) -> Result<Link, Failure> {
        self.connect(Reading::WebSocket, None, piece).await
    }

    pub(super) async fn http2(&self) -> Result<Link, Failure> {
        self.connect(Reading::Http2, None, usize::MAX).await
    }

    async fn connect(
        &self,
        reading: Reading,
        buffer: Option<u32>,
        piece: usize,
    ) -> Result<Link, Failure> {
        let (socket, since) = self.socket(buffer).await?;
        if !self.tls {
            return Ok(self.link(Stream::Plain(socket), reading, since));
        }
        let connector = TlsConnector::from(client_config(reading));
        let stream = connector.connect(server_name(), Chopped::new(socket, piece)).await;
        let stream = stream.map_err(|error| format!("the TLS handshake fails: {error}"))?;
        Ok(self.link(Stream::Tls(Box::new(stream)), reading, since))
    }

    /// A connection after its TLS handshake, and a maker of any records for it. What arrives is only counted.
    pub(super) async fn sealed(&self) -> Result<(Link, Sealer), Failure> {
        let (socket, since) = self.socket(None).await?;
        let mut config = ClientConfig::clone(&client_config(Reading::Http1));
        config.enable_secret_extraction = true;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(server_name(), Chopped::new(socket, usize::MAX)).await;
        let (socket, session) =
            stream.map_err(|error| format!("the TLS handshake fails: {error}"))?.into_inner();
        let link = self.link(Stream::Plain(socket.into_socket()), Reading::Raw, since);
        Ok((link, Sealer::new(session)?))
    }

    /// A ClientHello.
    pub(super) fn client_hello(&self) -> Result<Vec<u8>, Failure> {
        let mut session = ClientConnection::new(client_config(Reading::Http1), server_name())?;
        let mut hello = Vec::new();
        session.write_tls(&mut hello)?;
        Ok(hello)
    }
}

fn client_config(reading: Reading) -> Arc<ClientConfig> {
    use std::sync::LazyLock;
    static CONFIGS: LazyLock<[Transport; 2]> =
        LazyLock::new(|| [Transport::tls(), Transport::tls_http2()]);
    match &CONFIGS[usize::from(reading == Reading::Http2)] {
        Transport::Tls(config) => config.clone(),
        Transport::Plain => unreachable!("both speak TLS"),
    }
}
