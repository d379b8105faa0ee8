//! Sessions with a client whose bytes are changed: arbitrary ones, and the fuzzer's corpus.

use crate::alive::life;
use crate::mutated::session;
use portcullis_testing::watched;
use proptest::collection::vec;
use proptest::prelude::*;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn changed_bytes_break_nothing(bytes in vec(any::<u8>(), 0..200)) {
        let _watched = watched();
        session(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 250,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn tls_makes_no_difference(first in 192..=255_u8, bytes in vec(any::<u8>(), 0..120)) {
        let _watched = watched();
        session(&[&[first], bytes.as_slice()].concat());
    }
}

/// Plays each file of a target's corpus.
fn replay(target: &str, play: impl Fn(&[u8])) {
    let _watched = watched();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut played = 0;
    for file in fs::read_dir(folder).expect("the corpus is part of the repository") {
        play(&fs::read(file.expect("a readable folder").path()).expect("a readable file"));
        played += 1;
    }
    assert!(played >= 20, "only {played} files");
}

#[test]
fn the_corpus() {
    replay("tls", session);
}

#[test]
fn the_corpus_of_live_peers() {
    replay("alive", life);
}

/// How many lives are played.
const LIVES: u64 = 2500;

#[test]
fn a_live_peer_is_never_closed() {
    let _watched = watched();
    for number in 1..=LIVES {
        // The first byte is made odd, which selects TLS.
        let mut bytes = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        bytes[0] |= 1;
        let result = catch_unwind(|| life(&bytes));
        assert!(result.is_ok(), "in the life of {bytes:?}");
    }
}
