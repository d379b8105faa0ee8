//! Why a request is refused, with the status that the peer is told.

use core::fmt;
use http::StatusCode;

/// What a request was refused for. The [table](crate::close) tells what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The module's table has a row for each.
pub enum Refusal {
    RequestLine,
    Field,
    BareCrOrLf,
    BlankLines,
    Target,
    Host,
    ContentLength,
    TransferEncoding,
    ConflictingFraming,
    Chunk,
    ChunkExtensions,
    Trailers,
    ContentTooLarge,
    TargetTooLong,
    Expectation,
    HeadTooLarge,
    TooManyFields,
    Method,
    Coding,
    Unavailable,
    Version,
}

impl Refusal {
    /// Every refusal there is.
    pub const ALL: [Refusal; 21] = [
        Refusal::RequestLine,
        Refusal::Field,
        Refusal::BareCrOrLf,
        Refusal::BlankLines,
        Refusal::Target,
        Refusal::Host,
        Refusal::ContentLength,
        Refusal::TransferEncoding,
        Refusal::ConflictingFraming,
        Refusal::Chunk,
        Refusal::ChunkExtensions,
        Refusal::Trailers,
        Refusal::ContentTooLarge,
        Refusal::TargetTooLong,
        Refusal::Expectation,
        Refusal::HeadTooLarge,
        Refusal::TooManyFields,
        Refusal::Method,
        Refusal::Coding,
        Refusal::Unavailable,
        Refusal::Version,
    ];

    /// The refusal's name in metrics and logs; also in the text that the peer is sent.
    pub const fn label(self) -> &'static str {
        match self {
            Refusal::RequestLine => "malformed_request_line",
            Refusal::Field => "malformed_field",
            Refusal::BareCrOrLf => "bare_cr_or_lf",
            Refusal::BlankLines => "blank_lines",
            Refusal::Target => "bad_target",
            Refusal::Host => "bad_host",
            Refusal::ContentLength => "bad_content_length",
            Refusal::TransferEncoding => "bad_transfer_encoding",
            Refusal::ConflictingFraming => "conflicting_framing",
            Refusal::Chunk => "bad_chunk",
            Refusal::ChunkExtensions => "chunk_extensions",
            Refusal::Trailers => "trailers",
            Refusal::ContentTooLarge => "content_too_large",
            Refusal::TargetTooLong => "target_too_long",
            Refusal::Expectation => "unknown_expectation",
            Refusal::HeadTooLarge => "head_too_large",
            Refusal::TooManyFields => "too_many_fields",
            Refusal::Method => "unknown_method",
            Refusal::Coding => "unknown_coding",
            Refusal::Unavailable => "unavailable",
            Refusal::Version => "unknown_version",
        }
    }

    /// What the peer is told of it, for people, beside the label.
    pub const fn explanation(self) -> &'static str {
        match self {
            Refusal::RequestLine => {
                "the request line is not a method, a target and a version with single spaces"
            }
            Refusal::Field => "a field line is malformed",
            Refusal::BareCrOrLf => "a line does not end in CR and LF",
            Refusal::BlankLines => "too many empty lines precede the request",
            Refusal::Target => "the request target is malformed, or does not fit the method",
            Refusal::Host => {
                "the Host field is missing, repeated or malformed, or names another host than the target"
            }
            Refusal::ContentLength => "the Content-Length field is repeated or malformed",
            Refusal::TransferEncoding => {
                "the Transfer-Encoding field is repeated or malformed, or does not end in chunked"
            }
            Refusal::ConflictingFraming => {
                "the request has both Transfer-Encoding and Content-Length, or content that it may not have"
            }
            Refusal::Chunk => "a chunk has a malformed size, extension or end",
            Refusal::ChunkExtensions => "the extensions of chunks are too long",
            Refusal::Trailers => {
                "the trailers are malformed or too long, or contain a field that is not allowed there"
            }
            Refusal::ContentTooLarge => "the content of the request is too large",
            Refusal::TargetTooLong => "the request target is too long",
            Refusal::Expectation => "the Expect field is not 100-continue",
            Refusal::HeadTooLarge => "the head of the request is too large",
            Refusal::TooManyFields => "the request has too many fields",
            Refusal::Method => "the method is longer than any known one",
            Refusal::Coding => "the content has a transfer coding other than chunked",
            Refusal::Unavailable => "the server has no room for this request at the moment",
            Refusal::Version => "the server speaks HTTP/1.0 and HTTP/1.1 only",
        }
    }

    /// The status that the peer is told.
    pub const fn status(self) -> StatusCode {
        match self {
            Refusal::RequestLine
            | Refusal::Field
            | Refusal::BareCrOrLf
            | Refusal::BlankLines
            | Refusal::Target
            | Refusal::Host
            | Refusal::ContentLength
            | Refusal::TransferEncoding
            | Refusal::ConflictingFraming
            | Refusal::Chunk
            | Refusal::ChunkExtensions
            | Refusal::Trailers => StatusCode::BAD_REQUEST,
            Refusal::ContentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::TargetTooLong => StatusCode::URI_TOO_LONG,
            Refusal::Expectation => StatusCode::EXPECTATION_FAILED,
            Refusal::HeadTooLarge | Refusal::TooManyFields => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Refusal::Method | Refusal::Coding => StatusCode::NOT_IMPLEMENTED,
            Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_refusals_are_listed_once() {
        for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, place, "{refusal:?}");
        }
        assert_eq!(Refusal::Version as usize + 1, Refusal::ALL.len(), "the last one");
    }
}
