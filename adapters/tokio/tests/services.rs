//! The tests that all adapters share, on tokio, and its two flavours of runtime.

#[path = "../../driver/tests/services/mod.rs"]
mod services;

use portcullis_tokio as adapter;
use portcullis_tokio::{Config, Server, Service, Tokio, TokioListener, serve};
use std::future::Future;
use std::net::TcpListener as StdListener;
use std::sync::{Arc, LazyLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
});

fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    drop(RUNTIME.spawn(future));
}

fn server<S: Service<K>, K>(
    listener: StdListener,
    config: Arc<Config>,
    service: S,
) -> Server<Tokio, S, K> {
    let _entered = RUNTIME.enter();
    serve(TcpListener::from_std(listener).expect("a listener"), config, service)
}

fn parts(listener: StdListener) -> (Tokio, TokioListener) {
    let _entered = RUNTIME.enter();
    let listener = TcpListener::from_std(listener).expect("a listener");
    (Tokio::current(), TokioListener::new(listener))
}

#[test]
fn a_runtime_of_one_thread_serves() {
    use http::{Request, Response};
    use http_body_util::Full;

    let hello = async |_: Request<adapter::Body>| Response::new(Full::new(&b"hello"[..]));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(serve(listener, Arc::default(), hello));
        let mut stream = TcpStream::connect(address).await.expect("it accepts");
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    });
}
