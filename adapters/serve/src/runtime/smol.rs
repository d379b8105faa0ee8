//! smol: one executor for all threads, its listeners and its timer.

use super::{Drained, Plan};
use crate::listen::Bound;
use async_channel::Receiver;
use portcullis_smol::{Service, serve_on as server};
use smol::net::TcpListener;
#[cfg(unix)]
use smol::net::unix::UnixListener;
use smol::{Executor, Timer, block_on};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Ready after `pause`.
pub(super) fn sleep(pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move { _ = Timer::after(pause).await })
}

/// Serves until the plan's stop, and everything is drained.
pub(super) fn serve<S: Service<K>, K: 'static>(mut plan: Plan, service: &S) -> io::Result<Drained> {
    let executor = Arc::new(Executor::new());
    let mut servers = Vec::new();
    for listener in take(&mut plan.listeners) {
        let (on, service) = (executor.clone(), service.clone());
        servers.push(executor.spawn(match listener {
            Bound::Tcp(listener) => {
                plan.equip(server(on, TcpListener::try_from(listener)?, service))
            }
            #[cfg(unix)]
            Bound::Unix(listener) => {
                plan.equip(server(on, UnixListener::try_from(listener)?, service))
            }
        }));
    }
    // This thread also serves. Dropping `running`, at the end or after an error, stops the other
    // threads.
    let (running, done) = async_channel::bounded::<Infallible>(1);
    for number in 1..plan.threads {
        let (executor, done) = (executor.clone(), done.clone());
        let name = format!("smol-{number}");
        thread::Builder::new().name(name).spawn(move || run(&executor, &done))?;
    }
    let drained = block_on(executor.run(Drained::all(servers)));
    drop(running);
    drained
}

/// Runs tasks until the channel closes.
fn run(executor: &Executor<'_>, done: &Receiver<Infallible>) {
    // Nothing is sent on the channel: it only closes.
    let _closed = block_on(executor.run(done.recv()));
}
