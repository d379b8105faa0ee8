//! Graceful shutdown with connections in every state.

use crate::place::{Place, tests};
use crate::support::{Program, assert_not_before};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

tests! {
    everywhere:
        requests_in_progress_finish_and_idle_connections_close,
        unfinished_requests_are_cut_off_at_the_drain_timeout,
        a_second_signal_stops_the_program_at_once,
        an_answer_that_is_cut_off_ends_with_a_reset;
}

const SECOND: Duration = Duration::from_secs(1);

fn requests_in_progress_finish_and_idle_connections_close(place: Place) {
    let program = Program::with(place, &["keep_alive_timeout=60s", "drain_idle_timeout=2s"]);
    let mut idle = program.connect();
    assert_eq!(idle.get("/hello").status, 200);
    let mut busy = program.connect();
    busy.send("GET /slow/4000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut uploading = program.connect();
    uploading.send("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\nfirst");
    let mut downloading = program.connect();
    downloading.send("GET /bytes/20000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(downloading.more() > 0);
    let mut chosen = program.connect();
    assert_eq!(chosen.get("/hello").status, 200);
    program
        .wait_for("a handler works", |status| status["phases"]["application"].as_u64() >= Some(1));
    program.signal("TERM");
    while TcpStream::connect(program.address).is_ok() {
        // The signal is on its way.
    }
    // Requests that reach an idle connection during the drain are still answered. One answer says
    // `Connection: close` once the connection knows of the drain. On a busy machine the connection
    // may close as idle before that.
    let hello = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    while chosen.send(hello)
        && chosen.try_answer().is_some_and(|answer| !answer.has_field("connection: close"))
    {}
    idle.wait_until_closed();
    let answer = busy.answer();
    assert!(answer.status == 200 && answer.has_field("connection: close"), "{answer:?}");
    busy.wait_until_closed();
    uploading.send(vec![b'x'; 2_000_000 - 5]);
    let answer = uploading.answer();
    assert!(answer.text() == "2000000" && answer.has_field("connection: close"), "{answer:?}");
    assert_eq!(downloading.answer().content.len(), 20_000_000);
    assert_eq!(program.wait(), Some(0));
}

fn unfinished_requests_are_cut_off_at_the_drain_timeout(place: Place) {
    let program = Program::with(place, &["drain_timeout=1s"]);
    let mut client = program.connect();
    client.send("GET /slow/3600000 HTTP/1.1\r\nHost: a\r\n\r\n");
    program
        .wait_for("a handler works", |status| status["phases"]["application"].as_u64() >= Some(1));
    let start = Instant::now();
    program.signal("INT");
    assert_eq!(program.wait(), Some(0));
    assert_not_before(start.elapsed(), SECOND);
}

fn a_second_signal_stops_the_program_at_once(place: Place) {
    let program = Program::with(place, &["drain_timeout=1h"]);
    let mut client = program.connect();
    client.send("GET /slow/3600000 HTTP/1.1\r\nHost: a\r\n\r\n");
    program
        .wait_for("a handler works", |status| status["phases"]["application"].as_u64() >= Some(1));
    program.signal("TERM");
    assert!(client.is_quiet_for(Duration::from_millis(300)));
    program.signal("TERM");
    assert_ne!(program.wait(), Some(0));
}

fn an_answer_that_is_cut_off_ends_with_a_reset(place: Place) {
    let program = Program::with(place, &["drain_timeout=500ms"]);
    let mut client = program.connect();
    client.send("GET /bytes/1000000000000 HTTP/1.0\r\n\r\n");
    assert!(client.more() > 0);
    program.signal("TERM");
    assert_eq!(program.wait(), Some(0));
    // Read below TLS: over both transports TCP must end with a reset.
    let mut rest = Vec::new();
    let ended = client.stream.read_to_end(&mut rest);
    let error = ended.expect_err("an orderly end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
