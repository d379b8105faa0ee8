//! Attacks with request content.

use crate::place::{Place, tests};
use crate::support::{Program, assert_not_before};
use std::time::{Duration, Instant};

tests! {
    everywhere:
        slow_content_gets_408_after_the_grace,
        content_above_the_minimum_rate_is_accepted_and_below_it_refused,
        a_slow_application_starts_no_timer_of_the_client,
        endless_chunks_get_413_at_the_limit,
        an_early_answer_arrives_whole_while_the_client_sends,
        content_after_an_early_answer_is_discarded_until_linger_timeout,
        content_after_an_early_answer_is_discarded_up_to_linger_limit,
        a_small_unread_content_keeps_the_connection,
        continue_is_sent_only_when_the_application_reads,
        an_echo_flows_both_ways_at_once;
}

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);

fn slow_content_gets_408_after_the_grace(place: Place) {
    let program = Program::with(place, &["request_body_grace=1s", "request_body_silence=1s"]);
    let mut client = program.connect();
    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    assert_not_before(client.dribble(b"x", 4 * TENTH), SECOND);
    assert_eq!(client.answer().status, 408);

    // An answer that has begun is cut off.
    let mut client = program.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    assert_eq!(client.take_line(), "HTTP/1.1 200 OK");
    assert_not_before(client.closed_after(), SECOND);
    program.wait_for("the close is counted", |status| status["closes"]["request_body"] == 2);

    // A silent client is too slow as well.
    let mut client = program.connect();
    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    let answer = client.answer();
    assert_not_before(client.waited(), SECOND);
    assert_eq!(answer.status, 408);
    client.wait_until_closed();
}

/// `core` tests the exact threshold in simulated time. Here a client is far above or below it.
fn content_above_the_minimum_rate_is_accepted_and_below_it_refused(place: Place) {
    let settings = ["request_body_grace=1s", "request_body_rate=1000"];
    let program = Program::with(place, &settings);
    let mut client = program.connect();
    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 1000100\r\n\r\n");
    // Early bytes count in full: these pay for a thousand seconds.
    client.send(vec![b'x'; 1_000_000]);
    let start = Instant::now();
    while start.elapsed() < 4 * SECOND {
        assert!(
            client.is_quiet_for(SECOND),
            "the server answered or closed after {:?}",
            start.elapsed()
        );
    }
    client.send([b'x'; 100]);
    assert_eq!(client.answer().text(), "1000100");
    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 6000\r\n\r\n");
    assert_not_before(client.dribble(&[b'x'; 10], TENTH), SECOND);
    assert_eq!(client.answer().status, 408);
}

fn a_slow_application_starts_no_timer_of_the_client(place: Place) {
    let settings =
        ["request_body_grace=500ms", "keep_alive_timeout=500ms", "request_head_timeout=500ms"];
    let program = Program::with(place, &settings);
    for length in [200_000, 5] {
        let head =
            format!("POST /lazy/2000 HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let request = [head.as_bytes(), &vec![b'x'; length]].concat();
        let answer = program.begun(request).answer();
        assert_eq!(answer.text(), length.to_string());
        assert!(!answer.has_field("connection: close"), "{answer:?}");
    }
}

#[test]
fn a_declared_length_above_the_limit_is_413_at_once() {
    let program = Program::with(Place::USUAL, &[]);
    for path in ["/sink", "/echo", "/lazy/3600000", "/nowhere"] {
        let mut client = program.connect();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000000\r\n\r\n"
        ));
        assert_eq!(client.answer().status, 413, "{path}");
    }
}

fn endless_chunks_get_413_at_the_limit(place: Place) {
    let program = Program::with(place, &["request_body_limit=4MiB", "linger_silence=1h"]);
    let mut client = program.connect();
    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"100000\r\n".to_vec(), vec![b'x'; 1 << 20], b"\r\n".to_vec()].concat();
    // The server discards the bytes after its answer.
    for _ in 0..64 {
        client.send(&chunk);
    }
    assert_eq!(client.answer().status, 413);
    let held = program.status()["bytes_held"].as_u64().expect("a number");
    assert!(held < 256 << 10, "{held} bytes are held");
}

