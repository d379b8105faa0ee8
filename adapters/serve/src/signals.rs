//! SIGINT and SIGTERM: the first drains, the second ends the process at once. SIGHUP has the
//! certificate read again.
//!
//! They are waited for on a thread of their own, so that they work the same on every runtime, and
//! even if one is stuck.

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

/// Tells when to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Receiver<Infallible>);

impl Stop {
    /// Ends when the first signal has come.
    pub(crate) async fn wait(self) {
        // Nothing is ever sent: the channel only closes.
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
                    "{name}: {open} open, drains for up to {drain:?}; once more ends it"
                ));
            }
        } else {
            say(format_args!("{} again: ended at once, {open} cut", name(signal)));
            end();
            // What a shell reports for a process that the signal ended.
            process::exit(128 + signal);
        }
    }
}

fn reload(certificates: Option<&Certificates>) {
    match certificates.map(Certificates::reload) {
        None => say("SIGHUP: without TLS there is nothing to read again"),
        Some(Ok(())) => say("SIGHUP: the certificate was read again"),
        Some(Err(error)) => say(format_args!("SIGHUP: the last certificate stays: {error}")),
    }
}

fn name(signal: i32) -> &'static str {
    if signal == SIGINT { "SIGINT" } else { "SIGTERM" }
}
