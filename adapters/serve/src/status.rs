//! The server's counters as JSON, and as Prometheus' text. `site` answers with them, and `live` shows them as they
//! change.

mod live;
mod site;

use crate::access_log::AccessLog;
use crate::proxy::ProxyCounters;
use crate::reloads::Reloads;
use ::metrics::{counter, describe_counter};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use portcullis::Config;
use portcullis_driver::{Admission, Gauge, LiveConfig, Roster, Snapshot, Stats, metrics};
use serde_json::{Map, Value, json};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub use site::StatusSite;

const LOST: &str = "portcullis_access_log_lost_total";

/// The counters of one or more servers, their start, and the memory bound of a connection.
pub struct Status {
    stats: Arc<Stats>,
    memory_bound: usize,
    admission: Option<Arc<Admission>>,
    settings: Option<LiveConfig>,
    reloads: Option<Reloads>,
    roster: Option<Arc<Roster>>,
    since: Instant,
    /// Made for the first scrape: it measures the processor's clock, which takes milliseconds.
    recorder: OnceLock<PrometheusRecorder>,
    access_log: Option<AccessLog>,
    proxy: Option<ProxyCounters>,
}

impl Status {
    /// Reports `stats` and the memory bound of a connection
    /// ([`memory_bound`](portcullis_driver::memory_bound)). The uptime counts from now.
    pub fn new(stats: Arc<Stats>, memory_bound: usize) -> Self {
        let (since, recorder) = (Instant::now(), OnceLock::new());
        Status {
            stats,
            memory_bound,
            admission: None,
            settings: None,
            reloads: None,
            roster: None,
            since,
            recorder,
            access_log: None,
            proxy: None,
        }
    }

    /// Also reports the gate: its limits, the pressure on them, and who was refused.
    pub fn gate(mut self, admission: Arc<Admission>) -> Self {
        self.admission = Some(admission);
        self
    }

    /// Also reports how many lines of the access log were lost.
    pub fn access_log(mut self, log: AccessLog) -> Self {
        self.access_log = Some(log);
        self
    }

    /// Also reports what a proxy counts.
    pub fn proxy(mut self, counters: ProxyCounters) -> Self {
        self.proxy = Some(counters);
        self
    }

    /// Also reports the value of every setting for new connections, by its name, as `--set` takes it.
    pub fn settings(mut self, live: LiveConfig) -> Self {
        self.settings = Some(live);
        self
    }

    /// Also reports how often the configuration was read again.
    pub fn reloads(mut self, reloads: Reloads) -> Self {
        self.reloads = Some(reloads);
        self
    }

    /// Also shows the connections of this list one by one, on the page at `/status/`.
    pub fn roster(mut self, roster: Arc<Roster>) -> Self {
        self.roster = Some(roster);
        self
    }

    /// The current counters and the settings, as a JSON object and a line end.
    pub(crate) fn json(&self) -> String {
        let mut report = self.counters();
        if let Some(live) = &self.settings {
            let (config, settings) = (live.get(), Config::settings().iter());
            let values = settings.map(|it| (it.name.to_owned(), it.value(&config).into()));
            report["settings"] = values.collect::<Map<_, Value>>().into();
        }
        format!("{report:#}\n")
    }

    /// The current counters.
    fn counters(&self) -> Value {
        let mut report = report(&self.stats.snapshot(), self.memory_bound, self.since.elapsed());
        if let Some(admission) = &self.admission {
            let gauge = admission.gauge();
            report["max_connections"] = gauge.limits.connections.into();
            report["gate"] = gate(&gauge);
        }
        if let Some(log) = &self.access_log {
            report["access_log_lost"] = log.lost().into();
        }
        if let Some(proxy) = &self.proxy {
            report["proxy"] = proxy.json();
        }
        if let Some(reloads) = &self.reloads {
            let (done, failed) = reloads.counts();
            report["reloads"] = json!({ "done": done, "failed": failed });
        }
        report
    }

    /// A recorder for the scrapes. It is not installed for the whole process, which may have one of its own.
    fn recorder(&self) -> PrometheusRecorder {
        let recorder = PrometheusBuilder::new().build_recorder();
        ::metrics::with_local_recorder(&recorder, || {
            metrics::describe();
            if self.access_log.is_some() {
                describe_counter!(LOST, "Lines of the access log that were lost.");
            }
            if self.proxy.is_some() {
                ProxyCounters::describe();
            }
        });
        recorder
    }

