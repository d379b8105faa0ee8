//! The trailer section after the last chunk (RFC 9112 7.1.2).

use super::section::read_fields;
use crate::close::Refusal;
use crate::config::Config;
use crate::exchange::fields::is_forbidden_in_trailers;
use crate::head::Lines;

/// Reads the trailers at the start of `section`, and puts the places of their fields into `lines`.
/// Returns their length.
pub(super) fn read(section: &[u8], config: &Config, lines: &mut Lines) -> Result<usize, Refusal> {
    let most = config.request_fields_limit() as usize;
    let read = read_fields(lines, section, section, most, |name, _| {
        if is_forbidden_in_trailers(name) { Err(Refusal::Trailers) } else { Ok(()) }
    });
    read.map_err(|_| Refusal::Trailers)
}
