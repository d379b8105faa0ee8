//! The minimum rate at which a peer has to move bytes, measured only while we wait for it.
//!
//! In: when waiting begins and pauses, and how many bytes moved. Out: the tick at which the peer
//! has fallen behind. Kestrel's `MinDataRate` (240 B/s after 5 s) is the model for the figures.
//!
//! A wait goes on as long as three conditions hold:
//!
//! - **Rate.** The bytes moved so far have paid for the time at the minimum rate, or the grace has
//!   not passed. A burst pays in full: 2 MB at 240 B/s pay for more than two hours. Every peer may
//!   be two seconds behind, so that one which sends a second's worth once a second is not cut.
//! - **Silence.** The last byte is no older than the silence allows. This counts from the first byte
//!   on; before it the grace is the limit. A peer's system takes a lump at a time, and takes the next
//!   one only when the peer has read the last. So after a lump the peer gets the time that the lump is
//!   worth at the minimum rate, at most four silences.
//! - **Total.** The deadline for the whole body or answer has not passed, if there is one.
//!
//! # The worst case
//!
//! To hold a body or an answer for a time T, an attacker has to move 240 B for each second of T, at
//! any time before. A byte within each silence has to come as well. At the defaults an hour costs
//! 864 kB and 120 single bytes. The 16 MiB that a request body may have are worth 19 hours.
//! `request_body_deadline` and `response_deadline` end that; `strict` sets `request_body_deadline`
//! to 10 minutes.

use crate::time::{Tick, nanos};
use core::time::Duration;

const SECOND: u64 = 1_000_000_000;
/// The time that every peer may be behind the minimum rate.
const SLACK: u64 = 2 * SECOND;

/// The settings of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MinimumRate {
    /// How long the peer may take before the rate counts.
    pub(crate) grace: Duration,
    /// Bytes per second; at least 1.
    pub(crate) bytes_per_second: u64,
    /// The longest pause after the first byte.
    pub(crate) silence: Duration,
    /// The longest time that the reading of a lump may take, during which no progress is seen.
    pub(crate) lump: Duration,
    /// How long the whole may take.
    pub(crate) total: Option<Duration>,
}

/// The guard of one direction. Time counts only between [`Rate::resume`] and [`Rate::pause`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    grace_until: Tick,
    paid_until: Tick,
    /// [`Tick::NEVER`] before the first byte.
    silent_until: Tick,
    total_until: Tick,
    /// When waiting stopped; [`Tick::NEVER`] while it goes on.
    paused: Tick,
}

/// A time that counts only while we wait for the peer, whatever the peer moves: between [`Span::resume`] and
/// [`Span::pause`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    until: Tick,
    /// When waiting stopped; [`Tick::NEVER`] while it goes on.
    paused: Tick,
}

impl Span {
    /// A paused span of this length; `None` never ends.
    pub(crate) fn new(time: Option<Duration>, now: Tick) -> Self {
        Span { until: time.map_or(Tick::NEVER, |time| now.after(time)), paused: now }
    }

    /// Begins, or goes on with, the wait for the peer. Returns when the span ends.
    pub(crate) fn resume(&mut self, now: Tick) -> Tick {
        if self.paused != Tick::NEVER {
            self.until = self.until.after_nanos(nanos(now.since(self.paused)));
            self.paused = Tick::NEVER;
        }
        self.until
    }

    /// Ends the wait for the peer.
    pub(crate) fn pause(&mut self, now: Tick) {
        if self.paused == Tick::NEVER {
            self.paused = now;
        }
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self, now: Tick) -> bool {
        self.paused == Tick::NEVER && self.until <= now
    }
}

impl MinimumRate {
    /// The time that `bytes` pay for, in nanoseconds.
    fn pays_for(self, bytes: u64) -> u64 {
        // The minimum keeps the product within 64 bits. It pays for 584 years.
        bytes.min(u64::MAX / SECOND) * SECOND / self.bytes_per_second.max(1)
    }

    /// Whether `bytes` pay for a wait of this length.
    pub(crate) fn is_met(self, bytes: u64, wait: Duration) -> bool {
        self.pays_for(bytes) >= nanos(wait)
    }
}

