//! The limit on connections: which ones are closed for newcomers, which newcomers wait, and what a
//! drain does with the last ones.

use crate::place::{Place, Transport, tests};
use crate::support::{Client, Program};
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

tests! {
    everywhere:
        idle_connections_make_room_for_newcomers,
        silent_connections_make_room_for_newcomers,
        handlers_of_gone_clients_make_room_for_newcomers,
        newcomers_wait_while_all_connections_are_busy,
        newcomers_are_refused_when_all_are_busy_for_long;
    plaintext:
        idle_connections_make_room_when_descriptors_are_short,
        connections_in_the_backlog_are_answered_in_a_drain,
        a_drain_does_not_wait_for_gone_clients,
        keepalive_probes_find_vanished_hosts;
}

const PLACES: usize = 50;
/// The places are used to the last one, and nobody hurries.
const SETTINGS: [&str; 11] = [
    "max_connections=50",
    "keep_alive_timeout=1h",
    "tls_handshake_timeout=1h",
    "peer_gone_timeout=1h",
    "newcomer_timeout=1h",
    "prefix_share=100",
    "handshakes_share=100",
    "pressure_shrink_timers=100",
    "pressure_end_keep_alive=100",
    "pressure_close_idle=100",
    "pressure_close_waiting=100",
];

fn crowd(program: &Program, mut begin: impl FnMut(&mut Client)) -> Vec<Client> {
    let mut crowd: Vec<_> = (0..PLACES).map(|_| program.connect()).collect();
    crowd.iter_mut().for_each(&mut begin);
    crowd
}

/// A newcomer gets its answer. All timers are longer than the test, so only eviction can make room.
fn newcomer(program: &Program) {
    assert_eq!(program.connect().get("/hello").text(), "Hello, world!");
}

fn idle_connections_make_room_for_newcomers(place: Place) {
    let program = Program::with(place, &SETTINGS);
    let mut crowd = crowd(&program, |client| {
        assert_eq!(client.get("/hello").status, 200);
    });
    newcomer(&program);
    // For the newcomer, one of the longest idle connections was closed in good order. All others
    // are still open.
    let mut left = 0;
    for client in &mut crowd[..10] {
        client.stream.set_read_timeout(Some(Duration::from_millis(10))).expect("it can be set");
        match client.read(&mut [0; 16]) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            Ok(bytes) => {
                assert_eq!(bytes, 0);
                left += 1;
            }
        }
    }
    assert_eq!(left, 1);
    for client in &mut crowd[10..] {
        assert_eq!(client.get("/hello").status, 200);
    }
    program.wait_for("it is counted", |status| status["closes"]["made_room"].as_u64() >= Some(1));
}

fn silent_connections_make_room_for_newcomers(place: Place) {
    let program = Program::with(place, &SETTINGS);
    let crowd = crowd(&program, |_| {});
    newcomer(&program);
    drop(crowd);
}

fn handlers_of_gone_clients_make_room_for_newcomers(place: Place) {
    let program = Program::with(place, &SETTINGS);
    let crowd = crowd(&program, |client| {
        client.send("GET /slow/3600000 HTTP/1.1\r\nHost: a\r\n\r\n");
        client.finish_sending();
    });
    newcomer(&program);
    drop(crowd);
}

fn newcomers_wait_while_all_connections_are_busy(place: Place) {
    const BUSY: Duration = Duration::from_millis(1500);
    let program = Program::with(place, &SETTINGS);
    let mut crowd = crowd(&program, |client| client.shake_hands());
    let start = Instant::now();
    for client in &mut crowd {
        client.send(format!("GET /slow/{} HTTP/1.1\r\nHost: a\r\n\r\n", BUSY.as_millis()));
    }
    newcomer(&program);
    let taken = start.elapsed();
    assert!(BUSY <= taken, "{taken:?}");
    // Every client gets its answer, even the one closed afterwards for the newcomer.
    for client in &mut crowd {
        assert_eq!(client.answer().status, 200);
    }
}

