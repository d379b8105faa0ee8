//! The header of the PROXY protocol: from HAProxy, in pieces, malformed, and from attackers.
//!
//! Proxies come from 127.0.0.2, the only source that the program trusts. So clients at 127.0.0.1 can ask for the
//! status.

use crate::clients::{curl, has_curl};
use crate::place::{Place, Transport, tests};
use crate::proxies::{Proxy, haproxy_with, has, wait_until_up};
use crate::support::{Client, PATIENCE, Program, assert_not_before};
use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

tests! {
    everywhere:
        haproxy_tells_the_address_of_the_client,
        health_checks_of_haproxy_bring_the_header,
        curl_brings_a_header_over_both_versions_of_http,
        a_header_may_come_in_pieces_or_with_what_follows,
        a_proxy_without_a_header_is_cut_off_and_counted,
        other_peers_are_served_and_choose_no_address,
        a_dripped_header_ends_at_its_deadline,
        a_dripped_header_extends_no_first_wait,
        a_header_that_never_comes_is_a_silent_connection,
        a_header_of_an_endless_length_is_refused_at_once;
}

const PROXY: [u8; 4] = [127, 0, 0, 2];
const SECOND: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);
const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 10.0.0.1 258 80\r\n";
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x01\x0a\0\0\x01\x01\x03\0\x50\x04\0\0";
/// LOCAL: the proxy speaks for itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A program that trusts 127.0.0.2, and its log.
struct Trusting {
    program: Program,
    log: NamedTempFile,
}

impl Trusting {
    fn with(place: Place, settings: &[&str]) -> Self {
        let log = NamedTempFile::new().expect("a file");
        let args = ["--proxy-protocol", "192.0.2.0/24,127.0.0.2"];
        let file = log.reopen().expect("it is there");
        let program = Program::with_args(place, settings, &args, Some(file));
        Trusting { program, log }
    }

    /// A connection of the trusted proxy.
    fn proxy(&self) -> Client {
        self.program.connect_from(PROXY)
    }

    /// A connection of the trusted proxy on which bytes are sent as they are, also before TLS.
    fn bare_proxy(&self) -> Client {
        let mut client = self.proxy();
        client.tls = None;
        client
    }

