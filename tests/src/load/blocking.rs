//! A connection with blocking reads and writes, for single requests and for idle connections.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::Transport;
use super::transport::server_name;

/// A connection to a server, with or without TLS.
#[derive(Debug)]
pub enum Connection {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    /// Connects. A read waits at most for `patience`. A TLS handshake has not begun yet.
    pub fn open(
        address: SocketAddr,
        transport: &Transport,
        patience: Duration,
    ) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(patience))?;
        Ok(match transport {
            Transport::Plain => Self::Plain(socket),
            Transport::Tls(config) => {
                let session = ClientConnection::new(config.clone(), server_name())
                    .map_err(io::Error::other)?;
                Self::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        })
    }

    /// Writes as much of the handshake as is possible before the server answers.
    pub fn greet(&mut self) -> io::Result<()> {
        if let Self::Tls(stream) = self {
            while stream.conn.wants_write() {
                stream.conn.write_tls(&mut stream.sock)?;
            }
        }
        Ok(())
    }

    /// Whether the server has neither sent more nor closed. Reads don't block afterwards.
    pub fn is_quiet(&mut self) -> io::Result<bool> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        };
        socket.set_nonblocking(true)?;
        match self.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(false),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
