//! Thousands of attackers beside a healthy client. The healthy client's requests succeed, the
//! server's memory stays bounded, and every attacker is dropped, but not too early.

use crate::place::{Place, Transport, tests};
use crate::support::{Client, PATIENCE, Program};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

tests! {
    plaintext:
        silent,
        slow_heads,
        slow_content,
        unread_answers;
    tls:
        slow_handshakes,
        slow_content;
}

/// One kind of attacker: its first bytes, its later bytes, and the reason for its close.
struct Attack {
    attackers: usize,
    settings: &'static [&'static str],
    opening: &'static str,
    part: &'static str,
    reason: &'static str,
    /// Whether attackers complete a TLS handshake, where the server speaks TLS.
    handshake: bool,
}

/// The time that each setting allows an attacker.
const ALLOWED: Duration = Duration::from_secs(2);
/// The pause between two writes of an attacker.
const PAUSE: Duration = Duration::from_millis(100);

/// One crowd at a time: each needs thousands of descriptors.
static TURN: Mutex<()> = Mutex::new(());

fn withstand(place: Place, attack: Attack) {
    let Attack { attackers, settings, opening, part, reason, handshake } = attack;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    open_as_many_files_as_possible();
    // After a refusal the server lingers; keep that short.
    let brief = "linger_timeout=100ms";
    let common = [brief, "request_body_rate=100000", "requests_per_connection=1000000"];
    let program = Program::with(place, &[settings, &common].concat());
    let before = program.memory();
    let start = Instant::now();
    let mut crowd: Vec<Client> = (0..attackers)
        .map(|_| {
            let mut client = if handshake { program.connect() } else { program.connect_plainly() };
            client.shake_hands();
            client.send(opening);
            client
        })
        .collect();
    let mut most_memory = 0;
    let mut dropped = 0;
    while dropped < attackers as u64 {
        assert!(start.elapsed() < PATIENCE, "only {dropped} of {attackers} attackers are dropped");
        for client in &mut crowd {
            client.send(part);
        }
        std::thread::sleep(PAUSE);
        let mut healthy = program.begun("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10));
        for _ in 0..10 {
            assert_eq!(healthy.answer().text(), "Hello, world!");
        }
        dropped = program.status()["closes"][reason].as_u64().unwrap_or(0);
        most_memory = most_memory.max(program.memory());
    }
    assert!(start.elapsed() >= ALLOWED, "attackers were dropped too early");
    let each = most_memory.saturating_sub(before) / attackers as u64;
    println!("{reason}: {each} bytes per attacker");
    assert!(each < 100 << 10, "{each} bytes per attacker");
}

/// The number of attackers that are served. Handshakes also cost this process time.
fn many(place: Place) -> usize {
    match place.transport {
        Transport::Plaintext => 3000,
        Transport::Tls => 400,
    }
}

/// This process needs a descriptor for each attacker.
fn open_as_many_files_as_possible() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("it can be raised so far");
}

fn silent(place: Place) {
    withstand(
        place,
        Attack {
            attackers: many(place),
            settings: &["keep_alive_timeout=2s"],
            opening: "",
            part: "",
            reason: "keep_alive",
            handshake: true,
        },
    );
}

fn slow_heads(place: Place) {
    withstand(
        place,
        Attack {
            attackers: many(place),
            settings: &["request_head_timeout=2s"],
            opening: "GET /hello HTTP/1.1\r\nHost: a\r\nSlow: ",
            part: "x",
            reason: "request_head",
            handshake: true,
        },
    );
}

fn slow_content(place: Place) {
    withstand(
        place,
        Attack {
            attackers: many(place),
            settings: &["request_body_grace=2s"],
            opening: "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
            part: "x",
            reason: "request_body",
            handshake: true,
        },
    );
}

fn unread_answers(place: Place) {
    withstand(
        place,
        Attack {
            // Fewer: the kernel buffers megabytes for each.
            attackers: 200,
            settings: &["response_grace=2s", "response_silence=1s"],
            opening: "GET /bytes/1000000000 HTTP/1.1\r\nHost: a\r\n\r\n",
            part: "",
            reason: "response",
            handshake: true,
        },
    );
}

fn slow_handshakes(place: Place) {
    withstand(
        place,
        Attack {
            attackers: 3000,
            settings: &["tls_handshake_timeout=2s"],
            // The beginning of a ClientHello of 512 bytes.
            opening: "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03",
            part: "x",
            reason: "tls_handshake",
            handshake: false,
        },
    );
}
