//! Websockets over HTTP/1.1 and HTTP/2.

use crate::client::{Theirs, open, start, start_over_tls};
use axum::Router;
use axum::response::Response;
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::TokioIo;
use portcullis_axum::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use tokio::net::TcpStream;
use tokio::sync::mpsc::unbounded_channel;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol;

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
    let served = start(app).await;
    for http2 in [false, true] {
        let (mut client, protocol) = open(&served, http2, "first, second").await;
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
        let (mut client, _) = open(&served, http2, "second").await;
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
    let served = start(app).await;
    for (http2, by_hand) in [(false, false), (false, true), (true, false), (true, true)] {
        let protocol = if by_hand { "by-hand" } else { "dropped" };
        let (mut client, chosen) = open(&served, http2, protocol).await;
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
    let served = start(app).await;
    for http2 in [false, true] {
        let (mut client, _) = open(&served, http2, "pings").await;
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
    let served = start(app).await;
    for http2 in [false, true] {
        let (mut client, _) = open(&served, http2, "halves").await;
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
    let served = start(app).await;
    for http2 in [false, true] {
        let (mut client, _) = open(&served, http2, "cleans").await;
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
    let served = start(app).await;
    let stream = TcpStream::connect(served.address).await.expect("it accepts");
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
    let served = start(app).await;
    let stream = TcpStream::connect(served.address).await.expect("it accepts");
    let url = format!("ws://{}/ws", served.address);
    let error = tokio_tungstenite::client_async(url, stream).await.expect_err("it is refused");
    let tungstenite::Error::Http(answer) = error else { panic!("{error}") };
    assert_eq!(answer.status(), 403);
    tells.recv().await.expect("told");
}

#[cfg(unix)]
#[tokio::test]
async fn websockets_run_over_tls_with_both_versions() {
    let (told, mut tells) = unbounded_channel();
    let app = Router::new().route(
        "/ws",
        any(async move |ws: WebSocketUpgrade, version: Version| {
            ws.protocols(["tls"]).on_upgrade(async move |socket| {
                echo(socket).await;
                told.send(version).expect("the test listens");
            })
        }),
    );
    let served = start_over_tls(app).await;
    for (http2, version) in [(false, Version::HTTP_11), (true, Version::HTTP_2)] {
        let (mut client, protocol) = open(&served, http2, "tls").await;
        assert_eq!(protocol.as_deref(), Some("tls"));
        // Within a record, and more than a window, the output, and what a read of the server takes.
        for message in [Theirs::text("héllo"), Theirs::binary(vec![7; 300_000])] {
            client.send(message.clone()).await.expect("sent");
            assert_eq!(client.next().await.expect("open").expect("a message"), message);
        }
        client.send(Theirs::Ping("there".into())).await.expect("sent");
        let pong = Theirs::Pong("there".into());
        assert_eq!(client.next().await.expect("open").expect("a frame"), pong);
        // The handler sends pings back as it got them.
        let ping = Theirs::Ping("there".into());
        assert_eq!(client.next().await.expect("open").expect("a frame"), ping);
        client.close(None).await.expect("sent");
        let close = client.next().await.expect("a close").expect("good");
        assert!(matches!(close, Theirs::Close(_)), "{close:?}");
        assert_eq!(tells.recv().await, Some(version));

        // A client that vanishes, within TLS.
        let (client, _) = open(&served, http2, "tls").await;
        drop(client);
        assert_eq!(tells.recv().await, Some(version));
    }
}
