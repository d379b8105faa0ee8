//! Websockets over streams of HTTP/2 (RFC 8441): the same session, limits and timers as over HTTP/1.1.

use bytes::Bytes;
use portcullis::websocket::{DeflateSettings, Handshake, Options};
use portcullis::{Config, Event, Misuse, Tick, Timer};
use portcullis_play::http2::{
    ACK, END_HEADERS, END_STREAM, HEADERS, Pair, SETTINGS, block, connect, data, frame, get,
    last_data, reset, settings, socket_frame, window_update,
};
use portcullis_play::play::websocket_frames as frames;
use portcullis_play::support::{secs, tick};

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

fn opened() -> Pair {
    let mut pair = Pair::new(Config::default());
    pair.opens_socket(1, Options::default());
    assert_eq!(pair.takes(), ["1 HEADERS :status=200"]);
    pair
}

fn say(pair: &mut Pair, id: u32, text: &'static str) {
    let mut message = Bytes::from_static(text.as_bytes());
    pair.stream(id).send_message(true, &mut message).expect("a message");
    assert!(message.is_empty());
}

#[test]
fn messages_pass_in_both_directions_beside_requests() {
    let mut pair = opened();
    assert_eq!(pair.stream(1).read_to(2), Ok(()));
    assert_eq!(pair.send(&[socket_frame(1, TEXT, b"hello")]), ["1 text hello"]);
    assert_eq!(pair.send(&[get(3, "/")]), ["3 GET /", "3 end"]);
    say(&mut pair, 1, "hi");
    pair.answer(3, 0);
    assert_eq!(pair.takes(), ["1 DATA 4", "3 HEADERS :status=200 content-length=0, end"]);
    // A frame in pieces, across DATA frames.
    assert_eq!(pair.send(&[data(1, &[TEXT, 0x85, 0, 0])]), [""; 0]);
    assert_eq!(pair.send(&[data(1, b"\0\0again")]), ["1 text again"]);
    assert_eq!(pair.connection.requests(), 2);
}

#[test]
fn messages_wait_for_credit() {
    let mut pair = opened();
    assert_eq!(pair.send(&[socket_frame(1, TEXT, b"one"), socket_frame(1, TEXT, b"two")]), [""; 0]);
    assert_eq!(pair.stream(1).read_to(1), Ok(()));
    assert_eq!(pair.resume(), ["1 text one"]);
    assert_eq!(pair.stream(1).received(), 1);
    assert_eq!(pair.stream(1).read_to(9), Ok(()));
    assert_eq!(pair.resume(), ["1 text two"]);
}

#[test]
fn pings_are_answered_and_silence_is_probed() {
    let mut pair = opened();
    assert_eq!(pair.stream(1).read_to(9), Ok(()));
    assert_eq!(pair.send(&[socket_frame(1, PING, b"abc")]), [""; 0]);
    assert_eq!(pair.takes(), ["1 DATA 5"]);
    assert_eq!(pair.connection.deadline(), Some((tick(secs(20)), Timer::Stream)));
    pair.after(secs(20));
    assert_eq!(pair.takes(), ["1 DATA 2"]);
    pair.after(secs(5));
    assert_eq!(pair.send(&[socket_frame(1, PONG, b"")]), [""; 0]);
    assert_eq!(pair.connection.deadline(), Some((tick(secs(45)), Timer::Stream)));
    // A client that answers no ping loses its stream, and not the connection.
    pair.after(secs(20));
    assert_eq!(pair.takes(), ["1 DATA 2"]);
    pair.after(secs(20));
    assert_eq!(pair.resume(), ["1 reset Timeout"]);
    let taken = pair.takes();
    assert!(taken[0].starts_with("1 DATA"), "{taken:?}");
    assert!(pair.connection.status().is_open());
    assert_eq!(pair.send(&[get(3, "/")]), ["3 GET /", "3 end"]);
}

