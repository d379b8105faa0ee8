//! Getting over a panic of the application's: its request is answered for, and the connection ends.

use super::Drive;
use crate::guard::guarded;
use crate::runtime::Runtime;
use crate::scratch;
use crate::service::Service;
use portcullis::{CloseReason, Tick};
use std::task::{Context, Poll};

impl<R: Runtime, S: Service<K>, K> Drive<R, S, K> {
    /// Goes on behind a panic. What was read and not looked at is held, as behind any turn.
    #[cold]
    pub(super) fn recover(&mut self, cx: &mut Context<'_>, now: Tick) -> Poll<()> {
        self.exchange.panicked(now, &mut self.connection);
        for _ in 0..2 {
            if let Some(polled) = guarded(|| self.take_turn_again(cx, now)) {
                return polled;
            }
            // A second one is not answered for.
            self.connection.abort(now, CloseReason::Aborted);
        }
        Poll::Ready(())
    }

    fn take_turn_again(&mut self, cx: &mut Context<'_>, now: Tick) -> Poll<()> {
        scratch::with(|scratch| {
            let polled = self.attend_again(cx, now, scratch);
            scratch.take_back(&mut self.connection);
            self.count(now);
            polled
        })
    }
}
