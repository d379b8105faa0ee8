//! The rules of RFC 9113, sections 5, 6 and 8: what ends a stream, and what ends the connection.

use portcullis::{CloseReason, Config, Fault};
use portcullis_play::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY,
    PUSH_PROMISE, Pair, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, data, frame, get, last_data,
    post, request, reset, settings, window_update,
};
use portcullis_play::support::secs;

/// What comes of frames on a connection with an open stream 1.
fn connection_ends_with(frames: &[Vec<u8>]) -> Option<Fault> {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[])]);
    pair.send(frames);
    match pair.closed() {
        Some(CloseReason::Fault(fault)) => Some(fault),
        _ => None,
    }
}

/// What is sent in answer to frames on a new connection, if it goes on.
fn answered(frames: &[Vec<u8>]) -> Vec<String> {
    let mut pair = Pair::new(Config::default());
    pair.send(frames);
    assert!(pair.connection.status().is_open(), "{:?}", pair.connection.status());
    pair.takes()
}

#[test]
fn faults_that_end_the_connection() {
    let head = request("GET", "/", &[]);
    for (frames, fault) in [
        // Frames and streams.
        (vec![frame(DATA, 0, 0, b"x")], Fault::FrameStream),
        (vec![get(2, "/")], Fault::FrameStream),
        (vec![get(5, "/"), get(3, "/")], Fault::FrameStream),
        (vec![data(3, b"x")], Fault::IdleStream),
        (vec![reset(3)], Fault::IdleStream),
        (vec![window_update(3, 1)], Fault::IdleStream),
        (vec![frame(CONTINUATION, END_HEADERS, 1, &head)], Fault::Continuation),
        (vec![frame(HEADERS, 0, 3, &head), data(1, b"x")], Fault::Continuation),
        (
            vec![frame(HEADERS, 0, 3, &head), frame(CONTINUATION, END_HEADERS, 5, &[])],
            Fault::Continuation,
        ),
        (vec![frame(PUSH_PROMISE, END_HEADERS, 1, &[0; 4])], Fault::PushPromise),
        (vec![frame(SETTINGS, 0, 1, &[])], Fault::FrameStream),
        (vec![frame(PING, 0, 1, &[0; 8])], Fault::FrameStream),
        (vec![frame(GOAWAY, 0, 1, &[0; 8])], Fault::FrameStream),
        // Lengths.
        (vec![frame(DATA, 0, 1, &[0; 16_385])], Fault::FrameSize),
        (vec![frame(PING, 0, 0, &[0; 7])], Fault::FrameSize),
        (vec![frame(SETTINGS, 0, 0, &[0; 5])], Fault::FrameSize),
        (vec![frame(SETTINGS, 1, 0, &[0; 6])], Fault::FrameSize),
        (vec![frame(RST_STREAM, 0, 1, &[0; 3])], Fault::FrameSize),
        (vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])], Fault::FrameSize),
        (vec![frame(DATA, PADDED, 1, &[1])], Fault::Padding),
        (vec![frame(HEADERS, PADDED | END_HEADERS, 3, &[9, 0])], Fault::Padding),
        // Settings and windows.
        (vec![settings(&[(2, 2)])], Fault::Settings),
        (vec![settings(&[(5, 16_383)])], Fault::Settings),
        (vec![settings(&[(5, 1 << 24)])], Fault::Settings),
        (vec![settings(&[(4, 1 << 31)])], Fault::WindowOverflow),
        (vec![window_update(0, 0)], Fault::WindowUpdate),
        (vec![window_update(0, (1 << 31) - 1)], Fault::WindowOverflow),
        (
            vec![window_update(1, (1 << 31) - 1 - 65_535), settings(&[(4, 65_536)])],
            Fault::WindowOverflow,
        ),
        // Field blocks.
        (vec![frame(HEADERS, END_HEADERS, 3, &[0x80])], Fault::Compression),
        (vec![frame(HEADERS, END_HEADERS, 3, &[0xff, 0xff, 0xff])], Fault::Compression),
        (vec![frame(HEADERS, END_HEADERS, 1, &[0x00, 0x85, 0xf2])], Fault::Compression),
    ] {
        let shown: Vec<_> = frames.iter().map(|frame| &frame[..frame.len().min(16)]).collect();
        assert_eq!(connection_ends_with(&frames), Some(fault), "{shown:?}");
    }
}

