//! The memory of a connection over TLS, by the allocator's count.
//!
//! Most of it belongs to rustls: its state, two ciphers, the secrets, room for 16 spans of handshake
//! messages, and a queue of received plaintext. A handshake and a request with rustls alone measure that part.

use crate::pair::{Pair, VERSIONS, over_tls, server_settings};
use crate::support::GET;
use allocation_counter::measure;
use portcullis::rustls::SupportedProtocolVersion;
use portcullis::rustls::server::UnbufferedServerConnection;
use portcullis::rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use portcullis::{Config, Connection};
use std::sync::Arc;

/// How many bytes of heap dropping `owner` frees.
pub(crate) fn heap<T>(owner: T) -> usize {
    measure(move || drop(owner)).bytes_current.unsigned_abs() as usize
}

/// The memory that rustls alone keeps after a handshake and a request: its struct and its heap.
fn rustls_alone(version: &'static SupportedProtocolVersion) -> usize {
    let mut settings = server_settings();
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut server = UnbufferedServerConnection::new(Arc::new(settings)).expect("valid");
    // Only its client is used.
    let mut pair = Pair::new(version);
    let mut incoming = Vec::new();
    while pair.client.is_handshaking() || pair.client.wants_write() {
        incoming.extend(pair.flight());
        let mut outgoing = Vec::new();
        loop {
            let UnbufferedStatus { discard, state } = server.process_tls_records(&mut incoming);
            match state.expect("a good flight") {
                ConnectionState::EncodeTlsData(mut message) => {
                    let mut room = vec![0; 1 << 14];
                    let length = message.encode(&mut room).expect("room");
                    outgoing.extend_from_slice(&room[..length]);
                }
                ConnectionState::TransmitTlsData(message) => message.done(),
                _ => {
                    incoming.drain(..discard);
                    break;
                }
            }
            incoming.drain(..discard);
        }
        pair.read(&outgoing);
    }
    assert!(!server.is_handshaking());
    incoming.extend(pair.records(GET.as_bytes()));
    let status = server.process_tls_records(&mut incoming);
    let Ok(ConnectionState::ReadTraffic(mut traffic)) = status.state else { panic!("no record") };
    let record = traffic.next_record().expect("one").expect("a good record");
    assert_eq!(record.payload, GET.as_bytes());
    size_of::<UnbufferedServerConnection>() + heap(server)
}

#[test]
fn an_idle_connection_owns_what_rustls_keeps_and_at_most_512_bytes() {
    for version in VERSIONS {
        let mut pair = Pair::shaken(version);
        pair.send(GET);
        pair.answer("hello");
        pair.answered();
        let told = pair.server.memory();
        let owned = size_of::<Connection>() + heap(pair.server);
        let rustls = rustls_alone(version);
        println!("{version:?}: {owned} bytes, of which rustls keeps {rustls}");
        assert!(owned <= rustls + 512, "{owned} bytes, of which rustls keeps {rustls}");
        assert!(owned <= 5 * 1024, "{owned} bytes");
        assert!((owned..owned + (4 << 10)).contains(&told), "{told} estimated, {owned} counted");
    }
}

#[test]
fn the_handshake_stays_within_the_reported_memory() {
    for version in VERSIONS {
        let mut most = 0;
        for stop in 0..12 {
            let mut pair = Pair::new(version);
            for _ in 0..stop / 4 {
                let flight = pair.flight();
                pair.deliver(&flight);
                let answers = pair.taken();
                pair.read(&answers);
            }
            let flight = pair.flight();
            let part = flight.len() * (stop % 4) / 3;
            pair.deliver(&flight[..part]);
            let told = pair.server.memory();
            let owned = size_of::<Connection>() + heap(pair.server);
            assert!(owned <= told, "{owned} bytes owned, {told} reported, stopped at {stop}");
            most = most.max(owned);
        }
        println!("{version:?}: {most} bytes within the handshake");
    }
}

#[test]
fn transfers_stay_within_the_bound() {
    for version in VERSIONS {
        let mut pair = Pair::shaken(version);
        pair.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        let records = pair.records(&vec![b'x'; 100_000]);
        // Without credit and cut within records, so that the input is held. Each step checks it.
        pair.deliver_in(&records, 10_000);
        let told = pair.server.memory();
        let config = over_tls(Config::builder());
        let owned = size_of::<Connection>() + heap(pair.server);
        println!("{version:?}: {owned} bytes held of at most {}", config.memory_bound());
        assert!(owned <= told && told <= config.memory_bound());
    }
}
