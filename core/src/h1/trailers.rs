//! The trailer section behind the last chunk (RFC 9112 7.1.2), and what may not stand in it.

use super::section::Lines;
use crate::close::Refusal;

/// Fields that frame a message, route it, control the connection, say who asks, or say what the
/// content is (RFC 9110 6.5.1).
const FORBIDDEN: [&str; 13] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn is_forbidden(name: &[u8]) -> bool {
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes()))
}

/// Reads a complete section, of which `lines` has the places of the lines.
pub(super) fn read(section: &[u8], lines: &mut Lines) -> Result<(), Refusal> {
    let read = lines.read_fields(section, 0, |name, _| {
        if is_forbidden(name) { Err(Refusal::Trailers) } else { Ok(()) }
    });
    read.map_err(|_| Refusal::Trailers)
}
