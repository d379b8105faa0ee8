//! What a server tells its connections: go on, drain, or end; and who is still there.

use crate::waiting::{Place, Waiting};
use slab::Slab;
use std::mem::replace;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::task::{Context, Waker};

/// The order that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Order {
    Run,
    Drain,
    End,
}

#[derive(Debug, Default)]
pub(crate) struct Control {
    order: AtomicU8,
    members: Place<Members>,
}

#[derive(Debug, Default)]
struct Members {
    /// Those that wait to be told, one a connection.
    wakers: Slab<Waker>,
    /// Waits until all have left.
    last: Waiting,
    /// How many were cut off by the drain timeout.
    cut: u64,
    /// How many have left since the order to drain.
    finished: u64,
}

impl Control {
    pub(crate) fn order(&self) -> Order {
        match self.order.load(SeqCst) {
            0 => Order::Run,
            1 => Order::Drain,
            _ => Order::End,
        }
    }

    /// Gives an order, and wakes all who have to hear it. Orders only get sterner.
    pub(crate) fn give(&self, order: Order) {
        let before = self.order.fetch_max(order as u8, SeqCst);
        if before < order as u8 {
            self.members.visit(|members, calls| {
                members.wakers.iter().for_each(|(_, waker)| calls.wake(waker.clone()));
            });
        }
    }

    /// Counts a connection in; the answer is its number.
    pub(crate) fn join(&self, waker: &Waker) -> usize {
        self.members.visit(|members, _| members.wakers.insert(waker.clone()))
    }

    /// Notes that the connection's task has another waker now.
    pub(crate) fn moved(&self, member: usize, waker: &Waker) {
        // The old one is dropped behind the visit.
        let _old = self.members.visit(|members, _| {
            members.wakers.get_mut(member).map(|old| replace(old, waker.clone()))
        });
    }

    /// Counts a connection out.
    pub(crate) fn leave(&self, member: usize, cut: bool) {
        // So is its waker.
        let _own = self.members.visit(|members, calls| {
            let own = members.wakers.try_remove(member);
            if self.order() != Order::Run {
                let count = if cut { &mut members.cut } else { &mut members.finished };
                *count += 1;
            }
            if members.wakers.is_empty() {
                // A server that had many connections should not keep the room for them.
                members.wakers.shrink_to_fit();
                members.last.wake(calls);
            }
            own
        });
    }

    /// How many have finished and how many were cut, once all have left.
    pub(crate) fn all_left(&self, cx: &Context<'_>) -> Option<(u64, u64)> {
        self.members.visit(|members, calls| {
            if members.wakers.is_empty() {
                return Some((members.finished, members.cut));
            }
            members.last.register(cx, calls);
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn an_order_wakes_everybody_once_and_the_last_one_wakes_the_server() {
        let control = Control::default();
        let count = Arc::new(Count::default());
        let server = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let (one, two) = (control.join(&waker), control.join(&waker));
        control.give(Order::Drain);
        control.give(Order::Drain);
        assert_eq!((control.order(), count.0.load(SeqCst)), (Order::Drain, 2));
        let server_waker = Waker::from(server.clone());
        let cx = Context::from_waker(&server_waker);
        assert_eq!(control.all_left(&cx), None);
        control.leave(one, false);
        assert_eq!(server.0.load(SeqCst), 0);
        control.leave(two, true);
        assert_eq!(server.0.load(SeqCst), 1);
        assert_eq!(control.all_left(&cx), Some((1, 1)));
    }
}
