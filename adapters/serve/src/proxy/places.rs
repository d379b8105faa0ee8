//! Places at the upstream server: how many requests it works on at once, and how many wait for it.
//!
//! Requests whose content is still on its way get at most half of the places. So slow uploads leave the other half to
//! requests that are whole.

use crate::later::Sleep;
use futures_util::future::{Either, select};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A place for one request. Dropping it lets the next request in.
#[derive(Debug)]
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    _upload: Option<OwnedSemaphorePermit>,
}

/// All places are taken, and the queue is full or was too slow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The places, and the queue before them, in the order of arrival.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// For requests whose content is on its way.
    uploads: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    patience: Duration,
    sleep: Sleep,
}

/// One in the queue, also while its future is dropped.
struct Waiting<'p>(&'p AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}

impl Places {
    pub(super) fn new(places: usize, queue: usize, patience: Duration, sleep: Sleep) -> Self {
        let places = places.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(places));
        let uploads = Arc::new(Semaphore::new((places / 2).max(1)));
        Places { free, uploads, waiting: AtomicUsize::new(0), queue, patience, sleep }
    }

    /// Waits for a place, for a request whose content has come, or is on its way. Dropping the future leaves the
    /// queue.
    pub(super) async fn take(&self, is_upload: bool) -> Result<Place, Full> {
        let turn = pin!(self.turn(is_upload));
        // Most need not wait. Nobody is overtaken: a place that becomes free is given to the first who waits.
        let turn = match poll_once(turn).await {
            Ok(place) => return Ok(place),
            Err(turn) => turn,
        };
        let before = self.waiting.fetch_add(1, AcqRel);
        let _waiting = Waiting(&self.waiting);
        if before >= self.queue {
            return Err(Full);
        }
        match select(turn, (self.sleep)(self.patience)).await {
            Either::Left((place, _)) => Ok(place),
            Either::Right(_) => Err(Full),
        }
    }

    async fn turn(&self, is_upload: bool) -> Place {
        let acquire = async |places: &Arc<Semaphore>| match places.clone().acquire_owned().await {
            Ok(permit) => permit,
            // The semaphore is never closed.
            Err(_) => pending().await,
        };
        let upload = if is_upload { Some(acquire(&self.uploads).await) } else { None };
        Place { _upload: upload, _place: acquire(&self.free).await }
    }
}

/// The future's value if it is ready, or the future.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Result<F::Output, F> {
    match poll_fn(|cx| Poll::Ready(Pin::new(&mut future).poll(cx))).await {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(future),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::future::ready;

    #[test]
    fn those_who_wait_are_bounded_served_in_turn_and_free_their_place() {
        let places = Places::new(1, 2, Duration::from_secs(1), |_| Box::pin(pending()));
        let take = || Box::pin(places.take(false));
        let first = take().now_or_never().expect("free").expect("free");
        let (mut second, mut third) = (take(), take());
        assert!(
            second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none()
        );
        assert_eq!(take().now_or_never().map(|place| place.err()), Some(Some(Full)));
        drop(first);
        assert!(take().now_or_never().expect("no place in the queue").is_err(), "no overtaking");
        // The one that leaves was the next.
        drop(second);
        assert!(third.as_mut().now_or_never().expect("its turn").is_ok());
        assert!(take().now_or_never().expect("free again").is_ok());
    }

    #[test]
    fn waiting_ends_after_the_time() {
        let places = Places::new(1, 2, Duration::from_secs(1), |_| Box::pin(ready(())));
        let _first = places.take(false).now_or_never().expect("free").expect("free");
        assert_eq!(places.take(false).now_or_never().map(|place| place.err()), Some(Some(Full)));
    }

    #[test]
    fn uploads_leave_half_of_the_places() {
        let places = Places::new(2, 5, Duration::from_secs(1), |_| Box::pin(pending()));
        let _upload = places.take(true).now_or_never().expect("free").expect("free");
        let mut second = Box::pin(places.take(true));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(places.take(false).now_or_never().expect("free").is_ok());
        drop(_upload);
        assert!(second.as_mut().now_or_never().expect("its turn").is_ok());
    }
}
