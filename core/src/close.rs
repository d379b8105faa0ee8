//! The reasons for which things end: a connection ([`CloseReason`]), a request ([`Refusal`],
//! [`ResetReason`]), a call ([`Misuse`]). All are closed enumerations.
//!
//! Each close reason has a label for metrics and logs. It has the HTTP status, or the close code of a
//! websocket (RFC 6455 7.4), that the peer is sent, if it is sent one. The peer of an HTTP/2 connection is sent
//! a GOAWAY with an error code (RFC 9113 7). The ending tells what is still sent
//! and read:
//!
//! | ending | what is still sent | what is still read | until |
//! |---|---|---|---|
//! | `finish` | what is unsent, then a FIN; on a websocket first a close frame | it is discarded; of a websocket its close | the peer's FIN, or `linger_timeout`, `linger_silence`, `linger_limit` |
//! | `refuse` | first an answer, a close frame, a GOAWAY or an alert, then as `finish` | as `finish` | as `finish` |
//! | `leave` | what is unsent, and over TLS a close_notify | nothing | that is sent |
//! | `cut` | nothing; the socket is reset if an answer had begun | nothing | at once |
//!
//! This is the table of all reasons. A test compares it with the code.
//!
//! | label | HTTP status | close code | ending | when |
//! |---|---|---|---|---|
//! | `peer_done` | | | `leave` | the peer ended the connection between two requests |
//! | `peer_unannounced` | | | `leave` | the same over TLS, but without a close_notify (RFC 8446 6.1): anybody may have cut the connection |
//! | `peer_truncated` | 400 | | `refuse` | the peer ended the connection within a head or a content (RFC 9112 8), or a tunnel over TLS without a close_notify |
//! | `peer_reset` | | | `cut` | reading or writing failed: the peer is gone |
//! | `tls_handshake` | | | `cut` | the TLS handshake was not complete within `tls_handshake_timeout` |
//! | `keep_alive` | | | `leave` | nothing of a request arrived for `keep_alive_timeout` |
//! | `request_head` | 408 | | `refuse` | a head was not complete within `request_head_timeout` |
//! | `request_body` | 408 | | `refuse` | content came more slowly than `request_body_rate`, paused for `request_body_silence`, or was not complete within `request_body_deadline` |
//! | `response` | | | `cut` | the peer took our bytes more slowly than `response_rate`, paused for `response_silence`, or had not taken all within `response_deadline` |
//! | `peer_gone` | | | `cut` | the peer sent its FIN while a handler worked, and took nothing for `peer_gone_timeout` |
//! | `drain` | | | `cut` | `drain_timeout` passed with a request in progress |
//! | `malformed_request_line` | 400 | | `refuse` | RFC 9112 3 |
//! | `malformed_field` | 400 | | `refuse` | RFC 9112 5: name, colon, value, obs-fold |
//! | `bare_cr_or_lf` | 400 | | `refuse` | a line that ends in anything but CRLF (RFC 9112 2.2) |
//! | `blank_lines` | 400 | | `refuse` | too many empty lines before a request (RFC 9112 2.2) |
//! | `bad_target` | 400 | | `refuse` | a request target in none of the four forms (RFC 9112 3.2), or with bytes that are no UTF-8 |
//! | `bad_host` | 400 | | `refuse` | `Host` missing or empty with HTTP/1.1, repeated, malformed, or unlike an absolute target (RFC 9112 3.2); a port that is missing is the scheme's |
//! | `bad_content_length` | 400 | | `refuse` | repeated or malformed `Content-Length` (RFC 9112 6.3) |
//! | `bad_transfer_encoding` | 400 | | `refuse` | repeated, with HTTP/1.0, or not exactly `chunked` (RFC 9112 6.1) |
//! | `conflicting_framing` | 400 | | `refuse` | both `Transfer-Encoding` and `Content-Length` (RFC 9112 6.1) |
//! | `bad_chunk` | 400 | | `refuse` | a malformed chunk size, extension or end (RFC 9112 7.1); an extension's open quote |
//! | `chunk_extensions` | 400 | | `refuse` | `chunk_extension_limit` or `chunk_extensions_limit`, which also count digits of a size beyond 16 |
//! | `trailers` | 400 | | `refuse` | `trailers_limit`, or a field that no trailer may carry (RFC 9110 6.5.1) |
//! | `content_too_large` | 413 | | `refuse` | `request_body_limit` |
//! | `target_too_long` | 414 | | `refuse` | `request_target_limit`, also once the target is percent-encoded |
//! | `unknown_expectation` | 417 | | `refuse` | `Expect` other than `100-continue` (RFC 9110 10.1.1) |
//! | `head_too_large` | 431 | | `refuse` | `request_head_limit` |
//! | `too_many_fields` | 431 | | `refuse` | `request_fields_limit` |
//! | `unknown_method` | 501 | | `refuse` | a method of more than 32 bytes (RFC 9110 9.1) |
//! | `unknown_coding` | 501 | | `refuse` | a transfer coding before `chunked` (RFC 9112 6.1) |
//! | `unavailable` | 503 | | `refuse` | the driver has no room for the request |
//! | `unknown_version` | 505 | | `refuse` | neither HTTP/1.0 nor HTTP/1.1 |
//! | `websocket_pong` | | 1011 | `refuse` | nothing came for `websocket_pong_timeout` after a ping |
//! | `websocket_message` | | 1008 | `refuse` | a message that had begun came more slowly than `request_body_rate` |
//! | `websocket_idle` | | 1001 | `finish` | no message passed for `websocket_idle_timeout` |
//! | `websocket_close` | | | `cut` | the peer did not answer our close within `websocket_close_timeout` |
//! | `tunnel_idle` | | | `cut` | nothing passed through a tunnel, in either direction, for `tunnel_idle_timeout`, while its application waited for the peer |
//! | `reserved_bits` | | 1002 | `refuse` | a bit without a meaning (RFC 6455 5.2) |
//! | `reserved_opcode` | | 1002 | `refuse` | RFC 6455 5.2 |
//! | `unmasked_frame` | | 1002 | `refuse` | RFC 6455 5.1 |
//! | `bad_frame_length` | | 1002 | `refuse` | a length in more bytes than it needs, or of more than 63 bits (RFC 6455 5.2) |
//! | `fragmented_control_frame` | | 1002 | `refuse` | RFC 6455 5.5 |
//! | `long_control_frame` | | 1002 | `refuse` | RFC 6455 5.5 |
//! | `unexpected_continuation` | | 1002 | `refuse` | RFC 6455 5.4 |
//! | `interleaved_messages` | | 1002 | `refuse` | RFC 6455 5.4 |
//! | `bad_close_payload` | | 1002 | `refuse` | a single byte (RFC 6455 5.5.1) |
//! | `bad_close_code` | | 1002 | `refuse` | RFC 6455 7.4 |
//! | `invalid_utf8` | | 1007 | `refuse` | text, or the reason of a close (RFC 6455 8.1) |
//! | `invalid_compression` | | 1007 | `refuse` | RFC 7692 7.2.2 |
//! | `message_too_large` | | 1009 | `refuse` | `websocket_message_limit` |
//! | `too_many_useless_frames` | | 1008 | `refuse` | pings, pongs, empty frames and tiny fragments beyond the budget |
//! | `http2_preface` | | | `refuse` | PROTOCOL_ERROR: the connection does not begin with the preface and SETTINGS (RFC 9113 3.4) |
//! | `http2_frame_size` | | | `refuse` | FRAME_SIZE_ERROR: a frame that is too long, or of another length than its type has (RFC 9113 4.2) |
//! | `http2_frame_stream` | | | `refuse` | PROTOCOL_ERROR: a frame of a stream on the connection, or the other way round; a stream's number is even, or too small (RFC 9113 5.1.1) |
//! | `http2_idle_stream` | | | `refuse` | PROTOCOL_ERROR: a frame on a stream that has not begun (RFC 9113 5.1) |
//! | `http2_closed_stream` | | | `refuse` | STREAM_CLOSED: a frame on a stream that has ended (RFC 9113 5.1) |
//! | `http2_padding` | | | `refuse` | PROTOCOL_ERROR: more padding than payload (RFC 9113 6.1) |
//! | `http2_continuation` | | | `refuse` | PROTOCOL_ERROR: a field block that another frame interrupts, or a CONTINUATION of nothing (RFC 9113 6.10) |
//! | `http2_push_promise` | | | `refuse` | PROTOCOL_ERROR: PUSH_PROMISE, which no client may send (RFC 9113 8.4) |
//! | `http2_dependency` | | | `refuse` | PROTOCOL_ERROR: a stream that depends on itself (RFC 7540 5.3.1) |
//! | `http2_settings` | | | `refuse` | PROTOCOL_ERROR: a setting with a value that it can't have (RFC 9113 6.5.2) |
//! | `http2_settings_timeout` | | | `refuse` | SETTINGS_TIMEOUT: our SETTINGS were not acknowledged within `http2_settings_ack_timeout` (RFC 9113 6.5.3) |
//! | `http2_window_overflow` | | | `refuse` | FLOW_CONTROL_ERROR: a window beyond 2^31-1 (RFC 9113 6.9.1, 6.9.2) |
//! | `http2_window_update` | | | `refuse` | PROTOCOL_ERROR: a window update of 0 (RFC 9113 6.9) |
//! | `http2_flow_control` | | | `refuse` | FLOW_CONTROL_ERROR: more content than the window allows (RFC 9113 6.9.1) |
//! | `http2_compression` | | | `refuse` | COMPRESSION_ERROR: a field block that can't be decoded (RFC 7541) |
//! | `http2_block_too_large` | | | `refuse` | ENHANCE_YOUR_CALM: a field block whose encoded form exceeds `http2_header_list_limit` (CONTINUATION without end, CVE-2024-27316) |
//! | `http2_malformed` | | | `refuse` | PROTOCOL_ERROR: a request that is no valid message (RFC 9113 8.1 to 8.3); it ends its stream only |
//! | `http2_too_many_streams` | | | `refuse` | REFUSED_STREAM: more streams at once than `http2_concurrent_streams` (RFC 9113 5.1.2); it ends its stream only |
//! | `http2_flood` | | | `refuse` | ENHANCE_YOUR_CALM: more than the budget pays for: streams that are reset (CVE-2023-44487, CVE-2025-8671), SETTINGS, PING, PRIORITY, empty frames (CVE-2019-9511 to 9518) |
//! | `tls_unavailable` | | | `cut` | rustls refused the configuration, or failed in a way that it should not |
//! | `tls_handshake_failed` | | | `refuse` | nothing in common, or a malformed message; the peer is sent an alert |
//! | `tls_handshake_abandoned` | | | `cut` | the peer ended the connection within the handshake |
//! | `tls_handshake_too_large` | | | `refuse` | `tls_handshake_limit` |
//! | `tls_bad_record` | | | `refuse` | a record that is malformed, or was not sealed by the peer; the peer is sent an alert |
//! | `tls_alert` | | | `refuse` | the peer sent a fatal alert |
//! | `tls_flood` | | | `refuse` | more empty or tiny records, key updates or warnings than any peer needs |
//! | `tls_exhausted` | | | `refuse` | the keys have sealed as much as they may, and cannot be renewed (TLS 1.2) |
//! | `plain_http_on_tls_port` | 400 | | `refuse` | the client speaks HTTP without TLS; it is told so without TLS |
//! | `tls_on_plain_port` | | | `cut` | the client begins a TLS handshake where there is no TLS |
//! | `tls_refused` | | | `refuse` | the application chooses the settings of TLS (`ChooseTls`), and has none for this client; the peer is sent an alert |
//! | `other_protocol` | | | `leave` | client and application agreed on a protocol that is not HTTP, such as `acme-tls/1`: nothing follows the handshake |
//! | `proxy_header` | | | `cut` | a trusted proxy did not begin with a header of the PROXY protocol, or not within `request_head_timeout` of its first byte |
//! | `denied` | | | `cut` | a trusted proxy forwards a client that the [gate](crate::gate) does not let in |
//! | `completed` | | | `finish` | one side said `Connection: close`, or HTTP/1.0; a websocket was closed by either side, with a code of its own; both sides ended a tunnel, or the application took no more of it |
//! | `request_limit` | | | `finish` | `requests_per_connection` |
//! | `unread_content` | | | `finish` | answered with too much of the request's content unread to keep the connection |
//! | `drained` | | 1001 | `finish` | the connection was told to drain, and did |
//! | `made_room` | | | `leave` | another connection needed its place or its memory, and this one was idle, or waited for its peer |
//! | `application` | | | `cut` | the application gave up on an answer that it had begun |
//! | `aborted` | | | `cut` | the driver gave up on the connection |

