//! Several processes on one port, and a handover from one to the next under load.

use crate::place::{Place, tests};
use crate::support::{PATIENCE, Program};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

tests! {
    everywhere:
        restarts_under_load_lose_no_request;
    plaintext:
        processes_share_a_port_only_if_both_ask_for_it;
}

/// A connection that was accepted last may send its request late on a busy machine.
const SETTINGS: [&str; 1] = ["drain_idle_timeout=1h"];
const CLIENTS: usize = 6;
const RESTARTS: u64 = 4;
/// Connections between two restarts.
const BETWEEN: u64 = 300;

fn successor(place: Place, program: &Program) -> Program {
    let address = program.address.to_string();
    Program::with_args(place, &SETTINGS, &["--reuse-port", "--listen", &address], None)
}

fn restarts_under_load_lose_no_request(place: Place) {
    let mut program = Program::with_args(place, &SETTINGS, &["--reuse-port"], None);
    let (ends, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let wait_for_answers = |count| {
        let begun = Instant::now();
        while answered.load(SeqCst) < count {
            assert!(begun.elapsed() < PATIENCE, "the clients get no answers");
            thread::sleep(Duration::from_millis(10));
        }
    };
    let client = program.connector();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut lost = 0;
                    while !ends.load(SeqCst) {
                        if is_answered(&client) {
                            answered.fetch_add(1, SeqCst);
                        } else {
                            lost += 1;
                        }
                    }
                    lost
                })
            })
            .collect();
        for restart in 1..=RESTARTS {
            wait_for_answers(restart * BETWEEN);
            let next = successor(place, &program);
            program.signal("TERM");
            assert_eq!(program.wait(), Some(0));
            program = next;
        }
        wait_for_answers((RESTARTS + 1) * BETWEEN);
        ends.store(true, SeqCst);
        let lost: Vec<u64> = clients.into_iter().map(|it| it.join().expect("no panic")).collect();
        assert_eq!(lost, [0; CLIENTS], "of {}", answered.load(SeqCst));
    });
}

/// Whether a request on a connection of its own is answered.
fn is_answered(connector: &crate::support::Connector) -> bool {
    let Ok(mut client) = connector.try_connect() else { return false };
    let request = "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.send(request)
        && client.try_answer().is_some_and(|answer| answer.text() == "Hello, world!")
}

fn processes_share_a_port_only_if_both_ask_for_it(place: Place) {
    let alone = Program::with(place, &[]);
    let address = alone.address.to_string();
    for args in [&["--listen", &address][..], &["--reuse-port", "--listen", &address]] {
        assert!(!Program::starts(place, args));
    }
    let sharing = Program::with_args(place, &[], &["--reuse-port"], None);
    let address = sharing.address.to_string();
    assert!(!Program::starts(place, &["--listen", &address]));
    let address = sharing.address.to_string();
    let args = ["--reuse-port", "--listen", &address];
    let _second = Program::with_args(place, &["linger_silence=2s"], &args, None);
    // The system spreads connections by their addresses. A setting tells which process answers.
    let (begun, mut seen) = (Instant::now(), BTreeSet::new());
    while seen.len() < 2 {
        assert!(begun.elapsed() < PATIENCE, "one of them gets no connection");
        seen.insert(sharing.status()["settings"]["linger_silence"].to_string());
    }
}
