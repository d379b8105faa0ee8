//! A session of a tunnel over HTTP/1.1, and one over HTTP/2, in any order. Checks the invariants deadline, memory,
//! nothing lost and reason, with the allocator's own count; some sessions also check pure.
#![no_main]

use portcullis::Connection;
use portcullis_play::play;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    play::tunnel(bytes, Some(weigh));
    play::http2_tunnels(bytes, Some(weigh));
    // Checking pure runs the session twice more, so only some sessions do it.
    if bytes.len().is_multiple_of(8) {
        play::tunnel_pure(bytes);
    }
});

fn weigh(connection: Connection) -> usize {
    let freed = allocation_counter::measure(move || drop(connection)).bytes_current;
    freed.unsigned_abs() as usize
}
