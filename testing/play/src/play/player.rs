//! Plays a session: input, output, time and actions, in the order that the bytes describe.

use super::http_actions;
use super::model::{Model, lent, next_bytes, unsent};
use super::settings::{self, Play};
use super::source::Source;
use super::websocket_frames;
use super::websocket_model::Terms;
use super::{Weigh, http_answers, http_input, websocket_actions, websocket_output};
use http::HeaderMap;
use portcullis::{CloseReason, Connection, Event, Events, Misuse, Tick};
use std::mem::size_of;
use std::sync::Arc;

/// The most steps of a session. Further bytes are not used.
const STEPS: usize = 400;
/// The most calls in a row that only do work.
const PAUSES: usize = 10_000;
/// The most calls in a row that do nothing.
const IN_VAIN: usize = 2;
const SECOND: u64 = 1_000_000_000;
/// Bytes of the smallest request.
const SMALLEST: u64 = 18;

struct Player<'b> {
    source: Source<'b>,
    connection: Connection,
    model: Model,
    now: Tick,
    /// Bytes that the attacker has not sent yet.
    wire: Vec<u8>,
    /// The most actions of the application at each event.
    reflexes: usize,
    scratch: Vec<u8>,
    lends: bool,
}

/// Plays `bytes`, and returns a trace of what could be seen.
pub(super) fn play(bytes: &[u8], looks: bool, weigh: Option<Weigh>) -> Vec<u64> {
    let mut source = Source::new(bytes);
    let play = settings::session(&mut source);
    let mut player = Player::new(source, play, looks);
    player.model.check(&mut player.connection);
    player.pull();
    player.go_on(weigh)
}

/// The same for websockets: most sessions begin with an accepted handshake.
pub(super) fn play_websocket(bytes: &[u8], looks: bool, weigh: Option<Weigh>) -> Vec<u64> {
    let mut source = Source::new(bytes);
    let play = settings::websocket_session(&mut source);
    let mut player = Player::new(source, play, looks);
    let terms = Terms::choose(&mut player.source, &player.model.config);
    player.model.terms = Some(terms);
    player.model.check(&mut player.connection);
    match player.source.below(8) {
        0 => {
            player.pull();
        }
        place => player.open(place < 4),
    }
    player.go_on(weigh)
}

/// The same for tunnels: most sessions begin with one that is accepted.
pub(super) fn play_tunnel(bytes: &[u8], looks: bool, weigh: Option<Weigh>) -> Vec<u64> {
    let mut source = Source::new(bytes);
    let play = settings::session(&mut source);
    let mut player = Player::new(source, play, looks);
    player.model.check(&mut player.connection);
    if player.source.below(8) > 0 {
        let head = player.source.one_of(&http_input::TUNNELS);
        player.tunnel(head);
    }
    player.pull();
    player.go_on(weigh)
}

/// Plays one action of the application.
fn act(connection: &mut Connection, source: &mut Source<'_>, model: &mut Model, now: Tick) {
    match model.terms {
        Some(_) => websocket_actions::act(connection, source, model, now),
        None => http_actions::act(connection, source, model, now),
    }
}

/// Times that may pass within a session, in nanoseconds.
const MOMENTS: [u64; 8] =
    [1, SECOND / 1000, SECOND / 100, SECOND / 3, SECOND, SECOND * 5, SECOND * 11, SECOND * 61];

/// The time of the next call. It is mostly the present. In a restless session it is sometimes
/// later, without a tick in between.
fn moment(source: &mut Source<'_>, model: &Model, now: &mut Tick) -> Tick {
    if model.restless && source.below(4) == 0 {
        *now = Tick::from_nanos(now.as_nanos().saturating_add(source.one_of(&MOMENTS)));
    }
    *now
}

impl<'b> Player<'b> {
    fn new(mut source: Source<'b>, play: Play, looks: bool) -> Self {
        // Leaves out the last centuries, in which deadlines become "never".
        let now = Tick::from_nanos(source.size() >> 4);
        let reflexes = source.below(4);
        let connection = Connection::new(Arc::clone(&play.config), now);
        let mut model = Model::new(play.config, &connection);
        model.looks = looks;
        model.restless = play.restless;
        let (wire, scratch, lends) = (Vec::new(), Vec::new(), play.lends);
        Player { source, connection, model, now, wire, reflexes, scratch, lends }
    }

    fn go_on(mut self, weigh: Option<Weigh>) -> Vec<u64> {
        for _ in 0..STEPS {
            if self.source.is_empty() {
                break;
            }
            let is_lent = self.lends && self.lend();
            self.step();
            if is_lent {
                self.take_back();
            }
        }
        match weigh {
            Some(weigh) if self.wire.len().is_multiple_of(2) => self.weighed(weigh),
            _ => self.left_alone(),
        }
    }

