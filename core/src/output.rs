//! The bytes that wait to be written. One buffer holds heads, frames and small pieces. The
//! application's own `Bytes` stand between its bytes, and are never copied.
//!
//! In: bytes of the protocols. Out: slices, in order, for a vectored write or to be sealed by TLS. An
//! empty output owns no memory, except for a buffer that it was lent. Otherwise it owns at most twice the
//! unsent bytes, and a list of the application's pieces.
//!
//! Sealed bytes have left the output and may still be unsent: `Transport` knows the number of all unsent
//! bytes.

use crate::config::Config;
use crate::input::LEAST;
use bytes::Bytes;
use core::mem::size_of;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Pieces up to this length are copied. That is cheaper than a slice of their own, and bounds the number of
/// slices.
const COPIED: usize = 1024;
/// The largest buffer that is borrowed: less than a full queue may need in any configuration.
const BORROWED: usize = 4096;
/// Bytes that the state machine adds to those of the application: chunk heads, a refusal.
pub(crate) const OWN: usize = 512;

/// The most memory that [`Output`] owns under `config`.
///
/// The queue is full, or a single interim answer fills it; then a head and trailers are added. A
/// quarter of the buffer may already be sent, and a third may be unused.
pub(crate) fn memory_bound(config: &Config) -> usize {
    let (limit, head) = (config.send_buffer_limit(), config.response_head_limit());
    let unsent = (limit.max(head) + 2 * head) as usize + OWN;
    // Every segment is longer than `COPIED`, except the first, of which a part may be sent.
    let segments = (limit as usize / COPIED + 2).next_power_of_two() * size_of::<Segment>();
    2 * unsent + segments
}

/// Makes room for `more` bytes: grows by half, or to what is needed. Every write to the buffer has
/// to call this first, since a `Vec` by itself doubles.
#[inline]
pub(crate) fn reserve(buffer: &mut Vec<u8>, more: usize) {
    if buffer.capacity() - buffer.len() < more {
        extend(buffer, more);
    }
}

#[cold]
fn extend(buffer: &mut Vec<u8>, more: usize) {
    let needed = buffer.len().saturating_add(more);
    let target = (buffer.capacity() + buffer.capacity() / 2).max(needed).max(LEAST);
    buffer.reserve_exact(target - buffer.len());
}

/// Bytes of the buffer, followed by bytes of the application.
#[derive(Debug)]
struct Segment {
    /// The end of its bytes in the buffer, counted from the first byte that was ever put there.
    buffered_until: u64,
    data: Bytes,
}

#[derive(Debug, Default)]
pub(crate) struct Output {
    buffer: Vec<u8>,
    /// The number of bytes of the buffer that were sent. No configuration allows a buffer of 4 GiB.
    start: u32,
    /// The number of bytes that left the buffer before its first byte.
    dropped: u64,
    segments: VecDeque<Segment>,
    /// Bytes of the application in `segments`.
    lent: usize,
    /// The buffer is the driver's: it is kept while it is empty.
    borrowed: bool,
}

impl Output {
    /// The number of bytes that wait here.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.start() + self.lent
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes owned outside the struct. A `Bytes` counts with its length.
    pub(crate) fn memory(&self) -> usize {
        self.buffer.capacity() + self.segments.capacity() * size_of::<Segment>() + self.lent
    }

    /// The buffer to append to, with room for about `bytes` more.
    #[inline]
    pub(crate) fn buffer(&mut self, bytes: usize) -> &mut Vec<u8> {
        reserve(&mut self.buffer, bytes);
        &mut self.buffer
    }

    /// Uses `buffer` until the driver asks for it.
    pub(crate) fn lend(&mut self, buffer: Vec<u8>) {
        if self.buffer.capacity() == 0 && buffer.capacity() <= BORROWED && buffer.is_empty() {
            self.buffer = buffer;
            self.borrowed = true;
        }
    }

    /// Whether a driver attends to the connection.
    #[cfg(feature = "tls")]
    pub(crate) fn is_borrowed(&self) -> bool {
        self.borrowed
    }

