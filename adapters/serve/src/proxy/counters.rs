//! What the proxy counts, for `/status` and `/metrics`.

use super::buffers::Buffers;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// How a request ended for the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The upstream server has answered.
    Answered,
    /// It has accepted a websocket.
    WebSocket,
    /// Not passed on, by a rule: TRACE, CONNECT, a bad handshake, a target that HTTP/1.1 doesn't have.
    Refused,
    /// 503: the queue was full or too slow.
    Full,
    /// 502: there is no connection.
    Unreachable,
    /// 502: the connection ended before the answer.
    Broken,
    /// 502: the answer breaks a rule.
    Malformed,
    /// 504.
    Slow,
    /// The client's content ended early.
    Content,
    /// The client left.
    Gone,
}

impl Outcome {
    const LABELS: [&str; 10] = [
        "answered",
        "websocket",
        "refused",
        "queue_full",
        "unreachable",
        "broken",
        "malformed",
        "timeout",
        "content_ended",
        "client_gone",
    ];
}

/// Why an answer was cut off after it had begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The upstream server broke off.
    Broken,
    /// It was silent.
    Stalled,
    /// The client took it slowly while others waited for its place.
    ClientSlow,
}

impl Cut {
    const LABELS: [&str; 3] = ["broken", "timeout", "client_slow"];
}

/// The counters of one proxy.
#[derive(Debug)]
pub(super) struct Counters {
    outcomes: [AtomicU64; Outcome::LABELS.len()],
    cuts: [AtomicU64; Cut::LABELS.len()],
    retries: AtomicU64,
    answers: AtomicU64,
    /// From a request to the head of its answer, in microseconds, for all answers together.
    answer_micros: AtomicU64,
    places: usize,
    places_in_use: AtomicUsize,
    waiting: AtomicUsize,
    connections: AtomicUsize,
    busy: AtomicUsize,
    buffers: Arc<Buffers>,
}

/// Something that is there until this is dropped.
#[derive(Debug)]
pub(super) struct Present(Arc<Counters>, fn(&Counters) -> &AtomicUsize);

impl Drop for Present {
    fn drop(&mut self) {
        self.1(&self.0).fetch_sub(1, Relaxed);
    }
}

