//! A live peer: it just keeps every minimum of a configuration. Its network cuts its bytes,
//! delivers them in lumps, and pauses as long as allowed.
//!
//! In: what the connection has sent. Out: bytes for the connection, at times of its own.

use super::chance::Chance;
use super::link::Link;
use super::model::pattern;
use super::websocket_frames::{self, BINARY, CONTINUATION, FIN, HANDSHAKE, PING, PONG};
use portcullis::Config;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// The time of something that will not happen.
pub(super) const NEVER: u64 = u64::MAX;
const SECOND: u64 = 1_000_000_000;
/// A lump of the network.
const LUMP: u64 = 64 << 10;
/// More bytes than the framing around one unit of content has.
const FRAMING: u64 = 64;

/// A minimum rate with its grace and silence, in nanoseconds. The peer keeps all of them with a
/// little to spare.
#[derive(Clone, Copy, Debug)]
struct Minimum {
    grace: u64,
    silence: u64,
    rate: u64,
}

/// The minimums of a configuration.
#[derive(Clone, Copy, Debug)]
struct Minimums {
    handshake: u64,
    idle: u64,
    head: u64,
    upload: Minimum,
    download: Minimum,
    ping: u64,
    pong: u64,
}

/// `time` in nanoseconds, with a tenth to spare.
fn most(time: Duration) -> u64 {
    time.as_nanos() as u64 / 10 * 9
}

impl Minimums {
    /// Limits pauses to `haste`, for a peer of a process that may be stopped.
    fn of(config: &Config, haste: u64, is_measured: bool) -> Self {
        // If the driver cannot tell what the peer has taken, pauses on both sides of an answer
        // count.
        let idle = most(config.keep_alive_timeout()) / 2;
        let haste = if is_measured { haste } else { haste.min(idle) };
        let most = |time: Duration| most(time).min(haste);
        Minimums {
            handshake: most(config.tls_handshake_timeout()),
            idle: most(config.keep_alive_timeout()),
            head: most(config.request_head_timeout()),
            upload: Minimum {
                grace: most(config.request_body_grace()),
                silence: most(config.request_body_silence()),
                rate: config.request_body_rate(),
            },
            download: Minimum {
                grace: most(config.response_grace()),
                silence: most(config.response_silence()),
                rate: config.response_rate(),
            },
            ping: config.websocket_ping_interval().map_or(NEVER / 4, most),
            pong: config.websocket_pong_timeout().map_or(NEVER / 4, most),
        }
    }
}

/// One request and its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    /// Bytes of content.
    pub(super) upload: u64,
    /// The size of its chunks, unless the length is declared.
    chunk: Option<u64>,
    pub(super) download: u64,
    /// The answer has a declared length.
    pub(super) is_declared: bool,
    /// The answer begins before the content is complete.
    pub(super) is_early: bool,
    /// The request asks for a websocket, and this many messages follow on it.
    pub(super) messages: Option<u64>,
}

impl Exchange {
    pub(super) fn choose(chance: &mut Chance<'_>, is_last: bool) -> Self {
        let upload = if chance.one_in(3) { 0 } else { chance.size(40_000) };
        let messages = is_last && chance.one_in(2);
        Exchange {
            upload: if messages { 0 } else { upload },
            chunk: chance.one_in(2).then(|| 1 + chance.size(5_000)),
            download: chance.size(100_000),
            is_declared: chance.one_in(2),
            is_early: chance.one_in(3),
            messages: messages.then(|| chance.between(1, 12)),
        }
    }

    /// Short enough to come byte by byte.
    pub(super) fn is_short(&self) -> bool {
        self.upload < 2000 && self.messages.is_none()
    }

    fn head(&self) -> Vec<u8> {
        let framing = match (self.messages, self.chunk, self.upload) {
            (Some(_), ..) => return HANDSHAKE.to_vec(),
            (_, _, 0) => return b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            (_, Some(_), _) => "Transfer-Encoding: chunked".to_owned(),
            (_, None, length) => format!("Content-Length: {length}"),
        };
        format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").into_bytes()
    }

    fn content(&self) -> Vec<u8> {
        let content = pattern(0, self.upload);
        let Some(size) = self.chunk else { return content.to_vec() };
        let mut wire = Vec::new();
        for chunk in content.chunks(size as usize) {
            wire.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.extend(chunk);
            wire.extend(b"\r\n");
        }
        wire.extend(b"0\r\n\r\n");
        wire
    }
}

/// How a part of the input is sent.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// Completely within this time after its first byte, in this many pieces.
    Within(u64, u64),
    /// At the minimum rate at least; this many of its bytes are content.
    Content(Minimum, u64),
}

