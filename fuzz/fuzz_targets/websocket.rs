//! A session of a websocket, in any order: deadline, memory, nothing lost, reason, and what the
//! allocator says.
#![no_main]

#[path = "../../core/tests/play/mod.rs"]
mod play;

use portcullis::Connection;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| play::websocket(bytes, Some(weigh)));

fn weigh(connection: Connection) -> usize {
    let freed = allocation_counter::measure(move || drop(connection)).bytes_current;
    freed.unsigned_abs() as usize
}
