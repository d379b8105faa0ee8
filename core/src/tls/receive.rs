//! Opens records in place.
//!
//! Records are opened one by one. Plaintext is shorter than its record, so the plaintext of all records
//! is moved together at the front of the driver's buffer. An incomplete record waits in `pending`, and
//! the next read completes it there. Its plaintext then becomes held bytes, which come before the rest
//! of that read. Records that rustls itself sends meanwhile (flights, alerts, tickets, answers to key
//! updates) are sealed in order.

use super::Received;
use super::estimate::most_certificates;
use super::hello::State;
use super::record;
use super::session::{Handshake, Tls, Transit, failure};
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

impl Opened {
    /// The record is a part of the client's first message, which is not whole.
    fn incomplete() -> Self {
        Opened { is_open: true, cost: USELESS, ..Opened::default() }
    }
}

impl Handshake {
    /// Whether `record` may contain padding (RFC 8446 5.4): it is encrypted, and a ClientHello came
    /// before it.
    fn is_padded(&self, record: &[u8]) -> bool {
        record::is_protected(record) && self.plain > 0
    }

    /// Counts a record that is whole.
    fn count(&mut self, record: &[u8]) {
        let length = record.len() as u32;
        if self.is_padded(record) {
            self.protected = self.protected.saturating_add(length);
        } else {
            self.plain = self.plain.saturating_add(length);
        }
    }
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
        let was_handshaking = self.is_handshaking();
        let (mut at, mut plaintext) = (0, 0);
        while at < fresh.len() && self.failure.is_none() && !self.peer_closed {
            if self.transit.as_ref().is_some_and(|transit| !transit.pending.is_empty()) {
                at += self.complete(config, budget, now, fresh.get(at..).unwrap_or_default(), held);
                continue;
            }
            let rest = fresh.get_mut(at..).unwrap_or_default();
            let length = record::length(rest);
            if !self.admit(rest, length, 0, config) {
                break;
            }
            let Some(whole) = length.and_then(|length| rest.get_mut(..length)) else {
                self.keep(rest, length);
                break;
            };
            let mut opened = self.open(whole, 0, config);
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
        Received {
            plaintext,
            is_partial: self.partial_record().is_some(),
            speaks_other: was_handshaking && !self.is_handshaking() && !self.speaks_http(),
        }
    }

    /// Completes the pending record with bytes of `rest`, and opens it. Returns the number of bytes
    /// taken.
    fn complete(
        &mut self,
        config: &Config,
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
        if !self.admit(record, length, before, config) {
            self.transit.get_or_insert_default().opened = 0;
            self.ended |= before > 0;
            return more.len();
        }
        if length.is_none_or(|length| have < length) {
            self.transit.get_or_insert_default().pending = bytes;
            return more.len();
        }
        let opened = self.open(&mut bytes, before, config);
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
    fn admit(
        &mut self,
        record: &[u8],
        length: Option<usize>,
        before: usize,
        config: &Config,
    ) -> bool {
        let length = length.unwrap_or(0);
        let limit = config.tls_handshake_limit() as usize;
        let bytes = match (before, &self.handshake) {
            (_, Some(handshake)) if !handshake.is_padded(record) => {
                handshake.plain as usize + length
            }
            (0, _) => 0,
            _ => before + length,
        };
        if bytes > limit {
            self.failure = Some(TlsFailure::HandshakeTooLarge);
        }
        bytes <= limit
    }

    /// Opens one record in `bytes`. rustls still needs the `before` bytes in front of it, which are parts
    /// of earlier records.
    fn open(&mut self, bytes: &mut [u8], before: usize, config: &Config) -> Opened {
        let was_handshaking = self.is_handshaking();
        let length = bytes.len() - before;
        let mut is_chosen = true;
        if let Some(handshake) = &mut self.handshake {
            let record = bytes.get(before..).unwrap_or_default();
            handshake.count(record);
            match handshake.hello.as_mut().map(|hello| hello.add(record)) {
                // rustls gets the message at once, so that settings can still be chosen by it.
                Some(State::Incomplete) => return Opened::incomplete(),
                Some(state) => {
                    handshake.hello = None;
                    is_chosen = state == State::Whole && self.choose(config, bytes);
                }
                None => {}
            }
        }
        let mut opened = self.process(bytes);
        if !is_chosen {
            self.refuse_other();
        }
        let most = || most_certificates(config.tls_handshake_limit() as usize);
        if was_handshaking && self.certificates() > most() {
            self.failure = self.failure.or(Some(TlsFailure::HandshakeTooLarge));
        }
        if length <= record::HEADER && opened.done < bytes.len() && self.failure.is_none() {
            // The header is invalid, but rustls waits for more bytes instead of refusing it.
            self.failure = Some(TlsFailure::Record);
        }
        if was_handshaking && !self.session.is_handshaking() {
            self.handshake = None;
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
                    let sent = (sealed.len() - before) as u32;
                    if let Some(handshake) = &mut self.handshake {
                        handshake.flight = handshake.flight.saturating_add(sent);
                    }
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
                    self.failure = Some(failure(&error, self.is_handshaking()));
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
