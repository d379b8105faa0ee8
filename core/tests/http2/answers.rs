//! Answers: the windows that the client opens, the cap, priorities, and slow readers.

use portcullis::{Config, ErrorCode, Misuse, ResetReason, Timer};
use portcullis_play::http2::{
    END_HEADERS, END_STREAM, HEADERS, Pair, RST_STREAM, frame, get, request, settings,
    window_update,
};
use portcullis_play::support::{millis, secs, tick};

/// HEADERS of a request with a priority.
fn urgent(stream: u32, priority: &str) -> Vec<u8> {
    let head = request("GET", "/", &[("priority", priority)]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head)
}

fn small_buffer() -> Config {
    Config::builder().send_buffer_limit(16 * 1024).build().expect("valid")
}

/// Bytes of content in frames of a stream.
fn content(frames: &[String], stream: u32) -> usize {
    let start = format!("{stream} DATA ");
    let lengths = frames.iter().filter_map(|it| it.strip_prefix(&start));
    lengths.map(|it| it.trim_end_matches(", end").parse::<usize>().expect("a number")).sum()
}

#[test]
fn no_more_is_sent_than_the_windows_allow() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, 100)]), get(1, "/"), get(3, "/")]);
    pair.respond(1);
    pair.respond(3);
    assert_eq!((pair.sends(1, 300), pair.sends(3, 50)), (100, 50));
    pair.takes();
    assert_eq!(pair.sends(1, 200), 0);
    assert_eq!(pair.send(&[window_update(1, 150)]), ["1 room"]);
    assert_eq!(pair.sends(1, 200), 150);
    // The window of streams becomes smaller, and negative.
    assert_eq!(pair.send(&[settings(&[(4, 10)])]), [""; 0]);
    assert_eq!(pair.stream(3).room(), 0);
    assert_eq!(pair.send(&[window_update(1, 90)]), [""; 0], "the window is 0");
    assert_eq!(pair.send(&[window_update(1, 1)]), ["1 room"]);
    assert_eq!(pair.sends(1, 50), 1);
    assert_eq!(pair.send(&[settings(&[(4, 1000)])]), ["1 room"]);
    assert_eq!(pair.sends(1, 49), 49);
}

#[test]
fn a_window_of_one_byte_makes_progress() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, 1)]), get(1, "/")]);
    pair.respond(1);
    let mut left = 20 - pair.sends(1, 20);
    while left > 0 {
        assert_eq!(pair.send(&[window_update(1, 1)]), ["1 room"]);
        left -= pair.sends(1, left);
    }
    pair.finish(1);
    let taken = pair.takes();
    assert_eq!(content(&taken, 1), 20);
}

#[test]
fn the_connections_window_is_shared() {
    let mut pair = Pair::new(Config::builder().send_buffer_limit(1 << 20).build().expect("valid"));
    pair.send(&[settings(&[(4, 1 << 20)]), get(1, "/"), get(3, "/")]);
    pair.respond(1);
    pair.respond(3);
    assert_eq!(pair.sends(1, 60_000), 60_000);
    assert_eq!(pair.sends(3, 60_000), 5_535);
    pair.takes();
    assert_eq!(pair.resume(), [""; 0], "the window is closed");
    assert_eq!(pair.send(&[window_update(0, 10)]), ["3 room"]);
    assert_eq!(pair.sends(3, 54_465), 10);
}

#[test]
fn one_cap_is_shared_and_streams_are_told_of_room() {
    let mut pair = Pair::new(small_buffer());
    pair.send(&[get(1, "/"), get(3, "/")]);
    pair.respond(1);
    pair.respond(3);
    let first = pair.sends(1, 30_000);
    assert!((15_000..=16 * 1024).contains(&first));
    assert_eq!(pair.sends(3, 5), 0);
    assert!(!pair.connection.status().resume);
    pair.takes();
    // The older stream comes first, and may take all of the room.
    assert_eq!(pair.resume(), ["1 room"]);
    pair.sends(1, 30_000 - first);
    pair.finish(1);
    pair.takes();
    assert_eq!(pair.resume(), ["3 room"]);
    assert_eq!(pair.sends(3, 5), 5);
}

