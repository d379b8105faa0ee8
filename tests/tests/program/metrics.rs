//! `GET /metrics`, read by a parser that is stricter than Prometheus' own.

use crate::clients::{curl, has_curl};
use crate::http2_frames::Http2;
use crate::place::{Place, Transport, tests};
use crate::support::Program;
use std::collections::{BTreeMap, BTreeSet};

tests! {
    everywhere:
        counters_move_and_the_text_is_strictly_prometheus,
        only_get_and_head_are_answered,
        steps_of_the_gate_are_counted;
    plaintext:
        refusals_over_http2_are_counted;
}

/// All series of a text: each by its name and labels, as they are written.
#[derive(Debug)]
struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Takes the text apart (Prometheus' text format, version 0.0.4).
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let (mut helped, mut types) = (BTreeSet::new(), BTreeMap::new());
        let mut series = BTreeMap::new();
        // The family whose lines have to stand together.
        let mut family = "";
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and its help");
                assert!(helped.insert(name) && !help.is_empty(), "{line}");
                continue;
            }
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and its type");
                assert!(["counter", "gauge"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(helped.contains(name), "no help comes before: {line}");
                assert_eq!(types.insert(name, kind), None, "{line}");
                family = name;
                continue;
            }
            let (place, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = match place.split_once('{') {
                Some((name, rest)) => (name, rest.strip_suffix('}').expect("a closing brace")),
                None => (place, ""),
            };
            assert_eq!(name, family, "not among the lines of its family: {line}");
            assert!(is_name(name) && name.starts_with("portcullis_"), "{line}");
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (key, value) = label.split_once('=').expect("a label and its value");
                let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
                assert!(is_name(key) && value.is_some_and(is_name), "{line}");
            }
            let value: f64 = value.parse().expect("a number");
            assert!(value >= 0.0, "{line}");
            assert_eq!(series.insert(place.to_owned(), value), None, "twice: {line}");
        }
        Metrics(series)
    }

    fn of(program: &Program) -> Self {
        let answer = program.connect().get("/metrics");
        assert_eq!(answer.status, 200);
        let content_type = "content-type: text/plain; version=0.0.4; charset=utf-8";
        assert!(answer.has_field(content_type) && answer.has_field("cache-control: no-store"));
        Metrics::parse(answer.text())
    }

    #[track_caller]
    fn get(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.0))
    }

    fn sum(&self, family: &str) -> f64 {
        let labelled = format!("{family}{{");
        self.0.iter().filter(|(name, _)| name.starts_with(&labelled)).map(|(_, value)| value).sum()
    }
}

/// Whether this is a name of lower-case words, as all of ours are.
fn is_name(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_lowercase())
        && text.chars().all(|char| matches!(char, 'a'..='z' | '0'..='9' | '_'))
}

fn counters_move_and_the_text_is_strictly_prometheus(place: Place) {
    let program = Program::with(place, &["max_connections=77"]);
    let before = Metrics::of(&program);
    let mut client = program.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/hello").status, 200);
    }
    // Hostile text must not become a label.
    client.send("GET /\"}%0Aportcullis_fake{a=\"b HTTP/1.1\r\nHost: a\r\nUser-Agent: \"}\r\n\r\n");
    client.answer();
    let mut refused = program.connect();
    refused.send("nonsense\r\n\r\n");
    refused.wait_until_closed();
    // Content that ends early is a reset.
    let mut cut = program.connect();
    cut.send("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nsome");
    program.wait_for("the content began", |status| {
        status["phases"]["request_body"].as_u64() == Some(1)
    });
    cut.finish_sending();
    cut.wait_until_closed();
    // A refusal of HTTP/1.1 counts as well.
    let refusals = |metrics: &Metrics| metrics.sum("portcullis_requests_refused_total");
    // The client stays, so that the connection of the scrape finds one.
    program.wait_for("the others are closed", |status| status["open"] == 2);
    // A connection that moves on while the counters are read may be in two of them, or in none. At rest each one is
    // open or closed.
    let after = loop {
        let metrics = Metrics::of(&program);
        let closed = metrics.sum("portcullis_connections_closed_total");
        let open = metrics.sum("portcullis_connections");
        if open >= 2.0 && closed + open == metrics.get("portcullis_connections_accepted_total") {
            break metrics;
        }
    };
    assert_eq!(before.0.keys().collect::<Vec<_>>(), after.0.keys().collect::<Vec<_>>());
    let moved = |series: &str| after.get(series) - before.get(series);
    assert!(moved("portcullis_connections_accepted_total") >= 5.0);
    assert!(moved("portcullis_requests_total") >= 5.0);
    let resets = after.sum("portcullis_request_resets_total");
    assert_eq!(resets - before.sum("portcullis_request_resets_total"), 1.0, "{after:#?}");
    assert_eq!(moved("portcullis_request_resets_total{reason=\"truncated\"}"), 1.0);
    assert_eq!((refusals(&before), refusals(&after)), (0.0, 1.0));
    let line = "portcullis_requests_refused_total{reason=\"malformed_request_line\"}";
    assert_eq!(moved(line), 1.0);
    assert_eq!(after.get("portcullis_limit_connections"), 77.0);
    assert!(after.get("portcullis_limit_memory_bytes") > 0.0);
    let pressure = after.get("portcullis_pressure_ratio{resource=\"connections\"}");
    assert!(pressure > 0.0 && pressure < 0.2, "{pressure}");
    assert_eq!(after.get("portcullis_timers_shortened_ratio"), 0.0);
    assert_eq!(after.get("portcullis_keep_alive"), 1.0);
    assert_eq!(after.sum("portcullis_refused_total"), 0.0);
    assert!(after.get("portcullis_held_bytes") > 0.0);
    let status = program.status();
    assert_eq!(status["resets"]["truncated"], 1);
    for (reason, count) in status["closes"].as_object().expect("an object") {
        let series = format!("portcullis_connections_closed_total{{reason=\"{reason}\"}}");
        // Connections of this test close meanwhile.
        assert!(after.get(&series) <= count.as_f64().expect("a number"), "{reason}");
    }
}

