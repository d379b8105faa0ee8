//! The content of one request while it arrives: what the application has asked for, what is allowed,
//! and the guard over the peer. Only a request with content has one.

use crate::rate::Rate;
use crate::time::Tick;
use crate::transport::Transport;

#[derive(Debug)]
pub(super) struct Upload {
    guard: Rate,
    /// How much content the application may be given.
    pub(super) credit: u64,
    /// How much more content the request may have.
    pub(super) limit: u64,
}

impl Upload {
    pub(super) fn new(transport: &Transport) -> Box<Self> {
        Box::new(Upload {
            guard: Rate::new(transport.config.request_body_minimum(), transport.now),
            credit: 0,
            limit: transport.config.request_body_limit().unwrap_or(u64::MAX),
        })
    }

    /// The application waits for content. Until when the peer has to send some.
    pub(super) fn wait(&mut self, transport: &Transport) -> Tick {
        self.guard.resume(transport.now);
        self.guard.deadline(transport.config.request_body_minimum(), transport.ahead())
    }

    /// Nobody waits for content.
    pub(super) fn rest(&mut self, now: Tick) {
        self.guard.pause(now);
    }

    /// The application has given up waiting. The time that the peer was charged for is void.
    pub(super) fn cancel(&mut self, transport: &Transport) {
        self.credit = 0;
        self.guard = Rate::new(transport.config.request_body_minimum(), transport.now);
    }

    /// Content is delivered.
    pub(super) fn deliver(&mut self, transport: &Transport, bytes: usize) {
        self.credit = self.credit.saturating_sub(bytes as u64);
        self.limit = self.limit.saturating_sub(bytes as u64);
        self.guard.progress(transport.config.request_body_minimum(), bytes, transport.now);
    }

    /// Bytes arrived that may become content.
    pub(super) fn hear(&mut self, transport: &Transport) {
        self.guard.hear(transport.config.request_body_minimum(), transport.now);
    }
}
