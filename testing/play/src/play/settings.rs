//! Configurations to play with: the profiles, some in which every limit is near, and random ones.

use super::source::Source;
use portcullis::{Builder, Config, ConfigError};
use std::sync::{Arc, LazyLock};

/// Limits small enough that a few fragments reach each of them.
pub const TINY: &[(&str, &str)] = &[
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

/// Small buffers, but unlimited content and many requests.
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

/// Websockets may be compressed. Only then does the memory bound include deflaters and inflaters.
const DEFLATING: &[(&str, &str)] = &[("websocket_deflate", "true")];

/// Websockets with near limits and timeouts, on top of [`TINY`].
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

/// Only the idle timeout ends a websocket.
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

/// The strict profile without the age limit at which a connection drains by itself. Here the player
/// drains it.
fn strict() -> Arc<Config> {
    let ageless = Builder::from(Config::strict()).connection_age_limit(None);
    Arc::new(ageless.build().expect("the strict profile is valid"))
}

/// The defaults with `changes`.
pub fn with(changes: &[(&str, &str)]) -> Result<Arc<Config>, ConfigError> {
    let set = |builder: Builder, (name, value): &(&str, &str)| builder.set(name, value);
    let config = changes.iter().try_fold(Config::builder(), set)?.build()?;
    Ok(Arc::new(config))
}

/// HTTP/2 with near limits, on top of [`TINY`] or [`NARROW`].
const TINY_HTTP2: &[(&str, &str)] = &[
    ("requests_per_connection", "20"),
    ("http2_concurrent_streams", "3"),
    ("http2_header_list_limit", "1KiB"),
    ("http2_header_fields_limit", "8"),
    ("http2_header_table_size", "100"),
];

static HTTP2_PROFILES: LazyLock<[Arc<Config>; 4]> = LazyLock::new(|| {
    let valid = |changes: &[(&str, &str)]| with(changes).expect("a valid profile");
    [
        valid(&[]),
        valid(&[TINY, TINY_HTTP2, TINY_SOCKET].concat()),
        valid(&[NARROW, QUIET_SOCKET, &[("http2_header_table_size", "64KiB")]].concat()),
        strict(),
    ]
});

/// A profile for HTTP/2.
pub fn http2_profile(source: &mut Source<'_>) -> Arc<Config> {
    let profiles = &*HTTP2_PROFILES;
    profiles[source.below(profiles.len())].clone()
}

pub fn tiny() -> Arc<Config> {
    with(TINY).expect("the tiny profile is valid")
}

pub fn narrow() -> Arc<Config> {
    with(NARROW).expect("the narrow profile is valid")
}

/// First bytes from here on ask for a random configuration. It is a multiple of the numbers of
/// profiles, so that a smaller first byte still selects the profile that it always did.
const DRAWN: u8 = 120;

/// How a random value is written.
#[derive(Clone, Copy)]
enum Unit {
    Number,
    /// Milliseconds.
    Time,
    Switch,
}

/// The random settings: name, unit, bounds, and whether the setting may be absent. Settings that
/// have to agree with others are not listed.
const DRAWABLE: &[(&str, Unit, u64, u64, bool)] = &[
    ("keep_alive_timeout", Unit::Time, 1, 100_000, false),
    ("request_head_timeout", Unit::Time, 1, 100_000, false),
    ("request_body_grace", Unit::Time, 1, 100_000, false),
    ("request_body_silence", Unit::Time, 1, 100_000, false),
    ("request_body_deadline", Unit::Time, 1, 1_000_000, true),
    ("response_grace", Unit::Time, 1, 100_000, false),
    ("response_silence", Unit::Time, 1, 100_000, false),
    ("response_deadline", Unit::Time, 1, 1_000_000, true),
    ("peer_gone_timeout", Unit::Time, 1, 100_000, false),
    ("connection_age_limit", Unit::Time, 1, 1_000_000, true),
    ("linger_timeout", Unit::Time, 1, 100_000, false),
    ("linger_silence", Unit::Time, 1, 100_000, false),
    ("drain_timeout", Unit::Time, 1, 100_000, false),
    ("drain_idle_timeout", Unit::Time, 1, 100_000, false),
    ("websocket_ping_interval", Unit::Time, 1, 100_000, true),
    ("websocket_pong_timeout", Unit::Time, 1, 100_000, true),
    ("websocket_close_timeout", Unit::Time, 1, 100_000, false),
    ("websocket_idle_timeout", Unit::Time, 1, 100_000, true),
    ("tunnel_idle_timeout", Unit::Time, 1, 100_000, false),
    ("request_body_rate", Unit::Number, 1, 1 << 40, false),
    ("response_rate", Unit::Number, 1, 1 << 40, false),
    ("request_head_limit", Unit::Number, 64, 64 << 10, false),
    ("request_fields_limit", Unit::Number, 1, 256, false),
    ("request_target_limit", Unit::Number, 1, 64 << 10, false),
    ("request_body_limit", Unit::Number, 0, 1 << 20, true),
    ("trailers_limit", Unit::Number, 64, 64 << 10, false),
    ("requests_per_connection", Unit::Number, 1, 1000, false),
    ("send_buffer_limit", Unit::Number, 1024, 256 << 10, false),
    ("receive_buffer_limit", Unit::Number, 1024, 256 << 10, false),
    ("response_head_limit", Unit::Number, 1024, 64 << 10, false),
    ("linger_limit", Unit::Number, 0, 1 << 20, true),
    ("websocket_message_limit", Unit::Number, 1, 1 << 20, false),
    ("websocket_deflate", Unit::Switch, 0, 1, false),
    ("keep_alive_hint", Unit::Switch, 0, 1, false),
];

/// A number in `low..=high`, with all orders of magnitude above `low` equally frequent.
fn log_uniform(byte: u8, low: u64, high: u64) -> u64 {
    // In steps of a quarter of a power of two.
    let quarters = (high - low).max(1).ilog2() * 4 + 8;
    let place = u32::from(byte) * quarters / 256;
    let above = (u64::from(4 + place % 4) << (place / 4) >> 2).saturating_sub(1);
    low + above.min(high - low)
}

/// A profile with random values for some settings.
fn draw(source: &mut Source<'_>, profiles: &[Arc<Config>]) -> Arc<Config> {
    let base = &profiles[source.below(profiles.len())];
    let mut builder = Builder::from(Config::clone(base));
    for _ in 0..source.below(16) {
        let choice = source.below(DRAWABLE.len() + 1);
        let byte = source.byte();
        let Some((name, unit, low, high, may_be_absent)) = DRAWABLE.get(choice) else {
            // All extensions together may have as much room as those of one chunk, or more.
            let one = log_uniform(byte, 0, 64 << 10);
            let all = (one << (byte % 5)).min(1 << 20);
            builder = builder.chunk_extension_limit(one).chunk_extensions_limit(all);
            continue;
        };
        let value = log_uniform(byte, *low, *high);
        let text = match unit {
            _ if *may_be_absent && byte == u8::MAX => "none".to_owned(),
            Unit::Number => value.to_string(),
            Unit::Time => format!("{value}ms"),
            Unit::Switch => if byte.is_multiple_of(2) { "off" } else { "on" }.to_owned(),
        };
        builder = builder.set(name, &text).expect("a value of its kind");
    }
    Arc::new(builder.build().expect("in range, and without contradiction"))
}

/// The configuration and habits of a session.
pub struct Play {
    pub config: Arc<Config>,
    /// Time also passes within a step: calls are made later than the last tick.
    pub restless: bool,
    /// The driver sometimes lends a buffer.
    pub lends: bool,
}

/// Chooses one of the profiles, or a random configuration with a driver of more habits.
fn play(source: &mut Source<'_>, profiles: &[Arc<Config>]) -> Play {
    let first = source.byte();
    if first < DRAWN {
        let config = Arc::clone(&profiles[usize::from(first) % profiles.len()]);
        return Play { config, restless: false, lends: false };
    }
    let config = draw(source, profiles);
    Play { config, restless: first & 1 != 0, lends: first & 2 != 0 }
}

/// Chooses for a session of HTTP.
pub fn session(source: &mut Source<'_>) -> Play {
    play(source, &*PROFILES)
}

/// Chooses for a session of websockets.
pub fn websocket_session(source: &mut Source<'_>) -> Play {
    play(source, &*WEBSOCKET_PROFILES)
}

/// Chooses one of the profiles.
pub fn profile(source: &mut Source<'_>) -> Arc<Config> {
    Arc::clone(&PROFILES[source.below(PROFILES.len())])
}

/// The largest message of a session that is repeated with many cuts. Inflating 16 MiB each time
/// would take seconds.
const CUT_MESSAGE: u64 = 1 << 20;

/// Chooses one of the profiles for websockets.
pub fn websocket_profile(source: &mut Source<'_>) -> Arc<Config> {
    let profile = &*WEBSOCKET_PROFILES[source.below(WEBSOCKET_PROFILES.len())];
    let limit = profile.websocket_message_limit().min(CUT_MESSAGE);
    let builder = Builder::from(profile.clone()).websocket_message_limit(limit);
    Arc::new(builder.build().expect("a smaller limit is valid"))
}

/// [`tiny`], for websockets.
pub fn tiny_websocket() -> Arc<Config> {
    Arc::clone(&WEBSOCKET_PROFILES[1])
}
