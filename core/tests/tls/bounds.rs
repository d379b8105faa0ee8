//! The memory bound over TLS: of random configurations, during the handshake, and with long or many
//! client certificates.

use crate::hoard::{self, Hoard, Kind, NOW, Peer, fields};
use crate::memory::heap;
use crate::padded::Stopped;
use crate::pair::{
    Pair, VERSIONS, client, client_settings, identity, sealer, server_settings, server_settings_for,
};
use crate::provider;
use crate::support::GET;
use fastrand::Rng;
use http::StatusCode;
use portcullis::rustls::client::danger::HandshakeSignatureValid;
use portcullis::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use portcullis::rustls::server::NoServerSessionStorage;
use portcullis::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use portcullis::rustls::sign::{CertifiedKey, SingleCertAndKey};
use portcullis::rustls::{
    ClientConfig, ClientConnection, ContentType, DigitallySignedStruct, DistinguishedName, Error,
    ServerConfig, SignatureScheme, SupportedProtocolVersion, version,
};
use portcullis::{BodyLength, Builder, CloseReason, Config, Connection, Event, Phase, TlsFailure};
use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, LazyLock};

// ---- clients with certificates --------------------------------------------------------------------

/// Accepts any certificate.
#[derive(Debug)]
pub(crate) struct Anybody;

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
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

/// A server that asks for certificates, and keeps nothing of a connection elsewhere.
fn asking() -> ServerConfig {
    let mut settings = server_settings_for(Arc::new(Anybody));
    settings.session_storage = Arc::new(NoServerSessionStorage {});
    settings
}

/// The same, with a long certificate chain of its own.
fn asking_at_length() -> ServerConfig {
    let mut settings = asking();
    let (certificate, key) = identity();
    let key = provider::default_provider().key_provider.load_private_key(key).expect("a key");
    let chain = vec![certificate, CertificateDer::from(vec![7; 28 << 10])];
    settings.cert_resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    settings
}

/// A client whose certificate is followed by `others`.
pub(crate) fn certified(
    version: &'static SupportedProtocolVersion,
    others: impl IntoIterator<Item = Vec<u8>>,
) -> ClientConfig {
    static IDENTITY: LazyLock<(CertificateDer<'static>, Vec<u8>)> = LazyLock::new(|| {
        let made = rcgen::generate_simple_self_signed(["client".to_owned()]).expect("one");
        (made.cert.der().clone(), made.signing_key.serialize_der())
    });
    let (certificate, key) = &*IDENTITY;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
    let key = provider::default_provider().key_provider.load_private_key(key).expect("a key");
    let mut chain = vec![certificate.clone()];
    chain.extend(others.into_iter().map(CertificateDer::from));
    let mut settings = client_settings(version);
    settings.client_auth_cert_resolver =
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    settings
}

/// Chains of `bytes` on the wire: one long certificate, usual ones, certificates of one byte, and
/// empty ones.
fn chains(bytes: usize) -> [Vec<Vec<u8>>; 4] {
    [
        vec![vec![7; bytes]],
        vec![vec![7; 1000]; bytes / 1005],
        vec![vec![7]; bytes / 6],
        vec![Vec::new(); bytes / 5],
    ]
}

/// A configuration in which only TLS may be large.
fn narrow(limit: usize, settings: &Arc<ServerConfig>) -> Arc<Config> {
    let small = [
        ("request_head_limit", "512"),
        ("request_fields_limit", "16"),
        ("trailers_limit", "64"),
        ("send_buffer_limit", "1KiB"),
        ("receive_buffer_limit", "1KiB"),
        ("response_head_limit", "1KiB"),
    ];
    let set = |builder: Builder, (name, value): (&str, &str)| {
        builder.set(name, value).expect("a setting")
    };
    let builder = small.into_iter().fold(Config::builder(), set).tls_handshake_limit(limit as u64);
    Arc::new(builder.tls(Arc::clone(settings)).build().expect("valid settings"))
}

