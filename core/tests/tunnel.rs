//! Tunnels over HTTP/1.1 through the public calls: how one begins, its two directions, its timers and its ends.

use bytes::Bytes;
use http::StatusCode;
use portcullis::{
    BodyLength, CloseReason, Config, Expiry, Life, Misuse, Party, Phase, ResetReason, Tick, Timer,
};
use portcullis_play::support::{
    GET, HOUR, NANOSECOND, POST_5, Script, Seen, data, end, fields, secs, with,
};

const CONNECT: &str = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
const UPGRADE: &str =
    "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
const ECHO: (&str, &str) = ("upgrade", "echo");

fn accept(
    script: &mut Script,
    status: u16,
    lines: &[(&'static str, &'static str)],
) -> Result<(), Misuse> {
    let status = StatusCode::from_u16(status).expect("a status");
    let (now, stream) = (script.now, script.stream());
    script.connection.stream(now, stream).accept_tunnel(status, &fields(lines))
}

fn close(script: &mut Script) -> Result<(), Misuse> {
    let (now, stream) = (script.now, script.stream());
    script.connection.stream(now, stream).close_tunnel()
}

/// A tunnel that was accepted at 0, and whose application asks for `credit` bytes.
fn open_under(config: Config, credit: u64) -> Script {
    let mut script = Script::under(config);
    assert_eq!(script.send(CONNECT).len(), 2);
    accept(&mut script, 200, &[]).expect("it was asked for");
    assert_eq!(script.output(), "HTTP/1.1 200 OK\r\n\r\n");
    script.ask(credit);
    script
}

fn open(credit: u64) -> Script {
    open_under(Config::default(), credit)
}

// ---- how it begins ------------------------------------------------------------------------------

#[test]
fn connect_is_accepted_with_2xx_without_framing() {
    let mut script = Script::after(CONNECT);
    accept(&mut script, 201, &[("proxy-agent", "p"), ("connection", "close")]).expect("fits");
    assert_eq!(script.output(), "HTTP/1.1 201 Created\r\nproxy-agent: p\r\n\r\n");
    assert_eq!((script.connection.phase(), script.connection.requests()), (Phase::Tunnel, 1));
}

#[test]
fn an_upgrade_is_accepted_with_101_and_the_protocol() {
    let mut script = Script::after(UPGRADE);
    accept(&mut script, 101, &[ECHO, ("x", "y")]).expect("it was asked for");
    let head =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\nx: y\r\n\r\n";
    assert_eq!(script.output(), head);
}

#[test]
fn nothing_else_becomes_a_tunnel() {
    let old = "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    let unnamed = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\n\r\n";
    let with_content = "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\nContent-Length: 5\r\n\r\n";
    for (request, status, lines, misuse) in [
        (GET, 200, &[][..], Misuse::NotUpgradable),
        (GET, 101, &[ECHO], Misuse::NotUpgradable),
        (POST_5, 101, &[ECHO], Misuse::NotUpgradable),
        (old, 101, &[ECHO], Misuse::NotUpgradable),
        (head, 101, &[ECHO], Misuse::NotUpgradable),
        (unnamed, 101, &[ECHO], Misuse::NotUpgradable),
        (with_content, 101, &[ECHO], Misuse::NotUpgradable),
        (UPGRADE, 200, &[ECHO], Misuse::Status),
        (UPGRADE, 101, &[], Misuse::Framing),
        (UPGRADE, 101, &[ECHO, ("content-length", "0")], Misuse::Framing),
        (CONNECT, 101, &[ECHO], Misuse::Status),
        (CONNECT, 404, &[], Misuse::Status),
        (CONNECT, 200, &[("transfer-encoding", "chunked")], Misuse::Framing),
        (CONNECT, 200, &[("content-length", "0")], Misuse::Framing),
    ] {
        let mut script = Script::after(request);
        let before = script.status();
        assert_eq!(accept(&mut script, status, lines), Err(misuse), "{status} to {request}");
        assert_eq!((script.status(), script.waiting()), (before, String::new()));
        // The request can still be answered.
        script.answer(404, "no");
        assert!(script.output().starts_with("HTTP/1.1 404 "));
    }
}

