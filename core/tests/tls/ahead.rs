//! The first part of a record, before the rest has come. Its bytes after the header pay as content
//! does until the record is complete, and each part is a sign of life.

use crate::pair::{Pair, over_tls};
use crate::support::{POST_CHUNKED, POST_MUCH, millis, secs, tick};
use http::{HeaderMap, Request};
use portcullis::rustls::version;
use portcullis::websocket::{Handshake, Options};
use portcullis::{CloseReason, Config, Event, Timer, TlsFailure};
use std::time::Duration;

const HEADER: usize = 5;

/// An upload that the application waits for, begun at 0.
fn upload(head: &str) -> Pair {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send(head);
    ask(&mut pair);
    pair
}

fn ask(pair: &mut Pair) {
    let (now, stream) = (pair.now, pair.stream());
    pair.server.stream(now, stream).read_to(u64::MAX).expect("the stream is open");
    while pair.server.resume(now).next().is_some() {}
}

fn deadline(pair: &mut Pair) -> Option<(Duration, Timer)> {
    pair.server.deadline().map(|(at, timer)| (at.since(tick(Duration::ZERO)), timer))
}

/// Moves the time as a driver does: input that arrived earlier is read first.
fn pass(pair: &mut Pair, moment: Duration) {
    pair.at(tick(moment));
}

#[test]
fn the_first_part_of_a_record_pays_ahead_for_content() {
    let mut pair = upload(POST_MUCH);
    let record = pair.records(&[b'x'; 16_000]);
    assert_eq!(deadline(&mut pair), Some((secs(5), Timer::RequestBody)));
    // Two seconds are slack, and 240 bytes pay for a second each.
    for (bytes, until) in [
        (HEADER, secs(5)),
        (HEADER + 719, secs(5)),
        (HEADER + 720, secs(5)),
        (HEADER + 744, millis(5100)),
        (HEADER + 1200, secs(7)),
        (HEADER + 2400, secs(12)),
        (HEADER + 6720, secs(30)),
        // More bytes are no sign of life for ever.
        (HEADER + 12_000, secs(30)),
    ] {
        let mut pair = upload(POST_MUCH);
        let record = pair.records(&[b'x'; 16_000]);
        pair.deliver(&record[..bytes]);
        assert_eq!(deadline(&mut pair), Some((until, Timer::RequestBody)), "{bytes} bytes");
    }
    // When the record is complete, its content pays as usual, and is not paid twice.
    pair.deliver(&record[..HEADER + 1200]);
    pass(&mut pair, secs(1));
    pair.deliver(&record[HEADER + 1200..]);
    ask(&mut pair);
    assert_eq!(deadline(&mut pair), Some((secs(31), Timer::RequestBody)), "the silence");
    let end = (secs(2) + secs(16_000) / 240).max(secs(31));
    let next = pair.records(b"y");
    pass(&mut pair, secs(30));
    pair.deliver(&next[..2]);
    assert_eq!(deadline(&mut pair).map(|it| it.0), Some(end.min(secs(60))), "paid until then");
}

#[test]
fn each_part_of_a_record_is_only_a_sign_of_life() {
    let mut pair = upload(POST_MUCH);
    let record = pair.records(&[b'x'; 16_000]);
    pair.deliver(&record[..HEADER + 10_000]);
    for second in [10, 20, 29] {
        pass(&mut pair, secs(second));
        pair.deliver(&record[HEADER + 10_000 + second as usize..][..1]);
        let paid = secs(2) + secs(10_003) / 240;
        let silent = secs(second + 30);
        let (at, timer) = deadline(&mut pair).expect("a deadline is set");
        assert_eq!(timer, Timer::RequestBody);
        assert!(at <= silent.min(paid) && at + secs(1) / 100 > silent.min(paid), "{at:?}");
    }
}

