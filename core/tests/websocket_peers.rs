//! Websockets whose application does not read, or whose peer has ended or is slow. These tests
//! check which bytes are read ahead, which pings are answered ahead, and when each side is given
//! up.

use bytes::Bytes;
use play::websocket_frames::{
    self as frames, BINARY, COMPRESSED, CONTINUATION, FIN, HANDSHAKE, PING, PONG,
};
use portcullis::websocket::{DeflateSettings, Handshake, INFLATED_AT_ONCE, Options};
use portcullis::{
    Builder, CloseReason, Config, Connection, Event, Expiry, Sent, StreamId, Tick, Timer,
};
use portcullis_play::play;
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
    /// A websocket that was accepted at 0, without credit.
    fn new(config: Builder, options: Options, deflate: Option<DeflateSettings>) -> Socket {
        let now = Tick::ZERO;
        let mut connection = Connection::new(Arc::new(config.build().expect("valid")), now);
        let mut wire = HANDSHAKE.to_vec();
        let mut events = connection.receive(now, &mut wire).expect("the connection reads");
        let Some((_, Event::Request { stream, head })) = events.next() else { panic!("a request") };
        let handshake = Handshake::read(&head).expect("a valid handshake");
        let accepted = handshake.accept(None, deflate.as_ref()).expect("no subprotocol was chosen");
        drop(events);
        connection
            .stream(now, stream)
            .accept_websocket(&accepted, None, options)
            .expect("the handshake is accepted");
        let mut socket = Socket { connection, stream, now };
        socket.taken();
        socket.resume();
        socket
    }

    fn plain(config: Builder) -> Socket {
        Socket::new(config, Options::default(), None)
    }

    /// Feeds `wire`, and returns the number of events.
    fn receive(&mut self, wire: &[u8]) -> usize {
        let mut wire = wire.to_vec();
        let mut events =
            self.connection.receive(self.now, &mut wire).expect("the connection reads");
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
        play::read_more(self.connection.stream(self.now, self.stream), credit)
            .expect("the stream is open");
    }

    /// Takes all output.
    fn taken(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.status().write {
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
        self.connection.status().is_open()
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
fn unread_messages_wait_for_a_while_after_the_peers_fin() {
    let mut socket = Socket::plain(
        Config::builder().websocket_idle_timeout(Some(secs(30))).request_body_limit(None),
    );
    socket.receive(&data(5));
    socket.at(secs(10));
    drop(socket.connection.receive_eof(socket.now));
    socket.resume();
    assert!(socket.connection.is_half_closed() && socket.is_open());
    // No other timer runs.
    assert_eq!(socket.deadline(), Some((secs(70), Timer::PeerGone)));
    // Calls of the application do not extend it.
    let mut socket = Socket::plain(Config::builder());
    socket.receive(&data(5));
    drop(socket.connection.receive_eof(socket.now));
    socket.resume();
    for second in [15, 30, 45] {
        socket.at(secs(second));
        let (now, stream) = (socket.now, socket.stream);
        socket
            .connection
            .stream(now, stream)
            .cancel_read()
            .expect("cancelling is allowed, and does nothing");
        socket.resume();
        assert_eq!(socket.deadline(), Some((secs(60), Timer::PeerGone)), "at {second} s");
    }
    socket.at(secs(60));
    let gone = CloseReason::Expired(Expiry::PeerGone);
    assert_eq!(socket.connection.status().closed(), Some(gone));
}

#[test]
fn a_half_closed_peer_that_takes_output_is_not_gone() {
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
    // Its message is still read, and then the websocket ends.
    socket.at(secs(113));
    socket.ask(1);
    assert_eq!(socket.resume(), 2, "the message and the end");
    assert!(!socket.is_open());
}

#[test]
fn only_peer_gone_runs_after_a_fin_behind_unread_messages() {
    let config = Config::builder().websocket_idle_timeout(Some(secs(30)));
    let mut socket = Socket::plain(config);
    socket.ask(1);
    assert_eq!(socket.deadline(), Some((secs(20), Timer::WebSocketPing)));
    socket.at(secs(15));
    let mut wire = data(5).repeat(2);
    let mut events =
        socket.connection.receive(socket.now, &mut wire).expect("the connection reads");
    let (connection, _) = events.next().expect("the first message");
    drop(connection.receive_eof(socket.now));
    assert!(events.next().is_none(), "the second one has to wait");
    drop(events);
    assert_eq!(socket.deadline(), Some((secs(75), Timer::PeerGone)));
    socket.at(secs(75) - Duration::from_nanos(1));
    assert!(socket.is_open());
}

#[test]
fn a_half_closed_peer_gets_time_to_read_much_output() {
    let mut socket = Socket::plain(Config::builder());
    socket.receive(&data(5));
    drop(socket.connection.receive_eof(socket.now));
    socket.resume();
    socket.send(50_000);
    socket.connection.sent(socket.now, 24_000);
    // Two seconds are slack, and 24,000 bytes pay for a hundred. A few bytes came before.
    let (until, timer) = socket.deadline().expect("a deadline is set");
    assert!(timer == Timer::Response && until >= secs(102) && until < secs(103), "{until:?}");
    socket.at(secs(101));
    assert!(socket.is_open());
    socket.taken();
    assert_eq!(socket.deadline(), Some((secs(161), Timer::PeerGone)));
}

// ---- reading ahead ------------------------------------------------------------------------------

#[test]
fn no_more_is_read_ahead_than_the_limit() {
    for (held, reads) in [(1023, true), (1024, false), (1025, false)] {
        let mut socket = Socket::plain(Config::builder().receive_buffer_limit(1024));
        let wire = data(2000);
        socket.receive(&wire[..500]);
        socket.receive(&wire[500..held]);
        assert_eq!(socket.connection.status().read, reads, "{held} bytes");
        // The peer is pinged as long as a pong would be seen.
        let ping = reads.then_some((secs(20), Timer::WebSocketPing));
        assert_eq!(socket.deadline(), ping, "{held} bytes");
    }
}

#[test]
fn read_ahead_bytes_take_three_times_the_limit_at_most() {
    const LIMIT: usize = 1024;
    let wire = data(4 * LIMIT);
    for step in [1, 7, 63, 64, 65, 100, 128, 255, 300, 341, 500, 511, 512, 700, 1023] {
        let mut socket = Socket::plain(without_pings().receive_buffer_limit(LIMIT as u64));
        let idle = socket.connection.memory();
        let mut at = 0;
        while socket.connection.status().read {
            // The last read brings as much as any other.
            let next = if at + step >= LIMIT { LIMIT } else { step };
            socket.receive(&wire[at..at + next]);
            at += next;
            let held = socket.connection.memory() - idle;
            assert!(held <= 3 * LIMIT, "{held} bytes held for {at} in steps of {step}");
        }
    }
}

#[test]
fn unpulled_events_end_reading_ahead() {
    let mut socket = Socket::plain(without_pings());
    socket.receive(&data(5));
    assert!(socket.connection.status().read);
    let mut more = data(5);
    drop(socket.connection.receive(socket.now, &mut more).expect("the connection reads"));
    assert!(!socket.connection.status().read && socket.connection.status().has_work);
    socket.resume();
    assert!(socket.connection.status().read && !socket.connection.status().has_work);
}

#[test]
fn pings_are_answered_ahead_within_the_limit() {
    const LIMIT: usize = 1024;
    // The ping ends exactly at the limit, or one byte after it.
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
        // The ping's turn comes in any case.
        socket.ask(u64::MAX);
        assert_eq!(socket.resume(), 1);
        assert_eq!([expected, socket.taken()].concat(), pong(b"p"), "the ping is answered once");
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
    // One message is taken. Another one stays, with a ping behind both.
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
    assert_eq!(socket.taken(), [], "payload was answered as pings");
    socket.receive(&frame(PING, b"real"));
    assert_eq!(socket.taken(), pong(b"real"));
}

// ---- inflating in steps -------------------------------------------------------------------------

fn takeover() -> DeflateSettings {
    DeflateSettings { client_takeover: true, least: 0, ..DeflateSettings::default() }
}

/// A message that inflates to four times as much as one pull inflates.
fn bomb() -> Vec<u8> {
    let large = vec![b'x'; 4 * INFLATED_AT_ONCE];
    frame(FIN | COMPRESSED | BINARY, &frames::deflate(&mut frames::compressor(), &large))
}

fn deflating() -> Builder {
    without_pings().websocket_deflate(true)
}

#[test]
fn paused_inflating_is_work_until_it_is_done() {
    for pieces in [false, true] {
        let options = Options { pieces, ..Options::default() };
        let mut socket = Socket::new(deflating(), options, Some(takeover()));
        socket.ask(u64::MAX);
        // Bytes have arrived after the message, and are not read before it is inflated.
        socket.receive(&[bomb(), data(10)].concat());
        assert!(socket.connection.status().has_work && socket.connection.status().resume);
        assert!(!socket.connection.status().read, "the arrived bytes come first");
        assert_eq!(socket.deadline(), None, "the connection does not wait for the peer");
        let mut looks = 0;
        while socket.connection.status().has_work {
            socket.resume();
            looks += 1;
        }
        assert!((3..=5).contains(&looks), "{looks} looks");
        assert!(socket.connection.status().read && !socket.connection.status().resume);
    }
}

#[test]
fn our_close_ends_inflating_and_frees_its_memory() {
    let mut socket = Socket::new(deflating(), Options::default(), Some(takeover()));
    let idle = socket.connection.memory();
    socket.ask(u64::MAX);
    socket.receive(&[bomb(), data(10)].concat());
    assert!(socket.connection.status().has_work);
    assert!(socket.connection.memory() > idle + INFLATED_AT_ONCE);
    socket
        .connection
        .stream(socket.now, socket.stream)
        .close(Some(1000), "")
        .expect("the stream is open");
    assert!(!socket.connection.status().has_work);
    socket.resume();
    socket.taken();
    assert!(!socket.connection.status().has_work && !socket.connection.status().resume);
    let left = socket.connection.memory();
    assert!(left < idle, "window and message are freed: {left} of {idle}");
}

#[test]
fn a_piece_that_uses_up_the_credit_leaves_no_event() {
    let options = Options { pieces: true, ..Options::default() };
    let mut socket = Socket::new(deflating(), options, Some(takeover()));
    socket.ask(100);
    assert_eq!(socket.receive(&bomb()), 1);
    assert!(!socket.connection.status().resume && !socket.connection.status().has_work);
    assert_eq!(socket.resume(), 0);
    socket.ask(100);
    assert!(socket.connection.status().resume);
    assert_eq!(socket.resume(), 1);
    // Our close ends that as well.
    socket.ask(1);
    socket
        .connection
        .stream(socket.now, socket.stream)
        .close(None, "")
        .expect("the stream is open");
    socket.resume();
    socket.taken();
    assert!(!socket.connection.status().resume && !socket.connection.status().has_work);
}

#[test]
fn a_pong_that_waits_for_room_is_dropped_with_our_close() {
    let mut socket = Socket::plain(without_pings().send_buffer_limit(1024));
    socket.send(1024);
    let before = socket.connection.memory();
    socket.receive(&frame(PING, &[b'p'; 100]));
    assert_eq!(socket.connection.memory(), before + 100, "the pong's memory is reported");
    socket
        .connection
        .stream(socket.now, socket.stream)
        .close(None, "")
        .expect("the stream is open");
    socket.taken();
    assert!(!socket.connection.status().resume);
    assert_eq!(socket.resume(), 0);
    assert_eq!(socket.taken(), []);
    let mut idle = Socket::plain(without_pings().send_buffer_limit(1024));
    assert_eq!(socket.connection.memory(), idle.connection.memory());
    assert_eq!(idle.taken(), []);
}

// ---- output that the peer has taken -------------------------------------------------------------

#[test]
fn a_close_may_be_answered_late_by_a_peer_that_still_takes_earlier_output() {
    // 1200 bytes in five seconds are exactly the minimum.
    for (taken, until) in [(1200, secs(9)), (1199, secs(5))] {
        let mut socket = Socket::plain(Config::builder());
        socket.connection.acknowledged(socket.now, 0);
        socket.send(50_000);
        socket
            .connection
            .stream(socket.now, socket.stream)
            .close(None, "")
            .expect("the stream is open");
        let all = socket.taken().len() as u64;
        assert_eq!(socket.connection.unacknowledged(), all);
        assert_eq!(socket.deadline(), Some((secs(5), Timer::WebSocketClose)));
        socket.at(secs(4));
        socket.connection.acknowledged(socket.now, all - taken);
        assert_eq!(socket.deadline(), Some((until, Timer::WebSocketClose)), "{taken} bytes");
        // Once the peer has taken everything, its answer is due.
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
    assert_eq!(
        socket.deadline(),
        Some((secs(59), Timer::WebSocketPong)),
        "the ping is still on its way"
    );
    socket.at(secs(49));
    socket.connection.acknowledged(socket.now, 0);
    assert_eq!(
        socket.deadline(),
        Some((secs(59), Timer::WebSocketPong)),
        "the peer has taken the ping"
    );
}

#[test]
fn the_wait_for_a_pong_begins_with_the_pings_last_byte() {
    let mut socket = Socket::plain(Config::builder());
    socket.at(secs(20));
    assert!(socket.connection.status().write);
    socket.at(secs(22));
    socket.connection.sent(socket.now, 1);
    assert!(matches!(socket.deadline(), Some((_, Timer::Response))));
    socket.at(secs(24));
    socket.taken();
    assert_eq!(socket.deadline(), Some((secs(44), Timer::WebSocketPong)));
}

#[test]
fn total_deadlines_do_not_apply_to_websockets() {
    let minute = Some(secs(60));
    let config = without_pings().response_deadline(minute).request_body_deadline(minute);
    let mut socket = Socket::plain(config);
    socket.ask(u64::MAX);
    let message = frame(CONTINUATION, &[7; 1000]);
    socket.receive(&frame(BINARY, &[7; 1000]));
    // One message without end, and output that is never taken completely.
    socket.send(1000);
    for second in (2..300).step_by(2) {
        socket.at(secs(second));
        assert!(socket.is_open(), "at {second} s");
        socket.receive(&message);
        socket.send(900);
        socket.connection.sent(socket.now, 904);
        assert!(socket.connection.status().write);
    }
}

#[test]
fn only_linger_runs_after_the_end() {
    let config = Config::builder().websocket_idle_timeout(Some(secs(4)));
    let mut socket = Socket::plain(config);
    socket.ask(u64::MAX);
    socket.receive(&frame(BINARY, &[7; 100]));
    assert_eq!(socket.deadline(), Some((secs(4), Timer::WebSocketIdle)));
    socket.at(secs(1));
    // A new message within a fragmented one.
    assert_eq!(socket.receive(&data(5)), 1, "a reset");
    socket.taken();
    assert!(!socket.is_open());
    assert_eq!(socket.deadline(), Some((secs(6), Timer::Linger)));
    socket.at(secs(6) - Duration::from_nanos(1));
    assert!(!socket.connection.status().resume);
    assert!(socket.connection.status().is_lingering());
}

#[test]
fn no_ping_is_sent_behind_untaken_output() {
    let mut socket = Socket::plain(Config::builder());
    socket.ask(u64::MAX);
    socket.send(50_000);
    socket.connection.sent(socket.now, 24_000);
    let (until, timer) = socket.deadline().expect("a deadline is set");
    assert!(timer == Timer::Response && until >= secs(102), "{until:?} for {timer:?}");
    socket.at(secs(50));
    socket.taken();
    assert_eq!(socket.deadline(), Some((secs(20), Timer::WebSocketPing)), "the ping is overdue");
}

#[test]
fn without_a_pong_timeout_one_ping_is_enough() {
    let mut socket = Socket::plain(Config::builder().websocket_pong_timeout(None));
    socket.ask(u64::MAX);
    socket.at(secs(20));
    assert_eq!(socket.taken(), [PING, 0]);
    assert_eq!(socket.deadline(), None);
    socket.at(secs(3600));
    assert!(!socket.connection.status().write);
    socket.receive(&frame(PONG, b""));
    assert_eq!(socket.deadline(), Some((secs(3620), Timer::WebSocketPing)));
}

#[test]
fn unread_messages_do_not_count_as_idling() {
    let mut socket = Socket::plain(without_pings().websocket_idle_timeout(Some(secs(30))));
    assert_eq!(socket.deadline(), Some((secs(30), Timer::WebSocketIdle)));
    socket.at(secs(10));
    socket.receive(&data(5));
    assert_eq!(socket.deadline(), None, "the connection waits for the application");
    socket.at(secs(3600));
    socket.ask(1);
    assert_eq!(socket.resume(), 1);
    assert_eq!(socket.deadline(), Some((secs(3630), Timer::WebSocketIdle)));
}

#[test]
fn each_part_of_a_message_extends_the_idle_timeout() {
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
