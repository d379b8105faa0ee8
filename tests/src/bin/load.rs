//! Sends requests to a server, or holds idle connections to it, and prints what came of it.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use portcullis_tests::load::idle::{self, Arrival};
use portcullis_tests::load::{self, Browser, Limit, Plan, Request};

/// Load for a server on this machine, bounded in number
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send requests for /hello over keep-alive connections
    Requests(Requests),
    /// Hold connections open after one request each, and print what each adds to the server's memory
    Idle(Idle),
}

#[derive(Args)]
struct Requests {
    /// The server, like 127.0.0.1:8080
    address: SocketAddr,
    /// How many requests in all
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// Over how many connections
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// How many requests go out in one write
    #[arg(long, default_value_t = 1)]
    burst: usize,
    /// Send the ten fields of a desktop browser instead of just Host
    #[arg(long)]
    browser: bool,
}

#[derive(Args)]
struct Idle {
    /// The server, like 127.0.0.1:8080
    address: SocketAddr,
    /// The process whose memory is measured
    #[arg(long)]
    pid: u32,
    /// How many connections
    #[arg(long, default_value_t = 5000)]
    connections: usize,
    /// All connections come and ask at once, instead of one after the other
    #[arg(long)]
    at_once: bool,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Requests(arguments) => requests(&arguments),
        Command::Idle(arguments) => idle(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn requests(arguments: &Requests) -> Result<(), Box<dyn Error>> {
    let browser = if arguments.browser { Browser::Desktop } else { Browser::None };
    let request = Request::get_as("/hello", browser);
    let plan = Plan::new(arguments.address, request, Limit::Requests(arguments.count))
        .connections(arguments.connections)
        .burst(arguments.burst);
    let outcome = load::run(&plan)?;
    println!(
        "{} requests over {} connections in {:.3} s: {:.0}/s, latency p50 {:?}, p99 {:?}",
        outcome.requests,
        outcome.connections,
        outcome.elapsed.as_secs_f64(),
        outcome.per_second(),
        outcome.latency(0.50),
        outcome.latency(0.99),
    );
    Ok(())
}

fn idle(arguments: &Idle) -> Result<(), Box<dyn Error>> {
    let arrival = if arguments.at_once { Arrival::AtOnce } else { Arrival::InTurn };
    let idle = idle::hold(arguments.address, arguments.pid, arguments.connections, arrival)?;
    println!("{:.0}", idle.each());
    Ok(())
}
