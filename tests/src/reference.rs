//! Small servers to compare with: the same routes on several stacks.
//!
//! | route | answer | who has it |
//! |---|---|---|
//! | `GET /hello` | `Hello, world!`, text/plain | all but those for websockets; the bare one whatever the target |
//! | `GET /bytes/N` | N bytes from one static block, `Content-Length: N` | hyper, axum, portcullis |
//! | `POST /sink` | the length of the request's body, in decimal | hyper, axum, portcullis |
//! | `GET /ws` | a websocket that sends each message back | fastwebsockets, tungstenite, portcullis |
//!
//! With the feature `other-runtimes` there are servers on smol and on async-std too, which have the first
//! three routes.
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
#[cfg(feature = "other-runtimes")]
mod on_async_std;
#[cfg(feature = "other-runtimes")]
mod on_smol;
mod portcullis;
pub(crate) mod tls;
mod tungstenite;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use clap::{Args, ValueEnum};
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
    /// hyper on smol, through smol-hyper.
    #[cfg(feature = "other-runtimes")]
    HyperSmol,
    /// portcullis on smol.
    #[cfg(feature = "other-runtimes")]
    PortcullisSmol,
    /// async-h1 on async-std: what tide stands on.
    #[cfg(feature = "other-runtimes")]
    AsyncH1,
    /// portcullis on async-std.
    #[cfg(feature = "other-runtimes")]
    PortcullisAsyncStd,
}

impl Stack {
    /// Whether this server can be had over TLS.
    pub fn has_tls(self) -> bool {
        match self {
            Self::Hyper | Self::Portcullis => true,
            // axum's `serve` has none; the others are for plaintext here.
            Self::Bare | Self::Axum | Self::Fastwebsockets | Self::Tungstenite => false,
            #[cfg(feature = "other-runtimes")]
            Self::HyperSmol | Self::PortcullisSmol | Self::AsyncH1 | Self::PortcullisAsyncStd => {
                false
            }
        }
    }

    /// Whether this server can be had on several threads.
    pub fn has_threads(self) -> bool {
        match self {
            #[cfg(feature = "other-runtimes")]
            Self::HyperSmol | Self::PortcullisSmol | Self::AsyncH1 | Self::PortcullisAsyncStd => {
                false
            }
            _ => true,
        }
    }

    /// Whether this server answers requests that come before the last answer went.
    pub fn has_pipelining(self) -> bool {
        match self {
            // It reads each head through a buffer of its own, and drops what else came with it.
            #[cfg(feature = "other-runtimes")]
            Self::AsyncH1 => false,
            _ => true,
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
            #[cfg(feature = "other-runtimes")]
            Self::HyperSmol => "hyper-smol",
            #[cfg(feature = "other-runtimes")]
            Self::PortcullisSmol => "portcullis-smol",
            #[cfg(feature = "other-runtimes")]
            Self::AsyncH1 => "async-h1",
            #[cfg(feature = "other-runtimes")]
            Self::PortcullisAsyncStd => "portcullis-async-std",
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
    if options.threads > 1 && !options.stack.has_threads() {
        let missing = format!("{} has one thread here", options.stack);
        return Err(io::Error::new(io::ErrorKind::Unsupported, missing));
    }
    let tls = options.tls.then(tls::server_config).transpose()?;
    let listener = TcpListener::bind(options.listen)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("listening on {scheme}://{}", listener.local_addr()?);
    let threads = options.threads;
    match options.stack {
        Stack::Bare => on_tokio(threads, listener, bare::serve),
        Stack::Hyper => on_tokio(threads, listener, |listener| hyper::serve(listener, tls)),
        Stack::Axum => on_tokio(threads, listener, axum::serve),
        Stack::Fastwebsockets => on_tokio(threads, listener, fastwebsockets::serve),
        Stack::Tungstenite => on_tokio(threads, listener, tungstenite::serve),
        Stack::Portcullis => {
            on_tokio(threads, listener, |listener| portcullis::serve(listener, tls))
        }
        #[cfg(feature = "other-runtimes")]
        Stack::HyperSmol => on_smol::hyper(listener),
        #[cfg(feature = "other-runtimes")]
        Stack::PortcullisSmol => on_smol::portcullis(listener),
        #[cfg(feature = "other-runtimes")]
        Stack::AsyncH1 => on_async_std::async_h1(listener),
        #[cfg(feature = "other-runtimes")]
        Stack::PortcullisAsyncStd => on_async_std::portcullis(listener),
    }
}

/// Runs a server on tokio until it ends.
fn on_tokio<F: Future<Output = io::Result<()>>>(
    threads: usize,
    listener: TcpListener,
    server: impl FnOnce(tokio::net::TcpListener) -> F,
) -> io::Result<()> {
    runtime(threads)?.block_on(async {
        listener.set_nonblocking(true)?;
        server(tokio::net::TcpListener::from_std(listener)?).await
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
    fn every_stack_is_started_by_the_name_it_prints() {
        for stack in Stack::value_variants() {
            assert_eq!(Stack::from_str(&stack.to_string(), false), Ok(*stack));
        }
    }

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
