//! The program before other servers: the demo, Flask on Hypercorn, Node, nginx, and servers that misbehave.

use crate::connector::Connector;
use crate::http2_frames::Http2;
use crate::place::{Place, tests};
use crate::proxies::has;
use crate::support::{Client, PATIENCE, Program};
use crate::upstreams::{before, flask, head, node, server};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use tokio_tungstenite::WebSocketStream;
use tungstenite::Message;
use tungstenite::protocol::{CloseFrame, Role};

tests! {
    everywhere:
        answers_and_content_pass,
        websockets_pass_with_their_closes,
        websockets_pass_over_http2,
        a_server_that_is_down_or_talks_nonsense_is_a_502,
        an_answer_that_breaks_off_is_cut_off,
        a_silent_server_is_a_504,
        those_who_wait_are_bounded_and_may_leave,
        slow_uploads_leave_places_to_others,
        slow_readers_of_a_mebibyte_hold_no_place,
        slow_readers_of_more_make_room_for_others,
        a_request_on_a_closed_connection_is_sent_again,
        early_hints_pass;
    plaintext:
        the_status_tells_of_the_proxy,
        closed_windows_hold_no_place,
        flask_websockets_pass,
        node_sees_the_client_and_trailers_pass,
        nginx_answers,
        a_unix_socket_is_connected_to;
}

// ---- what passes -----------------------------------------------------------------------------------

fn answers_and_content_pass(place: Place) {
    let demo = Program::with(Place::USUAL, &[]);
    let proxy = before(place, &demo.url(""), &[], &[]);
    let mut client = proxy.connect();
    let answer = client.get("/hello");
    assert_eq!((answer.status, answer.text()), (200, "Hello, world!"));
    assert!(answer.has_field("via: 1.1 portcullis"), "{}", answer.head);
    assert_eq!(client.get("/bytes/5000000").content.len(), 5_000_000);
    assert_eq!(client.get("/missing").status, 404);
    client.send("HEAD /bytes/77 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut told = String::new();
    while !told.ends_with("\r\n\r\n") {
        told += &client.take_line();
        told += "\r\n";
    }
    assert!(told.to_ascii_lowercase().contains("content-length: 77\r\n"), "{told}");
    let content: Vec<u8> = (0..2_000_000).map(|it| (it % 251) as u8).collect();
    client.send(format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        content.len()
    ));
    // The echo comes while the content goes.

    let sender = content.clone();
    thread::scope(|scope| {
        if client.tls.is_none() {
            let mut stream = client.stream.try_clone().expect("a second handle");
            scope.spawn(move || stream.write_all(&sender).expect("sent"));
        } else {
            let half = sender.len() / 100;
            client.send(&sender[..half]);
            client.send(&sender[half..]);
        }
        assert!(client.answer().content == content, "the content is another one");
    });
}

fn the_status_tells_of_the_proxy(place: Place) {
    let demo = Program::with(Place::USUAL, &[]);
    let args = ["--status", "--proxy-concurrency", "7", "--proxy-buffers", "1MiB"];
    let proxy = before(place, &demo.url(""), &[], &args);
    assert_eq!(proxy.connect().get("/hello").status, 200);
    assert_eq!(proxy.connect().get("/bytes/50000").status, 200);
    let is_told = |status: &serde_json::Value| {
        let told = &status["proxy"];
        let is_idle = told["places_in_use"] == 0 && told["connections"]["busy"] == 0;
        told["requests"]["answered"] == 2 && told["places"] == 7 && is_idle
    };
    proxy.wait_for("it tells of both requests", is_told);
    assert_eq!(proxy.status()["proxy"]["max_buffered_bytes"], 1 << 20);
    let metrics = proxy.connect().get("/metrics");
    let line = "portcullis_proxy_requests_total{outcome=\"answered\"} 2";
    assert!(metrics.text().lines().any(|it| it == line), "{}", metrics.text());
}

fn websocket(program: &Program, path: &str) -> tungstenite::WebSocket<Client> {
    let url = format!("ws://localhost{path}");
    let (websocket, _) = tungstenite::client(url, program.connect()).expect("it is accepted");
    websocket
}

