//! Checks UTF-8 as it arrives (RFC 3629, RFC 6455 8.1).
//!
//! In: text, in any pieces. Out: an error at the first byte that cannot be part of valid text. If a
//! piece ends within a character, at most three bytes of it are kept.

/// The text is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// Checks all of `bytes` at once.
#[inline]
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Invalid> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| Invalid)
}

/// The state between two pieces of a text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8 {
    /// The first bytes of an incomplete character.
    begun: [u8; 3],
    length: u8,
}

impl Utf8 {
    /// Checks the next piece of the text.
    #[inline]
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Invalid> {
        while self.length > 0 {
            let [byte, rest @ ..] = bytes else { return Ok(()) };
            self.complete(*byte)?;
            bytes = rest;
        }
        let (whole, cut) = bytes.split_at(bytes.len() - length_of_cut(bytes));
        if !whole.is_empty() {
            text(whole)?;
        }
        if !cut.is_empty() {
            self.keep(cut)?;
        }
        Ok(())
    }

    /// Checks that the text does not end within a character.
    pub(crate) fn finish(&self) -> Result<(), Invalid> {
        if self.length == 0 { Ok(()) } else { Err(Invalid) }
    }

    /// Adds a byte to the incomplete character.
    fn complete(&mut self, byte: u8) -> Result<(), Invalid> {
        let mut character = [0; 4];
        let known = usize::from(self.length);
        for (place, begun) in character.iter_mut().zip(self.begun) {
            *place = begun;
        }
        if let Some(place) = character.get_mut(known) {
            *place = byte;
        }
        self.keep(character.get(..=known).ok_or(Invalid)?)
    }

    /// Keeps `character` if it is incomplete, and drops it once it is complete.
    fn keep(&mut self, character: &[u8]) -> Result<(), Invalid> {
        match core::str::from_utf8(character) {
            Ok(_) => self.length = 0,
            Err(error) if error.error_len().is_none() => {
                for (place, byte) in self.begun.iter_mut().zip(character) {
                    *place = *byte;
                }
                self.length = character.len() as u8;
            }
            Err(_) => return Err(Invalid),
        }
        Ok(())
    }
}

/// The number of bytes at the end that look like an incomplete character.
#[inline]
fn length_of_cut(bytes: &[u8]) -> usize {
    for (behind, byte) in bytes.iter().rev().take(3).enumerate() {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            _ => 1,
        };
        return if behind + 1 < length { behind + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds the bytes in pieces of `step`. An error has the number of bytes fed until then.
    fn run(bytes: &[u8], step: usize) -> Result<(), usize> {
        let mut utf8 = Utf8::default();
        let mut fed = 0;
        for piece in bytes.chunks(step) {
            fed += piece.len();
            utf8.feed(piece).map_err(|Invalid| fed)?;
        }
        utf8.finish().map_err(|Invalid| usize::MAX)
    }

    const VALID: &[&str] = &[
        "",
        "plain",
        "\0\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}",
        "\u{fffe}\u{feff}κόσμε 漢字 😀 and a long tail of plain text, so that blocks are passed over",
    ];

    #[test]
    fn valid_text_is_accepted_in_any_pieces() {
        for text in VALID {
            for step in 1..=text.len().max(1) {
                assert_eq!(run(text.as_bytes(), step), Ok(()), "{text:?} in steps of {step}");
            }
        }
    }

    #[test]
    fn text_that_ends_within_a_character() {
        for cut in ["é", "漢", "😀"] {
            for length in 1..cut.len() {
                let bytes = &cut.as_bytes()[..length];
                assert_eq!(run(bytes, 9), Err(usize::MAX), "{bytes:?}");
                assert_eq!(run(bytes, 1), Err(usize::MAX), "{bytes:?}");
            }
        }
    }

    #[test]
    fn refused_at_the_first_invalid_byte() {
        // Invalid bytes, and how many of them it takes to see that.
        let cases: &[(&[u8], usize)] = &[
            (b"\x80", 1),
            (b"\xbf", 1),
            // Overlong.
            (b"\xc0\x80", 1),
            (b"\xc1\xbf", 1),
            (b"\xe0\x80\x80", 2),
            (b"\xe0\x9f\xbf", 2),
            (b"\xf0\x80\x80\x80", 2),
            (b"\xf0\x8f\xbf\xbf", 2),
            // Surrogates.
            (b"\xed\xa0\x80", 2),
            (b"\xed\xbf\xbf", 2),
            // Beyond U+10FFFF.
            (b"\xf4\x90\x80\x80", 2),
            (b"\xf5\x80\x80\x80", 1),
            (b"\xf8\x88\x80\x80\x80", 1),
            (b"\xfe", 1),
            (b"\xff", 1),
            // Characters that are cut short by another one.
            (b"\xc3a", 2),
            (b"\xe6\xbca", 3),
            (b"\xf0\x9f\x98a", 4),
            (b"\xe6\xc3\xa9", 2),
            (b"\xf0\x9f\xf0\x9f", 3),
        ];
        for (bytes, decides) in cases {
            for before in [
                "",
                "a",
                "é",
                "漢",
                "😀",
                "sixty-four bytes of text pass by in one block, then it is over:",
            ] {
                let stream = [before.as_bytes(), bytes, b"more"].concat();
                let expected = before.len() + decides;
                assert_eq!(run(&stream, 1), Err(expected), "{before}{bytes:x?}");
                for step in 2..=stream.len() {
                    let refused = run(&stream, step).expect_err("invalid");
                    assert!(refused < expected + step, "{before}{bytes:x?} in steps of {step}");
                }
            }
        }
    }

    #[test]
    fn every_start_of_a_character_is_judged_as_std_does() {
        // Third and fourth bytes at the edges of their valid ranges.
        let borders = [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xe0, 0xff];
        for first_two in 0..=u16::MAX {
            let [first, second] = first_two.to_be_bytes();
            let fourths = if first < 0xf0 { &borders[..1] } else { &borders };
            for third in borders {
                for fourth in fourths {
                    judge(&[first, second, third, *fourth]);
                }
                judge(&[first, second, third]);
            }
            judge(&[first, second]);
        }
    }

    fn judge(bytes: &[u8]) {
        let mut utf8 = Utf8::default();
        let (left, right) = bytes.split_at(1 + usize::from(bytes[1]) % (bytes.len() - 1));
        let got = utf8.feed(left).and_then(|()| utf8.feed(right));
        match core::str::from_utf8(bytes) {
            Ok(_) => assert!(got.is_ok() && utf8.finish().is_ok(), "{bytes:x?}"),
            Err(error) if error.error_len().is_none() => {
                assert!(got.is_ok() && utf8.finish().is_err(), "{bytes:x?}");
            }
            Err(_) => assert!(got.is_err(), "{bytes:x?}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn judged_as_std_does_however_it_is_cut(
            text in ".{0,80}",
            change in proptest::option::of((0..300usize, any::<u8>())),
            step in 1..100usize,
        ) {
            let mut bytes = text.into_bytes();
            if let Some((place, byte)) = change && let Some(changed) = bytes.get_mut(place) {
                *changed = byte;
            }
            let valid = core::str::from_utf8(&bytes).is_ok();
            prop_assert_eq!(run(&bytes, step).is_ok(), valid);
            prop_assert_eq!(super::text(&bytes).is_ok(), valid);
        }
    }
}
