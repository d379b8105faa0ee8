//! What costs the server and brings nothing is paid from one budget (attacks 47 to 60), and honest clients are
//! not hindered.

use portcullis::websocket::Options;
use portcullis::{CloseReason, Config, Fault};
use portcullis_play::http2::{
    CONTINUATION, END_HEADERS, HEADERS, PING, PRIORITY, Pair, data, frame, get, post, request,
    reset, settings, socket_frame, window_update,
};
use portcullis_play::support::{millis, secs};

/// Sends what `attack` makes of a growing number until the connection ends. Returns how many times.
fn ends_after(mut attack: impl FnMut(u32) -> Vec<Vec<u8>>) -> u32 {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[])]);
    for number in 0..100_000 {
        pair.send(&attack(number));
        let taken = pair.takes();
        if !pair.connection.status().is_open() {
            let last = taken.last().expect("a goaway");
            assert!(last.contains("ENHANCE_YOUR_CALM http2_flood"), "{last}");
            assert_eq!(pair.closed(), Some(CloseReason::Fault(Fault::Costly)));
            return number;
        }
    }
    panic!("it lives for ever");
}

fn id(number: u32) -> u32 {
    2 * number + 3
}

#[test]
fn floods_end_within_the_budget() {
    let rapid = ends_after(|number| vec![get(id(number), "/"), reset(id(number))]);
    assert!((1000..2000).contains(&rapid), "{rapid}");
    // Faults that make us reset the stream.
    let made = ends_after(|number| vec![post(id(number), "/", &[]), window_update(id(number), 0)]);
    assert!((1000..2000).contains(&made), "{made}");
    let malformed = ends_after(|number| {
        vec![frame(HEADERS, END_HEADERS | 1, id(number), &request("GET", "", &[]))]
    });
    assert!((1000..2000).contains(&malformed), "{malformed}");
    assert!(ends_after(|_| vec![frame(PING, 0, 0, &[0; 8])]) < 1100);
    assert!(ends_after(|_| vec![settings(&[(4, 65_535)])]) < 1100);
    assert!(ends_after(|_| vec![frame(PRIORITY, 0, 9, &[0; 5])]) < 2100);
    assert!(ends_after(|_| vec![frame(0x99, 0, 0, &[0; 100])]) < 2100);
    assert!(ends_after(|_| vec![data(1, b"")]) < 1100);
    assert!(ends_after(|_| vec![window_update(0, 1)]) < 4200);
}

#[test]
fn pings_on_many_websockets_pay_from_the_budget_of_the_connection() {
    let mut pair = Pair::new(Config::default());
    let (mut pings, mut id) = (0, 1);
    while pair.connection.status().is_open() {
        pair.opens_socket(id, Options::default());
        for _ in 0..100 {
            pair.send(&[socket_frame(id, 0x89, b"")]);
            pair.takes();
            pings += 1;
        }
        pair.send(&[reset(id)]);
        id += 2;
        assert!(pings < 10_000, "it lives for ever");
    }
    assert!((500..1500).contains(&pings), "{pings}");
}

#[test]
fn a_chat_of_tiny_messages_goes_on_for_ever() {
    let mut pair = Pair::new(Config::default());
    for id in [1, 3] {
        pair.opens_socket(id, Options::default());
    }
    for number in 0..20_000 {
        for id in [1, 3] {
            assert_eq!(pair.stream(id).read_to(number + 1), Ok(()));
            assert_eq!(pair.send(&[socket_frame(id, 0x81, b"hi")]), [format!("{id} text hi")]);
            pair.takes();
            assert_eq!(pair.resume(), [""; 0]);
        }
    }
}

#[test]
fn refused_streams_pay_and_the_table_stays_right() {
    let mut number = 0;
    let config = Config::builder().http2_concurrent_streams(3).build().expect("valid");
    let mut pair = Pair::new(config);
    let open = pair.send(&[get(1, "/"), get(3, "/"), get(5, "/")]);
    assert_eq!(open.len(), 6);
    while pair.connection.status().is_open() {
        number += 1;
        let told = pair.send(&[get(5 + 2 * number, "/")]);
        let refused = format!("{} refused GET /: http2_too_many_streams", 5 + 2 * number);
        match pair.connection.status().is_open() {
            true => assert_eq!(told, [refused]),
            false => assert_eq!(told.len(), 3),
        }
        let taken = pair.takes();
        if pair.connection.status().is_open() {
            assert_eq!(taken, [format!("{} RST_STREAM REFUSED_STREAM", 5 + 2 * number)]);
        }
        assert!(number < 2000);
    }
    assert!(number > 1000, "{number}");
}