fn websockets_pass_with_their_closes(place: Place) {
    let demo = Program::with(Place::USUAL, &[]);
    let proxy = before(place, &demo.url(""), &["websocket_message_limit=1MiB"], &[]);
    let mut websocket = websocket(&proxy, "/ws");
    for message in [Message::text(""), Message::text("h\u{e9}"), Message::binary(vec![7; 1 << 20])]
    {
        websocket.send(message.clone()).expect("sent");
        assert!(websocket.read().expect("an answer") == message);
    }
    let close = CloseFrame { code: 4001.into(), reason: "bye".into() };
    websocket.close(Some(close)).expect("sent");
    let Ok(Message::Close(Some(answer))) = websocket.read() else { panic!("no close") };
    assert_eq!(u16::from(answer.code), 4001);
    // The limit of this side holds, and the server behind never sees the message.
    let mut websocket = self::websocket(&proxy, "/ws");
    let _ = websocket.send(Message::binary(vec![7; (1 << 20) + 1]));
    let Ok(Message::Close(Some(answer))) = websocket.read() else { panic!("no close") };
    assert_eq!(u16::from(answer.code), 1009);
    demo.wait_for("both are closed there", |status| status["phases"]["websocket"] == 0);
    let refused = proxy.begun("GET /ws HTTP/1.1\r\nHost: a\r\nOrigin: http://evil\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").answer();
    assert_eq!(refused.status, 403, "the server's refusal passes");
}

fn websockets_pass_over_http2(place: Place) {
    let demo = Program::with(Place::USUAL, &[]);
    let proxy = before(place, &demo.url(""), &[], &[]);
    let runtime = ::tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let stream = Connector::http2(&proxy).connect().await.expect("it accepts");
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut client, connection) =
            builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.expect("HTTP/2");
        ::tokio::spawn(connection);
        let ask = |path: &str| {
            let url = proxy.url(path);
            let request = http::Request::connect(url).header("sec-websocket-version", "13");
            request.extension(Protocol::from_static("websocket")).body(Empty::new()).expect("valid")
        };
        // The server's settings have to come first.
        client.ready().await.expect("it lives");
        let hello = http::Request::get(proxy.url("/hello")).body(Empty::new()).expect("valid");
        let answer = client.send_request(hello).await.expect("an answer");
        answer.into_body().collect().await.expect("whole");
        // It is no websocket there, and its 200 must not open one here.
        let answer = client.send_request(ask("/hello")).await.expect("an answer");
        assert_eq!(answer.status(), 502);
        let answer = client.send_request(ask("/ws")).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let upgraded = TokioIo::new(hyper::upgrade::on(answer).await.expect("a websocket"));
        let mut websocket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
        for message in [Message::text("hello"), Message::binary(vec![7; 300_000])] {
            websocket.send(message.clone()).await.expect("sent");
            let answer = websocket.next().await.expect("a message").expect("a message");
            assert!(answer == message, "{} bytes", answer.len());
        }
        let close = CloseFrame { code: 4003.into(), reason: "bye".into() };
        websocket.close(Some(close.clone())).await.expect("sent");
        let Some(Ok(Message::Close(Some(answer)))) = websocket.next().await else {
            panic!("no close")
        };
        assert_eq!(answer.code, close.code);
    });
}

fn flask_websockets_pass(place: Place) {
    let Some(flask) = flask() else { return };
    let proxy = before(place, &flask.url, &[], &[]);
    let mut request =
        tungstenite::client::IntoClientRequest::into_client_request("ws://localhost/ws")
            .expect("a request");
    request.headers_mut().insert("sec-websocket-protocol", "one, two".parse().expect("a value"));
    let (mut websocket, answer) =
        tungstenite::client(request, proxy.connect()).expect("it is accepted");
    assert_eq!(answer.headers()["sec-websocket-protocol"], "two");
    websocket.send("hello".into()).expect("sent");
    assert_eq!(websocket.read().expect("an answer"), "hello".into());
    websocket.send("close".into()).expect("sent");
    let Ok(Message::Close(Some(close))) = websocket.read() else { panic!("no close") };
    assert_eq!(u16::from(close.code), 4002);
}

fn node_sees_the_client_and_trailers_pass(place: Place) {
    let Some(node) = node() else { return };
    let proxy = before(place, &node.url, &[], &[]);
    let mut client = proxy.connect();
    client.send(
        "POST /a?b HTTP/1.1\r\nHost: site\r\nX-Forwarded-For: 1.1.1.1\r\nX_Forwarded_For: 1.1.1.1\r\n\
         Forwarded: for=1.1.1.1\r\nProxy: evil\r\nConnection: x-mine\r\nX-Mine: 1\r\nExpect: 100-continue\r\n\
         Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    let interim = client.take_line();
    assert!(interim.contains(" 100 "), "{interim}");
    client.take_line();
    client.send("3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n");
    let mut text = String::new();
    while !text.ends_with("x-sum: 7\r\n") {
        text += &client.take_line();
        text += "\r\n";
    }
    let json = text.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).expect("JSON").0;
    let told: serde_json::Value = serde_json::from_str(&format!("{{{json}}}")).expect("JSON");
    let fields = &told["fields"];
    assert_eq!(
        (&told["method"], &told["target"], &told["length"]),
        (&"POST".into(), &"/a?b".into(), &3.into())
    );
    assert_eq!(fields["host"], "site");
    assert_eq!(fields["x-forwarded-for"], "127.0.0.1");
    assert_eq!(fields["x-forwarded-proto"], "http");
    assert_eq!(fields["forwarded"], "for=127.0.0.1;proto=http;host=\"site\"");
    for removed in ["x_forwarded_for", "proxy", "x-mine", "expect"] {
        assert!(fields[removed].is_null(), "{fields:#}");
    }
}

