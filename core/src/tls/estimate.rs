//! What rustls owns for a connection: it does not say, so these are estimates. `tests/tls/memory.rs` holds
//! them against the allocator's count.

use super::record;

/// What rustls keeps on the heap for a connection, at most, within the handshake, beside its messages.
/// This and the next are estimates: `tests/tls/memory.rs` holds them against the allocator's count,
/// which does not see what aws-lc allocates in C.
pub(super) const RUSTLS_HANDSHAKE: usize = 12 * 1024;
/// The same after the handshake, beside the client's certificates: two ciphers, the secrets, room for
/// 16 spans of messages.
pub(super) const RUSTLS: usize = 4 * 1024;
/// What rustls owns for each certificate of a chain, beside its bytes: half as much in TLS 1.2. Room for
/// them doubles.
pub(super) const CERTIFICATE: usize = 48;
/// The most bytes of a chain that rustls takes.
const CHAIN: usize = 64 * 1024;
/// Certificates in a chain of usual ones.
const CERTIFICATES: usize = 64;
/// A session ticket without the client's certificates, and its record.
pub(super) const TICKET: usize = 512;
/// What rustls may have to say at once: its flight with the certificates.
pub(super) const FLIGHT: usize = 32 * 1024;

/// The most memory that a client's chain may take, in all.
pub(super) fn most_certificates(limit: usize) -> usize {
    limit + CERTIFICATES * CERTIFICATE
}

/// Bytes of records within the handshake.
#[derive(Clone, Copy)]
pub(super) struct Messages {
    pub(super) plain: usize,
    pub(super) protected: usize,
    pub(super) flight: usize,
}

impl Messages {
    /// What rustls owns of them at most: all messages, as long as the client has yet to prove that its
    /// certificates are its own, and these, which may be many and empty. No message of an encrypted
    /// record is longer than `limit`, or a record.
    pub(super) fn memory(self, limit: usize) -> usize {
        let protected = self.protected.min(limit.max(record::LARGEST));
        let all = 2 * (self.plain + protected + self.flight.min(FLIGHT));
        // Without a byte a certificate takes three in TLS 1.2, and half the room.
        let (plain, protected) = (self.plain.min(CHAIN), protected.min(CHAIN));
        let old = (plain / 3).next_power_of_two() * (CERTIFICATE / 2) + plain;
        let new = (protected / 5).next_power_of_two() * CERTIFICATE + protected;
        all + old.max(new)
    }
}
