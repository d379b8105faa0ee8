//! Counters that every connection keeps up to date. They can be read at any time.

use crate::{tls_told, upload};
use portcullis::close::Fault;
use portcullis::{CloseReason, Config, Expiry, Phase, ResetReason};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// All reasons, in the order of the counters.
static REASONS: LazyLock<Vec<CloseReason>> = LazyLock::new(|| CloseReason::all().collect());

/// The reasons for which a request is refused before it reaches the service.
static REFUSALS: LazyLock<Vec<&str>> = LazyLock::new(|| labels(refuses));

/// The closer causes for which a request that was delivered ends early.
static CAUSES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    use CloseReason::{Fault, Refused, Violation};
    labels(|reason| matches!(reason, Refused(_) | Violation(_) | Fault(_)))
});

fn labels(belongs: impl Fn(&CloseReason) -> bool) -> Vec<&'static str> {
    REASONS.iter().filter(|reason| belongs(reason)).map(|reason| reason.label()).collect()
}

/// Whether a request may be refused for this before it reaches the service.
fn refuses(reason: &CloseReason) -> bool {
    match reason {
        CloseReason::Expired(expiry) => *expiry == Expiry::RequestHead,
        CloseReason::Fault(fault) => {
            matches!(fault, Fault::Malformed | Fault::Dependency | Fault::TooManyStreams)
        }
        reason => reason.status().is_some(),
    }
}

/// All labels of [`Snapshot::refusals`] and of [`Snapshot::reset_causes`].
#[cfg(feature = "metrics")]
pub(crate) fn labels_of_requests() -> [&'static [&'static str]; 2] {
    [&REFUSALS, &CAUSES]
}

/// Counters of one or more servers. Share them in an `Arc`.
#[derive(Debug)]
pub struct Stats {
    phases: [AtomicU64; Phase::ALL.len()],
    memory: AtomicU64,
    accepted: AtomicU64,
    requests: AtomicU64,
    closes: Box<[AtomicU64]>,
    resets: [AtomicU64; ResetReason::LABELS.len()],
    reset_causes: Box<[AtomicU64]>,
    refusals: Box<[AtomicU64]>,
}

