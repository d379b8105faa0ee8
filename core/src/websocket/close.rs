//! The payload of a close frame (RFC 6455 5.5.1, 7.4).
//!
//! In: the peer's payload. Out: its code and its reason, if it has them. The module also writes our
//! own close frames.

use super::frame::{self, Opcode};
use super::utf8;
use crate::close::Violation;
use crate::close::code::{LONGEST_REASON, may_be_sent};

/// Reads the payload of a close frame: empty, or a code and a reason.
pub(crate) fn read(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Violation::ClosePayload),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !may_be_sent(code) {
        return Err(Violation::CloseCode);
    }
    let reason = utf8::text(reason).map_err(|utf8::Invalid| Violation::Utf8)?;
    Ok(Some((code, reason)))
}

/// Writes a close frame. A reason that is too long is cut between two characters. The code has to be
/// one that [`may_be_sent`]; without a code the reason is dropped.
pub(crate) fn write(out: &mut Vec<u8>, code: Option<u16>, reason: &str) {
    let Some(code) = code else { return frame::write_control(out, Opcode::Close, &[]) };
    let mut payload = [0; frame::LONGEST_CONTROL];
    let end =
        (0..=reason.len().min(LONGEST_REASON)).rev().find(|end| reason.is_char_boundary(*end));
    let reason = end.and_then(|end| reason.get(..end)).unwrap_or_default();
    let bytes = code.to_be_bytes().into_iter().chain(reason.bytes());
    for (place, byte) in payload.iter_mut().zip(bytes) {
        *place = byte;
    }
    let payload = payload.get(..2 + reason.len()).unwrap_or_default();
    frame::write_control(out, Opcode::Close, payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code() {
        for code in 0..=u16::MAX {
            let valid = match code {
                0..=999 | 1004..=1006 | 1015..=2999 | 5000.. => false,
                1000..=1003 | 1007..=1014 | 3000..=4999 => true,
            };
            let expected = if valid { Ok(Some((code, ""))) } else { Err(Violation::CloseCode) };
            assert_eq!(read(&code.to_be_bytes()), expected, "{code}");
        }
    }

    #[test]
    fn payloads() {
        assert_eq!(read(b""), Ok(None));
        assert_eq!(read(b"\x03"), Err(Violation::ClosePayload));
        assert_eq!(read(b"\x03\xe8bye"), Ok(Some((1000, "bye"))));
        assert_eq!(read("\u{3}\u{e9}".as_bytes()), Err(Violation::CloseCode));
        assert_eq!(read(b"\x03\xe8\xff"), Err(Violation::Utf8));
        assert_eq!(read(b"\x03\xe8\xe6\xbc"), Err(Violation::Utf8), "cut within a character");
        assert_eq!(read(b"\x03\xed\xff"), Err(Violation::CloseCode), "the code is checked first");
    }

    #[test]
    fn written_closes_can_be_read() {
        let long = "é".repeat(100);
        let reasons = ["", "bye", &"x".repeat(123), &"x".repeat(124), &long];
        for reason in reasons {
            let mut out = Vec::new();
            write(&mut out, Some(1000), reason);
            assert_eq!(out[..2], [0x88, (out.len() - 2) as u8]);
            let (code, read) = read(&out[2..]).expect("valid").expect("a code");
            assert_eq!(code, 1000);
            assert!(reason.starts_with(read) && read.len() >= reason.len().min(LONGEST_REASON - 1));
        }
        let mut out = Vec::new();
        write(&mut out, None, "nothing");
        assert_eq!(out, [0x88, 0]);
    }
}
