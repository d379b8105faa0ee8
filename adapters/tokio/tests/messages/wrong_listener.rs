//! The listener is that of the standard library.

use http::{Request, Response};
use http_body_util::Full;
use portcullis_tokio::{Body, serve};
use std::net::TcpListener;

async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
    Response::new(Full::new(b"hello"))
}

pub async fn start(listener: TcpListener) {
    serve(listener, hello).await.unwrap();
}
