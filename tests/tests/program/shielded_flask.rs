//! Flask on Hypercorn behind the program, under each attack of Hypercorn's page "Denial Of Service mitigations".
//!
//! Each test shows three things: the attackers are ended for the right reason; Flask works on none of their requests
//! longer than that; and an honest visitor is served meanwhile. Flask has [`PLACES`] places, fewer than there are
//! attackers.

use crate::place::{Place, tests};
use crate::support::{Client, PATIENCE, Program, assert_not_before};
use crate::upstreams::{Process, before_with_log, flask};
use serde_json::Value;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;
use tungstenite::Message;

tests! {
    plaintext:
        inactive_connections_never_reach_it,
        large_bodies_are_refused,
        slow_bodies_hold_half_of_the_places_at_most,
        those_who_take_nothing_of_an_answer_are_ended,
        those_who_take_an_answer_slowly_are_ended,
        large_messages_never_reach_it;
    tls:
        slow_handshakes_never_reach_it;
}

const ATTACKERS: usize = 8;
const PLACES: u64 = 4;
const SECOND: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);

/// Flask, and the program before it.
struct Shielded {
    flask: Process,
    program: Program,
    log: NamedTempFile,
}

impl Shielded {
    /// `None` if there is no Flask on this machine.
    #[track_caller]
    fn with(place: Place, settings: &[&str]) -> Option<Self> {
        let flask = flask()?;
        let log = NamedTempFile::new().expect("a file");
        let file = log.reopen().expect("it is there");
        let places = PLACES.to_string();
        let args = ["--proxy-concurrency", &places, "--proxy-queue-timeout", "10m"];
        let program = before_with_log(place, &flask.url, settings, &args, file);
        Some(Shielded { flask, program, log })
    }

    /// Several attackers, each of which has sent `bytes`, with their addresses.
    fn attackers(&self, bytes: impl AsRef<[u8]>) -> Vec<(Client, SocketAddr)> {
        let attack = |_| {
            let mut client = self.program.connect();
            client.send(&bytes);
            let address = client.stream.local_addr().expect("an address");
            (client, address)
        };
        (0..ATTACKERS).map(attack).collect()
    }

