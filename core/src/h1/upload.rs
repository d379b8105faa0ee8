//! The content of one request while it arrives: what the application has asked for, what is allowed,
//! and the guard over the peer. Only a request with content has one.

use crate::common::Common;
use crate::rate::Rate;
use crate::time::Tick;

#[derive(Debug)]
pub(super) struct Upload {
    guard: Rate,
    /// How much content the application may be given.
    pub(super) credit: u64,
    /// How much more content the request may have.
    pub(super) limit: u64,
}

impl Upload {
    pub(super) fn new(common: &Common) -> Box<Self> {
        Box::new(Upload {
            guard: Rate::new(common.config.request_body_minimum(), common.now),
            credit: 0,
            limit: common.config.request_body_limit().unwrap_or(u64::MAX),
        })
    }

    /// The application waits for content. Until when the peer has to send some.
    pub(super) fn wait(&mut self, common: &Common) -> Tick {
        self.guard.resume(common.now);
        self.guard.deadline(common.config.request_body_minimum(), common.ahead())
    }

    /// Nobody waits for content.
    pub(super) fn rest(&mut self, now: Tick) {
        self.guard.pause(now);
    }

    /// The application has given up waiting. The time that the peer was charged for is void.
    pub(super) fn cancel(&mut self, common: &Common) {
        self.credit = 0;
        self.guard = Rate::new(common.config.request_body_minimum(), common.now);
    }

    /// Content is delivered.
    pub(super) fn deliver(&mut self, common: &Common, bytes: usize) {
        self.credit = self.credit.saturating_sub(bytes as u64);
        self.limit = self.limit.saturating_sub(bytes as u64);
        self.guard.progress(common.config.request_body_minimum(), bytes, common.now);
    }

    /// Bytes arrived that may become content.
    pub(super) fn hear(&mut self, common: &Common) {
        self.guard.hear(common.config.request_body_minimum(), common.now);
    }
}
