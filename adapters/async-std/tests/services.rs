//! The tests that all adapters share, on async-std.

use async_io::Async;
use async_std::net::TcpListener;
use async_std::task;
use portcullis_async_std::{
    AsyncListener, AsyncStd, Cloned, Config, Listener, ServeConnection, Server, Service, Socket,
    Timer, memory, serve, serve_connection,
};
use portcullis_services::Adapter;
use std::future::Future;
use std::net::TcpListener as StdListener;
use std::sync::Arc;

/// The adapter, for the tests that all adapters share.
struct OnAsyncStd;

impl Adapter for OnAsyncStd {
    type Runtime = AsyncStd;
    type Listener = AsyncListener<StdListener>;

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        drop(task::spawn(future));
    }

    fn server<S: Service<K>, K: 'static>(
        listener: StdListener,
        config: Arc<Config>,
        service: S,
    ) -> Server<AsyncStd, AsyncListener<StdListener>, S, Cloned<K>> {
        serve(TcpListener::from(listener), service).config(config)
    }

    fn connection<S: Service<K>, K: 'static>(
        io: memory::Stream,
        config: Arc<Config>,
        service: S,
    ) -> ServeConnection<impl Timer, impl Socket, S, K> {
        serve_connection(io, service).config(config)
    }

    fn tcp_connection<S: Service<K>, K: 'static>(
        stream: std::net::TcpStream,
        config: Arc<Config>,
        service: S,
    ) -> ServeConnection<impl Timer, impl Socket, S, K> {
        serve_connection(async_std::net::TcpStream::from(stream), service).config(config)
    }

    #[cfg(unix)]
    fn unix_connection<S: Service<K>, K: 'static>(
        stream: std::os::unix::net::UnixStream,
        config: Arc<Config>,
        service: S,
    ) -> ServeConnection<impl Timer, impl Socket, S, K> {
        serve_connection(async_std::os::unix::net::UnixStream::from(stream), service).config(config)
    }

    #[cfg(unix)]
    fn unix_server<S: Service<K>, K: 'static>(
        listener: std::os::unix::net::UnixListener,
        config: Arc<Config>,
        service: S,
    ) -> Server<AsyncStd, impl Listener, S, Cloned<K>> {
        serve(async_std::os::unix::net::UnixListener::from(listener), service).config(config)
    }

    fn parts(listener: StdListener) -> (AsyncStd, AsyncListener<StdListener>) {
        let listener = Async::new(listener).expect("a listener");
        (AsyncStd, AsyncListener::new(Arc::new(listener)))
    }
}

portcullis_services::services!(OnAsyncStd);
