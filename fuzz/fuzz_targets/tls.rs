//! A session over TLS with a real client. Its bytes are cut and changed on the way. Or they are
//! only cut: then HTTP and websockets must give the same as in plaintext.
#![no_main]
#![allow(dead_code)]

#[path = "../../core/tests/tls/link.rs"]
mod link;
#[path = "../../core/tests/tls/mutated.rs"]
mod mutated;
#[path = "../../core/tests/tls/pair.rs"]
mod pair;
#[path = "../../core/tests/play/mod.rs"]
mod play;
#[path = "../../core/tests/support/mod.rs"]
mod support;

use portcullis::rustls::crypto::ring as provider;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mutated::session(bytes));
