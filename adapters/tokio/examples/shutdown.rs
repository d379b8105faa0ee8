//! Shuts down gracefully on Ctrl-C: nothing more is accepted, and a request in progress is finished. Try it with
//! `curl http://127.0.0.1:8080/`, which takes three seconds.

use http::{Request, Response};
use portcullis_tokio::{Body, Config, serve};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;

async fn slow(_: Request<Body>) -> Response<String> {
    sleep(Duration::from_secs(3)).await;
    Response::new("done\n".to_owned())
}

async fn interrupted() {
    // If the signal can't be heard, the server runs on.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    // Clients that take longer are cut off.
    let config = Config::builder().drain_timeout(Duration::from_secs(10)).build()?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let server = serve(listener, slow).config(config).with_graceful_shutdown(interrupted());
    let report = server.await?;
    println!("{} connections finished, {} were cut", report.finished, report.cut);
    Ok(())
}
