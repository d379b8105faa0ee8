//! The invariants of the design on a tunnel, played with arbitrary sessions, and with an application that echoes.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use play::{tunnel, tunnel_pure};
use portcullis::{CloseReason, Config, Connection, Event, Events, StreamId, Tick};
use portcullis_play::play;
use portcullis_testing::watched;
use proptest::collection::vec;
use proptest::prelude::*;
use std::io::IoSlice;
use std::sync::Arc;

fn bounded(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(bounded(1000))]

    /// Deadline, memory, nothing lost, reason.
    #[test]
    fn sessions_keep_the_invariants(bytes in vec(any::<u8>(), 0..400)) {
        let _watched = watched();
        tunnel(&bytes, None);
    }
}

proptest! {
    #![proptest_config(bounded(600))]

    #[test]
    fn the_same_calls_give_the_same_results(bytes in vec(any::<u8>(), 0..300)) {
        let _watched = watched();
        tunnel_pure(&bytes);
    }
}

const NOW: Tick = Tick::ZERO;

/// A tunnel whose application echoes what comes, asking for `bite` bytes at a time.
struct Echo {
    bite: u64,
    stream: Option<StreamId>,
    heard: Vec<u8>,
    ended: bool,
}

impl Echo {
    fn take(&mut self, mut events: Events<'_, '_>) {
        while let Some((connection, event)) = events.next() {
            match event {
                Event::Request { stream, head } => {
                    assert!(head.asks_for_tunnel());
                    let upgrade = [(header::UPGRADE, HeaderValue::from_static("echo"))];
                    let (status, fields) = match head.method() {
                        "CONNECT" => (StatusCode::OK, HeaderMap::new()),
                        _ => (StatusCode::SWITCHING_PROTOCOLS, HeaderMap::from_iter(upgrade)),
                    };
                    self.stream = Some(stream);
                    let mut stream = connection.stream(NOW, stream);
                    stream.accept_tunnel(status, &fields).expect("it was asked for");
                    stream.read_to(self.bite).expect("it is open");
                }
                Event::Data { stream, data, .. } => {
                    self.heard.extend_from_slice(data);
                    let mut echoed = Bytes::copy_from_slice(data);
                    let mut stream = connection.stream(NOW, stream);
                    stream.send(&mut echoed).expect("it is open");
                    assert!(echoed.is_empty(), "there is room");
                    let end = stream.received() + self.bite;
                    stream.read_to(end).expect("it is open");
                }
                Event::End { stream, .. } => {
                    self.ended = true;
                    connection.stream(NOW, stream).finish(None).expect("it is open");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Feeds `wire` in pieces that end at `cuts`, and then the end of input. Returns what the application heard, and what
/// the peer did.
fn echoed(wire: &[u8], cuts: &[usize], bite: u64) -> (Vec<u8>, Vec<u8>, CloseReason) {
    let mut connection = Connection::new(Arc::new(Config::default()), NOW);
    let mut echo = Echo { bite, stream: None, heard: Vec::new(), ended: false };
    let mut out = Vec::new();
    let mut turn = |echo: &mut Echo, connection: &mut Connection| {
        while connection.status().resume {
            echo.take(connection.resume(NOW));
        }
        let mut slices = [IoSlice::new(&[]); 64];
        let count = connection.outgoing(&mut slices);
        let before = out.len();
        slices[..count].iter().for_each(|slice| out.extend_from_slice(slice));
        let taken = out.len() - before;
        connection.sent(NOW, taken);
    };
    let mut start = 0;
    for end in cuts.iter().copied().chain([wire.len()]) {
        let mut piece = wire[start..end].to_vec();
        start = end;
        assert!(connection.status().read);
        echo.take(connection.receive(NOW, &mut piece).expect("it reads"));
        turn(&mut echo, &mut connection);
    }
    echo.take(connection.receive_eof(NOW));
    turn(&mut echo, &mut connection);
    assert!(echo.ended);
    (echo.heard, out, connection.status().closed().expect("both directions have ended"))
}

proptest! {
    #![proptest_config(bounded(200))]

    #[test]
    fn cuts_make_no_difference(
        content in vec(any::<u8>(), 0..300),
        places in vec(any::<prop::sample::Index>(), 0..6),
        head in 0..3usize,
        bite in prop::sample::select(vec![1, 7, 1 << 20]),
    ) {
        let _watched = watched();
        let head = [
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
            "CONNECT a:1 HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
        ][head];
        let wire = [head.as_bytes(), &content].concat();
        let whole = echoed(&wire, &[], bite);
        prop_assert_eq!(&whole.0, &content);
        prop_assert!(whole.1.ends_with(&content));
        prop_assert_eq!(whole.2, CloseReason::Completed);
        let mut cuts: Vec<_> = places.iter().map(|place| place.index(wire.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(echoed(&wire, &cuts, bite), whole);
    }

    /// The peer sends all, and its end, before the application asks for anything.
    #[test]
    fn bytes_that_wait_for_credit_come_before_the_end(
        content in vec(any::<u8>(), 0..300),
        bite in prop::sample::select(vec![1, 7, 1 << 20]),
    ) {
        let _watched = watched();
        let head = b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
        let mut wire = [head, &content[..]].concat();
        let mut connection = Connection::new(Arc::new(Config::default()), NOW);
        let mut echo = Echo { bite: 0, stream: None, heard: Vec::new(), ended: false };
        echo.take(connection.receive(NOW, &mut wire).expect("it reads"));
        echo.take(connection.receive_eof(NOW));
        prop_assert_eq!((echo.heard.len(), echo.ended), (0, content.is_empty()));
        echo.bite = bite;
        let mut looks = 0;
        while !echo.ended {
            let stream = echo.stream.expect("it was accepted");
            connection.stream(NOW, stream).read_to(echo.heard.len() as u64 + bite).expect("open");
            echo.take(connection.resume(NOW));
            looks += 1;
            prop_assert!(looks <= 301, "it never ends");
        }
        prop_assert_eq!(echo.heard, content);
    }
}
