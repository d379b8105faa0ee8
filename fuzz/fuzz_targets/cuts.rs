//! Events and output depend on the bytes that come in, not on how they are cut.
#![no_main]

use portcullis_play::play;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| play::cuts(bytes));