    /// The current counters, as Prometheus' text. The first call may take long.
    pub(crate) fn prometheus(&self) -> String {
        let gauge = self.admission.as_ref().map(|admission| admission.gauge());
        let publish = || {
            metrics::publish(&self.stats.snapshot(), gauge.as_ref());
            if let Some(log) = &self.access_log {
                counter!(LOST).absolute(log.lost());
            }
            if let Some(proxy) = &self.proxy {
                proxy.publish();
            }
        };
        let recorder = self.recorder.get_or_init(|| self.recorder());
        ::metrics::with_local_recorder(recorder, publish);
        recorder.handle().render()
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").field("stats", &self.stats).finish_non_exhaustive()
    }
}

fn report(snapshot: &Snapshot, memory_bound: usize, uptime: Duration) -> Value {
    json!({
        "uptime_seconds": uptime.as_millis() as f64 / 1000.0,
        "accepted": snapshot.accepted,
        "open": snapshot.open,
        "phases": counts(&snapshot.phases),
        "closes": counts(&snapshot.closes),
        "resets": counts(&snapshot.resets),
        "reset_causes": counts(&snapshot.reset_causes),
        "refusals": counts(&snapshot.refusals),
        "requests": snapshot.requests,
        "bytes_held": snapshot.bytes_held,
        "memory_bound": memory_bound,
    })
}

/// Shares are in percent of the limits.
fn gate(gauge: &Gauge) -> Value {
    let percent = |thousandths: u32| f64::from(thousandths) / 10.0;
    json!({
        "connections": gauge.connections,
        "max_connections": gauge.limits.connections,
        "bytes": gauge.bytes,
        "max_bytes": gauge.limits.memory,
        "pressure": {
            "connections": percent(gauge.pressure.connections),
            "memory": percent(gauge.pressure.memory),
            "handshakes": percent(gauge.pressure.handshakes),
        },
        "timers_shorter_by_eighths": gauge.stress.eighths(),
        "keep_alive": !gauge.stress.ends_keep_alive(),
        "refused": counts(&gauge.denied),
        "steps": counts(&gauge.steps),
    })
}

fn counts(counts: &[(&'static str, u64)]) -> Value {
    counts
        .iter()
        .map(|(label, count)| ((*label).to_owned(), Value::from(*count)))
        .collect::<Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_reported_under_its_name() {
        let stats = Arc::new(Stats::new());
        let config = Config::strict();
        let limited = Config::builder().set("max_connections", "77").expect("a number").build();
        let admission = Arc::new(Admission::new(&Arc::new(limited.expect("valid"))));
        let status = Status::new(stats.clone(), 1234)
            .gate(admission)
            .settings(LiveConfig::new(Arc::new(config.clone())));
        let text = status.json();
        let value: Value = serde_json::from_str(&text).expect("JSON");
        for setting in Config::settings() {
            assert_eq!(value["settings"][setting.name], json!(setting.value(&config)));
        }
        assert_eq!(value["settings"]["http2_concurrent_streams"], "32");
        let snapshot = stats.snapshot();
        for (phase, count) in &snapshot.phases {
            assert_eq!(value["phases"][phase], json!(count), "{phase}");
        }
        assert_eq!(value["phases"].as_object().map(Map::len), Some(snapshot.phases.len()));
        for name in ["accepted", "open", "requests", "bytes_held"] {
            assert_eq!(value[name], json!(0), "{name}");
        }
        assert_eq!((&value["memory_bound"], &value["max_connections"]), (&json!(1234), &json!(77)));
        assert_eq!(value["closes"], json!({}));
        assert_eq!(value["gate"]["pressure"]["memory"], json!(0.0));
        assert_eq!(
            (&value["gate"]["keep_alive"], &value["gate"]["refused"]["prefix_share"]),
            (&json!(true), &json!(0))
        );
        assert!(value["uptime_seconds"].as_f64().is_some_and(|it| it >= 0.0), "{text}");
    }

    #[test]
    fn labels_and_uptime_are_reported() {
        let mut snapshot = Stats::new().snapshot();
        snapshot.closes = vec![("keep_alive", 3), ("drained", 1)];
        let value = report(&snapshot, 0, Duration::from_millis(1500));
        assert_eq!(value["closes"], json!({"drained": 1, "keep_alive": 3}));
        assert_eq!(value["uptime_seconds"], json!(1.5));
    }
}
