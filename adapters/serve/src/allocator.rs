//! Makes glibc return freed memory to the system.
//!
//! glibc maps each large block on its own and unmaps it when it is freed. But each freed block
//! raises the size from which glibc does so, up to 32 MiB. After 20 websocket messages of 16 MiB it
//! kept 417 MiB for good. Setting the threshold once pins it.

/// Blocks of at least this size go back to the system when they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 512 << 10;

/// Pins the threshold. Must be called before other threads start.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(crate) fn give_memory_back() {
    // SAFETY: the call takes two numbers and changes a setting of the allocator.
    let done = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    debug_assert_eq!(done, 1, "the threshold is in range");
}

/// Does nothing: other allocators return large blocks by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_memory_back() {}
