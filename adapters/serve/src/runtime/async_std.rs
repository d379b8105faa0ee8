//! async-std: its global executor, its listeners, and the timer of `async-io`, which it is built
//! on.

use super::{Drained, Plan};
use async_global_executor::{GlobalExecutorConfig, init_with_config};
use async_io::Timer;
use async_std::net::TcpListener;
use async_std::task;
use futures_lite::future::block_on;
use portcullis_async_std::{Service, serve as server};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

/// Ready after `pause`.
pub(super) fn sleep(pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move { _ = Timer::after(pause).await })
}

/// Serves until the plan's stop, then drains.
pub(super) fn serve<S: Service<K>, K: 'static>(plan: Plan, service: &S) -> io::Result<Drained> {
    // async-std would start the executor itself, with as many threads as an environment variable
    // says. Here the command line decides. No variable can have the name `=`.
    let config = GlobalExecutorConfig::default()
        .with_env_var("=")
        .with_min_threads(plan.threads)
        .with_max_threads(plan.threads)
        .with_thread_name_fn(|| "async-std".to_owned());
    init_with_config(config);
    let mut servers = Vec::new();
    for listener in plan.listeners {
        let server = server(TcpListener::from(listener), plan.config.clone(), service.clone())
            .stats(plan.stats.clone())
            .admission(plan.admission.clone())
            .shutdown_on(plan.stop.clone().wait());
        servers.push(task::spawn(server));
    }
    // This thread only waits. async-std's own `block_on` would also run the reactor here.
    Ok(block_on(Drained::all(servers)))
}