#[test]
fn a_close_by_the_client_is_answered_and_ends_the_stream() {
    let mut pair = opened();
    assert_eq!(pair.stream(1).read_to(9), Ok(()));
    let told = pair.send(&[socket_frame(1, CLOSE, b"\x03\xe8bye")]);
    assert_eq!(told, ["1 closes Some(1000) bye"]);
    say(&mut pair, 1, "last");
    assert_eq!(pair.stream(1).close(None, ""), Ok(()));
    let taken = pair.takes();
    assert_eq!(taken, ["1 DATA 6", "1 DATA 4", "1 DATA 0, end"]);
    assert_eq!(pair.send(&[last_data(1, b"")]), [""; 0]);
    assert_eq!(pair.connection.deadline().map(|it| it.1), Some(Timer::KeepAlive));
}

#[test]
fn a_close_by_the_application_waits_for_the_clients() {
    let mut pair = opened();
    assert_eq!(pair.stream(1).close(Some(1000), "done"), Ok(()));
    assert_eq!(pair.takes(), ["1 DATA 8"]);
    assert_eq!(pair.connection.deadline(), Some((tick(secs(5)), Timer::Stream)));
    let told = pair.send(&[socket_frame(1, CLOSE, b"\x03\xe8")]);
    assert_eq!(told, ["1 closes Some(1000) "]);
    assert_eq!(pair.takes(), ["1 DATA 0, end"]);
    // Another one is never answered.
    pair.send(&[last_data(1, b"")]);
    pair.opens_socket(3, Options::default());
    assert_eq!(pair.stream(3).close(Some(1000), ""), Ok(()));
    pair.takes();
    pair.after(secs(5));
    pair.resume();
    assert_eq!(pair.takes(), ["3 RST_STREAM CANCEL"]);
    assert!(pair.connection.status().is_open());
}

#[test]
fn violations_end_the_stream_with_a_close_code() {
    let mut pair = opened();
    assert_eq!(pair.stream(1).read_to(9), Ok(()));
    let told = pair.send(&[socket_frame(1, 0x83, b"")]);
    assert_eq!(told, ["1 reset Violation(ReservedOpcode)"]);
    let taken = pair.takes();
    assert!(taken[0].starts_with("1 DATA") && taken[1] == "1 DATA 0, end", "{taken:?}");
    assert_eq!(pair.stream(1).ping(b""), Err(Misuse::UnknownStream));
    // Text that is no UTF-8.
    pair.opens_socket(3, Options::default());
    assert_eq!(pair.stream(3).read_to(9), Ok(()));
    assert_eq!(pair.send(&[socket_frame(3, TEXT, b"\xff")]), ["3 reset Violation(Utf8)"]);
    assert!(pair.connection.status().is_open());
}

#[test]
fn limits_are_those_of_any_websocket() {
    let config = Config::builder().websocket_message_limit(10).build().expect("valid");
    let mut pair = Pair::new(config);
    pair.opens_socket(1, Options::default());
    assert_eq!(pair.stream(1).read_to(9), Ok(()));
    let told = pair.send(&[socket_frame(1, TEXT, b"0123456789a")]);
    assert_eq!(told, ["1 reset Violation(TooLarge)"]);
}

#[test]
fn output_waits_for_the_window() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, 10)])]);
    pair.opens_socket(1, Options::default());
    say(&mut pair, 1, "0123456789abcdef");
    assert_eq!(pair.takes(), ["0 SETTINGS ack", "1 HEADERS :status=200", "1 DATA 10"]);
    assert_eq!(pair.send(&[window_update(1, 100)]), [""; 0]);
    assert_eq!(pair.takes(), ["1 DATA 8"]);
    // Much more than there is room for: the application is told when there is some again.
    let mut much = Bytes::from(vec![b'x'; 200_000]);
    pair.stream(1).send_message(false, &mut much).expect("a part");
    assert!(!much.is_empty());
    pair.takes();
    assert_eq!(pair.send(&[window_update(1, 1 << 20), window_update(0, 1 << 20)]), ["1 room"]);
    pair.stream(1).send_message(false, &mut much).expect("the next part");
}

#[test]
fn a_window_that_stays_closed_ends_the_stream() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, 0)])]);
    pair.opens_socket(1, Options::default());
    say(&mut pair, 1, "hello");
    pair.takes();
    pair.after(secs(5));
    let told = pair.resume();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("1 reset"), "{told:?}");
    assert!(pair.connection.status().is_open());
}

