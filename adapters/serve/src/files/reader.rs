//! Reads a file in pieces, each on a thread that may block, when it is polled for. A piece is about
//! as large as the connection's free buffer, so a slow peer keeps almost nothing in memory.

use crate::body::Pieces;
use blocking::{Task, unblock};
use bytes::Bytes;
use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The largest piece.
const PIECE: u64 = 64 << 10;
/// The smallest piece, except at the end of the file: each costs a switch to another thread and
/// back.
const LEAST: u64 = 4 << 10;
/// A range that is no longer is read at once and the file closed, so that its answer costs one switch and no
/// descriptor. Of a longer one nothing is read before there is room: a client may ask for a hundred and take none.
const SHORT: u64 = 32 << 10;

/// Reads a range of a file, or content that is made of one.
#[derive(Debug)]
pub(super) struct Reader<R = File> {
    state: State<R>,
    /// Bytes that are still to be handed out. `None` if only the end will tell.
    left: Option<u64>,
}

#[derive(Debug)]
enum State<R> {
    /// The range is here.
    Held(Bytes),
    Resting(R),
    Reading(Task<(R, io::Result<Bytes>)>),
    /// The end was reached, or reading failed.
    Over,
}

impl Reader {
    /// Opens `range`, and reads it if it is short. Blocks.
    pub(super) fn new(mut file: File, range: Range<u64>) -> io::Result<Reader> {
        if range.start > 0 {
            file.seek(SeekFrom::Start(range.start))?;
        }
        let left = range.end.saturating_sub(range.start);
        let state = match left {
            ..=SHORT => State::Held(read_piece(&mut file, left).and_then(|it| whole(it, left))?),
            _ => State::Resting(file),
        };
        Ok(Reader { state, left: Some(left) })
    }
}

impl<R> Reader<R> {
    /// Reads to the end, wherever that is.
    pub(super) fn to_end(source: R) -> Reader<R> {
        Reader { state: State::Resting(source), left: None }
    }

    fn hand_out(&mut self, piece: Bytes) -> Bytes {
        if let Some(left) = &mut self.left {
            *left -= piece.len() as u64;
        }
        piece
    }
}

impl<R: Read + Send + 'static> Pieces for Reader<R> {
    fn left(&self) -> Option<u64> {
        self.left
    }

    /// The next piece, at most `room` bytes where that is above `LEAST`. A file that shrinks is an
    /// error.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        room: Option<usize>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == Some(0) {
            return Poll::Ready(None);
        }
        // Restored below, unless reading failed or the end is reached.
        let mut task = match std::mem::replace(&mut self.state, State::Over) {
            State::Held(range) => return Poll::Ready(Some(Ok(self.hand_out(range)))),
            State::Over => return Poll::Ready(None),
            State::Reading(task) => task,
            State::Resting(mut source) => {
                let length = room.map_or(SHORT, |room| (room as u64).clamp(LEAST, PIECE));
                let left = self.left;
                unblock(move || {
                    let length = left.map_or(length, |left| left.min(length));
                    let piece = read_piece(&mut source, length);
                    let piece = match left {
                        Some(_) => piece.and_then(|piece| whole(piece, length)),
                        None => piece,
                    };
                    (source, piece)
                })
            }
        };
        let Poll::Ready((source, piece)) = Pin::new(&mut task).poll(cx) else {
            self.state = State::Reading(task);
            return Poll::Pending;
        };
        match piece {
            Ok(piece) if piece.is_empty() => Poll::Ready(None),
            Ok(piece) => {
                self.state = State::Resting(source);
                Poll::Ready(Some(Ok(self.hand_out(piece))))
            }
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

/// Reads `length` bytes, or fewer at the end.
fn read_piece(source: &mut impl Read, length: u64) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(length as usize);
    source.take(length).read_to_end(&mut piece)?;
    Ok(piece.into())
}

