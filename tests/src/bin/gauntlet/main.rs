//! Attacks the program over loopback as `attacks.md` says, and measures it from outside.
//!
//!     cargo run --release -p portcullis-tests --bin gauntlet
//!     cargo run --release -p portcullis-tests --bin gauntlet -- --only slow --runtime smol
//!     cargo run --release -p portcullis-tests --bin gauntlet -- --target 127.0.0.1:8080
//!
//! For each attack it starts the program, lets a healthy client measure its latency, lets the
//! attackers loose, and says whether what must happen has happened. It fails if a verdict falls.
//!
//! | file | duty |
//! |---|---|
//! | `arguments.rs` | the command line, and what it selects |
//! | `schedule.rs` | which attacks run at the same time; progress |
//! | `table.rs` | the table at the end |
//! | `json.rs` | the same for programs |
//! | `picture.rs` | latency and memory over time, a panel for each attack |
//! | `pixels.rs` | text in the picture without the fonts of the machine |

#[cfg(target_os = "linux")]
mod arguments;
#[cfg(target_os = "linux")]
mod json;
#[cfg(target_os = "linux")]
mod picture;
#[cfg(target_os = "linux")]
mod pixels;
#[cfg(target_os = "linux")]
mod schedule;
#[cfg(target_os = "linux")]
mod table;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gauntlet: {error}");
            ExitCode::FAILURE
        }
    }
}

/// It reads `/proc`.
#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("gauntlet: it measures other processes, which it can do on Linux only");
    ExitCode::FAILURE
}

/// Returns whether all verdicts hold.
#[cfg(target_os = "linux")]
fn run() -> Result<bool, portcullis_tests::gauntlet::Failure> {
    let arguments = <arguments::Arguments as clap::Parser>::parse();
    if arguments.list {
        table::list();
        return Ok(true);
    }
    let plan = arguments.plan()?;
    let start = std::time::Instant::now();
    let reports = schedule::run(&plan)?;
    table::print(&reports, plan.patience(), start.elapsed());
    if let Some(file) = &arguments.json {
        json::write(file, &reports)?;
    }
    if let Some(file) = &arguments.markdown {
        table::write_markdown(file, &reports, plan.patience())?;
    }
    if let Some(file) = &arguments.picture {
        picture::draw(file, &reports)?;
    }
    Ok(reports.iter().all(|report| report.faults.is_empty()))
}
