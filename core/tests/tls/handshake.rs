//! The handshake, whatever the cuts, the client and the clock do.

use crate::pair::{Pair, VERSIONS, client, client_settings, over_tls, server_settings};
use crate::support::{GET, NANOSECOND, Seen, secs};
use portcullis::rustls::client::Resumption;
use portcullis::rustls::{AlertDescription, Error, HandshakeKind, version};
use portcullis::{CloseReason, Config, Connection, Expiry, Phase, Tick, Timer, TlsFailure};
use std::sync::Arc;

fn failed() -> CloseReason {
    CloseReason::Tls(TlsFailure::Handshake)
}

#[test]
fn a_request_is_served_over_both_versions() {
    for version in VERSIONS {
        let mut pair = Pair::new(version);
        assert_eq!(pair.server.phase(), Phase::Handshake);
        pair.settle();
        assert_eq!(pair.server.phase(), Phase::Idle);
        for _ in 0..3 {
            let seen = pair.send(GET);
            assert!(matches!(&seen[..], [Seen::Request(..), Seen::End(_)]), "{seen:?}");
            pair.answer("hello");
            assert!(pair.answered().ends_with("\r\n\r\nhello"));
        }
        assert_eq!(pair.server.requests(), 3);
    }
}

/// Shakes hands and sends a request, all cut by `cut`. The events must be those of one request.
fn cut_up(mut pair: Pair, mut cut: impl FnMut(usize, &[u8]) -> Vec<usize>) {
    let mut seen = Vec::new();
    let mut flights = 0;
    let mut asked = false;
    while flights < 8 {
        if !pair.client.is_handshaking() && !asked {
            asked = true;
            use std::io::Write;
            pair.client.writer().write_all(GET.as_bytes()).expect("room");
        }
        let flight = pair.flight();
        let mut from = 0;
        for to in cut(flights, &flight).into_iter().chain([flight.len()]) {
            seen.extend(pair.deliver(&flight[from..to]));
            from = to;
        }
        let answers = pair.taken();
        pair.read(&answers);
        flights += 1;
    }
    assert!(matches!(&seen[..], [Seen::Request(..), Seen::End(_)]), "{seen:?}");
}

#[test]
fn flights_come_byte_by_byte() {
    for version in VERSIONS {
        cut_up(Pair::new(version), |_, flight| (0..flight.len()).collect());
    }
}

#[test]
fn flights_are_cut_in_two_anywhere() {
    for version in VERSIONS {
        // The second flight is the client's Finished, followed by the request in TLS 1.3.
        for number in 0..3 {
            let mut length = 1;
            let mut place = 1;
            while place < length {
                cut_up(Pair::new(version), |flight, bytes| {
                    if flight != number {
                        return Vec::new();
                    }
                    length = bytes.len();
                    if place < length { vec![place] } else { Vec::new() }
                });
                place += 7;
            }
        }
    }
}

#[test]
fn a_message_may_come_in_many_records() {
    for (version, size) in [(&version::TLS13, 32), (&version::TLS12, 32), (&version::TLS13, 100)] {
        let mut settings = client_settings(version);
        settings.max_fragment_size = Some(size);
        for step in [1, 3, 64, usize::MAX] {
            let pair = Pair::with(over_tls(Config::builder()), client(settings.clone()));
            cut_up(pair, |_, flight| (1..flight.len()).step_by(step.min(1 << 20)).collect());
        }
    }
}

