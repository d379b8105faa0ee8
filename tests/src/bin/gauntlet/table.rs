//! The table at the end of a run.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use portcullis_tests::gauntlet::{ATTACKS, Expect, Failure, Report};

const COLUMNS: usize = 10;
const HEADS: [&str; COLUMNS] = [
    "attack",
    "row",
    "where",
    "held",
    "last dropped",
    "memory each",
    "healthy before, ms",
    "during, ms",
    "visitor, ms",
    "verdict",
];

/// Prints the table, and then what was set.
pub(crate) fn print(reports: &[Report], patience: Option<Duration>, took: Duration) {
    let rows: Vec<_> = reports.iter().map(|report| cells(report, patience)).collect();
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADS[column].len()]).max().unwrap_or(0)
    });
    println!("{}", line(&HEADS.map(str::to_owned), &widths));
    for row in &rows {
        println!("{}", line(row, &widths));
    }
    println!(
        "\nhealthy: 50 % and 99 % of the requests on a kept connection took at most that long\n\
         visitor: the slowest request on a fresh connection while the attack ran\nsettings:"
    );
    let mut last = "";
    for report in reports.iter().filter(|report| !report.settings.is_empty()) {
        if last != report.name {
            println!("  {}: {}", report.name, report.settings.join(" "));
            last = report.name;
        }
    }
    let fallen = reports.iter().filter(|report| !report.faults.is_empty()).count();
    println!("\n{} runs in {:.0} s, {fallen} verdicts fall", reports.len(), took.as_secs_f64());
}

/// The columns of text are aligned to the left, those of numbers to the right.
fn line(cells: &[String; COLUMNS], widths: &[usize; COLUMNS]) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        // Writing to a string never fails.
        let _ = match column {
            0..=2 | 9 => write!(line, "{cell:<width$}  "),
            _ => write!(line, "{cell:>width$}  "),
        };
    }
    line.trim_end().to_owned()
}

fn cells(report: &Report, patience: Option<Duration>) -> [String; COLUMNS] {
    let pair = |(median, worst): (u64, u64)| {
        format!("{:.1} {:.1}", median as f64 / 1e3, worst as f64 / 1e3)
    };
    let verdict = if report.faults.is_empty() {
        format!("holds: {}", report.expected)
    } else {
        format!("FALLS: {}; expected: {}", report.faults.join("; "), report.expected)
    };
    [
        report.name.to_owned(),
        report.row.to_owned(),
        report.place.clone(),
        report.peak.to_string(),
        dropped(report, patience),
        report.memory.map_or("?".to_owned(), bytes),
        pair(report.before),
        pair(report.during),
        report.visitor.map_or("-".to_owned(), |micros| format!("{:.1}", micros as f64 / 1e3)),
        verdict,
    ]
}

fn dropped(report: &Report, patience: Option<Duration>) -> String {
    match (report.dropped, report.held) {
        (Some(seconds), _) => format!("{seconds:.1} s"),
        (None, 0) => "left".to_owned(),
        (None, held) => {
            let after =
                patience.map_or(String::new(), |time| format!(" after {} s", time.as_secs()));
            format!("holds {held}{after}")
        }
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..=9_999 => format!("{count} B"),
        10_000..=9_999_999 => format!("{} KiB", count >> 10),
        _ => format!("{} MiB", count >> 20),
    }
}

/// The same as Markdown.
pub(crate) fn write_markdown(
    file: &Path,
    reports: &[Report],
    patience: Option<Duration>,
) -> Result<(), Failure> {
    let mut text = format!("| {} |\n|{}\n", HEADS.join(" | "), "---|".repeat(HEADS.len()));
    for report in reports {
        writeln!(text, "| {} |", cells(report, patience).join(" | "))?;
    }
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Lists all attacks.
pub(crate) fn list() {
    for attack in ATTACKS {
        let expected = attack.expect.iter().map(Expect::to_string).collect::<Vec<_>>().join(", ");
        println!("{:<22} row {:<10} {:<10} {expected}", attack.name, attack.row, attack.protocol);
        if !attack.settings.is_empty() {
            println!("{:<22} {}", "", attack.settings.join(" "));
        }
    }
}
