//! Records that cost something and bring nothing end the connection with a reason. Slow or useful
//! ones do not.

use crate::pair::{Pair, VERSIONS};
use crate::support::{GET, POST_MUCH, secs};
use portcullis::rustls::{ContentType, version};
use portcullis::{CloseReason, Tick, TlsFailure};

const FLOOD: CloseReason = CloseReason::Tls(TlsFailure::Flood);

/// Sends the records of `make` until the connection ends. Returns how many were sent.
fn until_the_end(pair: &mut Pair, mut make: impl FnMut(&mut Pair) -> Vec<u8>) -> usize {
    for count in 0..20_000 {
        if !pair.server.status().is_open() {
            return count;
        }
        let bytes = make(pair);
        pair.deliver(&bytes);
        if let Some(stream) = pair.stream {
            let _ = pair.server.stream(pair.now, stream).read_to(u64::MAX);
            let now = pair.now;
            while pair.server.resume(now).next().is_some() {}
        }
    }
    panic!("the connection never ends");
}

#[test]
fn key_updates() {
    let mut pair = Pair::shaken(&version::TLS13);
    let count = until_the_end(&mut pair, |pair| {
        pair.client.refresh_traffic_keys().expect("TLS 1.3");
        pair.flight()
    });
    assert!((30..40).contains(&count), "{count}");
    pair.closes_with(FLOOD);
}

#[test]
fn key_updates_between_bytes() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send(POST_MUCH);
    let count = until_the_end(&mut pair, |pair| {
        let mut bytes = Vec::new();
        for _ in 0..20 {
            pair.client.refresh_traffic_keys().expect("TLS 1.3");
            bytes.extend(pair.flight());
        }
        bytes.extend(pair.records(b"x"));
        bytes
    });
    assert!((10..20).contains(&count), "{count}");
    pair.closes_with(FLOOD);
}

#[test]
fn tiny_records() {
    for version in VERSIONS {
        let mut pair = Pair::shaken(version);
        pair.send(POST_MUCH);
        // Each record brings a byte, and costs what two bytes earn.
        let count = until_the_end(&mut pair, |pair| pair.records(b"x"));
        assert!((16_000..16_600).contains(&count), "{count}");
        pair.closes_with(FLOOD);
    }
}

#[test]
fn tiny_records_in_one_read() {
    for version in VERSIONS {
        let mut pair = Pair::shaken(version);
        pair.send(POST_MUCH);
        let count =
            until_the_end(&mut pair, |pair| (0..100).flat_map(|_| pair.records(b"x")).collect());
        assert!((160..166).contains(&count), "{count}");
        pair.closes_with(FLOOD);
    }
}

#[test]
fn a_slow_trickle_and_a_long_stream_are_no_floods() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send(POST_MUCH);
    let stream = pair.stream();
    for tenth in 0..20_000 {
        pair.now = Tick::ZERO.after(secs(1) / 60 * tenth);
        let record = pair.records(if tenth < 5000 { b"x" } else { b"sixteen and more" });
        if tenth >= 5000 {
            pair.now = Tick::ZERO.after(secs(90));
        }
        pair.deliver(&record);
        pair.server
            .stream(pair.now, stream)
            .read_to(u64::MAX)
            .expect("the connection is open: this is no flood");
    }
}

#[test]
fn a_key_update_is_answered() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.client.refresh_traffic_keys().expect("TLS 1.3");
    let seen = pair.send(GET);
    assert_eq!(seen.len(), 2);
    pair.answer("under new keys");
    assert!(pair.answered().ends_with("under new keys"));
}

#[test]
fn records_of_an_incomplete_message_are_limited() {
    // A handshake message that announces 60,000 bytes, with a byte in each record. The records are
    // plaintext, since the handshake has not begun.
    let mut pair = Pair::new(&version::TLS13);
    let mut head = true;
    let count = until_the_end(&mut pair, |_| {
        if std::mem::take(&mut head) {
            return vec![22, 3, 1, 0, 4, 1, 0, 0xea, 0x60];
        }
        vec![22, 3, 1, 0, 1, 0]
    });
    assert!((1000..1200).contains(&count), "{count}");
    pair.closes_with(FLOOD);
}

#[test]
fn incomplete_messages_after_the_handshake_are_limited() {
    // A key update that announces 65,000 bytes. Until it is complete nothing can be sealed.
    for (step, reason, counts) in [
        (1, FLOOD, 200..300),
        (1000, CloseReason::Tls(TlsFailure::HandshakeTooLarge), 10..20),
        (16_000, CloseReason::Tls(TlsFailure::HandshakeTooLarge), 2..4),
    ] {
        let mut pair = Pair::shaken(&version::TLS13);
        let mut seal = pair.sealer();
        pair.deliver(&seal(ContentType::Handshake, &[24, 0, 0xfd, 0xe8]));
        let part = vec![0; step];
        let count = until_the_end(&mut pair, |_| seal(ContentType::Handshake, &part));
        assert!(counts.contains(&count), "{count} of {step}");
        assert_eq!(pair.closes_with(reason), b"");
    }
}