#[test]
fn a_complete_record_without_content_is_no_sign_of_life() {
    let mut pair = upload(POST_CHUNKED);
    let content = pair.records(format!("2710\r\n{}\r\n", "x".repeat(10_000)).as_bytes());
    pair.deliver(&content);
    ask(&mut pair);
    assert_eq!(deadline(&mut pair), Some((secs(30), Timer::RequestBody)));
    pass(&mut pair, secs(10));
    let framing = pair.records(b"5;name");
    pair.deliver(&framing);
    assert_eq!(deadline(&mut pair), Some((secs(30), Timer::RequestBody)));
    // The first part of another record is one, even in the same read as a complete record.
    let [framing, more] = [&b"=value"[..], b"\r\n"].map(|it| pair.records(it));
    pair.deliver(&[&framing, &more[..9]].concat());
    assert_eq!(deadline(&mut pair), Some((secs(40), Timer::RequestBody)));
    pass(&mut pair, secs(12));
    pair.deliver(&more[9..12]);
    assert_eq!(deadline(&mut pair), Some((secs(42), Timer::RequestBody)));
}

#[test]
fn discarded_parts_of_records_are_no_silence() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n");
    pair.answer("early");
    pair.taken();
    assert_eq!(deadline(&mut pair), Some((secs(5), Timer::Linger)));
    let record = pair.records(&[b'x'; 4000]);
    for second in 1..=10 {
        let place = 400 * (second as usize - 1);
        pass(&mut pair, secs(3 * second) - millis(1));
        pair.deliver(&record[place..place + 400]);
        let until = (secs(3 * second + 5) - millis(1)).min(secs(30));
        assert_eq!(deadline(&mut pair), Some((until, Timer::Linger)), "part {second}");
    }
}

/// A websocket over TLS, accepted at 0, whose application asks for messages.
fn websocket() -> Pair {
    let client = crate::pair::client(crate::pair::client_settings(&version::TLS13));
    let config = Config::builder().websocket_ping_interval(None);
    let mut pair = Pair::with(over_tls(config), client);
    pair.settle();
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    pair.send(format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ));
    let request = Request::builder()
        .header("host", "a")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", key)
        .body(())
        .expect("a request");
    let accepted = Handshake::read(&request)
        .expect("a valid handshake")
        .accept(None, None)
        .expect("a valid handshake");
    let (now, stream) = (pair.now, pair.stream());
    let (fields, options) = (HeaderMap::new(), Options::default());
    pair.server
        .stream(now, stream)
        .accept_websocket(&accepted, &fields, options)
        .expect("the handshake is accepted");
    pair.taken();
    ask(&mut pair);
    pair
}

fn deliver(pair: &mut Pair, bytes: &[u8]) -> usize {
    let mut bytes = bytes.to_vec();
    let mut events = pair.server.receive(pair.now, &mut bytes).expect("the connection reads");
    let mut messages = 0;
    while let Some((_, event)) = events.next() {
        assert!(matches!(event, Event::Message { .. }), "{event:?}");
        messages += 1;
    }
    messages
}

#[test]
fn the_first_part_of_a_record_pays_ahead_for_a_message() {
    let mut message = vec![0x82, 0xfe, 0x2e, 0xe0, 0, 0, 0, 0];
    message.resize(8 + 12_000, b'x');
    for (bytes, until) in [
        (1, secs(5)),
        (HEADER + 720, secs(5)),
        (HEADER + 1200, secs(7)),
        (HEADER + 2400, secs(12)),
        (HEADER + 12_000, secs(2) + secs(50)),
    ] {
        let mut pair = websocket();
        assert_eq!(deadline(&mut pair), None);
        let record = pair.records(&message);
        assert_eq!(deliver(&mut pair, &record[..bytes]), 0);
        assert_eq!(deadline(&mut pair), Some((until, Timer::WebSocketMessage)), "{bytes} bytes");
        // The second part is heard, since a message is waited for.
        assert_eq!(deliver(&mut pair, &record[bytes..bytes + 1]), 0);
        let (at, _) = deadline(&mut pair).expect("a deadline is set");
        assert!(at >= until.min(secs(30)) && at < until.min(secs(30)) + secs(1) / 100, "{at:?}");
        assert_eq!(deliver(&mut pair, &record[bytes + 1..]), 1);
        assert_eq!(deadline(&mut pair), None, "the whole message has come");
    }
}

// ---- the limit of the handshake ---------------------------------------------------------------------

/// The header of a plaintext record, and the first bytes of its content.
fn begun(announced: usize, bytes: usize) -> Vec<u8> {
    let mut record = vec![22, 3, 1, (announced >> 8) as u8, announced as u8];
    record.resize(HEADER + bytes, 0);
    // A handshake message that is longer than all that will come.
    for (place, byte) in [1, 0, 0xff, 0xff].into_iter().enumerate().take(bytes) {
        record[HEADER + place] = byte;
    }
    record
}

