//! The gate over all connections, called in any order, against a model.
#![no_main]

use portcullis_play::gate;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gate::play(bytes));
