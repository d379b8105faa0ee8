//! TLS in a configuration: rustls's settings, and what chooses among several of them.

use core::fmt;
use rustls::server::ClientHello;
use rustls::{AlertDescription, ServerConfig};
use std::sync::Arc;

/// Chooses the TLS settings of each connection by the client's first message.
///
/// The choice is made once for a connection, when its whole ClientHello has arrived, within a call of
/// [`Connection::receive`](crate::Connection::receive). So it must not block: settings that have to be
/// fetched are fetched beforehand. It is made for resumed sessions as well.
///
/// With it, hosts can differ in whether they ask for a client's certificate, in their protocol versions, or in
/// their certificates. If only certificates differ, [`ResolvesServerCert`] is enough.
///
/// # Trust
///
/// - The first message counts. A client may have to send a second one (a HelloRetryRequest, RFC 8446 4.1.4), which
///   rustls refuses if it names another server. But it may offer other protocols or cipher suites. So demand
///   less of a client only for the name that it asks for.
/// - A client may send requests for any host on its connection, not only for the one that it named
///   (RFC 9110 7.4). If hosts ask for different certificates, compare
///   [`TlsInfo::server_name`](crate::TlsInfo::server_name) with the host of each request, and answer 421 if they
///   differ.
/// - Settings with different demands on clients must not share `session_storage` or `ticketer`: a session that
///   began under one of them could be resumed under the other, without the certificate that it asks for.
///
/// # ACME
///
/// Settings whose `alpn_protocols` are `acme-tls/1` answer the challenge TLS-ALPN-01 (RFC 8737). Settings that
/// name only protocols that are not HTTP serve no HTTP, whatever the client offers: after the handshake the
/// connection is closed in good order
/// ([`CloseReason::OtherProtocol`](crate::CloseReason::OtherProtocol)).
///
/// ```
/// use portcullis::rustls::ServerConfig;
/// use portcullis::rustls::server::ClientHello;
/// use portcullis::{ChooseTls, Config, TlsChoice};
/// use std::sync::Arc;
///
/// #[derive(Debug)]
/// struct Acme {
///     /// Its `alpn_protocols` are `acme-tls/1`, and its resolver has the certificates for the challenge.
///     challenge: Arc<ServerConfig>,
/// }
///
/// impl ChooseTls for Acme {
///     fn choose(&self, hello: ClientHello<'_>) -> TlsChoice {
///         let is_challenge = hello.alpn().is_some_and(|offered| offered.eq([b"acme-tls/1"]));
///         if is_challenge { TlsChoice::Other(self.challenge.clone()) } else { TlsChoice::Usual }
///     }
/// }
///
/// fn config(usual: Arc<ServerConfig>, acme: Acme) -> Config {
///     Config::builder().tls(usual).choose_tls(Arc::new(acme)).build().expect("valid")
/// }
/// ```
///
/// [`ResolvesServerCert`]: rustls::server::ResolvesServerCert
pub trait ChooseTls: fmt::Debug + Send + Sync {
    /// Chooses by the client's first message.
    fn choose(&self, hello: ClientHello<'_>) -> TlsChoice;
}

/// What a [`ChooseTls`] has chosen.
#[derive(Clone, Debug)]
pub enum TlsChoice {
    /// The settings of [`Builder::tls`](crate::Builder::tls).
    Usual,
    /// These settings. Early data and ALPN are changed in a copy as by [`Builder::tls`](crate::Builder::tls). But if
    /// `alpn_protocols` names protocols, and none that is HTTP, only these are offered. No more tickets are sent
    /// than two, or than under the usual settings.
    Other(Arc<ServerConfig>),
    /// No settings: the client is sent this alert, and the connection closes
    /// ([`TlsFailure::Refused`](crate::TlsFailure::Refused)). `UnrecognisedName` and `AccessDenied` are usual.
    Refuse(AlertDescription),
}

/// The names of HTTP's versions in ALPN that we can speak.
const HTTP: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];

/// The number of tickets that any settings may send.
const TICKETS: usize = 2;

/// Settings that were chosen for a client.
pub(crate) struct Chosen {
    pub(crate) config: Arc<ServerConfig>,
    /// They serve HTTP, and not only other protocols.
    pub(crate) serves_http: bool,
}

/// TLS in a configuration: rustls's settings, or no TLS.
#[derive(Clone, Default)]
pub(crate) struct TlsSettings {
    usual: Option<Arc<ServerConfig>>,
    chooser: Option<Arc<dyn ChooseTls>>,
    /// The protocols that we speak, the preferred one first.
    spoken: &'static [&'static [u8]],
}

