//! Valid requests: methods, targets, persistence, content, `Expect`, pipelining, half-closed
//! clients. Refused requests are in `strict.rs`.

use http::Version;
use portcullis::{
    BodyLength, CloseReason, Config, Connection, Event, Events, Life, PeerClose, Refusal,
    ResetReason, Tick,
};
use portcullis_play::support;
use std::sync::Arc;
use support::cuts::{assert_refused, refusal_text, told};
use support::{GET, POST_5, POST_CHUNKED, Script, Seen, data, end, get_with};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const EXPECT_5: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Seen {
    let fields = fields.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Seen::Request(method.into(), target.into(), fields.collect())
}

fn get() -> Seen {
    request("GET", "/", &[("Host", "a")])
}

// ---- methods and targets --------------------------------------------------------------------------

#[test]
fn a_request_is_delivered_as_it_was_sent() {
    let wire = "GET /path?query=1&x HTTP/1.1\r\nHost: a.example:8080\r\nX-Empty:\r\nX-Spaced: \t a  b \t\r\n\
                X-Twice: 1\r\nx-twice: 2\r\nX-\u{60}!#$%&'*+-.^_|~: token\r\n\r\n";
    let fields = [
        ("Host", "a.example:8080"),
        ("X-Empty", ""),
        ("X-Spaced", "a  b"),
        ("X-Twice", "1"),
        ("x-twice", "2"),
        ("X-`!#$%&'*+-.^_|~", "token"),
    ];
    let told = told(wire);
    assert_eq!(told.seen, [request("GET", "/path?query=1&x", &fields), end()]);
    assert_eq!(told.output, OK);
    assert_eq!(told.reason, CloseReason::Peer(PeerClose::Done));
}

