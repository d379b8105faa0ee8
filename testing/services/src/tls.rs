//! TLS, on a listener and on a stream in memory: what requests are told of it, and settings that are exchanged.

use super::connections::{ask, end, start};
use super::{Adapter, GET, connect, hello, listener, start_server};
use crate::adapter::portcullis::rustls::crypto::CryptoProvider;
#[cfg(feature = "aws-lc-rs")]
use crate::adapter::portcullis::rustls::crypto::aws_lc_rs::default_provider;
#[cfg(not(feature = "aws-lc-rs"))]
use crate::adapter::portcullis::rustls::crypto::ring::default_provider;
use crate::adapter::portcullis::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName,
};
use crate::adapter::portcullis::rustls::server::{ClientHello, WebPkiClientVerifier};
use crate::adapter::portcullis::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
};
use crate::adapter::{
    Body, BoxError, ChooseTls, Config, Incoming, LiveConfig, Native, Reply, Service, TlsChoice,
    TlsInfo,
};
use axum::routing::get;
use axum::{Extension, Router};
use http::{Request, Response};
use std::future::{Ready, ready};
use std::io::{Read, Write};
use std::sync::Arc;

/// A certificate for localhost that signs itself, and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Identity {
    fn new() -> Self {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        Identity { certificate: own.cert.into(), key: own.signing_key.serialize_der() }
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        roots
    }

    /// The settings of a server that asks for a certificate of `clients`, if there are any.
    fn server(&self, clients: Option<&Identity>) -> Arc<ServerConfig> {
        let verifier = clients.map_or_else(WebPkiClientVerifier::no_client_auth, |clients| {
            let roots = Arc::new(clients.roots());
            let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
            builder.build().expect("a certificate")
        });
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain(), self.key())
            .expect("they fit");
        Arc::new(config)
    }

    /// A client that trusts this server, and shows the certificate of `own` if it is asked.
    fn client(&self, own: Option<&Identity>) -> ClientConnection {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(self.roots());
        let config = match own {
            Some(own) => builder.with_client_auth_cert(own.chain(), own.key()).expect("they fit"),
            None => builder.with_no_client_auth(),
        };
        let name = ServerName::try_from("localhost").expect("a name");
        ClientConnection::new(Arc::new(config), name).expect("a client")
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn over(tls: Arc<ServerConfig>) -> Config {
    Config::builder().tls(tls).build().expect("valid")
}

pub fn tls_is_spoken_on_a_stream_in_memory<A: Adapter>() {
    let own = Identity::new();
    let (client, ended) = start::<A, _, _>(over(own.server(None)), hello);
    let answer = ask(StreamOwned::new(own.client(None), client), GET);
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert_eq!(end(&ended), "completed");
}

pub fn a_tunnel_over_tls_ends_with_a_close_notify_in_each_direction<A: Adapter>() {
    let own = Identity::new();
    let address = super::tunnels::shouting::<A>(over(own.server(None)));
    let mut stream = StreamOwned::new(own.client(None), connect(address));
    stream.write_all(super::tunnels::CONNECT.as_bytes()).expect("it reads");
    super::tunnels::head(&mut stream);
    stream.write_all(b"hello").expect("it reads");
    stream.conn.send_close_notify();
    stream.flush().expect("it reads");
    let mut all = String::new();
    // Without a close_notify this would be an error.
    stream.read_to_string(&mut all).expect("an end in good order");
    assert_eq!(all, "HELLO\nTHAT WAS ALL");
}

pub fn tls_is_spoken_on_a_listener<A: Adapter>() {
    let own = Identity::new();
    let (listener, address) = listener();
    start_server::<A, _, _, _, _>(A::server(listener, Arc::new(over(own.server(None))), hello));
    let answer = ask(StreamOwned::new(own.client(None), connect(address)), GET);
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}

// ---- what requests are told ------------------------------------------------------------------------

/// What a request is told, as text.
fn said(info: Option<&TlsInfo>) -> String {
    info.map_or("plaintext".to_owned(), |info| {
        let certificates: Vec<_> = info.peer_certificates().iter().map(|it| it.len()).collect();
        format!("{:?} {:?} {certificates:?}", info.server_name(), info.protocol_version())
    })
}

/// The same as a handler of axum.
async fn told(Extension(info): Extension<TlsInfo>) -> String {
    said(Some(&info))
}

/// Answers with what its requests are told.
#[derive(Clone)]
struct Telling;

impl Service<Native> for Telling {
    type ResponseBody = String;
    type Future = Ready<Result<Response<String>, BoxError>>;

    fn call(&mut self, incoming: Incoming<'_>) -> Reply<Self::Future> {
        let native = said(incoming.tls_info());
        incoming.handle(|request| {
            let extension = said(request.extensions().get());
            assert_eq!(native, extension);
            ready(Ok(Response::new(extension)))
        })
    }
}

pub fn requests_are_told_of_the_handshake<A: Adapter>() {
    let (own, clients) = (Identity::new(), Identity::new());
    let (client, ended) = start::<A, _, _>(over(own.server(Some(&clients))), Telling);
    let client = StreamOwned::new(own.client(Some(&clients)), client);
    let answers = ask(client, &format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{GET}"));
    let length = clients.certificate.len();
    let said = format!("\r\n\r\nSome(\"localhost\") TLSv1_3 [{length}]");
    assert_eq!(answers.matches(&said).count(), 2, "{answers}");
    assert_eq!(end(&ended), "completed");
    let router = Router::new().route("/", get(told));
    let (client, _ended) = start::<A, _, _>(over(own.server(None)), router);
    let answer = ask(StreamOwned::new(own.client(None), client), GET);
    assert!(answer.ends_with("\r\n\r\nSome(\"localhost\") TLSv1_3 []"), "{answer}");
    let (client, _ended) = start::<A, _, _>(Config::default(), Telling);
    let answer = ask(client, GET);
    assert!(answer.ends_with("\r\n\r\nplaintext"), "{answer}");
}

// ---- settings that are chosen or exchanged -----------------------------------------------------------

/// Asks clients of localhost for a certificate.
#[derive(Debug)]
struct OfLocalhost(Arc<ServerConfig>);

impl ChooseTls for OfLocalhost {
    fn choose(&self, hello: ClientHello<'_>) -> TlsChoice {
        match hello.server_name() {
            Some("localhost") => TlsChoice::Other(self.0.clone()),
            _ => TlsChoice::Usual,
        }
    }
}

pub fn tls_settings_are_chosen_by_the_clients_first_message<A: Adapter>() {
    let (own, clients) = (Identity::new(), Identity::new());
    let chooser = Arc::new(OfLocalhost(own.server(Some(&clients))));
    let config = Config::builder().tls(own.server(None)).choose_tls(chooser).build();
    let (client, ended) = start::<A, _, _>(config.expect("valid"), Telling);
    let answer = ask(StreamOwned::new(own.client(Some(&clients)), client), GET);
    assert!(answer.ends_with(&format!("[{}]", clients.certificate.len())), "{answer}");
    assert_eq!(end(&ended), "completed");
}

/// Panics when it has to choose.
#[derive(Debug)]
struct Panicking;

impl ChooseTls for Panicking {
    fn choose(&self, _: ClientHello<'_>) -> TlsChoice {
        panic!("as it was told")
    }
}

pub fn a_panic_while_tls_settings_are_chosen_costs_one_connection<A: Adapter>() {
    let own = Identity::new();
    let config = Config::builder().tls(own.server(None)).choose_tls(Arc::new(Panicking)).build();
    let live = LiveConfig::from(config.expect("valid"));
    let (listener, address) = listener();
    let server = A::server(listener, Arc::default(), hello).config(live.clone());
    start_server::<A, _, _, _, _>(server);
    let mut client = StreamOwned::new(own.client(None), connect(address));
    client.conn.complete_io(&mut client.sock).expect_err("no handshake");
    live.set(Arc::new(over(own.server(None)))).expect("both speak TLS");
    let answer = ask(StreamOwned::new(own.client(None), connect(address)), GET);
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}

pub fn certificates_are_exchanged_while_a_server_runs<A: Adapter>() {
    async fn greet(_: Request<Body>) -> Response<String> {
        Response::new("hello".to_owned())
    }
    let (old, new) = (Identity::new(), Identity::new());
    let live = LiveConfig::from(over(old.server(None)));
    let (listener, address) = listener();
    let server = A::server(listener, Arc::default(), greet).config(live.clone());
    start_server::<A, _, _, _, _>(server);
    let mut before = StreamOwned::new(old.client(None), connect(address));
    before.conn.complete_io(&mut before.sock).expect("the old certificate");
    live.set(Arc::new(over(new.server(None)))).expect("both speak TLS");
    let answer = ask(StreamOwned::new(new.client(None), connect(address)), GET);
    assert!(answer.ends_with("\r\n\r\nhello"), "a new connection: {answer}");
    let answer = ask(before, GET);
    assert!(answer.ends_with("\r\n\r\nhello"), "one that was open: {answer}");
}
