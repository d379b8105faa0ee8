//! A connection and a rustls client, joined in memory. Scripts move the bytes between them.

use super::provider;
use crate::support::{Seen, answer, pull};
use portcullis::rustls::client::Resumption;
use portcullis::rustls::crypto::cipher::OutboundPlainMessage;
use portcullis::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName,
};
use portcullis::rustls::server::WebPkiClientVerifier;
use portcullis::rustls::server::danger::ClientCertVerifier;
use portcullis::rustls::{
    AlertDescription, ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, Error,
    ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion, version,
};
use portcullis::{Builder, CloseReason, Config, Connection, StreamId, Tick};
use std::io::{IoSlice, Read, Write};
use std::mem::replace;
use std::sync::{Arc, LazyLock};

pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

/// A certificate for localhost and its key, made once.
static IDENTITY: LazyLock<(CertificateDer<'static>, Vec<u8>)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    (made.cert.der().clone(), made.signing_key.serialize_der())
});

/// The server's certificate, and its key.
pub fn identity() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let (certificate, key) = &*IDENTITY;
    (certificate.clone(), PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone())))
}

pub fn server_settings() -> ServerConfig {
    server_settings_for(WebPkiClientVerifier::no_client_auth())
}

/// The settings of a server that asks for certificates.
pub fn server_settings_for(clients: Arc<dyn ClientCertVerifier>) -> ServerConfig {
    let (certificate, key) = identity();
    ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)
        .expect("the key is the certificate's")
}

pub fn client_settings(version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(IDENTITY.0.clone()).expect("a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[version])
        .expect("the provider knows it")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_secret_extraction = true;
    config
}

pub fn client(settings: ClientConfig) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::new(settings), name).expect("valid settings")
}

/// The settings in `builder`, with TLS.
pub fn over_tls(builder: Builder) -> Arc<Config> {
    static SETTINGS: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| Arc::new(server_settings()));
    Arc::new(builder.tls(Arc::clone(&SETTINGS)).build().expect("valid settings"))
}

