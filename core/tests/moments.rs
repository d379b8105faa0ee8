//! Several calls at one tick, and calls that move the time. A wait begins at the time of the call
//! that starts it, whether or not the deadline is read in between.

use bytes::Bytes;
use portcullis::{
    BodyLength, CloseReason, Event, PeerClose, Refusal, ResetReason, StreamId, Timer,
};
use portcullis_play::support;
use std::time::Duration;
use support::{GET, POST_CHUNKED, POST_MUCH, Script, Seen, answer, data, millis, secs, tick, with};

/// Half of a head.
const HALF: &str = "GET / HTTP/1.1\r\n";
/// The rest of the head.
const REST: &str = "Host: a\r\n\r\n";

/// Sets the time, without telling the connection before the next call.
fn later(script: &mut Script, moment: Duration) {
    script.now = tick(moment);
}

#[test]
fn a_wait_counts_from_the_call_that_starts_it() {
    // The next call is an action,
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    later(&mut script, secs(3));
    assert_eq!(script.content(b"more"), Ok(4));
    assert_eq!(script.deadline(), Some((secs(5), Timer::Response)));
    // a read,
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    later(&mut script, secs(3));
    script.send(HALF);
    assert_eq!(script.deadline(), Some((secs(5), Timer::Response)));
    // a look at what is due,
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    later(&mut script, secs(3));
    script.resume();
    assert_eq!(script.deadline(), Some((secs(5), Timer::Response)));
    // a write,
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    later(&mut script, secs(3));
    script.take(1);
    assert_eq!(script.deadline(), Some((secs(5), Timer::Response)));
    // and the end of input.
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    later(&mut script, secs(3));
    script.eof();
    assert_eq!(script.deadline(), Some((secs(5), Timer::Response)));
}

#[test]
fn a_wait_for_content_counts_from_the_request_for_it() {
    let mut script = Script::after(POST_MUCH);
    let (now, stream) = (script.now, script.stream());
    support::read_more(script.connection.stream(now, stream), 1).expect("the stream is open");
    later(&mut script, secs(3));
    let stream = script.stream();
    script.connection.stream(script.now, stream).limit_body(None).expect("none has come");
    assert_eq!(script.deadline(), Some((secs(5), Timer::RequestBody)));
    // The time in which the application handles content does not count.
    assert_eq!(script.send("x"), [data("x")]);
    later(&mut script, secs(1000));
    support::read_more(script.connection.stream(script.now, stream), 1)
        .expect("the stream is open");
    later(&mut script, secs(1001));
    script.resume();
    assert_eq!(script.deadline(), Some((secs(1002), Timer::RequestBody)));
}

#[test]
fn a_head_after_one_that_is_answered_within_its_event_has_its_own_time() {
    let mut script = Script::after(HALF);
    script.at(secs(9));
    let mut wire = [REST, HALF].concat().into_bytes();
    let mut events =
        script.connection.receive(script.now, &mut wire).expect("the connection reads");
    while let Some((connection, event)) = events.next() {
        if let Event::End { stream, .. } = event {
            answer(connection, script.now, stream, 200, "ok");
            connection.sent(script.now, usize::MAX);
        }
    }
    drop(events);
    assert_eq!(script.deadline(), Some((secs(19), Timer::RequestHead)));
}

#[test]
fn time_spent_while_events_are_pulled_does_not_count() {
    let mut script = Script::new();
    let mut wire = [GET, HALF].concat().into_bytes();
    let mut events =
        script.connection.receive(script.now, &mut wire).expect("the connection reads");
    while let Some((connection, event)) = events.next() {
        if let Event::End { stream, .. } = event {
            // A handler that takes an hour, within the event.
            let now = tick(secs(3600));
            answer(connection, now, stream, 200, "ok");
            connection.tick(now);
            connection.sent(now, usize::MAX);
        }
    }
    drop(events);
    assert!(script.is_open());
    assert_eq!(script.deadline(), Some((secs(3610), Timer::RequestHead)));
}

#[test]
fn output_taken_at_once_pays_the_same_however_often_the_deadline_is_read() {
    for looks in [false, true] {
        let mut script = Script::after(POST_CHUNKED);
        let _ = script.respond(200, BodyLength::Unknown);
        // At first the peer takes nothing for a while.
        script.at(secs(4));
        script.output();
        assert_eq!(script.content(&[b'x'; 20_000]), Ok(20_000));
        if looks {
            script.deadline();
        }
        script.take(1);
        script.take(9_599);
        let (at, timer) = script.deadline().expect("a deadline is set");
        assert_eq!(timer, Timer::Response);
        // A new wait has two seconds of slack. The byte before may use up one of them.
        let paid = secs(4 + 2 + 40);
        assert!(at + secs(1) / 100 > paid && at <= paid, "looked at first: {looks}: {at:?}");
    }
}

