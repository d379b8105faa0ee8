//! What is left of buffers: records that were sent, or completed, keep no memory, and a record in
//! progress no more than it will have.

use crate::pair::Pair;
use crate::support::{GET, POST_MUCH};
use portcullis::rustls::version;

fn ask(pair: &mut Pair) {
    let (now, stream) = (pair.now, pair.stream());
    pair.server.stream(now, stream).read(u64::MAX).expect("it is open");
    while pair.server.resume(now).next().is_some() {}
}

/// What it owns while nothing is under way.
fn idle() -> usize {
    Pair::shaken(&version::TLS13).server.memory()
}

#[test]
fn a_record_in_parts_owns_what_it_needs_and_nothing_once_it_is_complete() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send(POST_MUCH);
    ask(&mut pair);
    let before = pair.server.memory();
    for length in [1000, 9000, 12_000, 16_384] {
        let record = pair.records(&vec![b'x'; length]);
        for (place, byte) in record[..record.len() - 1].chunks(1).enumerate() {
            pair.deliver(byte);
            let owned = pair.server.memory() - before;
            // As it grows it doubles, but never beyond its end.
            let most = record.len().min((2 * (place + 1)).max(64)) + 128;
            assert!(owned <= most, "{owned} for {place} bytes of {}", record.len());
        }
        pair.deliver(&record[record.len() - 1..]);
        ask(&mut pair);
        assert_eq!(pair.server.memory(), before, "{length} bytes");
    }
}

#[test]
fn records_that_were_sent_are_freed_while_another_one_arrives() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send(GET);
    let next = pair.records(GET.as_bytes());
    pair.deliver(&next[..20]);
    let before = pair.server.memory();
    pair.answer(&"x".repeat(50_000));
    assert!(pair.server.wants_write());
    pair.taken();
    assert_eq!(pair.server.memory(), before);
    pair.deliver(&next[20..]);
    pair.answer("ok");
    pair.taken();
    assert_eq!(pair.server.memory(), idle());
}

#[test]
fn a_driver_that_turns_away_leaves_nothing_behind() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.server.lend_buffer(Vec::with_capacity(4096));
    pair.send(GET);
    pair.answer(&"x".repeat(3000));
    pair.taken();
    // More is likely to follow, so that its records keep their buffer for now.
    let lent = pair.server.memory() - idle();
    assert!(lent >= 4096, "{lent}");
    assert_eq!(pair.server.return_buffer().capacity(), 4096);
    assert_eq!(pair.server.memory(), idle());
}
