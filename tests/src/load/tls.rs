//! TLS on one socket of the load, as cheap as rustls allows. Records are decrypted in the read
//! buffer, and only an incomplete record is kept.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use super::LoadError;
use super::request::BLOCK;
use super::stream::Received;
use super::transport::server_name;

/// An upper bound for the bytes that a record adds to its content.
const RECORD_OVERHEAD: usize = 64;

/// The largest content of one record.
const RECORD_PAYLOAD: usize = 16 << 10;

/// A TLS connection over a non-blocking socket.
pub(super) struct TlsStream {
    socket: TcpStream,
    session: UnbufferedClientConnection,
    /// The beginning of a record, or of a handshake message.
    held: Vec<u8>,
    outgoing: Outgoing,
    established: bool,
}

impl TlsStream {
    pub(super) fn new(socket: TcpStream, config: &Arc<ClientConfig>) -> Result<Self, LoadError> {
        let session =
            UnbufferedClientConnection::new(config.clone(), server_name()).map_err(failed)?;
        let (held, outgoing) = (Vec::new(), Outgoing::default());
        let mut stream = Self { socket, session, held, outgoing, established: false };
        // Queues the ClientHello.
        stream.process(&mut [], |_| Ok(()))?;
        Ok(stream)
    }

    /// Reads once, and passes the content of the records to `said`. A `close_notify` ends the
    /// connection.
    pub(super) fn receive(
        &mut self,
        buffer: &mut [u8],
        said: impl FnMut(&[u8]) -> Result<(), LoadError>,
    ) -> Result<Received, LoadError> {
        let held = self.held.len();
        let count = self.socket.read(&mut buffer[held..])?;
        let emptied = count < buffer.len() - held;
        if count == 0 {
            return Ok(Received { ended: true, emptied, unblocked: false });
        }
        buffer[..held].copy_from_slice(&self.held);
        let input = &mut buffer[..held + count];
        let was_established = self.established;
        let (used, ended) = self.process(input, said)?;
        self.held.clear();
        self.held.extend_from_slice(&input[used..]);
        let unblocked = self.established != was_established || !self.outgoing.is_empty();
        Ok(Received { ended, emptied, unblocked })
    }

    /// Encrypts and writes heads and up to a block of body. Returns how many bytes were taken.
    pub(super) fn send(&mut self, heads: &[u8], body: u64) -> io::Result<usize> {
        // The client's last handshake message goes out with the first request. Records that did not
        // fit into the socket go out before new ones.
        if !self.established || self.outgoing.left() > RECORD_PAYLOAD {
            self.flush()?;
        }
        if !self.established {
            return Err(ErrorKind::WouldBlock.into());
        }
        let body = &BLOCK[..usize::try_from(body).unwrap_or(usize::MAX).min(BLOCK.len())];
        for part in [heads, body] {
            self.encrypt(part)?;
        }
        match self.flush() {
            // The bytes are taken in any case; the caller flushes later.
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(heads.len() + body.len()),
        }
    }

    /// Writes the records at hand, as far as the socket takes them.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.outgoing.write(&mut self.socket)
    }

    /// Processes these bytes. Returns how many were used, and whether the server has closed.
    fn process(
        &mut self,
        input: &mut [u8],
        mut said: impl FnMut(&[u8]) -> Result<(), LoadError>,
    ) -> Result<(usize, bool), LoadError> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.session.process_tls_records(&mut input[used..]);
            let mut rests = None;
            match state.map_err(failed)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(failed)?;
                        discard += record.discard;
                        said(record.payload)?;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => self.outgoing.append(0, |room| {
                    data.encode(room).map_err(|error| match error {
                        EncodeError::InsufficientSize(size) => Short::By(size.required_size),
                        other => Short::Failed(failed(other)),
                    })
                })?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::BlockedHandshake => rests = Some(false),
                ConnectionState::WriteTraffic(_) => {
                    self.established = true;
                    rests = Some(false);
                }
                ConnectionState::PeerClosed | ConnectionState::Closed => rests = Some(true),
                other => return Err(failed(format!("unexpected TLS state {other:?}")).into()),
            }
            used += discard;
            if let Some(ended) = rests {
                return Ok((used, ended));
            }
        }
    }

    fn encrypt(&mut self, plaintext: &[u8]) -> io::Result<()> {
        if plaintext.is_empty() {
            return Ok(());
        }
        // rustls wants to see the unprocessed bytes, even though nothing is to be decrypted here.
        match self.session.process_tls_records(&mut self.held).state.map_err(failed)? {
            ConnectionState::WriteTraffic(mut traffic) => {
                let records = plaintext.len().div_ceil(RECORD_PAYLOAD);
                let expected = plaintext.len() + records * RECORD_OVERHEAD;
                self.outgoing.append(expected, |room| {
                    traffic.encrypt(plaintext, room).map_err(|error| match error {
                        EncryptError::InsufficientSize(size) => Short::By(size.required_size),
                        other => Short::Failed(failed(other)),
                    })
                })
            }
            other => Err(failed(format!("TLS takes no data in state {other:?}"))),
        }
    }
}

/// Why nothing was written into the buffer.
enum Short {
    /// The buffer needs this many bytes.
    By(usize),
    Failed(io::Error),
}

/// Records that wait for the socket. The buffer is kept, so that it is zeroed only once.
#[derive(Default)]
struct Outgoing {
    room: Vec<u8>,
    start: usize,
    end: usize,
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn left(&self) -> usize {
        self.end - self.start
    }

    /// Lets `fill` append about `expected` bytes. If the room is too small, `fill` is called again
    /// with more.
    fn append(
        &mut self,
        expected: usize,
        mut fill: impl FnMut(&mut [u8]) -> Result<usize, Short>,
    ) -> io::Result<()> {
        self.make_room(expected);
        loop {
            match fill(&mut self.room[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(());
                }
                Err(Short::By(required)) if required > self.room.len() - self.end => {
                    self.make_room(required);
                }
                Err(Short::By(required)) => {
                    return Err(failed(format!("TLS does not take {required} bytes of room")));
                }
                Err(Short::Failed(error)) => return Err(error),
            }
        }
    }

    fn make_room(&mut self, count: usize) {
        if self.room.len() < self.end + count {
            self.room.resize(self.end + count, 0);
        }
    }

    fn write(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while !self.is_empty() {
            match socket.write(&self.room[self.start..self.end]) {
                Ok(count) => self.start += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        (self.start, self.end) = (0, 0);
        Ok(())
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
