//! The orders of a server to its connections (go on, drain, end), and the number of connections that are
//! left.

use crate::admission::Admission;
use crate::waiting::{Place, Waiting};
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::task::Context;

/// The order in force.
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
    census: Place<Census>,
}

#[derive(Debug, Default)]
struct Census {
    /// The number of connections.
    here: usize,
    /// The task that waits until all connections have left.
    last: Waiting,
    /// The number of connections that the drain timeout has cut off.
    cut: u64,
    /// The number of connections that have left since the order to drain.
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

    /// Gives an order, and wakes all connections that have a place. An order never weakens an earlier one.
    pub(crate) fn give(&self, order: Order, admission: &Admission) {
        let before = self.order.fetch_max(order as u8, SeqCst);
        if before < order as u8 {
            admission.wake_all();
        }
    }

    /// Counts a new connection.
    pub(crate) fn join(&self) {
        self.census.visit(|census, _| census.here += 1);
    }

    /// Counts a connection that has left.
    pub(crate) fn leave(&self, cut: bool) {
        self.census.visit(|census, calls| {
            census.here -= 1;
            if self.order() != Order::Run {
                let count = if cut { &mut census.cut } else { &mut census.finished };
                *count += 1;
            }
            if census.here == 0 {
                census.last.wake(calls);
            }
        });
    }

    /// The numbers of connections that finished and that were cut off, once all have left.
    pub(crate) fn all_left(&self, cx: &Context<'_>) -> Option<(u64, u64)> {
        self.census.visit(|census, calls| {
            if census.here == 0 {
                return Some((census.finished, census.cut));
            }
            census.last.register(cx, calls);
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Newcomer;
    use crate::counted::Counted;
    use portcullis::Tick;
    use std::sync::Arc;

    #[test]
    fn an_order_wakes_everybody_once_and_the_last_one_wakes_the_server() {
        let control = Control::default();
        let (member, waker) = Counted::task();
        let (server, server_waker) = Counted::task();
        let admission = Admission::new(&Arc::default());
        for _ in 0..2 {
            control.join();
            let newcomer = Newcomer { address: None, is_handshaking: false };
            let number = admission.try_enter(Tick::ZERO, newcomer).expect("a place");
            admission.moved(number, &waker);
        }
        control.give(Order::Drain, &admission);
        control.give(Order::Drain, &admission);
        assert_eq!((control.order(), member.times_woken()), (Order::Drain, 2));
        let cx = Context::from_waker(&server_waker);
        assert_eq!(control.all_left(&cx), None);
        control.leave(false);
        assert_eq!(server.times_woken(), 0);
        control.leave(true);
        assert_eq!(server.times_woken(), 1);
        assert_eq!(control.all_left(&cx), Some((1, 1)));
    }
}
