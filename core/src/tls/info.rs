//! What a TLS handshake has agreed on, for the application.

use super::estimate::most_certificates;
use super::session::{NAME, Tls};
use crate::config::Config;
use core::fmt;
use core::mem::size_of;
use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion};
use std::sync::Arc;

/// What a TLS handshake has agreed on: [`Connection::tls_info`](crate::Connection::tls_info) makes it. Clones
/// share it.
///
/// The adapters make it once for a connection, and add it to the extensions of each of its requests:
/// `request.extensions().get::<TlsInfo>()`, or the extractor `Extension<TlsInfo>` of axum. Requests in plaintext have
/// none.
#[derive(Clone)]
pub struct TlsInfo(Arc<Agreed>);

struct Agreed {
    server_name: Option<Box<str>>,
    alpn_protocol: Option<Box<[u8]>>,
    peer_certificates: Box<[CertificateDer<'static>]>,
    protocol_version: ProtocolVersion,
    cipher_suite: CipherSuite,
    handshake_kind: HandshakeKind,
}

impl TlsInfo {
    /// `None` before the end of the handshake.
    pub(crate) fn of(tls: &Tls) -> Option<Self> {
        if tls.is_handshaking() {
            return None;
        }
        let session = &tls.session;
        Some(TlsInfo(Arc::new(Agreed {
            server_name: tls.server_name.clone(),
            alpn_protocol: session.alpn_protocol().map(Box::from),
            peer_certificates: session.peer_certificates().map(Box::from).unwrap_or_default(),
            protocol_version: session.protocol_version()?,
            cipher_suite: session.negotiated_cipher_suite()?.suite(),
            handshake_kind: session.handshake_kind()?,
        })))
    }

    /// The host that the client named in its first message (SNI, RFC 6066 3), in small letters. `None` if it
    /// named none, or an IP address.
    ///
    /// A client may still send requests for other hosts: it reuses a connection if the certificate holds for
    /// them as well (RFC 9113 9.1.1).
    pub fn server_name(&self) -> Option<&str> {
        self.0.server_name.as_deref()
    }

    /// The protocol that was agreed on by ALPN (RFC 7301): `h2`, `http/1.1`, `http/1.0`. `None` if the client
    /// offered none.
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        self.0.alpn_protocol.as_deref()
    }

    /// The version of TLS.
    pub fn protocol_version(&self) -> ProtocolVersion {
        self.0.protocol_version
    }

    /// The cipher suite.
    pub fn cipher_suite(&self) -> CipherSuite {
        self.0.cipher_suite
    }

    /// The certificates that the client has proved to own, its own one first; empty if it has sent none. The
    /// settings' verifier has accepted them. In a resumed session they are those of the first handshake.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        &self.0.peer_certificates
    }

    /// Whether the handshake was a full one, or resumed a session.
    pub fn handshake_kind(&self) -> HandshakeKind {
        self.0.handshake_kind
    }

    /// Bytes of heap, which all clones share.
    pub fn memory(&self) -> usize {
        let certificates = &self.0.peer_certificates;
        let bytes: usize = certificates.iter().map(|it| it.len()).sum();
        BLOCK
            + self.0.server_name.as_ref().map_or(0, |it| it.len())
            + self.0.alpn_protocol.as_ref().map_or(0, |it| it.len())
            + certificates.len() * size_of::<CertificateDer<'_>>()
            + bytes
    }

    /// The most that [`memory`](Self::memory) becomes under `config`; 0 without TLS.
    pub fn memory_bound(config: &Config) -> usize {
        let certificates = most_certificates(config.tls_handshake_limit() as usize);
        if config.has_tls() { BLOCK + NAME + PROTOCOL + certificates } else { 0 }
    }
}

/// The struct, and the two counts of an `Arc`.
const BLOCK: usize = size_of::<Agreed>() + 2 * size_of::<usize>();

/// The longest name of a protocol (RFC 7301 3.1).
const PROTOCOL: usize = 255;

impl fmt::Debug for TlsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsInfo")
            .field("server_name", &self.server_name())
            .field("alpn_protocol", &self.alpn_protocol().map(String::from_utf8_lossy))
            .field("protocol_version", &self.protocol_version())
            .field("cipher_suite", &self.cipher_suite())
            .field("peer_certificates", &self.peer_certificates().len())
            .field("handshake_kind", &self.handshake_kind())
            .finish()
    }
}
