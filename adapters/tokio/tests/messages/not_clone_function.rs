//! A function cannot be cloned, since it owns what cannot.

use http::{Request, Response};
use http_body_util::Full;
use portcullis_tokio::{Body, serve};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;

pub async fn start(listener: TcpListener) {
    let counter = AtomicU64::new(0);
    let count = move |_: Request<Body>| {
        let count = counter.fetch_add(1, Ordering::Relaxed);
        async move { Response::new(Full::new(if count == 0 { "first" } else { "later" }.as_bytes())) }
    };
    serve(listener, count).await.unwrap();
}