/// A part of the input. It becomes bytes when its turn has come.
struct Part {
    plaintext: Vec<u8>,
    pace: Pace,
    /// The longest time before it begins.
    before: u64,
    /// When it begins, once its turn has come.
    at: u64,
}

impl Part {
    fn new(plaintext: Vec<u8>, pace: Pace, before: u64) -> Self {
        Part { plaintext, pace, before, at: NEVER }
    }
}

/// A part that is being sent.
struct Sending {
    wire: VecDeque<u8>,
    pace: Pace,
    began: u64,
    sent: u64,
    /// The rate in bytes per second that keeps the minimum, with framing.
    rate: u64,
}

/// Reading: how much output was taken, and since when it waits.
struct Taking {
    since: u64,
    taken: u64,
}

pub(super) struct Peer<L> {
    link: L,
    minimums: Minimums,
    /// The driver can tell what the peer has taken. Otherwise it only sees whole lumps go.
    is_measured: bool,
    exchanges: VecDeque<Exchange>,
    /// Bytes that the peer hands to its transport at once.
    write: usize,
    queue: VecDeque<Part>,
    /// The pong for the newest ping, which goes before the queue. It replaces pongs to earlier
    /// pings that have not begun (RFC 6455 5.5.3).
    pong: Option<Part>,
    sending: Option<Sending>,
    taking: Option<Taking>,
    /// The received part of the answer to the first exchange.
    answer: Vec<u8>,
    /// The messages on its websocket that have not come back yet, if it has a websocket.
    echoes: Option<VecDeque<Vec<u8>>>,
    messages: u64,
    pub(super) send_at: u64,
    pub(super) take_at: u64,
}

impl<L> fmt::Debug for Peer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Peer { sending, taking, .. } = self;
        let sending =
            sending.as_ref().map(|it| (it.pace, it.began, it.sent, it.wire.len(), it.rate));
        f.debug_struct("Peer")
            .field("exchanges", &self.exchanges)
            .field("queue", &self.queue.len())
            .field("pace, began, sent, left, rate", &sending)
            .field("since, taken", &taking.as_ref().map(|it| (it.since, it.taken)))
            .field("answer", &self.answer.len())
            .field("echoes", &self.echoes.as_ref().map(VecDeque::len))
            .field("messages", &self.messages)
            .field("at", &(self.send_at, self.take_at))
            .finish()
    }
}

impl<L: Link> Peer<L> {
    pub(super) fn new(
        link: L,
        config: &Config,
        (haste, is_measured): (u64, bool),
        exchanges: &[Exchange],
        chance: &mut Chance<'_>,
    ) -> Self {
        let mut peer = Peer {
            link,
            minimums: Minimums::of(config, haste, is_measured),
            is_measured,
            exchanges: exchanges.iter().copied().collect(),
            // Records that bring next to nothing are a flood, at any rate.
            write: 16 + chance.size(16_384) as usize,
            queue: VecDeque::new(),
            pong: None,
            sending: None,
            taking: None,
            answer: Vec::new(),
            echoes: None,
            messages: 0,
            send_at: NEVER,
            take_at: NEVER,
        };
        peer.go_on(0, chance);
        peer
    }

    pub(super) fn is_done(&self) -> bool {
        let says_nothing = self.queue.is_empty() && self.pong.is_none() && self.sending.is_none();
        self.exchanges.is_empty() && says_nothing
    }

    /// Whether the peer is between two requests, and has not begun the next one. A server may then
    /// close if the system has held its answer for long.
    pub(super) fn is_idle(&self) -> bool {
        self.sending.is_none() && self.echoes.is_none()
    }

    pub(super) fn is_shaking_hands(&self) -> bool {
        self.link.is_shaking_hands()
    }

    // ---- sending --------------------------------------------------------------------------------

    /// Decides what to send next, if nothing is being sent.
    fn go_on(&mut self, now: u64, chance: &mut Chance<'_>) {
        if self.sending.is_some() || self.send_at != NEVER {
            return;
        }
        let Minimums { handshake, .. } = self.minimums;
        let flight = self.link.flight();
        if !flight.is_empty() {
            let pieces = chance.between(1, 4);
            let sending = Sending {
                wire: flight.into(),
                pace: Pace::Within(handshake / 4, pieces),
                began: NEVER,
                sent: 0,
                rate: 0,
            };
            self.sending = Some(sending);
            self.send_at = now + chance.below(handshake / 8);
            return;
        }
        if self.link.is_shaking_hands() {
            return;
        }
        if self.queue.is_empty() {
            self.plan(chance);
        }
        if let Some(part) = self.pong.as_mut().or(self.queue.front_mut()) {
            if part.at == NEVER {
                part.at = now + chance.below(part.before);
            }
            self.send_at = part.at.max(now);
        }
    }

