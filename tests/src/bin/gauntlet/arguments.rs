//! The command line, and the attacks that it selects.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use portcullis_tests::gauntlet::{
    ATTACKS, Attack, Failure, Options, Place, Runtime, Target, Weight, build, program_settings,
    raise_descriptor_limit,
};

/// The cases of Hypercorn's page, which stand first in the table.
const SEVEN: usize = 7;
/// Descriptors that the gauntlet needs for itself.
const SPARE: u64 = 200;
/// How long another server may hold an attacker, if nothing else is said.
const PATIENCE: u64 = 20;

/// Attacks the portcullis program, or another server on this machine, and measures it from outside
#[derive(Parser)]
pub(crate) struct Arguments {
    /// Only the attack of this name, or those whose names contain this, or whose row is this. May be
    /// given more than once
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only on this runtime [default: each]
    #[arg(long, value_enum)]
    runtime: Option<Runtime>,
    /// Only over TLS (true) or only without it (false) [default: both; of another server: false]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    tls: Option<bool>,
    /// The number of attackers in a crowd, up to 20,000
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    connections: usize,
    /// Attack the server that listens here instead of the program: the seven cases of Hypercorn's
    /// page, unless --only selects others. It has timers of its own, so only its endings and its
    /// memory are judged
    #[arg(long, value_name = "ADDR")]
    target: Option<SocketAddr>,
    /// A process of that server, to read its memory [default: found by its address]
    #[arg(long, value_name = "PID", requires = "target")]
    pid: Vec<u32>,
    /// How many seconds an attacker may be held before the gauntlet gives up [default: each attack's
    /// own; of another server: 20]
    #[arg(long, value_name = "SECONDS")]
    patience: Option<u64>,
    /// Use this program instead of building it
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// How many light attacks run at the same time
    #[arg(long, default_value_t = 8, value_name = "N")]
    lanes: usize,
    /// Write all figures as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Draw latency and memory over time: .svg or .png
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,
    /// List the attacks with their settings and what must happen
    #[arg(long)]
    pub(crate) list: bool,
}

/// What to run.
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) options: Options,
    pub(crate) lanes: usize,
    /// Each attack with each of its places.
    pub(crate) runs: Vec<(&'static Attack, Place)>,
}

impl Plan {
    /// How long each attacker may be held, if that is the same for all.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.options.patience
    }
}

impl Arguments {
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        let descriptors = raise_descriptor_limit()?;
        let most = usize::try_from(descriptors.saturating_sub(SPARE))?;
        let connections = self.connections.min(most).max(1);
        if connections < self.connections {
            eprintln!(
                "gauntlet: {connections} connections instead of {}, since a process may open only \
                 {descriptors} files (ulimit -Hn)",
                self.connections
            );
        }
        let target = match self.target {
            Some(address) => Target::Other { address, pids: self.pid.clone() },
            None => Target::Program(match &self.program {
                Some(program) => program.clone(),
                None => build(true)?,
            }),
        };
        let known = match &target {
            Target::Program(program) => Some(program_settings(program)?),
            Target::Other { .. } => None,
        };
        let mut runs = Vec::new();
        for (number, attack) in ATTACKS.iter().enumerate() {
            if !self.selects(number, attack) {
                continue;
            }
            let unknown = attack.settings.iter().find(|setting| {
                let name = setting.split('=').next().unwrap_or_default();
                known.as_ref().is_some_and(|known| !known.contains(name))
            });
            if let Some(setting) = unknown {
                return Err(format!("{}: the program has no setting {setting}", attack.name).into());
            }
            runs.extend(self.places(attack).map(|place| (attack, place)));
        }
        if runs.is_empty() {
            return Err("no attack has this name, row, runtime and transport; see --list".into());
        }
        // The attacks that need the whole machine come last.
        runs.sort_by_key(|(attack, _)| attack.weight != Weight::Light);
        let other = self.target.is_some();
        let patience = self.patience.or(other.then_some(PATIENCE)).map(Duration::from_secs);
        Ok(Plan {
            target,
            options: Options { connections, attackers: None, patience, busy: false },
            // They would share the memory of one process.
            lanes: if other { 1 } else { self.lanes.max(1) },
            runs,
        })
    }

    fn selects(&self, number: usize, attack: &Attack) -> bool {
        let named = |only: &String| {
            if ATTACKS.iter().any(|other| other.name == only) {
                return attack.name == only;
            }
            attack.name.contains(only.as_str()) || attack.row.split(", ").any(|row| row == only)
        };
        if self.target.is_some() {
            // What needs the program's own options or process can't be played.
            let own = attack.descriptors.is_some() || attack.files || attack.stops;
            return !own
                && if self.only.is_empty() { number < SEVEN } else { self.only.iter().any(named) };
        }
        self.only.is_empty() || self.only.iter().any(named)
    }

    fn places(&self, attack: &'static Attack) -> impl Iterator<Item = Place> {
        let (runtime, tls, other) = (self.runtime, self.tls, self.target.is_some());
        Place::ALL.into_iter().filter(move |place| {
            if other {
                let tls = tls.unwrap_or(false);
                return *place == Place { runtime: Runtime::Tokio, tls }
                    && attack.places.suits(place.tls);
            }
            let fits = runtime.is_none_or(|runtime| runtime == place.runtime)
                && tls.is_none_or(|tls| tls == place.tls);
            // A place that was asked for is played, if the attack makes sense there.
            fits && (attack.places.has(*place)
                || runtime.is_some() && attack.places.suits(place.tls))
        })
    }
}
