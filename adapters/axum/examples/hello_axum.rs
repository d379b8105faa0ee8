//! An axum application on portcullis: `cargo run -p portcullis-axum --example hello_axum`.

use axum::Router;
use axum::extract::{ConnectInfo, Path};
use axum::routing::get;
use std::net::SocketAddr;
use tokio::net::TcpListener;

async fn greet(Path(name): Path<String>, ConnectInfo(from): ConnectInfo<SocketAddr>) -> String {
    format!("Hello, {name} at {from}!\n")
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let app = Router::new().route("/greet/{name}", get(greet));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}, try /greet/you", listener.local_addr()?);
    portcullis_tokio::serve(listener, app).await?;
    Ok(())
}
