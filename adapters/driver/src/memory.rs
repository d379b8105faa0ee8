//! A stream in memory: both ends in one process, without the system.

use crate::waiting::{Place, Waiting};
use futures_io::{AsyncRead, AsyncWrite};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The two ends of a stream. One end reads what the other writes. At most `capacity` bytes, and at least one,
/// wait in each direction. A writer waits until the reader has made room.
///
/// One end is for a server, such as an adapter's `serve_connection`. The other end is a client in the same
/// process.
///
/// ```
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
/// use portcullis_driver::memory;
///
/// futures_lite::future::block_on(async {
///     let (mut one, mut other) = memory::pair(1024);
///     one.write_all(b"hello").await?;
///     one.close().await?;
///     let mut text = String::new();
///     other.read_to_string(&mut text).await?;
///     assert_eq!(text, "hello");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub fn pair(capacity: usize) -> (Stream, Stream) {
    let capacity = capacity.max(1);
    let [there, back] = [(); 2].map(|()| Arc::<Direction>::default());
    let one = Stream { capacity, incoming: back.clone(), outgoing: there.clone() };
    (one, Stream { capacity, incoming: there, outgoing: back })
}

/// One end of a stream in memory, made by [`pair`].
///
/// Dropping an end closes it. The other end reads the bytes that were written, and then the end of the
/// stream. Its own writes fail with [`ErrorKind::BrokenPipe`].
///
/// An end has the traits of `futures_io`. With the feature `tokio`, which the adapter for tokio turns on, it
/// also has those of tokio.
#[derive(Debug)]
pub struct Stream {
    capacity: usize,
    incoming: Arc<Direction>,
    outgoing: Arc<Direction>,
}

type Direction = Place<State>;

/// One direction.
#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    /// The writer has closed.
    is_finished: bool,
    /// The reader was dropped.
    is_abandoned: bool,
    reader: Waiting,
    writer: Waiting,
}

impl Stream {
    fn read(&self, cx: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.incoming.visit(|state, calls| {
            if state.bytes.is_empty() && !state.is_finished && !buffer.is_empty() {
                state.reader.register(cx, calls);
                return Poll::Pending;
            }
            let read = state.bytes.read(buffer);
            if state.bytes.is_empty() {
                // An idle stream keeps no buffer.
                state.bytes = VecDeque::new();
            }
            state.writer.wake(calls);
            Poll::Ready(read)
        })
    }

    fn write(&self, cx: &Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.outgoing.visit(|state, calls| {
            if state.is_finished || state.is_abandoned {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            }
            let before = state.bytes.len();
            for slice in slices {
                let room = self.capacity.saturating_sub(state.bytes.len());
                state.bytes.extend(slice.iter().take(room));
            }
            let written = state.bytes.len() - before;
            if written == 0 && slices.iter().any(|slice| !slice.is_empty()) {
                state.writer.register(cx, calls);
                return Poll::Pending;
            }
            state.reader.wake(calls);
            Poll::Ready(Ok(written))
        })
    }

    fn finish(&self) {
        self.outgoing.visit(|state, calls| {
            state.is_finished = true;
            state.reader.wake(calls);
        });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.finish();
        let _unread = self.incoming.visit(|state, calls| {
            state.is_abandoned = true;
            state.writer.wake(calls);
            std::mem::take(&mut state.bytes)
        });
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

#[cfg(feature = "tokio")]
mod tokio_traits {
    use super::Stream;
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    impl AsyncRead for Stream {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let bytes = ready!(self.read(cx, buffer.initialize_unfilled()))?;
            buffer.advance(bytes);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Stream {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.write(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.write(cx, slices)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.finish();
            Poll::Ready(Ok(()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counted::Counted;

    fn read(stream: &Stream, cx: &Context<'_>) -> Poll<Result<Vec<u8>, ErrorKind>> {
        let mut buffer = [0; 16];
        let polled = stream.read(cx, &mut buffer);
        polled.map_ok(|bytes| buffer[..bytes].to_vec()).map_err(|error| error.kind())
    }

    fn write(stream: &Stream, cx: &Context<'_>, bytes: &[u8]) -> Poll<Result<usize, ErrorKind>> {
        stream.write(cx, &[IoSlice::new(bytes)]).map_err(|error| error.kind())
    }

    #[test]
    fn no_more_than_the_capacity_waits_and_each_side_wakes_the_other() {
        let ((reader, reads), (writer, writes)) = (Counted::task(), Counted::task());
        let (reads, writes) = (Context::from_waker(&reads), Context::from_waker(&writes));
        let (one, other) = pair(4);
        assert_eq!(read(&other, &reads), Poll::Pending);
        assert_eq!(write(&one, &writes, b"abcdef"), Poll::Ready(Ok(4)));
        assert_eq!(reader.times_woken(), 1);
        assert_eq!(write(&one, &writes, b"ef"), Poll::Pending);
        assert_eq!(read(&other, &reads), Poll::Ready(Ok(b"abcd".to_vec())));
        assert_eq!(writer.times_woken(), 1);
        let slices = [IoSlice::new(b""), IoSlice::new(b"e"), IoSlice::new(b"f")];
        assert!(matches!(one.write(&writes, &slices), Poll::Ready(Ok(2))));
        assert_eq!(read(&other, &reads), Poll::Ready(Ok(b"ef".to_vec())));
    }

    #[test]
    fn a_close_comes_after_what_was_written_and_leaves_the_other_direction_open() {
        let (_, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        let (one, other) = pair(16);
        assert_eq!(write(&one, &cx, b"last"), Poll::Ready(Ok(4)));
        one.finish();
        assert_eq!(write(&one, &cx, b"x"), Poll::Ready(Err(ErrorKind::BrokenPipe)));
        assert_eq!(read(&other, &cx), Poll::Ready(Ok(b"last".to_vec())));
        assert_eq!(read(&other, &cx), Poll::Ready(Ok(Vec::new())));
        assert_eq!(write(&other, &cx, b"back"), Poll::Ready(Ok(4)));
        assert_eq!(read(&one, &cx), Poll::Ready(Ok(b"back".to_vec())));
    }

    #[test]
    fn dropping_an_end_wakes_the_reader_and_the_writer_at_the_other() {
        let ((reader, reads), (writer, writes)) = (Counted::task(), Counted::task());
        let (reads, writes) = (Context::from_waker(&reads), Context::from_waker(&writes));
        let (one, other) = pair(1);
        assert_eq!(write(&one, &writes, b"x"), Poll::Ready(Ok(1)));
        assert_eq!(write(&one, &writes, b"x"), Poll::Pending);
        assert_eq!(read(&one, &reads), Poll::Pending);
        drop(other);
        assert_eq!((reader.times_woken(), writer.times_woken()), (1, 1));
        assert_eq!(read(&one, &reads), Poll::Ready(Ok(Vec::new())));
        assert_eq!(write(&one, &writes, b"x"), Poll::Ready(Err(ErrorKind::BrokenPipe)));
    }
}
