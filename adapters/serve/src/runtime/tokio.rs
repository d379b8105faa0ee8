//! tokio: its schedulers, its listeners and its timer.

use super::{Drained, Plan};
use portcullis_tokio::{Service, serve as server};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

/// Ready after `pause`.
pub(super) fn sleep(pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(tokio::time::sleep(pause))
}

/// Serves until the plan's stop, then drains.
pub(super) fn serve<S: Service<K>, K: 'static>(plan: Plan, service: &S) -> io::Result<Drained> {
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
        for listener in plan.listeners {
            let listener = TcpListener::from_std(listener)?;
            let server = server(listener, plan.config.clone(), service.clone())
                .stats(plan.stats.clone())
                .admission(plan.admission.clone())
                .shutdown_on(plan.stop.clone().wait());
            servers.spawn(server);
        }
        let mut drained = Drained::default();
        while let Some(report) = servers.join_next().await {
            drained.add(report?);
        }
        Ok(drained)
    })
}
