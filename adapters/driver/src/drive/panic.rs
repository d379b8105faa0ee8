//! Recovers from a panic of the application: its request is answered, and the connection ends.

use super::Drive;
use crate::runtime::Timer;
use crate::service::Service;
use crate::socket::Socket;
use portcullis::{CloseReason, Tick};

impl<T: Timer, I: Socket, S: Service<K>, K> Drive<T, I, S, K> {
    /// Handles a panic, one of `panics` within this poll. Returns whether the connection can go on. Bytes
    /// that were read and not looked at are held, as after any turn.
    #[cold]
    pub(super) fn recovers(&mut self, now: Tick, panics: &mut u32) -> bool {
        *panics += 1;
        match *panics {
            1 => self.exchanges.panicked(now, &mut self.connection),
            // The connection does not survive a second panic.
            _ => self.connection.abort(now, CloseReason::Aborted),
        }
        *panics < 3
    }
}
