//! A server to measure whether handlers of one HTTP/2 connection should be tasks of their own.
//!
//! | route | where the handler runs |
//! |---|---|
//! | `/here/N` | in the task of the connection, beside its other handlers |
//! | `/spawned/N` | in a task of its own, which is aborted when the stream is reset |
//!
//! Each does N units of work, of about a nanosecond, and then answers. Load it with
//! `h2load -c 1 -m 32 http://…/here/0`, for example.

use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use clap::Parser;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use portcullis_tokio::{Body, Config, serve};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::task::JoinHandle;

/// A server whose handlers run in the connection's task, or in tasks of their own
#[derive(Parser)]
struct Arguments {
    /// Worker threads of the multi-threaded runtime
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// A task that ends with its handler: dropping this aborts it.
struct Spawned<T>(JoinHandle<T>);

impl<T> Drop for Spawned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for Spawned<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(value) => Poll::Ready(value),
            // The task is aborted only when this is dropped, so it has panicked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

async fn answer(request: Request<Body>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let units = |text: &str| text.parse::<u64>().ok();
    if let Some(units) = path.strip_prefix("/here/").and_then(units) {
        work(units).await
    } else if let Some(units) = path.strip_prefix("/spawned/").and_then(units) {
        Spawned(tokio::spawn(work(units))).await
    } else {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }
}

async fn work(units: u64) -> Response<Full<Bytes>> {
    let mut state = 1_u64;
    for _ in 0..units {
        state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    Response::new(Full::new(Bytes::from_static(b"Hello, world!")))
}

async fn run() -> io::Result<()> {
    let config = Config::builder().set("requests_per_connection", "1000000000");
    let config = config.and_then(|builder| builder.build()).map_err(io::Error::other)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, answer).config(config).await.map(drop)
}

fn main() -> ExitCode {
    let Arguments { threads } = Arguments::parse();
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spawning: {error}");
            ExitCode::FAILURE
        }
    }
}
