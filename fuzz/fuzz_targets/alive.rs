//! A peer that keeps every minimum, behind a random network, with TLS or without. It is never
//! closed for time.
#![no_main]
#![allow(dead_code)]

#[path = "../../core/tests/tls/alive.rs"]
mod alive;
#[path = "../../core/tests/tls/link.rs"]
mod link;
#[path = "../../core/tests/tls/pair.rs"]
mod pair;
#[path = "../../core/tests/play/mod.rs"]
mod play;
#[path = "../../core/tests/support/mod.rs"]
mod support;

use portcullis::rustls::crypto::ring as provider;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| alive::life(bytes));
