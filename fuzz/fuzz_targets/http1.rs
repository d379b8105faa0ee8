//! A session of input, output, time and actions in any order: deadline, memory, nothing lost,
//! reason, and what the allocator says. Now and then also pure.
#![no_main]

#[path = "../../core/tests/play/mod.rs"]
mod play;

use portcullis::Connection;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    play::session(bytes, Some(weigh));
    // Twice more is dear, so not each time.
    if bytes.len().is_multiple_of(8) {
        play::pure(bytes);
    }
});

fn weigh(connection: Connection) -> usize {
    let freed = allocation_counter::measure(move || drop(connection)).bytes_current;
    freed.unsigned_abs() as usize
}
