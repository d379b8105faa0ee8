//! Which attacks run at the same time, and their progress.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use portcullis_tests::gauntlet::{self, Attack, Failure, Place, Report, Target, Weight};
use tokio::runtime::{Builder, Handle};

use crate::arguments::Plan;

type Run = (usize, &'static Attack, Place);

/// Runs all attacks, and returns their reports in the order of the plan.
pub(crate) fn run(plan: &Plan) -> Result<Vec<Report>, Failure> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let screen = MultiProgress::new();
    let all = screen.add(ProgressBar::new(plan.runs.len() as u64));
    all.set_style(ProgressStyle::with_template("{elapsed:>4} {wide_bar} {pos}/{len} {msg}")?);
    let (light, alone): (VecDeque<Run>, VecDeque<Run>) = plan
        .runs
        .iter()
        .enumerate()
        .map(|(number, (attack, place))| (number, *attack, *place))
        .partition(|(_, attack, _)| attack.weight == Weight::Light);
    let mut reports = Vec::new();
    for (runs, lanes) in [(light, plan.lanes), (alone, 1)] {
        let (runs, done) = (Mutex::new(runs), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..lanes {
                let bar = screen.add(ProgressBar::new(1));
                let lane =
                    Lane { plan, runtime: runtime.handle(), screen: &screen, all: &all, bar };
                let (runs, done) = (&runs, &done);
                scope.spawn(move || {
                    while let Some(run) = next(runs) {
                        let report = (run.0, lane.run(run));
                        done.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                    }
                    lane.bar.finish_and_clear();
                });
            }
        });
        reports.extend(done.into_inner().unwrap_or_else(PoisonError::into_inner));
    }
    all.finish_and_clear();
    // Attackers that the server still holds are dropped with their tasks.
    runtime.shutdown_background();
    reports.sort_by_key(|(number, _)| *number);
    reports.into_iter().map(|(_, report)| report).collect()
}

fn next(runs: &Mutex<VecDeque<Run>>) -> Option<Run> {
    runs.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// One of the attacks that run at the same time.
struct Lane<'a> {
    plan: &'a Plan,
    runtime: &'a Handle,
    screen: &'a MultiProgress,
    all: &'a ProgressBar,
    bar: ProgressBar,
}

impl Lane<'_> {
    fn run(&self, (_, attack, place): Run) -> Result<Report, Failure> {
        let place_name = match self.plan.target {
            Target::Program(_) => place.to_string(),
            Target::Other { address, .. } => address.to_string(),
        };
        let style = "     {bar:30} {pos:>5}/{len:<5} open  {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            self.bar.set_style(style);
        }
        self.bar.set_message(format!("{} on {place_name}", attack.name));
        let watch = |open: usize, count: usize| {
            self.bar.set_length(count as u64);
            self.bar.set_position(open as u64);
        };
        let (target, options) = (&self.plan.target, self.plan.options);
        let play = || {
            gauntlet::run(attack, place, target, options, self.runtime, &watch)
                .map_err(|error| format!("{} on {place_name}: {error}", attack.name))
        };
        let mut report = play()?;
        // Other work on this machine may have disturbed it: a verdict falls if it falls twice.
        if matches!(target, Target::Program(_)) && !report.faults.is_empty() {
            for fault in &report.faults {
                self.say(&format!("{} on {place_name} is played again: {fault}", report.name));
            }
            report = play()?;
        }
        for fault in &report.faults {
            self.say(&format!("{} on {place_name}: {fault}", report.name));
        }
        self.all.inc(1);
        Ok(Report { place: place_name, ..report })
    }

    /// Prints a line above the progress.
    fn say(&self, line: &str) {
        // Without a terminal there is no screen to print on.
        if self.screen.println(line).is_err() || !console_is_there() {
            eprintln!("{line}");
        }
    }
}

/// Whether progress is shown at all.
fn console_is_there() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}