#[test]
fn a_stream_that_does_not_use_its_room_holds_up_nobody() {
    let mut pair = Pair::new(small_buffer());
    pair.send(&[get(1, "/"), get(3, "/")]);
    pair.respond(1);
    pair.respond(3);
    pair.sends(1, 30_000);
    pair.sends(3, 30_000);
    pair.takes();
    assert_eq!(pair.resume(), ["1 room"]);
    assert!(pair.connection.status().resume);
    assert_eq!(pair.resume(), ["3 room"]);
    assert!(pair.sends(3, 30_000) > 0);
}

#[test]
fn what_a_stream_was_promised_is_not_taken_by_another_one() {
    let mut pair = Pair::new(small_buffer());
    pair.send(&[settings(&[(4, 1 << 20)]), urgent(1, ""), urgent(3, "u=7"), urgent(5, "u=1")]);
    [1, 3, 5].into_iter().for_each(|id| pair.respond(id));
    // The connection's window is used up before there is no more room.
    let plug = pair.sends(1, 16_000);
    pair.takes();
    let mut left = 65_535 - plug;
    while left > 0 {
        left -= pair.sends(1, left.min(16_000));
        pair.takes();
    }
    [1, 3, 5].into_iter().for_each(|id| assert_eq!(pair.sends(id, 10_000), 0));
    // All of the window is promised to the most urgent one, so the others are not told.
    assert_eq!(pair.send(&[window_update(0, 1000)]), ["5 room"]);
    assert_eq!((pair.stream(1).room(), pair.stream(3).room()), (0, 0));
    assert_eq!(pair.sends(5, 400), 400);
    assert_eq!((pair.stream(1).room(), pair.stream(5).room()), (0, 600));
    // What arrives before it has acted takes nothing away from it.
    assert_eq!(pair.send(&[window_update(1, 1)]), [""; 0]);
    assert_eq!((pair.stream(1).room(), pair.stream(5).room()), (0, 600));
    // It does not use the rest, which the next one gets.
    assert_eq!(pair.resume(), ["1 room"]);
    assert_eq!((pair.stream(1).room(), pair.stream(3).room()), (600, 0));
    // A promise does not outlive its stream.
    let reset = frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    assert_eq!(pair.send(&[reset]), ["1 reset Cancelled", "3 room"]);
    assert_eq!(pair.sends(3, 10_000), 600);
}

#[test]
fn urgent_answers_come_first() {
    let mut pair = Pair::new(small_buffer());
    pair.send(&[urgent(1, "u=5"), urgent(3, ""), urgent(5, "u=0")]);
    [1, 3, 5].into_iter().for_each(|id| pair.respond(id));
    assert!([1, 3, 5].map(|id| pair.sends(id, 30_000))[0] > 0);
    pair.takes();
    assert_eq!(pair.resume(), ["5 room"]);
    assert!(pair.sends(5, 10_000) == 10_000);
    // An answer that asks again while a more urgent one waits gets nothing.
    assert_eq!(pair.stream(1).room(), 0);
    pair.takes();
    assert_eq!(pair.resume(), ["3 room"]);
}

#[test]
fn incremental_answers_take_turns() {
    let config = Config::builder().send_buffer_limit(64 * 1024).build().expect("valid");
    let mut pair = Pair::new(config);
    pair.send(&[settings(&[(4, 1 << 20)]), window_update(0, 1 << 20)]);
    pair.send(&[urgent(1, "i"), urgent(3, "i")]);
    [1, 3].into_iter().for_each(|id| pair.respond(id));
    assert!(pair.sends(1, 300_000) > 0 && pair.sends(3, 300_000) == 0);
    let mut sent = [0, 0];
    for _ in 0..6 {
        pair.takes();
        for told in pair.resume() {
            let id = if told == "1 room" { 1 } else { 3 };
            sent[id / 2] += pair.sends(id as u32, 200_000);
        }
    }
    let [one, other] = sent;
    assert!(one.abs_diff(other) <= 16 * 1024, "{one} and {other}");
    assert!(one > 50_000, "{one}");
}

