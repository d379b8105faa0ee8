//! State that the driver shares with the application's side of a tunnel, which may be on another task.
//!
//! The peer's bytes go through an [`Upload`], as the content of a request does. What the application writes waits here
//! for the connection, up to 16 KiB.

use crate::error::BodyError;
use crate::upload::Upload;
use crate::waiting::{Place, Waiting};
use bytes::Bytes;
use http::{HeaderValue, Version};
use std::mem::{replace, take};
use std::sync::Arc;
use std::task::{Context, Poll};

/// The most bytes that wait for the connection.
const WAITING: usize = 16 << 10;

/// Where the driver and the application meet.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// The peer's bytes.
    upload: Arc<Upload>,
    /// The values of the request's `Upgrade` fields.
    named: Vec<HeaderValue>,
    state: Place<State>,
}

/// How far the tunnel has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// It is not accepted.
    #[default]
    Offered,
    Open,
    /// It is not accepted and will not be, or has ended.
    Over(BodyError),
}

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    /// It was accepted, whether it has ended since or not.
    is_accepted: bool,
    /// The application has it.
    is_taken: bool,
    /// What the application has written.
    written: Vec<u8>,
    /// What the connection has taken a part of, or nothing yet.
    begun: Bytes,
    /// The driver is passing bytes to the connection.
    is_passing: bool,
    /// The application has ended its direction.
    finishes: bool,
    /// The connection knows.
    is_finished: bool,
    /// The application takes no part any more.
    is_left: bool,
    /// It has left by a panic.
    has_failed: bool,
    /// Waits for the tunnel to begin, or to write.
    writer: Waiting,
    driver: Waiting,
}

/// What the driver does next for the application.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Send(Bytes),
    Finish,
    /// Both directions are to end.
    Leave,
    /// It is to be cut.
    Reset,
    /// Nothing is to be done.
    Nothing,
}

impl Pipe {
    pub(super) fn new(version: Version, named: Vec<HeaderValue>) -> Self {
        let upload = Arc::new(Upload::new(version));
        Pipe { upload, named, state: Place::default() }
    }

    /// Where the peer's bytes go.
    pub(crate) fn upload(&self) -> &Arc<Upload> {
        &self.upload
    }

    /// The values of the request's `Upgrade` fields.
    pub(super) fn named(&self) -> &[HeaderValue] {
        &self.named
    }
}

// ---- the application's side ------------------------------------------------------------------------

impl Pipe {
    /// Waits until the tunnel begins, and takes it. Returns false if it does not begin, or is taken already.
    pub(super) fn poll_open(&self, cx: &Context<'_>) -> Poll<bool> {
        self.state.visit(|state, calls| {
            if state.stage == Stage::Offered {
                state.writer.register(cx, calls);
                return Poll::Pending;
            }
            Poll::Ready(state.is_accepted && !replace(&mut state.is_taken, true))
        })
    }

    pub(super) fn is_taken(&self) -> bool {
        self.state.visit(|state, _| state.is_taken)
    }

