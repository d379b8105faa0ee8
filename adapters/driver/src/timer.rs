//! The one timer of a connection. It is moved lazily: an earlier alarm stays armed and may fire for nothing.
//! So a deadline that moves to a later time with each request costs nothing.

use crate::clock;
use crate::runtime::Timer;
use portcullis::Tick;
use std::task::Context;

#[derive(Debug)]
pub(crate) struct LazyTimer<T> {
    /// The runtime's timer, and when it fires.
    alarm: Option<(T, Tick)>,
    /// The alarm does not know the task's waker yet.
    unheard: bool,
}

impl<T: Timer> LazyTimer<T> {
    pub(crate) fn new() -> Self {
        LazyTimer { alarm: None, unheard: true }
    }

    /// The task has another waker now.
    pub(crate) fn moved(&mut self) {
        self.unheard = true;
    }

    /// Makes sure that the task is woken at `at` or before. Returns false if that moment has come, and there
    /// is work to do now.
    pub(crate) fn wake_at(&mut self, cx: &mut Context<'_>, now: Tick, at: Tick) -> bool {
        if at <= now {
            return false;
        }
        match &self.alarm {
            Some((_, armed)) if *armed <= at && *armed > now && !self.unheard => true,
            _ => self.arm(cx, now, at),
        }
    }

    #[cold]
    fn arm(&mut self, cx: &mut Context<'_>, now: Tick, at: Tick) -> bool {
        // The platform's clock cannot express the moment, so nothing waits for it.
        let Some(instant) = clock::instant(at) else { return true };
        let (timer, armed) = self.alarm.get_or_insert_with(|| (T::new(instant), at));
        if *armed > at || *armed <= now {
            timer.reset(instant);
            *armed = at;
        }
        self.unheard = false;
        // Polling registers the waker.
        let waits = timer.poll(cx).is_pending();
        if !waits {
            // The moment has passed since `now` was taken. This alarm will wake nobody.
            *armed = Tick::ZERO;
        }
        waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Poll, Waker};
    use std::time::Instant;

    /// A timer that counts how often it is armed, and never fires by itself.
    struct Counting(u32);

    impl Timer for Counting {
        fn new(_: Instant) -> Self {
            Counting(1)
        }

        fn reset(&mut self, _: Instant) {
            self.0 += 1;
        }

        fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }

    /// A timer that fires as soon as it is polled: its clock is ahead.
    struct Ahead;

    impl Timer for Ahead {
        fn new(_: Instant) -> Self {
            Ahead
        }

        fn reset(&mut self, _: Instant) {}

        fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    #[test]
    fn a_deadline_that_passes_while_it_is_armed_is_not_waited_for() {
        let (now, at) = (Tick::from_nanos(1000), Tick::from_nanos(1001));
        let mut cx = Context::from_waker(Waker::noop());
        let mut timer = LazyTimer::<Ahead>::new();
        for _ in 0..3 {
            assert!(!timer.wake_at(&mut cx, now, at));
        }
    }

    #[test]
    fn it_is_armed_again_only_for_an_earlier_deadline_or_after_it_fired() {
        let second = |count: u64| Tick::from_nanos(count * 1_000_000_000);
        let mut cx = Context::from_waker(Waker::noop());
        let mut timer = LazyTimer::<Counting>::new();
        let mut armed = |now, at| {
            let waits = timer.wake_at(&mut cx, second(now), second(at));
            (waits, timer.alarm.as_ref().map_or(0, |(counting, _)| counting.0))
        };
        assert_eq!(armed(0, 0), (false, 0), "due at once");
        assert_eq!(armed(0, 5), (true, 1));
        for now in 0..5 {
            assert_eq!(armed(now, now + 5), (true, 1), "later deadlines keep the alarm");
        }
        assert_eq!(armed(4, 4), (false, 1));
        assert_eq!(armed(5, 9), (true, 2), "it fired for nothing");
        assert_eq!(armed(6, 8), (true, 3), "an earlier deadline");
    }
}
