//! Every limit and every timeout: its name, unit, default, tighter value and source.
//!
//! [`settings!`] and the table after it are the only place where a setting is declared. The fields,
//! the getters, the builder and the settings by name (`keep_alive_timeout=1s`) all come from it.

mod stress;
#[cfg(feature = "tls")]
mod tls;
mod value;

use crate::rate::MinimumRate;
use core::fmt;
use core::time::Duration;
pub(crate) use stress::EIGHTHS;
pub use stress::Stress;
#[cfg(feature = "tls")]
use tls::TlsSettings;
#[cfg(feature = "tls")]
pub(crate) use tls::is_http;
#[cfg(feature = "tls")]
pub use tls::{ChooseTls, TlsChoice};
use value::Value;
pub use value::{ConnectionLimit, MemoryLimit};

/// The stand-in where TLS is not compiled in: there is nothing to set.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsSettings;

#[cfg(not(feature = "tls"))]
impl Config {
    /// Whether connections speak TLS: not without the feature.
    pub fn has_tls(&self) -> bool {
        false
    }
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * 1024;

/// A setting as programs list or explain it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Setting {
    /// The name that [`Builder::set`] takes.
    pub name: &'static str,
    /// One sentence on what the setting does.
    pub about: &'static str,
    /// Where the default comes from.
    pub source: &'static str,
    default: fn(&Config) -> String,
}

