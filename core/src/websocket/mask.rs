//! Unmasks the payload of client frames (RFC 6455 5.3).
//!
//! In: a payload, or part of one. Out: the unmasked bytes, in place.

use fearless_simd::{Level, dispatch};

/// From this length on it pays to ask which vector instructions the processor has.
const LONG: usize = 1024;
/// Bytes of a cache line: vectors that don't cross a line are read and written faster.
const LINE: usize = 64;

/// A masking key, rotated so that its first byte applies to the next byte of the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mask([u8; 4]);

impl Mask {
    pub(crate) fn new(key: [u8; 4]) -> Self {
        Mask(key)
    }

    /// Masks or unmasks `payload`, and advances past it.
    #[inline]
    pub(crate) fn apply(&mut self, payload: &mut [u8]) {
        if payload.len() < LONG {
            xor(payload, self.0);
            self.skip(payload.len());
        } else {
            self.apply_long(payload);
        }
    }

    #[inline(never)]
    fn apply_long(&mut self, payload: &mut [u8]) {
        let start = payload.as_ptr().align_offset(LINE).min(payload.len());
        let (before, lines) = payload.split_at_mut(start);
        xor(before, self.0);
        self.skip(before.len());
        dispatch!(Level::new(), _ => xor(lines, self.0));
        self.skip(lines.len());
    }

    /// Advances by `bytes` without touching the payload.
    #[inline]
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.0.rotate_left(bytes % 4);
    }
}

/// The compiler vectorizes this loop, with 16 bytes at a time unless the caller enables wider vectors.
#[inline(always)]
fn xor(bytes: &mut [u8], key: [u8; 4]) {
    let word_key = u32::from_ne_bytes(key);
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ word_key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// The formula of the RFC.
    fn expected(payload: &[u8]) -> Vec<u8> {
        payload.iter().enumerate().map(|(place, byte)| byte ^ KEY[place % 4]).collect()
    }

    #[test]
    fn the_example_of_the_rfc() {
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        Mask::new(KEY).apply(&mut payload);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn any_length_at_any_address_cut_anywhere() {
        let bytes: Vec<u8> = (0..=255).collect();
        for start in 0..8 {
            for length in 0..100 {
                let payload = &bytes[start..start + length];
                for cut in 0..=length {
                    let mut copy = bytes.clone();
                    let (left, right) = copy[start..start + length].split_at_mut(cut);
                    let mut mask = Mask::new(KEY);
                    mask.apply(left);
                    mask.apply(right);
                    assert_eq!(copy[start..start + length], expected(payload), "{start} {cut}");
                    assert_eq!(copy[..start], bytes[..start], "bytes before it");
                    assert_eq!(copy[start + length..], bytes[start + length..], "bytes after it");
                }
            }
        }
    }

    #[test]
    fn long_ones_at_any_address() {
        let bytes: Vec<u8> = (0..=255).cycle().take(LONG + 3 * LINE).collect();
        for start in 0..LINE {
            for length in [LONG - 1, LONG, LONG + 1, LONG + LINE + start] {
                let mut copy = bytes.clone();
                let mut mask = Mask::new(KEY);
                mask.apply(&mut copy[start..start + length]);
                mask.apply(&mut copy[start + length..]);
                assert_eq!(copy[..start], bytes[..start], "bytes before it");
                assert_eq!(copy[start..], expected(&bytes[start..]), "{start} {length}");
            }
        }
    }

    #[test]
    fn byte_by_byte_and_skipped() {
        let payload: Vec<u8> = (0..67).collect();
        let mut bytes = payload.clone();
        let mut mask = Mask::new(KEY);
        for byte in bytes.chunks_mut(1) {
            mask.apply(byte);
        }
        assert_eq!(bytes, expected(&payload));
        let mut rest = payload[33..].to_vec();
        let mut mask = Mask::new(KEY);
        mask.skip(33);
        mask.apply(&mut rest);
        assert_eq!(rest, expected(&payload)[33..]);
    }
}
