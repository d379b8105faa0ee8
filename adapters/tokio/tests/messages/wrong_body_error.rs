//! The error of the answer's content is no error type.

use http::{Request, Response};
use http_body::Frame;
use portcullis_tokio::{Body, serve};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::TcpListener;

struct Content;

struct Broken;

impl http_body::Body for Content {
    type Data = &'static [u8];
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<&'static [u8]>, Broken>>> {
        Poll::Ready(Some(Err(Broken)))
    }
}

async fn content(_: Request<Body>) -> Response<Content> {
    Response::new(Content)
}

pub async fn start(listener: TcpListener) {
    serve(listener, content).await.unwrap();
}
