//! Work: the instructions that input costs. No input may cost more than a named factor of what a
//! normal request costs for each byte.
//!
//! `cargo bench -p portcullis --bench work` runs each case under callgrind twice, with few and with
//! many repetitions. The difference is exact, and repeats from run to run. The bench prints a
//! table, and fails if a factor is exceeded. Without valgrind it says so and checks nothing; with
//! `PORTCULLIS_TESTS=all` that is a failure.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use portcullis::{BodyLength, Config, Connection, Event, Events, StreamId, Tick};
use portcullis_testing::{instructions, needs};
use std::env;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

const NOW: Tick = Tick::ZERO;
const FEW: u64 = 4;
const MANY: u64 = 24;

/// A request as a browser's fetch sends it: 318 bytes.
const NORMAL: &[u8] = b"GET /articles/2024/a-gate-that-drops HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789\r\n\r\n";

/// The input, its cuts, and the number of repetitions.
struct Case {
    name: &'static str,
    wire: fn() -> Vec<u8>,
    /// Bytes of one read.
    step: usize,
}

const CASES: &[Case] = &[
    Case::new("accept and close", Vec::new, usize::MAX),
    Case::new("normal request", || NORMAL.to_vec(), usize::MAX),
    Case::new("normal request, byte by byte", || NORMAL.to_vec(), 1),
    Case::new("normal request, 4 bytes at a time", || NORMAL.to_vec(), 4),
    Case::new("long head", || long_head(8000), usize::MAX),
    Case::new("long head, byte by byte", || long_head(8000), 1),
    Case::new("long head, 4 bytes at a time", || long_head(8000), 4),
    Case::new("too many fields", too_many_fields, usize::MAX),
    Case::new("100 fields of 4 bytes", many_fields, usize::MAX),
    Case::new("100 fields, byte by byte", many_fields, 1),
    Case::new("blank lines", || [b"\r\n\r\n\r\n\r\n", NORMAL].concat(), usize::MAX),
    Case::new("blank lines for ever", || b"\r\n".repeat(5), usize::MAX),
    Case::new("pipelined smallest requests", || SMALLEST.repeat(50), usize::MAX),
    Case::new("content by its length", || content(&[b'x'; 4096]), 4096),
    Case::new("content in usual chunks", || chunks("", 1024, 4), 4096),
    Case::new("chunks of 1 byte", || chunks("", 1, 400), 4096),
    Case::new("chunks of 1 byte, byte by byte", || chunks("", 1, 400), 1),
    Case::new("chunks of 1 byte with extensions", || chunks(";name=val", 1, 400), 4096),
    Case::new("the same, byte by byte", || chunks(";name=val", 1, 400), 1),
    Case::new("endless extension", || chunks(&format!(";{}", "e".repeat(250)), 1, 16), 4096),
];

const SMALLEST: &[u8] = b"GET / HTTP/1.1\r\nHost:a\r\n\r\n";

impl Case {
    const fn new(name: &'static str, wire: fn() -> Vec<u8>, step: usize) -> Self {
        Case { name, wire, step }
    }

    /// Feeds the wire to a new connection whose application takes all content and answers.
    fn run(&self, config: &Arc<Config>, wire: &mut [u8]) {
        let mut connection = Connection::new(Arc::clone(config), NOW);
        let most = self.step.min(config.receive_buffer_limit() as usize);
        for piece in wire.chunks_mut(most) {
            if !connection.status().read {
                break;
            }
            let events = connection.receive(NOW, piece).expect("the connection reads");
            answer(events);
            connection.sent(NOW, usize::MAX);
        }
        black_box(connection);
    }
}

fn answer(mut events: Events<'_, '_>) {
    let kind = HeaderValue::from_static("text/plain");
    while let Some((connection, event)) = events.next() {
        match event {
            Event::Request { stream, head } => {
                black_box(head.method());
                let _ = connection.stream(NOW, stream).read_to(u64::MAX);
            }
            Event::Data { stream, data, .. } => {
                black_box(data);
                let _ = connection.stream(NOW, stream).read_to(u64::MAX);
            }
            Event::End { stream, .. } => hello(connection, stream, &kind),
            _ => {}
        }
    }
}

fn hello(connection: &mut Connection, stream: StreamId, kind: &HeaderValue) {
    let mut data = Bytes::from_static(b"Hello, world!");
    let length = BodyLength::Known(13);
    let fields = [(&CONTENT_TYPE, kind)];
    let _ = connection.stream(NOW, stream).respond(StatusCode::OK, fields, length);
    let _ = connection.stream(NOW, stream).send(&mut data);
    let _ = connection.stream(NOW, stream).finish(None);
}

/// A head within all limits.
fn long_head(length: usize) -> Vec<u8> {
    let line = [b"X-Header-Field: ".as_slice(), &[b'v'; 100], b"\r\n"].concat();
    let lines = line.repeat(length / line.len());
    [b"GET / HTTP/1.1\r\nHost: a\r\n".as_slice(), &lines, b"\r\n"].concat()
}

fn too_many_fields() -> Vec<u8> {
    let lines = b"X-Header-Field: a value of a usual length\r\n".repeat(190);
    [b"GET / HTTP/1.1\r\nHost: a\r\n".as_slice(), &lines, b"\r\n"].concat()
}

