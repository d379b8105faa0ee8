//! Requests and answers through TLS, large and small. HTTP must not notice the difference.

use crate::pair::{Pair, VERSIONS, over_tls};
use crate::play;
use crate::support::cuts::{Eager, Told};
use crate::support::{GET, POST_MUCH, Seen, secs, text};
use bytes::Bytes;
use http::StatusCode;
use portcullis::rustls::{SupportedProtocolVersion, version};
use portcullis::{BodyLength, Config, Event, Misuse, Sent, Timer};
use portcullis_testing::watched;
use proptest::collection::vec;
use proptest::prelude::*;
use std::io::IoSlice;
use std::sync::Arc;

/// A request whose content is `length` bytes.
fn post(length: usize) -> Vec<u8> {
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let content = (0..length).map(|place| (place % 251) as u8);
    head.into_bytes().into_iter().chain(content).collect()
}

/// Reads `records` in pieces of `step`, or of as many bytes as the connection takes. Asks for all
/// content, and returns it.
fn upload(pair: &mut Pair, mut records: &[u8], step: usize) -> Vec<u8> {
    let mut content = Vec::new();
    while !records.is_empty() {
        let most = step.min(pair.server.receive_limit()).min(records.len());
        let (piece, behind) = records.split_at(most);
        records = behind;
        let mut piece = piece.to_vec();
        let mut events = pair.server.receive(pair.now, &mut piece).expect("the connection reads");
        while let Some((connection, event)) = events.next() {
            match event {
                Event::Request { stream, .. } => {
                    pair.stream = Some(stream);
                    connection
                        .stream(pair.now, stream)
                        .read_to(u64::MAX)
                        .expect("the stream is open");
                }
                Event::Data { stream, data, .. } => {
                    content.extend_from_slice(data);
                    connection
                        .stream(pair.now, stream)
                        .read_to(u64::MAX)
                        .expect("the stream is open");
                }
                Event::End { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    content
}

#[test]
fn a_large_upload_arrives_whatever_the_reads() {
    let request = post(1 << 20);
    for version in VERSIONS {
        for step in [1, 4096, 16_406, 50_000, 65_536, 150_000, usize::MAX] {
            let length = if step == 1 { 40_000 } else { 1 << 20 };
            let request = if step == 1 { post(length) } else { request.clone() };
            let mut pair = Pair::shaken(version);
            let records = pair.records(&request);
            let content = upload(&mut pair, &records, step);
            assert!(content == request[request.len() - length..], "in reads of {step}");
            pair.answer("taken");
            assert!(pair.answered().ends_with("taken"));
        }
    }
}

#[test]
fn a_large_download_arrives_whatever_the_writes() {
    let content: Vec<u8> = (0..1_000_000_usize).map(|place| (place % 251) as u8).collect();
    for (version, most) in VERSIONS.into_iter().zip([1000, 1 << 20]) {
        for piece in [700, 1025, 5000, 16_384, 200_000] {
            for length in [BodyLength::Known(content.len() as u64), BodyLength::Unknown] {
                let mut pair = Pair::shaken(version);
                pair.send(GET);
                let stream = pair.stream();
                let begun =
                    pair.server.stream(pair.now, stream).respond(StatusCode::OK, [], length);
                let _ = begun.expect("an answer is owed");
                for piece in content.chunks(piece) {
                    let mut piece = Bytes::copy_from_slice(piece);
                    while !piece.is_empty() {
                        pair.server
                            .stream(pair.now, stream)
                            .send(&mut piece)
                            .expect("the answer is open");
                        if !piece.is_empty() {
                            let records = pair.taken_in(most);
                            pair.read(&records);
                        }
                    }
                }
                pair.server.stream(pair.now, stream).finish(None).expect("the content is complete");
                let answer = pair.answered().into_bytes();
                let told = answer.len();
                assert!(told > content.len());
                if length != BodyLength::Unknown {
                    let received: Vec<u8> = text(&content).into_bytes();
                    assert!(answer.ends_with(&received), "in pieces of {piece}");
                }
                let status = pair.server.status();
                assert!(status.is_open() && status.read && !status.write, "{status:?}");
            }
        }
    }
}

#[test]
fn a_short_answer_is_one_record_and_a_long_one_begins_with_a_short_one() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send(GET);
    pair.answer("short");
    let mut slices = [IoSlice::new(&[]); 4];
    assert_eq!(pair.server.outgoing(&mut slices), 1);
    let lengths = |records: &[u8]| {
        let mut lengths = Vec::new();
        let mut rest = records;
        while let Some((header, behind)) = rest.split_first_chunk::<5>() {
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            lengths.push(length);
            rest = &behind[length..];
        }
        lengths
    };
    let records = pair.taken();
    assert_eq!(lengths(&records).len(), 1);
    pair.read(&records);

    pair.send(GET);
    let stream = pair.stream();
    let mut content = Bytes::from(vec![b'x'; 40_000]);
    let begun = pair.server.stream(pair.now, stream).answer(StatusCode::OK, [], &mut content);
    let _ = begun.expect("an answer is owed");
    let records = pair.taken();
    let expected = [4096 + 17, 16_384 + 17, 16_384 + 17];
    assert_eq!(lengths(&records)[..3], expected);
    pair.read(&records);
    assert!(pair.answered().ends_with("xxx"));
}

#[test]
fn a_full_output_is_backpressure_sealed_or_not() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send(GET);
    let stream = pair.stream();
    let length = BodyLength::Unknown;
    let begun = pair.server.stream(pair.now, stream).respond(StatusCode::OK, [], length);
    let _ = begun.expect("an answer is owed");
    let mut content = Bytes::from(vec![b'x'; 1 << 20]);
    pair.server.stream(pair.now, stream).send(&mut content).expect("the answer is open");
    let left = content.len();
    assert!(pair.server.stream(pair.now, stream).room() == 0 && left > 900_000);
    // Sealed bytes count as unsent until they are sent.
    let mut slices = [IoSlice::new(&[]); 4];
    assert!(pair.server.outgoing(&mut slices) > 0);
    assert_eq!(pair.server.stream(pair.now, stream).room(), 0);
    assert_eq!(pair.server.stream(pair.now, stream).send(&mut content), Ok(Sent::Part));
    assert_eq!(content.len(), left);
    assert!(!pair.server.status().resume, "no Writable yet");
    let limit = pair.config.send_buffer_limit() as usize;
    pair.server.sent(pair.now, limit / 2 + 2000);
    assert!(pair.server.status().resume, "half is free: Writable");
    assert!(pair.server.stream(pair.now, stream).room() > limit / 2);
    // A peer that takes nothing is waited for as long as in plaintext.
    let (at, timer) = pair.server.deadline().expect("a deadline is set");
    assert_eq!(timer, Timer::Response);
    pair.at(at);
    assert!(pair.server.status().is_cut_off());
}

#[test]
fn without_credit_reading_stops() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send(POST_MUCH);
    let records = pair.records(&[b'x'; 100_000]);
    let mut read = 0;
    for piece in records.chunks(1000) {
        if pair.server.status().read {
            pair.deliver(piece);
            read += piece.len();
        }
    }
    assert!(read < 20_000, "up to the end of the first record, not {read}");
    assert!(!pair.server.status().read);
    assert_eq!(pair.server.deadline(), None, "it waits for the application");
}

#[test]
fn content_in_slow_records_counts_as_it_comes() {
    // Twice the minimum rate, in records of 16 KiB: each record takes half a minute.
    for (rate, lives) in [(480, true), (120, false)] {
        let mut pair = Pair::shaken(&version::TLS13);
        pair.send(POST_MUCH);
        let records = pair.records(&[b'x'; 40_000]);
        let stream = pair.stream();
        pair.server.stream(pair.now, stream).read_to(u64::MAX).expect("the stream is open");
        let mut second = 0;
        for piece in records.chunks(rate) {
            second += 1;
            pair.at(portcullis::Tick::ZERO.after(secs(second)));
            if !pair.server.status().is_open() {
                break;
            }
            pair.deliver(piece);
            let _ = pair.server.stream(pair.now, stream).read_to(u64::MAX);
        }
        let open = pair.server.status().is_open();
        assert_eq!(open, lives, "{rate} bytes a second, after {second} seconds");
    }
}

#[test]
fn a_driver_that_stops_pulling_loses_no_events() {
    for (first, second) in [(1, 0), (40, 0), (10, 30)] {
        let mut pair = Pair::shaken(&version::TLS13);
        let mut records = pair.records(GET.repeat(2).as_bytes());
        records.extend(pair.records(GET.as_bytes()));
        let (before, behind) = records.split_at(first);
        pair.deliver(before);
        let (between, behind) = behind.split_at(second);
        pair.deliver(between);
        let mut behind = behind.to_vec();
        drop(pair.server.receive(pair.now, &mut behind).expect("the connection reads"));
        assert!(pair.server.status().resume && !pair.server.status().read);
        for number in 1..=3 {
            let mut seen = Vec::new();
            let mut events = pair.server.resume(pair.now);
            while let Some((_, event)) = events.next() {
                if let Event::Request { stream, .. } = event {
                    pair.stream = Some(stream);
                }
                seen.push(Seen::of(&event));
            }
            drop(events);
            assert!(matches!(&seen[..], [Seen::Request(..), Seen::End(_)]), "{number}: {seen:?}");
            pair.answer("one of three");
        }
        assert_eq!(pair.answered().matches("one of three").count(), 3);
    }
}

#[test]
fn misuse_changes_nothing() {
    let mut pair = Pair::shaken(&version::TLS13);
    let records = pair.records(GET.as_bytes());
    let limit = pair.config.receive_buffer_limit();
    let mut much = records.clone();
    much.resize(limit as usize + 1, 0);
    assert_eq!(pair.server.receive(pair.now, &mut much).err(), Some(Misuse::Overfed { limit }));
    let mut events = pair.server.resume(pair.now);
    assert!(events.next().is_none());
    drop(events);
    assert_eq!(pair.deliver(&records).len(), 2, "the request and its end");
    // More bytes than there are cannot have been sent.
    pair.answer("whole");
    pair.server.sent(pair.now, usize::MAX);
    assert!(pair.server.status().write, "the output was never fetched");
    assert!(pair.answered().ends_with("whole"));
}

/// The events and output for an eager application and `wire`, sent in these records and read in
/// these pieces.
fn told_over_tls(
    version: &'static SupportedProtocolVersion,
    wire: &[u8],
    records: &[usize],
    reads: &[usize],
) -> Told {
    // Only its client is used.
    let mut pair = Pair::new(version);
    let mut eager = Eager::new(over_tls(Config::builder()));
    let mut lengths = reads.iter().cycle();
    let mut exchange = |pair: &mut Pair, eager: &mut Eager, mut bytes: &[u8]| {
        while let (false, Some(length)) = (bytes.is_empty(), lengths.next()) {
            let (piece, behind) = bytes.split_at(bytes.len().min(*length));
            eager.read(piece);
            pair.read(&std::mem::take(&mut eager.output));
            bytes = behind;
        }
    };
    while pair.client.is_handshaking() || pair.client.wants_write() {
        let flight = pair.flight();
        exchange(&mut pair, &mut eager, &flight);
    }
    let mut rest = wire;
    for length in records.iter().cycle().take_while(|_| !wire.is_empty()) {
        let (piece, behind) = rest.split_at(rest.len().min(*length));
        let record = pair.records(piece);
        exchange(&mut pair, &mut eager, &record);
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    pair.client.send_close_notify();
    let last = pair.flight();
    exchange(&mut pair, &mut eager, &last);
    let mut told = eager.eof();
    pair.read(&told.output.chars().map(|byte| byte as u8).collect::<Vec<_>>());
    told.output = text(&pair.answers);
    without_continue(told)
}

/// Removes each 100 (Continue): whether a client waits for one depends on the cuts.
fn without_continue(mut told: Told) -> Told {
    told.output = told.output.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
    told
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Arbitrary requests in arbitrary records and reads give the same events and output as in
    /// plaintext.
    #[test]
    fn events_are_those_of_plaintext(
        bytes in vec(any::<u8>(), 0..100),
        records in vec(1_usize..200, 1..8),
        reads in vec(1_usize..300, 1..8),
        one_two in any::<bool>(),
    ) {
        let _watched = watched();
        let wire = play::stream(&bytes);
        // In plaintext these bytes mean a client that begins TLS.
        prop_assume!(wire.first() != Some(&22));
        let mut plain = Eager::new(Arc::new(Config::default()));
        wire.chunks(60_000).for_each(|piece| plain.read(piece));
        let version = VERSIONS[usize::from(one_two)];
        let over_tls = told_over_tls(version, &wire, &records, &reads);
        prop_assert_eq!(over_tls, without_continue(plain.eof()));
    }
}
