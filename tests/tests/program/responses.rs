//! Attacks on answers.

use crate::place::{Place, Transport, tests};
use crate::support::Program;
use std::io::Read;
use std::time::Duration;

tests! {
    everywhere:
        an_unread_answer_is_paused_then_reset,
        an_answer_read_below_the_minimum_rate_is_reset,
        a_reader_above_the_minimum_rate_gets_the_whole_answer,
        server_sent_events_outlive_pauses_of_the_application,
        a_half_closed_client_is_answered,
        a_slow_handler_has_no_deadline;

}

const SECOND: Duration = Duration::from_secs(1);

fn an_unread_answer_is_paused_then_reset(place: Place) {
    let program = Program::with(
        place,
        &["response_grace=1s", "response_silence=1s", "send_buffer_limit=16KiB"],
    );
    let mut client = program.connect();
    client.send("GET /bytes/1000000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    std::thread::sleep(SECOND / 2);
    let held = program.status()["bytes_held"].as_u64().expect("a number");
    // TLS adds its ciphertext buffer, which may have twice the room it needs, and the TLS state of
    // this connection and of the one that asks for the status.
    let most = if place.transport == Transport::Tls { 64 << 10 } else { 24 << 10 };
    // Plus one piece of the answer that the application has made and that does not fit.
    let most = most + (64 << 10);
    assert!(held < most, "{held} bytes are held");
    program.wait_for("the reset is counted", |status| status["closes"]["response"] == 1);
}

fn an_answer_read_below_the_minimum_rate_is_reset(place: Place) {
    let program = Program::with(place, &["response_grace=1s", "response_rate=100000"]);
    let mut client = program.connect();
    // A small receive buffer, so that slow reading quickly stops the server's writes.
    socket2::SockRef::from(&client.stream).set_recv_buffer_size(4096).expect("it can be set");
    client.send("GET /bytes/100000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.shake_hands();
    let mut bytes = [0; 1000];
    // The client reads at a fifth of the minimum rate: the whole answer would take an hour and a
    // half.
    while client.stream.read(&mut bytes).is_ok_and(|count| count > 0) {
        std::thread::sleep(Duration::from_millis(50));
    }
    program.wait_for("the reset is counted", |status| status["closes"]["response"] == 1);
}

fn a_reader_above_the_minimum_rate_gets_the_whole_answer(place: Place) {
    let program = Program::with(place, &["response_grace=500ms", "response_rate=10000"]);
    let mut client = program.connect();
    client.send("GET /bytes/3000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    // What the client reads between two pauses pays for 26 seconds, so it keeps up on any machine.
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(200));
        // 64 KiB, also over TLS. With less, the kernel would rarely announce the free room to the
        // server.
        for _ in 0..4 {
            client.more();
        }
    }
    assert_eq!(client.answer().content.len(), 3_000_000);
}

fn server_sent_events_outlive_pauses_of_the_application(place: Place) {
    let settings =
        ["response_grace=200ms", "keep_alive_timeout=200ms", "request_head_timeout=200ms"];
    let program = Program::with(place, &settings);
    let mut client = program.begun("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut seen = String::new();
    while !seen.contains("data: 3\n\n") {
        seen += &client.take_line();
        seen.push('\n');
    }
    assert!(seen.contains("text/event-stream"));
}

fn a_half_closed_client_is_answered(place: Place) {
    let program = Program::with(place, &[]);
    let mut client = program.connect();
    client.send("GET /slow/300 HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish_sending();
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.answer().text(), "Hello, world!");
    client.wait_until_closed();
}

fn a_slow_handler_has_no_deadline(place: Place) {
    let settings = [
        "keep_alive_timeout=200ms",
        "request_head_timeout=200ms",
        "request_body_grace=200ms",
        "response_grace=200ms",
    ];
    let program = Program::with(place, &settings);
    let mut client = program.begun("GET /slow/2000 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn head_is_get_without_content() {
    let program = Program::with(Place::USUAL, &[]);
    let mut client = program.connect();
    client.send("HEAD /bytes/12345 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut head = Vec::new();
    loop {
        match client.take_line() {
            line if line.is_empty() => break,
            line => head.push(line),
        }
    }
    assert!(head.iter().any(|line| line == "content-length: 12345"), "{head:?}");
    assert_eq!(client.get("/hello").text(), "Hello, world!", "no content follows the head");
}

#[test]
fn http_1_0_is_answered_until_close() {
    let program = Program::with(Place::USUAL, &[]);
    let mut client = program.connect();
    client.send("GET /bytes/10 HTTP/1.0\r\n\r\n");
    let answer = client.answer();
    assert!(answer.has_field("connection: close"));
    client.wait_until_closed();
    let mut client = program.connect();
    client.send("GET /bytes/10 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(client.answer().has_field("connection: keep-alive"));
    client.send("POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.answer().text(), "abc");
}