#[test]
fn an_incremental_answer_that_sends_less_at_a_time_gets_more_turns() {
    // One stream is told of room at a time.
    let mut pair = Pair::new(small_buffer());
    pair.send(&[settings(&[(4, 1 << 24)]), window_update(0, 1 << 24)]);
    pair.send(&[urgent(1, "i"), urgent(3, "i"), urgent(5, "")]);
    [1, 3, 5].into_iter().for_each(|id| pair.respond(id));
    // What one has sent before the other begins does not count.
    for _ in 0..30 {
        pair.sends(1, 10_000);
        pair.takes();
    }
    let plug = pair.stream(5).room();
    assert_eq!(pair.sends(5, plug), plug);
    assert_eq!([pair.sends(1, 1 << 20), pair.sends(3, 1 << 20)], [0, 0]);
    pair.finish(5);
    let mut sent = [0, 0];
    for _ in 0..100 {
        pair.takes();
        for told in pair.resume() {
            let (id, most) = match told.as_str() {
                "1 room" => (1, 1 << 20),
                "3 room" => (3, 1_000),
                _ => continue,
            };
            sent[id / 2] += pair.sends(id as u32, most);
            let _ = pair.stream(id as u32).await_room();
        }
    }
    let [one, other] = sent;
    assert!(one.abs_diff(other) <= 32 * 1024, "{one} and {other}");
    assert!(other > 50_000 && one > 50_000, "{one} and {other}");
}

#[test]
fn a_window_that_stays_closed_ends_its_stream_alone() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, 0)]), get(1, "/"), get(3, "/")]);
    pair.respond(1);
    assert_eq!(pair.sends(1, 1000), 0);
    pair.takes();
    assert_eq!(pair.connection.deadline(), Some((tick(secs(5)), Timer::Stream)));
    pair.after(secs(5));
    assert_eq!(pair.resume(), ["1 reset Unread"]);
    assert_eq!(pair.takes(), ["1 RST_STREAM CANCEL"]);
    assert_eq!(ResetReason::Unread.error_code(), ErrorCode::Cancel);
    assert!(pair.connection.status().is_open());
    assert_eq!(pair.connection.deadline(), None, "stream 3 waits for the application");
}

#[test]
fn crumbs_of_window_do_not_hold_a_stream() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, 0)]), get(1, "/")]);
    pair.respond(1);
    pair.sends(1, 100_000);
    pair.takes();
    let mut seconds = 0;
    loop {
        pair.after(secs(2));
        seconds += 2;
        assert!(seconds < 60, "it lives for ever");
        match pair.send(&[window_update(1, 1)]).first().map(String::as_str) {
            Some("1 room") => {
                pair.sends(1, 100_000);
                pair.takes();
            }
            told => {
                assert_eq!(told, Some("1 reset Unread"));
                break;
            }
        }
    }
    assert!(seconds <= 10, "{seconds} s");
}

#[test]
fn one_stream_may_have_less_time_for_its_answer_than_the_others() {
    // Whichever window the client opens slowly.
    one_stream_has_less_time(0, 20_000);
    one_stream_has_less_time(1_000_000, 10_000);
}

