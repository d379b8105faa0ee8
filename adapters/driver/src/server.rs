//! A listener, a configuration and a service as one future, with graceful shutdown.

use crate::accept::{Acceptor, Newcomer};
use crate::access::{Access, Hook};
use crate::admission::Admission;
use crate::clock;
use crate::control::Order;
use crate::drive::Drive;
use crate::error::BoxError;
use crate::guard::guarded;
use crate::listener::Listener;
use crate::live_config::LiveConfig;
use crate::make_service::MakeService;
use crate::proxy_protocol::ProxySource;
use crate::roster::Roster;
use crate::runtime::{Runtime, Timer};
use crate::shared::{Settings, Shared};
use crate::stats::Stats;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

/// The number of connections that are accepted before other tasks get their turn.
const BURST: usize = 64;

/// How a graceful shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The number of connections that finished, or ended by themselves, since the shutdown began.
    pub finished: u64,
    /// The number of connections that `drain_timeout` cut off.
    pub cut: u64,
}

/// A server: a future that accepts and serves connections until it is told to shut down, and then until all
/// connections are drained. Dropping it closes all connections.
#[must_use = "a server does nothing until it is awaited"]
pub struct Server<R: Runtime, L: Listener, M, K> {
    runtime: R,
    listener: Option<L>,
    acceptor: Option<Acceptor<L, R::Timer>>,
    maker: M,
    settings: Option<Settings>,
    shared: Option<Arc<Shared>>,
    /// Where the configuration comes from, once the server runs, and which one is in use.
    live: Option<(LiveConfig, usize)>,
    shutdown: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    kind: PhantomData<fn() -> K>,
}

impl<R: Runtime, L: Listener, M: MakeService<L, K>, K: 'static> Server<R, L, M, K> {
    /// A server on `listener`, with the default configuration. Adapters offer this as `serve`.
    pub fn new(runtime: R, listener: L, maker: M) -> Self {
        Server {
            runtime,
            listener: Some(listener),
            acceptor: None,
            maker,
            settings: Some(Settings::default()),
            shared: None,
            live: None,
            shutdown: None,
            kind: PhantomData,
        }
    }

    /// Counts in `stats`, which may be shared with other servers.
    pub fn stats(mut self, stats: Arc<Stats>) -> Self {
        if let Some(settings) = &mut self.settings {
            settings.stats = stats;
        }
        self
    }

    /// Shares the gate with other servers. Without this call the server has one of its own, with the limits of
    /// its configuration.
    pub fn admission(mut self, admission: Arc<Admission>) -> Self {
        if let Some(settings) = &mut self.settings {
            settings.admission = Some(admission);
        }
        self
    }

    /// Configures connections: with a [`Config`](portcullis::Config), an `Arc` of one, or a [`LiveConfig`] that is
    /// exchanged while the server runs.
    pub fn config(mut self, config: impl Into<LiveConfig>) -> Self {
        if let Some(settings) = &mut self.settings {
            settings.live = config.into();
        }
        self
    }

    /// Adds the peer's address to the extensions of each request, as a
    /// [`PeerAddress`](crate::PeerAddress).
    pub fn tell_peer_address(mut self) -> Self {
        if let Some(settings) = &mut self.settings {
            settings.tell_peer = true;
        }
        self
    }

    /// Expects a header of the PROXY protocol, version 1 or 2, from these proxies, at the beginning of each
    /// connection and before TLS. The peer's address is then the client's, as the header tells it, for
    /// services and for the log.
    ///
    /// A proxy whose header is missing or malformed is cut off
    /// ([`CloseReason::ProxyHeader`](portcullis::CloseReason::ProxyHeader)). Other peers are served as usual:
    /// they can't choose an address, since a header is no request. List only proxies that set the header
    /// themselves.
    pub fn trust_proxies(
        mut self,
        proxies: impl IntoIterator<Item = impl Into<ProxySource>>,
    ) -> Self {
        if let Some(settings) = &mut self.settings {
            settings.proxies = proxies.into_iter().map(Into::into).collect();
        }
        self
    }

    /// Calls `hook` when a request is over, for an access log. The hook runs on the connection's task, so it must
    /// not block. Requests that are refused before they reach the service are told too, as far as they are known:
    /// [`Ending::Refused`](crate::Ending::Refused).
    pub fn access_log(mut self, hook: impl Fn(&Access<'_>) + Send + Sync + 'static) -> Self {
        if let Some(settings) = &mut self.settings {
            settings.access_log = Some(Hook::new(hook));
        }
        self
    }

    /// Lists the connections that are open in `roster`, which may be shared with other servers.
    pub fn roster(mut self, roster: Arc<Roster>) -> Self {
        if let Some(settings) = &mut self.settings {
            settings.roster = Some(roster);
        }
        self
    }

    /// Shuts down gracefully when `signal` is ready. The server then accepts nothing more, finishes requests
    /// in progress within `drain_timeout`, and is ready with its [`Report`].
    pub fn with_graceful_shutdown(
        mut self,
        signal: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.shutdown = Some(Box::pin(signal));
        self
    }
}

// What makes the services is never pinned in place.
impl<R: Runtime, L: Listener, M, K> Unpin for Server<R, L, M, K> {}

