//! The rows of the table of waits, one after the other: which party has to act, and which timer
//! runs.

use bytes::Bytes;
use http::StatusCode;
use portcullis::websocket::{Handshake, Options};
use portcullis::{BodyLength, Config, Connection, Event, Party, Phase, StreamId, Tick, Timer};
use std::io::IoSlice;
use std::sync::Arc;

const NOW: Tick = Tick::ZERO;

struct Row(Party, Option<Timer>, Phase);

fn connection() -> Connection {
    Connection::new(Arc::new(Config::default()), NOW)
}

/// Passes in bytes. Returns the stream of the request in them.
fn receive(connection: &mut Connection, bytes: &str) -> Option<StreamId> {
    let mut wire = bytes.as_bytes().to_vec();
    let mut stream = None;
    let mut events = connection.receive(NOW, &mut wire).expect("the connection reads");
    while let Some((_, event)) = events.next() {
        if let Event::Request { stream: newest, .. } = event {
            stream = Some(newest);
        }
    }
    stream
}

fn write_all(connection: &mut Connection) {
    let mut slices = [IoSlice::new(&[]); 16];
    let count = connection.outgoing(&mut slices);
    let bytes = slices[..count].iter().map(|slice| slice.len()).sum();
    connection.sent(NOW, bytes);
}

#[track_caller]
fn stands_in(connection: &mut Connection, Row(party, timer, phase): Row) {
    let deadline = connection.deadline().map(|(_, timer)| timer);
    assert_eq!((connection.waits_for(), deadline, connection.phase()), (party, timer, phase));
}

#[test]
fn one_request_from_row_to_row() {
    let connection = &mut connection();
    stands_in(connection, Row(Party::Peer, Some(Timer::KeepAlive), Phase::Idle));
    assert_eq!(receive(connection, "POST / HTTP/1.1\r\n"), None);
    stands_in(connection, Row(Party::Peer, Some(Timer::RequestHead), Phase::RequestHead));
    let stream = receive(connection, "Host: a\r\nContent-Length: 9\r\n\r\n").expect("a request");
    stands_in(connection, Row(Party::Application, None, Phase::Application));
    connection.stream(NOW, stream).read_to(7).expect("it is there");
    stands_in(connection, Row(Party::Peer, Some(Timer::RequestBody), Phase::RequestBody));
    receive(connection, "content");
    stands_in(connection, Row(Party::Application, None, Phase::Application));
    let begun = connection.stream(NOW, stream).respond(StatusCode::OK, [], BodyLength::Known(2));
    assert!(begun.is_ok());
    stands_in(connection, Row(Party::Peer, Some(Timer::Response), Phase::Response));
    write_all(connection);
    stands_in(connection, Row(Party::Application, None, Phase::Application));
    connection.stream(NOW, stream).send(&mut Bytes::from_static(b"ok")).expect("there is room");
    connection.stream(NOW, stream).finish(None).expect("the content is complete");
    write_all(connection);
    stands_in(connection, Row(Party::Peer, Some(Timer::Linger), Phase::Lingering));
    receive(connection, "..");
    stands_in(connection, Row(Party::Peer, Some(Timer::KeepAlive), Phase::Idle));
    let stream = receive(connection, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(stream.is_some());
    drop(connection.receive_eof(NOW));
    stands_in(connection, Row(Party::Application, Some(Timer::PeerGone), Phase::Application));
}

#[test]
fn a_websocket_waits_for_either() {
    let mut connection = connection();
    let mut wire = *b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut events = connection.receive(NOW, &mut wire).expect("the connection reads");
    while let Some((connection, event)) = events.next() {
        let Event::Request { stream, head } = event else { panic!("{event:?}") };
        let accepted = Handshake::read(&head).expect("a valid handshake");
        let accepted = accepted.accept(None, None).expect("no subprotocol was chosen");
        connection
            .stream(NOW, stream)
            .accept_websocket(&accepted, [], Options::default())
            .expect("fits");
    }
    drop(events);
    write_all(&mut connection);
    stands_in(&mut connection, Row(Party::Either, Some(Timer::WebSocketPing), Phase::WebSocket));
}

#[test]
fn a_tunnel_waits_for_either_while_its_application_asks() {
    let connection = &mut connection();
    let stream =
        receive(connection, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").expect("a request");
    let mut accepted = connection.stream(NOW, stream);
    accepted.accept_tunnel(StatusCode::OK, []).expect("it was asked for");
    stands_in(connection, Row(Party::Peer, Some(Timer::Response), Phase::Response));
    write_all(connection);
    stands_in(connection, Row(Party::Either, None, Phase::Tunnel));
    connection.stream(NOW, stream).read_to(7).expect("it is open");
    stands_in(connection, Row(Party::Either, Some(Timer::TunnelIdle), Phase::Tunnel));
    receive(connection, "too much");
    stands_in(connection, Row(Party::Either, None, Phase::Tunnel));
    drop(connection.receive_eof(NOW));
    stands_in(connection, Row(Party::Application, Some(Timer::PeerGone), Phase::Application));
}

/// The deadline for the rest of an answer after another one. The peer let the first answer wait,
/// and took a part of the second one at the tick at which it was written.
fn deadline_of_the_rest(looks: bool) -> Option<(Tick, Timer)> {
    let connection = &mut connection();
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut now = NOW;
    for content in [&[b'a'; 100][..], &[b'b'; 2000]] {
        let stream = receive(connection, get).expect("a request");
        let mut content = Bytes::from_static(content);
        let answered = connection.stream(now, stream).answer(StatusCode::OK, [], &mut content);
        assert!(answered.is_ok() && content.is_empty());
        if looks {
            connection.deadline();
        }
        if now == NOW {
            now = Tick::from_nanos(4_000_000_000);
            connection.tick(now);
            connection.sent(now, usize::MAX);
        }
    }
    connection.sent(now, 1500);
    connection.deadline()
}

#[test]
fn looking_at_the_deadline_changes_nothing() {
    let (seen, unseen) = (deadline_of_the_rest(true), deadline_of_the_rest(false));
    assert_eq!(seen, unseen);
    assert!(matches!(seen, Some((_, Timer::Response))), "{seen:?}");
}
