//! Frames for the connection and for the server of the crate `h2`: both take the same requests, but for the
//! differences that are listed.
#![no_main]

use portcullis_play::against;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| against::frames(bytes));
