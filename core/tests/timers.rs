//! Every timer on both sides of its boundary: one nanosecond before it, and at it. Also the cases
//! in which a timer must not fire: only the side that the connection waits for may lose.

use portcullis::{
    BodyLength, CloseReason, Config, Connection, Event, Expiry, Misuse, ResetReason, Stress, Tick,
    Timer,
};
use portcullis_play::support;
use std::sync::Arc;
use std::time::Duration;
use support::{
    GET, HOUR, NANOSECOND, POST_5, POST_CHUNKED, POST_MUCH, Script, Seen, data, end, get_with,
    millis, secs, with,
};

const HEAD_LATE: &str = "HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\n\
                         content-length: 85\r\nconnection: close\r\n\r\n\
                         408 Request Timeout: the head of the request was not complete in time (request_head)\n";
const BODY_LATE: &str = "HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\n\
                         content-length: 82\r\nconnection: close\r\n\r\n\
                         408 Request Timeout: the content of the request arrived too slowly (request_body)\n";

fn expired(expiry: Expiry) -> CloseReason {
    CloseReason::Expired(expiry)
}

/// Asserts that nothing happens for an hour: the connection does not wait for the peer.
fn assert_patient(script: &mut Script) {
    assert_eq!(script.deadline(), None);
    let before = script.status();
    script.pass(HOUR);
    assert_eq!((script.status(), script.deadline()), (before, None));
}

#[test]
fn early_and_repeated_ticks_do_nothing() {
    let mut script = Script::new();
    for moment in [secs(0), secs(4), secs(4), secs(1), secs(5) - NANOSECOND] {
        script.at(moment);
        assert_eq!(script.deadline(), Some((secs(5), Timer::KeepAlive)));
    }
    script.at(secs(5));
    assert_eq!(script.status().closed(), Some(expired(Expiry::KeepAlive)));
    script.at(HOUR);
    assert_eq!(script.status().closed(), Some(expired(Expiry::KeepAlive)));
}

// ---- keep_alive -----------------------------------------------------------------------------------

#[test]
fn silence_after_accept_is_closed_without_an_answer() {
    assert_eq!(Script::new().closes_at(secs(5), expired(Expiry::KeepAlive)), "");
    let mut script = Script::under(with(&[("keep_alive_timeout", "1ms")]));
    assert_eq!(script.closes_at(millis(1), expired(Expiry::KeepAlive)), "");
}

#[test]
fn silence_after_an_answer_counts_from_the_end_of_its_output() {
    let mut script = Script::after(GET);
    script.at(secs(100));
    script.answer(200, "ok");
    script.at(secs(103));
    script.output();
    assert_eq!(script.closes_at(secs(108), expired(Expiry::KeepAlive)), "");
}

#[test]
fn blank_lines_do_not_extend_keep_alive() {
    let mut script = Script::new();
    for second in 1..5 {
        script.at(secs(second));
        assert_eq!(script.send("\r\n"), []);
    }
    assert_eq!(script.closes_at(secs(5), expired(Expiry::KeepAlive)), "");

    // Half a blank line does not extend it either.
    let mut script = Script::new();
    script.at(secs(4));
    script.send("\r");
    assert_eq!(script.closes_at(secs(5), expired(Expiry::KeepAlive)), "");
}

#[test]
fn each_answer_restarts_keep_alive() {
    let mut script = Script::new();
    for round in 1..100 {
        script.at(secs(5 * round) - NANOSECOND * round as u32);
        script.send(GET);
        script.answer(200, "ok");
        script.output();
    }
    assert!(script.is_open());
}

#[test]
fn an_exchange_within_one_tick_restarts_each_wait() {
    let mut script = Script::new();
    for moment in 1..=3 {
        script.at(secs(4 * moment));
        script.send(GET);
        script.answer(200, "ok");
        script.output();
    }
    assert_eq!(script.deadline(), Some((secs(12 + 5), Timer::KeepAlive)));
    script.send("GET / HT");
    assert_eq!(script.deadline(), Some((secs(12 + 10), Timer::RequestHead)));
    script.at(secs(20));
    script.send("TP/1.1\r\nHost: a\r\n\r\n");
    script.answer(200, "ok");
    script.output();
    script.send("GET / HT");
    assert_eq!(script.deadline(), Some((secs(20 + 10), Timer::RequestHead)));
}

#[test]
fn an_answer_taken_within_one_tick_leaves_the_next_its_grace() {
    let mut script = Script::after(POST_CHUNKED);
    let _ = script.respond(200, BodyLength::Unknown);
    for moment in 1..=3 {
        // The peer takes all of the output only now, and more output follows.
        script.at(secs(4 * moment));
        script.output();
        assert_eq!(script.content(b"more"), Ok(4));
        assert_eq!(script.deadline(), Some((secs(4 * moment + 5), Timer::Response)));
    }
}

#[test]
fn keep_alive_never_ends_a_request_in_progress() {
    let mut script = Script::after("G");
    script.at(secs(5));
    assert!(script.is_open(), "a head has begun");
    script.send(&GET[1..]);
    assert_patient(&mut script);
}

// ---- request_head ---------------------------------------------------------------------------------

