//! A session over TLS with a real client. Its bytes are cut and changed on the way. Or they are
//! only cut: then HTTP and websockets must give the same as in plaintext.
#![no_main]

use portcullis_play::tls::mutated;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mutated::session(bytes));