fn nginx_answers(place: Place) {
    if !has("nginx") {
        return;
    }
    let demo = Program::with(Place::USUAL, &[]);
    let nginx = crate::proxies::nginx(demo.address);
    let proxy = before(place, &format!("http://{}", nginx.address), &[], &[]);
    let mut client = proxy.connect();
    assert_eq!(client.get("/hello").text(), "Hello, world!");
    assert_eq!(client.get("/bytes/3000000").content.len(), 3_000_000);
    let mut websocket = websocket(&proxy, "/ws");
    websocket.send("hello".into()).expect("sent");
    assert_eq!(websocket.read().expect("an answer"), "hello".into());
}

fn a_unix_socket_is_connected_to(place: Place) {
    let folder = TempDir::new().expect("a folder");
    let listener =
        std::os::unix::net::UnixListener::bind(folder.path().join("app")).expect("bound");
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        }
    });
    let url = format!("unix:{}", folder.path().join("app").display());
    let proxy = before(place, &url, &[], &[]);
    assert_eq!(proxy.connect().get("/").text(), "hi");
}

// ---- servers that misbehave ------------------------------------------------------------------------

fn a_server_that_is_down_or_talks_nonsense_is_a_502(place: Place) {
    let free =
        TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port");
    let proxy = before(place, &format!("http://{free}"), &[], &[]);
    let answer = proxy.connect().get("/");
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("cannot be reached"), "{}", answer.text());
    for nonsense in [
        "",
        "hello\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nA: b\r\n c: d\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        // A short answer is awaited as a whole.
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
    ] {
        let upstream = server(move |mut stream| {
            head(&mut stream);
            let _ = stream.write_all(nonsense.as_bytes());
        });
        let proxy = before(place, &upstream, &[], &[]);
        let mut client = proxy.connect();
        assert_eq!(client.get("/").status, 502, "{nonsense:?}");
        assert_eq!(client.get("/").status, 502, "the client's connection lives on: {nonsense:?}");
    }
}

/// Whether the answer, of which three bytes came, ends without its end. A reset may take what came before.
fn is_cut_off(client: &mut Client) -> bool {
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    let end = loop {
        match client.read(&mut bytes) {
            Ok(0) => break true,
            Ok(read) => answer.extend_from_slice(&bytes[..read]),
            Err(error) => break error.kind() != ErrorKind::WouldBlock,
        }
    };
    let text = String::from_utf8_lossy(&answer);
    let is_begun = text.is_empty() || text.starts_with("HTTP/1.1 200 ");
    end && is_begun && !text.ends_with("0\r\n\r\n")
}

fn an_answer_that_breaks_off_is_cut_off(place: Place) {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n",
    ] {
        let upstream = server(move |mut stream| {
            head(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
        });
        let proxy = before(place, &upstream, &[], &[]);
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        // The client can tell that it isn't whole.
        assert!(is_cut_off(&mut client), "{answer:?}");
    }
}

fn a_silent_server_is_a_504(place: Place) {
    let (tell, closed) = channel();
    let upstream = server(move |mut stream| {
        let asked = head(&mut stream);
        if asked.starts_with("GET /begin") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nabc");
        }
        // Until the proxy gives up.
        let _ = tell.send(stream.read(&mut [0]).is_ok_and(|read| read > 0));
    });
    let proxy = before(place, &upstream, &[], &["--proxy-timeout", "300ms"]);
    let mut client = proxy.connect();
    let answer = client.get("/");
    assert_eq!(answer.status, 504);
    assert!(client.waited() >= Duration::from_millis(300));
    assert_eq!(closed.recv_timeout(PATIENCE), Ok(false), "its connection is closed");
    client.send("GET /begin HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(is_cut_off(&mut client), "a stalled answer is cut off");
    assert_eq!(closed.recv_timeout(PATIENCE), Ok(false), "its connection is closed");
}

