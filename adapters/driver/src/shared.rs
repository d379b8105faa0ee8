//! What all connections of a server share. The service is not here: each connection has its own clone.

use crate::admission::Admission;
use crate::control::Control;
use crate::stats::Stats;
use portcullis::{Config, ConnectionLimit};
use std::sync::Arc;

/// The configuration, the counters, and the orders to connections.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) control: Control,
    /// Other servers may share it, like the counters.
    pub(crate) admission: Arc<Admission>,
    pub(crate) tell_peer: bool,
}

impl Shared {
    /// The shared state of connections with these places, and with counters of their own.
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
