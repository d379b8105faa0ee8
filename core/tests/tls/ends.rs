//! How connections end over TLS: by either side, orderly or not, and before the handshake.

use crate::pair::{Pair, VERSIONS, over_tls};
use crate::support::cuts::close_text;
use crate::support::{GET, POST_5, Script, Seen, secs};
use http::StatusCode;
use portcullis::rustls::{AlertDescription, version};
use portcullis::{
    BodyLength, CloseReason, Config, Connection, Expiry, PeerClose, ResetReason, Tick, Timer,
    TlsFailure,
};

fn tls(failure: TlsFailure) -> CloseReason {
    CloseReason::Tls(failure)
}

/// Asserts that the client accepts `bytes`, and that they end with close_notify.
fn assert_ends_well(pair: &mut Pair, bytes: &[u8]) {
    pair.read(bytes);
    let state = pair.client.process_new_packets().expect("good records");
    assert!(state.peer_has_closed(), "a close_notify");
}

#[test]
fn our_close_notify_is_sent_once_after_the_last_answer() {
    for version in VERSIONS {
        let mut pair = Pair::shaken(version);
        pair.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        pair.answer("the last");
        let status = pair.server.status();
        assert!(status.is_lingering() && status.read && status.write, "{status:?}");
        assert!(!status.wants_shutdown());
        let last = pair.taken_in(1);
        assert!(pair.server.status().wants_shutdown());
        assert_ends_well(&mut pair, &last);
        assert!(pair.answers.ends_with(b"the last"));
        assert!(!pair.server.status().write, "close_notify is sent once");
        // Input after that is discarded, whether its records are valid or not.
        pair.deliver(&[7; 1000]);
        assert_eq!(pair.server.deadline(), Some((Tick::ZERO.after(secs(5)), Timer::Linger)));
        pair.closes_with(CloseReason::Completed);
    }
}

#[test]
fn the_peers_end_is_orderly_and_requests_before_it_are_answered() {
    for version in VERSIONS {
        let mut pair = Pair::shaken(version);
        let mut records = pair.records(GET.as_bytes());
        pair.client.send_close_notify();
        records.extend(pair.flight());
        records.extend([1, 2, 3]);
        let seen = pair.deliver(&records);
        assert!(matches!(&seen[..], [Seen::Request(..), Seen::End(_)]), "{seen:?}");
        assert!(!pair.server.status().read, "input after close_notify is ignored");
        pair.answer("to the end");
        let seen = pair.eof();
        assert!(seen.is_empty());
        let last = pair.taken();
        assert_ends_well(&mut pair, &last);
        assert!(pair.answers.ends_with(b"to the end"));
        pair.closes_with(CloseReason::Peer(PeerClose::Done));
    }
}

#[test]
fn a_fin_without_close_notify_is_a_truncation() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.eof();
    let last = pair.taken();
    assert_ends_well(&mut pair, &last);
    pair.closes_with(CloseReason::Peer(PeerClose::Unannounced));

    // Within a record, but between two requests.
    let mut pair = Pair::shaken(&version::TLS13);
    let records = pair.records(GET.as_bytes());
    pair.deliver(&records[..10]);
    pair.eof();
    pair.closes_with(CloseReason::Peer(PeerClose::Unannounced));
}

#[test]
fn an_end_within_content_is_truncation_announced_or_not() {
    for announced in [true, false] {
        let mut pair = Pair::shaken(&version::TLS13);
        pair.send(format!("{POST_5}abc"));
        let stream = pair.stream();
        crate::support::read_more(pair.server.stream(pair.now, stream), 5)
            .expect("the stream is open");
        let events = pair.server.resume(pair.now);
        assert_eq!(crate::support::pull(events, &mut pair.stream), [crate::support::data("abc")]);
        crate::support::read_more(pair.server.stream(pair.now, stream), 2)
            .expect("the stream is open");
        let seen = if announced {
            pair.client.send_close_notify();
            let notify = pair.flight();
            pair.deliver(&notify)
        } else {
            pair.eof()
        };
        assert_eq!(seen, [Seen::Reset(ResetReason::Truncated)]);
        let last = pair.taken();
        assert_ends_well(&mut pair, &last);
        assert!(pair.answers.starts_with(b"HTTP/1.1 400"));
        pair.closes_with(CloseReason::Peer(PeerClose::Truncated));
    }
}

