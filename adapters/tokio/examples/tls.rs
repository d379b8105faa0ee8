//! HTTPS for clients with and without a certificate: answers with what the TLS handshake has agreed on. SIGHUP reads
//! the files again, for connections that begin later.
//!
//! ```text
//! cargo run -p portcullis-tokio --example tls -- chain.pem key.pem authorities.pem [127.0.0.1:8443]
//! curl --cacert chain.pem --cert client.pem --key client.key https://localhost:8443/
//! ```
//!
//! The authorities sign the certificates of clients.

use http::{Request, Response, StatusCode};
use portcullis_tokio::portcullis::rustls::pki_types::pem::PemObject;
use portcullis_tokio::portcullis::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use portcullis_tokio::portcullis::rustls::server::WebPkiClientVerifier;
use portcullis_tokio::portcullis::rustls::{RootCertStore, ServerConfig};
use portcullis_tokio::{Body, Config, LiveConfig, TlsInfo, serve};
use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use tokio::net::TcpListener;

type Failure = Box<dyn Error + Send + Sync>;

/// PEM files.
#[derive(Clone)]
struct Files {
    chain: String,
    key: String,
    authorities: String,
}

impl Files {
    /// Reads the files.
    fn read(&self) -> Result<Config, Failure> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(&self.authorities)? {
            roots.add(authority?)?;
        }
        // Without `allow_unauthenticated`, clients that have no certificate are refused.
        let verifier =
            WebPkiClientVerifier::builder(roots.into()).allow_unauthenticated().build()?;
        let chain = CertificateDer::pem_file_iter(&self.chain)?.collect::<Result<_, _>>()?;
        let tls = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(&self.key)?)?;
        Ok(Config::builder().tls(Arc::new(tls)).build()?)
    }
}

/// Answers with what the handshake has agreed on.
async fn tell(request: Request<Body>) -> Result<Response<String>, Failure> {
    // Each request over TLS has it. With axum it is the extractor `Extension<TlsInfo>`.
    let Some(info) = request.extensions().get::<TlsInfo>() else {
        return Err("a request came without TLS".into());
    };
    let protocol = info.alpn_protocol().map(String::from_utf8_lossy);
    let mut text = String::new();
    writeln!(text, "server name:  {}", info.server_name().unwrap_or("none"))?;
    writeln!(text, "protocol:     {}", protocol.as_deref().unwrap_or("none"))?;
    writeln!(text, "version:      {:?}", info.protocol_version())?;
    writeln!(text, "cipher suite: {:?}", info.cipher_suite())?;
    writeln!(text, "handshake:    {:?}", info.handshake_kind())?;
    for certificate in info.peer_certificates() {
        writeln!(text, "certificate:  {} bytes", certificate.len())?;
    }
    let mut answer = Response::new(text);
    if info.peer_certificates().is_empty() {
        *answer.status_mut() = StatusCode::FORBIDDEN;
    }
    Ok(answer)
}

/// Reads the files again at each SIGHUP. If they can't be used, the previous ones stay in use.
#[cfg(unix)]
async fn reload(files: Files, live: LiveConfig) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())?;
    while hangups.recv().await.is_some() {
        match files.read().and_then(|config| Ok(live.set(Arc::new(config))?)) {
            Ok(()) => println!("the files were read again"),
            Err(error) => eprintln!("the files cannot be used: {error}"),
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut given = std::env::args().skip(1);
    let (Some(chain), Some(key), Some(authorities)) = (given.next(), given.next(), given.next())
    else {
        return Err("expected three files: the chain, its key, and the clients' authorities".into());
    };
    let files = Files { chain, key, authorities };
    let live = LiveConfig::from(files.read()?);
    let address = given.next().unwrap_or_else(|| "127.0.0.1:8443".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on https://{}", listener.local_addr()?);
    #[cfg(unix)]
    tokio::spawn(reload(files, live.clone()));
    serve(listener, tell).config(live).await?;
    Ok(())
}
