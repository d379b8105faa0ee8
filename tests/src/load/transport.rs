//! The transport of the load: plaintext, or TLS that trusts any certificate.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// The layer between TCP and HTTP.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Plaintext.
    Plain,
    /// TLS with this configuration.
    Tls(Arc<ClientConfig>),
}

impl Transport {
    /// TLS 1.3 with a full handshake on each connection. It trusts any certificate, since the
    /// measured server runs on this machine.
    pub fn tls() -> Self {
        Self::tls_for(b"http/1.1")
    }

    /// The same, with HTTP/2 by ALPN.
    pub fn tls_http2() -> Self {
        Self::tls_for(b"h2")
    }

    fn tls_for(protocol: &[u8]) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .expect("a version that the provider has")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = Resumption::disabled();
        Self::Tls(Arc::new(config))
    }
}

/// The name that the client asks for.
pub(crate) fn server_name() -> ServerName<'static> {
    IpAddr::from(Ipv4Addr::LOCALHOST).into()
}

/// Trusts every server, at no cost.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
