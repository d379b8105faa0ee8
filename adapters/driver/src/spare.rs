//! Memory that one request leaves for the next request on its thread: the map of fields, the texts, and the
//! box of the handler's future.
//!
//! The next request gets the map of the last answer. The texts of short heads are cut from one allocation.
//! The next exchange gets the box of the last one.

use crate::presence::Presence;
use bytes::BytesMut;
use http::{HeaderMap, Request};
use portcullis::{Refusal, RequestHead};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;

/// The size of the allocation that the texts of requests share. A text that the handler keeps, keeps all of
/// it alive.
const TEXT: usize = 2048;
/// A map with room for more fields is not kept.
const FIELDS: usize = 64;

/// A box that can be emptied and used again.
pub(crate) type Slot<T> = Pin<Box<Option<T>>>;

/// The empty box that an exchange left.
type Left<T> = Option<Slot<T>>;

#[derive(Default)]
struct Spare {
    fields: HeaderMap,
    text: BytesMut,
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
    /// A [`Left`] of the type that was used last.
    static BOX: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    /// It is as new, and nobody else holds it.
    static PRESENCE: Cell<Option<Arc<Presence>>> = const { Cell::new(None) };
}

/// Writes `head` into a new request, with the spare map and text.
pub(crate) fn write<B>(head: &RequestHead<'_>, request: &mut Request<B>) -> Result<(), Refusal> {
    SPARE.with_borrow_mut(|spare| {
        std::mem::swap(request.headers_mut(), &mut spare.fields);
        if spare.text.capacity() == 0 {
            spare.text.reserve(TEXT);
        }
        head.write_to(request, &mut spare.text)
    })
}

/// Keeps the map of an answer that was sent.
pub(crate) fn keep(fields: &mut HeaderMap) {
    if (1..=FIELDS).contains(&fields.capacity()) {
        // Values may be the application's own, so they are dropped before the spare memory is borrowed.
        fields.clear();
        SPARE.with_borrow_mut(|spare| std::mem::swap(fields, &mut spare.fields));
    }
}

/// Boxes the value of `make`, in the box that the last exchange on this thread left if it has the same type.
pub(crate) fn boxed<T: 'static>(make: impl FnOnce() -> T) -> Slot<T> {
    let left = BOX.with_borrow_mut(|left| left.as_mut()?.downcast_mut::<Left<T>>()?.take());
    match left {
        Some(mut left) => {
            left.set(Some(make()));
            left
        }
        None => Box::pin(Some(make())),
    }
}

/// A presence for a new exchange.
pub(crate) fn presence() -> Arc<Presence> {
    PRESENCE.take().unwrap_or_default()
}

/// Keeps the presence of an exchange that is over. If a handler still holds it, the handler is told of the
/// end instead.
pub(crate) fn keep_presence(mut left: Arc<Presence>) {
    match Arc::get_mut(&mut left) {
        Some(alone) => {
            alone.renew();
            PRESENCE.set(Some(left));
        }
        None => left.end(),
    }
}

/// Keeps the box of an exchange that is over.
pub(crate) fn keep_box<T: 'static>(mut left: Slot<T>) {
    left.set(None);
    BOX.with_borrow_mut(|place| match place.as_mut().and_then(|place| place.downcast_mut()) {
        Some(place) => *place = Some(left),
        None => *place = Some(Box::new(Some(left) as Left<T>)),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::Disconnected;
    use portcullis::{Config, Connection, Event, Tick};
    use std::sync::Arc;

    fn read(mut wire: Vec<u8>) -> Request<()> {
        let mut connection = Connection::new(Arc::new(Config::default()), Tick::ZERO);
        let mut events = connection.receive(Tick::ZERO, &mut wire).expect("it reads");
        let Some((_, Event::Request { head, .. })) = events.next() else { panic!("no request") };
        let mut request = Request::new(());
        write(&head, &mut request).expect("valid");
        request
    }

    #[test]
    fn a_request_shows_nothing_of_the_answer_whose_map_it_has() {
        let mut answer = HeaderMap::new();
        answer.append("x-secret", "1".parse().expect("a value"));
        answer.append("x-secret", "2".parse().expect("a value"));
        keep(&mut answer);
        assert!(answer.is_empty());
        let request = read(b"GET /a HTTP/1.1\r\nHost: h\r\nX-One: 1\r\n\r\n".to_vec());
        assert_eq!((request.uri().path(), request.headers().len()), ("/a", 2));
        assert_eq!(request.headers()["x-one"], "1");
    }

    #[test]
    fn requests_that_are_kept_keep_their_texts() {
        let kept: Vec<_> = (0..200)
            .map(|number| read(format!("GET /{number} HTTP/1.1\r\nHost: h{number}\r\n\r\n").into()))
            .collect();
        for (number, request) in kept.iter().enumerate() {
            assert_eq!(request.uri().path(), format!("/{number}"));
            assert_eq!(request.headers()["host"], format!("h{number}"));
        }
    }

    #[test]
    fn a_box_is_used_again_for_its_own_type_only() {
        let dropped = Arc::new(());
        let first = boxed(|| dropped.clone());
        let address = |it: &Slot<Arc<()>>| &raw const **it as usize;
        let place = address(&first);
        keep_box(first);
        assert_eq!(Arc::strong_count(&dropped), 1, "what was in it is gone");
        assert_eq!(*boxed(|| 7), Some(7));
        let second = boxed(|| dropped.clone());
        assert_eq!(address(&second), place);
        keep_box(boxed(|| "another type"));
        keep_box(second);
        assert_eq!(*boxed(|| dropped.clone()), Some(dropped.clone()));
    }

    #[test]
    fn a_presence_is_used_again_unless_somebody_has_it() {
        let first = presence();
        let address = Arc::as_ptr(&first);
        first.leave();
        keep_presence(first);
        let again = presence();
        assert_eq!(Arc::as_ptr(&again), address);
        let peer = Disconnected::new(again.clone());
        assert!(!peer.is_disconnected(), "it is as new");
        keep_presence(again);
        assert!(peer.is_disconnected());
        assert_ne!(Arc::as_ptr(&presence()), address);
    }

    #[test]
    fn a_map_that_grew_large_is_not_kept() {
        let mut large = HeaderMap::with_capacity(1000);
        keep(&mut large);
        let request = read(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec());
        assert!(request.headers().capacity() <= FIELDS);
        assert!(large.capacity() >= 1000, "the caller drops it");
    }
}
