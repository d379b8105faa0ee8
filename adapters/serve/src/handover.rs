//! Hands the port over to another process that listens on it, when this one is told to stop.

use crate::listen::Bound;
use portcullis_driver::handover;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The time for handshakes under way: a round trip to clients far away, and one lost packet of theirs.
const ROUND_TRIP: Duration = Duration::from_secs(1);

/// The listeners with `SO_REUSEPORT`. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handover(Arc<Mutex<Vec<TcpListener>>>);

impl Handover {
    /// These listeners are handed over as well.
    pub(crate) fn add(&self, listeners: &[Bound]) {
        let tcp = listeners.iter().filter_map(|listener| match listener {
            Bound::Tcp(listener) => listener.try_clone().ok(),
            #[cfg(unix)]
            Bound::Unix(_) => None,
        });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(tcp);
    }

    /// Begins no more handshakes on the listeners, if others listen on their ports, and waits for those under
    /// way. The servers go on accepting meanwhile.
    pub(crate) fn begin(&self) {
        let listeners = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut waits = false;
        for listener in &listeners {
            match handover::turn_away(listener) {
                Ok(turned_away) => waits |= turned_away,
                Err(error) => {
                    tracing::warn!(%error, "connections may be lost in the handover of a port")
                }
            }
        }
        // A listener closes only with its last descriptor.
        drop(listeners);
        if waits {
            thread::sleep(ROUND_TRIP);
        }
    }

    /// Whether there is anything to hand over.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
