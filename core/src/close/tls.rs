//! Why TLS fails.

use core::fmt;

/// What TLS failed for. The [table](crate::close) tells what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The module's table has a row for each.
pub enum TlsFailure {
    Unavailable,
    Handshake,
    Abandoned,
    HandshakeTooLarge,
    Record,
    Alert,
    Flood,
    Exhausted,
    PlainHttp,
    OnPlainPort,
    Refused,
}

impl TlsFailure {
    /// Every failure there is.
    pub const ALL: [TlsFailure; 11] = [
        TlsFailure::Unavailable,
        TlsFailure::Handshake,
        TlsFailure::Abandoned,
        TlsFailure::HandshakeTooLarge,
        TlsFailure::Record,
        TlsFailure::Alert,
        TlsFailure::Flood,
        TlsFailure::Exhausted,
        TlsFailure::PlainHttp,
        TlsFailure::OnPlainPort,
        TlsFailure::Refused,
    ];

    /// The failure's name in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            TlsFailure::Unavailable => "tls_unavailable",
            TlsFailure::Handshake => "tls_handshake_failed",
            TlsFailure::Abandoned => "tls_handshake_abandoned",
            TlsFailure::HandshakeTooLarge => "tls_handshake_too_large",
            TlsFailure::Record => "tls_bad_record",
            TlsFailure::Alert => "tls_alert",
            TlsFailure::Flood => "tls_flood",
            TlsFailure::Exhausted => "tls_exhausted",
            TlsFailure::PlainHttp => "plain_http_on_tls_port",
            TlsFailure::OnPlainPort => "tls_on_plain_port",
            TlsFailure::Refused => "tls_refused",
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_failures_are_listed_once() {
        for (place, failure) in TlsFailure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, place, "{failure:?}");
        }
        assert_eq!(TlsFailure::Refused as usize + 1, TlsFailure::ALL.len(), "the last one");
    }
}
