//! Attacks on answers: rows 25 to 30 of the attack table.

use crate::place::{Place, Transport, tests};
use crate::support::Program;
use std::io::Read;
use std::time::Duration;

tests! {
    everywhere:
        an_answer_that_nobody_reads_is_paused_then_given_up,
        an_answer_that_is_read_too_slowly_is_given_up,
        a_reader_that_keeps_up_gets_it_all,
        server_sent_events_live_while_there_is_nothing_to_say,
        a_half_closed_client_is_answered,
        a_thinking_handler_is_waited_for;

}

const SECOND: Duration = Duration::from_secs(1);

fn an_answer_that_nobody_reads_is_paused_then_given_up(place: Place) {
    let program = Program::with(
        place,
        &["response_grace=1s", "response_silence=1s", "send_buffer_limit=16KiB"],
    );
    let mut client = program.connect();
    client.send("GET /bytes/1000000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    std::thread::sleep(SECOND / 2);
    let held = program.status()["bytes_held"].as_u64().expect("a number");
    // TLS copies what it encrypts, to a buffer with up to twice the room, and has its own state for
    // this connection and for the one that asks.
    let most = if place.transport == Transport::Tls { 64 << 10 } else { 24 << 10 };
    // And the piece of the answer that the application has made, and that does not fit.
    let most = most + (64 << 10);
    assert!(held < most, "{held} bytes are held");
    program.wait_for("it is given up", |status| status["closes"]["response"] == 1);
}

fn an_answer_that_is_read_too_slowly_is_given_up(place: Place) {
    let program = Program::with(place, &["response_grace=1s", "response_rate=100000"]);
    let mut client = program.connect();
    // Little room in between, so that slow reading is slow taking.
    socket2::SockRef::from(&client.stream).set_recv_buffer_size(4096).expect("it can be set");
    client.send("GET /bytes/100000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.shake_hands();
    let mut bytes = [0; 1000];
    // Over before it has all of it, at a fifth of the rate: that would take an hour and a half.
    while client.stream.read(&mut bytes).is_ok_and(|count| count > 0) {
        std::thread::sleep(Duration::from_millis(50));
    }
    program.wait_for("the reason is told", |status| status["closes"]["response"] == 1);
}

fn a_reader_that_keeps_up_gets_it_all(place: Place) {
    let program = Program::with(place, &["response_grace=500ms", "response_rate=10000"]);
    let mut client = program.connect();
    client.send("GET /bytes/3000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    // What it takes between two pauses pays for 26 seconds: it keeps up on any machine.
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(200));
        // 64 KiB, also over TLS: with less the kernel would tell the server of it too seldom.
        for _ in 0..4 {
            client.more();
        }
    }
    assert_eq!(client.answer().content.len(), 3_000_000);
}

fn server_sent_events_live_while_there_is_nothing_to_say(place: Place) {
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

fn a_thinking_handler_is_waited_for(place: Place) {
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
    assert_eq!(client.get("/hello").text(), "Hello, world!", "nothing lies in between");
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
