//! Publishes the driver's counters through the [`metrics`] facade. Behind the feature `metrics`.
//!
//! In: a [`Snapshot`] and a [`Gauge`]. Out: counters and gauges of the recorder in force, under names that follow
//! Prometheus' conventions. Connections only count in [`Stats`](crate::Stats), so requests cost the same with a
//! recorder and without one. The application calls [`publish`] whenever its recorder is read, for example at each
//! scrape.
//!
//! This module is in the driver because every adapter exports the driver. So an application reaches it as
//! `metrics` of its adapter, and needs no other crate of ours.
//!
//! Labels are names from the source code. No byte that a client sends becomes a label, so clients cannot make more
//! series.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `portcullis_connections_accepted_total` | counter | |
//! | `portcullis_connections_closed_total` | counter | `reason`: a label of [`CloseReason`] |
//! | `portcullis_connections` | gauge | `phase`: a label of [`Phase`](portcullis::Phase) |
//! | `portcullis_requests_total` | counter | |
//! | `portcullis_request_resets_total` | counter | `reason`: why a request ended early |
//! | `portcullis_request_reset_causes_total` | counter | `cause`: the [`Refusal`](portcullis::Refusal), the violation or the [`Fault`](portcullis::Fault) of such a request, if there was one |
//! | `portcullis_requests_refused_total` | counter | `reason`: why a connection refused a request that did not reach the service: a label of [`CloseReason`] |
//! | `portcullis_held_bytes` | gauge | |
//! | `portcullis_refused_total` | counter | `reason`: a label of [`Denied`](portcullis::gate::Denied) |
//! | `portcullis_gate_steps_total` | counter | `step`: a label of [`Step`](portcullis::gate::Step) that has begun |
//! | `portcullis_pressure_ratio` | gauge | `resource`: `connections`, `memory` or `handshakes` |
//! | `portcullis_limit_connections` | gauge | |
//! | `portcullis_limit_memory_bytes` | gauge | |
//! | `portcullis_timers_shortened_ratio` | gauge | |
//! | `portcullis_keep_alive` | gauge | |
//!
//! ```
//! use portcullis_driver::{Admission, Stats, metrics};
//! # use portcullis::Config;
//! # use std::sync::Arc;
//! # let (stats, admission) = (Stats::new(), Admission::new(&Arc::new(Config::default())));
//! // Once, after the recorder is installed:
//! metrics::describe();
//! // At each scrape:
//! metrics::publish(&stats.snapshot(), Some(&admission.gauge()));
//! ```

use crate::admission::Gauge;
use crate::stats::{Snapshot, labels_of_requests};
use ::metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use portcullis::CloseReason;

/// Tells the recorder in force what each metric means. Call it once for each recorder.
pub fn describe() {
    describe_counter!("portcullis_connections_accepted_total", "Connections accepted.");
    describe_counter!("portcullis_connections_closed_total", "Connections closed, by reason.");
    describe_gauge!("portcullis_connections", "Connections that are open, by phase.");
    describe_counter!("portcullis_requests_total", "Requests delivered to the application.");
    describe_counter!(
        "portcullis_request_resets_total",
        "Requests that ended before their content or their answer did, by reason."
    );
    describe_counter!(
        "portcullis_request_reset_causes_total",
        "Requests that ended early, by the rule of the protocol that the client broke."
    );
    describe_counter!(
        "portcullis_requests_refused_total",
        "Requests that were refused before they reached the application, by reason."
    );
    describe_gauge!("portcullis_held_bytes", Unit::Bytes, "Bytes held for all open connections.");
    describe_counter!("portcullis_refused_total", "Newcomers refused by the gate, by reason.");
    describe_counter!(
        "portcullis_gate_steps_total",
        "Steps that the gate has begun because pressure grew, by step."
    );
    describe_gauge!(
        "portcullis_pressure_ratio",
        "Part of a resource's limit that is in use: 1 is all of it."
    );
    describe_gauge!("portcullis_limit_connections", "The most connections at the same time.");
    describe_gauge!(
        "portcullis_limit_memory_bytes",
        Unit::Bytes,
        "The most bytes that may be held for all connections."
    );
    describe_gauge!(
        "portcullis_timers_shortened_ratio",
        "By how much pressure shortens the timers that wait for peers: 0 is not at all."
    );
    describe_gauge!(
        "portcullis_keep_alive",
        "1 if connections are kept for another request, 0 if pressure ends that."
    );
}

/// Passes the counters on to the recorder in force: the global one, or that of
/// [`with_local_recorder`](::metrics::with_local_recorder). Without a recorder nothing happens.
///
/// `gauge` is `None` for a server without a gate of its own.
pub fn publish(snapshot: &Snapshot, gauge: Option<&Gauge>) {
    counter!("portcullis_connections_accepted_total").absolute(snapshot.accepted);
    counter!("portcullis_requests_total").absolute(snapshot.requests);
    gauge!("portcullis_held_bytes").set(snapshot.bytes_held as f64);
    for (phase, count) in &snapshot.phases {
        gauge!("portcullis_connections", "phase" => *phase).set(*count as f64);
    }
    // Reasons that never occurred count as 0: a rate needs a value from before the first one.
    for label in CloseReason::all().map(CloseReason::label) {
        let count = count_of(&snapshot.closes, label);
        counter!("portcullis_connections_closed_total", "reason" => label).absolute(count);
    }
    let [refusals, causes] = labels_of_requests();
    for label in refusals {
        let count = count_of(&snapshot.refusals, label);
        counter!("portcullis_requests_refused_total", "reason" => *label).absolute(count);
    }
    for label in causes {
        let count = count_of(&snapshot.reset_causes, label);
        counter!("portcullis_request_reset_causes_total", "cause" => *label).absolute(count);
    }
    for (reason, count) in &snapshot.resets {
        counter!("portcullis_request_resets_total", "reason" => *reason).absolute(*count);
    }
    if let Some(gauge) = gauge {
        publish_gate(gauge);
    }
}

fn count_of(counts: &[(&'static str, u64)], label: &str) -> u64 {
    counts.iter().filter(|(other, _)| *other == label).map(|(_, count)| count).sum()
}

fn publish_gate(gate: &Gauge) {
    for (step, count) in &gate.steps {
        counter!("portcullis_gate_steps_total", "step" => *step).absolute(*count);
    }
    for (reason, count) in &gate.denied {
        counter!("portcullis_refused_total", "reason" => *reason).absolute(*count);
    }
    for (resource, thousandths) in [
        ("connections", gate.pressure.connections),
        ("memory", gate.pressure.memory),
        ("handshakes", gate.pressure.handshakes),
    ] {
        let ratio = f64::from(thousandths) / 1000.0;
        gauge!("portcullis_pressure_ratio", "resource" => resource).set(ratio);
    }
    gauge!("portcullis_limit_connections").set(gate.limits.connections as f64);
    // The gate has no limit of memory if the machine does not tell how much it has.
    let memory = gate.limits.memory;
    let memory = if memory == u64::MAX { f64::INFINITY } else { memory as f64 };
    gauge!("portcullis_limit_memory_bytes").set(memory);
    let shortened = f64::from(gate.stress.eighths()) / 8.0;
    gauge!("portcullis_timers_shortened_ratio").set(shortened);
    let keeps = !gate.stress.ends_keep_alive();
    gauge!("portcullis_keep_alive").set(if keeps { 1.0 } else { 0.0 });
}
