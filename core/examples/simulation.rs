//! A driver without sockets and without a clock. A server, a network and its clients share one
//! table of coming events. So a minute of attacks takes a few milliseconds, and the same seed plays
//! the same minute again.
//!
//!     cargo run -p portcullis --example simulation -- 7
//!
//! The network cuts its input into pieces and delays each. Some pieces are lost and sent again
//! later, and some links die. Time jumps to the next event: nothing sleeps.

// Only the servers use the command line of `support`.
#[allow(dead_code)]
mod support;

use fastrand::Rng;
use portcullis::{CloseReason, Config, Connection, PeerClose, Tick};
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt::Write;
use std::io::IoSlice;
use std::mem::{replace, take};
use std::sync::Arc;
use std::time::Duration;
use support::app::App;

/// How many bytes the network and the client's kernel hold for a client that does not read.
const WINDOW: usize = 64 << 10;
const SECOND: Duration = Duration::from_secs(1);

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Plan {
    /// Makes some requests, one after the other, and reads the answers.
    Polite,
    /// Does the same, but its link dies.
    Vanishing,
    /// Connects, and sends nothing.
    Silent,
    /// Sends a head, one byte a second.
    SlowHead,
    /// Sends content, one byte a second.
    SlowBody,
    /// Asks for a large answer, and reads nothing.
    Deaf,
    /// Asks for a large answer, and reads 100 bytes a second.
    Sipping,
}

struct Client {
    plan: Plan,
    /// The requests that are still to be sent, and the end of the answer to each.
    script: VecDeque<(Vec<u8>, Vec<u8>)>,
    ending: Vec<u8>,
    received: Vec<u8>,
    answers: usize,
    /// Whether the client has closed, the server's side of the socket, and when the link dies.
    gone: bool,
    server: Option<Served>,
    dies: Option<Tick>,
    /// Bytes on their way to the client, or not read by it.
    unread: usize,
    /// When the latest piece arrives in each direction: pieces do not overtake each other.
    arrivals: [Tick; 2],
}

/// The server's side of one connection.
struct Served {
    connection: Connection,
    app: App,
    since: Tick,
    inbox: Vec<u8>,
    eof: bool,
    shut_down: bool,
    /// The deadline that is in the table.
    alarm: Option<Tick>,
}

enum Packet {
    Bytes(Vec<u8>),
    End,
    Reset,
}

enum Happening {
    AtServer(Packet),
    AtClient(Packet),
    /// The client acts on its own.
    Turn,
    /// A deadline of the server.
    Alarm,
}

struct World {
    now: Tick,
    rng: Rng,
    config: Arc<Config>,
    /// The coming events in order. The number keeps the order of events at the same tick.
    coming: BTreeMap<(Tick, u64), (usize, Happening)>,
    told: u64,
    clients: Vec<Client>,
    log: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(1), |seed| seed.parse())?;
    let report = play(seed);
    assert_eq!(report, play(seed), "the same seed plays the same minute");
    print!("{report}");
    Ok(())
}

/// Plays one world until no events are left, and returns the log.
fn play(seed: u64) -> String {
    let mut world = World {
        now: Tick::ZERO,
        rng: Rng::with_seed(seed),
        config: Arc::new(Config::default()),
        coming: BTreeMap::new(),
        told: 0,
        clients: Vec::new(),
        log: format!("seed {seed}\n"),
    };
    let plans = [Plan::Silent, Plan::SlowHead, Plan::SlowBody, Plan::Deaf, Plan::Sipping];
    for plan in plans.into_iter().chain([Plan::Polite; 3]).chain([Plan::Vanishing; 2]) {
        world.connect(plan);
    }
    let mut steps = 0;
    // This is the whole loop of a driver: take the next event, and set the time to its tick.
    while let Some(((at, _), (id, happening))) = world.coming.pop_first() {
        world.now = at;
        steps += 1;
        match happening {
            Happening::AtServer(packet) => world.at_server(id, packet),
            Happening::AtClient(packet) => world.at_client(id, packet),
            Happening::Turn => world.turn(id),
            Happening::Alarm => {
                if let Some(served) = &mut world.clients[id].server {
                    served.alarm = None;
                }
                world.attend(id);
            }
        }
    }
    for client in &world.clients {
        assert!(client.server.is_none(), "a connection never closed: {:?}", client.plan);
        assert!(
            client.plan != Plan::Polite || client.answers == 3,
            "a polite client did not get its three answers"
        );
    }
    let _ = writeln!(world.log, "{:.1} s in {steps} steps", seconds(world.now));
    world.log
}

