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
    let app = Router::new().route("/greet/{name}", get(greet));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("try http://{}/greet/you", listener.local_addr()?);
    portcullis_tokio::serve(listener, app).await?;
    Ok(())
}
