//! The one timer of a connection, re-armed lazily: an earlier alarm is kept and comes for nothing,
//! so that a deadline which moves later with each request costs nothing.

use crate::runtime::Timer;
use std::task::{Context, Waker};
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct LazyTimer<T> {
    alarm: Option<(T, Instant, Waker)>,
}

impl<T: Timer> LazyTimer<T> {
    pub(crate) fn new() -> Self {
        LazyTimer { alarm: None }
    }

    /// Makes sure that the task is woken at `at` or before; false if that moment has come, and
    /// there is work to do now.
    pub(crate) fn wake_at(&mut self, cx: &mut Context<'_>, now: Instant, at: Instant) -> bool {
        if at <= now {
            return false;
        }
        match &mut self.alarm {
            Some((_, armed, waker))
                if *armed <= at && *armed > now && waker.will_wake(cx.waker()) =>
            {
                return true;
            }
            Some((timer, armed, waker)) => {
                if *armed > at || *armed <= now {
                    timer.reset(at);
                    *armed = at;
                }
                if !waker.will_wake(cx.waker()) {
                    waker.clone_from(cx.waker());
                }
            }
            None => self.alarm = Some((T::new(at), at, cx.waker().clone())),
        }
        // Polling is what registers the waker.
        self.alarm.as_mut().is_some_and(|(timer, ..)| timer.poll(cx).is_pending())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;
    use std::time::Duration;

    /// Counts how often it is armed; never fires by itself.
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

    #[test]
    fn it_is_armed_again_only_for_an_earlier_deadline_or_after_it_fired() {
        let start = Instant::now();
        let second = |count| start + Duration::from_secs(count);
        let mut cx = Context::from_waker(Waker::noop());
        let mut timer = LazyTimer::<Counting>::new();
        let mut armed = |now, at| {
            let waits = timer.wake_at(&mut cx, second(now), second(at));
            (waits, timer.alarm.as_ref().map_or(0, |(counting, ..)| counting.0))
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
