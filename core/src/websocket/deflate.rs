//! Compression of messages (RFC 7692 7.2).
//!
//! Inflating takes compressed bytes in any pieces, and a buffer that caps the output. Deflating takes
//! a message, and returns a payload if compressing pays. A context is allocated when it is needed. It
//! is freed after a message unless context takeover was negotiated.

use super::Violation;
use super::negotiation::{Agreed, MOST_BITS};
use crate::input::grow;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The end of the empty block that a sender removes from each message (RFC 7692 7.2.1).
const TAIL: &[u8] = &[0x00, 0x00, 0xff, 0xff];
/// The tail, and a final empty block: with these bytes a complete message ends its DEFLATE stream.
const LAST_TAIL: &[u8] = &[0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];
/// The tail for a context that is kept, whose stream must not end. Empty blocks follow the tail, and
/// leave the context as it was. A message that ends within a block takes these bytes for its own: then
/// a byte comes out, or inflating fails. The header of a dynamic block takes the most, 286 bytes.
const LONG_TAIL: &[u8] = &long_tail();
const EMPTY_BLOCKS: usize = 60;

const fn long_tail() -> [u8; TAIL.len() + 5 * EMPTY_BLOCKS] {
    let mut tail = [0; TAIL.len() + 5 * EMPTY_BLOCKS];
    let mut end = TAIL.len();
    while end <= tail.len() {
        (tail[end - 2], tail[end - 1]) = (0xff, 0xff);
        end += 5;
    }
    tail
}

/// The most bytes that one call inflates, so that a small input never causes much work.
const AT_ONCE: usize = 16 * 1024;
/// The most bytes that a compressed byte can inflate to (a match of 258 bytes takes two bits).
const FACTOR: usize = 1032;
/// Heap of an inflating context. zlib-rs always uses the largest window.
pub(crate) const INFLATER_MEMORY: usize = 47_552 + size_of::<Decompress>();

/// Heap of a deflating context.
pub(crate) const fn deflater_memory(window_bits: u8) -> usize {
    // The window, and the table of matches in it, take twice the window's size each. The rest does
    // not depend on the window.
    248_960 + (4 << window_bits) + size_of::<Compress>()
}

/// The most memory of compression in both directions.
pub(crate) const fn memory_bound(window_bits: u8) -> usize {
    size_of::<Inflater>() + INFLATER_MEMORY + size_of::<Deflater>() + deflater_memory(window_bits)
}

/// Inflates messages, one after the other.
#[derive(Debug)]
pub(crate) struct Inflater {
    context: Option<Box<Decompress>>,
    takeover: bool,
    /// The message was inflated in part.
    begun: bool,
    /// The last bytes that were inflated end a final block.
    ended: bool,
}

/// The outcome of [`Inflater::inflate`], besides the inflated bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inflated {
    /// The number of input bytes that were inflated.
    pub(crate) taken: usize,
    /// A final block ended: the inflater starts again after it.
    pub(crate) final_block: bool,
    /// The output filled its room: more bytes may come out without new input.
    pub(crate) full: bool,
}

impl Inflater {
    pub(crate) fn new(agreed: Agreed) -> Self {
        let takeover = agreed.client_takeover;
        Inflater { context: None, takeover, begun: false, ended: false }
    }

    /// Inflates the next bytes of a message. Stops when 16 KiB came out, `out` is full to its capacity,
    /// all of `bytes` is taken, or a final block ended. If all bytes are taken and the result is not
    /// `full`, no more output is pending.
    pub(crate) fn inflate(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Inflated, Violation> {
        if bytes.is_empty() && (self.ended || !self.begun) {
            // No output is pending, and the final block was reported before.
            return Ok(Inflated::default());
        }
        if self.ended {
            // More blocks may follow a final one (RFC 7692 7.2.3.4). They start with an empty window.
            self.ended = false;
            if let Some(context) = &mut self.context {
                context.reset(false);
            }
        }
        self.begun = true;
        let inflated = self.feed(bytes, out)?;
        self.ended |= inflated.final_block;
        Ok(inflated)
    }

    /// Checks that the message ends between two blocks, by inflating the tail that its sender removed.
    /// The caller has inflated the whole message, and `out` has room; its content does not change.
    ///
    /// If the message ends within a block, the tail counts as the rest of that block. Then a byte comes
    /// out, or inflating fails, or the stream does not end with the tail.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Violation> {
        // An empty payload, and one that ends with a final block, have no tail.
        if self.begun && !self.ended {
            let tail = if self.takeover { LONG_TAIL } else { LAST_TAIL };
            let before = out.len();
            let inflated = self.feed(tail, out);
            let nothing = out.len() == before;
            out.truncate(before);
            let Inflated { taken, final_block, .. } = inflated?;
            if !nothing || taken < tail.len() || final_block == self.takeover {
                return Err(Violation::Deflated);
            }
        }
        if (self.ended || !self.takeover)
            && let Some(context) = &mut self.context
        {
            context.reset(false);
        }
        (self.begun, self.ended) = (false, false);
        Ok(())
    }

