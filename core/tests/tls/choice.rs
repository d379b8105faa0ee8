//! Settings that are chosen by the client's first message, and protocols that are not HTTP.

use crate::bounds::{Anybody, certified};
use crate::info::{asking_for, trusting};
use crate::memory::heap;
use crate::pair::{Pair, VERSIONS, client_settings, server_settings, server_settings_for};
use crate::support::{GET, Seen};
use portcullis::rustls::client::Resumption;
use portcullis::rustls::server::ClientHello;
use portcullis::rustls::{
    AlertDescription, ClientConfig, HandshakeKind, ServerConfig, SupportedProtocolVersion, version,
};
use portcullis::{
    Builder, ChooseTls, CloseReason, Config, ConfigError, Connection, Phase, TlsChoice, TlsFailure,
};
use std::io::Read;
use std::sync::{Arc, Mutex};

/// What a chooser has seen of a client.
#[derive(Debug, Default)]
struct Seeing {
    names: Vec<Option<String>>,
    protocols: Vec<Vec<u8>>,
    has_suites: bool,
    has_schemes: bool,
}

/// Refuses `refused.test`, asks clients of `private.test` for a certificate, and answers challenges.
#[derive(Debug)]
struct ByHost {
    private: Arc<ServerConfig>,
    challenge: Arc<ServerConfig>,
    seen: Mutex<Seeing>,
}

impl ByHost {
    fn new() -> Arc<Self> {
        let mut challenge = server_settings();
        challenge.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        let mut private = server_settings_for(Arc::new(Anybody));
        (private.max_early_data_size, private.send_tls13_tickets) = (1000, 50);
        Arc::new(ByHost {
            private: Arc::new(private),
            challenge: Arc::new(challenge),
            seen: Mutex::default(),
        })
    }

    fn config(self: &Arc<Self>) -> Arc<Config> {
        let builder = Config::builder().tls(Arc::new(server_settings())).choose_tls(self.clone());
        Arc::new(builder.build().expect("valid"))
    }

    fn names(&self) -> Vec<Option<String>> {
        std::mem::take(&mut self.seen.lock().expect("no panic").names)
    }
}

impl ChooseTls for ByHost {
    fn choose(&self, hello: ClientHello<'_>) -> TlsChoice {
        let mut seen = self.seen.lock().expect("no panic");
        seen.names.push(hello.server_name().map(str::to_owned));
        seen.protocols = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
        seen.has_suites = !hello.cipher_suites().is_empty();
        seen.has_schemes = !hello.signature_schemes().is_empty();
        if seen.protocols == [b"acme-tls/1"] {
            return TlsChoice::Other(self.challenge.clone());
        }
        match hello.server_name() {
            Some("refused.test") => TlsChoice::Refuse(AlertDescription::UnrecognisedName),
            Some("private.test") => TlsChoice::Other(self.private.clone()),
            _ => TlsChoice::Usual,
        }
    }
}

fn offering(version: &'static SupportedProtocolVersion, protocols: &[&[u8]]) -> ClientConfig {
    let mut settings = trusting(client_settings(version));
    settings.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    settings
}

#[test]
fn hosts_differ_in_whether_they_ask_for_a_certificate() {
    let chooser = ByHost::new();
    let config = chooser.config();
    for version in VERSIONS {
        for (fragments, step) in [(None, usize::MAX), (None, 1), (Some(32), 1), (Some(32), 500)] {
            for (host, asked) in [("public.test", false), ("private.test", true)] {
                let mut settings = trusting(certified(version, []));
                settings.max_fragment_size = fragments;
                settings.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
                let mut pair = asking_for(host, &config, settings);
                let hello = pair.flight();
                pair.deliver_in(&hello, step);
                pair.settle();
                let info = pair.server.tls_info().expect("complete");
                assert_eq!(info.peer_certificates().len(), usize::from(asked), "{host}");
                assert_eq!(
                    (info.server_name(), info.alpn_protocol()),
                    (Some(host), Some(&b"h2"[..]))
                );
                assert_eq!(chooser.names(), [Some(host.to_owned())], "once");
            }
        }
    }
    let seen = chooser.seen.lock().expect("no panic");
    assert!(seen.has_suites && seen.has_schemes, "{seen:?}");
    assert_eq!(seen.protocols, [&b"h2"[..], b"http/1.1"]);
}

#[test]
fn a_resumed_session_is_chosen_for_as_well() {
    for version in VERSIONS {
        let chooser = ByHost::new();
        let config = chooser.config();
        let mut settings = trusting(certified(version, []));
        settings.resumption = Resumption::in_memory_sessions(8);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut pair = asking_for("private.test", &config, settings.clone());
            pair.settle();
            let info = pair.server.tls_info().expect("complete");
            assert_eq!((info.handshake_kind(), info.peer_certificates().len()), (kind, 1));
            assert_eq!(chooser.names().len(), 1);
        }
    }
}

