//! Whatever happens in whatever order: no limit is exceeded, what comes and goes is balanced, nobody is closed
//! that must not be. The fuzz target `gate` plays the same.

use portcullis_play::gate::play;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_calls_keeps_the_accounts(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        play(&bytes);
    }
}
