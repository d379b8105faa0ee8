//! Each limit on a request, set low: a request within it is served, one beyond it refused. `core`
//! does the counting, so one runtime and plaintext are enough.

use crate::place::Place;
use crate::support::Program;

const GET: &str = "GET /hello HTTP/1.1\r\nHost: a\r\n";
const CHUNKED: &str = "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Sends a request within the limit, which must get 200, and one beyond it, which must get
/// `status`.
fn assert_limited(settings: &[&str], within: &str, beyond: &str, status: u16) {
    let program = Program::with(Place::USUAL, settings);
    let mut client = program.connect();
    client.send(within);
    assert_eq!(client.answer().status, 200, "{settings:?}");
    client.send(beyond);
    let answer = client.answer();
    assert_eq!(answer.status, status, "{settings:?}");
    assert!(answer.has_field("connection: close"), "{settings:?}: {answer:?}");
    assert!(client.try_answer().is_none(), "{settings:?}");
}

#[test]
fn heads_are_limited() {
    let filled = |length| format!("{GET}Fill: {}\r\n\r\n", "x".repeat(length));
    let fixed = filled(0).len();
    let settings = ["request_head_limit=100"];
    assert_limited(&settings, &filled(100 - fixed), &filled(101 - fixed), 431);
    let fields = |count| format!("{GET}{}\r\n", "A: b\r\n".repeat(count));
    assert_limited(&["request_fields_limit=5"], &fields(4), &fields(5), 431);
    let target = |length: usize| {
        format!("GET /hello?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length - "/hello?".len()))
    };
    assert_limited(&["request_target_limit=20"], &target(20), &target(21), 414);
}

#[test]
fn content_is_limited() {
    let known = |length| {
        let content = "x".repeat(length);
        format!("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{content}")
    };
    assert_limited(&["request_body_limit=9"], &known(9), &known(10), 413);
    let chunks = |count| format!("{CHUNKED}{}0\r\n\r\n", "3\r\nabc\r\n".repeat(count));
    assert_limited(&["request_body_limit=9"], &chunks(3), &chunks(4), 413);
}

#[test]
fn chunk_extensions_and_trailers_are_limited() {
    let extended = |length, count| {
        let chunk = format!("3;{}\r\nabc\r\n", "e".repeat(length));
        format!("{CHUNKED}{}0\r\n\r\n", chunk.repeat(count))
    };
    let settings = ["chunk_extension_limit=10"];
    assert_limited(&settings, &extended(9, 100), &extended(10, 1), 400);
    let settings = ["chunk_extension_limit=10", "chunk_extensions_limit=100"];
    assert_limited(&settings, &extended(9, 10), &extended(9, 11), 400);
    let trailers = |length| format!("{CHUNKED}0\r\nFill: {}\r\n\r\n", "x".repeat(length));
    let fixed = "Fill: \r\n\r\n".len();
    assert_limited(&["trailers_limit=64"], &trailers(64 - fixed), &trailers(65 - fixed), 400);
}

#[test]
fn buffers_are_limited() {
    let program = Program::with(Place::USUAL, &["receive_buffer_limit=1KiB"]);
    let mut client = program.connect();
    client.send("POST /lazy/1000 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    client.send(vec![b'x'; 1_000_000]);
    let held = program.status()["bytes_held"].as_u64().expect("a number");
    assert!(held < 4 << 10, "{held} bytes are held");
    assert_eq!(client.answer().text(), "1000000");
}
