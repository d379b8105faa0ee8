//! Sends requests to a server, or holds idle connections to it, and prints the result.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use portcullis_tests::load::idle::{self, Arrival};
use portcullis_tests::load::{self, Browser, Limit, Plan, Request, Transport};
use portcullis_tests::reference::{ECHO, bytes_target};

/// A bounded load for a server on this machine
#[derive(Parser)]
struct Arguments {
    /// Use TLS 1.3, with a full handshake on each connection, and trust any certificate
    #[arg(long, global = true)]
    tls: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send requests, by default for /hello over keep-alive connections
    Requests(Requests),
    /// Send messages over websockets at /ws, which must send them back
    Messages(Messages),
    /// Hold connections open after one request each, and print the server's memory for each
    Idle(Idle),
}

/// Which server, and how many requests or messages.
#[derive(Args)]
struct Amount {
    /// The server's address, such as 127.0.0.1:8080
    address: SocketAddr,
    /// Requests or messages in total
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// Connections at once
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Requests or messages in one write
    #[arg(long, default_value_t = 1)]
    burst: usize,
}

#[derive(Args)]
struct Requests {
    #[command(flatten)]
    amount: Amount,
    /// Send the ten fields of a desktop browser instead of only Host
    #[arg(long)]
    browser: bool,
    /// Ask for this many bytes instead of /hello
    #[arg(long, value_name = "BYTES", conflicts_with = "browser")]
    download: Option<u64>,
    /// Send this many bytes to /sink instead
    #[arg(long, value_name = "BYTES", conflicts_with_all = ["browser", "download"])]
    upload: Option<u64>,
    /// Open a connection for each request
    #[arg(long, conflicts_with_all = ["browser", "download", "upload"])]
    fresh: bool,
}

#[derive(Args)]
struct Messages {
    #[command(flatten)]
    amount: Amount,
    /// Bytes of each message
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Send text messages instead of binary ones
    #[arg(long)]
    text: bool,
}

#[derive(Args)]
struct Idle {
    /// The server's address, such as 127.0.0.1:8080
    address: SocketAddr,
    /// The id of the process whose memory is measured
    #[arg(long)]
    pid: u32,
    /// Connections to hold
    #[arg(long, default_value_t = 5000)]
    connections: usize,
    /// Let all connections come and ask at once, instead of one after the other
    #[arg(long)]
    at_once: bool,
    /// Hold websockets at /ws instead, after one message of 64 bytes was sent back
    #[arg(long)]
    websocket: bool,
    /// Ask over HTTP/2, with prior knowledge or by ALPN
    #[arg(long, conflicts_with = "websocket")]
    http2: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let transport = if arguments.tls { Transport::tls() } else { Transport::Plain };
    let done = match &arguments.command {
        Command::Requests(arguments) => requests(arguments, transport),
        Command::Messages(arguments) => messages(arguments, transport),
        Command::Idle(arguments) => idle(arguments, &transport),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn requests(arguments: &Requests, transport: Transport) -> Result<(), Box<dyn Error>> {
    let browser = if arguments.browser { Browser::Desktop } else { Browser::None };
    let request = match (arguments.download, arguments.upload) {
        (Some(count), _) => Request::get(&bytes_target(count)),
        (_, Some(count)) => Request::post("/sink", count),
        _ if arguments.fresh => Request::get_and_close("/hello"),
        _ => Request::get_as("/hello", browser),
    };
    run(&arguments.amount, request, transport, "requests")
}

fn messages(arguments: &Messages, transport: Transport) -> Result<(), Box<dyn Error>> {
    let request = Request::message(ECHO, arguments.size, arguments.text);
    run(&arguments.amount, request, transport, "messages")
}

fn run(
    amount: &Amount,
    request: Request,
    transport: Transport,
    what: &str,
) -> Result<(), Box<dyn Error>> {
    let plan = Plan::new(amount.address, request, Limit::Requests(amount.count))
        .over(transport)
        .connections(amount.connections)
        .burst(amount.burst);
    let outcome = load::run(&plan)?;
    println!(
        "{} {what} over {} connections in {:.3} s: {:.0}/s, latency p50 {:?}, p99 {:?}",
        outcome.requests,
        outcome.connections,
        outcome.elapsed.as_secs_f64(),
        outcome.per_second(),
        outcome.latency(0.50),
        outcome.latency(0.99),
    );
    Ok(())
}

fn idle(arguments: &Idle, transport: &Transport) -> Result<(), Box<dyn Error>> {
    let arrival = if arguments.at_once { Arrival::AtOnce } else { Arrival::InTurn };
    let Idle { address, pid, connections, .. } = *arguments;
    let tls = matches!(transport, Transport::Tls(_));
    let request = match arguments {
        Idle { websocket: true, .. } => Request::message(ECHO, 64, false),
        Idle { http2: true, .. } => Request::get_http2("/hello", tls),
        _ => Request::get("/hello"),
    };
    let own = (tls && arguments.http2).then(Transport::tls_http2);
    let transport = own.as_ref().unwrap_or(transport);
    let idle = idle::hold(address, pid, connections, transport, &request, arrival)?;
    println!("{:.0}", idle.each());
    Ok(())
}
