//! The answers of the reference servers, and the service that hyper and portcullis share.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full};

/// The body of `/hello`.
pub const HELLO: &str = "Hello, world!";

/// The target of the websocket that sends each message back.
pub const ECHO: &str = "/ws";

/// The static bytes that `/bytes/N` repeats.
pub(super) const BLOCK: &[u8] = &[b'x'; 64 << 10];

/// The prefix of a target that asks for bytes.
const BYTES: &str = "/bytes/";

/// The target for `count` bytes.
pub fn bytes_target(count: u64) -> String {
    format!("{BYTES}{count}")
}

/// The number of bytes that a target asks for; `None` for other targets.
pub(super) fn bytes_count(target: &str) -> Option<u64> {
    target.strip_prefix(BYTES)?.parse().ok()
}

/// A body of a given length, lent from one static block.
pub(super) struct Repeat {
    left: u64,
}

impl Repeat {
    pub(super) fn new(count: u64) -> Self {
        Self { left: count }
    }
}

impl Body for Repeat {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.left.min(BLOCK.len() as u64);
        self.left -= length;
        let data = Bytes::from_static(&BLOCK[..length as usize]);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A short text, or bytes.
pub(super) type Content = Either<Full<Bytes>, Repeat>;

/// Answers one request with a body of any type.
pub(super) async fn answer<B: Body>(request: Request<B>) -> Response<Content> {
    let path = request.uri().path();
    match (request.method(), path, bytes_count(path)) {
        (&Method::GET, "/hello", _) => text(Bytes::from_static(HELLO.as_bytes())),
        (&Method::GET, _, Some(count)) => Response::new(Either::Right(Repeat::new(count))),
        (&Method::POST, "/sink", _) => match length(request.into_body()).await {
            Ok(length) => text(length.to_string().into()),
            Err(_) => refusal(StatusCode::BAD_REQUEST),
        },
        _ => refusal(StatusCode::NOT_FOUND),
    }
}

fn text(text: Bytes) -> Response<Content> {
    let mut response = Response::new(Either::Left(Full::new(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn refusal(status: StatusCode) -> Response<Content> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}

/// Reads a body to its end and counts its bytes.
pub(super) async fn length<B: Body>(body: B) -> Result<u64, B::Error> {
    let mut body = std::pin::pin!(body);
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, |data| data.remaining() as u64);
    }
    Ok(length)
}
