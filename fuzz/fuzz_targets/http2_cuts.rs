//! Events and output of an HTTP/2 connection depend on the bytes that come in, not on how they are cut.
#![no_main]

use portcullis_play::play;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| play::http2_cuts(bytes));
