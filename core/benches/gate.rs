//! Work of the gate: the instructions of its decisions do not grow with the number of connections.
//!
//! `cargo bench -p portcullis --bench gate` runs each case under callgrind twice, with few and with many rounds.
//! The difference is exact, and repeats from run to run. The bench fails if a round costs more among 100,000
//! connections than the named factor of what it costs among 100. Without valgrind it says so and checks nothing;
//! with `PORTCULLIS_TESTS=all` that is a failure.

use core::net::Ipv4Addr;
use core::time::Duration;
use portcullis::gate::{Gate, Limits, Report, Standing};
use portcullis::{Config, Tick};
use portcullis_testing::{instructions, needs};
use std::env;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

const FEW: u64 = 100;
const MANY: u64 = 1100;
/// The numbers of connections that are compared.
const CROWDS: [usize; 2] = [100, 100_000];
/// The most that a round in the large crowd may cost, as a factor of the small one.
const FACTOR: f64 = 1.1;

/// What happens in a round.
#[derive(Clone, Copy)]
enum Round {
    /// A connection comes, and leaves.
    Come,
    /// A connection becomes idle, and works again.
    Report,
    /// A connection is chosen to leave, and another one comes.
    Choose,
}

const ROUNDS: [(&str, Round); 3] =
    [("come and leave", Round::Come), ("report", Round::Report), ("choose", Round::Choose)];

/// A gate with so many connections, each from an address of its own. All but a tenth wait for their peers.
fn crowd(count: usize) -> Gate {
    let limits = Limits { connections: 2 * count, memory: u64::MAX };
    let mut gate = Gate::new(Arc::new(Config::default()), limits, 7);
    for number in 0..count {
        let address = Ipv4Addr::from_bits(0x0a00_0000 + number as u32);
        let member = gate.admit(Tick::ZERO, Some(address.into()), false).expect("there is room");
        let standing = if number % 10 == 0 { Standing::Working } else { Standing::Waiting };
        gate.report(member, report(standing, Tick::ZERO, (number as u64 % 64) << 10));
    }
    gate
}

fn report(standing: Standing, now: Tick, bytes: u64) -> Report {
    Report { standing, bytes, is_handshaking: false, since: now, until: now }
}

/// Plays so many rounds in a crowd.
fn play(round: Round, count: usize, rounds: u64) {
    let mut gate = crowd(count);
    let now = Tick::ZERO.after(Duration::from_secs(10));
    if let Round::Choose = round {
        gate.set_newcomers(usize::MAX);
    }
    for number in 0..rounds {
        let address = Ipv4Addr::from_bits(0x0b00_0000 + number as u32);
        match round {
            Round::Come => {
                let member = gate.admit(now, Some(address.into()), false).expect("there is room");
                gate.leave(now, member);
            }
            Round::Report => {
                let member = (number * 7) as usize % count;
                gate.report(member, report(Standing::Idle, now, 1 << 10));
                gate.report(member, report(Standing::Working, now, 1 << 10));
            }
            Round::Choose => {
                let member = gate.next_to_leave(now).expect("somebody waits for long");
                gate.leave(now, member);
                let member = gate.admit(now, Some(address.into()), false).expect("there is room");
                gate.report(member, report(Standing::Waiting, Tick::ZERO, (number % 64) << 10));
            }
        }
    }
    black_box(gate.connections());
}

/// The instructions of one round.
fn count(name: &str, crowd: usize) -> Result<f64, String> {
    let collected =
        |rounds: u64| instructions(&["--case", name, &crowd.to_string(), &rounds.to_string()]);
    let (few, many) = (collected(FEW)?, collected(MANY)?);
    Ok(many.saturating_sub(few) as f64 / (MANY - FEW) as f64)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, name, crowd, rounds] = arguments.as_slice()
        && flag == "--case"
    {
        let round = ROUNDS.iter().find(|(other, _)| other == name).expect("a round of that name");
        play(round.1, crowd.parse().expect("a number"), rounds.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    if !needs("valgrind", "apt-get install valgrind") {
        return ExitCode::SUCCESS;
    }
    let [small, large] = CROWDS;
    println!("{:<16} {:>22} {:>22} {:>8}", "instructions", small, large, "factor");
    let mut failed = false;
    for (name, _) in ROUNDS {
        let counted = count(name, small).and_then(|few| Ok((few, count(name, large)?)));
        let (few, many) = match counted {
            Ok(counted) => counted,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        let factor = many / few.max(1.0);
        let verdict = if factor <= FACTOR { "ok" } else { "TOO MUCH" };
        failed |= factor > FACTOR;
        println!("{name:<16} {few:>22.0} {many:>22.0} {factor:>8.2} (at most {FACTOR}) {verdict}");
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
