//! The connection against other implementations of HTTP/2 and HPACK, played with arbitrary scripts.

use portcullis_play::against::{blocks, client, frames};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_client_of_another_kind_is_served(bytes in vec(any::<u8>(), 0..400)) {
        client(&bytes);
    }

    #[test]
    fn two_servers_take_the_same_requests(bytes in vec(any::<u8>(), 0..400)) {
        frames(&bytes);
    }

    #[test]
    fn field_blocks_are_read_alike(bytes in vec(any::<u8>(), 0..400)) {
        blocks(&bytes);
    }
}