impl Rate {
    /// A paused guard with all of its grace left.
    pub(crate) fn new(minimum: MinimumRate, now: Tick) -> Self {
        let grace = nanos(minimum.grace);
        Rate {
            grace_until: now.after_nanos(grace),
            paid_until: now.after_nanos(grace.min(SLACK)),
            silent_until: Tick::NEVER,
            total_until: minimum.total.map_or(Tick::NEVER, |total| now.after(total)),
            paused: now,
        }
    }

    /// A running guard with all of its grace left.
    pub(crate) fn running(minimum: MinimumRate, now: Tick) -> Self {
        Rate { paused: Tick::NEVER, ..Rate::new(minimum, now) }
    }

    /// Begins, or goes on with, the wait for the peer.
    pub(crate) fn resume(&mut self, now: Tick) {
        if self.paused != Tick::NEVER {
            let pause = nanos(now.since(self.paused));
            for until in [
                &mut self.grace_until,
                &mut self.paid_until,
                &mut self.silent_until,
                &mut self.total_until,
            ] {
                *until = until.after_nanos(pause);
            }
            self.paused = Tick::NEVER;
        }
    }

    /// Begins a new wait for the peer: it gets the whole grace, and keeps the time that it has paid for.
    pub(crate) fn resume_anew(&mut self, minimum: MinimumRate, now: Tick) {
        self.resume(now);
        let fresh = Rate::running(minimum, now);
        self.grace_until = fresh.grace_until;
        self.paid_until = self.paid_until.max(fresh.paid_until);
        if self.silent_until != Tick::NEVER {
            self.silent_until = self.silent_until.max(now.after(minimum.silence));
        }
    }

    /// Counts a deadline for the whole from now on; `None` is none.
    pub(crate) fn restart_total(&mut self, total: Option<Duration>, now: Tick) {
        let from = if self.paused == Tick::NEVER { now } else { self.paused };
        self.total_until = total.map_or(Tick::NEVER, |total| from.after(total));
    }

    /// The same guard without a deadline for the whole.
    pub(crate) fn without_total(self) -> Self {
        Rate { total_until: Tick::NEVER, ..self }
    }

    /// Ends the wait for the peer.
    pub(crate) fn pause(&mut self, now: Tick) {
        if self.paused == Tick::NEVER {
            self.paused = now;
        }
    }

    /// The peer moved `bytes`.
    pub(crate) fn progress(&mut self, minimum: MinimumRate, bytes: usize, now: Tick) {
        let paid = minimum.pays_for(bytes as u64);
        self.paid_until = self.paid_until.after_nanos(paid);
        self.quiet(minimum, now, paid.min(nanos(minimum.lump)));
    }

    /// The peer moved bytes that may not count as content. It is not silent.
    pub(crate) fn hear(&mut self, minimum: MinimumRate, now: Tick) {
        self.quiet(minimum, now, 0);
    }

    /// Counts the silence from `more` nanoseconds after now. Nothing that a peer does shortens its time.
    fn quiet(&mut self, minimum: MinimumRate, now: Tick, more: u64) {
        let from = if self.paused == Tick::NEVER { now } else { self.paused };
        let until = from.after(minimum.silence).after_nanos(more);
        self.silent_until = match self.silent_until {
            Tick::NEVER => until,
            before => before.max(until),
        };
    }

    /// The deadline without a minimum rate: until when the peer may be silent, also before its first byte.
    pub(crate) fn silence(&mut self, minimum: MinimumRate, now: Tick) -> Tick {
        if !self.is_heard() {
            self.hear(minimum, now);
        }
        self.silent_until.min(self.total_until)
    }

    /// Whether there was no wait for the peer for some time before `now`.
    pub(crate) fn has_paused(&self, now: Tick) -> bool {
        self.paused < now
    }

    /// Whether the peer has moved anything yet.
    pub(crate) fn is_heard(&self) -> bool {
        self.silent_until != Tick::NEVER
    }

