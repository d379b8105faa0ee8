//! Pins processes to processor cores, and reads their processor time.
//!
//! Works on Linux only. Elsewhere nothing is pinned and times are unknown; the callers print that.

use std::io;
use std::time::Duration;

/// The cores that this process may run on, lowest first. Empty if unknown.
pub fn allowed() -> Vec<usize> {
    platform::allowed()
}

/// Keeps this thread, and the threads it starts later, on one core.
pub fn pin(core: usize) -> io::Result<()> {
    platform::pin(core)
}

/// The processor time that all threads of a process have used so far.
pub fn time_used(pid: u32) -> Option<Duration> {
    platform::time_used(pid)
}

#[cfg(target_os = "linux")]
mod platform {
    use std::io;
    use std::time::Duration;

    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::time::{clock_getcpuclockid, clock_gettime};
    use nix::unistd::Pid;

    /// The process id that means the calling thread to these system calls.
    const THIS_THREAD: Pid = Pid::from_raw(0);

    pub(super) fn allowed() -> Vec<usize> {
        let Ok(set) = sched_getaffinity(THIS_THREAD) else {
            return Vec::new();
        };
        let is_allowed = |core: &usize| set.is_set(*core).unwrap_or(false);
        (0..CpuSet::count()).filter(is_allowed).collect()
    }

    pub(super) fn pin(core: usize) -> io::Result<()> {
        let mut set = CpuSet::new();
        set.set(core)?;
        Ok(sched_setaffinity(THIS_THREAD, &set)?)
    }

    pub(super) fn time_used(pid: u32) -> Option<Duration> {
        let pid = Pid::from_raw(pid.try_into().ok()?);
        let clock = clock_getcpuclockid(pid).ok()?;
        Some(clock_gettime(clock).ok()?.into())
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::io;
    use std::time::Duration;

    pub(super) fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub(super) fn pin(_core: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn time_used(_pid: u32) -> Option<Duration> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_is_allowed_one_core() {
        let all = allowed();
        let last = *all.last().expect("a process runs somewhere");
        let seen = std::thread::spawn(move || {
            pin(last).expect("an allowed core");
            allowed()
        });
        assert_eq!(seen.join().expect("no panic"), [last]);
        assert_eq!(allowed(), all, "only that thread was pinned");
    }

    #[test]
    fn time_used_grows_with_work() {
        let before = time_used(std::process::id()).expect("our own time");
        let mut sum = 0_u64;
        while time_used(std::process::id()).expect("our own time") == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert_eq!(time_used(u32::MAX), None);
    }
}
