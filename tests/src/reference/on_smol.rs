//! hyper, through smol-hyper, and portcullis on smol. Connections are tasks of one executor, which
//! this thread runs.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;

use ::hyper::server::conn::http1;
use ::hyper::service::service_fn;
use portcullis_smol::serve_on;
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, block_on};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::{content, portcullis};

/// portcullis, with the same settings as on tokio.
pub(super) fn portcullis(listener: StdListener) -> io::Result<()> {
    let executor = Arc::new(Executor::new());
    let listener = TcpListener::try_from(listener)?;
    let config = portcullis::config(None)?;
    let server = serve_on(executor.clone(), listener, content::answer).config(config);
    block_on(executor.run(server)).map(drop)
}

/// hyper's HTTP/1 connection with its timers, as on tokio.
pub(super) fn hyper(listener: StdListener) -> io::Result<()> {
    let executor = Executor::new();
    let listener = TcpListener::try_from(listener)?;
    block_on(executor.run(async {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            executor.spawn(answer(stream)).detach();
        }
    }))
}

async fn answer(stream: TcpStream) {
    let mut builder = http1::Builder::new();
    builder.timer(SmolTimer::new());
    let service = service_fn(async |request| Ok::<_, Infallible>(content::answer(request).await));
    // Errors of a connection are its client's fault and don't concern the others.
    drop(builder.serve_connection(FuturesIo::new(stream), service).await);
}
