//! Attacks on websockets, and two independent clients: tungstenite and yawc.

use crate::connector::Connector;
use crate::place::{Place, tests};
use crate::support::{Client, PATIENCE, Program, assert_not_before};
use futures_util::SinkExt;
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Message, WebSocket};
use yawc::{Frame, OpCode, Options};

tests! {
    everywhere:
        tungstenite_gets_its_messages_back,
        a_message_that_is_declared_too_large_is_refused_at_once,
        floods_are_closed_and_other_websockets_live,
        a_silent_client_is_pinged_and_then_closed,
        a_slow_message_is_closed,
        a_client_that_reads_nothing_is_reset,
        the_idle_timeout_closes_an_idle_websocket,
        an_unanswered_close_ends_at_its_timeout,
        a_shutdown_sends_going_away_and_waits_for_the_reply,
        yawc_gets_its_compressed_messages_back;
    plaintext:
        a_thousand_idle_websockets_cost_little;
}

const SECOND: Duration = Duration::from_secs(1);

pub(crate) const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

// ---- clients ---------------------------------------------------------------------------------------

fn tungstenite(program: &Program) -> WebSocket<Client> {
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let url = "ws://localhost/ws";
    let connected = tungstenite::client::client_with_config(url, program.connect(), Some(config));
    let (websocket, answer) = connected.expect("it is accepted");
    assert_eq!(answer.status(), 101);
    websocket
}

fn messages() -> Vec<Message> {
    vec![
        Message::text("hello"),
        Message::text(""),
        Message::text("h\u{e9}llo \u{20ac} \u{1f600}".repeat(10_000)),
        Message::binary(vec![]),
        Message::binary((0..70_000).map(|it| (it % 251) as u8).collect::<Vec<_>>()),
        Message::binary(vec![7; 5_000_000]),
        Message::binary(vec![8; 16 << 20]),
    ]
}

fn tungstenite_gets_its_messages_back(place: Place) {
    let program = Program::with(place, &[]);
    let mut websocket = tungstenite(&program);
    for message in messages() {
        websocket.send(message.clone()).expect("sent");
        let answer = websocket.read().expect("an answer");
        let start = answer.to_string().chars().take(20).collect::<String>();
        assert!(answer == message, "{} bytes, {start:?}", answer.len());
    }
    websocket.send(Message::Ping("are you there?".into())).expect("sent");
    assert_eq!(websocket.read().expect("an answer"), Message::Pong("are you there?".into()));
    for number in 0..1000 {
        websocket.write(Message::text(number.to_string())).expect("written");
    }
    websocket.flush().expect("sent");
    for number in 0..1000 {
        assert_eq!(websocket.read().expect("an answer"), Message::text(number.to_string()));
    }
    let close = CloseFrame { code: 4001.into(), reason: "bye".into() };
    websocket.close(Some(close)).expect("sent");
    let Ok(Message::Close(Some(answer))) = websocket.read() else { panic!("no close") };
    assert_eq!(u16::from(answer.code), 4001);
    assert!(matches!(websocket.read(), Err(tungstenite::Error::ConnectionClosed)));
    program.wait_for("the close is counted", |status| {
        status["closes"]["completed"].as_u64() > Some(0)
    });
}

fn yawc_gets_its_compressed_messages_back(place: Place) {
    let program = Program::with(place, &["websocket_deflate=on"]);
    let runtime = ::tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let stream = Connector::to(&program).connect().await.expect("it accepts");
        let url = "ws://localhost/ws".parse().expect("a URL");
        let options = Options::default().with_balanced_compression();
        let websocket = yawc::WebSocket::handshake(url, stream, options).await;
        let mut websocket = websocket.expect("it is accepted");
        let text = "compress me ".repeat(50_000);
        for text in ["hello", "", &text, &text] {
            websocket.send(Frame::text(text.to_owned())).await.expect("sent");
            let answer = websocket.next_frame().await.expect("an answer");
            assert_eq!(answer.opcode(), OpCode::Text);
            assert!(answer.as_str() == text, "{} bytes", answer.as_str().len());
        }
    });
}

// ---- the handshake ---------------------------------------------------------------------------------

#[test]
fn requests_that_cannot_become_websockets_are_answered() {
    let program = Program::with(Place::USUAL, &[]);
    let mut client = program.connect();
    let answer = client.get("/ws");
    assert_eq!(answer.status, 426);
    assert!(answer.has_field("upgrade: websocket"), "{answer:?}");
    assert!(answer.has_field("sec-websocket-version: 13"), "{answer:?}");
    for (change, to, status) in [
        ("Version: 13", "Version: 12", 426),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 400),
        ("Connection: Upgrade", "Connection: keep-alive", 400),
        ("GET", "POST", 405),
    ] {
        client.send(UPGRADE.replace(change, to));
        assert_eq!(client.answer().status, status, "{to}");
    }
    assert_eq!(client.get("/hello").status, 200, "the connection goes on");
}