fn newcomers_are_refused_when_all_are_busy_for_long(place: Place) {
    let settings = [&SETTINGS[..], &["newcomer_timeout=1ms"]].concat();
    let program = Program::with(place, &settings);
    let crowd = crowd(&program, |client| {
        // Its handler is at work once the answer has begun.
        client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.take(12), b"HTTP/1.1 200");
    });
    const REFUSED: u64 = 100;
    for _ in 0..REFUSED {
        match place.transport {
            Transport::Plaintext => {
                let answer = program.connect().answer();
                assert_eq!(answer.status, 503);
                assert!(answer.has_field("retry-after: 1"), "{}", answer.text());
            }
            // The server does not spend a handshake on it.
            Transport::Tls => assert_eq!(program.connect_plainly().more(), 0),
        }
    }
    drop(crowd);
    program.wait_for("all that were refused are counted", |status| {
        status["gate"]["refused"]["connections"].as_u64() >= Some(REFUSED)
    });
    assert!(program.status()["gate"]["steps"]["hold_newcomers"].as_u64() >= Some(1));
}

fn idle_connections_make_room_when_descriptors_are_short(place: Place) {
    // Three quarters of the descriptors are for connections. The rest does not suffice for
    // everything else.
    let program = Program::with_descriptors(place, 40);
    let crowd: Vec<_> = (0..60)
        .map(|_| {
            let mut client = program.connect();
            assert_eq!(client.get("/hello").status, 200);
            client
        })
        .collect();
    drop(crowd);
}

fn connections_in_the_backlog_are_answered_in_a_drain(place: Place) {
    let program = Program::with(place, &[]);
    // The process is stopped, so the kernel accepts the connections and the program does not.
    program.signal("STOP");
    let mut early: Vec<_> = (0..20).map(|_| program.connect()).collect();
    for client in &mut early {
        client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    program.signal("TERM");
    program.signal("CONT");
    for mut client in early {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(program.wait(), Some(0));
}

fn a_drain_does_not_wait_for_gone_clients(place: Place) {
    let program = Program::with(place, &["drain_timeout=1h"]);
    let request = |request: &str, ends: bool| {
        let mut client = program.connect();
        client.send(request);
        if ends {
            client.finish_sending();
            // The FIN has to come after the answer.
            client.is_quiet_for(Duration::from_millis(50));
            drop(client);
        } else {
            client.is_quiet_for(Duration::from_millis(50));
            client.reset();
        }
    };
    for ends in [true, false] {
        request("", ends);
        request("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", ends);
        request("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", ends);
        request("GET /hello HTTP/1.1\r\nHo", ends);
        request("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome", ends);
    }
    request("GET /slow/3600000 HTTP/1.1\r\nHost: a\r\n\r\n", false);
    request("GET /events HTTP/1.1\r\nHost: a\r\n\r\n", false);
    program.signal("TERM");
    assert_eq!(program.wait(), Some(0));
}

fn keepalive_probes_find_vanished_hosts(place: Place) {
    assert_eq!(place.transport, Transport::Plaintext);
    for (settings, asks) in [(&[][..], true), (&["tcp_keepalive=none"], false)] {
        let program = Program::with(place, settings);
        let mut client = program.connect();
        client.get("/hello");
        let timer = timer(program.address.port(), &client);
        // Timer 2 in /proc/net/tcp is keepalive.
        assert_eq!(timer.starts_with("02:"), asks, "{timer}");
    }
}

/// The kernel's timer for the server's side of a connection.
fn timer(port: u16, client: &Client) -> String {
    let peer = client.stream.local_addr().expect("it is connected").port();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc can be read");
    let [local, remote] = [port, peer].map(|port| format!(":{port:04X}"));
    let line = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut lines = line.filter(|line| line[1].ends_with(&local) && line[2].ends_with(&remote));
    lines.next().expect("it is there")[5].to_owned()
}
