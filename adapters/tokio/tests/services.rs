//! The tests that all adapters share, on tokio, and its two flavours of runtime.

use portcullis_services::Adapter;
use portcullis_tokio as adapter;
use portcullis_tokio::{
    Cloned, Config, IntoListener, Listener, ServeConnection, Server, Service, Socket, Timer, Tokio,
    TokioListener, memory, serve, serve_connection,
};
use std::future::Future;
use std::net::TcpListener as StdListener;
use std::sync::{Arc, LazyLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
});

/// The adapter, for the tests that all adapters share.
struct OnTokio;

impl Adapter for OnTokio {
    type Runtime = Tokio;
    type Listener = TokioListener<TcpListener>;

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        drop(RUNTIME.spawn(future));
    }

    fn server<S: Service<K>, K: 'static>(
        listener: StdListener,
        config: Arc<Config>,
        service: S,
    ) -> Server<Tokio, TokioListener<TcpListener>, S, Cloned<K>> {
        let _entered = RUNTIME.enter();
        serve(TcpListener::from_std(listener).expect("a listener"), service).config(config)
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
        let _entered = RUNTIME.enter();
        serve_connection(TcpStream::from_std(stream).expect("a stream"), service).config(config)
    }

    #[cfg(unix)]
    fn unix_connection<S: Service<K>, K: 'static>(
        stream: std::os::unix::net::UnixStream,
        config: Arc<Config>,
        service: S,
    ) -> ServeConnection<impl Timer, impl Socket, S, K> {
        let _entered = RUNTIME.enter();
        let stream = tokio::net::UnixStream::from_std(stream).expect("a stream");
        serve_connection(stream, service).config(config)
    }

    #[cfg(unix)]
    fn unix_server<S: Service<K>, K: 'static>(
        listener: std::os::unix::net::UnixListener,
        config: Arc<Config>,
        service: S,
    ) -> Server<Tokio, impl Listener, S, Cloned<K>> {
        let _entered = RUNTIME.enter();
        let listener = tokio::net::UnixListener::from_std(listener).expect("a listener");
        serve(listener, service).config(config)
    }

    fn parts(listener: StdListener) -> (Tokio, TokioListener<TcpListener>) {
        let _entered = RUNTIME.enter();
        let listener = TcpListener::from_std(listener).expect("a listener");
        (Tokio::current(), listener.into_listener())
    }
}

portcullis_services::services!(OnTokio);

#[test]
fn a_runtime_of_one_thread_serves() {
    use http::{Request, Response};
    use http_body_util::Full;

    let hello = async |_: Request<adapter::Body>| Response::new(Full::new(&b"hello"[..]));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(serve(listener, hello));
        let mut stream = TcpStream::connect(address).await.expect("it accepts");
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    });
}

#[test]
fn on_one_thread_a_request_waits_for_no_more_than_a_few_turns_of_another_connection() {
    use http::{Request, Response};
    use http_body_util::Full;
    use std::io::{Read, Write};
    use std::net::TcpStream as StdStream;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc::channel;

    const MANY: usize = 1000;
    let (begun, begins) = channel();
    let (sent, goes_on) = channel::<()>();
    let (goes_on, calls) = (Arc::new(Mutex::new(goes_on)), Arc::new(AtomicUsize::new(0)));
    let service = move |request: Request<adapter::Body>| {
        // The first request keeps the thread until the other connection's is there.
        if request.uri().path() == "/bully" && calls.fetch_add(1, SeqCst) == 0 {
            begun.send(()).expect("the test waits");
            goes_on.lock().expect("no panic").recv().expect("it goes on");
        }
        let calls = calls.load(SeqCst).to_string();
        async move { Response::new(Full::<axum::body::Bytes>::from(calls)) }
    };
    let listener = StdListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("it can be set");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).expect("a listener");
            serve(listener, service).await
        })
    });
    let mut bully = StdStream::connect(address).expect("it accepts");
    let mut other = StdStream::connect(address).expect("it accepts");
    let requests = "GET /bully HTTP/1.1\r\nHost: a\r\n\r\n".repeat(MANY);
    bully.write_all(requests.as_bytes()).expect("it reads");
    begins.recv().expect("it begins");
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    other.write_all(request).expect("the kernel takes it");
    sent.send(()).expect("it waits");
    let mut answer = String::new();
    other.read_to_string(&mut answer).expect("an answer");
    let before = answer.rsplit("\r\n").next().and_then(|calls| calls.parse().ok());
    assert!(before.is_some_and(|before: usize| before <= 2 * 256), "{answer}");
}