#[test]
fn all_methods_and_custom_ones() {
    let longest = "M".repeat(32);
    for method in [
        "GET",
        "POST",
        "PUT",
        "DELETE",
        "OPTIONS",
        "TRACE",
        "PATCH",
        "PROPFIND",
        "get",
        "M-SEARCH",
        "!#$%&'*+-.^_`|~0",
        &longest,
    ] {
        let told = told(format!("{method} /x HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(told.seen, [request(method, "/x", &[("Host", "a")]), end()]);
        assert_eq!(told.output, OK);
    }
    let longer = format!("{longest}M /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_refused(longer, Refusal::Method);
}

#[test]
fn head_is_answered_without_content() {
    let told = told("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2));
    assert_eq!(told.requests(), 2);
    assert_eq!(told.output, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n".repeat(2));
}

#[test]
fn targets_have_four_forms() {
    let long = format!("/{}", "x".repeat(8191));
    for (method, target, host) in [
        ("GET", "/", "a"),
        ("GET", "//a/../b;c?d?e/f", "a"),
        ("GET", "/%00%zz!$&'()*+,-.:;=?@[]_~", "a"),
        ("GET", &long, "a"),
        ("OPTIONS", "/", "a"),
        ("OPTIONS", "*", "a"),
        ("GET", "http://a/", "a"),
        ("GET", "http://a//x?", "a"),
        ("OPTIONS", "http://a/", "a"),
        ("GET", "https://[::1]:443/x", "[::1]:443"),
        ("CONNECT", "a.example:443", "a.example:443"),
        ("CONNECT", "[::1]:443", "[::1]:443"),
    ] {
        let mut script = Script::new();
        let seen = script.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(seen, [request(method, target, &[("Host", host)]), end()]);
    }
}

/// Requests of real clients, above all health checks.
#[test]
fn requests_of_real_clients_are_accepted() {
    for wire in [
        "OPTIONS / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD / HTTP/1.0\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost:\r\n\r\n",
        "GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{e4}\u{20ac}\u{1f600} HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let told = told(wire);
        assert_eq!((told.requests(), told.statuses()), (1, vec![200]), "{wire:?}");
    }
}

#[test]
fn wrong_forms_of_targets_are_refused() {
    for (method, target) in [
        ("GET", "*"),
        ("HEAD", "*"),
        ("POST", "*"),
        ("options", "*"),
        ("OPTIONS", "**"),
        ("OPTIONS", "*?x"),
        ("GET", "a"),
        ("GET", "a:80"),
        ("GET", "a/b"),
        ("GET", "?x"),
        ("GET", "\\"),
        ("GET", "http:/a/"),
        ("GET", "http:a"),
        ("GET", "http://"),
        ("GET", "http:///x"),
        ("GET", "http://:80/"),
        ("GET", "ftp://a/"),
        ("GET", "file:///x"),
        ("GET", "httpx://a/"),
        ("GET", "http://user@a/"),
        ("GET", "http://user:word@a/"),
        ("GET", "http://a:b/"),
        ("GET", "http://a:65536/"),
        ("GET", "http://a\\b/"),
        ("GET", "http://a%20b/"),
        ("GET", "http://\u{e9}/"),
        ("CONNECT", "a%20b:1"),
        ("GET", "http://[::1/"),
        ("GET", "/#"),
        ("GET", "/a#b"),
        ("GET", "#"),
        ("GET", "http://a/#b"),
        ("OPTIONS", "*#"),
        ("CONNECT", "a"),
        ("CONNECT", "a:"),
        ("CONNECT", ":443"),
        ("CONNECT", "a:65536"),
        ("CONNECT", "a:x"),
        ("CONNECT", "[::1]"),
        ("CONNECT", "[::1]:"),
        ("CONNECT", "/"),
        ("CONNECT", "*"),
        ("CONNECT", "http://a:443/"),
        ("CONNECT", "user@a:443"),
        ("CONNECT", "a:443/"),
    ] {
        // The target is wrong whatever `Host` says.
        let host = if method == "CONNECT" { target } else { "a" };
        let wire = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_refused(wire, Refusal::Target);
    }
}

#[test]
fn heads_in_the_types_of_the_ecosystem() {
    let mut connection = Connection::new(Arc::new(Config::default()), Tick::ZERO);
    for lines in ["", "X: 1\r\nX: 2\r\nY: \u{e9}\r\n"] {
        let wire = format!("PUT /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n{lines}\r\n");
        let mut wire: Vec<u8> = wire.chars().map(|it| it as u8).collect();
        let mut events = connection.receive(Tick::ZERO, &mut wire).expect("the connection reads");
        let Some((_, Event::Request { stream, head })) = events.next() else { panic!("a request") };
        let request = head.to_http().expect("valid");
        assert_eq!((request.method().as_str(), request.version()), ("PUT", Version::HTTP_11));
        assert_eq!(request.uri(), "/a?b");
        assert_eq!(request.headers().len(), 2 + lines.matches(':').count());
        assert_eq!(head.field("HOST"), Some(&b"a"[..]));
        assert_eq!(head.field("absent"), None);
        assert_eq!((head.content_length(), head.expects_continue()), (Some(0), false));
        drop(events);
        support::answer(&mut connection, Tick::ZERO, stream, 200, "");
    }
}

#[test]
fn the_path_of_every_form_of_target() {
    for (method, target, path) in [
        ("GET", "/", "/"),
        ("GET", "/a/b", "/a/b"),
        ("GET", "/a?b/c?d", "/a"),
        ("GET", "/?/", "/"),
        ("GET", "//a//b", "//a//b"),
        ("GET", "http://a/b?c", "/b"),
        ("GET", "http://a", "/"),
        ("GET", "http://a?b/c", "/"),
        ("GET", "http://a/?b/c", "/"),
        ("GET", "/\u{e9}?\u{e9}", "/%C3%A9"),
        ("GET", "/?http://a/b", "/"),
        ("OPTIONS", "*", "*"),
        ("CONNECT", "a:80", ""),
    ] {
        let mut connection = Connection::new(Arc::new(Config::default()), Tick::ZERO);
        let host = if method == "CONNECT" { target } else { "a" };
        let mut wire = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
        let mut events = connection.receive(Tick::ZERO, &mut wire).expect("the connection reads");
        let Some((_, Event::Request { head, .. })) = events.next() else { panic!("{target}") };
        assert_eq!(head.path(), path, "{target}");
    }
}

// ---- keeping the connection -----------------------------------------------------------------------

#[test]
fn http_1_1_keeps_the_connection_unless_told_otherwise() {
    for (lines, kept) in [
        ("", true),
        ("Connection: keep-alive\r\n", true),
        ("Connection: upgrade\r\n", true),
        ("Connection: closed\r\n", true),
        ("Connection: close\r\n", false),
        ("connection: CLOSE\r\n", false),
        ("Connection: keep-alive, close\r\n", false),
        ("Connection: x ,\tclose,\r\n", false),
        ("Connection: keep-alive\r\nConnection: close\r\n", false),
        ("Connection: close\r\nConnection: keep-alive\r\n", false),
    ] {
        let told = told(get_with(lines).repeat(2));
        if kept {
            assert_eq!(told.output, OK.repeat(2), "{lines:?}");
            assert_eq!(told.reason, CloseReason::Peer(PeerClose::Done), "{lines:?}");
        } else {
            let closing = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            assert_eq!(told.output, closing, "{lines:?}");
            assert_eq!(told.reason, CloseReason::Completed, "{lines:?}");
        }
    }
}

#[test]
fn http_1_0_closes_the_connection_unless_told_otherwise() {
    for (lines, kept) in [
        ("", false),
        ("Connection: close\r\n", false),
        ("Connection: keep-alive, close\r\n", false),
        ("Connection: upgrade\r\n", false),
        ("Keep-Alive: timeout=5\r\n", false),
        ("Connection: keep-alive\r\n", true),
        ("Connection: Keep-Alive\r\n", true),
    ] {
        let told = told(format!("GET / HTTP/1.0\r\n{lines}\r\n").repeat(2));
        let option = if kept { "keep-alive" } else { "close" };
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: {option}\r\n\r\nok");
        assert_eq!(told.output, answer.repeat(if kept { 2 } else { 1 }), "{lines:?}");
    }
}

// ---- content --------------------------------------------------------------------------------------

#[test]
fn content_by_its_length() {
    let told = told(format!("{POST_5}hello{}{GET}", POST_5.replace(": 5", ": 0")));
    assert_eq!(told.seen[1..3], [data("hello"), end()]);
    assert_eq!(told.seen[4..], [end(), get(), end()]);
    assert_eq!(told.statuses(), [200, 200, 200]);
}

#[test]
fn content_in_chunks() {
    let chunks =
        "5\r\nhello\r\n1;name=value;flag\r\n,\r\n006 ;q=\"a;b\"\r\n world\r\nA\r\n0123456789\r\n";
    let trailers = "X-Sum:  1 \r\nx-sum: 2\r\n";
    let told =
        told(format!("{POST_CHUNKED}{chunks}0\r\n\r\n{POST_CHUNKED}00;x\r\n{trailers}\r\n{GET}"));
    assert_eq!(told.seen[1..3], [data("hello, world0123456789"), end()]);
    let fields = [("X-Sum", "1"), ("x-sum", "2")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(told.seen[4..], [Seen::End(fields.into()), get(), end()]);
    assert_eq!(told.statuses(), [200, 200, 200]);
}

#[test]
fn content_that_the_peer_breaks_off() {
    for (head, rest) in
        [(POST_5, "hell"), (POST_CHUNKED, "5\r\nhell"), (POST_CHUNKED, "4\r\nhell\r\n0\r\nX: y")]
    {
        let told = told(format!("{head}{rest}"));
        assert_eq!(told.seen[1..], [data("hell"), Seen::Reset(ResetReason::Truncated)], "{rest:?}");
        assert_eq!(told.statuses(), [400], "{rest:?}");
        assert_eq!(told.reason, CloseReason::Peer(PeerClose::Truncated), "{rest:?}");
    }
    let told = told("GET / HTTP/1.1\r\nHost");
    assert_eq!((told.requests(), told.statuses()), (0, vec![400]));
    assert_eq!(told.reason, CloseReason::Peer(PeerClose::Truncated));
}

#[test]
fn only_as_much_content_comes_as_was_asked_for() {
    let mut script = Script::new();
    assert_eq!(script.send(format!("{POST_5}hello")).len(), 1);
    assert!(!script.reads(), "held content was not asked for");
    assert_eq!(script.resume(), []);
    assert_eq!(script.ask(2), [data("he")]);
    assert_eq!(script.resume(), []);
    assert_eq!(script.ask(0), []);
    assert_eq!(script.ask(9), [data("llo"), end()]);
    assert!(script.reads());
    assert_eq!(script.ask(9), [], "no content is left");
}

#[test]
fn credit_lasts_until_it_is_used_up_and_is_never_taken_back() {
    let mut script = Script::after(POST_5);
    assert_eq!(script.ask(4), []);
    assert_eq!(script.send("he"), [data("he")]);
    let (now, id) = (script.now, script.stream());
    let mut stream = script.connection.stream(now, id);
    assert_eq!((stream.received(), stream.read_to(1)), (2, Ok(())));
    assert_eq!(script.send("ll"), [data("ll")], "a smaller credit takes nothing back");
    assert_eq!(script.send("o"), [], "the application has to ask again");
    assert_eq!(script.connection.stream(now, id).read_to(4), Ok(()));
    assert_eq!(script.resume(), [], "the same credit gives nothing");
    assert_eq!(script.ask(1), [data("o"), end()]);
}

#[test]
fn a_driver_that_stops_early_loses_no_events() {
    let refused = Seen::Reset(ResetReason::Refused(Refusal::ContentTooLarge));
    for (wire, expected) in [
        (format!("{POST_5}hello{GET}"), vec![data("hello"), end(), get(), end()]),
        (format!("{POST_5}hello"), vec![data("hello"), end()]),
        (GET.to_owned(), vec![end()]),
        (format!("{POST_CHUNKED}1\r\nx\r\n0\r\n\r\n"), vec![data("x"), end()]),
        (POST_5.replace(": 5", ": 99999999999"), vec![refused]),
    ] {
        let mut connection = Connection::new(Arc::new(Config::default()), Tick::ZERO);
        let mut bytes = wire.clone().into_bytes();
        let events = connection.receive(Tick::ZERO, &mut bytes).expect("the connection reads");
        let mut seen = Vec::from_iter(pull_one(events));
        while connection.status().resume {
            seen.extend(pull_one(connection.resume(Tick::ZERO)));
        }
        assert_eq!(seen[1..], expected, "{wire:?}");
        assert!(connection.status().read);
    }
}

/// Pulls one event, and acts on it at once.
fn pull_one(mut events: Events<'_, '_>) -> Option<Seen> {
    let (connection, event) = events.next()?;
    let seen = Seen::of(&event);
    match event {
        Event::Request { stream, .. } => {
            // The request may already be refused, for its declared length.
            let _ = support::read_more(connection.stream(Tick::ZERO, stream), 9);
        }
        Event::End { stream, .. } => support::answer(connection, Tick::ZERO, stream, 204, ""),
        _ => {}
    }
    Some(seen)
}

// ---- Expect ---------------------------------------------------------------------------------------

#[test]
fn a_100_is_sent_once_the_application_asks() {
    let mut script = Script::after(EXPECT_5);
    assert_eq!(script.waiting(), "", "the application has not asked");
    script.ask(0);
    assert_eq!(script.waiting(), "", "the application asked for no bytes");
    script.ask(2);
    assert_eq!(script.output(), CONTINUE);
    script.ask(2);
    assert_eq!(script.waiting(), "", "a second 100");
    assert_eq!(script.send("hello"), [data("he")]);
    assert_eq!(script.ask(9), [data("llo"), end()]);
    script.answer(200, "ok");
    assert_eq!(script.output(), OK);
    assert_eq!(script.send(GET), [get(), end()], "the connection is kept");
}

#[test]
fn a_100_is_sent_for_chunks_too() {
    for value in ["100-continue", "100-Continue"] {
        let head = POST_CHUNKED.replace("Host", &format!("Expect: {value}\r\nHost"));
        let mut script = Script::after(&head);
        script.ask(9);
        assert_eq!(script.output(), CONTINUE);
    }
}

#[test]
fn no_100_if_content_is_here_already() {
    let mut script = Script::after(&format!("{EXPECT_5}h"));
    assert_eq!(script.ask(9), [data("h")]);
    assert_eq!(script.ask(9), []);
    assert_eq!(script.waiting(), "");
}

/// While events are pulled, the bytes after the head have not been read. Whether they came in the
/// same read must not change the output.
#[test]
fn asking_within_the_event_sends_one_100_however_it_is_cut() {
    let told = told(format!("{EXPECT_5}hello{EXPECT_5}hello{GET}"));
    assert_eq!(told.output, format!("{CONTINUE}{OK}{CONTINUE}{OK}{OK}"));
}

#[test]
fn no_100_if_the_client_does_not_wait_for_one() {
    for wire in [
        POST_5.to_owned(),
        EXPECT_5.replace("1.1", "1.0"),
        EXPECT_5.replace(": 5", ": 0"),
        get_with("Expect: 100-continue\r\n"),
    ] {
        let mut script = Script::after(&wire);
        script.ask(9);
        assert_eq!(script.waiting(), "", "{wire:?}");
    }
}

#[test]
fn an_early_answer_sends_no_100_and_closes() {
    let mut script = Script::after(EXPECT_5);
    script.answer(401, "no");
    assert_eq!(
        script.output(),
        "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
    );
    // The client may send either the content or the next request, so nothing more can be read.
    assert_eq!(script.send("hello"), []);
    assert_eq!(script.send(GET), []);
    script.closes_with(CloseReason::Completed);
}

#[test]
fn an_application_may_say_100_itself() {
    let mut script = Script::after(EXPECT_5);
    let (stream, status) = (script.stream(), http::StatusCode::CONTINUE);
    script
        .connection
        .stream(script.now, stream)
        .inform(status, std::iter::empty())
        .expect("an interim answer is allowed");
    assert_eq!(script.output(), CONTINUE);
    script.ask(9);
    assert_eq!(script.waiting(), "", "a second 100");
    assert_eq!(script.send("hello"), [data("hello"), end()]);
    script.answer(200, "ok");
    assert_eq!(script.output(), OK);
}

#[test]
fn after_an_answer_has_begun_there_is_no_100() {
    let mut script = Script::after(EXPECT_5);
    let _ = script.respond(200, BodyLength::Known(2));
    script.output();
    script.ask(9);
    assert_eq!(script.waiting(), "");
}

// ---- pipelining, blank lines, half-closed clients -------------------------------------------------

#[test]
fn pipelined_requests_come_in_order_and_one_at_a_time() {
    let mut script = Script::new();
    let wire: String = (1..=5).map(|n| GET.replace("/ ", &format!("/{n} "))).collect();
    let path = |n: u64| request("GET", &format!("/{n}"), &[("Host", "a")]);
    assert_eq!(script.send(wire), [path(1), end()]);
    for n in 1..5 {
        assert!(!script.reads(), "the rest is not read yet");
        assert_eq!(script.resume(), [], "one request at a time");
        assert_eq!(script.stream().as_u64(), n);
        script.answer(200, "ok");
        assert_eq!(script.resume(), [path(n + 1), end()]);
    }
    script.answer(200, "ok");
    assert_eq!(script.output(), OK.repeat(5));
    assert_eq!(script.connection.requests(), 5);
}

#[test]
fn pipelined_requests_with_content() {
    let told = told(format!("{POST_5}hello{GET}{POST_CHUNKED}1\r\n!\r\n0\r\n\r\n{GET}"));
    assert_eq!(told.requests(), 4);
    assert_eq!(told.output, OK.repeat(4));
}

#[test]
fn a_refused_request_is_answered_after_earlier_ones() {
    let told = told(format!("{GET}{POST_5}helloGET /\r\n\r\n{GET}"));
    assert_eq!(told.requests(), 2);
    assert_eq!(told.output, format!("{OK}{OK}{}", refusal_text(Refusal::RequestLine)));
    assert_eq!(told.reason, CloseReason::Refused(Refusal::RequestLine));
}

#[test]
fn some_blank_lines_are_skipped_before_a_request() {
    for lines in 0..=4 {
        let told = told(format!("{}{GET}", "\r\n".repeat(lines)).repeat(2));
        assert_eq!(told.seen, [get(), end(), get(), end()], "{lines} lines");
    }
    for lines in 5..=6 {
        assert_refused(format!("{}{GET}", "\r\n".repeat(lines)), Refusal::BlankLines);
    }
    let after = told(format!("{GET}{}{GET}", "\r\n".repeat(5)));
    assert_eq!(after.output, format!("{OK}{}", refusal_text(Refusal::BlankLines)));
    // A line with spaces is not blank.
    assert_refused(format!(" \r\n{GET}"), Refusal::RequestLine);
}

#[test]
fn half_closed_clients_are_answered() {
    let mut script = Script::new();
    assert_eq!(script.send(format!("{GET}{GET}")), [get(), end()]);
    assert_eq!(script.eof(), []);
    for _ in 0..2 {
        assert_eq!(script.socket(), (false, false, Life::Open));
        script.answer(200, "ok");
        assert_eq!(script.output(), OK);
        script.resume();
    }
    assert_eq!(script.closes_with(CloseReason::Peer(PeerClose::Done)), "");
}

#[test]
fn half_closed_clients_get_slow_answers() {
    let mut script = Script::after(&format!("{POST_5}hello"));
    assert_eq!(script.eof(), [], "the content was not asked for yet");
    script.at(support::secs(59));
    assert_eq!(script.ask(9), [data("hello"), end()]);
    let _ = script.respond(200, BodyLength::Unknown);
    let head = script.output();
    // Taking output restarts the time for a peer that may be gone.
    script.at(support::secs(59 + 59));
    assert_eq!(script.content(b"x"), Ok(1));
    script.finish().expect("an answer");
    script.resume();
    assert_eq!(head, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    let rest = script.closes_with(CloseReason::Peer(PeerClose::Done));
    assert_eq!(rest, "1\r\nx\r\n0\r\n\r\n");
}

#[test]
fn a_client_that_ends_without_a_request_is_let_go() {
    for sent in ["", "\r\n", "\r"] {
        let mut script = Script::after(sent);
        script.eof();
        assert_eq!(script.status().closed(), Some(CloseReason::Peer(PeerClose::Done)), "{sent:?}");
    }
}
