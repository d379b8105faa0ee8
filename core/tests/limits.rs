//! Every limit, exactly at it and one past it, however the input is cut.

use bytes::Bytes;
use portcullis::{
    BodyLength, Builder, CloseReason, Config, Connection, Event, Misuse, Refusal, ResetReason,
    Sent, Tick,
};
use portcullis_play::support;
use std::sync::Arc;
use support::cuts::{assert_refused_under, refusal_text, told_under};
use support::{
    GET, POST_5, POST_CHUNKED, Script, Seen, data, end, fields, get_with, secs, text, with,
};

fn both_profiles() -> [Arc<Config>; 2] {
    [Arc::new(Config::default()), Arc::new(Config::strict())]
}

fn shared(settings: &[(&str, &str)]) -> Arc<Config> {
    Arc::new(with(settings))
}

/// Asserts that `wire` is one request, and that it is answered.
fn assert_accepted(config: &Arc<Config>, wire: &str) {
    let told = told_under(config, wire);
    assert_eq!(told.statuses(), [200], "{} bytes: {told:?}", wire.len());
    assert!(matches!(told.seen[..], [Seen::Request(..), .., Seen::End(_)]));
}

/// Asserts that a request is delivered with `before` bytes of its content, and is then refused.
fn assert_content_refused(config: &Arc<Config>, wire: &str, before: usize, refusal: Refusal) {
    let told = told_under(config, wire);
    let mut expected = vec![Seen::Reset(ResetReason::Refused(refusal))];
    if before > 0 {
        expected.insert(0, data(&".".repeat(before)));
    }
    assert_eq!(told.seen[1..], expected, "{refusal}");
    assert_eq!(told.output, refusal_text(refusal));
    assert_eq!(told.reason, CloseReason::Refused(refusal));
}

// ---- heads ----------------------------------------------------------------------------------------

/// A head of `bytes` bytes, in a few lines.
fn head_of(bytes: usize) -> String {
    let filler = bytes - get_with("X: \r\n").len();
    get_with(&format!("X: {}\r\n", "y".repeat(filler)))
}

#[test]
fn head_bytes() {
    for (config, limit) in both_profiles().iter().zip([16 << 10, 8 << 10]) {
        assert_eq!(config.request_head_limit(), limit as u64);
        assert_accepted(config, &head_of(limit));
        assert_refused_under(config, head_of(limit + 1), Refusal::HeadTooLarge);
    }
    let small = shared(&[("request_head_limit", "64")]);
    assert_accepted(&small, &head_of(64));
    for length in [65, 66, 67, 68, 100] {
        assert_refused_under(&small, head_of(length), Refusal::HeadTooLarge);
    }
    // Blank lines before the head, and bytes after it, do not count.
    assert_eq!(told_under(&small, format!("\r\n\r\n{}{GET}", head_of(64))).statuses(), [200, 200]);
}

#[test]
fn a_head_that_never_ends_is_refused_at_the_limit() {
    for (line, refusal) in [("X: y", Refusal::HeadTooLarge), ("X: ", Refusal::HeadTooLarge)] {
        let mut script = Script::after("GET / HTTP/1.1\r\nHost: a\r\n");
        script.send(line);
        let mut sent = 0;
        while script.is_open() {
            script.send("y".repeat(1000));
            sent += 1000;
        }
        assert!(sent <= (16 << 10) + 1000, "nothing more is read: {sent}");
        assert_eq!(script.closes_with(CloseReason::Refused(refusal)), refusal_text(refusal));
    }
}

#[test]
fn field_lines() {
    for (config, limit) in both_profiles().iter().zip([100, 64]) {
        assert_eq!(config.request_fields_limit(), limit as u64);
        let lines = |count: usize| get_with(&"a:b\r\n".repeat(count - 1));
        assert_accepted(config, &lines(limit));
        assert_refused_under(config, lines(limit + 1), Refusal::TooManyFields);
    }
    let one = shared(&[("request_fields_limit", "1")]);
    assert_accepted(&one, GET);
    assert_refused_under(&one, get_with("a:b\r\n"), Refusal::TooManyFields);
    let most = shared(&[("request_fields_limit", "256")]);
    assert_accepted(&most, &get_with(&"a:b\r\n".repeat(255)));
    assert_refused_under(&most, get_with(&"a:b\r\n".repeat(256)), Refusal::TooManyFields);
}

