//! Leaving: a connection that would lose nothing makes room for a newcomer.

use super::Drive;
use crate::admission::Standing;
use crate::runtime::Timer;
use crate::service::Service;
use crate::socket::Socket;
use portcullis::{CloseReason, Phase, Tick};

impl<T: Timer, I: Socket, S: Service<K>, K> Drive<T, I, S, K> {
    /// What the connection would lose by leaving now; nothing is said of one that is busy.
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

    /// Says how it stands behind a poll in which there were `requests` or not.
    #[inline]
    pub(super) fn stand(&mut self, phase: Phase, requests: bool, now: Tick) {
        if phase != Phase::Idle || !self.membership.is_idle(requests, now) {
            // Nearly all websockets: what they would lose needs no closer look.
            let is_busy = phase == Phase::WebSocket && !self.connection.is_half_closed();
            let standing = if is_busy { None } else { self.standing() };
            self.membership.stand(&self.shared, standing, now);
        }
    }

    /// The peer has ended the connection, and only the handler keeps it.
    fn is_dispensable(&self) -> bool {
        let connection = &self.connection;
        connection.is_half_closed() && self.exchanges.is_busy() && !connection.status().write
    }

    /// Begins to leave if it was asked to and stands so that it may; true if it does.
    #[cold]
    pub(super) fn make_room(&mut self, now: Tick, leaves: &mut bool) -> bool {
        if !*leaves {
            // A peer that sends something just now is not to lose its answer.
            let silent = self.exchanges.allowance.is_untouched();
            let standing = self.standing().filter(|it| silent || *it != Standing::Lingering);
            if !self.membership.has_to_leave(&self.shared, standing, now) {
                return false;
            }
        }
        // A peer that does not even take the end is not waited for.
        if std::mem::replace(leaves, true) || !self.connection.close_idle(now) {
            self.connection.abort(now, CloseReason::MadeRoom);
        }
        true
    }
}
