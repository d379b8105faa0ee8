//! A peer that keeps every minimum, behind a random network, with TLS or without. It is never
//! closed for time.
#![no_main]

use portcullis_play::tls::alive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| alive::life(bytes));
