//! Every action in every state in which it makes no sense. It returns an error, and changes
//! nothing.

use bytes::Bytes;
use http::StatusCode;
use portcullis::{BodyLength, CloseReason, Life, Misuse, Refusal, StreamId, Tick, Timer};
use portcullis_play::support;
use std::iter::empty;
use support::{GET, POST_5, Script, data, end, fields, get_with, with};

/// An action of the application, with arguments that are valid where possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Inform,
    Respond,
    SendData,
    Finish,
    RequestData,
    LimitBody,
    LimitBodyTime,
    LimitResponseTime,
    Refuse,
    Reset,
}

use Action::*;

const ALL: [Action; 10] = [
    Inform,
    Respond,
    SendData,
    Finish,
    RequestData,
    LimitBody,
    LimitBodyTime,
    LimitResponseTime,
    Refuse,
    Reset,
];

impl Action {
    fn apply(self, script: &mut Script, stream: StreamId) -> Result<(), Misuse> {
        let (connection, now) = (&mut script.connection, script.now);
        match self {
            Inform => connection.stream(now, stream).inform(StatusCode::EARLY_HINTS, empty()),
            Respond => connection
                .stream(now, stream)
                .respond(StatusCode::OK, empty(), BodyLength::Unknown)
                .map(|_| ()),
            SendData => {
                let mut content = Bytes::from_static(b"x");
                connection.stream(now, stream).send(&mut content).map(|_| ())
            }
            Finish => connection.stream(now, stream).finish(None),
            RequestData => support::read_more(connection.stream(now, stream), 1),
            LimitBody => connection.stream(now, stream).limit_body(Some(100)),
            LimitBodyTime => connection.stream(now, stream).limit_body_time(None),
            LimitResponseTime => connection.stream(now, stream).limit_response_time(None),
            Refuse => connection.stream(now, stream).refuse(Refusal::Unavailable),
            Reset => connection.stream(now, stream).reset(),
        }
    }
}

/// Everything that can be seen of a connection from outside.
fn visible(script: &mut Script) -> impl PartialEq + std::fmt::Debug + use<> {
    let connection = &mut script.connection;
    (
        (connection.status(), connection.deadline(), connection.phase()),
        (connection.memory(), connection.requests(), connection.status().resume),
        script.waiting(),
    )
}

/// Asserts that in the state that `make` produces, these actions are refused with this misuse and
/// change nothing. All other actions must succeed.
fn assert_misuse(make: impl Fn() -> Script, misuses: &[(Action, Misuse)]) {
    for action in ALL {
        let mut script = make();
        let before = visible(&mut script);
        let stream = script.stream();
        let result = action.apply(&mut script, stream);
        match misuses.iter().find(|(other, _)| *other == action) {
            Some((_, misuse)) => {
                assert_eq!(result, Err(*misuse), "{action:?}");
                assert_eq!(visible(&mut script), before, "{action:?}");
            }
            None => assert_eq!(result, Ok(()), "{action:?}"),
        }
    }
}

fn assert_all_unknown(make: impl Fn() -> Script) {
    assert_misuse(make, &ALL.map(|action| (action, Misuse::UnknownStream)));
}

fn begun(wire: &str, length: BodyLength) -> Script {
    let mut script = Script::after(wire);
    let _ = script.respond(200, length);
    script
}

#[test]
fn while_an_answer_is_owed() {
    let not_answered = [(SendData, Misuse::NotAnswered), (Finish, Misuse::NotAnswered)];
    for wire in [GET.to_owned(), POST_5.to_owned(), format!("{POST_5}he"), format!("{GET}{GET}")] {
        assert_misuse(|| Script::after(&wire), &not_answered);
    }
}

#[test]
fn while_an_answer_is_in_progress() {
    let answered = [(Inform, Misuse::AlreadyAnswered), (Respond, Misuse::AlreadyAnswered)];
    for wire in [GET, POST_5, "GET / HTTP/1.0\r\n\r\n"] {
        assert_misuse(|| begun(wire, BodyLength::Unknown), &answered);
    }
    let too_short = [&answered[..], &[(Finish, Misuse::TooShort { missing: 5 })]].concat();
    assert_misuse(|| begun(GET, BodyLength::Known(5)), &too_short);
    let too_long = [&answered[..], &[(SendData, Misuse::TooLong { left: 0 })]].concat();
    assert_misuse(|| begun(GET, BodyLength::Known(0)), &too_long);
}

