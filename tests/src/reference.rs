//! Small servers to compare with: the same routes on several stacks.
//!
//! | route | answer | who has it |
//! |---|---|---|
//! | `GET /hello` | `Hello, world!`, text/plain | all but those for websockets; the bare one whatever the target |
//! | `GET /bytes/N` | N bytes from one static block, `Content-Length: N` | hyper, axum, portcullis |
//! | `POST /sink` | the length of the request's body, in decimal | hyper, axum, portcullis |
//! | `GET /ws` | a websocket that sends each message back | fastwebsockets, tungstenite, portcullis |
//!
//! hyper and portcullis also speak TLS, with the same provider and the same kind of certificate.
//!
//! Each is written the way its documentation shows, with `TCP_NODELAY` on, and nothing more: what
//! is compared is the stack, not the application.

mod axum;
mod bare;
mod content;
mod fastwebsockets;
mod hyper;
mod portcullis;
pub(crate) mod tls;
mod tungstenite;

use std::fmt;
use std::io;
use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

pub use content::{ECHO, HELLO, bytes_target};

use crate::cores;

/// What a reference server is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stack {
    /// A loop on tokio that answers every head with the same bytes: the floor.
    Bare,
    /// hyper's HTTP/1 connection with hyper-util's adapters.
    Hyper,
    /// axum's router and its `serve`.
    Axum,
    /// fastwebsockets over hyper's upgrade.
    Fastwebsockets,
    /// tokio-tungstenite.
    Tungstenite,
    /// portcullis on tokio.
    Portcullis,
}

impl Stack {
    /// Whether this server can be had over TLS.
    pub fn has_tls(self) -> bool {
        match self {
            Self::Hyper | Self::Portcullis => true,
            // axum's `serve` has none; the others are for plaintext here.
            Self::Bare | Self::Axum | Self::Fastwebsockets | Self::Tungstenite => false,
        }
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "bare",
            Self::Hyper => "hyper",
            Self::Axum => "axum",
            Self::Fastwebsockets => "fastwebsockets",
            Self::Tungstenite => "tungstenite",
            Self::Portcullis => "portcullis",
        })
    }
}

/// How to run a reference server.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// What the server is built on
    pub stack: Stack,
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Over TLS, with a certificate made at start
    #[arg(long)]
    pub tls: bool,
    /// Worker threads; one means the current-thread runtime
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Run on this processor core only
    #[arg(long)]
    pub core: Option<usize>,
}

/// Serves until the process is ended; prints `listening on http://…` (or `https`) once connections
/// are accepted.
pub fn serve(options: &Options) -> io::Result<()> {
    if let Some(core) = options.core {
        cores::pin(core)?;
    }
    if options.tls && !options.stack.has_tls() {
        let missing = format!("{} has no TLS here", options.stack);
        return Err(io::Error::new(io::ErrorKind::Unsupported, missing));
    }
    let tls = options.tls.then(tls::server_config).transpose()?;
    runtime(options.threads)?.block_on(async {
        let listener = TcpListener::bind(options.listen).await?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        println!("listening on {scheme}://{}", listener.local_addr()?);
        match options.stack {
            Stack::Bare => bare::serve(listener).await,
            Stack::Hyper => hyper::serve(listener, tls).await,
            Stack::Axum => axum::serve(listener).await,
            Stack::Fastwebsockets => fastwebsockets::serve(listener).await,
            Stack::Tungstenite => tungstenite::serve(listener).await,
            Stack::Portcullis => portcullis::serve(listener, tls).await,
        }
    })
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    match threads {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_refused_where_there_is_none() {
        for stack in [Stack::Bare, Stack::Axum] {
            let listen = "127.0.0.1:0".parse().expect("an address");
            let options = Options { stack, listen, tls: true, threads: 1, core: None };
            let error = serve(&options).expect_err("no TLS");
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
        }
    }
}
