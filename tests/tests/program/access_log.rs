//! The access log: a line for each request, that no client can forge, in a file that can be moved.

use crate::clients::{curl, has_curl};
use crate::http2_frames::Http2;
use crate::place::{Place, Transport, tests};
use crate::support::{PATIENCE, Program};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

tests! {
    everywhere:
        each_request_has_a_line,
        hostile_text_is_escaped,
        refused_requests_have_a_line,
        a_signal_opens_the_file_again;
    plaintext:
        requests_refused_over_http2_have_a_line;
}

/// The lines of the file, once there are `count`.
fn lines(path: &Path, count: usize) -> Vec<String> {
    let start = Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count && text.ends_with('\n') {
            assert_eq!(lines.len(), count, "{text}");
            return lines;
        }
        assert!(start.elapsed() < PATIENCE, "only {} of {count} lines: {text}", lines.len());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The fields of a line in the Common or Combined Log Format.
fn fields(line: &str) -> Vec<String> {
    assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
    let (mut fields, mut rest) = (Vec::new(), line);
    while !rest.is_empty() {
        let end = match rest.as_bytes()[0] {
            b'"' => rest[1..].find('"').expect("a closing quote") + 2,
            b'[' => rest.find(']').expect("a closing bracket") + 1,
            _ => rest.find(' ').unwrap_or(rest.len()),
        };
        let (field, more) = rest.split_at(end);
        fields.push(field.to_owned());
        rest = if more.is_empty() { more } else { more.strip_prefix(' ').expect("one space") };
        assert!(more.is_empty() || !rest.is_empty(), "a space at the end: {line}");
    }
    fields
}

fn each_request_has_a_line(place: Place) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("log");
    let program = Program::with_access_log(place, &path, "json");
    let mut client = program.connect();
    let mut expected = Vec::new();
    for (request, status, sent) in [
        ("GET /hello?a=b", 200, 13),
        ("HEAD /bytes/1000", 200, 0),
        ("GET /bytes/1000000", 200, 1_000_000),
        ("GET /slow/20", 200, 18),
        ("GET /nowhere", 404, 10),
        ("OPTIONS *", 204, 0),
    ] {
        client.send(format!("{request} HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\n\r\n"));
        if request.starts_with("HEAD") {
            while !client.take_line().is_empty() {}
        } else {
            assert_eq!(client.answer().status, status, "{request}");
        }
        expected.push((request, status, sent, "HTTP/1.1", "complete"));
    }
    if has_curl() {
        let way = match place.transport {
            Transport::Plaintext => "--http2-prior-knowledge",
            Transport::Tls => "--http2",
        };
        assert_eq!(curl(&[way, "-A", "me", &program.url("/bytes/50000")], b"").len(), 50_000);
        expected.push(("GET /bytes/50000", 200, 50_000, "HTTP/2.0", "complete"));
    }
    // A client that leaves within the content of its request.
    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\nContent-Length: 9\r\n\r\nab");
    client.finish_sending();
    client.wait_until_closed();
    let lines = lines(&path, expected.len() + 1);
    let of_line = |line: &String| serde_json::from_str::<Value>(line).expect("JSON");
    let values: Vec<Value> = lines.iter().map(of_line).collect();
    for (value, (request, status, sent, version, ending)) in values.iter().zip(expected) {
        let said = format!("{} {}", text(value, "method"), text(value, "target"));
        assert_eq!(said, request, "{value:#}");
        assert_eq!(value["status"], status, "{value:#}");
        if status != 404 {
            assert_eq!(value["sent"], sent, "{value:#}");
        }
        assert_eq!((text(value, "version"), text(value, "ending")), (version, ending));
        assert_eq!(text(value, "user_agent"), "me");
        assert_eq!(value["referer"], Value::Null);
        assert!(text(value, "peer").starts_with("127.0.0.1:"), "{value:#}");
        let seconds = value["seconds"].as_f64().expect("a number");
        assert!(seconds >= if request.contains("slow") { 0.02 } else { 0.0 }, "{value:#}");
        assert!(text(value, "time").ends_with('Z'), "{value:#}");
    }
    let last = values.last().expect("a line");
    assert_eq!((text(last, "target"), text(last, "ending")), ("/sink", "reset"), "{last:#}");
    assert_eq!(program.status()["access_log_lost"], 0);
    let metrics = program.connect().get("/metrics");
    assert!(metrics.text().contains("\nportcullis_access_log_lost_total 0\n"));
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no text {name} in {value:#}"))
}

fn hostile_text_is_escaped(place: Place) {
    let folder = TempDir::new().expect("a folder");
    for format in ["common", "combined", "json"] {
        let path = folder.path().join(format);
        let program = Program::with_access_log(place, &path, format);
        let mut client = program.connect();
        let mut request =
            b"GET /hello?%0A\"\\\xc3\xa9 HTTP/1.1\r\nHost: a\r\nReferer: \" 200 5 \"\\\r\n"
                .to_vec();
        request.extend(b"User-Agent: x\" \"\xc2\x9b2J\xff\t\\\"\r\n\r\n");
        client.send(&request);
        assert_eq!(client.answer().status, 200);
        let line = &lines(&path, 1)[0];
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
        if format == "json" {
            let value: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(text(&value, "referer"), "\" 200 5 \"\\");
            continue;
        }
        let fields = fields(line);
        assert_eq!(&fields[..3], ["127.0.0.1", "-", "-"]);
        assert!(fields[3].ends_with(" +0000]") && fields[3].len() == 28, "{line}");
        assert!(fields[4].starts_with("\"GET /hello?%0A"), "{line}");
        assert!(fields[4].ends_with(" HTTP/1.1\""), "{line}");
        assert_eq!(&fields[5..7], ["200", "13"], "{line}");
        if format == "common" {
            assert_eq!(fields.len(), 7, "{line}");
        } else {
            assert_eq!(fields.len(), 9, "{line}");
            assert_eq!(fields[7], r#""\x22 200 5 \x22\x5C""#);
            assert!(fields[8] == r#""x\x22 \x22\xC2\x9B2J\xFF\x09\x5C\x22""#, "{line}");
        }
    }
}

/// Starts the program with settings and an access log.
fn logging(place: Place, settings: &[&str], path: &Path, format: &str) -> Program {
    let path = path.to_str().expect("text");
    let args = ["--access-log", path, "--access-log-format", format];
    Program::with_args(place, settings, &args, None)
}

fn refused_requests_have_a_line(place: Place) {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000));
    let many = format!("PUT /f HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(101));
    let gzip = "POST /g HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
    let large = "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n";
    let cases = [
        ("GET /a?%0A HTTP/1.0\r\nno field\r\n\r\n", "GET /a?%0A HTTP/1.0", 400, "malformed_field"),
        ("GET /\x1b\" HTTP/1.1\r\n\r\n", "GET /\\x1B\\x22 HTTP/1.1", 400, "bad_target"),
        ("nonsense\r\n\r\n", "-", 400, "malformed_request_line"),
        ("GET  HTTP/1.1\r\n\r\n", "GET - HTTP/1.1", 400, "malformed_request_line"),
        ("GET /cut HTT", "GET /cut HTTP/1.1", 400, "peer_truncated"),
        (&long, "GET /xxx", 414, "target_too_long"),
        (&many, "PUT /f HTTP/1.1", 431, "too_many_fields"),
        (gzip, "POST /g HTTP/1.1", 501, "unknown_coding"),
        (large, "POST /sink HTTP/1.1", 413, "content_too_large"),
    ];
    let folder = TempDir::new().expect("a folder");
    for format in ["common", "combined", "json"] {
        let path = folder.path().join(format);
        let program = logging(place, &[], &path, format);
        for (place, (wire, request, status, reason)) in cases.iter().enumerate() {
            let mut client = program.connect();
            client.send(wire);
            if wire.ends_with("HTT") {
                client.finish_sending();
            }
            assert_eq!(client.answer().status, *status, "{wire:?}");
            let line = lines(&path, place + 1).pop().expect("a line");
            if format == "json" {
                let value: Value = serde_json::from_str(&line).expect("JSON");
                let is_known = |name| value[name].as_str().is_some_and(|it| request.contains(it));
                assert!(value["method"].is_null() == (*request == "-"), "{value:#}");
                assert!(value["method"].is_null() || is_known("method"), "{value:#}");
                assert_eq!(
                    (&value["status"], text(&value, "reason")),
                    (&(*status).into(), *reason)
                );
                let ending = if *status == 413 { "reset" } else { "refused" };
                assert_eq!(text(&value, "ending"), ending, "{value:#}");
                continue;
            }
            let fields = fields(&line);
            assert!(fields[4].starts_with(&format!("\"{request}")), "{line}");
            let is_whole = fields[4].len() == request.len() + 2;
            assert!(is_whole || (*status == 414 && fields[4].len() <= 8192 + 16), "{line}");
            assert_eq!(fields[5..7], [status.to_string(), "0".to_owned()], "{line}");
            assert_eq!(fields.len(), if format == "common" { 7 } else { 9 }, "{line}");
        }
    }
    // One that comes too slowly.
    let path = folder.path().join("slow");
    let program = logging(place, &["request_head_timeout=1s"], &path, "common");
    // On a busy machine the beginning may come too late, so this tries again.
    let start = Instant::now();
    let mut count = 0;
    loop {
        let mut client = program.connect();
        client.send("GET /slow HTTP/1.1\r\nHos");
        assert_eq!(client.answer().status, 408);
        count += 1;
        let line = lines(&path, count).pop().expect("a line");
        assert!(line.contains("\" 408 0"), "{line}");
        if line.contains("] \"GET /slow HTTP/1.1\" 408 0") {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{line}");
    }
}

fn requests_refused_over_http2_have_a_line(place: Place) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("log");
    let program = logging(place, &["http2_concurrent_streams=1"], &path, "json");
    let mut client = Http2::begin(&program);
    let long = format!("/{}", "x".repeat(9000));
    client.request(1, "/events", &[]);
    client.request(3, "/more", &[]);
    // The first one is cancelled, so that there is room.
    client.frame(3, 0, 1, &8_u32.to_be_bytes());
    client.request(5, &long, &[]);
    client.request(7, "/e", &[("expect", "nothing")]);
    client.request(9, "/up", &[("Upper", "case")]);
    let values: Vec<Value> =
        lines(&path, 5).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let said: Vec<_> = values
        .iter()
        .map(|value| {
            assert_eq!((text(value, "version"), text(value, "method")), ("HTTP/2.0", "GET"));
            let target = &text(value, "target")[..text(value, "target").len().min(8)];
            (target, value["status"].as_u64(), text(value, "ending"), text(value, "reason"))
        })
        .collect();
    let mut expected = [
        ("/more", None, "refused", "http2_too_many_streams"),
        ("/events", Some(200), "reset", "cancelled"),
        ("/xxxxxxx", Some(414), "refused", "target_too_long"),
        ("/e", Some(417), "refused", "unknown_expectation"),
        ("/up", None, "refused", "http2_malformed"),
    ];
    if said[1].1.is_none() {
        // The handler had not answered yet.
        expected[1].1 = None;
    }
    assert_eq!(said, expected);
}

fn a_signal_opens_the_file_again(place: Place) {
    let folder = TempDir::new().expect("a folder");
    let [path, old] = ["log", "log.1"].map(|name| folder.path().join(name));
    let program = Program::with_access_log(place, &path, "common");
    let mut client = program.connect();
    client.get("/bytes/1");
    lines(&path, 1);
    fs::rename(&path, &old).expect("moved");
    client.get("/bytes/2");
    lines(&old, 2);
    program.signal("HUP");
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < PATIENCE, "the file is not opened again");
        std::thread::sleep(Duration::from_millis(5));
    }
    client.get("/bytes/3");
    assert!(lines(&path, 1)[0].contains("/bytes/3 "));
    lines(&old, 2);
    // Lines that wait are written before the end.
    client.get("/bytes/4");
    drop(client);
    program.signal("TERM");
    assert_eq!(program.wait(), Some(0));
    assert_eq!(fs::read_to_string(&path).expect("text").lines().count(), 2);
}

#[test]
fn a_log_that_nobody_takes_holds_up_nobody() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    // Open for reading, and never read.
    let _unread = fs::File::options().read(true).write(true).open(&path).expect("it opens");
    let program = Program::with_access_log(Place::USUAL, &path, "combined");
    let agent = "x".repeat(1000);
    let request = format!("GET /hello HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\n\r\n");
    // More than the queue, a batch and a pipe may hold.
    for _ in 0..50 {
        let mut client = program.connect();
        client.send(request.repeat(100));
        for _ in 0..100 {
            assert_eq!(client.answer().status, 200);
        }
    }
    let lost = program.status()["access_log_lost"].as_u64().expect("a number");
    assert!(lost > 0 && lost < 5000, "{lost}");
}
