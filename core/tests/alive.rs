//! A peer that keeps every minimum is never closed for time.

mod play;

use play::alive;
use play::link::Plain;
use portcullis_testing::watched;
use std::sync::Arc;

/// Lives of one test.
const LIVES: u64 = 2500;

#[test]
fn a_live_peer_is_never_closed() {
    let _watched = watched();
    let mut failed = 0;
    for number in std::env::var("LIFE").map_or(0..LIVES, |n| {
        let n = n.parse().unwrap();
        n..n + 1
    }) {
        let bytes = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let result = std::panic::catch_unwind(|| {
            alive(&bytes, Plain, |settings| Arc::new(settings.build().expect("in range")));
        });
        if result.is_err() {
            eprintln!("life {number}");
            failed += 1;
            if failed > 25 {
                break;
            }
        }
    }
}
