//! Requests: how they begin, and what the application gets of them.

use portcullis::{CloseReason, Config, ConfigError, Expiry, Fault, Party, Timer};
use portcullis_play::http2::{
    CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PREFACE, Pair, block, frame, get, post,
    request, settings,
};
use portcullis_play::support::{millis, secs, tick};

#[test]
fn the_preface_chooses_in_pieces_too_under_one_deadline() {
    let mut pair = Pair::untouched(Config::default());
    assert_eq!(pair.connection.deadline(), Some((tick(secs(5)), Timer::KeepAlive)));
    for (place, byte) in PREFACE.iter().enumerate() {
        pair.now = tick(secs(1)).after(secs(place as u64) / 8);
        assert_eq!(pair.send(&[vec![*byte]]), [""; 0]);
        if place + 1 < PREFACE.len() {
            assert_eq!(pair.connection.deadline(), Some((tick(secs(11)), Timer::RequestHead)));
        }
    }
    assert_eq!(pair.send(&[settings(&[]), get(1, "/a")]), ["1 GET /a", "1 end"]);
}

#[test]
fn http2_can_be_switched_off() {
    let config = Config::builder().http2(false).build().expect("valid");
    let mut pair = Pair::untouched(config);
    assert_eq!(pair.send(&[PREFACE.to_vec()]), ["0 refused PRI *: unknown_version"]);
    assert!(!pair.connection.status().is_open());
}

#[test]
fn http1_can_be_switched_off() {
    let config = Config::builder().http1(false).build().expect("valid");
    let mut pair = Pair::untouched(config.clone());
    let told = pair.send(&[PREFACE.to_vec(), settings(&[]), get(1, "/a")]);
    assert_eq!(told, ["1 GET /a", "1 end"]);
    for first in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "INVALID CONNECTION PREFACE\r\n\r\n"] {
        let mut pair = Pair::untouched(config.clone());
        assert_eq!(pair.send(&[first.into()]), [""; 0]);
        let goodbye = pair.takes();
        let goodbye = goodbye.last().expect("a GOAWAY");
        assert!(goodbye.starts_with("0 GOAWAY 0 PROTOCOL_ERROR"), "{goodbye}");
        assert_eq!(pair.closed(), Some(CloseReason::Fault(Fault::Preface)));
    }
    let neither = Config::builder().http1(false).http2(false).build();
    assert_eq!(neither.expect_err("nothing is left"), ConfigError::NoProtocol);
}

#[test]
fn the_first_frame_is_settings() {
    for first in [get(1, "/"), frame(6, 0, 0, &[0; 8]), frame(4, 1, 0, &[])] {
        let mut pair = Pair::untouched(Config::default());
        assert_eq!(pair.send(&[PREFACE.to_vec(), first]), [""; 0]);
        assert_eq!(pair.closed(), Some(CloseReason::Fault(Fault::Preface)));
    }
}

#[test]
fn a_request_and_its_answer() {
    let mut pair = Pair::new(Config::default());
    assert_eq!(pair.send(&[get(1, "/a?b")]), ["1 GET /a?b", "1 end"]);
    assert_eq!(pair.connection.waits_for(), Party::Application);
    assert_eq!(pair.connection.deadline(), None);
    pair.answer(1, 5);
    assert_eq!(pair.takes(), ["1 HEADERS :status=200 content-length=5", "1 DATA 5, end"]);
    assert_eq!(pair.connection.deadline(), Some((tick(secs(5)), Timer::KeepAlive)));
    pair.after(secs(5));
    assert_eq!(pair.takes(), ["0 GOAWAY 1 NO_ERROR keep_alive"]);
    let expected = CloseReason::Expired(Expiry::KeepAlive);
    assert_eq!(pair.connection.status().closed(), Some(expected));
}