fn one_stream_has_less_time(window: u32, whole: u32) {
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, window)]), get(1, "/"), get(3, "/")]);
    assert_eq!(pair.stream(1).limit_response_time(Some(secs(20))), Ok(()));
    for stream in [1, 3] {
        pair.respond(stream);
        pair.takes();
    }
    let mut ended = Vec::new();
    let send = |pair: &mut Pair, ended: &[(u64, String)]| {
        // As much as goes, so that both wait for the client afterwards.
        for _ in 0..2 {
            for stream in [1, 3].into_iter().filter(|id| *id == 3 || ended.is_empty()) {
                while pair.sends(stream, 1_000_000) > 0 {}
            }
            pair.takes();
        }
    };
    send(&mut pair, &ended);
    for second in 1..30 {
        pair.after(secs(1));
        let told = pair.resume().into_iter().filter(|it| it.contains("reset"));
        ended.extend(told.map(|it| (second, it)));
        let streams = [1, 3].into_iter().filter(|id| *id == 3 || ended.is_empty());
        let mut updates: Vec<_> = streams.map(|stream| window_update(stream, 10_000)).collect();
        updates.push(window_update(0, whole));
        pair.send(&updates);
        send(&mut pair, &ended);
    }
    assert_eq!(ended, [(20, String::from("1 reset Unread"))]);
}

#[test]
fn a_reader_at_the_minimum_rate_lives() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, 0)]), get(1, "/")]);
    pair.respond(1);
    pair.sends(1, 100_000);
    pair.takes();
    for _ in 0..300 {
        pair.after(secs(1));
        let opened = [window_update(0, 240), window_update(1, 240)];
        assert_eq!(pair.send(&opened), ["1 room"]);
        assert_eq!(pair.sends(1, 100_000), 240);
        pair.takes();
    }
}

#[test]
fn a_slow_application_is_never_charged() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, 10)]), get(1, "/")]);
    pair.respond(1);
    assert_eq!(pair.sends(1, 10), 10);
    pair.takes();
    // The window is closed, but nothing waits for it.
    assert_eq!(pair.connection.deadline(), None);
    pair.after(secs(3600));
    assert_eq!(pair.sends(1, 1), 0);
    assert_eq!(pair.connection.deadline(), Some((tick(secs(3605)), Timer::Stream)));
    pair.now = pair.now.after(millis(100));
    assert_eq!(pair.send(&[window_update(1, 10)]), ["1 room"]);
    assert_eq!(pair.connection.deadline(), None);
}

#[test]
fn a_head_waits_for_room_and_is_told_of_it() {
    let config = Config::builder().send_buffer_limit(1024).build().expect("valid");
    let mut pair = Pair::new(config);
    pair.send(&[get(1, "/"), get(3, "/")]);
    pair.respond(1);
    pair.sends(1, 2000);
    while pair.stream(1).room() > 0 {
        pair.sends(1, 2000);
    }
    let mut content = bytes::Bytes::from(vec![0; 40]);
    let stuffed = pair.stream(1).send(&mut content);
    assert!(stuffed.is_ok());
    let refused =
        pair.stream(3).respond(http::StatusCode::OK, None, portcullis::BodyLength::Unknown);
    if refused.is_err() {
        assert_eq!(refused, Err(Misuse::Full));
        pair.takes();
        let told = pair.resume();
        assert!(told.contains(&"3 room".to_string()) || told == ["1 room"], "{told:?}");
    }
}

#[test]
fn large_heads_are_split_and_invalid_ones_leave_the_table_right() {
    use http::{HeaderMap, HeaderValue, StatusCode, header};
    let mut pair = Pair::new(Config::default());
    pair.send(&[get(1, "/"), get(3, "/"), get(5, "/")]);
    let fields = |pairs: &[(header::HeaderName, String)]| -> HeaderMap {
        let value = |it: &str| HeaderValue::from_str(it).expect("a value");
        pairs.iter().map(|(name, it)| (name.clone(), value(it))).collect()
    };
    // Fields that contradict each other: some of them are in the encoder's table already.
    let mut bad = fields(&[(header::SERVER, "one".into())]);
    bad.insert(header::CONTENT_LENGTH, HeaderValue::from_static("x"));
    let refused = pair.stream(1).respond(StatusCode::OK, &bad, portcullis::BodyLength::Unknown);
    assert_eq!(refused, Err(Misuse::Framing));
    for id in [1, 3] {
        let fine = fields(&[(header::SERVER, "one".into()), (header::VARY, "two".into())]);
        let mut content = bytes::Bytes::new();
        let answered = pair.stream(id).answer(StatusCode::OK, &fine, &mut content);
        assert!(answered.is_ok());
        let expected =
            format!("{id} HEADERS :status=200 server=one vary=two content-length=0, end");
        assert_eq!(pair.takes(), [expected]);
    }
}

