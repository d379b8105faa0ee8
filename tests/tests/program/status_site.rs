//! The routes of `--status`, without a browser: who has them, and who may listen.

use crate::place::{Place, tests};
use crate::support::{Client, Program};
use crate::websocket::{UPGRADE, frame};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use tempfile::TempDir;

tests! {
    plaintext:
        files_have_a_status_if_it_is_asked_for,
        the_page_gets_its_probes_back_among_the_messages,
        the_status_may_be_served_apart;
}

fn upgrade(path: &str, more: &str) -> String {
    UPGRADE.replace("/ws", path).replace("\r\n\r\n", &format!("\r\n{more}\r\n"))
}

/// The payload of the next frame, and its first byte.
fn next(client: &mut Client) -> (u8, Vec<u8>) {
    let head = client.take(2);
    let length = match head[1] {
        126 => client.take(2),
        127 => client.take(8),
        short => vec![short],
    };
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    (head[0], client.take(length))
}

fn files_have_a_status_if_it_is_asked_for(place: Place) {
    const PATHS: [&str; 3] = ["/status", "/status/", "/metrics"];
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("metrics"), "a file").expect("written");
    let root = folder.path().to_str().expect("UTF-8");
    let without = Program::with_args(place, &[], &["--root", root], None);
    let mut client = without.connect();
    assert_eq!(PATHS.map(|path| client.get(path).status), [404, 404, 200]);
    assert_eq!(client.get("/metrics").text(), "a file");
    let with = Program::with_args(place, &[], &["--root", root, "--status"], None);
    let mut client = with.connect();
    assert_eq!(PATHS.map(|path| client.get(path).status), [200; 3]);
    assert!(client.get("/status/").text().contains("<title>portcullis: status</title>"));
    assert!(client.get("/metrics").text().contains("\nportcullis_requests_total "));
    assert_eq!(client.get("/statuses").status, 404, "other names are files");
    for (method, path, status) in [
        ("POST", "/status", 405),
        ("OPTIONS", "/metrics", 204),
        ("DELETE", "/status/live", 405),
        ("BREW", "/status/", 501),
    ] {
        let mut client = with.begun(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.answer();
        assert_eq!(answer.status, status, "{method} {path}");
    }
}

fn the_page_gets_its_probes_back_among_the_messages(place: Place) {
    let program = Program::with(place, &[]);
    let mut client = program.begun(upgrade("/status/live", ""));
    assert_eq!(client.answer().status, 101);
    // The first message is made while the request is still one.
    let message = loop {
        let (kind, message) = next(&mut client);
        let message: Value = serde_json::from_slice(&message).expect("JSON");
        assert_eq!((kind, &message["open"]), (0x81, &1.into()), "{message:#}");
        if message["phases"]["websocket"] == 1 {
            break message;
        }
    };
    let row = &message["connections"][0];
    assert_eq!((&row["number"], &row["phase"]), (&0.into(), &"websocket".into()), "{message:#}");
    client.send(frame(0x81, b"probe"));
    while next(&mut client) != (0x81, b"probe".to_vec()) {}
    // Nothing larger than a probe is read.
    client.send(frame(0x81, &[b'x'; 33]));
    let close = loop {
        let (kind, payload) = next(&mut client);
        if kind == 0x88 {
            break payload;
        }
    };
    assert_eq!(close[..2], 1009u16.to_be_bytes());
    client.finish_sending();
    client.wait_until_closed();
}

fn the_status_may_be_served_apart(place: Place) {
    let folder = TempDir::new().expect("a folder");
    let root = folder.path().to_str().expect("UTF-8");
    let socket = folder.path().join("status.sock");
    let listen = format!("unix:{}", socket.display());
    let args = ["--root", root, "--status-listen", &listen];
    let program = Program::with_args(place, &["max_connections=1"], &args, None);
    let get = |path: &str| {
        let mut stream = UnixStream::connect(&socket).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    // The server has no place left, and shows nothing itself.
    let mut visitor = program.connect();
    assert_eq!(visitor.get("/status").status, 404);
    assert!(get("/").contains("location: /status/\r\n"));
    assert!(get("/status/").contains("<title>portcullis: status</title>"));
    assert!(get("/elsewhere").starts_with("HTTP/1.1 404 "));
    let open = |count: u64| {
        while !get("/metrics")
            .contains(&format!("\nportcullis_connections{{phase=\"idle\"}} {count}\n"))
        {}
    };
    open(1);
    drop(visitor);
    open(0);
    program.signal("TERM");
    assert_eq!(program.wait(), Some(0));
}

#[test]
fn pages_of_other_sites_may_not_listen() {
    let program = Program::with(Place::USUAL, &[]);
    let foreign =
        program.begun(upgrade("/status/live", "Origin: http://evil.example\r\n")).answer();
    assert_eq!(foreign.status, 403);
    let plain = program.begun("GET /status/live HTTP/1.1\r\nHost: a\r\n\r\n").answer();
    assert_eq!(plain.status, 426);
}