#[test]
fn a_slow_head_counts_from_its_first_byte() {
    let mut script = Script::new();
    script.at(secs(4));
    script.send("GET / HTTP/1.1\r\n");
    for second in 5..14 {
        script.at(secs(second));
        script.send(format!("X-{second}: y\r\n"));
    }
    assert_eq!(script.deadline(), Some((secs(14), Timer::RequestHead)));
    assert_eq!(script.closes_at(secs(14), expired(Expiry::RequestHead)), HEAD_LATE);
}

#[test]
fn a_slow_head_byte_by_byte() {
    let mut script = Script::new();
    let head = get_with(&format!("X: {}\r\n", "y".repeat(100)));
    for (step, byte) in head.bytes().take(40).enumerate() {
        script.at(millis(1000 + 250 * step as u64));
        assert_eq!(script.send([byte]), []);
    }
    assert_eq!(script.closes_at(secs(11), expired(Expiry::RequestHead)), HEAD_LATE);
}

#[test]
fn a_head_in_time_is_a_request() {
    let mut script = Script::after("GET / HTTP/1.1\r\n");
    script.at(secs(10) - NANOSECOND);
    assert_eq!(script.send("Host: a\r\n\r\n").len(), 2);
    assert_patient(&mut script);
}

#[test]
fn a_slow_second_head_counts_from_its_own_first_byte() {
    let mut script = Script::after(GET);
    script.answer(200, "ok");
    script.output();
    script.at(secs(3));
    script.send("\r\n");
    script.at(secs(4));
    script.send("G");
    assert_eq!(script.closes_at(secs(14), expired(Expiry::RequestHead)), HEAD_LATE);
}

#[test]
fn blank_lines_are_not_the_first_byte_of_a_head() {
    let mut script = Script::after("\r\n");
    assert_eq!(script.deadline(), Some((secs(5), Timer::KeepAlive)));
    script.at(secs(1));
    script.send("\r\nG");
    assert_eq!(script.closes_at(secs(11), expired(Expiry::RequestHead)), HEAD_LATE);
}

#[test]
fn half_a_head_during_a_slow_exchange_waits_for_the_application() {
    let mut script = Script::after(&format!("{GET}GET / HTTP/1.1\r\nHo"));
    assert!(!script.reads(), "the connection does not read, so the peer cannot complete the head");
    assert_patient(&mut script);
    script.answer(200, "ok");
    script.output();
    script.resume();
    // From now on the rest can arrive.
    assert!(script.reads());
    assert_eq!(script.closes_at(HOUR + secs(10), expired(Expiry::RequestHead)), HEAD_LATE);
}

#[test]
fn half_a_head_during_an_answer_that_is_not_taken() {
    let mut script = Script::after(&format!("{GET}GET / HTTP/1.1\r\nHo"));
    script.answer(200, "ok");
    script.resume();
    assert_eq!(script.deadline(), Some((secs(5), Timer::Response)));
    script.at(secs(4));
    script.output();
    assert_eq!(script.deadline(), Some((secs(10), Timer::RequestHead)));
}

// ---- request_body ---------------------------------------------------------------------------------

#[test]
fn content_that_never_comes() {
    let mut script = Script::after(POST_5);
    script.at(secs(2));
    script.ask(9);
    assert_eq!(script.deadline(), Some((secs(7), Timer::RequestBody)));
    script.at(secs(7) - NANOSECOND);
    assert!(script.is_open());
    script.at(secs(7));
    assert_eq!(script.resume(), [Seen::Reset(ResetReason::Timeout)]);
    assert_eq!(script.closes_with(expired(Expiry::RequestBody)), BODY_LATE);
}

#[test]
fn content_after_a_100_that_never_comes() {
    let mut script = Script::after(&POST_5.replace("Host", "Expect: 100-continue\r\nHost"));
    assert_patient(&mut script);
    script.ask(9);
    script.output();
    assert_eq!(script.closes_at(HOUR + secs(5), expired(Expiry::RequestBody)), BODY_LATE);
}

#[test]
fn content_at_the_minimum_rate_is_enough_and_a_byte_less_is_not() {
    for (bytes, gone) in [(240, None), (239, Some(242))] {
        let mut script = Script::after(POST_MUCH);
        script.ask(u64::MAX);
        let mut closed = None;
        for second in 1..=1000 {
            script.at(secs(second));
            if !script.is_open() {
                closed = Some(second);
                break;
            }
            assert_eq!(script.send("x".repeat(bytes)).len(), 1);
            script.ask(u64::MAX);
        }
        assert_eq!(closed.is_some(), gone.is_some(), "{bytes} bytes a second: {closed:?}");
        assert!(closed.is_none_or(|second| second <= 242), "{closed:?}");
    }
}

#[test]
fn rudy_sends_a_byte_a_second() {
    let mut script = Script::after(POST_MUCH);
    script.ask(u64::MAX);
    for second in 1..5 {
        script.at(secs(second));
        script.send("x");
        script.ask(u64::MAX);
    }
    script.at(secs(5) - NANOSECOND);
    assert!(script.is_open());
    script.at(secs(5));
    assert!(!script.is_open());
}

#[test]
fn a_burst_pays_in_full_and_silence_is_bounded_on_its_own() {
    let mut script = Script::after(POST_MUCH);
    script.ask(u64::MAX);
    script.at(secs(1));
    script.send("x".repeat(60_000));
    script.ask(u64::MAX);
    assert_eq!(script.deadline(), Some((secs(31), Timer::RequestBody)), "30 s of silence");
    // 60,000 bytes are worth 250 s, and each of the following ones next to nothing.
    for second in (30..252).step_by(29) {
        script.at(secs(second));
        script.send("x");
        script.ask(u64::MAX);
    }
    let (at, timer) = script.deadline().expect("a deadline is set");
    assert_eq!(timer, Timer::RequestBody);
    assert!(at > secs(252) && at < secs(253), "{at:?}");
    assert_eq!(script.closes_at(at, expired(Expiry::RequestBody)), BODY_LATE);
}

