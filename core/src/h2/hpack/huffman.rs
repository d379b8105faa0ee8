//! The Huffman code of strings (RFC 7541 5.2, appendix B).
//!
//! In: a coded string. Out: its text, or only the length of a text that is too long. Encoding is the reverse.
//! The code is canonical: the lengths of its codes determine the codes.

use super::HpackError;

/// The lengths in bits of the codes of all bytes. EOS, which no string may contain, follows with 30.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
const LONGEST: u32 = 30;
const SHORTEST: usize = 5;

/// The code as tables, computed from the lengths.
struct Code {
    /// The code of each byte.
    codes: [u32; 256],
    /// All bytes in the order of their codes.
    in_order: [u8; 256],
    /// For each length: the place of its first code in `in_order`, and this code, shifted to 30 bits.
    firsts: [(u16, u32); LONGEST as usize + 1],
    /// For each length: the end of its codes, shifted to 30 bits. All shorter codes lie below.
    ends: [u32; LONGEST as usize + 1],
}

static CODE: Code = CODE_TABLE;

const CODE_TABLE: Code = {
    let mut code = Code {
        codes: [0; 256],
        in_order: [0; 256],
        firsts: [(0, 0); LONGEST as usize + 1],
        ends: [0; LONGEST as usize + 1],
    };
    let mut next = 0;
    let mut place = 0;
    let mut length = 1;
    while length <= LONGEST {
        next <<= 1;
        code.firsts[length as usize] = (place, next << (LONGEST - length));
        let mut byte = 0;
        while byte < 256 {
            if LENGTHS[byte] as u32 == length {
                code.codes[byte] = next;
                code.in_order[place as usize] = byte as u8;
                next += 1;
                place += 1;
            }
            byte += 1;
        }
        code.ends[length as usize] = next << (LONGEST - length);
        length += 1;
    }
    // Only EOS is left: thirty ones.
    assert!(place == 256 && next == (1 << LONGEST) - 1);
    code
};

// ---- decoding --------------------------------------------------------------------------------------

/// The bits that one look-up examines. With 12, most look-ups yield two bytes of text.
const WINDOW: u32 = 12;

/// The one or two bytes whose codes begin a window of bits, packed into one word for a single load. From
/// the lowest bit up: the bytes (16 bits), the bits of their codes (8), and the bits of the bytes (8).
#[derive(Clone, Copy)]
struct Transition(u32);

impl Transition {
    /// The first code is longer than the window. Its bits exceed every count of bits.
    const LONG: Transition = Transition(0xff << 16);

    #[inline(always)]
    fn bytes(self) -> u64 {
        u64::from(self.0 as u16)
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        self.0 >> 16 & 0xff
    }

    #[inline(always)]
    fn text_bits(self) -> u32 {
        self.0 >> 24
    }
}

static TRANSITIONS: [Transition; 1 << WINDOW] = {
    /// The byte whose code begins the window and fits into `left` bits, and the bits of the code.
    const fn first(window: u32, left: u32) -> Option<(u8, u32)> {
        let bits = window << (LONGEST - WINDOW);
        let mut length = SHORTEST as u32;
        while length <= left {
            if bits < CODE_TABLE.ends[length as usize] {
                let (place, first) = CODE_TABLE.firsts[length as usize];
                let after = (bits - first) >> (LONGEST - length);
                return Some((CODE_TABLE.in_order[place as usize + after as usize], length));
            }
            length += 1;
        }
        None
    }
    let mut transitions = [Transition::LONG; 1 << WINDOW];
    let mut window = 0;
    while window < 1 << WINDOW {
        if let Some((byte, bits)) = first(window, WINDOW) {
            let mut transition = byte as u32 | bits << 16 | 8 << 24;
            let rest = (window << bits) & ((1 << WINDOW) - 1);
            if let Some((second, more)) = first(rest, WINDOW - bits) {
                transition += (second as u32) << 8 | more << 16 | 8 << 24;
            }
            transitions[window as usize] = Transition(transition);
        }
        window += 1;
    }
    transitions
};

/// Bits of the string, from the highest down. Bits after the first `count` are zero, or bits that will be
/// read again.
struct Bits<'i> {
    bits: u64,
    count: u32,
    rest: &'i [u8],
}

