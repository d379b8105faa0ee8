//! Opens records in place.
//!
//! Records are opened one by one. Plaintext is shorter than its record, so the plaintext of all records
//! is moved together at the front of the driver's buffer. An incomplete record waits in `pending`, and
//! the next read completes it there. Its plaintext then becomes held bytes, which come before the rest
//! of that read. Records that rustls itself sends meanwhile (flights, alerts, tickets, answers to key
//! updates) are sealed in order.

use super::Received;
use super::estimate::most_certificates;
use super::record;
use super::session::{Tls, Transit, failure};
use crate::budget::{Budget, RECORD, USELESS};
use crate::close::TlsFailure;
use crate::config::Config;
use crate::input::{Held, grow};
use crate::time::Tick;
use core::mem::take;
use rustls::unbuffered::ConnectionState;

/// The price of a record without plaintext. A key update makes us derive keys.
const BARREN: u32 = 4 * USELESS;

/// The outcome of opening a record.
#[derive(Default)]
struct Opened {
    /// Bytes of plaintext at the front of the buffer.
    plaintext: usize,
    /// The place from which on rustls still needs the buffer's bytes.
    done: usize,
    /// rustls still needs some of the bytes: a message is incomplete.
    is_open: bool,
    /// What the record costs.
    cost: u32,
}

impl Tls {
    /// Opens the records in `fresh`. The plaintext of a record that began in an earlier read is
    /// appended to `held`; all other plaintext is moved to the front of `fresh`.
    ///
    /// A failure is left to [`Tls::take_failure`], so that the plaintext before it can be delivered.
    /// Bytes after the peer's close_notify are ignored (RFC 8446 6.1).
    pub(crate) fn receive(
        &mut self,
        config: &Config,
        budget: &mut Budget,
        now: Tick,
        fresh: &mut [u8],
        held: &mut Held,
    ) -> Received {
        let limit = config.tls_handshake_limit() as usize;
        let (mut at, mut plaintext) = (0, 0);
        while at < fresh.len() && self.failure.is_none() && !self.peer_closed {
            if self.transit.as_ref().is_some_and(|transit| !transit.pending.is_empty()) {
                at += self.complete(limit, budget, now, fresh.get(at..).unwrap_or_default(), held);
                continue;
            }
            let rest = fresh.get_mut(at..).unwrap_or_default();
            let length = record::length(rest);
            if !self.admit(rest, length, 0, limit) {
                break;
            }
            let Some(whole) = length.and_then(|length| rest.get_mut(..length)) else {
                self.keep(rest, length);
                break;
            };
            let mut opened = self.open(whole, 0, limit);
            let is_tiny = (1..RECORD as usize).contains(&opened.plaintext);
            if is_tiny && plaintext >= RECORD as usize {
                // The protocol takes it together with the records before it, so all its bytes earn. They
                // would pay for the record.
                opened.cost = RECORD;
            }
            self.pay(&opened, budget, now);
            let length = whole.len();
            if opened.done < length && self.failure.is_none() {
                // There is no plaintext here: no data may come between the parts of a message.
                let transit = self.transit.get_or_insert_default();
                transit.pending = whole.get(opened.done..).unwrap_or_default().to_vec();
                transit.opened = transit.pending.len();
            }
            fresh.copy_within(at..at + opened.plaintext, plaintext);
            plaintext += opened.plaintext;
            at += length;
        }
        Received { plaintext, is_partial: self.partial_record().is_some() }
    }

    /// Completes the pending record with bytes of `rest`, and opens it. Returns the number of bytes
    /// taken.
    fn complete(
        &mut self,
        limit: usize,
        budget: &mut Budget,
        now: Tick,
        rest: &[u8],
        held: &mut Held,
    ) -> usize {
        let (have, length) = self.pending_record();
        let missing = length.unwrap_or(record::HEADER).saturating_sub(have);
        let more = rest.get(..missing.min(rest.len())).unwrap_or_default();
        self.keep(more, length);
        let (have, length) = self.pending_record();
        let transit = self.transit.get_or_insert_default();
        let before = transit.opened;
        let mut bytes = take(&mut transit.pending);
        let record = bytes.get(before..).unwrap_or_default();
        if !self.admit(record, length, before, limit) {
            self.transit.get_or_insert_default().opened = 0;
            self.ended |= before > 0;
            return more.len();
        }
        if length.is_none_or(|length| have < length) {
            self.transit.get_or_insert_default().pending = bytes;
            return more.len();
        }
        let opened = self.open(&mut bytes, before, limit);
        self.pay(&opened, budget, now);
        let transit = self.transit.get_or_insert_default();
        if opened.done < bytes.len() && self.failure.is_none() {
            transit.pending = bytes.split_off(opened.done);
        }
        transit.opened = transit.pending.len();
        self.settle();
        bytes.truncate(opened.plaintext);
        held.append(bytes);
        more.len()
    }

    /// The most bytes of content that the incomplete record has so far, if there is one.
    pub(crate) fn partial_record(&self) -> Option<usize> {
        let (have, _) = self.pending_record();
        (have > 0).then(|| have.saturating_sub(record::HEADER))
    }

    /// The number of bytes of the pending record that have arrived, and its length if it is known.
    fn pending_record(&self) -> (usize, Option<usize>) {
        let record = self.transit.as_ref().and_then(|it| it.pending.get(it.opened..));
        let record = record.unwrap_or_default();
        (record.len(), record::length(record))
    }

    /// Keeps a part of a record. The buffer never grows past the record's end.
    fn keep(&mut self, part: &[u8], length: Option<usize>) {
        let Transit { pending, opened, .. } = &mut **self.transit.get_or_insert_default();
        grow(pending, part.len(), *opened + length.unwrap_or(record::HEADER));
        pending.extend_from_slice(part);
    }

