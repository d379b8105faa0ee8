//! A request's content on its way from the driver to the application, which may be on another task.
//!
//! Only content for which there is credit waits here: as much as one usual read brings, or more for a reader
//! that keeps up: four times as much, eight times over HTTP/2. Content counts with all the memory that it keeps alive.

use crate::error::BodyError;
use crate::waiting::{Place, Waiting};
use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body::Frame;
use portcullis::Config;
use std::collections::VecDeque;
use std::mem::{size_of, take};
use std::task::{Context, Poll};
use std::time::Duration;

/// Small pieces are joined up to this length, because each piece costs as much as many bytes.
const GATHERED: usize = 4 << 10;
/// The credit of a reader that may take its time, as a multiple of `receive_buffer_limit`.
const USUAL: u64 = 1;
/// The credit of a reader that has taken the last content at once.
const LARGE: u64 = 4;
/// The same over HTTP/2, where the credit is the client's window: a client that is far away sends at most so much
/// in a round trip.
const LARGE_WINDOW: u64 = 8;

/// How much content may wait for all handlers of a connection, as a multiple of that for one. The n-th of
/// several handlers gets the n-th part of the credit: so a hundred get 5.2 times as much as one, and a thousand
/// 7.5 times.
pub(crate) const HANDLERS: usize = 8;

/// The most memory that waiting content takes for a handler that is alone.
pub(crate) fn memory_bound(config: &Config) -> usize {
    let most = if config.http2() { LARGE_WINDOW } else { LARGE };
    let bytes = most.saturating_mul(config.receive_buffer_limit()) as usize;
    // A queue may have room for twice the pieces that it has held.
    let pieces = 2 * (bytes / GATHERED + 2) * size_of::<Piece>();
    bytes.saturating_add(pieces + GATHERED)
}

/// Where the driver and the application meet.
#[derive(Debug)]
pub(crate) struct Upload(Place<State>);

#[derive(Debug, Default)]
struct State {
    data: VecDeque<Piece>,
    /// The number of bytes that `data` keeps alive.
    kept: usize,
    end: Option<Result<Option<HeaderMap>, BodyError>>,
    wanted: bool,
    /// The reader has asked for content since the driver last woke it to see whether it still waits.
    is_read: bool,
    /// `came`: content has come since the driver last looked. `keeps_up`: the reader had then taken all of
    /// the content before.
    came: bool,
    keeps_up: bool,
    /// The reader was dropped, so nobody takes content any more.
    abandoned: bool,
    limit: Option<Option<u64>>,
    deadline: Option<Option<Duration>>,
    /// The request came over HTTP/2.
    is_windowed: bool,
    reader: Waiting,
    driver: Waiting,
}

#[derive(Debug)]
enum Piece {
    /// Bytes of its own.
    Own(Vec<u8>),
    /// Shared bytes, and the number of bytes that they keep alive.
    Shared(Bytes, usize),
}

impl Piece {
    fn kept(&self) -> usize {
        match self {
            Piece::Own(bytes) => bytes.capacity(),
            Piece::Shared(_, kept) => *kept,
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Piece::Own(bytes) => bytes.into(),
            Piece::Shared(bytes, _) => bytes,
        }
    }
}

/// The application's requests to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// A limit for the content.
    pub(crate) limit: Option<Option<u64>>,
    /// The time for all of the content.
    pub(crate) deadline: Option<Option<Duration>>,
    /// More content: so many times `receive_buffer_limit`.
    pub(crate) wanted: Option<u64>,
}

// ---- the driver's side -----------------------------------------------------------------------------

impl Upload {
    /// The content of a request that came with this version of HTTP.
    pub(crate) fn new(version: Version) -> Self {
        let mut place = Place::<State>::default();
        place.get_mut().is_windowed = version >= Version::HTTP_2;
        Upload(place)
    }

    /// Takes the application's wishes. Each wish is returned once.
    pub(crate) fn wishes(&self, cx: &Context<'_>) -> Wishes {
        self.0.visit(|state, calls| {
            state.driver.register(cx, calls);
            if take(&mut state.came) {
                state.keeps_up = state.data.is_empty();
            }
            let credit = match state.keeps_up {
                true if state.is_windowed => LARGE_WINDOW,
                true => LARGE,
                false => USUAL,
            };
            Wishes {
                limit: state.limit.take(),
                deadline: state.deadline.take(),
                wanted: take(&mut state.wanted).then_some(credit),
            }
        })
    }

    /// Wakes the reader, to see whether it asks again.
    pub(crate) fn ask_reader(&self) {
        self.0.visit(|state, calls| {
            state.is_read = false;
            state.reader.wake(calls);
        });
    }

    /// Whether the reader has asked for content since then.
    pub(crate) fn is_read(&self) -> bool {
        self.0.visit(|state, _| state.is_read)
    }

    /// Content has come. It is copied.
    pub(crate) fn push(&self, data: &[u8]) {
        self.put(data.len(), |state| {
            if let Some(Piece::Own(last)) = state.data.back_mut()
                && last.len() + data.len() <= GATHERED
            {
                let before = last.capacity();
                last.extend_from_slice(data);
                state.kept += last.capacity() - before;
            } else {
                state.add(Piece::Own(data.to_vec()));
            }
        });
    }

    /// Content has come that keeps `kept` bytes alive.
    pub(crate) fn push_shared(&self, data: Bytes, kept: usize) {
        let length = data.len();
        self.put(length, |state| state.add(Piece::Shared(data, kept)));
    }

