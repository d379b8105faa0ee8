//! The minimum rate at which a peer has to move bytes, measured only while we wait for it.
//!
//! In: when waiting begins and pauses, and how many bytes moved. Out: the tick at which the peer
//! has fallen behind. Kestrel's `MinDataRate` (240 B/s after 5 s) is the model for the figures.
//!
//! Two conditions end a wait, whichever lasts longer: the grace period, which every wait gets once,
//! and the time that the bytes moved so far have paid for at the minimum rate. What is paid ahead
//! is capped at the grace period, so that a burst buys no long silence, and everybody may be up to
//! two seconds behind, so that a peer which sends a second's worth once a second is not cut off.

use crate::time::{Tick, nanos};
use core::time::Duration;

const SECOND: u64 = 1_000_000_000;
/// How far behind everybody may be.
const SLACK: u64 = 2 * SECOND;

/// The setting: how fast, and from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinimumRate {
    /// How long the peer may take before the rate counts, and the longest silence afterwards.
    pub grace: Duration,
    /// Bytes per second; at least 1.
    pub bytes_per_second: u64,
    /// The longest pause after the first byte.
    pub silence: Duration,
}

/// One direction's guard. Time counts only between [`Rate::resume`] and [`Rate::pause`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    grace_until: Tick,
    paid_until: Tick,
    /// When waiting stopped; [`Tick::NEVER`] while it goes on.
    paused: Tick,
}

impl Rate {
    /// A guard with all of its grace left, paused.
    pub(crate) fn new(minimum: MinimumRate, now: Tick) -> Self {
        let grace = nanos(minimum.grace);
        Rate {
            grace_until: now.after_nanos(grace),
            paid_until: now.after_nanos(grace.min(SLACK)),
            paused: now,
        }
    }

    /// A guard with all of its grace left, over a wait that begins.
    pub(crate) fn running(minimum: MinimumRate, now: Tick) -> Self {
        Rate { paused: Tick::NEVER, ..Rate::new(minimum, now) }
    }

    /// We wait for the peer from now on.
    pub(crate) fn resume(&mut self, now: Tick) {
        if self.paused != Tick::NEVER {
            let pause = nanos(now.since(self.paused));
            self.grace_until = self.grace_until.after_nanos(pause);
            self.paid_until = self.paid_until.after_nanos(pause);
            self.paused = Tick::NEVER;
        }
    }

    /// We no longer wait for the peer.
    pub(crate) fn pause(&mut self, now: Tick) {
        if self.paused == Tick::NEVER {
            self.paused = now;
        }
    }

    /// The peer moved `bytes`.
    pub(crate) fn progress(&mut self, minimum: MinimumRate, bytes: usize, now: Tick) {
        // Anything from here on pays for the whole cap; it keeps the product within 64 bits.
        let bytes = (bytes as u64).min(u64::MAX / SECOND);
        let paid = bytes * SECOND / minimum.bytes_per_second.max(1);
        let from = if self.paused == Tick::NEVER { now } else { self.paused };
        let cap = from.after(minimum.grace);
        self.paid_until = self.paid_until.after_nanos(paid).min(cap);
    }

    /// When the peer has fallen behind; meaningful while waiting.
    pub(crate) fn deadline(&self) -> Tick {
        self.grace_until.max(self.paid_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMUM: MinimumRate = MinimumRate {
        grace: Duration::from_secs(5),
        bytes_per_second: 240,
        silence: Duration::from_secs(30),
    };

    fn at(milliseconds: u64) -> Tick {
        Tick::from_nanos(milliseconds * 1_000_000)
    }

    fn waiting() -> Rate {
        let mut rate = Rate::new(MINIMUM, at(0));
        rate.resume(at(0));
        rate
    }

    #[test]
    fn silence_ends_with_the_grace() {
        assert_eq!(waiting().deadline(), at(5_000));
    }

    #[test]
    fn exactly_the_rate_lives() {
        let mut rate = waiting();
        for second in 1..10_000 {
            let now = at(second * 1_000);
            assert!(rate.deadline() > now, "second {second}");
            rate.progress(MINIMUM, 240, now);
        }
    }

    #[test]
    fn one_byte_below_goes() {
        let mut rate = waiting();
        let gone = (1..1_000).find(|second| {
            let now = at(second * 1_000);
            let gone = rate.deadline() <= now;
            rate.progress(MINIMUM, 239, now);
            gone
        });
        assert_eq!(
            gone,
            Some(241),
            "a second more than needed lasts for 240 seconds at 1/240 short"
        );
    }

    #[test]
    fn half_the_rate_goes_at_the_end_of_the_grace() {
        let mut rate = waiting();
        for second in 1..5 {
            rate.progress(MINIMUM, 120, at(second * 1_000));
        }
        assert_eq!(rate.deadline(), at(5_000));
    }

    #[test]
    fn a_burst_buys_no_more_than_the_grace() {
        let mut rate = waiting();
        rate.progress(MINIMUM, usize::MAX, at(1_000));
        assert_eq!(rate.deadline(), at(6_000));
        rate.progress(MINIMUM, 1 << 30, at(5_999));
        assert_eq!(rate.deadline(), at(10_999));
    }

    #[test]
    fn pauses_do_not_count_and_do_not_renew_the_grace() {
        let mut rate = waiting();
        rate.pause(at(3_000));
        rate.pause(at(4_000));
        rate.resume(at(3_600_000));
        assert_eq!(rate.deadline(), at(3_602_000));
    }
}
