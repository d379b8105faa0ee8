//! The invariants of the design, played with arbitrary sessions and with valid requests.

use bytes::Bytes;
use http::StatusCode;
use play::{Manner, Told, compare, cuts, pure, session, settings, told};
use portcullis::{CloseReason, Config, Connection, Event, Misuse, Refusal, Tick};
use portcullis_play::play;
use portcullis_testing::watched;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;

/// A request with only one valid reading.
#[derive(Clone, Debug)]
struct Valid {
    method: &'static str,
    target: String,
    fields: Vec<(String, String)>,
    content: Content,
    blank: bool,
}

#[derive(Clone, Debug)]
enum Content {
    None,
    Length(Vec<u8>),
    Chunks { chunks: Vec<(Vec<u8>, String)>, trailers: Vec<(String, String)> },
}

impl Valid {
    fn write(&self, wire: &mut Vec<u8>) {
        if self.blank {
            wire.extend(b"\r\n");
        }
        let mut head = format!("{} {} HTTP/1.1\r\nHost: a\r\n", self.method, self.target);
        write_lines(&mut head, &self.fields);
        match &self.content {
            Content::None => head += "\r\n",
            Content::Length(content) => {
                head += &format!("Content-Length: {}\r\n\r\n", content.len())
            }
            Content::Chunks { .. } => head += "Transfer-Encoding: chunked\r\n\r\n",
        }
        wire.extend(head.as_bytes());
        match &self.content {
            Content::None => {}
            Content::Length(content) => wire.extend(content),
            Content::Chunks { chunks, trailers } => {
                for (chunk, extension) in chunks {
                    wire.extend(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
                    wire.extend(chunk);
                    wire.extend(b"\r\n");
                }
                let mut end = String::from("0\r\n");
                write_lines(&mut end, trailers);
                wire.extend((end + "\r\n").as_bytes());
            }
        }
    }

    /// Checks that the next events are this request, and takes them.
    fn check(&self, told: &mut impl Iterator<Item = Told>) {
        let Some(Told::Request { method, target, fields }) = told.next() else {
            panic!("no request was delivered for {self:?}")
        };
        assert_eq!((method.as_str(), target.as_str()), (self.method, self.target.as_str()));
        let given = &fields[1..][..self.fields.len()];
        assert_eq!(given, bytes(&self.fields), "field lines in order");
        let (content, sent) = match &self.content {
            Content::None => (Vec::new(), Vec::new()),
            Content::Length(content) => (content.clone(), Vec::new()),
            Content::Chunks { chunks, trailers } => {
                let chunks = chunks.iter().map(|(chunk, _)| chunk.as_slice());
                (chunks.collect::<Vec<_>>().concat(), bytes(trailers))
            }
        };
        if !content.is_empty() {
            assert_eq!(told.next(), Some(Told::Content(content)));
        }
        assert_eq!(told.next(), Some(Told::End { trailers: sent }));
    }
}

fn write_lines(text: &mut String, lines: &[(String, String)]) {
    for (name, value) in lines {
        *text += &format!("{name}: {value}\r\n");
    }
}

fn bytes(lines: &[(String, String)]) -> Vec<(String, Vec<u8>)> {
    lines.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect()
}

fn lines() -> impl Strategy<Value = Vec<(String, String)>> {
    vec(("x-[a-z]{0,6}", "[!-~]([ -~]{0,10}[!-~])?"), 0..4)
}

fn valid() -> impl Strategy<Value = Valid> {
    let chunk =
        (vec(any::<u8>(), 1..20), prop_oneof![Just(String::new()), Just(";e=1".to_owned())]);
    let chunks = (vec(chunk, 0..6), lines());
    let content = prop_oneof![
        Just(Content::None),
        vec(any::<u8>(), 0..80).prop_map(Content::Length),
        chunks.prop_map(|(chunks, trailers)| Content::Chunks { chunks, trailers }),
    ];
    let method = prop_oneof![Just("GET"), Just("POST"), Just("HEAD"), Just("PROPFIND")];
    (method, "/[a-z0-9/._~-]{0,12}([?][a-z=&]{0,8})?", lines(), content, any::<bool>()).prop_map(
        |(method, target, fields, content, blank)| Valid { method, target, fields, content, blank },
    )
}

/// Valid requests, with a few bytes changed.
fn nearly_valid() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), prop::sample::select(&b"\r\n:; \t\0x0,\x80"[..]));
    (vec(valid(), 1..4), vec(change, 0..3)).prop_map(|(requests, changes)| {
        let mut wire = Vec::new();
        requests.iter().for_each(|request| request.write(&mut wire));
        for (place, byte) in changes {
            let place = place.index(wire.len());
            wire[place] = byte;
        }
        wire
    })
}

