//! Estimates of the memory that rustls keeps for a connection, because rustls does not report it.
//! `tests/tls/memory.rs` compares them with the allocator's count.

use super::record;

/// The most heap memory that rustls keeps for a connection during the handshake, beside its messages.
/// The allocator's count does not see the memory that aws-lc allocates in C.
pub(super) const RUSTLS_HANDSHAKE: usize = 12 * 1024;
/// The most heap memory that rustls keeps after the handshake, beside the client's certificates: two
/// ciphers, the secrets, room for 16 spans of messages.
pub(super) const RUSTLS: usize = 4 * 1024;
/// A copy of rustls's settings: the struct, and lists of a few protocols and of ways to compress certificates.
pub(super) const SETTINGS: usize = 2 * 1024;
/// The memory that rustls keeps for each certificate of a chain, beside its bytes. In TLS 1.2 it is
/// half as much. The list of certificates grows by doubling.
pub(super) const CERTIFICATE: usize = 48;
/// The most bytes of a chain that rustls accepts.
const CHAIN: usize = 64 * 1024;
/// The number of certificates in a chain that we allow for.
const CERTIFICATES: usize = 64;
/// A session ticket without the client's certificates, and its record.
pub(super) const TICKET: usize = 512;
/// The most bytes that rustls sends at once: its flight with the certificates.
pub(super) const FLIGHT: usize = 32 * 1024;

/// The most memory that a client's whole chain may take.
pub(super) fn most_certificates(limit: usize) -> usize {
    limit + CERTIFICATES * CERTIFICATE
}

/// Bytes of records during the handshake: the client's plain and encrypted ones, and our own.
#[derive(Clone, Copy)]
pub(super) struct Messages {
    pub(super) plain: usize,
    pub(super) protected: usize,
    pub(super) flight: usize,
}

impl Messages {
    /// The most memory that rustls keeps for these messages. Until the client has proved that it owns
    /// its certificates, rustls keeps all messages, and the certificates, which may be many and empty.
    /// A message in encrypted records is no longer than `limit`, or than the largest record.
    pub(super) fn memory(self, limit: usize) -> usize {
        let protected = self.protected.min(limit.max(record::LARGEST));
        let all = 2 * (self.plain + protected + self.flight.min(FLIGHT));
        // An empty certificate takes three bytes of a message in TLS 1.2, and five in TLS 1.3. In
        // TLS 1.2 it takes half the memory.
        let (plain, protected) = (self.plain.min(CHAIN), protected.min(CHAIN));
        let old = (plain / 3).next_power_of_two() * (CERTIFICATE / 2) + plain;
        let new = (protected / 5).next_power_of_two() * CERTIFICATE + protected;
        all + old.max(new)
    }
}
