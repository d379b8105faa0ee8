//! Answers: their framing, their declared length, and the acceptance of content piece by piece.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use portcullis::{
    Begun, BodyLength, CloseReason, Config, Connection, Expiry, Misuse, PeerClose, ResetReason,
    Sent, Tick,
};
use portcullis_play::support;
use std::io::IoSlice;
use std::iter::empty;
use std::sync::Arc;
use support::{
    GET, POST_5, POST_CHUNKED, Script, Seen, answer, data, end, fields, get_with, secs, with,
};

const OLD: &str = "GET / HTTP/1.0\r\n\r\n";
const OLD_KEPT: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const CONNECT: &str = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";

/// The output for `wire`, answered like this, with `hello` as the content if content is owed.
fn answered(
    wire: &str,
    status: u16,
    lines: &[(&'static str, &'static str)],
    length: BodyLength,
) -> String {
    let mut script = Script::after(wire);
    if script.respond_with(status, lines, length).expect("an answer is owed") == Begun::Open {
        if length != BodyLength::Known(0) {
            assert_eq!(script.content(b"hello"), Ok(5));
        }
        script.finish().expect("the content is complete");
    }
    assert_eq!(script.finish(), Err(Misuse::UnknownStream), "the answer is complete");
    script.output()
}

#[test]
fn a_known_length() {
    assert_eq!(
        answered(GET, 200, &[], BodyLength::Known(5)),
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
    );
    assert_eq!(
        answered(GET, 404, &[], BodyLength::Known(0)),
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
    );
    // A status without a name has an empty reason phrase.
    assert_eq!(
        answered(GET, 599, &[], BodyLength::Known(0)),
        "HTTP/1.1 599 \r\ncontent-length: 0\r\n\r\n"
    );
}