#[test]
fn large_messages_pass_through_small_windows() {
    let mut pair = opened();
    assert_eq!(pair.stream(1).read_to(9), Ok(()));
    let mut header = vec![0x82, 0x80 | 127];
    header.extend(1_000_000_u64.to_be_bytes());
    header.extend([0; 4]);
    pair.send(&[data(1, &header)]);
    let (mut sent, mut allowed) = (0, 32_767 - header.len());
    let mut told = Vec::new();
    while sent < 1_000_000 {
        for update in pair.takes() {
            if let Some(more) = update.strip_prefix("1 WINDOW_UPDATE ") {
                allowed += more.parse::<usize>().expect("a number");
            }
        }
        let piece = allowed.min(16_000).min(1_000_000 - sent);
        assert!(piece > 0, "stuck after {sent} bytes");
        told.extend(pair.send(&[data(1, &vec![7; piece])]));
        (sent, allowed) = (sent + piece, allowed - piece);
    }
    assert_eq!(told, ["1 binary 1000000"]);
    assert!(pair.connection.memory() <= pair.connection.memory_bound());
}

#[test]
fn the_clients_reset_ends_a_websocket() {
    let mut pair = opened();
    assert_eq!(pair.send(&[reset(1)]), ["1 reset Cancelled"]);
    assert_eq!(pair.stream(1).ping(b""), Err(Misuse::UnknownStream));
    assert_eq!(pair.takes(), [""; 0]);
}

#[test]
fn the_end_of_a_stream_without_a_close_is_told() {
    let mut pair = opened();
    assert_eq!(pair.stream(1).read_to(9), Ok(()));
    assert_eq!(pair.send(&[last_data(1, b"")]), ["1 reset Truncated"]);
    assert_eq!(pair.takes(), ["1 DATA 0, end"]);
}

#[test]
fn a_drain_closes_websockets() {
    let mut pair = opened();
    pair.connection.drain(pair.now);
    let taken = pair.takes();
    assert!(taken.contains(&"1 DATA 4".to_string()), "{taken:?}");
    pair.send(&[socket_frame(1, CLOSE, b"\x03\xe9")]);
    pair.send(&[last_data(1, b"")]);
    pair.after(secs(1));
    assert!(!pair.connection.status().is_open());
}

