//! Where a driver and the application meet, each on one side, and who waits there.
//!
//! Most handlers are polled on the connection's own task, where each looks after the other by itself:
//! waking them would only have the task come once more, for nothing.
//!
//! A waker may run anything when it is called, or dropped: even what comes back to the very place. So
//! both is done once the place is unlocked: by the [`Calls`] of a visit, or by its caller, who gets what
//! is let go of.

use parking_lot::Mutex;
use std::task::{Context, Waker};

/// What both sides share.
#[derive(Debug, Default)]
pub(crate) struct Place<S>(Mutex<S>);

/// Who is called behind a visit, and whose place another has taken. Most of the time that is nobody, and
/// takes no memory.
#[derive(Debug, Default)]
pub(crate) struct Calls(Vec<Call>);

#[derive(Debug)]
enum Call {
    Wake(Waker),
    Drop(Waker),
}

/// The task that waits on one side, if one does.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Option<Waker>);

impl<S> Place<S> {
    /// What is shared, as long as it is not.
    pub(crate) fn get_mut(&mut self) -> &mut S {
        self.0.get_mut()
    }

    /// Looks at what is shared, or changes it, while nobody else does; whoever is called is woken
    /// afterwards. What is changed is whole between any two statements, should one of them panic.
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

    /// Wakes it.
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
    /// Has it be the current task.
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

    /// Whether anybody waits.
    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Nobody waits any more. Whose waker this was is to be dropped behind the visit.
    #[must_use]
    pub(crate) fn leave(&mut self) -> Option<Waker> {
        self.0.take()
    }

    /// Wakes who waits.
    pub(crate) fn wake(&mut self, calls: &mut Calls) {
        if let Some(waker) = self.0.take() {
            calls.wake(waker);
        }
    }

    /// Wakes who waits, unless it is the task that calls, and looks by itself.
    #[inline]
    pub(crate) fn wake_from(&mut self, caller: &Waiting, calls: &mut Calls) {
        match (&self.0, &caller.0) {
            (Some(waker), Some(caller)) if waker.will_wake(caller) => {}
            _ => self.wake(calls),
        }
    }

    /// Wakes who waits, and goes on waiting, unless it is the current task.
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

    /// A task that has a hold on the place, as a handler has, and visits it when it is woken or dropped.
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
