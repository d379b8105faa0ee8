//! The attacks, as a table. Row numbers are those of `attacks.md`.
//!
//! Where a timer decides, the settings shorten it. Upper bounds of time leave room for a machine
//! that plays several attacks at once.

use super::attack::{Attack, Places, Protocol, Weight};
use super::attacks::{bodies, connections, crowds, http2, live, live2, responses, tls, websocket};
use super::expect::Expect::{
    Answers, Back, Code, Ended, Growth, Holds, Idle, Lives, Memory, Recovers, Refuses, Reset,
    Status, Visitor,
};
use super::frames::ENHANCE_YOUR_CALM;

/// What most attacks have in common.
const USUAL: Attack = Attack {
    name: "",
    row: "",
    protocol: Protocol::Http1,
    places: Places::All,
    settings: &[],
    attackers: 0,
    weight: Weight::Light,
    descriptors: None,
    files: false,
    one_address: false,
    stops: false,
    expect: &[],
    play: |peer| Box::pin(connections::silent(peer)),
};

/// All attacks. The first seven are the cases of Hypercorn's page on denial of service.
pub static ATTACKS: &[Attack] = &[
    // ---- The seven cases of Hypercorn's page
    Attack {
        name: "silent",
        row: "1",
        settings: &["keep_alive_timeout=1s"],
        attackers: 200,
        expect: &[Ended(1.0, 3.5), Memory(64 << 10)],
        play: |peer| Box::pin(connections::silent(peer)),
        ..USUAL
    },
    Attack {
        name: "large-body",
        row: "case 2, 18",
        settings: &["linger_timeout=1s"],
        attackers: 20,
        expect: &[Ended(0.0, 4.0), Refuses, Status(&[413]), Memory(512 << 10)],
        play: |peer| Box::pin(bodies::large(peer)),
        ..USUAL
    },
    Attack {
        name: "slow-body",
        row: "14",
        settings: &["request_body_grace=1s", "request_body_silence=1s"],
        attackers: 100,
        expect: &[Ended(1.0, 3.5), Status(&[408]), Memory(64 << 10)],
        play: |peer| Box::pin(bodies::slow(peer)),
        ..USUAL
    },
    Attack {
        name: "response-unread",
        row: "25",
        settings: &["response_grace=1s", "response_silence=1s"],
        attackers: 100,
        expect: &[Reset(1.0, 8.0), Memory(256 << 10)],
        play: |peer| Box::pin(responses::unread(peer)),
        ..USUAL
    },
    Attack {
        name: "response-slow",
        row: "26",
        settings: &["response_grace=1s", "response_rate=100000", "response_silence=2s"],
        attackers: 50,
        expect: &[Reset(1.0, 8.0), Memory(256 << 10)],
        play: |peer| Box::pin(responses::slowly(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-large",
        row: "case 6, 37",
        protocol: Protocol::WebSocket,
        settings: &["linger_timeout=1s", "websocket_close_timeout=1s"],
        attackers: 20,
        expect: &[Ended(0.0, 4.0), Code(&[1009]), Memory(1 << 20)],
        play: |peer| Box::pin(websocket::large(peer)),
        ..USUAL
    },
    Attack {
        name: "tls-slow-handshake",
        row: "32",
        protocol: Protocol::Tcp,
        places: Places::Tls,
        settings: &["tls_handshake_timeout=1s"],
        attackers: 100,
        expect: &[Ended(1.0, 3.5), Memory(64 << 10)],
        play: |peer| Box::pin(tls::dripped(peer)),
        ..USUAL
    },
    // ---- Connections
    Attack {
        name: "idle",
        row: "2",
        settings: &["keep_alive_timeout=1s"],
        attackers: 100,
        expect: &[Ended(1.0, 3.5), Status(&[200]), Memory(64 << 10)],
        play: |peer| Box::pin(connections::idle(peer)),
        ..USUAL
    },
    Attack {
        name: "many-silent",
        row: "3",
        places: Places::Tokio,
        settings: &["keep_alive_timeout=3s"],
        weight: Weight::Crowd,
        expect: &[Ended(0.0, 14.0), Memory(12 << 10), Visitor(1.0)],
        play: |peer| Box::pin(connections::silent(peer)),
        ..USUAL
    },
    Attack {
        name: "slow-head",
        row: "4",
        settings: &["request_head_timeout=1s"],
        attackers: 100,
        expect: &[Ended(1.0, 3.5), Status(&[408]), Memory(64 << 10)],
        play: |peer| Box::pin(connections::slow_head(peer)),
        ..USUAL
    },
    Attack {
        name: "slow-head-bytes",
        row: "5",
        settings: &["request_head_timeout=1s"],
        attackers: 50,
        expect: &[Ended(1.0, 3.5), Status(&[408]), Memory(64 << 10)],
        play: |peer| Box::pin(connections::slow_head_bytes(peer)),
        ..USUAL
    },
    Attack {
        name: "many-slow-heads",
        row: "4, 3",
        places: Places::TokioPlain,
        settings: &["request_head_timeout=3s"],
        weight: Weight::Crowd,
        expect: &[Ended(0.0, 20.0), Memory(12 << 10), Visitor(1.0)],
        play: |peer| Box::pin(connections::slow_head(peer)),
        ..USUAL
    },
    Attack {
        name: "slow-second-head",
        row: "6",
        settings: &["request_head_timeout=1s"],
        attackers: 50,
        expect: &[Ended(1.0, 3.5), Status(&[408])],
        play: |peer| Box::pin(connections::slow_second_head(peer)),
        ..USUAL
    },
    Attack {
        name: "blank-lines",
        row: "7",
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s"],
        attackers: 10,
        expect: &[Ended(0.0, 3.5), Status(&[400])],
        play: |peer| Box::pin(connections::blank_lines(peer)),
        ..USUAL
    },
    Attack {
        name: "huge-field",
        row: "8",
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s"],
        attackers: 10,
        expect: &[Ended(0.0, 3.5), Status(&[431]), Memory(256 << 10)],
        play: |peer| Box::pin(connections::huge_field(peer)),
        ..USUAL
    },
    Attack {
        name: "many-fields",
        row: "8",
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s"],
        attackers: 10,
        expect: &[Ended(0.0, 3.5), Status(&[431]), Memory(256 << 10)],
        play: |peer| Box::pin(connections::many_fields(peer)),
        ..USUAL
    },
    Attack {
        name: "long-target",
        row: "8",
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s"],
        attackers: 10,
        expect: &[Ended(0.0, 3.5), Status(&[414]), Memory(256 << 10)],
        play: |peer| Box::pin(connections::long_target(peer)),
        ..USUAL
    },
    Attack {
        name: "pipelined",
        row: "9",
        settings: &["requests_per_connection=1000000", "response_grace=1s", "response_silence=1s"],
        attackers: 20,
        expect: &[Reset(1.0, 8.0), Memory(256 << 10)],
        play: |peer| Box::pin(connections::pipelined(peer)),
        ..USUAL
    },
    Attack {
        name: "churn",
        row: "10",
        attackers: 20,
        expect: &[Ended(0.0, 5.0), Answers(1000), Memory(128 << 10)],
        play: |peer| Box::pin(connections::churn(peer)),
        ..USUAL
    },
    Attack {
        name: "connect-and-reset",
        row: "11",
        protocol: Protocol::Tcp,
        places: Places::Plain,
        attackers: 200,
        weight: Weight::Heavy,
        expect: &[Lives, Growth(16 << 20), Back(5.0)],
        play: |peer| Box::pin(crowds::connect_and_reset(peer)),
        ..USUAL
    },
    Attack {
        name: "descriptors",
        row: "12",
        protocol: Protocol::Tcp,
        places: Places::Plain,
        settings: &["keep_alive_timeout=1s"],
        attackers: 200,
        descriptors: Some(64),
        expect: &[Ended(0.0, 12.0), Recovers, Idle(0.5)],
        play: |peer| Box::pin(crowds::takes_descriptors(peer)),
        ..USUAL
    },
    Attack {
        name: "one-address",
        row: "13",
        places: Places::TokioPlain,
        settings: &["max_connections=100"],
        attackers: 200,
        one_address: true,
        expect: &[Visitor(1.0)],
        play: |peer| Box::pin(crowds::busy_for_long(peer)),
        ..USUAL
    },
    // ---- Request content
    Attack {
        name: "below-the-rate",
        row: "15",
        settings: &["request_body_grace=1s", "request_body_rate=1000"],
        attackers: 20,
        expect: &[Ended(1.0, 3.5), Status(&[408])],
        play: |peer| Box::pin(bodies::below_the_rate(peer)),
        ..USUAL
    },
    Attack {
        name: "above-the-rate",
        row: "15",
        settings: &["request_body_grace=1s", "request_body_rate=1000"],
        attackers: 20,
        expect: &[Lives, Status(&[200])],
        play: |peer| Box::pin(live::above_the_rate(peer)),
        ..USUAL
    },
    Attack {
        name: "body-never-sent",
        row: "16",
        settings: &["request_body_grace=1s"],
        attackers: 50,
        expect: &[Ended(1.0, 3.5), Status(&[408])],
        play: |peer| Box::pin(bodies::never_sent(peer)),
        ..USUAL
    },
    Attack {
        name: "slow-application",
        row: "17",
        settings: &[
            "request_body_grace=1s",
            "request_body_silence=1s",
            "keep_alive_timeout=1s",
            "response_grace=1s",
        ],
        attackers: 20,
        expect: &[Lives, Status(&[200])],
        play: |peer| Box::pin(live::slow_application(peer)),
        ..USUAL
    },
    Attack {
        name: "declared-too-large",
        row: "18",
        places: Places::Tokio,
        attackers: 20,
        expect: &[Ended(0.0, 2.5), Status(&[413])],
        play: |peer| Box::pin(bodies::declared_too_large(peer)),
        ..USUAL
    },
    Attack {
        name: "endless-chunks",
        row: "19",
        settings: &["request_body_limit=4MiB", "linger_timeout=1s"],
        attackers: 5,
        expect: &[Ended(0.0, 5.0), Status(&[413]), Memory(1 << 20)],
        play: |peer| Box::pin(bodies::endless_chunks(peer)),
        ..USUAL
    },
    Attack {
        name: "tiny-chunks",
        row: "20",
        places: Places::TokioPlain,
        attackers: 10,
        expect: &[Lives, Status(&[200]), Memory(1 << 20)],
        play: |peer| Box::pin(bodies::tiny_chunks(peer)),
        ..USUAL
    },
    Attack {
        name: "extended-chunks",
        row: "20",
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s"],
        attackers: 10,
        expect: &[Ended(0.0, 3.5), Status(&[400])],
        play: |peer| Box::pin(bodies::extended_chunks(peer)),
        ..USUAL
    },
    Attack {
        name: "endless-trailers",
        row: "21",
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s"],
        attackers: 10,
        expect: &[Ended(0.0, 3.5), Status(&[400])],
        play: |peer| Box::pin(bodies::endless_trailers(peer)),
        ..USUAL
    },
    Attack {
        name: "endless-extension",
        row: "21",
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s"],
        attackers: 10,
        expect: &[Ended(0.0, 3.5), Status(&[400])],
        play: |peer| Box::pin(bodies::endless_extension(peer)),
        ..USUAL
    },
    Attack {
        name: "unread-body",
        row: "22",
        settings: &["linger_timeout=1s"],
        attackers: 20,
        expect: &[Ended(1.0, 4.0), Status(&[405]), Memory(256 << 10)],
        play: |peer| Box::pin(bodies::unread(peer)),
        ..USUAL
    },
    Attack {
        name: "expects",
        row: "23",
        settings: &["request_body_grace=1s"],
        attackers: 20,
        expect: &[Ended(1.0, 3.5), Answers(2), Status(&[408])],
        play: |peer| Box::pin(bodies::expects(peer)),
        ..USUAL
    },
    Attack {
        name: "expects-refusal",
        row: "23",
        places: Places::TokioPlain,
        attackers: 5,
        expect: &[Lives, Answers(1), Status(&[405])],
        play: |peer| Box::pin(bodies::expects_refusal(peer)),
        ..USUAL
    },
    Attack {
        name: "smuggling",
        row: "24",
        places: Places::TokioPlain,
        attackers: bodies::SMUGGLING.len(),
        expect: &[Ended(0.0, 3.5), Answers(1), Status(&[400])],
        play: |peer| Box::pin(bodies::smuggled(peer)),
        ..USUAL
    },
    // ---- Answers
    Attack {
        name: "many-unread",
        row: "27",
        places: Places::TokioPlain,
        settings: &["response_grace=2s", "response_silence=1s"],
        attackers: 2000,
        weight: Weight::Heavy,
        expect: &[Reset(1.0, 12.0), Memory(160 << 10)],
        play: |peer| Box::pin(responses::unread(peer)),
        ..USUAL
    },
    Attack {
        name: "events",
        row: "28",
        settings: &[
            "response_grace=200ms",
            "keep_alive_timeout=200ms",
            "request_head_timeout=200ms",
        ],
        attackers: 20,
        expect: &[Lives],
        play: |peer| Box::pin(live::events(peer)),
        ..USUAL
    },
    Attack {
        name: "events-unread",
        row: "29",
        settings: &["response_grace=1s", "response_silence=1s"],
        attackers: 20,
        expect: &[Reset(1.0, 8.0), Memory(256 << 10)],
        play: |peer| Box::pin(responses::events_unread(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-events-unread",
        row: "29",
        protocol: Protocol::Http2,
        settings: &["response_grace=1s", "response_silence=1s", "keep_alive_timeout=1s"],
        attackers: 20,
        expect: &[Ended(1.0, 8.0), Memory(128 << 10)],
        play: |peer| Box::pin(responses::h2_events_unread(peer)),
        ..USUAL
    },
    Attack {
        name: "half-closed",
        row: "30, L9",
        settings: &["keep_alive_timeout=1s"],
        attackers: 20,
        expect: &[Lives, Status(&[200])],
        play: |peer| Box::pin(live::half_closed(peer)),
        ..USUAL
    },
    // ---- TLS
    Attack {
        name: "tls-silent",
        row: "31",
        protocol: Protocol::Tcp,
        places: Places::Tls,
        settings: &["tls_handshake_timeout=1s"],
        attackers: 100,
        expect: &[Ended(1.0, 3.5), Memory(32 << 10)],
        play: |peer| Box::pin(tls::silent(peer)),
        ..USUAL
    },
    Attack {
        name: "tls-stopped",
        row: "32",
        protocol: Protocol::Tcp,
        places: Places::Tls,
        settings: &["tls_handshake_timeout=1s"],
        attackers: 50,
        expect: &[Ended(1.0, 3.5), Memory(64 << 10)],
        play: |peer| Box::pin(tls::stopped(peer)),
        ..USUAL
    },
    Attack {
        name: "tls-unfinished",
        row: "32",
        protocol: Protocol::Tcp,
        places: Places::Tls,
        settings: &["tls_handshake_timeout=1s"],
        attackers: 50,
        expect: &[Ended(1.0, 3.5), Memory(128 << 10)],
        play: |peer| Box::pin(tls::unfinished(peer)),
        ..USUAL
    },
    Attack {
        name: "tls-many-handshakes",
        row: "33",
        protocol: Protocol::Tcp,
        places: Places::TokioTls,
        attackers: 50,
        weight: Weight::Heavy,
        expect: &[Lives, Growth(32 << 20)],
        play: |peer| Box::pin(tls::many_handshakes(peer)),
        ..USUAL
    },
    Attack {
        name: "tls-share-of-handshakes",
        row: "33",
        protocol: Protocol::Tcp,
        places: Places::Tls,
        settings: &["max_connections=400", "handshakes_share=10", "tls_handshake_timeout=4s"],
        attackers: 70,
        weight: Weight::Heavy,
        expect: &[Ended(0.0, 8.0), Holds(40), Visitor(2.0)],
        play: |peer| Box::pin(tls::stopped(peer)),
        ..USUAL
    },
    Attack {
        name: "tls-too-large",
        row: "34",
        protocol: Protocol::Tcp,
        places: Places::Tls,
        settings: &["linger_timeout=1s"],
        attackers: 10,
        expect: &[Ended(0.0, 3.5), Memory(256 << 10)],
        play: |peer| Box::pin(tls::too_large(peer)),
        ..USUAL
    },
    Attack {
        name: "tls-key-updates",
        row: "35",
        protocol: Protocol::Tcp,
        places: Places::TokioTls,
        attackers: 10,
        expect: &[Ended(0.0, 8.0), Memory(256 << 10)],
        play: |peer| Box::pin(tls::key_updates(peer)),
        ..USUAL
    },
    Attack {
        name: "tls-empty-records",
        row: "35",
        protocol: Protocol::Tcp,
        places: Places::TokioTls,
        settings: &["linger_timeout=1s"],
        attackers: 10,
        expect: &[Ended(0.0, 8.0), Memory(256 << 10)],
        play: |peer| Box::pin(tls::empty_records(peer)),
        ..USUAL
    },
    Attack {
        name: "tls-tiny-records",
        row: "35",
        protocol: Protocol::Tcp,
        places: Places::TokioTls,
        settings: &["linger_timeout=1s"],
        attackers: 10,
        expect: &[Ended(0.0, 8.0), Memory(256 << 10)],
        play: |peer| Box::pin(tls::tiny_records(peer)),
        ..USUAL
    },
    Attack {
        name: "tls-warnings",
        row: "35",
        protocol: Protocol::Tcp,
        places: Places::TokioTls,
        settings: &["linger_timeout=1s"],
        attackers: 10,
        expect: &[Ended(0.0, 8.0), Memory(256 << 10)],
        play: |peer| Box::pin(tls::warnings(peer)),
        ..USUAL
    },
    Attack {
        name: "plaintext-to-tls",
        row: "36",
        places: Places::TokioTls,
        attackers: 10,
        expect: &[Ended(0.0, 2.5), Status(&[400])],
        play: |peer| Box::pin(tls::plaintext_to_tls(peer)),
        ..USUAL
    },
    Attack {
        name: "tls-to-plaintext",
        row: "36",
        protocol: Protocol::Tcp,
        places: Places::TokioPlain,
        attackers: 10,
        expect: &[Ended(0.0, 2.5)],
        play: |peer| Box::pin(tls::tls_to_plaintext(peer)),
        ..USUAL
    },
    // ---- WebSocket
    Attack {
        name: "ws-declared",
        row: "37",
        protocol: Protocol::WebSocket,
        places: Places::TokioPlain,
        attackers: 10,
        expect: &[Ended(0.0, 2.5), Code(&[1009]), Memory(64 << 10)],
        play: |peer| Box::pin(websocket::declared_too_large(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-fragments",
        row: "38",
        protocol: Protocol::WebSocket,
        places: Places::TokioPlain,
        settings: &[
            "websocket_message_limit=4MiB",
            "linger_timeout=1s",
            "websocket_close_timeout=1s",
        ],
        attackers: 5,
        expect: &[Ended(0.0, 5.0), Code(&[1009]), Memory(12 << 20)],
        play: |peer| Box::pin(websocket::large_by_fragments(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-declared-not-sent",
        row: "39",
        protocol: Protocol::WebSocket,
        settings: &["request_body_grace=1s", "request_body_silence=1s"],
        attackers: 20,
        expect: &[Ended(1.0, 3.5), Code(&[1008]), Memory(128 << 10)],
        play: |peer| Box::pin(websocket::declared_not_sent(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-empty-fragments",
        row: "40",
        protocol: Protocol::WebSocket,
        places: Places::Tokio,
        settings: &["linger_timeout=1s", "websocket_close_timeout=1s"],
        attackers: 5,
        expect: &[Ended(0.0, 5.0), Code(&[1008]), Memory(256 << 10)],
        play: |peer| Box::pin(websocket::empty_fragments(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-tiny-fragments",
        row: "40",
        protocol: Protocol::WebSocket,
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s", "websocket_close_timeout=1s"],
        attackers: 5,
        expect: &[Ended(0.0, 5.0), Code(&[1008]), Memory(256 << 10)],
        play: |peer| Box::pin(websocket::tiny_fragments(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-pings",
        row: "41",
        protocol: Protocol::WebSocket,
        places: Places::Tokio,
        settings: &["linger_timeout=1s", "websocket_close_timeout=1s"],
        attackers: 5,
        expect: &[Ended(0.0, 5.0), Code(&[1008]), Memory(256 << 10)],
        play: |peer| Box::pin(websocket::pings(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-pongs",
        row: "41",
        protocol: Protocol::WebSocket,
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s", "websocket_close_timeout=1s"],
        attackers: 5,
        expect: &[Ended(0.0, 5.0), Code(&[1008]), Memory(256 << 10)],
        play: |peer| Box::pin(websocket::pongs(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-unread",
        row: "42",
        protocol: Protocol::WebSocket,
        settings: &["response_grace=1s", "response_silence=1s"],
        attackers: 10,
        expect: &[Reset(1.0, 10.0), Memory(6 << 20)],
        play: |peer| Box::pin(websocket::unread(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-bomb",
        row: "43",
        protocol: Protocol::WebSocket,
        places: Places::TokioPlain,
        settings: &["websocket_deflate=on", "websocket_message_limit=1MiB"],
        attackers: 5,
        expect: &[Ended(0.0, 5.0), Code(&[1009]), Memory(4 << 20)],
        play: |peer| Box::pin(websocket::bomb(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-dead-peer",
        row: "44",
        protocol: Protocol::WebSocket,
        settings: &["websocket_ping_interval=1s", "websocket_pong_timeout=1s"],
        attackers: 50,
        expect: &[Ended(2.0, 4.5), Code(&[1011])],
        play: |peer| Box::pin(websocket::dead(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-quiet",
        row: "45",
        protocol: Protocol::WebSocket,
        settings: &[
            "keep_alive_timeout=500ms",
            "websocket_ping_interval=1s",
            "websocket_pong_timeout=1s",
        ],
        attackers: 20,
        expect: &[Lives],
        play: |peer| Box::pin(live2::quiet(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-close-unanswered",
        row: "46",
        protocol: Protocol::WebSocket,
        settings: &[
            "websocket_idle_timeout=500ms",
            "websocket_close_timeout=1s",
            "linger_timeout=1s",
        ],
        attackers: 20,
        expect: &[Ended(1.5, 4.5), Code(&[1001])],
        play: |peer| Box::pin(websocket::close_unanswered(peer)),
        ..USUAL
    },
    // ---- HTTP/2
    Attack {
        name: "h2-rapid-reset",
        row: "47",
        protocol: Protocol::Http2,
        settings: &["linger_timeout=1s", "requests_per_connection=1000000"],
        attackers: 5,
        expect: &[Ended(0.0, 6.0), Code(&[ENHANCE_YOUR_CALM]), Memory(1 << 20)],
        play: |peer| Box::pin(http2::rapid_reset(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-made-you-reset",
        row: "48",
        protocol: Protocol::Http2,
        places: Places::Tokio,
        settings: &["linger_timeout=1s", "requests_per_connection=1000000"],
        attackers: 5,
        expect: &[Ended(0.0, 6.0), Code(&[ENHANCE_YOUR_CALM]), Memory(1 << 20)],
        play: |peer| Box::pin(http2::made_you_reset(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-continuations",
        row: "49",
        protocol: Protocol::Http2,
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s", "request_head_timeout=2s"],
        attackers: 5,
        expect: &[Ended(0.0, 6.0), Memory(512 << 10)],
        play: |peer| Box::pin(http2::continuations(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-empty-continuations",
        row: "49",
        protocol: Protocol::Http2,
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s", "request_head_timeout=2s"],
        attackers: 5,
        expect: &[Ended(0.0, 6.0), Memory(512 << 10)],
        play: |peer| Box::pin(http2::empty_continuations(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-slow-head",
        row: "49, 4",
        protocol: Protocol::Http2,
        settings: &["request_head_timeout=1s"],
        attackers: 20,
        expect: &[Ended(1.0, 4.0), Memory(256 << 10)],
        play: |peer| Box::pin(http2::slow_head(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-settings",
        row: "50",
        protocol: Protocol::Http2,
        places: Places::Tokio,
        settings: &["linger_timeout=1s"],
        attackers: 5,
        expect: &[Ended(0.0, 6.0), Code(&[ENHANCE_YOUR_CALM]), Memory(512 << 10)],
        play: |peer| Box::pin(http2::settings_flood(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-pings",
        row: "50",
        protocol: Protocol::Http2,
        places: Places::Tokio,
        settings: &["linger_timeout=1s"],
        attackers: 5,
        expect: &[Ended(0.0, 6.0), Code(&[ENHANCE_YOUR_CALM]), Memory(512 << 10)],
        play: |peer| Box::pin(http2::pings(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-priorities",
        row: "50",
        protocol: Protocol::Http2,
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s"],
        attackers: 5,
        expect: &[Ended(0.0, 6.0), Code(&[ENHANCE_YOUR_CALM]), Memory(512 << 10)],
        play: |peer| Box::pin(http2::priorities(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-empty-data",
        row: "50",
        protocol: Protocol::Http2,
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s"],
        attackers: 5,
        expect: &[Ended(0.0, 6.0), Code(&[ENHANCE_YOUR_CALM]), Memory(512 << 10)],
        play: |peer| Box::pin(http2::empty_data(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-unknown-frames",
        row: "50",
        protocol: Protocol::Http2,
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s"],
        attackers: 5,
        expect: &[Ended(0.0, 6.0), Code(&[ENHANCE_YOUR_CALM]), Memory(512 << 10)],
        play: |peer| Box::pin(http2::unknown_frames(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-window-updates",
        row: "53",
        protocol: Protocol::Http2,
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s"],
        attackers: 5,
        expect: &[Ended(0.0, 6.0), Code(&[ENHANCE_YOUR_CALM]), Memory(512 << 10)],
        play: |peer| Box::pin(http2::window_updates(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-bomb",
        row: "51",
        protocol: Protocol::Http2,
        places: Places::TokioPlain,
        attackers: 10,
        expect: &[Lives, Status(&[431]), Memory(512 << 10)],
        play: |peer| Box::pin(http2::bomb(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-closed-window",
        row: "52",
        protocol: Protocol::Http2,
        settings: &["response_grace=1s", "response_silence=1s", "keep_alive_timeout=1s"],
        attackers: 20,
        expect: &[Ended(1.0, 8.0), Memory(512 << 10)],
        play: |peer| Box::pin(http2::closed_window(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-window-crumbs",
        row: "53, 59",
        protocol: Protocol::Http2,
        settings: &["response_grace=1s", "response_silence=1s", "keep_alive_timeout=1s"],
        attackers: 10,
        expect: &[Ended(1.0, 10.0), Memory(512 << 10)],
        play: |peer| Box::pin(http2::window_crumbs(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-slow-streams",
        row: "54",
        protocol: Protocol::Http2,
        settings: &["request_body_grace=1s", "request_body_silence=1s"],
        attackers: 10,
        expect: &[Lives],
        play: |peer| Box::pin(http2::slow_streams(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-no-stream",
        row: "55",
        protocol: Protocol::Http2,
        settings: &["keep_alive_timeout=1s"],
        attackers: 50,
        expect: &[Ended(1.0, 3.5), Code(&[0]), Memory(64 << 10)],
        play: |peer| Box::pin(http2::no_stream(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-refused-streams",
        row: "56",
        protocol: Protocol::Http2,
        places: Places::Tokio,
        settings: &["linger_timeout=1s", "requests_per_connection=1000000"],
        attackers: 5,
        expect: &[Ended(0.0, 6.0), Code(&[ENHANCE_YOUR_CALM]), Memory(1 << 20)],
        play: |peer| Box::pin(http2::refused_streams(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-padding",
        row: "57",
        protocol: Protocol::Http2,
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s"],
        attackers: 5,
        expect: &[Ended(0.0, 6.0), Code(&[ENHANCE_YOUR_CALM]), Memory(512 << 10)],
        play: |peer| Box::pin(http2::padding(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-crumbs",
        row: "58",
        protocol: Protocol::Http2,
        places: Places::TokioPlain,
        attackers: 10,
        expect: &[Lives, Status(&[431]), Memory(512 << 10)],
        play: |peer| Box::pin(http2::crumbs(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-window-overflow",
        row: "60",
        protocol: Protocol::Http2,
        places: Places::TokioPlain,
        attackers: 5,
        expect: &[Ended(0.0, 3.5), Code(&[3])],
        play: |peer| Box::pin(http2::window_overflow(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-settings-ack",
        row: "60",
        protocol: Protocol::Http2,
        settings: &["http2_settings_ack_timeout=1s"],
        attackers: 10,
        expect: &[Ended(1.0, 4.0), Code(&[4])],
        play: |peer| Box::pin(http2::settings_unacknowledged(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-settings-games",
        row: "60",
        protocol: Protocol::Http2,
        places: Places::TokioPlain,
        settings: &["linger_timeout=1s"],
        attackers: 5,
        expect: &[Ended(0.0, 6.0), Code(&[ENHANCE_YOUR_CALM]), Memory(512 << 10)],
        play: |peer| Box::pin(http2::settings_games(peer)),
        ..USUAL
    },
    // ---- Many connections
    Attack {
        name: "gone-at-once",
        row: "61",
        places: Places::Plain,
        attackers: 500,
        weight: Weight::Heavy,
        descriptors: Some(64),
        expect: &[Lives, Visitor(1.0), Recovers],
        play: |peer| Box::pin(crowds::gone_at_once(peer)),
        ..USUAL
    },
    Attack {
        name: "gone-behind-a-byte",
        row: "62",
        attackers: 50,
        expect: &[Lives, Back(5.0)],
        play: |peer| Box::pin(crowds::gone_behind_a_byte(peer)),
        ..USUAL
    },
    Attack {
        name: "gone-after-fin",
        row: "63",
        attackers: 50,
        expect: &[Lives, Back(5.0)],
        play: |peer| Box::pin(crowds::gone_after_fin(peer)),
        ..USUAL
    },
    Attack {
        name: "vanished",
        row: "64",
        places: Places::Plain,
        attackers: 5,
        expect: &[Lives],
        play: |peer| Box::pin(crowds::vanished(peer)),
        ..USUAL
    },
    Attack {
        name: "at-the-bound",
        row: "65",
        places: Places::Tokio,
        attackers: 500,
        weight: Weight::Heavy,
        expect: &[Lives, Memory(160 << 10)],
        play: |peer| Box::pin(crowds::at_the_bound(peer)),
        ..USUAL
    },
    Attack {
        name: "memory-of-all",
        row: "65",
        places: Places::TokioPlain,
        settings: &["connections_memory=8MiB", "response_grace=5s", "response_silence=5s"],
        attackers: 250,
        weight: Weight::Heavy,
        expect: &[Ended(0.0, 15.0), Growth(12 << 20), Visitor(2.0)],
        play: |peer| Box::pin(responses::unread(peer)),
        ..USUAL
    },
    Attack {
        name: "bully",
        row: "66",
        places: Places::Plain,
        settings: &["requests_per_connection=1000000000"],
        attackers: 4,
        weight: Weight::Heavy,
        expect: &[Lives, Memory(512 << 10)],
        play: |peer| Box::pin(crowds::bully(peer)),
        ..USUAL
    },
    Attack {
        name: "large-directory",
        row: "67",
        places: Places::Plain,
        attackers: 10,
        weight: Weight::Heavy,
        files: true,
        expect: &[Lives, Status(&[200]), Growth(64 << 20)],
        play: |peer| Box::pin(crowds::large_directory(peer)),
        ..USUAL
    },
    // ---- Clients that must live
    Attack {
        name: "slow-reader",
        row: "L1",
        places: Places::Tokio,
        attackers: 10,
        expect: &[Lives],
        play: |peer| Box::pin(live::slow_reader(peer)),
        ..USUAL
    },
    Attack {
        name: "paused-upload",
        row: "L2",
        places: Places::Tokio,
        attackers: 10,
        expect: &[Lives, Status(&[200])],
        play: |peer| Box::pin(live::paused_upload(peer)),
        ..USUAL
    },
    Attack {
        name: "paused-download",
        row: "L2",
        places: Places::Tokio,
        attackers: 10,
        expect: &[Lives],
        play: |peer| Box::pin(live::paused_download(peer)),
        ..USUAL
    },
    Attack {
        name: "stopped-server",
        row: "L3",
        settings: &[
            "keep_alive_timeout=2s",
            "request_head_timeout=2s",
            "request_body_grace=2s",
            "request_body_silence=2s",
            "response_grace=2s",
            "response_silence=2s",
            "tls_handshake_timeout=2s",
        ],
        attackers: 13,
        stops: true,
        expect: &[Lives, Status(&[200])],
        play: |peer| Box::pin(live::stopped_server(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-in-pieces",
        row: "L4",
        protocol: Protocol::WebSocket,
        settings: &[
            "websocket_ping_interval=1s",
            "websocket_pong_timeout=1s",
            "request_body_grace=1s",
        ],
        attackers: 5,
        expect: &[Lives],
        play: |peer| Box::pin(live2::in_pieces(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-chat",
        row: "L5",
        protocol: Protocol::WebSocket,
        attackers: 2,
        expect: &[Lives],
        play: |peer| Box::pin(live2::chat(peer)),
        ..USUAL
    },
    Attack {
        name: "refused-upload",
        row: "L6",
        attackers: 3,
        weight: Weight::Heavy,
        expect: &[Lives, Status(&[413])],
        play: |peer| Box::pin(live::refused_upload(peer)),
        ..USUAL
    },
    Attack {
        name: "refused-route",
        row: "L6",
        settings: &["request_body_limit=64MiB"],
        attackers: 3,
        weight: Weight::Heavy,
        expect: &[Lives, Status(&[405])],
        play: |peer| Box::pin(live::refused_route(peer)),
        ..USUAL
    },
    Attack {
        name: "kept-by-a-proxy",
        row: "L7",
        settings: &["keep_alive_timeout=2s", "requests_per_connection=1000000"],
        attackers: 20,
        expect: &[Lives],
        play: |peer| Box::pin(live::kept_by_a_proxy(peer)),
        ..USUAL
    },
    Attack {
        name: "health-checks",
        row: "L8",
        places: Places::Tokio,
        attackers: 4,
        expect: &[Lives],
        play: |peer| Box::pin(live::health_check(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-browser",
        row: "L10",
        protocol: Protocol::Http2,
        places: Places::Tokio,
        attackers: 5,
        expect: &[Lives, Status(&[200])],
        play: |peer| Box::pin(live2::browser(peer)),
        ..USUAL
    },
    Attack {
        name: "h2-cancels",
        row: "L11",
        protocol: Protocol::Http2,
        places: Places::Tokio,
        attackers: 2,
        expect: &[Lives],
        play: |peer| Box::pin(live2::cancels(peer)),
        ..USUAL
    },
    Attack {
        name: "ws-kept-context",
        row: "L12",
        protocol: Protocol::WebSocket,
        places: Places::TokioPlain,
        settings: &["websocket_deflate=on"],
        attackers: 5,
        expect: &[Ended(0.0, 3.5), Code(&[1007])],
        play: |peer| Box::pin(live2::kept_context(peer)),
        ..USUAL
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_row_of_the_attacks_is_played() {
        let rows: HashSet<_> = ATTACKS.iter().flat_map(|it| it.row.split(", ")).collect();
        let attacks = (1..=67).map(|row| row.to_string());
        for row in attacks.chain((1..=12).map(|row| format!("L{row}"))) {
            assert!(rows.contains(row.as_str()), "row {row} is not played");
        }
    }

    #[test]
    fn names_are_unique_and_settings_exist() {
        let mut names = HashSet::new();
        for attack in ATTACKS {
            assert!(names.insert(attack.name), "{} is there twice", attack.name);
            assert!(!attack.expect.is_empty(), "{} expects nothing", attack.name);
            for setting in attack.settings {
                let (name, value) = setting.split_once('=').expect("NAME=VALUE");
                let builder = portcullis::Config::builder().set(name, value);
                assert!(builder.is_ok(), "{}: {setting}", attack.name);
            }
        }
    }
}