    /// Frees the context, unless the rest of the message or the next message needs it.
    pub(crate) fn release(&mut self) {
        if !self.begun && !self.takeover {
            self.context = None;
        }
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        if self.context.is_some() { INFLATER_MEMORY } else { 0 }
    }

    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Inflated, Violation> {
        let context = self
            .context
            .get_or_insert_with(|| Box::new(Decompress::new_with_window_bits(false, MOST_BITS)));
        let before = (context.total_in(), context.total_out());
        let start = out.len();
        let room = out.capacity() - start;
        // Output that is pending from before, and the most that these bytes inflate to.
        let most = bytes.len().saturating_mul(FACTOR).saturating_add(FACTOR).min(AT_ONCE);
        let status = if room <= most {
            context.decompress_vec(bytes, out, FlushDecompress::None)
        } else {
            out.resize(start + most, 0);
            let place = out.get_mut(start..).unwrap_or_default();
            let status = context.decompress(bytes, place, FlushDecompress::None);
            let came = (context.total_out() - before.1) as usize;
            out.truncate(start + came);
            status
        };
        let ended = status.map_err(|_| Violation::Deflated)? == Status::StreamEnd;
        let taken = (context.total_in() - before.0) as usize;
        let full = out.len() - start == room.min(most);
        Ok(Inflated { taken, final_block: ended, full })
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

    /// Appends the compressed `message` to `out`. Returns false and appends nothing if the message is
    /// too small, or does not get smaller: the caller sends it uncompressed.
    pub(crate) fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) -> bool {
        if message.len() < self.least.max(1) {
            return false;
        }
        let start = out.len();
        let done = self.compress(message, out);
        // Later messages may refer to this one, so with takeover its compressed form is sent anyway.
        let pays = self.takeover || out.len() - start < message.len();
        if !done || !pays {
            out.truncate(start);
        }
        if !done || !self.takeover {
            // A context that failed within a message is out of step with the peer's.
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
            // Guess the room that the rest of the message needs.
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

    /// Frees the context, unless the next message may refer to it.
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
    use super::super::negotiation::{DeflateSettings, Negotiation};
    use super::*;
    use allocation_counter::measure;

    fn agreed(settings: DeflateSettings) -> Agreed {
        let mut negotiation = Negotiation::new(&settings);
        extension::read(b"permessage-deflate", |part| negotiation.look(part)).expect("well-formed");
        negotiation.finish().expect("agreed")
    }

    fn all() -> DeflateSettings {
        DeflateSettings { least: 0, ..DeflateSettings::default() }
    }

    fn inflate(inflater: &mut Inflater, payload: &[u8]) -> Result<Vec<u8>, Violation> {
        let mut out = Vec::with_capacity(1 << 16);
        let mut rest = payload;
        loop {
            let Inflated { taken, full, .. } = inflater.inflate(rest, &mut out)?;
            rest = &rest[taken..];
            if rest.is_empty() && !full {
                break;
            }
        }
        inflater.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn contexts_are_as_large_as_they_say() {
        let text = b"some text that is compressed, as text is";
        for bits in 9..=15 {
            let settings =
                DeflateSettings { server_window_bits: bits, server_takeover: true, ..all() };
            let mut deflater = Deflater::new(agreed(settings));
            let mut out = Vec::with_capacity(1000);
            assert_eq!(deflater.memory(), 0, "no context before the first message");
            let info = measure(|| assert!(deflater.deflate(text, &mut out)));
            assert_eq!(deflater.memory() as i64, info.bytes_current, "{bits} bits");
        }
        let settings = DeflateSettings { client_takeover: true, ..all() };
        let mut inflater = Inflater::new(agreed(settings));
        let mut out = Vec::with_capacity(1000);
        assert_eq!(inflater.memory(), 0, "no context before the first message");
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let info = measure(|| {
            inflater.inflate(&hello, &mut out).expect("valid");
        });
        assert_eq!(inflater.memory() as i64, info.bytes_current);
    }

    #[test]
    fn contexts_are_freed_unless_they_are_taken_over() {
        for takeover in [false, true] {
            let settings =
                DeflateSettings { server_takeover: takeover, client_takeover: takeover, ..all() };
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
        assert_eq!(inflater.finish(&mut out), Ok(()));
        assert_eq!(out, b"Hello");
    }

    #[test]
    fn messages_that_are_small_or_do_not_shrink_stay_uncompressed() {
        let mut deflater = Deflater::new(agreed(DeflateSettings { least: 20, ..all() }));
        let mut out = b"before".to_vec();
        assert!(!deflater.deflate(&[b'x'; 19], &mut out));
        assert!(!deflater.deflate(b"", &mut out));
        assert_eq!(deflater.memory(), 0, "small messages need no context");
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
    fn with_takeover_a_message_is_compressed_even_if_it_grows() {
        let mut deflater =
            Deflater::new(agreed(DeflateSettings { server_takeover: true, ..all() }));
        let mut inflater =
            Inflater::new(agreed(DeflateSettings { client_takeover: true, ..all() }));
        for message in [&b"a"[..], b"ab", b"\xfe\xdc\xba"] {
            let mut payload = Vec::new();
            assert!(deflater.deflate(message, &mut payload));
            assert!(payload.len() > message.len());
            assert_eq!(inflate(&mut inflater, &payload).as_deref(), Ok(message));
        }
    }

    #[test]
    fn windows_are_kept_to() {
        // The second half repeats the first, but further back than the smallest window reaches.
        let mut message: Vec<u8> = (0..600u32).map(|it| (it * it % 251) as u8).collect();
        let half = message.clone();
        message.extend(half);
        let size = |bits| {
            let mut deflater = Deflater::new(agreed(DeflateSettings {
                server_window_bits: bits,
                level: 9,
                ..all()
            }));
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

    /// Payloads with stored, fixed and dynamic blocks, and one that ends with a final block.
    fn payloads() -> Vec<Vec<u8>> {
        let text: Vec<u8> =
            (0..4000u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 27) as u8 + b'a').collect();
        let deflated = |level, message: &[u8]| {
            let mut context = Compress::new(Compression::new(level), false);
            let mut out = Vec::with_capacity(2 * message.len() + 100);
            context.compress_vec(message, &mut out, FlushCompress::Sync).expect("it fits");
            out.truncate(out.len() - TAIL.len());
            out
        };
        vec![
            deflated(0, b"a stored block"),
            deflated(0, &[0xff; 300]),
            deflated(9, b"Hello, hello"),
            deflated(9, &text),
            deflated(1, &text[..700]),
            [deflated(0, b"stored"), TAIL.to_vec(), deflated(9, &text[..300])].concat(),
            // Two final blocks, one after the other.
            [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00].repeat(2),
        ]
    }

    #[test]
    fn a_message_that_ends_within_a_block_is_refused() {
        for (place, payload) in payloads().iter().enumerate() {
            for takeover in [false, true] {
                let settings = DeflateSettings { client_takeover: takeover, ..all() };
                let plain = inflate(&mut Inflater::new(agreed(settings)), payload).expect("valid");
                for end in 1..payload.len() {
                    // At these places a block ends, so a message may end there too.
                    let may_end = matches!((place, end), (5, 12) | (6, 7)) || payload[..end] == [0];
                    let mut inflater = Inflater::new(agreed(settings));
                    // An earlier message in the same context does not hide the fault.
                    inflate(&mut inflater, payload).expect("valid");
                    let of_cut = inflate(&mut inflater, &payload[..end]);
                    assert_eq!(of_cut.is_ok(), may_end, "{place}: {end} bytes, {takeover}");
                }
                let mut inflater = Inflater::new(agreed(settings));
                for _ in 0..3 {
                    assert_eq!(inflate(&mut inflater, payload).as_ref(), Ok(&plain), "again");
                }
            }
        }
        // A stored block declares ten bytes, and has six.
        let short = [&[0x00, 0x0a, 0x00, 0xf5, 0xff][..], b"abcdef"].concat();
        for takeover in [false, true] {
            let settings = DeflateSettings { client_takeover: takeover, ..all() };
            let inflated = inflate(&mut Inflater::new(agreed(settings)), &short);
            assert_eq!(inflated, Err(Violation::Deflated));
        }
    }

    #[test]
    fn a_small_input_never_makes_much_work() {
        let mut bomb = Vec::new();
        Deflater::new(agreed(all())).deflate(&vec![0; 1 << 20], &mut bomb);
        let mut inflater = Inflater::new(agreed(all()));
        let mut out = Vec::with_capacity(2 << 20);
        let (mut rest, mut before) = (bomb.as_slice(), 0);
        loop {
            let Inflated { taken, full, .. } = inflater.inflate(rest, &mut out).expect("valid");
            assert!(out.len() - before <= AT_ONCE);
            rest = &rest[taken..];
            before = out.len();
            if rest.is_empty() && !full {
                break;
            }
        }
        assert_eq!((inflater.finish(&mut out), out.len()), (Ok(()), 1 << 20));
    }

    #[test]
    fn output_with_room_for_one_byte_at_a_time() {
        let settings = DeflateSettings { server_takeover: true, ..all() };
        let message: Vec<u8> = (0..5000u32).map(|it| (it / 7) as u8).collect();
        let mut payload = Vec::new();
        assert!(Deflater::new(agreed(settings)).deflate(&message, &mut payload));
        for takeover in [false, true] {
            let settings = DeflateSettings { client_takeover: takeover, ..all() };
            let mut inflater = Inflater::new(agreed(settings));
            let mut all = Vec::new();
            let mut rest = payload.as_slice();
            loop {
                let mut out = Vec::with_capacity(1);
                let taken = inflater.inflate(rest, &mut out).expect("valid").taken;
                rest = &rest[taken..];
                if rest.is_empty() && out.is_empty() {
                    break inflater.finish(&mut out).expect("valid");
                }
                all.extend(out);
            }
            assert_eq!(all, message);
        }
    }
}