#[test]
fn only_a_request_that_asks_says_so() {
    use portcullis::{Connection, Event};
    for (request, asks) in [
        (CONNECT, true),
        (UPGRADE, true),
        ("CONNECT a:1 HTTP/1.0\r\n\r\n", true),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, upgrade\r\nUpgrade: x\r\n\r\n",
            true,
        ),
        ("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", false),
        (GET, false),
    ] {
        let mut connection = Connection::new(Config::default().into(), Tick::ZERO);
        let mut wire = request.as_bytes().to_vec();
        let mut events = connection.receive(Tick::ZERO, &mut wire).expect("it reads");
        let Some((_, Event::Request { head, .. })) = events.next() else { panic!("{request}") };
        assert_eq!(head.asks_for_tunnel(), asks, "{request}");
    }
}

#[test]
fn a_tunnel_has_no_other_answer_and_no_messages() {
    let mut script = open(10);
    let respond = script.respond_with(200, &[], BodyLength::Known(0));
    assert_eq!(respond, Err(Misuse::AlreadyAnswered));
    assert_eq!(accept(&mut script, 200, &[]), Err(Misuse::AlreadyAnswered));
    let (now, stream) = (script.now, script.stream());
    let mut stream = script.connection.stream(now, stream);
    assert_eq!(stream.send_message(true, &mut Bytes::new()), Err(Misuse::NotWebSocket));
    assert_eq!(stream.ping(&[]), Err(Misuse::NotWebSocket));
    assert_eq!(stream.limit_body(None), Err(Misuse::AlreadyAnswered));
    let mut script = Script::after(GET);
    assert_eq!(close(&mut script), Err(Misuse::NotTunnel));
}

#[test]
fn bytes_behind_the_head_are_the_first_of_the_tunnel() {
    let mut script = Script::new();
    let seen = script.send(format!("{CONNECT}GET / HTTP/1.1\r\n"));
    assert_eq!(seen.len(), 2, "a request and its end: {seen:?}");
    assert!(!script.reads(), "they are held");
    accept(&mut script, 200, &[]).expect("it was asked for");
    assert_eq!(script.resume(), []);
    assert_eq!(script.ask(3), [data("GET")]);
    assert_eq!(script.ask(99), [data(" / HTTP/1.1\r\n")]);
    assert!(script.reads());
}

// ---- its two directions -------------------------------------------------------------------------

#[test]
fn bytes_wait_for_credit_and_the_peer_for_us() {
    let config = with(&[("receive_buffer_limit", "1024"), ("send_buffer_limit", "1024")]);
    let mut script = open_under(config, 4);
    assert_eq!(script.send("abcdef"), [data("abcd")]);
    assert!(!script.reads(), "backpressure");
    assert_eq!(script.connection.deadline(), None, "the application has the turn");
    assert_eq!(script.ask(2), [data("ef")]);
    assert_eq!(script.content(&[b'x'; 2000]), Ok(1024));
    assert_eq!(script.content(b"y"), Ok(0));
    script.take(500);
    assert_eq!(script.resume(), []);
    script.take(12);
    assert_eq!(script.resume(), [Seen::Writable]);
    assert_eq!(script.content(&[b'y'; 2000]), Ok(512));
    assert_eq!(script.output(), "x".repeat(512) + &"y".repeat(512));
}

#[test]
fn the_application_ends_first_and_the_peer_goes_on() {
    let mut script = open(100);
    assert_eq!(script.content(b"all of it"), Ok(9));
    assert_eq!(script.finish(), Ok(()));
    assert_eq!(script.socket(), (true, true, Life::Finished { shutdown_write: false }));
    assert_eq!(script.output(), "all of it");
    assert_eq!(script.socket(), (true, false, Life::Finished { shutdown_write: true }));
    assert!(script.status().wants_shutdown());
    assert_eq!(script.content(b"more"), Err(Misuse::TooLong { left: 0 }));
    assert_eq!(script.finish(), Err(Misuse::TooLong { left: 0 }));
    assert_eq!(script.send("the rest"), [data("the rest")]);
    assert_eq!(script.eof(), [end()]);
    assert_eq!(script.status().closed(), Some(CloseReason::Completed));
    assert!(!script.status().is_cut_off());
}

