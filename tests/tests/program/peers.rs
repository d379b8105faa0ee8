//! Clients of other languages: Node, Java, and Python's `h2`. Each is a program of its own, in the
//! folder `peers`, which sends requests in every way that its library can.
//!
//! In the end a client keeps requests open, and prints `busy`. The program is then told to shut down,
//! and another starts at the same address, as in a deployment. Once the client reads `elsewhere`, it
//! finishes its requests: all are answered, and the next one goes to the other program.

use crate::place::{Place, Runtime, Transport, tests};
use crate::support::{PATIENCE, Program};
use portcullis_testing::{needs, skip};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

tests! {
    everywhere:
        node,
        python;
    tls:
        java;
}

/// A file of the folder `peers`.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/peers").join(name)
}

fn node(place: Place) {
    if needs("node", "apt-get install nodejs") {
        visit(1, place, Command::new("node").arg(file("node.mjs")));
    }
}

fn java(place: Place) {
    if needs("java", "apt-get install default-jdk-headless") {
        visit(2, place, &mut java_command());
    }
}

#[test]
fn java_in_plaintext() {
    if needs("java", "apt-get install default-jdk-headless") {
        let program = Program::with(Place::USUAL, &[]);
        let status = java_command().arg(program.url("")).status().expect("it starts");
        assert!(status.success(), "the client fails");
    }
}

/// The compiler is told to be quick: the client lives for a second.
fn java_command() -> Command {
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]);
    command.arg(file("Peer.java"));
    command
}

fn python(place: Place) {
    if let Some(python) = python_with_h2() {
        visit(3, place, Command::new(python).arg(file("peer.py")));
    }
}

/// The system's Python is asked first: the package of Debian is for that one only.
#[track_caller]
fn python_with_h2() -> Option<&'static str> {
    let has_h2 = |python: &&str| {
        let output = Command::new(python).args(["-c", "import h2"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let python = ["/usr/bin/python3", "python3"].into_iter().find(has_h2);
    if python.is_none() {
        skip("Python's h2 is missing; to install it: apt-get install python3-h2");
    }
    python
}

/// An address that no other test uses: when its port is free again, no other test takes it.
fn address(client: u8, place: Place) -> SocketAddr {
    let runtime = match place.runtime {
        Runtime::Tokio => 1,
        Runtime::Smol => 2,
        Runtime::AsyncStd => 3,
    };
    let transport = match place.transport {
        Transport::Plaintext => 10,
        Transport::Tls => 20,
    };
    ([127, 31, 50 + client, transport + runtime], 0).into()
}

/// Runs a client against two programs, one after the other at the same address.
fn visit(client: u8, place: Place, command: &mut Command) {
    let settings = ["request_body_limit=none"];
    let first = Program::at(place, address(client, place), &settings);
    let address = first.address;
    command.arg(first.url("")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the client starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let line = lines.next().map(|line| line.expect("text"));
    assert_eq!(line.as_deref(), Some("busy"), "{:?}", child.wait());
    first.signal("TERM");
    let start = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(start.elapsed() < PATIENCE, "the program accepts connections while it drains");
    }
    let second = Program::at(place, address, &settings);
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(b"elsewhere\n").expect("the client reads it");
    assert!(child.wait().expect("it is a child").success(), "the client fails");
    assert_eq!(first.wait(), Some(0));
    let accepted = second.status()["accepted"].as_u64();
    assert!(accepted >= Some(2), "the client has not come: {accepted:?}");
}
