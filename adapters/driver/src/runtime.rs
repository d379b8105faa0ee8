//! What a runtime has to offer: a way to spawn, and a timer.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::Instant;

/// A runtime. Its value is a handle, cheap to clone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `Runtime` that a `Server` can spawn connections on",
    label = "this is no `Runtime`",
    note = "use the adapter for the runtime: `portcullis_tokio::Tokio`, `portcullis_smol::Smol` or `portcullis_async_std::AsyncStd`",
    note = "for another runtime, implement `Runtime`: a way to spawn, and a `Timer`"
)]
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Wakes a task later.
    type Timer: Timer;

    /// Runs `future` to its end, as a task of its own: nothing else is woken by its waker.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);
}

/// Wakes a task once, at a moment that can be moved. It is all that a connection needs of its runtime.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `Timer` of a runtime",
    label = "this is no `Timer`",
    note = "use the adapter for the runtime: its `serve_connection` brings the timer"
)]
pub trait Timer: Send + Unpin + 'static {
    /// A timer for `at`.
    fn new(at: Instant) -> Self;

    /// Moves it to `at`.
    fn reset(&mut self, at: Instant);

    /// Ready when the moment has come; wakes the task then.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Wakes the current task as soon as the other tasks that can go on had their turn, also those
    /// whose sockets have something to tell.
    fn yield_now(cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }
}
