//! Handshake records that a client pads (RFC 8446 5.4). The padding does not count as handshake.

use crate::pair::{Pair, client, client_settings, over_tls};
use crate::provider;
use crate::support::GET;
use portcullis::rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundPlainMessage,
};
use portcullis::rustls::crypto::tls13::OkmBlock;
use portcullis::rustls::{ClientConfig, ContentType, KeyLog, ProtocolVersion, version};
use portcullis::{CloseReason, Config, TlsFailure};
use std::sync::{Arc, Mutex};

/// The largest plaintext of a record: content, type and padding.
const FULL: usize = (1 << 14) + 1;
const HANDSHAKE: u8 = 22;

/// Remembers the secret under which the client sends the rest of its handshake.
#[derive(Debug, Default)]
struct Secret(Mutex<Vec<u8>>);

impl KeyLog for Secret {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if label == "CLIENT_HANDSHAKE_TRAFFIC_SECRET" {
            *self.0.lock().expect("no thread panicked") = secret.to_vec();
        }
    }
}

/// Ciphers that open and seal records under `secret` (RFC 8446 7.3).
fn ciphers(secret: &[u8]) -> (Box<dyn MessageDecrypter>, Box<dyn MessageEncrypter>) {
    let suite = provider::cipher_suite::TLS13_AES_256_GCM_SHA384.tls13().expect("one of TLS 1.3");
    let expander = suite.hkdf_provider.expander_for_okm(&OkmBlock::new(secret));
    let expand = |label: &str, length: usize| {
        let mut out = vec![0; length];
        let label = format!("tls13 {label}");
        let lengths = [&(length as u16).to_be_bytes()[..], &[label.len() as u8]].concat();
        let info = [lengths.as_slice(), label.as_bytes(), &[0]];
        expander.expand_slice(&info, &mut out).expect("short");
        out
    };
    let key: [u8; 32] = expand("key", 32).try_into().expect("32 bytes");
    let iv: [u8; 12] = expand("iv", 12).try_into().expect("12 bytes");
    let aead = suite.aead_alg;
    (
        aead.decrypter(AeadKey::from(key), Iv::new(iv)),
        aead.encrypter(AeadKey::from(key), Iv::new(iv)),
    )
}

/// A pair whose server has sent its flight, and the client's answer to it.
pub(crate) struct Stopped {
    pub(crate) pair: Pair,
    /// The bytes before the client's encrypted records.
    pub(crate) before: Vec<u8>,
    /// The messages in the encrypted records.
    pub(crate) messages: Vec<u8>,
    encrypter: Box<dyn MessageEncrypter>,
    number: u64,
}

impl Stopped {
    pub(crate) fn new(config: Arc<Config>, mut settings: ClientConfig) -> Stopped {
        let secret = Arc::new(Secret::default());
        settings.key_log = Arc::clone(&secret) as _;
        let mut pair = Pair::with(config, client(settings));
        let hello = pair.flight();
        pair.deliver(&hello);
        let answers = pair.taken();
        let mut rest = answers.as_slice();
        while !rest.is_empty() {
            pair.client.read_tls(&mut rest).expect("reading from memory does not fail");
            pair.client.process_new_packets().expect("the server's records are good");
        }
        let flight = pair.flight();
        // The change_cipher_spec record for old middleboxes, of six bytes.
        let (before, mut rest) = flight.split_at(6);
        let (mut decrypter, encrypter) = ciphers(&secret.0.lock().expect("no thread panicked"));
        let (mut messages, mut number) = (Vec::new(), 0);
        while let Some((header, after)) = rest.split_at_checked(5) {
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            let mut payload = after[..length].to_vec();
            let (typ, version) = (ContentType::ApplicationData, ProtocolVersion::TLSv1_2);
            let record = InboundOpaqueMessage::new(typ, version, &mut payload);
            let plain = decrypter.decrypt(record, number).expect("its own record");
            messages.extend_from_slice(plain.payload);
            number += 1;
            rest = &after[length..];
        }
        Stopped { pair, before: before.to_vec(), messages, encrypter, number: 0 }
    }

    /// A handshake record with `content`, padded to at least `length` bytes.
    pub(crate) fn seal(&mut self, content: &[u8], length: usize) -> Vec<u8> {
        let mut inner = [content, &[HANDSHAKE]].concat();
        inner.resize(length.max(inner.len() + 1) - 1, 0);
        let message = OutboundPlainMessage {
            // The appended type is one more zero byte.
            typ: ContentType::Unknown(0),
            version: ProtocolVersion::TLSv1_2,
            payload: inner.as_slice().into(),
        };
        self.number += 1;
        self.encrypter.encrypt(message, self.number - 1).expect("keys are fresh").encode()
    }
}

#[test]
fn a_fully_padded_record_is_no_large_handshake() {
    for limit in [4096, 16_384] {
        for step in [1, 1000, usize::MAX] {
            let config = over_tls(Config::builder().tls_handshake_limit(limit));
            let mut stopped = Stopped::new(config, client_settings(&version::TLS13));
            let finished = stopped.messages.clone();
            let record = stopped.seal(&finished, FULL);
            assert!(record.len() > 16_384);
            let Stopped { mut pair, before, .. } = stopped;
            pair.deliver_in(&[before, record].concat(), step);
            let answers = pair.taken();
            pair.read(&answers);
            pair.send(GET);
            pair.answer("padded");
            assert!(pair.answered().ends_with("padded"), "limit {limit}, in steps of {step}");
        }
    }
}

#[test]
fn a_message_in_many_padded_records_is_bounded_by_its_own_length() {
    let config = over_tls(Config::builder().tls_handshake_limit(4096));
    let mut stopped = Stopped::new(config, client_settings(&version::TLS13));
    let before = stopped.before.clone();
    stopped.pair.deliver(&before);
    for byte in stopped.messages.clone().chunks(1) {
        if !stopped.pair.server.status().read {
            break;
        }
        let record = stopped.seal(byte, 600);
        stopped.pair.deliver(&record);
    }
    stopped.pair.closes_with(CloseReason::Tls(TlsFailure::HandshakeTooLarge));
}