#[test]
fn answers_to_faults_come_over_tls() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send("GET / HTTP/1.1\r\n");
    let (at, timer) = pair.server.deadline().expect("a deadline is set");
    assert_eq!(timer, Timer::RequestHead);
    pair.at(at);
    let last = pair.taken();
    assert_ends_well(&mut pair, &last);
    assert!(pair.answers.starts_with(b"HTTP/1.1 408"));
    pair.closes_with(CloseReason::Expired(Expiry::RequestHead));
}

#[test]
fn an_idle_connection_is_left_with_a_close_notify_and_without_lingering() {
    for (draining, reason) in
        [(false, CloseReason::Expired(Expiry::KeepAlive)), (true, CloseReason::Drained)]
    {
        for version in VERSIONS {
            let mut pair = Pair::shaken(version);
            if draining {
                pair.server.drain(pair.now);
            }
            let (at, timer) = pair.server.deadline().expect("a deadline is set");
            assert_eq!(timer, Timer::KeepAlive);
            pair.at(at);
            assert!(!pair.server.status().read && !pair.server.status().is_cut_off());
            let last = pair.taken();
            assert_eq!(pair.server.status().closed(), Some(reason));
            assert_ends_well(&mut pair, &last);
        }
    }
}

#[test]
fn an_abrupt_end_sends_no_close_notify() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send(GET);
    let stream = pair.stream();
    let length = BodyLength::Known(10);
    let begun = pair.server.stream(pair.now, stream).respond(StatusCode::OK, [], length);
    let _ = begun.expect("an answer is owed");
    pair.taken();
    pair.server.stream(pair.now, stream).reset().expect("the stream is open");
    assert_eq!(pair.server.status().closed(), Some(CloseReason::Application));
    assert!(pair.server.status().is_cut_off() && !pair.server.status().write);
    assert_eq!(pair.server.memory(), size_of::<Connection>());
}

#[test]
fn a_record_that_was_changed_ends_with_an_alert() {
    for version in VERSIONS {
        for step in [7, usize::MAX] {
            let mut pair = Pair::shaken(version);
            let mut records = pair.records(GET.as_bytes());
            let behind = records.len();
            records.extend(pair.records(GET.as_bytes()));
            records[behind + 20] ^= 1;
            let seen = pair.deliver_in(&records, step);
            assert!(matches!(&seen[..], [Seen::Request(..), Seen::End(_)]), "{seen:?}");
            let last = pair.closes_with(tls(TlsFailure::Record));
            assert_eq!(pair.refused(&last), AlertDescription::BadRecordMac);
        }
    }
}

#[test]
fn a_record_with_too_large_a_length_is_not_waited_for() {
    for version in VERSIONS {
        let mut pair = Pair::shaken(version);
        let before = pair.server.memory();
        pair.deliver(&[23, 3, 3, 0xff]);
        assert!(pair.server.memory() < before + 200);
        pair.deliver(&[0xff]);
        let last = pair.closes_with(tls(TlsFailure::Record));
        assert!(!last.is_empty(), "an alert");
    }
}

#[test]
fn a_record_of_the_wrong_size_or_type_ends_with_an_alert() {
    // A record that is too large for TLS 1.3 but not for TLS 1.2, and a heartbeat.
    for header in [[23, 3, 3, 0x42, 0], [24, 3, 3, 0, 40]] {
        for version in VERSIONS {
            let mut pair = Pair::shaken(version);
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            pair.deliver(&header);
            pair.deliver(&vec![0; length]);
            let last = pair.closes_with(tls(TlsFailure::Record));
            assert_eq!(pair.refused(&last), AlertDescription::BadRecordMac, "{header:?}");
        }
    }
}

