//! A hardened HTTP/1.1 and WebSocket server for the files of a directory, or for demo routes.

#![deny(missing_docs)]

mod allocator;
mod args;
mod certificates;
mod config_file;
mod handover;
mod listen;
mod open_files;
mod print_config;
mod reload;
mod runtime;
mod signals;
mod status_apart;
#[cfg(target_os = "linux")]
mod systemd;
mod tickets;
#[cfg(unix)]
mod unix_socket;

use args::{Args, Read};
use certificates::Certificates;
use handover::Handover;
use listen::listen;
use portcullis::Builder;
use portcullis_driver::{Admission, Body, LiveConfig, Roster, Stats, memory_bound};
use portcullis_serve::demo::Demo;
use portcullis_serve::files::Files;
use portcullis_serve::proxy::Proxy;
use portcullis_serve::{AccessLog, BoxError, Health, Readiness, Reloads, Status, StatusSite};
use reload::{Reload, Settings};
use runtime::Plan;
use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use tickets::Tickets;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
#[cfg(unix)]
use unix_socket::SocketFiles;

fn main() -> ExitCode {
    allocator::give_memory_back();
    let read = Args::read();
    log();
    match run(read) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(error);
            ExitCode::FAILURE
        }
    }
}

fn run(read: Read) -> Result<(), BoxError> {
    let (args, mut config) = (read.args.clone(), read.config.clone());
    // Before there are other threads, since they are passed by the environment.
    #[cfg(target_os = "linux")]
    let mut listeners = systemd::sockets()?;
    #[cfg(not(target_os = "linux"))]
    let mut listeners = Vec::new();
    let stats = Arc::new(Stats::new());
    let certificates = args
        .certificate()
        .map(|source| Certificates::load(source, args.tls_client_ca.clone()))
        .transpose()?;
    let tickets = match &certificates {
        Some(certificates) if !args.tls_ticket_key.is_empty() => {
            Some(Tickets::load(args.tls_ticket_key.clone(), &certificates.audience()?)?)
        }
        _ => None,
    };
    let ticketer = || tickets.as_ref().map(|tickets| Arc::new(tickets.keys()) as _);
    let tls = certificates.as_ref().map(|it| it.server_config(ticketer()).map(Arc::new));
    let tls = tls.transpose()?;
    if let Some(tls) = &tls {
        config = Builder::from(config).tls(tls.clone()).build()?;
    }
    let config = Arc::new(config);
    let live = LiveConfig::new(config.clone());
    let open_log = |path| {
        AccessLog::open(path, args.log_format())
            .map_err(|error| format!("cannot open the access log {}: {error}", path.display()))
    };
    let access_log = args.access_log.as_deref().map(open_log).transpose()?;
    let scheme = if config.has_tls() { "https" } else { "http" };
    #[cfg(unix)]
    let socket_files = SocketFiles::default();
    #[cfg(unix)]
    let _removed_at_end = socket_files.removed_at_end();
    let (readiness, handover) = (Readiness::default(), Handover::default());
    let reloads = Reloads::default();
    let reload = Reload {
        reloads: reloads.clone(),
        certificates,
        tickets,
        access_log: access_log.clone(),
        settings: args.config.is_some().then(|| Settings { read, live: live.clone(), tls }),
    };
    // Caught before anyone is told that there is something to stop.
    let stop = signals::catch(
        stats.clone(),
        config.drain_timeout(),
        args.drain_delay,
        (readiness.clone(), handover.clone()),
        reload,
        #[cfg(unix)]
        socket_files.clone(),
    )
    .map_err(|error| format!("cannot catch signals: {error}"))?;
    open_files::allow_as_many_as_possible();
    let files = match &args.root {
        None => None,
        Some(root) => Some(
            Files::open(root)
                .map(|files| {
                    let files = files.dotfiles(args.dotfiles).one_page(args.spa);
                    files.compress(!args.no_compression).cache(args.cache_control.clone())
                })
                .map_err(|error| format!("cannot serve {}: {error}", root.display()))?,
        ),
    };
    let asked = if listeners.is_empty() || args.asks_to_listen { &args.listen[..] } else { &[] };
    let listen_on = |address| {
        listen(
            address,
            args.reuse_port,
            #[cfg(unix)]
            &socket_files,
        )
    };
    for address in asked {
        listeners.extend(listen_on(address)?);
    }
    if args.reuse_port {
        handover.add(&listeners);
    }
    for listener in &listeners {
        let address = listener.address()?;
        tell(format_args!("listening on {scheme}://{address}"));
    }
    let mut status_listeners = Vec::new();
    for address in &args.status_listen {
        status_listeners.extend(listen_on(address)?);
    }
    for listener in &status_listeners {
        tell(format_args!("status on http://{}/status/", listener.address()?));
    }
    #[cfg(target_os = "linux")]
    systemd::tell_ready();

    let admission = Arc::new(Admission::new(&config));
    let (reactor, sleep) = (args.runtime.reactor(), args.runtime.sleep());
    let proxy = args.proxy().map(|settings| Proxy::new(&settings, reactor, sleep, live.clone()));
    let is_told = args.status() || !status_listeners.is_empty();
    let roster = is_told.then(|| Arc::new(Roster::new()));
    let status = roster.clone().map(|roster| {
        let mut status = Status::new(stats.clone(), memory_bound(&config))
            .gate(admission.clone())
            .settings(live.clone())
            .reloads(reloads)
            .roster(roster);
        if let Some(log) = &access_log {
            status = status.access_log(log.clone());
        }
        if let Some(proxy) = &proxy {
            status = status.proxy(proxy.counters());
        }
        Arc::new(status)
    });
    if let Some(status) = &status
        && !status_listeners.is_empty()
    {
        status_apart::serve(status_listeners, status.clone())?;
    }
    let status = status.filter(|_| args.status());
    let plan = Plan {
        listeners,
        threads: args.threads,
        live,
        stats,
        admission,
        proxies: args.proxy_protocol.clone(),
        access_log: access_log.clone(),
        roster,
        stop,
    };
    let readiness = args.health().then_some(readiness);
    let drained = match (files, proxy) {
        (Some(files), _) => {
            let files = StatusSite::new(files.service::<Body>(), status, sleep);
            args.runtime.serve(plan, Health::new(files, readiness))
        }
        (None, Some(proxy)) => {
            let proxy = StatusSite::new(proxy, status, sleep);
            args.runtime.serve(plan, Health::new(proxy, readiness))
        }
        (None, None) => {
            let demo = StatusSite::new(Demo::new(sleep), status, sleep);
            args.runtime.serve(plan, Health::new(demo, readiness))
        }
    }?;
    if let Some(log) = access_log {
        log.finish();
    }
    say(format_args!(
        "drained: connections finished: {}, cut off: {}",
        drained.finished, drained.cut
    ));
    Ok(())
}

/// Logs to standard error: warnings, or what `RUST_LOG` selects.
fn log() {
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none())
        // A closed standard error must not end the program.
        .log_internal_errors(false)
        .init();
}

/// Prints a line to standard output, for programs that start this one.
fn tell(line: impl Display) {
    let mut out = io::stdout().lock();
    // The reader may have closed the pipe; the server goes on.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints a line to standard error, for people.
fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "portcullis: {line}");
}