#[test]
fn an_unknown_length_is_chunked() {
    assert_eq!(
        answered(GET, 200, &[], BodyLength::Unknown),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    script.output();
    assert_eq!(script.content(&[b'x'; 0xabc]), Ok(0xabc));
    assert_eq!(script.content(b""), Ok(0), "empty content is no chunk: that would be the end");
    assert_eq!(script.content(b"y"), Ok(1));
    assert_eq!(script.output(), format!("abc\r\n{}\r\n1\r\ny\r\n", "x".repeat(0xabc)));
    script.finish().expect("an answer is in progress");
    assert_eq!(script.output(), "0\r\n\r\n");
    assert_eq!(script.send(GET).len(), 2, "the connection is kept");
}

#[test]
fn an_unknown_length_to_http_1_0_ends_with_the_connection() {
    for wire in [OLD, OLD_KEPT] {
        let mut script = Script::after(wire);
        let _ = script.respond(200, BodyLength::Unknown);
        assert_eq!(script.content(b"hello"), Ok(5));
        script.finish().expect("an answer is in progress");
        assert_eq!(
            script.closes_with(CloseReason::Completed),
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello"
        );
    }
    assert_eq!(
        answered(OLD_KEPT, 200, &[], BodyLength::Known(5)),
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\nhello"
    );
}

#[test]
fn a_truncated_answer_until_close_does_not_look_complete() {
    let mut script = Script::after(OLD);
    let _ = script.respond(200, BodyLength::Unknown);
    script.content(b"hel").expect("an answer is in progress");
    let stream = script.stream();
    script.connection.stream(script.now, stream).reset().expect("a stream");
    assert_eq!(script.output(), "", "unsent bytes are dropped");
    script.closes_with(CloseReason::Application);
    assert!(script.connection.status().is_cut_off());

    // If the request's content breaks off, the answer does not end orderly either.
    let mut script = Script::after(&POST_5.replace("1.1", "1.0"));
    let _ = script.respond(200, BodyLength::Unknown);
    script.content(b"hel").expect("an answer is in progress");
    assert_eq!(script.eof(), [Seen::Reset(ResetReason::Truncated)]);
    assert_eq!(script.status().closed(), Some(CloseReason::Peer(PeerClose::Truncated)));
    assert!(script.connection.status().is_cut_off());
}

#[test]
fn answers_without_content() {
    for (wire, status, length, expected) in [
        (HEAD, 200, BodyLength::Known(5), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        (HEAD, 200, BodyLength::Known(0), "HTTP/1.1 200 OK\r\n\r\n"),
        (HEAD, 200, BodyLength::Unknown, "HTTP/1.1 200 OK\r\n\r\n"),
        (HEAD, 404, BodyLength::Known(5), "HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\n"),
        (GET, 204, BodyLength::Known(0), "HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, 204, BodyLength::Known(5), "HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, 204, BodyLength::Unknown, "HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, 304, BodyLength::Known(0), "HTTP/1.1 304 Not Modified\r\n\r\n"),
        (GET, 304, BodyLength::Known(5), "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        (GET, 304, BodyLength::Unknown, "HTTP/1.1 304 Not Modified\r\n\r\n"),
        (
            OLD_KEPT,
            204,
            BodyLength::Unknown,
            "HTTP/1.1 204 No Content\r\nconnection: keep-alive\r\n\r\n",
        ),
    ] {
        let mut script = Script::after(wire);
        assert_eq!(script.respond(status, length), Begun::Complete, "{expected:?}");
        assert_eq!(script.content(b"hello"), Err(Misuse::UnknownStream));
        assert_eq!(script.output(), expected);
        assert_eq!(script.send(GET).len(), 2, "the connection is kept");
    }
    let told = [("content-length", "12345")];
    assert_eq!(
        answered(HEAD, 200, &told, BodyLength::Known(0)),
        "HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n"
    );
    assert_eq!(answered(GET, 204, &told, BodyLength::Known(0)), "HTTP/1.1 204 No Content\r\n\r\n");
}

#[test]
fn interim_answers_come_before_the_final_one() {
    for (wire, interim) in [(GET, "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"), (OLD_KEPT, "")]
    {
        let mut script = Script::after(wire);
        let (stream, lines) = (script.stream(), fields(&[("link", "</x>")]));
        for _ in 0..2 {
            let sent = script
                .connection
                .stream(script.now, stream)
                .inform(StatusCode::EARLY_HINTS, &lines);
            assert_eq!(sent, Ok(()));
        }
        assert_eq!(script.output(), interim.repeat(2));
        script.answer(200, "ok");
        assert!(script.output().starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

// ---- fields ---------------------------------------------------------------------------------------

#[test]
fn fields_go_out_in_order() {
    let lines = [("x-b", "2"), ("x-a", "1 \t\"x\""), ("set-cookie", "c=d")];
    assert_eq!(
        answered(GET, 200, &lines, BodyLength::Known(0)),
        "HTTP/1.1 200 OK\r\nx-b: 2\r\nx-a: 1 \t\"x\"\r\nset-cookie: c=d\r\ncontent-length: 0\r\n\r\n"
    );
}

#[test]
fn a_length_among_the_fields_is_the_length() {
    let five = [("content-length", "5")];
    let expected = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(answered(GET, 200, &five, BodyLength::Known(5)), expected);
    assert_eq!(answered(GET, 200, &five, BodyLength::Unknown), expected);
    assert_eq!(answered(GET, 200, &[("content-length", "05")], BodyLength::Unknown), expected);
    let twice = [("content-length", "5"), ("content-length", "5")];
    let mut script = Script::after(GET);
    let lines: Vec<_> = twice.iter().map(|pair| fields(&[*pair])).collect();
    let both = lines.iter().flatten();
    let stream = script.stream();
    let begun = script.connection.stream(script.now, stream).respond(
        StatusCode::OK,
        both,
        BodyLength::Unknown,
    );
    assert_eq!(begun, Ok(Begun::Open));
    assert_eq!(script.output(), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
}

#[test]
fn fields_that_frame_otherwise_are_misuse_and_leave_no_trace() {
    for (line, length) in [
        (("transfer-encoding", "gzip"), BodyLength::Unknown),
        (("transfer-encoding", "gzip, chunked"), BodyLength::Unknown),
        (("transfer-encoding", "identity"), BodyLength::Known(5)),
        (("content-length", "5"), BodyLength::Known(6)),
        (("content-length", "5"), BodyLength::Known(0)),
        (("content-length", "+5"), BodyLength::Known(5)),
        (("content-length", "5, 5"), BodyLength::Unknown),
        (("content-length", "five"), BodyLength::Unknown),
        (("content-length", ""), BodyLength::Unknown),
    ] {
        let mut script = Script::after(GET);
        let lines = [("x-before", "1"), line, ("x-after", "2")];
        assert_eq!(script.respond_with(200, &lines, length), Err(Misuse::Framing), "{line:?}");
        assert_eq!(script.waiting(), "");
        script.answer(500, "no");
        assert!(script.output().starts_with("HTTP/1.1 500 "), "an answer is still owed");
    }
    for (one, two) in [
        (("content-length", "5"), ("content-length", "6")),
        (("content-length", "5"), ("transfer-encoding", "chunked")),
        (("transfer-encoding", "chunked"), ("content-length", "5")),
    ] {
        let mut script = Script::after(GET);
        let (one, two) = (fields(&[one]), fields(&[two]));
        let both = one.iter().chain(&two);
        let stream = script.stream();
        let begun = script.connection.stream(script.now, stream).respond(
            StatusCode::OK,
            both,
            BodyLength::Unknown,
        );
        assert_eq!(begun, Err(Misuse::Framing));
    }
}

#[test]
fn an_answer_passed_on_from_another_server_is_framed_anew() {
    let line = ("transfer-encoding", "Chunked");
    // axum adds the length of content that it knows.
    let both = [line, ("content-length", "5")];
    for (wire, lines, length, head) in [
        (GET, &[line][..], BodyLength::Unknown, "200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        (GET, &[line], BodyLength::Known(5), "200 OK\r\ncontent-length: 5\r\n\r\n"),
        (GET, &both, BodyLength::Known(5), "200 OK\r\ncontent-length: 5\r\n\r\n"),
        (OLD, &[line], BodyLength::Unknown, "200 OK\r\nconnection: close\r\n\r\n"),
    ] {
        let mut script = Script::after(wire);
        assert_eq!(script.respond_with(200, lines, length), Ok(Begun::Open));
        assert_eq!(script.output(), format!("HTTP/1.1 {head}"));
    }
}

#[test]
fn the_connection_decides_its_own_fields() {
    for (lines, sent, kept) in [
        (&[("connection", "close")][..], "connection: close\r\n", false),
        (&[("connection", "x, Close")], "connection: x\r\nconnection: close\r\n", false),
        (&[("connection", "keep-alive")], "", true),
        (&[("connection", "x")], "connection: x\r\n", true),
        (&[("connection", " , ")], "", true),
        (&[("keep-alive", "timeout=100")], "", true),
        (&[("proxy-connection", "keep-alive")], "", true),
    ] {
        let mut script = Script::after(GET);
        assert_eq!(script.respond_with(204, lines, BodyLength::Known(0)), Ok(Begun::Complete));
        let expected = format!("HTTP/1.1 204 No Content\r\n{sent}\r\n");
        if kept {
            assert_eq!(script.output(), expected);
            assert!(script.is_open());
        } else {
            assert_eq!(script.closes_with(CloseReason::Completed), expected);
        }
    }
    // A client that asked for a close gets one, whatever the application says.
    let mut script = Script::after(&get_with("Connection: close\r\n"));
    let _ = script.respond_with(204, &[("connection", "keep-alive")], BodyLength::Known(0));
    assert_eq!(script.output(), "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
}

#[test]
fn no_value_ends_its_field_line() {
    // The `http` types ensure that. The values they accept stay on their line.
    for bad in ["a\r\nb: c", "a\nb", "a\rb", "a\0b"] {
        assert!(http::HeaderValue::from_str(bad).is_err());
    }
    let mut lines = HeaderMap::new();
    for byte in (0..=255u8).filter(|byte| http::HeaderValue::from_bytes(&[*byte]).is_ok()) {
        lines.append("x", http::HeaderValue::from_bytes(&[b'<', byte, b'>']).expect("valid"));
    }
    let mut script = Script::after(GET);
    let (stream, length) = (script.stream(), BodyLength::Known(0));
    let _ = script.connection.stream(script.now, stream).respond(StatusCode::OK, &lines, length);
    let output = script.output();
    assert_eq!(output.matches(['\r', '\n', '\0']).count(), 2 * (lines.len() + 3));
    assert_eq!(output.matches("\r\nx: <").count(), lines.len());
}

// ---- what was declared ----------------------------------------------------------------------------

#[test]
fn a_declared_length_is_enforced() {
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Known(5));
    assert_eq!(script.content(b"hello!"), Err(Misuse::TooLong { left: 5 }));
    assert_eq!(script.finish(), Err(Misuse::TooShort { missing: 5 }));
    assert_eq!(script.content(b"hel"), Ok(3));
    assert_eq!(script.content(b"lo!"), Err(Misuse::TooLong { left: 2 }));
    assert_eq!(script.finish(), Err(Misuse::TooShort { missing: 2 }));
    assert_eq!(script.content(b"lo"), Ok(2));
    assert_eq!(script.content(b"!"), Err(Misuse::TooLong { left: 0 }));
    assert_eq!(script.content(b""), Ok(0));
    assert_eq!(script.finish(), Ok(()));
    assert!(script.output().ends_with("\r\n\r\nhello"));
}

#[test]
fn only_chunked_answers_have_trailers() {
    for (wire, length, rest) in [
        (GET, BodyLength::Unknown, "\r\n\r\n0\r\nx-sum: 1\r\n\r\n"),
        (GET, BodyLength::Known(0), "content-length: 0\r\n\r\n"),
        (OLD, BodyLength::Unknown, "connection: close\r\n\r\n"),
    ] {
        let mut script = Script::after(wire);
        let _ = script.respond(200, length);
        let (stream, trailers) = (script.stream(), fields(&[("x-sum", "1")]));
        assert_eq!(script.connection.stream(script.now, stream).finish(Some(&trailers)), Ok(()));
        let output = script.output();
        assert!(output.ends_with(rest), "{output:?}");
    }
}

#[test]
fn forbidden_trailers_are_misuse_and_leave_no_trace() {
    for name in [
        "content-length",
        "transfer-encoding",
        "host",
        "connection",
        "authorization",
        "content-type",
        "trailer",
    ] {
        let mut script = Script::after(GET);
        let _ = script.respond(200, BodyLength::Unknown);
        script.output();
        let (stream, trailers) = (script.stream(), fields(&[("x-a", "1"), (name, "1")]));
        let finished = script.connection.stream(script.now, stream).finish(Some(&trailers));
        assert_eq!(finished, Err(Misuse::Framing), "{name}");
        assert_eq!(script.waiting(), "", "{name}");
        assert_eq!(script.finish(), Ok(()));
        assert_eq!(script.output(), "0\r\n\r\n");
    }
}

#[test]
fn connect_has_no_tunnel_but_is_answered() {
    let mut script = Script::after(CONNECT);
    for status in [200, 204, 299] {
        for length in [BodyLength::Known(0), BodyLength::Unknown] {
            assert_eq!(script.respond_with(status, &[], length), Err(Misuse::Status), "{status}");
        }
    }
    script.answer(405, "no");
    let head = "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
    assert_eq!(script.output(), head.to_owned() + "no");
    assert_eq!(script.send(GET), [], "later bytes may be meant for the tunnel");
    script.closes_with(CloseReason::Completed);
}

// ---- early answers --------------------------------------------------------------------------------

#[test]
fn an_answer_may_come_before_the_content() {
    for (head, first, rest) in
        [(POST_5, "he", "llo"), (POST_CHUNKED, "5\r\nhe", "llo\r\n0\r\n\r\n")]
    {
        let mut script = Script::after(head);
        let _ = script.respond(200, BodyLength::Known(5));
        assert_eq!(script.content(b"wor"), Ok(3));
        assert_eq!(script.ask(9), []);
        assert_eq!(script.send(first), [data("he")]);
        assert_eq!(script.ask(9), []);
        assert_eq!(script.send(rest), [data("llo"), end()]);
        assert_eq!(script.content(b"ld"), Ok(2));
        script.finish().expect("an answer is in progress");
        assert!(script.output().ends_with("world"));
        assert_eq!(script.send(GET).len(), 2, "the connection is kept");
    }
}

// ---- acceptance -----------------------------------------------------------------------------------

#[test]
fn content_is_accepted_up_to_the_cap_and_writable_comes_once() {
    for (wire, length) in
        [(GET, BodyLength::Known(10_000)), (GET, BodyLength::Unknown), (OLD, BodyLength::Unknown)]
    {
        let mut script = Script::under(with(&[("send_buffer_limit", "4096")]));
        script.send(wire);
        let _ = script.respond(200, length);
        script.output();
        assert_eq!(script.connection.stream(Tick::ZERO, script.stream()).room(), 4096);
        let mut content = Bytes::from(vec![b'x'; 10_000]);
        let stream = script.stream();
        let mut send = |script: &mut Script| {
            let sent = script.connection.stream(script.now, stream).send(&mut content);
            (sent.expect("the stream is open"), content.len())
        };
        assert_eq!(send(&mut script), (Sent::Part, 10_000 - 4096));
        assert_eq!(script.connection.stream(Tick::ZERO, stream).room(), 0);
        assert_eq!(send(&mut script), (Sent::Part, 10_000 - 4096));
        assert_eq!(script.resume(), []);
        // More than half of the output is still unsent.
        let waiting = script.waiting().len();
        script.take(waiting - 2049);
        assert_eq!(script.resume(), []);
        script.take(1);
        assert!(script.connection.status().resume);
        assert_eq!(script.resume(), [Seen::Writable]);
        assert!(!script.connection.status().resume);
        script.output();
        assert_eq!(script.resume(), [], "Writable comes once");
        assert_eq!(send(&mut script), (Sent::Part, 10_000 - 8192));
        script.output();
        assert_eq!(script.resume(), [Seen::Writable]);
        assert_eq!(send(&mut script), (Sent::All, 0));
        script.finish().expect("the content is complete");
        script.output();
        assert_eq!(script.resume(), []);
    }
}

#[test]
fn content_that_fits_exactly_is_not_cut_short() {
    let mut script = Script::under(with(&[("send_buffer_limit", "4096")]));
    script.send(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    script.output();
    assert_eq!(script.content(&[b'x'; 4096]), Ok(4096));
    script.output();
    assert_eq!(script.resume(), []);
}

#[test]
fn no_writable_on_a_stream_that_is_gone() {
    // The request's content never comes, so the answer breaks off.
    let mut script = Script::after(POST_5);
    let _ = script.respond(200, BodyLength::Unknown);
    assert!(script.content(&[b'x'; 100_000]).expect("an answer is in progress") < 100_000);
    script.ask(9);
    script.at(secs(4));
    script.take(30_000);
    script.at(secs(5));
    assert_eq!(script.resume(), [Seen::Reset(ResetReason::Timeout)]);
    script.output();
    assert_eq!(script.resume(), []);

    // The peer takes nothing, and the connection closes.
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    assert!(script.content(&[b'x'; 100_000]).expect("an answer is in progress") < 100_000);
    script.at(secs(5));
    assert!(!script.connection.status().resume);
    assert_eq!(script.resume(), []);
    script.closes_with(CloseReason::Expired(Expiry::Response));
}

#[test]
fn answers_that_are_ready_together_leave_together() {
    let mut connection = Connection::new(Arc::new(Config::default()), Tick::ZERO);
    let mut wire = GET.repeat(20).into_bytes();
    let mut events = connection.receive(Tick::ZERO, &mut wire).expect("the connection reads");
    while let Some((connection, event)) = events.next() {
        if let portcullis::Event::End { stream, .. } = event {
            answer(connection, Tick::ZERO, stream, 200, "ok");
        }
    }
    drop(events);
    let mut slices = [IoSlice::new(&[]); 4];
    assert_eq!(connection.outgoing(&mut slices), 1, "one slice, one write");
    assert_eq!(*slices[0], *b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".repeat(20));
}

#[test]
fn large_content_is_lent_and_not_copied() {
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    let content = Bytes::from(vec![b'x'; 50_000]);
    let stream = script.stream();
    script
        .connection
        .stream(script.now, stream)
        .send(&mut content.clone())
        .expect("an answer is in progress");
    let mut slices = [IoSlice::new(&[]); 4];
    assert_eq!(script.connection.outgoing(&mut slices), 3);
    assert_eq!(slices[1].as_ptr(), content.as_ptr());
}

#[test]
fn an_answer_needs_no_fields() {
    let mut script = Script::after(GET);
    let (stream, length) = (script.stream(), BodyLength::Known(0));
    let begun =
        script.connection.stream(script.now, stream).respond(StatusCode::OK, empty(), length);
    assert_eq!(begun, Ok(Begun::Open));
}

// ---- keep_alive_hint --------------------------------------------------------------------------------

/// The fields of the answer to `wire` that concern the connection.
fn connection_fields(config: Config, wire: &str, given: &[(&'static str, &'static str)]) -> String {
    let mut script = Script::under(config);
    script.send(wire);
    let _ = script.respond_with(204, given, BodyLength::Known(0));
    let output = script.output();
    let lines = output.split("\r\n").skip(1).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(", ")
}

#[test]
fn the_hint_is_a_second_less_than_the_timeout() {
    for (timeout, hint) in [
        ("75s", Some("74")),
        ("5s", Some("4")),
        ("2900ms", Some("1")),
        ("2s", Some("1")),
        ("1999ms", None),
        ("1s", None),
        ("1ms", None),
    ] {
        let config = with(&[("keep_alive_hint", "on"), ("keep_alive_timeout", timeout)]);
        let expected = hint.map_or_else(String::new, |seconds| {
            format!("connection: keep-alive, keep-alive: timeout={seconds}")
        });
        assert_eq!(connection_fields(config, GET, &[]), expected, "{timeout}");
    }
    assert_eq!(connection_fields(Config::default(), GET, &[]), "", "the hint is off by default");
}

#[test]
fn only_an_answer_that_keeps_the_connection_has_a_hint() {
    let on = || with(&[("keep_alive_hint", "on")]);
    let hint = "connection: keep-alive, keep-alive: timeout=4";
    assert_eq!(connection_fields(on(), OLD_KEPT, &[]), hint);
    assert_eq!(connection_fields(on(), OLD, &[]), "connection: close");
    assert_eq!(connection_fields(on(), HEAD, &[]), hint);
    assert_eq!(connection_fields(on(), GET, &[("connection", "close")]), "connection: close");
    // The connection does not keep the application's own `Keep-Alive`.
    assert_eq!(connection_fields(on(), GET, &[("keep-alive", "timeout=100")]), hint);
    assert_eq!(
        connection_fields(on(), &get_with("Connection: close\r\n"), &[]),
        "connection: close"
    );
    let last = with(&[("keep_alive_hint", "on"), ("requests_per_connection", "1")]);
    assert_eq!(connection_fields(last, GET, &[]), "connection: close");
    let mut script = Script::under(on());
    script.send(GET);
    script.connection.drain(script.now);
    let _ = script.respond(204, BodyLength::Known(0));
    assert_eq!(script.output(), "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
}
