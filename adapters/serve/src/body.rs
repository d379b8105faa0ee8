//! The content of every answer. It is one enumeration, so that no answer needs a boxed body.
//!
//! A frame is made only when it is polled for. The driver polls when the send buffer has room, so
//! backpressure reaches the file, the timer or the request's own content.

use crate::later::{Later, Sleep};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use portcullis_driver::content_room;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Why content ended early.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Content that is made in pieces.
pub(crate) trait Pieces: Send {
    /// The next piece, of about `room` bytes if that is known; `None` at the end.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        room: Option<usize>,
    ) -> Poll<Option<io::Result<Bytes>>>;

    /// The bytes that are still to come, if that is known.
    fn left(&self) -> Option<u64>;
}

/// The content of an answer to a request with content of type `B`.
pub struct AnswerBody<B>(Kind<B>);

enum Kind<B> {
    /// Bytes in memory.
    Whole(Bytes),
    /// That many bytes still to send of one static block, repeated.
    Repeated(u64),
    /// Server-sent events.
    Events(Box<Events>),
    /// The request's content, sent back.
    Echo(B),
    /// Pieces that are made when they are polled for: of a file, or of a directory's page.
    Pieces(Box<dyn Pieces>),
    /// The answer to HEAD: no content, but its length if that is known.
    Omitted(Option<u64>),
}

impl<B> AnswerBody<B> {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        AnswerBody(Kind::Whole(bytes.into()))
    }

    pub(crate) const fn repeated(length: u64) -> Self {
        AnswerBody(Kind::Repeated(length))
    }

    /// Sends events until `until` is ready, then ends.
    pub(crate) fn events(sleep: Sleep, until: Later<()>) -> Self {
        AnswerBody(Kind::Events(Box::new(Events {
            next: 0,
            pause: None,
            sleep,
            until: Some(until),
        })))
    }

    pub(crate) const fn echo(content: B) -> Self {
        AnswerBody(Kind::Echo(content))
    }

    pub(crate) const fn omitted(length: u64) -> Self {
        AnswerBody(Kind::Omitted(Some(length)))
    }

    /// Content for HEAD whose length is not known.
    pub(crate) const fn unmade() -> Self {
        AnswerBody(Kind::Omitted(None))
    }

    pub(crate) fn pieces(pieces: impl Pieces + 'static) -> Self {
        AnswerBody(Kind::Pieces(Box::new(pieces)))
    }
}

impl<B> Default for AnswerBody<B> {
    fn default() -> Self {
        AnswerBody::whole(Bytes::new())
    }
}

impl<B> From<Bytes> for AnswerBody<B> {
    fn from(bytes: Bytes) -> Self {
        AnswerBody::whole(bytes)
    }
}

impl<B> Body for AnswerBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let data = match &mut self.0 {
            Kind::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Kind::Whole(bytes) => std::mem::take(bytes),
            Kind::Repeated(0) | Kind::Omitted(_) => return Poll::Ready(None),
            Kind::Repeated(left) => take_repeated(left),
            Kind::Events(events) => match ready!(events.poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(event) => event,
            },
            Kind::Echo(content) => {
                return Pin::new(content)
                    .poll_frame(cx)
                    .map(|frame| frame.map(|frame| frame.map_err(Into::into)));
            }
            Kind::Pieces(pieces) => return pieces.poll_piece(cx, content_room()).map(as_frame),
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Repeated(left) => *left == 0,
            Kind::Omitted(length) => *length == Some(0),
            Kind::Events(events) => events.until.is_none(),
            Kind::Echo(content) => content.is_end_stream(),
            Kind::Pieces(pieces) => pieces.left() == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Repeated(left) | Kind::Omitted(Some(left)) => SizeHint::with_exact(*left),
            Kind::Omitted(None) | Kind::Events(_) => SizeHint::default(),
            Kind::Echo(content) => content.size_hint(),
            Kind::Pieces(pieces) => {
                pieces.left().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

impl<B> fmt::Debug for AnswerBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Whole(_) => "Whole",
            Kind::Repeated(_) => "Repeated",
            Kind::Events(_) => "Events",
            Kind::Echo(_) => "Echo",
            Kind::Pieces(_) => "Pieces",
            Kind::Omitted(_) => "Omitted",
        })
    }
}

fn as_frame(piece: Option<io::Result<Bytes>>) -> Option<Result<Frame<Bytes>, BoxError>> {
    piece.map(|piece| piece.map(Frame::data).map_err(Into::into))
}

/// The bytes of `Repeated`. They are lent, never copied.
static BLOCK: [u8; 64 << 10] = [b'x'; 64 << 10];

fn take_repeated(left: &mut u64) -> Bytes {
    let length = (BLOCK.len() as u64).min(*left);
    *left -= length;
    // In range: at most the length of the block.
    Bytes::from_static(BLOCK.get(..length as usize).unwrap_or_default())
}

