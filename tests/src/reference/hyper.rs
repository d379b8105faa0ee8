//! hyper's HTTP/1 connection with its timers, and tokio-rustls for TLS, as in hyper's own examples.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use ::hyper::server::conn::http1;
use ::hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::content;

pub(super) async fn serve(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match acceptor.clone() {
            None => {
                tokio::spawn(answer(stream));
            }
            Some(acceptor) => {
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer(stream).await;
                    }
                });
            }
        }
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    let service = service_fn(async |request| Ok::<_, Infallible>(content::answer(request).await));
    // Errors of a connection are its client's fault and don't concern the others.
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}
