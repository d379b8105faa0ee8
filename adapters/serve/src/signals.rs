//! SIGINT and SIGTERM: the first signal drains, the second ends the process at once. SIGHUP reloads.
//!
//! A thread of its own waits for them. So they work the same on every runtime, even if a handler
//! blocks it.

use crate::handover::Handover;
use crate::reload::Reload;
use crate::say;
#[cfg(target_os = "linux")]
use crate::systemd;
#[cfg(unix)]
use crate::unix_socket::SocketFiles;
use async_channel::{Receiver, Sender};
use portcullis_driver::Stats;
use portcullis_serve::Readiness;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::convert::Infallible;
use std::io;
use std::mem::replace;
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

/// Catches the signals from now on. `stats` tells what is open, `drain` how long a drain may take, and `delay`
/// how long after the end of readiness it begins. SIGHUP runs `reload`. An end at once removes `files`.
pub(crate) fn catch(
    stats: Arc<Stats>,
    drain: Duration,
    delay: Duration,
    (readiness, handover): (Readiness, Handover),
    mut reload: Reload,
    #[cfg(unix)] files: SocketFiles,
) -> io::Result<Stop> {
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (running, stop) = async_channel::bounded(1);
    let end = move || {
        #[cfg(unix)]
        files.remove();
    };
    let begin = move || {
        readiness.end();
        #[cfg(target_os = "linux")]
        systemd::tell_stopping();
        begin_drain(&running, delay, &handover);
    };
    let mut hang_up = move || {
        #[cfg(target_os = "linux")]
        systemd::tell_reloading();
        reload.run();
        #[cfg(target_os = "linux")]
        systemd::tell_ready();
    };
    let wait = move || wait(signals, &begin, &stats, (drain, delay), &mut hang_up, &end);
    thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(Stop(stop))
}

fn wait(
    mut signals: Signals,
    begin: &dyn Fn(),
    stats: &Stats,
    (drain, delay): (Duration, Duration),
    hang_up: &mut dyn FnMut(),
    end: &dyn Fn(),
) {
    let mut has_begun = false;
    for signal in signals.forever() {
        let open = stats.snapshot().open;
        if signal == SIGHUP {
            hang_up();
        } else if !replace(&mut has_begun, true) {
            begin();
            if !delay.is_zero() {
                let name = name(signal);
                say(format_args!(
                    "{name}: no longer ready; draining in {delay:?}, for up to {drain:?}; repeat to stop at once"
                ));
            } else if open > 0 {
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

/// Ends accepting after the delay and the handover, on a thread of its own: a second signal must not wait for it.
fn begin_drain(running: &Sender<Infallible>, delay: Duration, handover: &Handover) {
    if delay.is_zero() && handover.is_empty() {
        running.close();
        return;
    }
    let later = {
        let (running, handover) = (running.clone(), handover.clone());
        move || {
            thread::sleep(delay);
            handover.begin();
            running.close();
        }
    };
    if thread::Builder::new().name("drain delay".to_owned()).spawn(later).is_err() {
        say("cannot wait before the drain, because there is no thread: draining now");
        running.close();
    }
}

fn name(signal: i32) -> &'static str {
    if signal == SIGINT { "SIGINT" } else { "SIGTERM" }
}