#[test]
fn the_peer_ends_first_and_the_application_goes_on() {
    let mut script = open(4);
    assert_eq!(script.send("question"), [data("ques")]);
    assert_eq!(script.eof(), [], "the end comes after the bytes before it");
    assert_eq!(script.ask(9), [data("tion"), end()]);
    assert!(script.is_open());
    assert_eq!(script.content(b"answer"), Ok(6));
    assert_eq!(script.output(), "answer");
    assert_eq!(script.content(b"!"), Ok(1));
    assert_eq!(script.finish(), Ok(()));
    assert_eq!(script.output(), "!");
    assert_eq!(script.status().closed(), Some(CloseReason::Completed));
}

#[test]
fn a_tunnel_that_is_left_sends_its_rest_and_discards_what_comes() {
    let mut script = open(100);
    assert_eq!(script.content(b"last words"), Ok(10));
    assert_eq!(close(&mut script), Ok(()));
    assert!(script.status().is_lingering());
    assert_eq!(script.send("nobody hears"), []);
    assert_eq!(script.output(), "last words");
    assert_eq!(script.connection.deadline().map(|it| it.1), Some(Timer::Linger));
    assert_eq!(close(&mut script), Err(Misuse::UnknownStream));
    script.eof();
    assert_eq!(script.status().closed(), Some(CloseReason::Completed));
}

#[test]
fn giving_up_resets_the_socket() {
    let mut script = open(100);
    let (now, stream) = (script.now, script.stream());
    assert_eq!(script.connection.stream(now, stream).reset(), Ok(()));
    assert_eq!(script.status().closed(), Some(CloseReason::Application));
    assert!(script.status().is_cut_off());
    assert_eq!(script.resume(), [], "the caller knows");
}

#[test]
fn a_part_of_the_bytes_is_not_taken_for_the_whole() {
    // Whatever ends the tunnel before the application's end was sent, the socket is reset.
    let mut script = open(100);
    script.connection.abort(script.now, CloseReason::Aborted);
    assert!(script.status().is_cut_off());
    let mut script = open(100);
    assert_eq!(script.finish(), Ok(()));
    script.connection.abort(script.now, CloseReason::Aborted);
    assert!(!script.status().is_cut_off(), "the end was sent before");
}

#[test]
fn a_reset_of_the_peers_is_told() {
    use portcullis::PeerClose;
    let mut script = open(100);
    script.connection.abort(script.now, CloseReason::Peer(PeerClose::Reset));
    assert_eq!(script.resume(), [Seen::Reset(ResetReason::Cancelled)]);
    // After the peer's end the connection's tells enough.
    let mut script = open(100);
    assert_eq!(script.eof(), [end()]);
    script.connection.abort(script.now, CloseReason::Peer(PeerClose::Reset));
    assert_eq!(script.resume(), []);
}

// ---- its timers ---------------------------------------------------------------------------------

#[test]
fn silence_in_both_directions_ends_it() {
    let mut script = open(100);
    assert_eq!(script.connection.waits_for(), Party::Either);
    assert_eq!(script.deadline(), Some((HOUR, Timer::TunnelIdle)));
    script.at(HOUR - NANOSECOND);
    assert!(script.is_open());
    script.at(HOUR);
    assert_eq!(script.status().closed(), Some(CloseReason::Expired(Expiry::TunnelIdle)));
    assert!(script.status().is_cut_off());
    assert_eq!(script.resume(), [Seen::Reset(ResetReason::Timeout)]);
}

#[test]
fn whatever_passes_in_either_direction_renews_the_time() {
    let mut script = open(1 << 20);
    script.at(secs(3000));
    assert_eq!(script.send("x"), [data("x")]);
    assert_eq!(script.deadline(), Some((secs(6600), Timer::TunnelIdle)));
    script.at(secs(6000));
    assert_eq!(script.content(b"y"), Ok(1));
    assert_eq!(script.output(), "y");
    assert_eq!(script.deadline(), Some((secs(9600), Timer::TunnelIdle)));
}

#[test]
fn a_live_tunnel_is_never_cut_however_slow_it_is() {
    let mut script = open(1 << 20);
    for hours in 1..100 {
        script.at(HOUR * hours - secs(hours.into()));
        assert!(script.is_open(), "after {hours} hours");
        match hours % 2 {
            0 => assert_eq!(script.send("x"), [data("x")]),
            _ => {
                assert_eq!(script.content(b"y"), Ok(1));
                assert_eq!(script.output(), "y");
            }
        }
    }
}

