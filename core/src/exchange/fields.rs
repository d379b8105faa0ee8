//! Which fields may stand where (RFC 9110 6.5.1, 7.6.1).

/// Fields that no trailer section may have: for framing, routing, connection control, authentication, or
/// the type of the content (RFC 9110 6.5.1).
const NOT_IN_TRAILERS: [&str; 16] = [
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

/// Whether a trailer section may not have a field of that name, whatever its case.
pub(crate) fn is_forbidden_in_trailers(name: &[u8]) -> bool {
    NOT_IN_TRAILERS.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes()))
}
