//! Applications of axum on `serve`, with the lines that they have for `axum::serve`.

use ::axum::Router;
use ::axum::extract::connect_info::Connected;
use ::axum::extract::{ConnectInfo, Request};
use ::axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_tokio::{Address, Config, IncomingStream, Report, serve};
use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tower::service_fn;

async fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// The answer to `GET /`, and the client's address.
async fn get_from(address: SocketAddr, http2: bool) -> (String, SocketAddr) {
    let stream = TcpStream::connect(address).await.expect("it accepts");
    let from = stream.local_addr().expect("it is connected");
    let request = if http2 {
        hyper::Request::get(format!("http://{address}/"))
    } else {
        hyper::Request::get("/").header("host", "a")
    };
    let request = request.body(Empty::<Bytes>::new()).expect("valid");
    let answer = if http2 {
        let (mut client, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        client.send_request(request).await
    } else {
        let (mut client, connection) =
            http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        client.send_request(request).await
    };
    let content = answer.expect("an answer").into_body().collect().await.expect("content");
    (String::from_utf8_lossy(&content.to_bytes()).into_owned(), from)
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

#[test]
fn serve_has_the_shape_of_axums() {
    run(async {
        let (listener, address) = bound().await;
        let app = Router::new().route("/", get(async || "hello"));
        let (stop, stopped) = oneshot::channel::<()>();
        // As axum's example of a graceful shutdown has it.
        let server = tokio::spawn(async move {
            serve(listener, app)
                .with_graceful_shutdown(async { drop(stopped.await) })
                .await
                .unwrap()
        });
        for http2 in [false, true] {
            assert_eq!(get_from(address, http2).await.0, "hello");
        }
        drop(stop);
        let Report { cut, .. } = server.await.expect("it ends");
        assert_eq!(cut, 0);
    });
}

#[test]
fn handlers_are_told_where_the_client_is() {
    async fn whoami(ConnectInfo(address): ConnectInfo<SocketAddr>) -> String {
        address.to_string()
    }
    run(async {
        let (listener, address) = bound().await;
        let app = Router::new().route("/", get(whoami));
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { serve(listener, app).config(Config::strict()).await.unwrap() });
        for http2 in [false, true] {
            let (told, from) = get_from(address, http2).await;
            assert_eq!(told, from.to_string());
        }
    });
}

/// What an application wants to know of a connection.
#[derive(Clone)]
struct Whence(Address);

impl Connected<IncomingStream<'_, TcpListener>> for Whence {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        assert_eq!(stream.io().peer_addr().ok(), Some(*stream.remote_addr()));
        Whence((*stream.remote_addr()).into())
    }
}

#[test]
fn an_application_has_its_own_connect_info() {
    run(async {
        let (listener, address) = bound().await;
        let whence = async |ConnectInfo(Whence(address)): ConnectInfo<Whence>| address.to_string();
        let app = Router::new().route("/", get(whence));
        let app = app.into_make_service_with_connect_info::<Whence>();
        tokio::spawn(async move { serve(listener, app).await.unwrap() });
        let (told, from) = get_from(address, false).await;
        assert_eq!(told, from.to_string());
    });
}

#[test]
fn a_make_service_is_called_for_each_connection_and_may_take_its_time() {
    run(async {
        let (listener, address) = bound().await;
        let made = Arc::new(AtomicUsize::new(0));
        let maker = service_fn(move |_: IncomingStream<'_, TcpListener>| {
            let number = made.fetch_add(1, SeqCst);
            async move {
                tokio::task::yield_now().await;
                let answer = move |_: Request<portcullis_tokio::Body>| {
                    ready(Ok::<_, Infallible>(http::Response::new(number.to_string())))
                };
                if number == 1 {
                    Err("no service for the second connection")
                } else {
                    Ok(service_fn(answer))
                }
            }
        });
        tokio::spawn(async move { serve(listener, maker).await.unwrap() });
        assert_eq!(get_from(address, false).await.0, "0");
        let stream = TcpStream::connect(address).await.expect("it accepts");
        let mut rest = Vec::new();
        let mut stream = stream;
        // It is closed, and its place is free.
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
        assert!(rest.is_empty());
        assert_eq!(get_from(address, true).await.0, "2");
    });
}
