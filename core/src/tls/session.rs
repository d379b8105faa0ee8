//! One connection's TLS: its settings, its state, and the meaning of rustls's errors.

use super::estimate::{CERTIFICATE, Messages, RUSTLS, RUSTLS_HANDSHAKE, SETTINGS};
use super::hello::Progress;
use super::sealed::Sealed;
use crate::close::TlsFailure;
use crate::config::{Config, is_http};
use crate::output::Output;
use core::fmt;
use core::mem::{size_of, take};
use rustls::server::UnbufferedServerConnection;
use rustls::{Error, PeerMisbehaved, ProtocolVersion};
use std::io::IoSlice;

/// Bytes on their way in or out. They are kept apart, so that an idle connection needs no memory for
/// them.
#[derive(Debug, Default)]
pub(super) struct Transit {
    pub(super) sealed: Sealed,
    /// The first part of an incomplete record. Before it are bytes of opened records that rustls still
    /// needs.
    pub(super) pending: Vec<u8>,
    /// The number of bytes in `pending` that belong to opened records: an incomplete message.
    pub(super) opened: usize,
}

/// What is known of a handshake in progress.
#[derive(Debug)]
pub(super) struct Handshake {
    /// Bytes of the client's unencrypted records.
    pub(super) plain: u32,
    /// Bytes of the client's encrypted records.
    pub(super) protected: u32,
    /// Bytes of the records that rustls itself sent.
    pub(super) flight: u32,
    /// How much of the client's first message has come; `None` once it was read.
    pub(super) hello: Option<Progress>,
}

/// The longest name of a server: a label has a byte for its length, and the whole has 255 (RFC 1035 2.3.4).
pub(super) const NAME: usize = 255;

/// One connection's TLS.
pub(crate) struct Tls {
    pub(super) session: UnbufferedServerConnection,
    /// Bytes on their way; `None` most of the time.
    pub(super) transit: Option<Box<Transit>>,
    /// The handshake, as long as it is in progress.
    pub(super) handshake: Option<Box<Handshake>>,
    /// The server that the client asked for (SNI). rustls keeps the name as well, and does not tell it.
    pub(super) server_name: Option<Box<str>>,
    /// The settings serve HTTP, and not only other protocols.
    pub(super) serves_http: bool,
    /// The peer has sent its close_notify.
    pub(super) peer_closed: bool,
    /// No more records are sealed: our close_notify or an alert was the last.
    pub(super) ended: bool,
    /// The failure of this connection, after which no more records are opened.
    pub(super) failure: Option<TlsFailure>,
}

impl Tls {
    /// Begins a handshake, if `config` has settings for TLS.
    pub(crate) fn begin(config: &Config) -> Option<Result<Box<Self>, TlsFailure>> {
        let session = UnbufferedServerConnection::new(config.tls.usual()?.clone());
        let begin = |session| {
            Box::new(Tls {
                session,
                transit: None,
                handshake: Some(Box::new(Handshake {
                    plain: 0,
                    protected: 0,
                    flight: 0,
                    hello: Some(Progress::default()),
                })),
                server_name: None,
                serves_http: true,
                peer_closed: false,
                ended: false,
                failure: None,
            })
        };
        Some(session.map(begin).map_err(|_| TlsFailure::Unavailable))
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.handshake.is_some()
    }

