//! Section 6 of the design: anything that two parsers could read differently is refused with a
//! status and a close. Each input gets the same answer however it is cut, and bytes after it are
//! never read as a request.

use http::StatusCode;
use portcullis::{CloseReason, Config, Refusal, ResetReason, TlsFailure};
use portcullis_play::support;
use std::sync::Arc;
use support::cuts::{Told, assert_refused, assert_refused_under, refusal_text, told, told_under};
use support::{Script, Seen, get_with, with};

/// A request that a smuggler tries to hide.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// A POST with these field lines, and a request after it.
fn post_with(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{SMUGGLED}")
}

/// A chunked POST with these bytes as content, and a request after it.
fn chunked(content: &str) -> String {
    post_with("Transfer-Encoding: chunked\r\n").replace(SMUGGLED, &format!("{content}{SMUGGLED}"))
}

/// Asserts that content is refused after its head and the content `before` were delivered.
fn assert_content_refused(content: &str, before: &str, refusal: Refusal) {
    let Told { seen, output, reason } = told(chunked(content));
    assert!(matches!(seen[0], Seen::Request(..)), "{content:?}: {seen:?}");
    let mut expected = vec![Seen::Data(before.into()), Seen::Reset(ResetReason::Refused(refusal))];
    if before.is_empty() {
        expected.remove(0);
    }
    assert_eq!(seen[1..], expected, "{content:?}");
    assert_eq!(output, refusal_text(refusal), "{content:?}");
    assert_eq!(reason, CloseReason::Refused(refusal), "{content:?}");
}

/// Asserts that `wire` is this many requests, all of which are answered.
fn assert_accepted(wire: &str, requests: usize) {
    let told = told(wire);
    assert_eq!(told.requests(), requests, "{wire:?}: {told:?}");
    assert_eq!(told.statuses(), vec![200; requests], "{wire:?}");
}

#[test]
fn each_refusal_has_its_status_and_closes() {
    assert_eq!(
        refusal_text(Refusal::ConflictingFraming),
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: 130\r\nconnection: close\r\n\r\n\
         400 Bad Request: the request has both Transfer-Encoding and Content-Length, \
         or content that it may not have (conflicting_framing)\n"
    );
    for (lines, refusal, status) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", Refusal::ConflictingFraming, 400),
        ("Expect: tea\r\n", Refusal::Expectation, 417),
        ("Transfer-Encoding: gzip, chunked\r\n", Refusal::Coding, 501),
    ] {
        assert_eq!(refusal.status().as_u16(), status);
        assert_refused(post_with(lines), refusal);
    }
    assert_eq!(Refusal::Version.status(), StatusCode::HTTP_VERSION_NOT_SUPPORTED);
}

#[test]
fn a_length_and_a_coding_contradict_each_other() {
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "transfer-encoding: CHUNKED\r\ncontent-length: 0\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        "Content-Length: 5\r\nTransfer-Encoding:\r\n",
        "Content-Length: x\r\nTransfer-Encoding: x\r\n",
    ] {
        assert_refused(post_with(lines), Refusal::ConflictingFraming);
    }
    let old = format!(
        "POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{SMUGGLED}"
    );
    assert_refused(old, Refusal::ConflictingFraming);
}

#[test]
fn a_length_occurs_once_and_has_only_digits() {
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 0\r\nX: y\r\ncontent-length: 0\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,6\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: -0\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5h\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: 5e0\r\n",
        "Content-Length: 1_0\r\n",
        "Content-Length: \"5\"\r\n",
        "Content-Length: ;5\r\n",
        "Content-Length:\r\n",
        "Content-Length: \r\n",
        "Content-Length: \u{0661}\r\n",
    ] {
        assert_refused(post_with(lines), Refusal::ContentLength);
    }
    for length in ["5", "05", "0000000000000000000000005", "  5", "5  ", "\t5\t", ""] {
        if !length.is_empty() {
            let wire = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:{length}\r\n\r\nhello{SMUGGLED}"
            );
            assert_accepted(&wire, 2);
        }
    }
}

