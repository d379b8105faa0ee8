//! Live peers whose records arrive in parts, and attackers that send them byte by byte: which bytes
//! are signs of life, and which bytes pay.

use crate::pair::{Pair, over_tls};
use crate::support::{POST_CHUNKED, POST_MUCH, secs};
use http::{HeaderMap, Request};
use portcullis::rustls::{ContentType, version};
use portcullis::websocket::{Handshake, Options};
use portcullis::{CloseReason, Config, Event, Expiry, Tick, Timer};
use std::time::Duration;

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

fn tick(at: Duration) -> Tick {
    Tick::ZERO.after(at)
}

/// A websocket over TLS whose application takes every message.
fn websocket() -> Pair {
    let client = crate::pair::client(crate::pair::client_settings(&version::TLS13));
    let mut pair = Pair::with(over_tls(Config::builder()), client);
    pair.settle();
    pair.send(UPGRADE);
    accept(&mut pair);
    pair
}

/// The application accepts the websocket, and asks for every message.
fn accept(pair: &mut Pair) {
    let request = Request::builder()
        .header("host", "a")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .expect("a request");
    let accepted = Handshake::read(&request)
        .expect("a valid handshake")
        .accept(None, None)
        .expect("a valid handshake");
    let (stream, now) = (pair.stream(), pair.now);
    pair.server
        .stream(now, stream)
        .accept_websocket(&accepted, &HeaderMap::new(), Options::default())
        .expect("an answer is owed");
    pair.server.stream(now, stream).read_to(u64::MAX).expect("the stream is a websocket");
    pair.taken();
}

/// A binary message with a mask of zeros.
fn message(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0xfe);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Moves the time as a driver does: input that arrived earlier is read first, and output is sent.
fn pass(pair: &mut Pair, at: Duration) {
    pair.at(tick(at));
    pair.taken();
}

/// The server reads `bytes`, and its application takes the messages.
fn deliver_messages(pair: &mut Pair, bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    let mut events = pair.server.receive(pair.now, &mut bytes).expect("the connection reads");
    while let Some((_, event)) = events.next() {
        assert!(matches!(event, Event::Message { .. } | Event::Reset { .. }), "{event:?}");
    }
}

/// Delivers `bytes` at a rate, from `start` on. Returns when the connection closed, if it did.
fn drip(
    pair: &mut Pair,
    start: Duration,
    bytes: &[u8],
    a_second: usize,
    mut deliver: impl FnMut(&mut Pair, &[u8]),
) -> Result<Duration, Duration> {
    let mut at = start;
    for part in bytes.chunks(a_second) {
        at += secs(1);
        pair.now = tick(at);
        deliver(pair, part);
        pass(pair, at);
        if !pair.server.status().is_open() {
            return Err(at);
        }
    }
    Ok(at)
}

#[test]
fn a_connection_with_a_partial_record_is_not_idle() {
    for version in crate::pair::VERSIONS {
        let mut pair = Pair::shaken(version);
        let record = pair.records(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        pass(&mut pair, secs(4));
        pair.deliver(&record[..3]);
        assert_eq!(pair.server.deadline(), Some((tick(secs(14)), Timer::RequestHead)));
        pass(&mut pair, secs(13));
        assert!(!pair.deliver(&record[3..]).is_empty(), "the request");
    }
}

#[test]
fn a_record_in_parts_and_the_rest_of_its_head_have_one_deadline() {
    let mut pair = Pair::shaken(&version::TLS13);
    let [first, second] =
        ["GET / HTTP/1.1\r\n", "Host: a\r\n"].map(|it| pair.records(it.as_bytes()));
    pass(&mut pair, secs(2));
    pair.deliver(&first[..9]);
    pass(&mut pair, secs(7));
    pair.deliver(&first[9..]);
    assert_eq!(pair.server.deadline(), Some((tick(secs(12)), Timer::RequestHead)));
    pair.deliver(&second[..9]);
    assert_eq!(pair.server.deadline(), Some((tick(secs(12)), Timer::RequestHead)));
}

#[test]
fn a_record_without_content_does_not_extend_keep_alive() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.client.refresh_traffic_keys().expect("TLS 1.3");
    let update = pair.flight();
    pass(&mut pair, secs(4));
    pair.deliver(&update[..9]);
    assert_eq!(pair.server.deadline().map(|it| it.1), Some(Timer::RequestHead));
    pass(&mut pair, Duration::from_millis(4500));
    pair.deliver(&update[9..]);
    pair.taken();
    assert_eq!(pair.server.deadline(), Some((tick(secs(5)), Timer::KeepAlive)));
}

#[test]
fn content_in_large_records_at_the_rate_is_enough_however_it_is_cut() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send(POST_MUCH);
    let records = pair.records(&[b'x'; 50_000]);
    let stream = pair.stream();
    let take = |pair: &mut Pair, part: &[u8]| {
        pair.deliver(part);
        pair.server.stream(pair.now, stream).read_to(u64::MAX).expect("the stream is open");
    };
    take(&mut pair, &[]);
    let end = drip(&mut pair, Duration::ZERO, &records, 260, take);
    assert!(end.is_ok_and(|end| end > secs(180)), "{end:?}");
}

