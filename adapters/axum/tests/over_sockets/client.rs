//! Clients of websockets that nobody here wrote: tungstenite over HTTP/1.1, and over a stream of hyper's HTTP/2,
//! each with and without TLS.

use axum::Router;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_tokio::portcullis::rustls::pki_types::ServerName;
use portcullis_tokio::portcullis::rustls::{ClientConfig, RootCertStore, ServerConfig};
use portcullis_tokio::{Config, serve};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;

pub(crate) use tokio_tungstenite::tungstenite::Message as Theirs;

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<I: AsyncRead + AsyncWrite + Send + Unpin> Io for I {}

pub(crate) type Client = WebSocketStream<Box<dyn Io>>;

/// Where an application is served, and what its clients trust.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    tls: Option<ClientConfig>,
}

pub(crate) async fn start(app: Router) -> Served {
    serve_with(app, Config::default(), None).await
}

/// Serves over TLS, with a certificate of its own.
pub(crate) async fn start_over_tls(app: Router) -> Served {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).expect("a certificate");
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.into()], own.signing_key.into())
        .expect("they fit");
    let config = Config::builder().tls(Arc::new(server)).build().expect("valid");
    serve_with(app, config, Some(client)).await
}

async fn serve_with(app: Router, config: Config, tls: Option<ClientConfig>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { serve(listener, app).config(config).await });
    Served { address, tls }
}

/// A connection for this version of HTTP.
async fn connect(served: &Served, http2: bool) -> Box<dyn Io> {
    let stream = TcpStream::connect(served.address).await.expect("it accepts");
    let Some(mut tls) = served.tls.clone() else { return Box::new(stream) };
    let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
    tls.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    let connected = TlsConnector::from(Arc::new(tls)).connect(name, stream).await;
    let stream = connected.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    Box::new(stream)
}

/// A websocket over HTTP/1.1 or HTTP/2, and the subprotocol of the answer.
pub(crate) async fn open(
    served: &Served,
    http2: bool,
    protocols: &str,
) -> (Client, Option<String>) {
    let stream = connect(served, http2).await;
    if !http2 {
        let request = Request::get("ws://a/ws")
            .header("host", "a")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key())
            .header("sec-websocket-protocol", protocols)
            .body(())
            .expect("valid");
        let opened = tokio_tungstenite::client_async(request, stream).await;
        let (socket, answer) = opened.expect("it is accepted");
        return (socket, chosen(answer.headers()));
    }
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    let mut connection = Box::pin(connection);
    // The server's settings tell that it has websockets.
    while !connection.is_extended_connect_protocol_enabled() {
        tokio::select! {
            _ = &mut connection => panic!("the connection ended"),
            () = tokio::task::yield_now() => {}
        }
    }
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::CONNECT)
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .uri("http://a/ws")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", protocols)
        .body(Full::<hyper::body::Bytes>::default())
        .expect("valid");
    let mut answer = client.send_request(request).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let protocol = chosen(answer.headers());
    let upgraded = hyper::upgrade::on(&mut answer).await.expect("a stream");
    let stream: Box<dyn Io> = Box::new(TokioIo::new(upgraded));
    (WebSocketStream::from_raw_socket(stream, Role::Client, None).await, protocol)
}

fn chosen(fields: &hyper::HeaderMap) -> Option<String> {
    let protocol = fields.get("sec-websocket-protocol")?;
    Some(protocol.to_str().expect("text").to_owned())
}
