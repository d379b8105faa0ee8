//! portcullis on tokio, with its defaults but for what a benchmark outlasts.

use std::io;
use std::sync::Arc;

use ::portcullis::Config;
use portcullis_tokio::serve as serve_on_tokio;
use rustls::ServerConfig;
use tokio::net::TcpListener;

use super::content;

/// Idle connections outlast a measurement, and one connection takes all of its requests: the other
/// servers have no such limits.
const SETTINGS: [(&str, &str); 2] =
    [("keep_alive_timeout", "60s"), ("requests_per_connection", "1000000000")];

pub(super) async fn serve(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    let mut builder = Config::builder();
    for (name, value) in SETTINGS {
        builder = builder.set(name, value).map_err(io::Error::other)?;
    }
    if let Some(tls) = tls {
        builder = builder.tls(tls);
    }
    let config = Arc::new(builder.build().map_err(io::Error::other)?);
    serve_on_tokio(listener, config, content::answer).await;
    Ok(())
}
