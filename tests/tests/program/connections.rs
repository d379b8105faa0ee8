//! Attacks on connections and request heads.

use crate::place::{Place, tests};
use crate::support::{PATIENCE, Program, assert_not_before};
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

tests! {
    everywhere:
        silent_connections_are_closed_at_the_keep_alive_timeout,
        idle_connections_are_closed_at_the_keep_alive_timeout,
        slow_heads_get_408_at_the_head_timeout,
        a_second_head_is_timed_from_its_own_first_byte,
        pipelined_requests_are_answered_in_order,
        unread_answers_to_pipelined_requests_are_bounded,
        the_last_answer_of_a_connection_says_close,
        resets_after_connecting_leave_nothing_behind;
    plaintext:
        the_server_survives_running_out_of_descriptors;
}

const SECOND: Duration = Duration::from_secs(1);

fn silent_connections_are_closed_at_the_keep_alive_timeout(place: Place) {
    let program = Program::with(place, &["keep_alive_timeout=1s"]);
    assert_not_before(program.connect().closed_after(), SECOND);
}

fn idle_connections_are_closed_at_the_keep_alive_timeout(place: Place) {
    let program = Program::with(place, &["keep_alive_timeout=1s"]);
    let mut client = program.begun("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().text(), "Hello, world!");
    assert_not_before(client.closed_after(), SECOND);
}

fn slow_heads_get_408_at_the_head_timeout(place: Place) {
    let program = Program::with(place, &["request_head_timeout=1s"]);
    for part in [&b"x"[..], b"Field: value\r\n"] {
        let mut client = program.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nSlow: ");
        let taken = client.dribble(part, Duration::from_millis(100));
        assert_not_before(taken, SECOND);
        let answer = client.answer();
        assert_eq!(answer.status, 408);
        assert!(answer.has_field("connection: close"), "{answer:?}");
        client.wait_until_closed();
    }
}

fn a_second_head_is_timed_from_its_own_first_byte(place: Place) {
    let program = Program::with(place, &["request_head_timeout=1s"]);
    let mut client = program.connect();
    assert_eq!(client.get("/slow/700").status, 200);
    assert!(client.is_quiet_for(Duration::from_millis(1200)), "the head's timer has not started");
    client.send("G");
    let taken = client.dribble(b"G", Duration::from_millis(100));
    assert_not_before(taken, SECOND);
    assert_eq!(client.answer().status, 408);
}

#[test]
fn blank_lines_are_bounded_and_extend_no_timer() {
    let program = Program::with(Place::USUAL, &[]);
    let mut client = program.connect();
    client.send("\r\n\r\n");
    assert_eq!(client.get("/hello").status, 200, "a few blank lines are ignored");
    let mut client = program.connect();
    client.send("\r\n".repeat(100));
    assert_eq!(client.answer().status, 400);
    // `core` tests that blank lines extend no timer. Here the connection still ends after a few of
    // them.
    let program = Program::with(Place::USUAL, &["keep_alive_timeout=1s"]);
    let mut client = program.connect();
    client.send("\r\n\r\n");
    client.wait_until_closed();
    program.wait_for("the reason", |status| status["closes"]["keep_alive"].as_u64() >= Some(1));
}

#[test]
fn oversized_heads_are_refused_at_their_limits() {
    let program = Program::with(Place::USUAL, &[]);
    let long = "x".repeat(100 << 10);
    let many = "F: v\r\n".repeat(10_000);
    for (request, status) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nLong: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
    ] {
        let mut client = program.connect();
        client.send(request);
        let answer = client.answer();
        assert_eq!(answer.status, status);
        assert!(answer.has_field("connection: close"));
        client.wait_until_closed();
    }
    program.wait_for("no connection is left", |status| status["open"] == 1);
}

fn pipelined_requests_are_answered_in_order(place: Place) {
    let program = Program::with(place, &["requests_per_connection=1000000"]);
    let mut client = program.connect();
    let mut requests = String::new();
    for number in 0..1000 {
        requests += &format!("GET /bytes/{number} HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    client.send(requests);
    for number in 0..1000 {
        assert_eq!(client.answer().content.len(), number);
    }
}

fn unread_answers_to_pipelined_requests_are_bounded(place: Place) {
    let program = Program::with(
        place,
        &["requests_per_connection=1000000", "response_grace=1s", "response_silence=1s"],
    );
    let mut client = program.connect();
    client.shake_hands();
    client.stream.set_nonblocking(true).expect("it can be set");
    // One connection that stays. On a busy machine several short ones could overlap and raise
    // `bytes_held`.
    let mut observer = program.connect();
    let requests = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10_000);
    // The server stops reading and then resets, which ends the writes.
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match client.write(requests.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => break,
            // Over TLS a full buffer takes nothing.
            Err(_) | Ok(0) => std::thread::sleep(Duration::from_millis(20)),
            Ok(_) => {}
        }
        let status = observer.get("/status").content;
        let status: serde_json::Value = serde_json::from_slice(&status).expect("JSON");
        let held = status["bytes_held"].as_u64().expect("a number");
        assert!(held < 256 << 10, "{held} bytes are held");
    }
    program.wait_for("the reset is counted", |status| status["closes"]["response"] == 1);
}

fn the_last_answer_of_a_connection_says_close(place: Place) {
    let program = Program::with(place, &["requests_per_connection=3"]);
    let mut client = program.connect();
    assert!(!client.get("/hello").has_field("connection: close"));
    assert!(!client.get("/hello").has_field("connection: close"));
    assert!(client.get("/hello").has_field("connection: close"));
    client.wait_until_closed();
    program.wait_for("the close is counted", |status| status["closes"]["request_limit"] == 1);
}

fn resets_after_connecting_leave_nothing_behind(place: Place) {
    let program = Program::with(place, &[]);
    for _ in 0..2000 {
        let client = program.connect();
        socket2::SockRef::from(&client.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("it can be set");
    }
    program.wait_for("no connection is left", |status| status["open"] == 1);
}

fn the_server_survives_running_out_of_descriptors(place: Place) {
    let program = Program::with_descriptors(place, 40);
    let crowd: Vec<_> = (0..80).map(|_| program.connect()).collect();
    std::thread::sleep(SECOND);
    drop(crowd);
    let mut client = program.connect();
    assert_eq!(client.get("/hello").status, 200);
}