#[test]
fn incomplete_records_of_the_handshake_count_towards_the_limit() {
    const LIMIT: usize = 4096;
    let too_large = CloseReason::Tls(TlsFailure::HandshakeTooLarge);
    for (wire, is_open) in [
        (begun(LIMIT - HEADER, 0), true),
        (begun(LIMIT - HEADER, LIMIT - HEADER - 1), true),
        (begun(LIMIT - HEADER + 1, 0), false),
        // Two records: the first one brings a part of a message.
        ([begun(1000, 1000), begun(LIMIT - 1000 - 2 * HEADER, 0)].concat(), true),
        ([begun(1000, 1000), begun(LIMIT - 1000 - 2 * HEADER + 1, 0)].concat(), false),
    ] {
        for step in [usize::MAX, 1, 7] {
            let client = crate::pair::client(crate::pair::client_settings(&version::TLS13));
            let config = over_tls(Config::builder().tls_handshake_limit(LIMIT as u64));
            let mut pair = Pair::with(config, client);
            pair.deliver_in(&wire, step);
            let is_waiting = pair.server.status().is_open();
            assert_eq!(is_waiting, is_open, "{} bytes, in steps of {step}", wire.len());
            if !is_open {
                pair.closes_with(too_large);
            }
        }
    }
}

#[test]
fn incomplete_messages_after_the_handshake_count_towards_the_limit() {
    use portcullis::rustls::ContentType;
    const LIMIT: usize = 4096;
    // rustls keeps only the plaintext of opened records. The whole next record counts.
    let kept = |pair: &mut Pair, seal: &mut dyn FnMut(ContentType, &[u8]) -> Vec<u8>| {
        let mut message = vec![0; 1000];
        // A key update that announces much more.
        message[..4].copy_from_slice(&[24, 0, 0xfd, 0xe8]);
        let first = seal(ContentType::Handshake, &message);
        pair.deliver(&first);
        first.len()
    };
    let mut is_open_at = Vec::new();
    for second in 2900..3100 {
        let client = crate::pair::client(crate::pair::client_settings(&version::TLS13));
        let config = over_tls(Config::builder().tls_handshake_limit(LIMIT as u64));
        let mut pair = Pair::with(config, client);
        pair.settle();
        let mut seal = pair.sealer();
        let first = kept(&mut pair, &mut seal);
        // The header alone decides.
        let header = seal(ContentType::Handshake, &vec![0; second]);
        pair.deliver(&header[..HEADER]);
        if pair.server.status().is_open() {
            is_open_at.push(first + header.len());
        }
    }
    assert_eq!(is_open_at.last(), Some(&LIMIT), "both together are exactly as long as the limit");
}

/// After a part of a record, a read of as many bytes as the connection allows keeps it open, even
/// if the application has credit for only some of them.
#[test]
fn a_read_up_to_the_limit_behind_a_part_of_a_record() {
    for part in [0, 1, 5, 6, 100, 8000, 16_000] {
        for credit in [1, 500, 20_000, 65_536, 300_000] {
            let mut pair = Pair::shaken(&version::TLS13);
            pair.send(POST_MUCH);
            let mut wire = pair.records(&vec![b'x'; 400_000]);
            pair.deliver(&wire[..part]);
            let (now, stream) = (pair.now, pair.stream());
            crate::support::read_more(pair.server.stream(now, stream), credit)
                .expect("the stream is open");
            let limit = pair.server.receive_limit();
            assert!(limit >= pair.config.receive_buffer_limit() as usize);
            let mut delivered = 0;
            let mut events = pair
                .server
                .receive(now, &mut wire[part..part + limit])
                .expect("the connection reads");
            while let Some((_, event)) = events.next() {
                let Event::Data { data, .. } = event else { panic!("{event:?}") };
                delivered += data.len() as u64;
            }
            drop(events);
            assert!(delivered > 0 && delivered <= credit, "{delivered} of {credit}");
            let status = pair.server.status();
            assert!(status.is_open(), "{part}, {credit}: {status:?}");
        }
    }
}
