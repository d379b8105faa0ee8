//! Sessions with a client whose bytes are changed: arbitrary ones, and what the fuzzer kept.

use crate::mutated::session;
use portcullis_testing::watched;
use proptest::collection::vec;
use proptest::prelude::*;
use std::fs;
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

#[test]
fn the_corpus() {
    let _watched = watched();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/tls");
    let mut played = 0;
    for file in fs::read_dir(folder).expect("the corpus is part of the repository") {
        session(&fs::read(file.expect("a readable folder").path()).expect("a readable file"));
        played += 1;
    }
    assert!(played >= 20, "only {played} files");
}
