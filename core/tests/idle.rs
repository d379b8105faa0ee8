//! Idle connections make room for others, and busy ones do not.

use portcullis::{BodyLength, CloseReason, Connection, Event, PeerClose};
use portcullis_play::support;
use support::{GET, POST_5, Script, answer};

/// Whether the connection closes to make room. It has to report itself as idle exactly then.
fn makes_room(script: &mut Script) -> bool {
    let idle = script.connection.is_idle();
    assert_eq!(script.connection.close_idle(script.now), idle);
    idle
}

#[test]
fn an_idle_connection_makes_room_at_once() {
    let mut script = Script::new();
    assert!(makes_room(&mut script), "nothing has come");
    script.closes_with(CloseReason::MadeRoom);

    let mut script = Script::after(GET);
    script.answer(200, "ok");
    assert!(!makes_room(&mut script), "the answer is not sent yet");
    script.output();
    assert!(makes_room(&mut script));
    assert_eq!(script.closes_with(CloseReason::MadeRoom), "");
    assert!(!script.connection.status().is_cut_off());
    assert!(!makes_room(&mut script), "only once");
}

#[test]
fn a_busy_connection_makes_no_room() {
    let early = &GET[..5];
    let pipelined = format!("{GET}{early}");
    for bytes in [early, GET, POST_5, &pipelined] {
        let mut script = Script::new();
        script.send(bytes);
        assert!(!makes_room(&mut script), "{bytes:?}");
        assert!(script.is_open());
    }
    let mut script = Script::after(&pipelined);
    script.answer(200, "ok");
    script.output();
    assert!(!makes_room(&mut script), "a part of the next head is there");

    let mut script = Script::after(GET);
    let _begun = script.respond(200, BodyLength::Unknown);
    script.output();
    assert!(!makes_room(&mut script), "the answer has no end yet");
    script.finish().expect("it has begun");
    script.output();
    assert!(makes_room(&mut script));

    let mut script = Script::after(POST_5);
    script.answer(200, "ok");
    script.output();
    assert!(!makes_room(&mut script), "the content is on its way");
    script.send("12345");
    assert!(makes_room(&mut script));
}

#[test]
fn unpulled_events_keep_a_connection_busy() {
    let mut connection = Connection::new(Default::default(), portcullis::Tick::ZERO);
    let mut wire = GET.as_bytes().to_vec();
    drop(connection.receive(portcullis::Tick::ZERO, &mut wire).expect("the connection reads"));
    assert!(connection.status().resume && !connection.is_idle());
}

#[test]
fn an_unpulled_end_keeps_a_connection_busy() {
    let mut script = Script::new();
    drop(script.connection.receive_eof(script.now));
    assert!(script.connection.status().resume && !makes_room(&mut script));
    script.resume();
    script.closes_with(CloseReason::Peer(PeerClose::Done));
}

#[test]
fn requests_behind_the_current_event_keep_a_connection_busy() {
    let mut script = Script::new();
    let mut wire = GET.repeat(2).into_bytes();
    let mut events =
        script.connection.receive(script.now, &mut wire).expect("the connection reads");
    let mut requests = 0;
    while let Some((connection, event)) = events.next() {
        match event {
            Event::Request { .. } => requests += 1,
            Event::End { stream, .. } => {
                answer(connection, script.now, stream, 200, "ok");
                connection.sent(script.now, usize::MAX);
                assert!(!connection.is_idle() && !connection.close_idle(script.now));
            }
            other => panic!("{other:?}"),
        }
    }
    drop(events);
    assert_eq!(requests, 2);
    assert!(makes_room(&mut script));
}

#[test]
fn a_half_closed_connection_reports_it() {
    let mut script = Script::after(GET);
    assert!(!script.connection.is_half_closed());
    script.eof();
    assert!(script.connection.is_half_closed());
}
