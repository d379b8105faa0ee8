//! Units that never end, up to each limit and one byte past it. They come in one read, byte by byte
//! and in reads of three. At the limit the rest is waited for. One past it the peer is refused at
//! once.

use portcullis::websocket::{DeflateSettings, Handshake, Options, Violation};
use portcullis::{CloseReason, Config, Connection, Event, PeerClose, Refusal, ResetReason, Tick};
use portcullis_play::support;
use std::sync::Arc;
use support::cuts::refusal_text;
use support::{POST_CHUNKED, Script, Seen, with};

/// In one read, byte by byte, and in reads of three.
const STEPS: [usize; 3] = [usize::MAX, 1, 3];

/// Feeds `wire` in reads of `step` bytes, as long as the connection reads. The application asks for
/// all content.
fn fed(config: &Config, wire: &str, step: usize) -> (Script, Vec<Seen>) {
    let mut script = Script::under(config.clone());
    let mut seen = Vec::new();
    for piece in wire.as_bytes().chunks(step.min(wire.len())) {
        if !script.reads() || !script.is_open() {
            break;
        }
        seen.extend(script.send(piece));
        while script.stream.is_some() && script.is_open() {
            let more = script.ask(u64::MAX);
            if more.is_empty() {
                break;
            }
            seen.extend(more);
        }
    }
    (script, seen)
}

/// Asserts that the connection waits for the peer, even if it is resumed after the last byte.
fn assert_waits(config: &Config, wire: &str) {
    for step in STEPS {
        let (mut script, _) = fed(config, wire, step);
        assert!(
            script.is_open(),
            "{} bytes, in steps of {step}: {:?}",
            wire.len(),
            script.status()
        );
        assert!(script.resume().is_empty() && script.is_open());
        assert_eq!(script.waiting(), "");
        assert!(script.reads() && script.deadline().is_some());
    }
}

/// Asserts that the request is refused, and that the peer is told why.
fn assert_refused(config: &Config, wire: &str, refusal: Refusal) {
    for step in STEPS {
        let (mut script, seen) = fed(config, wire, step);
        let reset = Seen::Reset(ResetReason::Refused(refusal));
        assert_eq!(seen.contains(&reset), script.stream.is_some(), "{refusal} {seen:?}");
        let told = script.closes_with(CloseReason::Refused(refusal));
        assert_eq!(told, refusal_text(refusal), "{} bytes, in steps of {step}", wire.len());
    }
}

/// `begun`, filled up with `filler` to `length` bytes.
fn filled(begun: &str, filler: &str, length: usize) -> String {
    let mut wire = begun.to_owned();
    while wire.len() < length {
        wire.push_str(filler);
    }
    wire.truncate(length);
    wire
}

// ---- heads ------------------------------------------------------------------------------------------

#[test]
fn a_head_in_one_long_field() {
    let config = with(&[("request_head_limit", "1000"), ("request_target_limit", "100")]);
    let begun = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    assert_waits(&config, &filled(begun, "y", 999));
    // The thousandth byte does not end the head, so the head is too long.
    assert_refused(&config, &filled(begun, "y", 1000), Refusal::HeadTooLarge);
    assert_refused(&config, &filled(begun, "y", 1001), Refusal::HeadTooLarge);
    // The head may still end there, up to its last byte.
    for ending in ["\r\n\r", "\r\n", "\r"] {
        let head = filled(begun, "y", 999 - ending.len());
        assert_waits(&config, &(head + ending));
    }
}

#[test]
fn a_head_in_many_fields() {
    let config = with(&[("request_fields_limit", "5")]);
    let lines =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "a:b\r\n".repeat(count - 1));
    assert_waits(&config, &lines(5));
    assert_waits(&config, &format!("{}a:b\r", lines(5)));
    assert_refused(&config, &lines(6), Refusal::TooManyFields);
}

#[test]
fn a_first_line_in_one_long_target() {
    // The first line may have 32 bytes of method, two spaces, and eight bytes of version.
    let config = with(&[("request_target_limit", "100")]);
    let longest = 100 + 42;
    assert_waits(&config, &filled("GET /", "x", longest));
    // The last byte may be the CR of the line's end.
    assert_waits(&config, &(filled("GET /", "x", longest) + "\r"));
    assert_refused(&config, &filled("GET /", "x", longest + 2), Refusal::TargetTooLong);
    assert_refused(&config, &(filled("GET /", "x", longest + 1) + "\r\n"), Refusal::TargetTooLong);
    // A method without end is indistinguishable from a target.
    assert_waits(&config, &"M".repeat(longest));
    assert_refused(&config, &"M".repeat(longest + 2), Refusal::Method);
}

