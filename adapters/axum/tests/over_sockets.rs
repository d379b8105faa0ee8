//! Applications of axum on `serve`, with clients that nobody here wrote: tungstenite over HTTP/1.1, and over a
//! stream of hyper's HTTP/2.

use axum::Router;
#[cfg(unix)]
use axum::extract::ConnectInfo;
#[cfg(unix)]
use axum::extract::connect_info::Connected;
use axum::response::Response;
use axum::routing::{any, get, post};
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
#[cfg(unix)]
use portcullis_axum::Address;
use portcullis_axum::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use portcullis_axum::{BodyLimit, Deadlines, Disconnected};
#[cfg(unix)]
use portcullis_tokio::IncomingStream;
use portcullis_tokio::serve;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{self, Role};
use tokio_tungstenite::tungstenite::{self, Message as Theirs};

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<I: AsyncRead + AsyncWrite + Send + Unpin> Io for I {}

type Client = WebSocketStream<Box<dyn Io>>;

async fn start(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { serve(listener, app).await });
    address
}

/// A websocket over HTTP/1.1 or HTTP/2, and the subprotocol of the answer.
async fn open(address: SocketAddr, http2: bool, protocols: &str) -> (Client, Option<String>) {
    let stream = TcpStream::connect(address).await.expect("it accepts");
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
        let stream: Box<dyn Io> = Box::new(stream);
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

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Close(_)) || socket.send(message).await.is_err() {
            break;
        }
    }
}

#[tokio::test]
async fn messages_protocols_and_closes_pass_over_both_versions() {
    let (told, mut tells) = unbounded_channel();
    let app = Router::new().route(
        "/ws",
        any(async move |ws: WebSocketUpgrade| -> Response {
            let ws = ws.protocols(["second", "first"]).max_message_size(1000);
            ws.on_upgrade(async move |mut socket| {
                assert_eq!(socket.protocol().expect("one"), "second");
                while let Some(message) = socket.recv().await {
                    let message = message.map_err(|it| it.to_string());
                    told.send(message.clone()).expect("the test listens");
                    if let Ok(message @ (Message::Text(_) | Message::Binary(_))) = message {
                        socket.send(message).await.expect("it is open");
                    }
                }
            })
        }),
    );
    let address = start(app).await;
    for http2 in [false, true] {
        let (mut client, protocol) = open(address, http2, "first, second").await;
        assert_eq!(protocol.as_deref(), Some("second"));
        for message in [Theirs::text("héllo"), Theirs::binary(vec![7; 1000])] {
            client.send(message.clone()).await.expect("sent");
            assert_eq!(client.next().await.expect("open").expect("a message"), message);
            let heard = tells.recv().await.expect("told").expect("good");
            assert_eq!(heard.into_data(), message.into_data());
        }
        let frame = protocol::CloseFrame { code: 4001.into(), reason: "bye".into() };
        client.close(Some(frame.clone())).await.expect("sent");
        let answer = client.next().await.expect("a close").expect("good");
        let Theirs::Close(Some(answer)) = answer else { panic!("{answer:?}") };
        assert_eq!(u16::from(answer.code), 4001);
        let heard = tells.recv().await.expect("told").expect("good");
        let frame = CloseFrame { code: 4001, reason: "bye".into() };
        assert_eq!(heard, Message::Close(Some(frame)));

        // A message past the limit.
        let (mut client, _) = open(address, http2, "second").await;
        client.send(Theirs::binary(vec![7; 1001])).await.expect("sent");
        let answer = client.next().await.expect("a close").expect("good");
        let Theirs::Close(Some(answer)) = answer else { panic!("{answer:?}") };
        assert_eq!(u16::from(answer.code), 1009);
        tells.recv().await.expect("told").expect_err("an error");
    }
}

#[tokio::test]
async fn a_handler_closes_with_its_own_code_or_by_dropping() {
    let app = Router::new().route(
        "/ws",
        any(async |ws: WebSocketUpgrade| -> Response {
            let by_hand = ws.requested_protocols().any(|it| it == "by-hand");
            // tungstenite wants one of those that it offered.
            ws.protocols(["by-hand", "dropped"]).on_upgrade(async move |mut socket| {
                socket.send(Message::text("last")).await.expect("it is open");
                if by_hand {
                    let frame = CloseFrame { code: 4002, reason: "done".into() };
                    socket.send(Message::Close(Some(frame))).await.expect("it is open");
                    socket.send(Message::text("more")).await.expect_err("it is closed");
                    assert!(socket.recv().await.is_none());
                }
            })
        }),
    );
    let address = start(app).await;
    for (http2, by_hand) in [(false, false), (false, true), (true, false), (true, true)] {
        let protocol = if by_hand { "by-hand" } else { "dropped" };
        let (mut client, chosen) = open(address, http2, protocol).await;
        assert_eq!(chosen.as_deref(), Some(protocol));
        assert_eq!(client.next().await.expect("open").expect("a message"), Theirs::text("last"));
        let close = client.next().await.expect("a close").expect("good");
        let Theirs::Close(Some(frame)) = close else { panic!("{close:?}") };
        let (code, reason) = if by_hand { (4002, "done") } else { (1000, "") };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (code, reason));
    }
}