fn many_fields() -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost:a\r\n".as_slice(), &b"a:\r\n".repeat(99), b"\r\n"].concat()
}

fn content(content: &[u8]) -> Vec<u8> {
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}

fn chunks(extension: &str, size: usize, count: usize) -> Vec<u8> {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("{size:x}{extension}\r\n{}\r\n", "x".repeat(size));
    format!("{head}{}0\r\n\r\n", chunk.repeat(count)).into_bytes()
}

fn config() -> Arc<Config> {
    let config = Config::builder().chunk_extensions_limit(1 << 20).build();
    Arc::new(config.expect("a valid configuration"))
}

/// Runs one case this many times, for callgrind to watch.
fn watched(case: &Case, times: u64) {
    let config = config();
    let wire = (case.wire)();
    let mut scratch = wire.clone();
    for _ in 0..times {
        // Content is moved within the buffer, so start from the same bytes each time.
        scratch.copy_from_slice(&wire);
        case.run(&config, &mut scratch);
    }
}

// ---- counting -----------------------------------------------------------------------------------

/// The instructions of one repetition.
fn count(case: &Case) -> Result<f64, String> {
    let collected = |times: u64| instructions(&["--case", case.name, &times.to_string()]);
    let (few, many) = (collected(FEW)?, collected(MANY)?);
    Ok((many - few) as f64 / (MANY - FEW) as f64)
}

struct Costs(Vec<(&'static str, f64, f64)>);

impl Costs {
    /// The instructions of a case, without those of accepting and closing.
    fn of(&self, name: &str) -> f64 {
        let found = self.0.iter().find(|(other, ..)| *other == name);
        found.map(|(_, cost, _)| cost - self.0[0].1).expect("a case of that name")
    }

    /// The cost of a call, and of a byte beside it, from the same head in pieces of one and of
    /// four.
    fn by_calls(&self, head: &str) -> (f64, f64) {
        let single = self.per_byte(&format!("{head}, byte by byte"));
        let four = self.per_byte(&format!("{head}, 4 bytes at a time"));
        let call = (single - four) / 0.75;
        (call, single - call)
    }

    fn per_byte(&self, name: &str) -> f64 {
        let bytes = self.0.iter().find(|(other, ..)| *other == name).map_or(1.0, |found| found.2);
        self.of(name) / bytes
    }
}

/// The named factors: the name, the value, and the most that it may be.
fn checks(costs: &Costs) -> Vec<(String, f64, f64)> {
    let normal = costs.per_byte("normal request");
    let mut checks = Vec::new();
    for head in ["normal request", "long head"] {
        let (call, byte) = costs.by_calls(head);
        checks.push((
            format!("{head} byte by byte: a byte, beside {call:.0} a call, of the head fed whole"),
            byte / costs.per_byte(head),
            3.0,
        ));
    }
    checks.push((
        "byte by byte: a call while much is held, of a call while little is".into(),
        costs.by_calls("long head").0 / costs.by_calls("normal request").0,
        1.2,
    ));
    let worst = [
        ("too many fields", 1.0),
        ("100 fields of 4 bytes", 5.0),
        ("blank lines", 5.0),
        ("pipelined smallest requests", 5.0),
        ("chunks of 1 byte", 5.0),
        ("chunks of 1 byte with extensions", 5.0),
        ("endless extension", 5.0),
    ];
    for (name, factor) in worst {
        let cost = costs.per_byte(name) / normal;
        checks.push((format!("{name}: per byte, of a normal request"), cost, factor));
    }
    // This connection is refused and closed after 10 bytes: the application is told, and the peer gets an answer.
    checks.push((
        "blank lines for ever: the whole connection, of a normal request".into(),
        costs.of("blank lines for ever") / costs.of("normal request"),
        0.6,
    ));
    // Content costs next to nothing for each byte, and a chunk head has to be read byte by byte.
    // The row above is the one that counts. This one only watches that the two do not drift apart.
    for name in ["chunks of 1 byte", "chunks of 1 byte with extensions", "endless extension"] {
        checks.push((
            format!("{name}: per byte, of content in usual chunks"),
            costs.per_byte(name) / costs.per_byte("content in usual chunks"),
            30.0,
        ));
    }
    checks
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, name, times] = arguments.as_slice()
        && flag == "--case"
    {
        let case = CASES.iter().find(|case| case.name == name).expect("a case of that name");
        watched(case, times.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    if !needs("valgrind", "apt-get install valgrind") {
        return ExitCode::SUCCESS;
    }
    let mut costs = Costs(Vec::new());
    println!("{:<34} {:>12} {:>8} {:>10}", "input", "instructions", "bytes", "per byte");
    for case in CASES {
        let bytes = (case.wire)().len() as f64;
        match count(case) {
            Ok(cost) => costs.0.push((case.name, cost, bytes)),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
        let per_byte = costs.per_byte(case.name);
        println!("{:<34} {:>12.0} {bytes:>8} {per_byte:>10.2}", case.name, costs.of(case.name));
    }
    let mut failed = false;
    for (what, factor, most) in checks(&costs) {
        let verdict = if factor <= most { "ok" } else { "TOO MUCH" };
        failed |= factor > most;
        println!("{factor:>7.2} (at most {most:.1}) {verdict:<8} {what}");
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
