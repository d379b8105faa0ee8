//! Counts instructions, which repeat from run to run, unlike times.

use std::env;
use std::process::Command;

/// The instructions that this program executes with these arguments, counted by callgrind.
///
/// # Errors
///
/// What valgrind says if it does not start, or if the program fails.
pub fn instructions(arguments: &[&str]) -> Result<u64, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split_once("Collected : "));
    match line.and_then(|(_, number)| number.trim().parse().ok()) {
        Some(number) if output.status.success() => Ok(number),
        _ => Err(format!("{}: {}: {text}", arguments.join(" "), output.status)),
    }
}
