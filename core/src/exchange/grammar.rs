//! The bytes that each part of a head may have (RFC 9110 5.6, RFC 9112 3, RFC 3986 3), as one table.

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const HOST: u8 = 4;
const VALUE: u8 = 8;
/// Bytes that clients put into a target, whether they should be encoded or not.
const RAW_TARGET: u8 = 16;
/// Text between quotes, without the quote and the backslash (RFC 9110 5.6.4).
const QUOTED: u8 = 32;

const CLASSES: [u8; 256] = {
    const fn allow(classes: &mut [u8; 256], class: u8, bytes: &[u8]) {
        let mut place = 0;
        while place < bytes.len() {
            classes[bytes[place] as usize] |= class;
            place += 1;
        }
    }
    let mut classes = [0; 256];
    classes[b'\t' as usize] |= VALUE | QUOTED;
    let mut byte = 0x20;
    while byte <= 0xff {
        if byte != 0x7f {
            classes[byte] |= VALUE;
            if !matches!(byte as u8, b'"' | b'\\') {
                classes[byte] |= QUOTED;
            }
            // Clients never send a fragment: some servers would cut it off, others would not.
            if !matches!(byte as u8, b' ' | b'#') {
                classes[byte] |= RAW_TARGET;
            }
        }
        byte += 1;
    }
    byte = 0x21;
    while byte < 0x7f {
        if (byte as u8).is_ascii_alphanumeric() {
            classes[byte] |= TOKEN | HOST;
        }
        if !matches!(
            byte as u8,
            b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
        ) {
            classes[byte] |= TARGET;
        }
        byte += 1;
    }
    allow(&mut classes, TOKEN, b"!#$%&'*+-.^_`|~");
    allow(&mut classes, HOST, b"-._~!$&'()*+,;=");
    classes
};

fn is(class: u8, byte: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// The number of bytes at the start that belong to the class. Skips eight bytes at a time while
/// `doubtful` flags none of them; the table decides about the rest.
#[inline(always)]
fn length_of(class: u8, bytes: &[u8], doubtful: impl Fn(u64) -> u64) -> usize {
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        let marks = doubtful(u64::from_le_bytes(*word)) & HIGHS;
        if marks != 0 {
            rest = rest.get(marks.trailing_zeros() as usize / 8..).unwrap_or_default();
            break;
        }
        rest = after;
    }
    bytes.len() - rest.len() + table_length(class, rest)
}

#[inline(always)]
fn table_length(class: u8, bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !is(class, *byte)).unwrap_or(bytes.len())
}

/// The length of the token at the start.
#[inline(always)]
pub(crate) fn token_length(bytes: &[u8]) -> usize {
    length_of(TOKEN, bytes, |word| !(between(word | SPACES, b'a', b'z') | equal(word, b'-')) | word)
}

/// The length of the encoded request target at the start: visible ASCII without `#` and
/// ``"<>\^`{|}``. RFC 3986 has no brackets in a path either, but servers expect them unencoded.
#[inline(always)]
pub(crate) fn target_length(bytes: &[u8]) -> usize {
    // `!` and `~` are flagged too, so that one range check covers most bytes. With these three bits
    // set, `<`, `>`, `\` and `^` all become `~`.
    length_of(TARGET, bytes, |word| {
        let odd = equal(word | (ONES * 0x62), b'~') | equal(word, b'`');
        !between(word, b'$', b'z') | odd | word
    })
}

/// The length of the request target at the start, encoded or not. It ends at white space, a control
/// character or `#`, because some servers end it there.
pub(crate) fn raw_target_length(bytes: &[u8]) -> usize {
    table_length(RAW_TARGET, bytes)
}

/// Whether an encoded request target may have this byte.
pub(crate) fn is_target(byte: u8) -> bool {
    is(TARGET, byte)
}

/// The length of the quoted text at the start, up to a quote or a backslash.
pub(crate) fn quoted_length(bytes: &[u8]) -> usize {
    table_length(QUOTED, bytes)
}

/// The length of the registered name or IPv4 address at the start, up to a percent sign.
#[inline(always)]
pub(crate) fn host_length(bytes: &[u8]) -> usize {
    table_length(HOST, bytes)
}

/// The length of the field value at the start. The tab is the only control character that it may have
/// (RFC 9110 5.5).
#[inline(always)]
pub(crate) fn value_length(bytes: &[u8]) -> usize {
    length_of(VALUE, bytes, |word| !(between(word, b' ', b'~') | word))
}

// These functions look at the eight bytes of a word at once. Each byte's highest bit has its result.

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES * 0x80;
const SPACES: u64 = ONES * 0x20;

/// Flags the bytes in the range; the bytes' highest bits are ignored.
#[inline(always)]
fn between(word: u64, first: u8, last: u8) -> u64 {
    // Each sum fits into eight bits, so no carry reaches the next byte.
    let low = word & !HIGHS;
    (low + ONES * u64::from(0x80 - first)) & !(low + ONES * u64::from(0x7f - last))
}

/// Flags the bytes that equal `byte`; the bytes' highest bits are ignored.
#[inline(always)]
fn equal(word: u64, byte: u8) -> u64 {
    !(((word ^ (ONES * u64::from(byte))) & !HIGHS) + !HIGHS)
}

/// Reads a number that consists of digits only. A number beyond `u64` is refused: some parsers would
/// read it modulo 2^64.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let value = u64::from(digit.wrapping_sub(b'0'));
        if value < 10 { number.checked_mul(10)?.checked_add(value) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_rfcs() {
        let all =
            |class| (0..=255).filter(|byte| is(class, *byte)).map(char::from).collect::<String>();
        assert_eq!(
            all(TOKEN),
            "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"
        );
        assert_eq!(
            all(HOST),
            "!$&'()*+,-.0123456789;=ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
        );
        let visible: String = ('!'..='~').collect();
        assert_eq!(all(TARGET), visible.replace(|it| "\"#<>\\^`{|}".contains(it), ""));
        let high: String = (0x80..=0xffu8).map(char::from).collect();
        assert_eq!(all(RAW_TARGET), visible.replace('#', "") + &high);
        assert_eq!(all(QUOTED), "\t ".to_owned() + &visible.replace(['"', '\\'], "") + &high);
        assert_eq!(all(VALUE).chars().count(), 256 - 0x20 - 1 + 1);
    }

    #[test]
    fn lengths_are_those_of_the_table_wherever_a_byte_stands() {
        type Length = fn(&[u8]) -> usize;
        let lengths: [(u8, Length); 6] = [
            (TOKEN, token_length),
            (TARGET, target_length),
            (RAW_TARGET, raw_target_length),
            (QUOTED, quoted_length),
            (HOST, host_length),
            (VALUE, value_length),
        ];
        for (class, length) in lengths {
            for byte in 0..=255u8 {
                for place in 0..19 {
                    let mut bytes = *b"A-text-of-nineteen-";
                    bytes[place] = byte;
                    let expected = if is(class, byte) { bytes.len() } else { place };
                    assert_eq!(length(&bytes), expected, "{class}: {byte:#x} at {place}");
                }
            }
        }
    }

    #[test]
    fn decimals_are_digits() {
        for (text, number) in [("0", Some(0)), ("0017", Some(17)), ("", None), ("+1", None)] {
            assert_eq!(decimal(text.as_bytes()), number, "{text}");
        }
        for text in ["1 ", "1,1", "-1", "0x1", "1_0", "१"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
        assert_eq!(decimal(b"00018446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal(b"18446744073709551616"), None);
        assert_eq!(decimal(b"99999999999999999999999"), None);
    }
}