#[test]
fn no_deadline_runs_while_the_application_has_the_turn() {
    let mut script = open(0);
    assert_eq!(script.connection.deadline(), None);
    script.at(HOUR * 99);
    assert_eq!(script.send("x"), []);
    assert_eq!(script.connection.deadline(), None);
    assert_eq!(script.ask(1), [data("x")]);
    assert_eq!(script.connection.deadline(), None, "all that was asked for has come");
    script.ask(1);
    assert_eq!(script.deadline(), Some((HOUR * 100, Timer::TunnelIdle)));
    // The wait can be cancelled, and the next one has its whole time.
    let (now, stream) = (script.now, script.stream());
    script.connection.stream(now, stream).cancel_read().expect("it is open");
    assert_eq!(script.connection.deadline(), None);
}

#[test]
fn a_peer_that_takes_nothing_is_reset() {
    let mut script = open(100);
    assert_eq!(script.content(&[b'x'; 5000]), Ok(5000));
    assert_eq!(script.deadline(), Some((secs(5), Timer::Response)));
    assert_eq!(script.connection.phase(), Phase::Response);
    script.at(secs(5));
    assert_eq!(script.status().closed(), Some(CloseReason::Expired(Expiry::Response)));
    assert_eq!(script.resume(), [Seen::Reset(ResetReason::Timeout)]);
}

#[test]
fn the_deadline_of_an_answer_is_none_of_a_tunnel() {
    let mut script = open_under(with(&[("response_deadline", "10s")]), 0);
    for second in 1..60 {
        script.at(secs(second));
        assert!(script.is_open(), "second {second}");
        script.content(&[b'x'; 1000]).expect("it is open");
        script.take(1000);
    }
}

#[test]
fn a_peer_that_has_ended_and_may_be_gone_is_bounded() {
    let mut script = open(100);
    assert_eq!(script.eof(), [end()]);
    assert!(script.connection.is_half_closed());
    assert_eq!(script.deadline(), Some((secs(60), Timer::PeerGone)));
    script.at(secs(50));
    assert_eq!(script.content(b"still here"), Ok(10));
    assert_eq!(script.output(), "still here");
    assert_eq!(script.deadline(), Some((secs(110), Timer::PeerGone)), "it takes what is sent");
    script.at(secs(110));
    assert_eq!(script.status().closed(), Some(CloseReason::Expired(Expiry::PeerGone)));
}

#[test]
fn a_peer_that_ended_behind_held_bytes_is_noticed() {
    let mut script = open(0);
    assert_eq!(script.send("held"), []);
    assert!(!script.reads());
    script.connection.fin_arrived(script.now);
    assert_eq!(script.deadline(), Some((secs(60), Timer::PeerGone)));
}

#[test]
fn a_drain_gives_it_its_time() {
    let mut script = open(100);
    script.connection.drain(script.now);
    assert!(script.is_open());
    assert_eq!(script.deadline(), Some((secs(30), Timer::Drain)));
    assert_eq!(script.send("goes on"), [data("goes on")]);
    script.at(secs(29));
    assert_eq!(script.finish(), Ok(()));
    assert_eq!(script.eof(), [end()]);
    assert_eq!(script.status().closed(), Some(CloseReason::Drained));

    let mut script = open(100);
    script.connection.drain(script.now);
    script.at(secs(30));
    assert_eq!(script.status().closed(), Some(CloseReason::Expired(Expiry::Drain)));
    assert!(script.status().is_cut_off());
}

#[test]
fn pressure_shortens_its_time() {
    use portcullis::Stress;
    let config = Config::default();
    let stressed = config.stressed(Stress::at(8).expect("four eighths"));
    assert_eq!(stressed.tunnel_idle_timeout(), HOUR / 2);
    let mut script = open(100);
    script.connection.set_config(script.now, stressed.into()).expect("it is akin");
    assert_eq!(script.deadline(), Some((HOUR / 2, Timer::TunnelIdle)));
}

#[test]
fn an_idle_tunnel_owns_little() {
    let script = open(100);
    let heap = script.connection.memory() - size_of::<portcullis::Connection>();
    assert!(heap <= 256, "{heap} bytes");
}