#[test]
fn answers_of_streams_interleave() {
    let mut pair = Pair::new(Config::default());
    let told = pair.send(&[get(3, "/a"), get(9, "/b")]);
    assert_eq!(told, ["3 GET /a", "3 end", "9 GET /b", "9 end"]);
    pair.respond(9);
    pair.respond(3);
    assert_eq!((pair.sends(3, 2), pair.sends(9, 3)), (2, 3));
    pair.finish(3);
    pair.finish(9);
    let frames = pair.takes();
    let expected = [
        "9 HEADERS :status=200",
        "3 HEADERS :status=200",
        "3 DATA 2",
        "9 DATA 3",
        "3 DATA 0, end",
        "9 DATA 0, end",
    ];
    assert_eq!(frames, expected);
}

#[test]
fn a_head_may_come_in_continuations() {
    let mut pair = Pair::new(Config::default());
    let whole = request("GET", "/long", &[("a", &"b".repeat(100))]);
    let (first, rest) = whole.split_at(30);
    let (second, third) = rest.split_at(60);
    assert_eq!(pair.send(&[frame(HEADERS, END_STREAM, 1, first)]), [""; 0]);
    assert_eq!(pair.connection.deadline(), Some((tick(secs(10)), Timer::RequestHead)));
    pair.now = tick(secs(9));
    assert_eq!(pair.send(&[frame(CONTINUATION, 0, 1, second)]), [""; 0]);
    assert_eq!(pair.connection.deadline(), Some((tick(secs(10)), Timer::RequestHead)));
    let told = pair.send(&[frame(CONTINUATION, END_HEADERS, 1, third)]);
    assert_eq!(told, [format!("1 GET /long a={}", "b".repeat(100)), "1 end".into()]);
    assert_eq!(pair.connection.deadline(), None);
}

#[test]
fn a_head_that_does_not_end_is_timed() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[frame(HEADERS, END_STREAM, 1, &request("GET", "/", &[])[..20])]);
    pair.after(secs(10));
    assert_eq!(pair.takes(), ["0 GOAWAY 0 ENHANCE_YOUR_CALM request_head"]);
}

#[test]
fn crumbs_of_cookies_are_joined() {
    let mut pair = Pair::new(Config::default());
    let crumbs: Vec<String> = (0..90).map(|number| format!("c{number}={number}")).collect();
    let mut fields: Vec<(&str, &str)> = vec![("accept", "*/*")];
    fields.extend(crumbs.iter().map(|crumb| ("cookie", crumb.as_str())));
    let others: Vec<String> = (0..15).map(|number| format!("x-field-{number}")).collect();
    fields.extend(others.iter().map(|name| (name.as_str(), "1")));
    let head = request("GET", "/", &fields);
    let told = pair.send(&[frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)]);
    assert!(told[0].ends_with(&format!(" cookie={}", crumbs.join("; "))), "{told:?}");
    assert!(told[0].starts_with("1 GET / accept=*/* x-field-0=1"), "{told:?}");
}

#[test]
fn an_empty_crumb_is_a_crumb() {
    for (crumbs, cookie) in [
        (&[("cookie", "")][..], ""),
        (&[("cookie", ""), ("cookie", "a=1"), ("cookie", "")], "; a=1; "),
    ] {
        let mut pair = Pair::new(Config::default());
        let head = request("GET", "/", crumbs);
        let told = pair.send(&[frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)]);
        assert_eq!(told, [&format!("1 GET / cookie={cookie}"), "1 end"]);
    }
}

#[test]
fn too_many_fields_and_too_large_lists_are_431() {
    let mut pair = Pair::new(Config::default());
    let many = vec![("a", "b"); 257];
    let large = "v".repeat(16_000);
    let mut id = 1;
    for fields in [many, vec![("large", large.as_str()); 5]] {
        let head = request("GET", "/", &fields);
        let pieces: Vec<&[u8]> = head.chunks(16_384).collect();
        let mut frames = Vec::new();
        for (place, piece) in pieces.iter().enumerate() {
            let last = if place + 1 == pieces.len() { END_HEADERS } else { 0 };
            let (kind, end) = if place == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
            frames.push(frame(kind, last | end, id, piece));
        }
        let whole = head.len() as u64 <= pair.connection.config().http2_header_list_limit();
        let told = pair.send(&frames);
        if whole {
            assert_eq!(told, [format!("{id} refused GET /: too_many_fields")]);
            let taken = pair.takes();
            assert!(taken[0].starts_with(&format!("{id} HEADERS :status=431")), "{taken:?}");
        } else {
            assert_eq!(told, [""; 0]);
            let reason = CloseReason::Fault(Fault::BlockTooLarge);
            assert_eq!(pair.closed(), Some(reason));
        }
        id += 2;
    }
}

