//! Medians and ratios, and the tables that show them.

use std::time::Duration;

use portcullis_tests::load::Outcome;
use portcullis_tests::reference::Stack;

use crate::case::{Case, Field, Unit};

/// The width of a column; most names fit.
const WIDTH: usize = 14;

/// One server in one round of one case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Units per second.
    rate: f64,
    /// Microseconds of the server's processor time per unit, if known.
    work: Option<f64>,
    /// Latencies of single requests, in microseconds, if known.
    median: Option<f64>,
    worst: Option<f64>,
}

impl Sample {
    /// A sample without latencies: of so many units in `elapsed`.
    pub(crate) fn of(units: f64, elapsed: Duration, used: Option<Duration>) -> Self {
        let work = used.map(|used| micros(used) / units);
        Self { rate: units / elapsed.as_secs_f64(), work, median: None, worst: None }
    }

    pub(crate) fn new(unit: Unit, outcome: &Outcome, used: Option<Duration>) -> Self {
        let units = match unit {
            Unit::Requests => outcome.requests as f64,
            Unit::Megabytes => (outcome.received + outcome.sent) as f64 / 1e6,
        };
        let latency = |share| Some(micros(outcome.latency(share)));
        let (median, worst) = (latency(0.50), latency(0.99));
        Self { median, worst, ..Self::of(units, outcome.elapsed, used) }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A case, and its samples by round and then by server; `None` for a server that did not take part.
pub(crate) type Result<'a> = (&'a Case, Vec<Vec<Option<Sample>>>);

/// Prints the results. Ratios are those of the last server to each of the others.
pub(crate) fn print(stacks: &[Stack], results: &[Result<'_>]) {
    let all = |_: &Case| true;
    let requests = |case: &Case| case.unit == Unit::Requests && case.field != Field::Http2;
    let title = "per second: requests, or MB (more is better)";
    section(title, stacks, results, all, |sample| Some(sample.rate));
    let title = "server's CPU time, µs: per request, or per MB (less is better)";
    section(title, stacks, results, all, |sample| sample.work);
    let title = "latency, µs, median (less is better)";
    section(title, stacks, results, requests, |sample| sample.median);
    let title = "latency, µs, 99 % (less is better)";
    section(title, stacks, results, requests, |sample| sample.worst);
}

fn section(
    title: &str,
    stacks: &[Stack],
    results: &[Result<'_>],
    concerns: impl Fn(&Case) -> bool,
    figure: impl Fn(&Sample) -> Option<f64>,
) {
    let Some((last, others)) = stacks.split_last() else {
        return;
    };
    if !results.iter().any(|(case, _)| concerns(case)) {
        return;
    }
    print!("\n{title:<60}");
    let names: Vec<String> = stacks.iter().map(Stack::to_string).collect();
    let width = names.iter().map(String::len).fold(WIDTH, usize::max);
    names.iter().for_each(|name| print!(" {name:>width$}"));
    others.iter().for_each(|other| print!("   {last}/{other}"));
    println!();
    for (case, rounds) in results.iter().filter(|(case, _)| concerns(case)) {
        print!("{:<60}", case.name);
        let taken_part = |index: usize| rounds.iter().all(|round| round[index].is_some());
        let value =
            |round: &[Option<Sample>], index: usize| round[index].as_ref().and_then(&figure);
        for index in 0..stacks.len() {
            let value = median(rounds.iter().map(|round| value(round, index)));
            print!(" {:>width$}", cell(taken_part(index), value.map(number)));
        }
        for (index, other) in others.iter().enumerate() {
            let ratio = |round: &Vec<_>| Some(value(round, others.len())? / value(round, index)?);
            let ratio = median(rounds.iter().map(ratio)).map(|ratio| format!("{ratio:.2}"));
            let width = format!("   {last}/{other}").len();
            let both = taken_part(index) && taken_part(others.len());
            print!("{:>width$}", cell(both, ratio));
        }
        println!();
    }
}

/// A figure, or `-` if the server did not take part, or `?` if the figure is unknown.
fn cell(taken_part: bool, figure: Option<String>) -> String {
    let missing = if taken_part { "?" } else { "-" };
    figure.unwrap_or_else(|| missing.to_owned())
}

/// The middle of the values; `None` if one of them is unknown.
fn median(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let mut values = values.collect::<Option<Vec<_>>>()?;
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Three significant digits, or all digits of a larger whole number.
fn number(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_known_values() {
        assert_eq!(median([Some(3.0), Some(1.0), Some(2.0)].into_iter()), Some(2.0));
        assert_eq!(median([Some(3.0), None].into_iter()), None);
        assert_eq!(median([].into_iter()), None);
    }

    #[test]
    fn a_missing_figure_says_why() {
        assert_eq!(cell(true, Some("1.00".into())), "1.00");
        assert_eq!(cell(true, None), "?");
        assert_eq!(cell(false, None), "-");
    }

    #[test]
    fn numbers_have_three_digits_at_least() {
        assert_eq!([9.996, 12.34, 12_345.6].map(number), ["10.00", "12.3", "12346"]);
    }
}
