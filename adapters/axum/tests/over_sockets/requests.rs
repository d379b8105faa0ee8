//! What handlers are told of their requests and clients.

use crate::client::start;
use axum::Router;
#[cfg(unix)]
use axum::extract::ConnectInfo;
#[cfg(unix)]
use axum::extract::connect_info::Connected;
use axum::routing::{get, post};
#[cfg(unix)]
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
#[cfg(unix)]
use portcullis_axum::Address;
use portcullis_axum::{BodyLimit, Deadlines, Disconnected};
#[cfg(unix)]
use portcullis_tokio::{IncomingStream, serve};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// What the system knows of a client over a Unix socket.
#[cfg(unix)]
#[derive(Clone)]
struct Who {
    user: u32,
    is_unnamed: bool,
    address: Address,
}

#[cfg(unix)]
impl Connected<IncomingStream<'_, UnixListener>> for Who {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Who {
            user: stream.io().peer_cred().expect("the system tells").uid(),
            is_unnamed: stream.remote_addr().is_unnamed(),
            address: stream.address().clone(),
        }
    }
}

#[tokio::test]
async fn a_type_of_the_applications_own_looks_at_the_stream_for_connect_info() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let who = async |ConnectInfo(who): ConnectInfo<Who>| {
        format!("{} {} {}", who.user, who.is_unnamed, who.address)
    };
    let app = Router::new().route("/", get(who)).into_make_service_with_connect_info::<Who>();
    let listener = UnixListener::bind(&path).expect("a free path");
    tokio::spawn(async move { serve(listener, app).await });
    let stream = UnixStream::connect(&path).await.expect("it accepts");
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "a").body(Full::<hyper::body::Bytes>::default());
    let answer = client.send_request(request.expect("valid")).await.expect("an answer");
    let content = answer.into_body().collect().await.expect("content").to_bytes();
    let user = std::fs::metadata(&path).expect("it is there").uid();
    assert_eq!(content, format!("{user} true unix"));
}

#[tokio::test]
async fn a_route_has_its_own_limit_of_content() {
    async fn count(content: axum::body::Bytes) -> String {
        content.len().to_string()
    }
    let app = Router::new()
        .route("/small", post(count).layer(BodyLimit::bytes(100)))
        .route("/large", post(count));
    let served = start(app).await;
    for (path, length, status) in [
        ("/small", 100, StatusCode::OK),
        ("/small", 101, StatusCode::PAYLOAD_TOO_LARGE),
        ("/large", 101, StatusCode::OK),
    ] {
        let stream = TcpStream::connect(served.address).await.expect("it accepts");
        let (mut client, connection) =
            http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        let content = Full::new(hyper::body::Bytes::from(vec![7; length]));
        let request = Request::post(path).header("host", "a").body(content).expect("valid");
        let answer = client.send_request(request).await.expect("an answer");
        assert_eq!(answer.status(), status, "{length} bytes to {path}");
    }
}

/// Sends content piece by piece until the answer comes, and returns its first line.
async fn trickle(address: SocketAddr, path: &str, pieces: usize) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it accepts");
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {pieces}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut line = Vec::new();
    for _ in 0..pieces {
        let pause = tokio::time::sleep(Duration::from_millis(2));
        tokio::select! {
            read = stream.read_buf(&mut line) => {
                assert!(read.expect("an answer") > 0);
                break;
            }
            () = pause => stream.write_all(b"x").await.expect("it reads"),
        }
    }
    while !line.contains(&b'\r') {
        assert!(stream.read_buf(&mut line).await.expect("an answer") > 0);
    }
    String::from_utf8_lossy(&line).lines().next().expect("a line").to_owned()
}

#[tokio::test]
async fn a_route_has_its_own_deadlines() {
    async fn count(content: axum::body::Bytes) -> String {
        content.len().to_string()
    }
    let hurried = Deadlines::new()
        .body(Some(Duration::from_millis(100)))
        .response(Some(Duration::from_millis(100)));
    let long = async || vec![b'x'; 16 << 20];
    let app = Router::new()
        .route("/hurried", post(count).get(long).layer(hurried))
        .route("/usual", post(count).get(long));
    let address = start(app).await.address;
    assert_eq!(trickle(address, "/hurried", 1_000_000).await, "HTTP/1.1 408 Request Timeout");
    assert_eq!(trickle(address, "/usual", 200).await, "HTTP/1.1 200 OK");

    let read = async |path: &str| {
        let mut stream = TcpStream::connect(address).await.expect("it accepts");
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let (mut taken, mut piece) = (0, vec![0; 64 << 10]);
        while let Ok(bytes) = stream.read(&mut piece).await
            && bytes > 0
        {
            taken += bytes;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        taken
    };
    assert!(read("/hurried").await < 16 << 20);
    assert!(read("/usual").await > 16 << 20);
}

#[tokio::test]
async fn a_handler_is_told_when_its_client_has_gone() {
    let (told, mut tells) = unbounded_channel();
    let told: Arc<Mutex<UnboundedSender<&str>>> = Arc::new(Mutex::new(told));
    let app = Router::new().route(
        "/",
        get(async move |gone: Disconnected| {
            let tell = |what| told.lock().expect("no panic").send(what).expect("the test listens");
            tell("begun");
            gone.await;
            tell("gone");
        }),
    );
    let served = start(app).await;
    let mut stream = TcpStream::connect(served.address).await.expect("it accepts");
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.expect("sent");
    assert_eq!(tells.recv().await, Some("begun"));
    drop(stream);
    assert_eq!(tells.recv().await, Some("gone"));
}
