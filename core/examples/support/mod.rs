//! The parts that all example drivers share: the application on top of the events, and the command
//! line.

pub(crate) mod app;

use portcullis::{Builder, Config};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

/// The address to listen on, and the settings: `[ADDRESS] [SETTING=VALUE]…`, for example
/// `127.0.0.1:0 keep_alive_timeout=1s`.
pub(crate) fn arguments() -> Result<(SocketAddr, Arc<Config>), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into()).parse()?;
    let config = arguments.try_fold(Config::builder(), |builder, argument| {
        let (name, value) = argument.split_once('=').unwrap_or((&argument, ""));
        builder.set(name, value)
    });
    Ok((address, Arc::new(config.and_then(Builder::build)?)))
}
