//! The findings of a protocol in the input, as places. `connection.rs` turns each into an event.

use crate::budget::INFLATED_AT_ONCE;
use crate::close::{CloseReason, ResetReason};
use crate::head::{Head, Lines};
use crate::input::Span;

/// A finding, as places in the input.
#[derive(Debug)]
pub(crate) enum Step {
    /// The head of a request was read.
    Request(Place),
    /// A request was refused. What is known of it is on the desk.
    Refused(CloseReason),
    Data(Place),
    /// The content is complete. The trailers lie there.
    End(Place),
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
    /// The peer's ping, which is answered, or its pong.
    Control {
        ping: bool,
        at: Place,
    },
    /// The peer closes its websocket.
    Closing {
        code: Option<u16>,
        reason: Place,
    },
}

/// Where a protocol leaves the parts of a step that do not lie in the input.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) lines: Lines,
    /// The newest request's head. Of one that is refused, only the method, the target and the version.
    pub(crate) head: Head,
    /// An assembled message, a decoded list of fields, or content that waited for the application; or the
    /// newest request's target, if the application gets it in another form than it was sent in; or what is known
    /// of a request that is refused.
    pub(crate) whole: Vec<u8>,
    /// Bytes that may still be inflated in this pull of events.
    pub(crate) inflatable: usize,
    /// These are the events of `resume`, before the first step: what streams were told before, the application
    /// has acted on.
    pub(crate) resumes: bool,
}

impl Desk {
    pub(crate) fn new(resumes: bool) -> Self {
        let inflatable = INFLATED_AT_ONCE;
        Desk { lines: Lines::new(), head: Head::default(), whole: Vec::new(), inflatable, resumes }
    }
}

/// Where a message, content or a list of fields lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the bytes at hand.
    Input(Span),
    /// It is all of `whole`.
    Whole,
}