fn seconds(tick: Tick) -> f64 {
    tick.since(Tick::ZERO).as_secs_f64()
}

impl World {
    fn later(&mut self, at: Tick, id: usize, happening: Happening) {
        self.told += 1;
        self.coming.insert((at, self.told), (id, happening));
    }

    /// Sends a packet in one direction, if the link lives.
    fn send(&mut self, id: usize, to_client: bool, packet: Packet) {
        let client = &mut self.clients[id];
        if client.dies.is_some_and(|at| at <= self.now) {
            return;
        }
        let lost = if self.rng.u8(..) < 8 { 300 } else { 0 };
        let delay = Duration::from_millis(self.rng.u64(5..50) + lost);
        let arrival = &mut client.arrivals[usize::from(to_client)];
        *arrival = self.now.after(delay).max(*arrival);
        let at = *arrival;
        let there = if to_client { Happening::AtClient } else { Happening::AtServer };
        self.later(at, id, there(packet));
    }

    fn send_bytes(&mut self, id: usize, to_client: bool, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(self.rng.usize(1..=1460).min(bytes.len()));
            self.send(id, to_client, Packet::Bytes(piece.into()));
            bytes = rest;
        }
    }

    // ---- the server: this is the driver ---------------------------------------------------------

    fn at_server(&mut self, id: usize, packet: Packet) {
        let Some(served) = &mut self.clients[id].server else { return };
        match packet {
            Packet::Bytes(bytes) => served.inbox.extend(bytes),
            Packet::End => served.eof = true,
            Packet::Reset => {
                served.connection.abort(self.now, CloseReason::Peer(PeerClose::Reset));
            }
        }
        self.attend(id);
    }

    /// Does everything that can be done now, and makes sure to come back at the deadline.
    fn attend(&mut self, id: usize) {
        let now = self.now;
        let Some(mut served) = self.clients[id].server.take() else { return };
        let Served { connection, app, inbox, eof, shut_down, .. } = &mut served;
        loop {
            if connection.status().resume {
                app.take(now, connection.resume(now));
            }
            let status = connection.status();
            let room = WINDOW - self.clients[id].unread;
            if status.write && room > 0 {
                let mut slices = [IoSlice::new(&[]); 4];
                let count = connection.outgoing(&mut slices);
                let mut bytes: Vec<u8> =
                    slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
                bytes.truncate(room);
                connection.sent(now, bytes.len());
                self.clients[id].unread += bytes.len();
                self.send_bytes(id, true, &bytes);
            } else if status.wants_shutdown() && !replace(shut_down, true) {
                self.send(id, true, Packet::End);
            } else if status.read && !inbox.is_empty() {
                match connection.receive(now, &mut take(inbox)) {
                    Ok(events) => app.take(now, events),
                    Err(misuse) => {
                        unreachable!("the connection wants to read, but refused: {misuse}")
                    }
                }
            } else if status.read && *eof {
                app.take(now, connection.receive_eof(now));
            } else if connection.status().has_work {
                // The next round goes on with it.
            } else if connection.deadline().is_some_and(|(at, _)| at <= now) {
                // Let time pass last.
                connection.tick(now);
            } else {
                break;
            }
        }
        if let Some(reason) = connection.status().closed() {
            let cut_off = connection.status().is_cut_off();
            let (plan, lasted) = (self.clients[id].plan, now.since(served.since).as_secs_f64());
            let _ = writeln!(
                self.log,
                "{:6.2} s  {plan:?} lasted {lasted:.2} s: {reason}{}",
                seconds(now),
                if cut_off { ", its answer was cut off" } else { "" }
            );
            self.send(id, true, if cut_off { Packet::Reset } else { Packet::End });
            return;
        }
        if let Some((at, _)) = connection.deadline()
            && served.alarm.is_none_or(|alarm| at < alarm)
        {
            // An older alarm in the table may fire for nothing, which is harmless.
            served.alarm = Some(at);
            self.later(at, id, Happening::Alarm);
        }
        self.clients[id].server = Some(served);
    }

    // ---- the clients ----------------------------------------------------------------------------

    fn connect(&mut self, plan: Plan) {
        let request = |line: &str, fields: &str, content: &[u8], ending: &[u8]| {
            let head = format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            ([head.as_bytes(), content].concat(), ending.to_vec())
        };
        let upload: Vec<u8> = (0..40_000).map(|_| self.rng.alphanumeric() as u8).collect();
        let length = format!("Content-Length: {}\r\n", upload.len());
        let script = match plan {
            Plan::Polite | Plan::Vanishing => vec![
                request("GET /hello", "", b"", b"world!\n"),
                request("POST /echo", &length, &upload, &upload),
                request(
                    "POST /sink",
                    &(length.clone() + "Connection: close\r\n"),
                    &upload,
                    b"40000\n",
                ),
            ],
            Plan::Silent => vec![],
            Plan::SlowHead => vec![(b"GET /hello HTTP/1.1\r\nX: ".to_vec(), vec![])],
            Plan::SlowBody => vec![request("POST /sink", &length, b"", b"")],
            Plan::Deaf | Plan::Sipping => vec![request("GET /big", "", b"", b"")],
        };
        let since = self.now.after(Duration::from_millis(self.rng.u64(..2000)));
        let lives = Duration::from_millis(self.rng.u64(50..500));
        let id = self.clients.len();
        self.clients.push(Client {
            plan,
            script: script.into(),
            ending: Vec::new(),
            received: Vec::new(),
            answers: 0,
            gone: false,
            server: Some(Served {
                connection: Connection::new(self.config.clone(), since),
                app: App::default(),
                since,
                inbox: Vec::new(),
                eof: false,
                shut_down: false,
                alarm: None,
            }),
            dies: (plan == Plan::Vanishing).then(|| since.after(lives)),
            unread: 0,
            arrivals: [since; 2],
        });
        self.later(since, id, Happening::Turn);
        self.later(since, id, Happening::Alarm);
    }

    fn turn(&mut self, id: usize) {
        if self.clients[id].gone {
            return;
        }
        self.next_request(id);
        match self.clients[id].plan {
            Plan::Polite | Plan::Vanishing | Plan::Silent | Plan::Deaf => return,
            Plan::SlowHead | Plan::SlowBody => self.send_bytes(id, false, b"x"),
            Plan::Sipping => {
                let unread = &mut self.clients[id].unread;
                *unread = unread.saturating_sub(100);
                self.attend(id);
            }
        }
        self.later(self.now.after(SECOND), id, Happening::Turn);
    }

    fn next_request(&mut self, id: usize) {
        if let Some((request, ending)) = self.clients[id].script.pop_front() {
            self.clients[id].ending = ending;
            self.send_bytes(id, false, &request);
        }
    }

    fn at_client(&mut self, id: usize, packet: Packet) {
        let client = &mut self.clients[id];
        match packet {
            Packet::Bytes(_) if matches!(client.plan, Plan::Deaf | Plan::Sipping) => {}
            Packet::Bytes(bytes) => {
                client.unread -= bytes.len();
                client.received.extend(bytes);
                if !client.ending.is_empty() && client.received.ends_with(&client.ending) {
                    client.answers += 1;
                    client.received.clear();
                    self.next_request(id);
                }
                // The client's window has opened.
                self.attend(id);
            }
            Packet::End | Packet::Reset => {
                client.gone = true;
                self.send(id, false, Packet::End);
            }
        }
    }
}
