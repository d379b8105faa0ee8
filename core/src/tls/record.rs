//! Reads the header of a record (RFC 8446 5.1) before any of its bytes are kept.

/// Content type, version, length.
pub(super) const HEADER: usize = 5;
/// The most bytes of plaintext in a record.
pub(super) const PLAINTEXT: usize = 1 << 14;
/// The largest record of TLS 1.2 (RFC 5246 6.2.3): header, plaintext and 2 KiB. TLS 1.3 allows less
/// (RFC 8446 5.2), but rustls refuses a longer record only once it has the whole of it.
pub(super) const LARGEST: usize = HEADER + PLAINTEXT + 2048;

/// The length of the record at the start of `bytes`, with its header; `None` until it is known.
///
/// A header of another protocol, or one that announces too much, counts as the whole record. Then
/// we wait for no more, and rustls refuses it. A heartbeat (RFC 6520) is kept whole, because rustls
/// refuses it only with its content.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<HEADER>()?;
    let length = HEADER + usize::from(u16::from_be_bytes([header[3], header[4]]));
    let is_tls = matches!(header[0], 20..=24) && header[1] == 3;
    Some(if is_tls && length <= LARGEST { length } else { HEADER })
}

/// Whether the record at the start of `bytes` has the type of application data. All encrypted records
/// of TLS 1.3 have it, and may be padded (RFC 8446 5.2).
pub(super) fn is_protected(bytes: &[u8]) -> bool {
    bytes.first() == Some(&23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_known_with_the_header() {
        let record = [23, 3, 3, 1, 2, 9, 9];
        for known in 0..HEADER {
            assert_eq!(length(&record[..known]), None, "{known} bytes");
        }
        assert_eq!(length(&record), Some(HEADER + 0x102));
    }

    #[test]
    fn a_record_that_is_too_long_is_not_waited_for() {
        let header = |length: usize| [23, 3, 3, (length >> 8) as u8, length as u8];
        let most = PLAINTEXT + 2048;
        assert_eq!(length(&header(most)), Some(HEADER + most));
        assert_eq!(length(&header(most + 1)), Some(HEADER));
        assert_eq!(length(b"hello"), Some(HEADER));
        assert_eq!(length(&[23, 4, 0, 1, 0]), Some(HEADER));
        assert_eq!(length(&[25, 3, 3, 1, 0]), Some(HEADER));
    }
}