    /// Checks the record that begins with `record` against the handshake's limit, before we wait for
    /// the rest of it. `length` is its length if that is known.
    ///
    /// In the handshake, plaintext records count in full. Encrypted records may be padded. They count
    /// only together with the bytes `before` them that rustls keeps for an incomplete message.
    fn admit(&mut self, record: &[u8], length: Option<usize>, before: usize, limit: usize) -> bool {
        let length = length.unwrap_or(0);
        let bytes = match before {
            _ if self.handshaking && !self.is_padded(record) => self.handshake as usize + length,
            0 => 0,
            _ => before + length,
        };
        if bytes > limit {
            self.failure = Some(TlsFailure::HandshakeTooLarge);
        }
        bytes <= limit
    }

    /// Whether `record` may contain padding (RFC 8446 5.4): it is encrypted, and a ClientHello came
    /// before it.
    fn is_padded(&self, record: &[u8]) -> bool {
        record::is_protected(record) && self.handshake > 0
    }

    /// Opens one record in `bytes`. rustls still needs the `before` bytes in front of it, which are parts
    /// of earlier records.
    fn open(&mut self, bytes: &mut [u8], before: usize, limit: usize) -> Opened {
        let was_handshaking = self.handshaking;
        let length = bytes.len() - before;
        if was_handshaking && self.is_padded(bytes.get(before..).unwrap_or_default()) {
            self.protected = self.protected.saturating_add(length as u32);
        } else if was_handshaking {
            self.handshake += length as u32;
        }
        let mut opened = self.process(bytes);
        if was_handshaking && self.certificates() > most_certificates(limit) {
            self.failure = self.failure.or(Some(TlsFailure::HandshakeTooLarge));
        }
        if length <= record::HEADER && opened.done < bytes.len() && self.failure.is_none() {
            // The header is invalid, but rustls waits for more bytes instead of refusing it.
            self.failure = Some(TlsFailure::Record);
        }
        if self.handshaking && !self.session.is_handshaking() {
            self.handshaking = false;
        }
        opened.cost = match opened.plaintext {
            0 if was_handshaking => USELESS,
            0 => BARREN,
            bytes => RECORD.saturating_sub(bytes as u32),
        };
        opened.is_open = opened.done < bytes.len();
        opened
    }

    /// Pays for a record that was opened. The plaintext earns when the protocol takes it. A close_notify is
    /// the last record, and costs nothing.
    fn pay(&mut self, opened: &Opened, budget: &mut Budget, now: Tick) {
        if !self.peer_closed && !budget.spend(opened.cost, now) {
            self.failure = self.failure.or(Some(TlsFailure::Flood));
        }
        // A failure drops the bytes that rustls still needs, so rustls must not seal after it.
        self.ended |= self.failure.is_some() && opened.is_open;
    }

    /// Lets rustls process `bytes` until it needs more.
    fn process(&mut self, bytes: &mut [u8]) -> Opened {
        let mut opened = Opened::default();
        while self.failure.is_none() {
            let rest = bytes.get_mut(opened.done..).unwrap_or_default();
            let status = self.session.process_tls_records(rest);
            let discard = status.discard;
            match status.state {
                Ok(ConnectionState::ReadTraffic(_)) => {
                    opened.done += discard;
                    self.read_traffic(bytes, &mut opened);
                    continue;
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    let sealed = &mut self.transit.get_or_insert_default().sealed;
                    let before = sealed.len();
                    if sealed.append(|room| message.encode(room)).is_err() {
                        self.failure = Some(TlsFailure::Unavailable);
                    }
                    self.flight += (sealed.len() - before) as u32;
                }
                Ok(ConnectionState::TransmitTlsData(message)) => message.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                Ok(
                    ConnectionState::WriteTraffic(_)
                    | ConnectionState::BlockedHandshake
                    | ConnectionState::Closed,
                ) => {
                    opened.done += discard;
                    break;
                }
                Ok(_) => self.failure = Some(TlsFailure::Unavailable),
                Err(error) => {
                    self.failure = Some(failure(&error, self.handshaking));
                    self.seal_alert();
                }
            }
            opened.done += discard;
        }
        opened
    }

    /// Copies rustls's plaintext over the record that it came in.
    ///
    /// The state that rustls returned borrows the record, so we call rustls again without bytes. While
    /// it has plaintext it returns that first; a test checks this.
    fn read_traffic(&mut self, bytes: &mut [u8], opened: &mut Opened) {
        let status = self.session.process_tls_records(&mut []);
        let Ok(ConnectionState::ReadTraffic(mut traffic)) = status.state else {
            self.failure = Some(TlsFailure::Unavailable);
            return;
        };
        while let Some(Ok(record)) = traffic.next_record() {
            let end = opened.plaintext + record.payload.len();
            match bytes.get_mut(opened.plaintext..end) {
                Some(place) if end <= opened.done => place.copy_from_slice(record.payload),
                _ => {
                    self.failure = Some(TlsFailure::Unavailable);
                    return;
                }
            }
            opened.plaintext = end;
        }
    }

    /// Seals rustls's alert after an error. No record follows it.
    #[cold]
    fn seal_alert(&mut self) {
        self.ended = true;
        // While rustls has records to send it returns these first.
        while self.session.wants_write() {
            let status = self.session.process_tls_records(&mut []);
            let Ok(ConnectionState::EncodeTlsData(mut message)) = status.state else { return };
            let sealed = &mut self.transit.get_or_insert_default().sealed;
            if sealed.append(|room| message.encode(room)).is_err() {
                return;
            }
        }
    }
}
