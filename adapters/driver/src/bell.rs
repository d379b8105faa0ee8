//! The wakers of a connection's handlers: each has its own, so that a wake-up polls the handler that was
//! woken, and no other.
//!
//! A handler is polled with the waker of its [`Bell`]. Waking it notes the handler's stream in the queue of
//! the connection, and wakes the connection's task. The task then polls the handlers in the order in which
//! they were woken.

use parking_lot::Mutex;
use portcullis::StreamId;
use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

/// The connection's queue of streams whose handlers were woken.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Whether `woken` is not empty. A look at it needs no lock.
    rings: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Wakes the connection's task.
    task: Option<Waker>,
    /// The streams in the order in which their handlers were woken.
    woken: Vec<StreamId>,
}

/// Wakes the handler of one stream.
#[derive(Debug)]
pub(crate) struct Bell {
    queue: Arc<Queue>,
    /// The handler's stream; `None` while no exchange has the bell.
    stream: Option<StreamId>,
    /// The stream stands in the queue.
    is_rung: AtomicBool,
}

impl Queue {
    /// The connection's task is woken by `waker` from now on.
    pub(crate) fn set_task(&self, waker: &Waker) {
        let mut state = self.state.lock();
        let old = match &mut state.task {
            Some(task) if task.will_wake(waker) => None,
            task => task.replace(waker.clone()),
        };
        drop(state);
        // Dropping a waker may run any code, so it is dropped after unlocking.
        drop(old);
    }

    /// Whether a handler was woken.
    #[inline]
    pub(crate) fn is_rung(&self) -> bool {
        self.rings.load(Ordering::Acquire)
    }

    /// Takes the streams whose handlers were woken.
    pub(crate) fn take(&self) -> Vec<StreamId> {
        let mut state = self.state.lock();
        self.rings.store(false, Ordering::Release);
        take(&mut state.woken)
    }

    /// Gives the list of [`Queue::take`] back. The streams that are left in it come before all that were
    /// woken since. An empty list is kept, so that it need not be allocated again.
    pub(crate) fn give_back(&self, mut left: Vec<StreamId>) {
        let mut state = self.state.lock();
        if !left.is_empty() {
            left.append(&mut state.woken);
            // The task goes on by itself, so it needs no wake-up.
            self.rings.store(true, Ordering::Release);
        }
        if state.woken.capacity() == 0 || !left.is_empty() {
            state.woken = left;
        }
    }

    /// Notes that the handler of `stream` was woken. Returns the waker of the task, to be woken after
    /// unlocking.
    fn ring(&self, stream: StreamId) -> Option<Waker> {
        let mut state = self.state.lock();
        state.woken.push(stream);
        // The task takes all streams at once, so one wake-up is enough.
        if self.rings.swap(true, Ordering::AcqRel) { None } else { state.task.clone() }
    }
}

impl Bell {
    /// A bell that no exchange has yet, with a queue of its own.
    fn new() -> Self {
        Bell { queue: Arc::default(), stream: None, is_rung: AtomicBool::new(false) }
    }

    /// A bell for the handler of `stream`, on a connection that has a queue.
    pub(crate) fn of(queue: &Arc<Queue>, stream: StreamId) -> Arc<Bell> {
        let queue = Arc::clone(queue);
        Arc::new(Bell { queue, stream: Some(stream), is_rung: AtomicBool::new(false) })
    }

    /// The queue that it notes its stream in.
    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Notes the stream in the queue, without a wake-up: the connection's task is at work.
    pub(crate) fn note(&self) {
        if let Some(stream) = self.stream
            && !self.is_rung.swap(true, Ordering::AcqRel)
        {
            // The task that would be woken is the one that notes.
            let _ = self.queue.ring(stream);
        }
    }

    /// The stream was taken out of the queue: the next wake-up notes it again.
    ///
    /// A wake-up that finds the bell rung notes nothing. This swap reads what that wake-up wrote, so the
    /// poll that follows sees why the handler was woken. A store would not, and the wake-up could be lost.
    pub(crate) fn is_heard(&self) {
        self.is_rung.swap(false, Ordering::AcqRel);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(stream) = self.stream else { return };
        if !self.is_rung.swap(true, Ordering::AcqRel)
            && let Some(task) = self.queue.ring(stream)
        {
            task.wake();
        }
    }
}

/// Bells that exchanges have left for the next ones on their thread.
pub(crate) mod spare {
    use super::{Bell, State};
    use portcullis::StreamId;
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::task::Waker;

    thread_local! {
        /// Nobody else has it, nor its queue.
        static BELL: Cell<Option<Arc<Bell>>> = const { Cell::new(None) };
    }