#[test]
fn a_client_that_is_refused_is_sent_the_alert() {
    let config = ByHost::new().config();
    for version in VERSIONS {
        for step in [1, usize::MAX] {
            let mut pair = asking_for("refused.test", &config, offering(version, &[]));
            let hello = pair.flight();
            pair.deliver_in(&hello, step);
            let alert = pair.closes_with(CloseReason::Tls(TlsFailure::Refused));
            assert_eq!(pair.refused(&alert), AlertDescription::UnrecognisedName);
        }
    }
}

#[test]
fn settings_that_rustls_refuses_are_no_settings() {
    #[derive(Debug)]
    struct Broken(Arc<ServerConfig>);
    impl ChooseTls for Broken {
        fn choose(&self, _: ClientHello<'_>) -> TlsChoice {
            TlsChoice::Other(self.0.clone())
        }
    }
    let mut broken = server_settings();
    broken.max_fragment_size = Some(1);
    let chooser = Arc::new(Broken(Arc::new(broken)));
    let builder = Config::builder().tls(Arc::new(server_settings())).choose_tls(chooser);
    let config = Arc::new(builder.build().expect("valid"));
    let mut pair = asking_for("localhost", &config, client_settings(&version::TLS13));
    let hello = pair.flight();
    pair.deliver(&hello);
    assert_eq!(pair.closes_with(CloseReason::Tls(TlsFailure::Unavailable)), []);
}

