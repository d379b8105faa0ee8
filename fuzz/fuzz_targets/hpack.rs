//! Field blocks in both directions, compared with what the crate `loona-hpack` reads and writes.
#![no_main]

use portcullis_play::against;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| against::blocks(bytes));