impl<R: Runtime, L: Listener, M: MakeService<L, K>, K: 'static> Future for Server<R, L, M, K> {
    /// Never an error: errors of the listener are waited out, and logged. It is a result as that of
    /// `axum::serve` is, so that programs written for that compile unchanged.
    type Output = io::Result<Report>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Report>> {
        let this = &mut *self;
        if let Some(settings) = this.settings.take() {
            let (live, generation) = (settings.live.clone(), settings.live.generation());
            let shared = settings.begin(Admission::new);
            this.acceptor = this.listener.take().map(|mut listener| {
                listener.prepare(&shared.config);
                Acceptor::new(listener, &shared)
            });
            (this.shared, this.live) = (Some(Arc::new(shared)), Some((live, generation)));
        }
        this.renew_config();
        let Some(shared) = this.shared.clone() else { return Poll::Pending };
        if let Some(signal) = &mut this.shutdown
            && signal.as_mut().poll(cx).is_ready()
        {
            this.shutdown = None;
            // Clients that have connected get an answer. The order comes first: another thread may serve
            // them before this call ends, and their answers have to announce the close.
            let last = this.acceptor.take().map(Acceptor::accept_last).unwrap_or_default();
            shared.control.give(Order::Drain, &shared.admission);
            last.into_iter().for_each(|newcomer| this.spawn(&shared, newcomer));
        }
        for _ in 0..BURST {
            let Some(acceptor) = &mut this.acceptor else {
                let left = shared.control.all_left(cx);
                return left.map_or(Poll::Pending, |(finished, cut)| {
                    Poll::Ready(Ok(Report { finished, cut }))
                });
            };
            let Poll::Ready(newcomer) = acceptor.poll_accept(cx) else { return Poll::Pending };
            this.spawn(&shared, newcomer);
        }
        R::Timer::yield_now(cx);
        Poll::Pending
    }
}

impl<R: Runtime, L: Listener, M: MakeService<L, K>, K: 'static> Server<R, L, M, K> {
    /// Newcomers get the configuration that is in force now.
    fn renew_config(&mut self) {
        if let (Some(shared), Some((live, used))) = (&mut self.shared, &mut self.live) {
            let generation = live.generation();
            if *used != generation {
                *used = generation;
                *shared = Arc::new(shared.with_config(live.get()));
            }
        }
    }

    /// Serves a connection as a task of its own, with a service of its own.
    fn spawn(&mut self, shared: &Arc<Shared>, newcomer: Newcomer<L::Socket>) {
        let (shared, newcomer) = (shared.clone(), Some(newcomer));
        let mut begun = Begun { shared, newcomer, maker: None, making: None };
        let mut cx = Context::from_waker(Waker::noop());
        // The application may panic. Only this connection ends.
        let polled = guarded(|| {
            begun.maker = Some(self.maker.clone());
            begun.poll(&mut cx)
        });
        match polled {
            Some(Poll::Ready(made)) => {
                if let Some(drive) = begun.serve::<R::Timer>(made) {
                    self.runtime.spawn(Detached(drive));
                }
            }
            Some(Poll::Pending) => self.runtime.spawn(async move {
                let made = poll_fn(|cx| begun.poll(cx)).await;
                if let Some(drive) = begun.serve::<R::Timer>(made) {
                    drive.await;
                }
            }),
            None => {}
        }
    }
}

/// A connection with its service.
type Served<T, L, M, K> = Drive<
    T,
    <L as Listener>::Socket,
    <M as MakeService<L, K>>::Service,
    <M as MakeService<L, K>>::Kind,
>;

/// A connection that has a place and no service yet. The place is given back if it is dropped.
struct Begun<L: Listener, M: MakeService<L, K>, K> {
    shared: Arc<Shared>,
    newcomer: Option<Newcomer<L::Socket>>,
    /// Until it is ready.
    maker: Option<M>,
    making: Option<M::Making>,
}

// No field is pinned in place.
impl<L: Listener, M: MakeService<L, K>, K> Unpin for Begun<L, M, K> {}

impl<L: Listener, M: MakeService<L, K>, K> Begun<L, M, K> {
    /// Has the service made.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<M::Service, BoxError>> {
        loop {
            if let Some(making) = &mut self.making {
                return Pin::new(making).poll(cx);
            }
            if let Some(maker) = &mut self.maker {
                ready!(maker.poll_ready(cx))?;
            }
            let (Some(maker), Some((socket, address, _))) = (self.maker.take(), &self.newcomer)
            else {
                return Poll::Ready(Err("polled after its end".into()));
            };
            self.making = Some(maker.make(L::peer(socket, address)));
        }
    }

    /// The connection with its service, if that could be made.
    fn serve<T: Timer>(mut self, made: Result<M::Service, BoxError>) -> Option<Served<T, L, M, K>> {
        match made {
            Ok(service) => {
                let newcomer = self.newcomer.take()?;
                Some(Drive::new(self.shared.clone(), newcomer, service))
            }
            Err(error) => {
                tracing::error!(%error, "a connection was closed, because no service could be made for it");
                None
            }
        }
    }
}

impl<L: Listener, M: MakeService<L, K>, K> Drop for Begun<L, M, K> {
    fn drop(&mut self) {
        if let Some(newcomer) = self.newcomer.take() {
            self.shared.admission.leave(newcomer.2, clock::tick(Instant::now()));
        }
    }
}

/// A connection on a task of its own. Its end is in the counters and in the log.
struct Detached<F>(F);

impl<F: Future + Unpin> Future for Detached<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl<R: Runtime, L: Listener, M, K> Drop for Server<R, L, M, K> {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.control.give(Order::End, &shared.admission);
        }
    }
}

impl<R: Runtime, L: Listener, M, K> fmt::Debug for Server<R, L, M, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}