#[test]
fn blank_lines_before_a_head() {
    let config = Config::default();
    assert_waits(&config, &"\r\n".repeat(4));
    assert_refused(&config, &"\r\n".repeat(5)[..9], Refusal::BlankLines);
}

// ---- content ----------------------------------------------------------------------------------------

#[test]
fn extensions_that_never_end() {
    let config = with(&[("chunk_extension_limit", "20"), ("chunk_extensions_limit", "50")]);
    // Names, values, quotes and white space all count.
    for (begun, filler) in [
        ("1;", "e"),
        ("1;e=", "v"),
        ("1;e=\"", "q"),
        ("1;e=\"", "\\q"),
        ("1;", " "),
        ("1 ", " "),
        ("1;e", "\t"),
        ("1;", "e;"),
        ("0", ";e"),
    ] {
        let extension = |length: usize| filled(begun, filler, 1 + length);
        assert_waits(&config, &format!("{POST_CHUNKED}{}", extension(20)));
        let long = format!("{POST_CHUNKED}{}", extension(21));
        assert_refused(&config, &long, Refusal::ChunkExtensions);
    }
}

#[test]
fn extensions_of_all_chunks_together() {
    let config = with(&[("chunk_extension_limit", "20"), ("chunk_extensions_limit", "50")]);
    let two = format!("{POST_CHUNKED}{0}{0}", format_args!("{}\r\nx\r\n", filled("1;", "e", 21)));
    assert_waits(&config, &format!("{two}{}", filled("1;", "e", 11)));
    assert_refused(&config, &format!("{two}{}", filled("1;", "e", 12)), Refusal::ChunkExtensions);
}

#[test]
fn zeros_before_a_size_that_never_end() {
    let config = with(&[("chunk_extension_limit", "20"), ("chunk_extensions_limit", "50")]);
    assert_waits(&config, &format!("{POST_CHUNKED}{}", "0".repeat(16 + 20)));
    let long = format!("{POST_CHUNKED}{}", "0".repeat(16 + 21));
    assert_refused(&config, &long, Refusal::ChunkExtensions);
    // A size of more than 64 bits is refused.
    assert_refused(&config, &format!("{POST_CHUNKED}1{}", "0".repeat(16)), Refusal::Chunk);
}

#[test]
fn trailers_in_one_long_field() {
    let config = with(&[("trailers_limit", "200")]);
    let section = |length: usize| format!("{POST_CHUNKED}0\r\n{}", filled("X: ", "y", length));
    assert_waits(&config, &section(199));
    assert_refused(&config, &section(200), Refusal::Trailers);
    for ending in ["\r\n\r", "\r\n", "\r"] {
        assert_waits(&config, &(section(199 - ending.len()) + ending));
    }
}

#[test]
fn trailers_in_many_fields() {
    let config = with(&[("request_fields_limit", "5")]);
    let lines = |count: usize| format!("{POST_CHUNKED}0\r\n{}", "a:b\r\n".repeat(count));
    assert_waits(&config, &lines(5));
    assert_refused(&config, &lines(6), Refusal::Trailers);
}

#[test]
fn a_chunk_that_has_only_its_size() {
    let config = with(&[("request_body_limit", "100")]);
    assert_waits(&config, &format!("{POST_CHUNKED}64\r\n"));
    assert_refused(&config, &format!("{POST_CHUNKED}65\r\n"), Refusal::ContentTooLarge);
    assert_waits(&config, &format!("{POST_CHUNKED}32\r\n{}\r\n32\r\n", ".".repeat(50)));
    let more = format!("{POST_CHUNKED}32\r\n{}\r\n33\r\n", ".".repeat(50));
    assert_refused(&config, &more, Refusal::ContentTooLarge);
}

