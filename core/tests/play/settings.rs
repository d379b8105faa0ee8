//! Configurations to play with: the two profiles, and some in which every limit is near.

use super::source::Source;
use portcullis::{Builder, Config, ConfigError};
use std::sync::{Arc, LazyLock};

/// Every limit small enough that a few fragments reach it.
pub(crate) const TINY: &[(&str, &str)] = &[
    ("request_head_limit", "256"),
    ("request_fields_limit", "6"),
    ("request_target_limit", "64"),
    ("request_body_limit", "300"),
    ("chunk_extension_limit", "8"),
    ("chunk_extensions_limit", "16"),
    ("trailers_limit", "64"),
    ("requests_per_connection", "3"),
    ("send_buffer_limit", "1024"),
    ("receive_buffer_limit", "1024"),
    ("response_head_limit", "1024"),
    ("linger_limit", "200"),
];

/// Small buffers, but content as long as it likes and many requests.
const NARROW: &[(&str, &str)] = &[
    ("request_head_limit", "512"),
    ("request_body_limit", "none"),
    ("chunk_extensions_limit", "1MiB"),
    ("chunk_extension_limit", "64KiB"),
    ("send_buffer_limit", "3000"),
    ("receive_buffer_limit", "2048"),
    ("response_head_limit", "1024"),
    ("linger_limit", "0"),
    ("keep_alive_timeout", "1ms"),
    ("request_head_timeout", "1ms"),
    ("request_body_rate", "1000000000000"),
    ("response_rate", "1"),
    ("drain_idle_timeout", "10s"),
    ("drain_timeout", "1s"),
];

/// Websockets may be compressed: only then are deflaters and inflaters within the bound of memory.
const DEFLATING: &[(&str, &str)] = &[("websocket_deflate", "true")];

/// Websockets on which everything is near, on top of [`TINY`].
const TINY_SOCKET: &[(&str, &str)] = &[
    ("websocket_message_limit", "300"),
    ("websocket_ping_interval", "2s"),
    ("websocket_pong_timeout", "1s"),
    ("websocket_close_timeout", "1s"),
    ("websocket_deflate", "on"),
];

/// Websockets without pings, on top of [`NARROW`].
const QUIET_SOCKET: &[(&str, &str)] = &[
    ("websocket_message_limit", "5000"),
    ("websocket_ping_interval", "none"),
    ("websocket_close_timeout", "1ms"),
];

/// Pings that need no answer.
const PROBED_SOCKET: &[(&str, &str)] =
    &[("websocket_ping_interval", "1s"), ("websocket_pong_timeout", "none")];

/// The end of idling alone.
const IDLE_SOCKET: &[(&str, &str)] = &[
    ("websocket_ping_interval", "none"),
    ("websocket_idle_timeout", "3s"),
    ("websocket_message_limit", "70000"),
];

static WEBSOCKET_PROFILES: LazyLock<[Arc<Config>; 6]> = LazyLock::new(|| {
    let valid =
        |changes: &[(&str, &str)]| with(&[DEFLATING, changes].concat()).expect("a valid profile");
    [
        valid(&[]),
        valid(&[TINY, TINY_SOCKET].concat()),
        valid(&[NARROW, QUIET_SOCKET].concat()),
        valid(PROBED_SOCKET),
        valid(IDLE_SOCKET),
        strict(),
    ]
});

static PROFILES: LazyLock<[Arc<Config>; 4]> =
    LazyLock::new(|| [tiny(), narrow(), Arc::new(Config::default()), strict()]);

/// The profile, without the age at which a connection drains by itself: here the player tells it to.
fn strict() -> Arc<Config> {
    let ageless = Builder::from(Config::strict()).connection_age_limit(None);
    Arc::new(ageless.build().expect("the strict profile is valid"))
}

/// Defaults but for `changes`.
pub(crate) fn with(changes: &[(&str, &str)]) -> Result<Arc<Config>, ConfigError> {
    let set = |builder: Builder, (name, value): &(&str, &str)| builder.set(name, value);
    let config = changes.iter().try_fold(Config::builder(), set)?.build()?;
    Ok(Arc::new(config))
}

pub(crate) fn tiny() -> Arc<Config> {
    with(TINY).expect("the tiny profile is valid")
}

pub(crate) fn narrow() -> Arc<Config> {
    with(NARROW).expect("the narrow profile is valid")
}

/// One of the configurations.
pub(crate) fn profile(source: &mut Source<'_>) -> Arc<Config> {
    Arc::clone(&PROFILES[source.below(PROFILES.len())])
}

/// One of the configurations for websockets.
pub(crate) fn websocket_profile(source: &mut Source<'_>) -> Arc<Config> {
    Arc::clone(&WEBSOCKET_PROFILES[source.below(WEBSOCKET_PROFILES.len())])
}

/// [`tiny`], for websockets.
pub(crate) fn tiny_websocket() -> Arc<Config> {
    Arc::clone(&WEBSOCKET_PROFILES[1])
}
