//! Shared by the tests of all crates.
//!
//! | module | what it is |
//! |---|---|
//! | [`instructions`] | counts what a run of this program executes, under callgrind |
//! | [`needs`] | skips a test, visibly, on a machine without a tool that it needs |
//! | [`watched`] | a watchdog that ends the process if a test hangs, and names the test |

mod callgrind;
mod needs;
mod watchdog;

pub use callgrind::instructions;
pub use needs::{needs, skip};
pub use watchdog::{Watched, watched};

/// The name of the test that runs on this thread.
fn test_name() -> String {
    // With `--test-threads=1` there is only the main thread, and libtest has just printed the name.
    std::thread::current().name().unwrap_or("a test").to_owned()
}

/// Prints a line that is visible even if the test passes: libtest only captures what the macros
/// print.
fn say(line: &str) {
    use std::io::Write;
    // One write, so that lines of two tests don't mix. A closed standard error is no failure.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