#[test]
fn pages_of_other_sites_get_403() {
    let program = Program::with(Place::USUAL, &[]);
    let host = UPGRADE.lines().find_map(|line| line.strip_prefix("Host: ")).expect("a host");
    for (origin, status) in [
        ("http://evil.example".to_owned(), 403),
        ("null".to_owned(), 403),
        (format!("http://{host}:81"), 403),
        (format!("https://{host}.evil.example"), 403),
        (format!("https://{host}"), 101),
    ] {
        let mut client = program.connect();
        client.send(UPGRADE.replace("\r\n\r\n", &format!("\r\nOrigin: {origin}\r\n\r\n")));
        assert_eq!(client.answer().status, status, "{origin}");
    }
}

#[test]
fn a_message_in_the_same_segment_as_the_request_is_kept() {
    let program = Program::with(Place::USUAL, &[]);
    let mut client = program.connect();
    client.send([UPGRADE.as_bytes(), &frame(0x81, b"hi")].concat());
    let answer = client.answer();
    assert_eq!(answer.status, 101);
    assert!(answer.has_field("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer:?}");
    assert_eq!(client.take(4), b"\x81\x02hi");
}

#[test]
fn compression_is_negotiated_if_it_is_on() {
    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    let request = UPGRADE.replace("\r\n\r\n", offer);
    let agreed = "sec-websocket-extensions: permessage-deflate; server_no_context_takeover; \
        client_no_context_takeover";
    for (settings, expected) in [(&["websocket_deflate=on"][..], true), (&[], false)] {
        let program = Program::with(Place::USUAL, settings);
        let mut client = program.connect();
        client.send(&request);
        let answer = client.answer();
        assert_eq!((answer.status, answer.has_field(agreed)), (101, expected), "{answer:?}");
    }
}

// ---- limits and timers -----------------------------------------------------------------------------

/// A frame, masked with zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

fn open(program: &Program) -> Client {
    let mut client = program.connect();
    client.send(UPGRADE);
    assert_eq!(client.answer().status, 101);
    client
}

/// Reads a close frame and returns its code and reason.
fn take_close(client: &mut Client) -> (u16, String) {
    let head = client.take(2);
    assert_eq!(head[0], 0x88, "{head:?}");
    let payload = client.take(head[1].into());
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    (code, String::from_utf8(payload[2..].to_vec()).expect("text"))
}

fn a_message_that_is_declared_too_large_is_refused_at_once(place: Place) {
    let program = Program::with(place, &["websocket_message_limit=1MiB", "linger_timeout=1s"]);
    let before = program.memory();
    let mut client = open(&program);
    // A frame that declares 2^40 bytes, of which a few arrive.
    client.send([&[0x82, 0xff][..], &(1u64 << 40).to_be_bytes(), &[0; 1000]].concat());
    assert_eq!(take_close(&mut client), (1009, "message_too_large".to_owned()));
    client.wait_until_closed();
    assert!(program.memory() < before + (4 << 20));
    let mut client = open(&program);
    // Two frames, each of half the limit.
    let half =
        [&[0x02, 0xff][..], &(1u64 << 19).to_be_bytes(), &[0; 4], &vec![0; 1 << 19]].concat();
    client.send(half);
    client.send(frame(0x00, b"one past half"));
    client.send([&[0x80, 0xff][..], &(1u64 << 19).to_be_bytes(), &[0; 4]].concat());
    assert_eq!(take_close(&mut client).0, 1009);
}

#[test]
fn a_compression_bomb_is_refused_at_the_limit() {
    let program =
        Program::with(Place::USUAL, &["websocket_message_limit=1MiB", "websocket_deflate=on"]);
    let before = program.memory();
    let mut client = program.connect();
    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    client.send(UPGRADE.replace("\r\n\r\n", offer));
    assert_eq!(client.answer().status, 101);
    // 20 MiB of zeros compress to 20 KiB.
    let mut bomb = Vec::with_capacity(60_000);
    let mut compress = flate2::Compress::new(flate2::Compression::best(), false);
    let zeros = vec![0; 20 << 20];
    compress.compress_vec(&zeros, &mut bomb, flate2::FlushCompress::Sync).expect("compressed");
    client.send([&[0xc2, 0xfe][..], &(bomb.len() as u16).to_be_bytes(), &[0; 4], &bomb].concat());
    assert_eq!(take_close(&mut client), (1009, "message_too_large".to_owned()));
    assert!(program.memory() < before + (4 << 20));
}

fn floods_are_closed_and_other_websockets_live(place: Place) {
    let program = Program::with(place, &["linger_timeout=1s"]);
    let mut healthy = open(&program);
    for flood in [frame(0x89, b""), frame(0x8a, b""), frame(0x00, b""), frame(0x00, b"x")] {
        let mut client = open(&program);
        client.send(frame(0x01, b"begun"));
        while client.send(flood.repeat(1000)) {}
        client.wait_until_closed();
        healthy.send(frame(0x81, b"still here?"));
        assert_eq!(healthy.take(13), b"\x81\x0bstill here?");
    }
    let too_many = "too_many_useless_frames";
    program.wait_for("the closes are counted", |status| status["closes"][too_many] == 4);
}

fn a_silent_client_is_pinged_and_then_closed(place: Place) {
    let program = Program::with(place, &["websocket_ping_interval=1s"]);
    let mut client = open(&program);
    assert_eq!(client.take(2), [0x89, 0]);
    assert_not_before(client.waited(), SECOND);
    client.send(frame(0x8a, b""));
    assert_eq!(client.take(2), [0x89, 0], "a client that answered is pinged again");
    assert_not_before(client.waited(), SECOND);

    let settings = ["websocket_ping_interval=1s", "websocket_pong_timeout=1s"];
    let program = Program::with(place, &settings);
    let mut client = open(&program);
    assert_eq!(client.take(2), [0x89, 0]);
    assert_eq!(take_close(&mut client), (1011, "websocket_pong".to_owned()));
    assert_not_before(client.waited(), 2 * SECOND);
}

fn a_slow_message_is_closed(place: Place) {
    let program = Program::with(place, &["request_body_grace=1s", "request_body_silence=1s"]);
    let mut client = open(&program);
    client.send([0x82, 0xfe, 0x10, 0, 0, 0, 0, 0]);
    assert_not_before(client.dribble(b"x", Duration::from_millis(100)), SECOND);
    assert_eq!(take_close(&mut client), (1008, "websocket_message".to_owned()));
}

fn a_client_that_reads_nothing_is_reset(place: Place) {
    let program = Program::with(place, &["response_grace=1s", "response_silence=1s"]);
    let mut client = open(&program);
    let message = [&[0x82, 0xff][..], &(1u64 << 20).to_be_bytes(), &[0; 4], &vec![0; 1 << 20]];
    let message = message.concat();
    client.stream.set_write_timeout(Some(SECOND / 10)).expect("it can be set");
    // The echoes fill the send buffer, the server stops reading, and then resets.
    let (mut sent, start) = (0, Instant::now());
    while start.elapsed() < PATIENCE {
        match client.write(&message[sent % message.len()..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    program.wait_for("the reset is counted", |status| status["closes"]["response"] == 1);
}

fn the_idle_timeout_closes_an_idle_websocket(place: Place) {
    let program = Program::with(place, &["websocket_idle_timeout=1s"]);
    let mut client = open(&program);
    assert_eq!(take_close(&mut client), (1001, "idle".to_owned()));
    assert_not_before(client.waited(), SECOND);
    client.send(frame(0x88, &1001u16.to_be_bytes()));
    client.wait_until_closed();
}

fn an_unanswered_close_ends_at_its_timeout(place: Place) {
    let settings = ["websocket_idle_timeout=300ms", "websocket_close_timeout=1s"];
    let program = Program::with(place, &settings);
    let mut client = open(&program);
    assert_eq!(take_close(&mut client).0, 1001);
    // Other messages are not a reply to the close.
    let taken = client.send_until_closed(frame(0x81, b"still here"), Duration::from_millis(50));
    assert_not_before(taken, Duration::from_millis(1300));
}

fn a_shutdown_sends_going_away_and_waits_for_the_reply(place: Place) {
    let settings = ["websocket_close_timeout=1s", "linger_silence=500ms"];
    let program = Program::with(place, &settings);
    let (mut polite, mut silent) = (open(&program), open(&program));
    program.signal("TERM");
    for client in [&mut polite, &mut silent] {
        assert_eq!(take_close(client).0, 1001);
    }
    polite.send(frame(0x88, &1001u16.to_be_bytes()));
    polite.wait_until_closed();
    assert_eq!(program.wait(), Some(0));
}

fn a_thousand_idle_websockets_cost_little(place: Place) {
    let program = Program::with(place, &[]);
    let before = program.memory();
    let mut crowd: Vec<_> = (0..1000).map(|_| open(&program)).collect();
    for client in &mut crowd {
        client.send(frame(0x81, b"hello"));
        assert_eq!(client.take(7), b"\x81\x05hello");
    }
    let each = program.memory().saturating_sub(before) / 1000;
    println!("{each} bytes for each idle websocket");
    assert!(each < 8 << 10, "{each}");
    program.wait_for("all websockets are idle", |status| status["phases"]["websocket"] == 1000);
}
