//! The certificates for TLS: read from PEM files or made at the start, and reloaded while the server runs. Of
//! several, the client's wish decides (SNI, RFC 6066 3).

use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use webpki::EndEntityCert;

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as provider;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as provider;

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("enable a provider of cryptography: the feature `aws-lc-rs` or `ring`");

/// Names in the self-signed certificate.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where the certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// PEM files. The first pair is for clients that name no server, or one of no certificate.
    Files(Vec<Pair>),
    /// Made at the start for the names of this machine. No client trusts it: for trying TLS out.
    SelfSigned,
}

/// Two PEM files: the chain, with the server's own certificate first, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

/// The certificates in use; reloading replaces them.
pub(crate) struct Certificates {
    source: Source,
    /// The file with the authorities that sign the certificates of clients, if these need one.
    client_authorities: Option<PathBuf>,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<Chosen>>,
}

/// Certificates by the names of servers, in small letters. `*.a.test` stands for one label before `.a.test`.
struct Chosen {
    usual: Arc<CertifiedKey>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Chosen {
    fn of(pairs: Vec<CertifiedKey>, none: CertificateError) -> Result<Self, CertificateError> {
        let pairs: Vec<_> = pairs.into_iter().map(Arc::new).collect();
        let usual = pairs.first().ok_or(none)?.clone();
        let mut by_name = HashMap::new();
        for pair in pairs {
            let Some(own) = pair.cert.first() else { continue };
            // What can't be read is no name that a client can ask for.
            let Ok(own) = EndEntityCert::try_from(own) else { continue };
            for name in own.valid_dns_names() {
                by_name.entry(name.to_ascii_lowercase()).or_insert_with(|| pair.clone());
            }
        }
        Ok(Chosen { usual, by_name })
    }

    fn find(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let find = |name: &str| self.by_name.get(name);
        let found = name.map(str::to_ascii_lowercase).and_then(|name| {
            let parent = || name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
            find(&name).or_else(|| find(&parent()?))
        });
        found.unwrap_or(&self.usual).clone()
    }
}

/// Why there is no certificate.
#[derive(Debug)]
pub(crate) enum CertificateError {
    Unreadable {
        path: PathBuf,
        error: io::Error,
    },
    BadPem {
        path: PathBuf,
        error: pem::Error,
    },
    NoCertificate {
        path: PathBuf,
    },
    NoKey {
        path: PathBuf,
    },
    UnusableCertificate {
        path: PathBuf,
        error: rustls::Error,
    },
    UnusableKey {
        path: PathBuf,
        error: rustls::Error,
    },
    Mismatch {
        chain: PathBuf,
        key: PathBuf,
    },
    NotMade(rcgen::Error),
    /// There are more chains than keys, or more keys than chains.
    Unpaired,
    UnusableAuthorities {
        path: PathBuf,
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    Tls(rustls::Error),
}

impl Certificates {
    /// Takes the certificates from their source. With `client_authorities` each client needs a certificate that one
    /// of them has signed.
    pub(crate) fn load(
        source: Source,
        client_authorities: Option<PathBuf>,
    ) -> Result<Arc<Self>, CertificateError> {
        let provider = Arc::new(provider::default_provider());
        let current = RwLock::new(Arc::new(take(&source, &provider)?));
        Ok(Arc::new(Certificates { source, client_authorities, provider, current }))
    }

    /// Takes the certificates from their source again, for new connections. After an error the
    /// previous ones stay in use. A self-signed certificate stays as it is.
    pub(crate) fn reload(&self) -> Result<(), CertificateError> {
        if self.source != Source::SelfSigned {
            let new = Arc::new(take(&self.source, &self.provider)?);
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        }
        Ok(())
    }