    /// An honest visitor comes again and again, until `is_over`, and once more.
    fn serves_until(&self, is_over: impl Fn() -> bool) {
        let begun = Instant::now();
        loop {
            let over = is_over();
            let answer = self.program.begun("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").answer();
            assert_eq!((answer.status, answer.text()), (200, "Hello, world!"));
            let post = "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
            assert_eq!(self.program.begun(post).answer().text(), "3");
            if over {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the attack does not end");
        }
    }

    fn serves(&self) {
        self.serves_until(|| true);
    }

    /// Why the program has closed the connection of this client, once it has.
    fn reason(&self, client: SocketAddr) -> String {
        let (begun, peer) = (Instant::now(), format!(" peer={client} reason="));
        loop {
            let log = std::fs::read(self.log.path()).expect("it can be read");
            let log = String::from_utf8_lossy(&log);
            let closed = log.lines().filter(|line| line.contains(": closed "));
            let told = closed.filter_map(|line| Some(line.split_once(&peer)?.1)).next();
            if let Some(reason) = told.and_then(|told| told.split(' ').next()) {
                return reason.to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "{client} is not closed: {log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn assert_reason(&self, attackers: &[SocketAddr], reason: &str) {
        for attacker in attackers {
            assert_eq!(self.reason(*attacker), reason);
        }
    }

    /// What Flask's server works on.
    fn progress(&self) -> Value {
        let address = self.flask.url.strip_prefix("http://").expect("plaintext");
        let stream = TcpStream::connect(address).expect("it accepts");
        let mut client = Client::of(stream);
        client.send("GET /progress HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        serde_json::from_slice(&client.answer().content).expect("JSON")
    }

    /// Waits until Flask's server works on nothing any more.
    fn wait_until_idle(&self) {
        self.wait_until_at_work(0);
    }

    /// Waits until Flask's server works on so many requests, and on no websocket.
    fn wait_until_at_work(&self, requests: u64) {
        let begun = Instant::now();
        loop {
            let progress = self.progress();
            if progress["http"]["now"] == requests && progress["websocket"]["now"] == 0 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "its workers are held: {progress}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The requests that have reached Flask's server.
    fn begun(&self) -> u64 {
        self.progress()["http"]["begun"].as_u64().expect("a count")
    }

    /// Asserts that `attack` brings no request to Flask's server.
    fn assert_unreached<T>(&self, attack: impl FnOnce() -> T) -> T {
        let before = self.begun();
        let result = attack();
        assert_eq!(self.begun(), before, "an attacker's request has reached it");
        result
    }
}

fn inactive_connections_never_reach_it(place: Place) {
    let settings = ["keep_alive_timeout=1s", "request_head_timeout=1s"];
    let Some(shielded) = Shielded::with(place, &settings) else { return };
    for (start, reason) in
        [("", "keep_alive"), ("GET /hello HTTP/1.1\r\nHost: a\r\nX-", "request_head")]
    {
        let attackers = shielded.attackers(start);
        shielded.serves();
        let addresses: Vec<_> = attackers.iter().map(|(_, address)| *address).collect();
        shielded.assert_unreached(|| {
            for (mut client, _) in attackers {
                assert_not_before(client.closed_after(), SECOND);
            }
        });
        shielded.assert_reason(&addresses, reason);
    }
}

fn slow_handshakes_never_reach_it(place: Place) {
    let Some(shielded) = Shielded::with(place, &["tls_handshake_timeout=1s"]) else { return };
    let begin = |_| {
        let mut client = shielded.program.connect_plainly();
        // The beginning of a record with a ClientHello of 508 bytes.
        client.send([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
        let address = client.stream.local_addr().expect("an address");
        (client, address)
    };
    let attackers: Vec<_> = (0..ATTACKERS).map(begin).collect();
    shielded.serves();
    let addresses: Vec<_> = attackers.iter().map(|(_, address)| *address).collect();
    shielded.assert_unreached(|| {
        for (mut client, _) in attackers {
            assert_not_before(client.dribble(&[0], PAUSE), SECOND);
        }
    });
    shielded.assert_reason(&addresses, "tls_handshake");
}

fn large_bodies_are_refused(place: Place) {
    let Some(shielded) = Shielded::with(place, &["request_body_limit=256KiB"]) else { return };
    // One that says so never reaches it.
    let declared = "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n";
    let attackers = shielded.assert_unreached(|| {
        let mut attackers = shielded.attackers(declared);
        for (client, _) in &mut attackers {
            assert_eq!(client.answer().status, 413);
        }
        attackers
    });
    shielded.serves();
    let addresses: Vec<_> = attackers.iter().map(|(_, address)| *address).collect();
    drop(attackers);
    shielded.assert_reason(&addresses, "content_too_large");
    // One that doesn't is cut off at the limit.
    let endless = "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut attackers = shielded.attackers(endless);
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 65_536], b"\r\n"].concat();
    for (client, _) in &mut attackers {
        for _ in 0..5 {
            client.send(&chunk);
        }
    }
    shielded.serves();
    for (client, _) in &mut attackers {
        assert_eq!(client.answer().status, 413);
    }
    let addresses: Vec<_> = attackers.iter().map(|(_, address)| *address).collect();
    drop(attackers);
    shielded.assert_reason(&addresses, "content_too_large");
    shielded.wait_until_idle();
}

fn slow_bodies_hold_half_of_the_places_at_most(place: Place) {
    let large = "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n";
    let start = [large.as_bytes(), &[b'a'; 200_000]].concat();
    // While their time isn't over.
    let Some(shielded) = Shielded::with(place, &[]) else { return };
    let attackers = shielded.attackers(&start);
    (0..10).for_each(|_| shielded.serves());
    shielded.wait_until_at_work(PLACES / 2);
    let most = shielded.progress()["http"]["most"].as_u64();
    assert!(most <= Some(PLACES), "{most:?}");
    drop(attackers);
    shielded.wait_until_idle();
    let settings = ["request_body_grace=1s", "request_body_rate=1MiB"];
    let Some(shielded) = Shielded::with(place, &settings) else { return };
    // Small ones never reach it.
    for framing in ["Content-Length: 50000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3e8\r\n"] {
        let start = format!("POST /count HTTP/1.1\r\nHost: a\r\n{framing}a");
        let attackers = shielded.attackers(start);
        shielded.serves();
        let addresses: Vec<_> = attackers.iter().map(|(_, address)| *address).collect();
        shielded.assert_unreached(|| {
            for (mut client, _) in attackers {
                assert_not_before(client.dribble(b"a", PAUSE), SECOND);
                assert_eq!(client.answer().status, 408);
            }
        });
        shielded.assert_reason(&addresses, "request_body");
    }
    // Large ones hold some of the places until their time is over.
    let attackers = shielded.attackers(&start);
    let addresses: Vec<_> = attackers.iter().map(|(_, address)| *address).collect();
    let attacks: Vec<_> = attackers
        .into_iter()
        .map(|(mut client, _)| {
            thread::spawn(move || {
                assert_not_before(client.dribble(b"a", PAUSE), SECOND);
                client.answer().status
            })
        })
        .collect();
    shielded.serves_until(|| attacks.iter().all(|attack| attack.is_finished()));
    for attack in attacks {
        assert_eq!(attack.join().expect("it is well"), 408);
    }
    shielded.assert_reason(&addresses, "request_body");
    shielded.wait_until_idle();
}

fn those_who_take_nothing_of_an_answer_are_ended(place: Place) {
    // With a shorter `response_grace` those that wait would make it cut off those that have a place.
    let settings = ["response_silence=1s"];
    let Some(shielded) = Shielded::with(place, &settings) else { return };
    let attackers = shielded.attackers("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    let addresses: Vec<_> = attackers.iter().map(|(_, address)| *address).collect();
    shielded.serves();
    shielded.assert_reason(&addresses, "response");
    for (client, _) in attackers {
        assert_not_before(client.waited(), SECOND);
    }
    shielded.serves();
    shielded.wait_until_idle();
}

fn those_who_take_an_answer_slowly_are_ended(place: Place) {
    let settings = ["response_grace=1s", "response_rate=1MiB"];
    let Some(shielded) = Shielded::with(place, &settings) else { return };
    let attacks: Vec<_> = (0..ATTACKERS)
        .map(|_| {
            let mut client = shielded.program.connect_with_buffer(4096);
            client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
            let address = client.stream.local_addr().expect("an address");
            (thread::spawn(move || client.read_until_closed(2048, PAUSE)), address)
        })
        .collect();
    shielded.serves_until(|| attacks.iter().all(|(attack, _)| attack.is_finished()));
    for (attack, address) in attacks {
        assert_not_before(attack.join().expect("it is well"), SECOND);
        shielded.assert_reason(&[address], "response");
    }
    shielded.wait_until_idle();
}

fn large_messages_never_reach_it(place: Place) {
    let settings = ["websocket_message_limit=64KiB"];
    let Some(shielded) = Shielded::with(place, &settings) else { return };
    let mut attackers: Vec<_> = (0..ATTACKERS)
        .map(|_| {
            let client = shielded.program.connect();
            let address = client.stream.local_addr().expect("an address");
            let (websocket, _) =
                tungstenite::client("ws://localhost/ws", client).expect("it is accepted");
            (websocket, address)
        })
        .collect();
    shielded.serves();
    for (websocket, _) in &mut attackers {
        // The program may have closed before all is sent.
        let _ = websocket.send(Message::binary(vec![0; 100_000]));
        let Ok(Message::Close(Some(close))) = websocket.read() else { panic!("no close") };
        assert_eq!(u16::from(close.code), 1009);
    }
    let addresses: Vec<_> = attackers.iter().map(|(_, address)| *address).collect();
    drop(attackers);
    shielded.assert_reason(&addresses, "message_too_large");
    shielded.wait_until_idle();
    assert_eq!(shielded.progress()["websocket"]["begun"], ATTACKERS as u64);
}