/// The counters at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Connections that are open now.
    pub open: u64,
    /// Connections that are open now, by phase: label and count.
    pub phases: Vec<(&'static str, u64)>,
    /// Bytes that are held for all open connections: by their state machines, by content and messages that
    /// wait for a handler, and by content of answers and messages that wait for room.
    pub bytes_held: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Requests delivered since the start.
    pub requests: u64,
    /// Connections closed since the start, by reason: label and count. Reasons that never occurred are left
    /// out.
    pub closes: Vec<(&'static str, u64)>,
    /// Requests that ended early since the start, by the kind of their [`ResetReason`]: label and count.
    pub resets: Vec<(&'static str, u64)>,
    /// The same requests, by the refusal, the violation or the fault that was the cause, if there was one: label
    /// and count. Causes that never occurred are left out.
    pub reset_causes: Vec<(&'static str, u64)>,
    /// Requests that connections refused before they reached the service, since the start, by the label of their
    /// [`CloseReason`]: answered with an error status, or reset (HTTP/2). Reasons that never occurred are left
    /// out.
    pub refusals: Vec<(&'static str, u64)>,
}

impl Default for Stats {
    fn default() -> Self {
        Stats::new()
    }
}

impl Stats {
    /// Counters at zero.
    pub fn new() -> Self {
        Stats {
            phases: Default::default(),
            memory: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            closes: zeros(REASONS.len()),
            resets: Default::default(),
            reset_causes: zeros(CAUSES.len()),
            refusals: zeros(REFUSALS.len()),
        }
    }

    /// The counters now. They are read one by one, so sums may differ by what happens meanwhile.
    pub fn snapshot(&self) -> Snapshot {
        // Closes come first and `accepted` last, so that a connection never counts more often than it was accepted.
        let closes = counted(REASONS.iter().map(|reason| reason.label()), &self.closes);
        let open = |phase: &Phase| *phase != Phase::Closed;
        let phases: Vec<_> = Phase::ALL
            .into_iter()
            .filter(open)
            .map(|phase| (phase.label(), self.phases[phase as usize].load(Relaxed)))
            .collect();
        Snapshot {
            open: phases.iter().map(|(_, count)| count).sum(),
            phases,
            bytes_held: self.memory.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            requests: self.requests.load(Relaxed),
            closes,
            reset_causes: counted(CAUSES.iter().copied(), &self.reset_causes),
            refusals: counted(REFUSALS.iter().copied(), &self.refusals),
            resets: ResetReason::LABELS
                .into_iter()
                .zip(&self.resets)
                .map(|(label, count)| (label, count.load(Relaxed)))
                .collect(),
        }
    }

    /// Counts a request that has ended early.
    #[cold]
    pub(crate) fn count_reset(&self, reason: ResetReason) {
        let place = ResetReason::LABELS.iter().position(|label| *label == reason.label());
        if let Some(count) = place.and_then(|place| self.resets.get(place)) {
            count.fetch_add(1, Relaxed);
        }
        count(&CAUSES, &self.reset_causes, label(reason));
    }

    /// Counts a request that was refused before it reached the service.
    #[cold]
    pub(crate) fn count_refusal(&self, reason: CloseReason) {
        debug_assert!(refuses(&reason), "{reason:?}");
        count(&REFUSALS, &self.refusals, reason.label());
    }
}

/// The closest label of a reason: that of its cause, if it has one.
pub(crate) fn label(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::Refused(refusal) => refusal.label(),
        ResetReason::Violation(violation) => violation.label(),
        ResetReason::Fault(fault) => fault.label(),
        reason => reason.label(),
    }
}

fn zeros(count: usize) -> Box<[AtomicU64]> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

/// Adds one to the counter of this label, if there is one.
fn count(labels: &[&str], counts: &[AtomicU64], label: &str) {
    let place = labels.iter().position(|other| *other == label);
    if let Some(count) = place.and_then(|place| counts.get(place)) {
        count.fetch_add(1, Relaxed);
    }
}

/// The counters that are not zero.
fn counted(
    labels: impl Iterator<Item = &'static str>,
    counts: &[AtomicU64],
) -> Vec<(&'static str, u64)> {
    let all = labels.zip(counts).map(|(label, count)| (label, count.load(Relaxed)));
    all.filter(|(_, count)| *count > 0).collect()
}

/// The most that a connection counts in [`Snapshot::bytes_held`], without the content of its answers, whose
/// size the application decides. It is the bound of its state machine ([`Config::memory_bound`]), the
/// content that the handler has asked for and does not take, and what it is told of TLS. If `http2` is on, it is the bound of HTTP/2
/// ([`Config::http2_memory_bound`]), and the content of all handlers of a connection. An access log, or a
/// subscriber to the span of requests, adds up to 11 KiB for each request in progress.
pub fn memory_bound(config: &Config) -> usize {
    let (content, told) = (upload::memory_bound(config), tls_told::memory_bound(config));
    if config.http2() {
        let content = content.saturating_mul(upload::HANDLERS);
        return config.http2_memory_bound().saturating_add(content).saturating_add(told);
    }
    config.memory_bound().saturating_add(content).saturating_add(told)
}

/// One connection's part in the counters. Dropping it takes the part back.
#[derive(Debug)]
pub(crate) struct Share {
    phase: Phase,
    memory: u64,
    /// The lower half is enough to compute the number of new requests.
    requests: u32,
}

impl Share {
    pub(crate) fn new(stats: &Stats) -> Self {
        stats.accepted.fetch_add(1, Relaxed);
        stats.phases[Phase::Idle as usize].fetch_add(1, Relaxed);
        Share { phase: Phase::Idle, memory: 0, requests: 0 }
    }

    /// Updates the counters that have changed. Returns whether there were requests.
    pub(crate) fn update(
        &mut self,
        stats: &Stats,
        phase: Phase,
        memory: usize,
        requests: u64,
    ) -> bool {
        let memory = memory as u64;
        if self.phase != phase {
            stats.phases[self.phase as usize].fetch_sub(1, Relaxed);
            stats.phases[phase as usize].fetch_add(1, Relaxed);
            self.phase = phase;
        }
        if self.memory != memory {
            // A decrease wraps, and so does the sum.
            stats.memory.fetch_add(memory.wrapping_sub(self.memory), Relaxed);
            self.memory = memory;
        }
        let more = (requests as u32).wrapping_sub(self.requests);
        if more > 0 {
            stats.requests.fetch_add(u64::from(more), Relaxed);
            self.requests = requests as u32;
        }
        more > 0
    }

    pub(crate) fn close(&mut self, stats: &Stats, reason: CloseReason, requests: u64) {
        self.update(stats, Phase::Closed, 0, requests);
        stats.phases[Phase::Closed as usize].fetch_sub(1, Relaxed);
        if let Some(place) = REASONS.iter().position(|other| *other == reason) {
            stats.closes[place].fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis::Expiry;

    #[test]
    fn a_connection_leaves_only_its_close_behind() {
        let stats = Stats::new();
        let mut share = Share::new(&stats);
        share.update(&stats, Phase::Response, 5000, 3);
        let during = stats.snapshot();
        assert_eq!((during.open, during.bytes_held, during.requests), (1, 5000, 3));
        assert!(during.phases.contains(&("response", 1)), "{during:?}");
        share.update(&stats, Phase::Idle, 300, 3);
        assert_eq!(stats.snapshot().bytes_held, 300);
        share.close(&stats, CloseReason::Expired(Expiry::KeepAlive), 4);
        let after = stats.snapshot();
        assert_eq!((after.open, after.bytes_held, after.requests, after.accepted), (0, 0, 4, 1));
        assert_eq!(after.closes, [("keep_alive", 1)]);
    }

    #[test]
    fn each_reset_counts_under_its_label() {
        use portcullis::Refusal;
        let stats = Stats::new();
        let refused = Refusal::ALL.into_iter().next().expect("a refusal");
        for (reason, label) in [
            (ResetReason::Truncated, "truncated"),
            (ResetReason::Timeout, "timeout"),
            (ResetReason::Refused(refused), "refused"),
            (ResetReason::Cancelled, "cancelled"),
            (ResetReason::Unread, "unread"),
        ] {
            stats.count_reset(reason);
            assert!(stats.snapshot().resets.contains(&(label, 1)), "{label}");
        }
    }
}
