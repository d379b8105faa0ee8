//! The states of an answer, in all versions of HTTP.
//!
//! | sending | meaning | next |
//! |---|---|---|
//! | `Idle` | there is no request to answer | `Closed` |
//! | `Owed` | the application owes the head of an answer | `Content`, `Done`, `Closed` |
//! | `Content` | the head was written, the application owes content and the end | `Finished`, `Done`, `Closed` |
//! | `Finished` | the application has ended its direction of a tunnel, the peer's goes on | `Done`, `Closed` |
//! | `Done` | the answer is complete | `Closed` |
//! | `Closed` | no more is sent | |
//!
//! A request begins with an exchange of its own, in state `Owed`.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    Idle,
    Owed,
    Content(Left),
    Finished,
    Done,
    Closed,
}

/// How much content of an answer is still to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Exactly(u64),
    Unknown,
}

impl Sending {
    /// Goes to `next`, which the table has to allow.
    pub(crate) fn become_next(&mut self, next: Sending) {
        use Sending::*;
        debug_assert!(
            matches!(
                (*self, next),
                (Owed, Content(_) | Done)
                    | (Content(_), Content(_) | Finished | Done)
                    | (Finished, Done)
                    | (_, Closed)
            ),
            "{self:?} -> {next:?}"
        );
        *self = next;
    }
}