    /// A bell for the handler of `stream`, with a queue that no other connection has. It wakes `task`.
    pub(crate) fn bell(stream: StreamId, task: &Waker) -> Arc<Bell> {
        let mut bell = BELL.take().unwrap_or_else(|| Arc::new(Bell::new()));
        if let Some(Bell { queue, stream: place, .. }) = Arc::get_mut(&mut bell)
            && let Some(queue) = Arc::get_mut(queue)
        {
            *place = Some(stream);
            // A waker that is dropped here may run any code, but nothing is locked.
            match &mut queue.state.get_mut().task {
                Some(known) if known.will_wake(task) => {}
                known => *known = Some(task.clone()),
            }
        }
        bell
    }

    /// Keeps the bell of an exchange that is over, unless something still holds it or its queue: a late
    /// wake-up must not reach another exchange.
    pub(crate) fn keep(mut bell: Arc<Bell>) {
        let Some(Bell { queue, stream, is_rung }) = Arc::get_mut(&mut bell) else { return };
        let Some(alone) = Arc::get_mut(queue) else { return };
        (*stream, *is_rung) = (None, AtomicBool::new(false));
        // The waker stays: the next exchange on this thread is most often one of the same task.
        let State { woken, .. } = alone.state.get_mut();
        woken.clear();
        alone.rings = AtomicBool::new(false);
        BELL.set(Some(bell));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counted::Counted;
    use portcullis::{Config, Connection, Event, Tick};

    /// The numbers of `count` streams.
    fn streams(count: usize) -> Vec<StreamId> {
        let mut connection = Connection::new(Arc::new(Config::default()), Tick::ZERO);
        let mut streams = Vec::new();
        for _ in 0..count {
            let mut get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
            let mut events = connection.receive(Tick::ZERO, &mut get).expect("it reads");
            while let Some((connection, event)) = events.next() {
                if let Event::Request { stream, .. } = event {
                    streams.push(stream);
                    let mut content = bytes::Bytes::new();
                    let mut stream = connection.stream(Tick::ZERO, stream);
                    stream.answer(http::StatusCode::OK, None, &mut content).expect("it is owed");
                }
            }
            drop(events);
            connection.sent(Tick::ZERO, usize::MAX);
        }
        streams
    }

    #[test]
    fn streams_are_noted_once_in_the_order_of_their_wake_ups() {
        let (task, waker) = Counted::task();
        let ids = streams(3);
        let first = spare::bell(ids[0], &waker);
        let queue = Arc::clone(first.queue());
        let others = [1, 2].map(|place| Bell::of(&queue, ids[place]));
        assert!(!queue.is_rung());
        others[1].wake_by_ref();
        first.wake_by_ref();
        others[1].wake_by_ref();
        assert_eq!((queue.is_rung(), task.times_woken()), (true, 1), "one wake-up for both");
        assert_eq!(queue.take(), [ids[2], ids[0]]);
        assert!(!queue.is_rung() && queue.take().is_empty());
        // A stream that was not heard yet is not noted again.
        others[1].wake_by_ref();
        assert!(queue.take().is_empty());
        others[1].is_heard();
        others[1].wake_by_ref();
        assert_eq!((queue.take(), task.times_woken()), (vec![ids[2]], 2));
    }

    #[test]
    fn a_task_that_moves_is_woken_by_its_new_waker() {
        let [(old, old_waker), (new, new_waker)] = [Counted::task(), Counted::task()];
        let bell = spare::bell(streams(1)[0], &old_waker);
        bell.queue().set_task(&new_waker);
        bell.wake_by_ref();
        assert_eq!((old.times_woken(), new.times_woken()), (0, 1));
    }

    #[test]
    fn a_bell_is_used_again_only_if_nothing_can_ring_it_any_more() {
        let ids = streams(2);
        let task = Waker::noop();
        let bell = spare::bell(ids[0], task);
        let address = Arc::as_ptr(&bell);
        let late = Waker::from(Arc::clone(&bell));
        spare::keep(bell);
        let other = spare::bell(ids[1], task);
        assert_ne!(Arc::as_ptr(&other), address);
        late.wake();
        assert!(!other.queue().is_rung(), "the wake-up came too late, for another exchange");
        // One that was rung and is over is as new.
        let address = Arc::as_ptr(&other);
        other.wake_by_ref();
        spare::keep(other);
        let again = spare::bell(ids[0], task);
        assert_eq!(Arc::as_ptr(&again), address);
        assert!(!again.queue().is_rung());
    }
}
