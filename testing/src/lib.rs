//! What the tests of all crates share.
//!
//! | module | what it is |
//! |---|---|
//! | [`needs`] | a tool that a test needs: the test is skipped, visibly, on a machine without it |
//! | [`watched`] | a watchdog: a test that hangs ends the process, and is named |

mod needs;
mod watchdog;

pub use needs::{needs, skip};
pub use watchdog::{Watched, watched};

/// The name of the test that runs on this thread.
fn test_name() -> String {
    // With `--test-threads=1` there is only the main thread, and libtest has just printed the name.
    std::thread::current().name().unwrap_or("a test").to_owned()
}

/// Says something where it is seen also if the test passes: libtest keeps back only what the macros print.
fn say(line: &str) {
    use std::io::Write;
    // One write, so that the lines of two tests do not mix. Nobody may be there to read it.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
