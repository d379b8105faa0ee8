//! Each route of the demo, and files, over one kept connection.

use crate::place::{Place, tests};
use crate::support::Program;
use tempfile::TempDir;

tests! {
    everywhere:
        every_route_answers_on_one_connection,
        refused_requests_keep_the_connection,
        files_are_served_whole_in_ranges_and_as_304;
}

fn every_route_answers_on_one_connection(place: Place) {
    let program = Program::with(place, &[]);
    let mut client = program.connect();
    let page = client.get("/");
    assert!(page.status == 200 && page.text().contains("<title>portcullis</title>"), "{page:?}");
    assert_eq!(client.get("/hello").text(), "Hello, world!");
    assert_eq!(client.get("/bytes/0").content, b"");
    assert_eq!(client.get("/bytes/1000000").content.len(), 1_000_000);
    assert_eq!(client.get("/slow/50").text(), "thought for 50 ms\n");
    let status = client.get("/status");
    assert!(status.has_field("content-type: application/json"), "{status:?}");
    for (path, answer) in [("/echo", "some content"), ("/sink", "12"), ("/lazy/50", "12")] {
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n"));
        client.send("some content");
        assert_eq!(client.answer().text(), answer, "{path}");
        client
            .send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
        client.send("5\r\nsome \r\n7\r\ncontent\r\n0\r\n\r\n");
        assert_eq!(client.answer().text(), answer, "{path} in chunks");
    }
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    while client.take_line() != "data: 0\n\n" {}
    let status = program.status();
    assert_eq!(status["accepted"], 2, "{status:#}");
    // An answer may arrive before its request is counted.
    program.wait_for("all requests are counted", |status| status["requests"].as_u64() >= Some(13));
}

fn refused_requests_keep_the_connection(place: Place) {
    let program = Program::with(place, &[]);
    let mut client = program.connect();
    for (request, status) in [
        ("GET /nowhere", 404),
        ("OPTIONS *", 204),
        ("OPTIONS /sink", 204),
        ("DELETE /hello", 405),
        ("GET /echo", 405),
        ("GET /bytes/many", 400),
        ("GET /slow/3600001", 400),
        ("GET /ws", 426),
    ] {
        client.send(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.answer();
        assert!(answer.status == status && !answer.has_field("connection: close"), "{answer:?}");
    }
    assert_eq!(client.get("/hello").status, 200);
}

fn files_are_served_whole_in_ranges_and_as_304(place: Place) {
    let folder = TempDir::new().expect("a folder");
    let content: Vec<u8> = (0..3_000_000).map(|place| (place % 251) as u8).collect();
    std::fs::write(folder.path().join("large.bin"), &content).expect("written");
    let program = Program::with_files(place, folder.path());
    let mut client = program.connect();
    assert!(client.get("/").text().contains("large.bin"));
    let whole = client.get("/large.bin");
    assert!(whole.content == content, "{} bytes", whole.content.len());
    let field = |line: &str| line.strip_prefix("last-modified: ").map(str::to_owned);
    let modified = whole.head.lines().find_map(field).expect("its time");
    for (condition, status) in [
        ("Range: bytes=1000000-1999999".to_owned(), 206),
        (format!("If-Modified-Since: {modified}"), 304),
    ] {
        client.send(format!("GET /large.bin HTTP/1.1\r\nHost: a\r\n{condition}\r\n\r\n"));
        let answer = client.answer();
        assert_eq!(answer.status, status, "{condition}");
        let expected = if status == 206 { &content[1_000_000..2_000_000] } else { b"" };
        assert!(answer.content == expected, "{} bytes", answer.content.len());
    }
    assert_eq!(client.get("/large").status, 404);
}
