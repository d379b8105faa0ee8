//! The mask over what a client sends (RFC 6455 5.3).
//!
//! In: a payload, or part of one. Out: the same bytes without their mask, in place.

/// A masking key, turned so that its first byte belongs to the next byte of the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mask([u8; 4]);

impl Mask {
    pub(crate) fn new(key: [u8; 4]) -> Self {
        Mask(key)
    }

    /// Takes the mask off `payload`, or puts it on, and goes on behind it.
    #[inline]
    pub(crate) fn apply(&mut self, payload: &mut [u8]) {
        let key = u32::from_ne_bytes(self.0);
        let (words, rest) = payload.as_chunks_mut();
        // The compiler makes vectors of these.
        for word in words {
            *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.0) {
            *byte ^= key;
        }
        self.skip(rest.len());
    }

    /// Goes on behind so many bytes.
    #[inline]
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.0.rotate_left(bytes % 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// As the RFC says it.
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
                    assert_eq!(copy[..start], bytes[..start], "nothing before");
                    assert_eq!(copy[start + length..], bytes[start + length..], "nothing behind");
                }
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