    /// Hands the buffer back if it is empty, and keeps a buffer with bytes.
    pub(crate) fn hand_back(&mut self) -> Vec<u8> {
        self.borrowed = false;
        if self.is_empty() { core::mem::take(&mut self.buffer) } else { Vec::new() }
    }

    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.buffer(bytes.len()).extend_from_slice(bytes);
    }

    /// The length of the buffer, to return to with [`Output::undo`].
    pub(crate) fn mark(&self) -> usize {
        self.buffer.len()
    }

    /// Removes everything written since `mark`. Nothing may have been sent or pushed in between.
    pub(crate) fn undo(&mut self, mark: usize) {
        self.buffer.truncate(mark);
        if self.is_empty() {
            self.release();
        } else {
            self.shrink();
        }
    }

    /// Shrinks a buffer that is more than twice as large as its bytes.
    fn shrink(&mut self) {
        let unsent = self.buffer.len() - self.start();
        if self.buffer.capacity() > BORROWED.max(2 * unsent) {
            self.drop_sent();
            self.buffer.shrink_to(BORROWED);
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, data: Bytes) {
        if data.len() <= COPIED {
            self.write(&data);
        } else {
            self.push_segment(data);
        }
    }

    fn push_segment(&mut self, data: Bytes) {
        self.shrink();
        self.lent += data.len();
        let buffered_until = self.dropped + self.buffer.len() as u64;
        self.segments.push_back(Segment { buffered_until, data });
    }

    /// Fills `slices` with the next bytes. Returns the number of slices.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut put = |bytes: &'a [u8]| match slices.get_mut(filled) {
            Some(slice) if !bytes.is_empty() => {
                *slice = IoSlice::new(bytes);
                filled += 1;
                true
            }
            slice => slice.is_some(),
        };
        let mut start = self.start();
        for segment in &self.segments {
            let end = self.place(segment);
            if !put(self.buffer.get(start..end).unwrap_or_default()) || !put(&segment.data) {
                return filled;
            }
            start = end;
        }
        put(self.buffer.get(start..).unwrap_or_default());
        filled
    }

    /// Removes the first `bytes`, which were written. Returns how many of them waited here.
    pub(crate) fn sent(&mut self, bytes: usize) -> usize {
        let bytes = bytes.min(self.len());
        if bytes == self.len() {
            self.release();
            return bytes;
        }
        let mut left = bytes;
        while left > 0 {
            let end = self.segments.front().map_or(self.buffer.len(), |first| self.place(first));
            let step = left.min(end - self.start());
            self.start += step as u32;
            left -= step;
            if let Some(first) = self.segments.front_mut() {
                let step = left.min(first.data.len());
                let _ = first.data.split_to(step);
                self.lent -= step;
                left -= step;
                if first.data.is_empty() {
                    self.segments.pop_front();
                }
            }
        }
        if self.start() > self.buffer.len() / 4 {
            self.drop_sent();
        }
        bytes
    }

    #[inline(always)]
    fn start(&self) -> usize {
        self.start as usize
    }

    /// Moves the unsent bytes to the front of the buffer.
    fn drop_sent(&mut self) {
        self.buffer.drain(..self.start());
        self.dropped += u64::from(self.start);
        self.start = 0;
    }

    /// Drops everything, sent or not.
    pub(crate) fn release(&mut self) {
        self.buffer.clear();
        (self.start, self.dropped, self.lent) = (0, 0, 0);
        let keeps_buffer = self.borrowed && self.buffer.capacity() <= BORROWED;
        if !keeps_buffer || self.segments.capacity() > 0 {
            self.give_up_memory(keeps_buffer);
        }
    }

    #[cold]
    fn give_up_memory(&mut self, keeps_buffer: bool) {
        self.segments = VecDeque::new();
        if !keeps_buffer {
            self.buffer = Vec::new();
        }
    }

    /// Where in the buffer the bytes before `segment` end, counted from its start.
    fn place(&self, segment: &Segment) -> usize {
        let place = segment.buffered_until - self.dropped;
        (place as usize).clamp(self.start(), self.buffer.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large(byte: u8) -> Bytes {
        Bytes::from(vec![byte; COPIED + 1])
    }

    fn all(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = output.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    fn sample() -> Output {
        let mut output = Output::default();
        output.write(b"head");
        output.push(large(b'1'));
        output.push(Bytes::from_static(b"small"));
        output.write(b"frame");
        output.push(large(b'2'));
        output.push(large(b'3'));
        output.write(b"end");
        output
    }

    #[test]
    fn order_holds_however_it_is_sent() {
        let expected = all(&sample());
        assert_eq!(expected.len(), sample().len());
        assert!(expected.starts_with(b"head1") && expected.ends_with(b"3end"));
        for step in [1, 3, 7, 100, 1024, 1025, 1026, 3000] {
            let mut output = sample();
            let mut seen = Vec::new();
            while !output.is_empty() {
                let next = all(&output);
                assert_eq!(next.len(), output.len());
                let sent = output.sent(step);
                seen.extend_from_slice(&next[..sent]);
            }
            assert_eq!(seen, expected, "in steps of {step}");
            assert_eq!(output.memory(), 0);
        }
    }

    #[test]
    fn few_slices_are_filled_from_the_front() {
        let output = sample();
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(output.slices(&mut slices), 2);
        assert_eq!(&*slices[0], b"head");
        assert_eq!(slices[1].len(), COPIED + 1);
        assert_eq!(output.slices(&mut []), 0);
    }

    #[test]
    fn a_long_series_of_frames_does_not_grow_the_buffer() {
        let mut output = Output::default();
        output.push(large(0));
        for _ in 0..10_000 {
            output.write(b"5\r\n");
            output.push(large(1));
            output.sent(COPIED + 4);
        }
        assert!(output.memory() < 4 * COPIED, "{}", output.memory());
    }

    #[test]
    fn a_lent_buffer_is_used_and_handed_back_when_it_is_empty() {
        let mut output = Output::default();
        output.lend(Vec::with_capacity(100));
        output.write(b"answer");
        output.sent(6);
        assert_eq!((output.memory(), output.hand_back().capacity()), (100, 100));
        assert_eq!(output.memory(), 0);

        output.lend(Vec::with_capacity(100));
        output.write(b"answer");
        assert_eq!(output.hand_back().capacity(), 0, "a buffer with unsent bytes is kept");
        assert_eq!(all(&output), b"answer");
        output.sent(6);
        assert_eq!(output.memory(), 0, "and dropped once it is empty");
    }

    #[test]
    fn a_lent_buffer_is_not_used_if_it_is_too_large_or_not_needed() {
        let mut output = Output::default();
        output.lend(Vec::with_capacity(BORROWED + 1));
        assert_eq!(output.memory(), 0);
        output.write(b"answer");
        output.lend(Vec::with_capacity(100));
        assert_eq!(all(&output), b"answer");
        let mut output = Output::default();
        output.lend(Vec::with_capacity(100));
        output.write(&[0; BORROWED + 1]);
        output.sent(BORROWED + 1);
        assert_eq!(output.memory(), 0, "a lent buffer that has grown large is dropped");
    }

    #[test]
    fn sending_in_small_steps_moves_little() {
        for step in [1, 10, 100, 1000] {
            let mut output = Output::default();
            output.write(&[7; 60_000]);
            let mut moved = 0;
            while !output.is_empty() {
                let before = output.dropped;
                output.sent(step);
                if output.dropped != before {
                    moved += output.buffer.len();
                }
            }
            // Three quarters of the rest move each time: three times the whole, in all.
            assert!(moved <= 3 * 60_000, "{moved} bytes moved in steps of {step}");
            assert_eq!(output.memory(), 0);
        }
    }

    #[test]
    fn the_buffer_grows_by_half_and_drops_sent_bytes() {
        let mut output = Output::default();
        let mut grown = 0;
        for length in (10..60_000).step_by(10) {
            let before = output.memory();
            output.write(&[7; 10]);
            grown += usize::from(output.memory() > before);
            let most = LEAST.max(length + length / 2);
            assert!(output.memory() <= most, "{} for {length} bytes", output.memory());
        }
        assert!(grown <= 20, "{grown} times");
        // As much is written as is sent, so the memory must not grow.
        let most = output.memory();
        for _ in 0..10_000 {
            output.sent(100);
            output.write(&[7; 100]);
        }
        assert!(output.memory() <= 2 * most, "{} of {most}", output.memory());
    }

    #[test]
    fn undo_leaves_nothing_behind() {
        let mut output = Output::default();
        let mark = output.mark();
        output.write(b"half a head");
        output.undo(mark);
        assert_eq!(output.memory(), 0);
        assert_eq!(output.sent(5), 0, "no more bytes are sent than there are");
    }
}
