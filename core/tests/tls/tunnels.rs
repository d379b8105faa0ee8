//! Tunnels over TLS: each direction ends with a close_notify, and not without one.

use crate::pair::{Pair, VERSIONS};
use crate::support::{Seen, data, end, read_more};
use bytes::Bytes;
use http::StatusCode;
use portcullis::{CloseReason, Life, PeerClose, ResetReason};

/// A tunnel that is accepted, and whose application asks for bytes.
fn opened(pair: &mut Pair) {
    pair.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    let (now, stream) = (pair.now, pair.stream());
    let mut stream = pair.server.stream(now, stream);
    stream.accept_tunnel(StatusCode::OK, []).expect("it was asked for");
    read_more(stream, 1000).expect("it is open");
    drop(pair.server.resume(now));
    assert_eq!(pair.answered(), "HTTP/1.1 200 OK\r\n\r\n");
}

fn say(pair: &mut Pair, text: &'static str) {
    let (now, stream) = (pair.now, pair.stream());
    let sent = pair.server.stream(now, stream).send(&mut Bytes::from_static(text.as_bytes()));
    sent.expect("it is open");
}

fn finish(pair: &mut Pair) {
    let (now, stream) = (pair.now, pair.stream());
    pair.server.stream(now, stream).finish(None).expect("it is open");
}

#[test]
fn the_application_ends_first_and_the_peer_goes_on() {
    for version in VERSIONS {
        let mut pair = Pair::shaken(version);
        opened(&mut pair);
        say(&mut pair, "all of it");
        finish(&mut pair);
        assert_eq!(pair.answered(), "all of it");
        assert_eq!(pair.server.status().life, Life::Finished { shutdown_write: true });
        let state = pair.client.process_new_packets().expect("nothing new");
        assert!(state.peer_has_closed(), "a close_notify came");
        assert_eq!(pair.send("the rest"), [data("the rest")]);
        pair.client.send_close_notify();
        assert_eq!(pair.settle(), [end()]);
        assert_eq!(pair.server.status().closed(), Some(CloseReason::Completed));
    }
}

#[test]
fn the_peer_ends_first_and_the_application_goes_on() {
    for version in VERSIONS {
        let mut pair = Pair::shaken(version);
        opened(&mut pair);
        assert_eq!(pair.send("question"), [data("question")]);
        pair.client.send_close_notify();
        assert_eq!(pair.settle(), [end()]);
        say(&mut pair, "answer");
        assert_eq!(pair.answered(), "answer");
        finish(&mut pair);
        pair.settle();
        assert_eq!(pair.server.status().closed(), Some(CloseReason::Completed));
    }
}

#[test]
fn an_end_that_nobody_has_sealed_is_no_end() {
    for finishes in [false, true] {
        let mut pair = Pair::shaken(VERSIONS[0]);
        opened(&mut pair);
        if finishes {
            finish(&mut pair);
            pair.settle();
        }
        assert_eq!(pair.eof(), [Seen::Reset(ResetReason::Truncated)]);
        let reason = CloseReason::Peer(PeerClose::Truncated);
        assert_eq!(pair.server.status().closed(), Some(reason));
        assert_eq!(pair.server.status().is_cut_off(), !finishes);
    }
}

#[test]
fn a_record_that_is_not_the_peers_ends_it_with_an_alert() {
    let mut pair = Pair::shaken(VERSIONS[0]);
    opened(&mut pair);
    let mut records = pair.records(b"x");
    if let Some(byte) = records.last_mut() {
        *byte ^= 1;
    }
    let told = pair.deliver(&records);
    let told = if told.is_empty() { pair.deliver(&[]) } else { told };
    let mut seen = told;
    let mut stream = None;
    seen.extend(crate::support::pull(pair.server.resume(pair.now), &mut stream));
    assert_eq!(seen, [Seen::Reset(ResetReason::Truncated)]);
    assert!(!pair.taken().is_empty(), "an alert");
    pair.eof();
    assert!(pair.server.status().is_cut_off());
}
