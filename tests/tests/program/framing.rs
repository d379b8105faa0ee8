//! Requests that two servers could frame differently. Each is followed by a smuggled request, which
//! must never be answered.

use crate::place::Place;
use crate::support::Program;

/// What is wrong, and the request up to where the smuggled one begins.
const AMBIGUOUS: [(&str, &str); 40] = [
    (
        "both lengths",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "both lengths, other order",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    ),
    (
        "two lengths",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
    ),
    (
        "the same length twice",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    ),
    ("a list of lengths", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n"),
    ("a signed length", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n"),
    ("a negative length", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
    ("a hexadecimal length", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0\r\n\r\n"),
    ("an empty length", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
    (
        "a length with a space inside",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0 0\r\n\r\n",
    ),
    (
        "chunked twice",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked in two lines",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked, then identity",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    ("identity", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
    (
        "an unknown coding",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a quoted coding",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding with a parameter",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    ),
    (
        "a vertical tab before chunked",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    ("an empty coding", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"),
    (
        "chunked with HTTP/1.0",
        "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a space before the colon",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a space before the name", "POST /echo HTTP/1.1\r\n Host: a\r\n\r\n"),
    (
        "a folded line",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    ),
    ("no colon", "GET /hello HTTP/1.1\r\nHost: a\r\nNonsense\r\n\r\n"),
    ("bare LFs", "GET /hello HTTP/1.1\nHost: a\n\n"),
    ("one bare LF", "GET /hello HTTP/1.1\r\nHost: a\nOther: b\r\n\r\n"),
    ("a bare LF at the end", "GET /hello HTTP/1.1\r\nHost: a\r\n\n"),
    ("a bare CR", "GET /hello HTTP/1.1\r\nHost: a\rOther: b\r\n\r\n"),
    ("NUL", "GET /hello HTTP/1.1\r\nHost: a\r\nOther: b\0c\r\n\r\n"),
    ("two hosts", "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("no host", "GET /hello HTTP/1.1\r\n\r\n"),
    ("a host with a path", "GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("another host in the target", "GET http://b/hello HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two spaces", "GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a tab", "GET\t/hello HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a space at the end", "GET /hello HTTP/1.1 \r\nHost: a\r\n\r\n"),
    (
        "a chunk size with a sign",
        "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
    ),
    (
        "a chunk size that overflows",
        "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n",
    ),
    (
        "a chunk size with 0x",
        "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    ),
    (
        "a bare LF after a chunk size",
        "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\n\r\n",
    ),
];

#[test]
fn ambiguous_requests_are_refused_and_the_smuggled_ones_not_answered() {
    let program = Program::with(Place::USUAL, &["request_body_grace=1s"]);
    for (what, request) in AMBIGUOUS {
        let mut client = program.connect();
        client.send(format!("{request}GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
        assert!(answer.has_field("connection: close"), "{what}: {answer:?}");
        assert!(client.try_answer().is_none(), "{what}: a second answer");
    }
}

#[test]
fn other_malformed_requests_have_their_status() {
    let program = Program::with(Place::USUAL, &[]);
    let method = "M".repeat(33);
    for (request, status) in [
        ("GET /hello HTTP/1.2\r\nHost: a\r\n\r\n".to_owned(), 505),
        ("GET /hello HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), 505),
        (format!("{method} /hello HTTP/1.1\r\nHost: a\r\n\r\n"), 501),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_owned(),
            501,
        ),
        ("GET /hello\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = program.connect();
        client.send(&request);
        assert_eq!(client.answer().status, status, "{request:?}");
        assert!(client.try_answer().is_none());
    }
}
