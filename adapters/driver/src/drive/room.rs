//! What the connection is worth to the gate, and how it leaves when others need its place.

use super::Drive;
use crate::membership::News;
use crate::runtime::Timer;
use crate::service::Service;
use crate::socket::Socket;
use portcullis::gate::Standing;
use portcullis::{CloseReason, Party, Phase, Tick};

impl<T: Timer, I: Socket, S: Service<K>, K> Drive<T, I, S, K> {
    /// What the connection would lose by leaving now.
    pub(super) fn standing(&mut self, phase: Phase) -> Standing {
        if self.connection.is_idle() {
            let fresh = self.connection.requests() == 0;
            return if fresh { Standing::Fresh } else { Standing::Idle };
        }
        if self.is_dispensable() {
            return Standing::Gone;
        }
        let status = self.connection.status();
        if status.is_lingering() && !status.write {
            return Standing::Lingering;
        }
        match self.connection.waits_for() {
            // Within a message a websocket waits for its peer as well, but it is worth more than a request.
            Party::Peer if phase != Phase::WebSocket || status.write => Standing::Waiting,
            _ => Standing::Working,
        }
    }

    /// Tells the connection's standing, and the `bytes` that are held for it, after a poll. `requests` says
    /// whether requests came in it.
    #[inline]
    pub(super) fn stand(&mut self, phase: Phase, bytes: usize, requests: bool, now: Tick) {
        if phase != Phase::Idle || !self.membership.is_idle(requests, now) {
            let standing = self.standing(phase);
            let is_handshaking = self.connection.is_handshaking();
            let news = News { standing, bytes, is_handshaking };
            self.membership.tell(&self.shared, news, now);
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
            // A peer that is sending or taking something must not lose its answer.
            let silent = self.exchanges.allowance.is_untouched();
            let phase = self.connection.phase();
            let willing = match self.standing(phase) {
                Standing::Working => false,
                Standing::Waiting | Standing::Lingering => silent,
                Standing::Idle | Standing::Fresh | Standing::Gone => true,
            };
            if !self.membership.has_to_leave(&self.shared, willing, now) {
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
