//! CONNECT over HTTP/2 (RFC 9113 8.5): a stream that carries bytes in both directions.

use http::StatusCode;
use portcullis::{Config, Misuse, Timer};
use portcullis_play::http2::{
    END_HEADERS, END_STREAM, HEADERS, Pair, block, connect, data, frame, get, last_data, post,
    reset, settings, window_update,
};
use portcullis_play::support::{HOUR, secs, tick};

/// HEADERS of a plain CONNECT.
fn connects(stream: u32, flags: u8) -> Vec<u8> {
    let fields = [(":method", "CONNECT"), (":authority", "a:443")];
    frame(HEADERS, END_HEADERS | flags, stream, &block(&fields))
}

fn accept(pair: &mut Pair, id: u32) -> Result<(), Misuse> {
    pair.stream(id).accept_tunnel(StatusCode::OK, [])
}

/// A tunnel on stream 1, whose application asks for `credit` bytes.
fn opened(credit: u64) -> Pair {
    let mut pair = Pair::new(Config::default());
    assert_eq!(pair.send(&[connects(1, 0)]), ["1 CONNECT a:443"]);
    assert_eq!(accept(&mut pair, 1), Ok(()));
    assert_eq!(pair.takes(), ["1 HEADERS :status=200"]);
    assert_eq!(pair.stream(1).read_to(credit), Ok(()));
    pair.takes();
    pair
}

#[test]
fn bytes_pass_in_both_directions_beside_requests() {
    let mut pair = opened(1000);
    assert_eq!(pair.send(&[data(1, b"hello"), get(3, "/")]), ["1 data 5", "3 GET /", "3 end"]);
    assert_eq!(pair.sends(1, 7), 7);
    pair.answer(3, 0);
    assert_eq!(pair.takes(), ["1 DATA 7", "3 HEADERS :status=200 content-length=0, end"]);
    assert_eq!(pair.stream(1).received(), 5);
}

#[test]
fn each_direction_ends_by_itself() {
    let mut pair = opened(1000);
    pair.finish(1);
    assert_eq!(pair.takes(), ["1 DATA 0, end"]);
    assert_eq!(pair.send(&[data(1, b"still")]), ["1 data 5"]);
    assert_eq!(pair.stream(1).room(), 0);
    assert_eq!(pair.stream(1).finish(None), Err(Misuse::TooLong { left: 0 }));
    assert_eq!(pair.send(&[last_data(1, b"last")]), ["1 data 4", "1 end"]);
    assert_eq!(pair.stream(1).finish(None), Err(Misuse::UnknownStream));
    assert_eq!(pair.takes(), [""; 0]);

    let mut pair = opened(1000);
    assert_eq!(pair.send(&[last_data(1, b"question")]), ["1 data 8", "1 end"]);
    assert_eq!(pair.sends(1, 6), 6);
    assert_eq!(pair.takes(), ["1 DATA 6"]);
    pair.finish(1);
    assert_eq!(pair.takes(), ["1 DATA 0, end"]);
    assert!(pair.connection.status().is_open());
    assert_eq!(pair.stream(1).finish(None), Err(Misuse::UnknownStream));
}

#[test]
fn what_both_have_ended_is_still_delivered() {
    let mut pair = opened(3);
    assert_eq!(pair.send(&[last_data(1, b"hello")]), ["1 data 3"]);
    pair.finish(1);
    assert_eq!(pair.takes(), ["1 DATA 0, end"]);
    assert_eq!(pair.stream(1).read_to(99), Ok(()));
    assert_eq!(pair.resume(), ["1 data 2", "1 end"]);
    // The other order.
    let mut pair = opened(3);
    pair.finish(1);
    assert_eq!(pair.send(&[last_data(1, b"hello")]), ["1 data 3"]);
    assert_eq!(pair.stream(1).read_to(99), Ok(()));
    assert_eq!(pair.resume(), ["1 data 2", "1 end"]);
    assert_eq!(pair.takes(), ["1 DATA 0, end"]);
}