    /// The driver lends the connection a buffer, valid or not, or does not lend one.
    fn lend(&mut self) -> bool {
        let capacity = self.source.one_of(&[None, Some(512), Some(4096), Some(4097), Some(0)]);
        let Some(capacity) = capacity else { return false };
        let before = self.connection.memory();
        self.connection.lend_buffer(Vec::with_capacity(capacity));
        let grown = self.connection.memory() - before;
        assert!(
            grown == 0 || grown == capacity && capacity <= 4096,
            "{grown} bytes of a lent buffer of {capacity} were taken"
        );
        // A buffer without memory is taken as well, and may grow.
        self.model.lent |= grown > 0 || capacity == 0;
        self.model.check(&mut self.connection);
        true
    }

    /// Takes the lent buffer back. A buffer with bytes stays with the connection.
    fn take_back(&mut self) {
        if self.source.below(8) == 7 {
            // The driver keeps attending.
            return;
        }
        let (before, waiting) = (self.connection.memory(), unsent(&mut self.connection));
        let buffer = self.connection.return_buffer();
        self.model.lent = false;
        assert!(buffer.is_empty(), "the returned buffer has bytes");
        assert!(buffer.capacity() <= 4096, "the returned buffer is too large");
        assert_eq!(self.connection.memory(), before - buffer.capacity(), "memory of a lent buffer");
        assert_eq!(unsent(&mut self.connection), waiting, "nothing lost");
        self.model.check(&mut self.connection);
    }

    /// Sends a handshake, and accepts it at once or after all events were pulled.
    fn open(&mut self, at_once: bool) {
        let mut wire = websocket_frames::HANDSHAKE.to_vec();
        let Player { connection, model, now, .. } = self;
        // Random limits may refuse it.
        let mut events = connection.receive(*now, &mut wire).expect("the connection reads");
        let mut newest = None;
        while let Some((connection, event)) = events.next() {
            model.event(&event);
            model.check(connection);
            if let Event::Request { stream, .. } = event {
                newest = Some(stream);
                if at_once {
                    websocket_actions::accept(
                        connection,
                        model,
                        *now,
                        stream,
                        &HeaderMap::new(),
                        false,
                    )
                    .expect("a valid handshake");
                }
            }
        }
        drop(events);
        if let Some(stream) = newest.filter(|_| !at_once) {
            websocket_actions::accept(connection, model, *now, stream, &HeaderMap::new(), false)
                .expect("a valid handshake");
        }
        self.model.check(&mut self.connection);
        self.pull();
    }

    /// Asks for a tunnel, and accepts it. What follows the head in the same read is the tunnel's.
    fn tunnel(&mut self, head: &[u8]) {
        let follows = self.source.one_of(&["", "x", "bytes of the tunnel"]);
        let mut wire = [head, follows.as_bytes()].concat();
        let Player { connection, model, now, source, .. } = self;
        // Random limits may refuse it.
        let at_once = source.below(2) == 0;
        let mut events = connection.receive(*now, &mut wire).expect("the connection reads");
        while let Some((connection, event)) = events.next() {
            model.event(&event);
            model.check(connection);
            if let Event::Request { stream, .. } = event
                && at_once
            {
                http_actions::begin_tunnel(connection, model, *now, stream);
            }
        }
        drop(events);
        if let Some(live) = model.live.as_ref().filter(|live| !live.tunnel) {
            let stream = live.id;
            http_actions::begin_tunnel(connection, model, *now, stream);
        }
        self.model.check(&mut self.connection);
        self.pull();
    }

    fn step(&mut self) {
        match self.source.below(16) {
            0..5 => self.feed(),
            5 => self.pull_some(),
            6 => {
                self.pull();
            }
            7..9 => self.pass_time(),
            9..11 => self.take(),
            11 if self.source.below(4) == 0 => self.end_of_input(),
            _ => {
                let now = self.moment();
                act(&mut self.connection, &mut self.source, &mut self.model, now);
            }
        }
    }

    /// The present, or a tick before it, which has to count as the present, or a later tick.
    fn moment(&mut self) -> Tick {
        let now = moment(&mut self.source, &self.model, &mut self.now);
        match self.source.below(32) {
            0 => Tick::from_nanos(now.as_nanos().saturating_sub(SECOND)),
            _ => now,
        }
    }

