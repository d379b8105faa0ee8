//! TLS, on a listener and on a stream in memory.

use super::connections::{ask, end, start};
use super::{Adapter, GET, connect, hello, listener, start_server};
use crate::adapter::Config;
use crate::adapter::portcullis::rustls::crypto::CryptoProvider;
#[cfg(feature = "aws-lc-rs")]
use crate::adapter::portcullis::rustls::crypto::aws_lc_rs::default_provider;
#[cfg(not(feature = "aws-lc-rs"))]
use crate::adapter::portcullis::rustls::crypto::ring::default_provider;
use crate::adapter::portcullis::rustls::pki_types::ServerName;
use crate::adapter::portcullis::rustls::{ClientConfig, ClientConnection, RootCertStore};
use crate::adapter::portcullis::rustls::{ServerConfig, StreamOwned};
use std::sync::Arc;

/// A client, and the configuration of a server that it trusts.
fn pair() -> (ClientConnection, Config) {
    let provider: Arc<CryptoProvider> = Arc::new(default_provider());
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).expect("a certificate");
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.into()], own.signing_key.into())
        .expect("they fit");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let client = ClientConnection::new(Arc::new(client), name).expect("a client");
    (client, Config::builder().tls(Arc::new(server)).build().expect("valid"))
}

pub fn tls_is_spoken_on_a_stream_in_memory<A: Adapter>() {
    let (tls, config) = pair();
    let (client, ended) = start::<A, _, _>(config, hello);
    let answer = ask(StreamOwned::new(tls, client), GET);
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert_eq!(end(&ended), "completed");
}

pub fn tls_is_spoken_on_a_listener<A: Adapter>() {
    let (tls, config) = pair();
    let (listener, address) = listener();
    start_server::<A, _, _, _, _>(A::server(listener, Arc::new(config), hello));
    let answer = ask(StreamOwned::new(tls, connect(address)), GET);
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}
