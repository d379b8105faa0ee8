//! Server-sent events: tells every browser that looks at the page what time it is, each second.

use axum::Router;
use axum::response::Html;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::stream::{Stream, unfold};
use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::time::{Interval, interval};

const PAGE: &str = "<!doctype html><title>Clock</title><p id=clock>
<script>
    new EventSource('/ticks').onmessage = tick => clock.textContent = tick.data
</script>";

/// The stream is dropped when its client has gone.
async fn ticks() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    async fn next(mut second: Interval) -> Option<(Result<Event, Infallible>, Interval)> {
        second.tick().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Some((Ok(Event::default().data(now.as_secs().to_string())), second))
    }
    Sse::new(unfold(interval(Duration::from_secs(1)), next)).keep_alive(KeepAlive::default())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let app = Router::new().route("/", get(async || Html(PAGE))).route("/ticks", get(ticks));
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    portcullis_tokio::serve(listener, app).await?;
    Ok(())
}
