//! Compression of messages (RFC 7692 7.2).
//!
//! In: compressed bytes, in any pieces, and room for as much as may come out; or a message to send.
//! Out: the message's bytes; or a payload, if compressing pays. Contexts are made when they are
//! needed, and given up at the end of a message unless the next one may refer to it.

use super::Violation;
use super::negotiation::{Agreed, MOST_BITS};
use crate::input::grow;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What a sender leaves away at the end of each message: an empty block (RFC 7692 7.2.1).
const TAIL: &[u8] = &[0x00, 0x00, 0xff, 0xff];
/// The same, and a last empty block: a message that ends where it may ends the stream with it.
const LAST_TAIL: &[u8] = &[0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];
/// Bytes of an inflating context; zlib-rs always has the largest window.
pub(crate) const INFLATER_MEMORY: usize = 47_552 + size_of::<Decompress>();

/// Bytes of a deflating context.
pub(crate) const fn deflater_memory(window_bits: u8) -> usize {
    // The window and what lies in it are twice its size each; the rest is the same for all.
    248_960 + (4 << window_bits) + size_of::<Compress>()
}

/// Inflates messages, one after the other.
#[derive(Debug)]
pub(crate) struct Inflater {
    context: Option<Box<Decompress>>,
    takeover: bool,
    /// Some of the message was inflated.
    begun: bool,
    /// The last block ended just here, and said that it was the last.
    ended: bool,
    /// How much of the tail was inflated.
    tail: u8,
}

/// What inflating some bytes gave, beside the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inflated {
    /// Bytes that are done with.
    pub(crate) taken: usize,
    /// A block ended that said it was the last: inflating begins anew behind it.
    pub(crate) final_block: bool,
}

impl Inflater {
    pub(crate) fn new(agreed: Agreed) -> Self {
        let takeover = agreed.client_takeover;
        Inflater { context: None, takeover, begun: false, ended: false, tail: 0 }
    }

    /// Inflates what comes next of a message, until `out` is full to its capacity, all of `bytes`
    /// is taken, or a final block ended. With room left and all taken, nothing more is to be had.
    pub(crate) fn inflate(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Inflated, Violation> {
        if bytes.is_empty() && (self.ended || !self.begun) {
            // Nothing is left to come out, and an end that was told is not told again.
            return Ok(Inflated::default());
        }
        if self.ended {
            // More blocks after a final one (RFC 7692 7.2.3.4). What they refer to is forgotten.
            self.ended = false;
            if let Some(context) = &mut self.context {
                context.reset(false);
            }
        }
        self.begun = true;
        let (taken, ended) = self.feed(bytes, out)?;
        self.ended |= ended;
        Ok(Inflated { taken, final_block: ended })
    }

    /// The message was inflated up to its end: inflates what its sender left away. False if `out`
    /// is full, and some may be left.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<bool, Violation> {
        // A message of nothing at all, and one whose final block is the last of it, have no tail.
        if self.begun && !self.ended {
            let tail = if self.takeover { TAIL } else { LAST_TAIL };
            let rest = tail.get(usize::from(self.tail)..).unwrap_or_default();
            let (taken, ended) = self.feed(rest, out)?;
            self.tail += taken as u8;
            let all_taken = taken == rest.len();
            match (ended, self.takeover) {
                (true, false) if all_taken => {}
                // What ended was not ours: the message ends within a block.
                (true, _) => return Err(Violation::Deflated),
                (false, _) if out.len() == out.capacity() => return Ok(false),
                (false, true) if all_taken => {}
                (false, _) => return Err(Violation::Deflated),
            }
        }
        if (self.ended || !self.takeover)
            && let Some(context) = &mut self.context
        {
            context.reset(false);
        }
        (self.begun, self.ended, self.tail) = (false, false, 0);
        Ok(true)
    }

    /// Frees the context, unless it is needed for what comes next.
    pub(crate) fn release(&mut self) {
        if !self.begun && !self.takeover {
            self.context = None;
        }
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        if self.context.is_some() { INFLATER_MEMORY } else { 0 }
    }

    /// Says how many bytes were taken, and whether a final block ended behind them.
    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(usize, bool), Violation> {
        let context = self
            .context
            .get_or_insert_with(|| Box::new(Decompress::new_with_window_bits(false, MOST_BITS)));
        let before = context.total_in();
        let status = context
            .decompress_vec(bytes, out, FlushDecompress::None)
            .map_err(|_| Violation::Deflated)?;
        let taken = (context.total_in() - before) as usize;
        Ok((taken, status == Status::StreamEnd))
    }
}

