//! The certificate for TLS: read from PEM files or made at the start, and reloaded while the server
//! runs.

use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as provider;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as provider;

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("enable a provider of cryptography: the feature `aws-lc-rs` or `ring`");

/// Names in the self-signed certificate.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// PEM files: the chain, with the server's own certificate first, and its key.
    Files { chain: PathBuf, key: PathBuf },
    /// Made at the start for the names of this machine. No client trusts it: for trying TLS out.
    SelfSigned,
}

/// The certificate in use; reloading replaces it.
pub(crate) struct Certificates {
    source: Source,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
}

/// Why there is no certificate.
#[derive(Debug)]
pub(crate) enum CertificateError {
    Unreadable { path: PathBuf, error: io::Error },
    BadPem { path: PathBuf, error: pem::Error },
    NoCertificate { path: PathBuf },
    NoKey { path: PathBuf },
    UnusableCertificate { path: PathBuf, error: rustls::Error },
    UnusableKey { path: PathBuf, error: rustls::Error },
    Mismatch { chain: PathBuf, key: PathBuf },
    NotMade(rcgen::Error),
    Tls(rustls::Error),
}

impl Certificates {
    /// Takes the certificate from its source.
    pub(crate) fn load(source: Source) -> Result<Arc<Self>, CertificateError> {
        let provider = Arc::new(provider::default_provider());
        let current = RwLock::new(Arc::new(take(&source, &provider)?));
        Ok(Arc::new(Certificates { source, provider, current }))
    }

    /// Takes the certificate from its source again, for new connections. After an error the
    /// previous one stays in use. A self-signed certificate stays as it is.
    pub(crate) fn reload(&self) -> Result<(), CertificateError> {
        if self.source != Source::SelfSigned {
            let new = Arc::new(take(&self.source, &self.provider)?);
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        }
        Ok(())
    }

    /// TLS with this certificate. Sessions resume by tickets that the clients keep, so they cost no
    /// memory here.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, CertificateError> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone());
        let mut config = builder
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.ticketer = provider::Ticketer::new().map_err(CertificateError::Tls)?;
        Ok(config)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("source", &self.source).finish_non_exhaustive()
    }
}

fn take(source: &Source, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    match source {
        Source::Files { chain, key } => read(chain, key, provider),
        Source::SelfSigned => make(provider),
    }
}

fn read(
    chain_path: &Path,
    key_path: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, CertificateError> {
    let bad = |path: &Path| {
        let path = path.to_owned();
        move |error| match error {
            pem::Error::Io(error) => CertificateError::Unreadable { path, error },
            error => CertificateError::BadPem { path, error },
        }
    };
    let chain = CertificateDer::pem_file_iter(chain_path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(bad(chain_path))?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate { path: chain_path.to_owned() });
    }
    let key = PrivateKeyDer::from_pem_file(key_path).map_err(|error| match error {
        pem::Error::NoItemsFound => CertificateError::NoKey { path: key_path.to_owned() },
        error => bad(key_path)(error),
    })?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| CertificateError::UnusableKey { path: key_path.to_owned(), error })?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        // `Unknown` comes from keys that can't be compared. The handshake shows whether they match.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let (chain, key) = (chain_path.to_owned(), key_path.to_owned());
            Err(CertificateError::Mismatch { chain, key })
        }
        Err(error) => {
            Err(CertificateError::UnusableCertificate { path: chain_path.to_owned(), error })
        }
    }
}

