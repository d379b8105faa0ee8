//! The credit, the limit and the minimum rate of a request's content while it arrives. Only a request
//! with content has an [`Upload`].

use crate::rate::Rate;
use crate::time::Tick;
use crate::transport::Transport;

#[derive(Debug)]
pub(super) struct Upload {
    guard: Rate,
    /// Bytes of content that the application has asked for.
    pub(super) credit: u64,
    /// Bytes of content that the request may still have.
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

    /// The application waits for content: returns the deadline until which the peer has to send some.
    pub(super) fn wait(&mut self, transport: &Transport) -> Tick {
        self.guard.resume(transport.now);
        self.guard.deadline(transport.config.request_body_minimum(), transport.ahead())
    }

    /// The application does not wait for content: the peer's time stops.
    pub(super) fn rest(&mut self, now: Tick) {
        self.guard.pause(now);
    }

    /// The application no longer waits for content. The time charged to the peer is void.
    pub(super) fn cancel(&mut self, transport: &Transport) {
        self.credit = 0;
        self.guard = Rate::new(transport.config.request_body_minimum(), transport.now);
    }

    /// Content was delivered: uses up credit and limit, and counts as progress of the peer.
    pub(super) fn deliver(&mut self, transport: &Transport, bytes: usize) {
        self.credit = self.credit.saturating_sub(bytes as u64);
        self.limit = self.limit.saturating_sub(bytes as u64);
        self.guard.progress(transport.config.request_body_minimum(), bytes, transport.now);
    }

    /// Bytes arrived that may become content: the peer is not silent.
    pub(super) fn hear(&mut self, transport: &Transport) {
        self.guard.hear(transport.config.request_body_minimum(), transport.now);
    }
}