#[test]
fn one_byte_chunks_arrive_and_their_extensions_are_bounded() {
    let program = Program::with(Place::USUAL, &[]);
    let mut client = program.connect();
    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("1\r\nx\r\n".repeat(50_000) + "0\r\nTrailer-Field: value\r\n\r\n");
    assert_eq!(client.answer().text(), "50000");

    let endless = [
        "1;".to_owned() + &"e".repeat(10_000),
        format!("1;{}\r\nx\r\n", "e".repeat(200)).repeat(100),
        "0\r\n".to_owned() + &"Field: value\r\n".repeat(1000),
        "x".to_owned(),
    ];
    for chunk in endless {
        let mut client = program.connect();
        client.send("POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(&chunk);
        assert_eq!(client.answer().status, 400);
    }
}

fn an_early_answer_arrives_whole_while_the_client_sends(place: Place) {
    let program = Program::with(place, &["request_body_limit=none", "linger_silence=1h"]);
    let mut client = program.connect();
    // Far more than the server discards, sent before the client reads the answer.
    client.send("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
    for _ in 0..16 {
        client.send([b'x'; 32 << 10]);
    }
    assert_eq!(client.answer().status, 404);
    client.wait_until_closed();
}

/// The server answers this at once, before its content arrives.
const REFUSED: &str = "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";

fn content_after_an_early_answer_is_discarded_until_linger_timeout(place: Place) {
    let settings = ["linger_timeout=1s", "request_body_limit=none"];
    let program = Program::with(place, &settings);
    let mut client = program.connect();
    client.send(REFUSED);
    assert_eq!(client.answer().status, 404);
    assert_not_before(client.send_until_closed("x", TENTH / 2), SECOND);
    program.wait_for("the close is counted", |status| status["closes"]["unread_content"] == 1);
}

fn content_after_an_early_answer_is_discarded_up_to_linger_limit(place: Place) {
    let settings = ["linger_timeout=1h", "linger_limit=64KiB", "request_body_limit=none"];
    let program = Program::with(place, &settings);
    let mut client = program.connect();
    client.send(REFUSED);
    assert_eq!(client.answer().status, 404);
    // The kernels' buffers hold megabytes in between.
    let sent = (0..64).take_while(|_| client.send(vec![b'x'; 1 << 20])).count();
    assert!(sent < 32, "the server took {sent} MiB");
    program.wait_for("the close is counted", |status| status["closes"]["unread_content"] == 1);
}

fn a_small_unread_content_keeps_the_connection(place: Place) {
    let program = Program::with(place, &[]);
    let mut client = program.connect();
    client.send("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n");
    client.send([b'x'; 10_000]);
    assert_eq!(client.answer().status, 404);
    assert_eq!(client.get("/hello").status, 200);
}

fn continue_is_sent_only_when_the_application_reads(place: Place) {
    let program = Program::with(place, &["request_body_grace=1s", "request_body_silence=1s"]);
    let head = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let mut client = program.connect();
    client.send(format!("POST /lazy/700 HTTP/1.1\r\n{head}"));
    assert_eq!(client.answer().status, 100);
    assert_not_before(client.waited(), 7 * TENTH);
    client.send("hello");
    assert_eq!(client.answer().text(), "5");

    // Content is also requested when the answer is made of it.
    let mut client = program.connect();
    client.send(format!("POST /echo HTTP/1.1\r\n{head}"));
    assert_eq!(client.answer().status, 100);
    client.send("hello");
    let answer = client.answer();
    assert!(answer.text() == "hello" && !answer.has_field("connection: close"), "{answer:?}");

    let mut client = program.connect();
    client.send(format!("POST /nowhere HTTP/1.1\r\n{head}"));
    let answer = client.answer();
    assert_eq!(answer.status, 404, "a refusal has no 100 before it");
    assert!(answer.has_field("connection: close"));

    let mut client = program.connect();
    client.send(format!("POST /sink HTTP/1.1\r\n{head}"));
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.answer().status, 408, "the client sent nothing after the 100");
    assert_not_before(client.waited(), SECOND);

    let mut client = program.connect();
    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.answer().status, 417);
}

fn an_echo_flows_both_ways_at_once(place: Place) {
    let program = Program::with(place, &[]);
    let mut client = program.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for word in ["first", "other", "third"] {
        client.send(format!("5\r\n{word}\r\n"));
        if word == "first" {
            while !client.take_line().is_empty() {}
        }
        assert_eq!(client.take_line(), "5");
        assert_eq!(client.take_line(), word);
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.take_line(), "0");
}
