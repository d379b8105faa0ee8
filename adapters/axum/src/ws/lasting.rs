//! The future of a websocket's callback, which may last longer than the websocket.

use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

/// A future that becomes a task of its own when it is dropped before it has ended.
///
/// The driver drops what runs for a stream when the stream is gone. A callback that was written for axum
/// expects to go on: it tells others that its client has left, and frees what it holds for the client.
pub(super) struct Lasting {
    /// Until it has ended. While it is polled it is not here, so that a panic leaves nothing.
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Where it goes on, if tokio runs here.
    runtime: Option<Handle>,
}

impl Lasting {
    pub(super) fn new(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Lasting { future: Some(Box::pin(future)), runtime: Handle::try_current().ok() }
    }
}

impl Future for Lasting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut future) = self.future.take() else { return Poll::Ready(()) };
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            self.future = Some(future);
        }
        polled
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        if let (Some(future), Some(runtime)) = (self.future.take(), &self.runtime) {
            drop(runtime.spawn(future));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;
    use std::task::Waker;

    /// A future that is pending once, and then tells its end.
    fn pending_once(told: mpsc::Sender<()>) -> impl Future<Output = ()> {
        let mut polls = 0;
        poll_fn(move |cx| {
            polls += 1;
            if polls == 1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let _ = told.send(());
            Poll::Ready(())
        })
    }

    #[tokio::test]
    async fn what_was_not_ready_goes_on_as_a_task() {
        for polls in [0, 1] {
            let (told, tells) = mpsc::channel();
            let mut lasting = Lasting::new(pending_once(told));
            for _ in 0..polls {
                let cx = &mut Context::from_waker(Waker::noop());
                assert!(Pin::new(&mut lasting).poll(cx).is_pending());
            }
            drop(lasting);
            // The runtime of this test has one thread, whose turn it is now.
            while tells.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn what_has_ended_or_panicked_is_not_polled_again() {
        let (told, tells) = mpsc::channel();
        Lasting::new(pending_once(told)).await;
        assert_eq!(tells.try_iter().count(), 1);
        let mut panicking = Lasting::new(async { panic!("as it was told") });
        let cx = &mut Context::from_waker(Waker::noop());
        let caught = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut panicking).poll(cx)));
        assert!(caught.is_err());
        assert!(panicking.future.is_none(), "dropping it spawns nothing");
    }

    #[test]
    fn without_tokio_the_rest_is_dropped() {
        let (told, tells) = mpsc::channel();
        drop(Lasting::new(pending_once(told)));
        assert_eq!(tells.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }
}
