//! Integers with a prefix (RFC 7541 5.1).
//!
//! In: bytes, and the value of a prefix. Out: the integer, at most 32 bits long. Encoding is
//! the reverse.

use super::HpackError;

/// Five bytes carry 35 bits: enough for all values, with some padding.
const CONTINUATION_BYTES: usize = 5;

/// Decodes an integer whose first byte was read already. `mask` has the bits of its prefix.
#[inline(always)]
pub(super) fn decode(first: u8, mask: u8, input: &mut &[u8]) -> Result<u32, HpackError> {
    let prefix = first & mask;
    if prefix < mask { Ok(u32::from(prefix)) } else { continued(mask, input) }
}

#[cold]
fn continued(mask: u8, input: &mut &[u8]) -> Result<u32, HpackError> {
    let mut value = u64::from(mask);
    for place in 0..CONTINUATION_BYTES {
        let (byte, rest) = input.split_first().ok_or(HpackError::Truncated)?;
        *input = rest;
        value += u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| HpackError::IntegerTooLarge);
        }
    }
    Err(HpackError::IntegerTooLarge)
}

/// Appends an integer. `mask` has the bits of its prefix, and `pattern` the bits above.
#[inline(always)]
pub(super) fn encode(value: u32, pattern: u8, mask: u8, out: &mut Vec<u8>) {
    if value < u32::from(mask) {
        out.push(pattern | value as u8);
    } else {
        continue_with(value - u32::from(mask), pattern | mask, out);
    }
}

fn continue_with(mut rest: u32, first: u8, out: &mut Vec<u8>) {
    out.push(first);
    while rest >= 0x80 {
        out.push(0x80 | rest as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], mask: u8) -> Result<u32, HpackError> {
        let (first, mut rest) = bytes.split_first().expect("a byte");
        let value = decode(*first, mask, &mut rest)?;
        assert!(rest.is_empty());
        Ok(value)
    }

    #[test]
    fn examples_c_1_of_the_rfc() {
        for (value, pattern, mask, bytes) in [
            (10, 0b1010_0000, 0x1f, &[0b1010_1010][..]),
            (1337, 0, 0x1f, &[0x1f, 0x9a, 0x0a]),
            (42, 0, 0xff, &[42]),
        ] {
            let mut out = Vec::new();
            encode(value, pattern, mask, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(decoded(bytes, mask), Ok(value));
        }
    }

    #[test]
    fn the_bounds() {
        for value in
            [0, 30, 31, 32, 126, 127, 128, 255, 256, 16_383, 16_384, u32::MAX - 1, u32::MAX]
        {
            for bits in 1..=8 {
                let mask = u8::MAX >> (8 - bits);
                let mut out = Vec::new();
                encode(value, 0, mask, &mut out);
                assert_eq!(decoded(&out, mask), Ok(value));
                for length in 1..out.len() {
                    assert_eq!(decoded(&out[..length], mask), Err(HpackError::Truncated));
                }
            }
        }
        let too_large = Err(HpackError::IntegerTooLarge);
        assert_eq!(decoded(&[0x7f, 0x80, 0xff, 0xff, 0xff, 0x0f], 0x7f), Ok(u32::MAX));
        assert_eq!(decoded(&[0x7f, 0x81, 0xff, 0xff, 0xff, 0x0f], 0x7f), too_large);
        assert_eq!(decoded(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0x7f], 0x7f), too_large);
        assert_eq!(decoded(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x00], 0x7f), Ok(0x7f));
        assert_eq!(decoded(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], 0x7f), too_large);
    }
}
