//! SIGINT and SIGTERM: the first drains, the second ends the process at once.
//!
//! They are waited for on a thread of their own, so that they work the same on every runtime, and
//! even if one is stuck.

use crate::say;
use async_channel::{Receiver, Sender};
use portcullis_driver::Stats;
use signal_hook::consts::{SIGINT, SIGTERM};
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
pub(crate) fn catch(stats: Arc<Stats>, drain: Duration) -> io::Result<Stop> {
    let signals = Signals::new([SIGINT, SIGTERM])?;
    let (running, stop) = async_channel::bounded(1);
    let wait = move || wait(signals, &running, &stats, drain);
    thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(Stop(stop))
}

fn wait(mut signals: Signals, running: &Sender<Infallible>, stats: &Stats, drain: Duration) {
    let mut signals = signals.forever();
    let Some(first) = signals.next() else { return };
    running.close();
    let open = stats.snapshot().open;
    if open > 0 {
        let name = name(first);
        say(format_args!("{name}: {open} open, drains for up to {drain:?}; once more ends it"));
    }
    let Some(second) = signals.next() else { return };
    let (open, name) = (stats.snapshot().open, name(second));
    say(format_args!("{name} again: ended at once, {open} cut"));
    // What a shell reports for a process that the signal ended.
    process::exit(128 + second);
}

fn name(signal: i32) -> &'static str {
    if signal == SIGINT { "SIGINT" } else { "SIGTERM" }
}