fn bounded(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(bounded(1000))]

    /// Deadline, memory, nothing lost, reason.
    #[test]
    fn sessions_keep_the_invariants(bytes in vec(any::<u8>(), 0..400)) {
        let _watched = watched();
        session(&bytes, None);
    }
}

proptest! {
    #![proptest_config(bounded(1200))]

    #[test]
    fn the_same_calls_give_the_same_results(bytes in vec(any::<u8>(), 0..300)) {
        let _watched = watched();
        pure(&bytes);
    }
}

proptest! {
    #![proptest_config(bounded(150))]

    #[test]
    fn cuts_of_anything_make_no_difference(bytes in vec(any::<u8>(), 0..120)) {
        let _watched = watched();
        cuts(&bytes);
    }

    #[test]
    fn cuts_of_nearly_valid_requests_make_no_difference(wire in nearly_valid(), seed: u8) {
        let _watched = watched();
        compare(&Arc::new(Config::default()), Manner::PLAIN, &wire, seed);
        compare(&settings::tiny(), Manner { early: true, ..Manner::PLAIN }, &wire, seed);
    }

    /// Each request is delivered once, whole and unchanged.
    #[test]
    fn valid_requests_are_delivered(requests in vec(valid(), 1..5)) {
        let _watched = watched();
        let mut wire = Vec::new();
        requests.iter().for_each(|request| request.write(&mut wire));
        let seen = told(&Arc::new(Config::default()), Manner::PLAIN, &wire);
        let mut told = seen.told.into_iter();
        requests.iter().for_each(|request| request.check(&mut told));
        prop_assert_eq!(told.next(), None);
        prop_assert_eq!(seen.reason.label(), "peer_done");
    }
}

// ---- regressions found by the players -----------------------------------------------------------

const NOW: Tick = Tick::ZERO;

#[test]
fn a_chunk_that_is_too_large_is_refused_after_content_of_the_same_read() {
    let wire = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        1\r\nx\r\nffffffffffffffff\r\n";
    let config = Arc::new(Config::default());
    let seen = told(&config, Manner::PLAIN, wire);
    assert_eq!(seen.reason, CloseReason::Refused(Refusal::ContentTooLarge));
    compare(&config, Manner::PLAIN, wire, 0);
}

#[test]
fn nested_events_lose_no_events() {
    let mut connection = Connection::new(Arc::new(Config::default()), NOW);
    let mut wire = *b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut events = connection.receive(NOW, &mut wire).expect("the connection reads");
    let mut stream = None;
    if let Some((connection, event)) = events.next() {
        let Event::Request { stream: newest, .. } = event else { panic!("{event:?}") };
        stream = Some(newest);
        let nested = connection.receive(NOW, &mut [b'x']).map(drop);
        assert_eq!(nested, Err(Misuse::NotReading));
        assert!(connection.resume(NOW).next().is_none());
        assert!(connection.receive_eof(NOW).next().is_none());
    }
    assert!(matches!(events.next(), Some((_, Event::End { .. }))), "the end of the request");
    assert!(events.next().is_none());
    drop(events);
    assert!(!connection.status().resume, "the next request waits for the answer");
    let stream = stream.expect("a request came");
    let content = &mut Bytes::new();
    let begun = connection.stream(NOW, stream).answer(StatusCode::OK, [], content);
    assert!(begun.is_ok(), "an answer is owed");
    assert!(connection.status().resume, "the next request is held");
    let mut events = connection.resume(NOW);
    let Some((_, Event::Request { head, .. })) = events.next() else { panic!("no request") };
    assert_eq!(head.target(), "/next");
}

#[test]
fn a_driver_that_stops_at_a_head_is_told_that_there_are_more_events() {
    for (length, more) in [("0", "End"), ("18446744073709551615", "Reset")] {
        let mut connection = Connection::new(Arc::new(Config::default()), NOW);
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let mut wire = head.into_bytes();
        let mut events = connection.receive(NOW, &mut wire).expect("the connection reads");
        assert!(matches!(events.next(), Some((_, Event::Request { .. }))));
        drop(events);
        assert!(connection.status().resume, "{more} is still to come");
        let mut events = connection.resume(NOW);
        let told = events.next().map(|(_, event)| format!("{event:?}"));
        assert!(told.as_ref().is_some_and(|told| told.starts_with(more)), "{told:?}");
    }
}
