//! Memory of buffers: sent or completed records keep no memory, and a record in progress owns no
//! more than its length.

use crate::pair::Pair;
use crate::support::{GET, POST_MUCH};
use portcullis::rustls::version;

fn ask(pair: &mut Pair) {
    let (now, stream) = (pair.now, pair.stream());
    pair.server.stream(now, stream).read_to(u64::MAX).expect("the stream is open");
    while pair.server.resume(now).next().is_some() {}
}

/// How much an idle connection owns.
fn idle() -> usize {
    Pair::shaken(&version::TLS13).server.memory()
}

#[test]
fn a_record_in_parts_owns_its_length_until_it_is_complete() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.send(POST_MUCH);
    ask(&mut pair);
    let before = pair.server.memory();
    for length in [1000, 9000, 12_000, 16_384] {
        let record = pair.records(&vec![b'x'; length]);
        for (place, byte) in record[..record.len() - 1].chunks(1).enumerate() {
            pair.deliver(byte);
            let owned = pair.server.memory() - before;
            // The buffer doubles as it grows, but never beyond the record's end.
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
    assert!(pair.server.status().write);
    pair.taken();
    assert_eq!(pair.server.memory(), before);
    pair.deliver(&next[20..]);
    pair.answer("ok");
    pair.taken();
    assert_eq!(pair.server.memory(), idle());
}

#[test]
fn buffers_are_freed_when_the_driver_leaves() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.server.lend_buffer(Vec::with_capacity(4096));
    pair.send(GET);
    pair.answer(&"x".repeat(3000));
    pair.taken();
    // More output is likely to follow, so the buffer of sealed records is kept for now.
    let lent = pair.server.memory() - idle();
    assert!(lent >= 4096, "{lent}");
    assert_eq!(pair.server.return_buffer().capacity(), 4096);
    assert_eq!(pair.server.memory(), idle());
}