    pub(super) fn poll_write(
        &self,
        cx: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, BodyError>> {
        self.state.visit(|state, calls| {
            if let Some(error) = state.ended() {
                return Poll::Ready(Err(error));
            }
            let room = WAITING.saturating_sub(state.waiting());
            if room == 0 {
                state.writer.register(cx, calls);
                state.driver.call(cx, calls);
                return Poll::Pending;
            }
            let taken = bytes.get(..room).unwrap_or(bytes);
            state.written.extend_from_slice(taken);
            state.driver.call(cx, calls);
            Poll::Ready(Ok(taken.len()))
        })
    }

    /// Waits until the connection has taken all that was written.
    pub(super) fn poll_flush(&self, cx: &Context<'_>) -> Poll<Result<(), BodyError>> {
        self.state.visit(|state, calls| {
            if state.is_flushed() {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = state.ended() {
                return Poll::Ready(Err(error));
            }
            state.writer.register(cx, calls);
            state.driver.call(cx, calls);
            Poll::Pending
        })
    }

    /// Ends the application's direction, and waits until the connection knows.
    pub(super) fn poll_finish(&self, cx: &Context<'_>) -> Poll<Result<(), BodyError>> {
        self.state.visit(|state, calls| {
            if state.is_finished {
                return Poll::Ready(Ok(()));
            }
            if let Stage::Over(error) = state.stage {
                return Poll::Ready(Err(error));
            }
            state.finishes = true;
            state.writer.register(cx, calls);
            state.driver.call(cx, calls);
            Poll::Pending
        })
    }

    /// The application takes no part any more.
    pub(super) fn leave(&self) {
        self.upload.abandon();
        // Dropped after the visit.
        let _waker = self.state.visit(|state, calls| {
            state.is_left = true;
            state.driver.wake(calls);
            state.writer.leave()
        });
    }

    /// The application's task has panicked.
    pub(super) fn fail(&self) {
        self.state.visit(|state, _| state.has_failed = true);
    }
}

// ---- the driver's side -----------------------------------------------------------------------------

impl Pipe {
    /// Whether nobody could take the tunnel.
    pub(super) fn is_left(&self) -> bool {
        self.state.visit(|state, _| state.is_left)
    }

    /// The answer that accepts was sent.
    pub(super) fn open(&self) {
        self.state.visit(|state, calls| {
            (state.stage, state.is_accepted) = (Stage::Open, true);
            state.writer.wake(calls);
        });
    }

    /// What is to be done next.
    pub(super) fn next(&self, cx: &Context<'_>) -> Next {
        self.state.visit(|state, calls| {
            state.driver.register(cx, calls);
            state.is_passing = false;
            if state.has_failed {
                return Next::Reset;
            }
            if !state.begun.is_empty() || !state.written.is_empty() {
                if state.begun.is_empty() {
                    state.begun = take(&mut state.written).into();
                }
                state.is_passing = true;
                return Next::Send(take(&mut state.begun));
            }
            if state.is_left {
                return Next::Leave;
            }
            if state.finishes && !state.is_finished {
                return Next::Finish;
            }
            // All that was written has been taken.
            state.writer.wake_from(&state.driver, calls);
            Next::Nothing
        })
    }

    /// The connection has not taken `rest`.
    pub(super) fn put_back(&self, rest: Bytes) {
        self.state.visit(|state, calls| {
            (state.begun, state.is_passing) = (rest, false);
            if state.waiting() < WAITING {
                state.writer.wake_from(&state.driver, calls);
            }
        });
    }

    /// The connection knows that the application has ended its direction.
    pub(super) fn finished(&self) {
        self.state.visit(|state, calls| {
            state.is_finished = true;
            state.writer.wake(calls);
        });
    }

    pub(super) fn is_finished(&self) -> bool {
        self.state.visit(|state, _| state.is_finished)
    }

    /// The tunnel does not begin, or has ended. Only the first end counts.
    pub(crate) fn end(&self, error: BodyError) {
        // Dropped after the visit.
        let _left = self.state.visit(|state, calls| {
            if let Stage::Over(_) = state.stage {
                return None;
            }
            state.stage = Stage::Over(error);
            state.writer.wake(calls);
            Some((state.driver.leave(), take(&mut state.begun), take(&mut state.written)))
        });
    }

    /// Bytes that wait for the connection.
    pub(super) fn memory(&self) -> usize {
        self.state.visit(|state, _| state.written.capacity() + state.begun.len())
    }
}

impl State {
    fn waiting(&self) -> usize {
        self.written.len() + self.begun.len()
    }

    /// The connection has taken all that was written.
    fn is_flushed(&self) -> bool {
        self.waiting() == 0 && !self.is_passing
    }

    /// Why nothing more can be written.
    fn ended(&self) -> Option<BodyError> {
        match self.stage {
            Stage::Over(error) => Some(error),
            _ => self.finishes.then_some(BodyError::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counted::Counted;
    use portcullis::ResetReason;

    fn opened() -> Pipe {
        let pipe = Pipe::new(Version::HTTP_11, Vec::new());
        pipe.open();
        pipe
    }

    fn text(bytes: &'static [u8]) -> Next {
        Next::Send(Bytes::from_static(bytes))
    }

    #[test]
    fn it_is_taken_once_when_it_begins() {
        let (woken, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        let pipe = Pipe::new(Version::HTTP_11, Vec::new());
        assert!(pipe.poll_open(&cx).is_pending());
        pipe.open();
        assert_eq!(woken.times_woken(), 1);
        assert_eq!(pipe.poll_open(&cx), Poll::Ready(true));
        assert_eq!(pipe.poll_open(&cx), Poll::Ready(false));
        // One that has ended before it was taken tells so when it is read.
        let ended = opened();
        ended.end(BodyError::Closed);
        assert_eq!(ended.poll_open(&cx), Poll::Ready(true));
        let refused = Pipe::new(Version::HTTP_11, Vec::new());
        refused.end(BodyError::Closed);
        assert_eq!(refused.poll_open(&cx), Poll::Ready(false));
    }

    #[test]
    fn what_is_written_waits_up_to_a_limit_and_is_passed_on_in_order() {
        let tasks = [Counted::task(), Counted::task()];
        let [driver, writer] = [0, 1].map(|task| Context::from_waker(&tasks[task].1));
        let woken = || [0, 1].map(|task| tasks[task].0.times_woken());
        let pipe = opened();
        assert_eq!(pipe.next(&driver), Next::Nothing);
        assert_eq!(pipe.poll_write(&writer, b"ab"), Poll::Ready(Ok(2)));
        assert_eq!(pipe.poll_write(&writer, b"c"), Poll::Ready(Ok(1)));
        assert_eq!(woken()[0], 2);
        assert_eq!(pipe.next(&driver), text(b"abc"));
        assert!(pipe.poll_flush(&writer).is_pending(), "the connection may not take it");
        pipe.put_back(Bytes::from_static(b"c"));
        assert_eq!(woken()[1], 1, "there is room");
        assert_eq!(pipe.next(&driver), text(b"c"));
        assert!(pipe.poll_flush(&writer).is_pending());
        assert_eq!(pipe.next(&driver), Next::Nothing);
        assert_eq!((woken()[1], pipe.poll_flush(&writer)), (2, Poll::Ready(Ok(()))));
        let much = [7; 20 << 10];
        assert_eq!(pipe.poll_write(&writer, &much), Poll::Ready(Ok(WAITING)));
        assert!(pipe.poll_write(&writer, b"x").is_pending());
        assert!((WAITING..2 * WAITING).contains(&pipe.memory()), "{}", pipe.memory());
    }

    #[test]
    fn the_end_comes_after_what_was_written() {
        let (_, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        let pipe = opened();
        assert_eq!(pipe.poll_write(&cx, b"last"), Poll::Ready(Ok(4)));
        assert!(pipe.poll_finish(&cx).is_pending());
        assert_eq!(pipe.poll_write(&cx, b"x"), Poll::Ready(Err(BodyError::Closed)));
        assert_eq!(pipe.next(&cx), text(b"last"));
        assert_eq!(pipe.next(&cx), Next::Finish);
        pipe.finished();
        assert_eq!(pipe.poll_finish(&cx), Poll::Ready(Ok(())));
        assert_eq!(pipe.next(&cx), Next::Nothing, "the peer may send on");
        pipe.leave();
        assert_eq!(pipe.next(&cx), Next::Leave);
    }

    #[test]
    fn a_tunnel_that_is_left_sends_its_rest_and_one_that_failed_does_not() {
        let (_, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        for fails in [false, true] {
            let pipe = opened();
            assert_eq!(pipe.poll_write(&cx, b"last"), Poll::Ready(Ok(4)));
            if fails {
                pipe.fail();
            }
            pipe.leave();
            if fails {
                assert_eq!(pipe.next(&cx), Next::Reset);
            } else {
                assert_eq!((pipe.next(&cx), pipe.next(&cx)), (text(b"last"), Next::Leave));
            }
        }
    }

    #[test]
    fn an_end_wakes_who_waits_and_frees_what_waits() {
        let (woken, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        let pipe = opened();
        assert_eq!(pipe.poll_write(&cx, &[7; WAITING]), Poll::Ready(Ok(WAITING)));
        assert!(pipe.poll_write(&cx, b"x").is_pending());
        let error = BodyError::Reset(ResetReason::Timeout);
        pipe.end(error);
        pipe.end(BodyError::Closed);
        assert_eq!((woken.times_woken(), pipe.memory()), (1, 0));
        assert_eq!(pipe.poll_write(&cx, b"x"), Poll::Ready(Err(error)));
        assert_eq!(pipe.poll_finish(&cx), Poll::Ready(Err(error)));
    }
}
