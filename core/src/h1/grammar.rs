//! Which bytes may stand where (RFC 9110 5.6, RFC 9112 3, RFC 3986 3), as one table.

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const HOST: u8 = 4;

const CLASSES: [u8; 256] = {
    const fn allow(classes: &mut [u8; 256], class: u8, bytes: &[u8]) {
        let mut place = 0;
        while place < bytes.len() {
            classes[bytes[place] as usize] |= class;
            place += 1;
        }
    }
    let mut classes = [0; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        if (byte as u8).is_ascii_alphanumeric() {
            classes[byte] |= TOKEN | HOST;
        }
        // A fragment is never sent: some would cut it off, others would not.
        if byte as u8 != b'#' {
            classes[byte] |= TARGET;
        }
        byte += 1;
    }
    allow(&mut classes, TOKEN, b"!#$%&'*+-.^_`|~");
    allow(&mut classes, HOST, b"-._~%!$&'()*+,;=");
    classes
};

fn is(class: u8, byte: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// How many bytes of the class stand at the start.
fn length_of(class: u8, bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is(class, **byte)).count()
}

/// How many bytes of a token stand at the start.
pub(super) fn token_length(bytes: &[u8]) -> usize {
    length_of(TOKEN, bytes)
}

/// How many bytes that a request target may have stand at the start: visible ASCII but `#`.
pub(super) fn target_length(bytes: &[u8]) -> usize {
    length_of(TARGET, bytes)
}

/// How many bytes of a registered name or an IPv4 address stand at the start.
pub(super) fn host_length(bytes: &[u8]) -> usize {
    length_of(HOST, bytes)
}

/// Whether all may stand in a field value: no control character but the tab (RFC 9110 5.5).
pub(super) fn is_field_value(bytes: &[u8]) -> bool {
    let mut words = bytes.chunks_exact(8);
    let plain = words.by_ref().all(|word| {
        let word = word.try_into().map_or(0, u64::from_ne_bytes);
        !has_control(word)
    });
    let allowed = |byte: &u8| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t';
    if plain { words.remainder().iter().all(allowed) } else { bytes.iter().all(allowed) }
}

/// Whether one of the eight bytes is a control character, a tab included.
fn has_control(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES * 0x80;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7f);
    let is_delete = delete.wrapping_sub(ONES) & !delete;
    (below_space | is_delete) & HIGHS != 0
}

/// Digits and nothing else. A number beyond `u64` is none: some would read it modulo 2^64.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
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
            "!$%&'()*+,-.0123456789;=ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
        );
        assert_eq!(all(TARGET).len(), 0x7e - 0x20 - 1);
    }

    #[test]
    fn values_have_no_control_characters_but_tabs_wherever_they_stand() {
        for byte in 0..=255u8 {
            for place in 0..19 {
                let mut value = *b"a value of 19 bytes";
                value[place] = byte;
                let allowed = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
                assert_eq!(is_field_value(&value), allowed, "{byte:#x} at {place}");
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