#[test]
fn only_content_pays_once_a_record_is_complete() {
    let mut pair = Pair::shaken(&version::TLS13);
    let mut seal = pair.sealer();
    pair.deliver(&seal(ContentType::ApplicationData, POST_MUCH.as_bytes()));
    let stream = pair.stream();
    // A byte of content, its type and padding. The type does not exist, so that the last byte which
    // is not zero is the type (RFC 8446 5.4).
    let mut padded = vec![0; 16_000];
    (padded[0], padded[1]) = (b'x', 23);
    let records: Vec<u8> = (0..3).flat_map(|_| seal(ContentType::Unknown(0), &padded)).collect();
    pair.server.stream(pair.now, stream).read_to(u64::MAX).expect("the stream is open");
    let end = drip(&mut pair, Duration::ZERO, &records, 260, |pair, part| {
        pair.deliver(part);
        let _ = pair.server.stream(pair.now, stream).read_to(u64::MAX);
    });
    // The first record pays as content does until it is complete.
    let one = secs(16_022 / 260);
    assert!(end.is_err_and(|end| one <= end && end <= one + secs(3)), "{end:?}");
    let late = CloseReason::Expired(Expiry::RequestBody);
    assert!(pair.server.status().is_lingering());
    pair.closes_with(late);
}

#[test]
fn framing_that_arrives_in_parts_does_no_harm() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send(POST_CHUNKED);
    let stream = pair.stream();
    let ask = |pair: &mut Pair| {
        pair.server.stream(pair.now, stream).read_to(u64::MAX).expect("the stream is open");
    };
    ask(&mut pair);
    // Chunks of a byte, each in a record of its own that is cut: 300 bytes of content a second.
    for second in 1..60 {
        pair.now = tick(secs(second));
        for _ in 0..300 {
            let record = pair.records(b"1\r\nx\r\n");
            let (first, rest) = record.split_at(20);
            pair.deliver(first);
            pair.deliver(rest);
            ask(&mut pair);
        }
        pass(&mut pair, secs(second));
        assert!(pair.server.status().is_open(), "at {second} s");
    }
}

#[test]
fn a_pong_in_two_reads_is_a_sign_of_life() {
    let mut pair = websocket();
    for minute in 1..20 {
        let (at, timer) = pair.server.deadline().expect("a deadline is set");
        assert_eq!(timer, Timer::WebSocketPing, "ping {minute}");
        pair.at(at);
        pair.taken();
        let pong = pair.records(&PONG);
        let (first, rest) = pong.split_at(pong.len() / 2);
        pair.deliver(first);
        pair.at(tick(at.since(Tick::ZERO) + secs(1)));
        pair.deliver(rest);
        assert!(pair.server.status().is_open());
    }
}

#[test]
fn a_message_in_a_large_record_keeps_a_websocket_alive_at_its_rate() {
    let mut pair = websocket();
    let records = pair.records(&message(&[7; 40_000]));
    let end = drip(&mut pair, Duration::ZERO, &records, 400, deliver_messages);
    assert!(end.is_ok_and(|end| end > secs(90)), "{end:?}");
    // A message that comes at a byte a second is not enough.
    let records = pair.records(&message(&[7; 40_000]));
    let start = end.expect("the connection is open");
    let end = drip(&mut pair, start, &records, 1, deliver_messages);
    assert!(end.is_err_and(|end| end <= start + secs(7)), "{end:?}");
}

#[test]
fn a_thousand_tiny_messages_a_second_are_a_chat_and_no_flood() {
    let mut pair = websocket();
    for second in 1..120 {
        pair.now = tick(secs(second));
        for _ in 0..1000 {
            let record = pair.records(&message(b"hi"));
            deliver_messages(&mut pair, &record);
        }
        pass(&mut pair, secs(second));
        assert!(pair.server.status().is_open(), "at {second} s");
    }
}

/// Sends a frame in a record of its own. Returns whether the websocket is open afterwards.
fn send_frame(pair: &mut Pair, frame: &[u8]) -> bool {
    let record = pair.records(frame);
    deliver_messages(pair, &record);
    pair.taken();
    pair.server.status().is_open()
}

#[test]
fn pings_and_records_pay_from_one_budget() {
    // A ping costs 16 of the 16,384 points that a connection has. Its record pays for itself.
    let ping = [0x89, 0x80, 0, 0, 0, 0];
    let pings = |pair: &mut Pair| (0..2000).find(|_| !send_frame(pair, &ping));
    assert_eq!(pings(&mut websocket()), Some(16_384 / 16));
    // An empty record costs 64 points, which pings can't spend a second time.
    let mut pair = Pair::shaken(&version::TLS13);
    let mut seal = pair.sealer();
    pair.deliver(&seal(ContentType::ApplicationData, UPGRADE.as_bytes()));
    accept(&mut pair);
    for _ in 0..20 {
        let empty = seal(ContentType::ApplicationData, b"");
        deliver_messages(&mut pair, &empty);
    }
    let paid = (0..2000).find(|_| {
        let record = seal(ContentType::ApplicationData, &ping.repeat(8));
        deliver_messages(&mut pair, &record);
        // The client that could read the pongs is used up.
        pair.server.sent(pair.now, usize::MAX);
        !pair.server.status().is_open()
    });
    assert_eq!(paid, Some((16_384 - 20 * 64) / (8 * 16)));
    // A message refills the budget.
    let mut pair = websocket();
    assert!((0..1000).all(|_| send_frame(&mut pair, &ping)));
    assert!(send_frame(&mut pair, &message(&[0; 16 * 1024])));
    assert!((0..1000).all(|_| send_frame(&mut pair, &ping)));
}