impl TlsSettings {
    pub(crate) fn set(&mut self, config: Arc<ServerConfig>) {
        self.usual = Some(config);
    }

    pub(crate) fn choose_by(&mut self, chooser: Arc<dyn ChooseTls>) {
        self.chooser = Some(chooser);
    }

    /// Whether there is a chooser, and nothing that it would be an exception from.
    pub(crate) fn lacks_usual(&self) -> bool {
        self.chooser.is_some() && self.usual.is_none()
    }

    /// Offers the protocols that we speak by ALPN, and switches early data off.
    pub(crate) fn prepare(&mut self, http1: bool, http2: bool) {
        self.spoken = match (http1, http2) {
            (true, true) => &HTTP,
            (false, true) => &[b"h2"],
            (_, false) => &[b"http/1.1", b"http/1.0"],
        };
        if let Some(usual) = &mut self.usual {
            adapt(usual, self.spoken, usize::MAX);
        }
    }

    /// The settings of connections that nothing else is chosen for.
    pub(crate) fn usual(&self) -> Option<&Arc<ServerConfig>> {
        self.usual.as_ref()
    }

    /// The settings for a client. `None` for the usual ones.
    pub(crate) fn choose(
        &self,
        hello: ClientHello<'_>,
    ) -> Result<Option<Chosen>, AlertDescription> {
        match self.chooser.as_ref().map(|chooser| chooser.choose(hello)) {
            None | Some(TlsChoice::Usual) => Ok(None),
            Some(TlsChoice::Other(mut config)) => {
                let named = &config.alpn_protocols;
                let serves_http = named.is_empty() || named.iter().any(|name| is_http(name));
                let spoken = if serves_http { self.spoken } else { &[] };
                adapt(&mut config, spoken, self.tickets());
                Ok(Some(Chosen { config, serves_http }))
            }
            Some(TlsChoice::Refuse(alert)) => Err(alert),
        }
    }

    /// The most tickets that a connection is sent.
    pub(crate) fn tickets(&self) -> usize {
        let usual = self.usual.as_ref();
        let usual = usual.map_or(0, |it| it.send_tls13_tickets.max(it.max_tls13_tickets));
        if self.chooser.is_some() { usual.max(TICKETS) } else { usual }
    }

    /// Whether tickets may carry the client's certificates. Otherwise they are keys to stored sessions.
    pub(crate) fn tickets_carry_certificates(&self) -> bool {
        self.chooser.is_some() || self.usual.as_ref().is_some_and(|it| it.ticketer.enabled())
    }

    /// Whether settings may be copied for a connection.
    pub(crate) fn may_copy(&self) -> bool {
        self.chooser.is_some()
    }
}

/// Whether this protocol is HTTP in one of the versions that we speak.
pub(crate) fn is_http(protocol: &[u8]) -> bool {
    HTTP.contains(&protocol)
}

/// Changes what has to be different for us, in a copy if `config` is shared: the protocols that are HTTP, early
/// data, which could be replayed (RFC 8446 8), and the number of tickets, which is at most `tickets`.
fn adapt(config: &mut Arc<ServerConfig>, spoken: &[&[u8]], tickets: usize) {
    let own = config.alpn_protocols.iter().map(Vec::as_slice).filter(|name| !is_http(name));
    let offered = spoken.iter().copied().chain(own);
    let is_right = offered.clone().eq(config.alpn_protocols.iter().map(Vec::as_slice))
        && config.max_early_data_size == 0
        && config.send_tls13_tickets.max(config.max_tls13_tickets) <= tickets;
    if !is_right {
        let offered = offered.map(<[u8]>::to_vec).collect();
        let config = Arc::make_mut(config);
        config.alpn_protocols = offered;
        config.max_early_data_size = 0;
        config.send_tls13_tickets = config.send_tls13_tickets.min(tickets);
        config.max_tls13_tickets = config.max_tls13_tickets.min(tickets);
    }
}

impl crate::config::Config {
    /// Whether connections speak TLS.
    pub fn has_tls(&self) -> bool {
        self.tls.usual.is_some()
    }
}

impl PartialEq for TlsSettings {
    fn eq(&self, other: &Self) -> bool {
        let choosers = (self.chooser.as_ref(), other.chooser.as_ref());
        self.usual.as_ref().map(Arc::as_ptr) == other.usual.as_ref().map(Arc::as_ptr)
            && match choosers {
                (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
                (ours, theirs) => ours.is_none() && theirs.is_none(),
            }
    }
}

impl Eq for TlsSettings {}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (&self.usual, &self.chooser) {
            (None, _) => "none",
            (Some(_), None) => "given",
            (Some(_), Some(_)) => "chosen",
        })
    }
}