    /// TLS with this certificate. Sessions resume by tickets that the clients keep, so they cost no
    /// memory here. Without `ticketer` the keys are random, and nobody else has them.
    pub(crate) fn server_config(
        self: &Arc<Self>,
        ticketer: Option<Arc<dyn ProducesTickets>>,
    ) -> Result<ServerConfig, CertificateError> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone());
        let builder =
            builder.with_safe_default_protocol_versions().map_err(CertificateError::Tls)?;
        let builder = match &self.client_authorities {
            Some(path) => builder.with_client_cert_verifier(self.client_verifier(path)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(self.clone());
        config.ticketer = match ticketer {
            Some(ticketer) => ticketer,
            None => provider::Ticketer::new().map_err(CertificateError::Tls)?,
        };
        Ok(config)
    }

    /// Who the sessions are for: clients with a certificate of these authorities, or any.
    pub(crate) fn audience(&self) -> Result<Vec<u8>, CertificateError> {
        let authorities = self.client_authorities.as_deref().map(read_chain).transpose()?;
        Ok(authorities.into_iter().flatten().flat_map(|it| it.to_vec()).collect())
    }

    /// Checks that an authority of this file has signed a client's certificate.
    fn client_verifier(
        &self,
        path: &Path,
    ) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
        let mut roots = RootCertStore::empty();
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| {
            CertificateError::UnusableAuthorities { path: path.to_owned(), error }
        };
        for authority in read_chain(path)? {
            roots.add(authority).map_err(|error| unusable(error.into()))?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), self.provider.clone());
        verifier.build().map_err(|error| unusable(error.into()))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        Some(current.find(hello.server_name()))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("source", &self.source).finish_non_exhaustive()
    }
}

fn take(source: &Source, provider: &CryptoProvider) -> Result<Chosen, CertificateError> {
    let pairs = match source {
        Source::Files(pairs) => {
            pairs.iter().map(|Pair { chain, key }| read(chain, key, provider)).collect()
        }
        Source::SelfSigned => make(provider).map(|made| vec![made]),
    };
    Chosen::of(pairs?, CertificateError::Unpaired)
}

/// The certificates of a PEM file.
fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(bad(path))?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}

/// Explains why a PEM file can't be read.
fn bad(path: &Path) -> impl FnOnce(pem::Error) -> CertificateError {
    let path = path.to_owned();
    move |error| match error {
        pem::Error::Io(error) => CertificateError::Unreadable { path, error },
        error => CertificateError::BadPem { path, error },
    }
}

fn read(
    chain_path: &Path,
    key_path: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, CertificateError> {
    let chain = read_chain(chain_path)?;
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
            CertificateError::Unpaired => f.write_str(
                "each certificate needs its key: the first --tls-cert has the first --tls-key",
            ),
            CertificateError::UnusableAuthorities { path, error } => {
                write!(
                    f,
                    "the authorities for clients in {} cannot be used: {error}",
                    path.display()
                )
            }
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
        Source::Files(vec![Pair { chain, key }])
    }

    fn shown(certificates: &Certificates) -> Vec<u8> {
        let current = certificates.current.read().expect("not poisoned");
        current.usual.cert.first().expect("one").to_vec()
    }

    #[test]
    fn a_self_signed_certificate_serves_and_survives_a_reload() {
        let certificates = Certificates::load(Source::SelfSigned, None).expect("made");
        let config = certificates.server_config(None).expect("TLS");
        assert!(config.ticketer.enabled());
        let before = shown(&certificates);
        certificates.reload().expect("stays");
        assert_eq!(shown(&certificates), before);
    }

    #[test]
    fn a_reload_reads_the_files_and_an_error_keeps_the_previous_certificate() {
        let folder = TempDir::new().expect("a folder");
        let certificates = Certificates::load(write_pair(&folder, "c", "k"), None).expect("a pair");
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
            let source = Source::Files(vec![Pair { chain, key }]);
            let error = Certificates::load(source, None).expect_err(said).to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_clients_wish_decides_among_certificates() {
        let folder = TempDir::new().expect("a folder");
        let pair = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let path =
                |suffix| folder.path().join(format!("{}.{suffix}", names[0].replace('*', "any")));
            let made = generate_simple_self_signed(names.clone()).expect("made");
            fs::write(path("pem"), made.cert.pem()).expect("written");
            fs::write(path("key"), made.signing_key.serialize_pem()).expect("written");
            (made.cert.der().to_vec(), Pair { chain: path("pem"), key: path("key") })
        };
        let (a, first) = pair(&["a.test", "www.a.test"]);
        let (b, second) = pair(&["*.b.test"]);
        let certificates = Certificates::load(Source::Files(vec![first, second]), None);
        let certificates = certificates.expect("pairs");
        let current = certificates.current.read().expect("not poisoned");
        for (name, expected) in [
            (Some("a.test"), &a),
            (Some("WWW.a.test"), &a),
            (Some("x.b.test"), &b),
            (Some("b.test"), &a),
            (Some("x.y.b.test"), &a),
            (Some("other.test"), &a),
            (None, &a),
        ] {
            let found = current.find(name);
            assert!(found.cert.first().expect("one").as_ref() == expected, "{name:?}");
        }
    }
}
