//! SIGINT and SIGTERM: the first signal drains, the second ends the process at once. SIGHUP reloads
//! the certificate.
//!
//! A thread of its own waits for them. So they work the same on every runtime, even if a handler
//! blocks it.

use crate::certificates::Certificates;
use crate::say;
#[cfg(unix)]
use crate::unix_socket::SocketFiles;
use async_channel::{Receiver, Sender};
use portcullis_driver::Stats;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::convert::Infallible;
use std::io;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Tells a server when to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Receiver<Infallible>);

impl Stop {
    /// Ready after the first signal.
    pub(crate) async fn wait(self) {
        // Nothing is sent on the channel: it only closes.
        let _closed = self.0.recv().await;
    }
}

/// Catches the signals from now on. `stats` tells what is open, `drain` how long a drain may take.
/// SIGHUP ends nothing, whether there are `certificates` or not. An end at once removes `files`.
pub(crate) fn catch(
    stats: Arc<Stats>,
    drain: Duration,
    certificates: Option<Arc<Certificates>>,
    #[cfg(unix)] files: SocketFiles,
) -> io::Result<Stop> {
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (running, stop) = async_channel::bounded(1);
    let end = move || {
        #[cfg(unix)]
        files.remove();
    };
    let wait = move || wait(signals, &running, &stats, drain, certificates.as_deref(), &end);
    thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(Stop(stop))
}

fn wait(
    mut signals: Signals,
    running: &Sender<Infallible>,
    stats: &Stats,
    drain: Duration,
    certificates: Option<&Certificates>,
    end: &dyn Fn(),
) {
    for signal in signals.forever() {
        let open = stats.snapshot().open;
        if signal == SIGHUP {
            reload(certificates);
        } else if running.close() {
            if open > 0 {
                let name = name(signal);
                say(format_args!(
                    "{name}: draining {open} open connections for up to {drain:?}; repeat to stop at once"
                ));
            }
        } else {
            say(format_args!(
                "{} again: stopped at once, connections cut off: {open}",
                name(signal)
            ));
            end();
            // The exit code that a shell reports for a process ended by this signal.
            process::exit(128 + signal);
        }
    }
}

fn reload(certificates: Option<&Certificates>) {
    match certificates.map(Certificates::reload) {
        None => say("SIGHUP: no certificate to reload, because TLS is off"),
        Some(Ok(())) => say("SIGHUP: the certificate was reloaded"),
        Some(Err(error)) => say(format_args!(
            "SIGHUP: cannot reload the certificate, the previous one stays in use: {error}"
        )),
    }
}

fn name(signal: i32) -> &'static str {
    if signal == SIGINT { "SIGINT" } else { "SIGTERM" }
}
