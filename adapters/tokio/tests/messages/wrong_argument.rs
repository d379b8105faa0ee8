//! The function takes axum's body, not portcullis's.

use http::{Request, Response};
use http_body_util::Full;
use portcullis_tokio::serve;
use tokio::net::TcpListener;

async fn hello(_: Request<String>) -> Response<Full<&'static [u8]>> {
    Response::new(Full::new(b"hello"))
}

pub async fn start(listener: TcpListener) {
    serve(listener, hello).await.unwrap();
}
