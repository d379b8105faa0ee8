//! How streams and connections end.

use portcullis::{CloseReason, Config, PeerClose, Refusal, ResetReason, Timer};
use portcullis_play::http2::{Pair, data, get, last_data, post, reset};
use portcullis_play::support::{millis, secs};

#[test]
fn one_stream_is_reset_while_another_goes_on() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[]), post(3, "/", &[]), get(5, "/")]);
    assert_eq!(pair.send(&[reset(1)]), ["1 reset Cancelled"]);
    assert!(pair.stream(1).reset().is_err());
    assert_eq!(pair.stream(3).reset(), Ok(()));
    pair.answer(5, 0);
    let expected = ["3 RST_STREAM INTERNAL_ERROR", "5 HEADERS :status=200 content-length=0, end"];
    assert_eq!(pair.takes(), expected);
    assert!(pair.connection.status().is_open());
}

#[test]
fn a_refusal_by_the_driver_is_an_answer() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[get(1, "/")]);
    assert_eq!(pair.stream(1).refuse(Refusal::Unavailable), Ok(()));
    let taken = pair.takes();
    assert!(taken[0].starts_with("1 HEADERS :status=503"), "{taken:?}");
    assert!(pair.connection.status().is_open());
    assert_eq!(pair.resume(), [""; 0]);
}

#[test]
fn a_refused_request_may_end_though_its_window_was_used_up() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[("content-length", "40000")])]);
    pair.send(&[data(1, &[0; 16_384]), data(1, &[0; 16_384])]);
    assert_eq!(pair.stream(1).refuse(Refusal::Unavailable), Ok(()));
    let taken = pair.takes();
    assert!(taken.iter().any(|it| it.starts_with("1 WINDOW_UPDATE")), "{taken:?}");
    assert_eq!(pair.send(&[last_data(1, &[0; 40_000 - 2 * 16_384])]), [""; 0]);
    assert_eq!(pair.takes(), [""; 0]);
    assert_eq!(pair.connection.deadline().map(|it| it.1), Some(Timer::KeepAlive));
}

#[test]
fn a_drain_says_goodbye_twice() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[get(1, "/")]);
    pair.connection.drain(pair.now);
    assert_eq!(pair.takes(), ["0 GOAWAY 2147483647 NO_ERROR "]);
    // A request that was on its way is answered.
    assert_eq!(pair.send(&[get(3, "/")]), ["3 GET /", "3 end"]);
    pair.after(millis(500));
    assert_eq!(pair.takes(), ["0 GOAWAY 3 NO_ERROR drained"]);
    assert_eq!(pair.send(&[get(5, "/")]), [""; 0]);
    pair.answer(1, 0);
    pair.answer(3, 0);
    let taken = pair.takes();
    assert_eq!(taken.len(), 2, "{taken:?}");
    assert_eq!(pair.closed(), Some(CloseReason::Drained));
}

#[test]
fn an_idle_connection_drains() {
    let mut pair = Pair::new(Config::default());
    pair.connection.drain(pair.now);
    assert_eq!(pair.takes(), ["0 GOAWAY 2147483647 NO_ERROR "]);
    pair.after(millis(500));
    assert_eq!(pair.takes(), ["0 GOAWAY 0 NO_ERROR drained"]);
    assert_eq!(pair.closed(), Some(CloseReason::Drained));
}

#[test]
fn an_old_connection_drains() {
    let config = Config::builder().connection_age_limit(Some(secs(60))).build().expect("valid");
    let mut pair = Pair::new(config);
    pair.send(&[get(1, "/")]);
    pair.after(secs(60));
    assert_eq!(pair.takes(), ["0 GOAWAY 2147483647 NO_ERROR "]);
    pair.answer(1, 0);
    pair.takes();
    pair.after(millis(500));
    assert_eq!(pair.closed(), Some(CloseReason::Drained));
}

#[test]
fn the_end_of_input_ends_requests_that_are_not_whole() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[]), get(3, "/")]);
    drop(pair.connection.receive_eof(pair.now));
    assert_eq!(pair.resume(), ["1 reset Truncated"]);
    pair.answer(3, 0);
    assert_eq!(pair.takes()[0], "3 HEADERS :status=200 content-length=0, end");
    assert_eq!(pair.resume(), [""; 0]);
    let reason = pair.closed();
    assert_eq!(reason, Some(CloseReason::Peer(PeerClose::Done)));
}

#[test]
fn an_end_of_the_connection_ends_all_streams() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[]), get(3, "/")]);
    pair.respond(3);
    pair.takes();
    let told = pair.send(&[reset(9)]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(pair.takes(), ["0 GOAWAY 3 PROTOCOL_ERROR http2_idle_stream"]);
    let stale = pair.stream(3).reset();
    assert_eq!(stale, Err(portcullis::Misuse::UnknownStream));
    assert_eq!(ResetReason::Cancelled.to_string(), "the peer cancelled the request");
}

#[test]
fn a_reset_by_the_driver_closes_at_once() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[get(1, "/")]);
    pair.connection.abort(pair.now, CloseReason::Peer(PeerClose::Reset));
    assert_eq!(pair.resume().len(), 1);
    assert!(pair.connection.status().closed().is_some());
}
