//! What is counted for a connection stays right, whatever ends a stream.

use bytes::Bytes;
use http::StatusCode;
use portcullis::websocket::Options;
use portcullis::{Config, Misuse, Sent};
use portcullis_play::http2::{PING, Pair, data, frame, get, settings, socket_frame, window_update};
use portcullis_play::support::{millis, secs, tick};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

/// The sum of the updates of a window.
fn updates(taken: &[String], id: u32) -> usize {
    let prefix = format!("{id} WINDOW_UPDATE ");
    let more = taken.iter().filter_map(|it| it.strip_prefix(&*prefix));
    more.map(|more| more.parse::<usize>().expect("a number")).sum()
}

#[test]
fn a_websocket_that_answers_no_ping_gives_its_part_of_the_window_back() {
    let mut pair = Pair::new(Config::default());
    let mut window = 65_535;
    for id in [1, 3, 5, 7] {
        pair.opens_socket(id, Options::default());
        pair.send(&[
            socket_frame(id, BINARY, &[0; 16_000]),
            socket_frame(id, BINARY, &[0; 14_000]),
        ]);
        window -= 30_016;
        window += updates(&pair.takes(), 0);
        pair.after(secs(20));
        window += updates(&pair.takes(), 0);
        pair.after(secs(20));
        assert_eq!(pair.resume(), [format!("{id} reset Timeout")]);
        window += updates(&pair.takes(), 0);
        assert!(window > 32_768, "stream {id} leaves {window}");
    }
}

#[test]
fn a_websocket_with_invalid_text_gives_its_part_of_the_window_back() {
    let mut pair = Pair::new(Config::default());
    let mut window = 65_535;
    for id in [1, 3, 5, 7] {
        pair.opens_socket(id, Options::default());
        assert_eq!(pair.stream(id).read_to(1), Ok(()));
        // All of it in one frame of HTTP/2.
        let invalid = [TEXT, 0x81, 0, 0, 0, 0, 0xff];
        let content =
            [&invalid[..], &[BINARY, 0xfe, 0x3a, 0x98, 0, 0, 0, 0], &[0; 15_000]].concat();
        window -= content.len();
        assert_eq!(pair.send(&[data(id, &content)]), [format!("{id} reset Violation(Utf8)")]);
        pair.resume();
        window += updates(&pair.takes(), 0);
        assert!(window > 32_768, "stream {id} leaves {window}");
    }
}

/// Sends a message in pieces, as the windows allow. Returns how much of it was sent.
fn message(
    pair: &mut Pair,
    id: u32,
    length: usize,
    windows: &mut [usize; 2],
) -> (usize, Vec<String>) {
    let header = [&[BINARY, 0x80 | 127][..], &(length as u64).to_be_bytes(), &[0; 4]].concat();
    let mut told = pair.send(&[data(id, &header)]);
    windows.iter_mut().for_each(|it| *it -= header.len());
    let mut sent = 0;
    loop {
        told.extend(pair.resume());
        let taken = pair.takes();
        windows[0] += updates(&taken, 0);
        windows[1] += updates(&taken, id);
        let piece = windows[0].min(windows[1]).min(16_000).min(length - sent);
        if piece == 0 {
            return (sent, told);
        }
        told.extend(pair.send(&[data(id, &vec![0; piece])]));
        windows.iter_mut().for_each(|it| *it -= piece);
        sent += piece;
    }
}

#[test]
fn a_message_that_was_held_back_goes_on_when_others_are_done_with() {
    const LENGTH: usize = 250_000;
    for gives_up in [false, true] {
        let config = Config::builder().websocket_message_limit(LENGTH as u64).build();
        let mut pair = Pair::new(config.expect("valid"));
        let mut connection = 65_535;
        for id in [1, 3, 5] {
            pair.opens_socket(id, Options::default());
            assert_eq!(pair.stream(id).read_to(1), Ok(()));
        }
        for id in [1, 3] {
            let mut windows = [connection, 32_768];
            let (sent, told) = message(&mut pair, id, LENGTH, &mut windows);
            assert_eq!((sent, told), (LENGTH, vec![format!("{id} binary {LENGTH}")]));
            connection = windows[0];
        }
        let mut windows = [connection, 32_768];
        let (sent, _) = message(&mut pair, 5, LENGTH, &mut windows);
        assert!(sent < LENGTH && windows[1] == 0, "{sent} bytes, {windows:?}");
        // The applications are done with the messages. Nothing comes from the client meanwhile.
        for id in [1, 3] {
            match gives_up {
                true => assert_eq!(pair.stream(id).reset(), Ok(())),
                false => assert_eq!(pair.stream(id).read_to(2), Ok(())),
            }
        }
        if pair.connection.status().resume {
            pair.resume();
        }
        assert!(updates(&pair.takes(), 5) > 0, "gives up: {gives_up}");
    }
}

