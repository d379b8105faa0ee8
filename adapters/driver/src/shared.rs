//! What all connections of a server share. The service is not here: each connection has its own clone.

use crate::access::Hook;
use crate::address::Address;
use crate::admission::Admission;
use crate::control::Control;
use crate::live_config::LiveConfig;
use crate::proxy_protocol::{self, ProxySource};
use crate::roster::Roster;
use crate::stats::Stats;
use portcullis::{Config, Stress};
use std::sync::{Arc, OnceLock};

/// The configuration, the counters, and the orders to connections.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    /// The configuration under each [stress](Stress::index), once it was needed.
    stressed: [OnceLock<Arc<Config>>; Stress::COUNT],
    pub(crate) stats: Arc<Stats>,
    pub(crate) control: Arc<Control>,
    /// Other servers may share it, like the counters.
    pub(crate) admission: Arc<Admission>,
    pub(crate) tell_peer: bool,
    /// The proxies that begin their connections with a header of the PROXY protocol.
    pub(crate) proxies: Arc<[ProxySource]>,
    /// What is told of each request when it is over.
    pub(crate) access_log: Option<Hook>,
    /// The list of open connections, if anybody wants one.
    pub(crate) roster: Option<Arc<Roster>>,
}

/// What servers and connections are told before they begin.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) live: LiveConfig,
    pub(crate) stats: Arc<Stats>,
    /// `None`: a gate of its own.
    pub(crate) admission: Option<Arc<Admission>>,
    pub(crate) tell_peer: bool,
    pub(crate) proxies: Arc<[ProxySource]>,
    pub(crate) access_log: Option<Hook>,
    pub(crate) roster: Option<Arc<Roster>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            live: LiveConfig::new(Arc::default()),
            stats: Arc::default(),
            admission: None,
            tell_peer: false,
            proxies: Arc::default(),
            access_log: None,
            roster: None,
        }
    }
}

impl Settings {
    /// What the connections share from now on. If there is no gate for them, `gate` makes one.
    pub(crate) fn begin(self, gate: impl FnOnce(&Arc<Config>) -> Admission) -> Shared {
        let config = self.live.get();
        let admission = self.admission.unwrap_or_else(|| Arc::new(gate(&config)));
        Shared {
            stats: self.stats,
            tell_peer: self.tell_peer,
            proxies: self.proxies,
            access_log: self.access_log,
            roster: self.roster,
            ..Shared::new(config, admission)
        }
    }
}

impl Shared {
    /// The shared state of connections behind this gate, and with counters of their own.
    pub(crate) fn new(config: Arc<Config>, admission: Arc<Admission>) -> Self {
        Shared {
            config,
            stressed: Default::default(),
            stats: Arc::default(),
            control: Arc::default(),
            admission,
            tell_peer: false,
            proxies: Arc::default(),
            access_log: None,
            roster: None,
        }
    }

    /// The same with another configuration, for connections that begin later.
    pub(crate) fn with_config(&self, config: Arc<Config>) -> Self {
        Shared {
            config,
            stressed: Default::default(),
            stats: self.stats.clone(),
            control: self.control.clone(),
            admission: self.admission.clone(),
            tell_peer: self.tell_peer,
            proxies: self.proxies.clone(),
            access_log: self.access_log.clone(),
            roster: self.roster.clone(),
        }
    }

    /// The configuration under this stress.
    #[cold]
    pub(crate) fn stressed(&self, stress: Stress) -> Arc<Config> {
        let usual = || self.config.clone();
        if stress == Stress::NONE {
            return usual();
        }
        let made = self.stressed.get(stress.index());
        made.map_or_else(usual, |made| {
            made.get_or_init(|| Arc::new(self.config.stressed(stress))).clone()
        })
    }

    /// Whether the peer begins its connections with a header of the PROXY protocol.
    pub(crate) fn is_proxy(&self, peer: &Address) -> bool {
        proxy_protocol::is_proxy(&self.proxies, peer)
    }
}