/// One event at once, then one a second while the connection has room for it.
struct Events {
    next: u64,
    pause: Option<Later<()>>,
    sleep: Sleep,
    /// Ends the events. `None` once it was ready, since it must not be polled again.
    until: Option<Later<()>>,
}

impl Events {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(until) = &mut self.until else { return Poll::Ready(None) };
        if until.as_mut().poll(cx).is_ready() {
            // Nothing would poll the pause any more.
            (self.until, self.pause) = (None, None);
            return Poll::Ready(None);
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
        }
        self.pause = Some((self.sleep)(Duration::from_secs(1)));
        let event = format!("data: {}\n\n", self.next);
        self.next += 1;
        Poll::Ready(Some(event.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;
    use futures_lite::future::block_on;
    use http::{HeaderMap, HeaderValue};
    use http_body_util::{BodyExt, Full};
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::task::Waker;

    fn poll<B>(body: &mut AnswerBody<B>) -> Poll<Option<Bytes>>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        let frame = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
        frame.map(|it| it.map(|it| it.expect("no error").into_data().expect("data")))
    }

    #[test]
    fn repeated_bytes_are_lent_from_one_block_and_counted_exactly() {
        let mut body = AnswerBody::<Full<Bytes>>::repeated(150_000);
        assert_eq!(body.size_hint().exact(), Some(150_000));
        let mut lengths = Vec::new();
        while let Poll::Ready(Some(data)) = poll(&mut body) {
            assert_eq!(data.as_ptr(), BLOCK.as_ptr());
            lengths.push(data.len());
            assert_eq!(body.is_end_stream(), lengths.iter().sum::<usize>() == 150_000);
        }
        assert_eq!(lengths, [65_536, 65_536, 18_928]);
        assert!(AnswerBody::<Full<Bytes>>::repeated(0).is_end_stream());
    }

    #[test]
    fn whole_bytes_come_once() {
        let mut body = AnswerBody::<Full<Bytes>>::whole("abc");
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(poll(&mut body), Poll::Ready(Some("abc".into())));
        assert!(body.is_end_stream());
        assert_eq!(poll(&mut body), Poll::Ready(None));
    }

    #[test]
    fn events_end_on_the_signal_even_within_a_pause() {
        let end = Arc::new(AtomicBool::new(false));
        let told = end.clone();
        let until = poll_fn(move |_| match told.load(Relaxed) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        let mut body = AnswerBody::<Full<Bytes>>::events(
            |_| Box::pin(std::future::pending()),
            Box::pin(until),
        );
        assert_eq!(poll(&mut body), Poll::Ready(Some("data: 0\n\n".into())));
        assert_eq!(poll(&mut body), Poll::Pending);
        assert!(!body.is_end_stream());
        end.store(true, Relaxed);
        assert_eq!(poll(&mut body), Poll::Ready(None));
        assert!(body.is_end_stream());
        assert_eq!(poll(&mut body), Poll::Ready(None), "the future is not polled again");
    }

    #[test]
    fn events_come_a_second_apart_and_never_end() {
        /// Pending once, like the second between two events.
        struct Second(bool);
        impl Future for Second {
            type Output = ();
            fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
                if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
            }
        }
        let second: Sleep = |pause| {
            assert_eq!(pause, Duration::from_secs(1));
            Box::pin(Second(false))
        };
        let mut body = AnswerBody::<Full<Bytes>>::events(second, Box::pin(std::future::pending()));
        assert_eq!(body.size_hint().exact(), None);
        assert_eq!(poll(&mut body), Poll::Ready(Some("data: 0\n\n".into())));
        assert_eq!(poll(&mut body), Poll::Pending);
        assert_eq!(poll(&mut body), Poll::Ready(Some("data: 1\n\n".into())));
        assert_eq!(poll(&mut body), Poll::Pending);
        assert!(!body.is_end_stream());
    }

    #[test]
    fn an_echo_passes_frames_and_trailers_on() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        let frames = [Frame::data(Bytes::from("a")), Frame::trailers(trailers.clone())];
        let mut body = AnswerBody::echo(Frames::from_iter(frames.map(Ok)));
        assert_eq!(body.size_hint().exact(), None);
        let frames = block_on(async {
            let mut frames = Vec::new();
            while let Some(frame) = body.frame().await {
                frames.push(frame.expect("no error"));
            }
            frames
        });
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].data_ref(), Some(&Bytes::from("a")));
        assert_eq!(frames[1].trailers_ref(), Some(&trailers));
        let known = AnswerBody::echo(Full::new(Bytes::from("abc")));
        assert_eq!(known.size_hint().exact(), Some(3));
    }
}
