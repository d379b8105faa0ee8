//! The tests that all adapters share, on smol's global executor, and an executor of one's own.

use http::{Request, Response};
use http_body_util::Full;
use portcullis_services::Adapter;
use portcullis_smol::{
    AsyncListener, Body, Cloned, Config, Listener, ServeConnection, Server, Service, Smol, Socket,
    Timer, memory, serve, serve_connection, serve_on,
};
use smol::Executor;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use std::future::Future;
use std::net::TcpListener as StdListener;
use std::ops::Deref;
use std::sync::Arc;

/// The adapter, for the tests that all adapters share.
struct OnSmol;

impl Adapter for OnSmol {
    type Runtime = Smol;
    type Listener = AsyncListener<StdListener>;

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(future).detach();
    }

    fn server<S: Service<K>, K: 'static>(
        listener: StdListener,
        config: Arc<Config>,
        service: S,
    ) -> Server<Smol, AsyncListener<StdListener>, S, Cloned<K>> {
        serve(TcpListener::try_from(listener).expect("a listener"), service).config(config)
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
        serve_connection(TcpStream::try_from(stream).expect("a stream"), service).config(config)
    }

    #[cfg(unix)]
    fn unix_connection<S: Service<K>, K: 'static>(
        stream: std::os::unix::net::UnixStream,
        config: Arc<Config>,
        service: S,
    ) -> ServeConnection<impl Timer, impl Socket, S, K> {
        let stream = smol::net::unix::UnixStream::try_from(stream).expect("a stream");
        serve_connection(stream, service).config(config)
    }

    #[cfg(unix)]
    fn unix_server<S: Service<K>, K: 'static>(
        listener: std::os::unix::net::UnixListener,
        config: Arc<Config>,
        service: S,
    ) -> Server<Smol, impl Listener, S, Cloned<K>> {
        let listener = smol::net::unix::UnixListener::try_from(listener).expect("a listener");
        serve(listener, service).config(config)
    }

    fn parts(listener: StdListener) -> (Smol, AsyncListener<StdListener>) {
        let listener = TcpListener::try_from(listener).expect("a listener");
        (Smol, AsyncListener::new(listener.into()))
    }
}

portcullis_services::services!(OnSmol);

async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
    Response::new(Full::new(b"hello"))
}

async fn ask(listener: &TcpListener) -> String {
    let address = listener.local_addr().expect("it is bound");
    let mut stream = TcpStream::connect(address).await.expect("it accepts");
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

fn serves_on<E>(executor: E)
where
    E: Deref<Target = Executor<'static>> + Clone + Send + Sync + 'static,
{
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let server = serve_on(executor.clone(), listener.clone(), hello);
        let server = executor.spawn(server);
        assert!(ask(&listener).await.ends_with("\r\n\r\nhello"));
        drop(server);
    }));
}

#[test]
fn an_executor_of_ones_own_serves() {
    static EXECUTOR: Executor<'static> = Executor::new();
    serves_on(&EXECUTOR);
    serves_on(Arc::new(Executor::new()));
}

#[test]
fn two_servers_may_accept_from_one_listener() {
    let executor = Arc::new(Executor::new());
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let start = || executor.spawn(serve_on(executor.clone(), listener.clone(), hello));
        let servers = [start(), start()];
        for _ in 0..20 {
            assert!(ask(&listener).await.ends_with("\r\n\r\nhello"));
        }
        drop(servers);
    }));
}
