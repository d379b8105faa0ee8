//! Small servers for comparison: the same routes on several stacks.
//!
//! | route | answer | which servers have it |
//! |---|---|---|
//! | `GET /hello` | `Hello, world!`, text/plain | all except those for websockets; the bare loop answers every target so |
//! | `GET /bytes/N` | N bytes from one static block, `Content-Length: N` | hyper, axum, portcullis; nginx for some lengths |
//! | `POST /sink` | the length of the request's body, in decimal | hyper, axum, portcullis |
//! | `GET /ws` | a websocket that sends each message back | fastwebsockets, tungstenite, portcullis |
//!
//! The feature `other-runtimes` adds servers on smol and on async-std, which have the first three
//! routes.
//!
//! `hyper-h2` and `nginx-h2` speak HTTP/2, in plaintext with prior knowledge, and portcullis either version.
//!
//! hyper and portcullis also speak TLS, with the same provider and the same kind of certificate. So does nginx,
//! with OpenSSL. nginx has to be installed.
//!
//! Each is written as its documentation shows, with `TCP_NODELAY` and nothing more: the comparison
//! is about the stack, not the application.

mod axum;
mod bare;
mod content;
mod fastwebsockets;
mod hyper;
#[cfg(unix)]
mod nginx;
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
#[cfg(unix)]
pub use nginx::{has_nginx, nginx_directory, nginx_listens};

use crate::cores;

/// The library of a reference server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stack {
    /// A loop on tokio that answers every head with the same bytes: the lower bound.
    Bare,
    /// hyper's HTTP/1 connection with hyper-util's adapters.
    Hyper,
    /// hyper's HTTP/2 connection with hyper-util's adapters.
    HyperH2,
    /// axum's router and its `serve`.
    Axum,
    /// One process of nginx.
    Nginx,
    /// One process of nginx that speaks HTTP/2.
    NginxH2,
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
    /// async-h1 on async-std, as in tide.
    #[cfg(feature = "other-runtimes")]
    AsyncH1,
    /// portcullis on async-std.
    #[cfg(feature = "other-runtimes")]
    PortcullisAsyncStd,
}

impl Stack {
    /// Whether this server supports TLS.
    pub fn has_tls(self) -> bool {
        match self {
            Self::Hyper | Self::HyperH2 | Self::Nginx | Self::NginxH2 | Self::Portcullis => true,
            // axum's `serve` has no TLS; the others are only measured in plaintext.
            Self::Bare | Self::Axum | Self::Fastwebsockets | Self::Tungstenite => false,
            #[cfg(feature = "other-runtimes")]
            Self::HyperSmol | Self::PortcullisSmol | Self::AsyncH1 | Self::PortcullisAsyncStd => {
                false
            }
        }
    }

    /// Whether this server reads the body of `POST /sink`.
    pub fn has_uploads(self) -> bool {
        !matches!(self, Self::Nginx | Self::NginxH2)
    }

    /// Whether this server supports several threads.
    pub fn has_threads(self) -> bool {
        match self {
            Self::Nginx | Self::NginxH2 => false,
            #[cfg(feature = "other-runtimes")]
            Self::HyperSmol | Self::PortcullisSmol | Self::AsyncH1 | Self::PortcullisAsyncStd => {
                false
            }
            _ => true,
        }
    }

    /// Whether this server supports pipelining.
    pub fn has_pipelining(self) -> bool {
        match self {
            // async-h1 reads each head through a new buffer and drops the bytes after it.
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
            Self::HyperH2 => "hyper-h2",
            Self::Axum => "axum",
            Self::Nginx => "nginx",
            Self::NginxH2 => "nginx-h2",
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
    /// The library of the server
    pub stack: Stack,
    /// Where to listen; port 0 picks a free port
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Use TLS, with a self-signed certificate made at the start
    #[arg(long)]
    pub tls: bool,
    /// Worker threads; one means the current-thread runtime
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Run on this processor core only
    #[arg(long)]
    pub core: Option<usize>,
}

/// Serves until the process ends. Prints `listening on http://…` (or `https`) once it accepts
/// connections, or just before if it is nginx.
pub fn serve(options: &Options) -> io::Result<()> {
    if let Some(core) = options.core {
        cores::pin(core)?;
    }
    if options.tls && !options.stack.has_tls() {
        let missing = format!("the reference server {} does not support --tls", options.stack);
        return Err(io::Error::new(io::ErrorKind::Unsupported, missing));
    }
    if options.threads > 1 && !options.stack.has_threads() {
        let missing = format!("the reference server {} supports one thread only", options.stack);
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
        Stack::HyperH2 => on_tokio(threads, listener, |listener| hyper::serve_h2(listener, tls)),
        Stack::Axum => on_tokio(threads, listener, axum::serve),
        #[cfg(unix)]
        Stack::Nginx => nginx::serve(listener, tls.is_some(), false),
        #[cfg(unix)]
        Stack::NginxH2 => nginx::serve(listener, tls.is_some(), true),
        #[cfg(not(unix))]
        Stack::Nginx | Stack::NginxH2 => Err(io::ErrorKind::Unsupported.into()),
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
    fn every_stack_is_selected_by_its_printed_name() {
        for stack in Stack::value_variants() {
            assert_eq!(Stack::from_str(&stack.to_string(), false), Ok(*stack));
        }
    }

    #[test]
    fn tls_is_an_error_where_it_is_not_supported() {
        for stack in [Stack::Bare, Stack::Axum] {
            let listen = "127.0.0.1:0".parse().expect("an address");
            let options = Options { stack, listen, tls: true, threads: 1, core: None };
            let error = serve(&options).expect_err("no TLS");
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
        }
    }
}
