//! How the system's allocator gives memory back.
//!
//! glibc takes large blocks from the system one by one, and gives them back when they are freed. But
//! each that is freed raises the size from which it does so, up to 32 MiB. After a wave of large
//! websocket messages it then keeps them for good: 417 MiB after 20 messages of 16 MiB. A threshold
//! that is set stays.

/// Blocks from this size on are given back when they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 512 << 10;

/// Has large blocks given back when they are freed. Called before there are other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(crate) fn give_memory_back() {
    // SAFETY: this takes two numbers, and changes a setting of the allocator.
    let done = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    debug_assert_eq!(done, 1, "the threshold is in range");
}

/// Has large blocks given back when they are freed: other allocators need not be told.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_memory_back() {}
