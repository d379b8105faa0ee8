//! tokio: its schedulers, its listeners and its timer.

use super::{Drained, Plan};
use crate::listen::Bound;
use portcullis_tokio::{Service, serve as server};
use std::future::Future;
use std::io;
use std::mem::take;
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

/// Ready after `pause`.
pub(super) fn sleep(pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(tokio::time::sleep(pause))
}

/// Serves until the plan's stop, and everything is drained.
pub(super) fn serve<S: Service<K>, K: 'static>(mut plan: Plan, service: &S) -> io::Result<Drained> {
    let mut builder = match plan.threads {
        1 => Builder::new_current_thread(),
        threads => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    builder.enable_io().enable_time().build()?.block_on(async {
        // Servers run as tasks, so that accepting happens on the threads of the connections.
        let mut servers = JoinSet::new();
        for listener in take(&mut plan.listeners) {
            let service = service.clone();
            servers.spawn(match listener {
                Bound::Tcp(listener) => {
                    plan.equip(server(TcpListener::from_std(listener)?, service))
                }
                #[cfg(unix)]
                Bound::Unix(listener) => {
                    plan.equip(server(UnixListener::from_std(listener)?, service))
                }
            });
        }
        let mut drained = Drained::default();
        while let Some(report) = servers.join_next().await {
            drained.add(report??);
        }
        Ok(drained)
    })
}
