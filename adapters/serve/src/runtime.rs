//! The runtimes that the program runs on. Each has a file of its name for what differs.

#[cfg(feature = "async-std")]
mod async_std;
mod smol;
mod tokio;

use crate::listen::Bound;
use crate::signals::Stop;
use clap::ValueEnum;
use portcullis_driver::{
    self as driver, Admission, Listener, LiveConfig, MakeService, ProxySource, Report, Roster,
    Server, Service, Stats,
};
use portcullis_serve::proxy::Reactor;
use portcullis_serve::{AccessLog, Sleep};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

/// A runtime to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    /// tokio, with a scheduler for one thread or for many
    Tokio,
    /// smol, with one executor that all threads run
    Smol,
    #[cfg(feature = "async-std")]
    /// async-std, which is discontinued; smol has the same reactor
    AsyncStd,
}

/// What a runtime needs to serve.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Sockets that listen and do not block; a server for each.
    pub(crate) listeners: Vec<Bound>,
    pub(crate) threads: usize,
    /// The configuration of new connections.
    pub(crate) live: LiveConfig,
    /// Shared by all servers.
    pub(crate) stats: Arc<Stats>,
    /// Limits the connections of all servers together.
    pub(crate) admission: Arc<Admission>,
    pub(crate) proxies: Vec<ProxySource>,
    pub(crate) access_log: Option<AccessLog>,
    /// The list of connections for the status page.
    pub(crate) roster: Option<Arc<Roster>>,
    pub(crate) stop: Stop,
}

/// A server on a listener of either kind.
type AnyServer = Pin<Box<dyn Future<Output = io::Result<Report>> + Send>>;

impl Plan {
    /// The server with what all servers of the plan share.
    fn equip<R: driver::Runtime, L: Listener, M: MakeService<L, K>, K: 'static>(
        &self,
        server: Server<R, L, M, K>,
    ) -> AnyServer {
        let mut server = server
            .config(self.live.clone())
            .stats(self.stats.clone())
            .admission(self.admission.clone())
            .trust_proxies(self.proxies.iter().copied())
            .with_graceful_shutdown(self.stop.clone().wait());
        if let Some(roster) = self.roster.clone() {
            server = server.roster(roster);
        }
        if let Some(log) = self.access_log.clone() {
            server = server.access_log(move |access| log.log(access));
        }
        Box::pin(server)
    }
}

/// How the drain of all servers went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drained {
    pub(crate) finished: u64,
    pub(crate) cut: u64,
}

impl Drained {
    /// Adds the report of one server.
    fn add(&mut self, report: Report) {
        self.finished += report.finished;
        self.cut += report.cut;
    }

    /// Waits for all servers and adds up their reports.
    async fn all(servers: Vec<impl Future<Output = io::Result<Report>>>) -> io::Result<Self> {
        let mut drained = Drained::default();
        for server in servers {
            drained.add(server.await?);
        }
        Ok(drained)
    }
}

impl Runtime {
    /// The runtime's timer, for services that wait.
    pub(crate) fn sleep(self) -> Sleep {
        match self {
            Runtime::Tokio => tokio::sleep,
            Runtime::Smol => smol::sleep,
            #[cfg(feature = "async-std")]
            Runtime::AsyncStd => async_std::sleep,
        }
    }

    /// What opens the sockets of the proxy.
    pub(crate) fn reactor(self) -> Reactor {
        match self {
            Runtime::Tokio => Reactor::Tokio,
            Runtime::Smol => Reactor::Smol,
            // Both have the same reactor.
            #[cfg(feature = "async-std")]
            Runtime::AsyncStd => Reactor::Smol,
        }
    }

    /// Serves until `stop`, then drains.
    pub(crate) fn serve<S: Service<K>, K: 'static>(
        self,
        plan: Plan,
        service: S,
    ) -> io::Result<Drained> {
        match self {
            Runtime::Tokio => tokio::serve(plan, &service),
            Runtime::Smol => smol::serve(plan, &service),
            #[cfg(feature = "async-std")]
            Runtime::AsyncStd => async_std::serve(plan, &service),
        }
    }
}