#[test]
fn ten_thousand_fields() {
    let wire = get_with(&"a:b\r\n".repeat(10_000));
    assert_refused_under(&Arc::new(Config::default()), wire, Refusal::TooManyFields);
}

#[test]
fn target_bytes() {
    let config = Arc::new(Config::default());
    let line = |method: &str, length: usize| {
        format!("{method} /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length - 1))
    };
    let longest = "M".repeat(32);
    for method in ["GET", &longest] {
        assert_accepted(&config, &line(method, 8 << 10));
        for length in [(8 << 10) + 1, (8 << 10) + 29, (8 << 10) + 30, 100 << 10] {
            assert_refused_under(&config, line(method, length), Refusal::TargetTooLong);
        }
    }
    let tiny = shared(&[("request_target_limit", "1")]);
    assert_accepted(&tiny, &line("GET", 1));
    assert_refused_under(&tiny, line("GET", 2), Refusal::TargetTooLong);
    // If the head's limit is smaller, it counts first.
    let small = shared(&[("request_head_limit", "64")]);
    assert_refused_under(&small, line("GET", 64), Refusal::HeadTooLarge);
    assert_refused_under(&small, line("GET", 1000), Refusal::HeadTooLarge);
}

// ---- content --------------------------------------------------------------------------------------

fn length_of(bytes: u64) -> String {
    POST_5.replace(": 5", &format!(": {bytes}"))
}

#[test]
fn declared_content() {
    let config = shared(&[("request_body_limit", "100")]);
    assert_accepted(&config, &format!("{}{}", length_of(100), ".".repeat(100)));
    for length in [101, 102, 100_000_000_000, u64::MAX] {
        let wire = format!("{}{}", length_of(length), ".".repeat(150));
        assert_content_refused(&config, &wire, 0, Refusal::ContentTooLarge);
    }
    let none = shared(&[("request_body_limit", "0")]);
    assert_accepted(&none, GET);
    assert_accepted(&none, &length_of(0));
    assert_content_refused(&none, &format!("{}.", length_of(1)), 0, Refusal::ContentTooLarge);
    for (config, limit) in both_profiles().iter().zip([16 << 20, 1 << 20]) {
        let mut script = Script::under(Config::clone(config));
        assert_eq!(script.send(length_of(limit)).len(), 1);
        let mut script = Script::under(Config::clone(config));
        let refused = Seen::Reset(ResetReason::Refused(Refusal::ContentTooLarge));
        assert_eq!(script.send(length_of(limit + 1))[1..], [refused]);
    }
}

#[test]
fn content_declared_too_large_is_refused_at_once() {
    // The application does not ask for the content, and none of it has come.
    let mut script = Script::after(&length_of(100_000_000_000));
    assert_eq!(script.output(), refusal_text(Refusal::ContentTooLarge));
    script.closes_with(CloseReason::Refused(Refusal::ContentTooLarge));
    // A client that waits for a 100 does not get one.
    let mut script =
        Script::after(&length_of(1 << 40).replace("Host", "Expect: 100-continue\r\nHost"));
    assert_eq!(script.output(), refusal_text(Refusal::ContentTooLarge));
}

#[test]
fn chunked_content() {
    let config = shared(&[("request_body_limit", "100")]);
    let chunks = |sizes: &[usize]| {
        let chunk = |size: &usize| format!("{size:x}\r\n{}\r\n", ".".repeat(*size));
        format!("{POST_CHUNKED}{}0\r\n\r\n", sizes.iter().map(chunk).collect::<String>())
    };
    assert_accepted(&config, &chunks(&[100]));
    assert_accepted(&config, &chunks(&[1; 100]));
    assert_accepted(&config, &chunks(&[60, 40]));
    assert_content_refused(&config, &chunks(&[101]), 0, Refusal::ContentTooLarge);
    assert_content_refused(&config, &chunks(&[1; 101]), 100, Refusal::ContentTooLarge);
    // A chunk that exceeds the limit is refused by its size, and none of it is delivered.
    assert_content_refused(&config, &chunks(&[60, 41]), 60, Refusal::ContentTooLarge);
    let none = shared(&[("request_body_limit", "0")]);
    assert_accepted(&none, &chunks(&[]));
    assert_content_refused(&none, &chunks(&[1]), 0, Refusal::ContentTooLarge);
}

#[test]
fn chunks_without_end() {
    let mut script = Script::after(POST_CHUNKED);
    let mut told = 0;
    let chunk = format!("8000\r\n{}\r\n", ".".repeat(0x8000));
    while script.is_open() {
        script.ask(u64::MAX);
        for seen in script.send(&chunk) {
            if let Seen::Data(data) = seen {
                told += data.len();
            }
        }
        let bound = Config::default().memory_bound();
        assert!(script.connection.memory() <= bound);
    }
    assert_eq!(told, 16 << 20);
    let refused = CloseReason::Refused(Refusal::ContentTooLarge);
    assert_eq!(script.closes_with(refused), refusal_text(Refusal::ContentTooLarge));
}

#[test]
fn a_limit_may_be_set_for_one_request() {
    for (limit, length, accepted) in [
        (Some(5), 5, true),
        (Some(4), 5, false),
        (Some(0), 1, false),
        (Some(1000), 1000, true),
        (Some(1000), 1001, false),
        (None, 1_000_000_000, true),
    ] {
        let config = shared(&[("request_body_limit", "100")]);
        let chunked = format!("{POST_CHUNKED}{length:x}\r\n.");
        for wire in [format!("{}.", length_of(length)), chunked] {
            let mut connection = Connection::new(Arc::clone(&config), Tick::ZERO);
            let mut bytes = wire.clone().into_bytes();
            let mut seen = Vec::new();
            let mut events =
                connection.receive(Tick::ZERO, &mut bytes).expect("the connection reads");
            while let Some((connection, event)) = events.next() {
                if let Event::Request { stream, .. } = event {
                    connection.stream(Tick::ZERO, stream).limit_body(limit).expect("a stream");
                    let _ = connection.stream(Tick::ZERO, stream).read_to(u64::MAX);
                }
                seen.push(Seen::of(&event));
            }
            drop(events);
            let refused = Seen::Reset(ResetReason::Refused(Refusal::ContentTooLarge));
            assert_eq!(seen[1], if accepted { data(".") } else { refused }, "{limit:?} {wire:?}");
        }
    }
}

#[test]
fn a_request_limit_holds_for_one_request() {
    let mut script = Script::under(with(&[("request_body_limit", "4")]));
    let mut wire = format!("{POST_5}hello{POST_5}hello").into_bytes();
    let mut events =
        script.connection.receive(script.now, &mut wire).expect("the connection reads");
    let Some((connection, Event::Request { stream, .. })) = events.next() else { panic!() };
    connection.stream(Tick::ZERO, stream).limit_body(None).expect("a stream");
    drop(events);
    script.stream = Some(stream);
    assert_eq!(script.ask(3), [data("hel")]);
    let late = script.connection.stream(script.now, stream).limit_body(Some(9));
    assert_eq!(late, Err(Misuse::ContentBegun));
    assert_eq!(script.ask(3), [data("lo"), end()]);
    script.answer(200, "ok");
    let refused = Seen::Reset(ResetReason::Refused(Refusal::ContentTooLarge));
    assert_eq!(script.resume()[1..], [refused]);
}

#[test]
fn a_limit_may_be_raised_before_the_length_is_checked() {
    let mut script = Script::under(with(&[("request_body_limit", "4")]));
    let mut wire = POST_5.as_bytes().to_vec();
    let mut events =
        script.connection.receive(script.now, &mut wire).expect("the connection reads");
    let Some((connection, Event::Request { stream, .. })) = events.next() else { panic!() };
    // The next call is too late: the length was already checked.
    assert_eq!(
        support::read_more(connection.stream(Tick::ZERO, stream), 9),
        Err(Misuse::UnknownStream)
    );
    let late = connection.stream(Tick::ZERO, stream).limit_body(None);
    assert_eq!(late, Err(Misuse::UnknownStream));
    drop(events);
    assert_eq!(script.output(), refusal_text(Refusal::ContentTooLarge));
}

// ---- chunk extensions and trailers ----------------------------------------------------------------

#[test]
fn extensions_of_a_chunk_and_of_all() {
    let config = shared(&[("chunk_extension_limit", "10"), ("chunk_extensions_limit", "25")]);
    let chunks = |extensions: &[usize]| {
        let chunk = |length: &usize| format!("1;{}\r\n.\r\n", "e".repeat(length - 1));
        format!("{POST_CHUNKED}{}0\r\n\r\n", extensions.iter().map(chunk).collect::<String>())
    };
    assert_accepted(&config, &chunks(&[10]));
    assert_content_refused(&config, &chunks(&[11]), 0, Refusal::ChunkExtensions);
    assert_accepted(&config, &chunks(&[10, 10, 5]));
    assert_content_refused(&config, &chunks(&[10, 10, 6]), 2, Refusal::ChunkExtensions);
    assert_content_refused(&config, &chunks(&[2; 13]), 12, Refusal::ChunkExtensions);
    // Extensions of the last chunk count too, and so does white space.
    let last = |extension: &str| format!("{POST_CHUNKED}0{extension}\r\n\r\n");
    assert_accepted(&config, &last("    ;    e"));
    assert_content_refused(&config, &last("     ;    e"), 0, Refusal::ChunkExtensions);
    for (config, limit) in both_profiles().iter().zip([256, 64]) {
        assert_accepted(config, &chunks(&[limit]));
        assert_content_refused(config, &chunks(&[limit + 1]), 0, Refusal::ChunkExtensions);
        assert_accepted(config, &chunks(&[limit; 16]));
        let all = [&[limit; 16][..], &[2]].concat();
        assert_content_refused(config, &chunks(&all), 16, Refusal::ChunkExtensions);
    }
}

#[test]
fn an_extension_without_end() {
    let mut script = Script::after(&format!("{POST_CHUNKED}1;"));
    script.ask(1);
    let seen = script.send("e".repeat(60_000));
    assert_eq!(seen, [Seen::Reset(ResetReason::Refused(Refusal::ChunkExtensions))]);
    script.closes_with(CloseReason::Refused(Refusal::ChunkExtensions));
}

#[test]
fn trailer_bytes_and_lines() {
    let trailers = |bytes: usize| {
        format!("{POST_CHUNKED}0\r\nX: {}\r\n\r\n", "y".repeat(bytes - "X: \r\n\r\n".len()))
    };
    for (config, limit) in both_profiles().iter().zip([4 << 10, 2 << 10]) {
        assert_accepted(config, &trailers(limit));
        assert_content_refused(config, &trailers(limit + 1), 0, Refusal::Trailers);
    }
    let lines = |count| format!("{POST_CHUNKED}0\r\n{}\r\n", "a:b\r\n".repeat(count));
    let config = shared(&[("request_fields_limit", "5")]);
    assert_accepted(&config, &lines(5));
    assert_content_refused(&config, &lines(6), 0, Refusal::Trailers);
    // Without end.
    let mut script = Script::after(&format!("{POST_CHUNKED}0\r\n"));
    let seen = script.send("a:b\r\n".repeat(10_000));
    assert_eq!(seen, [Seen::Reset(ResetReason::Refused(Refusal::Trailers))]);
}

// ---- the connection -------------------------------------------------------------------------------

#[test]
fn requests_on_a_connection() {
    for limit in [1, 2, 7] {
        let config = shared(&[("requests_per_connection", &limit.to_string())]);
        let told = told_under(&config, GET.repeat(limit + 2));
        assert_eq!(told.requests(), limit);
        assert_eq!(told.output.matches("connection: close").count(), 1);
        assert!(told.output.ends_with("connection: close\r\n\r\nok"), "the last one");
        assert_eq!(told.reason, CloseReason::RequestLimit);
        // The last request but one is not answered with a close.
        let told = told_under(&config, GET.repeat(limit - 1));
        assert_eq!(told.output.matches("connection: close").count(), 0);
    }
    for (config, limit) in both_profiles().iter().zip([1000, 100]) {
        assert_eq!(config.requests_per_connection(), limit);
    }
}

#[test]
fn bytes_at_once() {
    for config in [Config::default(), Config::strict(), with(&[("receive_buffer_limit", "1KiB")])] {
        let limit = config.receive_buffer_limit();
        let mut script = Script::under(config);
        let mut wire = format!("{POST_CHUNKED}{}", ".".repeat(limit as usize + 1)).into_bytes();
        wire.truncate(limit as usize + 1);
        assert_eq!(script.try_send(&wire), Err(Misuse::Overfed { limit }));
        assert!(matches!(script.connection.deadline(), Some((_, portcullis::Timer::KeepAlive))));
        wire.truncate(limit as usize);
        assert_eq!(script.send(&wire).len(), 2, "{}", text(&wire[..100]));
    }
}

#[test]
fn content_that_is_waited_for_comes_in_larger_reads() {
    let mut script = Script::under(with(&[("request_body_limit", "none")]));
    let limit = script.connection.config().receive_buffer_limit() as usize;
    let large = 4 * limit;
    assert_eq!(script.connection.receive_limit(), limit);
    let length = large + limit + 100;
    script.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    assert_eq!(script.connection.receive_limit(), limit, "no content was asked for");
    script.ask(10);
    assert_eq!(script.connection.receive_limit(), limit + 10);
    script.ask(large as u64);
    assert_eq!(script.connection.receive_limit(), large);
    let overfed = Misuse::Overfed { limit: large as u64 };
    assert_eq!(script.try_send(vec![b'.'; large + 1]), Err(overfed));
    assert_eq!(script.send(vec![b'.'; large]), [data(&".".repeat(large))], "at once");

    // As many bytes as in any other read may follow the last content.
    assert_eq!(script.connection.receive_limit(), limit, "all requested content has come");
    script.ask(u64::MAX);
    assert_eq!(script.send(vec![b'.'; limit]).len(), 1);
    script.ask(u64::MAX);
    assert_eq!(script.connection.receive_limit(), limit + 100);
    let idle = script.connection.memory();
    let mut wire = vec![b'.'; 100];
    wire.resize(limit + 100, b'\n');
    assert_eq!(script.send(&wire), [data(&".".repeat(100)), end()]);
    assert_eq!(script.connection.memory(), idle + limit);
    assert!(!script.reads());
}

#[test]
fn chunks_that_are_waited_for_come_in_larger_reads() {
    let mut script = Script::after(POST_CHUNKED);
    let limit = script.connection.config().receive_buffer_limit() as usize;
    script.ask(u64::MAX);
    assert_eq!(script.connection.receive_limit(), limit, "the chunk's size is not known yet");
    script.send("1000\r\n.");
    script.ask(u64::MAX);
    assert_eq!(script.connection.receive_limit(), limit + 0x1000 - 1);
    script.send(vec![b'.'; 0x1000 - 1]);
    script.ask(u64::MAX);
    assert_eq!(script.connection.receive_limit(), limit, "the next chunk's size comes first");
}

#[test]
fn a_large_read_is_not_held() {
    const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n";
    let limit = Config::default().receive_buffer_limit() as usize;
    for (bytes, held) in [(limit, true), (limit + 1, false)] {
        let mut script = Script::after(POST);
        script.ask(u64::MAX);
        let mut wire = vec![b'.'; bytes];
        drop(script.connection.receive(script.now, &mut wire).expect("the connection reads"));
        match held {
            true => assert_eq!(script.resume(), [data(&".".repeat(bytes))]),
            false => assert_eq!(script.status().closed(), Some(CloseReason::Aborted)),
        }
    }
}

#[test]
fn ten_thousand_pipelined_requests_whose_answers_are_not_taken() {
    let mut script = Script::under(with(&[("requests_per_connection", "10000")]));
    let wire = GET.repeat(10_000);
    let mut pieces = wire.as_bytes().chunks(64 << 10);
    let mut taken = 0;
    let bound = Config::default().memory_bound();
    loop {
        let seen = if script.reads() {
            let Some(piece) = pieces.next() else { break };
            taken += piece.len();
            script.send(piece)
        } else {
            script.resume()
        };
        assert!(script.connection.memory() <= bound, "{}", script.connection.memory());
        assert!(seen.len() <= 2, "one request at a time");
        if seen.is_empty() && !script.reads() {
            break;
        }
        if !seen.is_empty() {
            script.answer(204, "");
        }
    }
    // Answers fill the cap, one read is held, and the rest stays in the socket.
    assert!(taken <= 2 * (64 << 10), "{taken} bytes were taken");
    let cap = Config::default().send_buffer_limit() as usize;
    assert!((cap..cap + 1024).contains(&script.waiting().len()));
    assert!(!script.reads());
    script.at(secs(5));
    assert!(matches!(script.status().closed(), Some(CloseReason::Expired(_))));
}

#[test]
fn unsent_bytes_of_an_answer() {
    for config in [Config::default(), Config::strict(), with(&[("send_buffer_limit", "1KiB")])] {
        let limit = config.send_buffer_limit() as usize;
        let mut script = Script::under(config);
        script.send(GET);
        let _ = script.respond(200, BodyLength::Known(1 << 30));
        let head = script.waiting().len();
        let mut content = Bytes::from(vec![b'x'; 1 << 20]);
        let stream = script.stream();
        let sent = script.connection.stream(script.now, stream).send(&mut content);
        assert_eq!((sent, content.len()), (Ok(Sent::Part), (1 << 20) - (limit - head)));
        assert_eq!(script.waiting().len(), limit);
        script.take(1);
        let left = content.len();
        let sent = script.connection.stream(script.now, stream).send(&mut content);
        assert_eq!((sent, content.len()), (Ok(Sent::Part), left - 1));
    }
}

#[test]
fn bytes_of_an_answer_head() {
    let long = |bytes: usize| -> &'static str { String::leak("x".repeat(bytes)) };
    let fixed = "HTTP/1.1 200 OK\r\nx: \r\ncontent-length: 0\r\n\r\n".len();
    let limit = 1024;
    let config = || with(&[("response_head_limit", "1KiB")]);
    let too_large = Misuse::HeadTooLarge { limit: limit as u64 };
    let mut script = Script::under(config());
    script.send(GET);
    let none = BodyLength::Known(0);
    assert_eq!(script.respond_with(200, &[("x", long(limit - fixed + 1))], none), Err(too_large));
    assert_eq!(script.waiting(), "");
    assert!(script.respond_with(200, &[("x", long(limit - fixed))], none).is_ok());
    assert_eq!(script.output().len(), limit);

    let mut script = Script::under(config());
    script.send(GET);
    let _ = script.respond(200, BodyLength::Unknown);
    script.output();
    let (stream, fixed) = (script.stream(), "0\r\nx: \r\n\r\n".len());
    for (bytes, finished) in [(limit - fixed + 1, Err(too_large)), (limit - fixed, Ok(()))] {
        let trailers = fields(&[("x", long(bytes))]);
        assert_eq!(script.connection.stream(script.now, stream).finish(Some(&trailers)), finished);
    }
    assert_eq!(script.output().len(), limit);

    let mut script = Script::under(config());
    script.send(GET);
    let lines = fields(&[("x", long(limit))]);
    let (stream, hints) = (script.stream(), http::StatusCode::EARLY_HINTS);
    assert_eq!(script.connection.stream(script.now, stream).inform(hints, &lines), Err(too_large));
    assert_eq!(script.waiting(), "");
}

#[test]
fn contradicting_limits_are_refused() {
    for (name, value) in [
        ("request_head_limit", "63"),
        ("request_head_limit", "64KiB1"),
        ("requests_per_connection", "0"),
    ] {
        assert!(
            Config::builder().set(name, value).and_then(Builder::build).is_err(),
            "{name}={value}"
        );
    }
}
