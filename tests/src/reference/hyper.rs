//! hyper's HTTP/1 connection with its timers, and its HTTP/2 connection, and tokio-rustls for TLS, as in hyper's own examples.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use ::hyper::server::conn::{http1, http2};
use ::hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::content;

pub(super) async fn serve(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        let stream = accept(&listener).await?;
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

/// Serves HTTP/2 with prior knowledge, or by ALPN over TLS.
pub(super) async fn serve_h2(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
) -> io::Result<()> {
    let acceptor = tls.map(|tls| {
        let mut tls = ServerConfig::clone(&tls);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(tls))
    });
    loop {
        let stream = accept(&listener).await?;
        match acceptor.clone() {
            None => {
                tokio::spawn(answer_h2(stream));
            }
            Some(acceptor) => {
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer_h2(stream).await;
                    }
                });
            }
        }
    }
}

async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    let service = service_fn(async |request| Ok::<_, Infallible>(content::answer(request).await));
    // Errors of a connection are its client's fault and don't concern the others.
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

async fn answer_h2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new());
    let service =
        service_fn(|request| async { Ok::<_, Infallible>(content::answer(request).await) });
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}
