//! A watchdog: it ends the process if a test hangs, and names the test.
//!
//! It is no measure of speed. Its limit is far beyond what any test takes on a machine that has much
//! else to do; without it a test that hangs would say nothing until somebody stops it.

use crate::{say, test_name};
use std::collections::BTreeMap;
use std::process::abort;
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test may take before it counts as one that hangs.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Those that are watched: by number, when their time is up and their name.
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
#[must_use = "it is watched only as long as this lives"]
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
        // All have the same limit: the first is the next whose time is up.
        let wait = match tests.running.values().next() {
            Some((end, name)) if *end <= now => {
                say(&format!("HANGS {name}: not done after {} s", LIMIT.as_secs()));
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
        // With one thread for all tests the name is the main thread's.
        let is_this = |name: &str| name.ends_with("until_it_ends") || name == "main";
        assert!(tests().running.values().any(|(_, running)| is_this(running)), "{name}");
        drop(watched);
        assert!(!tests().running.values().any(|(_, running)| is_this(running)), "{name}");
    }
}