impl Setting {
    /// The setting's value in `config`, as text that [`Builder::set`] understands.
    pub fn value(&self, config: &Config) -> String {
        (self.default)(config)
    }
}

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no setting with this name.
    UnknownSetting {
        /// The name that was given.
        name: String,
    },
    /// The text cannot be read as a value of the setting's kind.
    Malformed {
        /// The setting.
        setting: &'static str,
        /// The text that was given.
        value: String,
        /// The kind of value that was expected.
        expected: &'static str,
    },
    /// The value lies outside the range that the setting allows.
    OutOfRange {
        /// The setting.
        setting: &'static str,
        /// The value that was given.
        value: String,
        /// The smallest value allowed.
        least: String,
        /// The largest value allowed.
        most: String,
    },
    /// Two settings contradict each other.
    Contradiction {
        /// The setting that is too large.
        setting: &'static str,
        /// The setting that it must not exceed.
        bound: &'static str,
    },
    /// Both `http1` and `http2` are off: no client could speak with the server.
    NoProtocol,
    /// There is a [`Builder::choose_tls`] without a [`Builder::tls`].
    NoTls,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::UnknownSetting { name } => {
                write!(f, "there is no setting `{name}`; the settings are ")?;
                for (place, setting) in Config::settings().iter().enumerate() {
                    let comma = if place == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", setting.name)?;
                }
                Ok(())
            }
            ConfigError::Malformed { setting, value, expected } => {
                write!(f, "`{value}` is no value for {setting}: expected {expected}")
            }
            ConfigError::OutOfRange { setting, value, least, most } => {
                write!(f, "{setting} must lie between {least} and {most}, not {value}")
            }
            ConfigError::Contradiction { setting, bound } => {
                write!(f, "{setting} must not exceed {bound}")
            }
            ConfigError::NoProtocol => {
                f.write_str("http1 and http2 are both off, so no client could be served")
            }
            ConfigError::NoTls => f.write_str(
                "choose_tls chooses exceptions from the settings of tls, and there are none",
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

/// A value of the table as the documentation shows it to people: `16 KiB`, `60 s`.
macro_rules! printed {
    (secs($seconds:literal)) => { concat!($seconds, " s") };
    (millis($milliseconds:literal)) => { concat!($milliseconds, " ms") };
    (MILLISECOND) => { "1 ms" };
    (DAY) => { "1 day" };
    (KIB) => { "1 KiB" };
    (MIB) => { "1 MiB" };
    ($number:literal * KIB) => { concat!($number, " KiB") };
    ($number:literal * MIB) => { concat!($number, " MiB") };
    (u64::MAX) => { "2^64 - 1" };
    (u64::MAX / 4) => { "2^62 - 1" };
    (true) => { "on" };
    (false) => { "off" };
    (None) => { "none" };
    (Some($($value:tt)+)) => { printed!($($value)+) };
    (ConnectionLimit::Count($count:literal)) => { stringify!($count) };
    (ConnectionLimit::DescriptorsPercent($percent:literal)) => { concat!($percent, " %") };
    (MemoryLimit::Bytes($bytes:literal)) => { stringify!($bytes) };
    (MemoryLimit::Percent($percent:literal)) => { concat!($percent, " %") };
    ($number:literal) => { stringify!($number) };
}

macro_rules! settings {
    (@or [$($default:tt)+]) => { $($default)+ };
    (@or [$($default:tt)+] [$($proxied:tt)+]) => { $($proxied)+ };
    ($(
        $(#[doc = $about:literal])+
        $name:ident: $kind:ty = [$($default:tt)+], strict [$($strict:tt)+], $(proxied [$($proxied:tt)+],)? within [$($least:tt)+]..=[$($most:tt)+], from $source:literal;
    )+) => {
        /// The limits and timeouts of a connection; share one between all of them in an `Arc`.
        ///
        /// Made by [`Config::default`], [`Config::strict`] or [`Config::proxied`], or by a [`Builder`].
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Config {
            $($name: $kind,)+
            pub(crate) tls: TlsSettings,
        }

        impl Default for Config {
            fn default() -> Self {
                Config { $($name: $($default)+,)+ tls: TlsSettings::default() }
            }
        }

        impl Config {
            /// The tighter profile, for servers on the open internet.
            pub fn strict() -> Self {
                Config { $($name: $($strict)+,)+ tls: TlsSettings::default() }
            }

            /// The profile for servers behind nginx, HAProxy or a cloud balancer. These keep idle
            /// connections for 60 s, and buffer for slow clients in both directions.
            pub fn proxied() -> Self {
                Config {
                    $($name: settings!(@or [$($default)+] $([$($proxied)+])?),)+
                    tls: TlsSettings::default(),
                }
            }

            /// All settings, in the order of their declaration.
            pub fn settings() -> &'static [Setting] {
                &[$(Setting {
                    name: stringify!($name),
                    about: concat!($($about, "\n"),+),
                    source: $source,
                    default: |config| Value::text(&config.$name),
                },)+]
            }

            $(
                $(#[doc = $about])+
                #[doc = ""]
                #[doc = concat!("Default ", printed!($($default)+), ", strict ", printed!($($strict)+), $(", proxied ", printed!($($proxied)+),)? "; allowed ", printed!($($least)+), " to ", printed!($($most)+), ". Source: ", $source, ".")]
                pub fn $name(&self) -> $kind {
                    self.$name
                }
            )+

            fn check_ranges(&self) -> Result<(), ConfigError> {
                $(
                    let (least, most): ($kind, $kind) = ($($least)+, $($most)+);
                    if !Value::lies_between(&self.$name, &least, &most) {
                        return Err(ConfigError::OutOfRange {
                            setting: stringify!($name),
                            value: Value::text(&self.$name),
                            least: Value::text(&least),
                            most: Value::text(&most),
                        });
                    }
                )+
                Ok(())
            }
        }

        impl Builder {
            $(
                $(#[doc = $about])+
                #[doc = ""]
                #[doc = concat!("Default ", printed!($($default)+), ", strict ", printed!($($strict)+), $(", proxied ", printed!($($proxied)+),)? "; allowed ", printed!($($least)+), " to ", printed!($($most)+), ". Source: ", $source, ".")]
                pub fn $name(mut self, value: $kind) -> Self {
                    self.config.$name = value;
                    self
                }
            )+

            /// Changes a setting by its name, from text: `1s`, `250ms`; `16MiB`, `4096`. `none`
            /// switches a setting off that may be absent.
            ///
            /// # Errors
            /// [`ConfigError::UnknownSetting`], whose text lists the valid names, or
            /// [`ConfigError::Malformed`]. Ranges are checked by [`Builder::build`].
            pub fn set(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
                match name {
                    $(stringify!($name) => {
                        self.config.$name = <$kind as Value>::parse(value).ok_or_else(|| ConfigError::Malformed {
                            setting: stringify!($name),
                            value: value.to_owned(),
                            expected: <$kind as Value>::EXPECTED,
                        })?;
                    })+
                    _ => return Err(ConfigError::UnknownSetting { name: name.to_owned() }),
                }
                Ok(self)
            }
        }
    };
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// How many silences a peer may need to read a lump that its system took at once.
const LUMP: u32 = 4;

const MILLISECOND: Duration = millis(1);
const DAY: Duration = secs(24 * 60 * 60);

settings! {
    /// How long the TLS handshake may take, from accept to its end. Progress does not extend it.
    tls_handshake_timeout: Duration = [secs(60)], strict [secs(10)], proxied [secs(10)], within [MILLISECOND]..=[DAY], from "Hypercorn `ssl_handshake_timeout`, nginx `client_header_timeout` (60 s)";
    /// Bytes of records that the client may send before the TLS handshake is complete, and bytes of a later handshake message that spans records.
    tls_handshake_limit: u64 = [16 * KIB], strict [8 * KIB], within [KIB]..=[128 * KIB], from "BoringSSL's limit of a handshake message without certificates";
    /// How long a connection may stay open while nothing of a request has arrived: after accept and between requests.
    keep_alive_timeout: Duration = [secs(5)], strict [secs(5)], proxied [secs(75)], within [MILLISECOND]..=[DAY], from "Hypercorn `keep_alive_timeout`; behind a proxy, nginx and AWS balancers (60 s), and a quarter more";
    /// Whether answers announce how long an idle connection is kept: `Keep-Alive: timeout=N`. N is a second less than `keep_alive_timeout`, so that no client sends a request to a connection that is being closed. Below 2 s nothing is announced.
    keep_alive_hint: bool = [false], strict [false], within [false]..=[true], from "Node.js (`keepAliveTimeoutBuffer`, 1 s)";
    /// How long a request head may take from its first byte to its end. Progress does not extend it. Answer: 408.
    request_head_timeout: Duration = [secs(10)], strict [secs(5)], within [MILLISECOND]..=[DAY], from "Apache `mod_reqtimeout` (10 s to 20 s)";
    /// How long the peer may take to send the first byte of content that the application waits for. The minimum rate is not enforced before this time has passed.
    request_body_grace: Duration = [secs(5)], strict [secs(5)], within [MILLISECOND]..=[DAY], from "Kestrel `MinRequestBodyDataRate`";
    /// Bytes per second of content that the peer has to send on average while the application waits for them. Answer: 408. Over HTTP/2 silence alone counts once the answer has begun, and for gRPC: such content is one side of a conversation.
    request_body_rate: u64 = [240], strict [240], within [1]..=[u64::MAX], from "Kestrel `MinRequestBodyDataRate`";
    /// How long the peer may pause within content that the application waits for, however much it has sent before. Answer: 408.
    request_body_silence: Duration = [secs(30)], strict [secs(10)], proxied [secs(10)], within [MILLISECOND]..=[DAY], from "half of nginx `client_body_timeout` (60 s)";
    /// How long a whole request body may take, however fast it moves, or none. Time counts only while the application waits for content. Answer: 408. `Stream::limit_body_time` changes it for one request.
    request_body_deadline: Option<Duration> = [None], strict [Some(secs(600))], proxied [None], within [Some(MILLISECOND)]..=[Some(DAY)], from "the time in which 240 B/s bring 144 kB";
    /// How long the peer may take none of the bytes that wait to be sent. The minimum rate is not enforced before this time has passed.
    response_grace: Duration = [secs(5)], strict [secs(5)], within [MILLISECOND]..=[DAY], from "Kestrel `MinResponseDataRate`";
    /// Bytes per second that the peer has to take on average while there are unsent bytes. Answer: reset.
    response_rate: u64 = [240], strict [240], within [1]..=[u64::MAX], from "Kestrel `MinResponseDataRate`";
    /// How long the peer may pause while there are unsent bytes, however much it has taken before. The peer's system takes bytes in lumps, and asks for more only once its application has read them. So each lump adds the time that it is worth at `response_rate`, at most four times this setting. Answer: reset.
    response_silence: Duration = [secs(30)], strict [secs(10)], proxied [secs(10)], within [MILLISECOND]..=[DAY], from "half of nginx `send_timeout` (60 s)";
    /// How long the peer may take for a whole answer, however fast it moves, or none. Time counts only while bytes wait for the peer. Answer: reset. `Stream::limit_response_time` changes it for one request.
    response_deadline: Option<Duration> = [None], strict [None], within [Some(MILLISECOND)]..=[Some(DAY)], from "a large download on a slow link may take hours";
    /// How long a handler may go on after the peer has sent its FIN, while the peer takes nothing. The handler is told of the FIN at once, and is dropped when the time has passed.
    peer_gone_timeout: Duration = [secs(60)], strict [secs(10)], proxied [secs(10)], within [MILLISECOND]..=[DAY], from "Linux `tcp_fin_timeout` (60 s)";
    /// How old a connection may become before it drains, or none. An idle one is kept until `keep_alive_timeout`, and answers one more request.
    connection_age_limit: Option<Duration> = [None], strict [Some(secs(3600))], proxied [Some(secs(3600))], within [Some(MILLISECOND)]..=[Some(DAY)], from "nginx `keepalive_time` (1 h)";
    /// How long input is discarded after the last answer, so that no RST destroys the answer on its way (RFC 9112 9.6). More input does not extend it.
    linger_timeout: Duration = [secs(30)], strict [secs(10)], proxied [secs(30)], within [MILLISECOND]..=[DAY], from "nginx `lingering_time` (30 s)";
    /// How long the peer may send nothing while its input is discarded.
    linger_silence: Duration = [secs(5)], strict [secs(2)], proxied [secs(5)], within [MILLISECOND]..=[DAY], from "nginx `lingering_timeout` (5 s)";
    /// How many bytes of input are discarded after the last answer before the connection is closed, or none for no limit.
    linger_limit: Option<u64> = [None], strict [None], within [Some(0)]..=[Some(u64::MAX)], from "nginx: time bounds it, bytes do not";
    /// How long a websocket may be silent before it is pinged (RFC 6455 5.5.2), or none.
    websocket_ping_interval: Option<Duration> = [Some(secs(20))], strict [Some(secs(20))], within [Some(MILLISECOND)]..=[Some(DAY)], from "Python `websockets` (`ping_interval`), Hypercorn `websocket_ping_interval`";
    /// How long a websocket may stay silent after a ping, or none. Answer: 1011.
    websocket_pong_timeout: Option<Duration> = [Some(secs(20))], strict [Some(secs(20))], within [Some(MILLISECOND)]..=[Some(DAY)], from "Python `websockets` (`ping_timeout`)";
    /// How long the peer may take to answer our close of its websocket (RFC 6455 7.1.1).
    websocket_close_timeout: Duration = [secs(5)], strict [secs(2)], within [MILLISECOND]..=[DAY], from "half of Python `websockets` (`close_timeout`, 10 s)";
    /// How long a websocket may go without a message in either direction, or none. Answer: 1001.
    websocket_idle_timeout: Option<Duration> = [None], strict [Some(secs(300))], within [Some(MILLISECOND)]..=[Some(DAY)], from "Undertow, API Gateway (10 min), halved";
    /// How long a tunnel may be silent, in both directions, while its application waits for the peer's bytes. A tunnel
    /// is what an accepted CONNECT or upgrade becomes. Answer: reset.
    tunnel_idle_timeout: Duration = [secs(3600)], strict [secs(300)], within [MILLISECOND]..=[DAY], from "HAProxy `timeout tunnel` (1 h); strict: Envoy `stream_idle_timeout` (5 min)";
    /// How long a draining connection may take to finish the exchanges in progress.
    drain_timeout: Duration = [secs(30)], strict [secs(30)], within [MILLISECOND]..=[DAY], from "Kubernetes `terminationGracePeriodSeconds`";
    /// How long an idle connection that drains waits for a request that may be on its way.
    drain_idle_timeout: Duration = [millis(500)], strict [millis(500)], within [MILLISECOND]..=[DAY], from "two round trips of a distant client";

    /// Bytes of a request head: request line, field lines and the empty line. Answer: 431.
    request_head_limit: u64 = [16 * KIB], strict [8 * KIB], within [64]..=[64 * KIB], from "Node.js `--max-http-header-size`";
    /// Field lines of a request head or of trailers. Answer: 431.
    request_fields_limit: u64 = [100], strict [64], within [1]..=[256], from "Apache `LimitRequestFields`, hyper (100)";
    /// Bytes of a request target, both as it was sent and percent-encoded for the application; never more than the head may have. Answer: 414.
    request_target_limit: u64 = [8 * KIB], strict [8 * KIB], within [1]..=[MIB], from "RFC 9110 4.1 (at least 8000), nginx";
    /// Bytes of a request's content, or none. Answer: 413. `Stream::limit_body` changes it for one request.
    request_body_limit: Option<u64> = [Some(16 * MIB)], strict [Some(MIB)], within [Some(0)]..=[Some(u64::MAX)], from "Hypercorn `wsgi_max_body_size` (16 MiB)";
    /// Bytes of the extensions of one chunk. Leading zeros that make its size longer than 16 digits count as well. Answer: 400.
    chunk_extension_limit: u64 = [256], strict [64], within [0]..=[64 * KIB], from "CVE-2023-39326 (Go)";
    /// Bytes of the extensions of all chunks of a body together. Answer: 400.
    chunk_extensions_limit: u64 = [4 * KIB], strict [KIB], within [0]..=[MIB], from "CVE-2023-39326 (Go)";
    /// Bytes of a trailer section. Answer: 400.
    trailers_limit: u64 = [4 * KIB], strict [2 * KIB], within [64]..=[64 * KIB], from "a quarter of a head";
    /// Requests on one connection. The last one is answered with `Connection: close`.
    requests_per_connection: u64 = [1000], strict [100], within [1]..=[u64::MAX], from "Hypercorn `keep_alive_max_requests`, nginx `keepalive_requests`";
    /// Unsent bytes of an answer at which the application has to wait (backpressure).
    /// Four times as many make a single fast download a tenth faster, and let each connection hold as much.
    send_buffer_limit: u64 = [60 * KIB], strict [32 * KIB], within [KIB]..=[64 * MIB], from "64 KiB, less what would make a write just exceed the largest segment (65,483 bytes on loopback)";
    /// Bytes that one call of `Connection::receive` may bring, and so the most that is held unread.
    /// While the application waits for content, one call may bring up to four times as many.
    receive_buffer_limit: u64 = [64 * KIB], strict [32 * KIB], within [KIB]..=[64 * MIB], from "one socket read of a fast peer";
    /// Bytes of a websocket's message, before and after it is inflated. Memory grows as the message arrives. Answer: 1009.
    websocket_message_limit: u64 = [16 * MIB], strict [64 * KIB], within [1]..=[u64::MAX / 4], from "Hypercorn `websocket_max_message_size` (16 MiB)";
    /// Whether websockets compress their messages if the client can (RFC 7692). A compressor takes 380 KB while it is used.
    websocket_deflate: bool = [false], strict [false], within [false]..=[true], from "nginx and Node.js `ws` (off unless asked for)";
    /// Bytes of the head, or of the trailers, that the application may give an answer.
    response_head_limit: u64 = [32 * KIB], strict [16 * KIB], within [KIB]..=[MIB], from "twice a request head";

    /// Whether clients may speak HTTP/1.1, and websockets over it. Without it they have to begin with HTTP/2, with prior knowledge in plaintext.
    http1: bool = [true], strict [true], within [false]..=[true], from "every client speaks it";
    /// Whether clients may choose HTTP/2: by ALPN over TLS, by the preface in plaintext (RFC 9113 3).
    http2: bool = [true], strict [true], within [false]..=[true], from "every browser speaks it";
    /// Streams that a client may have open at once (RFC 9113 5.1.2). Answer: REFUSED_STREAM.
    http2_concurrent_streams: u64 = [100], strict [32], within [1]..=[1000], from "RFC 9113 6.5.2 (at least 100), nginx (128)";
    /// Bytes of a decoded list of fields, of which each counts 32 more than its name and value (RFC 9113 6.5.2). Answer: 431.
    http2_header_list_limit: u64 = [64 * KIB], strict [16 * KIB], within [KIB]..=[64 * KIB], from "a quarter of what Chromium and nghttp2 allow";
    /// Fields of a request over HTTP/2, of which each crumb of a cookie is one. Answer: 431.
    http2_header_fields_limit: u64 = [256], strict [128], within [8]..=[1024], from "a browser with 90 crumbs of cookies and 15 fields";
    /// Bytes of the table from which the client's fields are decoded (RFC 7541 4.2).
    http2_header_table_size: u64 = [4 * KIB], strict [4 * KIB], within [0]..=[64 * KIB], from "RFC 9113 6.5.2 (4,096)";
    /// How long the client may take to acknowledge our SETTINGS (RFC 9113 6.5.3). Answer: SETTINGS_TIMEOUT.
    http2_settings_ack_timeout: Duration = [secs(10)], strict [secs(10)], within [MILLISECOND]..=[DAY], from "Go `net/http2`, as long as a head may take";

    /// How many connections are served at once: a number, or a share of the descriptors that the process may open. At the limit a newcomer waits for a connection that can leave, and is refused if none can.
    max_connections: ConnectionLimit = [ConnectionLimit::DescriptorsPercent(75)], strict [ConnectionLimit::DescriptorsPercent(50)], proxied [ConnectionLimit::DescriptorsPercent(75)], within [ConnectionLimit::Count(1)]..=[ConnectionLimit::DescriptorsPercent(100)], from "the rest is for files and upstream connections";
    /// How long newcomers wait for a place, since there was one last, before they are refused: with 503 in plaintext, without an answer over TLS.
    newcomer_timeout: Duration = [secs(1)], strict [secs(1)], within [MILLISECOND]..=[DAY], from "a handler that takes longer keeps its place for longer";
    /// The memory of all connections together: a size, or a share of what the process may use.
    connections_memory: MemoryLimit = [MemoryLimit::Percent(25)], strict [MemoryLimit::Percent(25)], within [MemoryLimit::Bytes(1)]..=[MemoryLimit::Percent(100)], from "the rest is for the application and the system";
    /// The percentage of `max_connections` that may come from one prefix of addresses. More are refused.
    prefix_share: u64 = [95], strict [50], within [1]..=[100], from "some are left for others; behind a NAT or a proxy one address is many clients";
    /// New connections a second that may come from one prefix, or none for no limit. More are refused. As many as come in a second may come at once.
    prefix_rate: Option<u64> = [None], strict [Some(100)], proxied [None], within [Some(1)]..=[Some(1_000_000)], from "a proxy without keep-alive makes a connection for each request";
    /// The bits of an IPv4 address that make up its prefix.
    prefix_ipv4_bits: u64 = [32], strict [32], within [8]..=[32], from "one customer has one address";
    /// The bits of an IPv6 address that make up its prefix.
    prefix_ipv6_bits: u64 = [56], strict [56], within [16]..=[128], from "RIPE-690 (a customer has a /56, or a /48)";
    /// The percentage of `max_connections` that may be within a TLS handshake. More wait, or are refused.
    handshakes_share: u64 = [50], strict [25], within [1]..=[100], from "an established connection is worth more than one that begins";
    /// The pressure, in percent, above which timers that wait for peers shrink. At 100 % they are at 1 s, or at their usual time if that is less.
    pressure_shrink_timers: u64 = [50], strict [50], within [1]..=[100], from "half of what there is";
    /// The pressure, in percent, above which connections are not kept for another request.
    pressure_end_keep_alive: u64 = [80], strict [80], within [1]..=[100], from "before anything is closed";
    /// The pressure, in percent, above which idle connections are closed, the longest idle first.
    pressure_close_idle: u64 = [90], strict [90], within [1]..=[100], from "a tenth is kept for newcomers";
    /// The pressure, in percent, above which connections that wait for their peer are closed: first those that hold most for longest.
    pressure_close_waiting: u64 = [95], strict [95], within [1]..=[100], from "half of the last tenth";
    /// How long a TCP connection is idle before the system probes whether the peer is still there (TCP keepalive), or none. It then sends four probes within a minute.
    tcp_keepalive: Option<Duration> = [Some(secs(60))], strict [Some(secs(60))], within [Some(secs(1))]..=[Some(secs(32767))], from "a vanished host is noticed within two minutes";
}

/// Builds a [`Config`], and checks it.
///
/// ```
/// use core::time::Duration;
/// use portcullis::Config;
///
/// let config = Config::builder()
///     .keep_alive_timeout(Duration::from_secs(2))
///     .set("request_body_limit", "16MiB")?
///     .build()?;
/// assert_eq!(config.request_body_limit(), Some(16 << 20));
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// Speaks TLS on connections, with the caller's certificates and choices. Without this call,
    /// connections are plaintext.
    ///
    /// The copy of `config` that is used differs in two things. ALPN (RFC 7301) offers `h2`, unless
    /// [`http2`](Self::http2) is off, and `http/1.1` and `http/1.0`, unless [`http1`](Self::http1) is off, whichever of
    /// these `config` names. Then come the other names in its `alpn_protocols`: a connection that agrees on one
    /// of these, such as `acme-tls/1`, is closed after the handshake. A client that offers only unknown
    /// protocols is refused with `no_application_protocol`; a client that offers no protocol is served. Early
    /// data is off, since it could be replayed.
    ///
    /// Sessions are resumed as `config` says. By default rustls keeps 256 of them, shared between
    /// all copies of `config`; with a `ticketer` it keeps none. With TLS the bytes out differ from
    /// run to run, since rustls draws random numbers. Events do not differ.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: std::sync::Arc<rustls::ServerConfig>) -> Self {
        self.config.tls.set(config);
        self
    }

    /// Chooses the TLS settings of each connection by the client's first message. Those of [`tls`](Self::tls) are
    /// the usual ones, and have to be given as well.
    #[cfg(feature = "tls")]
    pub fn choose_tls(mut self, chooser: std::sync::Arc<dyn ChooseTls>) -> Self {
        self.config.tls.choose_by(chooser);
        self
    }

    /// Returns the configuration, if its values are in range and agree with each other.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`], [`ConfigError::Contradiction`], [`ConfigError::NoProtocol`] or
    /// [`ConfigError::NoTls`].
    pub fn build(self) -> Result<Config, ConfigError> {
        #[cfg_attr(not(feature = "tls"), allow(unused_mut))]
        let mut config = self.config;
        config.check_ranges()?;
        if !config.http1 && !config.http2 {
            return Err(ConfigError::NoProtocol);
        }
        #[cfg(feature = "tls")]
        {
            if config.tls.lacks_usual() {
                return Err(ConfigError::NoTls);
            }
            config.tls.prepare(config.http1, config.http2);
        }
        if config.chunk_extension_limit > config.chunk_extensions_limit {
            return Err(ConfigError::Contradiction {
                setting: "chunk_extension_limit",
                bound: "chunk_extensions_limit",
            });
        }
        for (setting, value, bound, limit) in [
            (
                "pressure_shrink_timers",
                config.pressure_shrink_timers,
                "pressure_end_keep_alive",
                config.pressure_end_keep_alive,
            ),
            (
                "pressure_end_keep_alive",
                config.pressure_end_keep_alive,
                "pressure_close_idle",
                config.pressure_close_idle,
            ),
            (
                "pressure_close_idle",
                config.pressure_close_idle,
                "pressure_close_waiting",
                config.pressure_close_waiting,
            ),
        ] {
            if value > limit {
                return Err(ConfigError::Contradiction { setting, bound });
            }
        }
        Ok(config)
    }
}

impl Config {
    /// Starts from the defaults.
    pub fn builder() -> Builder {
        Config::default().into()
    }

    pub(crate) fn request_body_minimum(&self) -> MinimumRate {
        MinimumRate {
            grace: self.request_body_grace,
            bytes_per_second: self.request_body_rate,
            silence: self.request_body_silence,
            lump: Duration::ZERO,
            total: self.request_body_deadline,
        }
    }

    pub(crate) fn response_minimum(&self) -> MinimumRate {
        MinimumRate {
            grace: self.response_grace,
            bytes_per_second: self.response_rate,
            silence: self.response_silence,
            lump: self.response_silence.saturating_mul(LUMP),
            total: self.response_deadline,
        }
    }
}

impl From<Config> for Builder {
    /// Starts from a configuration, for example from [`Config::strict`].
    fn from(config: Config) -> Self {
        Builder { config }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_profiles_are_valid() {
        assert_eq!(Config::builder().build(), Ok(Config::default()));
        for profile in [Config::strict(), Config::proxied()] {
            assert_eq!(Builder::from(profile.clone()).build(), Ok(profile));
        }
    }

    #[test]
    fn every_setting_reads_back_what_it_writes() {
        for config in [Config::default(), Config::strict(), Config::proxied()] {
            for setting in Config::settings() {
                let text = setting.value(&config);
                let again =
                    Builder::from(config.clone()).set(setting.name, &text).expect(setting.name);
                assert_eq!(again.build().as_ref(), Ok(&config), "{} = {text}", setting.name);
            }
        }
    }

    #[test]
    fn settings_by_name_from_text() {
        let config = Config::builder()
            .set("keep_alive_timeout", "1s")
            .and_then(|it| it.set("request_head_timeout", "250ms"))
            .and_then(|it| it.set("request_head_limit", "8KiB"))
            .and_then(|it| it.set("request_body_limit", "none"))
            .and_then(|it| it.set("tcp_keepalive", "off"))
            .and_then(|it| it.set("request_body_rate", "100"))
            .and_then(Builder::build)
            .expect("valid");
        assert_eq!(config.keep_alive_timeout(), secs(1));
        assert_eq!(config.request_head_timeout(), millis(250));
        assert_eq!(config.request_head_limit(), 8 * KIB);
        assert_eq!((config.request_body_limit(), config.tcp_keepalive()), (None, None));
        assert_eq!(config.request_body_rate(), 100);
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = Config::builder().set("keep_alive", "1s").unwrap_err();
        for setting in Config::settings() {
            assert!(unknown.to_string().contains(setting.name), "{unknown}");
        }
        for (name, value) in [
            ("keep_alive_timeout", "5"),
            ("keep_alive_timeout", "none"),
            ("keep_alive_timeout", ""),
            ("request_head_limit", "-1"),
            ("request_head_limit", "1.5.2KiB"),
            ("request_head_limit", "none"),
        ] {
            let error = Config::builder().set(name, value).unwrap_err();
            assert!(matches!(error, ConfigError::Malformed { .. }), "{name}={value}: {error}");
        }
        let zero = Config::builder().keep_alive_timeout(Duration::ZERO).build().unwrap_err();
        assert_eq!(zero.to_string(), "keep_alive_timeout must lie between 1ms and 1day, not 0s");
        let extension = Config::builder().chunk_extension_limit(8 * KIB).build().unwrap_err();
        assert_eq!(
            extension.to_string(),
            "chunk_extension_limit must not exceed chunk_extensions_limit"
        );
    }
}