pub(crate) mod code;
mod expiry;
mod fault;
mod misuse;
mod refusal;
mod tls;
mod violation;

use core::fmt;
pub use expiry::Expiry;
pub use fault::{ErrorCode, Fault};
use http::StatusCode;
pub use misuse::Misuse;
pub use refusal::Refusal;
pub use tls::TlsFailure;
pub use violation::Violation;

/// How the peer ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerClose {
    /// In good order, between two requests.
    Done,
    /// Between two requests, over TLS and without a close_notify.
    Unannounced,
    /// In the middle of a request.
    Truncated,
    /// By a reset, or in another way that makes reading or writing fail.
    Reset,
}

/// Why a connection was closed. The [table](crate::close) tells what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer ended it.
    Peer(PeerClose),
    /// The peer let a deadline pass.
    Expired(Expiry),
    /// The peer's request was refused.
    Refused(Refusal),
    /// The peer broke a rule of websockets.
    Violation(Violation),
    /// The peer broke a rule of HTTP/2.
    Fault(Fault),
    /// The TLS handshake failed, or TLS failed later.
    Tls(TlsFailure),
    /// A protocol was agreed on in the TLS handshake that is not HTTP, such as `acme-tls/1` (RFC 8737).
    OtherProtocol,
    /// A proxy did not begin the connection with a header of the PROXY protocol, as it should have. The driver
    /// reads that header; see [`behind_a_proxy`](crate::behind_a_proxy).
    ProxyHeader,
    /// A proxy forwards a client that the [gate](crate::gate) does not let in.
    Denied,
    /// Everything is finished, and one side asked to close.
    Completed,
    /// `requests_per_connection` requests were answered.
    RequestLimit,
    /// Too much content of an answered request was unread to be discarded.
    UnreadContent,
    /// [`Connection::drain`](crate::Connection::drain) was called, and everything was finished.
    Drained,
    /// Another connection needed its place or its memory. It was idle
    /// ([`Connection::close_idle`](crate::Connection::close_idle)), or the [gate](crate::gate) chose it among those
    /// that wait for their peers.
    MadeRoom,
    /// The application gave up on an answer that had begun
    /// ([`Stream::reset`](crate::Stream::reset)).
    Application,
    /// The driver gave up on it ([`Connection::abort`](crate::Connection::abort)), or read more than may be
    /// held ([`Connection::receive_limit`](crate::Connection::receive_limit)).
    Aborted,
}