#[test]
fn a_list_that_is_large_only_once_it_is_decoded_is_431_and_the_table_stays_right() {
    let mut pair = Pair::new(Config::default());
    // An entry of 3,000 bytes, and many references to it (row 51).
    let mut bomb = request("GET", "/", &[]);
    bomb.extend([0x40, 1, b'x', 0x7f]);
    bomb.extend([(3000 - 127) as u8 & 127 | 128, ((3000 - 127) >> 7) as u8]);
    bomb.extend([b'v'; 3000]);
    bomb.extend([0x80 | 62; 100]);
    let told = pair.send(&[frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb)]);
    assert_eq!(told, ["1 refused GET /: head_too_large"]);
    let taken = pair.takes();
    assert!(taken[0].starts_with("1 HEADERS :status=431"), "{taken:?}");
    // The entry is still there.
    let mut next = request("GET", "/next", &[]);
    next.push(0x80 | 62);
    let told = pair.send(&[frame(HEADERS, END_HEADERS | END_STREAM, 3, &next)]);
    assert_eq!(told, [format!("3 GET /next x={}", "v".repeat(3000)), "3 end".into()]);
}

#[test]
fn trailers_end_a_request() {
    let mut pair = Pair::new(Config::default());
    let trailers = block(&[("checksum", "1")]);
    let told =
        pair.send(&[post(1, "/", &[]), frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers)]);
    assert_eq!(told, ["1 POST /", "1 end checksum=1"]);
}

#[test]
fn one_connection_answers_so_many_requests() {
    let config = Config::builder().requests_per_connection(2).http2_concurrent_streams(3);
    let config = config.build().expect("valid");
    for many in [false, true] {
        let mut pair = Pair::new(config.clone());
        pair.send(&[get(1, "/"), get(3, "/")]);
        assert_eq!(pair.takes(), ["0 GOAWAY 2147483647 NO_ERROR "]);
        // These may have been on their way: as many as there may be at once, for half a second.
        assert_eq!(pair.send(&[get(5, "/")]), ["5 GET /", "5 end"]);
        let mut last = 5;
        if many {
            for id in [1, 3, 5] {
                pair.answer(id, 0);
            }
            pair.takes();
            pair.send(&[get(7, "/"), get(9, "/")]);
            last = 9;
        } else {
            pair.after(millis(500));
        }
        assert_eq!(pair.takes(), [format!("0 GOAWAY {last} NO_ERROR request_limit")]);
        assert_eq!(pair.send(&[get(11, "/")]), [""; 0], "a client may send it again elsewhere");
        let owed = if many { [7, 9].as_slice() } else { &[1, 3, 5] };
        for id in owed {
            pair.answer(*id, 0);
        }
        assert_eq!(pair.takes().len(), owed.len());
        assert_eq!(pair.closed(), Some(CloseReason::RequestLimit));
    }
}

#[test]
fn an_idle_connection_keeps_at_most_a_kibibyte_more_than_one_of_http_1() {
    let mut pair = Pair::new(Config::default());
    for id in [1, 3, 5] {
        let fields = [("user-agent", "curl/7.88.1"), ("accept", "*/*")];
        let mut head = request("GET", "/some/path", &fields);
        // Clients put most fields into the table.
        head.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = 0x40);
        pair.send(&[frame(HEADERS, END_HEADERS | END_STREAM, id, &head)]);
        pair.answer(id, 100);
        pair.takes();
    }
    drop(pair.connection.return_buffer());
    let memory = pair.connection.memory();
    let owned = size_of_val(&pair.connection) + heap(pair.connection);
    println!("{owned} bytes, {memory} told");
    assert!(owned <= 512 + 1024 && memory <= 512 + 1024, "{owned} bytes, {memory} told");
}

fn heap<T>(owner: T) -> usize {
    allocation_counter::measure(move || drop(owner)).bytes_current.unsigned_abs() as usize
}
