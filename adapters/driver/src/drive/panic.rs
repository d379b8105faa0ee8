//! Recovers from a panic of the application: its request is answered, and the connection takes no new ones.
//! Other streams go on.

use super::Drive;
use crate::runtime::Timer;
use crate::service::Service;
use crate::socket::Socket;
use portcullis::{CloseReason, Tick};

impl<T: Timer, I: Socket, S: Service<K>, K> Drive<T, I, S, K> {
    /// Handles a panic. `aborts` counts those within this poll that have cost the connection. Returns whether
    /// the poll can go on. Bytes that were read and not looked at are held, as after any turn.
    #[cold]
    pub(super) fn recovers(&mut self, now: Tick, aborts: &mut u32) -> bool {
        if *aborts == 0 && self.exchanges.panicked(now, &mut self.connection) {
            return true;
        }
        *aborts += 1;
        if *aborts == 2 {
            self.connection.abort(now, CloseReason::Aborted);
        }
        *aborts < 3
    }
}