#[test]
fn garbage_at_each_stage_ends_with_an_alert() {
    for version in VERSIONS {
        for stage in 0..2 {
            for place in [0, 1, 3, 5, 9, 40] {
                let mut pair = Pair::new(version);
                for _ in 0..stage {
                    let flight = pair.flight();
                    pair.deliver(&flight);
                    let answers = pair.taken();
                    pair.read(&answers);
                }
                let mut flight = pair.flight();
                let Some(byte) = flight.get_mut(place) else { continue };
                *byte ^= 0x55;
                pair.deliver(&flight);
                if pair.server.status().is_open() {
                    // The changed record is longer now, so the server waits for its rest.
                    let deadline = pair.server.deadline().expect("a deadline is set");
                    assert_eq!(deadline, (Tick::ZERO.after(secs(60)), Timer::TlsHandshake));
                    continue;
                }
                if stage == 0 && place == 0 {
                    // 0x16 ^ 0x55 is a capital letter, which begins a method.
                    pair.closes_with(CloseReason::Tls(TlsFailure::PlainHttp));
                    continue;
                }
                let alert = pair.closes_with(failed());
                // For some malformed messages rustls sends no alert.
                assert!(!alert.is_empty() || (6..10).contains(&place), "no alert at {place}");
            }
        }
    }
}

#[test]
fn the_deadline_is_not_extended() {
    let timeout = Config::default().tls_handshake_timeout();
    let at = Tick::ZERO.after(timeout);
    type Act = fn(&mut Pair, Vec<u8>);
    let silent: Act = |_, _| {};
    let byte_by_byte: Act = |pair, hello| {
        for (second, byte) in (1..55).zip(&hello) {
            pair.at(Tick::ZERO.after(secs(second)));
            pair.deliver(&[*byte]);
        }
    };
    let stops_after_the_flight: Act = |pair, hello| {
        pair.at(Tick::ZERO.after(secs(30)));
        pair.deliver(&hello);
        pair.taken();
    };
    let takes_nothing: Act = |pair, hello| {
        pair.deliver(&hello);
        assert!(pair.server.status().write);
    };
    for act in [silent, byte_by_byte, stops_after_the_flight, takes_nothing] {
        for version in VERSIONS {
            let mut pair = Pair::new(version);
            let hello = pair.flight();
            act(&mut pair, hello);
            assert_eq!(pair.server.deadline(), Some((at, Timer::TlsHandshake)));
            pair.at(Tick::ZERO.after(timeout - NANOSECOND));
            assert!(pair.server.status().is_open());
            pair.at(at);
            let expired = CloseReason::Expired(Expiry::TlsHandshake);
            assert_eq!(pair.server.status().closed(), Some(expired));
            assert_eq!(pair.server.memory(), size_of::<Connection>());
        }
    }
}

#[test]
fn keep_alive_begins_with_the_end_of_the_handshake() {
    let mut pair = Pair::new(&version::TLS13);
    pair.now = Tick::ZERO.after(secs(59));
    pair.settle();
    let expected = pair.now.after(Config::default().keep_alive_timeout());
    assert_eq!(pair.server.deadline(), Some((expected, Timer::KeepAlive)));
    pair.at(expected);
    pair.closes_with(CloseReason::Expired(Expiry::KeepAlive));
}

#[test]
fn bytes_of_the_handshake_are_limited_whatever_the_cuts() {
    let mut settings = client_settings(&version::TLS13);
    // A long ALPN offer makes a long message.
    settings.alpn_protocols =
        (0..200).map(|number| format!("{number:0200}").into_bytes()).collect();
    for fragments in [None, Some(300)] {
        settings.max_fragment_size = fragments;
        for step in [1, 100, 5000, usize::MAX] {
            let limited = over_tls(Config::builder().tls_handshake_limit(8192));
            let mut pair = Pair::with(limited, client(settings.clone()));
            let hello = pair.flight();
            assert!(hello.len() > 40_000);
            pair.deliver_in(&hello, step);
            pair.closes_with(CloseReason::Tls(TlsFailure::HandshakeTooLarge));
        }
    }
}

#[test]
fn a_client_that_leaves_within_the_handshake_has_its_own_reason() {
    for bytes in [0, 1, 100] {
        let mut pair = Pair::new(&version::TLS13);
        let hello = pair.flight();
        pair.deliver(&hello[..bytes]);
        pair.eof();
        let reason = CloseReason::Tls(TlsFailure::Abandoned);
        assert_eq!(pair.server.status().closed(), Some(reason));
    }
}