fn only_get_and_head_are_answered(place: Place) {
    let program = Program::with(place, &[]);
    let mut client = program.connect();
    for method in ["POST", "PUT", "DELETE"] {
        client.send(format!("{method} /metrics HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.answer();
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.has_field("allow: GET, HEAD, OPTIONS"), "{answer:?}");
    }
    client.send("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.take_line();
    assert_eq!(head, "HTTP/1.1 200 OK");
    while !client.take_line().is_empty() {}
    // The next answer follows at once, so HEAD had no content.
    Metrics::parse(client.get("/metrics").text());
    if has_curl() {
        let way = match place.transport {
            Transport::Plaintext => "--http2-prior-knowledge",
            Transport::Tls => "--http2",
        };
        Metrics::parse(&curl(&[way, &program.url("/metrics")], b""));
    }
}

fn steps_of_the_gate_are_counted(place: Place) {
    let settings = ["max_connections=40", "prefix_share=100", "handshakes_share=100"];
    let program = Program::with(place, &settings);
    let steps = |status: &serde_json::Value, expected: u64| {
        let steps = &status["gate"]["steps"];
        ["shrink_timers", "end_keep_alive"].iter().all(|step| steps[step] == expected)
    };
    assert!(steps(&program.status(), 0));
    for times in 1..=2 {
        // The newest of 34 finds 33 of 40 places taken, which is more than 80 %.
        let crowd: Vec<_> = (0..34)
            .map(|_| {
                let mut client = program.connect();
                // Its handler is at work once the answer has begun.
                client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
                assert_eq!(client.take(12), b"HTTP/1.1 200");
                client
            })
            .collect();
        program.wait_for("two steps", |status| steps(status, times));
        drop(crowd);
        program.wait_for("the crowd has left", |status| status["open"] == 1);
    }
    let metrics = Metrics::of(&program);
    assert_eq!(metrics.get("portcullis_gate_steps_total{step=\"shrink_timers\"}"), 2.0);
    assert_eq!(metrics.get("portcullis_gate_steps_total{step=\"end_keep_alive\"}"), 2.0);
    assert_eq!(metrics.get("portcullis_gate_steps_total{step=\"close_handshakes\"}"), 0.0);
}

fn refusals_over_http2_are_counted(place: Place) {
    let program = Program::with(place, &["http2_concurrent_streams=2"]);
    let before = Metrics::of(&program);
    let mut client = Http2::begin(&program);
    client.begin_post(1, "/sink");
    client.begin_post(3, "/sink");
    client.request(5, "/refused", &[]);
    client.request(7, "/refused", &[]);
    // A window update of 0 is a fault of its stream.
    client.frame(8, 0, 1, &[0; 4]);
    client.request(9, &format!("/{}", "x".repeat(9000)), &[]);
    client.request(11, "/up", &[("Upper", "case")]);
    // DATA on the connection ends it with a GOAWAY.
    client.frame(0, 0, 0, b"data");
    client.0.finish_sending();
    client.0.wait_until_closed();
    program
        .wait_for("the connection is closed", |status| status["closes"]["http2_frame_stream"] == 1);
    let after = Metrics::of(&program);
    assert_eq!(before.0.keys().collect::<Vec<_>>(), after.0.keys().collect::<Vec<_>>());
    let refused = |reason: &str| {
        after.get(&format!("portcullis_requests_refused_total{{reason=\"{reason}\"}}"))
    };
    assert_eq!(refused("http2_too_many_streams"), 2.0);
    assert_eq!((refused("target_too_long"), refused("http2_malformed")), (1.0, 1.0));
    assert_eq!(after.sum("portcullis_requests_refused_total"), 4.0);
    let cause = "portcullis_request_reset_causes_total{cause=\"http2_window_update\"}";
    assert_eq!((before.get(cause), after.get(cause)), (0.0, 1.0));
    let closed = "portcullis_connections_closed_total{reason=\"http2_frame_stream\"}";
    assert_eq!((before.get(closed), after.get(closed)), (0.0, 1.0));
    let status = program.status();
    assert_eq!(status["refusals"]["http2_too_many_streams"], 2, "{status:#}");
    assert_eq!(status["reset_causes"]["http2_window_update"], 1, "{status:#}");
}
