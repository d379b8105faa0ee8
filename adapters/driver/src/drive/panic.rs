//! Getting over a panic of the application's: its request is answered for, and the connection ends.

use super::Drive;
use crate::runtime::Timer;
use crate::service::Service;
use crate::socket::Socket;
use portcullis::{CloseReason, Tick};

impl<T: Timer, I: Socket, S: Service<K>, K> Drive<T, I, S, K> {
    /// Whether there is a way to go on behind a panic, one of so many within a poll. What was read and
    /// not looked at is held, as behind any turn.
    #[cold]
    pub(super) fn recovers(&mut self, now: Tick, panics: &mut u32) -> bool {
        *panics += 1;
        match *panics {
            1 => self.exchanges.panicked(now, &mut self.connection),
            // A second one is not answered for.
            _ => self.connection.abort(now, CloseReason::Aborted),
        }
        *panics < 3
    }
}