    /// The protocol that was agreed on (RFC 7301).
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.session.alpn_protocol()
    }

    /// Whether HTTP was agreed on, or no other protocol.
    pub(super) fn speaks_http(&self) -> bool {
        self.serves_http && self.alpn().is_none_or(is_http)
    }

    /// Whether no byte has come from the peer yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.transit.is_none() && self.handshake.as_ref().is_some_and(|it| it.plain == 0)
    }

    /// Whether no record is incomplete, and no handshake is in progress.
    pub(crate) fn is_at_rest(&self) -> bool {
        let between = self.transit.as_ref().is_none_or(|transit| transit.pending.is_empty());
        between && (self.is_untouched() || !self.is_handshaking())
    }

    /// Whether the peer has sent its close_notify.
    pub(crate) fn is_closed_by_peer(&self) -> bool {
        self.peer_closed
    }

    /// Returns the failure, if there is one, only once.
    pub(crate) fn take_failure(&mut self) -> Option<TlsFailure> {
        take(&mut self.failure)
    }

    /// The number of sealed bytes that are not sent.
    pub(crate) fn unsent(&self) -> usize {
        self.transit.as_ref().map_or(0, |transit| transit.sealed.len())
    }

    /// Fills `slices` with the records to send next; returns how many slices were filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match (slices.first_mut(), &self.transit) {
            (Some(slice), Some(transit)) if !transit.sealed.is_empty() => {
                *slice = IoSlice::new(transit.sealed.bytes());
                1
            }
            _ => 0,
        }
    }

    /// The driver sent `bytes` of the records; returns how many there were at most.
    pub(crate) fn sent(&mut self, bytes: usize, output: &Output) -> usize {
        let Some(transit) = &mut self.transit else { return 0 };
        let bytes = bytes.min(transit.sealed.len());
        transit.sealed.sent(bytes);
        // While a driver works on the connection, more output is likely, so keep the buffer.
        if !output.is_borrowed() {
            self.release(output);
        }
        bytes
    }

    /// Frees the buffer if all records are sent and `output` is empty.
    pub(crate) fn release(&mut self, output: &Output) {
        if let Some(transit) = &mut self.transit
            && transit.sealed.is_empty()
            && output.is_empty()
        {
            transit.sealed.release();
            self.settle();
        }
    }

    /// Frees the transit if no bytes are on their way.
    pub(super) fn settle(&mut self) {
        let idle = |it: &Transit| it.sealed.is_empty() && it.pending.is_empty();
        if self.transit.as_deref().is_some_and(idle) {
            self.transit = None;
        }
    }

    /// The memory of the client's certificates, once it has proved that it owns them.
    pub(super) fn certificates(&self) -> usize {
        self.session.peer_certificates().map_or(0, |chain| {
            let bytes: usize = chain.iter().map(|certificate| certificate.len()).sum();
            let is_old = self.session.protocol_version() == Some(ProtocolVersion::TLSv1_2);
            let own = if is_old { CERTIFICATE / 2 } else { CERTIFICATE };
            bytes + chain.len().next_power_of_two().max(4) * own
        })
    }

    /// The heap memory of rustls, as an estimate.
    fn rustls(&self, config: &Config) -> usize {
        let Some(handshake) = &self.handshake else {
            return RUSTLS + self.certificates();
        };
        let messages = Messages {
            plain: handshake.plain as usize,
            protected: handshake.protected as usize,
            flight: handshake.flight as usize,
        };
        // In a resumed session the certificates come from the ticket, not from messages.
        let limit = config.tls_handshake_limit() as usize;
        let settings = if config.tls.may_copy() { SETTINGS } else { 0 };
        let own = size_of::<Handshake>() + settings;
        own + RUSTLS_HANDSHAKE + messages.memory(limit).max(self.certificates())
    }

    /// Bytes of heap, with an estimate for rustls.
    pub(crate) fn memory(&self, config: &Config) -> usize {
        let transit = self.transit.as_ref().map_or(0, |transit| {
            size_of::<Transit>() + transit.pending.capacity() + transit.sealed.memory()
        });
        let name = self.server_name.as_ref().map_or(0, |name| name.len());
        size_of::<Self>() + self.rustls(config) + transit + name
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("handshake", &self.handshake)
            .field("server_name", &self.server_name)
            .field("transit", &self.transit)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

/// Maps rustls's error to a failure of the connection.
pub(super) fn failure(error: &Error, handshaking: bool) -> TlsFailure {
    match error {
        Error::AlertReceived(_) => TlsFailure::Alert,
        Error::PeerMisbehaved(
            PeerMisbehaved::TooManyEmptyFragments
            | PeerMisbehaved::TooManyKeyUpdateRequests
            | PeerMisbehaved::TooManyRenegotiationRequests
            | PeerMisbehaved::TooManyWarningAlertsReceived,
        ) => TlsFailure::Flood,
        _ if handshaking => TlsFailure::Handshake,
        _ => TlsFailure::Record,
    }
}
