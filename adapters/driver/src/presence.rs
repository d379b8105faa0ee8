//! Tells handlers whether the peer of their exchange is still there, and whether the server drains.
//!
//! In: what the driver learns from the socket and from its orders. Out: futures that are ready then. A
//! handler that works for long can stop early, and a stream of events can end in good order.

use crate::error::BodyError;
use crate::upgrade::Pipe;
use crate::waiting::Place;
use slab::Slab;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The state that the driver shares with the futures that wait.
#[derive(Debug, Default)]
pub(crate) struct Presence(Place<State>);

#[derive(Debug, Default)]
struct State {
    is_gone: bool,
    is_draining: bool,
    is_over: bool,
    /// The tunnel that the request asks for, until it is accepted.
    offer: Option<Arc<Pipe>>,
    /// A waker for each future that waits, for either event.
    wakers: Slab<Waker>,
}

impl Presence {
    /// The peer sends no more, and may have gone.
    pub(crate) fn leave(&self) {
        self.change(|state| &mut state.is_gone);
    }

    /// The exchange is over.
    pub(crate) fn end(&self) {
        self.leave();
        self.change(|state| &mut state.is_over);
        if let Some(refused) = self.take_offer() {
            refused.end(BodyError::Closed);
        }
    }

    /// The request asks for a tunnel.
    pub(crate) fn offer(&self, pipe: Arc<Pipe>) {
        self.0.visit(|state, _| state.offer = Some(pipe));
    }

    /// The tunnel that the request asks for, which is its taker's to accept.
    pub(crate) fn take_offer(&self) -> Option<Arc<Pipe>> {
        self.0.visit(|state, _| state.offer.take())
    }

    /// Makes it as new. Nobody else holds it, so nothing waits.
    pub(crate) fn renew(&mut self) {
        let state = self.0.get_mut();
        (state.is_gone, state.is_draining, state.is_over) = (false, false, false);
        if let Some(refused) = state.offer.take() {
            refused.end(BodyError::Closed);
        }
    }

    /// The server drains.
    pub(crate) fn drain(&self) {
        self.change(|state| &mut state.is_draining);
    }

    fn change(&self, flag: impl FnOnce(&mut State) -> &mut bool) {
        self.0.visit(|state, calls| {
            if !std::mem::replace(flag(state), true) {
                state.wakers.iter().for_each(|(_, waker)| calls.wake(waker.clone()));
            }
        });
    }
}

/// The place of one future among those that wait.
#[derive(Debug)]
struct Waiter {
    presence: Arc<Presence>,
    place: Option<usize>,
}

impl Waiter {
    fn poll(&mut self, cx: &Context<'_>, is_ready: impl FnOnce(&State) -> bool) -> Poll<()> {
        let place = &mut self.place;
        // Dropping a waker may run any code, so the old waker is dropped after the visit.
        let (polled, _old) = self.presence.0.visit(|state, _| {
            if is_ready(state) {
                return (Poll::Ready(()), None);
            }
            let known = place.and_then(|place| state.wakers.get_mut(place));
            let old = match known {
                Some(waker) if waker.will_wake(cx.waker()) => None,
                Some(waker) => Some(std::mem::replace(waker, cx.waker().clone())),
                None => {
                    *place = Some(state.wakers.insert(cx.waker().clone()));
                    None
                }
            };
            (Poll::Pending, old)
        });
        polled
    }
}

impl Clone for Waiter {
    fn clone(&self) -> Self {
        Waiter { presence: self.presence.clone(), place: None }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let _own = self.presence.0.visit(|state, _| state.wakers.try_remove(place));
        }
    }
}

/// Ready when the peer of a request has gone: it has sent a FIN or a reset, or the connection is closed. Also
/// ready when the exchange is over. It is among the extensions of each request. A [`Native`](crate::Native)
/// service gets it from [`Incoming::disconnected`](crate::Incoming::disconnected).
///
/// A peer that has sent its FIN may still read the answer, because some clients close their sending side
/// after the request. So the handler is not dropped then, but after `peer_gone_timeout`.
///
/// ```
/// use bytes::Bytes;
/// use futures_lite::future::or;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use portcullis_driver::{Body, Disconnected};
/// # async fn compute() -> Bytes { Bytes::new() }
///
/// async fn report(request: Request<Body>) -> Response<Full<Bytes>> {
///     let gone = request.extensions().get::<Disconnected>().cloned();
///     let work = async { Some(compute().await) };
///     let text = match gone {
///         // The work is dropped if nobody waits for it any more.
///         Some(gone) => or(work, async { gone.await; None }).await,
///         None => work.await,
///     };
///     Response::new(Full::new(text.unwrap_or_default()))
/// }
/// # let _ = report;
/// ```
#[derive(Clone, Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Disconnected(Waiter);

impl Disconnected {
    pub(crate) fn new(presence: Arc<Presence>) -> Self {
        Disconnected(Waiter { presence, place: None })
    }

    /// Whether the peer has gone already.
    pub fn is_disconnected(&self) -> bool {
        self.0.presence.0.visit(|state, _| state.is_gone)
    }

    /// Ready when the server, or this connection, begins to drain. A stream without an end of its own should
    /// end then. Also ready when the exchange is over.
    pub fn draining(&self) -> Draining {
        Draining(self.0.clone())
    }
}

impl Future for Disconnected {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx, |state| state.is_gone)
    }
}

/// Ready when the server, or the connection, begins to drain: see [`Disconnected::draining`].
#[derive(Clone, Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Draining(Waiter);

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx, |state| state.is_draining || state.is_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counted::Counted;

    #[test]
    fn each_future_is_woken_once_and_leaves_nothing_behind() {
        let presence = Arc::<Presence>::default();
        let (woken, waker) = Counted::task();
        let mut cx = Context::from_waker(&waker);
        let mut gone = Disconnected::new(presence.clone());
        let mut other = gone.clone();
        let mut draining = gone.draining();
        for _ in 0..2 {
            assert!(Pin::new(&mut gone).poll(&mut cx).is_pending());
            assert!(Pin::new(&mut other).poll(&mut cx).is_pending());
            assert!(Pin::new(&mut draining).poll(&mut cx).is_pending());
        }
        assert_eq!(presence.0.visit(|state, _| state.wakers.len()), 3);
        presence.drain();
        presence.drain();
        assert_eq!(woken.times_woken(), 3);
        assert!(Pin::new(&mut draining).poll(&mut cx).is_ready());
        assert!(Pin::new(&mut gone).poll(&mut cx).is_pending() && !gone.is_disconnected());
        drop(other);
        presence.leave();
        assert!(Pin::new(&mut gone).poll(&mut cx).is_ready() && gone.is_disconnected());
        assert_eq!(woken.times_woken(), 5);
        drop((gone, draining));
        assert_eq!(presence.0.visit(|state, _| state.wakers.len()), 0);
    }
}
