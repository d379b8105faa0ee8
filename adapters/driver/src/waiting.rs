//! Who waits where a driver and the application meet, each on one side.
//!
//! Most handlers are polled on the connection's own task, where each looks after the other by itself:
//! waking them would only have the task come once more, for nothing.

use std::task::{Context, Waker};

/// The task that waits on one side, if one does.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Option<Waker>);

impl Waiting {
    /// Has it be the current task.
    pub(crate) fn register(&mut self, cx: &Context<'_>) {
        match &mut self.0 {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            waker => *waker = Some(cx.waker().clone()),
        }
    }

    /// Whether anybody waits.
    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Nobody waits any more.
    pub(crate) fn leave(&mut self) {
        self.0 = None;
    }

    /// Wakes who waits.
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }

    /// Wakes who waits, unless it is the task that calls, and looks by itself.
    pub(crate) fn wake_from(&mut self, caller: &Waiting) {
        match (&self.0, &caller.0) {
            (Some(waker), Some(caller)) if waker.will_wake(caller) => {}
            _ => self.wake(),
        }
    }

    /// Wakes who waits, and goes on waiting, unless it is the current task.
    pub(crate) fn call(&self, cx: &Context<'_>) {
        if let Some(waker) = &self.0
            && !waker.will_wake(cx.waker())
        {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_task_is_not_woken_by_itself() {
        let tasks = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let wakers = tasks.clone().map(Waker::from);
        let [here, there] = [0, 1].map(|task| Context::from_waker(&wakers[task]));
        let woken = || [0, 1].map(|task| tasks[task].0.load(Relaxed));
        let (mut driver, mut reader) = (Waiting::default(), Waiting::default());
        driver.register(&here);

        reader.register(&here);
        reader.wake_from(&driver);
        driver.call(&here);
        assert_eq!((woken(), reader.is_some()), ([0, 0], true), "it goes on waiting");

        reader.register(&there);
        reader.wake_from(&driver);
        reader.wake_from(&driver);
        assert_eq!((woken(), reader.is_some()), ([0, 1], false), "woken once");
        driver.call(&there);
        assert_eq!(woken(), [1, 1]);

        reader.register(&here);
        driver.leave();
        reader.wake_from(&driver);
        assert_eq!(woken(), [2, 1], "nobody looks by itself");
    }
}
