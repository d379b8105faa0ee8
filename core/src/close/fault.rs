//! How a client breaks the rules of HTTP/2, with the error code that it is told (RFC 9113 7).

use core::fmt;

/// What the peer did that ends an HTTP/2 connection, or a stream of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The connection does not begin with the preface and SETTINGS (RFC 9113 3.4).
    Preface,
    /// A frame that is longer than we allow, or of another length than its type has (RFC 9113 4.2).
    FrameSize,
    /// A frame of a stream on the connection, or the other way round; a stream whose number is even, or not
    /// larger than those before (RFC 9113 5.1.1).
    FrameStream,
    /// A frame on a stream that has not begun (RFC 9113 5.1).
    IdleStream,
    /// A frame on a stream that has ended (RFC 9113 5.1).
    ClosedStream,
    /// More padding than payload (RFC 9113 6.1).
    Padding,
    /// A field block that another frame interrupts, or a CONTINUATION of nothing (RFC 9113 6.10).
    Continuation,
    /// PUSH_PROMISE, which no client may send (RFC 9113 8.4).
    PushPromise,
    /// A stream that depends on itself (RFC 7540 5.3.1).
    Dependency,
    /// A setting with a value that it can't have (RFC 9113 6.5.2).
    Settings,
    /// SETTINGS of ours that were not acknowledged within `http2_settings_ack_timeout` (RFC 9113 6.5.3).
    SettingsTimeout,
    /// A window that would exceed 2^31-1 (RFC 9113 6.9.1), or grow because of SETTINGS (6.9.2).
    WindowOverflow,
    /// A window update of 0 (RFC 9113 6.9).
    WindowUpdate,
    /// More content than the window allows (RFC 9113 6.9.1).
    FlowControl,
    /// A field block that can't be decoded (RFC 7541).
    Compression,
    /// A field block whose encoded form exceeds `http2_header_list_limit` (CVE-2024-24549 and others).
    BlockTooLarge,
    /// A request that is no valid message: its pseudo-fields, its fields, or a length that its content
    /// does not have (RFC 9113 8.1 to 8.3).
    Malformed,
    /// More streams at once than `http2_concurrent_streams` (RFC 9113 5.1.2).
    TooManyStreams,
    /// More than the budget pays for of what costs us and brings nothing: streams that are reset
    /// (CVE-2023-44487, CVE-2025-8671), SETTINGS, PING, PRIORITY, empty frames (CVE-2019-9511 to 9518).
    Costly,
}

/// The error codes of HTTP/2 (RFC 9113 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names are those of the RFC.
pub enum ErrorCode {
    NoError,
    ProtocolError,
    InternalError,
    FlowControlError,
    SettingsTimeout,
    StreamClosed,
    FrameSizeError,
    RefusedStream,
    Cancel,
    CompressionError,
    ConnectError,
    EnhanceYourCalm,
    InadequateSecurity,
    Http11Required,
}

impl ErrorCode {
    /// The number in a frame.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

impl Fault {
    /// Every fault there is.
    pub const ALL: [Fault; 19] = [
        Fault::Preface,
        Fault::FrameSize,
        Fault::FrameStream,
        Fault::IdleStream,
        Fault::ClosedStream,
        Fault::Padding,
        Fault::Continuation,
        Fault::PushPromise,
        Fault::Dependency,
        Fault::Settings,
        Fault::SettingsTimeout,
        Fault::WindowOverflow,
        Fault::WindowUpdate,
        Fault::FlowControl,
        Fault::Compression,
        Fault::BlockTooLarge,
        Fault::Malformed,
        Fault::TooManyStreams,
        Fault::Costly,
    ];

    /// The error code that the peer is told.
    pub const fn error_code(self) -> ErrorCode {
        match self {
            Fault::Preface
            | Fault::FrameStream
            | Fault::IdleStream
            | Fault::Padding
            | Fault::Continuation
            | Fault::PushPromise
            | Fault::Dependency
            | Fault::Settings
            | Fault::WindowUpdate
            | Fault::Malformed => ErrorCode::ProtocolError,
            Fault::FrameSize => ErrorCode::FrameSizeError,
            Fault::ClosedStream => ErrorCode::StreamClosed,
            Fault::SettingsTimeout => ErrorCode::SettingsTimeout,
            Fault::WindowOverflow | Fault::FlowControl => ErrorCode::FlowControlError,
            Fault::Compression => ErrorCode::CompressionError,
            Fault::TooManyStreams => ErrorCode::RefusedStream,
            Fault::BlockTooLarge | Fault::Costly => ErrorCode::EnhanceYourCalm,
        }
    }

    /// The name in metrics and logs; also the text that the peer is sent in GOAWAY.
    pub const fn label(self) -> &'static str {
        match self {
            Fault::Preface => "http2_preface",
            Fault::FrameSize => "http2_frame_size",
            Fault::FrameStream => "http2_frame_stream",
            Fault::IdleStream => "http2_idle_stream",
            Fault::ClosedStream => "http2_closed_stream",
            Fault::Padding => "http2_padding",
            Fault::Continuation => "http2_continuation",
            Fault::PushPromise => "http2_push_promise",
            Fault::Dependency => "http2_dependency",
            Fault::Settings => "http2_settings",
            Fault::SettingsTimeout => "http2_settings_timeout",
            Fault::WindowOverflow => "http2_window_overflow",
            Fault::WindowUpdate => "http2_window_update",
            Fault::FlowControl => "http2_flow_control",
            Fault::Compression => "http2_compression",
            Fault::BlockTooLarge => "http2_block_too_large",
            Fault::Malformed => "http2_malformed",
            Fault::TooManyStreams => "http2_too_many_streams",
            Fault::Costly => "http2_flood",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_listed_once() {
        for (place, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, place, "{fault:?}");
        }
        assert_eq!(Fault::Costly as usize + 1, Fault::ALL.len(), "the last one");
    }

    #[test]
    fn numbers_are_those_of_the_rfc() {
        assert_eq!(ErrorCode::NoError.number(), 0);
        assert_eq!(ErrorCode::StreamClosed.number(), 5);
        assert_eq!(ErrorCode::EnhanceYourCalm.number(), 0xb);
        assert_eq!(ErrorCode::Http11Required.number(), 0xd);
    }
}