impl CloseReason {
    /// Every reason there is.
    pub fn all() -> impl Iterator<Item = CloseReason> {
        let peer =
            [PeerClose::Done, PeerClose::Unannounced, PeerClose::Truncated, PeerClose::Reset];
        let rest = [
            CloseReason::OtherProtocol,
            CloseReason::ProxyHeader,
            CloseReason::Denied,
            CloseReason::Completed,
            CloseReason::RequestLimit,
            CloseReason::UnreadContent,
            CloseReason::Drained,
            CloseReason::MadeRoom,
            CloseReason::Application,
            CloseReason::Aborted,
        ];
        (peer.into_iter().map(CloseReason::Peer))
            .chain(Expiry::ALL.into_iter().map(CloseReason::Expired))
            .chain(Refusal::ALL.into_iter().map(CloseReason::Refused))
            .chain(Violation::ALL.into_iter().map(CloseReason::Violation))
            .chain(Fault::ALL.into_iter().map(CloseReason::Fault))
            .chain(TlsFailure::ALL.into_iter().map(CloseReason::Tls))
            .chain(rest)
    }

    /// The reason's name in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            CloseReason::Peer(PeerClose::Done) => "peer_done",
            CloseReason::Peer(PeerClose::Unannounced) => "peer_unannounced",
            CloseReason::Peer(PeerClose::Truncated) => "peer_truncated",
            CloseReason::Peer(PeerClose::Reset) => "peer_reset",
            CloseReason::Expired(expiry) => expiry.timer().label(),
            CloseReason::Refused(refusal) => refusal.label(),
            CloseReason::Violation(violation) => violation.label(),
            CloseReason::Fault(fault) => fault.label(),
            CloseReason::Tls(failure) => failure.label(),
            CloseReason::OtherProtocol => "other_protocol",
            CloseReason::ProxyHeader => "proxy_header",
            CloseReason::Denied => "denied",
            CloseReason::Completed => "completed",
            CloseReason::RequestLimit => "request_limit",
            CloseReason::UnreadContent => "unread_content",
            CloseReason::Drained => "drained",
            CloseReason::MadeRoom => "made_room",
            CloseReason::Application => "application",
            CloseReason::Aborted => "aborted",
        }
    }

    /// What the peer is told of it, for people, beside the label; empty where it is told nothing.
    pub const fn explanation(self) -> &'static str {
        match self {
            CloseReason::Peer(PeerClose::Truncated) => {
                "the client ended the connection before the request was complete"
            }
            CloseReason::Tls(TlsFailure::PlainHttp) => {
                "this port expects TLS, and the client sent plain HTTP: use https"
            }
            CloseReason::Expired(Expiry::RequestHead) => {
                "the head of the request was not complete in time"
            }
            CloseReason::Expired(Expiry::RequestBody) => {
                "the content of the request arrived too slowly"
            }
            CloseReason::Refused(refusal) => refusal.explanation(),
            _ => "",
        }
    }

    /// The status that the peer is told if no answer has begun; `None` for a close without words.
    pub const fn status(self) -> Option<StatusCode> {
        match self {
            CloseReason::Peer(PeerClose::Truncated) | CloseReason::Tls(TlsFailure::PlainHttp) => {
                Some(StatusCode::BAD_REQUEST)
            }
            CloseReason::Expired(Expiry::RequestHead | Expiry::RequestBody) => {
                Some(StatusCode::REQUEST_TIMEOUT)
            }
            CloseReason::Refused(refusal) => Some(refusal.status()),
            _ => None,
        }
    }

    /// The close code that the peer of a websocket is told (RFC 6455 7.4.1); `None` for an end
    /// without a close frame, and where the side that closed has chosen the code.
    pub const fn close_code(self) -> Option<u16> {
        match self {
            CloseReason::Expired(Expiry::WebSocketPong) => Some(code::INTERNAL_ERROR),
            CloseReason::Expired(Expiry::WebSocketMessage) => Some(code::POLICY),
            CloseReason::Expired(Expiry::WebSocketIdle) | CloseReason::Drained => {
                Some(code::GOING_AWAY)
            }
            CloseReason::Violation(violation) => Some(violation.close_code()),
            _ => None,
        }
    }
}

