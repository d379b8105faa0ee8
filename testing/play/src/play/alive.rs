//! The invariant `alive`: a peer that keeps every minimum is never closed for time, whatever the
//! cuts, lumps and pauses.
//!
//! A [`Peer`](super::peer) and an application that takes its time talk over a connection. The
//! driver is a good one: it exchanges bytes with the system before time passes. The system's
//! buffers accept and report bytes in lumps, and sometimes the whole process is stopped.

use super::chance::Chance;
use super::link::Link;
use super::model::{next_bytes, pattern};
use super::peer::{Exchange, NEVER, Peer};
use bytes::Bytes;
use http::StatusCode;
use portcullis::websocket::{Handshake, Message, Options};
use portcullis::{
    Begun, BodyLength, Builder, Config, Connection, Event, Events, Sent, StreamId, Tick, Timer,
};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;
/// A deadline that is seen this late shows that the process was stopped.
const LATE: u64 = SECOND;
/// The most steps of one life.
const STEPS: usize = 100_000;
/// The least that a system buffers for a peer. Byte by byte, an answer would take too many steps.
const SYSTEM: u64 = 512;

/// The settings that the peer has to keep.
fn settings(chance: &mut Chance<'_>, is_measured: bool) -> Builder {
    let mut builder = Config::builder()
        .request_body_limit(None)
        .requests_per_connection(1000)
        .receive_buffer_limit(chance.between(1024, 70_000))
        .send_buffer_limit(chance.between(1024, 70_000));
    let mut seconds = |name: &str, low: u64, high: u64| {
        let value = format!("{}ms", chance.between(low * 1000, high * 1000));
        builder = builder.clone().set(name, &value).expect("a time");
    };
    seconds("tls_handshake_timeout", 5, 60);
    seconds("keep_alive_timeout", 1, 20);
    seconds("request_head_timeout", 1, 20);
    seconds("request_body_grace", 1, 10);
    seconds("request_body_silence", 1, 60);
    seconds("response_grace", 1, 10);
    seconds("response_silence", 1, 60);
    seconds("websocket_ping_interval", 1, 30);
    seconds("websocket_pong_timeout", 2, 30);
    let (body, response) = (chance.between(100, 5000), chance.between(100, 5000));
    let least = if is_measured { response } else { response.max(1000) };
    builder.request_body_rate(body).response_rate(least)
}

/// How far the application has come with an exchange.
#[derive(Debug)]
struct Service {
    exchange: Exchange,
    stream: StreamId,
    /// Bytes that it has asked for and not been given.
    wanted: u64,
    received: u64,
    ended: bool,
    begun: bool,
    sent: u64,
    /// The application was told of a reset.
    reset: bool,
    /// Not all content was accepted: the application waits for `Writable`.
    cut: bool,
    /// Messages that are to be sent back.
    echoes: VecDeque<Bytes>,
    is_websocket: bool,
}

struct World<'b, L> {
    chance: Chance<'b>,
    now: u64,
    server: Connection,
    peer: Peer<L>,
    exchanges: Vec<Exchange>,
    service: Option<Service>,
    /// When the application acts next.
    serve_at: u64,
    /// The longest pause of the application.
    leisure: u64,
    /// Bytes that the system has received and the driver has not read.
    inbox: VecDeque<u8>,
    /// Bytes that the system has accepted and the peer has not taken.
    outbox: VecDeque<u8>,
    /// How many bytes the system buffers, and from how much room on it reports it.
    capacity: usize,
    lump: usize,
    /// The most bytes of a read.
    read: u64,
    /// The system reports what the peer has taken.
    is_measured: bool,
    lends: bool,
    /// Sometimes the process is stopped, until this time.
    stalls: bool,
    still_until: u64,
    /// The connection was closed while the peer was between two requests.
    over: bool,
    /// Until when a deadline that came late is put off.
    put_off: u64,
}