impl Counters {
    pub(super) fn new(places: usize, buffers: Arc<Buffers>) -> Self {
        Counters {
            outcomes: Default::default(),
            cuts: Default::default(),
            retries: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            answer_micros: AtomicU64::new(0),
            places,
            places_in_use: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            buffers,
        }
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn cut(&self, cut: Cut) {
        self.cuts[cut as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// The head of an answer came after so long.
    pub(super) fn answer(&self, after: Duration) {
        self.answers.fetch_add(1, Relaxed);
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.answer_micros.fetch_add(micros, Relaxed);
    }

    /// The places that are taken, and the requests that wait for one.
    pub(super) fn stand(&self, in_use: usize, waiting: usize) {
        self.places_in_use.store(in_use, Relaxed);
        self.waiting.store(waiting, Relaxed);
    }

    /// A connection to the upstream server is open.
    pub(super) fn connection(self: &Arc<Self>) -> Present {
        self.connections.fetch_add(1, Relaxed);
        Present(self.clone(), |counters| &counters.connections)
    }

    /// A connection to the upstream server is in use.
    pub(super) fn busy(self: &Arc<Self>) -> Present {
        self.busy.fetch_add(1, Relaxed);
        Present(self.clone(), |counters| &counters.busy)
    }
}

/// The counters of a proxy, for whoever reports them: [`Status::proxy`](crate::Status::proxy).
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `portcullis_proxy_requests_total` | counter | `outcome`: `answered`, `websocket`, `refused` (by a rule of the proxy), `queue_full` (503), `unreachable`, `broken`, `malformed` (502), `timeout` (504), `content_ended`, `client_gone` |
/// | `portcullis_proxy_retries_total` | counter | |
/// | `portcullis_proxy_answers_total`, `portcullis_proxy_answer_milliseconds_total` | counter | for the mean time from a request to the head of its answer. Uploads that are on their way don't count |
/// | `portcullis_proxy_answers_cut_total` | counter | `reason`: `broken`, `timeout` (by the server), `client_slow` (to make room) |
/// | `portcullis_proxy_places`, `portcullis_proxy_places_in_use`, `portcullis_proxy_waiting` | gauge | |
/// | `portcullis_proxy_connections` | gauge | `state`: `busy`, `idle` |
/// | `portcullis_proxy_buffered_bytes`, `portcullis_proxy_limit_buffers_bytes` | gauge | |
#[derive(Clone, Debug)]
pub struct ProxyCounters(pub(super) Arc<Counters>);

impl ProxyCounters {
    /// The counters as JSON.
    pub(crate) fn json(&self) -> Value {
        let counters = &*self.0;
        let labelled = |labels: &[&str], counts: &[AtomicU64]| -> Value {
            let each = labels.iter().zip(counts);
            let each = each.map(|(label, count)| ((*label).to_owned(), count.load(Relaxed).into()));
            each.collect::<Map<_, _>>().into()
        };
        let (busy, idle) = counters.busy_and_idle();
        json!({
            "requests": labelled(&Outcome::LABELS, &counters.outcomes),
            "answers_cut": labelled(&Cut::LABELS, &counters.cuts),
            "retries": counters.retries.load(Relaxed),
            "answers": counters.answers.load(Relaxed),
            "answer_seconds": counters.answer_seconds(),
            "places": counters.places,
            "places_in_use": counters.places_in_use.load(Relaxed),
            "waiting": counters.waiting.load(Relaxed),
            "connections": { "busy": busy, "idle": idle },
            "buffered_bytes": counters.buffers.used(),
            "max_buffered_bytes": counters.buffers.limit(),
        })
    }

    /// Tells the recorder in force what each metric means.
    pub(crate) fn describe() {
        describe_counter!("portcullis_proxy_requests_total", "Requests, by how they ended.");
        describe_counter!(
            "portcullis_proxy_retries_total",
            "Requests that were sent again because they met the close of a kept connection."
        );
        describe_counter!(
            "portcullis_proxy_answers_cut_total",
            "Answers of the upstream server that were cut off, by reason."
        );
        describe_counter!("portcullis_proxy_answers_total", "Answers of the upstream server.");
        describe_counter!(
            "portcullis_proxy_answer_milliseconds_total",
            Unit::Milliseconds,
            "Time that the upstream server took until the heads of its answers, in all."
        );
        describe_gauge!("portcullis_proxy_places", "Requests that may be at the server at once.");
        describe_gauge!("portcullis_proxy_places_in_use", "Requests that are at the server.");
        describe_gauge!("portcullis_proxy_waiting", "Requests that wait for a place.");
        describe_gauge!(
            "portcullis_proxy_connections",
            "Connections to the upstream server, by state."
        );
        describe_gauge!(
            "portcullis_proxy_buffered_bytes",
            Unit::Bytes,
            "Content that is held between client and server."
        );
        describe_gauge!(
            "portcullis_proxy_limit_buffers_bytes",
            Unit::Bytes,
            "What may be held of it for all requests together."
        );
    }

    /// Passes the counters on to the recorder in force.
    pub(crate) fn publish(&self) {
        let counters = &*self.0;
        for (label, count) in Outcome::LABELS.iter().zip(&counters.outcomes) {
            let count = count.load(Relaxed);
            counter!("portcullis_proxy_requests_total", "outcome" => *label).absolute(count);
        }
        for (label, count) in Cut::LABELS.iter().zip(&counters.cuts) {
            let count = count.load(Relaxed);
            counter!("portcullis_proxy_answers_cut_total", "reason" => *label).absolute(count);
        }
        counter!("portcullis_proxy_retries_total").absolute(counters.retries.load(Relaxed));
        counter!("portcullis_proxy_answers_total").absolute(counters.answers.load(Relaxed));
        let millis = counters.answer_micros.load(Relaxed) / 1000;
        counter!("portcullis_proxy_answer_milliseconds_total").absolute(millis);
        let set = |name: &'static str, value: usize| gauge!(name).set(value as f64);
        set("portcullis_proxy_places", counters.places);
        set("portcullis_proxy_places_in_use", counters.places_in_use.load(Relaxed));
        set("portcullis_proxy_waiting", counters.waiting.load(Relaxed));
        set("portcullis_proxy_buffered_bytes", counters.buffers.used());
        set("portcullis_proxy_limit_buffers_bytes", counters.buffers.limit());
        let (busy, idle) = counters.busy_and_idle();
        for (state, count) in [("busy", busy), ("idle", idle)] {
            gauge!("portcullis_proxy_connections", "state" => state).set(count as f64);
        }
    }
}

impl Counters {
    fn answer_seconds(&self) -> f64 {
        self.answer_micros.load(Relaxed) as f64 / 1e6
    }

    fn busy_and_idle(&self) -> (usize, usize) {
        let open = self.connections.load(Relaxed);
        // A request counts as busy while it waits for a connection.
        let busy = self.busy.load(Relaxed).min(open);
        (busy, open - busy)
    }
}
