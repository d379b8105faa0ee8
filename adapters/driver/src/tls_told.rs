//! What services are told of the TLS of their connection.
//!
//! In: the connection, when a request arrives. Out: its [`TlsInfo`], made once and shared by all requests.
//! Without TLS in the build there is nothing to tell.

#[cfg(feature = "tls")]
use portcullis::TlsInfo;
use portcullis::{Config, Connection};

/// What is told of a connection's TLS, once it was asked for.
#[derive(Debug)]
pub(crate) struct TlsTold {
    #[cfg(feature = "tls")]
    info: Option<TlsInfo>,
}

#[cfg(feature = "tls")]
impl TlsTold {
    pub(crate) const fn new() -> Self {
        TlsTold { info: None }
    }

    /// Asks the connection, unless it was asked already.
    #[inline]
    pub(crate) fn ask(&mut self, connection: &Connection) {
        if self.info.is_none() {
            self.info = connection.tls_info();
        }
    }

    pub(crate) fn info(&self) -> Option<&TlsInfo> {
        self.info.as_ref()
    }

    /// Adds it to the extensions of a request.
    pub(crate) fn tell(&self, extensions: &mut http::Extensions) {
        if let Some(info) = &self.info {
            extensions.insert(info.clone());
        }
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        self.info.as_ref().map_or(0, TlsInfo::memory)
    }
}

/// The most bytes of heap.
#[cfg(feature = "tls")]
pub(crate) fn memory_bound(config: &Config) -> usize {
    TlsInfo::memory_bound(config)
}

#[cfg(not(feature = "tls"))]
impl TlsTold {
    pub(crate) const fn new() -> Self {
        TlsTold {}
    }

    pub(crate) fn ask(&mut self, _: &Connection) {}

    pub(crate) fn tell(&self, _: &mut http::Extensions) {}

    pub(crate) fn memory(&self) -> usize {
        0
    }
}

#[cfg(not(feature = "tls"))]
pub(crate) fn memory_bound(_: &Config) -> usize {
    0
}