/// Sends content on stream 1 until a window is used up, and asks for more.
fn use_up_the_window(pair: &mut Pair) {
    let mut sent = 0;
    while sent < 65_535 {
        sent += pair.sends(1, 65_536 - sent);
        pair.takes();
        pair.resume();
    }
    assert_eq!(pair.sends(1, 1), 0);
}

#[test]
fn only_waits_for_a_window_count_against_it() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[get(1, "/"), window_update(0, 1 << 20)]);
    pair.respond(1);
    use_up_the_window(&mut pair);
    pair.after(secs(1));
    assert_eq!(pair.send(&[window_update(1, 100)]), ["1 room"]);
    assert_eq!(pair.sends(1, 50), 50);
    pair.takes();
    // The application has nothing to say for long.
    for _ in 0..10 {
        pair.after(secs(3600));
        assert_eq!(pair.resume(), [""; 0]);
    }
    assert_eq!(pair.sends(1, 100), 50);
    pair.takes();
    pair.after(secs(1));
    assert_eq!(pair.resume(), [""; 0]);
    assert_eq!(pair.send(&[window_update(1, 100)]), ["1 room"]);
    let mut content = Bytes::from_static(b"x");
    assert_eq!(pair.stream(1).send(&mut content), Ok(Sent::All));
}

#[test]
fn a_drain_after_the_last_request_closes_websockets() {
    for named in [false, true] {
        let config = Config::builder().requests_per_connection(1).build().expect("valid");
        let mut pair = Pair::new(config);
        pair.opens_socket(1, Options::default());
        if named {
            pair.after(millis(500));
        }
        pair.takes();
        pair.connection.drain(pair.now);
        assert_eq!(pair.takes(), ["1 DATA 4"], "named: {named}");
    }
}

#[test]
fn a_head_waits_for_no_window() {
    for connection in [false, true] {
        let mut pair = Pair::new(Config::default());
        let first = if connection { 65_535 } else { 0 };
        pair.send(&[settings(&[(4, first)]), get(1, "/"), get(3, "/")]);
        if connection {
            pair.respond(1);
            // All of the connection's window is used up.
            let mut sent = 0;
            while sent < 65_535 {
                sent += pair.sends(1, 65_535 - sent);
                pair.takes();
                pair.resume();
            }
        }
        while pair.stream(3).inform(StatusCode::EARLY_HINTS, None) != Err(Misuse::Full) {}
        let mut content = Bytes::new();
        assert_eq!(pair.stream(3).answer(StatusCode::OK, None, &mut content), Err(Misuse::Full));
        pair.takes();
        assert!(pair.connection.status().resume, "connection: {connection}");
        assert_eq!(pair.resume(), ["3 room"]);
        pair.answer(3, 0);
        assert_eq!(pair.takes(), ["3 HEADERS :status=200 content-length=0, end"]);
    }
}

#[test]
fn a_window_of_the_connection_that_stays_closed_ends_streams_though_the_client_pings() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[get(1, "/"), window_update(1, 1 << 20)]);
    pair.respond(1);
    use_up_the_window(&mut pair);
    // The bytes that were sent pay for some minutes.
    let mut told = Vec::new();
    while told.is_empty() && pair.now < tick(secs(3600)) {
        told = pair.send(&[frame(PING, 0, 0, &[0; 8])]);
        pair.takes();
        drop(pair.connection.return_buffer());
        pair.after(secs(1));
        told.extend(pair.resume());
    }
    assert_eq!(told, ["1 reset Unread"]);
    assert!(pair.now < tick(secs(600)), "{:?}", pair.now);
}

#[test]
fn room_on_a_websocket_is_told_at_once_though_the_output_is_half_full() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, 0)])]);
    pair.opens_socket(1, Options::default());
    let mut message = Bytes::from(vec![b'x'; 45_000]);
    pair.stream(1).send_message(false, &mut message).expect("a message");
    assert_eq!(pair.stream(1).await_room(), Ok(()));
    pair.send(&[get(3, "/"), window_update(3, 40_000)]);
    pair.takes();
    pair.respond(3);
    assert_eq!(pair.sends(3, 36_000), 36_000);
    let mut told = pair.send(&[window_update(1, 20_000), socket_frame(1, 0x8a, b"")]);
    pair.takes();
    while pair.connection.status().resume {
        told.extend(pair.resume());
    }
    assert_eq!(told, ["1 room"]);
}
