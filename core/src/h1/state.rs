//! The states of the receiving direction of an HTTP/1.1 connection. Those of an answer are in
//! [`exchange`](crate::exchange).
//!
//! | receiving | meaning | next |
//! |---|---|---|
//! | `Idle` | no byte of a request has arrived | `Head` |
//! | `Head` | a head has arrived in part | `Body`, `Closed` |
//! | `Body` | the request was delivered, its content is still to come | `Done`, `Discard`, `Closed` |
//! | `Discard` | the request was answered early, the rest of its content is discarded | `Idle`, `Closed` |
//! | `Done` | the whole request was delivered | `Idle`, `Closed` |
//! | `Closed` | no more is read | |
//!
//! An exchange ends when its request is `Done` and its answer is. Then receiving becomes `Idle`, or the
//! connection ends.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    Idle,
    Head,
    Body,
    Discard,
    Done,
    Closed,
}

impl Receiving {
    /// Goes to `next`, which the table has to allow.
    pub(super) fn become_next(&mut self, next: Receiving) {
        use Receiving::*;
        debug_assert!(
            matches!(
                (*self, next),
                (Idle, Head)
                    | (Head, Body)
                    | (Body, Done | Discard)
                    | (Discard | Done, Idle)
                    | (_, Closed)
            ),
            "{self:?} -> {next:?}"
        );
        *self = next;
    }
}
