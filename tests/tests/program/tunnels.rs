//! Tunnels with clients that nobody here wrote: curl through a proxy, and hyper over HTTP/1.1 and HTTP/2. The proxy is
//! axum's example `http-proxy`, in which `hyper::upgrade` is `portcullis_tokio::upgrade`, and `serve` is ours.

use crate::clients::{curl, has_curl};
use crate::place::{Place, tests};
use crate::support::Program;
use ::axum::Router;
use ::axum::body::Body;
use ::axum::extract::Request;
use ::axum::http::{Method, StatusCode};
use ::axum::response::{IntoResponse, Response};
use ::axum::routing::get;
use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use ::tokio::net::{TcpListener, TcpStream};
use ::tokio::runtime::Runtime;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_tokio::upgrade::{self, Upgraded};
use portcullis_tokio::{Config, serve};
use std::convert::Infallible;
use std::net::SocketAddr;
use tower::{ServiceExt, service_fn};

tests! {
    everywhere:
        curl_fetches_through_a_proxy;
}

async fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

fn runtime() -> Runtime {
    let runtime = ::tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// axum's example.
async fn serve_proxy(listener: TcpListener) {
    let router_svc = Router::new().route("/", get(async || "Hello, World!"));
    let tower_service = service_fn(move |req: Request<_>| {
        let router_svc = router_svc.clone();
        let req = req.map(Body::new);
        async move {
            if req.method() == Method::CONNECT {
                proxy(req).await
            } else {
                router_svc.oneshot(req).await
            }
        }
    });
    serve(listener, tower_service).await.expect("it never fails");
}

async fn proxy(req: Request) -> Result<Response, Infallible> {
    if let Some(host_addr) = req.uri().authority().map(|auth| auth.to_string()) {
        ::tokio::task::spawn(async move {
            match upgrade::on(req).await {
                Ok(upgraded) => {
                    if let Err(error) = tunnel(upgraded, host_addr).await {
                        println!("server io error: {error}");
                    }
                }
                Err(error) => println!("upgrade error: {error}"),
            }
        });
        Ok(Response::new(Body::empty()))
    } else {
        Ok((StatusCode::BAD_REQUEST, "CONNECT must be to a socket address").into_response())
    }
}

async fn tunnel(mut upgraded: Upgraded, addr: String) -> std::io::Result<()> {
    let mut server = TcpStream::connect(addr).await?;
    ::tokio::io::copy_bidirectional(&mut upgraded, &mut server).await?;
    Ok(())
}

fn curl_fetches_through_a_proxy(place: Place) {
    if !has_curl() {
        return;
    }
    let program = Program::with(place, &[]);
    let runtime = runtime();
    let (listener, address) = runtime.block_on(bound());
    runtime.spawn(serve_proxy(listener));
    let proxy = format!("http://{address}");
    let through = ["--noproxy", "", "-p", "-x", &proxy];
    let codes = ["-w", " %{http_connect} %{http_code}"];
    let hello = curl(&[&through[..], &codes, &[&program.url("/hello")]].concat(), b"");
    assert_eq!(hello, "Hello, world! 200 200");
    let large = curl(&[&through[..], &[&program.url("/bytes/5000000")]].concat(), b"");
    assert_eq!(large.len(), 5_000_000);
    let content = vec![b'x'; 3_000_000];
    let sink = program.url("/sink");
    let sent = curl(&[&through[..], &["--data-binary", "@-", &sink]].concat(), &content);
    assert_eq!(sent, "3000000");
    // What is no CONNECT is answered beside it.
    assert_eq!(curl(&[&format!("http://{address}/")], b""), "Hello, World!");
}

/// Serves upgrades to a protocol that sends everything back, and CONNECT as well.
async fn serve_echo(listener: TcpListener) {
    let echo = async |mut request: http::Request<portcullis_tokio::Body>| {
        let mut response = http::Response::new(String::new());
        if request.method() != Method::CONNECT {
            let echo = http::HeaderValue::from_static("echo");
            response.headers_mut().insert(http::header::UPGRADE, echo);
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        let upgrade = upgrade::on(&mut request);
        ::tokio::spawn(async move {
            let (mut reader, mut writer) = ::tokio::io::split(upgrade.await.expect("accepted"));
            ::tokio::io::copy(&mut reader, &mut writer).await.expect("it is open");
            writer.write_all(b"that was all").await.expect("it is open");
            writer.shutdown().await.expect("it is open");
        });
        response
    };
    serve(listener, echo).config(Config::strict()).await.expect("it never fails");
}

/// Sends much, ends, and reads what comes back.
async fn talk(upgraded: hyper::upgrade::Upgraded) {
    let (mut reader, mut writer) = ::tokio::io::split(TokioIo::new(upgraded));
    let content: Vec<u8> = (0..3_000_000_u32).map(|place| (place / 7) as u8).collect();
    let sent = content.clone();
    let sending = ::tokio::spawn(async move {
        writer.write_all(&sent).await.expect("it is open");
        writer.shutdown().await.expect("it is open");
        writer
    });
    let mut all = Vec::new();
    reader.read_to_end(&mut all).await.expect("an end in good order");
    assert!(all == [&content[..], b"that was all"].concat(), "{} bytes came back", all.len());
    sending.await.expect("no panic");
}

#[test]
fn hyper_upgrades_and_connects_over_http1() {
    runtime().block_on(async {
        let (listener, address) = bound().await;
        ::tokio::spawn(serve_echo(listener));
        for (method, target, status) in [("GET", "/", 101), ("CONNECT", "far.example:7", 200)] {
            let stream = TcpStream::connect(address).await.expect("it accepts");
            let handshake = http1::handshake(TokioIo::new(stream)).await;
            let (mut client, connection) = handshake.expect("HTTP/1.1");
            ::tokio::spawn(connection.with_upgrades());
            let request = hyper::Request::builder().method(method).uri(target);
            let request = request.header("host", "far.example:7").header("connection", "upgrade");
            let request = request.header("upgrade", "echo").body(Empty::<Bytes>::new());
            let answer = client.send_request(request.expect("valid")).await.expect("an answer");
            assert_eq!(answer.status(), status, "{method}");
            talk(hyper::upgrade::on(answer).await.expect("a tunnel")).await;
        }
    });
}

#[test]
fn hyper_has_many_tunnels_on_one_connection_over_http2() {
    runtime().block_on(async {
        let (listener, address) = bound().await;
        ::tokio::spawn(serve_echo(listener));
        let stream = TcpStream::connect(address).await.expect("it accepts");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (client, connection) = handshake.expect("HTTP/2");
        ::tokio::spawn(connection);
        let tunnels = (0..5).map(|number| {
            let mut client = client.clone();
            ::tokio::spawn(async move {
                let target = format!("far-{number}.example:7");
                let request = hyper::Request::connect(target).body(Empty::<Bytes>::new());
                let answer = client.send_request(request.expect("valid")).await.expect("answered");
                assert_eq!(answer.status(), 200);
                talk(hyper::upgrade::on(answer).await.expect("a tunnel")).await;
            })
        });
        for tunnel in tunnels.collect::<Vec<_>>() {
            tunnel.await.expect("no panic");
        }
    });
}