/// A server that tells of each request's target, and answers when it is told to.
fn server_on_command() -> (String, Receiver<(String, TcpStream)>) {
    let (tell, told) = channel();
    let url = server(move |mut stream| {
        let asked = head(&mut stream);
        let target = asked.split(' ').nth(1).unwrap_or_default().to_owned();
        let _ = tell.send((target, stream));
    });
    (url, told)
}

const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn those_who_wait_are_bounded_and_may_leave(place: Place) {
    let (upstream, asked) = server_on_command();
    let args = ["--proxy-concurrency", "1", "--proxy-queue", "1", "--proxy-queue-timeout", "1h"];
    let proxy = before(place, &upstream, &[], &args);
    let ask = |target: &str| {
        let mut client = proxy.connect();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    };
    let next = || asked.recv_timeout(PATIENCE).expect("a request");
    let first = ask("/first");
    let (target, mut at_server) = next();
    assert_eq!(target, "/first");
    // One waits, and the others are refused at once; which one waits, is not known.
    let mut waiting = ask("/second");
    let refused = loop {
        let mut client = ask("/third");
        if !client.is_quiet_for(Duration::from_millis(300)) {
            break client.answer();
        }
        // It waits in place of the second, which had not come yet.
        waiting = client;
    };
    assert_eq!(refused.status, 503);
    assert!(refused.has_field("retry-after: 1"), "{}", refused.head);
    // Who leaves frees its place in the queue, and at the server.
    drop(waiting);
    drop(first);
    assert_eq!(at_server.read(&mut [0]).ok(), Some(0), "the request was dropped at the server");
    // The place is free, also if it was taken for a moment by one that is leaving.
    let mut client = ask("/last");
    loop {
        let (target, mut stream) = next();
        let _ = stream.write_all(EMPTY);
        if target == "/last" {
            break;
        }
    }
    assert_eq!(client.answer().status, 200);
}

