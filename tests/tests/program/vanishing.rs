//! Clients that vanish or half-close in every state. All timers are longer than a test, so the
//! server must notice the end itself.

use crate::place::{Place, tests};
use crate::support::{Client, Program};
use std::time::Duration;

tests! {
    everywhere:
        a_close_is_noticed_in_every_state,
        a_reset_is_noticed_in_every_state,
        a_fin_after_unread_bytes_is_noticed,
        a_half_close_within_a_request_ends_the_connection,
        a_half_close_after_a_request_still_gets_the_answer;
}

/// Incomplete requests.
const INCOMPLETE: [&str; 6] = [
    "",
    "GET /hello HTTP/1.1\r\nHo",
    "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome",
    "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nso",
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
    "POST /lazy/500 HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome",
];

const WEBSOCKET: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Clients that have sent these requests and that the server has accepted.
fn clients(program: &Program, requests: &[String]) -> Vec<Client> {
    let mut clients: Vec<_> = requests.iter().map(|_| program.connect()).collect();
    for (client, request) in clients.iter_mut().zip(requests) {
        client.shake_hands();
        client.send(request);
    }
    program.wait_for("all clients are connected", |status| status["open"] == requests.len() + 1);
    clients
}

fn everything(thinks: u32) -> Vec<String> {
    let mut requests: Vec<_> = INCOMPLETE.map(str::to_owned).into();
    requests.extend([
        "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        format!("GET /slow/{thinks} HTTP/1.1\r\nHost: a\r\n\r\n"),
        "GET /events HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /bytes/1000000000 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        WEBSOCKET.to_owned(),
        // With the beginning of a message.
        WEBSOCKET.to_owned() + "\u{2}",
    ]);
    requests
}

fn a_close_is_noticed_in_every_state(place: Place) {
    let program = Program::with(place, &[]);
    let mut clients = clients(&program, &everything(500));
    for client in &mut clients {
        // Unread bytes would turn the close into a RST.
        client.is_quiet_for(Duration::from_millis(50));
    }
    drop(clients);
    program.wait_for("no connection is left", |status| status["open"] == 1);
}

fn a_reset_is_noticed_in_every_state(place: Place) {
    let program = Program::with(place, &[]);
    // Including a handler that works for an hour.
    for client in clients(&program, &everything(3_600_000)) {
        client.reset();
    }
    program.wait_for("no connection is left", |status| status["open"] == 1);
}

fn a_fin_after_unread_bytes_is_noticed(place: Place) {
    let program = Program::with(place, &["peer_gone_timeout=1s"]);
    let lazy = |content: &str| {
        let head = "POST /lazy/3600000 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
        head.to_owned() + content
    };
    let requests = [
        "GET /slow/3600000 HTTP/1.1\r\nHost: a\r\n\r\nG".to_owned(),
        lazy("some"),
        lazy(&"x".repeat(90_000)),
    ];
    let mut clients = clients(&program, &requests);
    for client in &mut clients {
        client.finish_sending();
    }
    program.wait_for("no connection is left", |status| status["open"] == 1);
    assert_eq!(program.status()["closes"]["peer_gone"], requests.len());
}

fn a_half_close_within_a_request_ends_the_connection(place: Place) {
    let program = Program::with(place, &[]);
    let mut requests: Vec<_> = INCOMPLETE.map(str::to_owned).into();
    requests.push(WEBSOCKET.to_owned());
    for mut client in clients(&program, &requests) {
        client.finish_sending();
        client.wait_until_closed();
    }
    program.wait_for("no connection is left", |status| status["open"] == 1);
}

fn a_half_close_after_a_request_still_gets_the_answer(place: Place) {
    let program = Program::with(place, &[]);
    let mut download = program.connect();
    download.send("GET /bytes/3000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    download.finish_sending();
    let mut upload = program.connect();
    upload.send("POST /lazy/500 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    upload.send([b'x'; 100_000]);
    upload.finish_sending();
    let mut events = program.connect();
    events.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    events.finish_sending();
    assert_eq!(download.answer().content.len(), 3_000_000);
    assert_eq!(upload.answer().text(), "100000");
    while events.take_line() != "data: 2\n\n" {}
    for mut client in [download, upload] {
        client.wait_until_closed();
    }
}
