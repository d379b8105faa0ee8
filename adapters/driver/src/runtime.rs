//! The traits of a runtime: it spawns tasks, and has timers.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::Instant;

/// A runtime. Its value is a handle that is cheap to clone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `Runtime` that a `Server` can spawn connections on",
    label = "this is no `Runtime`",
    note = "use the adapter for the runtime: `portcullis_tokio::Tokio`, `portcullis_smol::Smol` or `portcullis_async_std::AsyncStd`",
    note = "for another runtime, implement `Runtime`: a way to spawn, and a `Timer`"
)]
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Wakes a task later.
    type Timer: Timer;

    /// Runs `future` to its end as a task of its own. Its waker wakes nothing else.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);
}

/// Wakes a task once, at a moment that can be moved. A connection needs nothing else of its runtime.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `Timer` of a runtime",
    label = "this is no `Timer`",
    note = "use the adapter for the runtime: its `serve_connection` brings the timer"
)]
pub trait Timer: Send + Unpin + 'static {
    /// A timer for `at`.
    fn new(at: Instant) -> Self;

    /// Moves the timer to `at`.
    fn reset(&mut self, at: Instant);

    /// Ready when the moment has come. Wakes the task then.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Wakes the current task after the other tasks that are ready had their turn. Tasks whose sockets are
    /// ready count among them.
    fn yield_now(cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }
}
