//! One connection as a future, on any stream of bytes.
//!
//! In: a socket, a configuration and a service. Out: how the connection ended. It accepts nothing and spawns
//! nothing. A [`Server`](crate::Server) serves each of its connections in the same way, on tasks of their
//! own.

use crate::access::{Access, Hook};
use crate::address::Address;
use crate::admission::{Admission, Newcomer};
use crate::clock;
use crate::control::Order;
use crate::drive::Drive;
use crate::live_config::LiveConfig;
use crate::proxy_protocol::ProxySource;
use crate::roster::Roster;
use crate::runtime::Timer;
use crate::service::Service;
use crate::shared::{Settings, Shared};
use crate::socket::Socket;
use crate::stats::Stats;
use portcullis::CloseReason;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// A future that serves one connection, and returns how it ended. Dropping it closes the connection.
///
/// Time counts from the first poll on. The socket is closed before the future is ready.
#[must_use = "a connection is not served until it is awaited"]
pub struct ServeConnection<T: Timer, I: Socket, S: Service<K>, K> {
    stage: Stage<T, I, S, K>,
    shutdown: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// The progress of the connection.
#[expect(
    clippy::large_enum_variant,
    reason = "it runs from its first poll on: a box would be one more"
)]
enum Stage<T: Timer, I: Socket, S: Service<K>, K> {
    /// It was not polled yet.
    Begins {
        settings: Settings,
        socket: I,
        peer: Address,
        service: S,
    },
    Runs {
        drive: Drive<T, I, S, K>,
        shared: Arc<Shared>,
    },
    Over,
}

impl<T: Timer, I: Socket, S: Service<K>, K> ServeConnection<T, I, S, K> {
    /// Serves the connection on `socket`, with the default configuration. Adapters offer this as
    /// `serve_connection`, for any stream of their runtime.
    pub fn new(socket: I, service: S) -> Self {
        let settings = Settings::default();
        let stage = Stage::Begins { settings, socket, peer: Address::Unknown, service };
        ServeConnection { stage, shutdown: None }
    }

    /// Configures the connection: with a [`Config`](portcullis::Config), or an `Arc` of one.
    pub fn config(mut self, config: impl Into<LiveConfig>) -> Self {
        if let Stage::Begins { settings, .. } = &mut self.stage {
            settings.live = config.into();
        }
        self
    }

    /// Counts in `stats`, which may be shared with other connections and with servers.
    pub fn stats(mut self, stats: Arc<Stats>) -> Self {
        if let Stage::Begins { settings, .. } = &mut self.stage {
            settings.stats = stats;
        }
        self
    }

    /// Sets the peer's address, for services that look at the head and for the log. Without it the address is
    /// [`Address::Unknown`].
    pub fn peer_address(mut self, address: impl Into<Address>) -> Self {
        if let Stage::Begins { peer, .. } = &mut self.stage {
            *peer = address.into();
        }
        self
    }

    /// Adds the peer's address to the extensions of each request, as a
    /// [`PeerAddress`](crate::PeerAddress).
    pub fn tell_peer_address(mut self) -> Self {
        if let Stage::Begins { settings, .. } = &mut self.stage {
            settings.tell_peer = true;
        }
        self
    }

    /// Expects a header of the PROXY protocol, version 1 or 2, if the
    /// [peer's address](Self::peer_address) is one of these. See
    /// [`Server::trust_proxies`](crate::Server::trust_proxies).
    pub fn trust_proxies(
        mut self,
        proxies: impl IntoIterator<Item = impl Into<ProxySource>>,
    ) -> Self {
        if let Stage::Begins { settings, .. } = &mut self.stage {
            settings.proxies = proxies.into_iter().map(Into::into).collect();
        }
        self
    }

    /// Calls `hook` when a request is over, for an access log. The hook runs on the connection's task, so it must
    /// not block. Requests that are refused before they reach the service are told too, as far as they are known:
    /// [`Ending::Refused`](crate::Ending::Refused).
    pub fn access_log(mut self, hook: impl Fn(&Access<'_>) + Send + Sync + 'static) -> Self {
        if let Stage::Begins { settings, .. } = &mut self.stage {
            settings.access_log = Some(Hook::new(hook));
        }
        self
    }

    /// Lists the connection in `roster` while it is open.
    pub fn roster(mut self, roster: Arc<Roster>) -> Self {
        if let Stage::Begins { settings, .. } = &mut self.stage {
            settings.roster = Some(roster);
        }
        self
    }

    /// Shuts down gracefully when `signal` is ready. A request in progress is finished within
    /// `drain_timeout`, and then the connection closes.
    pub fn with_graceful_shutdown(
        mut self,
        signal: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.shutdown = Some(Box::pin(signal));
        self
    }
}

// No field is pinned in place: futures that have to be pinned are boxed.
impl<T: Timer, I: Socket, S: Service<K>, K> Unpin for ServeConnection<T, I, S, K> {}

impl<T: Timer, I: Socket, S: Service<K>, K> Stage<T, I, S, K> {
    /// Begins to serve.
    fn begin(self) -> Self {
        let Stage::Begins { settings, mut socket, peer, service } = self else { return self };
        let shared = Arc::new(settings.begin(Admission::of_one));
        socket.prepare(&shared.config);
        // The connection is alone here, so there is a place.
        let newcomer = Newcomer { address: None, is_handshaking: shared.config.has_tls() };
        let now = clock::tick(Instant::now());
        let number = shared.admission.try_enter(now, newcomer).unwrap_or_default();
        let drive = Drive::new(shared.clone(), (socket, peer, number), service);
        Stage::Runs { drive, shared }
    }
}

impl<T: Timer, I: Socket, S: Service<K>, K> Future for ServeConnection<T, I, S, K> {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let this = &mut *self;
        if let Stage::Begins { .. } = this.stage {
            this.stage = std::mem::replace(&mut this.stage, Stage::Over).begin();
        }
        let Stage::Runs { drive, shared } = &mut this.stage else { return Poll::Pending };
        if let Some(signal) = &mut this.shutdown
            && signal.as_mut().poll(cx).is_ready()
        {
            this.shutdown = None;
            shared.control.give(Order::Drain, &shared.admission);
        }
        let polled = Pin::new(drive).poll(cx);
        if polled.is_ready() {
            this.stage = Stage::Over;
        }
        polled
    }
}

impl<T: Timer, I: Socket, S: Service<K>, K> fmt::Debug for ServeConnection<T, I, S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeConnection").finish_non_exhaustive()
    }
}