/// Shakes hands in small reads, and checks the figures in between.
fn shake(hoard: &mut Hoard, client: &mut ClientConnection) {
    let step = 250;
    loop {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).expect("writing to memory does not fail");
        }
        for piece in flight.chunks(step) {
            if hoard.connection().status().read {
                hoard.read(piece.to_vec(), usize::MAX, |_, _| 0);
            }
        }
        let answer = taken(hoard);
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("reading from memory does not fail");
            if client.process_new_packets().is_err() {
                return;
            }
        }
        if flight.is_empty() && answer.is_empty() {
            return;
        }
    }
}

/// Takes all output of the server.
fn taken(hoard: &mut Hoard) -> Vec<u8> {
    let mut taken = Vec::new();
    while hoard.waiting() > 0 {
        let mut slices = [IoSlice::new(&[]); 4];
        let count = hoard.connection().outgoing(&mut slices);
        let before = taken.len();
        slices[..count].iter().for_each(|slice| taken.extend_from_slice(slice));
        let written = taken.len() - before;
        hoard.act(|connection| connection.sent(NOW, written));
    }
    taken
}

#[test]
fn client_certificates_are_reported_and_bounded() {
    let settings = Arc::new(asking());
    for version in VERSIONS {
        for limit in [4 << 10, 16 << 10, 64 << 10, 128 << 10] {
            for length in [1000, 3000, limit / 2, limit - 3500, limit, 2 * limit] {
                for chain in chains(length.min(64_000)) {
                    let (count, owned) = (chain.len(), chain.concat().len());
                    let mut hoard = Hoard::over_tls(narrow(limit, &settings));
                    let mut client = client(certified(version, chain));
                    shake(&mut hoard, &mut client);
                    let fits = owned + 5 * count + 3500 <= limit && count < 60;
                    assert!(
                        !fits || hoard.is_open(),
                        "{count} certificates, {owned} bytes owned, limit {limit}"
                    );
                    let told = hoard.connection().memory();
                    assert!(
                        !hoard.is_open() || told >= owned,
                        "{told} bytes reported, {owned} owned"
                    );
                    hoard.end();
                }
            }
        }
    }
}

#[test]
fn a_chain_that_is_too_long_is_refused() {
    for version in VERSIONS {
        for chain in chains(40_000) {
            let config = over_tls_of(Config::builder(), asking());
            let mut pair = Pair::with(config, client(certified(version, chain)));
            let hello = pair.flight();
            pair.deliver(&hello);
            let answer = pair.taken();
            pair.read(&answer);
            let flight = pair.flight();
            pair.deliver(&flight);
            pair.closes_with(CloseReason::Tls(TlsFailure::HandshakeTooLarge));
        }
    }
}

#[test]
fn a_client_with_usual_certificates_is_served() {
    for version in VERSIONS {
        for chain in [vec![vec![7; 12_000]], vec![vec![7; 1500]; 8], vec![]] {
            let config = over_tls_of(Config::builder(), asking());
            let mut pair = Pair::with(config, client(certified(version, chain)));
            pair.settle();
            pair.send(GET);
            pair.answer("hello");
            assert!(pair.answered().ends_with("hello"));
        }
    }
}

fn over_tls_of(builder: Builder, settings: ServerConfig) -> Arc<Config> {
    Arc::new(builder.tls(Arc::new(settings)).build().expect("valid settings"))
}

