//! Interim answers (1xx) of a handler that is still at work, such as 103 (Early Hints).
//!
//! In: their heads, from any task. Out: the same, when the driver polls the handler. An interim answer is a hint: one
//! that can't be sent at once is dropped.

use crate::waiting::{Place, Waiting};
use http::{HeaderMap, StatusCode};
use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;
use std::task::Context;

/// The most interim answers that wait for the driver.
const MOST: usize = 4;

/// Sends interim answers (1xx) to a request before its final answer. A service gets it from
/// [`Incoming::interim`](crate::Incoming::interim).
#[derive(Clone, Debug, Default)]
pub struct Interim(Arc<Place<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(StatusCode, HeaderMap)>,
    driver: Waiting,
}

impl Interim {
    /// Sends an interim answer, if it comes before the final one. It is dropped if the client speaks HTTP/1.0, if
    /// there is no room for it, if four wait already, or if it is none that an application may send: a status that is
    /// not 1xx, or is 101, or fields that frame content.
    pub fn send(&self, status: StatusCode, fields: HeaderMap) {
        self.0.visit(|state, calls| {
            if state.waiting.len() < MOST {
                state.waiting.push_back((status, fields));
                state.driver.wake(calls);
            }
        });
    }

    /// Those that wait. The current task is woken when more come.
    pub(crate) fn take(&self, cx: &Context<'_>) -> VecDeque<(StatusCode, HeaderMap)> {
        self.0.visit(|state, calls| {
            state.driver.register(cx, calls);
            take(&mut state.waiting)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counted::Counted;

    #[test]
    fn those_that_wait_are_bounded_and_wake_the_driver() {
        let (driver, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        let interim = Interim::default();
        assert!(interim.take(&cx).is_empty());
        for _ in 0..=MOST {
            interim.send(StatusCode::EARLY_HINTS, HeaderMap::new());
        }
        assert_eq!(driver.times_woken(), 1);
        assert_eq!(interim.take(&cx).len(), MOST);
        assert!(interim.take(&cx).is_empty());
    }
}
