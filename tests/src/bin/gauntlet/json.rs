//! The figures for programs.

use std::fs;
use std::path::Path;

use portcullis_tests::gauntlet::{Failure, Report};
use serde_json::{Value, json};

/// Writes all reports.
pub(crate) fn write(file: &Path, reports: &[Report]) -> Result<(), Failure> {
    let all = Value::Array(reports.iter().map(value).collect());
    let text = serde_json::to_string_pretty(&all)?;
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()).into())
}

fn value(report: &Report) -> Value {
    let healthy = |(median, worst): (u64, u64)| json!({ "p50_us": median, "p99_us": worst });
    json!({
        "attack": report.name,
        "row": report.row,
        "protocol": report.protocol,
        "place": report.place,
        "settings": report.settings,
        "peak_connections": report.peak,
        "held_in_the_end": report.held,
        "last_dropped_s": report.dropped,
        "memory_per_attacker_bytes": report.memory,
        "healthy_before": healthy(report.before),
        "healthy_during": healthy(report.during),
        "visitor_worst_us": report.visitor,
        "expected": report.expected,
        "holds": report.faults.is_empty(),
        "faults": report.faults,
        "attack_span_s": [report.span.0, report.span.1],
        "memory_s_bytes": report.memory_series,
        "healthy_s_us": report.latency_series,
    })
}
