//! Shared by the servers with TLS: the provider, a self-signed certificate, and tickets.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;

/// A self-signed certificate of the same kind, in PEM.
pub(super) struct PemCertificate {
    pub(super) chain: String,
    pub(super) key: String,
}

impl PemCertificate {
    pub(super) fn new() -> io::Result<Self> {
        let own = certificate()?;
        Ok(Self { chain: own.cert.pem(), key: own.signing_key.serialize_pem() })
    }
}

fn certificate() -> io::Result<rcgen::CertifiedKey<rcgen::KeyPair>> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    rcgen::generate_simple_self_signed(names).map_err(io::Error::other)
}

/// A configuration with a self-signed certificate (ECDSA on P-256) for this machine, with HTTP/1.1
/// by ALPN and session tickets.
pub(crate) fn server_config() -> io::Result<Arc<ServerConfig>> {
    let own = certificate()?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.into()], own.signing_key.into())
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(io::Error::other)?;
    Ok(Arc::new(config))
}
