//! A session of input, output, time and actions in any order. Checks the invariants deadline,
//! memory, nothing lost and reason, with the allocator's own count; some sessions also check pure.
#![no_main]

use portcullis::Connection;
use portcullis_play::play;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    play::session(bytes, Some(weigh));
    // Checking pure runs the session twice more, so only some sessions do it.
    if bytes.len().is_multiple_of(8) {
        play::pure(bytes);
    }
});

fn weigh(connection: Connection) -> usize {
    let freed = allocation_counter::measure(move || drop(connection)).bytes_current;
    freed.unsigned_abs() as usize
}
