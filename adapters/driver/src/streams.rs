//! A map from streams to values, for streams that begin in ascending order. One value needs no allocation.

use portcullis::StreamId;

/// A value that belongs to a stream.
pub(crate) trait OfStream {
    /// Its stream.
    fn stream(&self) -> StreamId;
}

/// Values, sorted by their streams.
#[derive(Debug)]
pub(crate) struct Streams<T> {
    /// The value of the lowest stream. With HTTP/1.1 it is the only one.
    first: Option<T>,
    others: Vec<T>,
}

impl<T: OfStream> Streams<T> {
    pub(crate) const fn new() -> Self {
        Streams { first: None, others: Vec::new() }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    /// The value of the lowest stream.
    #[inline]
    pub(crate) fn first(&self) -> Option<&T> {
        self.first.as_ref()
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.others)
    }

    #[inline]
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(&mut self.others)
    }

    /// The value of `stream`.
    #[inline]
    pub(crate) fn get(&mut self, stream: StreamId) -> Option<&mut T> {
        let first = self.first.as_mut()?;
        if first.stream() == stream {
            return Some(first);
        }
        let place = self.others.binary_search_by_key(&stream, T::stream).ok()?;
        self.others.get_mut(place)
    }

    /// Adds the value of a stream that has begun after all others.
    #[inline]
    pub(crate) fn push(&mut self, value: T) {
        match self.first {
            None => self.first = Some(value),
            Some(_) => self.others.push(value),
        }
    }

    /// Removes the value of `stream`.
    #[inline]
    pub(crate) fn remove(&mut self, stream: StreamId) -> Option<T> {
        if self.first.as_ref()?.stream() == stream {
            let next = if self.others.is_empty() { None } else { Some(self.others.remove(0)) };
            let removed = std::mem::replace(&mut self.first, next);
            if self.first.is_none() && self.others.capacity() > 0 {
                // An idle connection keeps no memory of the streams that it had.
                self.others = Vec::new();
            }
            return removed;
        }
        let place = self.others.binary_search_by_key(&stream, T::stream).ok()?;
        Some(self.others.remove(place))
    }

    /// Removes all values, in the order of their streams.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = T> {
        self.first.take().into_iter().chain(std::mem::take(&mut self.others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis::{Config, Connection, Event, Tick};
    use std::sync::Arc;

    #[derive(Debug, PartialEq)]
    struct Value(StreamId, char);

    impl OfStream for Value {
        fn stream(&self) -> StreamId {
            self.0
        }
    }

    /// The numbers of streams 1 to `count`: a connection with so many requests gives them.
    fn ids(count: usize) -> Vec<StreamId> {
        let mut connection = Connection::new(Arc::new(Config::default()), Tick::ZERO);
        let mut wire = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(count);
        let mut ids = Vec::new();
        let mut events = connection.receive(Tick::ZERO, &mut wire).expect("it reads");
        while let Some((connection, event)) = events.next() {
            let Event::Request { stream, .. } = event else { continue };
            let mut stream = connection.stream(Tick::ZERO, stream);
            ids.push(stream.id());
            let status = http::StatusCode::NO_CONTENT;
            stream.answer(status, None, &mut bytes::Bytes::new()).expect("it is owed");
        }
        ids
    }

    #[test]
    fn values_are_found_by_their_streams_whichever_are_removed() {
        let ids = ids(4);
        let order = |streams: &Streams<Value>| streams.iter().map(|it| it.1).collect::<String>();
        for gone in 0..4 {
            let mut streams = Streams::new();
            assert!(streams.is_empty() && streams.first().is_none());
            for (id, name) in ids.iter().zip("abcd".chars()) {
                streams.push(Value(*id, name));
            }
            assert_eq!(streams.remove(ids[gone]).map(|it| it.1), "abcd".chars().nth(gone));
            assert_eq!(streams.remove(ids[gone]), None);
            let left: String =
                "abcd".chars().filter(|it| Some(*it) != "abcd".chars().nth(gone)).collect();
            assert_eq!(order(&streams), left);
            for (id, name) in ids.iter().zip("abcd".chars()) {
                let found = streams.get(*id).map(|it| it.1);
                assert_eq!(found, left.contains(name).then_some(name));
            }
            streams.iter_mut().for_each(|it| it.1 = it.1.to_ascii_uppercase());
            assert_eq!(streams.first().map(|it| it.1), left.to_uppercase().chars().next());
            assert_eq!(streams.take_all().count(), 3);
            assert!(streams.is_empty());
        }
    }
}