    fn put(&self, length: usize, put: impl FnOnce(&mut State)) {
        self.0.visit(|state, calls| {
            if state.abandoned || length == 0 {
                return;
            }
            put(state);
            state.came = true;
            let State { reader, driver, .. } = state;
            reader.wake_from(driver, calls);
        });
    }

    /// The content has ended, in good order or not. Only the first end counts.
    pub(crate) fn end(&self, end: Result<Option<HeaderMap>, BodyError>) {
        let _driver = self.0.visit(|State { end: known, reader, driver, .. }, calls| {
            if known.is_some() {
                return None;
            }
            *known = Some(end);
            reader.wake_from(driver, calls);
            driver.leave()
        });
    }

    /// The number of bytes that wait here, with the bytes that they keep alive.
    pub(crate) fn memory(&self) -> usize {
        self.0.visit(|state, _| state.kept + state.data.capacity() * size_of::<Piece>())
    }
}

impl State {
    fn add(&mut self, piece: Piece) {
        self.kept += piece.kept();
        self.data.push_back(piece);
    }

    fn next(&mut self) -> Option<Bytes> {
        let piece = self.data.pop_front()?;
        self.kept -= piece.kept();
        if self.data.is_empty() && self.data.capacity() > 4 {
            // A queue that grew for many small pieces is not kept.
            self.data = VecDeque::new();
        }
        Some(piece.into_bytes())
    }
}

// ---- the application's side ------------------------------------------------------------------------

impl Upload {
    pub(crate) fn set_limit(&self, limit: Option<u64>) {
        self.0.visit(|state, _| state.limit = Some(limit));
    }

    pub(crate) fn set_deadline(&self, time: Option<Duration>) {
        self.0.visit(|state, _| state.deadline = Some(time));
    }

    /// Whether all content was taken, and no more will come.
    pub(crate) fn is_at_end(&self) -> bool {
        self.0.visit(|state, _| state.data.is_empty() && matches!(state.end, Some(Ok(None))))
    }

    /// The reader was dropped.
    pub(crate) fn abandon(&self) {
        // The content is dropped after the visit.
        let _left = self.0.visit(|state, _| {
            (state.wanted, state.is_read, state.abandoned) = (false, false, true);
            state.kept = 0;
            (take(&mut state.data), state.reader.leave())
        });
    }

    pub(crate) fn poll_frame(
        &self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.visit(|state, calls| {
            if let Some(data) = state.next() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            match &mut state.end {
                None => {}
                Some(Ok(trailers)) => {
                    let trailers = trailers.take();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(*error))),
            }
            (state.wanted, state.is_read) = (true, true);
            state.reader.register(cx, calls);
            state.driver.call(cx, calls);
            Poll::Pending
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn take_all(upload: &Upload) -> Vec<u8> {
        let mut all = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = upload.poll_frame(&cx()) {
            all.extend(frame.into_data().expect("no trailers"));
        }
        all
    }

    #[test]
    fn small_pieces_are_put_together_and_take_little_more_than_their_bytes() {
        let upload = Upload::new(Version::HTTP_11);
        let bytes: Vec<u8> = (0..64 << 10).map(|place| place as u8).collect();
        bytes.iter().for_each(|byte| upload.push(&[*byte]));
        let memory = upload.memory();
        assert!(memory < bytes.len() + 4096, "{memory}");
        let config = Config::builder().receive_buffer_limit(bytes.len() as u64 / 4).build();
        assert!(memory <= memory_bound(&config.expect("in range")), "{memory}");
        assert_eq!(take_all(&upload), bytes);
        assert_eq!(upload.memory(), 0);
    }

    #[test]
    fn what_is_shared_counts_with_all_that_it_keeps() {
        let upload = Upload::new(Version::HTTP_11);
        let buffer = Bytes::from(vec![7; 1000]);
        upload.push_shared(buffer.slice(100..600), 1000);
        upload.push(b"abc");
        assert!((1003..1300).contains(&upload.memory()), "{}", upload.memory());
        assert_eq!(take_all(&upload).len(), 503);
        upload.push_shared(buffer, 1000);
        upload.abandon();
        assert_eq!(upload.memory(), 0);
        upload.push(b"abc");
        assert_eq!(upload.memory(), 0, "nobody takes it");
    }

    #[test]
    fn much_is_given_to_those_that_have_taken_the_last_at_once() {
        let upload = Upload::new(Version::HTTP_11);
        let asks = |upload: &Upload| {
            assert!(upload.poll_frame(&cx()).is_pending());
            upload.wishes(&cx()).wanted
        };
        assert_eq!(asks(&upload), Some(USUAL));
        upload.push(b"abc");
        assert_eq!(take_all(&upload), b"abc");
        assert_eq!(asks(&upload), Some(LARGE));
        upload.push(b"abc");
        assert_eq!(upload.wishes(&cx()).wanted, None, "it waits");
        assert_eq!(take_all(&upload), b"abc");
        assert_eq!(asks(&upload), Some(USUAL));
        let upload = Upload::new(Version::HTTP_2);
        assert_eq!(asks(&upload), Some(USUAL));
        upload.push(b"abc");
        assert_eq!(take_all(&upload), b"abc");
        assert_eq!(asks(&upload), Some(LARGE_WINDOW));
    }
}