fn slow_uploads_leave_places_to_others(place: Place) {
    let demo = Program::with(Place::USUAL, &[]);
    let args = ["--proxy-concurrency", "2", "--proxy-queue-timeout", "1h"];
    let proxy = before(place, &demo.url(""), &[], &args);
    let mut uploads: Vec<_> = (0..4)
        .map(|_| {
            let mut client = proxy.connect();
            client.send("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
            client.send(vec![b'a'; 90_000]);
            client
        })
        .collect();
    demo.wait_for("one upload has come there", |status| status["requests"].as_u64() >= Some(2));
    for _ in 0..10 {
        assert_eq!(proxy.connect().get("/hello").status, 200);
    }
    for client in &mut uploads {
        client.send(vec![b'a'; 10_000]);
    }
    for mut client in uploads {
        assert_eq!(client.answer().text(), "100000");
    }
}

/// Clients that ask for so many bytes and read nothing.
fn slow_readers(proxy: &Program, bytes: u64) -> Vec<Client> {
    let ask = |_| {
        let mut client = proxy.connect_with_buffer(4096);
        client.send(format!("GET /bytes/{bytes} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    };
    (0..10).map(ask).collect()
}

/// Whether the answer ends soon after what the proxy may have sent already.
fn is_cut_off_early(mut client: Client) -> bool {
    let (mut left, mut bytes) = (10_000_000, [0; 65_536]);
    while left > 0 {
        match client.read(&mut bytes) {
            Ok(read @ 1..) => left = usize::saturating_sub(left, read),
            Ok(0) => return true,
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
    false
}

fn slow_readers_of_a_mebibyte_hold_no_place(place: Place) {
    let demo = Program::with(Place::USUAL, &[]);
    let args = ["--proxy-concurrency", "1", "--proxy-queue-timeout", "1h"];
    let proxy = before(place, &demo.url(""), &[], &args);
    let mut readers = slow_readers(&proxy, 1_000_000);
    for _ in 0..3 {
        assert_eq!(proxy.connect().get("/hello").status, 200);
    }
    // Nothing of their answers is lost.
    for reader in &mut readers {
        assert_eq!(reader.answer().content.len(), 1_000_000);
    }
}

fn slow_readers_of_more_make_room_for_others(place: Place) {
    let demo = Program::with(Place::USUAL, &[]);
    let args = ["--proxy-concurrency", "2", "--proxy-queue-timeout", "1h"];
    let proxy = before(place, &demo.url(""), &["response_grace=100ms"], &args);
    // They hold both places, and others of them wait. No timer of theirs will end them.
    let readers = slow_readers(&proxy, 100_000_000);
    // A reader that is fast keeps its place meanwhile.
    let mut fast = proxy.connect();
    assert_eq!(fast.get("/bytes/30000000").content.len(), 30_000_000);
    for _ in 0..3 {
        assert_eq!(proxy.connect().get("/hello").status, 200);
    }
    // The last one keeps its place, since nobody waits for it.
    let cut = readers.into_iter().map(is_cut_off_early).filter(|is_cut| *is_cut).count();
    assert!(cut >= 9, "{cut}");
}

/// Streams of HTTP/2 whose windows never open.
fn closed_windows_hold_no_place(place: Place) {
    let demo = Program::with(Place::USUAL, &[]);
    let args = ["--proxy-concurrency", "2", "--proxy-queue-timeout", "1h"];
    // No timer of an answer runs out, so places come back only because the answers were read whole.
    let proxy = before(place, &demo.url(""), &[], &args);
    for bytes in [10_000, 1_000_000] {
        let mut client = Http2::begin(&proxy);
        // SETTINGS_INITIAL_WINDOW_SIZE is 0.
        client.frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
        for number in 0..20 {
            client.request(2 * number + 1, &format!("/bytes/{bytes}"), &[]);
        }
        for _ in 0..3 {
            assert_eq!(proxy.connect().get("/hello").status, 200, "{bytes}");
        }
    }
}

fn a_request_on_a_closed_connection_is_sent_again(place: Place) {
    // It closes each kept connection when the next request has come.
    let upstream = server(|mut stream| {
        if head(&mut stream).is_empty() {
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        head(&mut stream);
    });
    let proxy = before(place, &upstream, &[], &[]);
    let mut client = proxy.connect();
    for _ in 0..5 {
        assert_eq!(client.get("/").status, 200);
    }
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na");
    let status = client.answer().status;
    // It may have been on a new connection, if the kept one was too old.
    assert!(status == 502 || status == 200, "a POST is sent once: {status}");
}

fn early_hints_pass(place: Place) {
    let upstream = server(|mut stream| {
        head(&mut stream);
        let _ = stream.write_all(
            b"HTTP/1.1 100 Continue\r\n\r\n\
              HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-own\r\nX-Own: 1\r\n\r\n\
              HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n",
        );
        let _ = stream.write_all(EMPTY);
    });
    let proxy = before(place, &upstream, &[], &[]);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for hint in ["a", "b"] {
        let interim = client.answer();
        assert_eq!(interim.status, 103);
        assert!(
            interim.has_field(&format!("link: </{hint}.css>; rel=preload")),
            "{}",
            interim.head
        );
        assert!(!interim.head.to_ascii_lowercase().contains("x-own"), "{}", interim.head);
    }
    assert_eq!(client.answer().status, 200);
    // A client of HTTP/1.0 does not know interim answers.
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

/// Whether the bytes have a request with all content that its length tells.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, content)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length
        .and_then(|length| length.parse().ok())
        .is_some_and(|length: usize| content.len() >= length)
}

#[test]
fn what_two_parsers_could_read_differently_never_reaches_the_server() {
    let (tell, told) = channel();
    let upstream = server(move |mut stream| {
        // All that comes on the connection.
        let mut all = Vec::new();
        let mut answered = false;
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            all.extend_from_slice(&bytes[..read]);
            if !answered && is_whole(&all) {
                answered = true;
                let _ = stream.write_all(EMPTY);
            }
        }
        let _ = tell.send(String::from_utf8_lossy(&all).into_owned());
    });
    let proxy = before(Place::USUAL, &upstream, &[], &[]);
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: +1\r\n",
        "A: b\nTransfer-Encoding: chunked\r\n",
        "A: b\rTransfer-Encoding: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
    ] {
        let mut client = proxy.connect();
        client.send(format!("POST /front HTTP/1.1\r\nHost: a\r\n{fields}\r\n0\r\n\r\n{smuggled}"));
        assert_eq!(client.answer().status, 400, "{fields:?}");
        assert!(told.try_recv().is_err(), "{fields:?}");
    }
    // What is unusual but clear is written anew.
    let mut client = proxy.connect();
    client.send(format!(
        "POST /front HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: {}\r\n\r\n{smuggled}",
        smuggled.len()
    ));
    assert_eq!(client.answer().status, 200);
    drop(client);
    let all = told.recv_timeout(PATIENCE).expect("a request");
    let (head, content) = all.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("POST /front HTTP/1.1\r\n") && !head.contains("ransfer"), "{head}");
    assert!(head.contains(&format!("content-length: {}", smuggled.len())), "{head}");
    assert_eq!(content, smuggled);
}
