//! The trailer section behind the last chunk (RFC 9112 7.1.2), and what may not stand in it.

use super::head::{Fields, MOST_FIELDS};
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

pub(super) fn is_forbidden(name: &str) -> bool {
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}

/// Parses a complete section, its empty line included, and notes its fields.
pub(super) fn parse(section: &[u8], fields: &mut Fields) -> Result<(), Refusal> {
    fields.clear();
    if section == b"\r\n" {
        return Ok(());
    }
    let mut lines = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let parsed = match httparse::parse_headers(section, &mut lines) {
        Ok(httparse::Status::Complete((length, parsed))) if length == section.len() => parsed,
        _ => return Err(Refusal::Trailers),
    };
    for field in parsed {
        if is_forbidden(field.name) {
            return Err(Refusal::Trailers);
        }
        fields.note(section, field);
    }
    Ok(())
}