    /// The tick at which the peer falls behind, if `ahead` bytes of an incomplete record count as content.
    /// Meaningful only during a wait.
    pub(crate) fn deadline(&self, minimum: MinimumRate, ahead: usize) -> Tick {
        let paid_until = match ahead {
            0 => self.paid_until,
            _ => self.paid_until.after_nanos(minimum.pays_for(ahead as u64)),
        };
        self.grace_until.max(paid_until).min(self.silent_until).min(self.total_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMUM: MinimumRate = MinimumRate {
        grace: Duration::from_secs(5),
        bytes_per_second: 240,
        silence: Duration::from_secs(30),
        lump: Duration::ZERO,
        total: None,
    };

    fn at(milliseconds: u64) -> Tick {
        Tick::from_nanos(milliseconds * 1_000_000)
    }

    fn waiting() -> Rate {
        Rate::running(MINIMUM, at(0))
    }

    fn deadline(rate: &Rate) -> Tick {
        rate.deadline(MINIMUM, 0)
    }

    #[test]
    fn a_peer_that_sends_nothing_has_the_grace() {
        assert_eq!(deadline(&waiting()), at(5_000));
        // The silence may be shorter than the grace: it counts only from the first byte on.
        let minimum = MinimumRate { silence: Duration::from_secs(1), ..MINIMUM };
        assert_eq!(Rate::running(minimum, at(0)).deadline(minimum, 0), at(5_000));
    }

    #[test]
    fn exactly_the_rate_is_enough() {
        let mut rate = waiting();
        for second in 1..10_000 {
            let now = at(second * 1_000);
            assert!(deadline(&rate) > now, "second {second}");
            rate.progress(MINIMUM, 240, now);
        }
    }

    #[test]
    fn one_byte_a_second_too_few_is_cut() {
        let mut rate = waiting();
        let gone = (1..1_000).find(|second| {
            let now = at(second * 1_000);
            let gone = deadline(&rate) <= now;
            rate.progress(MINIMUM, 239, now);
            gone
        });
        assert_eq!(gone, Some(241), "a spare second lasts for 240 seconds at 1/240 too slow");
    }

    #[test]
    fn half_the_rate_is_cut_at_the_end_of_the_grace() {
        let mut rate = waiting();
        for second in 1..5 {
            rate.progress(MINIMUM, 120, at(second * 1_000));
        }
        assert_eq!(deadline(&rate), at(5_000));
    }

    #[test]
    fn a_burst_pays_in_full_and_silence_is_bounded_on_its_own() {
        let mut rate = waiting();
        rate.progress(MINIMUM, 240 * 3600, at(1_000));
        assert_eq!(deadline(&rate), at(31_000), "the silence");
        rate.progress(MINIMUM, 1, at(30_999));
        assert_eq!(deadline(&rate), at(60_999));
        for second in (60..3_600).step_by(29) {
            let now = at(second * 1_000);
            assert!(deadline(&rate) > now, "second {second}");
            rate.progress(MINIMUM, 0, now);
        }
        assert!(deadline(&rate) <= at(3_602_050), "no longer than the burst has paid for");
        rate.progress(MINIMUM, usize::MAX, at(3_600_000));
        assert_eq!(deadline(&rate), at(3_630_000));
    }

    #[test]
    fn a_lump_adds_the_time_to_read_it_to_the_silence() {
        let minimum = MinimumRate { lump: Duration::from_secs(120), ..MINIMUM };
        let mut rate = Rate::running(minimum, at(0));
        rate.progress(minimum, 240 * 600, at(1_000));
        assert_eq!(
            rate.deadline(minimum, 0),
            at(151_000),
            "four silences for the lump, and the silence itself"
        );
        rate.progress(minimum, 2_400, at(100_000));
        assert_eq!(
            rate.deadline(minimum, 0),
            at(151_000),
            "a small lump does not shorten the time"
        );
        rate.progress(minimum, 2_400, at(150_000));
        assert_eq!(rate.deadline(minimum, 0), at(190_000), "a small lump adds little time");
    }

    #[test]
    fn the_total_ends_a_wait_however_fast_it_moves() {
        let minimum = MinimumRate { total: Some(Duration::from_secs(60)), ..MINIMUM };
        let mut rate = Rate::running(minimum, at(0));
        rate.progress(minimum, 1 << 30, at(50_000));
        assert_eq!(rate.deadline(minimum, 0), at(60_000));
        rate.pause(at(50_000));
        rate.resume(at(90_000));
        assert_eq!(rate.deadline(minimum, 0), at(100_000), "our own pause does not count");
    }

    #[test]
    fn bytes_ahead_count_only_while_they_are_ahead() {
        let mut rate = waiting();
        assert_eq!(rate.deadline(MINIMUM, 2400), at(12_000));
        rate.hear(MINIMUM, at(1_000));
        assert_eq!(
            rate.deadline(MINIMUM, 240_000),
            at(31_000),
            "bytes ahead do not extend the silence"
        );
        assert_eq!(rate.deadline(MINIMUM, 0), at(5_000));
    }

    #[test]
    fn pauses_do_not_count_and_do_not_renew_the_grace() {
        let mut rate = waiting();
        rate.pause(at(3_000));
        rate.pause(at(4_000));
        rate.resume(at(3_600_000));
        assert_eq!(deadline(&rate), at(3_602_000));
        rate.progress(MINIMUM, 24_000, at(3_600_000));
        rate.pause(at(3_601_000));
        rate.progress(MINIMUM, 1, at(3_605_000));
        rate.resume(at(3_611_000));
        assert_eq!(deadline(&rate), at(3_641_000), "the whole silence after a pause");
    }

    #[test]
    fn a_new_wait_has_all_of_its_grace_and_what_was_paid() {
        let mut rate = waiting();
        rate.pause(at(4_000));
        rate.resume_anew(MINIMUM, at(10_000));
        assert_eq!(deadline(&rate), at(15_000));
        rate.progress(MINIMUM, 24_000, at(10_000));
        rate.pause(at(10_000));
        rate.resume_anew(MINIMUM, at(20_000));
        assert_eq!(deadline(&rate), at(50_000), "the silence");
        rate.pause(at(20_000));
        rate.resume_anew(MINIMUM, at(20_000));
        assert_eq!(deadline(&rate), at(50_000));
    }

    #[test]
    fn a_new_wait_renews_the_silence_and_the_slack() {
        // The last byte came long before the wait ended.
        let mut rate = waiting();
        rate.progress(MINIMUM, 240_000, at(10_000));
        rate.pause(at(39_000));
        rate.resume_anew(MINIMUM, at(100_000));
        assert_eq!(deadline(&rate), at(130_000));
        // The peer has paid nothing before this wait, so it starts afresh, and new bytes pay.
        let mut rate = waiting();
        rate.pause(at(4_000));
        rate.resume_anew(MINIMUM, at(10_000));
        rate.progress(MINIMUM, 2_400, at(10_000));
        assert_eq!(deadline(&rate), at(22_000));
    }

    #[test]
    fn a_total_that_begins_in_a_pause_counts_from_the_next_wait() {
        let minimum = MinimumRate { total: Some(Duration::from_secs(60)), ..MINIMUM };
        let mut rate = Rate::new(minimum, at(0));
        rate.restart_total(minimum.total, at(10_000));
        rate.resume(at(20_000));
        rate.progress(minimum, 240_000, at(70_000));
        assert_eq!(rate.deadline(minimum, 0), at(80_000));
        // Restarted within a wait, it counts from that moment. It can also be dropped.
        rate.restart_total(minimum.total, at(30_000));
        assert_eq!(rate.deadline(minimum, 0), at(90_000));
        assert_eq!(rate.without_total().deadline(minimum, 0), at(100_000), "the silence");
        rate.restart_total(None, at(30_000));
        assert_eq!(rate.deadline(minimum, 0), at(100_000), "the silence");
    }

    #[test]
    fn a_span_counts_only_while_it_is_not_paused() {
        let mut span = Span::new(Some(Duration::from_secs(10)), at(0));
        assert_eq!(span.resume(at(5_000)), at(15_000));
        assert_eq!(span.resume(at(9_000)), at(15_000), "it goes on");
        span.pause(at(10_000));
        span.pause(at(12_000));
        assert!(!span.is_over(at(99_000)));
        assert_eq!(span.resume(at(20_000)), at(25_000));
        assert!(!span.is_over(at(24_999)) && span.is_over(at(25_000)));
        let mut endless = Span::new(None, at(0));
        assert_eq!(endless.resume(at(5_000)), Tick::NEVER);
    }

    #[test]
    fn a_rate_is_met_by_enough_bytes() {
        assert!(MINIMUM.is_met(1200, Duration::from_secs(5)));
        assert!(!MINIMUM.is_met(1199, Duration::from_secs(5)));
        assert!(MINIMUM.is_met(0, Duration::ZERO));
        assert!(MINIMUM.is_met(u64::MAX, Duration::from_secs(3600 * 24 * 365 * 2)));
    }
}
