//! A watchdog: it ends the process if a test hangs, and names the test.
//!
//! It is not a measure of speed: the limit is far beyond the time of any test on a busy machine.
//! Without it a hanging test would be silent until somebody stops it.

use crate::{say, test_name};
use std::collections::BTreeMap;
use std::process::abort;
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A test that takes longer counts as hanging.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// The watched tests: number, deadline and name.
static TESTS: Mutex<Tests> = Mutex::new(Tests { next: 0, running: BTreeMap::new() });
static CHANGED: Condvar = Condvar::new();
static DOG: Once = Once::new();

struct Tests {
    next: u64,
    running: BTreeMap<u64, (Instant, String)>,
}

fn tests() -> MutexGuard<'static, Tests> {
    TESTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A test that is watched until this is dropped.
#[derive(Debug)]
#[must_use = "dropping this ends the watch"]
pub struct Watched(u64);

/// Watches the test that runs on this thread.
pub fn watched() -> Watched {
    DOG.call_once(|| drop(thread::spawn(watch)));
    let mut tests = tests();
    let number = tests.next;
    tests.next += 1;
    tests.running.insert(number, (Instant::now() + LIMIT, test_name()));
    CHANGED.notify_all();
    Watched(number)
}

impl Drop for Watched {
    fn drop(&mut self) {
        tests().running.remove(&self.0);
    }
}

fn watch() {
    let mut tests = tests();
    loop {
        let now = Instant::now();
        // All tests have the same limit, so the first one also has the first deadline.
        let wait = match tests.running.values().next() {
            Some((end, name)) if *end <= now => {
                say(&format!(
                    "HANGS {name}: still running after {} s, so the process ends",
                    LIMIT.as_secs()
                ));
                abort();
            }
            Some((end, _)) => *end - now,
            None => LIMIT,
        };
        tests = CHANGED.wait_timeout(tests, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}

#[cfg(test)]
mod tests {
    use super::{tests, watched};

    #[test]
    fn a_test_is_watched_until_it_ends() {
        let watched = watched();
        let name = "watchdog::tests::a_test_is_watched_until_it_ends";
        // With `--test-threads=1` the name is the main thread's.
        let is_this = |name: &str| name.ends_with("until_it_ends") || name == "main";
        assert!(tests().running.values().any(|(_, running)| is_this(running)), "{name}");
        drop(watched);
        assert!(!tests().running.values().any(|(_, running)| is_this(running)), "{name}");
    }
}