impl Bits<'_> {
    /// Reads bytes until there are at least 56 bits, or none is left.
    #[inline(always)]
    fn fill(&mut self) {
        if let Some(word) = self.rest.first_chunk() {
            self.bits |= u64::from_be_bytes(*word) >> self.count;
            let bytes = (63 - self.count) / 8;
            self.rest = self.rest.get(bytes as usize..).unwrap_or_default();
            self.count += bytes * 8;
        } else {
            self.fill_from_end::<4>();
            self.fill_from_end::<2>();
            self.fill_from_end::<1>();
        }
    }

    /// Reads `N` of the last bytes, if there is space for them.
    #[inline(always)]
    fn fill_from_end<const N: usize>(&mut self) {
        if self.count <= u64::BITS - 8 * N as u32
            && let Some((bytes, rest)) = self.rest.split_first_chunk::<N>()
        {
            let word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.bits |= word << (u64::BITS - 8 * N as u32 - self.count);
            self.count += 8 * N as u32;
            self.rest = rest;
        }
    }

    #[inline(always)]
    fn transition(&self) -> Transition {
        let window = self.bits >> (u64::BITS - WINDOW);
        TRANSITIONS.get(window as usize).copied().unwrap_or(Transition::LONG)
    }

    /// The caller has checked that there are at least `count` bits.
    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.bits <<= count & 63;
        self.count -= count;
    }

    /// Less than eight bits are left, all of them ones.
    fn is_padding(&self) -> bool {
        self.count < 8 && self.bits.leading_ones() >= self.count
    }
}

/// The byte whose code begins these bits, and the bits of the code. For codes that exceed the window.
#[cold]
fn long(bits: u64, count: u32) -> Result<(u8, u32), HpackError> {
    let bits = (bits >> (u64::BITS - LONGEST)) as u32;
    let mut lengths = (0..).zip(CODE.ends.iter().zip(&CODE.firsts));
    let (length, (_, (place, first))) =
        lengths.find(|(_, (end, _))| bits < **end).ok_or(HpackError::BadHuffman)?;
    if length > count {
        return Err(HpackError::BadHuffman);
    }
    let place = usize::from(*place) + ((bits - first) >> (LONGEST - length)) as usize;
    let byte = CODE.in_order.get(place).ok_or(HpackError::BadHuffman)?;
    Ok((*byte, length))
}

/// Decodes a string, appends its text to `text` unless it is longer than `room`, and returns its length.
/// After an error, `text` is as long as before.
pub(super) fn decode(input: &[u8], text: &mut Vec<u8>, room: usize) -> Result<usize, HpackError> {
    let start = text.len();
    // With some bytes more, most of the text is written eight bytes at a time.
    let longest = (input.len().saturating_mul(8) / SHORTEST).saturating_add(8);
    text.resize(start.saturating_add(longest.min(room)), 0);
    let result = decode_into(input, text.get_mut(start..).unwrap_or_default());
    let keep = match result {
        Ok(length) if length <= room => length,
        _ => 0,
    };
    text.truncate(start.saturating_add(keep));
    result
}

/// Decodes a string as far as `out` reaches, and returns its full length.
fn decode_into(input: &[u8], out: &mut [u8]) -> Result<usize, HpackError> {
    let mut bits = Bits { bits: 0, count: 0, rest: input };
    let mut length = 0;
    loop {
        bits.fill();
        // 56 bits are enough for four look-ups.
        let mut word = 0_u64;
        let mut text_bits = 0;
        for _ in 0..4 {
            let transition = bits.transition();
            if transition.bits() > bits.count {
                break;
            }
            word |= transition.bytes() << (text_bits & 63);
            text_bits += transition.text_bits();
            bits.skip(transition.bits());
        }
        if text_bits == 0 {
            let transition = bits.transition();
            let byte = transition.bytes() as u8;
            let first = u32::from(LENGTH_OF[usize::from(byte)]);
            if transition.text_bits() == 16 && first <= bits.count {
                // There is no second code: the window reaches beyond the end.
                word = u64::from(byte);
                bits.skip(first);
            } else if bits.is_padding() && bits.rest.is_empty() {
                return Ok(length);
            } else {
                let (byte, length) = long(bits.bits, bits.count)?;
                word = u64::from(byte);
                bits.skip(length);
            }
            text_bits = 8;
        }
        let bytes = word.to_le_bytes();
        let count = text_bits as usize / 8;
        if let Some(out) = out.get_mut(length..).and_then(|out| out.first_chunk_mut()) {
            *out = bytes;
        } else {
            for (byte, out) in bytes.iter().take(count).zip(out.iter_mut().skip(length)) {
                *out = *byte;
            }
        }
        length = length.saturating_add(count);
    }
}

// ---- encoding --------------------------------------------------------------------------------------

/// The length in bytes of the coded string.
pub(super) fn encoded_length(text: &[u8]) -> usize {
    let bits = text.iter().map(|byte| usize::from(LENGTH_OF[usize::from(*byte)])).sum::<usize>();
    bits.div_ceil(8)
}

static LENGTH_OF: [u8; 256] = LENGTHS;