#[test]
fn other_requests_cannot_become_websockets() {
    let mut pair = Pair::new(Config::default());
    let other = frame(
        HEADERS,
        END_HEADERS,
        1,
        &block(&[
            (":method", "CONNECT"),
            (":protocol", "other"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a"),
        ]),
    );
    assert_eq!(pair.send(&[other]), ["1 refused CONNECT /: unknown_method"]);
    let taken = pair.takes();
    assert!(taken[0].starts_with("1 HEADERS :status=501"), "{taken:?}");
    // `:protocol` belongs to CONNECT.
    let get = block(&[
        (":method", "GET"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ]);
    pair.send(&[frame(HEADERS, END_HEADERS | END_STREAM, 3, &get)]);
    assert_eq!(pair.takes(), ["3 RST_STREAM PROTOCOL_ERROR"]);
    let told = pair.send(&[connect(5, &[])]);
    assert_eq!(told, ["5 CONNECT /chat sec-websocket-version=13"]);
    let mut message = Bytes::from_static(b"too early");
    assert_eq!(pair.stream(5).send_message(true, &mut message), Err(Misuse::NotWebSocket));
    // A 2xx would accept the websocket.
    let mut content = Bytes::new();
    let plain = pair.stream(5).answer(http::StatusCode::OK, None, &mut content);
    assert_eq!(plain, Err(Misuse::Status));
    let refused = pair.stream(5).answer(http::StatusCode::NOT_FOUND, None, &mut content);
    assert!(refused.is_ok());
    assert!(pair.takes()[0].starts_with("5 HEADERS :status=404"));
}

#[test]
fn websockets_that_share_a_closed_window_wait_for_it() {
    // The connection's window is used up by one of several that wait, or by a few bytes more.
    for more in [1, 100, 30_000, 100_000] {
        let mut pair = Pair::new(Config::default());
        [1, 3, 5].into_iter().for_each(|id| pair.opens_socket(id, Options::default()));
        for id in [1, 3, 5] {
            let mut much = Bytes::from(vec![b'x'; 50_000]);
            pair.stream(id).send_message(false, &mut much).expect("at least a part");
        }
        pair.takes();
        pair.send(&[window_update(0, more)]);
        pair.takes();
        pair.send(&[window_update(0, 1 << 20)]);
        let taken: usize = pair.takes().iter().filter(|it| it.contains(" DATA ")).count();
        assert!(taken > 0, "{more}");
        assert!(pair.connection.status().is_open());
    }
}

#[test]
fn websockets_that_wait_for_a_few_bytes_of_room_wait() {
    for left in 0..30 {
        let config = Config::builder().send_buffer_limit(16_384).build().expect("valid");
        let mut pair = Pair::new(config);
        pair.send(&[settings(&[(4, 1 << 20)]), window_update(0, 1 << 20)]);
        for id in [1, 3] {
            pair.opens_socket(id, Options::default());
        }
        pair.takes();
        for (id, length) in [(1, 16_384 - 2 * 9 - left), (3, 1000)] {
            let mut message = Bytes::from(vec![b'x'; length]);
            pair.stream(id).send_message(false, &mut message).expect("at least a part");
        }
        pair.send(&[settings(&[])]);
        pair.resume();
        let taken = pair.takes();
        assert!(taken.iter().any(|it| it.starts_with("1 DATA")), "{taken:?}");
        pair.resume();
        let taken = [taken, pair.takes()].concat();
        assert!(taken.iter().any(|it| it.starts_with("3 DATA")), "{taken:?}");
    }
}

#[test]
fn inflating_lets_others_run_without_losing_bytes() {
    let config = Config::builder().websocket_deflate(true).build().expect("valid");
    let mut pair = Pair::new(config);
    let deflate = DeflateSettings::default();
    let extension = [("sec-websocket-extensions", "permessage-deflate")];
    let mut context = frames::compressor();
    let payload = frames::deflate(&mut context, &vec![b'x'; 1 << 20]);
    for id in [1, 3] {
        pair.opens_socket_with(id, &extension, Some(&deflate), Options::default());
        assert_eq!(pair.stream(id).read_to(9), Ok(()));
    }
    let mut told = pair.send(&[
        socket_frame(1, TEXT | frames::COMPRESSED, &payload),
        socket_frame(3, TEXT | frames::COMPRESSED, &payload),
        get(5, "/"),
    ]);
    assert!(told.contains(&"5 GET /".into()), "{told:?}");
    let mut looks = 0;
    while pair.connection.status().has_work || pair.connection.status().resume {
        assert!(pair.connection.status().resume);
        told.extend(pair.resume());
        looks += 1;
        assert!(looks < 100, "it goes on for ever");
    }
    assert!(looks > 20, "{looks} looks");
    let texts = told.iter().filter(|it| it.contains(" text ")).count();
    assert_eq!(texts, 2);
    assert_eq!(pair.resume(), [""; 0]);
    assert!(!pair.connection.status().resume, "no events are left");
}

/// Begins a binary message of `length` bytes.
fn begins_message(id: u32, length: u64) -> Vec<u8> {
    let header = [&[0x82, 0x80 | 127][..], &length.to_be_bytes(), &[0; 4]].concat();
    data(id, &header)
}

#[test]
fn large_messages_of_many_websockets_take_little_more_than_one() {
    const LENGTH: u64 = 2_000_000;
    let config = Config::builder().websocket_message_limit(LENGTH).build().expect("valid");
    let mut pair = Pair::new(config);
    let ids: Vec<u32> = (0..50).map(|place| 2 * place + 1).collect();
    let (mut connection, mut told) = (65_535_i64, Vec::new());
    // The windows, and the bytes that are left to be sent.
    let mut windows: Vec<(i64, i64)> = ids.iter().map(|_| (32_768, LENGTH as i64)).collect();
    for id in &ids {
        pair.opens_socket(*id, Options::default());
        assert_eq!(pair.stream(*id).read_to(1), Ok(()));
    }
    for (id, (window, _)) in ids.iter().zip(&mut windows) {
        told.extend(pair.send(&[begins_message(*id, LENGTH)]));
        (*window, connection) = (*window - 14, connection - 14);
    }
    let mut most = 0;
    for _ in 0..100_000 {
        for frame in pair.takes() {
            let Some((id, more)) = frame.split_once(" WINDOW_UPDATE ") else { continue };
            let (id, more): (u32, i64) = (id.parse().unwrap(), more.parse().unwrap());
            match id {
                0 => connection += more,
                id => windows[id as usize / 2].0 += more,
            }
        }
        // The client goes on with all messages at once.
        let mut has_sent = false;
        for (id, (window, left)) in ids.iter().zip(&mut windows) {
            let bytes = (*window).min(connection).min(*left).min(8000);
            if bytes > 0 {
                has_sent = true;
                (*window, *left, connection) = (*window - bytes, *left - bytes, connection - bytes);
                told.extend(pair.send(&[data(*id, &vec![0; bytes as usize])]));
                told.extend(pair.resume());
            }
        }
        most = most.max(pair.connection.memory());
        let done: Vec<u32> = ids
            .iter()
            .copied()
            .filter(|id| told.contains(&format!("{id} binary {LENGTH}")))
            .collect();
        if done.len() == ids.len() {
            break;
        }
        if !has_sent {
            // The applications keep what they have. Those that are done ask for more.
            assert!(!done.is_empty(), "nobody may go on: {windows:?}");
            for id in done {
                let _ = pair.stream(id).read_to(2);
            }
            told.extend(pair.resume());
        }
    }
    let whole = told.iter().filter(|it| it.ends_with(&format!("binary {LENGTH}"))).count();
    assert_eq!(whole, ids.len(), "{windows:?}");
    let small = 50 * (65_536 + 2 * 32_768);
    assert!(most < 2 * LENGTH as usize + 2 * small, "{most} bytes");
}

#[test]
fn a_reset_is_told_once_though_the_close_waits_for_a_window() {
    let mut pair = Pair::greeted(Config::default(), &[(4, 0)]);
    pair.takes();
    pair.send(&[frame(SETTINGS, ACK, 0, &[])]);
    pair.opens_socket(1, Options::default());
    assert_eq!(pair.stream(1).read_to(9), Ok(()));
    let told = pair.send(&[socket_frame(1, 0x83, b"")]);
    assert_eq!(told, ["1 reset Violation(ReservedOpcode)"]);
    assert_eq!(pair.send(&[reset(1)]), [""; 0]);
    assert_eq!(pair.resume(), [""; 0]);
    assert_eq!(pair.send(&[get(3, "/")]), ["3 GET /", "3 end"]);
}

#[test]
fn trailers_on_a_websocket_break_a_rule() {
    // RFC 9113 8.5: on a stream that is connected, HEADERS is an error of the stream.
    for flags in [END_HEADERS, END_HEADERS | END_STREAM] {
        let mut pair = opened();
        assert_eq!(pair.stream(1).read_to(9), Ok(()));
        let told = pair.send(&[frame(HEADERS, flags, 1, &block(&[("x", "y")]))]);
        assert_eq!(told, ["1 reset Fault(Malformed)"]);
        assert_eq!(pair.takes(), ["1 RST_STREAM PROTOCOL_ERROR"]);
        assert!(pair.connection.status().is_open());
    }
}

#[test]
fn text_that_is_handed_over_is_utf8() {
    for owned in [true, false] {
        let mut pair = Pair::new(Config::default());
        pair.opens_socket(1, Options { owned, ..Options::default() });
        assert_eq!(pair.stream(1).read_to(9), Ok(()));
        pair.takes();
        let valid = pair.send(&[socket_frame(1, TEXT, "gr\u{fc}\u{df}e".as_bytes())]);
        assert_eq!(valid, [if owned { "1 owned 7" } else { "1 text gr\u{fc}\u{df}e" }]);
        assert_eq!(pair.send(&[socket_frame(1, TEXT, b"\xff\xfe")]), ["1 reset Violation(Utf8)"]);
        assert_eq!(pair.resume(), [""; 0]);
        assert_eq!(pair.takes(), ["1 DATA 16", "1 DATA 0, end"]);
    }
}

#[test]
fn compressed_messages_of_many_websockets_take_little_more_than_one() {
    const LENGTH: usize = 1_000_000;
    let config = Config::builder().websocket_deflate(true).websocket_message_limit(LENGTH as u64);
    let mut pair = Pair::new(config.build().expect("valid"));
    let deflate = DeflateSettings::default();
    let extension = [("sec-websocket-extensions", "permessage-deflate")];
    let payload = frames::deflate(&mut frames::compressor(), &vec![b'x'; LENGTH]);
    let ids: Vec<u32> = (0..50).map(|place| 2 * place + 1).collect();
    for id in &ids {
        pair.opens_socket_with(*id, &extension, Some(&deflate), Options::default());
        assert_eq!(pair.stream(*id).read_to(1), Ok(()));
        pair.takes();
    }
    let mut told = Vec::new();
    for id in &ids {
        told.extend(pair.send(&[socket_frame(*id, TEXT | frames::COMPRESSED, &payload)]));
        pair.takes();
    }
    let (mut most, mut done) = (0, 0);
    for _ in 0..100_000 {
        most = most.max(pair.connection.memory());
        let status = pair.connection.status();
        if status.has_work || status.resume {
            told.extend(pair.resume());
            continue;
        }
        pair.takes();
        // The applications keep what they have, until those that are done ask for more.
        let texts = told.iter().filter(|it| it.contains(" text ")).count();
        assert!(texts > done, "nobody goes on: {texts} of {}", ids.len());
        assert!(texts - done <= 3, "{} are delivered that nobody is done with", texts - done);
        done = texts;
        if done == ids.len() {
            break;
        }
        for id in &ids {
            if told.iter().any(|it| it.starts_with(&format!("{id} text "))) {
                let _ = pair.stream(*id).read_to(2);
            }
        }
    }
    assert_eq!(done, ids.len());
    // An inflater takes some 50 KB.
    let small = 50 * (2 * 65_536 + 65_536 + 50_000);
    assert!(most < 3 * LENGTH + 2 * small, "{most} bytes");
}

#[test]
fn a_websocket_that_its_own_timer_ends_is_told() {
    let mut pair = opened();
    assert_eq!(pair.stream(1).read_to(9), Ok(()));
    // No sign of life: a ping, and no pong.
    pair.after(secs(20));
    pair.resume();
    pair.takes();
    pair.after(secs(20));
    let mut told = pair.resume();
    told.extend(pair.resume());
    // The client does not answer the close either.
    for _ in 0..10 {
        pair.takes();
        pair.after(secs(5));
        told.extend(pair.resume());
    }
    assert_eq!(told, ["1 reset Timeout"]);
    assert_eq!(pair.stream(1).ping(b""), Err(Misuse::UnknownStream));
    // The same after a close of the application's that is not answered.
    let mut pair = Pair::new(Config::default());
    pair.opens_socket(3, Options::default());
    pair.stream(3).close(Some(1000), "").expect("a close");
    pair.takes();
    let mut told = Vec::new();
    for _ in 0..10 {
        pair.after(secs(5));
        told.extend(pair.resume());
        pair.takes();
    }
    assert!(told.len() <= 1, "{told:?}");
    assert_eq!(pair.stream(3).ping(b""), Err(Misuse::UnknownStream));
    assert!(pair.connection.memory() < 4000, "{}", pair.connection.memory());
}

#[test]
fn a_request_whose_content_was_read_cannot_become_a_websocket() {
    let mut pair = Pair::new(Config::default());
    let mut bytes = connect(1, &[]);
    let mut events = pair.connection.receive(pair.now, &mut bytes).expect("it reads");
    let Some((connection, Event::Request { stream, head })) = events.next() else {
        panic!("a request")
    };
    let accepted = Handshake::read(&head).expect("a handshake").accept(None, None).expect("none");
    connection.stream(Tick::ZERO, stream).read_to(100).expect("credit");
    drop(events);
    assert_eq!(pair.send(&[socket_frame(1, TEXT, b"hi")]), ["1 data 8"]);
    let mut stream = pair.connection.stream(pair.now, stream);
    let refused = stream.accept_websocket(&accepted, None, Options::default());
    assert_eq!(refused, Err(Misuse::NotUpgradable));
}
