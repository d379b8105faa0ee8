//! The function returns what is no response.

use http::Request;
use portcullis_tokio::{Body, serve};
use tokio::net::TcpListener;

async fn hello(_: Request<Body>) -> &'static str {
    "hello"
}

pub async fn start(listener: TcpListener) {
    serve(listener, hello).await.unwrap();
}