#[test]
fn a_length_that_overflows_is_refused() {
    let unlimited = Arc::new(with(&[("request_body_limit", "none")]));
    for length in [
        "18446744073709551616",
        "18446744073709551621",
        "36893488147419103237",
        "99999999999999999999999999999999999999999999999999999999999999999999",
    ] {
        let wire = post_with(&format!("Content-Length: {length}\r\n"));
        assert_refused(&wire, Refusal::ContentLength);
        assert_refused_under(&unlimited, &wire, Refusal::ContentLength);
    }
    let largest = post_with("Content-Length: 00018446744073709551615\r\n");
    assert_eq!(told_under(&unlimited, &largest).seen[1], Seen::Data(SMUGGLED.into()));
    let refused = ResetReason::Refused(Refusal::ContentTooLarge);
    assert_eq!(told(&largest).seen[1], Seen::Reset(refused));
}

#[test]
fn the_only_coding_is_chunked() {
    for coding in [
        "chunked, chunked",
        "chunked,chunked",
        "chunked,",
        ",chunked",
        ", chunked",
        "xchunked",
        "chunkedx",
        "chunked\u{b}",
        "chunked;q=1",
        "chunked ; a=b",
        "\"chunked\"",
        "chun ked",
        "identity",
        "identity, chunked",
        "gzip",
        "chunked, gzip",
        "chunked, identity",
        "gzip chunked",
        "gzip,,chunked",
        "",
    ] {
        let refusal =
            if coding.contains('\u{b}') { Refusal::Field } else { Refusal::TransferEncoding };
        assert_refused(post_with(&format!("Transfer-Encoding: {coding}\r\n")), refusal);
    }
    for coding in ["gzip, chunked", "gzip,chunked", "GZIP \t,\tCHUNKED", "br, gzip, chunked"] {
        assert_refused(post_with(&format!("Transfer-Encoding: {coding}\r\n")), Refusal::Coding);
    }
    for lines in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip\r\ntransfer-encoding: chunked\r\n",
    ] {
        assert_refused(post_with(lines), Refusal::TransferEncoding);
    }
    for coding in ["chunked", "Chunked", "CHUNKED", " \tchunked\t ", "chunked "] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:{coding}\r\n\r\n");
        assert_accepted(&format!("{head}5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"), 2);
    }
}

#[test]
fn http_1_0_has_no_transfer_codings() {
    for coding in ["chunked", "gzip, chunked", "identity"] {
        let head = format!("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n");
        assert_refused(format!("{head}0\r\n\r\n{SMUGGLED}"), Refusal::TransferEncoding);
    }
}

#[test]
fn a_name_that_only_looks_like_a_framing_field_frames_nothing() {
    // These names are tokens, so they are other fields, and there is no content.
    for line in ["Transfer_Encoding: chunked", "X-Transfer-Encoding: chunked", "Content_Length: 5"]
    {
        assert_accepted(&post_with(&format!("{line}\r\n")), 2);
    }
    // A parser that repairs lines would read these as framing.
    for line in [
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "\tTransfer-Encoding: chunked",
        "Transfer-Encoding",
        "Transfer-Encoding chunked",
        "Transfer\u{0}-Encoding: chunked",
        "Transfer-Encoding\u{a0}: chunked",
        "\u{b}Transfer-Encoding: chunked",
        "Content-Length : 5",
        "Content Length: 5",
        "\u{feff}Content-Length: 5",
        ": chunked",
        ":",
    ] {
        assert_refused(post_with(&format!("{line}\r\n")), Refusal::Field);
    }
}

#[test]
fn no_line_is_folded() {
    for lines in [
        "X: a\r\n b\r\n",
        "X: a\r\n\tb\r\n",
        "X: a\r\n \r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Content-Length: 1\r\n 0\r\n",
        "X: y\r\n Content-Length: 5\r\n",
    ] {
        assert_refused(post_with(lines), Refusal::Field);
    }
    assert_refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refusal::Field);
}

