//! TLS in a configuration.

use core::fmt;
use rustls::ServerConfig;
use std::sync::Arc;

/// TLS in a configuration: rustls's settings, or no TLS.
#[derive(Clone, Default)]
pub(crate) struct TlsSettings(pub(crate) Option<Arc<ServerConfig>>);

impl TlsSettings {
    /// Copies the caller's settings, without early data, which could be replayed (RFC 8446 8).
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let mut config = config.clone();
        config.max_early_data_size = 0;
        TlsSettings(Some(Arc::new(config)))
    }

    /// Offers the protocols that we speak by ALPN, the preferred one first.
    pub(crate) fn offer(&mut self, http1: bool, http2: bool) {
        let Some(config) = &mut self.0 else { return };
        let protocols: &[&[u8]] = match (http1, http2) {
            (true, true) => &[b"h2", b"http/1.1", b"http/1.0"],
            (false, true) => &[b"h2"],
            (_, false) => &[b"http/1.1", b"http/1.0"],
        };
        if config.alpn_protocols != protocols {
            Arc::make_mut(config).alpn_protocols =
                protocols.iter().map(|name| name.to_vec()).collect();
        }
    }
}

impl crate::config::Config {
    /// Whether connections speak TLS.
    pub fn has_tls(&self) -> bool {
        self.tls.0.is_some()
    }
}

impl PartialEq for TlsSettings {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().map(Arc::as_ptr) == other.0.as_ref().map(Arc::as_ptr)
    }
}

impl Eq for TlsSettings {}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "given" } else { "none" })
    }
}