#[test]
fn a_closed_stream_takes_no_more_frames() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[get(1, "/")]);
    pair.answer(1, 0);
    pair.takes();
    pair.send(&[data(1, b"x"), window_update(1, 5), reset(1), frame(PRIORITY, 0, 1, &[0; 5])]);
    assert_eq!(pair.takes(), ["1 RST_STREAM STREAM_CLOSED"]);
    pair.send(&[get(3, "/")]);
    pair.answer(3, 0);
    pair.send(&[get(3, "/")]);
    assert_eq!(pair.closed(), Some(CloseReason::Fault(Fault::ClosedStream)));
}

#[test]
fn a_request_that_is_whole_takes_no_more_content() {
    for more in [data(1, b"x"), frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("a", "b")]))]
    {
        assert_eq!(answered(&[get(1, "/"), more]), ["1 RST_STREAM STREAM_CLOSED"]);
    }
}

#[test]
fn frames_on_a_stream_that_we_have_reset_are_ignored() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[("content-length", "1")]), data(1, b"xx")]);
    assert_eq!(pair.takes(), ["1 RST_STREAM PROTOCOL_ERROR"]);
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("a", "b")]));
    pair.send(&[data(1, b"x"), window_update(1, 1), trailers]);
    assert_eq!(pair.takes(), [""; 0]);
    assert!(pair.connection.status().is_open());
}

#[test]
fn malformed_requests_end_their_stream() {
    let pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    let with = |more: &[(&str, &str)]| block(&[&pseudo[..], more].concat());
    let without = |name: &str| {
        let left: Vec<_> = pseudo.iter().filter(|(other, _)| *other != name).copied().collect();
        block(&left)
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
        ("no authority", without(":authority")),
        ("two methods", with(&[(":method", "GET")])),
        ("two paths", with(&[(":path", "/")])),
        ("an unknown pseudo-field", with(&[(":other", "x")])),
        ("a pseudo-field of answers", with(&[(":status", "200")])),
        ("a pseudo-field behind a field", block(&[&[("a", "b")], &pseudo[..]].concat())),
        ("capitals in a name", with(&[("A", "b")])),
        ("an empty name", with(&[("", "b")])),
        ("a space in a name", with(&[("a b", "b")])),
        ("a colon in a name", with(&[("a:b", "b")])),
        ("a line end in a value", with(&[("a", "b\r\nc: d")])),
        ("a NUL in a value", with(&[("a", "b\0")])),
        ("space before a value", with(&[("a", " b")])),
        ("space behind a value", with(&[("a", "b\t")])),
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "5")])),
        ("proxy-connection", with(&[("proxy-connection", "close")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te", with(&[("te", "gzip")])),
        ("another host", with(&[("host", "b")])),
        ("two hosts", with(&[("host", "a"), ("host", "a")])),
        ("two lengths", with(&[("content-length", "0"), ("content-length", "0")])),
        ("a length that is no number", with(&[("content-length", "+1")])),
        ("a length without content", with(&[("content-length", "1")])),
        ("an empty path", block(&[&pseudo[..2], &[(":path", ""), (":authority", "a")]].concat())),
        (
            "a relative path",
            block(&[&pseudo[..2], &[(":path", "a"), (":authority", "a")]].concat()),
        ),
        ("userinfo", block(&[&pseudo[..3], &[(":authority", "u@a")]].concat())),
        ("CONNECT with a path", block(&[&[(":method", "CONNECT")], &pseudo[1..]].concat())),
    ];
    for (about, head) in cases {
        let taken = answered(&[frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)]);
        assert_eq!(taken, ["1 RST_STREAM PROTOCOL_ERROR"], "{about}");
    }
    let fine = with(&[("te", "trailers"), ("host", "A"), ("a", ""), ("content-length", "0")]);
    assert_eq!(answered(&[frame(HEADERS, END_HEADERS | END_STREAM, 1, &fine)]), [""; 0]);
}