#[test]
fn lines_end_in_cr_and_lf() {
    for wire in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 5\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_refused(wire, Refusal::BareCrOrLf);
    }
    for line in ["X: y\rContent-Length: 5", "X: \ry", "X: y\r", "\rX: y", "X\r: y"] {
        assert_refused(get_with(&format!("{line}\r\n")), Refusal::Field);
    }
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", Refusal::Field);
    assert_refused("GET / HTTP/1.1\rHost: a\r\n\r\n", Refusal::RequestLine);
    assert_refused("GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target);
}

#[test]
fn no_control_characters_anywhere() {
    for control in (0..0x20u8).chain([0x7f]) {
        // CR and LF are tested above. A tab is white space in values.
        if matches!(control, b'\r' | b'\n') {
            continue;
        }
        let control = char::from(control);
        assert_refused(get_with(&format!("X{control}: y\r\n")), Refusal::Field);
        assert_refused(format!("GET /{control} HTTP/1.1\r\nHost: a\r\n\r\n"), Refusal::Target);
        assert_refused(format!("G{control}T / HTTP/1.1\r\nHost: a\r\n\r\n"), Refusal::RequestLine);
        if control == '\t' {
            assert_accepted(&get_with("X: y\tz\r\n"), 1);
        } else {
            for value in [format!("y{control}z"), format!("{control}"), format!("y{control}")] {
                assert_refused(get_with(&format!("X: {value}\r\n")), Refusal::Field);
            }
        }
    }
    let latin = [&b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\xff\x80\r\n\r\n"[..]].concat();
    assert_eq!(told(latin).statuses(), [200], "obs-text is a value");
    for (wire, refusal) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: y\r\n\r\n"[..], Refusal::Field),
        (b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target),
        (b"GET /\xc0\xaf HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target),
        (b"GET /?\xed\xa0\x80 HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target),
        (b"G\xe9T / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::RequestLine),
        (b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n", Refusal::Host),
    ] {
        assert_refused(wire, refusal);
    }
}

#[test]
fn request_lines_have_three_parts_and_two_spaces() {
    for line in [
        "GET",
        "GET ",
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET / a HTTP/1.1",
        "GET HTTP/1.1",
        "/ HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET: / HTTP/1.1",
        "GET / http/1.1",
        "GET / Http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/11",
        "GET / HTTP/1.10",
        "GET / HTTP/01.1",
        "GET / HTTP/1,1",
        "GET / HTTP/1.x",
        "GET / HTTP/",
        "GET / HTTPS/1.1",
        "GET / ICY/1.1",
        "GET / 1.1",
    ] {
        assert_refused(format!("{line}\r\nHost: a\r\n\r\n{SMUGGLED}"), Refusal::RequestLine);
    }
    assert_refused("GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target);
    assert_refused("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target);
}

#[test]
fn versions_are_1_0_and_1_1() {
    for version in ["1.2", "1.9", "2.0", "3.0", "0.9", "0.0", "0.1", "9.9"] {
        assert_refused(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"), Refusal::Version);
    }
    // The preface of HTTP/2, with a frame after it, where HTTP/2 is off.
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let config = Config::builder().http2(false).build().expect("valid");
    assert_refused_under(&Arc::new(config), preface, Refusal::Version);
    for version in ["1.0", "1.1"] {
        assert_accepted(&format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"), 1);
    }
}

#[test]
fn chunk_sizes_have_one_reading() {
    for content in [
        "\r\n",
        "x\r\n",
        "g\r\nabc",
        "-3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3h\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "\t3\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "3\t\r\nabc\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
        "3_\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\rabc\r\n0\r\n\r\n",
        "3\r\rabc\r\n0\r\n\r\n",
        ";e\r\nabc\r\n0\r\n\r\n",
        "3;e\nabc\r\n0\r\n\r\n",
        "3;e\rabc\r\n0\r\n\r\n",
        "3;\0\r\nabc\r\n0\r\n\r\n",
        "3;\u{7f}\r\nabc\r\n0\r\n\r\n",
        "3\0\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "100000000000000000000000000000003\r\nabc\r\n0\r\n\r\n",
    ] {
        assert_content_refused(content, "", Refusal::Chunk);
    }
    assert_content_refused("ffffffffffffffff\r\nabc", "", Refusal::ContentTooLarge);
    assert_content_refused("8000000000000000\r\nabc", "", Refusal::ContentTooLarge);
    for content in [
        "3\r\nabc",
        "03\r\nabc",
        "3;e=\"f\"\r\nabc",
        "3 ; e\r\nabc",
        "0000000000000003\r\nabc",
        "00000000000000003\r\nabc",
        "0000000000000000000000000000000000000000000000000000000000000003\r\nabc",
    ] {
        assert_accepted(&chunked(&format!("{content}\r\n0\r\n\r\n")), 2);
    }
}

/// With the bytes of CVE-2026-33870: an extension that reads on to the next quote would hide a
/// chunk.
#[test]
fn extensions_of_chunks_follow_the_grammar() {
    for content in [
        "1;a=\"\r\nX\r\n0\r\n\r\n",
        "3;\r\nabc\r\n0\r\n\r\n",
        "3;=x\r\nabc\r\n0\r\n\r\n",
        "3;a=\r\nabc\r\n0\r\n\r\n",
        "3;a=\"b\"c\r\nabc\r\n0\r\n\r\n",
        "3;a=b\"c\"\r\nabc\r\n0\r\n\r\n",
        "3;a b\r\nabc\r\n0\r\n\r\n",
        "3;a \r\nabc\r\n0\r\n\r\n",
        "3;;a\r\nabc\r\n0\r\n\r\n",
        "3;a,b\r\nabc\r\n0\r\n\r\n",
        "3;a=\"\\\"\r\nabc\r\n0\r\n\r\n",
        "3;a=\"\n\"\r\nabc\r\n0\r\n\r\n",
        "0;a=\"\r\n\r\n",
        "0;\r\n\r\n",
    ] {
        assert_content_refused(content, "", Refusal::Chunk);
    }
    assert_content_refused("3\r\nabc\r\n1;a=\"\r\nX\r\n0\r\n\r\n", "abc", Refusal::Chunk);
    for extension in
        [";a", " ; a = b", ";a=\"\"", ";a=\"b;c\\\"\\\\ \t,\u{e9}\" ; d", ";a;b=1;c=\"2\""]
    {
        assert_accepted(&chunked(&format!("3{extension}\r\nabc\r\n0{extension}\r\n\r\n")), 2);
    }
}

#[test]
fn chunks_end_where_they_say() {
    for content in [
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
        "3\r\nabc\r\n\r\n0\r\n\r\n",
        "3\r\nabc  \r\n0\r\n\r\n",
    ] {
        assert_content_refused(content, "abc", Refusal::Chunk);
    }
    assert_content_refused("0\n\r\n", "", Refusal::Chunk);
    assert_content_refused("0\r\n\n", "", Refusal::BareCrOrLf);
    assert_content_refused("0\r\nX: y\n\r\n", "", Refusal::BareCrOrLf);
}

#[test]
fn trailers_must_not_have_framing_fields() {
    for line in [
        "Content-Length: 5",
        "content-length: 0",
        "Transfer-Encoding: chunked",
        "Host: b",
        "Connection: close",
        "Authorization: Basic eDp5",
        "Cookie: a=b",
        "Content-Type: text/html",
        "Content-Encoding: gzip",
        "Content-Range: bytes 0-1/2",
        "Expect: 100-continue",
        "TE: trailers",
        "Trailer: X",
        "Upgrade: h2c",
        "X : y",
        " X: y",
        "X",
        ": y",
        "X: y\0",
        "X: y\rz",
    ] {
        assert_content_refused(&format!("0\r\n{line}\r\n\r\n"), "", Refusal::Trailers);
        assert_content_refused(
            &format!("1\r\n.\r\n0\r\nA: b\r\n{line}\r\n\r\n"),
            ".",
            Refusal::Trailers,
        );
    }
    assert_content_refused("0\r\nX: y\r\n z\r\n\r\n", "", Refusal::Trailers);
    // The bytes after the last chunk are the trailer section, not a second request.
    assert_content_refused("0\r\n", "", Refusal::Trailers);
}

/// Answering first makes no difference to what is refused.
#[test]
fn trailers_of_discarded_content_are_checked_too() {
    let head = post_with("Transfer-Encoding: chunked\r\n").replace(SMUGGLED, "");
    for (content, reason) in [
        ("0\r\nContent-Length: 5\r\nGET /x HTTP/1.1\r\n\r\n", Some(Refusal::Trailers)),
        ("0\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", Some(Refusal::Trailers)),
        ("0\r\nX: y\r\n z\r\n\r\n", Some(Refusal::Trailers)),
        ("1\r\n.\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", Some(Refusal::Trailers)),
        ("0\r\nX: y\n\r\n", Some(Refusal::BareCrOrLf)),
        ("0;\r\n\r\n", None),
    ] {
        let reason = reason.map_or(CloseReason::UnreadContent, CloseReason::Refused);
        let wire = format!("{content}{SMUGGLED}");
        for cut in 0..wire.len() {
            let mut script = Script::after(&head);
            script.answer(200, "ok");
            for piece in [&wire[..cut], &wire[cut..]] {
                assert_eq!(script.send(piece), [], "{content:?} cut at {cut}");
            }
            let output = script.closes_with(reason);
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            assert_eq!(output, answer, "{content:?} cut at {cut}");
        }
    }
    for trailers in ["", "X: y\r\nx: z\r\n"] {
        let mut script = Script::after(&head);
        script.answer(200, "ok");
        script.send(format!("3\r\nabc\r\n0\r\n{trailers}\r\n"));
        assert_eq!(script.send(SMUGGLED).len(), 2, "a request, and its end");
    }
}

#[test]
fn host_occurs_once_and_is_a_host() {
    for empty in ["", "Host:\r\n", "Host: \t\r\n"] {
        assert_refused(format!("GET / HTTP/1.1\r\n{empty}\r\n"), Refusal::Host);
        assert_accepted(&format!("GET / HTTP/1.0\r\n{empty}\r\n"), 1);
    }
    for lines in ["Host: a\r\nHost: a\r\n", "Host: a\r\nX: y\r\nHOST: b\r\n", "Host:\r\nHost:\r\n"]
    {
        assert_refused(format!("GET / HTTP/1.1\r\n{lines}\r\n"), Refusal::Host);
        assert_refused(format!("GET / HTTP/1.0\r\n{lines}\r\n"), Refusal::Host);
    }
    for host in [
        "a b",
        "a, b",
        "a/b",
        "a\\b",
        "a?b",
        "a#b",
        "user@a",
        "user:word@a",
        "http://a",
        "a:x",
        "a:80:80",
        "a:-1",
        "a:+1",
        "a:8 0",
        "a:65536",
        "a:99999",
        "a:100000",
        ":80",
        ":",
        "[::1",
        "::1",
        "[]",
        "[]:80",
        "[::1]x",
        "[::1]:x",
        "[::g]",
        "[a]b]",
        "<a>",
        "\"a\"",
        "a\tb",
        "%",
        "a%",
        "a%2",
        "a%2g",
        "%%20",
        "a%20:x",
        "[::1%25eth0]",
        "[1::2::3]",
        "[:::::::::]",
        "[12345::]",
        "[1.2.3.4]",
        "[::1.2.3.256]",
    ] {
        assert_refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n{SMUGGLED}"), Refusal::Host);
    }
    for host in [
        "a",
        "A.example",
        "a:",
        "a:80",
        "a:65535",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:80",
        "a_b",
        "xn--a%20",
        "%C3%A9.example:80",
        "[1:2:3:4:5:6:7:8]:80",
        "[::ffff:1.2.3.4]",
    ] {
        assert_accepted(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 1);
    }
}

#[test]
fn an_absolute_target_and_host_agree() {
    for (target, host) in [
        ("http://a/", "b"),
        ("http://a/", "a:443"),
        ("http://a:443/", "a"),
        ("https://a:80/", "a"),
        ("https://a/", "a:80"),
        ("http://a:080/", "a"),
        ("http://a:8/", "a:80"),
        ("http://a:8080/", "a"),
        ("http://80/", "a:80"),
        ("http://a/", ""),
        ("http://a.b/", "a"),
        ("http://[::1]/", "[::2]"),
    ] {
        assert_refused(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"), Refusal::Host);
    }
    assert_refused("CONNECT a:1 HTTP/1.1\r\nHost: b:1\r\n\r\n", Refusal::Host);
    assert_refused("GET http://a/ HTTP/1.1\r\n\r\n", Refusal::Host);
    for (target, host) in [
        ("http://a/", "a"),
        ("HTTP://A/", "a"),
        ("http://a:80", "A:80"),
        ("http://a:80/", "a"),
        ("http://a/", "a:80"),
        ("http://a:/", "a"),
        ("http://a/", "a:"),
        ("http://a:/", "a:80"),
        ("https://a:443/", "a"),
        ("HTTPS://[::1]/", "[::1]:443"),
        ("http://[::1]:80/", "[::1]:"),
    ] {
        assert_accepted(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"), 1);
    }
    assert_accepted("GET http://a/ HTTP/1.0\r\n\r\n", 1);
}

#[test]
fn connect_has_no_content() {
    for line in ["Content-Length: 5", "Content-Length: 0", "Transfer-Encoding: chunked"] {
        let wire = format!("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n{line}\r\n\r\n{SMUGGLED}");
        assert_refused(wire, Refusal::ConflictingFraming);
    }
}

/// Bytes after a CONNECT may be meant for the tunnel, so they are never read as a request.
#[test]
fn a_refused_tunnel_ends_the_connection() {
    let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
    let told = told(format!("{connect}{SMUGGLED}"));
    assert_eq!((told.requests(), told.statuses()), (1, vec![404]));
    assert!(told.output.contains("\r\nconnection: close\r\n"), "{}", told.output);
    assert_eq!(told.reason, CloseReason::Completed);
    let old =
        connect.replace("1.1", "1.0").replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(support::cuts::told(old + SMUGGLED).requests(), 1);
}

/// A first byte of 22 means a client that speaks TLS. Later the byte is an ordinary mistake.
#[test]
fn only_the_first_byte_can_mean_tls() {
    let tls = CloseReason::Tls(TlsFailure::OnPlainPort);
    for wire in ["\u{16}", "\u{16}\u{3}\u{1}\0", "\u{16}\r\n"] {
        let told = told(wire);
        assert_eq!((told.output.as_str(), told.reason), ("", tls), "{wire:?}");
    }
    for blank in 1..=4 {
        let wire = "\r\n".repeat(blank) + "\u{16}\u{3}\u{1}\r\n\r\n";
        assert_refused(wire, Refusal::RequestLine);
    }
    assert_refused("\r\u{16}\u{3}\u{1}", Refusal::BareCrOrLf);
    assert_refused("/ HTTP/1.1\r\n\u{16}\u{3}\u{1}\r\n\r\n", Refusal::RequestLine);
    assert_refused("\n\u{16}\u{3}", Refusal::BareCrOrLf);
}

#[test]
fn the_only_expectation_is_100_continue() {
    for value in ["tea", "100-continue, tea", "100-continue;q=1", "100", "", "\"100-continue\""] {
        assert_refused(post_with(&format!("Expect: {value}\r\n")), Refusal::Expectation);
    }
    assert_refused(get_with("Expect: 100-continue\r\nExpect: tea\r\n"), Refusal::Expectation);
}
