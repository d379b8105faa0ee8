//! The cost of TLS: records in and out, compared with rustls's unbuffered calls alone, and small
//! requests, compared with plaintext. Prints the best time of many rounds as a table. Nothing is
//! checked.

use bytes::Bytes;
use http::StatusCode;
use pair::Pair;
use portcullis::rustls::server::UnbufferedServerConnection;
use portcullis::rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use portcullis::rustls::version;
use portcullis::{BodyLength, Config, Connection, Event, Tick};
use portcullis_play::tls::pair;
use std::hint::black_box;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

const RECORD: usize = 16_384;
const ROUNDS: usize = 400;
const NOW: Tick = Tick::ZERO;

fn main() {
    println!("16 KiB record in, rustls alone:   {:6} ns", records_in_alone());
    println!("16 KiB record in, connection:     {:6} ns", records_in());
    println!("16 KiB record out, rustls alone:  {:6} ns", records_out_alone());
    println!("16 KiB record out, connection:    {:6} ns", records_out());
    println!("small request, plaintext:         {:6} ns", small(false));
    println!("small request, TLS:               {:6} ns", small(true));
}

/// The shortest time of many rounds, for each of the `count` items of a round.
fn best(count: usize, mut round: impl FnMut() -> Instant) -> u128 {
    let times = (0..ROUNDS).map(|_| round().elapsed().as_nanos());
    times.min().unwrap_or_default() / count as u128
}

/// rustls without a connection, and a client, after their handshake.
fn alone() -> (UnbufferedServerConnection, Pair) {
    let mut settings = pair::server_settings();
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut server = UnbufferedServerConnection::new(Arc::new(settings)).expect("valid");
    let mut pair = Pair::new(&version::TLS13);
    let mut incoming = Vec::new();
    while pair.client.is_handshaking() || pair.client.wants_write() {
        incoming.extend(pair.flight());
        let mut outgoing = Vec::new();
        loop {
            let UnbufferedStatus { discard, state } = server.process_tls_records(&mut incoming);
            let state = state.expect("a good flight");
            let done = match state {
                ConnectionState::EncodeTlsData(mut message) => {
                    let mut room = vec![0; 1 << 14];
                    let length = message.encode(&mut room).expect("room");
                    outgoing.extend_from_slice(&room[..length]);
                    false
                }
                ConnectionState::TransmitTlsData(message) => {
                    message.done();
                    false
                }
                _ => true,
            };
            incoming.drain(..discard);
            if done {
                break;
            }
        }
        pair.read(&outgoing);
    }
    (server, pair)
}

/// Three complete records, as one read of 64 KiB brings them.
fn three(pair: &mut Pair) -> Vec<u8> {
    pair.records(&[b'x'; 3 * RECORD])
}

fn records_in_alone() -> u128 {
    let (mut server, mut pair) = alone();
    best(3, || {
        let mut records = three(&mut pair);
        let start = Instant::now();
        let mut rest = records.as_mut_slice();
        while !rest.is_empty() {
            let UnbufferedStatus { discard, state } = server.process_tls_records(rest);
            if let Ok(ConnectionState::ReadTraffic(mut traffic)) = state {
                while let Some(Ok(record)) = traffic.next_record() {
                    black_box(record.payload);
                }
            }
            rest = &mut rest[discard..];
        }
        start
    })
}

fn records_in() -> u128 {
    let config = Config::builder().request_body_limit(None);
    let client = pair::client(pair::client_settings(&version::TLS13));
    let mut pair = Pair::with(pair::over_tls(config), client);
    pair.settle();
    pair.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n");
    let stream = pair.stream();
    best(3, || {
        pair.server.stream(NOW, stream).read_to(u64::MAX).expect("the stream is open");
        let mut records = three(&mut pair);
        let start = Instant::now();
        let mut events = pair.server.receive(NOW, &mut records).expect("the connection reads");
        while let Some((server, event)) = events.next() {
            if let Event::Data { stream, data, .. } = event {
                black_box(data);
                server.stream(NOW, stream).read_to(u64::MAX).expect("the stream is open");
            }
        }
        drop(events);
        start
    })
}

fn records_out_alone() -> u128 {
    let (mut server, _) = alone();
    let content = vec![b'x'; 3 * RECORD];
    let mut room = vec![0; 4 * RECORD];
    best(3, || {
        let start = Instant::now();
        let state = server.process_tls_records(&mut []).state;
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = state {
            black_box(traffic.encrypt(&content, &mut room).expect("room"));
        }
        start
    })
}

fn records_out() -> u128 {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let stream = pair.stream();
    let begun =
        pair.server.stream(NOW, stream).respond(StatusCode::OK, [], BodyLength::Known(1 << 40));
    let _ = begun.expect("an answer is owed");
    pair.taken();
    let content = Bytes::from(vec![b'x'; 3 * RECORD]);
    best(3, || {
        let start = Instant::now();
        pair.server.stream(NOW, stream).send(&mut content.clone()).expect("open");
        while pair.server.status().write {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = pair.server.outgoing(&mut slices);
            let length = slices[..count].iter().map(|slice| slice.len()).sum();
            pair.server.sent(NOW, length);
        }
        start
    })
}

fn small(tls: bool) -> u128 {
    const REQUEST: &[u8] =
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
    let settings = Config::builder().requests_per_connection(u64::MAX);
    let client = pair::client(pair::client_settings(&version::TLS13));
    let mut pair = Pair::with(pair::over_tls(settings.clone()), client);
    pair.settle();
    if !tls {
        pair.server = Connection::new(Arc::new(settings.build().expect("valid")), NOW);
    }
    best(1, || {
        let mut request = if tls { pair.records(REQUEST) } else { REQUEST.to_vec() };
        let start = Instant::now();
        let mut events = pair.server.receive(NOW, &mut request).expect("the connection reads");
        while let Some((server, event)) = events.next() {
            if let Event::Request { stream, .. } = event {
                let mut content = Bytes::from_static(b"Hello, world!");
                let begun = server.stream(NOW, stream).answer(StatusCode::OK, [], &mut content);
                let _ = begun.expect("an answer is owed");
            }
        }
        drop(events);
        let mut slices = [IoSlice::new(&[]); 16];
        let count = pair.server.outgoing(&mut slices);
        let length = slices[..count].iter().map(|slice| slice.len()).sum();
        pair.server.sent(NOW, length);
        start
    })
}