#[test]
fn alpn_offers_the_spoken_protocols() {
    for version in VERSIONS {
        for (http2, offer, agreed) in [
            (true, vec!["http/1.1", "h2"], Ok(Some("h2"))),
            (true, vec!["h2"], Ok(Some("h2"))),
            (true, vec!["http/1.1"], Ok(Some("http/1.1"))),
            (true, vec![], Ok(None)),
            (false, vec!["h2", "http/1.1"], Ok(Some("http/1.1"))),
            (false, vec!["http/1.1"], Ok(Some("http/1.1"))),
            (false, vec!["http/1.0", "http/1.1"], Ok(Some("http/1.1"))),
            (false, vec!["http/1.0"], Ok(Some("http/1.0"))),
            (false, vec![], Ok(None)),
            (false, vec!["h2"], Err(())),
            (false, vec!["acme-tls/1", "smtp"], Err(())),
        ] {
            let mut settings = client_settings(version);
            settings.alpn_protocols = offer.iter().map(|name| name.as_bytes().to_vec()).collect();
            let mut pair = Pair::with(over_tls(Config::builder().http2(http2)), client(settings));
            let hello = pair.flight();
            pair.deliver(&hello);
            match agreed {
                Ok(protocol) => {
                    pair.settle();
                    assert_eq!(pair.client.alpn_protocol(), protocol.map(str::as_bytes));
                    assert_eq!(pair.server.phase(), Phase::Idle);
                }
                Err(()) => {
                    let alert = pair.closes_with(failed());
                    assert_eq!(pair.refused(&alert), AlertDescription::NoApplicationProtocol);
                }
            }
        }
    }
}

#[test]
fn the_callers_early_data_is_switched_off() {
    let mut settings = server_settings();
    settings.max_early_data_size = u32::MAX;
    let config = Arc::new(Config::builder().tls(Arc::new(settings)).build().expect("valid"));
    let mut settings = client_settings(&version::TLS13);
    settings.resumption = Resumption::in_memory_sessions(8);
    settings.enable_early_data = true;
    for _ in 0..2 {
        let mut pair = Pair::with(Arc::clone(&config), client(settings.clone()));
        assert!(pair.client.early_data().is_none(), "no ticket allows early data");
        pair.settle();
        assert_eq!(pair.server.phase(), Phase::Idle);
    }
}

#[test]
fn sessions_are_resumed() {
    for version in VERSIONS {
        let mut settings = client_settings(version);
        settings.resumption = Resumption::in_memory_sessions(8);
        let config = over_tls(Config::builder());
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut pair = Pair::with(Arc::clone(&config), client(settings.clone()));
            pair.settle();
            kinds.push(pair.client.handshake_kind().expect("complete"));
            pair.send(GET);
            pair.answer("resumed or not");
            assert!(pair.answered().ends_with("resumed or not"));
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
    }
}

#[test]
fn a_client_that_does_not_trust_the_server_sends_an_alert() {
    let mut pair = Pair::new(&version::TLS13);
    let mut settings = client_settings(&version::TLS13);
    settings.alpn_protocols.clear();
    let name = "elsewhere".try_into().expect("a name");
    pair.client =
        portcullis::rustls::ClientConnection::new(Arc::new(settings), name).expect("valid");
    let hello = pair.flight();
    pair.deliver(&hello);
    let answers = pair.taken();
    pair.client.read_tls(&mut answers.as_slice()).expect("all");
    let error = pair.client.process_new_packets().expect_err("another name");
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error:?}");
    let alert = pair.flight();
    pair.deliver(&alert);
    pair.closes_with(CloseReason::Tls(TlsFailure::Alert));
}

#[test]
fn a_draining_connection_may_finish_its_handshake() {
    let mut pair = Pair::new(&version::TLS13);
    pair.server.drain(pair.now);
    pair.settle();
    let (at, timer) = pair.server.deadline().expect("a deadline is set");
    assert_eq!(timer, Timer::KeepAlive);
    pair.at(at);
    pair.closes_with(CloseReason::Drained);
}
