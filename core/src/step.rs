//! What a protocol has found in the input, as places: `connection.rs` turns it into an event.

use crate::budget::INFLATED_AT_ONCE;
use crate::close::ResetReason;
use crate::head::{Head, Lines};
use crate::input::Span;

/// What happened, as places in the input.
#[derive(Debug)]
pub(crate) enum Step {
    /// Its head was read.
    Request(Span),
    Data(Span),
    End(Span),
    Writable,
    Reset(ResetReason),
    Message {
        text: bool,
        at: Place,
    },
    Piece {
        text: bool,
        last: bool,
        at: Place,
    },
    /// The peer closes its websocket.
    Closing {
        code: Option<u16>,
        reason: Span,
    },
}

/// Where a step leaves what does not lie in the input; each is of use to one protocol.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) lines: Lines,
    /// What the newest request's head says.
    pub(crate) head: Head,
    /// A message that was put together; or the newest request's target, if that is told in another form
    /// than it was sent in.
    pub(crate) whole: Vec<u8>,
    /// Bytes that may still be inflated in this pull of events.
    pub(crate) inflatable: usize,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let inflatable = INFLATED_AT_ONCE;
        Desk { lines: Lines::new(), head: Head::default(), whole: Vec::new(), inflatable }
    }
}

/// Where something lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the bytes at hand.
    Input(Span),
    /// It is all of what was put into `whole`.
    Whole,
}
