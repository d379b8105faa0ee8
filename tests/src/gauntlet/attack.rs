//! One kind of attack, as data.

use std::fmt;
use std::pin::Pin;

use super::Failure;
use super::expect::Expect;
use super::notes::Seen;
use super::peer::Peer;

/// Plays one attacker, and returns what the attacker saw.
pub(super) type Play = fn(Peer) -> Pin<Box<dyn Future<Output = Result<Seen, Failure>> + Send>>;

/// One kind of attack, or one kind of client that must live.
pub struct Attack {
    /// The name for `--only` and the table.
    pub name: &'static str,
    /// The row of `attacks.md`, such as `14` or `L2`.
    pub row: &'static str,
    /// The protocol that is attacked.
    pub protocol: Protocol,
    /// The runtimes and transports on which a full run plays it.
    pub places: Places,
    /// Settings of the server, such as `keep_alive_timeout=1s`. The others have their defaults.
    pub settings: &'static [&'static str],
    /// How many attackers there are, each with a connection of its own.
    pub attackers: usize,
    /// How much of the machine the attack needs.
    pub weight: Weight,
    /// The descriptor limit of the server, if it is lower than usual.
    pub descriptors: Option<u32>,
    /// Whether the server serves a folder with a large directory instead of the demo.
    pub files: bool,
    /// All attackers come from one address.
    pub one_address: bool,
    /// An attacker stops the server's process, so the latency of the healthy client says nothing.
    pub stops: bool,
    /// What must happen.
    pub expect: &'static [Expect],
    pub(super) play: Play,
}

/// The protocol that an attack speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Only TCP, or the beginning of a TLS handshake.
    Tcp,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// A websocket over HTTP/1.1.
    WebSocket,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::WebSocket => "WebSocket",
        })
    }
}

/// How much of the machine an attack needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It mostly waits: several of these run at the same time.
    Light,
    /// It keeps a core busy, or its latencies matter: it runs alone.
    Heavy,
    /// As many attackers as `--connections` says, alone.
    Crowd,
}

/// The runtime of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// tokio
    Tokio,
    /// smol
    Smol,
    /// async-std
    AsyncStd,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
            Self::AsyncStd => "async-std",
        })
    }
}

/// A runtime, with TLS or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The runtime.
    pub runtime: Runtime,
    /// Whether the server speaks TLS.
    pub tls: bool,
}

impl Place {
    /// All places: each runtime, without TLS first.
    pub const ALL: [Self; 6] = [
        Self { runtime: Runtime::Tokio, tls: false },
        Self { runtime: Runtime::Tokio, tls: true },
        Self { runtime: Runtime::Smol, tls: false },
        Self { runtime: Runtime::Smol, tls: true },
        Self { runtime: Runtime::AsyncStd, tls: false },
        Self { runtime: Runtime::AsyncStd, tls: true },
    ];
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls { ", TLS" } else { "" };
        f.pad(&format!("{}{tls}", self.runtime))
    }
}

/// The places of an attack. An attack on sockets, timers or buffers is played on each runtime. An
/// attack that the state machine answers from bytes alone is played on tokio only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// Each runtime, with TLS and without.
    All,
    /// Each runtime without TLS.
    Plain,
    /// Each runtime with TLS.
    Tls,
    /// tokio, with TLS and without.
    Tokio,
    /// tokio without TLS.
    TokioPlain,
    /// tokio with TLS.
    TokioTls,
}

impl Places {
    /// Whether a full run plays the attack at this place.
    pub fn has(self, place: Place) -> bool {
        let tokio = place.runtime == Runtime::Tokio;
        match self {
            Self::All => true,
            Self::Plain => !place.tls,
            Self::Tls => place.tls,
            Self::Tokio => tokio,
            Self::TokioPlain => tokio && !place.tls,
            Self::TokioTls => tokio && place.tls,
        }
    }

    /// Whether the attack makes sense with TLS, or without it.
    pub fn suits(self, tls: bool) -> bool {
        match self {
            Self::All | Self::Tokio => true,
            Self::Plain | Self::TokioPlain => !tls,
            Self::Tls | Self::TokioTls => tls,
        }
    }
}