impl CloseReason {
    /// The error code in the GOAWAY that the peer of an HTTP/2 connection is sent (RFC 9113 7).
    pub const fn error_code(self) -> ErrorCode {
        match self {
            CloseReason::Fault(fault) => fault.error_code(),
            CloseReason::Expired(Expiry::RequestHead) => ErrorCode::EnhanceYourCalm,
            CloseReason::Aborted | CloseReason::Application => ErrorCode::InternalError,
            _ => ErrorCode::NoError,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Why a request that was delivered ended before its content did. The peer has been answered
/// already, as far as it can be; nothing more can be sent on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetReason {
    /// The peer ended the connection within the content.
    Truncated,
    /// The peer sent content more slowly than `request_body_rate`.
    Timeout,
    /// The content, or its framing, was refused.
    Refused(Refusal),
    /// The peer broke a rule of websockets.
    Violation(Violation),
    /// The peer broke a rule of HTTP/2 on this stream.
    Fault(Fault),
    /// The peer has no use for the answer: it reset the stream (RFC 9113 5.4.2). Or it reset the connection that is a
    /// tunnel.
    Cancelled,
    /// The peer did not open the stream's window for the answer, or too slowly (`response_rate`,
    /// `response_silence`, `response_deadline`).
    Unread,
}

impl ResetReason {
    /// All that [`label`](Self::label) returns.
    pub const LABELS: [&str; 7] =
        ["truncated", "timeout", "refused", "violation", "fault", "cancelled", "unread"];

    /// The kind of reason as a label for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            ResetReason::Truncated => "truncated",
            ResetReason::Timeout => "timeout",
            ResetReason::Refused(_) => "refused",
            ResetReason::Violation(_) => "violation",
            ResetReason::Fault(_) => "fault",
            ResetReason::Cancelled => "cancelled",
            ResetReason::Unread => "unread",
        }
    }

