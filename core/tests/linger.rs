//! How a connection ends: the last answer arrives, and the connection lives no longer than that
//! needs.

use portcullis::{
    BodyLength, CloseReason, Expiry, Life, Misuse, PeerClose, Phase, Refusal, ResetReason, Timer,
};
use portcullis_play::support;
use support::cuts::refusal_text;
use support::{
    GET, HOUR, NANOSECOND, POST_5, POST_CHUNKED, POST_MUCH, Script, Seen, end, get_with, millis,
    secs, with,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const OK_CLOSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
/// The state in which all is flushed, writing is shut down, and input is discarded.
const DISCARDING: (bool, bool, Life) = (true, false, Life::Lingering { shutdown_write: true });

fn post(length: usize) -> String {
    POST_5.replace(": 5", &format!(": {length}"))
}

// ---- early answers --------------------------------------------------------------------------------

#[test]
fn a_small_rest_is_discarded_and_the_connection_kept() {
    let chunked =
        format!("{}7d0;x\r\n{}\r\n0\r\nX: y\r\n\r\n", "1\r\n.\r\n".repeat(3), ".".repeat(2000));
    for (head, rest) in [(post(5000), ".".repeat(5000)), (POST_CHUNKED.to_owned(), chunked)] {
        for held in [0, 1, rest.len() / 2, rest.len()] {
            let (first, second) = rest.split_at(held);
            let mut script = Script::after(&format!("{head}{first}"));
            script.answer(200, "ok");
            assert_eq!(script.resume(), []);
            assert_eq!(script.output(), OK);
            if !second.is_empty() {
                assert_eq!(script.connection.phase(), Phase::Lingering);
                assert_eq!(script.send(second), [], "discarded content is not delivered");
            }
            assert_eq!(script.connection.phase(), Phase::Idle, "{held} of {}", rest.len());
            assert_eq!(script.send(GET).len(), 2);
            script.answer(200, "ok");
            assert_eq!(script.output(), OK);
        }
    }
}

#[test]
fn a_small_rest_and_the_next_request_in_one_read() {
    let mut script = Script::after(&post(5000));
    script.answer(200, "ok");
    let seen = script.send(format!("{}{GET}", ".".repeat(5000)));
    assert!(matches!(seen[..], [Seen::Request(..), Seen::End(..)]), "{seen:?}");
}

#[test]
fn the_wait_for_a_small_rest_is_bounded() {
    let mut script = Script::after(&post(5000));
    script.at(secs(100));
    script.answer(200, "ok");
    script.at(secs(101));
    script.output();
    assert_eq!(script.deadline(), Some((secs(106), Timer::Linger)), "5 s of silence");
    for second in 102..=130 {
        script.at(secs(second));
        script.send(".");
    }
    assert_eq!(script.deadline(), Some((secs(131), Timer::Linger)), "and 30 s in all");
    assert_eq!(script.closes_at(secs(131), CloseReason::UnreadContent), "");
}

#[test]
fn a_known_rest_that_is_too_large_is_not_discarded() {
    // Half of the limit may be spent to keep the connection.
    for (length, kept) in [(512 << 10, true), ((512 << 10) + 1, false)] {
        let mut script = Script::after(&post(length));
        script.answer(401, "no");
        assert_eq!(script.is_open(), kept, "{length}");
        assert!(script.output().starts_with("HTTP/1.1 401 "));
        if !kept {
            assert_eq!(script.socket(), DISCARDING);
            script.closes_with(CloseReason::UnreadContent);
        }
    }
}

#[test]
fn an_unknown_rest_is_discarded_up_to_the_limit() {
    let mut script = Script::under(with(&[("linger_limit", "20000")]));
    script.send(POST_CHUNKED);
    script.answer(401, "no");
    script.output();
    let chunk = format!("3e0\r\n{}\r\n", ".".repeat(0x3e0));
    let mut sent = 0;
    while script.is_open() {
        script.send(&chunk);
        sent += chunk.len();
    }
    assert!(sent > 10_000 && sent <= 10_000 + chunk.len(), "half of the limit: {sent}");
    while script.reads() {
        assert_eq!(script.socket(), DISCARDING);
        script.send(&chunk);
        sent += chunk.len();
    }
    assert!((20_000..20_000 + chunk.len()).contains(&sent), "all of the limit: {sent}");
    assert_eq!(script.status().closed(), Some(CloseReason::UnreadContent));
}

#[test]
fn the_answer_arrives_whole_while_the_client_goes_on_sending() {
    let mut script = Script::after(POST_MUCH);
    script.answer(401, &"x".repeat(10_000));
    // The client reads nothing before it has sent everything: 40 MB.
    for part in 0..800 {
        script.send(".".repeat(50_000));
        assert!(script.reads(), "part {part}");
        if part % 160 == 159 {
            script.pass(secs(1) / 4);
        }
    }
    assert_eq!(script.socket(), (true, true, Life::Lingering { shutdown_write: false }));
    assert!(script.output().ends_with("x"));
    script.eof();
    assert_eq!(script.status().closed(), Some(CloseReason::UnreadContent));
}

#[test]
fn a_limit_of_bytes_is_possible() {
    let mut script = Script::under(with(&[("linger_limit", "1MiB")]));
    script.send(POST_MUCH);
    script.answer(401, &"x".repeat(10_000));
    let mut sent = 0;
    while script.reads() {
        script.send(".".repeat(60_000));
        sent += 60_000;
    }
    assert!((1 << 20..(1 << 20) + 60_000).contains(&sent), "{sent}");
    // The limit is reached, but the answer is still unsent.
    assert_eq!(script.socket(), (false, true, Life::Lingering { shutdown_write: false }));
    assert!(script.output().ends_with("x"));
    assert_eq!(script.status().closed(), Some(CloseReason::UnreadContent));
}

#[test]
fn a_broken_rest_ends_the_connection() {
    for (rest, reason) in [
        ("x\r\n", CloseReason::UnreadContent),
        ("1\r\nxy", CloseReason::UnreadContent),
        ("0\r\nX: y\n\r\n", CloseReason::Refused(Refusal::BareCrOrLf)),
    ] {
        let mut script = Script::after(POST_CHUNKED);
        script.answer(200, "ok");
        script.output();
        assert_eq!(script.send(format!("{rest}{GET}")), [], "{rest:?}");
        assert_eq!(script.closes_with(reason), "", "the request was answered already");
    }
    let mut script = Script::after(POST_CHUNKED);
    script.answer(200, "ok");
    script.output();
    script.send("5\r\n..");
    script.eof();
    assert_eq!(script.closes_with(CloseReason::Peer(PeerClose::Truncated)), "");
}

// ---- the last answer ------------------------------------------------------------------------------

#[test]
fn after_connection_close_the_answer_is_flushed_then_fin_then_a_wait() {
    let mut script = Script::after(&get_with("Connection: close\r\n"));
    script.answer(200, "ok");
    assert_eq!(script.socket(), (true, true, Life::Lingering { shutdown_write: false }));
    script.take(10);
    assert!(!script.status().wants_shutdown(), "no shutdown before all is written");
    assert_eq!(script.output(), OK_CLOSE[10..]);
    assert_eq!(script.socket(), DISCARDING);
    assert_eq!(script.deadline(), Some((secs(5), Timer::Linger)), "for silence");
    for second in 1..30 {
        script.at(secs(second));
        assert_eq!(script.send(GET), [], "the last request was answered");
    }
    script.at(secs(30) - NANOSECOND);
    assert_eq!(script.socket(), DISCARDING);
    script.at(secs(30));
    assert_eq!(script.status().closed(), Some(CloseReason::Completed), "30 s in all");
}

#[test]
fn the_wait_begins_when_all_is_written() {
    let mut script = Script::after(&get_with("Connection: close\r\n"));
    script.at(secs(10));
    script.answer(200, "ok");
    script.at(secs(14));
    script.output();
    assert_eq!(script.deadline(), Some((secs(19), Timer::Linger)));
}

#[test]
fn the_peers_end_ends_the_wait() {
    let mut script = Script::after(&get_with("Connection: close\r\n"));
    script.answer(200, "ok");
    script.eof();
    assert_eq!(script.socket(), (false, true, Life::Lingering { shutdown_write: false }));
    script.output();
    assert_eq!(script.status().closed(), Some(CloseReason::Completed));

    let mut script = Script::after(&get_with("Connection: close\r\n"));
    script.answer(200, "ok");
    script.output();
    assert_eq!(script.socket(), DISCARDING);
    script.eof();
    assert_eq!(script.status().closed(), Some(CloseReason::Completed));
}

#[test]
fn a_refused_request_gets_its_answer_and_the_rest_is_discarded() {
    let mut script = Script::under(with(&[("linger_limit", "1000")]));
    script.send(format!("GET /\r\n\r\n{GET}"));
    assert!(script.reads());
    assert_eq!(script.output(), refusal_text(Refusal::RequestLine));
    assert_eq!(script.socket(), DISCARDING);
    assert_eq!(script.send(".".repeat(500)), []);
    assert_eq!(script.socket(), DISCARDING);
    assert_eq!(script.send(".".repeat(500)), []);
    assert_eq!(script.status().closed(), Some(CloseReason::Refused(Refusal::RequestLine)));
}

#[test]
fn the_discard_limit_starts_anew_for_each_request() {
    let mut script = Script::under(with(&[("linger_limit", "1000")]));
    script.send(post(500));
    script.answer(200, "ok");
    script.send(".".repeat(500));
    script.send("GET /\r\n\r\n");
    script.output();
    script.send(".".repeat(999));
    assert_eq!(script.socket(), DISCARDING);
    script.send(".");
    assert_eq!(script.status().closed(), Some(CloseReason::Refused(Refusal::RequestLine)));
}

#[test]
fn without_a_limit_to_discard_nothing_is_read() {
    let mut script = Script::under(with(&[("linger_limit", "0")]));
    script.send(get_with("Connection: close\r\n"));
    script.answer(200, "ok");
    assert!(!script.reads());
    assert_eq!(script.output(), OK_CLOSE);
    assert_eq!(script.status().closed(), Some(CloseReason::Completed));
}

#[test]
fn nothing_is_held_while_lingering() {
    let mut script =
        Script::after(&format!("{}{}", get_with("Connection: close\r\n"), GET.repeat(100)));
    script.answer(200, "ok");
    script.output();
    assert_eq!(script.connection.memory(), size_of::<portcullis::Connection>());
}

#[test]
fn refusing_a_request_sends_an_answer_and_a_close() {
    let mut script = Script::after(POST_5);
    let stream = script.stream();
    script.connection.stream(script.now, stream).refuse(Refusal::Unavailable).expect("a stream");
    assert_eq!(script.resume(), [], "no event: the application refused by itself");
    let reason = CloseReason::Refused(Refusal::Unavailable);
    assert_eq!(script.closes_with(reason), refusal_text(Refusal::Unavailable));
    // An answer to HEAD has no content.
    let mut script = Script::after("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let stream = script.stream();
    script.connection.stream(script.now, stream).refuse(Refusal::Unavailable).expect("a stream");
    assert!(script.output().ends_with("connection: close\r\n\r\n"));
    // An answer that has begun is cut off.
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Known(5));
    let stream = script.stream();
    script.connection.stream(script.now, stream).refuse(Refusal::Unavailable).expect("a stream");
    assert_eq!(script.status().closed(), Some(reason));
    assert_eq!(script.waiting(), "");
}

#[test]
fn giving_up_closes_at_once() {
    for wire in [GET, POST_5, POST_CHUNKED] {
        for begun in [false, true] {
            let mut script = Script::after(wire);
            if begun {
                let _ = script.respond(200, BodyLength::Known(5));
            }
            let stream = script.stream();
            assert_eq!(script.connection.stream(script.now, stream).reset(), Ok(()));
            assert_eq!(script.status().closed(), Some(CloseReason::Application));
            assert_eq!(script.resume(), []);
            assert_eq!(
                script.connection.stream(script.now, stream).reset(),
                Err(Misuse::UnknownStream)
            );
        }
    }
}

#[test]
fn the_driver_may_give_up_at_any_time_and_the_first_reason_stays() {
    let gone = CloseReason::Peer(PeerClose::Reset);
    for wire in ["", "G", GET, POST_5] {
        let mut script = Script::after(wire);
        script.connection.abort(script.now, gone);
        assert_eq!(script.status().closed(), Some(gone));
        script.connection.abort(script.now, CloseReason::Aborted);
        assert_eq!(script.status().closed(), Some(gone));
        assert_eq!(script.try_send(GET), Err(Misuse::NotReading));
        assert_eq!(script.eof(), []);
    }
    let mut script = Script::after("GET /\r\n\r\n");
    script.connection.abort(script.now, gone);
    assert_eq!(script.status().closed(), Some(CloseReason::Refused(Refusal::RequestLine)));
}

// ---- cut off --------------------------------------------------------------------------------------

/// An HTTP/1.0 request with content: an answer of unknown length ends with the connection.
const OLD_POST: &str = "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n";

/// A way for a connection to end too early, and the reason it closes for.
type End = (fn(&mut Script), CloseReason);

/// Ways to end while the request's content is awaited.
const ENDS: [End; 6] = [
    (|script| drop(script.eof()), CloseReason::Peer(PeerClose::Truncated)),
    (|script| script.at(secs(5)), CloseReason::Expired(Expiry::RequestBody)),
    (
        |script| {
            let (now, stream) = (script.now, script.stream());
            script.connection.stream(now, stream).refuse(Refusal::Unavailable).expect("a stream");
        },
        CloseReason::Refused(Refusal::Unavailable),
    ),
    (
        |script| {
            let (now, stream) = (script.now, script.stream());
            script.connection.stream(now, stream).reset().expect("a stream");
        },
        CloseReason::Application,
    ),
    (|script| script.connection.abort(script.now, CloseReason::Aborted), CloseReason::Aborted),
    (
        |script| {
            script.output();
            script.connection.drain(script.now);
            script.send("12345");
            script.at(secs(30));
        },
        CloseReason::Expired(Expiry::Drain),
    ),
];

#[test]
fn an_unfinished_answer_is_cut_off_even_if_it_was_flushed() {
    for (wire, length) in [
        (OLD_POST, BodyLength::Unknown),
        (POST_5, BodyLength::Unknown),
        (POST_5, BodyLength::Known(5)),
    ] {
        for written in [true, false] {
            for (finish, reason) in ENDS {
                let mut script = Script::after(wire);
                let _ = script.respond(200, length);
                script.content(b"hel").expect("an answer is in progress");
                script.ask(9);
                if written {
                    script.output();
                }
                assert!(!script.connection.status().is_cut_off());
                finish(&mut script);
                script.closes_with(reason);
                assert!(script.connection.status().is_cut_off(), "{reason:?}, {length:?}");
            }
        }
    }
}

#[test]
fn nothing_is_cut_off_before_an_answer_has_begun() {
    for wire in [OLD_POST, POST_5] {
        for (finish, reason) in ENDS {
            let mut script = Script::after(wire);
            script.ask(9);
            finish(&mut script);
            script.closes_with(reason);
            assert!(!script.connection.status().is_cut_off(), "{reason:?}");
        }
    }
}

#[test]
fn a_finished_answer_is_not_cut_off() {
    let mut script = Script::after("GET / HTTP/1.0\r\n\r\n");
    let _ = script.respond(200, BodyLength::Unknown);
    script.content(b"hello").expect("an answer is in progress");
    script.finish().expect("the content is complete");
    script.closes_with(CloseReason::Completed);
    assert!(!script.connection.status().is_cut_off());

    let mut script = Script::after(GET);
    script.answer(200, "ok");
    script.output();
    script.closes_at(secs(5), CloseReason::Expired(Expiry::KeepAlive));
    assert!(!script.connection.status().is_cut_off());

    let mut script = Script::after("GET /\r\n\r\n");
    script.closes_with(CloseReason::Refused(Refusal::RequestLine));
    assert!(!script.connection.status().is_cut_off());
}

#[test]
fn an_answer_that_is_not_taken_is_cut_off() {
    for last in [GET.to_owned(), get_with("Connection: close\r\n"), "GET /\r\n\r\n".into()] {
        let mut script = Script::after(&last);
        if script.is_open() {
            script.answer(200, "ok");
        }
        script.take(10);
        script.at(secs(5));
        assert!(script.status().closed().is_some(), "{:?}", script.status());
        assert!(script.connection.status().is_cut_off(), "{last:?}");
    }
}

// ---- drain ----------------------------------------------------------------------------------------

#[test]
fn an_idle_connection_that_drains_waits_a_little_for_a_request() {
    let mut script = Script::new();
    script.at(secs(1));
    script.connection.drain(script.now);
    assert_eq!(script.deadline(), Some((millis(1500), Timer::KeepAlive)));
    assert_eq!(script.closes_at(millis(1500), CloseReason::Drained), "");

    let mut script = Script::new();
    script.connection.drain(script.now);
    script.at(millis(499));
    assert_eq!(script.send(GET).len(), 2);
    script.answer(200, "ok");
    assert_eq!(script.closes_with(CloseReason::Drained), OK_CLOSE);
}

#[test]
fn a_busy_connection_that_drains_finishes_first() {
    let mut script = Script::after(&format!("{POST_5}he"));
    script.connection.drain(script.now);
    script.connection.drain(script.now);
    assert_eq!(script.ask(9), [Seen::Data("he".into())]);
    script.ask(9);
    assert_eq!(script.send(format!("llo{GET}")), [Seen::Data("llo".into()), end()]);
    script.at(secs(29));
    script.answer(200, "ok");
    assert_eq!(script.closes_with(CloseReason::Drained), OK_CLOSE);
}

#[test]
fn an_answer_without_connection_close_before_a_drain() {
    let mut script = Script::after(GET);
    let _ = script.respond(200, BodyLength::Known(2));
    script.connection.drain(script.now);
    script.content(b"ok").expect("an answer is in progress");
    script.finish().expect("the content is complete");
    assert_eq!(script.output(), OK);
    assert_eq!(script.closes_at(millis(500), CloseReason::Drained), "");
}

#[test]
fn a_head_that_has_begun_is_still_answered() {
    let mut script = Script::after("GET / HTTP/1.1\r\n");
    script.connection.drain(script.now);
    assert_eq!(script.deadline(), Some((secs(10), Timer::RequestHead)));
    script.at(secs(9));
    assert_eq!(script.send("Host: a\r\n\r\n").len(), 2);
    script.answer(200, "ok");
    assert_eq!(script.closes_with(CloseReason::Drained), OK_CLOSE);
}

#[test]
fn a_drain_is_bounded() {
    for wire in [GET, POST_5] {
        let mut script = Script::after(wire);
        script.at(secs(10));
        script.connection.drain(script.now);
        script.at(secs(20));
        script.connection.drain(script.now);
        assert_eq!(script.deadline(), Some((secs(40), Timer::Drain)));
        assert_eq!(script.closes_at(secs(40), CloseReason::Expired(Expiry::Drain)), "");
    }
    // A peer that does not take the last answer cannot delay it either.
    let mut script = Script::under(with(&[("response_grace", "1day")]));
    script.send(GET);
    script.connection.drain(script.now);
    script.answer(200, "ok");
    script.at(secs(30) - NANOSECOND);
    assert!(script.status().is_lingering());
    script.at(secs(30));
    assert_eq!(script.status().closed(), Some(CloseReason::Expired(Expiry::Drain)));
}

#[test]
fn without_a_drain_a_handler_may_take_its_time() {
    let mut script = Script::after(GET);
    script.at(HOUR);
    assert!(script.is_open());
}

#[test]
fn draining_a_closed_connection_changes_nothing() {
    let mut script = Script::after("GET /\r\n\r\n");
    let before = (script.status(), script.deadline());
    script.connection.drain(script.now);
    assert_eq!((script.status(), script.deadline()), before);
    script.closes_with(CloseReason::Refused(Refusal::RequestLine));
    script.connection.drain(script.now);
    assert_eq!(script.deadline(), None);
}

#[test]
fn the_peer_may_end_a_draining_connection() {
    let mut script = Script::new();
    script.connection.drain(script.now);
    script.eof();
    assert_eq!(script.status().closed(), Some(CloseReason::Peer(PeerClose::Done)));
    let mut script = Script::after(POST_5);
    script.connection.drain(script.now);
    assert_eq!(script.eof(), [Seen::Reset(ResetReason::Truncated)]);
    script.closes_with(CloseReason::Peer(PeerClose::Truncated));
}
