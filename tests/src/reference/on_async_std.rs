//! async-h1, as in tide, and portcullis on async-std. Connections are tasks of its global executor,
//! which has one thread here.

use std::future::Future;
use std::io::{self, Read};
use std::net::TcpListener as StdListener;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_global_executor::{GlobalExecutorConfig, init_with_config};
use async_std::io::{BufRead, Read as AsyncRead};
use async_std::net::{TcpListener, TcpStream};
use async_std::task;
use futures_lite::future::block_on;
use futures_lite::io::AsyncBufReadExt;
use http_types::{Body, Method, Request, Response, StatusCode};
use portcullis_async_std::serve;

use super::content::{self, BLOCK, HELLO};
use super::portcullis;

/// portcullis, with the same settings as on tokio.
pub(super) fn portcullis(listener: StdListener) -> io::Result<()> {
    let config = portcullis::config(None)?;
    run(async move {
        serve(TcpListener::from(listener), content::answer).config(config).await.map(drop)
    })
}

/// async-h1's connection, accepted as in tide, with `TCP_NODELAY` added.
pub(super) fn async_h1(listener: StdListener) -> io::Result<()> {
    run(async move {
        let listener = TcpListener::from(listener);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            task::spawn(connection(stream));
        }
    })
}

/// Runs a server on the executor until it ends.
fn run(server: impl Future<Output = io::Result<()>> + Send + 'static) -> io::Result<()> {
    // Must run before async-std starts the executor, with a thread for each core. No environment
    // variable can have the name `=`, so none overrides the number of threads.
    let config =
        GlobalExecutorConfig::default().with_env_var("=").with_min_threads(1).with_max_threads(1);
    init_with_config(config);
    // This thread only waits. async-std's own `block_on` would also serve connections here.
    block_on(task::spawn(server))
}

async fn connection(stream: TcpStream) {
    // Errors of a connection are its client's fault and don't concern the others.
    drop(::async_h1::accept(stream, answer).await);
}

/// [`content::answer`] in async-h1's types.
async fn answer(mut request: Request) -> http_types::Result<Response> {
    let path = request.url().path();
    Ok(match (request.method(), path, content::bytes_count(path)) {
        (Method::Get, "/hello", _) => text(HELLO),
        (Method::Get, _, Some(count)) => {
            let length = usize::try_from(count)?;
            let mut response = Response::new(StatusCode::Ok);
            response.set_body(Body::from_reader(Repeat { left: length }, Some(length)));
            response
        }
        (Method::Post, "/sink", _) => text(&length(&mut request).await?.to_string()),
        _ => Response::new(StatusCode::NotFound),
    })
}

fn text(text: &str) -> Response {
    let mut response = Response::new(StatusCode::Ok);
    response.set_body(text);
    response
}

/// Reads a body to its end and counts its bytes.
async fn length(body: &mut Request) -> io::Result<u64> {
    let mut length = 0;
    loop {
        let count = body.fill_buf().await?.len();
        if count == 0 {
            return Ok(length);
        }
        Pin::new(&mut *body).consume(count);
        length += count as u64;
    }
}

/// A body of a given length, lent from one static block.
struct Repeat {
    left: usize,
}

impl Repeat {
    fn lent(&self) -> &'static [u8] {
        &BLOCK[..self.left.min(BLOCK.len())]
    }
}

impl AsyncRead for Repeat {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = self.lent().read(buffer)?;
        self.left -= count;
        Poll::Ready(Ok(count))
    }
}

impl BufRead for Repeat {
    fn poll_fill_buf(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Poll::Ready(Ok(self.lent()))
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        self.left -= count;
    }
}