/// Deflates messages, one after the other.
#[derive(Debug)]
pub(crate) struct Deflater {
    context: Option<Box<Compress>>,
    takeover: bool,
    window_bits: u8,
    level: u8,
    least: usize,
}

impl Deflater {
    pub(crate) fn new(agreed: Agreed) -> Self {
        Deflater {
            context: None,
            takeover: agreed.server_takeover,
            window_bits: agreed.server_window_bits,
            level: agreed.level,
            least: agreed.least,
        }
    }

    /// Appends the payload of `message` to `out`, compressed. False, and nothing appended, if it is
    /// too small for that, or does not become smaller: it is to be sent as it is.
    pub(crate) fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) -> bool {
        if message.len() < self.least.max(1) {
            return false;
        }
        let start = out.len();
        let done = self.compress(message, out);
        // Nothing that is referred to later may be left away.
        let pays = self.takeover || out.len() - start < message.len();
        if !done || !pays {
            out.truncate(start);
        }
        if !done || !self.takeover {
            // A context that did not take a message whole is of no use.
            match &mut self.context {
                Some(context) if done => context.reset(),
                context => *context = None,
            }
        }
        done && pays
    }

    fn compress(&mut self, message: &[u8], out: &mut Vec<u8>) -> bool {
        let (level, bits) = (Compression::new(u32::from(self.level)), self.window_bits);
        let context = self
            .context
            .get_or_insert_with(|| Box::new(Compress::new_with_window_bits(level, false, bits)));
        let before = context.total_in();
        loop {
            // What is not taken yet may become a little larger.
            let taken = (context.total_in() - before) as usize;
            let rest = message.get(taken..).unwrap_or_default();
            if out.len() == out.capacity() {
                grow(out, (rest.len() / 4).max(64), usize::MAX);
            }
            if context.compress_vec(rest, out, FlushCompress::Sync).is_err() {
                return false;
            }
            let all_taken = (context.total_in() - before) as usize == message.len();
            if all_taken && out.len() < out.capacity() {
                break;
            }
        }
        let whole = out.ends_with(TAIL);
        out.truncate(out.len().saturating_sub(TAIL.len()));
        whole
    }

    /// Frees the context, unless it is needed for what comes next.
    pub(crate) fn release(&mut self) {
        if !self.takeover {
            self.context = None;
        }
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        if self.context.is_some() { deflater_memory(self.window_bits) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::extension;
    use super::super::negotiation::{Negotiation, Settings};
    use super::*;
    use allocation_counter::measure;

    fn agreed(settings: Settings) -> Agreed {
        let mut negotiation = Negotiation::new(&settings);
        extension::read(b"permessage-deflate", |part| negotiation.look(part)).expect("well-formed");
        negotiation.finish().expect("agreed")
    }

    fn all() -> Settings {
        Settings { least: 0, ..Settings::default() }
    }

    fn inflate(inflater: &mut Inflater, payload: &[u8]) -> Result<Vec<u8>, Violation> {
        let mut out = Vec::with_capacity(1 << 16);
        let mut rest = payload;
        while !rest.is_empty() {
            rest = &rest[inflater.inflate(rest, &mut out)?.taken..];
        }
        assert!(inflater.finish(&mut out)?);
        Ok(out)
    }

    #[test]
    fn contexts_are_as_large_as_they_say() {
        let text = b"some text that is compressed, as text is";
        for bits in 9..=15 {
            let settings = Settings { server_window_bits: bits, server_takeover: true, ..all() };
            let mut deflater = Deflater::new(agreed(settings));
            let mut out = Vec::with_capacity(1000);
            assert_eq!(deflater.memory(), 0, "none before it is needed");
            let info = measure(|| assert!(deflater.deflate(text, &mut out)));
            assert_eq!(deflater.memory() as i64, info.bytes_current, "{bits} bits");
        }
        let settings = Settings { client_takeover: true, ..all() };
        let mut inflater = Inflater::new(agreed(settings));
        let mut out = Vec::with_capacity(1000);
        assert_eq!(inflater.memory(), 0, "none before it is needed");
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let info = measure(|| {
            inflater.inflate(&hello, &mut out).expect("valid");
        });
        assert_eq!(inflater.memory() as i64, info.bytes_current);
    }

    #[test]
    fn contexts_are_given_up_unless_they_are_referred_to() {
        for takeover in [false, true] {
            let settings =
                Settings { server_takeover: takeover, client_takeover: takeover, ..all() };
            let (mut deflater, mut inflater) =
                (Deflater::new(agreed(settings)), Inflater::new(agreed(settings)));
            let message = b"the same text again and again, the same text";
            let mut sizes = Vec::new();
            for _ in 0..3 {
                let mut payload = Vec::new();
                assert!(deflater.deflate(message, &mut payload));
                assert_eq!(inflate(&mut inflater, &payload).as_deref(), Ok(&message[..]));
                sizes.push(payload.len());
                deflater.release();
                inflater.release();
                assert_eq!(deflater.memory() > 0, takeover);
                assert_eq!(inflater.memory() > 0, takeover);
            }
            assert_eq!(sizes[1] < sizes[0] / 2, takeover, "{sizes:?}");
        }
    }

    #[test]
    fn a_context_is_kept_within_a_message() {
        let mut inflater = Inflater::new(agreed(all()));
        let mut out = Vec::with_capacity(100);
        inflater.inflate(&[0xf2, 0x48, 0xcd], &mut out).expect("valid");
        inflater.release();
        assert!(inflater.memory() > 0);
        inflater.inflate(&[0xc9, 0xc9, 0x07, 0x00], &mut out).expect("valid");
        assert_eq!(inflater.finish(&mut out), Ok(true));
        assert_eq!(out, b"Hello");
    }

    #[test]
    fn what_is_small_or_does_not_shrink_is_sent_as_it_is() {
        let mut deflater = Deflater::new(agreed(Settings { least: 20, ..all() }));
        let mut out = b"before".to_vec();
        assert!(!deflater.deflate(&[b'x'; 19], &mut out));
        assert!(!deflater.deflate(b"", &mut out));
        assert_eq!(deflater.memory(), 0, "that needs no context");
        let noise: Vec<u8> =
            (0..2000u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let incompressible = noise.iter().scan(7u8, |state, byte| {
            *state = state.wrapping_mul(31).wrapping_add(*byte).rotate_left(3);
            Some(*state)
        });
        let incompressible: Vec<u8> = incompressible.collect();
        let pays = deflater.deflate(&incompressible, &mut out);
        assert_eq!(pays, out.len() > 6);
        assert!(out.len() < 6 + 2000);
        out.truncate(6);
        assert!(deflater.deflate(&[b'x'; 20], &mut out));
        assert_eq!(&out[..6], b"before");
        let payload = out.split_off(6);
        assert_eq!(inflate(&mut Inflater::new(agreed(all())), &payload), Ok(vec![b'x'; 20]));
    }

    #[test]
    fn what_may_be_referred_to_is_sent_even_if_it_grew() {
        let mut deflater = Deflater::new(agreed(Settings { server_takeover: true, ..all() }));
        let mut inflater = Inflater::new(agreed(Settings { client_takeover: true, ..all() }));
        for message in [&b"a"[..], b"ab", b"\xfe\xdc\xba"] {
            let mut payload = Vec::new();
            assert!(deflater.deflate(message, &mut payload));
            assert!(payload.len() > message.len());
            assert_eq!(inflate(&mut inflater, &payload).as_deref(), Ok(message));
        }
    }

    #[test]
    fn windows_are_kept_to() {
        // A repetition further back than the window is not referred to.
        let mut message: Vec<u8> = (0..600u32).map(|it| (it * it % 251) as u8).collect();
        let half = message.clone();
        message.extend(half);
        let size = |bits| {
            let mut deflater =
                Deflater::new(agreed(Settings { server_window_bits: bits, level: 9, ..all() }));
            let mut out = Vec::new();
            deflater.deflate(&message, &mut out);
            let mut small = flate2::Decompress::new_with_window_bits(false, bits);
            let mut back = Vec::with_capacity(2000);
            small.decompress_vec(&out, &mut back, FlushDecompress::None).expect("within it");
            assert_eq!(back, message);
            out.len()
        };
        assert!(size(9) >= size(15));
    }

    #[test]
    fn little_room_at_a_time() {
        let settings = Settings { server_takeover: true, ..all() };
        let message: Vec<u8> = (0..5000u32).map(|it| (it / 7) as u8).collect();
        let mut payload = Vec::new();
        assert!(Deflater::new(agreed(settings)).deflate(&message, &mut payload));
        for takeover in [false, true] {
            let settings = Settings { client_takeover: takeover, ..all() };
            let mut inflater = Inflater::new(agreed(settings));
            let mut all = Vec::new();
            let mut rest = payload.as_slice();
            loop {
                let mut out = Vec::with_capacity(1);
                let taken = inflater.inflate(rest, &mut out).expect("valid").taken;
                rest = &rest[taken..];
                let done =
                    rest.is_empty() && out.is_empty() && inflater.finish(&mut out).expect("valid");
                all.extend(out);
                if done {
                    break;
                }
            }
            assert_eq!(all, message);
        }
    }
}
