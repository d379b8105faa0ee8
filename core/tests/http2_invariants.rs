//! The invariants of the design, played with arbitrary sessions of HTTP/2.

use portcullis_play::play::{http2, http2_cuts, http2_tunnels};
use proptest::collection::vec;
use proptest::prelude::*;

fn weigh(connection: portcullis::Connection) -> usize {
    let freed = allocation_counter::measure(move || drop(connection)).bytes_current;
    freed.unsigned_abs() as usize
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn any_session_keeps_the_invariants(bytes in vec(any::<u8>(), 0..400)) {
        http2(&bytes, None);
    }

    #[test]
    fn any_session_is_weighed_exactly(bytes in vec(any::<u8>(), 0..300)) {
        http2(&bytes, Some(weigh));
    }

    #[test]
    fn any_session_with_tunnels_keeps_the_invariants(bytes in vec(any::<u8>(), 0..500)) {
        http2_tunnels(&bytes, None);
    }

    #[test]
    fn any_session_with_tunnels_is_weighed_exactly(bytes in vec(any::<u8>(), 0..300)) {
        http2_tunnels(&bytes, Some(weigh));
    }

    #[test]
    fn cuts_make_no_difference(bytes in vec(any::<u8>(), 0..300)) {
        http2_cuts(&bytes);
    }
}
