//! portcullis on tokio, with its defaults except for the limits that a benchmark would reach.

use std::io;
use std::sync::Arc;

use ::portcullis::Config;
use http::{Request, Response};
use http_body_util::Either;
use portcullis_tokio::{Body, Upgrade, WebSocket, refuse_upgrade, serve as serve_on_tokio};
use rustls::ServerConfig;
use tokio::net::TcpListener;

use super::content::{self, Content, ECHO};

/// Idle connections must outlive a measurement, and one connection must take all of its requests.
/// The other servers have no such limits.
const SETTINGS: [(&str, &str); 2] =
    [("keep_alive_timeout", "60s"), ("requests_per_connection", "1000000000")];

pub(super) async fn serve(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    serve_on_tokio(listener, answer).config(config(tls)?).await.map(drop)
}

/// The configuration of every portcullis server in the comparison.
pub(super) fn config(tls: Option<Arc<ServerConfig>>) -> io::Result<Arc<Config>> {
    let mut builder = Config::builder();
    for (name, value) in SETTINGS {
        builder = builder.set(name, value).map_err(io::Error::other)?;
    }
    if let Some(tls) = tls {
        builder = builder.tls(tls);
    }
    builder.build().map(Arc::new).map_err(io::Error::other)
}

async fn answer(request: Request<Body>) -> Response<Content> {
    if request.uri().path() != ECHO {
        return content::answer(request).await;
    }
    match Upgrade::new(&request) {
        Ok(upgrade) => upgrade.accept(echo).map(Either::Left),
        Err(bad) => refuse_upgrade(bad).map(Either::Left),
    }
}

async fn echo(mut websocket: WebSocket) {
    while let Some(Ok(message)) = websocket.receive().await {
        if websocket.send(message).await.is_err() {
            return;
        }
    }
}
