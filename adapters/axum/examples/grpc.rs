//! gRPC and a page on one port: tonic's health service beside a route of axum. Try it with
//! `curl http://127.0.0.1:8080/` and `grpcurl -plaintext 127.0.0.1:8080 grpc.health.v1.Health/Check`.

use axum::routing::get;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic_health::server::health_reporter;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    // Without the reporter, the status of the server as a whole stays at SERVING.
    let (_reporter, health) = health_reporter();
    let app = Routes::new(health).into_axum_router();
    let app = app.route("/", get(async || "ask me by gRPC how I am\n"));
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    portcullis_tokio::serve(listener, app).await?;
    Ok(())
}