/// The client completes its handshake, and then sees an orderly end.
fn challenged(mut pair: Pair) {
    let mut most = 0;
    while pair.server.status().is_open() {
        let flight = pair.flight();
        pair.deliver(&flight);
        let answers = pair.taken();
        pair.read(&answers);
        most += 1;
        assert!(most < 9, "{:?}", pair.server);
    }
    assert!(!pair.client.is_handshaking());
    assert_eq!(pair.client.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    let answers = pair.taken();
    pair.read(&answers);
    // Without a close_notify this is an error.
    assert_eq!(pair.client.reader().read(&mut [0]).expect("an orderly end"), 0);
    assert_eq!(pair.server.status().closed(), Some(CloseReason::OtherProtocol));
    assert!(!pair.server.status().is_cut_off());
}

#[test]
fn a_challenge_is_answered_and_the_connection_ends_in_good_order() {
    let chooser = ByHost::new();
    let config = chooser.config();
    for version in VERSIONS {
        challenged(asking_for("a.test", &config, offering(version, &[b"acme-tls/1"])));
        // A client that offers HTTP as well gets the usual settings.
        let both = offering(version, &[b"acme-tls/1", b"h2"]);
        let mut pair = asking_for("a.test", &config, both);
        pair.settle();
        assert_eq!(
            (pair.client.alpn_protocol(), pair.server.phase()),
            (Some(&b"h2"[..]), Phase::Idle)
        );
    }
}

#[test]
fn a_resolver_that_answers_challenges_needs_no_chooser() {
    let mut settings = server_settings();
    settings.alpn_protocols = vec![b"acme-tls/1".to_vec(), b"http/1.1".to_vec()];
    let config = Config::builder().http2(false).tls(Arc::new(settings)).build().expect("valid");
    let again = Builder::from(config.clone()).build().expect("valid");
    assert_eq!(config, again);
    let config = Arc::new(config);
    for version in VERSIONS {
        challenged(asking_for("a.test", &config, offering(version, &[b"acme-tls/1"])));
        let http = offering(version, &[b"acme-tls/1", b"http/1.0"]);
        let mut pair = asking_for("a.test", &config, http);
        pair.settle();
        assert_eq!(pair.client.alpn_protocol(), Some(&b"http/1.0"[..]));
        assert!(matches!(&pair.send(GET)[..], [Seen::Request(..), Seen::End(_)]));
    }
}

#[test]
fn settings_for_another_protocol_serve_no_http_whatever_the_client_offers() {
    #[derive(Debug)]
    struct Always(Arc<ServerConfig>);
    impl ChooseTls for Always {
        fn choose(&self, _: ClientHello<'_>) -> TlsChoice {
            TlsChoice::Other(self.0.clone())
        }
    }
    let chooser = Arc::new(Always(ByHost::new().challenge.clone()));
    let builder = Config::builder().tls(Arc::new(server_settings())).choose_tls(chooser);
    let config = Arc::new(builder.build().expect("valid"));
    for version in VERSIONS {
        let mut pair = asking_for("a.test", &config, offering(version, &[]));
        while pair.server.is_handshaking() {
            let flight = pair.flight();
            pair.deliver(&flight);
            let answers = pair.taken();
            pair.read(&answers);
        }
        pair.taken();
        assert_eq!(pair.server.status().closed(), Some(CloseReason::OtherProtocol));
        let mut pair = asking_for("a.test", &config, offering(version, &[b"h2"]));
        let hello = pair.flight();
        pair.deliver(&hello);
        let alert = pair.closes_with(CloseReason::Tls(TlsFailure::Handshake));
        assert_eq!(pair.refused(&alert), AlertDescription::NoApplicationProtocol);
    }
}

#[test]
fn no_client_gets_past_the_choice() {
    let chooser = ByHost::new();
    let config = chooser.config();
    // rustls alone tolerates a warning (user_canceled) before the message.
    let warning = [21, 3, 1, 0, 2, 1, 90];
    for version in VERSIONS {
        for (first, step) in [(true, 1), (true, usize::MAX), (false, 1), (false, usize::MAX)] {
            let mut settings = offering(version, &[]);
            settings.max_fragment_size = (!first).then_some(32);
            let mut pair = asking_for("refused.test", &config, settings);
            let hello = pair.flight();
            let place = if first { 0 } else { 32 };
            let (before, after) = hello.split_at(place);
            pair.deliver_in(&[before, &warning[..], after].concat(), step);
            let alert = pair.closes_with(CloseReason::Tls(TlsFailure::Handshake));
            // Within the message rustls refuses it without an alert.
            if first {
                assert_eq!(pair.refused(&alert), AlertDescription::UnexpectedMessage);
            }
            assert_eq!(chooser.names(), []);
        }
    }
}

#[test]
fn nothing_after_another_protocols_handshake_is_read_as_http() {
    let config = ByHost::new().config();
    for version in VERSIONS {
        let mut pair = asking_for("a.test", &config, offering(version, &[b"acme-tls/1"]));
        while pair.client.is_handshaking() {
            let flight = pair.flight();
            pair.deliver(&flight);
            let answers = pair.taken();
            pair.read(&answers);
        }
        // In TLS 1.3 the request comes with the end of the handshake.
        if pair.server.status().read {
            assert_eq!(pair.send(GET).len(), 0);
        }
        assert_eq!(pair.server.requests(), 0);
        pair.taken();
        assert_eq!(pair.server.status().closed(), Some(CloseReason::OtherProtocol));
    }
}

#[test]
fn chosen_settings_have_no_early_data_and_few_tickets() {
    let config = ByHost::new().config();
    let mut settings = trusting(certified(&version::TLS13, []));
    settings.resumption = Resumption::in_memory_sessions(8);
    settings.enable_early_data = true;
    for _ in 0..2 {
        let mut pair = asking_for("private.test", &config, settings.clone());
        assert!(pair.client.early_data().is_none(), "no ticket allows early data");
        pair.settle();
        assert_eq!(pair.client.tls13_tickets_received(), 2);
    }
}

#[test]
fn a_malformed_message_is_refused_without_a_choice() {
    let chooser = ByHost::new();
    let config = chooser.config();
    let mut refused = 0;
    for place in [5, 6, 9, 43, 60] {
        let mut pair = asking_for("private.test", &config, offering(&version::TLS13, &[]));
        let mut hello = pair.flight();
        hello[place] ^= 0xff;
        pair.deliver(&hello);
        if !pair.server.status().is_open() {
            pair.closes_with(CloseReason::Tls(TlsFailure::Handshake));
            assert_eq!(chooser.names(), [], "at {place}");
            refused += 1;
        }
        // A change of the random bytes, or of a length that is waited for, is no mistake yet.
        chooser.names();
    }
    assert!(refused >= 2, "{refused} were refused");
}

#[test]
fn a_copy_of_settings_is_within_the_reported_memory() {
    let config = ByHost::new().config();
    for version in VERSIONS {
        for flights in 0..3 {
            let mut pair = asking_for("private.test", &config, offering(version, &[]));
            for _ in 0..flights {
                let flight = pair.flight();
                pair.deliver(&flight);
                let answers = pair.taken();
                pair.read(&answers);
            }
            let told = pair.server.memory();
            let owned = size_of::<Connection>() + heap(pair.server);
            assert!(owned <= told, "{owned} bytes owned, {told} reported, {flights} flights");
            assert!(told <= config.memory_bound());
        }
    }
}

#[test]
fn exceptions_need_something_usual() {
    let chosen = Config::builder().choose_tls(ByHost::new()).build();
    assert_eq!(chosen, Err(ConfigError::NoTls));
    let usual = Config::builder().tls(Arc::new(server_settings())).build().expect("valid");
    let with = |chooser| {
        Builder::from(usual.clone()).choose_tls(chooser).build().expect("there are usual settings")
    };
    let chooser = ByHost::new();
    assert_eq!(with(chooser.clone()), with(chooser.clone()));
    assert_ne!(with(chooser.clone()), with(ByHost::new()));
    assert_ne!(with(chooser), usual);
}