#[test]
fn failure_within_content_is_told_to_the_application() {
    let mut pair = Pair::shaken(&version::TLS13);
    let seen = pair.send(POST_5);
    assert!(matches!(&seen[..], [Seen::Request(..)]));
    pair.deliver(&[23, 3, 3, 0, 40]);
    pair.deliver(&[0; 40]);
    let events = pair.server.resume(pair.now);
    let seen = crate::support::pull(events, &mut pair.stream);
    assert_eq!(seen, [Seen::Reset(ResetReason::Truncated)]);
    pair.closes_with(tls(TlsFailure::Record));
}

#[test]
fn plain_http_is_answered_in_plaintext() {
    let expected = close_text(tls(TlsFailure::PlainHttp));
    for cut in [1, 10, GET.len()] {
        let mut script = Script::under((*over_tls(Config::builder())).clone());
        let refused = Seen::Refused(tls(TlsFailure::PlainHttp), None, None);
        assert_eq!(script.send(&GET[..cut]), [refused]);
        assert_eq!(script.try_send(&GET[cut..]), Ok(Vec::new()), "it is discarded");
        assert_eq!(script.waiting(), expected);
        assert_eq!(script.closes_with(tls(TlsFailure::PlainHttp)), expected);
    }
    // Later input is discarded, even if it begins like TLS.
    let mut script = Script::under((*over_tls(Config::builder())).clone());
    script.send(GET);
    script.send([22, 3, 1]);
    assert_eq!(script.closes_with(tls(TlsFailure::PlainHttp)), expected);
}

#[test]
fn input_that_is_neither_http_nor_tls_is_refused() {
    for garbage in [&b"\0\0\0\0\0\0"[..], b"\x80\x2e\x01\x03\x01", b"hello", b"\r\n\r\n\r\n"] {
        let mut script = Script::under((*over_tls(Config::builder())).clone());
        script.send(garbage);
        script.closes_with(tls(TlsFailure::Handshake));
    }
}

#[test]
fn tls_on_a_plaintext_port_is_closed_at_once() {
    for bytes in [1, 2, 100] {
        let hello = Pair::new(&version::TLS13).flight();
        let mut script = Script::new();
        assert!(script.send(&hello[..bytes]).is_empty());
        assert_eq!(script.status().closed(), Some(tls(TlsFailure::OnPlainPort)));
    }
    // Later in a connection the same byte is an invalid method.
    let mut script = Script::after(GET);
    script.answer(200, "");
    script.output();
    script.send([22, 3, 1]);
    script.send("\r\n\r\n");
    assert!(script.waiting().starts_with("HTTP/1.1 400"));
}

#[test]
fn an_idle_connection_that_makes_room_sends_a_close_notify() {
    for version in VERSIONS {
        let mut pair = Pair::shaken(version);
        pair.send(GET);
        assert!(!pair.server.close_idle(pair.now), "a request has come");
        pair.answer("ok");
        assert!(!pair.server.is_idle(), "the answer is not sent yet");
        let answer = pair.taken();
        pair.read(&answer);
        assert!(pair.server.close_idle(pair.now));
        let last = pair.taken();
        assert_ends_well(&mut pair, &last);
        pair.closes_with(CloseReason::MadeRoom);
    }
}

#[test]
fn only_a_handshake_that_has_not_begun_makes_room() {
    let mut pair = Pair::new(&version::TLS13);
    let hello = pair.flight();
    assert!(pair.server.is_idle());
    pair.deliver(&hello[..1]);
    assert!(!pair.server.close_idle(pair.now));
    pair.deliver(&hello[1..]);
    assert!(!pair.server.close_idle(pair.now));
    pair.taken();
    assert!(!pair.server.close_idle(pair.now), "the handshake is in progress");

    let mut pair = Pair::new(&version::TLS13);
    assert!(pair.server.close_idle(pair.now));
    pair.closes_with(CloseReason::MadeRoom);

    // With a part of a record it does not make room either.
    let mut pair = Pair::shaken(&version::TLS13);
    let records = pair.records(GET.as_bytes());
    pair.deliver(&records[..3]);
    assert!(!pair.server.close_idle(pair.now));
}
