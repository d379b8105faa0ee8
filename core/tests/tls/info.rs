//! What the application is told of the handshake.

use crate::bounds::{Anybody, certified};
use crate::memory::heap;
use crate::pair::{Pair, VERSIONS, client_settings, identity, over_tls, server_settings_for};
use crate::provider;
use crate::support::GET;
use allocation_counter::measure;
use portcullis::rustls::client::Resumption;
use portcullis::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use portcullis::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use portcullis::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion,
    ServerConfig, SignatureScheme,
};
use portcullis::{Config, Connection, Tick, TlsInfo};
use std::sync::Arc;

/// Trusts any server.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
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
        provider::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The settings of a client that trusts any server, so that it can ask for any.
pub(crate) fn trusting(mut settings: ClientConfig) -> ClientConfig {
    settings.dangerous().set_certificate_verifier(Arc::new(Trusting));
    settings
}

/// A pair whose client asks for the server of this name.
pub(crate) fn asking_for(name: &str, config: &Arc<Config>, settings: ClientConfig) -> Pair {
    let name = name.to_owned().try_into().expect("a name");
    let client = ClientConnection::new(Arc::new(settings), name).expect("valid settings");
    Pair::with(Arc::clone(config), client)
}

fn over(settings: ServerConfig) -> Arc<Config> {
    Arc::new(Config::builder().tls(Arc::new(settings)).build().expect("valid"))
}

fn told(pair: &mut Pair) -> TlsInfo {
    assert!(pair.server.tls_info().is_none(), "the handshake is not complete");
    pair.settle();
    pair.server.tls_info().expect("it is complete")
}

#[test]
fn a_plaintext_connection_has_no_tls() {
    let connection = Connection::new(Arc::default(), Tick::ZERO);
    assert!(connection.tls_info().is_none());
}

#[test]
fn the_application_is_told_what_was_agreed_on() {
    let versions = [ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2];
    for (version, number) in VERSIONS.into_iter().zip(versions) {
        let mut settings = client_settings(version);
        settings.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut pair = asking_for("localhost", &over_tls(Config::builder()), settings);
        let info = told(&mut pair);
        assert_eq!(info.server_name(), Some("localhost"));
        assert_eq!(info.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(info.protocol_version(), number);
        let suite = pair.client.negotiated_cipher_suite().expect("agreed on");
        assert_eq!(info.cipher_suite(), suite.suite());
        assert_eq!(info.handshake_kind(), HandshakeKind::Full);
        assert!(info.peer_certificates().is_empty());
        pair.send(GET);
        assert_eq!(pair.server.tls_info().expect("still").server_name(), Some("localhost"));
    }
}

#[test]
fn the_name_is_that_of_the_client_in_small_letters() {
    let config = over_tls(Config::builder());
    for version in VERSIONS {
        for (asked, name) in
            [("Www.Example.TEST", Some("www.example.test")), ("127.0.0.1", None), ("::1", None)]
        {
            let mut pair = asking_for(asked, &config, trusting(client_settings(version)));
            let info = told(&mut pair);
            assert_eq!((info.server_name(), info.alpn_protocol()), (name, None));
        }
    }
}

#[test]
fn the_name_is_known_whatever_the_cuts() {
    for version in VERSIONS {
        for (fragments, step) in [(None, 1), (None, 7), (Some(32), 1), (Some(32), 1000)] {
            let mut settings = client_settings(version);
            settings.max_fragment_size = fragments;
            let mut pair = asking_for("localhost", &over_tls(Config::builder()), settings);
            let hello = pair.flight();
            pair.deliver_in(&hello, step);
            assert_eq!(told(&mut pair).server_name(), Some("localhost"));
        }
    }
}

#[test]
fn a_resumed_session_has_its_name_and_the_clients_certificates() {
    for version in VERSIONS {
        let config = over(server_settings_for(Arc::new(Anybody)));
        let mut settings = certified(version, [vec![7; 1000]]);
        settings.resumption = Resumption::in_memory_sessions(8);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut pair = asking_for("localhost", &config, settings.clone());
            let info = told(&mut pair);
            assert_eq!((info.handshake_kind(), info.server_name()), (kind, Some("localhost")));
            let lengths: Vec<_> = info.peer_certificates().iter().map(|it| it.len()).collect();
            assert_eq!((lengths.len(), lengths[1]), (2, 1000), "{version:?}, {kind:?}");
        }
    }
}

#[test]
fn another_attempt_with_a_better_key_share_keeps_the_name() {
    // The client sends no share of the only group that the server has.
    let mut provider = provider::default_provider();
    provider.kx_groups = vec![provider::kx_group::SECP384R1];
    let (certificate, key) = identity();
    let server = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they fit");
    let (config, settings) = (over(server), client_settings(VERSIONS[0]));
    let mut pair = asking_for("localhost", &config, settings);
    let info = told(&mut pair);
    assert_eq!(info.handshake_kind(), HandshakeKind::FullWithHelloRetryRequest);
    assert_eq!(info.server_name(), Some("localhost"));
}

#[test]
fn its_memory_is_what_the_allocator_counts() {
    for version in VERSIONS {
        for chain in [vec![], vec![vec![7; 3000]], vec![vec![7; 100]; 40]] {
            let config = over(server_settings_for(Arc::new(Anybody)));
            let mut settings = certified(version, chain);
            settings.alpn_protocols = vec![b"h2".to_vec()];
            let mut pair = asking_for("localhost", &config, settings);
            let info = told(&mut pair);
            let (told, bound) = (info.memory(), TlsInfo::memory_bound(&config));
            let copied = measure(|| drop(info.clone())).count_total;
            assert_eq!((heap(info), copied), (told, 0), "{version:?}");
            assert!(told <= bound, "{told} of at most {bound}");
        }
    }
    assert_eq!(TlsInfo::memory_bound(&Config::default()), 0, "without TLS");
}