    /// Feeds some bytes, and pulls some or all events.
    fn feed(&mut self) {
        let count = self.source.size().max(1) as usize;
        while self.wire.len() < count.min(64) && !self.source.is_empty() {
            match self.model.terms {
                Some(_) => websocket_frames::write(&mut self.source, &mut self.wire),
                None => http_input::write(&mut self.source, &mut self.wire),
            }
        }
        let count = count.min(self.wire.len());
        self.scratch.clear();
        self.scratch.extend(self.wire.drain(..count));
        let now = self.moment();
        let events = self.source.byte();
        let before = (self.connection.status(), self.connection.memory());
        let limit = self.connection.receive_limit();
        let misuse = match self.connection.receive(now, &mut self.scratch) {
            Ok(pulled) => {
                let most = if events < 200 { usize::MAX } else { usize::from(events - 200) };
                let (source, model) = (&mut self.source, &mut self.model);
                run(pulled, source, model, &mut self.now, self.reflexes, most);
                None
            }
            Err(misuse) => Some(misuse),
        };
        if let Some(misuse) = misuse {
            assert_eq!(before, (self.connection.status(), self.connection.memory()));
            match misuse {
                Misuse::NotReading => {
                    assert!(!before.0.read, "refused input that it wanted")
                }
                Misuse::Overfed { .. } => assert!(self.scratch.len() > limit),
                other => panic!("input was refused with {other:?}"),
            }
            // As in a socket, refused bytes stay, or a part of them is read.
            let left = self.scratch.len().min(limit);
            self.wire.splice(..0, self.scratch.drain(..left));
        }
        self.model.check(&mut self.connection);
        if events < 200 {
            self.pull();
        }
    }

    /// Resumes held bytes until no events come. The application only watches.
    fn pull(&mut self) -> usize {
        let mut all = 0;
        // A pause for other connections ends by itself.
        for look in 0.. {
            assert!(look < PAUSES, "has_work: it stays true for ever");
            let expected = self.connection.status().resume;
            assert!(expected || !self.connection.status().has_work, "has_work without has_events");
            let events = self.connection.resume(self.now);
            let (source, model) = (&mut self.source, &mut self.model);
            let pulled = run(events, source, model, &mut self.now, 0, usize::MAX);
            assert!(expected || pulled == 0, "events, though has_events was false");
            self.model.check(&mut self.connection);
            all += pulled;
            if !self.connection.status().has_work {
                break;
            }
        }
        // `has_events` may be wrong once more without a call in between, but not for ever.
        for look in 0.. {
            if !self.connection.status().resume {
                break;
            }
            assert!(look < IN_VAIN, "has_events: it stays true, and no event comes");
            let events = self.connection.resume(self.now);
            let (source, model) = (&mut self.source, &mut self.model);
            all += run(events, source, model, &mut self.now, 0, usize::MAX);
            self.model.check(&mut self.connection);
        }
        self.model.check_waits(&mut self.connection);
        all
    }

    /// Resumes, and pulls only some events.
    fn pull_some(&mut self) {
        let most = self.source.below(4);
        let now = moment(&mut self.source, &self.model, &mut self.now);
        let events = self.connection.resume(now);
        run(events, &mut self.source, &mut self.model, &mut self.now, self.reflexes, most);
        self.model.check(&mut self.connection);
    }

    fn end_of_input(&mut self) {
        self.model.eof = true;
        let most = if self.source.below(2) == 0 { usize::MAX } else { 0 };
        let now = moment(&mut self.source, &self.model, &mut self.now);
        let events = self.connection.receive_eof(now);
        run(events, &mut self.source, &mut self.model, &mut self.now, self.reflexes, most);
        self.model.check(&mut self.connection);
    }

    fn pass_time(&mut self) {
        let now = self.now.as_nanos();
        let deadline = self.connection.deadline().map_or(now, |(at, _)| at.as_nanos());
        let then = match self.source.below(12) {
            0 => now,
            1 => now + 1,
            2 => now + SECOND / 1000,
            3 => now + SECOND,
            4 => now + 3600 * SECOND,
            5..8 => deadline.saturating_sub(1).max(now),
            8 => deadline.saturating_add(1).max(now),
            9 => now + SECOND * 4,
            _ => deadline.max(now),
        };
        self.tick(Tick::from_nanos(then));
    }

    fn tick(&mut self, then: Tick) {
        let before = (self.connection.status(), self.connection.deadline());
        self.model.note(format!("{before:?}"));
        self.now = self.now.max(then);
        self.connection.tick(then);
        self.model.note_drain(&self.connection);
        if before.1.is_none_or(|(at, _)| at > self.now) {
            let after = (self.connection.status(), self.connection.deadline());
            assert_eq!(before, after, "nothing expired, but something happened");
        }
        self.model.check(&mut self.connection);
        self.model.check_tick(&mut self.connection, self.now);
    }