#[test]
fn when_content_was_delivered() {
    let some = || {
        let mut script = Script::after(&format!("{POST_5}hel"));
        assert_eq!(script.ask(1), [data("h")]);
        script
    };
    assert_misuse(
        some,
        &[
            (SendData, Misuse::NotAnswered),
            (Finish, Misuse::NotAnswered),
            (LimitBody, Misuse::ContentBegun),
        ],
    );
    let all = || {
        let mut script = Script::after(&format!("{POST_5}hello"));
        assert_eq!(script.ask(9), [data("hello"), end()]);
        script
    };
    assert_misuse(
        all,
        &[
            (SendData, Misuse::NotAnswered),
            (Finish, Misuse::NotAnswered),
            (LimitBody, Misuse::ContentBegun),
        ],
    );
}

#[test]
fn after_the_answer() {
    assert_all_unknown(|| {
        let mut script = Script::after(GET);
        script.answer(200, "ok");
        script
    });
    assert_all_unknown(|| {
        let mut script = Script::after(POST_5);
        script.answer(200, "ok");
        script
    });
    assert_all_unknown(|| {
        let mut script = Script::after(&get_with("Connection: close\r\n"));
        script.answer(200, "ok");
        script
    });
    assert_all_unknown(|| begun("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", BodyLength::Known(5)));
}

#[test]
fn after_the_connection_has_ended() {
    let ends: [fn(&mut Script); 5] = [
        |script| script.connection.abort(Tick::ZERO, CloseReason::Aborted),
        |script| {
            let stream = script.stream();
            script.connection.stream(Tick::ZERO, stream).reset().expect("a stream");
        },
        |script| {
            let stream = script.stream();
            script
                .connection
                .stream(Tick::ZERO, stream)
                .refuse(Refusal::Unavailable)
                .expect("a stream");
        },
        |script| {
            script.eof();
        },
        |script| {
            script.connection.drain(Tick::ZERO);
            script.at(support::HOUR);
        },
    ];
    for end in ends {
        for wire in [POST_5, &POST_5.replace(": 5", ": 1000000000")] {
            assert_all_unknown(|| {
                let mut script = Script::after(POST_5);
                end(&mut script);
                script.stream = Script::after(wire).stream;
                script
            });
        }
    }
    // Refused content ends the stream, even for calls that do not ask for content.
    assert_all_unknown(|| Script::after(&POST_5.replace(": 5", ": 1000000000")));
}

#[test]
fn streams_that_are_not_the_newest() {
    let mut script = Script::after(&GET.repeat(2));
    let first = script.stream();
    script.answer(200, "ok");
    script.resume();
    let second = script.stream();
    assert!(first < second);
    assert_eq!((first.as_u64(), second.to_string()), (1, "2".to_owned()));
    let before = visible(&mut script);
    for action in ALL {
        assert_eq!(action.apply(&mut script, first), Err(Misuse::UnknownStream), "{action:?}");
    }
    assert_eq!(visible(&mut script), before);

    // A stream that is still to come. Only another connection can name it.
    let mut young = Script::after(GET);
    for action in ALL {
        assert_eq!(action.apply(&mut young, second), Err(Misuse::UnknownStream), "{action:?}");
    }
    // A connection without a request.
    let mut idle = Script::new();
    for action in ALL {
        assert_eq!(action.apply(&mut idle, first), Err(Misuse::UnknownStream), "{action:?}");
    }
    assert_eq!(idle.connection.stream(Tick::ZERO, first).room(), 0);
}

#[test]
fn statuses_that_the_call_does_not_allow() {
    for wire in [GET, "GET / HTTP/1.0\r\n\r\n"] {
        let mut script = Script::after(wire);
        let (stream, now) = (script.stream(), script.now);
        let before = visible(&mut script);
        for status in [100, 101, 103, 199] {
            let result = script.respond_with(status, &[], BodyLength::Known(0));
            assert_eq!(result, Err(Misuse::Status), "respond {status}");
        }
        for status in [101, 200, 204, 304, 500, 999] {
            let code = StatusCode::from_u16(status).expect("a status");
            let result = script.connection.stream(now, stream).inform(code, empty());
            assert_eq!(result, Err(Misuse::Status), "inform {status}");
        }
        for name in ["content-length", "transfer-encoding"] {
            let lines = fields(&[("x", "1"), (name, "1")]);
            let result =
                script.connection.stream(now, stream).inform(StatusCode::EARLY_HINTS, &lines);
            assert_eq!(result, Err(Misuse::Framing), "{name}");
        }
        assert_eq!(visible(&mut script), before);
        script.answer(200, "ok");
    }
}

