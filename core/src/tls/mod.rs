//! TLS beneath a protocol that knows nothing of it (RFC 8446, RFC 5246), by rustls's unbuffered
//! connection.
//!
//! In: records, in the driver's buffer, and plaintext of the protocols, in the output. Out:
//! plaintext over the records it came in, and records in a buffer that is handed to the driver.
//!
//! | room | what it does |
//! |---|---|
//! | `session` | the state of one connection, what rustls's errors mean |
//! | `receive` | opens records; what has to wait for the rest of one |
//! | `seal`, `sealed` | makes records, and the buffer that they wait in |
//! | `record` | reads a record's header |
//! | `bound`, `estimate` | the most memory that TLS adds, and what rustls owns of it |
//! | `absent` | stands in where TLS is not compiled in |
//!
//! What rustls guards against by itself: more than 4 warnings, a second attempt to renegotiate, 32
//! empty records in a row, 32 key updates without data between them, a handshake message of more
//! than 64 KiB. What it does not is guarded here: the bytes and the time of the handshake, how long
//! a record may be that is waited for, and the budget for records that bring little.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod bound;
#[cfg(feature = "tls")]
mod estimate;
#[cfg(feature = "tls")]
mod receive;
#[cfg(feature = "tls")]
mod record;
#[cfg(feature = "tls")]
mod seal;
#[cfg(feature = "tls")]
mod sealed;
#[cfg(feature = "tls")]
mod session;

#[cfg(not(feature = "tls"))]
pub(crate) use absent::{Tls, memory_bound};
#[cfg(feature = "tls")]
pub(crate) use bound::memory_bound;
#[cfg(feature = "tls")]
pub(crate) use session::Tls;

/// What came of a read.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Bytes of plaintext at the front of the driver's buffer.
    pub(crate) plaintext: usize,
    /// A record has begun that is not complete.
    pub(crate) is_partial: bool,
}

/// The most memory that TLS adds to a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemoryBound {
    /// Within the handshake, when there is nothing but TLS.
    pub(crate) handshake: usize,
    /// After it.
    pub(crate) after: usize,
}

/// Whether a client that begins with `bytes` wants to shake hands.
pub(crate) fn begins_handshake(bytes: &[u8]) -> bool {
    bytes.first() == Some(&22)
}

/// Whether a client that begins with `bytes` speaks HTTP without TLS: methods are written in capital
/// letters, and no content type of a record is one.
pub(crate) fn begins_plain_http(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_uppercase)
}