    /// The peer takes some output.
    fn take(&mut self) {
        let count = self.source.size() as usize;
        let now = self.moment();
        self.take_some(count, now);
    }

    fn take_some(&mut self, count: usize, now: Tick) {
        let before = unsent(&mut self.connection);
        let next = next_bytes(&mut self.connection, count);
        self.model.note(&next);
        self.model.taken.extend_from_slice(&next);
        // The last bytes are gone before the close that may follow.
        self.model.wrote &= next.len() < before;
        self.connection.sent(now, count);
        if self.connection.status().closed().is_none() {
            assert_eq!(unsent(&mut self.connection), before - next.len(), "nothing lost");
        }
        self.model.check(&mut self.connection);
    }

    // ---- the end --------------------------------------------------------------------------------

    /// Only time passes. The application answers what it owes. The peer does nothing, except that a
    /// websocket's peer may still take output. After a bounded number of steps the connection has
    /// closed. The application closes its websocket if nothing else will.
    fn left_alone(mut self) -> Vec<u64> {
        let patient = self.source.below(2) == 0;
        let takes = self.model.terms.is_some() && self.source.below(2) == 0;
        // Each held request may be answered, and may wait for a few deadlines.
        let most = 16 + 4 * self.model.config.receive_buffer_limit() / SMALLEST;
        for _ in 0..most {
            self.pull();
            if takes {
                self.take_some(usize::MAX, self.now);
                self.pull();
            }
            if let Some(reason) = self.connection.status().closed() {
                return self.closed(reason);
            }
            let speaks = self.model.socket.as_ref().is_some_and(|socket| socket.speaks());
            let owes = self.model.live.is_some() || speaks;
            match self.connection.deadline() {
                Some((at, _)) if patient || !owes => self.tick(at),
                _ if self.model.live.is_some() => {
                    http_actions::answer(&mut self.connection, &mut self.model, self.now);
                }
                _ if speaks => {
                    websocket_actions::leave(&mut self.connection, &mut self.model, self.now)
                }
                deadline => panic!("deadline: open without a wait, next deadline {deadline:?}"),
            }
        }
        panic!("deadline: left alone, it never closed: {:?}", self.connection.status());
    }

    fn closed(mut self, reason: CloseReason) -> Vec<u64> {
        self.model.note(reason.label());
        let status = reason.status().map(|status| status.as_u16());
        let Model { taken, answers, dropped, socket, .. } = &self.model;
        match socket {
            Some(socket) => {
                let (before, frames) = taken.split_at(socket.start.min(taken.len()));
                http_answers::check(before, answers, *dropped, None);
                websocket_output::check(frames, socket, *dropped, reason);
            }
            None => http_answers::check(taken, answers, *dropped, status),
        }
        self.model.trace
    }

    /// Checks that the connection and the allocator agree about its memory.
    fn weighed(mut self, weigh: Weigh) -> Vec<u64> {
        if self.model.socket.as_ref().is_some_and(|socket| socket.deflates) {
            // Each part of a compressed message that was sent in parts keeps the whole alive.
            self.connection.sent(self.now, usize::MAX);
        }
        let told = self.connection.memory() - size_of::<Connection>();
        let lent = lent(&mut self.connection);
        let freed = weigh(self.connection);
        assert_eq!(
            freed + lent,
            told,
            "memory: {freed} bytes of heap were freed, {lent} bytes are lent"
        );
        self.model.trace
    }
}

/// Pulls at most `most` events. The application may act on each at once, at most `reflexes` times.
fn run(
    mut events: Events<'_, '_>,
    source: &mut Source<'_>,
    model: &mut Model,
    present: &mut Tick,
    reflexes: usize,
    most: usize,
) -> usize {
    let mut pulled = 0;
    while pulled < most {
        let Some((connection, event)) = events.next() else { break };
        model.event(&event);
        model.check(connection);
        if reflexes > 0 {
            for _ in 0..source.below(reflexes + 1) {
                let now = moment(source, model, present);
                act(connection, source, model, now);
            }
            let now = *present;
            match source.below(16) {
                0 => assert!(
                    connection.receive(now, &mut [b'x']).is_err(),
                    "input was accepted while events were pulled"
                ),
                1 => assert!(connection.resume(now).next().is_none(), "events within events"),
                2 => {
                    assert!(connection.receive_eof(now).next().is_none(), "events within events");
                    model.eof = true;
                }
                _ => {}
            }
            model.check(connection);
        }
        pulled += 1;
    }
    pulled
}
