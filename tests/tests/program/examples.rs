//! The examples of core. Each driver must serve, apply backpressure and time out as the machine
//! says. The simulation must be the same for the same seed.

use crate::support::{Client, PATIENCE, Program, assert_not_before, example};
use portcullis_testing::skip;
use std::io::Read;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};
use tungstenite::Message;

const SECOND: Duration = Duration::from_secs(1);
/// More than the buffers of the sockets and of the machine hold together.
const LARGE: usize = 16_000_000;

#[test]
fn blocking() {
    serves("blocking");
    times_out("blocking");
}

#[test]
fn epoll() {
    serves("epoll");
    times_out("epoll");
    crowd("epoll");
}

#[cfg(target_os = "linux")]
#[test]
fn uring() {
    if !has_io_uring() {
        return;
    }
    serves("uring");
    times_out("uring");
    crowd("uring");
}

/// Whether the kernel lets this process use io_uring, which many containers forbid. If not, reports
/// the test as skipped.
#[cfg(target_os = "linux")]
fn has_io_uring() -> bool {
    // The address is in use, so the example fails in any case, but only after it has set up its
    // ring.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let output = Command::new(example("uring")).arg(address).output().expect("it starts");
    let error = String::from_utf8_lossy(&output.stderr);
    let refused = ["PermissionDenied", "Unsupported", "OutOfMemory"];
    let is_there = !refused.iter().any(|kind| error.contains(kind));
    if !is_there {
        skip("io_uring is not allowed here; to allow it: sysctl kernel.io_uring_disabled=0");
    }
    is_there
}

/// A driver serves well-behaved clients.
fn serves(name: &str) {
    let program = Program::example(name, &["request_body_limit=none", "receive_buffer_limit=5000"]);
    let mut client = program.connect();
    assert_eq!(client.get("/hello").text(), "Hello, world!\n", "{name}");
    assert_eq!(client.get("/nowhere").status, 404, "{name}: the connection is kept");

    let three = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
    client.send(three);
    for _ in 0..3 {
        assert_eq!(client.answer().text(), "Hello, world!\n", "{name}: pipelined");
    }

    let content: Vec<u8> = (0..LARGE as u32).map(|it| (it / 7) as u8).collect();
    let post =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n");
    client.send(post("/sink"));
    client.send(&content);
    assert_eq!(client.answer().text(), format!("{LARGE}\n"), "{name}");

    // The answer begins before the request is complete, so another thread sends.
    client.send(post("/echo"));
    let mut sender = client.stream.try_clone().expect("it can be cloned");
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| std::io::Write::write_all(&mut sender, &content).expect("it is taken"));
        client.answer()
    });
    assert!(answer.content == content, "{name}: the echo differs from what was sent");

    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    assert_eq!(client.answer().text(), "abcdefg", "{name}");

    client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish_sending();
    assert_eq!(client.answer().text(), "Hello, world!\n", "{name}: half-closed");
    client.wait_until_closed();

    let connected = tungstenite::client("ws://localhost/ws", program.connect());
    let (mut websocket, _) = connected.expect("it is accepted");
    for message in [Message::text("text"), Message::binary(content[..300_000].to_vec())] {
        websocket.send(message.clone()).expect("it is sent");
        assert_eq!(websocket.read().expect("it is repeated"), message, "{name}");
    }
}

/// A driver times out misbehaving clients.
fn times_out(name: &str) {
    let settings = [
        "keep_alive_timeout=1s",
        "request_head_timeout=1s",
        "response_grace=1s",
        "response_silence=1s",
    ];
    let program = Program::example(name, &settings);
    assert_not_before(program.connect().closed_after(), SECOND);

    let mut client = program.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nSlow: ");
    assert_not_before(client.dribble(b"x", SECOND / 10), SECOND);
    assert_eq!(client.answer().status, 408, "{name}");

    let large = "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 17000000\r\n\r\n";
    assert_eq!(program.begun(large).answer().status, 413, "{name}");

    let mut client = program.connect();
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until_reset(&mut client);
}

/// Waits until the server resets the connection, without reading from it.
fn wait_until_reset(client: &mut Client) {
    let start = Instant::now();
    while client.stream.take_error().expect("it can be asked").is_none() {
        assert!(start.elapsed() < PATIENCE, "the connection is still open");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut bytes = Vec::new();
    let _ = client.stream.read_to_end(&mut bytes);
    assert!(bytes.len() < 64 << 20, "the whole answer arrived");
}

/// Serves 400 clients at once.
fn crowd(name: &str) {
    let program = Program::example(name, &["keep_alive_timeout=20s"]);
    let mut clients: Vec<_> = (0..400).map(|_| program.connect()).collect();
    for client in &mut clients {
        client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.answer().text(), "Hello, world!\n", "{name}");
    }
}

#[test]
fn simulation() {
    let binary = example("simulation");
    let play = |seed: &str| {
        let output = Command::new(&binary).arg(seed).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let first = play("1");
    assert_eq!(first, play("1"), "the same seed must give the same output");
    assert_ne!(first, play("2"), "another seed must give another output");
    for (plan, reason) in [
        ("Polite", "completed"),
        ("Silent", "keep_alive"),
        ("SlowHead", "request_head"),
        ("SlowBody", "request_body"),
        ("Deaf", "response"),
        ("Sipping", "response"),
    ] {
        let is_so = |line: &str| line.contains(plan) && line.contains(reason);
        assert!(first.lines().any(is_so), "{plan} does not end with {reason}:\n{first}");
    }
}
