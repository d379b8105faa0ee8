//! The runtimes that the program runs on. Each has a file of its name for what differs.

#[cfg(feature = "async-std")]
mod async_std;
mod smol;
mod tokio;

use crate::signals::Stop;
use clap::ValueEnum;
use portcullis::Config;
use portcullis_driver::{Admission, Report, Service, Stats};
use portcullis_serve::Sleep;
use std::future::Future;
use std::io;
use std::net::TcpListener;
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
    /// Non-blocking listening sockets. Each gets a server of its own.
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) threads: usize,
    pub(crate) config: Arc<Config>,
    /// Shared by all servers.
    pub(crate) stats: Arc<Stats>,
    /// Limits the connections of all servers together.
    pub(crate) admission: Arc<Admission>,
    pub(crate) stop: Stop,
}

/// How many connections the drain of all servers finished, and how many it cut off.
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
    async fn all(servers: Vec<impl Future<Output = Report>>) -> Self {
        let mut drained = Drained::default();
        for server in servers {
            drained.add(server.await);
        }
        drained
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
