//! Compares portcullis with hyper and axum, over HTTP/2 with hyper and nginx, and for websockets with
//! fastwebsockets and tokio-tungstenite: the same routes on the same core, in turns. The feature
//! `other-runtimes` adds hyper on smol and async-h1 on async-std.
//!
//! Each server is a process pinned to one core; the load comes from another core. A case runs in
//! rounds, with one server after the other in each round, so that a disturbance of the machine
//! affects all servers. Figures are medians over the rounds. Ratios are medians of the ratios
//! within a round. A server with TLS also runs over TLS.
//!
//! The load over HTTP/2 is `h2load` of nghttp2. Without it these cases are left out, and without nginx its column.

mod case;
mod h2load;
mod server;
mod table;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use portcullis_tests::cores;
use portcullis_tests::load::{self, Limit, Transport};
use portcullis_tests::reference::{self, Options, Stack};

use case::{CASES, Case, ELSEWHERE, Field, Unit};
use h2load::H2load;
use server::Server;
use table::Sample;

/// The number of rounds, and the time for each server in a round.
struct Pace {
    rounds: usize,
    slot: Duration,
}

const THOROUGH: Pace = Pace { rounds: 9, slot: Duration::from_millis(500) };
const QUICK: Pace = Pace { rounds: 5, slot: Duration::from_millis(150) };

/// Compare portcullis with hyper and axum, over HTTP/2 with hyper and nginx, and for websockets with fastwebsockets
/// and tungstenite
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
    if field == Field::Http2 && !h2load::is_there() {
        eprintln!(
            "h2load is missing, so HTTP/2 is left out (Debian: apt-get install nghttp2-client)"
        );
        return Ok(Vec::new());
    }
    let plain = if cases.iter().any(|case| !case.tls) {
        start(field, &Transport::Plain, core, |_| true)?
    } else {
        Vec::new()
    };
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
        if !runs(stack) || !is_installed(stack) {
            return Ok(None);
        }
        let server = Server::start(stack, transport, core)?;
        server.check(field).map_err(|error| format!("{stack}: {error}"))?;
        Ok(Some(server))
    };
    field.stacks().iter().copied().map(start).collect()
}

/// Whether the server can be run. Only nginx is no part of this program.
fn is_installed(stack: Stack) -> bool {
    #[cfg(unix)]
    let has_nginx = reference::has_nginx();
    #[cfg(not(unix))]
    let has_nginx = false;
    !matches!(stack, Stack::Nginx | Stack::NginxH2) || has_nginx
}

/// The samples of one case, by round and then by server; `None` for a server that does not take
/// part.
fn rounds(
    case: &Case,
    servers: &[Option<Server>],
    pace: &Pace,
) -> Result<Vec<Vec<Option<Sample>>>, Box<dyn Error>> {
    let suited = |server: &&Server| case.suits(server.stack());
    if case.field == Field::Http2 {
        return rounds_of_h2load(case, servers, pace);
    }
    for server in servers.iter().flatten().filter(suited) {
        sample(case, server, pace.slot / 5)?;
    }
    let one = |server: &Option<Server>| {
        server.as_ref().filter(suited).map(|server| sample(case, server, pace.slot)).transpose()
    };
    (0..pace.rounds).map(|_| servers.iter().map(one).collect()).collect()
}

/// The same over HTTP/2. The load has no limit in time, so that each server gets the number of requests that
/// it answers in its slot.
fn rounds_of_h2load(
    case: &Case,
    servers: &[Option<Server>],
    pace: &Pace,
) -> Result<Vec<Vec<Option<Sample>>>, Box<dyn Error>> {
    let file = case.upload().map(UploadFile::write).transpose()?;
    let load = case.h2load(file.as_ref().map_or(Path::new(""), |file| &file.0));
    let suited = |server: &&Server| case.suits(server.stack());
    let count = |server: &Server| -> Result<u64, Box<dyn Error>> {
        let mut count = load.least();
        for time in [pace.slot / 5, pace.slot] {
            let (_, took) = measure_h2load(case, server, &load, count)?;
            let many = count as f64 * time.as_secs_f64() / took.as_secs_f64();
            count = load.least().max(many as u64);
        }
        Ok(count)
    };
    let counts: Vec<Option<(&Server, u64)>> = servers
        .iter()
        .map(|server| {
            let server = server.as_ref().filter(suited);
            server.map(|server| Ok((server, count(server)?))).transpose()
        })
        .collect::<Result<_, Box<dyn Error>>>()?;
    let one = |server: &Option<(&Server, u64)>| {
        let measure = |(server, count)| Ok(measure_h2load(case, server, &load, count)?.0);
        server.map(measure).transpose()
    };
    (0..pace.rounds).map(|_| counts.iter().map(one).collect()).collect()
}

/// Sends `count` requests to one server. Returns how long they took, too.
fn measure_h2load(
    case: &Case,
    server: &Server,
    load: &H2load<'_>,
    count: u64,
) -> Result<(Sample, Duration), Box<dyn Error>> {
    let before = server.time_used();
    let took = load
        .run(server, count)
        .map_err(|error| format!("{} on {}: {error}", case.name, server.stack()))?;
    let used = server.time_used().zip(before).map(|(after, before)| after - before);
    let units = match case.unit {
        Unit::Requests => count as f64,
        Unit::Megabytes => (count * case.bytes(load.answer_length)) as f64 / 1e6,
    };
    Ok((Sample::of(units, took, used), took))
}

/// A file that h2load uploads. It is removed when this is dropped.
struct UploadFile(PathBuf);

impl UploadFile {
    fn write(length: u64) -> std::io::Result<Self> {
        let name = format!("portcullis-versus-{}", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        fs::write(&file.0, vec![b'x'; length as usize])?;
        Ok(file)
    }
}

impl Drop for UploadFile {
    fn drop(&mut self) {
        // It is temporary, so errors are ignored.
        drop(fs::remove_file(&self.0));
    }
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
