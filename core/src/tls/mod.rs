//! TLS below a protocol that does not know of it (RFC 8446, RFC 5246), with rustls's unbuffered
//! connection.
//!
//! In: records in the driver's buffer, and the protocol's plaintext in the output. Out: plaintext, in
//! place of the records it came in, and records in a buffer for the driver.
//!
//! | module | purpose |
//! |---|---|
//! | `session` | the state of one connection, and the meaning of rustls's errors |
//! | `hello` | reads the client's first message, and chooses settings by it |
//! | `info` | what the handshake has agreed on, for the application |
//! | `receive` | opens records, and keeps the part of a record that waits for the rest |
//! | `seal`, `sealed` | makes records, and holds them until they are sent |
//! | `record` | reads a record's header |
//! | `bound`, `estimate` | the most memory that TLS adds, and rustls's share of it |
//! | `absent` | stands in if TLS is not compiled in |
//!
//! rustls itself refuses more than 4 warnings, and a second attempt to renegotiate. It refuses 32 empty
//! records in a row, and 32 key updates without data between them. It refuses a handshake message of
//! more than 64 KiB. This module limits the bytes and the time of the handshake, and the length of a
//! record that we wait for. It also charges the connection's
//! budget for records that carry little data; the protocol earns points with useful content.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod bound;
#[cfg(feature = "tls")]
mod estimate;
#[cfg(feature = "tls")]
mod hello;
#[cfg(feature = "tls")]
mod info;
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
pub use info::TlsInfo;
#[cfg(feature = "tls")]
pub(crate) use session::Tls;

/// The outcome of a read.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Bytes of plaintext at the front of the driver's buffer.
    pub(crate) plaintext: usize,
    /// The read ended within a record.
    pub(crate) is_partial: bool,
    /// The handshake was completed by this read, and no HTTP follows it.
    pub(crate) speaks_other: bool,
}

/// The most memory that TLS adds to a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemoryBound {
    /// During the handshake, when no protocol above TLS runs yet.
    pub(crate) handshake: usize,
    /// After the handshake.
    pub(crate) after: usize,
}

/// Whether a client whose first bytes are `bytes` begins a TLS handshake.
pub(crate) fn begins_handshake(bytes: &[u8]) -> bool {
    bytes.first() == Some(&22)
}

/// Whether a client whose first bytes are `bytes` speaks HTTP without TLS. A method begins with a
/// capital letter, which is no content type of a record.
pub(crate) fn begins_plain_http(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_uppercase)
}
