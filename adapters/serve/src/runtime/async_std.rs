//! async-std: its global executor, its listeners, and the timer of `async-io`, which it is built
//! on.

use super::{Drained, Plan};
use crate::listen::Bound;
use async_global_executor::{GlobalExecutorConfig, init_with_config};
use async_io::Timer;
use async_std::net::TcpListener;
#[cfg(unix)]
use async_std::os::unix::net::UnixListener;
use async_std::task;
use futures_lite::future::block_on;
use portcullis_async_std::{Service, serve as server};
use std::future::Future;
use std::io;
use std::mem::take;
use std::pin::Pin;
use std::time::Duration;

/// Ready after `pause`.
pub(super) fn sleep(pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move { _ = Timer::after(pause).await })
}

/// Serves until the plan's stop, and everything is drained.
pub(super) fn serve<S: Service<K>, K: 'static>(mut plan: Plan, service: &S) -> io::Result<Drained> {
    // async-std starts the executor itself unless it runs already, with as many threads as a variable
    // says. Here the command line does, and the name is one that no variable can have.
    let config = GlobalExecutorConfig::default()
        .with_env_var("=")
        .with_min_threads(plan.threads)
        .with_max_threads(plan.threads)
        .with_thread_name_fn(|| "async-std".to_owned());
    init_with_config(config);
    let mut servers = Vec::new();
    for listener in take(&mut plan.listeners) {
        let service = service.clone();
        servers.push(task::spawn(match listener {
            Bound::Tcp(listener) => plan.equip(server(TcpListener::from(listener), service)),
            #[cfg(unix)]
            Bound::Unix(listener) => plan.equip(server(UnixListener::from(listener), service)),
        }));
    }
    // This thread only waits. async-std's own `block_on` would also run the reactor here.
    block_on(Drained::all(servers))
}
