//! Attackers by the hundred, with a healthy client beside them: its requests go on, the server's
//! memory stays bounded, and all attackers are dropped on time.

use crate::support::{Client, PATIENCE, Program, SLACK};
use std::time::{Duration, Instant};

/// What each attacker sends at first, what it sends now and again, and what becomes of it.
struct Attack {
    attackers: usize,
    setting: &'static str,
    opening: &'static str,
    part: &'static str,
    reason: &'static str,
    tls: bool,
}

/// How long each setting lets the attackers be.
const ALLOWED: Duration = Duration::from_secs(2);

fn withstand(attack: Attack) {
    let Attack { attackers, setting, opening, part, reason, tls } = attack;
    let settings = [setting, "request_body_rate=100000", "requests_per_connection=1000000"];
    let program = if tls { Program::with_tls(&settings) } else { Program::with(&settings) };
    let before = program.memory();
    let start = Instant::now();
    let mut crowd: Vec<Client> = (0..attackers)
        .map(|_| {
            let mut client = program.connect_plainly();
            client.send(opening);
            client
        })
        .collect();
    let opened = start.elapsed();
    let mut healthy = program.connect();
    let mut slowest = Duration::ZERO;
    let mut most_memory = 0;
    let mut dropped = 0;
    while dropped < attackers as u64 {
        assert!(
            start.elapsed() < opened + ALLOWED + PATIENCE,
            "{dropped} of {attackers} are dropped"
        );
        for client in &mut crowd {
            client.send(part);
        }
        for _ in 0..50 {
            let asked = Instant::now();
            assert_eq!(healthy.get("/hello").text(), "Hello, world!");
            slowest = slowest.max(asked.elapsed());
        }
        let status: serde_json::Value =
            serde_json::from_slice(&healthy.get("/status").content).expect("JSON");
        dropped = status["closes"][reason].as_u64().unwrap_or(0);
        most_memory = most_memory.max(program.memory());
    }
    assert!(start.elapsed() >= ALLOWED, "dropped too early");
    assert!(start.elapsed() < opened + ALLOWED + SLACK, "after {:?}", start.elapsed());
    assert!(slowest < Duration::from_secs(1), "a healthy request took {slowest:?}");
    let each = most_memory.saturating_sub(before) / attackers as u64;
    println!("{reason}: {each} B an attacker, the slowest healthy request took {slowest:?}");
    assert!(each < 100 << 10, "{each} bytes an attacker");
}

#[test]
fn silent() {
    withstand(Attack {
        attackers: 1000,
        setting: "keep_alive_timeout=2s",
        opening: "",
        part: "",
        reason: "keep_alive",
        tls: false,
    });
}

#[test]
fn slow_heads() {
    withstand(Attack {
        attackers: 1000,
        setting: "request_head_timeout=2s",
        opening: "GET /hello HTTP/1.1\r\nHost: a\r\nSlow: ",
        part: "x",
        reason: "request_head",
        tls: false,
    });
}

#[test]
fn slow_content() {
    withstand(Attack {
        attackers: 1000,
        setting: "request_body_grace=2s",
        opening: "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
        part: "x",
        reason: "request_body",
        tls: false,
    });
}

#[test]
fn readers_of_nothing() {
    withstand(Attack {
        // Fewer: the kernel takes megabytes for each.
        attackers: 200,
        setting: "response_grace=2s",
        opening: "GET /bytes/1000000000 HTTP/1.1\r\nHost: a\r\n\r\n",
        part: "",
        reason: "response",
        tls: false,
    });
}

#[test]
fn slow_handshakes() {
    withstand(Attack {
        attackers: 1000,
        setting: "tls_handshake_timeout=2s",
        // The beginning of a ClientHello of 512 bytes.
        opening: "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03",
        part: "x",
        reason: "tls_handshake",
        tls: true,
    });
}
