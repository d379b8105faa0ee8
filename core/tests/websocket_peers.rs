//! Websockets whose application does not read, or whose peer has ended, is slow, or is asked for what it
//! still takes: what is read ahead, what is answered ahead, and who goes when.

mod play;

use bytes::Bytes;
use play::websocket_frames::{
    self as frames, BINARY, COMPRESSED, CONTINUATION, FIN, HANDSHAKE, PING, PONG,
};
use portcullis::websocket::{DeflateSettings, Handshake, INFLATED_AT_ONCE, Options};
use portcullis::{
    Builder, CloseReason, Config, Connection, Event, Sent, Status, StreamId, Tick, Timer,
};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Socket {
    connection: Connection,
    stream: StreamId,
    now: Tick,
}

impl Socket {
    /// Accepted at 0; nothing is asked for.
    fn new(config: Builder, options: Options, deflate: Option<DeflateSettings>) -> Socket {
        let now = Tick::ZERO;
        let mut connection = Connection::new(Arc::new(config.build().expect("valid")), now);
        let mut wire = HANDSHAKE.to_vec();
        let mut events = connection.receive(now, &mut wire).expect("it reads");
        let Some((_, Event::Request { stream, head })) = events.next() else { panic!("a request") };
        let handshake = Handshake::read(&head).expect("a good handshake");
        let accepted = handshake.accept(None, deflate.as_ref()).expect("nothing was chosen");
        drop(events);
        connection
            .stream(now, stream)
            .accept_websocket(&accepted, None, options)
            .expect("it may be one");
        let mut socket = Socket { connection, stream, now };
        socket.taken();
        socket.resume();
        socket
    }

    fn plain(config: Builder) -> Socket {
        Socket::new(config, Options::default(), None)
    }

    /// How many events came of it.
    fn receive(&mut self, wire: &[u8]) -> usize {
        let mut wire = wire.to_vec();
        let mut events = self.connection.receive(self.now, &mut wire).expect("it reads");
        let mut count = 0;
        while events.next().is_some() {
            count += 1;
        }
        count
    }

    fn resume(&mut self) -> usize {
        let mut events = self.connection.resume(self.now);
        let mut count = 0;
        while events.next().is_some() {
            count += 1;
        }
        count
    }

    fn ask(&mut self, credit: u64) {
        self.connection.stream(self.now, self.stream).read(credit).expect("it lives");
    }

    /// All that there is to send is taken.
    fn taken(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.wants_write() {
            let mut slices = [IoSlice::new(&[]); 64];
            let count = self.connection.outgoing(&mut slices);
            let before = out.len();
            slices[..count].iter().for_each(|slice| out.extend_from_slice(slice));
            let bytes = out.len() - before;
            self.connection.sent(self.now, bytes);
        }
        out
    }

    fn send(&mut self, length: usize) {
        let mut data = Bytes::from(vec![7; length]);
        let sent = self.connection.stream(self.now, self.stream).send_message(false, &mut data);
        assert_eq!(sent, Ok(Sent::All));
    }

    fn at(&mut self, moment: Duration) {
        self.now = Tick::ZERO.after(moment);
        self.connection.tick(self.now);
    }

    fn deadline(&mut self) -> Option<(Duration, Timer)> {
        self.connection.deadline().map(|(at, timer)| (at.since(Tick::ZERO), timer))
    }

