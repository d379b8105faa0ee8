//! What all connections of a server share, except for the service: each connection has its own clone.

use crate::admission::Admission;
use crate::control::Control;
use crate::stats::Stats;
use portcullis::{Config, ConnectionLimit};
use std::sync::Arc;

/// The configuration, and where connections are counted and told what to do.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) control: Control,
    /// May be shared with other servers, as the counters may.
    pub(crate) admission: Arc<Admission>,
    pub(crate) tell_peer: bool,
}

impl Shared {
    /// What connections share that have so many places, and counters of their own.
    pub(crate) fn new(config: Arc<Config>, places: ConnectionLimit) -> Self {
        Shared {
            config,
            stats: Arc::default(),
            control: Control::default(),
            admission: Arc::new(Admission::new(places)),
            tell_peer: false,
        }
    }
}
