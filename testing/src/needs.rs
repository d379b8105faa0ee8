//! Tools that a test needs and a machine may lack.

use crate::{say, test_name};
use std::env;
use std::path::Path;

/// If this variable is `all`, a missing tool fails the test instead of skipping it.
const VARIABLE: &str = "PORTCULLIS_TESTS";

/// Whether `program` can be started. If not, reports the test as skipped, with the command that
/// installs the program.
///
/// ```
/// if !portcullis_testing::needs("cargo", "see https://rustup.rs") {
///     return;
/// }
/// ```
///
/// # Panics
///
/// If the program is missing and the variable `PORTCULLIS_TESTS` is `all`, as in `.ci/run`.
#[must_use = "the test must return if the program is missing"]
#[track_caller]
pub fn needs(program: &str, install: &str) -> bool {
    let there = is_there(program);
    if !there {
        skip(&format!("{program} is missing; to install it: {install}"));
    }
    there
}

/// Reports the test as skipped, with the reason. The caller then returns.
///
/// # Panics
///
/// If the variable `PORTCULLIS_TESTS` is `all`, as in `.ci/run`.
#[track_caller]
pub fn skip(reason: &str) {
    let all = env::var_os(VARIABLE).is_some_and(|value| value == "all");
    assert!(!all, "{VARIABLE}=all does not allow to skip this test: {reason}");
    say(&format!("SKIPPED {}: {reason}", test_name()));
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let file = format!("{program}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&path).any(|folder| can_be_started(&folder.join(&file)))
}

#[cfg(unix)]
fn can_be_started(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn can_be_started(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::is_there;

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(is_there("cargo"));
        assert!(!is_there("no-program-of-this-name"));
    }
}