#[test]
fn the_end_may_come_with_the_request_and_bytes_before_the_acceptance() {
    let mut pair = Pair::new(Config::default());
    assert_eq!(pair.send(&[connects(1, END_STREAM)]), ["1 CONNECT a:443", "1 end"]);
    assert_eq!(accept(&mut pair, 1), Ok(()));
    assert_eq!(pair.resume(), ["1 end"], "of the tunnel");
    assert_eq!(pair.sends(1, 3), 3);
    pair.finish(1);
    assert_eq!(pair.takes(), ["1 HEADERS :status=200", "1 DATA 3", "1 DATA 0, end"]);

    let mut pair = Pair::new(Config::default());
    assert_eq!(pair.send(&[connects(1, 0), data(1, b"early")]), ["1 CONNECT a:443"]);
    assert_eq!(accept(&mut pair, 1), Ok(()));
    assert_eq!(pair.stream(1).read_to(9), Ok(()));
    assert_eq!(pair.resume(), ["1 data 5"]);
    // What was delivered as content would be missing.
    let mut pair = Pair::new(Config::default());
    assert_eq!(pair.send(&[connects(1, 0)]), ["1 CONNECT a:443"]);
    assert_eq!(pair.stream(1).read_to(2), Ok(()));
    assert_eq!(pair.send(&[data(1, b"early")]), ["1 data 2"]);
    assert_eq!(accept(&mut pair, 1), Err(Misuse::NotUpgradable));
}

#[test]
fn other_requests_become_no_tunnel() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[get(1, "/"), post(3, "/", &[])]);
    assert_eq!(accept(&mut pair, 1), Err(Misuse::NotUpgradable));
    assert_eq!(accept(&mut pair, 3), Err(Misuse::NotUpgradable));
    assert_eq!(pair.stream(1).close_tunnel(), Err(Misuse::NotTunnel));
    pair.send(&[connects(5, 0)]);
    let moved = StatusCode::MOVED_PERMANENTLY;
    assert_eq!(pair.stream(5).accept_tunnel(moved, []), Err(Misuse::Status));
    assert_eq!(pair.takes(), [""; 0]);
    // A websocket is accepted otherwise, but its stream may as well be a tunnel for whoever speaks it.
    pair.send(&[connect(7, &[])]);
    assert_eq!(accept(&mut pair, 7), Ok(()));
}

#[test]
fn windows_hold_for_a_tunnel() {
    let mut pair = opened(0);
    // The client may send as much as its window, and no more.
    assert_eq!(pair.send(&[data(1, &[0; 16_000]), data(1, &[0; 16_000])]), [""; 0]);
    pair.send(&[data(1, &[0; 16_000])]);
    assert_eq!(pair.resume(), [""; 0], "told at once");
    assert_eq!(pair.takes()[0], "1 RST_STREAM FLOW_CONTROL_ERROR");
    // We send as much as the client's.
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, 10)]), connects(1, 0)]);
    assert_eq!(accept(&mut pair, 1), Ok(()));
    assert_eq!(pair.sends(1, 100), 10);
    pair.takes();
    assert_eq!(pair.send(&[window_update(1, 20)]), ["1 room"]);
    assert_eq!(pair.sends(1, 90), 20);
    assert_eq!(pair.send(&[settings(&[(4, 0)])]), [""; 0]);
    pair.takes();
    // It has paid for some time, and then it is silent.
    pair.after(secs(100));
    assert_eq!(pair.resume(), ["1 reset Unread"]);
    assert_eq!(pair.takes(), ["1 RST_STREAM CANCEL"]);
}

#[test]
fn a_tunnel_that_is_read_gets_wide_windows() {
    let mut pair = opened(1 << 20);
    let mut sent = 0;
    for _ in 0..30 {
        assert_eq!(pair.send(&[data(1, &[0; 16_000])]), ["1 data 16000"]);
        sent += 16_000;
        pair.takes();
    }
    assert_eq!(pair.stream(1).received(), sent);
}

#[test]
fn silence_ends_the_stream_and_not_the_connection() {
    let mut pair = opened(1000);
    assert_eq!(pair.connection.deadline(), Some((tick(HOUR), Timer::Stream)));
    pair.after(secs(3000));
    assert_eq!(pair.send(&[data(1, b"x")]), ["1 data 1"]);
    assert_eq!(pair.connection.deadline(), Some((tick(secs(6600)), Timer::Stream)));
    pair.after(secs(3000));
    assert_eq!(pair.sends(1, 1), 1);
    pair.takes();
    assert_eq!(pair.connection.deadline(), Some((tick(secs(9600)), Timer::Stream)));
    pair.after(HOUR);
    assert_eq!(pair.resume(), ["1 reset Timeout"]);
    assert_eq!(pair.takes(), ["1 RST_STREAM CANCEL"]);
    assert_eq!(pair.send(&[get(3, "/")]), ["3 GET /", "3 end"]);
}

