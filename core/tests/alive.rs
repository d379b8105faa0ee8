//! A peer that keeps every minimum is never closed for time. The tests in `tls` check the same over
//! TLS.

use play::alive;
use play::link::Plain;
use portcullis_play::play;
use portcullis_testing::watched;
use std::panic::catch_unwind;
use std::sync::Arc;

/// How many lives are played.
const LIVES: u64 = 2500;

#[test]
fn a_live_peer_is_never_closed() {
    let _watched = watched();
    for number in 1..=LIVES {
        let bytes = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let result = catch_unwind(|| {
            alive(&bytes, Plain, |settings| Arc::new(settings.build().expect("in range")));
        });
        assert!(result.is_ok(), "in the life of {bytes:?}");
    }
}
