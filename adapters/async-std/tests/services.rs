//! The tests that all adapters share, on async-std.

#[path = "../../driver/tests/services/mod.rs"]
mod services;

use async_io::Async;
use async_std::net::TcpListener;
use async_std::task;
use portcullis_async_std as adapter;
use portcullis_async_std::{AsyncListener, AsyncStd, Config, Server, Service, serve};
use std::future::Future;
use std::net::TcpListener as StdListener;
use std::sync::Arc;

fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    drop(task::spawn(future));
}

fn server<S: Service<K>, K: 'static>(
    listener: StdListener,
    config: Arc<Config>,
    service: S,
) -> Server<AsyncStd, AsyncListener<StdListener>, S, K> {
    serve(TcpListener::from(listener), config, service)
}

fn parts(listener: StdListener) -> (AsyncStd, AsyncListener<StdListener>) {
    let listener = Async::new(listener).expect("a listener");
    (AsyncStd, AsyncListener::new(Arc::new(listener), &Config::default()))
}
