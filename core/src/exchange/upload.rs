//! The credit, the limit and the minimum rate of a request's content while it arrives. Only a request
//! with content has an [`Upload`].

use crate::rate::Rate;
use crate::time::Tick;
use crate::transport::Transport;
use core::mem::replace;
use core::time::Duration;

#[derive(Debug)]
pub(crate) struct Upload {
    guard: Rate,
    /// Bytes of content that were delivered.
    delivered: u64,
    /// Bytes of content that may be delivered in all. Credit is given, and never taken back.
    granted: u64,
    /// The application waits for content: it has given credit, and has not cancelled the wait.
    awaited: bool,
    /// The client sends content when it has something to say: no minimum rate counts, and silence does.
    pub(crate) is_sporadic: bool,
    /// Bytes of content that the request may still have.
    pub(crate) limit: u64,
    /// How long the whole content may take.
    time: Option<Duration>,
}

impl Upload {
    pub(crate) fn new(transport: &Transport) -> Box<Self> {
        Box::new(Upload {
            guard: Rate::new(transport.config.request_body_minimum(), transport.now),
            delivered: 0,
            granted: 0,
            awaited: false,
            is_sporadic: false,
            limit: transport.config.request_body_limit().unwrap_or(u64::MAX),
            time: transport.config.request_body_deadline(),
        })
    }

    /// The application waits for content: returns the deadline until which the peer has to send some.
    pub(crate) fn wait(&mut self, transport: &Transport) -> Tick {
        self.guard.resume(transport.now);
        if self.is_sporadic {
            return self.guard.silence(transport.config.request_body_minimum(), transport.now);
        }
        self.guard.deadline(transport.config.request_body_minimum(), transport.ahead())
    }

    /// The application does not wait for content: the peer's time stops.
    pub(crate) fn rest(&mut self, now: Tick) {
        self.guard.pause(now);
    }

    /// Bytes of content that were delivered.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Bytes of content that the application has given credit for, and that were not delivered.
    #[inline(always)]
    pub(crate) fn credit(&self) -> u64 {
        self.granted.saturating_sub(self.delivered)
    }

    /// Whether the application waits for content.
    #[inline(always)]
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// The application takes content up to byte `end`. Returns whether it waits for some.
    pub(crate) fn grant(&mut self, end: u64) -> bool {
        self.granted = self.granted.max(end);
        let waits = end > self.delivered;
        self.awaited |= waits;
        waits
    }

    /// The application no longer waits for content. The time charged to the peer is void.
    pub(crate) fn cancel(&mut self, transport: &Transport) {
        if replace(&mut self.awaited, false) {
            self.guard = Rate::new(transport.config.request_body_minimum(), transport.now);
            self.guard.restart_total(self.time, transport.now);
        }
    }

    /// The whole content has to come within `time`, counted from now on while the application waits for it.
    pub(crate) fn limit_time(&mut self, time: Option<Duration>, now: Tick) {
        self.time = time;
        self.guard.restart_total(time, now);
    }

    /// Content was delivered: uses up credit and limit, and counts as progress of the peer. The wait
    /// is over once the credit is used up.
    pub(crate) fn deliver(&mut self, transport: &Transport, bytes: usize) {
        self.delivered = self.delivered.saturating_add(bytes as u64);
        self.awaited &= self.delivered < self.granted;
        self.limit = self.limit.saturating_sub(bytes as u64);
        self.guard.progress(transport.config.request_body_minimum(), bytes, transport.now);
    }

    /// Bytes arrived that may become content: the peer is not silent.
    pub(crate) fn hear(&mut self, transport: &Transport) {
        self.guard.hear(transport.config.request_body_minimum(), transport.now);
    }
}