#[test]
fn a_body_and_an_answer_may_have_a_deadline_however_they_move() {
    let settings = [("request_body_deadline", "60s"), ("response_deadline", "40s")];
    let mut script = Script::under(with(&settings));
    script.send(POST_MUCH);
    script.ask(u64::MAX);
    for second in 1..60 {
        script.at(secs(second));
        script.send("x".repeat(10_000));
        script.ask(u64::MAX);
    }
    assert_eq!(script.closes_at(secs(60), expired(Expiry::RequestBody)), BODY_LATE);

    let mut script = Script::under(with(&settings));
    script.send(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    for second in 1..40 {
        script.at(secs(second));
        let _ = script.content(&[b'x'; 10_000]);
        script.take(10_000);
    }
    assert_eq!(script.closes_at(secs(40), expired(Expiry::Response)), "");
}

#[test]
fn one_request_may_have_other_deadlines_than_the_rest() {
    let body = |script: &mut Script, time| {
        let stream = script.stream();
        script.connection.stream(script.now, stream).limit_body_time(time).expect("a request");
    };
    let settings = [("request_body_deadline", "60s"), ("response_deadline", "40s")];
    for (time, ends) in [(Some(secs(20)), Some(30)), (Some(secs(500)), None), (None, None)] {
        let mut script = Script::under(with(&settings));
        script.send(POST_MUCH);
        // While the application does not wait for content, no time passes for the client.
        script.at(secs(10));
        body(&mut script, time);
        script.ask(u64::MAX);
        for second in 11..ends.unwrap_or(200) {
            script.at(secs(second));
            script.send("x".repeat(10_000));
            script.ask(u64::MAX);
        }
        if let Some(ends) = ends {
            assert_eq!(script.closes_at(secs(ends), expired(Expiry::RequestBody)), BODY_LATE);
        }
    }

    let slowly = |script: &mut Script, from: u64, to: u64| {
        for second in from..to {
            script.at(secs(second));
            let _ = script.content(&[b'x'; 10_000]);
            script.take(10_000);
        }
    };
    for (time, ends) in [(Some(20), Some(20)), (Some(500), None), (None, None)] {
        let mut script = Script::under(with(&settings));
        script.send(GET);
        let stream = script.stream();
        let time = time.map(Duration::from_secs);
        let mut request = script.connection.stream(script.now, stream);
        request.limit_response_time(time).expect("a request");
        let _ = script.respond(200, BodyLength::Unknown);
        slowly(&mut script, 1, ends.unwrap_or(200));
        if let Some(ends) = ends {
            assert_eq!(script.closes_at(secs(ends), expired(Expiry::Response)), "");
            continue;
        }
        // The next request has the usual one.
        script.output();
        script.finish().expect("it may end here");
        script.output();
        script.at(secs(200));
        script.send(GET);
        let _ = script.respond(200, BodyLength::Unknown);
        slowly(&mut script, 201, 240);
        assert_eq!(script.closes_at(secs(240), expired(Expiry::Response)), "");
    }
}

#[test]
fn an_answer_in_progress_may_get_another_deadline() {
    let mut script = Script::under(with(&[("response_deadline", "40s")]));
    script.send(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    let _ = script.content(&[b'x'; 50_000]);
    script.at(secs(1));
    script.take(40_000);
    let stream = script.stream();
    let mut request = script.connection.stream(script.now, stream);
    request.limit_response_time(Some(Duration::from_secs(3))).expect("a request");
    assert_eq!(script.deadline(), Some((secs(4), Timer::Response)));
    assert_eq!(script.closes_at(secs(4), expired(Expiry::Response)), "");
}

#[test]
fn an_answer_may_pause_for_the_silence_and_the_lump_before_it() {
    let mut script = Script::under(with(&[("response_silence", "10s")]));
    script.send(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    assert_eq!(script.content(&[b'x'; 50_000]), Ok(50_000));
    script.at(secs(1));
    script.take(2_400);
    assert_eq!(
        script.deadline(),
        Some((secs(12), Timer::Response)),
        "as long as the bytes have paid for"
    );
    script.take(30_000);
    assert_eq!(script.deadline(), Some((secs(51), Timer::Response)), "five silences");
    assert_eq!(script.closes_at(secs(51), expired(Expiry::Response)), "");
}

#[test]
fn bytes_count_as_taken_when_the_driver_says_so() {
    let mut script = Script::new();
    script.acknowledged(0);
    script.send(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    assert_eq!(script.content(&[b'x'; 50_000]), Ok(50_000));
    script.take(30_000);
    assert_eq!(script.connection.unacknowledged(), 30_000);
    assert_eq!(
        script.deadline(),
        Some((secs(5), Timer::Response)),
        "no bytes are known to be taken"
    );
    // The peer reads a kilobyte a second, and the system reports it in lumps.
    for second in 1..600 {
        if second % 20 == 0 {
            script.take(20_000);
            assert_eq!(script.content(&[b'x'; 20_000]), Ok(20_000));
        }
        script.at_with(secs(second), 10_000);
        assert!(script.is_open(), "at {second} s");
    }
    // The peer stops. The last lump is worth 83 s, and silence is noticed at most a quarter late.
    for second in 600..690 {
        script.at_with(secs(second), 10_000);
    }
    assert!(script.is_open());
    for second in 690..715 {
        script.at_with(secs(second), 10_000);
    }
    assert_eq!(script.closes_with(expired(Expiry::Response)).len(), 0);
}

#[test]
fn bytes_in_the_systems_buffer_do_not_help_a_peer_that_reads_nothing() {
    let mut script = Script::new();
    script.acknowledged(0);
    script.send(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    assert_eq!(script.content(&[b'x'; 50_000]), Ok(50_000));
    script.at(secs(4));
    script.take(30_000);
    script.at_with(secs(5), 30_000);
    assert_eq!(script.closes_with(expired(Expiry::Response)), "");
}

#[test]
fn a_trailer_section_is_waited_for_like_content() {
    let mut script = Script::after(POST_CHUNKED);
    script.ask(1);
    script.send("1\r\nx\r\n0\r\n");
    assert_patient(&mut script);
    script.ask(9);
    script.at(HOUR + secs(4));
    script.send("X: y\r\n");
    assert_eq!(script.closes_at(HOUR + secs(5), expired(Expiry::RequestBody)), BODY_LATE);
}

#[test]
fn framing_is_not_content_and_buys_no_time() {
    let mut script = Script::under(with(&[("chunk_extensions_limit", "64KiB")]));
    script.send(POST_CHUNKED);
    script.ask(u64::MAX);
    for second in 1..5 {
        script.at(secs(second));
        assert_eq!(script.send(format!("1;{}\r\nx\r\n", "e".repeat(250))), [data("x")]);
        script.ask(u64::MAX);
    }
    assert_eq!(script.deadline(), Some((secs(5), Timer::RequestBody)));
}

#[test]
fn a_handler_may_take_an_hour() {
    for wire in [
        GET.to_owned(),
        POST_5.to_owned(),
        format!("{POST_5}hello"),
        format!("{POST_5}he"),
        POST_CHUNKED.to_owned(),
        format!("{POST_CHUNKED}5\r\nhel"),
    ] {
        let mut script = Script::after(&wire);
        assert_patient(&mut script);
        script.answer(200, "ok");
        assert!(script.output().starts_with("HTTP/1.1 200 OK\r\n"), "{wire:?}");
    }
}

#[test]
fn a_handler_may_ask_late() {
    // Content is held or not. In both cases it comes as if there had been no pause.
    for (held, rest) in [("hello", ""), ("he", "llo"), ("", "hello")] {
        let mut script = Script::after(&format!("{POST_5}{held}"));
        assert_patient(&mut script);
        let mut seen = script.ask(5);
        if !rest.is_empty() {
            script.ask(5);
            assert!(matches!(script.deadline(), Some((_, Timer::RequestBody))));
            seen.extend(script.send(rest));
        }
        assert_eq!(seen.last(), Some(&end()), "{held:?} {rest:?}");
        assert_patient(&mut script);
    }
}

#[test]
fn held_content_pays_when_it_is_asked_for() {
    let mut script = Script::after(&format!("{POST_MUCH}{}", "x".repeat(1000)));
    assert_patient(&mut script);
    for asked in 0..100 {
        assert_eq!(script.ask(10).len(), 1, "{asked}");
        assert_patient(&mut script);
    }
    // A thousand bytes at 240 B/s have paid for more than the two seconds of slack.
    script.ask(10);
    let (at, timer) = script.deadline().expect("a deadline is set after the held bytes");
    assert_eq!(timer, Timer::RequestBody);
    let now = HOUR * 101;
    assert!(at >= now + secs(5), "{:?}", at - now);
}

#[test]
fn held_content_that_is_asked_for_is_not_waited_for() {
    let mut script = Script::after(&format!("{POST_5}he"));
    let stream = script.stream();
    support::read_more(script.connection.stream(script.now, stream), 9).expect("a stream");
    // The driver takes its time to fetch it.
    assert!(script.connection.status().resume);
    assert_patient(&mut script);
    assert_eq!(script.resume(), [data("he")]);
}

#[test]
fn pauses_of_the_application_do_not_renew_the_grace() {
    let mut script = Script::after(POST_MUCH);
    let mut waited = Duration::ZERO;
    let mut now = Duration::ZERO;
    // Again and again the application asks, waits a second, gets a byte, and thinks for an hour.
    while script.is_open() && waited < secs(100) {
        script.ask(1);
        now += secs(1);
        waited += secs(1);
        script.at(now);
        if script.is_open() {
            assert_eq!(script.send("x"), [data("x")]);
            now += HOUR;
            script.at(now);
        }
    }
    assert_eq!(waited, secs(5));
    script.closes_with(expired(Expiry::RequestBody));
}

#[test]
fn no_content_is_waited_for_once_it_is_complete() {
    for wire in [GET.to_owned(), format!("{POST_5}hello"), format!("{POST_CHUNKED}0\r\n\r\n")] {
        let mut script = Script::after(&wire);
        script.ask(9);
        script.ask(9);
        assert_patient(&mut script);
    }
}

#[test]
fn late_content_cuts_off_an_answer_in_progress() {
    let mut script = Script::after(POST_5);
    let _ = script.respond(200, BodyLength::Known(10));
    script.output();
    script.ask(9);
    script.at(secs(5));
    assert_eq!(script.resume(), [Seen::Reset(ResetReason::Timeout)]);
    assert_eq!(script.closes_with(expired(Expiry::RequestBody)), "", "no second head");
}

#[test]
fn a_wait_that_is_over_does_not_expire_within_events() {
    let mut script = Script::after(POST_MUCH);
    let _ = script.respond(200, BodyLength::Unknown);
    assert!(script.content(&[b'x'; 100_000]).expect("an answer is in progress") < 100_000);
    script.ask(4);
    assert!(script.deadline().is_some());
    script.at(secs(4));
    assert_eq!(script.send("some"), [data("some")]);
    script.output();
    let late = script.now.after(HOUR);
    let mut events = script.connection.resume(script.now);
    let Some((connection, Event::Writable { .. })) = events.next() else { panic!("no room") };
    connection.tick(late);
    drop(events);
    script.now = late;
    assert_patient(&mut script);
}

// ---- response -------------------------------------------------------------------------------------

#[test]
fn an_answer_that_is_not_taken() {
    let mut script = Script::after(GET);
    script.at(secs(100));
    script.answer(200, "ok");
    assert_eq!(script.deadline(), Some((secs(105), Timer::Response)));
    assert_eq!(script.closes_at(secs(105), expired(Expiry::Response)), "");
}

#[test]
fn an_answer_that_is_taken_too_slowly() {
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    script.content(&[b'x'; 60_000]).expect("an answer is in progress");
    for second in 1..5 {
        script.at(secs(second));
        script.take(100);
    }
    assert_eq!(script.closes_at(secs(5), expired(Expiry::Response)), "");
}

#[test]
fn output_taken_at_the_tick_at_which_an_answer_begins_counts() {
    for looks in [false, true] {
        let mut script = Script::after(POST_CHUNKED);
        let _ = script.respond(200, BodyLength::Unknown);
        assert_eq!(script.content(&[b'x'; 20_000]), Ok(20_000));
        if looks {
            script.deadline();
        }
        script.take(10_000);
        script.at(secs(4));
        // The first bytes have paid for 41.7 s beyond the slack, and these pay for two seconds
        // more.
        script.take(480);
        let paid = secs(2) + secs(10_480) / 240;
        let (at, timer) = script.deadline().expect("a deadline is set");
        assert_eq!(timer, Timer::Response);
        assert!(at <= paid && at + NANOSECOND * 2 > paid, "looked at first: {looks}: {at:?}");
    }
}

#[test]
fn an_answer_taken_at_the_minimum_rate_is_enough_and_a_byte_less_is_not() {
    for (bytes, lives) in [(240, true), (239, false)] {
        let mut script = Script::under(with(&[("send_buffer_limit", "1MiB")]));
        script.send(GET);
        let _ = script.respond(200, BodyLength::Unknown);
        script.content(&[b'x'; 250_000]).expect("an answer is in progress");
        let mut second = 0;
        while script.is_open() && second < 1000 {
            second += 1;
            script.at(secs(second));
            if script.is_open() {
                script.take(bytes);
            }
        }
        assert_eq!(script.is_open(), lives, "{bytes} bytes a second: {second}");
    }
}

#[test]
fn server_sent_events_with_nothing_to_send() {
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    script.output();
    for event in 0..3 {
        assert_patient(&mut script);
        script.content(b"data: 1\n\n").expect("an answer is in progress");
        let now = HOUR * (event + 1);
        assert_eq!(script.deadline(), Some((now + secs(5), Timer::Response)), "a new wait");
        script.output();
    }
    script.content(b"data: 2\n\n").expect("an answer is in progress");
    assert_eq!(script.closes_at(HOUR * 3 + secs(5), expired(Expiry::Response)), "");
}

#[test]
fn more_output_gives_the_peer_no_more_time() {
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    for second in 0..5 {
        script.at(secs(second));
        script.content(&[b'x'; 1000]).expect("an answer is in progress");
        assert_eq!(script.deadline(), Some((secs(5), Timer::Response)));
    }
    assert_eq!(script.closes_at(secs(5), expired(Expiry::Response)), "");
}

#[test]
fn an_interim_answer_that_is_not_taken() {
    let mut script = Script::after(&POST_5.replace("Host", "Expect: 100-continue\r\nHost"));
    script.ask(9);
    assert_eq!(script.deadline(), Some((secs(5), Timer::RequestBody)));
    script.send("hello");
    assert_eq!(script.closes_at(secs(5), expired(Expiry::Response)), "");
}

#[test]
fn pipelined_answers_that_are_not_taken() {
    let mut script = Script::after(&GET.repeat(10));
    for second in 0..5 {
        script.at(secs(second));
        script.answer(200, "ok");
        script.resume();
    }
    assert_eq!(script.closes_at(secs(5), expired(Expiry::Response)), "");
}

#[test]
fn a_refusal_that_is_not_taken_closes_for_its_own_reason() {
    let mut script = Script::after("GET /\r\n\r\n");
    assert_eq!(script.deadline(), Some((secs(5), Timer::Response)));
    script.at(secs(5) - NANOSECOND);
    assert!(script.status().is_lingering() && script.status().write);
    script.at(secs(5));
    let reason = CloseReason::Refused(portcullis::Refusal::RequestLine);
    assert_eq!(script.status().closed(), Some(reason));
}

#[test]
fn a_last_answer_that_is_not_taken_is_not_completed() {
    for wire in [get_with("Connection: close\r\n"), "GET / HTTP/1.0\r\n\r\n".to_owned()] {
        let mut script = Script::after(&wire);
        script.answer(200, &"x".repeat(60_000));
        script.take(1000);
        let (at, timer) = script.deadline().expect("the peer is waited for");
        assert_eq!(timer, Timer::Response);
        script.at(at - NANOSECOND);
        assert!(script.status().is_lingering());
        script.at(at);
        assert_eq!(script.status().closed(), Some(expired(Expiry::Response)), "{wire:?}");
    }
}

// ---- a peer that may be gone, and age ---------------------------------------------------------------

#[test]
fn a_handler_may_go_on_for_a_while_after_the_peers_fin() {
    for wire in [GET.to_owned(), format!("{POST_5}hello"), format!("{GET}G")] {
        let mut script = Script::after(&wire);
        assert_eq!(script.deadline(), None, "the application has the turn");
        script.at(secs(10));
        script.eof();
        assert!(script.connection.is_half_closed());
        assert_eq!(script.deadline(), Some((secs(70), Timer::PeerGone)), "{wire:?}");
        assert_eq!(script.closes_at(secs(70), expired(Expiry::PeerGone)), "");
        assert!(!script.connection.status().is_cut_off(), "no answer had begun");
    }
}

#[test]
fn a_fin_after_unread_bytes_counts() {
    for wire in [GET.to_owned() + "G", format!("{POST_5}hello"), format!("{POST_5}he")] {
        let mut script = Script::after(&wire);
        script.at(secs(10));
        script.connection.fin_arrived(Tick::ZERO.after(secs(10)));
        assert!(script.connection.is_half_closed());
        assert_eq!(script.deadline(), Some((secs(70), Timer::PeerGone)), "{wire:?}");
        assert_eq!(script.closes_at(secs(70), expired(Expiry::PeerGone)), "");
    }
}

#[test]
fn requests_before_a_fin_are_served() {
    let mut script = Script::after(&format!("{GET}{GET}"));
    script.connection.fin_arrived(Tick::ZERO);
    script.at(secs(59));
    script.answer(200, "first");
    assert!(script.output().ends_with("first"));
    script.resume();
    assert_eq!(script.deadline(), Some((secs(119), Timer::PeerGone)), "another handler works");
    script.answer(200, "second");
    assert!(script.output().ends_with("second"));
    script.eof();
    assert!(!script.is_open());
}

#[test]
fn a_half_closed_peer_that_takes_its_answer_is_not_gone() {
    let mut script = Script::after(GET);
    script.eof();
    script.at(secs(59));
    let _ = script.respond(200, BodyLength::Unknown);
    assert_eq!(script.deadline(), Some((secs(64), Timer::Response)), "bytes wait for it");
    script.output();
    assert_eq!(script.deadline(), Some((secs(119), Timer::PeerGone)));
    // Events without end, one a minute.
    for minute in 2..10 {
        script.at(secs(minute * 59));
        assert_eq!(script.content(b"x"), Ok(1));
        script.output();
        assert_eq!(script.deadline(), Some((secs(minute * 59 + 60), Timer::PeerGone)));
    }
    assert_eq!(script.closes_at(secs(9 * 59 + 60), expired(Expiry::PeerGone)), "");
    assert!(script.connection.status().is_cut_off(), "the answer is incomplete");
}

#[test]
fn an_old_connection_drains() {
    let aged =
        || Script::under(with(&[("connection_age_limit", "60s"), ("keep_alive_timeout", "1h")]));
    let mut idle = aged();
    assert_eq!(idle.deadline(), Some((secs(60), Timer::ConnectionAge)));
    idle.at(secs(60));
    assert!(idle.is_open() && idle.connection.is_draining());
    assert_eq!(idle.closes_at(HOUR, CloseReason::Drained), "", "a proxy may be sending a request");

    let mut last = aged();
    last.at(secs(60));
    last.send(GET);
    assert_eq!(last.deadline(), Some((secs(90), Timer::Drain)));
    last.answer(200, "the last");
    let answer = last.output();
    assert!(answer.contains("connection: close\r\n"), "{answer}");

    // The age limit does not delay a drain of the server's.
    let mut told = aged();
    told.at(secs(60));
    told.connection.drain(support::tick(secs(60)));
    assert_eq!(told.closes_at(secs(60) + millis(500), CloseReason::Drained), "");

    let mut busy = aged();
    busy.send(GET);
    busy.at(secs(61));
    assert_eq!(busy.deadline(), Some((secs(91), Timer::Drain)));
    busy.answer(200, "the last");
    let answer = busy.output();
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    busy.eof();
    busy.closes_with(CloseReason::Drained);
}

#[test]
fn content_that_is_no_longer_waited_for_has_no_deadline() {
    let mut script = Script::after(POST_MUCH);
    script.ask(u64::MAX);
    script.at(secs(4));
    let (now, stream) = (support::tick(secs(4)), script.stream());
    script.connection.stream(now, stream).cancel_read().expect("the stream is open");
    script.connection.stream(now, stream).cancel_read().expect("cancelling twice is allowed");
    assert_patient(&mut script);
    assert_eq!(script.send("hello"), [data("hello")], "the credit stays");
    assert_patient(&mut script);
    // A new wait has all of its grace.
    let then = HOUR * 3;
    script.at(then);
    script.ask(u64::MAX);
    assert_eq!(script.closes_at(then + secs(5), expired(Expiry::RequestBody)), BODY_LATE);
}

#[test]
fn cancelling_a_wait_that_is_over_changes_nothing() {
    let mut script = Script::after(POST_MUCH);
    let mut waited = 0;
    let mut now = Duration::ZERO;
    // The peer sends a byte a second. Each is delivered, and then the application cancels its wait.
    while script.is_open() && waited < 100 {
        script.ask(1);
        now += secs(1);
        waited += 1;
        script.at(now);
        if script.is_open() {
            assert_eq!(script.send("x"), [data("x")]);
            let stream = script.stream();
            script.connection.stream(script.now, stream).cancel_read().expect("the stream is open");
        }
    }
    assert_eq!(waited, 5);
    script.closes_with(expired(Expiry::RequestBody));
}

/// A refusal that answers no request has a deadline of its own, too.
#[test]
fn a_refusal_behind_an_old_answer_is_sent() {
    let settings = [("response_deadline", "3s"), ("request_head_timeout", "4s")];
    let mut script = Script::under(with(&settings));
    script.send(GET);
    script.answer(200, "taken late");
    script.at(secs(2));
    script.output();
    script.send("GET");
    script.at(secs(6));
    assert!(script.waiting().starts_with("HTTP/1.1 408 "), "{}", script.waiting());
    assert_eq!(script.deadline(), Some((secs(9), Timer::Response)));
}

#[test]
fn each_answer_has_a_deadline_of_its_own() {
    let mut script = Script::under(with(&[("response_deadline", "60s")]));
    // The first is taken slowly, and the second begins ten seconds later.
    for begins in [0, 66] {
        script.at(secs(begins));
        script.send(GET);
        let _ = script.respond(200, BodyLength::Known(50_000));
        assert_eq!(script.content(&[b'x'; 50_000]), Ok(50_000));
        for second in 1..60 {
            script.at(secs(begins + second));
            script.take(800);
        }
        assert_eq!(script.deadline(), Some((secs(begins + 60), Timer::Response)));
        script.output();
        script.finish().expect("the content is complete");
        if begins == 0 {
            script.at(secs(60) + millis(1));
            script.send(GET);
            script.answer(200, "at once");
            script.output();
            script.at(secs(65));
            script.send(GET);
            script.answer(200, "at once");
            script.output();
        }
    }
}

#[test]
fn unpulled_events_do_not_start_the_wait_for_a_gone_peer() {
    let mut script = Script::new();
    let mut wire = GET.as_bytes().to_vec();
    drop(script.connection.receive(script.now, &mut wire).expect("the connection reads"));
    drop(script.connection.receive_eof(script.now));
    assert_patient(&mut script);
    assert_eq!(script.resume().len(), 2);
    assert_eq!(script.deadline(), Some((HOUR + secs(60), Timer::PeerGone)));
}

#[test]
fn discarding_before_the_end_counts_towards_the_linger_timeout() {
    let mut script = Script::after(POST_CHUNKED);
    script.answer(200, "ok");
    script.output();
    for second in [4, 8, 12] {
        script.at(secs(second));
        script.send("1\r\nx\r\n");
    }
    // The content turns out to be malformed, so all further input is discarded.
    script.send("no chunk");
    assert!(!script.is_open());
    for second in [16, 20, 24, 28] {
        assert_eq!(script.deadline(), Some((secs(second + 1), Timer::Linger)));
        script.at(secs(second));
        script.send("more");
    }
    assert_eq!(script.deadline(), Some((secs(30), Timer::Linger)), "the linger timeout in all");
}

// ---- the peer's progress, as the driver reports it ----------------------------------------------

/// 50,000 bytes of an answer, of which the system has accepted 30,000.
fn measured() -> Script {
    let mut script = Script::new();
    script.acknowledged(0);
    script.send(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    assert_eq!(script.content(&[b'x'; 50_000]), Ok(50_000));
    script.take(30_000);
    script
}

#[test]
fn the_driver_is_asked_four_times_within_a_silence() {
    let mut script = measured();
    // The first look is due at the end of the grace.
    assert_eq!(script.deadline(), Some((secs(5), Timer::Response)));
    script.at(secs(1));
    script.acknowledged(30_000 - 24_000);
    assert_eq!(script.connection.unacknowledged(), 6_000);
    // 24,000 bytes pay for 100 s, and reading the lump may take as long. The driver is asked much
    // earlier.
    let mut next = secs(1);
    for look in 0..16 {
        next += millis(7_500);
        assert_eq!(script.deadline(), Some((next, Timer::Response)), "look {look}");
        script.at(next);
        assert!(script.is_open(), "look {look}");
        if next > secs(90) {
            break;
        }
    }
    // Nothing more was taken, so the connection ends exactly when the paid time is over.
    let paid = secs(2) + secs(100);
    script.at(next + millis(100));
    assert_eq!(script.closes_at(paid, expired(Expiry::Response)), "");
}

#[test]
fn the_deadline_moves_with_what_is_reported() {
    let mut script = measured();
    script.at(secs(4));
    assert_eq!(script.deadline(), Some((secs(5), Timer::Response)));
    script.acknowledged(29_000);
    // A thousand bytes pay for a little more than four seconds.
    let (at, _) = script.deadline().expect("a deadline is set");
    assert!(at > secs(6) && at < secs(7), "{at:?}");
    // A report without progress moves nothing.
    script.at(secs(5));
    script.acknowledged(29_000);
    assert_eq!(script.deadline().map(|it| it.0), Some(at));
}

#[test]
fn no_more_is_unacknowledged_than_was_sent() {
    let mut script = Script::after(GET);
    script.acknowledged(0);
    script.answer(200, "ok");
    let waiting = script.waiting().len();
    script.connection.sent(script.now, usize::MAX);
    assert_eq!(script.connection.unacknowledged(), waiting as u64);
    // The system may hold bytes that the connection does not know of.
    script.acknowledged(1_000_000);
    assert_eq!(script.connection.unacknowledged(), waiting as u64);
    script.acknowledged(10);
    assert_eq!(script.connection.unacknowledged(), 10);
    script.acknowledged(0);
    assert_eq!(script.connection.unacknowledged(), 0);
}

#[test]
fn a_peer_that_still_takes_the_last_answer_is_not_silent() {
    // 1200 bytes within the five seconds of silence are exactly the minimum.
    for (taken, until) in [(1200, secs(9)), (1199, secs(5))] {
        let mut script = Script::new();
        script.acknowledged(0);
        script.send(get_with("Connection: close\r\n"));
        script.answer(200, &"x".repeat(50_000));
        let all = script.output().len() as u64;
        assert_eq!(script.deadline(), Some((secs(5), Timer::Linger)));
        script.at(secs(4));
        script.acknowledged(all - taken);
        assert_eq!(script.deadline(), Some((until, Timer::Linger)), "{taken} bytes");
        // Once the peer has taken everything, the silence counts.
        script.acknowledged(0);
        assert_eq!(script.deadline(), Some((until, Timer::Linger)), "{taken} bytes");
    }
}

#[test]
fn an_unpulled_end_ends_the_wait_for_content() {
    let mut script = Script::after(POST_MUCH);
    script.ask(5);
    script.at(secs(1));
    drop(script.connection.receive_eof(script.now));
    assert_eq!(script.deadline(), Some((secs(61), Timer::PeerGone)), "no content is to come");
    assert_eq!(script.resume(), [Seen::Reset(ResetReason::Truncated)]);
}

#[test]
fn the_application_cannot_delay_a_look_at_the_peers_progress() {
    let mut script = measured();
    script.at(secs(1));
    script.acknowledged(6_000);
    let look = secs(1) + millis(7_500);
    for second in 2..8 {
        script.at(secs(second));
        assert_eq!(script.content(b"more"), Ok(4));
        script.take(1);
        assert_eq!(script.deadline(), Some((look, Timer::Response)), "at {second} s");
    }
}

#[test]
fn the_wait_for_a_gone_peer_begins_at_its_fin() {
    let at = |seconds| Tick::ZERO.after(secs(seconds));
    for looks in [true, false] {
        let mut connection = Connection::new(Arc::new(Config::default()), Tick::ZERO);
        let mut wire = GET.as_bytes().to_vec();
        let mut events = connection.receive(Tick::ZERO, &mut wire).expect("the connection reads");
        while events.next().is_some() {}
        drop(events);
        connection.sent(Tick::ZERO, 0);
        if looks {
            assert_eq!(connection.deadline(), None);
        }
        drop(connection.receive_eof(at(7)));
        assert_eq!(connection.deadline(), Some((at(67), Timer::PeerGone)), "looks: {looks}");
    }
}

#[test]
fn under_pressure_running_timers_keep_the_part_of_their_time_that_is_over() {
    let usual = Config::builder().keep_alive_timeout(secs(16)).build().expect("valid");
    let stress = |index| Arc::new(usual.stressed(Stress::at(index).expect("a value")));
    let at_most = (0..Stress::COUNT).find(|it| Stress::at(*it).is_some_and(|it| it.eighths() == 7));
    let hurried = stress(at_most.expect("seven eighths"));
    let mut script = Script::under(usual.clone());
    assert_eq!(script.deadline(), Some((secs(16), Timer::KeepAlive)));
    script.at(secs(1));
    script.connection.set_config(script.now, hurried.clone()).expect("akin");
    assert_eq!(script.deadline(), Some((secs(2), Timer::KeepAlive)));
    // The pressure is gone.
    script.connection.set_config(script.now, Arc::new(usual.clone())).expect("akin");
    assert_eq!(script.deadline(), Some((secs(16), Timer::KeepAlive)));
    // A head has begun: 10 s, or an eighth of that.
    script.send("GET / HT");
    assert_eq!(script.deadline(), Some((secs(11), Timer::RequestHead)));
    script.connection.set_config(script.now, hurried).expect("akin");
    assert_eq!(script.deadline(), Some((millis(2250), Timer::RequestHead)));
    // Its time is over already: it ends at once, and the client is told.
    script.connection.set_config(script.now, Arc::new(usual.clone())).expect("akin");
    script.at(secs(9));
    script
        .connection
        .set_config(script.now, stress(at_most.expect("seven eighths")))
        .expect("akin");
    script.at(secs(9));
    assert!(script.output().starts_with("HTTP/1.1 408 "));
    let other = Config::builder().keep_alive_timeout(secs(15)).request_head_limit(4096).build();
    let other = Arc::new(other.expect("valid"));
    assert_eq!(script.connection.set_config(script.now, other), Err(Misuse::OtherConfig));
}