    fn is_open(&self) -> bool {
        matches!(self.connection.status(), Status::Open { .. })
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    frames::put(&mut wire, first, [1, 2, 3, 4], payload);
    wire
}

fn data(length: usize) -> Vec<u8> {
    frame(FIN | BINARY, &vec![7; length])
}

fn pong(payload: &[u8]) -> Vec<u8> {
    [&[PONG, payload.len() as u8], payload].concat()
}

fn without_pings() -> Builder {
    Config::builder().websocket_ping_interval(None)
}

// ---- a peer that has ended ---------------------------------------------------------------------------

#[test]
fn messages_that_nobody_reads_wait_for_a_while_after_the_peers_fin() {
    let mut socket = Socket::plain(
        Config::builder().websocket_idle_timeout(Some(secs(30))).request_body_limit(None),
    );
    socket.receive(&data(5));
    socket.at(secs(10));
    drop(socket.connection.receive_eof(socket.now));
    socket.resume();
    assert!(socket.connection.is_half_closed() && socket.is_open());
    // Nothing else is waited for.
    assert_eq!(socket.deadline(), Some((secs(70), Timer::PeerGone)));
    // Nothing that is done here renews it.
    let mut socket = Socket::plain(Config::builder());
    socket.receive(&data(5));
    drop(socket.connection.receive_eof(socket.now));
    socket.resume();
    for second in [15, 30, 45] {
        socket.at(secs(second));
        let (now, stream) = (socket.now, socket.stream);
        socket.connection.stream(now, stream).cancel_read().expect("it does nothing");
        socket.resume();
        assert_eq!(socket.deadline(), Some((secs(60), Timer::PeerGone)), "at {second} s");
    }
    socket.at(secs(60));
    let gone = CloseReason::Expired(Timer::PeerGone);
    assert_eq!(socket.connection.status(), Status::Closed(gone));
}

#[test]
fn a_half_closed_peer_that_takes_what_is_sent_is_not_gone() {
    let mut socket = Socket::plain(Config::builder());
    socket.receive(&data(5));
    drop(socket.connection.receive_eof(socket.now));
    socket.resume();
    socket.at(secs(50));
    socket.send(100);
    assert_eq!(socket.deadline(), Some((secs(55), Timer::Response)), "bytes wait for it");
    socket.at(secs(54));
    socket.taken();
    assert_eq!(socket.deadline(), Some((secs(114), Timer::PeerGone)));
    // Its message is still read, and then it is over.
    socket.at(secs(113));
    socket.ask(1);
    assert_eq!(socket.resume(), 2, "the message, and the end");
    assert!(!socket.is_open());
}

#[test]
fn no_other_wait_goes_on_when_the_peers_fin_comes_with_what_nobody_reads() {
    let config = Config::builder().websocket_idle_timeout(Some(secs(30)));
    let mut socket = Socket::plain(config);
    socket.ask(1);
    assert_eq!(socket.deadline(), Some((secs(20), Timer::WebSocketPing)));
    socket.at(secs(15));
    let mut wire = data(5).repeat(2);
    let mut events = socket.connection.receive(socket.now, &mut wire).expect("it reads");
    let (connection, _) = events.next().expect("the first message");
    drop(connection.receive_eof(socket.now));
    assert!(events.next().is_none(), "the second one has to wait");
    drop(events);
    assert_eq!(socket.deadline(), Some((secs(75), Timer::PeerGone)));
    socket.at(secs(75) - Duration::from_nanos(1));
    assert!(socket.is_open());
}

#[test]
fn a_half_closed_peer_that_has_much_to_read_gets_the_time_for_that() {
    let mut socket = Socket::plain(Config::builder());
    socket.receive(&data(5));
    drop(socket.connection.receive_eof(socket.now));
    socket.resume();
    socket.send(50_000);
    socket.connection.sent(socket.now, 24_000);
    // Two seconds nobody pays, and 24,000 bytes pay for a hundred; a few came before.
    let (until, timer) = socket.deadline().expect("it waits");
    assert!(timer == Timer::Response && until >= secs(102) && until < secs(103), "{until:?}");
    socket.at(secs(101));
    assert!(socket.is_open());
    socket.taken();
    assert_eq!(socket.deadline(), Some((secs(161), Timer::PeerGone)));
}

// ---- what is read ahead ------------------------------------------------------------------------------

#[test]
fn no_more_is_read_ahead_than_the_limit() {
    for (held, reads) in [(1023, true), (1024, false), (1025, false)] {
        let mut socket = Socket::plain(Config::builder().receive_buffer_limit(1024));
        let wire = data(2000);
        socket.receive(&wire[..500]);
        socket.receive(&wire[500..held]);
        assert_eq!(socket.connection.wants_read(), reads, "{held} bytes");
        // It is pinged as long as a pong would be seen.
        let ping = reads.then_some((secs(20), Timer::WebSocketPing));
        assert_eq!(socket.deadline(), ping, "{held} bytes");
    }
}

#[test]
fn what_is_read_ahead_takes_three_times_the_limit_at_most() {
    const LIMIT: usize = 1024;
    let wire = data(4 * LIMIT);
    for step in [1, 7, 63, 64, 65, 100, 128, 255, 300, 341, 500, 511, 512, 700, 1023] {
        let mut socket = Socket::plain(without_pings().receive_buffer_limit(LIMIT as u64));
        let idle = socket.connection.memory();
        let mut at = 0;
        while socket.connection.wants_read() {
            // The last read brings as much as any may.
            let next = if at + step >= LIMIT { LIMIT } else { step };
            socket.receive(&wire[at..at + next]);
            at += next;
            let held = socket.connection.memory() - idle;
            assert!(held <= 3 * LIMIT, "{held} for {at} in steps of {step}");
        }
    }
}

#[test]
fn events_that_are_not_looked_at_end_reading_ahead() {
    let mut socket = Socket::plain(without_pings());
    socket.receive(&data(5));
    assert!(socket.connection.wants_read());
    let mut more = data(5);
    drop(socket.connection.receive(socket.now, &mut more).expect("it reads"));
    assert!(!socket.connection.wants_read() && socket.connection.has_work());
    socket.resume();
    assert!(socket.connection.wants_read() && !socket.connection.has_work());
}

#[test]
fn pings_are_answered_ahead_within_the_limit() {
    const LIMIT: usize = 1024;
    // The ping ends with the limit, or one byte behind it.
    for (end, answered) in [(LIMIT - 1, true), (LIMIT, true), (LIMIT + 1, false)] {
        let ping = frame(PING, b"p");
        let message = data(end - ping.len() - 8);
        assert_eq!(message.len() + ping.len(), end);
        let mut socket = Socket::plain(without_pings().receive_buffer_limit(LIMIT as u64));
        let wire = [message, ping].concat();
        socket.receive(&wire[..LIMIT / 2]);
        socket.receive(&wire[LIMIT / 2..]);
        let expected = if answered { pong(b"p") } else { Vec::new() };
        assert_eq!(socket.taken(), expected, "{end} bytes");
        // Its turn comes in any case.
        socket.ask(u64::MAX);
        assert_eq!(socket.resume(), 1);
        assert_eq!([expected, socket.taken()].concat(), pong(b"p"), "once");
    }
}

#[test]
fn pings_are_answered_ahead_again_after_what_was_read() {
    let mut socket = Socket::plain(without_pings());
    for round in 0..5u8 {
        socket.receive(&[data(100 + usize::from(round)), data(10)].concat());
        socket.receive(&frame(PING, &[round]));
        assert_eq!(socket.taken(), pong(&[round]), "round {round}");
        socket.ask(2);
        assert_eq!(socket.resume(), 2);
        assert_eq!(socket.taken(), []);
    }
    // One message is taken, another one stays, and a ping behind both.
    socket.receive(&[data(100), data(50)].concat());
    socket.ask(1);
    assert_eq!(socket.resume(), 1);
    socket.receive(&frame(PING, b"behind"));
    assert_eq!(socket.taken(), pong(b"behind"));
}

#[test]
fn payload_that_waits_for_credit_is_no_ping() {
    let options = Options { pieces: true, ..Options::default() };
    let mut socket = Socket::new(without_pings(), options, None);
    socket.ask(50);
    // On the wire the second half of the payload looks like pings.
    let ping = frame(PING, b"p");
    let mut wire = data(100);
    let (at, end) = (wire.len() - 50, wire.len());
    wire[at..end].copy_from_slice(&ping.repeat(8)[..50]);
    socket.receive(&wire);
    assert_eq!(socket.taken(), [], "they are payload");
    socket.receive(&frame(PING, b"real"));
    assert_eq!(socket.taken(), pong(b"real"));
}

// ---- inflating in parts ------------------------------------------------------------------------------

fn takeover() -> DeflateSettings {
    DeflateSettings { client_takeover: true, least: 0, ..DeflateSettings::default() }
}

/// A message that inflates to four times as much as is inflated at once.
fn bomb() -> Vec<u8> {
    let large = vec![b'x'; 4 * INFLATED_AT_ONCE];
    frame(FIN | COMPRESSED | BINARY, &frames::deflate(&mut frames::compressor(), &large))
}

fn deflating() -> Builder {
    without_pings().websocket_deflate(true)
}

#[test]
fn inflating_that_is_left_off_is_work_until_it_is_over() {
    for pieces in [false, true] {
        let options = Options { pieces, ..Options::default() };
        let mut socket = Socket::new(deflating(), options, Some(takeover()));
        socket.ask(u64::MAX);
        // Bytes behind it are there, and are not read around.
        socket.receive(&[bomb(), data(10)].concat());
        assert!(socket.connection.has_work() && socket.connection.has_events());
        assert!(!socket.connection.wants_read(), "first what is there");
        assert_eq!(socket.deadline(), None, "nobody waits for the peer");
        let mut looks = 0;
        while socket.connection.has_work() {
            socket.resume();
            looks += 1;
        }
        assert!((3..=5).contains(&looks), "{looks} looks");
        assert!(socket.connection.wants_read() && !socket.connection.has_events());
    }
}

#[test]
fn our_close_ends_inflating_and_frees_its_memory() {
    let mut socket = Socket::new(deflating(), Options::default(), Some(takeover()));
    let idle = socket.connection.memory();
    socket.ask(u64::MAX);
    socket.receive(&[bomb(), data(10)].concat());
    assert!(socket.connection.has_work());
    assert!(socket.connection.memory() > idle + INFLATED_AT_ONCE);
    socket.connection.stream(socket.now, socket.stream).close(Some(1000), "").expect("it is open");
    assert!(!socket.connection.has_work());
    socket.resume();
    socket.taken();
    assert!(!socket.connection.has_work() && !socket.connection.has_events());
    let left = socket.connection.memory();
    assert!(left < idle, "no window, no message: {left} of {idle}");
}

#[test]
fn a_piece_that_fills_its_credit_is_no_event_without_more() {
    let options = Options { pieces: true, ..Options::default() };
    let mut socket = Socket::new(deflating(), options, Some(takeover()));
    socket.ask(100);
    assert_eq!(socket.receive(&bomb()), 1);
    assert!(!socket.connection.has_events() && !socket.connection.has_work());
    assert_eq!(socket.resume(), 0);
    socket.ask(100);
    assert!(socket.connection.has_events());
    assert_eq!(socket.resume(), 1);
    // Our close ends that as well.
    socket.ask(1);
    socket.connection.stream(socket.now, socket.stream).close(None, "").expect("it is open");
    socket.resume();
    socket.taken();
    assert!(!socket.connection.has_events() && !socket.connection.has_work());
}

#[test]
fn a_pong_that_waits_for_room_goes_with_our_close() {
    let mut socket = Socket::plain(without_pings().send_buffer_limit(1024));
    socket.send(1024);
    let before = socket.connection.memory();
    socket.receive(&frame(PING, &[b'p'; 100]));
    assert_eq!(socket.connection.memory(), before + 100, "the pong is told");
    socket.connection.stream(socket.now, socket.stream).close(None, "").expect("it is open");
    socket.taken();
    assert!(!socket.connection.has_events());
    assert_eq!(socket.resume(), 0);
    assert_eq!(socket.taken(), []);
    let mut idle = Socket::plain(without_pings().send_buffer_limit(1024));
    assert_eq!(socket.connection.memory(), idle.connection.memory());
    assert_eq!(idle.taken(), []);
}

// ---- what the peer has taken -------------------------------------------------------------------------

#[test]
fn a_close_may_be_answered_late_by_a_peer_that_still_takes_what_came_before() {
    // 1200 bytes in five seconds are as fast as has to be.
    for (taken, until) in [(1200, secs(9)), (1199, secs(5))] {
        let mut socket = Socket::plain(Config::builder());
        socket.connection.acknowledged(socket.now, 0);
        socket.send(50_000);
        socket.connection.stream(socket.now, socket.stream).close(None, "").expect("it is open");
        let all = socket.taken().len() as u64;
        assert_eq!(socket.connection.unacknowledged(), all);
        assert_eq!(socket.deadline(), Some((secs(5), Timer::WebSocketClose)));
        socket.at(secs(4));
        socket.connection.acknowledged(socket.now, all - taken);
        assert_eq!(socket.deadline(), Some((until, Timer::WebSocketClose)), "{taken} bytes");
        // At the end nothing hides the answer any more.
        socket.connection.acknowledged(socket.now, 0);
        assert_eq!(socket.deadline(), Some((until, Timer::WebSocketClose)), "{taken} bytes");
    }
}

#[test]
fn a_pong_is_owed_by_a_peer_that_has_taken_all() {
    let mut socket = Socket::plain(Config::builder());
    socket.connection.acknowledged(socket.now, 0);
    socket.at(secs(20));
    socket.send(50_000);
    socket.taken();
    assert_eq!(socket.deadline(), Some((secs(40), Timer::WebSocketPong)));
    socket.at(secs(39));
    // 19 s at 240 bytes a second.
    socket.connection.acknowledged(socket.now, 50_006 - 19 * 240);
    assert_eq!(socket.deadline(), Some((secs(59), Timer::WebSocketPong)), "it is on its way");
    socket.at(secs(49));
    socket.connection.acknowledged(socket.now, 0);
    assert_eq!(socket.deadline(), Some((secs(59), Timer::WebSocketPong)), "it was seen");
}

#[test]
fn the_wait_for_a_pong_begins_with_the_last_byte_of_the_ping() {
    let mut socket = Socket::plain(Config::builder());
    socket.at(secs(20));
    assert!(socket.connection.wants_write());
    socket.at(secs(22));
    socket.connection.sent(socket.now, 1);
    assert!(matches!(socket.deadline(), Some((_, Timer::Response))));
    socket.at(secs(24));
    socket.taken();
    assert_eq!(socket.deadline(), Some((secs(44), Timer::WebSocketPong)));
}

#[test]
fn deadlines_for_the_whole_of_something_are_none_of_a_websockets() {
    let minute = Some(secs(60));
    let config = without_pings().response_deadline(minute).request_body_deadline(minute);
    let mut socket = Socket::plain(config);
    socket.ask(u64::MAX);
    let message = frame(CONTINUATION, &[7; 1000]);
    socket.receive(&frame(BINARY, &[7; 1000]));
    // One message without end, and output that is never all taken.
    socket.send(1000);
    for second in (2..300).step_by(2) {
        socket.at(secs(second));
        assert!(socket.is_open(), "at {second} s");
        socket.receive(&message);
        socket.send(900);
        socket.connection.sent(socket.now, 904);
        assert!(socket.connection.wants_write());
    }
}

#[test]
fn nothing_but_lingering_is_waited_for_after_the_end() {
    let config = Config::builder().websocket_idle_timeout(Some(secs(4)));
    let mut socket = Socket::plain(config);
    socket.ask(u64::MAX);
    socket.receive(&frame(BINARY, &[7; 100]));
    assert_eq!(socket.deadline(), Some((secs(4), Timer::WebSocketIdle)));
    socket.at(secs(1));
    // A message within another one.
    assert_eq!(socket.receive(&data(5)), 1, "a reset");
    socket.taken();
    assert!(!socket.is_open());
    assert_eq!(socket.deadline(), Some((secs(6), Timer::Linger)));
    socket.at(secs(6) - Duration::from_nanos(1));
    assert!(!socket.connection.has_events());
    assert!(matches!(socket.connection.status(), Status::Lingering { .. }));
}

#[test]
fn nobody_is_pinged_behind_what_is_not_taken() {
    let mut socket = Socket::plain(Config::builder());
    socket.ask(u64::MAX);
    socket.send(50_000);
    socket.connection.sent(socket.now, 24_000);
    let (until, timer) = socket.deadline().expect("it waits");
    assert!(timer == Timer::Response && until >= secs(102), "{until:?} for {timer:?}");
    socket.at(secs(50));
    socket.taken();
    assert_eq!(socket.deadline(), Some((secs(20), Timer::WebSocketPing)), "it is overdue");
}

#[test]
fn where_no_pong_is_waited_for_one_ping_is_enough() {
    let mut socket = Socket::plain(Config::builder().websocket_pong_timeout(None));
    socket.ask(u64::MAX);
    socket.at(secs(20));
    assert_eq!(socket.taken(), [PING, 0]);
    assert_eq!(socket.deadline(), None);
    socket.at(secs(3600));
    assert!(!socket.connection.wants_write());
    socket.receive(&frame(PONG, b""));
    assert_eq!(socket.deadline(), Some((secs(3620), Timer::WebSocketPing)));
}

#[test]
fn messages_that_nobody_reads_are_no_idling_of_the_peer() {
    let mut socket = Socket::plain(without_pings().websocket_idle_timeout(Some(secs(30))));
    assert_eq!(socket.deadline(), Some((secs(30), Timer::WebSocketIdle)));
    socket.at(secs(10));
    socket.receive(&data(5));
    assert_eq!(socket.deadline(), None, "it is the application's turn");
    socket.at(secs(3600));
    socket.ask(1);
    assert_eq!(socket.resume(), 1);
    assert_eq!(socket.deadline(), Some((secs(3630), Timer::WebSocketIdle)));
}

#[test]
fn each_part_of_a_message_is_use() {
    let mut socket = Socket::plain(without_pings().websocket_idle_timeout(Some(secs(6))));
    socket.ask(1);
    for (count, part) in data(20_000).chunks(1000).enumerate() {
        let moment = 4 * count as u64;
        socket.at(secs(moment));
        socket.receive(part);
        assert!(socket.is_open(), "part {count}");
        if count < 20 {
            let until = socket.deadline().map(|(until, _)| until);
            assert!(until.is_some_and(|until| until <= secs(moment + 6)), "{until:?}");
        }
    }
}
