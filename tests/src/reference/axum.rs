//! axum's router and its `serve`.

use std::io;

use ::axum::Router;
use ::axum::body::Body;
use ::axum::extract::Path;
use ::axum::http::StatusCode;
use ::axum::routing::{get, post};
use ::axum::serve::ListenerExt;
use tokio::net::TcpListener;

use super::content::{HELLO, Repeat, length};

pub(super) async fn serve(listener: TcpListener) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        // Fails if the connection is gone already, which the first read reports.
        drop(stream.set_nodelay(true));
    });
    ::axum::serve(listener, routes()).await
}

fn routes() -> Router {
    Router::new()
        .route("/hello", get(|| async { HELLO }))
        .route("/bytes/{count}", get(bytes))
        .route("/sink", post(sink))
}

async fn bytes(Path(count): Path<u64>) -> Body {
    Body::new(Repeat::new(count))
}

async fn sink(body: Body) -> Result<String, StatusCode> {
    let length = length(body).await.map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(length.to_string())
}