/// Appends the coded string.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let mut bits = 0_u64;
    let mut count = 0;
    for byte in text {
        let place = usize::from(*byte);
        let length = u32::from(LENGTH_OF[place]);
        bits = bits << length | u64::from(CODE.codes[place]);
        count += length;
        // At most 31 bits stay, so the longest code always fits.
        if count >= 32 {
            count -= 32;
            out.extend_from_slice(&((bits >> count) as u32).to_be_bytes());
        }
    }
    if count > 0 {
        // The padding: the first bits of EOS, which are ones.
        let padded = (bits << 32 | u64::from(u32::MAX)) >> count;
        let bytes = (padded as u32).to_be_bytes();
        out.extend_from_slice(bytes.get(..count.div_ceil(8) as usize).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut text = b"before".to_vec();
        let length = decode(input, &mut text, usize::MAX)?;
        let text = text.strip_prefix(b"before").expect("it stays").to_vec();
        assert_eq!(length, text.len());
        // With too little room the length is the same, and nothing is appended.
        for room in [0, length / 2, length.saturating_sub(1), length, length + 1] {
            let mut cut = b"before".to_vec();
            assert_eq!(decode(input, &mut cut, room), Ok(length));
            assert_eq!(cut.len(), 6 + if length <= room { length } else { 0 });
        }
        Ok(text)
    }

    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(text, &mut out);
        assert_eq!(out.len(), encoded_length(text));
        out
    }

    #[test]
    fn codes_of_the_rfc() {
        for (byte, code, length) in [
            (b'0', 0, 5),
            (b' ', 0x14, 6),
            (b'Z', 0xfd, 8),
            (b'~', 0x1ffd, 13),
            (b'\\', 0x7fff0, 19),
            (0, 0x1ff8, 13),
            (1, 0x7f_ffd8, 23),
            (10, 0x3fff_fffc, 30),
            (22, 0x3fff_fffe, 30),
            (128, 0xf_ffe6, 20),
            (199, 0x1ff_ffec, 25),
            (249, 0xfff_fffe, 28),
            (255, 0x3ff_ffee, 26),
        ] {
            assert_eq!((CODE.codes[byte as usize], LENGTHS[byte as usize]), (code, length));
        }
    }

    #[test]
    fn every_byte_in_every_place() {
        for byte in 0..=255 {
            for before in 0..9 {
                for after in 0..9 {
                    let text = [&b"sZ.sZ.sZ."[..before], &[byte], &b"0123XY<>a"[..after]].concat();
                    assert_eq!(decoded(&encoded(&text)), Ok(text));
                }
            }
            for count in 1..20 {
                let text = vec![byte; count];
                assert_eq!(decoded(&encoded(&text)), Ok(text));
            }
        }
    }

    #[test]
    fn random_strings() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..3000 {
            let visible = random.bool();
            let text: Vec<u8> = (0..random.usize(..100))
                .map(|_| if visible { random.u8(b' '..=b'~') } else { random.u8(..) })
                .collect();
            assert_eq!(decoded(&encoded(&text)), Ok(text));
        }
    }

    #[test]
    fn padding() {
        assert_eq!(decoded(&[]), Ok(vec![]));
        // `0` is five zeros.
        assert_eq!(decoded(&[0b0000_0111]), Ok(b"0".to_vec()));
        for byte in [0b0000_0110, 0b0000_0101, 0b0000_0011] {
            assert_eq!(decoded(&[byte]), Err(HpackError::BadHuffman));
        }
        // `0` three times is fifteen zeros; `&` is eight bits.
        assert_eq!(decoded(&[0, 1]), Ok(b"000".to_vec()));
        assert_eq!(decoded(&[0, 0]), Err(HpackError::BadHuffman));
        assert_eq!(decoded(&[0xf8]), Ok(b"&".to_vec()));
        // Eight ones are too long.
        for count in 1..40 {
            let ones = vec![0xff; count];
            assert_eq!(decoded(&ones), Err(HpackError::BadHuffman));
            for text in [&b"&"[..], b"000", b"0"] {
                assert_eq!(
                    decoded(&[&encoded(text), &ones[..]].concat()),
                    Err(HpackError::BadHuffman)
                );
            }
        }
    }

    #[test]
    fn eos_is_refused() {
        // `0`, EOS, `0`, then zeros as far as the padding.
        for before in 0..30 {
            let mut bits = "00000".repeat(before) + &"1".repeat(30) + "00000";
            while !bits.len().is_multiple_of(8) {
                bits.push('1');
            }
            let bytes: Vec<u8> = (0..bits.len() / 8)
                .map(|at| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).expect("bits"))
                .collect();
            assert_eq!(decoded(&bytes), Err(HpackError::BadHuffman), "{bits}");
        }
    }

    #[test]
    fn any_bytes_do_no_harm() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..20_000 {
            let input: Vec<u8> = (0..random.usize(..24))
                .map(|_| if random.u8(..3) == 0 { 0xff } else { random.u8(..) })
                .collect();
            if let Ok(text) = decoded(&input) {
                // The code is bijective, up to the padding.
                assert_eq!(encoded(&text), input);
            }
        }
    }
}