#[test]
fn discarding_does_not_shorten_the_wait_for_the_next_request() {
    let mut script = Script::after("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    script.answer(200, "ok");
    script.output();
    script.at(secs(1));
    assert_eq!(script.deadline(), Some((secs(5), Timer::Linger)));
    script.at(secs(4));
    script.send("0123456789");
    assert_eq!(script.deadline(), Some((secs(9), Timer::KeepAlive)));
    // Conversely, a slow wait for a request does not count as discarding.
    script.at(secs(8));
    script.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    script.answer(200, "ok");
    script.output();
    for second in 9..38 {
        script.at(secs(second));
        if second % 4 == 0 {
            script.send("x");
        }
        assert!(script.is_open(), "at {second} s");
    }
    assert_eq!(script.closes_at(secs(38), CloseReason::UnreadContent), "");
}

#[test]
fn a_drain_counts_from_the_call() {
    // The connection is idle, and a request comes at once. It is answered as the last one.
    let mut script = Script::new();
    script.at(secs(4));
    script.connection.drain(script.now);
    script.at(secs(4) + millis(400));
    script.send(GET);
    assert_eq!(script.deadline(), Some((secs(34), Timer::Drain)), "counts from the call of drain");
    script.answer(200, "ok");
    assert!(script.output().contains("connection: close\r\n"));
    script.eof();
    script.closes_with(CloseReason::Drained);
    // A second drain does not restart the time.
    let mut script = Script::after(GET);
    script.connection.drain(script.now);
    script.at(secs(20));
    script.connection.drain(script.now);
    assert_eq!(script.deadline(), Some((secs(30), Timer::Drain)));
}

#[test]
fn unpulled_events_are_work_and_not_a_wait() {
    let mut script = Script::new();
    let mut wire = GET.as_bytes().to_vec();
    drop(script.connection.receive(script.now, &mut wire).expect("the connection reads"));
    assert!(script.connection.status().has_work && script.connection.status().resume);
    assert_eq!(script.deadline(), None, "the application has the turn");
    assert_eq!(script.resume().len(), 2);
    assert!(!script.connection.status().has_work && !script.connection.status().resume);
    script.answer(200, "ok");
    script.output();
    assert!(!script.connection.status().has_work && !script.connection.status().resume);
}

/// `has_events` is true while an event is pending, and false after it was pulled.
#[test]
fn has_events_is_true_until_they_are_pulled() {
    // The request was delivered and its declared length refused, but its reset was not delivered.
    let mut script = Script::under(with(&[("request_body_limit", "10")]));
    let mut wire = POST_MUCH.as_bytes().to_vec();
    let mut events =
        script.connection.receive(script.now, &mut wire).expect("the connection reads");
    assert!(matches!(events.next(), Some((_, Event::Request { .. }))));
    drop(events);
    // The end of input between two requests.
    let mut idle = Script::new();
    drop(idle.connection.receive_eof(idle.now));
    // Room for output, and a chunk that is too large.
    let mut full = Script::under(with(&[("send_buffer_limit", "1KiB")]));
    full.send(GET);
    let _ = full.respond(200, BodyLength::Unknown);
    assert!(full.content(&[b'x'; 2000]).expect("some fits") < 2000);
    assert!(!full.connection.status().resume, "not before there is room");
    full.output();
    for script in [&mut script, &mut idle, &mut full] {
        assert!(script.connection.status().resume);
        script.resume();
        assert!(!script.connection.status().resume);
    }
    // The limit is lowered after all input was read.
    let mut script = Script::after(POST_MUCH);
    assert!(!script.connection.status().resume);
    let (now, stream) = (script.now, script.stream());
    script.connection.stream(now, stream).limit_body(Some(1)).expect("none was delivered");
    assert!(script.connection.status().resume);
    let refused = ResetReason::Refused(Refusal::ContentTooLarge);
    assert_eq!(script.resume(), [Seen::Reset(refused)]);
    // The end of input was read while there was no room for an answer to bytes before it.
    let mut script = Script::under(with(&[("send_buffer_limit", "1KiB")]));
    script.send(GET);
    let _ = script.respond(200, BodyLength::Known(900));
    let head = script.output().len();
    let _ = script.content(&[b'x'; 900]);
    script.finish().expect("the content is complete");
    script.output();
    script.send(GET);
    script.answer(200, &"x".repeat(1024 - head));
    assert_eq!(script.waiting().len(), 1024);
    script.eof();
    script.output();
    assert!(script.is_open() && script.connection.status().resume);
    script.resume();
    script.closes_with(CloseReason::Peer(PeerClose::Done));
}

/// Calls for a closed stream do nothing, whenever they come.
#[test]
fn a_call_for_a_closed_stream_still_moves_the_time() {
    let mut script = Script::under(with(&[("keep_alive_timeout", "60s")]));
    script.send(GET);
    script.answer(200, "ok");
    script.output();
    let over: StreamId = script.stream();
    later(&mut script, secs(59));
    let late = script.connection.stream(script.now, over).send(&mut Bytes::from_static(b"x"));
    assert!(late.is_err());
    assert_eq!(script.deadline(), Some((secs(60), Timer::KeepAlive)));
    // Time does not go back.
    script.now = tick(secs(1));
    script.send(HALF);
    assert_eq!(script.deadline(), Some((secs(69), Timer::RequestHead)));
}
