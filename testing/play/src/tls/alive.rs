//! The invariant `alive` over TLS: see `play::alive`.

use crate::play;
use crate::play::link::Plain;
use crate::tls::pair::{VERSIONS, client, client_settings, over_tls};

/// One life, over TLS or in plaintext as the first byte decides.
pub fn life(bytes: &[u8]) {
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let first = usize::from(*first);
    if first % 4 == 0 {
        return play::alive(rest, Plain, |settings| settings.build().expect("in range").into());
    }
    let mut settings = client_settings(VERSIONS[first / 4 % 2]);
    settings.max_fragment_size = [None, None, Some(40), Some(300)][first / 8 % 4];
    play::alive(rest, client(settings), over_tls);
}
