//! What SIGHUP reads again: the certificate, the keys for session tickets, the configuration file, and the place of
//! the access log.

use crate::args::{Args, Read};
use crate::certificates::Certificates;
use crate::say;
use crate::tickets::Tickets;
use portcullis::{Builder, Config};
use portcullis_driver::LiveConfig;
use portcullis_serve::{AccessLog, Reloads};
use rustls::ServerConfig;
use std::env;
use std::error::Error;
use std::sync::Arc;

/// Settings of the gate over all connections. They are those of the start.
const OF_THE_GATE: [&str; 6] = [
    "max_connections",
    "newcomer_timeout",
    "connections_memory",
    "prefix_",
    "handshakes_share",
    "pressure_",
];

/// What can be read again while the program runs.
#[derive(Debug)]
pub(crate) struct Reload {
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) tickets: Option<Tickets>,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) settings: Option<Settings>,
    pub(crate) reloads: Reloads,
}

/// The configuration file, and what was read of it.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) read: Read,
    pub(crate) live: LiveConfig,
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

impl Reload {
    /// Reads everything again. What cannot be read stays as it was.
    pub(crate) fn run(&mut self) {
        if let Some(log) = &self.access_log {
            log.reopen();
        }
        if let Some(certificates) = &self.certificates {
            match certificates.reload() {
                Ok(()) => say("SIGHUP: the certificate was reloaded"),
                Err(error) => say(format_args!(
                    "SIGHUP: cannot reload the certificate, the previous one stays in use: {error}"
                )),
            }
        }
        if let Some(tickets) = &self.tickets {
            match tickets.reload() {
                Ok(()) => say("SIGHUP: the keys for session tickets were reloaded"),
                Err(error) => say(format_args!(
                    "SIGHUP: cannot reload the keys for session tickets, the previous ones stay in use: {error}"
                )),
            }
        }
        if let Some(settings) = &mut self.settings {
            let reloaded = settings.reload();
            self.reloads.count(reloaded.is_ok());
            match reloaded {
                Ok(changes) => say(format_args!("SIGHUP: {changes}")),
                Err(error) => say(format_args!(
                    "SIGHUP: cannot reload the configuration, the previous one stays in use: {error}"
                )),
            }
        }
        if self.certificates.is_none() && self.access_log.is_none() && self.settings.is_none() {
            say(
                "SIGHUP: nothing to reload: there is no --config, no certificate and no access log",
            );
        }
    }
}

impl Settings {
    /// Reads the file again. Returns what has changed.
    fn reload(&mut self) -> Result<String, Box<dyn Error>> {
        let read = Args::from_command_line(env::args_os().collect())?;
        let mut builder = Builder::from(read.config.clone());
        if let Some(tls) = &self.tls {
            builder = builder.tls(tls.clone());
        }
        self.live.set(Arc::new(builder.build()?))?;
        let changes = changes(&self.read, &read);
        self.read = read;
        Ok(changes)
    }
}

/// What differs between two readings, for people.
fn changes(before: &Read, now: &Read) -> String {
    let (late, new): (Vec<_>, Vec<_>) = settings(&before.config, &now.config)
        .partition(|(name, _)| OF_THE_GATE.iter().any(|of| name.starts_with(of)));
    let new: Vec<_> = new.iter().map(|(name, value)| format!("{name} is {value}")).collect();
    let mut text = match &new[..] {
        [] => "the configuration was reloaded, no setting has changed".to_owned(),
        new => format!("the configuration was reloaded for new connections: {}", new.join(", ")),
    };
    let late = late.iter().map(|(name, _)| (*name).to_owned());
    let late: Vec<_> = late.chain(now.changed_options(before)).collect();
    if !late.is_empty() {
        text += &format!("; these need a restart: {}", late.join(", "));
    }
    text
}

/// The settings whose values differ, with the new ones.
fn settings(before: &Config, now: &Config) -> impl Iterator<Item = (&'static str, String)> {
    Config::settings().iter().filter_map(move |setting| {
        let value = setting.value(now);
        (value != setting.value(before)).then_some((setting.name, value))
    })
}
