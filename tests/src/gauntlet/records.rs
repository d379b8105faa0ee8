//! Records of TLS that no TLS library would send.

use rustls::crypto::cipher::{MessageEncrypter, OutboundPlainMessage};
use rustls::{ClientConnection, ConnectionTrafficSecrets, ContentType, ProtocolVersion};

use super::Failure;

/// Seals records under the keys that a client has after its handshake (TLS 1.3).
pub(super) struct Sealer {
    encrypter: Box<dyn MessageEncrypter>,
    /// The number of the next record.
    number: u64,
}

impl Sealer {
    pub(super) fn new(session: ClientConnection) -> Result<Self, Failure> {
        let suite = session.negotiated_cipher_suite().and_then(|suite| suite.tls13());
        let suite = suite.ok_or("the server does not speak TLS 1.3")?;
        let (number, secrets) = session.dangerous_extract_secrets()?.tx;
        let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets
        else {
            return Err("the server chose an unknown cipher suite".into());
        };
        Ok(Self { encrypter: suite.aead_alg.encrypter(key, iv), number })
    }

    pub(super) fn seal(&mut self, typ: ContentType, payload: &[u8]) -> Result<Vec<u8>, Failure> {
        let version = ProtocolVersion::TLSv1_2;
        let message = OutboundPlainMessage { typ, version, payload: payload.into() };
        self.number += 1;
        Ok(self.encrypter.encrypt(message, self.number - 1)?.encode())
    }
}
