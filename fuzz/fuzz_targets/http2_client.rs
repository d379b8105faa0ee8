//! The client of the crate `h2` against the connection: requests and answers arrive as they were sent.
#![no_main]

use portcullis_play::against;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| against::client(bytes));