#[test]
fn silence_ends_a_tunnel_of_which_one_direction_is_left() {
    let mut pair = opened(1000);
    pair.finish(1);
    pair.takes();
    assert_eq!(pair.connection.deadline(), Some((tick(HOUR), Timer::Stream)));
    pair.after(HOUR);
    assert_eq!(pair.resume(), ["1 reset Timeout"]);
    // Without credit, or when the client has ended, the application has the turn.
    let mut pair = opened(0);
    assert_eq!(pair.connection.deadline(), None);
    assert_eq!(pair.stream(1).read_to(9), Ok(()));
    assert_eq!(pair.send(&[last_data(1, b"")]), ["1 end"]);
    pair.takes();
    assert_eq!(pair.connection.deadline(), None);
}

#[test]
fn resets_end_it_in_either_direction() {
    let mut pair = opened(1000);
    assert_eq!(pair.send(&[reset(1)]), ["1 reset Cancelled"]);
    let mut pair = opened(1000);
    pair.finish(1);
    assert_eq!(pair.send(&[reset(1)]), ["1 reset Cancelled"]);
    let mut pair = opened(1000);
    assert_eq!(pair.stream(1).reset(), Ok(()));
    assert_eq!(pair.takes(), ["1 RST_STREAM CONNECT_ERROR"]);
    assert_eq!(pair.resume(), [""; 0], "the application knows");
    let mut pair = opened(1000);
    drop(pair.connection.receive_eof(pair.now));
    assert_eq!(pair.resume(), ["1 reset Truncated"]);
    let mut pair = opened(1000);
    pair.finish(1);
    drop(pair.connection.receive_eof(pair.now));
    assert_eq!(pair.resume(), ["1 reset Truncated"]);
}

#[test]
fn a_tunnel_carries_nothing_but_data() {
    let trailers = || frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("a", "b")]));
    for finishes in [false, true] {
        let mut pair = opened(1000);
        if finishes {
            pair.finish(1);
            pair.takes();
        }
        let told = pair.send(&[trailers()]);
        assert_eq!(told, ["1 reset Fault(Malformed)"], "finishes: {finishes}");
        assert_eq!(pair.takes(), ["1 RST_STREAM PROTOCOL_ERROR"]);
    }
}

#[test]
fn what_still_comes_for_a_tunnel_that_was_left_is_discarded_for_a_while() {
    let mut pair = opened(1000);
    assert_eq!(pair.sends(1, 5), 5);
    assert_eq!(pair.stream(1).close_tunnel(), Ok(()));
    assert_eq!(pair.takes(), ["1 DATA 5", "1 DATA 0, end"]);
    assert_eq!(pair.send(&[data(1, b"nobody hears")]), [""; 0]);
    assert_eq!(pair.stream(1).close_tunnel(), Err(Misuse::UnknownStream));
    pair.after(secs(5));
    assert_eq!(pair.takes(), ["1 RST_STREAM NO_ERROR"]);
    // After the end of both directions nothing is left to be discarded.
    let mut pair = opened(1000);
    pair.finish(1);
    assert_eq!(pair.stream(1).close_tunnel(), Ok(()));
    assert_eq!(pair.send(&[last_data(1, b"..")]), [""; 0]);
    assert_eq!(pair.takes(), ["1 DATA 0, end"]);
    let mut pair = opened(0);
    assert_eq!(pair.send(&[last_data(1, b"unread")]), [""; 0]);
    assert_eq!(pair.stream(1).close_tunnel(), Ok(()));
    assert_eq!(pair.takes(), ["1 DATA 0, end"]);
    assert_eq!(pair.connection.deadline().map(|it| it.1), Some(Timer::KeepAlive));
}

#[test]
fn a_head_waits_for_room() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[window_update(0, 1 << 20), get(1, "/"), window_update(1, 1 << 20), connects(3, 0)]);
    pair.respond(1);
    while pair.sends(1, 70_000) > 0 {}
    assert!(pair.connection.status().write);
    let unsent = pair.connection.status();
    match accept(&mut pair, 3) {
        Ok(()) => assert!(unsent.write),
        Err(misuse) => {
            assert_eq!(misuse, Misuse::Full);
            pair.takes();
            // The stream with the better claim is told first.
            let told = [pair.resume(), pair.resume()].concat();
            assert_eq!(told, ["1 room", "3 room"]);
            assert_eq!(accept(&mut pair, 3), Ok(()));
        }
    }
}

#[test]
fn a_drain_gives_it_its_time() {
    let mut pair = opened(1000);
    pair.connection.drain(pair.now);
    pair.takes();
    pair.after(secs(20));
    assert_eq!(pair.send(&[data(1, b"goes on")]), ["1 data 7"]);
    pair.after(secs(10));
    assert!(!pair.connection.status().is_open());
    assert_eq!(pair.now, tick(secs(30)));
    assert_eq!(pair.resume(), ["1 reset Timeout"]);
}
