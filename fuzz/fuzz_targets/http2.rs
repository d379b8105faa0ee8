//! A session of HTTP/2: frames, output, time and actions on streams in any order. Checks the invariants
//! deadline, memory, nothing lost and reason, with the allocator's own count.
#![no_main]

use portcullis::Connection;
use portcullis_play::play;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    play::http2(bytes, None);
    play::http2(bytes, Some(weigh));
});

fn weigh(connection: Connection) -> usize {
    let freed = allocation_counter::measure(move || drop(connection)).bytes_current;
    freed.unsigned_abs() as usize
}