#[test]
fn malformed_content_and_trailers_end_their_stream() {
    let declared = |length| post(1, "/", &[("content-length", length)]);
    let trailers = |fields| frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields));
    for (about, frames) in [
        ("more than declared", vec![declared("1"), data(1, b"xx")]),
        ("less than declared", vec![declared("3"), last_data(1, b"xx")]),
        ("less than declared, and trailers", vec![declared("3"), trailers(&[("a", "b")])]),
        (
            "a second head",
            vec![declared("0"), frame(HEADERS, END_HEADERS, 1, &block(&[("a", "b")]))],
        ),
        ("pseudo-fields in trailers", vec![post(1, "/", &[]), trailers(&[(":path", "/")])]),
        ("a forbidden trailer", vec![post(1, "/", &[]), trailers(&[("content-length", "1")])]),
        ("a window update of 0", vec![post(1, "/", &[]), window_update(1, 0)]),
        ("a priority on itself", vec![post(1, "/", &[]), frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])]),
    ] {
        assert_eq!(answered(&frames), ["1 RST_STREAM PROTOCOL_ERROR"], "{about}");
    }
    let overflow = [post(1, "/", &[]), window_update(1, (1 << 31) - 1)];
    assert_eq!(answered(&overflow), ["1 RST_STREAM FLOW_CONTROL_ERROR"]);
    let short = [post(1, "/", &[]), frame(PRIORITY, 0, 1, &[0; 4])];
    assert_eq!(answered(&short), ["1 RST_STREAM FRAME_SIZE_ERROR"]);
}

#[test]
fn what_is_not_known_is_ignored() {
    let unknown = frame(0x77, 0xff, 9, b"whatever");
    let mut pair = Pair::new(Config::default());
    let told = pair.send(&[unknown, settings(&[(0x99, 7)]), get(1, "/")]);
    assert_eq!(told, ["1 GET /", "1 end"]);
    assert_eq!(pair.takes(), ["0 SETTINGS ack"]);
    assert_eq!(pair.send(&[frame(PING, 0, 0, b"12345678")]), [""; 0]);
    assert_eq!(pair.takes(), ["0 PING ack 12345678"]);
    assert_eq!(pair.send(&[frame(PING, 1, 0, b"12345678")]), [""; 0]);
    assert_eq!(pair.takes(), [""; 0]);
}

#[test]
fn an_acknowledgement_that_waits_behind_unsent_bytes_is_in_time() {
    let mut pair = Pair::greeted(Config::default(), &[(4, 1 << 20)]);
    pair.takes();
    pair.send(&[get(1, "/"), window_update(0, 1 << 20)]);
    pair.respond(1);
    pair.takes();
    assert_eq!(pair.sends(1, 10_000), 10_000);
    pair.takes();
    // The client takes nothing for a while. What it has sent is not read meanwhile.
    while pair.sends(1, 100_000) > 0 {}
    assert_eq!(pair.send(&[frame(SETTINGS, ACK, 0, &[])]), [""; 0]);
    pair.after(secs(10));
    assert!(pair.connection.status().is_open(), "{:?}", pair.connection.status());
    pair.after(secs(5));
    pair.takes();
    pair.resume();
    pair.after(secs(3600));
    pair.resume();
    assert!(pair.connection.status().is_open());
    assert_eq!(pair.sends(1, 10_000), 10_000);
}