/// Plays one life of a connection. `link` is the peer's side of its transport, and `transport` adds
/// the server's side for TLS.
pub fn alive<L: Link>(bytes: &[u8], link: L, transport: impl FnOnce(Builder) -> Arc<Config>) {
    let mut chance = Chance::new(bytes);
    let is_measured = !chance.one_in(3);
    let config = transport(settings(&mut chance, is_measured));
    let count = chance.between(1, 4);
    let exchanges: Vec<_> =
        (1..=count).map(|number| Exchange::choose(&mut chance, number == count)).collect();
    let is_short = exchanges.iter().all(|exchange| exchange.is_short());
    let is_prompt = chance.one_in(4);
    let haste = if is_prompt { LATE / 4 } else { NEVER };
    let peer = Peer::new(link, &config, (haste, is_measured), &exchanges, &mut chance);
    let mut server = Connection::new(Arc::clone(&config), Tick::ZERO);
    let (capacity, lump) = if is_measured {
        server.acknowledged(Tick::ZERO, 0);
        let lump = 1 + chance.size(64 << 10);
        // While the process is stopped, the peer lives on the bytes that the system buffers.
        let least = if is_prompt { config.response_rate() * 50 } else { 0 };
        (lump + SYSTEM + least + chance.size(500_000), lump)
    } else {
        // A driver that cannot ask the system sees only lumps, and does not see that a peer takes
        // one slowly.
        let least = config.response_rate() * config.response_silence().as_millis() as u64 / 2000;
        let lump = chance.between(SYSTEM / 8, least.min(64 << 10));
        (lump, lump)
    };
    let world = World {
        now: 0,
        server,
        peer,
        exchanges,
        service: None,
        serve_at: NEVER,
        leisure: chance.one_of(&[1, SECOND / 10, 40 * SECOND]),
        inbox: VecDeque::new(),
        outbox: VecDeque::new(),
        capacity: capacity as usize,
        lump: lump as usize,
        read: chance.one_of(if is_short { &[1, 40] } else { &[400, 4000, 100_000, 100_000] }),
        is_measured,
        lends: chance.one_in(2),
        stalls: is_prompt && is_measured,
        still_until: 0,
        over: false,
        put_off: 0,
        chance,
    };
    world.live();
}

/// Shows a life that failed.
impl<L> fmt::Debug for World<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .field("status", &self.server.status())
            .field("service", &self.service)
            .field("serve_at", &self.serve_at)
            .field("inbox", &self.inbox.len())
            .field("outbox", &self.outbox.len())
            .field(
                "last",
                &self.outbox.iter().rev().take(30).rev().map(|it| *it as char).collect::<String>(),
            )
            .field("system", &(self.capacity, self.lump, self.is_measured))
            .field("still_until", &self.still_until)
            .field("peer", &self.peer)
            .field("config", self.server.config())
            .finish()
    }
}