    /// Waits until the log says that a connection of this peer has closed.
    fn wait_for_peer(&self, peer: &str) {
        let (begun, told) = (Instant::now(), format!(" peer={peer} "));
        loop {
            let log = std::fs::read(self.log.path()).expect("it can be read");
            let log = String::from_utf8_lossy(&log);
            if log.lines().any(|line| line.contains("closed") && line.contains(&told)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{told}: {log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until as many connections have closed for a reason.
    fn wait_for_closes(&self, reason: &str, count: u64) {
        self.program.wait_for(reason, |status| status["closes"][reason].as_u64() >= Some(count));
    }
}

/// HAProxy, which passes connections on as they are, with a header in front.
fn haproxy(program: SocketAddr, option: &str) -> Proxy {
    haproxy_with(|address| {
        format!(
            "defaults\nmode tcp\ntimeout connect 1h\ntimeout client 1h\ntimeout server 1h\n\
             frontend web\nbind {address}\ndefault_backend app\n\
             backend app\nserver one {program} {option} source 127.0.0.2\n"
        )
    })
}

fn haproxy_tells_the_address_of_the_client(place: Place) {
    if !has("haproxy") {
        return;
    }
    let trusting = Trusting::with(place, &[]);
    let program = &trusting.program;
    for option in ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"] {
        let proxy = haproxy(program.address, option);
        let mut client = program.connect_through(proxy.address);
        let address = client.stream.local_addr().expect("an address");
        assert_eq!(client.get("/hello").text(), "Hello, world!");
        assert_eq!(client.get("/bytes/3000000").content.len(), 3_000_000);
        drop(client);
        trusting.wait_for_peer(&address.to_string());

        let client = program.connect_through(proxy.address);
        let address = client.stream.local_addr().expect("an address");
        let url = format!("ws://{}/ws", proxy.address);
        let (mut websocket, _) = tungstenite::client(url, client).expect("a websocket");
        websocket.send("hello".into()).expect("sent");
        assert_eq!(websocket.read().expect("a message"), "hello".into());
        drop(websocket);
        trusting.wait_for_peer(&address.to_string());

        if place.transport == Transport::Plaintext {
            let mut client = program.connect_through(proxy.address);
            let address = client.stream.local_addr().expect("an address");
            client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
            // The server's SETTINGS.
            assert_eq!(client.take(9)[3], 4);
            drop(client);
            trusting.wait_for_peer(&address.to_string());
        }
    }
}

fn health_checks_of_haproxy_bring_the_header(place: Place) {
    if !has("haproxy") {
        return;
    }
    let trusting = Trusting::with(place, &[]);
    let program = trusting.program.address;
    let tls = if place.transport == Transport::Tls { "ssl verify none" } else { "" };
    let proxy = haproxy_with(|address| {
        format!(
            "defaults\nmode http\ntimeout connect 1h\ntimeout client 1h\ntimeout server 1h\n\
             timeout check 1h\nfrontend web\nbind {address}\ndefault_backend app\n\
             backend app\noption httpchk GET /hello\n\
             server one {program} {tls} check inter 100ms send-proxy-v2 source 127.0.0.2\n"
        )
    });
    wait_until_up(&proxy, "200");
    let mut client = trusting.program.connect_through(proxy.address);
    client.tls = None;
    assert_eq!(client.get("/hello").text(), "Hello, world!");
}

fn curl_brings_a_header_over_both_versions_of_http(place: Place) {
    if !has_curl() {
        return;
    }
    let trusting = Trusting::with(place, &[]);
    let url = trusting.program.url("/hello");
    let second = match place.transport {
        Transport::Plaintext => "--http2-prior-knowledge",
        Transport::Tls => "--http2",
    };
    for (version, told) in [("--http1.1", "1.1"), (second, "2")] {
        let from = ["--interface", "127.0.0.2", "--haproxy-protocol", version];
        let answer = curl(&[&from[..], &["-w", " %{http_version}", &url]].concat(), b"");
        assert_eq!(answer, format!("Hello, world! {told}"));
    }
}

fn a_header_may_come_in_pieces_or_with_what_follows(place: Place) {
    let trusting = Trusting::with(place, &[]);
    for header in [LINE, BINARY] {
        for length in [1, 7, header.len()] {
            let mut client = trusting.proxy();
            for piece in header.chunks(length) {
                client.stream.write_all(piece).expect("sent");
                thread::yield_now();
            }
            let answer = client.get("/hello");
            assert_eq!(answer.text(), "Hello, world!");
        }
    }
    trusting.wait_for_peer("192.0.2.1:258");
    trusting.wait_for_peer("192.0.2.1:259");
    for header in [LOCAL, b"PROXY UNKNOWN\r\n"] {
        let mut client = trusting.proxy();
        let address = client.stream.local_addr().expect("an address");
        client.stream.write_all(header).expect("sent");
        assert_eq!(client.get("/hello").text(), "Hello, world!");
        drop(client);
        trusting.wait_for_peer(&address.to_string());
    }
    if place.transport == Transport::Plaintext {
        let mut client = trusting.proxy();
        let content = vec![b'x'; 300_000];
        let head = b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n";
        client.send([BINARY, head, &content].concat());
        assert_eq!(client.answer().text(), "300000");
    }
}

fn a_proxy_without_a_header_is_cut_off_and_counted(place: Place) {
    let trusting = Trusting::with(place, &[]);
    let starts: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 258\r\n",
        b"\x16\x03\x01\x02\0",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        // A header that ends early.
        b"PROXY TCP4",
    ];
    for (number, start) in (1..).zip(starts) {
        let mut client = trusting.bare_proxy();
        client.stream.write_all(start).expect("sent");
        client.finish_sending();
        assert_eq!(client.more(), 0);
        trusting.wait_for_closes("proxy_header", number);
    }
    // A check that only connects is no offence.
    drop(trusting.proxy());
    let reason = match place.transport {
        Transport::Plaintext => "peer_done",
        Transport::Tls => "tls_handshake_abandoned",
    };
    trusting.wait_for_closes(reason, 1);
}

fn other_peers_are_served_and_choose_no_address(place: Place) {
    let trusting = Trusting::with(place, &[]);
    let mut client = trusting.program.connect();
    assert_eq!(client.get("/hello").text(), "Hello, world!");
    for header in [LINE, BINARY] {
        let mut client = trusting.program.connect();
        if place.transport == Transport::Tls {
            // Within TLS it is as malformed as without.
            client.shake_hands();
        }
        client.send([header, b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        assert_eq!(client.answer().status, 400);
    }
    // A header that follows the first one is no header either.
    let mut client = trusting.proxy();
    client.stream.write_all(LINE).expect("sent");
    client.send([LINE, b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    assert_eq!(client.answer().status, 400);
}

fn a_dripped_header_ends_at_its_deadline(place: Place) {
    let trusting = Trusting::with(place, &["request_head_timeout=1s"]);
    // The length leaves room for TLVs of four thousand bytes.
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xf0\xc0\0\x02\x01\x0a\0\0\x01\x01\x03\0\x50";
    for (number, start) in (1..).zip([&b"PROXY UNKNOWN "[..], binary]) {
        let mut client = trusting.bare_proxy();
        client.send(start);
        assert_not_before(client.dribble(b"x", PAUSE), SECOND);
        trusting.wait_for_closes("proxy_header", number);
    }
}

fn a_dripped_header_extends_no_first_wait(place: Place) {
    let (setting, reason) = match place.transport {
        Transport::Plaintext => ("keep_alive_timeout=1s", "keep_alive"),
        Transport::Tls => ("tls_handshake_timeout=1s", "tls_handshake"),
    };
    let trusting = Trusting::with(place, &[setting]);
    let mut client = trusting.bare_proxy();
    client.send(&LINE[..20]);
    let begun = Instant::now();
    while client.is_quiet_for(PAUSE) && client.send(b"1") {
        assert!(begun.elapsed() < PATIENCE, "the server does not close");
    }
    trusting.wait_for_closes(reason, 1);
}

fn a_header_that_never_comes_is_a_silent_connection(place: Place) {
    let (setting, reason) = match place.transport {
        Transport::Plaintext => ("keep_alive_timeout=1s", "keep_alive"),
        Transport::Tls => ("tls_handshake_timeout=1s", "tls_handshake"),
    };
    let trusting = Trusting::with(place, &[setting]);
    let mut client = trusting.bare_proxy();
    assert_not_before(client.closed_after(), SECOND);
    trusting.wait_for_closes(reason, 1);
}

fn a_header_of_an_endless_length_is_refused_at_once(place: Place) {
    let trusting = Trusting::with(place, &[]);
    let line = [&b"PROXY UNKNOWN "[..], &[b'x'; 107 - 14]].concat();
    for (number, start) in (1..).zip([&line[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"]) {
        let mut client = trusting.bare_proxy();
        client.stream.write_all(start).expect("sent");
        client.wait_until_closed();
        trusting.wait_for_closes("proxy_header", number);
    }
}
