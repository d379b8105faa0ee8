//! Records in, plaintext out, over the very bytes in which they came.
//!
//! Records are opened one by one where they lie: plaintext is shorter than its record, so what
//! they bring is moved together at the front of the driver's buffer. A record that is not complete
//! waits in `pending`; the next read completes it there, and the plaintext goes before what the
//! read brings otherwise, as held bytes. What rustls itself has to say on the way (its flights,
//! alerts, tickets, answers to key updates) is sealed in order.

use super::Received;
use super::estimate::most_certificates;
use super::record;
use super::session::{Tls, Transit, failure};
use crate::budget::{TINY_RECORD, USELESS};
use crate::close::TlsFailure;
use crate::config::Config;
use crate::input::{Held, grow};
use crate::time::Tick;
use core::mem::take;
use rustls::unbuffered::ConnectionState;

/// The price of a record that brings no plaintext: for a key update keys are derived.
const BARREN: u32 = 4 * USELESS;

/// What came of the records in a buffer.
#[derive(Default)]
struct Opened {
    /// Bytes of plaintext at its front.
    plaintext: usize,
    /// From where on rustls still needs it.
    done: usize,
}

impl Tls {
    /// Opens what `fresh` brings. Plaintext that began in earlier reads is appended to `held`, all
    /// other lies at the front of `fresh`.
    ///
    /// What goes wrong is left to [`Tls::take_failure`], so that what came before it can be
    /// delivered; what follows the peer's close_notify is ignored (RFC 8446 6.1).
    pub(crate) fn receive(
        &mut self,
        config: &Config,
        now: Tick,
        fresh: &mut [u8],
        held: &mut Held,
    ) -> Received {
        let limit = config.tls_handshake_limit() as usize;
        let (mut at, mut plaintext) = (0, 0);
        while at < fresh.len() && self.failure.is_none() && !self.peer_closed {
            if self.transit.as_ref().is_some_and(|transit| !transit.pending.is_empty()) {
                at += self.complete(limit, now, fresh.get(at..).unwrap_or_default(), held);
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
            let opened = self.open(whole, 0, limit, now);
            let length = whole.len();
            if opened.done < length && self.failure.is_none() {
                // Without plaintext: no data comes between the parts of a message.
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

    /// Moves what completes the pending record out of `rest`, and opens it. Says how much it took.
    fn complete(&mut self, limit: usize, now: Tick, rest: &[u8], held: &mut Held) -> usize {
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
        let opened = self.open(&mut bytes, before, limit, now);
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

    /// How many bytes of content the incomplete record has at the most, if there is one.
    pub(crate) fn partial_record(&self) -> Option<usize> {
        let (have, _) = self.pending_record();
        (have > 0).then(|| have.saturating_sub(record::HEADER))
    }

    /// How much of the pending record is there, and how long it is.
    fn pending_record(&self) -> (usize, Option<usize>) {
        let record = self.transit.as_ref().and_then(|it| it.pending.get(it.opened..));
        let record = record.unwrap_or_default();
        (record.len(), record::length(record))
    }

    /// Keeps a part of a record, in a buffer that grows no further than to the record's end.
    fn keep(&mut self, part: &[u8], length: Option<usize>) {
        let Transit { pending, opened, .. } = &mut **self.transit.get_or_insert_default();
        grow(pending, part.len(), *opened + length.unwrap_or(record::HEADER));
        pending.extend_from_slice(part);
    }

    /// Whether the record that begins with `record` may come, which is `length` long if that is
    /// known. Decided before any of it is waited for.
    ///
    /// In the handshake plaintext records count in full. Encrypted ones may be padded, and count only
    /// together with those `before` that rustls keeps, because their message is not complete.
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

    /// Whether `record` may be more than it brings (RFC 8446 5.4): it is encrypted, and a ClientHello
    /// came before it.
    fn is_padded(&self, record: &[u8]) -> bool {
        record::is_protected(record) && self.handshake > 0
    }

    /// Opens one record in `bytes`; the bytes `before` it are what rustls still needs of others.
    fn open(&mut self, bytes: &mut [u8], before: usize, limit: usize, now: Tick) -> Opened {
        let was_handshaking = self.handshaking;
        let length = bytes.len() - before;
        if was_handshaking && self.is_padded(bytes.get(before..).unwrap_or_default()) {
            self.protected = self.protected.saturating_add(length as u32);
        } else if was_handshaking {
            self.handshake += length as u32;
        }
        let opened = self.process(bytes);
        if was_handshaking && self.certificates() > most_certificates(limit) {
            self.failure = self.failure.or(Some(TlsFailure::HandshakeTooLarge));
        }
        if length <= record::HEADER && opened.done < bytes.len() && self.failure.is_none() {
            // A header alone that is nothing to rustls yet.
            self.failure = Some(TlsFailure::Record);
        }
        if self.handshaking && !self.session.is_handshaking() {
            self.handshaking = false;
        }
        let cost = match opened.plaintext {
            0 if was_handshaking => USELESS,
            0 => BARREN,
            _ => TINY_RECORD,
        };
        if !self.budget.spend(cost, now) {
            self.failure = self.failure.or(Some(TlsFailure::Flood));
        }
        // What rustls still needs goes with the failure: it must not be asked to seal anything.
        self.ended |= self.failure.is_some() && opened.done < bytes.len();
        self.budget.earn(opened.plaintext);
        opened
    }

    /// Lets rustls do all it can with `bytes`.
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

    /// Copies the plaintext that rustls holds over the record that it came in.
    ///
    /// rustls's state keeps the record borrowed, so it is asked once more, without one: as long as
    /// there is plaintext it looks at nothing else. A test holds it to that.
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

    /// After an error: what rustls has to say about it is the last that is sealed.
    #[cold]
    fn seal_alert(&mut self) {
        self.ended = true;
        // As long as there is something to send it looks at nothing else.
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