/// Sends many empty certificates whose ownership the client has not proved, and then the first part
/// of a record. Returns how much is owned then.
fn shake_with_nothing(config: &Arc<Config>) -> usize {
    let limit = (config.tls_handshake_limit() as usize).clamp(16 << 10, 64 << 10);
    let owned = [8000, 4000, 3000, 2500].map(|less| {
        let chain = vec![Vec::new(); (limit - less) / 5];
        let settings = certified(&version::TLS13, chain);
        let mut stopped = Stopped::new(Arc::clone(config), settings);
        let messages = stopped.messages.clone();
        // The certificates are the first message.
        let length = 4 + u32::from_be_bytes([0, messages[1], messages[2], messages[3]]) as usize;
        let (certificates, rest) = messages.split_at(length);
        let records = certificates.chunks(16_000).flat_map(|piece| stopped.seal(piece, 0));
        let records: Vec<u8> = records.collect();
        let more = stopped.seal(rest, 16_384);
        let Stopped { mut pair, before, .. } = stopped;
        pair.deliver(&[before, records].concat());
        pair.deliver(&more[..more.len() - 1]);
        assert!(pair.server.phase() == Phase::Handshake, "{:?}", pair.server);
        let told = pair.server.memory();
        let owned = size_of::<Connection>() + heap(pair.server);
        assert!(owned <= told, "{owned} bytes owned, {told} reported");
        owned
    });
    owned.into_iter().max().unwrap_or(0)
}

#[test]
fn the_bound_within_the_handshake_is_reached_by_half_at_least() {
    let settings = Arc::new(asking_at_length());
    for limit in [4 << 10, 8 << 10, 24 << 10, 64 << 10] {
        let config = narrow(limit, &settings);
        let (worst, bound) = (shake_with_nothing(&config), config.memory_bound());
        println!("{limit}: {worst} of {bound}");
        assert!(worst * 2 >= bound, "{worst} of {bound}");
    }
}

// ---- any configuration ----------------------------------------------------------------------------

/// Records of every size, some of them padded.
struct Sealing<S>(S);

impl<S: FnMut(ContentType, &[u8]) -> Vec<u8>> Peer for Sealing<S> {
    fn wrap(&mut self, plaintext: &[u8], draw: &mut Rng) -> Vec<u8> {
        let most = [16_384, 16_384, draw.usize(100..16_384)][draw.usize(0..3)];
        let mut wire = Vec::new();
        for piece in plaintext.chunks(most) {
            if draw.u8(0..8) > 0 || piece.len() > 10_000 {
                wire.extend((self.0)(ContentType::ApplicationData, piece));
            } else {
                // The appended type is one more zero byte.
                let mut inner = [piece, &[23]].concat();
                inner.resize(draw.usize(inner.len()..16_384), 0);
                wire.extend((self.0)(ContentType::Unknown(0), &inner));
            }
        }
        wire
    }
}

fn shaken(config: Arc<Config>) -> (Hoard, impl FnMut(ContentType, &[u8]) -> Vec<u8>) {
    let mut hoard = Hoard::over_tls(config);
    let mut client = client(client_settings(&version::TLS13));
    shake(&mut hoard, &mut client);
    assert!(hoard.is_open() && !client.is_handshaking());
    (hoard, sealer(client))
}

fn quiet() -> Arc<ServerConfig> {
    let mut settings = server_settings();
    settings.session_storage = Arc::new(NoServerSessionStorage {});
    Arc::new(settings)
}

#[test]
fn no_configuration_is_exceeded() {
    let settings = quiet();
    let cases = std::env::var("PORTCULLIS_CASES").map_or(60, |it| it.parse().expect("a number"));
    for seed in 0..cases {
        for kind in [Kind::Http, Kind::WebSocket] {
            let mut draw = Rng::with_seed(seed);
            let builder = hoard::configuration(&mut draw).tls(Arc::clone(&settings));
            let config = Arc::new(builder.build().expect("valid settings"));
            let played = AssertUnwindSafe(|| {
                let (mut hoard, seal) = shaken(config);
                hoard::play(&mut hoard, kind, &mut Sealing(seal), &mut draw);
                hoard.end();
            });
            if let Err(panic) = catch_unwind(played) {
                eprintln!("seed {seed}, {kind:?}");
                resume_unwind(panic);
            }
        }
    }
}