    /// Turns the next part into bytes.
    fn begin(&mut self) -> Option<Sending> {
        let part = self.pong.take().or_else(|| self.queue.pop_front())?;
        let mut wire = Vec::new();
        for piece in part.plaintext.chunks(self.write) {
            wire.extend(self.link.seal(piece));
        }
        let rate = match part.pace {
            Pace::Within(..) => 0,
            Pace::Content(Minimum { rate, .. }, content) => {
                rate * (wire.len() as u64) / content + rate / 8 + 1
            }
        };
        Some(Sending { wire: wire.into(), pace: part.pace, began: NEVER, sent: 0, rate })
    }

    /// Plans the next request, if the last one is answered, or the next message.
    fn plan(&mut self, chance: &mut Chance<'_>) {
        let Minimums { idle, head, upload, ping, pong, .. } = self.minimums;
        let Some(exchange) = self.exchanges.front() else { return };
        if let Some(echoes) = &mut self.echoes {
            if self.messages == 0 {
                return;
            }
            self.messages -= 1;
            let message = pattern(0, 2 + chance.size(40_000)).to_vec();
            let silence = upload.silence.min(ping + pong);
            let pace = match message.len() as u64 {
                length @ 200.. => Pace::Content(Minimum { silence, ..upload }, length),
                _ => Pace::Within(upload.grace.min(silence), chance.between(1, 3)),
            };
            let mut plaintext = Vec::new();
            let fragment = 1 + chance.between(message.len() as u64 / 8, 70_000) as usize;
            let last = message.len().div_ceil(fragment) - 1;
            for (place, payload) in message.chunks(fragment).enumerate() {
                let first = if place == 0 { BINARY } else { CONTINUATION };
                let fin = if place == last { FIN } else { 0 };
                websocket_frames::put(&mut plaintext, fin | first, [1, 2, 3, 4], payload);
            }
            echoes.push_back(message);
            let before = if chance.one_in(4) { 3 * ping.min(100 * SECOND) } else { SECOND / 8 };
            self.queue.push_back(Part::new(plaintext, pace, before));
        } else if self.answer.is_empty() && self.messages == 0 {
            // The peer waits until the answer is complete.
            self.messages = 1;
            let (pieces, plaintext) = (chance.between(1, 5), exchange.head());
            let pace = Pace::Within(head, pieces);
            self.queue.push_back(Part::new(plaintext, pace, idle));
            if exchange.upload > 0 {
                let pace = Pace::Content(upload, exchange.upload);
                let plaintext = exchange.content();
                self.queue.push_back(Part::new(plaintext, pace, upload.grace));
            }
        }
    }

    /// The next bytes that the network delivers to the connection.
    pub(super) fn send(&mut self, now: u64, chance: &mut Chance<'_>) -> Vec<u8> {
        self.send_at = NEVER;
        if self.sending.is_none() {
            self.sending = self.begin();
        }
        let Some(sending) = &mut self.sending else { return Vec::new() };
        if sending.began == NEVER {
            sending.began = now;
        }
        let left = sending.wire.len() as u64;
        let (count, pause) = match sending.pace {
            Pace::Within(time, pieces) => {
                let count = (sending.sent + left).div_ceil(pieces);
                (count, chance.below(time / pieces))
            }
            Pace::Content(minimum, _) => {
                let pause = chance.size(minimum.silence);
                // These bytes pay for the pause after them. The time before them was grace.
                let time = u128::from(now - sending.began + minimum.grace + pause);
                let owed = (time * u128::from(sending.rate) / u128::from(SECOND)) as u64;
                let owed = (owed + FRAMING).saturating_sub(sending.sent);
                (owed.max(chance.size(LUMP)), pause)
            }
        };
        let count = count.clamp(1, left.max(1)).min(left);
        sending.sent += count;
        let bytes = sending.wire.drain(..count as usize).collect();
        if sending.wire.is_empty() {
            self.sending = None;
            self.go_on(now, chance);
        } else {
            self.send_at = now + pause;
        }
        bytes
    }

    // ---- taking ---------------------------------------------------------------------------------

    /// Tells the peer whether output waits for it.
    pub(super) fn waiting(&mut self, waits: bool, now: u64, chance: &mut Chance<'_>) {
        match (&self.taking, waits) {
            (None, true) => {
                self.taking = Some(Taking { since: now, taken: 0 });
                let Minimum { grace, silence, .. } = self.minimums.download;
                self.take_at = now + chance.size(self.patience(grace.min(silence)));
            }
            (Some(_), false) => (self.taking, self.take_at) = (None, NEVER),
            _ => {}
        }
    }