#[test]
fn content_that_is_discarded() {
    // Half of the limit may be discarded to keep the connection.
    let config = with(&[("linger_limit", "400")]);
    for (length, is_open) in [(200, true), (201, false)] {
        for step in STEPS {
            let mut script = Script::under(config.clone());
            script.send(format!("{POST_CHUNKED}1f4\r\n"));
            script.answer(200, "ok");
            script.output();
            let content = ".".repeat(length);
            for piece in content.as_bytes().chunks(step.min(length)) {
                if script.is_open() {
                    script.send(piece);
                }
            }
            assert_eq!(script.is_open(), is_open, "{length} bytes, in steps of {step}");
        }
    }
}

// ---- websockets -------------------------------------------------------------------------------------

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

/// A websocket that asks for messages of up to 1000 bytes, which may be compressed.
fn websocket() -> Connection {
    let settings = [("websocket_message_limit", "1000"), ("websocket_deflate", "true")];
    let config = Arc::new(with(&settings));
    let mut connection = Connection::new(config, Tick::ZERO);
    let mut wire = UPGRADE.as_bytes().to_vec();
    let mut events = connection.receive(Tick::ZERO, &mut wire).expect("the connection reads");
    let Some((_, Event::Request { stream, head })) = events.next() else { panic!("a request") };
    let accepted = Handshake::read(&head).expect("a valid handshake");
    let deflate = DeflateSettings::default();
    let accepted = accepted.accept(None, Some(&deflate)).expect("no subprotocol was chosen");
    drop(events);
    let options = Options::default();
    connection
        .stream(Tick::ZERO, stream)
        .accept_websocket(&accepted, None, options)
        .expect("the handshake is accepted");
    connection.stream(Tick::ZERO, stream).read_to(u64::MAX).expect("the stream is open");
    connection.sent(Tick::ZERO, usize::MAX);
    while connection.resume(Tick::ZERO).next().is_some() {}
    connection
}

/// A frame's header, and the first bytes of its payload.
fn begun(first: u8, declared: u64, payload: usize) -> Vec<u8> {
    let mut wire = vec![first];
    match declared {
        0..=125 => wire.push(0x80 | declared as u8),
        126..=0xffff => {
            wire.push(0xfe);
            wire.extend((declared as u16).to_be_bytes());
        }
        _ => {
            wire.push(0xff);
            wire.extend(declared.to_be_bytes());
        }
    }
    wire.extend([0; 4]);
    wire.resize(wire.len() + payload, b'x');
    wire
}

#[test]
fn messages_that_never_end() {
    let first = begun(0x02, 600, 600);
    let cases = [
        (begun(0x82, 1000, 0), None),
        (begun(0x82, 1000, 999), None),
        (begun(0x82, 1001, 0), Some(Violation::TooLarge)),
        (begun(0x82, 1 << 62, 0), Some(Violation::TooLarge)),
        // The lengths of all frames of a message add up.
        ([first.clone(), begun(0x80, 400, 0)].concat(), None),
        ([first.clone(), begun(0x00, 400, 400)].concat(), None),
        ([first.clone(), begun(0x80, 401, 0)].concat(), Some(Violation::TooLarge)),
        ([first.clone(), begun(0x00, 401, 0)].concat(), Some(Violation::TooLarge)),
        // Compressed data may be a little larger than the message.
        (begun(0xc2, 1000 + 125 + 64, 0), None),
        (begun(0xc2, 1000 + 125 + 65, 0), Some(Violation::TooLarge)),
        // Control frames have their own limit, which the first two bytes exceed.
        ([first.clone(), begun(0x89, 125, 124)].concat(), None),
        ([first, vec![0x89, 0xfe]].concat(), Some(Violation::ControlTooLong)),
    ];
    for (wire, violation) in cases {
        for step in STEPS {
            let mut connection = websocket();
            for piece in wire.chunks(step.min(wire.len())) {
                if connection.status().read {
                    let mut piece = piece.to_vec();
                    let now = Tick::ZERO;
                    let mut events =
                        connection.receive(now, &mut piece).expect("the connection reads");
                    while events.next().is_some() {}
                }
            }
            connection.sent(Tick::ZERO, usize::MAX);
            drop(connection.receive_eof(Tick::ZERO));
            while connection.resume(Tick::ZERO).next().is_some() {}
            let truncated = CloseReason::Peer(PeerClose::Truncated);
            let reason = violation.map_or(truncated, CloseReason::Violation);
            let closed = connection.status().closed();
            assert_eq!(
                closed,
                Some(reason),
                "{:?}, in steps of {step}",
                &wire[..wire.len().min(20)]
            );
        }
    }
}
