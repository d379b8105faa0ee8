//! hyper's HTTP/1 connection, as hyper's own examples use it, with its timers on.

use std::convert::Infallible;
use std::io;

use ::hyper::server::conn::http1;
use ::hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::content;

pub(super) async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new());
            let service =
                service_fn(async |request| Ok::<_, Infallible>(content::answer(request).await));
            // A connection that fails is the client's doing, and no one else is concerned.
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}