fn make(provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let names = OWN_NAMES.map(str::to_owned);
    let Made { cert, signing_key } =
        generate_simple_self_signed(names).map_err(CertificateError::NotMade)?;
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    CertifiedKey::from_der(vec![cert.into()], key, provider).map_err(CertificateError::Tls)
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateError::Unreadable { path, error } => {
                write!(f, "cannot read {}: {error}", path.display())
            }
            CertificateError::BadPem { path, error } => {
                write!(f, "{} is not valid PEM: {error}", path.display())
            }
            CertificateError::NoCertificate { path } => {
                write!(
                    f,
                    "no certificate in {}: expected a block `BEGIN CERTIFICATE`",
                    path.display()
                )
            }
            CertificateError::NoKey { path } => {
                write!(
                    f,
                    "no private key in {}: expected a block such as `BEGIN PRIVATE KEY`",
                    path.display()
                )
            }
            CertificateError::UnusableCertificate { path, error } => {
                write!(f, "the certificate in {} cannot be used: {error}", path.display())
            }
            CertificateError::UnusableKey { path, error } => {
                write!(f, "the private key in {} cannot be used: {error}", path.display())
            }
            CertificateError::Mismatch { chain, key } => write!(
                f,
                "the private key in {} does not belong to the certificate in {}",
                key.display(),
                chain.display()
            ),
            CertificateError::NotMade(error) => {
                write!(f, "cannot make a self-signed certificate: {error}")
            }
            CertificateError::Tls(error) => write!(f, "cannot set up TLS: {error}"),
        }
    }
}

impl std::error::Error for CertificateError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// Writes a certificate and its key to files of these names.
    fn write_pair(folder: &TempDir, chain: &str, key: &str) -> Source {
        let made = generate_simple_self_signed(["a.test".to_owned()]).expect("made");
        let (chain, key) = (folder.path().join(chain), folder.path().join(key));
        fs::write(&chain, made.cert.pem()).expect("written");
        fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        Source::Files { chain, key }
    }

    fn shown(certificates: &Certificates) -> Vec<u8> {
        let current = certificates.current.read().expect("not poisoned");
        current.cert.first().expect("one").to_vec()
    }

    #[test]
    fn a_self_signed_certificate_serves_and_survives_a_reload() {
        let certificates = Certificates::load(Source::SelfSigned).expect("made");
        let config = certificates.server_config().expect("TLS");
        assert!(config.ticketer.enabled());
        let before = shown(&certificates);
        certificates.reload().expect("stays");
        assert_eq!(shown(&certificates), before);
    }

    #[test]
    fn a_reload_reads_the_files_and_an_error_keeps_the_previous_certificate() {
        let folder = TempDir::new().expect("a folder");
        let certificates = Certificates::load(write_pair(&folder, "c", "k")).expect("a pair");
        let first = shown(&certificates);
        write_pair(&folder, "c", "k");
        certificates.reload().expect("a pair");
        let second = shown(&certificates);
        assert_ne!(first, second);
        write_pair(&folder, "c", "another");
        let error = certificates.reload().expect_err("no pair").to_string();
        assert!(error.contains("does not belong to the certificate"), "{error}");
        assert_eq!(shown(&certificates), second);
    }

    #[test]
    fn each_bad_file_has_its_own_error() {
        let folder = TempDir::new().expect("a folder");
        write_pair(&folder, "c", "k");
        write_pair(&folder, "c2", "k2");
        fs::write(folder.path().join("empty"), "").expect("written");
        let broken = "-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n";
        fs::write(folder.path().join("broken"), broken).expect("written");
        let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(folder.path().join("hollow"), hollow).expect("written");
        let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        fs::write(folder.path().join("no key"), no_key).expect("written");
        for (chain, key, said) in [
            ("absent", "k", "cannot read"),
            ("c", "absent", "cannot read"),
            ("empty", "k", "no certificate in"),
            ("k", "k", "no certificate in"),
            ("c", "empty", "no private key in"),
            ("c", "c", "no private key in"),
            ("broken", "k", "is not valid PEM"),
            ("hollow", "k", "cannot be used"),
            ("c", "no key", "the private key in"),
            ("c", "k2", "does not belong to the certificate in"),
        ] {
            let (chain, key) = (folder.path().join(chain), folder.path().join(key));
            let source = Source::Files { chain, key };
            let error = Certificates::load(source).expect_err(said).to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
