//! A file's content, piece by piece: read on a thread that may block, when it is polled for, and
//! never more than one piece ahead.

use blocking::{Task, unblock};
use bytes::Bytes;
use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The most that is read at once, and held.
const PIECE: u64 = 64 << 10;

/// Reads a range of a file.
#[derive(Debug)]
pub(crate) struct Reader {
    state: State,
    /// Bytes of the range that were not handed out yet.
    left: u64,
}

#[derive(Debug)]
enum State {
    /// All that is left is here.
    Held(Bytes),
    Resting(File),
    Reading(Task<(File, io::Result<Bytes>)>),
    Failed,
}

impl Reader {
    /// Prepares to read `range`; what fits into one piece is read at once. Blocks.
    pub(super) fn new(mut file: File, range: Range<u64>) -> io::Result<Reader> {
        if range.start > 0 {
            file.seek(SeekFrom::Start(range.start))?;
        }
        let left = range.end.saturating_sub(range.start);
        let state = if left <= PIECE {
            State::Held(read_piece(&mut file, left)?)
        } else {
            State::Resting(file)
        };
        Ok(Reader { state, left })
    }

    /// Bytes of the range that were not handed out yet.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The next piece. A file that became shorter meanwhile is an error.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        // Put back below, unless reading failed.
        let mut task = match std::mem::replace(&mut self.state, State::Failed) {
            State::Held(bytes) => return Poll::Ready(Some(Ok(self.hand_out(bytes)))),
            State::Failed => return Poll::Ready(None),
            State::Reading(task) => task,
            State::Resting(mut file) => {
                let length = self.left.min(PIECE);
                unblock(move || {
                    let piece = read_piece(&mut file, length);
                    (file, piece)
                })
            }
        };
        let Poll::Ready((file, piece)) = Pin::new(&mut task).poll(cx) else {
            self.state = State::Reading(task);
            return Poll::Pending;
        };
        Poll::Ready(Some(piece.map(|piece| {
            self.state = State::Resting(file);
            self.hand_out(piece)
        })))
    }

    fn hand_out(&mut self, piece: Bytes) -> Bytes {
        self.left -= piece.len() as u64;
        piece
    }
}

/// Reads exactly `length` bytes.
fn read_piece(file: &mut File, length: u64) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(length as usize);
    file.take(length).read_to_end(&mut piece)?;
    if piece.len() as u64 == length {
        Ok(piece.into())
    } else {
        Err(io::Error::new(ErrorKind::UnexpectedEof, "the file became shorter"))
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
        block_on(poll_fn(|cx| reader.poll_piece(cx)))
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
            assert_eq!(reader.left(), 139_900 - read.len() as u64);
        }
        assert_eq!(lengths, [65_536, 65_536, 8_828]);
        assert_eq!(read, content[100..140_000]);
    }

    #[test]
    fn what_fits_into_one_piece_is_there_at_once() {
        let (file, content) = file();
        let mut reader = Reader::new(file, 0..PIECE).expect("ready");
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Ok(piece))) = reader.poll_piece(&mut cx) else { panic!("not there") };
        assert_eq!(piece, content[..PIECE as usize]);
        assert!(matches!(reader.poll_piece(&mut cx), Poll::Ready(None)));
        let (file, _) = self::file();
        let mut empty = Reader::new(file, 5..5).expect("ready");
        assert!(matches!(empty.poll_piece(&mut cx), Poll::Ready(None)));
    }

    #[test]
    fn nothing_is_read_before_it_is_polled_for() {
        let (file, _) = file();
        let mut position = file.try_clone().expect("the same file");
        let mut reader = Reader::new(file, 0..LENGTH as u64).expect("ready");
        assert_eq!(position.stream_position().expect("told"), 0);
        next(&mut reader).expect("a piece").expect("read");
        assert_eq!(position.stream_position().expect("told"), PIECE);
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
        assert!(next(&mut reader).is_none(), "and no second one");
        let (file, _) = self::file();
        file.set_len(5).expect("shrunk");
        assert!(Reader::new(file, 0..10).is_err());
    }
}
