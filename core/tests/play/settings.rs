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

static PROFILES: LazyLock<[Arc<Config>; 4]> =
    LazyLock::new(|| [tiny(), narrow(), Arc::new(Config::default()), Arc::new(Config::strict())]);

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