impl<L: Link> World<'_, L> {
    fn tick(&self) -> Tick {
        Tick::from_nanos(self.now)
    }

    fn live(mut self) {
        for _ in 0..STEPS {
            self.step();
            if self.over {
                return;
            }
            let done =
                self.peer.is_done() && self.service.as_ref().is_none_or(|it| it.is_websocket);
            if done && self.outbox.is_empty() {
                return;
            }
        }
        panic!("alive: the life never ends: {self:?}");
    }

    /// Lets the next thing happen.
    fn step(&mut self) {
        let deadline = self.server.deadline().map_or(NEVER, |(at, _)| at.as_nanos());
        // While the process is stopped, only the peer acts.
        let ours = self.serve_at.min(deadline.max(self.put_off)).max(self.still_until);
        let next = ours.min(self.peer.send_at).min(self.peer.take_at);
        assert_ne!(next, NEVER, "alive: nothing will ever happen: {self:?}");
        self.now = self.now.max(next);
        if self.peer.send_at <= self.now {
            let bytes = self.peer.send(self.now, &mut self.chance);
            self.inbox.extend(bytes);
        }
        if self.peer.take_at <= self.now {
            let waits = self.outbox.len() as u64;
            let count = self.peer.take(waits, self.now, &mut self.chance) as usize;
            let bytes: Vec<u8> = self.outbox.drain(..count).collect();
            self.peer.hear(&bytes, self.now, &mut self.chance);
        }
        if self.now >= self.still_until {
            self.drive();
            // A handshake has one deadline, whichever side is slow.
            if self.stalls && !self.peer.is_shaking_hands() && self.chance.one_in(16) {
                self.still_until = self.now + self.chance.size(40 * SECOND);
            }
        }
        let waits = !self.outbox.is_empty();
        self.peer.waiting(waits, self.now, &mut self.chance);
    }

    // ---- the driver -----------------------------------------------------------------------------

    /// Exchanges bytes with the system first, then runs the application, then lets time pass.
    fn drive(&mut self) {
        if self.lends {
            self.server.lend_buffer(Vec::with_capacity(2048));
        }
        self.exchange_bytes();
        if self.service.as_ref().is_some_and(|service| service.reset) {
            self.serve_at = NEVER;
        }
        if self.serve_at <= self.now {
            self.serve();
            self.exchange_bytes();
        }
        let now = self.tick();
        let due = self.server.deadline().filter(|(at, _)| *at <= now);
        if let Some((at, timer)) = due
            && !self.is_put_off(at)
        {
            if self.is_measured && self.server.unacknowledged() > 0 {
                self.server.acknowledged(now, self.outbox.len() as u64);
            }
            self.server.tick(now);
            let open = self.server.status().is_open();
            self.over |= timer == Timer::KeepAlive && !open && self.peer.is_idle();
            self.exchange_bytes();
        }
        drop(self.server.return_buffer());
        let status = self.server.status();
        let reset = self.service.as_ref().is_some_and(|service| service.reset);
        let open = status.is_open() && !reset;
        assert!(open || self.over, "alive: closed: {self:?}");
        let due = self.server.deadline().filter(|(at, _)| *at <= now && self.put_off <= self.now);
        assert!(due.is_none() || self.over, "deadline: {due:?} is still set at {now:?}");
    }

    /// Whether a deadline that came while the process was stopped is put off. It says little of the
    /// peer, which gets as long again to show itself.
    fn is_put_off(&mut self, at: Tick) -> bool {
        if self.now > at.as_nanos() + LATE && self.put_off <= at.as_nanos() {
            self.put_off = self.now + LATE;
        }
        self.now < self.put_off
    }

    /// Reads and writes until nothing moves.
    fn exchange_bytes(&mut self) {
        loop {
            let moved = self.read() | self.resume() | self.write();
            if !moved {
                return;
            }
        }
    }

    fn read(&mut self) -> bool {
        let most = self.server.receive_limit().min(self.inbox.len());
        if most == 0 || !self.server.status().read {
            return false;
        }
        let count = (1 + self.chance.below(self.read)).min(most as u64) as usize;
        let mut bytes: Vec<u8> = self.inbox.drain(..count).collect();
        let events = self.server.receive(Tick::from_nanos(self.now), &mut bytes);
        let events = events.expect("the connection reads");
        told(events, &mut self.service, &self.exchanges, &mut self.serve_at, self.now);
        true
    }

    fn resume(&mut self) -> bool {
        if !self.server.status().resume {
            return false;
        }
        let events = self.server.resume(Tick::from_nanos(self.now));
        told(events, &mut self.service, &self.exchanges, &mut self.serve_at, self.now) > 0
    }

    fn write(&mut self) -> bool {
        let room = self.capacity - self.outbox.len();
        if !self.server.status().write || room < self.lump {
            return false;
        }
        let bytes = next_bytes(&mut self.server, room);
        self.server.sent(Tick::from_nanos(self.now), bytes.len());
        self.outbox.extend(&bytes);
        !bytes.is_empty()
    }

    // ---- the application ------------------------------------------------------------------------

    /// Runs the application, which then takes its time.
    fn serve(&mut self) {
        self.serve_at = NEVER;
        let now = self.tick();
        let Some(service) = &mut self.service else { return };
        let World { server, chance, .. } = self;
        if service.serve(server, now, chance) {
            self.service = None;
            return;
        }
        if service.is_busy() {
            self.serve_at = self.now + chance.size(self.leisure);
        }
    }
}

impl Service {
    /// Whether the application can act without an event.
    fn is_busy(&self) -> bool {
        if self.is_websocket {
            return self.wanted == 0 || !self.echoes.is_empty() && !self.cut;
        }
        let Exchange { download, is_early, .. } = self.exchange;
        let asks = !self.ended && self.wanted == 0;
        let answers = self.begun && self.sent < download && !self.cut;
        asks || answers || !self.begun && is_early || self.ended && !self.cut
    }