/// Seals records of any type under the keys that `client` has after the handshake (TLS 1.3).
pub fn sealer(client: ClientConnection) -> impl FnMut(ContentType, &[u8]) -> Vec<u8> + use<> {
    let secrets = client.dangerous_extract_secrets();
    let (mut number, secrets) = secrets.expect("its settings allow it").tx;
    let suite = provider::cipher_suite::TLS13_AES_256_GCM_SHA384;
    let (Some(suite), ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = (suite.tls13(), secrets)
    else {
        panic!("the preferred cipher suite was not chosen");
    };
    let mut encrypter = suite.aead_alg.encrypter(key, iv);
    move |typ, plaintext| {
        let version = ProtocolVersion::TLSv1_2;
        let message = OutboundPlainMessage { typ, version, payload: plaintext.into() };
        number += 1;
        encrypter.encrypt(message, number - 1).expect("keys are fresh").encode()
    }
}

/// Both ends, and the state of the script.
pub struct Pair {
    pub server: Connection,
    pub client: ClientConnection,
    pub config: Arc<Config>,
    pub now: Tick,
    pub stream: Option<StreamId>,
    /// Everything that the client has received.
    pub answers: Vec<u8>,
}

impl Pair {
    /// A pair that was accepted at 0, with nothing sent.
    pub fn new(version: &'static SupportedProtocolVersion) -> Pair {
        Pair::with(over_tls(Config::builder()), client(client_settings(version)))
    }

    pub fn with(config: Arc<Config>, client: ClientConnection) -> Pair {
        let server = Connection::new(Arc::clone(&config), Tick::ZERO);
        Pair { server, client, config, now: Tick::ZERO, stream: None, answers: Vec::new() }
    }

    /// A pair after the handshake, with nothing under way.
    pub fn shaken(version: &'static SupportedProtocolVersion) -> Pair {
        let mut pair = Pair::new(version);
        pair.settle();
        pair
    }

    // ---- the client -----------------------------------------------------------------------------

    /// The client's output.
    pub fn flight(&mut self) -> Vec<u8> {
        let mut flight = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut flight).expect("writing to memory does not fail");
        }
        flight
    }

    /// `plaintext` in records.
    pub fn records(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut records = Vec::new();
        for piece in plaintext.chunks(16_384) {
            self.client.writer().write_all(piece).expect("the buffer has room for a record");
            records.extend(self.flight());
        }
        records
    }

    /// Seals records of any type under the keys that the client has after the handshake (TLS 1.3).
    /// The client is used up: it cannot read the server's later output.
    pub fn sealer(&mut self) -> impl FnMut(ContentType, &[u8]) -> Vec<u8> + use<> {
        let fresh = client(client_settings(&version::TLS13));
        sealer(replace(&mut self.client, fresh))
    }

    /// The server reads `bytes`, at once or in as many reads as needed.
    pub fn deliver(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.deliver_in(bytes, usize::MAX)
    }

    /// The server reads `bytes` in reads of `step`, as long as it reads.
    pub fn deliver_in(&mut self, bytes: &[u8], step: usize) -> Vec<Seen> {
        let step = step.min(self.config.receive_buffer_limit() as usize);
        let mut seen = Vec::new();
        for piece in bytes.chunks(step) {
            if !self.server.status().read {
                break;
            }
            let mut piece = piece.to_vec();
            let events = self.server.receive(self.now, &mut piece).expect("the connection reads");
            seen.extend(pull(events, &mut self.stream));
            self.check();
        }
        seen
    }

    /// The client sends `plaintext`. Returns the events.
    pub fn send(&mut self, plaintext: impl AsRef<[u8]>) -> Vec<Seen> {
        let records = self.records(plaintext.as_ref());
        self.deliver(&records)
    }

    /// Takes the server's output in writes of at most `most` bytes.
    pub fn taken_in(&mut self, most: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while self.server.status().write {
            let mut slices = [IoSlice::new(&[]); 4];
            let count = self.server.outgoing(&mut slices);
            let before = taken.len();
            for slice in &slices[..count] {
                let room = most - (taken.len() - before);
                taken.extend_from_slice(&slice[..slice.len().min(room)]);
            }
            let written = taken.len() - before;
            assert!(written > 0, "the server wants to write, but has no output");
            self.server.sent(self.now, written);
            self.check();
        }
        taken
    }

    pub fn taken(&mut self) -> Vec<u8> {
        self.taken_in(usize::MAX)
    }

    /// The client reads `bytes`, and keeps the plaintext.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).expect("reading from memory does not fail");
            self.client.process_new_packets().expect("the server's records are good");
            let mut plaintext = [0; 16_384];
            while let Ok(length @ 1..) = self.client.reader().read(&mut plaintext) {
                self.answers.extend_from_slice(&plaintext[..length]);
            }
            if self.client.wants_read() {
                continue;
            }
            break;
        }
    }

    /// The client reads `bytes`, which have to end with an alert.
    pub fn refused(&mut self, mut bytes: &[u8]) -> AlertDescription {
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).expect("reading from memory does not fail");
            match self.client.process_new_packets() {
                Ok(_) => {}
                Err(Error::AlertReceived(alert)) => return alert,
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("the server sent no alert");
    }

    /// Moves bytes both ways until neither side has output.
    pub fn settle(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        loop {
            let to_server = self.flight();
            seen.extend(self.deliver(&to_server));
            let to_client = self.taken();
            self.read(&to_client);
            if to_server.is_empty() && to_client.is_empty() {
                return seen;
            }
        }
    }

    // ---- the application, the end, the time -----------------------------------------------------

    pub fn stream(&self) -> StreamId {
        self.stream.expect("a request came")
    }

    pub fn answer(&mut self, content: &str) {
        answer(&mut self.server, self.now, self.stream.expect("a request came"), 200, content);
    }

    /// The plaintext that the client has received since the last call.
    pub fn answered(&mut self) -> String {
        self.settle();
        crate::support::text(&std::mem::take(&mut self.answers))
    }

    pub fn eof(&mut self) -> Vec<Seen> {
        let events = self.server.receive_eof(self.now);
        let seen = pull(events, &mut self.stream);
        self.check();
        seen
    }

    pub fn at(&mut self, now: Tick) {
        self.now = now;
        self.server.tick(now);
        self.check();
    }

    /// Asserts that the connection has closed, or closes once the client has taken everything and
    /// is gone. Returns the last output.
    pub fn closes_with(&mut self, reason: CloseReason) -> Vec<u8> {
        assert!(!self.server.status().is_open(), "{:?}", self.server);
        let last = self.taken();
        self.eof();
        assert_eq!(self.server.status().closed(), Some(reason));
        assert_eq!(self.server.deadline(), None);
        assert_eq!(self.server.memory(), size_of::<Connection>());
        last
    }

    fn check(&mut self) {
        let (memory, bound) = (self.server.memory(), self.config.memory_bound());
        assert!(memory <= bound, "memory: {memory} bytes, at most {bound} allowed");
        let waits = self.server.status().closed().is_none() && self.stream.is_none();
        assert!(!waits || self.server.deadline().is_some(), "deadline: {:?}", self.server);
    }
}