#[test]
fn misuse_leaves_earlier_output_alone() {
    let mut script = Script::after(&GET.repeat(2));
    script.answer(200, "ok");
    script.resume();
    let first = script.waiting();
    let framing = [("transfer-encoding", "gzip")];
    assert_eq!(script.respond_with(200, &framing, BodyLength::Unknown), Err(Misuse::Framing));
    assert_eq!(script.waiting(), first);
    script.answer(200, "ok");
    assert_eq!(script.output(), first.repeat(2));
}

#[test]
fn informing_a_peer_that_takes_nothing() {
    let mut script = Script::under(with(&[("send_buffer_limit", "1KiB")]));
    script.send(GET);
    let stream = script.stream();
    let lines = fields(&[("link", "</a-style-sheet.css>; rel=preload; as=style")]);
    let mut informed = 0;
    let hints = StatusCode::EARLY_HINTS;
    while script.connection.stream(script.now, stream).inform(hints, &lines).is_ok() {
        informed += 1;
        assert!(informed < 100, "interim answers are accepted without a bound");
    }
    let before = visible(&mut script);
    let again = script.connection.stream(script.now, stream).inform(hints, &lines);
    assert_eq!(again, Err(Misuse::Full));
    assert_eq!(visible(&mut script), before);
    script.output();
    assert_eq!(script.connection.stream(script.now, stream).inform(hints, &lines), Ok(()));
}

#[test]
fn input_while_the_connection_does_not_read() {
    // Held content that was not asked for, a pipelined request, the end of input, the closed
    // connection.
    let held = Script::after(&format!("{POST_5}hello"));
    let pipelined = Script::after(&GET.repeat(2));
    let mut ended = Script::after(GET);
    ended.eof();
    let mut closed = Script::new();
    closed.at(support::HOUR);
    for mut script in [held, pipelined, ended, closed] {
        let before = visible(&mut script);
        assert_eq!(script.try_send("x"), Err(Misuse::NotReading));
        assert_eq!(script.try_send(""), Err(Misuse::NotReading));
        assert_eq!(visible(&mut script), before);
    }
}

#[test]
fn more_bytes_sent_than_there_were() {
    let mut script = Script::after(GET);
    script.connection.sent(script.now, 1000);
    script.answer(200, "ok");
    script.connection.sent(script.now, usize::MAX);
    assert_eq!(script.waiting(), "");
    assert_eq!(script.socket(), (true, false, Life::Open));
}

#[test]
fn time_that_runs_backwards_counts_as_standing_still() {
    let mut script = Script::new();
    script.at(support::secs(4));
    script.send("G");
    let early = Tick::ZERO;
    script.connection.tick(early);
    script.connection.sent(early, 0);
    assert_eq!(script.deadline(), Some((support::secs(14), Timer::RequestHead)));
    let mut rest = GET.as_bytes()[1..].to_vec();
    let mut events = script.connection.receive(early, &mut rest).expect("the connection reads");
    let Some((_, portcullis::Event::Request { stream, .. })) = events.next() else { panic!() };
    drop(events);
    support::answer(&mut script.connection, early, stream, 200, "ok");
    assert_eq!(script.deadline(), Some((support::secs(9), Timer::Response)));
}

#[test]
fn each_misuse_says_what_is_wrong() {
    for (misuse, words) in [
        (Misuse::TooLong { left: 7 }, "7"),
        (Misuse::TooShort { missing: 8 }, "8"),
        (Misuse::HeadTooLarge { limit: 9 }, "9"),
        (Misuse::Overfed { limit: 10 }, "10"),
        (Misuse::UnknownStream, "stream"),
        (Misuse::NotReading, "read"),
    ] {
        assert!(misuse.to_string().contains(words), "{misuse}");
    }
}
