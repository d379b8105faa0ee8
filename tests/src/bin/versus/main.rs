//! Compares portcullis with hyper and axum, and for websockets with fastwebsockets and
//! tokio-tungstenite: the same routes on the same core, in turns. The feature `other-runtimes` adds
//! hyper on smol and async-h1 on async-std.
//!
//! Each server is a process pinned to one core; the load comes from another core. A case runs in
//! rounds, with one server after the other in each round, so that a disturbance of the machine
//! affects all servers. Figures are medians over the rounds. Ratios are medians of the ratios
//! within a round. A server with TLS also runs over TLS.

mod case;
mod server;
mod table;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use portcullis_tests::cores;
use portcullis_tests::load::{self, Limit, Transport};
use portcullis_tests::reference::{self, Options, Stack};

use case::{CASES, Case, ELSEWHERE, Field};
use server::Server;
use table::Sample;

/// The number of rounds, and the time for each server in a round.
struct Pace {
    rounds: usize,
    slot: Duration,
}

const THOROUGH: Pace = Pace { rounds: 9, slot: Duration::from_millis(500) };
const QUICK: Pace = Pace { rounds: 5, slot: Duration::from_millis(150) };

/// Compare portcullis with hyper and axum, and for websockets with fastwebsockets and tungstenite
#[derive(Parser)]
struct Arguments {
    /// Take about half a minute instead of three, at lower precision
    #[arg(long)]
    quick: bool,
    /// Run only the cases whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Run one of the servers; this program starts itself with it
    #[command(hide = true)]
    Serve(Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.role {
        Some(Role::Serve(options)) => reference::serve(options).map_err(Into::into),
        None => compare(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let cases: Vec<&Case> =
        CASES.iter().chain(ELSEWHERE).filter(|case| case.name.contains(&arguments.only)).collect();
    let pace = if arguments.quick { QUICK } else { THOROUGH };

    let (server_core, place) = match cores::allowed()[..] {
        [first, second, ..] => {
            cores::pin(second)?;
            (Some(first), format!("servers on core {first}, load on core {second}"))
        }
        _ => (None, "not pinned: servers and load may share a core".to_owned()),
    };
    println!("{place}; medians of {} rounds of {} ms", pace.rounds, pace.slot.as_millis());

    for &field in Field::ALL {
        let cases: Vec<&Case> = cases.iter().copied().filter(|it| it.field == field).collect();
        if !cases.is_empty() {
            let results = measure(field, &cases, server_core, &pace)?;
            table::print(field.stacks(), &results);
        }
    }
    Ok(())
}

/// Measures cases that have the same servers.
fn measure<'c>(
    field: Field,
    cases: &[&'c Case],
    core: Option<usize>,
    pace: &Pace,
) -> Result<Vec<table::Result<'c>>, Box<dyn Error>> {
    let plain = start(field, &Transport::Plain, core, |_| true)?;
    let tls = if cases.iter().any(|case| case.tls) {
        start(field, &Transport::tls(), core, Stack::has_tls)?
    } else {
        Vec::new()
    };
    let mut results = Vec::new();
    for case in cases {
        eprintln!("{}…", case.name);
        let servers = if case.tls { &tls } else { &plain };
        results.push((*case, rounds(case, servers, pace)?));
    }
    Ok(results)
}

/// Starts the servers for which `runs` is true, in the order of `field`.
fn start(
    field: Field,
    transport: &Transport,
    core: Option<usize>,
    runs: impl Fn(Stack) -> bool,
) -> Result<Vec<Option<Server>>, Box<dyn Error>> {
    let start = |stack: Stack| -> Result<_, Box<dyn Error>> {
        if !runs(stack) {
            return Ok(None);
        }
        let server = Server::start(stack, transport, core)?;
        server.check(field).map_err(|error| format!("{stack}: {error}"))?;
        Ok(Some(server))
    };
    field.stacks().iter().copied().map(start).collect()
}

/// The samples of one case, by round and then by server; `None` for a server that does not take
/// part.
fn rounds(
    case: &Case,
    servers: &[Option<Server>],
    pace: &Pace,
) -> Result<Vec<Vec<Option<Sample>>>, Box<dyn Error>> {
    let suited = |server: &&Server| case.suits(server.stack());
    for server in servers.iter().flatten().filter(suited) {
        sample(case, server, pace.slot / 5)?;
    }
    let one = |server: &Option<Server>| {
        server.as_ref().filter(suited).map(|server| sample(case, server, pace.slot)).transpose()
    };
    (0..pace.rounds).map(|_| servers.iter().map(one).collect()).collect()
}

/// Loads one server for `time`.
fn sample(case: &Case, server: &Server, time: Duration) -> Result<Sample, Box<dyn Error>> {
    let plan = case.plan(server, Limit::Time(time));
    let before = server.time_used();
    let outcome = load::run(&plan)
        .map_err(|error| format!("{} on {}: {error}", case.name, server.stack()))?;
    let used = server.time_used().zip(before).map(|(after, before)| after - before);
    Ok(Sample::new(case.unit, &outcome, used))
}
