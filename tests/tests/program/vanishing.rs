//! Clients that vanish in every state, or say that they are done. No timer would end before the test:
//! it is the end itself that has to be noticed.

use crate::place::{Place, tests};
use crate::support::{Client, Program};
use std::time::Duration;

tests! {
    everywhere:
        whoever_closes_is_gone,
        whoever_resets_is_gone,
        a_fin_behind_what_nobody_reads_is_noticed,
        who_ends_in_the_middle_is_not_waited_for,
        who_ends_behind_a_request_gets_the_whole_answer;
}

/// What was sent of a request that is not whole.
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

/// Clients that have sent this, and whom the server knows.
fn clients(program: &Program, requests: &[String]) -> Vec<Client> {
    let mut clients: Vec<_> = requests.iter().map(|_| program.connect()).collect();
    for (client, request) in clients.iter_mut().zip(requests) {
        client.shake_hands();
        client.send(request);
    }
    program.wait_for("all are there", |status| status["open"] == requests.len() + 1);
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

fn whoever_closes_is_gone(place: Place) {
    let program = Program::with(place, &[]);
    let mut clients = clients(&program, &everything(500));
    for client in &mut clients {
        // What was not read would make a RST of it.
        client.is_quiet_for(Duration::from_millis(50));
    }
    drop(clients);
    program.wait_for("none is left", |status| status["open"] == 1);
}

fn whoever_resets_is_gone(place: Place) {
    let program = Program::with(place, &[]);
    // Even a handler that thinks for an hour.
    for client in clients(&program, &everything(3_600_000)) {
        client.reset();
    }
    program.wait_for("none is left", |status| status["open"] == 1);
}

fn a_fin_behind_what_nobody_reads_is_noticed(place: Place) {
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
    program.wait_for("none is left", |status| status["open"] == 1);
    assert_eq!(program.status()["closes"]["peer_gone"], requests.len());
}

fn who_ends_in_the_middle_is_not_waited_for(place: Place) {
    let program = Program::with(place, &[]);
    let mut requests: Vec<_> = INCOMPLETE.map(str::to_owned).into();
    requests.push(WEBSOCKET.to_owned());
    for mut client in clients(&program, &requests) {
        client.finish_sending();
        client.wait_until_closed();
    }
    program.wait_for("none is left", |status| status["open"] == 1);
}

fn who_ends_behind_a_request_gets_the_whole_answer(place: Place) {
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
