//! Both directions against Python's `hpack`. One process encodes and decodes thousands of blocks.

use super::tests::{Pairs, decoded};
use super::*;
use portcullis_testing::{needs, skip};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread;

const SCRIPT: &str = include_str!("../../../tests/http2/hpack.py");
const ROUNDS: usize = 3000;

/// The interpreter that has `hpack`, if one does. The first one on the path may be another than the system's.
fn python() -> Option<&'static str> {
    if !needs("python3", "apt-get install python3") {
        return None;
    }
    let has = |program: &&str| {
        let mut command = Command::new(program);
        command.args(["-c", "import hpack"]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has);
    if found.is_none() {
        skip("Python's hpack is missing; to install it: apt-get install python3-hpack");
    }
    found
}

/// A command for the script, and what its answer has to be.
enum Expected {
    Block(Option<u32>, Pairs),
    Fields(Pairs),
    Fresh(Vec<u8>),
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn written(fields: &Pairs) -> String {
    let each = fields.iter().map(|(name, value)| format!("{}:{}", hex(name), hex(value)));
    format!(",{}", each.collect::<Vec<_>>().join(","))
}

fn random_fields(random: &mut fastrand::Rng) -> Pairs {
    const NAMES: [&str; 10] = [
        ":path",
        ":status",
        "accept-encoding",
        "authorization",
        "content-length",
        "cookie",
        "date",
        "set-cookie",
        "x-a",
        "x-other",
    ];
    let field = |random: &mut fastrand::Rng| {
        let name = match random.u8(..8) {
            0 => (0..random.usize(1..40)).map(|_| random.u8(b'a'..=b'z')).collect(),
            _ => NAMES[random.usize(..NAMES.len())].as_bytes().to_vec(),
        };
        let most = [0, 1, 8, 40, 40, 300, 3000][random.usize(..7)];
        let value = match random.u8(..4) {
            0 => b"200".to_vec(),
            1 => (0..random.usize(..=most)).map(|_| random.u8(..)).collect(),
            _ => (0..random.usize(..=most)).map(|_| random.u8(b'0'..b'z')).collect(),
        };
        (name, value)
    };
    (0..random.usize(..12)).map(|_| field(random)).collect()
}

/// A block that is nearly valid, for a decoder with an empty table.
fn random_block(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let mut block = Vec::new();
    for (name, value) in random_fields(random) {
        encoder.field(&name, &value[..value.len().min(60)], &mut block);
    }
    for _ in 0..random.usize(..3) {
        if !block.is_empty() {
            let place = random.usize(..block.len());
            match random.u8(..4) {
                0 => block.truncate(place),
                1 => drop(block.remove(place)),
                2 => block.insert(place, random.u8(..)),
                _ => block[place] = random.u8(..),
            }
        }
    }
    block
}

#[test]
fn python_reads_what_we_write_and_the_other_way_round() {
    let Some(program) = python() else { return };
    let mut random = fastrand::Rng::with_seed(7);
    let (mut commands, mut all) = (String::new(), Vec::new());
    let mut encoder = Encoder::new();
    for _ in 0..ROUNDS {
        let size =
            (random.u8(..20) == 0).then(|| [0, 31, 64, 500, 1024, 4096, 60_000][random.usize(..7)]);
        let told = size.map_or("-".to_owned(), |size: u32| size.to_string());
        let fields = random_fields(&mut random);
        match random.u8(..3) {
            0 => {
                commands += &format!("e {told} {}\n", written(&fields));
                all.push(Expected::Block(size, fields));
            }
            1 => {
                let mut block = Vec::new();
                if let Some(size) = size {
                    encoder.set_peer_limit(size);
                }
                encoder.begin(&mut block);
                fields.iter().for_each(|(name, value)| encoder.field(name, value, &mut block));
                commands += &format!("d {told} {}\n", hex(&block));
                all.push(Expected::Fields(fields));
            }
            _ => {
                let block = random_block(&mut random);
                commands += &format!("f {}\n", hex(&block));
                all.push(Expected::Fresh(block));
            }
        }
    }
    let mut command = Command::new(program);
    command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    let mut input = child.stdin.take().expect("a pipe");
    let writer = thread::spawn(move || input.write_all(commands.as_bytes()));
    let mut answers = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut decoder = Decoder::new(4096);
    let mut outcomes = [0; 2];
    for expected in all {
        let answer = answers.next().expect("an answer to each command").expect("text");
        match expected {
            Expected::Block(size, fields) => {
                if let Some(size) = size {
                    decoder.set_limit(size);
                }
                assert_eq!(decoded(&mut decoder, &bytes(&answer)), Ok(fields), "{answer}");
            }
            Expected::Fields(fields) => assert_eq!(answer, written(&fields)),
            Expected::Fresh(block) => {
                let ours = decoded(&mut Decoder::new(4096), &block);
                outcomes[usize::from(ours.is_ok())] += 1;
                let ours = ours.map_or("!".to_owned(), |fields| written(&fields));
                assert_eq!(ours, answer, "{}", hex(&block));
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > ROUNDS / 30), "one-sided: {outcomes:?}");
    assert!(writer.join().expect("it does not panic").is_ok());
    assert!(child.wait().expect("it ends").success());
}