    /// The error code that the peer of an HTTP/2 connection is sent (RFC 9113 7).
    pub const fn error_code(self) -> ErrorCode {
        match self {
            ResetReason::Fault(fault) => fault.error_code(),
            ResetReason::Violation(_) => ErrorCode::ProtocolError,
            ResetReason::Refused(_) => ErrorCode::NoError,
            ResetReason::Truncated
            | ResetReason::Timeout
            | ResetReason::Cancelled
            | ResetReason::Unread => ErrorCode::Cancel,
        }
    }
}

impl fmt::Display for ResetReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResetReason::Truncated => {
                f.write_str("the peer ended the connection within the content")
            }
            ResetReason::Timeout => f.write_str("the peer sent content too slowly"),
            ResetReason::Refused(refusal) => write!(f, "the request was refused: {refusal}"),
            ResetReason::Violation(violation) => {
                write!(f, "the peer broke a rule of websockets: {violation}")
            }
            ResetReason::Fault(fault) => write!(f, "the peer broke a rule of HTTP/2: {fault}"),
            ResetReason::Cancelled => f.write_str("the peer cancelled the request"),
            ResetReason::Unread => f.write_str("the peer took the answer too slowly"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endings::Ending;
    use std::collections::BTreeMap;

    /// The rows of the module's table: label, status, close code and ending.
    fn documented() -> BTreeMap<&'static str, (Option<u16>, Option<u16>, &'static str)> {
        include_str!("close.rs")
            .split("//! | label |")
            .nth(1)
            .expect("the table")
            .lines()
            .filter_map(|line| line.strip_prefix("//! | `"))
            .map(|row| {
                let mut cells = row.split('|').map(str::trim);
                let label = cells.next().and_then(|cell| cell.strip_suffix('`')).expect("label");
                let mut number = || cells.next().expect("a cell").parse().ok();
                let (status, code) = (number(), number());
                (label, (status, code, cells.next().expect("an ending").trim_matches('`')))
            })
            .collect()
    }

    #[test]
    fn every_reason_has_one_row_in_the_documentation() {
        let mut rows = documented();
        for reason in CloseReason::all() {
            let row = rows.remove(reason.label());
            let row = row.unwrap_or_else(|| panic!("{reason:?} is undocumented, or stands twice"));
            let status = reason.status().map(|it| it.as_u16());
            assert_eq!(status.is_some(), !reason.explanation().is_empty(), "{reason:?}");
            let ending = Ending::of(reason).label();
            assert_eq!(row, (status, reason.close_code(), ending), "{reason:?}");
            assert!(reason.close_code().is_none_or(code::may_be_sent), "{reason:?}");
        }
        assert!(rows.is_empty(), "rows of no reason: {rows:?}");
    }
}
