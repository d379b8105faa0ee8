//! A server of parts that are none: a runtime, a listener and a socket of other kinds.

use http::{Request, Response};
use http_body_util::Full;
use portcullis_tokio::{Body, ServeConnection, Server, Tokio, TokioTimer};
use std::net::TcpStream;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
    Response::new(Full::new(b"hello"))
}

pub async fn start(listener: TcpListener) {
    Server::new(Tokio::current(), listener, hello).await;
}

pub async fn start_on(handle: Handle, listener: portcullis_tokio::TokioListener<TcpListener>) {
    Server::new(handle, listener, hello).await;
}

pub async fn serve(stream: TcpStream) {
    ServeConnection::<TokioTimer, _, _, _>::new(stream, Arc::default(), hello).await;
}
