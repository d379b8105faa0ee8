//! Attacks with request content: rows 14 to 23 of the attack table.

use crate::place::{Place, tests};
use crate::support::{Program, assert_not_before};
use std::time::{Duration, Instant};

tests! {
    everywhere:
        slow_content_gets_408_after_the_grace,
        content_above_the_minimum_rate_lives_and_below_it_does_not,
        an_application_in_no_hurry_costs_the_client_nothing,
        chunks_without_end_are_413_at_the_limit,
        an_early_answer_arrives_whole_though_the_client_goes_on_sending,
        what_follows_an_early_answer_is_discarded_for_so_long,
        what_follows_an_early_answer_is_discarded_up_to_so_much,
        a_small_unread_content_costs_no_connection,
        continue_is_sent_when_the_application_asks_and_not_before,
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
    program.wait_for("the reason is told", |status| status["closes"]["request_body"] == 2);

    // Silence is slow, too.
    let mut client = program.connect();
    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    let answer = client.answer();
    assert_not_before(client.waited(), SECOND);
    assert_eq!(answer.status, 408);
    client.wait_until_closed();
}

/// The exact edge is tested in `core`, in simulated time. Here a client is far on either side of it.
fn content_above_the_minimum_rate_lives_and_below_it_does_not(place: Place) {
    let settings = ["request_body_grace=1s", "request_body_rate=1000"];
    let program = Program::with(place, &settings);
    let mut client = program.connect();
    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 1000100\r\n\r\n");
    // What comes early counts in full: this pays for a thousand seconds.
    client.send(vec![b'x'; 1_000_000]);
    let start = Instant::now();
    while start.elapsed() < 4 * SECOND {
        assert!(client.is_quiet_for(SECOND), "it was cut off after {:?}", start.elapsed());
    }
    client.send([b'x'; 100]);
    assert_eq!(client.answer().text(), "1000100");
    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 6000\r\n\r\n");
    assert_not_before(client.dribble(&[b'x'; 10], TENTH), SECOND);
    assert_eq!(client.answer().status, 408);
}

fn an_application_in_no_hurry_costs_the_client_nothing(place: Place) {
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
fn declared_too_large_is_413_at_once() {
    let program = Program::with(Place::USUAL, &[]);
    for path in ["/sink", "/echo", "/lazy/3600000", "/nowhere"] {
        let mut client = program.connect();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000000\r\n\r\n"
        ));
        assert_eq!(client.answer().status, 413, "{path}");
    }
}

fn chunks_without_end_are_413_at_the_limit(place: Place) {
    let program = Program::with(place, &["request_body_limit=4MiB", "linger_silence=1h"]);
    let mut client = program.connect();
    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"100000\r\n".to_vec(), vec![b'x'; 1 << 20], b"\r\n".to_vec()].concat();
    // What comes behind the answer is discarded.
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

fn an_early_answer_arrives_whole_though_the_client_goes_on_sending(place: Place) {
    let program = Program::with(place, &["request_body_limit=none", "linger_silence=1h"]);
    let mut client = program.connect();
    // Much more than is discarded, sent before the answer is looked at.
    client.send("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
    for _ in 0..16 {
        client.send([b'x'; 32 << 10]);
    }
    assert_eq!(client.answer().status, 404);
    client.wait_until_closed();
}

/// A request that is answered at once though its content is still to come.
const REFUSED: &str = "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";

fn what_follows_an_early_answer_is_discarded_for_so_long(place: Place) {
    let settings = ["linger_timeout=1s", "request_body_limit=none"];
    let program = Program::with(place, &settings);
    let mut client = program.connect();
    client.send(REFUSED);
    assert_eq!(client.answer().status, 404);
    assert_not_before(client.send_until_closed("x", TENTH / 2), SECOND);
    program.wait_for("the reason is told", |status| status["closes"]["unread_content"] == 1);
}

fn what_follows_an_early_answer_is_discarded_up_to_so_much(place: Place) {
    let settings = ["linger_timeout=1h", "linger_limit=64KiB", "request_body_limit=none"];
    let program = Program::with(place, &settings);
    let mut client = program.connect();
    client.send(REFUSED);
    assert_eq!(client.answer().status, 404);
    // What the kernel holds in between is megabytes.
    let sent = (0..64).take_while(|_| client.send(vec![b'x'; 1 << 20])).count();
    assert!(sent < 32, "{sent} MiB were taken");
    program.wait_for("the reason is told", |status| status["closes"]["unread_content"] == 1);
}

fn a_small_unread_content_costs_no_connection(place: Place) {
    let program = Program::with(place, &[]);
    let mut client = program.connect();
    client.send("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n");
    client.send([b'x'; 10_000]);
    assert_eq!(client.answer().status, 404);
    assert_eq!(client.get("/hello").status, 200);
}

fn continue_is_sent_when_the_application_asks_and_not_before(place: Place) {
    let program = Program::with(place, &["request_body_grace=1s", "request_body_silence=1s"]);
    let head = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let mut client = program.connect();
    client.send(format!("POST /lazy/700 HTTP/1.1\r\n{head}"));
    assert_eq!(client.answer().status, 100);
    assert_not_before(client.waited(), 7 * TENTH);
    client.send("hello");
    assert_eq!(client.answer().text(), "5");

    // An answer made of the content asks for it, too.
    let mut client = program.connect();
    client.send(format!("POST /echo HTTP/1.1\r\n{head}"));
    assert_eq!(client.answer().status, 100);
    client.send("hello");
    let answer = client.answer();
    assert!(answer.text() == "hello" && !answer.has_field("connection: close"), "{answer:?}");

    let mut client = program.connect();
    client.send(format!("POST /nowhere HTTP/1.1\r\n{head}"));
    let answer = client.answer();
    assert_eq!(answer.status, 404, "who refuses sends no 100");
    assert!(answer.has_field("connection: close"));

    let mut client = program.connect();
    client.send(format!("POST /sink HTTP/1.1\r\n{head}"));
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.answer().status, 408, "and then nothing is sent");
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