#[tokio::test]
async fn pings_and_pongs_are_seen_and_sent() {
    let (told, mut tells) = unbounded_channel();
    let app = Router::new().route(
        "/ws",
        any(async move |ws: WebSocketUpgrade| {
            ws.protocols(["pings"]).on_upgrade(async move |mut socket| {
                for message in [Message::Ping("here".into()), Message::Pong("alone".into())] {
                    socket.send(message).await.expect("it is open");
                }
                let long = Message::Ping(vec![0; 126].into());
                socket.send(long).await.expect_err("it is too long");
                while let Some(Ok(message)) = socket.recv().await {
                    told.send(message).expect("the test listens");
                }
            })
        }),
    );
    let address = start(app).await;
    for http2 in [false, true] {
        let (mut client, _) = open(address, http2, "pings").await;
        for expected in [Theirs::Ping("here".into()), Theirs::Pong("alone".into())] {
            assert_eq!(client.next().await.expect("open").expect("a frame"), expected);
        }
        let sent = [Theirs::text("first"), Theirs::Ping("there".into()), Theirs::text("last")];
        for message in sent {
            client.send(message).await.expect("sent");
        }
        // tungstenite has answered the server's ping by itself.
        let pong = Message::Pong("here".into());
        for message in [pong, "first".into(), Message::Ping("there".into()), "last".into()] {
            assert_eq!(tells.recv().await.expect("told"), message);
        }
        let pong = Theirs::Pong("there".into());
        assert_eq!(client.next().await.expect("open").expect("a frame"), pong);
    }
}

#[tokio::test]
async fn the_halves_of_a_websocket_outlive_its_callback() {
    let app = Router::new().route(
        "/ws",
        any(async |ws: WebSocketUpgrade| {
            ws.protocols(["halves"]).on_upgrade(async |socket| {
                let (sender, receiver) = socket.split();
                tokio::spawn(receiver.forward(sender));
            })
        }),
    );
    let address = start(app).await;
    for http2 in [false, true] {
        let (mut client, _) = open(address, http2, "halves").await;
        for number in 0..10 {
            let message = Theirs::text(number.to_string());
            client.send(message.clone()).await.expect("sent");
            assert_eq!(client.next().await.expect("open").expect("a message"), message);
        }
    }
}

#[tokio::test]
async fn a_callback_cleans_up_after_its_client_has_gone() {
    let (told, mut tells) = unbounded_channel();
    let app = Router::new().route(
        "/ws",
        any(async move |ws: WebSocketUpgrade| {
            ws.protocols(["cleans"]).on_upgrade(async move |mut socket| {
                told.send("begun").expect("the test listens");
                // As an application that only sends sees the end.
                while socket.send(Message::text("tick")).await.is_ok() {
                    tokio::task::yield_now().await;
                }
                told.send("ended").expect("the test listens");
                // Longer than the connection's task polls what is left.
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                told.send("clean").expect("the test listens");
            })
        }),
    );
    let address = start(app).await;
    for http2 in [false, true] {
        let (mut client, _) = open(address, http2, "cleans").await;
        assert_eq!(client.next().await.expect("open").expect("a message"), Theirs::text("tick"));
        drop(client);
        for expected in ["begun", "ended", "clean"] {
            assert_eq!(tells.recv().await, Some(expected), "HTTP/2: {http2}");
        }
    }
}

#[tokio::test]
async fn a_request_that_cannot_become_a_websocket_is_told_what_could() {
    let app = Router::new().route("/ws", any(async |ws: WebSocketUpgrade| ws.on_upgrade(echo)));
    let address = start(app).await;
    let stream = TcpStream::connect(address).await.expect("it accepts");
    let (mut client, connection) =
        http1::handshake::<_, Full<hyper::body::Bytes>>(TokioIo::new(stream))
            .await
            .expect("HTTP/1.1");
    tokio::spawn(connection);
    let request = Request::get("/ws").header("host", "a").body(Full::default()).expect("valid");
    let answer = client.send_request(request).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(answer.headers()["upgrade"], "websocket");
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    let content = answer.into_body().collect().await.expect("content").to_bytes();
    assert_eq!(content, "the request asks for no websocket (websocket_required)\n");
}

#[tokio::test]
async fn a_callback_is_told_if_the_answer_is_replaced() {
    let (told, mut tells) = unbounded_channel();
    let app = Router::new().route(
        "/ws",
        any(async move |ws: WebSocketUpgrade| {
            let ws = ws.on_failed_upgrade(move |error: axum::Error| {
                told.send(error.to_string()).expect("the test listens");
            });
            drop(ws.on_upgrade(echo));
            StatusCode::FORBIDDEN
        }),
    );
    let address = start(app).await;
    let stream = TcpStream::connect(address).await.expect("it accepts");
    let url = format!("ws://{address}/ws");
    let error = tokio_tungstenite::client_async(url, stream).await.expect_err("it is refused");
    let tungstenite::Error::Http(answer) = error else { panic!("{error}") };
    assert_eq!(answer.status(), 403);
    tells.recv().await.expect("told");
}

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

#[cfg(unix)]
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
    let address = start(app).await;
    for (path, length, status) in [
        ("/small", 100, StatusCode::OK),
        ("/small", 101, StatusCode::PAYLOAD_TOO_LARGE),
        ("/large", 101, StatusCode::OK),
    ] {
        let stream = TcpStream::connect(address).await.expect("it accepts");
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
    let address = start(app).await;
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
    let address = start(app).await;
    let mut stream = TcpStream::connect(address).await.expect("it accepts");
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.expect("sent");
    assert_eq!(tells.recv().await, Some("begun"));
    drop(stream);
    assert_eq!(tells.recv().await, Some("gone"));
}
