//! Websockets: the instructions it costs to unmask a payload and to check text.
//!
//! `cargo bench -p portcullis --bench websocket` runs each case under callgrind twice, with few and
//! with many repetitions. The difference is exact, and repeats from run to run. The bench prints a
//! table, and fails if a byte costs more than it may. Without valgrind it says so and checks
//! nothing; with `PORTCULLIS_TESTS=all` that is a failure.

// These files do not depend on the rest of the crate, and are not part of its interface.
#[allow(dead_code, unused_imports)]
#[path = "../src/websocket/mask.rs"]
mod mask;
#[allow(dead_code, unused_imports)]
#[path = "../src/websocket/utf8.rs"]
mod utf8;

use mask::Mask;
use portcullis_testing::{instructions, needs};
use std::env;
use std::hint::black_box;
use std::process::ExitCode;
use utf8::Utf8;

const FEW: u64 = 100;
const MANY: u64 = 1100;

/// The work on a payload of this many bytes, and the most that one byte may cost.
struct Case {
    name: &'static str,
    unit: &'static str,
    length: usize,
    work: fn(&mut [u8]),
    most: f64,
}

impl Case {
    const fn new(
        name: &'static str,
        unit: &'static str,
        length: usize,
        work: fn(&mut [u8]),
        most: f64,
    ) -> Self {
        Case { name, unit, length, work, most }
    }

    fn payload(&self) -> Vec<u8> {
        let text = self.unit.repeat(self.length / self.unit.len() + 1);
        let end = (0..=self.length).rev().find(|end| text.is_char_boundary(*end));
        text.as_bytes()[..end.expect("a boundary")].to_vec()
    }
}

const ASCII: &str = "The quick brown fox jumps. ";
const ANY: &str = "漢字, né à Zürich 😀 ";

const CASES: &[Case] = &[
    Case::new("unmask 7 bytes", ASCII, 7, unmask, 6.0),
    Case::new("unmask 64 bytes", ASCII, 64, unmask, 1.0),
    Case::new("unmask 125 bytes", ASCII, 125, unmask, 1.0),
    Case::new("unmask 16 KiB", ASCII, 16 * 1024, unmask, 0.35),
    Case::new("text of 64 bytes, ASCII", ASCII, 64, check, 3.0),
    Case::new("text of 64 bytes, any", ANY, 64, check, 3.0),
    Case::new("text of 16 KiB, ASCII", ASCII, 16 * 1024, check, 0.3),
    Case::new("text of 16 KiB, any", ANY, 16 * 1024, check, 1.5),
    Case::new("streamed text of 16 KiB, any", ANY, 16 * 1024, stream, 1.6),
    Case::new("the same, byte by byte", ANY, 16 * 1024, stream_bytes, 130.0),
];

#[inline(never)]
fn unmask(payload: &mut [u8]) {
    Mask::new([0x37, 0xfa, 0x21, 0x3d]).apply(payload);
}

#[inline(never)]
fn check(payload: &mut [u8]) {
    utf8::text(payload).expect("valid");
}

#[inline(never)]
fn stream(payload: &mut [u8]) {
    let mut utf8 = Utf8::default();
    for piece in payload.chunks(4001) {
        utf8.feed(piece).expect("valid");
    }
    utf8.finish().expect("whole");
}

#[inline(never)]
fn stream_bytes(payload: &mut [u8]) {
    let mut utf8 = Utf8::default();
    for piece in payload.chunks(1) {
        utf8.feed(piece).expect("valid");
    }
    utf8.finish().expect("whole");
}

/// Runs one case this many times, for callgrind to watch.
fn watched(case: &Case, times: u64) {
    let mut payload = case.payload();
    for _ in 0..times {
        (case.work)(black_box(&mut payload));
    }
}

/// The instructions of one repetition.
fn count(case: &Case) -> Result<f64, String> {
    let collected = |times: u64| instructions(&["--case", case.name, &times.to_string()]);
    let (few, many) = (collected(FEW)?, collected(MANY)?);
    Ok((many - few) as f64 / (MANY - FEW) as f64)
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
    let mut failed = false;
    println!("{:<34} {:>12} {:>8} {:>10}", "payload", "instructions", "bytes", "per byte");
    for case in CASES {
        let cost = match count(case) {
            Ok(cost) => cost,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        let bytes = case.payload().len() as f64;
        let per_byte = cost / bytes;
        let verdict = if per_byte <= case.most { "ok" } else { "TOO MUCH" };
        failed |= per_byte > case.most;
        let most = case.most;
        println!(
            "{:<34} {cost:>12.0} {bytes:>8} {per_byte:>10.3} (at most {most}) {verdict}",
            case.name
        );
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
