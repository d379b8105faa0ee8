//! A websocket in the driver's hands: what the handler made of it, polled on the connection's own task.

use super::{Accepting, Closed, Meeting, Running, WebSocket};
use crate::allowance::Allowance;
use crate::guard::guarded;
use crate::reply;
use crate::work::Outcome;
use http::HeaderMap;
use portcullis::{Misuse, Stream};
use std::mem::replace;
use std::sync::Arc;
use std::task::Context;

/// A request that has become a websocket.
pub(crate) struct Messaging {
    /// Until it is ready.
    running: Option<Running>,
    meeting: Arc<Meeting>,
    has_panicked: bool,
}

impl Messaging {
    /// Answers with 101, and lets the handler's websocket begin.
    pub(crate) fn begin(
        stream: &mut Stream<'_>,
        accepting: Accepting,
        fields: &HeaderMap,
    ) -> Result<Self, Misuse> {
        let Accepting { mut accepted, deflate_by_config, options, run } = accepting;
        if deflate_by_config && !stream.config().websocket_deflate() {
            accepted = accepted.without_deflate();
        }
        reply::accept_websocket(stream, &accepted, fields, options)?;
        let meeting = Arc::<Meeting>::default();
        let websocket = WebSocket::new(meeting.clone());
        // If it panics, the websocket that it had is closed.
        let running = guarded(|| run(websocket));
        Ok(Messaging { running, meeting, has_panicked: false })
    }

    /// Where its messages go.
    pub(crate) fn meeting(&self) -> &Meeting {
        &self.meeting
    }

    /// The handler has panicked: what it left to be sent is still sent, and the websocket ends. Returns false
    /// if that has happened before.
    #[cold]
    pub(crate) fn panicked(&mut self) -> bool {
        // What is left of it may panic once more.
        let _ = guarded(|| self.running = None);
        self.meeting.fail();
        !replace(&mut self.has_panicked, true)
    }

    /// Lets it work as far as it can in this turn.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<'_>,
        allowance: &mut Allowance,
    ) -> Outcome {
        let Messaging { running, meeting, .. } = self;
        loop {
            if running.as_mut().is_some_and(|running| running.as_mut().poll(cx).is_ready()) {
                // What it leaves to be sent is still sent. The websocket ends with it, even if it was
                // given away.
                *running = None;
                meeting.close(None);
            }
            let goes_on = meeting.pass_wishes(cx, stream);
            if running.is_none() && meeting.is_settled() {
                return Outcome::Over;
            }
            if !goes_on {
                return Outcome::Waits;
            }
            allowance.stretch();
            if allowance.is_spent() {
                return Outcome::Yields;
            }
        }
    }
}

impl Drop for Messaging {
    fn drop(&mut self) {
        self.meeting.end(Closed::Lost);
    }
}
