//! State that the driver and the application share, and the wakers of the tasks that wait on either side.
//!
//! Most handlers are polled on the connection's own task. There the driver looks at the handler's wishes
//! after each poll, and a wake-up would only poll the task once more for nothing.
//!
//! Waking or dropping a waker may run any code, even code that comes back to the same place. So wakers
//! are woken and dropped after the place is unlocked: by the [`Calls`] of a visit, or by the visit's
//! caller.

use parking_lot::Mutex;
use std::task::{Context, Waker};

/// State that both sides share, behind a lock.
#[derive(Debug, Default)]
pub(crate) struct Place<S>(Mutex<S>);

/// Wakers to wake or drop after unlocking. The list is empty most of the time, and then takes no memory.
#[derive(Debug, Default)]
pub(crate) struct Calls(Vec<Call>);

#[derive(Debug)]
enum Call {
    Wake(Waker),
    Drop(Waker),
}

/// The waker of the task that waits on one side, if a task waits.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Option<Waker>);

impl<S> Place<S> {
    pub(crate) const fn new(state: S) -> Self {
        Place(Mutex::new(state))
    }

    /// The state, while no other side has a reference to the place.
    pub(crate) fn get_mut(&mut self) -> &mut S {
        self.0.get_mut()
    }

    /// Locks the state for `visit`, and wakes the tasks that `visit` calls after unlocking. `visit` has to
    /// keep the state valid after each statement, in case a statement panics.
    #[inline]
    pub(crate) fn visit<T>(&self, visit: impl FnOnce(&mut S, &mut Calls) -> T) -> T {
        let mut calls = Calls::default();
        let result = visit(&mut self.0.lock(), &mut calls);
        if !calls.0.is_empty() {
            calls.make();
        }
        result
    }
}

impl Calls {
    #[cold]
    fn make(&mut self) {
        for call in self.0.drain(..) {
            match call {
                Call::Wake(waker) => waker.wake(),
                Call::Drop(waker) => drop(waker),
            }
        }
    }

    /// Wakes the task after the visit.
    #[cold]
    pub(crate) fn wake(&mut self, waker: Waker) {
        self.0.push(Call::Wake(waker));
    }

    #[cold]
    fn drop(&mut self, waker: Waker) {
        self.0.push(Call::Drop(waker));
    }
}

impl Waiting {
    /// Makes the current task the one that waits.
    #[inline]
    pub(crate) fn register(&mut self, cx: &Context<'_>, calls: &mut Calls) {
        match &mut self.0 {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            waker => {
                if let Some(old) = waker.replace(cx.waker().clone()) {
                    calls.drop(old);
                }
            }
        }
    }

    /// Whether the current task waits.
    pub(crate) fn is(&self, cx: &Context<'_>) -> bool {
        self.0.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
    }

    /// Whether a task waits.
    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Ends the wait. The caller drops the returned waker after the visit.
    #[must_use]
    pub(crate) fn leave(&mut self) -> Option<Waker> {
        self.0.take()
    }

    /// Wakes the task that waits.
    pub(crate) fn wake(&mut self, calls: &mut Calls) {
        if let Some(waker) = self.0.take() {
            calls.wake(waker);
        }
    }

    /// Wakes the task that waits, unless it is the caller's own task, which looks by itself.
    #[inline]
    pub(crate) fn wake_from(&mut self, caller: &Waiting, calls: &mut Calls) {
        match (&self.0, &caller.0) {
            (Some(waker), Some(caller)) if waker.will_wake(caller) => {}
            _ => self.wake(calls),
        }
    }

    /// Wakes the task that waits, unless it is the current task. The wait goes on.
    #[inline]
    pub(crate) fn call(&self, cx: &Context<'_>, calls: &mut Calls) {
        if let Some(waker) = &self.0
            && !waker.will_wake(cx.waker())
        {
            calls.wake(waker.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counted::Counted;
    use std::sync::Arc;
    use std::task::Wake;

    #[test]
    fn a_task_is_not_woken_by_itself() {
        let tasks = [Counted::task(), Counted::task()];
        let [here, there] = [0, 1].map(|task| Context::from_waker(&tasks[task].1));
        let woken = || [0, 1].map(|task| tasks[task].0.times_woken());
        let sides = Place::<(Waiting, Waiting)>::default();
        sides.visit(|(driver, _), calls| driver.register(&here, calls));

        sides.visit(|(driver, reader), calls| {
            reader.register(&here, calls);
            reader.wake_from(driver, calls);
            driver.call(&here, calls);
            assert!(reader.is_some(), "it goes on waiting");
        });
        assert_eq!(woken(), [0, 0]);

        sides.visit(|(driver, reader), calls| {
            reader.register(&there, calls);
            reader.wake_from(driver, calls);
            reader.wake_from(driver, calls);
            assert!(!reader.is_some());
            assert_eq!(woken(), [0, 0], "not while it is locked");
        });
        assert_eq!(woken(), [0, 1], "woken once");
        sides.visit(|(driver, _), calls| driver.call(&there, calls));
        assert_eq!(woken(), [1, 1]);

        let _left = sides.visit(|(driver, reader), calls| {
            reader.register(&here, calls);
            let left = driver.leave();
            reader.wake_from(driver, calls);
            left
        });
        assert_eq!(woken(), [2, 1], "nobody looks by itself");
    }

    /// A task that holds the place, as a handler does, and visits it when its waker is woken or dropped.
    struct Visitor(Arc<Place<Waiting>>);

    impl Wake for Visitor {
        fn wake(self: Arc<Self>) {
            drop(self.0.visit(|waiting, _| waiting.leave()));
        }
    }

    impl Drop for Visitor {
        fn drop(&mut self) {
            drop(self.0.visit(|waiting, _| waiting.leave()));
        }
    }

    #[test]
    fn a_waker_may_come_back_when_it_is_called_or_dropped() {
        let place = Arc::new(Place::<Waiting>::default());
        let visitor = || Waker::from(Arc::new(Visitor(place.clone())));
        let register = |waker: &Waker| {
            let cx = Context::from_waker(waker);
            place.visit(|waiting, calls| waiting.register(&cx, calls));
        };
        register(&visitor());
        register(&visitor());
        place.visit(|waiting, calls| waiting.wake(calls));
        register(&visitor());
        drop(place.visit(|waiting, _| waiting.leave()));
        assert_eq!(Arc::strong_count(&place), 1, "all are gone");
    }
}