/// The piece, if it has this length.
fn whole(piece: Bytes, length: u64) -> io::Result<Bytes> {
    if piece.len() as u64 == length {
        Ok(piece)
    } else {
        Err(io::Error::new(ErrorKind::UnexpectedEof, "the file shrank while it was sent"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn};
    use std::task::Waker;

    const LENGTH: usize = 150_000;

    fn file() -> (File, Vec<u8>) {
        use std::io::Write;
        let content: Vec<u8> = (0..LENGTH).map(|place| (place % 251) as u8).collect();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&content).expect("written");
        file.rewind().expect("rewound");
        (file, content)
    }

    fn next(reader: &mut Reader) -> Option<io::Result<Bytes>> {
        block_on(poll_fn(|cx| reader.poll_piece(cx, Some(usize::MAX))))
    }

    #[test]
    fn pieces_are_bounded_and_make_up_the_range() {
        let (file, content) = file();
        let mut reader = Reader::new(file, 100..140_000).expect("ready");
        let (mut read, mut lengths) = (Vec::new(), Vec::new());
        while let Some(piece) = next(&mut reader) {
            let piece = piece.expect("read");
            lengths.push(piece.len());
            read.extend_from_slice(&piece);
            assert_eq!(reader.left(), Some(139_900 - read.len() as u64));
        }
        assert_eq!(lengths, [65_536, 65_536, 8828]);
        assert_eq!(read, content[100..140_000]);
    }

    #[test]
    fn a_piece_fits_the_room_of_the_connection() {
        let (file, _) = file();
        let mut reader = Reader::new(file, 0..LENGTH as u64).expect("ready");
        let last = LENGTH as u64 - LEAST - 10_000 - 2 * PIECE;
        for (room, length) in [
            (Some(1), LEAST),
            (Some(10_000), 10_000),
            (Some(usize::MAX), PIECE),
            (Some(70_000), PIECE),
            (Some(70_000), last),
        ] {
            let piece = block_on(poll_fn(|cx| reader.poll_piece(cx, room)));
            let piece = piece.expect("a piece").expect("read");
            assert_eq!(piece.len() as u64, length, "{room:?}");
        }
        assert_eq!(reader.left(), Some(0));
    }

    #[test]
    fn a_short_range_is_ready_at_once() {
        let (file, content) = file();
        let mut reader = Reader::new(file, 0..SHORT).expect("ready");
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Ok(piece))) = reader.poll_piece(&mut cx, None) else {
            panic!("it is not ready")
        };
        assert_eq!(piece, content[..SHORT as usize]);
        assert!(matches!(reader.poll_piece(&mut cx, None), Poll::Ready(None)));
        let (file, _) = self::file();
        let mut empty = Reader::new(file, 5..5).expect("ready");
        assert!(matches!(empty.poll_piece(&mut cx, None), Poll::Ready(None)));
    }

    #[test]
    fn each_piece_is_read_only_when_polled() {
        let (file, _) = file();
        let mut position = file.try_clone().expect("the same file");
        let mut reader = Reader::new(file, 0..LENGTH as u64).expect("ready");
        next(&mut reader).expect("a piece").expect("read");
        assert_eq!(position.stream_position().expect("a position"), PIECE);
        next(&mut reader).expect("a piece").expect("read");
        assert_eq!(position.stream_position().expect("a position"), 2 * PIECE);
    }

    #[test]
    fn a_file_that_shrinks_ends_in_an_error() {
        let (file, _) = file();
        let shrink = file.try_clone().expect("the same file");
        let mut reader = Reader::new(file, 0..LENGTH as u64).expect("ready");
        next(&mut reader).expect("a piece").expect("read");
        shrink.set_len(PIECE + 10).expect("shrunk");
        let error = next(&mut reader).expect("an end").expect_err("too short");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(next(&mut reader).is_none(), "the error comes once");
        let (file, _) = self::file();
        file.set_len(5).expect("shrunk");
        assert!(Reader::new(file, 0..10).is_err());
    }
}
