//! The credit, the limit and the minimum rate of a request's content while it arrives. Only a request
//! with content has an [`Upload`].

use crate::rate::Rate;
use crate::time::Tick;
use crate::transport::Transport;
use core::mem::replace;
use core::time::Duration;

/// How the client is expected to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as it can: a minimum rate counts.
    Steady,
    /// When it has something to say: no minimum rate counts, and silence does.
    Sporadic,
    /// These are the peer's bytes of a tunnel: only silence in both directions counts.
    Tunnel,
}

#[derive(Debug)]
pub(crate) struct Upload {
    guard: Rate,
    /// Bytes of content that were delivered.
    delivered: u64,
    /// Bytes of content that may be delivered in all. Credit is given, and never taken back.
    granted: u64,
    /// The application waits for content: it has given credit, and has not cancelled the wait.
    awaited: bool,
    pub(crate) pace: Pace,
    /// Since when the application has waited and nothing has passed through the tunnel; [`Tick::NEVER`] if it
    /// does not wait, or something has passed just now.
    quiet: Tick,
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
            pace: Pace::Steady,
            quiet: Tick::NEVER,
            limit: transport.config.request_body_limit().unwrap_or(u64::MAX),
            time: transport.config.request_body_deadline(),
        })
    }

    /// The peer's direction of a tunnel.
    pub(crate) fn of_tunnel(transport: &Transport) -> Box<Self> {
        let mut upload = Upload::new(transport);
        (upload.pace, upload.limit) = (Pace::Tunnel, u64::MAX);
        upload
    }

    /// The application waits for content: returns the deadline until which the peer has to send some.
    pub(crate) fn wait(&mut self, transport: &Transport) -> Tick {
        let has_rested = self.guard.has_paused(transport.now);
        self.guard.resume(transport.now);
        let minimum = transport.config.request_body_minimum();
        match self.pace {
            Pace::Steady => self.guard.deadline(minimum, transport.ahead()),
            Pace::Sporadic => self.guard.silence(minimum, transport.now),
            Pace::Tunnel => {
                // A rest without duration is none, so that it does not matter how often the timers are looked at.
                if has_rested || self.quiet == Tick::NEVER {
                    self.quiet = transport.now;
                }
                self.quiet.after(transport.config.tunnel_idle_timeout())
            }
        }
    }

    /// The application does not wait for content: the peer's time stops.
    pub(crate) fn rest(&mut self, now: Tick) {
        self.guard.pause(now);
    }

    /// Something has passed through the tunnel, in either direction.
    pub(crate) fn moved(&mut self) {
        self.quiet = Tick::NEVER;
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
            self.moved();
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
        self.moved();
    }

    /// Bytes arrived that may become content: the peer is not silent.
    pub(crate) fn hear(&mut self, transport: &Transport) {
        self.guard.hear(transport.config.request_body_minimum(), transport.now);
        self.moved();
    }
}
