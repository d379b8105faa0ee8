//! The socket of one connection of the load, with or without TLS.

use std::io::{self, IoSlice, Read, Write};

use mio::net::TcpStream;

use super::request::BLOCK;
use super::tls::TlsStream;
use super::{LoadError, Plan, Transport};

/// Blocks of a body in one vectored write: a megabyte.
const BLOCKS: usize = 16;

/// A non-blocking socket.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// The result of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// The server has closed.
    pub(super) ended: bool,
    /// The read emptied the socket: further bytes bring a new event.
    pub(super) emptied: bool,
    /// A write that was blocked may be possible now.
    pub(super) unblocked: bool,
}

impl Stream {
    /// Starts to connect. `register` registers the socket with the poller.
    pub(super) fn connect(
        plan: &Plan,
        register: impl FnOnce(&mut TcpStream) -> io::Result<()>,
    ) -> Result<Self, LoadError> {
        let mut socket = TcpStream::connect(plan.address)?;
        socket.set_nodelay(true)?;
        register(&mut socket)?;
        Ok(match &plan.transport {
            Transport::Plain => Self::Plain(socket),
            Transport::Tls(config) => Self::Tls(Box::new(TlsStream::new(socket, config)?)),
        })
    }

    /// Reads once, and passes the bytes to `said`.
    pub(super) fn receive(
        &mut self,
        buffer: &mut [u8],
        mut said: impl FnMut(&[u8]) -> Result<(), LoadError>,
    ) -> Result<Received, LoadError> {
        match self {
            Self::Plain(socket) => {
                let count = socket.read(buffer)?;
                said(&buffer[..count])?;
                let emptied = count < buffer.len();
                Ok(Received { ended: count == 0, emptied, unblocked: false })
            }
            Self::Tls(stream) => stream.receive(buffer, said),
        }
    }

    /// Writes heads and up to `body` bytes of body. Returns how many bytes were taken.
    pub(super) fn send(&mut self, heads: &[u8], body: u64) -> io::Result<usize> {
        match self {
            Self::Plain(socket) if body == 0 => socket.write(heads),
            Self::Plain(socket) => socket.write_vectored(&slices(heads, body)),
            Self::Tls(stream) => stream.send(heads, body),
        }
    }

    /// Writes bytes that were taken and are not written yet.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// The rest of the heads, then up to a megabyte of body.
fn slices(heads: &[u8], body: u64) -> [IoSlice<'_>; BLOCKS + 1] {
    let mut left = usize::try_from(body).unwrap_or(usize::MAX);
    let mut slices = [IoSlice::new(heads); BLOCKS + 1];
    for slice in &mut slices[1..] {
        let length = left.min(BLOCK.len());
        left -= length;
        *slice = IoSlice::new(&BLOCK[..length]);
    }
    slices
}
