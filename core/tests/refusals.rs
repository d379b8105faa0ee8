//! Answers that the connection writes by itself: complete, readable, and about this request only.

use portcullis::{CloseReason, Expiry, PeerClose, Refusal, Tick};
use portcullis_play::support;
use std::time::Duration;
use support::cuts::{close_text, told};
use support::{GET, Script, Seen};

/// Between two requests the next request's method and version are unknown.
#[test]
fn a_refusal_does_not_depend_on_the_previous_request() {
    let late = CloseReason::Expired(Expiry::RequestHead);
    let before = [
        GET,
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ];
    for before in before {
        let after = || {
            let mut script = Script::after(before);
            script.answer(200, "");
            script.output();
            script
        };
        let mut script = after();
        script.send("GET /he");
        let at = script.deadline().expect("the rest is waited for").0;
        assert_eq!(script.closes_at(at, late), close_text(late), "{before:?}");
        let mut script = after();
        script.send("GET /he");
        script.eof();
        let cut = CloseReason::Peer(PeerClose::Truncated);
        assert_eq!(script.closes_with(cut), close_text(cut), "{before:?}");
        for wire in ["GET /\r\n\r\n", "\n", "\r\n\r\n\r\n\r\n\r\n"] {
            let mut script = after();
            script.send(wire);
            assert!(script.status().is_lingering(), "{wire:?}");
            let answer = script.output();
            let (head, content) = answer.split_once("\r\n\r\n").expect("a head");
            let length = format!("\r\ncontent-length: {}\r\n", content.len());
            assert!(content.len() > 20 && head.contains(&length), "{wire:?}: {head}");
        }
    }
}

/// The core has no clock, so a driver with a clock sets the date.
#[test]
fn refusals_have_a_date_if_the_driver_set_one() {
    for (told_at, refused_at, date) in [
        (0, 0, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (0, 3_400_000_000, "Sun, 06 Nov 1994 08:49:40 GMT"),
        (7_900_000_000, 7_900_000_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (7_900_000_000, 8_400_000_000, "Sun, 06 Nov 1994 08:49:38 GMT"),
    ] {
        let mut script = Script::new();
        let epoch = Duration::new(784_111_777, 500_000_000);
        script.connection.set_wall_clock(Tick::from_nanos(told_at), epoch);
        script.now = Tick::from_nanos(refused_at);
        script.send("GET /\r\n\r\n");
        assert!(script.output().contains(&format!("\r\ndate: {date}\r\n")), "{date}");
    }
    let mut script = Script::after("GET /\r\n\r\n");
    assert!(!script.output().contains("date:"), "no date was set");
    // The application's answers are not changed.
    let mut script = Script::new();
    script.connection.set_wall_clock(Tick::ZERO, Duration::from_secs(784_111_777));
    script.send(GET);
    script.answer(200, "ok");
    assert_eq!(script.output(), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    // Any date that a driver sets is harmless.
    for (now, epoch) in [(u64::MAX, Duration::ZERO), (0, Duration::MAX), (1, Duration::MAX)] {
        let mut script = Script::new();
        script.connection.set_wall_clock(Tick::from_nanos(now), epoch);
        script.now = Tick::from_nanos(u64::MAX - 1);
        script.send("GET /\r\n\r\n");
        assert!(script.output().starts_with("HTTP/1.1 400 "));
    }
}

/// What is known of a request is told wherever the reads are cut, and no more than may be held.
#[test]
fn a_refusal_tells_what_is_known_of_the_request() {
    let long = "x".repeat(10_000);
    // The limit of the first line, without the method and its space.
    let most = &long[..8192 + 42 - 4 - 1];
    for (wire, refusal, method, target) in [
        ("GET /a HTTP/1.1\r\nHost: a\r\nno field\r\n\r\n", Refusal::Field, Some("GET"), Some("/a")),
        ("GET /a?b HTTP/1.1\r\n\r\n", Refusal::Host, Some("GET"), Some("/a?b")),
        ("GET /a HTTP/1.1\n", Refusal::BareCrOrLf, Some("GET"), Some("/a")),
        ("GET /a b HTTP/1.1\r\n\r\n", Refusal::RequestLine, Some("GET"), Some("/a")),
        ("GET /\x1b[2J HTTP/1.1\r\n\r\n", Refusal::Target, Some("GET"), Some("/\x1b[2J")),
        ("GET  HTTP/1.1\r\n\r\n", Refusal::RequestLine, Some("GET"), None),
        ("nonsense\r\n\r\n", Refusal::RequestLine, None, None),
        ("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", Refusal::BlankLines, None, None),
        ("\nGET / HTTP/1.1\r\n\r\n", Refusal::BareCrOrLf, None, None),
        (&format!("{long} / HTTP/1.1\r\n\r\n"), Refusal::Method, None, None),
        (
            &format!("GET /{long} HTTP/1.1\r\n\r\n"),
            Refusal::TargetTooLong,
            Some("GET"),
            Some(&format!("/{most}")),
        ),
    ] {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let refused = Seen::Refused(CloseReason::Refused(refusal), owned(method), owned(target));
        assert_eq!(told(wire).seen, [refused], "{wire:?}");
    }
}

#[test]
fn a_request_that_comes_too_slowly_or_in_part_is_told() {
    for (wire, method, target) in [
        ("GET /slow HTTP/1.1\r\nHos", Some("GET"), Some("/slow")),
        ("POST /sl", Some("POST"), Some("/sl")),
        ("PO", None, None),
    ] {
        let refused = |reason| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            [Seen::Refused(reason, owned(method), owned(target))]
        };
        for cut in [0, 1, wire.len() - 1] {
            let begun = || {
                let mut script = Script::new();
                assert_eq!(script.send(&wire[..cut]), []);
                assert_eq!(script.send(&wire[cut..]), []);
                script
            };
            let mut script = begun();
            let (at, _) = script.deadline().expect("the rest is waited for");
            script.at(at);
            assert!(script.status().resume);
            assert_eq!(script.resume(), refused(CloseReason::Expired(Expiry::RequestHead)));
            assert!(!script.status().resume);
            let mut script = begun();
            assert_eq!(script.eof(), refused(CloseReason::Peer(PeerClose::Truncated)));
            assert!(!script.status().resume);
        }
    }
}
