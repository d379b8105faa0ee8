//! Websockets through the public calls: the handshake, messages, the close, and every timer.

use bytes::Bytes;
use core::time::Duration;
use portcullis::websocket::{Handshake, Message, Options};
use portcullis::{
    Builder, CloseReason, Config, Connection, Event, Expiry, Misuse, ResetReason, Sent, StreamId,
    Tick, Timer,
};
use portcullis_play::support;
use std::io::IoSlice;
use std::sync::Arc;

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn at(milliseconds: u64) -> Tick {
    Tick::from_nanos(milliseconds * 1_000_000)
}

/// A masked frame of a client.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x11, 0x22, 0x33, 0x44];
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A connection whose application echoes messages, and keeps a log.
struct Echo {
    connection: Connection,
    stream: Option<StreamId>,
    /// It asks for messages, and answers a close.
    eager: bool,
    options: Options,
    log: Vec<String>,
    out: Vec<u8>,
}

impl Echo {
    fn new(config: Builder) -> Self {
        let config = config.build().expect("valid");
        Echo {
            connection: Connection::new(Arc::new(config), at(0)),
            stream: None,
            eager: true,
            options: Options::default(),
            log: Vec::new(),
            out: Vec::new(),
        }
    }

    /// A websocket that was accepted at 0.
    fn open(config: Builder) -> Self {
        let mut echo = Echo::new(config);
        echo.receive(at(0), format!("{UPGRADE}\r\n").as_bytes());
        echo.stream();
        let out = String::from_utf8(echo.take_out()).expect("a head");
        assert!(out.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{out}");
        assert!(out.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{out}");
        echo
    }

    fn stream(&self) -> StreamId {
        self.stream.expect("it was accepted")
    }

    fn receive(&mut self, now: Tick, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let events = self.connection.receive(now, &mut bytes).expect("the connection reads");
        Echo::pull(events, now, &mut self.stream, self.eager, self.options, &mut self.log);
        self.send(now);
    }

    fn resume(&mut self, now: Tick) {
        let events = self.connection.resume(now);
        Echo::pull(events, now, &mut self.stream, self.eager, self.options, &mut self.log);
        self.send(now);
    }

    fn pull(
        mut events: portcullis::Events<'_, '_>,
        now: Tick,
        accepted: &mut Option<StreamId>,
        eager: bool,
        options: Options,
        log: &mut Vec<String>,
    ) {
        while let Some((connection, event)) = events.next() {
            match event {
                Event::Request { stream, head } => {
                    let handshake = Handshake::read(&head).expect("a valid handshake");
                    let accepting =
                        handshake.accept(None, None).expect("no subprotocol was chosen");
                    connection
                        .stream(now, stream)
                        .accept_websocket(&accepting, None, options)
                        .expect("the handshake is accepted");
                    if eager {
                        support::read_more(connection.stream(now, stream), 1 << 40)
                            .expect("the stream is open");
                    }
                    *accepted = Some(stream);
                }
                Event::Message { stream, message, .. } => {
                    let (text, mut data) = match message {
                        Message::Text(text) => (true, Bytes::copy_from_slice(text.as_bytes())),
                        Message::Binary(data) => (false, Bytes::copy_from_slice(data)),
                    };
                    log.push(format!("message {text} {}", data.len()));
                    // An echo to a peer that does not read is lost. Other tests check that.
                    let _ = connection.stream(now, stream).send_message(text, &mut data);
                }
                Event::OwnedMessage { text, bytes, .. } => {
                    assert_eq!(bytes.capacity(), bytes.len());
                    log.push(format!("owned {text} {}", bytes.len()));
                }
                Event::Piece { text, last, data, .. } => {
                    log.push(format!("piece {text} {last} {}", data.len()));
                }
                Event::Ping { payload, .. } => {
                    log.push(format!("ping {}", payload.escape_ascii()));
                }
                Event::Pong { payload, .. } => {
                    log.push(format!("pong {}", payload.escape_ascii()));
                }
                Event::Closing { stream, code, reason } => {
                    log.push(format!("closing {code:?} {reason}"));
                    // A close that replies to ours needs no answer.
                    if eager {
                        let _ = connection.stream(now, stream).close(Some(1000), "");
                    }
                }
                Event::Reset { reason, .. } => log.push(format!("reset {reason:?}")),
                Event::Writable { .. } => log.push("writable".to_owned()),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Takes all output.
    fn send(&mut self, now: Tick) {
        loop {
            let mut slices = [IoSlice::new(&[]); 4];
            let count = self.connection.outgoing(&mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
            if bytes.is_empty() {
                return;
            }
            self.connection.sent(now, bytes.len());
            self.out.extend(bytes);
        }
    }

    fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn tick(&mut self, now: Tick) {
        self.connection.tick(now);
        self.resume(now);
    }

    /// The deadline, in milliseconds.
    fn deadline(&mut self) -> Option<(u64, Timer)> {
        self.connection.deadline().map(|(at, timer)| (at.as_nanos() / 1_000_000, timer))
    }

    /// Lets the peer end, and returns why the connection closed.
    fn reason(&mut self, now: Tick) -> CloseReason {
        if self.connection.status().closed().is_none() {
            drop(self.connection.receive_eof(now));
            self.resume(now);
        }
        let status = self.connection.status();
        status.closed().unwrap_or_else(|| panic!("{status:?}"))
    }
}

fn without_pings() -> Builder {
    Config::builder().websocket_ping_interval(None)
}

/// A frame of a server, without a mask.
fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, payload.len() as u8];
    bytes.extend(payload);
    bytes
}

fn closing(code: u16, reason: &str) -> Vec<u8> {
    let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
    sent(CLOSE, &payload)
}

// ---- messages --------------------------------------------------------------------------------------

#[test]
fn messages_come_back_and_pings_are_answered() {
    let mut echo = Echo::open(Config::builder());
    let long = [b'x'; 300];
    let bytes = [
        frame(TEXT, "h\u{e9}".as_bytes()),
        frame(PING, b"p"),
        frame(BINARY, &long),
        frame(PONG, b""),
    ];
    echo.receive(at(1), &bytes.concat());
    assert_eq!(echo.log, ["message true 3", "message false 300"]);
    let answers =
        [sent(TEXT, "h\u{e9}".as_bytes()), sent(PONG, b"p"), vec![0x82, 126, 1, 44], long.to_vec()];
    assert_eq!(echo.take_out(), answers.concat());
}

#[test]
fn every_cut_gives_the_same_result() {
    let fragments = [frame(0x01, b"frag"), frame(PING, b""), frame(0x80, b"ments")].concat();
    let wire = [
        format!("{UPGRADE}\r\n").into_bytes(),
        frame(TEXT, b"first"),
        fragments,
        frame(BINARY, &[7; 200]),
        frame(CLOSE, &[&1000u16.to_be_bytes()[..], b"bye"].concat()),
    ]
    .concat();
    let mut whole = Echo::new(Config::builder());
    whole.receive(at(0), &wire);
    let expected =
        ["message true 5", "message true 9", "message false 200", "closing Some(1000) bye"];
    assert_eq!(whole.log, expected);
    for cut in 1..wire.len() {
        let mut echo = Echo::new(Config::builder());
        echo.receive(at(0), &wire[..cut]);
        echo.receive(at(0), &wire[cut..]);
        assert_eq!((&echo.log, &echo.out), (&whole.log, &whole.out), "cut at {cut}");
    }
    let mut echo = Echo::new(Config::builder());
    for byte in &wire {
        echo.receive(at(0), &[*byte]);
    }
    assert_eq!((&echo.log, &echo.out), (&whole.log, &whole.out), "byte by byte");
    assert_eq!(echo.reason(at(0)), CloseReason::Completed);
}

#[test]
fn pings_and_pongs_are_told_in_their_place_if_asked_for() {
    let frames =
        [frame(TEXT, b"a"), frame(PING, b"p"), frame(PONG, b"q"), frame(TEXT, b"b")].concat();
    let told = ["message true 1", "ping p", "pong q", "message true 1"];
    let answers = [sent(TEXT, b"a"), sent(PONG, b"p"), sent(TEXT, b"b")].concat();
    for cut in 0..frames.len() {
        let mut echo = Echo::new(without_pings());
        echo.options.controls = true;
        echo.receive(at(0), format!("{UPGRADE}\r\n").as_bytes());
        echo.take_out();
        echo.receive(at(0), &frames[..cut]);
        echo.receive(at(0), &frames[cut..]);
        assert_eq!(echo.log, told, "cut at {cut}");
        assert_eq!(echo.take_out(), answers, "cut at {cut}");
    }
    // A ping that waits for its turn is answered once, ahead of it, and told in its turn.
    let mut echo = Echo::new(without_pings());
    (echo.options.controls, echo.eager) = (true, false);
    echo.receive(at(0), format!("{UPGRADE}\r\n").as_bytes());
    echo.take_out();
    echo.receive(at(0), &frames);
    assert_eq!((echo.log.len(), echo.take_out()), (0, sent(PONG, b"p")));
    let stream = echo.stream();
    support::read_more(echo.connection.stream(at(1), stream), 2).expect("the stream is open");
    echo.resume(at(1));
    assert_eq!(echo.log, told);
    assert_eq!(echo.take_out(), [sent(TEXT, b"a"), sent(TEXT, b"b")].concat());
    // A pong of the application's own.
    assert_eq!(echo.connection.stream(at(1), stream).pong(b"alive"), Ok(()));
    let long = echo.connection.stream(at(1), stream).pong(&[0; 126]);
    assert_eq!(long, Err(Misuse::TooLong { left: 125 }));
    echo.send(at(1));
    assert_eq!(echo.take_out(), sent(PONG, b"alive"));
}

#[test]
fn without_credit_reading_ahead_is_bounded() {
    let mut echo = Echo::new(without_pings().receive_buffer_limit(1024));
    echo.eager = false;
    echo.receive(at(0), &[format!("{UPGRADE}\r\n").into_bytes(), frame(TEXT, b"a")].concat());
    assert!(echo.log.is_empty());
    assert!(echo.connection.status().read);
    assert_eq!(echo.deadline(), None, "the connection waits for the application");
    // One read may bring as many bytes as at any other time. It is the last one once enough bytes
    // are held.
    echo.receive(at(0), &frame(BINARY, &[7; 1000]));
    assert!(echo.log.is_empty() && echo.connection.status().read);
    echo.receive(at(0), &frame(BINARY, &[7; 1000]));
    assert!(echo.log.is_empty() && !echo.connection.status().read);
    let stream = echo.stream();
    for (count, reads) in [(1, false), (2, true), (3, true)] {
        support::read_more(echo.connection.stream(at(1), stream), 1).expect("the stream is open");
        assert!(echo.connection.status().resume);
        echo.resume(at(1));
        assert_eq!((echo.log.len(), echo.connection.status().read), (count, reads));
    }
    assert_eq!(echo.log, ["message true 1", "message false 1000", "message false 1000"]);
}

#[test]
fn assembled_messages_are_handed_over_if_asked_for() {
    let mut echo = Echo::new(without_pings());
    echo.options.owned = true;
    let message = frame(TEXT, &[b'x'; 1000]);
    echo.receive(at(0), format!("{UPGRADE}\r\n").as_bytes());
    echo.receive(at(0), &message);
    echo.receive(at(0), &message[..500]);
    echo.receive(at(0), &message[500..]);
    echo.receive(at(0), &[frame(0x02, b"two "), frame(0x80, b"parts")].concat());
    assert_eq!(echo.log, ["message true 1000", "owned true 1000", "owned false 9"]);
}

#[test]
fn pieces_come_as_they_arrive() {
    let mut echo = Echo::new(without_pings());
    echo.options.pieces = true;
    let message = frame(BINARY, &[1; 1000]);
    echo.receive(at(0), format!("{UPGRADE}\r\n").as_bytes());
    echo.receive(at(0), &message[..208]);
    echo.receive(at(0), &message[208..]);
    assert_eq!(echo.log, ["piece false false 200", "piece false true 800"]);
}

#[test]
fn a_large_message_leaves_in_fragments_as_there_is_room() {
    let mut echo = Echo::open(without_pings().send_buffer_limit(2048));
    let stream = echo.stream();
    let mut data = Bytes::from(vec![5; 5000]);
    let connection = &mut echo.connection;
    assert_eq!(connection.stream(at(0), stream).send_message(false, &mut data), Ok(Sent::Part));
    assert_eq!(data.len(), 5000 - 2048);
    assert_eq!(connection.stream(Tick::ZERO, stream).room(), 0);
    let mut wire = Vec::new();
    loop {
        echo.send(at(0));
        wire.extend(echo.take_out());
        echo.resume(at(0));
        if echo.connection.stream(at(0), stream).send_message(false, &mut data) == Ok(Sent::All) {
            break;
        }
    }
    echo.send(at(0));
    wire.extend(echo.take_out());
    assert_eq!(echo.log, ["writable", "writable"]);
    let heads = [wire[0], wire[2048 + 4], wire[2 * (2048 + 4)]];
    assert_eq!(heads, [0x02, 0x00, 0x80]);
    assert_eq!(wire.len(), 5000 + 3 * 4);
}

// ---- limits ----------------------------------------------------------------------------------------

#[test]
fn a_message_at_its_limit_and_one_past_it() {
    let config = || without_pings().websocket_message_limit(1000);
    let mut echo = Echo::open(config());
    echo.receive(at(0), &frame(BINARY, &[0; 1000]));
    assert_eq!(echo.log, ["message false 1000"]);
    // The header alone is refused.
    let mut echo = Echo::open(config());
    echo.receive(at(0), &frame(BINARY, &[0; 1001])[..8]);
    assert_eq!(echo.take_out(), closing(1009, "message_too_large"));
    assert_eq!(echo.log.len(), 1, "{:?}", echo.log);
    assert!(echo.log[0].starts_with("reset Violation(TooLarge"), "{:?}", echo.log);
    let declared = (1u64 << 62).to_be_bytes();
    let mut echo = Echo::open(config());
    echo.receive(at(0), &[&[BINARY, 0xff][..], &declared, &[0; 4]].concat());
    assert_eq!(echo.take_out(), closing(1009, "message_too_large"));
    assert!(echo.connection.memory() < 2000, "nothing is allocated for the message");
}

#[test]
fn violations_have_their_close_codes() {
    for (bytes, code, label) in [
        (vec![TEXT, 0x01, b'a'], 1002, "unmasked_frame"),
        (frame(0xc1, b"a"), 1002, "reserved_bits"),
        (frame(0x83, b"a"), 1002, "reserved_opcode"),
        (frame(0x80, b"a"), 1002, "unexpected_continuation"),
        (frame(0x09, b"a"), 1002, "fragmented_control_frame"),
        (frame(TEXT, b"\xff"), 1007, "invalid_utf8"),
        (frame(CLOSE, b"a"), 1002, "bad_close_payload"),
        (frame(CLOSE, &1005u16.to_be_bytes()), 1002, "bad_close_code"),
    ] {
        let mut echo = Echo::open(Config::builder());
        echo.receive(at(0), &bytes);
        assert_eq!(echo.take_out(), closing(code, label));
        assert!(echo.log[0].starts_with("reset Violation("), "{:?}", echo.log);
        assert_eq!(echo.reason(at(0)).label(), label);
    }
}

#[test]
fn a_flood_of_pings_ends() {
    let mut echo = Echo::open(Config::builder());
    let flood = frame(PING, b"").repeat(2000);
    echo.receive(at(0), &flood);
    assert_eq!(echo.reason(at(0)).label(), "too_many_useless_frames");
    assert!(echo.out.ends_with(&closing(1008, "too_many_useless_frames")));
}

#[test]
fn pongs_wait_for_room_and_only_the_newest_is_sent() {
    let mut echo = Echo::open(without_pings().send_buffer_limit(1024));
    let stream = echo.stream();
    let mut data = Bytes::from(vec![5; 1024]);
    assert_eq!(echo.connection.stream(at(0), stream).send_message(false, &mut data), Ok(Sent::All));
    let mut pings = [frame(PING, b"old"), frame(PING, b"new")].concat();
    drop(echo.connection.receive(at(0), &mut pings).expect("the connection reads"));
    while echo.connection.resume(at(0)).next().is_some() {}
    echo.send(at(0));
    echo.resume(at(0));
    let out = echo.take_out();
    assert!(out.ends_with(&sent(PONG, b"new")), "{:?}", &out[1020..]);
    assert_eq!(out.len(), 4 + 1024 + 5);
}

// ---- the close -------------------------------------------------------------------------------------

#[test]
fn the_peers_close_is_echoed_and_the_connection_ends() {
    for (payload, answer, log) in [
        (&b""[..], sent(CLOSE, b""), "closing None "),
        (&[0x0f, 0xa0, b'x'], closing(4000, ""), "closing Some(4000) x"),
    ] {
        let mut echo = Echo::open(Config::builder());
        echo.receive(at(0), &[frame(CLOSE, payload), frame(TEXT, b"after")].concat());
        assert_eq!(echo.take_out(), answer);
        assert_eq!(echo.log, [log]);
        let stream = echo.stream();
        let sending = echo.connection.stream(at(0), stream).send_message(true, &mut Bytes::new());
        assert_eq!(sending, Err(Misuse::UnknownStream));
        assert!(echo.connection.status().wants_shutdown());
        assert_eq!(echo.reason(at(0)), CloseReason::Completed);
    }
}

#[test]
fn the_application_may_send_after_the_peers_close() {
    let mut echo = Echo::new(Config::builder());
    echo.eager = false;
    let close = frame(CLOSE, &4000u16.to_be_bytes());
    echo.receive(at(0), &[format!("{UPGRADE}\r\n").into_bytes(), close].concat());
    echo.take_out();
    assert_eq!(echo.log, ["closing Some(4000) "]);
    assert_eq!(echo.deadline(), Some((5000, Timer::WebSocketClose)));
    // Neither bytes after a close nor the peer's end change anything.
    echo.receive(at(1), &frame(TEXT, b"after"));
    drop(echo.connection.receive_eof(at(2)));
    echo.resume(at(2));
    assert!(!echo.connection.status().resume);
    let stream = echo.stream();
    let mut last = Bytes::from_static(b"last words");
    assert_eq!(echo.connection.stream(at(3), stream).send_message(true, &mut last), Ok(Sent::All));
    echo.connection.stream(at(3), stream).close(Some(1000), "not told").expect("a close is owed");
    echo.send(at(3));
    assert_eq!(echo.take_out(), [sent(TEXT, b"last words"), closing(4000, "")].concat());
    assert_eq!(echo.reason(at(3)), CloseReason::Completed);
    // The application has this long to answer, and no longer.
    let mut echo = Echo::open(Config::builder());
    echo.eager = false;
    echo.receive(at(0), &frame(CLOSE, b""));
    echo.tick(Tick::from_nanos(5_000_000_000 - 1));
    assert!(echo.take_out().is_empty());
    echo.tick(at(5000));
    assert_eq!(echo.take_out(), sent(CLOSE, b""));
    assert_eq!(echo.reason(at(5000)), CloseReason::Completed);
}

#[test]
fn our_close_waits_for_the_peers_and_messages_are_discarded() {
    let mut echo = Echo::open(Config::builder());
    let stream = echo.stream();
    assert_eq!(echo.connection.stream(at(0), stream).close(Some(1005), ""), Err(Misuse::CloseCode));
    echo.connection.stream(at(0), stream).close(Some(1000), "done").expect("open");
    echo.send(at(0));
    assert_eq!(echo.take_out(), closing(1000, "done"));
    echo.receive(at(0), &[frame(TEXT, b"late"), frame(CLOSE, &1000u16.to_be_bytes())].concat());
    assert_eq!(echo.log, ["closing Some(1000) "]);
    assert!(echo.take_out().is_empty(), "a second close was sent");
    assert_eq!(echo.reason(at(0)), CloseReason::Completed);
}

#[test]
fn a_drain_closes_with_going_away() {
    let mut echo = Echo::open(Config::builder());
    echo.connection.drain(at(0));
    echo.send(at(0));
    assert_eq!(echo.take_out(), closing(1001, ""));
    echo.receive(at(0), &frame(CLOSE, &1001u16.to_be_bytes()));
    assert_eq!(echo.reason(at(0)), CloseReason::Drained);
}

#[test]
fn the_end_of_the_connection_without_a_close_is_reported() {
    let mut echo = Echo::open(Config::builder());
    drop(echo.connection.receive_eof(at(0)));
    echo.resume(at(0));
    assert_eq!(echo.log, [format!("reset {:?}", ResetReason::Truncated)]);
    assert_eq!(echo.reason(at(0)).label(), "peer_truncated");
}

// ---- time ------------------------------------------------------------------------------------------

#[test]
fn silence_is_pinged_and_then_closed() {
    let mut echo = Echo::open(Config::builder());
    assert_eq!(echo.deadline(), Some((20_000, Timer::WebSocketPing)));
    echo.tick(Tick::from_nanos(20_000_000_000 - 1));
    assert!(echo.take_out().is_empty());
    echo.tick(at(20_000));
    assert_eq!(echo.take_out(), sent(PING, b""));
    assert_eq!(echo.deadline(), Some((40_000, Timer::WebSocketPong)));
    echo.receive(at(39_999), &frame(PONG, b""));
    assert_eq!(echo.deadline(), Some((59_999, Timer::WebSocketPing)));
    echo.tick(at(59_999));
    assert_eq!(echo.take_out(), sent(PING, b""));
    echo.tick(Tick::from_nanos(79_999_000_000 - 1));
    assert!(echo.connection.status().is_open());
    echo.tick(at(79_999));
    assert_eq!(echo.take_out(), closing(1011, "websocket_pong"));
    assert_eq!(echo.log, [format!("reset {:?}", ResetReason::Timeout)]);
    assert_eq!(echo.reason(at(79_999)), CloseReason::Expired(Expiry::WebSocketPong));
}

#[test]
fn a_peer_with_unread_messages_is_pinged_until_enough_is_held() {
    let unread = || {
        let mut echo = Echo::new(Config::builder().receive_buffer_limit(1024));
        echo.eager = false;
        echo.receive(at(0), &[format!("{UPGRADE}\r\n").into_bytes(), frame(TEXT, b"a")].concat());
        echo.take_out();
        assert_eq!(echo.deadline(), Some((20_000, Timer::WebSocketPing)));
        echo.tick(at(20_000));
        assert_eq!(echo.take_out(), sent(PING, b""));
        assert_eq!(echo.deadline(), Some((40_000, Timer::WebSocketPong)));
        echo
    };
    // The peer is gone.
    let mut echo = unread();
    echo.tick(at(40_000));
    assert_eq!(echo.take_out(), closing(1011, "websocket_pong"));
    assert_eq!(echo.reason(at(40_000)), CloseReason::Expired(Expiry::WebSocketPong));
    // The peer is alive, and its messages are not read.
    let mut echo = unread();
    echo.receive(at(39_000), &frame(PONG, b""));
    assert_eq!(echo.deadline(), Some((59_000, Timer::WebSocketPing)));
    let stream = echo.stream();
    support::read_more(echo.connection.stream(at(50_000), stream), 1).expect("the stream is open");
    echo.resume(at(50_000));
    assert_eq!(echo.log, ["message true 1"]);
    assert_eq!(
        echo.deadline(),
        Some((59_000, Timer::WebSocketPing)),
        "the wait was not the peer's fault"
    );
    // The held bytes have reached the limit, so a pong would not be seen.
    let mut echo = unread();
    echo.receive(at(39_000), &frame(BINARY, &[7; 1010]));
    assert_eq!((echo.connection.status().read, echo.deadline()), (false, None));
    echo.tick(at(3_600_000));
    let stream = echo.stream();
    support::read_more(echo.connection.stream(at(3_600_000), stream), 1)
        .expect("the stream is open");
    echo.resume(at(3_600_000));
    assert_eq!(echo.log, ["message true 1"]);
    assert_eq!(echo.deadline(), Some((3_620_000, Timer::WebSocketPing)));
}

#[test]
fn a_ping_behind_unread_messages_is_answered_at_once_and_only_once() {
    let data = frame(BINARY, &[7; 300]);
    let wire =
        [data.clone(), frame(PING, b"one"), data.clone(), frame(PING, b"two"), data].concat();
    let answers = [sent(PONG, b"one"), sent(PONG, b"two")].concat();
    for step in [1, 100, wire.len()] {
        let mut echo = Echo::new(without_pings());
        echo.eager = false;
        echo.receive(at(0), format!("{UPGRADE}\r\n").as_bytes());
        echo.take_out();
        wire.chunks(step).for_each(|piece| echo.receive(at(0), piece));
        assert_eq!((echo.take_out(), echo.log.len()), (answers.clone(), 0), "in steps of {step}");
        let stream = echo.stream();
        for count in 1..=3 {
            support::read_more(echo.connection.stream(at(1), stream), 1)
                .expect("the stream is open");
            echo.resume(at(1));
            assert_eq!(echo.log.len(), count);
        }
        assert!(!echo.take_out().contains(&PONG), "the pings were already answered");
        echo.receive(at(2), &frame(PING, b"three"));
        assert_eq!(echo.take_out(), sent(PONG, b"three"));
    }
}

#[test]
fn pings_answered_ahead_are_paid_once() {
    let mut echo = Echo::new(without_pings());
    echo.eager = false;
    echo.receive(at(0), &[format!("{UPGRADE}\r\n").into_bytes(), frame(BINARY, b"a")].concat());
    echo.take_out();
    // As many pings as the budget pays for at once.
    echo.receive(at(0), &frame(PING, b"").repeat(1000));
    assert_eq!(echo.take_out().len(), 2 * 1000);
    let stream = echo.stream();
    support::read_more(echo.connection.stream(at(0), stream), 1).expect("the stream is open");
    echo.resume(at(0));
    assert!(echo.connection.status().is_open());
    // Further pings are not answered ahead, and at their turn they are a flood.
    echo.receive(at(0), &[frame(BINARY, b"b"), frame(PING, b"").repeat(1000)].concat());
    assert!(echo.take_out().len() < 2 * 1000);
    assert!(echo.connection.status().is_open());
    support::read_more(echo.connection.stream(at(0), stream), 1).expect("the stream is open");
    echo.resume(at(0));
    assert_eq!(echo.reason(at(0)).label(), "too_many_useless_frames");
}

#[test]
fn a_message_that_dribbles_in_is_closed() {
    let config = without_pings().request_body_grace(Duration::from_secs(5)).request_body_rate(240);
    let mut echo = Echo::open(config);
    assert_eq!(echo.deadline(), None, "pings are off, and no message has begun");
    let message = frame(BINARY, &[1; 100]);
    echo.receive(at(0), &message[..1]);
    assert_eq!(echo.deadline(), Some((5000, Timer::WebSocketMessage)));
    echo.receive(at(1000), &message[1..50]);
    assert_eq!(echo.deadline(), Some((5000, Timer::WebSocketMessage)));
    echo.tick(Tick::from_nanos(5_000_000_000 - 1));
    assert!(echo.log.is_empty());
    echo.tick(at(5000));
    assert_eq!(echo.take_out(), closing(1008, "websocket_message"));
    assert_eq!(echo.reason(at(5000)), CloseReason::Expired(Expiry::WebSocketMessage));
    // A message that is complete in time is accepted.
    let mut echo = Echo::open(without_pings());
    echo.receive(at(0), &message[..50]);
    echo.receive(at(4999), &message[50..]);
    assert_eq!((echo.log.len(), echo.deadline()), (1, None));
}

#[test]
fn a_close_that_is_not_answered_times_out() {
    let mut echo = Echo::open(Config::builder());
    let stream = echo.stream();
    echo.connection.stream(at(0), stream).close(None, "").expect("open");
    echo.send(at(0));
    assert_eq!(echo.deadline(), Some((5000, Timer::WebSocketClose)));
    echo.receive(at(4999), &frame(TEXT, b"not a close"));
    assert_eq!(echo.deadline(), Some((5000, Timer::WebSocketClose)), "nothing extends it");
    echo.tick(at(5000));
    assert_eq!(echo.reason(at(5000)), CloseReason::Expired(Expiry::WebSocketClose));
}

#[test]
fn idle_websockets_are_closed_if_configured() {
    let idle = Some(Duration::from_secs(60));
    let mut echo = Echo::open(without_pings().websocket_idle_timeout(idle));
    echo.receive(at(10_000), &frame(PING, b""));
    assert_eq!(echo.deadline(), Some((60_000, Timer::WebSocketIdle)), "a ping is no message");
    echo.receive(at(30_000), &frame(TEXT, b"a"));
    assert_eq!(echo.deadline(), Some((90_000, Timer::WebSocketIdle)));
    echo.take_out();
    echo.tick(at(90_000));
    assert_eq!(echo.take_out(), closing(1001, "idle"));
    echo.receive(at(90_001), &frame(CLOSE, &1001u16.to_be_bytes()));
    assert_eq!(echo.reason(at(90_001)), CloseReason::Expired(Expiry::WebSocketIdle));
}

#[test]
fn a_peer_that_does_not_read_is_guarded_by_response() {
    let mut echo = Echo::open(Config::builder());
    let stream = echo.stream();
    let mut data = Bytes::from(vec![5; 5000]);
    assert_eq!(echo.connection.stream(at(0), stream).send_message(false, &mut data), Ok(Sent::All));
    assert_eq!(echo.deadline(), Some((5000, Timer::Response)));
    echo.connection.tick(at(5000));
    assert_eq!(echo.connection.status().closed(), Some(CloseReason::Expired(Expiry::Response)));
    assert!(echo.connection.status().is_cut_off());
}

#[test]
fn keep_alive_does_not_apply() {
    let mut echo = Echo::open(without_pings());
    echo.tick(at(3_600_000));
    echo.receive(at(3_600_000), &frame(TEXT, b"still here"));
    assert_eq!(echo.log, ["message true 10"]);
}

// ---- regressions --------------------------------------------------------------------------------

#[test]
fn half_a_control_frame_is_a_sign_of_life_only_once() {
    let second = Duration::from_secs(1);
    let config = Config::builder().websocket_ping_interval(Some(second));
    let mut echo = Echo::open(config.websocket_pong_timeout(Some(second)));
    echo.receive(at(0), &frame(PING, b"half")[..3]);
    assert!(!echo.connection.status().resume, "there is nothing to do without more bytes");
    echo.tick(at(1000));
    assert_eq!(echo.take_out(), sent(PING, b""));
    echo.resume(at(1500));
    assert_eq!(echo.deadline(), Some((2000, Timer::WebSocketPong)));
    echo.tick(at(2000));
    assert_eq!(echo.reason(at(2000)), CloseReason::Expired(Expiry::WebSocketPong));
    // Without pings, the guard of the begun message ends it.
    let mut echo = Echo::open(without_pings());
    echo.receive(at(0), &frame(PING, b"half")[..3]);
    assert_eq!(echo.deadline(), Some((5000, Timer::WebSocketMessage)));
}

#[test]
fn output_after_a_ping_does_not_restart_the_wait_for_its_pong() {
    let mut echo = Echo::open(Config::builder());
    let stream = echo.stream();
    echo.tick(at(20_000));
    for second in 21..40 {
        let mut data = Bytes::from_static(b"tick");
        let now = at(second * 1000);
        assert_eq!(
            echo.connection.stream(now, stream).send_message(true, &mut data),
            Ok(Sent::All)
        );
        echo.send(now);
        assert_eq!(echo.deadline(), Some((40_000, Timer::WebSocketPong)), "at {second} s");
    }
    echo.tick(at(40_000));
    assert_eq!(echo.reason(at(40_000)), CloseReason::Expired(Expiry::WebSocketPong));
}

#[test]
fn the_wait_for_a_pong_begins_when_the_ping_is_flushed() {
    let mut echo = Echo::open(Config::builder());
    echo.connection.tick(at(20_000));
    assert_eq!(echo.deadline(), Some((25_000, Timer::Response)));
    echo.send(at(24_000));
    assert_eq!(echo.deadline(), Some((44_000, Timer::WebSocketPong)));
}

#[test]
fn a_message_at_the_tick_of_the_flush_does_not_delay_the_wait_for_a_pong() {
    let mut echo = Echo::open(Config::builder());
    let stream = echo.stream();
    echo.tick(at(20_000));
    let mut data = Bytes::from_static(b"tick");
    assert_eq!(
        echo.connection.stream(at(20_000), stream).send_message(true, &mut data),
        Ok(Sent::All)
    );
    assert_eq!(echo.deadline(), Some((25_000, Timer::Response)));
    echo.send(at(24_000));
    assert_eq!(echo.deadline(), Some((40_000, Timer::WebSocketPong)));
}

#[test]
fn a_reset_is_reported_even_after_the_close() {
    let mut echo = Echo::open(without_pings());
    echo.receive(at(0), &frame(TEXT, b"half")[..8]);
    echo.connection.tick(at(5000));
    echo.send(at(5000));
    echo.connection.tick(at(10_000));
    let late = CloseReason::Expired(Expiry::WebSocketMessage);
    assert_eq!(echo.connection.status().closed(), Some(late));
    assert!(echo.connection.status().resume);
    echo.resume(at(10_000));
    assert_eq!(echo.log, ["reset Timeout"]);
}

#[test]
fn the_wait_for_a_close_begins_when_ours_is_flushed() {
    let mut echo = Echo::open(Config::builder());
    let stream = echo.stream();
    let mut data = Bytes::from(vec![5; 20_000]);
    assert_eq!(echo.connection.stream(at(0), stream).send_message(false, &mut data), Ok(Sent::All));
    echo.connection.stream(at(0), stream).close(Some(1000), "").expect("open");
    for second in 1..10 {
        echo.connection.sent(at(second * 1000), 1000);
        echo.connection.tick(at(second * 1000));
        assert!(matches!(echo.deadline(), Some((_, Timer::Response))), "{:?}", echo.deadline());
    }
    echo.send(at(10_000));
    assert_eq!(echo.deadline(), Some((15_000, Timer::WebSocketClose)));
}

#[test]
fn bytes_that_came_with_the_beginning_of_a_message_pay_for_the_rest() {
    let mut echo = Echo::open(without_pings());
    // A complete fragment in one read: 2,400 bytes, which pay for ten seconds.
    echo.receive(at(0), &frame(TEXT & 0x7f, &[b'x'; 2400]));
    assert_eq!(echo.deadline(), Some((12_000, Timer::WebSocketMessage)));
    // The next message has to pay for itself.
    echo.receive(at(11_000), &frame(0x80, b""));
    echo.receive(at(20_000), &frame(TEXT & 0x7f, b"hello"));
    assert_eq!(echo.deadline(), Some((25_000, Timer::WebSocketMessage)));
}

#[test]
fn a_message_that_begins_after_a_complete_one_has_its_own_grace() {
    let mut echo = Echo::open(without_pings());
    let message = frame(TEXT, b"hello");
    echo.receive(at(0), &message[..3]);
    // Each read ends one message and begins the next one.
    for second in (4..60).step_by(4) {
        echo.receive(at(second * 1000), &[&message[3..], &message[..3]].concat());
        assert_eq!(echo.deadline(), Some((second * 1000 + 5000, Timer::WebSocketMessage)));
    }
    let ping = frame(PING, b"hello");
    echo.receive(at(64_000), &[&message[3..], &ping[..3]].concat());
    echo.receive(at(68_000), &[&ping[3..], &ping[..3]].concat());
    assert_eq!(echo.deadline(), Some((73_000, Timer::WebSocketMessage)));
}

#[test]
fn a_message_in_pieces_has_no_deadline_without_credit() {
    let mut echo = Echo::new(without_pings());
    (echo.eager, echo.options.pieces) = (false, true);
    echo.receive(at(0), format!("{UPGRADE}\r\n").as_bytes());
    let stream = echo.stream();
    support::read_more(echo.connection.stream(at(0), stream), 50).expect("the stream is open");
    let message = frame(BINARY, &[1; 100]);
    echo.receive(at(0), &message[..56]);
    assert_eq!(
        (echo.log.len(), echo.deadline()),
        (1, None),
        "the connection waits for the application"
    );
    assert!(echo.connection.status().read, "it still reads, to see the end of the connection");
    support::read_more(echo.connection.stream(at(60_000), stream), 50).expect("the stream is open");
    assert_eq!(echo.deadline(), Some((65_000, Timer::WebSocketMessage)));
}

#[test]
fn bytes_of_a_message_extend_the_idle_timeout() {
    let idle = Some(Duration::from_secs(6));
    let mut echo = Echo::open(without_pings().websocket_idle_timeout(idle));
    let message = frame(BINARY, &[1; 60_000]);
    for (second, part) in message.chunks(2000).enumerate() {
        echo.receive(at(second as u64 * 1000), part);
    }
    assert_eq!(echo.log, ["message false 60000"]);
}

#[test]
fn empty_messages_wait_for_room_as_well() {
    let mut echo = Echo::open(without_pings().send_buffer_limit(1024));
    let stream = echo.stream();
    let sent = (0..2000).take_while(|_| {
        echo.connection.stream(at(0), stream).send_message(false, &mut Bytes::new())
            == Ok(Sent::All)
    });
    assert_eq!(sent.count(), 512);
    echo.send(at(0));
    echo.resume(at(0));
    assert_eq!(echo.log, ["writable"]);
}

#[test]
fn writable_means_that_there_is_room() {
    let mut echo = Echo::open(without_pings().send_buffer_limit(1024));
    let stream = echo.stream();
    let mut first = Bytes::from(vec![5; 1000]);
    assert_eq!(
        echo.connection.stream(at(0), stream).send_message(false, &mut first),
        Ok(Sent::All)
    );
    let mut next = Bytes::from(vec![5; 2000]);
    assert_eq!(
        echo.connection.stream(at(0), stream).send_message(false, &mut next),
        Ok(Sent::Part)
    );
    echo.connection.sent(at(0), 504);
    echo.connection.sent(at(0), 1);
    assert!(echo.connection.status().resume);
    while echo.connection.resume(at(0)).next().is_some() {}
    assert_eq!(
        echo.connection.stream(at(0), stream).send_message(false, &mut next),
        Ok(Sent::Part)
    );
    assert!(next.len() < 2000, "a part of the message was sent");
    assert!(!echo.connection.status().resume);
}

#[test]
fn a_tick_within_the_closing_event_sends_nothing_after_the_close() {
    let mut echo = Echo::open(Config::builder());
    let stream = echo.stream();
    let mut bytes = frame(TEXT, b"a");
    let mut events = echo.connection.receive(at(0), &mut bytes).expect("the connection reads");
    let (connection, _) = events.next().expect("a message");
    connection.stream(at(0), stream).close(Some(1000), "").expect("open");
    connection.tick(at(3_600_000));
    drop(events);
    echo.send(at(3_600_000));
    assert_eq!(echo.take_out(), closing(1000, ""));
}

#[test]
fn an_abrupt_end_frees_half_a_message() {
    for drained in [false, true] {
        let mut echo = Echo::open(without_pings());
        echo.receive(at(0), &frame(BINARY, &[1; 60_000])[..50_000]);
        assert!(echo.connection.memory() > 50_000);
        if drained {
            echo.connection.drain(at(0));
            echo.connection.tick(at(3_600_000));
        } else {
            echo.connection.abort(at(0), CloseReason::Aborted);
        }
        assert!(echo.connection.status().closed().is_some());
        assert!(echo.connection.memory() < 1200, "{}", echo.connection.memory());
    }
}

#[test]
fn the_end_of_input_waits_for_credit_and_not_for_ever() {
    let mut echo = Echo::new(without_pings());
    echo.eager = false;
    echo.receive(at(0), &[format!("{UPGRADE}\r\n").into_bytes(), frame(TEXT, b"a")].concat());
    drop(echo.connection.receive_eof(at(0)));
    echo.resume(at(0));
    assert!(echo.log.is_empty());
    assert!(!echo.connection.status().resume, "`resume` would stay true for ever");
    let stream = echo.stream();
    support::read_more(echo.connection.stream(at(1), stream), 1).expect("the stream is open");
    assert!(echo.connection.status().resume);
    echo.resume(at(1));
    assert_eq!(echo.log, ["message true 1".to_owned(), "reset Truncated".to_owned()]);
}

#[test]
fn input_before_a_late_acceptance_is_not_lost() {
    let close = frame(CLOSE, &1000u16.to_be_bytes());
    for (behind, told) in [(&b""[..], "Reset"), (&close[..], "Closing")] {
        let mut connection = Connection::new(Arc::new(Config::default()), at(0));
        let mut wire = [format!("{UPGRADE}\r\n").as_bytes(), behind].concat();
        let mut events = connection.receive(at(0), &mut wire).expect("the connection reads");
        let Some((_, Event::Request { stream, head })) = events.next() else { panic!("a request") };
        let accepted = Handshake::read(&head)
            .expect("a valid handshake")
            .accept(None, None)
            .expect("a valid handshake");
        while events.next().is_some() {}
        drop(events);
        while connection.receive_eof(at(0)).next().is_some() {}
        while connection.status().resume && connection.resume(at(0)).next().is_some() {}
        connection
            .stream(at(1), stream)
            .accept_websocket(&accepted, None, Options::default())
            .expect("the handshake is accepted");
        assert!(connection.status().resume);
        let mut events = connection.resume(at(1));
        let event = events.next().map(|(_, event)| format!("{event:?}")).unwrap_or_default();
        assert!(event.starts_with(told), "{event} instead of {told}");
    }
}

// ---- a peer that still takes earlier output -----------------------------------------------------

#[test]
fn the_wait_for_a_pong_begins_when_the_peer_has_taken_the_ping() {
    let mut echo = Echo::open(Config::builder());
    echo.connection.acknowledged(at(0), 0);
    echo.tick(at(20_000));
    // The ping is behind 500 kB that the system took at once, and passes on at 20 kB/s.
    let stream = echo.stream();
    let mut held = 0;
    for _ in 0..10 {
        let mut data = Bytes::from(vec![7; 50_000]);
        assert_eq!(
            echo.connection.stream(at(20_000), stream).send_message(false, &mut data),
            Ok(Sent::All)
        );
        echo.send(at(20_000));
        held += 50_000;
    }
    assert_eq!(echo.deadline(), Some((40_000, Timer::WebSocketPong)));
    echo.connection.acknowledged(at(40_000), held - 400_000);
    assert_eq!(
        echo.deadline(),
        Some((60_000, Timer::WebSocketPong)),
        "the ping is still on its way"
    );
    // A peer that takes next to nothing more is gone.
    echo.connection.acknowledged(at(60_000), held - 400_100);
    echo.tick(at(60_000));
    assert_eq!(echo.log, ["reset Timeout"]);
}
