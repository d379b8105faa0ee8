//! The rules for answers: which fields, which status, and how much content (RFC 9110 6.4, 8.6, 15).
//!
//! In: the application's status, fields and content length, and the request that is answered. Out: what the
//! protocol has to frame. The fields that pass are written on the way, into a [`FieldWriter`] of the
//! protocol. Only the protocol writes the fields that frame the message or manage the connection.

use super::Asked;
use super::grammar::decimal;
use crate::close::{CloseReason, Misuse};
use crate::event::BodyLength;
use crate::head::MethodKind;
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};

/// Where the fields of an answer are written.
pub(crate) trait FieldWriter {
    /// Writes a field. `name` is in small letters.
    fn field(&mut self, name: &str, value: &[u8]);

    /// Writes a `Date` of the usual length.
    fn date(&mut self, date: &[u8; 29]) {
        self.field("date", date);
    }

    /// A `Connection` field has this option, which is neither `close` nor `keep-alive`.
    fn connection_option(&mut self, option: &[u8]);
}

/// Fields that the application may not give when it accepts a websocket: there is no content to frame, and the
/// handshake has settled the upgrade.
pub(crate) const SETTLED: [HeaderName; 7] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_PROTOCOL,
];

/// How an answer is to be framed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framed {
    /// The length of the content, or the length that an answer to a GET would have.
    pub(crate) length: BodyLength,
    /// The answer has no content: HEAD, 204, 304.
    pub(crate) is_contentless: bool,
    /// The length may be told: a 204 has none (RFC 9110 8.6).
    pub(crate) tells_length: bool,
    /// The application has asked to close the connection.
    pub(crate) closes: bool,
}

/// Writes the fields of a final answer, as far as the rules allow them, and decides how to frame it.
///
/// # Errors
/// [`Misuse::Framing`] for fields that contradict `length` or each other. Some fields may be written
/// already.
#[inline(always)]
pub(crate) fn write<'f>(
    writer: &mut impl FieldWriter,
    asked: Asked,
    status: StatusCode,
    fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    length: BodyLength,
) -> Result<Framed, Misuse> {
    // A 204 has no content and no length (RFC 9110 8.6); answers to HEAD and a 304 may state one.
    let tells_length = status != StatusCode::NO_CONTENT;
    let is_contentless =
        !tells_length || status == StatusCode::NOT_MODIFIED || asked.kind == MethodKind::Head;
    let (mut told, mut chunked, mut closes) = (None, false, false);
    for (name, value) in fields {
        if *name == header::DATE
            && let Ok(date) = <&[u8; 29]>::try_from(value.as_bytes())
        {
            writer.date(date);
            continue;
        }
        let name = name.as_str();
        if !matches!(name.len(), 10 | 14 | 16 | 17) {
            // No name below has this length; nearly every field ends here.
            writer.field(name, value.as_bytes());
            continue;
        }
        match name {
            "content-length" => {
                let number = decimal(value.as_bytes()).ok_or(Misuse::Framing)?;
                if told.replace(number).is_some_and(|before| before != number) {
                    return Err(Misuse::Framing);
                }
            }
            // An answer that is passed on from another server may have it. It says nothing of the content.
            "transfer-encoding" if value.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                chunked = true;
            }
            "transfer-encoding" => return Err(Misuse::Framing),
            "connection" => closes |= pass_options(writer, value),
            "keep-alive" | "proxy-connection" => {}
            _ => writer.field(name, value.as_bytes()),
        }
    }
    let length = match (told, length) {
        (None, BodyLength::Known(0)) if is_contentless => {
            // An empty body does not tell the length that an answer to GET would have.
            BodyLength::Unknown
        }
        (None, length) => length,
        // One of the two is wrong, and there is no content yet to tell which.
        (Some(_), BodyLength::Unknown) if chunked => return Err(Misuse::Framing),
        (Some(told), BodyLength::Known(length)) if told != length && !is_contentless => {
            return Err(Misuse::Framing);
        }
        (Some(told), _) => BodyLength::Known(told),
    };
    Ok(Framed { length, is_contentless, tells_length, closes })
}

/// Fails if `status` can't begin a final answer to this request.
#[inline(always)]
pub(crate) fn check_status(asked: Asked, status: StatusCode) -> Result<(), Misuse> {
    if status.is_informational() || (asked.kind == MethodKind::Connect && status.is_success()) {
        return Err(Misuse::Status);
    }
    Ok(())
}

/// Fails unless `status` makes a tunnel of this request: 2xx of a CONNECT (RFC 9110 9.3.6), 101 of another one that
/// asks for an upgrade (RFC 9110 7.8).
pub(crate) fn check_tunnel(asked: Asked, status: StatusCode) -> Result<(), Misuse> {
    let is_connect = asked.kind == MethodKind::Connect;
    let is_upgrade = asked.upgrade && asked.http11 && asked.kind == MethodKind::Plain;
    if !(is_connect || is_upgrade) {
        return Err(Misuse::NotUpgradable);
    }
    let fits =
        if is_connect { status.is_success() } else { status == StatusCode::SWITCHING_PROTOCOLS };
    if fits { Ok(()) } else { Err(Misuse::Status) }
}

/// Whether a head that begins a tunnel passes on this field of the application's. The protocol writes those that
/// manage the connection. There is no content, so nothing may frame it (RFC 9110 9.3.6).
pub(crate) fn passes_into_tunnel(name: &HeaderName) -> Result<bool, Misuse> {
    match name.as_str() {
        "content-length" | "transfer-encoding" => Err(Misuse::Framing),
        "connection" | "keep-alive" | "proxy-connection" => Ok(false),
        _ => Ok(true),
    }
}

/// Fails unless `status` is one of an interim answer. A 101 is not: it ends the exchange.
pub(crate) fn check_interim_status(status: StatusCode) -> Result<(), Misuse> {
    if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Misuse::Status);
    }
    Ok(())
}

/// Fails for a field that an interim answer may not have, since it has no content.
pub(crate) fn check_interim_field(name: &HeaderName) -> Result<(), Misuse> {
    if name == header::CONTENT_LENGTH || name == header::TRANSFER_ENCODING {
        return Err(Misuse::Framing);
    }
    Ok(())
}

/// Passes on the options of a `Connection` field, except `close` and `keep-alive`, which the state machine
/// decides. Returns whether one is `close`.
#[cold]
fn pass_options(writer: &mut impl FieldWriter, value: &HeaderValue) -> bool {
    let mut closes = false;
    for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if option.eq_ignore_ascii_case(b"close") {
            closes = true;
        } else if !option.is_empty() && !option.eq_ignore_ascii_case(b"keep-alive") {
            writer.connection_option(option);
        }
    }
    closes
}

/// The content of the answer that tells the peer why its request is refused: a sentence in parts.
pub(crate) fn refusal(status: &StatusCode, reason: CloseReason) -> [&str; 8] {
    let phrase = status.canonical_reason().unwrap_or_default();
    [status.as_str(), " ", phrase, ": ", reason.explanation(), " (", reason.label(), ")\n"]
}
