//! The most memory that TLS adds to a connection.

use super::estimate::{
    FLIGHT, Messages, RUSTLS, RUSTLS_HANDSHAKE, SETTINGS, TICKET, most_certificates,
};
use super::seal::{AHEAD, overhead};
use super::session::{Handshake, NAME, Tls, Transit};
use super::{MemoryBound, record};
use crate::config::Config;
use core::mem::size_of;

/// The most memory that TLS adds to a connection under `config`.
pub(crate) fn memory_bound(config: &Config) -> MemoryBound {
    if !config.has_tls() {
        return MemoryBound::default();
    }
    let limit = config.tls_handshake_limit() as usize;
    let own = size_of::<Tls>() + size_of::<Transit>() + NAME;
    let certificates = most_certificates(limit);
    // A ticket carries the client's certificates, unless it is only a key to a session that the server
    // stores.
    let carried = if config.tls.tickets_carry_certificates() { certificates } else { 0 };
    let tickets = config.tls.tickets().max(1).saturating_mul(TICKET + carried);
    let sealed = records_bound(tickets);
    let flights = flights_bound(tickets);
    // Bytes that wait for the rest of their record or message.
    let pending = limit.max(record::LARGEST);
    let messages = Messages { plain: limit, protected: pending, flight: FLIGHT };
    let settings = if config.tls.may_copy() { SETTINGS } else { 0 };
    let begun = size_of::<Handshake>() + settings;
    MemoryBound {
        handshake: own + begun + RUSTLS_HANDSHAKE + messages.memory(limit) + pending + flights,
        // A record that was completed in `pending` becomes held bytes.
        after: own + RUSTLS + certificates + pending + record::LARGEST + sealed,
    }
}

/// Bytes of the small records that rustls sends by itself: alerts, and answers to key updates.
const ASIDE: usize = 1024;

/// The most bytes of handshake records that wait to be sent, if `tickets` bytes of them are tickets.
const fn flights_bound(tickets: usize) -> usize {
    FLIGHT.saturating_add(tickets).saturating_add(ASIDE)
}

/// The most bytes of records that wait to be sent: either sealed plaintext, or handshake records.
const fn records_bound(tickets: usize) -> usize {
    let (plaintext, flights) = (AHEAD + overhead(AHEAD) + ASIDE, flights_bound(tickets));
    if plaintext > flights { plaintext } else { flights }
}