#[test]
fn continuations_without_end_are_bounded() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[frame(HEADERS, 0, 1, &request("GET", "/", &[]))]);
    let mut sent = 0;
    while pair.connection.status().is_open() {
        pair.send(&[frame(CONTINUATION, 0, 1, &[0; 1000])]);
        sent += 1;
        assert!(sent < 100, "{sent}");
    }
    assert_eq!(pair.closed(), Some(CloseReason::Fault(Fault::BlockTooLarge)));
    // Empty ones pay from the budget.
    let mut pair = Pair::new(Config::default());
    pair.send(&[frame(HEADERS, 0, 1, &request("GET", "/", &[]))]);
    let mut sent = 0;
    while pair.connection.status().is_open() {
        pair.send(&[frame(CONTINUATION, 0, 1, &[])]);
        sent += 1;
        assert!(sent < 1100, "{sent}");
    }
    assert_eq!(pair.closed(), Some(CloseReason::Fault(Fault::Costly)));
}

#[test]
fn tiny_content_pays_and_useful_content_earns() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[])]);
    assert_eq!(pair.stream(1).read_to(1 << 30), Ok(()));
    let mut number = 0;
    while pair.connection.status().is_open() {
        pair.send(&[data(1, b"x")]);
        pair.takes();
        number += 1;
        assert!(number < 5000);
    }
    assert!(number > 3000, "{number}");
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[])]);
    assert_eq!(pair.stream(1).read_to(1 << 30), Ok(()));
    for _ in 0..20_000 {
        assert_eq!(pair.send(&[data(1, b"six...")]), ["1 data 6"]);
        pair.takes();
    }
}

#[test]
fn a_hundred_cancels_a_second_live() {
    let mut pair = Pair::new(Config::default());
    let mut next = 1;
    for second in 0..600 {
        for _ in 0..100 {
            pair.send(&[get(next, "/"), reset(next)]);
            next += 2;
        }
        if second % 10 == 0 {
            assert_eq!(pair.send(&[get(next, "/")]).len(), 2);
            pair.answer(next, 100);
            next += 2;
        }
        pair.takes();
        if pair.connection.requests() >= 900 {
            break;
        }
        pair.after(millis(1000));
        assert!(pair.connection.status().is_open(), "second {second}");
    }
}

#[test]
fn a_client_that_updates_windows_for_each_frame_lives() {
    let config = Config::builder().requests_per_connection(u64::MAX).build().expect("valid");
    let mut pair = Pair::new(config);
    for number in 0..2000 {
        let id = 2 * number + 1;
        pair.send(&[get(id, "/")]);
        pair.answer(id, 3000);
        pair.takes();
        pair.send(&[window_update(0, 3000), window_update(0, 1), frame(PING, 0, 0, &[0; 8])]);
        pair.takes();
        assert!(pair.connection.status().is_open(), "after {number}");
    }
}

#[test]
fn settings_have_to_be_acknowledged() {
    let mut pair = Pair::greeted(Config::default(), &[]);
    pair.send(&[get(1, "/")]);
    pair.takes();
    assert_eq!(pair.connection.deadline().map(|it| it.1.label()), Some("settings_ack"));
    pair.after(secs(10));
    assert_eq!(pair.takes(), ["0 GOAWAY 1 SETTINGS_TIMEOUT http2_settings_timeout"]);
}

#[test]
fn pings_do_not_keep_an_idle_connection() {
    let mut pair = Pair::new(Config::default());
    for _ in 0..4 {
        pair.after(secs(1));
        pair.send(&[frame(PING, 0, 0, &[0; 8])]);
        pair.takes();
    }
    pair.after(secs(1));
    assert_eq!(pair.takes(), ["0 GOAWAY 0 NO_ERROR keep_alive"]);
}

#[test]
fn frames_that_are_never_whole_do_not_keep_an_idle_connection() {
    for (kind, pause) in [(PING, 3), (PING, 9), (PRIORITY, 4), (0x99, 1)] {
        let mut pair = Pair::new(Config::default());
        let whole = frame(
            kind,
            0,
            if kind == PRIORITY { 9 } else { 0 },
            &[0; 8][..if kind == PRIORITY { 5 } else { 8 }],
        );
        let (first, rest) = whole.split_at(6);
        pair.send(&[first.to_vec()]);
        let mut seconds = 0;
        while pair.connection.status().is_open() {
            pair.after(secs(pause));
            seconds += pause;
            pair.send(&[rest.to_vec(), first.to_vec()]);
            pair.takes();
            assert!(seconds < 20, "it lives for ever");
        }
    }
}

#[test]
fn a_client_that_breaks_the_rules_is_not_heard_for_long() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[])]);
    while pair.connection.status().is_open() {
        pair.send(&[frame(PING, 0, 0, &[0; 8])]);
    }
    pair.takes();
    let mut discarded = 0;
    while pair.connection.status().read {
        pair.send(&[vec![0; 16_384]]);
        discarded += 16_384;
        assert!(discarded <= 2 << 20, "it is heard for ever");
    }
    assert!(discarded >= 1 << 20, "what is on its way is discarded");
}