    /// The longest pause in taking, so that a handshake or a pong is not late.
    fn patience(&self, most: u64) -> u64 {
        if self.link.is_shaking_hands() {
            return most.min(self.minimums.handshake / 8).min(self.minimums.idle / 4);
        }
        // The first ping may follow the 101, before any of that was taken.
        match self.exchanges.front() {
            Some(Exchange { messages: Some(_), .. }) => most.min(self.minimums.pong / 3),
            _ => most,
        }
    }

    /// How many of the waiting bytes the peer takes.
    pub(super) fn take(&mut self, waits: u64, now: u64, chance: &mut Chance<'_>) -> u64 {
        let Minimum { silence, rate, .. } = self.minimums.download;
        let pause = chance.size(self.patience(silence));
        let Some(taking) = &mut self.taking else { return 0 };
        let paid_after = |taken: u64| {
            let time = u128::from(taken) * u128::from(SECOND) / u128::from(rate);
            taking.since.saturating_add(u64::try_from(time).unwrap_or(NEVER))
        };
        let time = u128::from(now + pause - taking.since);
        let owed = (time * u128::from(rate) / u128::from(SECOND)) as u64 + 1;
        let owed = owed.saturating_sub(taking.taken).max(chance.size(LUMP));
        let count = if self.is_measured { owed.clamp(1, waits) } else { waits };
        taking.taken += count;
        // If there are too few bytes to take, the peer comes back earlier.
        let paid = paid_after(taking.taken).max(now);
        self.take_at = (now + pause).min(paid);
        count
    }

    /// Delivers bytes to the peer.
    pub(super) fn hear(&mut self, bytes: &[u8], now: u64, chance: &mut Chance<'_>) {
        let plaintext = self.link.open(bytes);
        self.answer.extend(plaintext);
        while self.understand(chance) {}
        self.go_on(now, chance);
    }

    /// Takes the next unit off the answer; false if it is incomplete.
    fn understand(&mut self, chance: &mut Chance<'_>) -> bool {
        if self.echoes.is_some() {
            return self.frame(chance);
        }
        let Some(exchange) = self.exchanges.front() else {
            assert!(self.answer.is_empty(), "bytes without a request");
            return false;
        };
        let Some(end) = self.answer.windows(4).position(|it| it == b"\r\n\r\n") else {
            return false;
        };
        if let Some(messages) = exchange.messages {
            assert!(self.answer.starts_with(b"HTTP/1.1 101 "));
            self.answer.drain(..end + 4);
            (self.echoes, self.messages) = (Some(VecDeque::new()), messages);
            return true;
        }
        let content = &self.answer[end + 4..];
        let whole = match exchange.is_declared {
            true => content.len() as u64 == exchange.download,
            false => content.ends_with(b"0\r\n\r\n"),
        };
        if whole {
            assert!(self.answer.starts_with(b"HTTP/1.1 200 "));
            self.answer.clear();
            self.messages = 0;
            self.exchanges.pop_front();
        }
        false
    }

    fn frame(&mut self, chance: &mut Chance<'_>) -> bool {
        let (length, head) = match *self.answer.as_slice() {
            [_, 126, high, low, ..] => (u16::from_be_bytes([high, low]) as usize, 4),
            [_, length @ 0..126, ..] => (usize::from(length), 2),
            [_, 127, _, _, _, _, a, b, c, d, ..] => (u32::from_be_bytes([a, b, c, d]) as usize, 10),
            _ => return false,
        };
        if self.answer.len() < head + length {
            return false;
        }
        let first = self.answer[0];
        let payload: Vec<u8> = self.answer.drain(..head + length).skip(head).collect();
        let echoes = self.echoes.as_mut().expect("the peer has a websocket");
        if first == PING {
            let (mut plaintext, Minimum { grace, silence, .. }) =
                (Vec::new(), self.minimums.upload);
            // Once it has begun, it is sent like any message.
            let pong = grace.min(silence).min(self.minimums.pong / 4);
            websocket_frames::put(&mut plaintext, PONG, [4, 3, 2, 1], &payload);
            let pace = Pace::Within(pong, chance.between(1, 3));
            match &mut self.pong {
                Some(pong) => pong.plaintext = plaintext,
                None => self.pong = Some(Part::new(plaintext, pace, pong)),
            }
            if self.sending.is_none() {
                // The pong goes before the next message.
                self.send_at = NEVER;
            }
            return true;
        }
        assert!(matches!(first & 0x7f, BINARY | CONTINUATION), "a frame of {first:#x}");
        let expected = echoes.front_mut().expect("more messages came back than were sent");
        assert!(expected.starts_with(&payload), "a message came back changed");
        expected.drain(..payload.len());
        if first & FIN != 0 {
            assert!(expected.is_empty());
            echoes.pop_front();
        }
        if echoes.is_empty() && self.messages == 0 {
            self.exchanges.pop_front();
        }
        true
    }
}