    /// Takes the next step; true if everything is done.
    fn serve(&mut self, server: &mut Connection, now: Tick, chance: &mut Chance<'_>) -> bool {
        if self.is_websocket {
            if self.wanted == 0 {
                super::read_more(server.stream(now, self.stream), 1).expect("the stream is open");
                self.wanted = 1;
            }
            if let Some(message) = self.echoes.front_mut() {
                let sent = server.stream(now, self.stream).send_message(false, message);
                self.cut = sent.expect("the stream is open") == Sent::Part;
                if !self.cut {
                    self.echoes.pop_front();
                }
            }
            return false;
        }
        if !self.ended && self.wanted == 0 {
            let bytes = 1 + chance.size(100_000);
            super::read_more(server.stream(now, self.stream), bytes).expect("the stream is open");
            self.wanted = bytes;
        }
        let Exchange { download, is_declared, is_early, .. } = self.exchange;
        if !self.begun && (self.ended || is_early) {
            let length = match is_declared {
                true => BodyLength::Known(download),
                false => BodyLength::Unknown,
            };
            let begun = server.stream(now, self.stream).respond(StatusCode::OK, [], length);
            assert_eq!(begun, Ok(Begun::Open));
            self.begun = true;
        }
        if self.begun && self.sent < download {
            let most = 1 + chance.size(download - self.sent);
            let mut data = Bytes::from_static(pattern(self.sent, most.min(download - self.sent)));
            let before = data.len();
            let sent = server.stream(now, self.stream).send(&mut data).expect("the stream is open");
            self.sent += (before - data.len()) as u64;
            self.cut = sent == Sent::Part;
        }
        let done = self.begun && self.ended && self.sent == download;
        if done {
            server.stream(now, self.stream).finish(None).expect("all of it is sent");
        }
        done
    }
}

/// Tells the application of the events, and returns how many there were.
fn told(
    mut events: Events<'_, '_>,
    service: &mut Option<Service>,
    exchanges: &[Exchange],
    serve_at: &mut u64,
    now: u64,
) -> usize {
    let mut count = 0;
    let tick = Tick::from_nanos(now);
    while let Some((server, event)) = events.next() {
        count += 1;
        // The application acts soon, unless it takes its time.
        *serve_at = (*serve_at).min(now);
        match event {
            Event::Request { stream, head } => {
                let exchange = exchanges[stream.as_u64() as usize - 1];
                let is_websocket = exchange.messages.is_some();
                if is_websocket {
                    let handshake = Handshake::read(&head).expect("a valid handshake");
                    let accepted = handshake.accept(None, None).expect("no subprotocol was chosen");
                    server
                        .stream(tick, stream)
                        .accept_websocket(&accepted, None, Options::default())
                        .expect("a valid handshake");
                }
                *service = Some(Service {
                    exchange,
                    stream,
                    wanted: 0,
                    received: 0,
                    ended: is_websocket,
                    begun: false,
                    sent: 0,
                    reset: false,
                    cut: false,
                    echoes: VecDeque::new(),
                    is_websocket,
                });
            }
            Event::Data { data, .. } => {
                let service = service.as_mut().expect("a request");
                let expected = pattern(service.received, data.len() as u64);
                assert!(*data == *expected, "content differs from what was sent");
                service.received += data.len() as u64;
                // Credit ends with the event.
                service.wanted = 0;
            }
            Event::End { .. } => {
                let service = service.as_mut().expect("a request");
                assert_eq!(service.received, service.exchange.upload, "content is missing");
                service.ended = true;
            }
            Event::Message { message, .. } => {
                let Message::Binary(bytes) = message else {
                    panic!("a text message, but the peer sent binary ones")
                };
                let service = service.as_mut().expect("a websocket");
                service.wanted -= 1;
                service.echoes.push_back(Bytes::copy_from_slice(bytes));
            }
            Event::Writable { .. } => service.as_mut().expect("an answer").cut = false,
            Event::Reset { .. } => service.as_mut().expect("a request").reset = true,
            other => panic!("{other:?} at {tick:?}"),
        }
    }
    count
}
