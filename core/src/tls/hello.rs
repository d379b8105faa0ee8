//! The client's first message (RFC 8446 4.1.2): when it is whole, and the settings that are chosen by it.
//!
//! rustls's unbuffered connection tells neither the name in the message nor lets settings be chosen by it. Its
//! `Acceptor` does both. So the message is kept until it is whole, read by an `Acceptor`, and then given to
//! the connection. That costs a second look at one message for each connection, and no parser of our own.

use super::record::HEADER;
use super::session::Tls;
use crate::close::TlsFailure;
use crate::config::Config;
use rustls::AlertDescription;
use rustls::server::{Accepted, Acceptor, UnbufferedServerConnection};

/// The content type of handshake records.
const HANDSHAKE: u8 = 22;
/// The type of the client's first message.
const CLIENT_HELLO: u8 = 1;
/// The longest message that rustls accepts.
const LONGEST: usize = 0xffff;
/// Type and length of a message.
const HEAD: usize = 4;

/// How much of the client's first message has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    head: [u8; HEAD],
    have: u32,
}

/// What is known of the client's first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Incomplete,
    Whole,
    /// The records are something else, which rustls refuses.
    Other,
}

impl Progress {
    /// Takes in the next record, which is whole.
    pub(super) fn add(&mut self, record: &[u8]) -> State {
        let payload = record.get(HEADER..).unwrap_or_default();
        if record.first() != Some(&HANDSHAKE) || payload.is_empty() {
            return State::Other;
        }
        for (place, byte) in self.head.iter_mut().skip(self.have as usize).zip(payload) {
            *place = *byte;
        }
        self.have = self.have.saturating_add(payload.len() as u32);
        let [kind, length @ ..] = self.head;
        let length = length.into_iter().fold(0, |length, byte| length << 8 | usize::from(byte));
        match self.have as usize {
            _ if kind != CLIENT_HELLO => State::Other,
            0..HEAD => State::Incomplete,
            _ if length > LONGEST => State::Other,
            have if have < HEAD + length => State::Incomplete,
            _ => State::Whole,
        }
    }
}

impl Tls {
    /// Reads the client's first message in `records`, which are whole. Keeps the name of the server in it, and goes
    /// on with the settings that are chosen by it.
    ///
    /// Returns false for a malformed message. rustls refuses it under the usual settings.
    pub(super) fn choose(&mut self, config: &Config, records: &[u8]) -> bool {
        let Some(accepted) = accept(records) else { return false };
        let hello = accepted.client_hello();
        self.server_name = hello.server_name().map(Box::from);
        match config.tls.choose(hello) {
            Ok(None) => {}
            Ok(Some(chosen)) => match UnbufferedServerConnection::new(chosen.config) {
                Ok(session) => {
                    self.session = session;
                    self.serves_http = chosen.serves_http;
                }
                Err(_) => self.failure = Some(TlsFailure::Unavailable),
            },
            Err(alert) => self.refuse(alert, TlsFailure::Refused),
        }
        true
    }

    /// Refuses a client that has sent something else than a ClientHello, if rustls has not. Before a ClientHello
    /// rustls tolerates warnings, for example. But a client must not get past the choice, and none begins so.
    #[cold]
    pub(super) fn refuse_other(&mut self) {
        if self.failure.is_none() && !self.peer_closed {
            self.refuse(AlertDescription::UnexpectedMessage, TlsFailure::Handshake);
        }
    }

    /// Sends an alert before any keys are agreed on.
    #[cold]
    fn refuse(&mut self, alert: AlertDescription, failure: TlsFailure) {
        let record = [21, 3, 3, 0, 2, 2, u8::from(alert)];
        self.transit.get_or_insert_default().sealed.push(&record);
        self.failure = Some(failure);
        self.ended = true;
    }
}

fn accept(mut records: &[u8]) -> Option<Accepted> {
    let mut acceptor = Acceptor::default();
    while !records.is_empty() {
        // It reads as much as its buffer has room for.
        if acceptor.read_tls(&mut records).ok()? == 0 {
            return None;
        }
        if let Some(accepted) = acceptor.accept().ok()? {
            return Some(accepted);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        [&[kind, 3, 1, 0, payload.len() as u8], payload].concat()
    }

    #[test]
    fn a_message_is_whole_with_its_last_byte_however_it_is_cut() {
        let message = [&[1, 0, 0, 5][..], b"hello"].concat();
        for step in 1..=message.len() {
            let mut progress = Progress::default();
            let mut states: Vec<_> =
                message.chunks(step).map(|piece| progress.add(&record(22, piece))).collect();
            assert_eq!(states.pop(), Some(State::Whole), "in pieces of {step}");
            assert!(states.iter().all(|state| *state == State::Incomplete), "{step}: {states:?}");
        }
    }

    #[test]
    fn anything_else_is_not_waited_for() {
        for other in [
            record(23, b"data"),
            record(21, &[2, 40]),
            record(22, &[]),
            record(22, &[2, 0, 0, 1]),
            record(22, &[1, 1, 0, 0]),
            vec![22],
            vec![],
        ] {
            assert_eq!(Progress::default().add(&other), State::Other, "{other:?}");
        }
        let mut progress = Progress::default();
        assert_eq!(progress.add(&record(22, &[1, 0])), State::Incomplete);
        assert_eq!(progress.add(&record(23, &[0, 1, 7])), State::Other);
    }
}
