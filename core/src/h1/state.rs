//! The states of one HTTP/1.1 exchange.
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
//! | sending | meaning | next |
//! |---|---|---|
//! | `Idle` | there is no request to answer | `Owed`, `Closed` |
//! | `Owed` | the application owes the head of an answer | `Content`, `Done`, `Closed` |
//! | `Content` | the head was written, the application owes content and the end | `Done`, `Closed` |
//! | `Done` | the answer is complete | `Idle`, `Closed` |
//! | `Closed` | no more is sent | |
//!
//! An exchange ends when both directions are `Done`. Then both become `Idle`, or the connection ends.

use super::response::AnswerFraming;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    Idle,
    Head,
    Body,
    Discard,
    Done,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Idle,
    Owed,
    Content(AnswerFraming),
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

impl Sending {
    /// Goes to `next`, which the table has to allow.
    pub(super) fn become_next(&mut self, next: Sending) {
        use Sending::*;
        debug_assert!(
            matches!(
                (*self, next),
                (Idle, Owed)
                    | (Owed, Content(_) | Done)
                    | (Content(_), Content(_) | Done)
                    | (Done, Idle)
                    | (_, Closed)
            ),
            "{self:?} -> {next:?}"
        );
        *self = next;
    }
}