/// Fills everything: sealed and unsent records, output behind them, an incomplete head, an unpulled
/// read, and the first part of a record.
#[test]
fn the_bound_is_reached_by_half_at_least() {
    let settings = Arc::new(asking_at_length());
    let large = [("send_buffer_limit", "800000")];
    for config in [
        Config::builder(),
        Config::strict().into(),
        large.iter().fold(Config::builder(), |it, (name, value)| it.set(name, value).expect("one")),
        Config::builder().tls_handshake_limit(128 << 10),
    ] {
        let config = Arc::new(config.tls(Arc::clone(&settings)).build().expect("valid"));
        let (mut hoard, seal) = shaken(Arc::clone(&config));
        let mut peer = Sealing(seal);
        let mut draw = Rng::with_seed(1);
        let mut stream = None;
        let get = peer.0(ContentType::ApplicationData, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        hoard.read(get, usize::MAX, |_, event| {
            if let Event::Request { stream: newest, .. } = event {
                stream = Some(newest);
            }
            0
        });
        let stream = stream.expect("a request");
        let fields = fields(config.response_head_limit() as usize - 60);
        hoard.act(|connection| {
            let length = BodyLength::Unknown;
            let _ = connection.stream(NOW, stream).respond(StatusCode::OK, &fields, length);
        });
        // All output is sealed and mostly sent, and more output is written after it.
        for left in [1, 1, 1] {
            hoard.fill(stream, 1000);
            let waiting = hoard.waiting();
            hoard.act(|connection| connection.sent(NOW, waiting - left));
        }
        hoard.fill(stream, 1000);
        hoard.act(|connection| {
            connection.stream(NOW, stream).finish(Some(&fields)).expect("there is room")
        });
        hold(&mut hoard, &mut peer, &mut draw);
        let bound = config.memory_bound();
        let worst = hoard.end().max(shake_with_nothing(&config));
        println!("{worst} of {bound}");
        assert!(worst * 2 >= bound, "{worst} of {bound}");
    }
}

fn hold(
    hoard: &mut Hoard,
    peer: &mut Sealing<impl FnMut(ContentType, &[u8]) -> Vec<u8>>,
    draw: &mut Rng,
) {
    let limit = hoard.config.receive_buffer_limit() as usize;
    let wire = peer.wrap(&vec![b'x'; 2 * limit], draw);
    let begun = 3000;
    hoard.read(wire[..begun].to_vec(), usize::MAX, |_: &mut Connection, _| 0);
    if hoard.connection().status().read {
        hoard.read(wire[begun..begun + limit].to_vec(), 0, |_: &mut Connection, _| 0);
    }
}

/// Sealed, pending and held bytes are freed with the last of them.
#[test]
fn a_burst_leaves_no_memory() {
    let config = Config::builder().request_body_limit(None).tls(quiet()).build();
    let (mut hoard, mut seal) = shaken(Arc::new(config.expect("valid settings")));
    let mut idle = None;
    for length in [100, 100_000, 200_000, 20] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let mut wire = seal(ContentType::ApplicationData, head.as_bytes());
        for piece in vec![b'x'; length].chunks(16_000) {
            wire.extend(seal(ContentType::ApplicationData, piece));
        }
        let mut stream = None;
        for read in wire.chunks(30_001) {
            hoard.read(read.to_vec(), usize::MAX, |connection, event| {
                if let Event::Request { stream: newest, .. } = event {
                    stream = Some(newest);
                }
                let newest = stream.expect("a request");
                connection.stream(NOW, newest).read_to(u64::MAX).expect("the stream is open");
                0
            });
        }
        let stream = stream.expect("a request");
        hoard.act(|connection| {
            let length = BodyLength::Unknown;
            let _ = connection.stream(NOW, stream).respond(StatusCode::OK, [], length);
        });
        for share in [0, 30, 60] {
            hoard.fill(stream, length.min(1025));
            hoard.take_share(share);
        }
        while !taken(&mut hoard).is_empty() {}
        hoard.act(|connection| {
            connection.stream(NOW, stream).finish(None).expect("the content is complete")
        });
        while !taken(&mut hoard).is_empty() {}
        assert!(hoard.is_open());
        // After the first burst rustls always keeps the same.
        let figures = hoard.figures();
        assert_eq!(*idle.get_or_insert(figures), figures, "after {length} bytes");
    }
    hoard.end();
}
