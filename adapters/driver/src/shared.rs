//! What all connections of a server share.

use crate::admission::Admission;
use crate::control::Control;
use crate::stats::Stats;
use portcullis::Config;
use std::sync::Arc;

/// The configuration, the service, and where they are counted and told what to do.
pub(crate) struct Shared<S> {
    pub(crate) config: Arc<Config>,
    pub(crate) service: S,
    pub(crate) stats: Arc<Stats>,
    pub(crate) control: Control,
    /// May be shared with other servers, as the counters may.
    pub(crate) admission: Arc<Admission>,
    pub(crate) tell_peer: bool,
}
