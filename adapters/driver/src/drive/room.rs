//! Makes room for a newcomer: a connection that would lose nothing leaves.

use super::Drive;
use crate::admission::Standing;
use crate::runtime::Timer;
use crate::service::Service;
use crate::socket::Socket;
use portcullis::{CloseReason, Phase, Tick};

impl<T: Timer, I: Socket, S: Service<K>, K> Drive<T, I, S, K> {
    /// What the connection would lose by leaving now; `None` if it is busy.
    pub(super) fn standing(&self) -> Option<Standing> {
        if self.connection.is_idle() {
            let fresh = self.connection.requests() == 0;
            return Some(if fresh { Standing::Fresh } else { Standing::Idle });
        }
        if self.is_dispensable() {
            return Some(Standing::Gone);
        }
        let status = self.connection.status();
        (status.is_lingering() && !status.write).then_some(Standing::Lingering)
    }

    /// Tells the connection's standing after a poll. `requests` says whether requests came in it.
    #[inline]
    pub(super) fn stand(&mut self, phase: Phase, requests: bool, now: Tick) {
        if phase != Phase::Idle || !self.membership.is_idle(requests, now) {
            // Nearly all websockets are busy, so they need no closer look.
            let is_busy = phase == Phase::WebSocket && !self.connection.is_half_closed();
            let standing = if is_busy { None } else { self.standing() };
            self.membership.stand(&self.shared, standing, now);
        }
    }

    /// Whether the peer has ended the connection, and only the handler keeps it.
    fn is_dispensable(&self) -> bool {
        let connection = &self.connection;
        connection.is_half_closed() && self.exchanges.is_busy() && !connection.status().write
    }

    /// Begins to leave if the connection was asked to and may. Returns whether it leaves.
    #[cold]
    pub(super) fn make_room(&mut self, now: Tick, leaves: &mut bool) -> bool {
        if !*leaves {
            // A peer that is sending something must not lose its answer.
            let silent = self.exchanges.allowance.is_untouched();
            let standing = self.standing().filter(|it| silent || *it != Standing::Lingering);
            if !self.membership.has_to_leave(&self.shared, standing, now) {
                return false;
            }
        }
        // If the peer does not even take the end, the connection is cut.
        if std::mem::replace(leaves, true) || !self.connection.close_idle(now) {
            self.connection.abort(now, CloseReason::MadeRoom);
        }
        true
    }
}