#[test]
fn an_answer_has_no_field_that_manages_the_connection() {
    use http::{HeaderMap, HeaderValue, StatusCode, header};
    let mut pair = Pair::new(Config::default());
    pair.send(&[get(1, "/")]);
    let mut fields = HeaderMap::new();
    for (name, value) in [
        (header::CONNECTION, "keep-alive, x"),
        (header::HeaderName::from_static("keep-alive"), "timeout=5"),
        (header::HeaderName::from_static("proxy-connection"), "keep-alive"),
        (header::SERVER, "other"),
        (header::TE, "trailers"),
        (header::TRANSFER_ENCODING, "chunked"),
        (header::UPGRADE, "h2c"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    let mut content = bytes::Bytes::new();
    let answered = pair.stream(1).answer(StatusCode::OK, &fields, &mut content);
    assert!(answered.is_ok());
    assert_eq!(pair.takes(), ["1 HEADERS :status=200 server=other content-length=0, end"]);
}

/// Reads an answer at a rate, with a window that the client opens in steps, for a time. Returns whether the
/// stream lived.
fn reads(rate: u64, window: u64, step: u64, seconds: u64) -> bool {
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, window as u32)]), window_update(0, (1 << 30) as u32), get(1, "/")]);
    pair.respond(1);
    let (mut sent, mut taken, mut opened) = (0, 0, window);
    for _ in 0..seconds {
        while sent < opened {
            match pair.sends(1, 100_000) {
                0 => break,
                bytes => sent += bytes as u64,
            }
            pair.takes();
        }
        assert_eq!(pair.sends(1, 1), 0);
        pair.after(secs(1));
        if !pair.resume().is_empty() {
            return false;
        }
        taken += rate;
        while taken >= opened - window + step {
            opened += step;
            assert_eq!(pair.send(&[window_update(1, step as u32)]), ["1 room"]);
        }
    }
    true
}

#[test]
fn what_a_client_has_taken_pays_for_its_pauses() {
    // 1 KB a second, with a window that opens by halves; 6 KB; 300 KB with the window of a browser.
    for (rate, window, step) in
        [(1000, 65_535, 32_768), (6000, 65_535, 32_768), (300_000, 6 << 20, 3 << 20)]
    {
        assert!(reads(rate, window, step, 120), "{rate} bytes a second");
    }
    assert!(!reads(10, 65_535, 32_768, 400), "10 bytes a second");
    assert!(!reads(0, 2000, 1, 400), "nothing");
}

#[test]
fn a_wait_for_the_connections_window_is_paid_by_all_its_streams() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, 1 << 24)]), get(1, "/"), get(3, "/"), get(5, "/")]);
    [1, 3, 5].into_iter().for_each(|id| pair.respond(id));
    // Stream 1 takes all of the connection's window.
    let mut left = 65_535;
    while left > 0 {
        left -= pair.sends(1, 100_000);
        pair.takes();
    }
    assert_eq!((pair.sends(1, 1), pair.sends(3, 1), pair.sends(5, 1)), (0, 0, 0));
    for _ in 0..100 {
        pair.after(secs(1));
        // The client reads 20 KB a second, of one answer after the other.
        assert_eq!(pair.send(&[window_update(0, 20_000)])[0], "1 room");
        assert_eq!(pair.sends(1, 20_001), 20_000);
        pair.takes();
    }
    // Then it stops.
    assert_eq!(pair.connection.deadline().map(|(_, timer)| timer), Some(Timer::Stream));
    pair.after(secs(200));
    assert_eq!(pair.resume().len(), 3);
    assert!(pair.connection.status().is_open());
}
