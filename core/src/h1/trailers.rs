//! The trailer section after the last chunk (RFC 9112 7.1.2), and the fields that it may not have.

use super::section::read_fields;
use crate::close::Refusal;
use crate::config::Config;
use crate::head::Lines;

/// Fields for framing, routing, connection control, authentication, or the type of the content
/// (RFC 9110 6.5.1).
const FORBIDDEN: [&str; 16] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn is_forbidden(name: &[u8]) -> bool {
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes()))
}

/// Reads the trailers at the start of `section`, and puts the places of their fields into `lines`.
/// Returns their length.
pub(super) fn read(section: &[u8], config: &Config, lines: &mut Lines) -> Result<usize, Refusal> {
    let most = config.request_fields_limit() as usize;
    let read = read_fields(lines, section, section, most, |name, _| {
        if is_forbidden(name) { Err(Refusal::Trailers) } else { Ok(()) }
    });
    read.map_err(|_| Refusal::Trailers)
}
