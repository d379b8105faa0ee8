//! Plaintext in, records out, as late as possible: when the driver asks for something to write and
//! all records made before are sent.
//!
//! A record is one piece of the output, of up to 16 KiB. Small pieces (a head, a chunk's size, short
//! content) are gathered, so that a short answer is one record, and so is the beginning of a long
//! one: it can be opened before the rest is there.

use super::record::{HEADER, PLAINTEXT};
use super::sealed::Sealed;
use super::session::{Tls, Transit};
use crate::close::TlsFailure;
use crate::output::Output;
use rustls::server::ServerConnectionData;
use rustls::unbuffered::{ConnectionState, WriteTraffic};
use std::io::IoSlice;

/// Plaintext that is sealed at once, at most.
pub(super) const AHEAD: usize = 64 * 1024;
/// Pieces below this size are gathered, up to this size.
const GATHERED: usize = 4 * 1024;
/// Pieces that are looked at for one record.
const PIECES: usize = 16;
/// What sealing adds to a record: header, nonce (TLS 1.2) or type (1.3), tag.
const OVERHEAD: usize = HEADER + 8 + 16;
/// What sealing so much adds, if no piece but the last is small.
pub(super) const fn overhead(plaintext: usize) -> usize {
    (plaintext / GATHERED + 2) * OVERHEAD
}

/// The keys are used up, or there are none: nothing can be sealed.
struct Refused;

impl Tls {
    /// Makes records of the front of `output`, unless some wait to be sent.
    pub(crate) fn seal(&mut self, output: &mut Output) {
        if self.unsent() > 0 || output.is_empty() || self.handshaking || self.ended {
            return;
        }
        let mut ahead = AHEAD.min(output.len());
        self.transit.get_or_insert_default().sealed.reserve(ahead + overhead(ahead));
        while ahead > 0 {
            let Ok(taken) = self.seal_record(output, ahead) else {
                self.failure = Some(TlsFailure::Exhausted);
                self.ended = true;
                return;
            };
            output.sent(taken);
            ahead -= taken;
        }
    }

    /// Nothing follows what is in `output`: once that is sealed, our close_notify is (RFC 8446 6.1).
    pub(crate) fn end(&mut self, output: &Output) {
        if output.is_empty() && !self.handshaking && !self.ended {
            self.ended = true;
            // Where nothing can be sealed any more the connection ends without.
            let _ = self.with_traffic(|traffic, sealed| {
                sealed.append(|room| traffic.queue_close_notify(room)).map_err(|_| Refused)
            });
        }
    }

    /// Makes one record, of at most so many bytes; says of how many.
    fn seal_record(&mut self, output: &Output, most: usize) -> Result<usize, Refused> {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let count = output.slices(&mut pieces);
        let pieces = pieces.get(..count).unwrap_or_default();
        let gathered: [u8; GATHERED];
        let plaintext: &[u8] = match pieces {
            [only] => only,
            [first, ..] if first.len() >= GATHERED => first,
            _ => {
                let length;
                (gathered, length) = gather(pieces);
                gathered.get(..length).unwrap_or_default()
            }
        };
        let plaintext = plaintext.get(..most.min(PLAINTEXT)).unwrap_or(plaintext);
        if plaintext.is_empty() {
            return Err(Refused);
        }
        self.with_traffic(|traffic, sealed| {
            sealed.append(|room| traffic.encrypt(plaintext, room)).map_err(|_| Refused)
        })?;
        Ok(plaintext.len())
    }

    /// Calls `seal` with what can encrypt, after all that rustls itself has to say.
    fn with_traffic(
        &mut self,
        mut seal: impl FnMut(
            &mut WriteTraffic<'_, ServerConnectionData>,
            &mut Sealed,
        ) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let Transit { pending, sealed, .. } = &mut **self.transit.get_or_insert_default();
        loop {
            // It may point into what is pending, and opens nothing of it: no record is complete.
            match self.session.process_tls_records(pending).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return seal(&mut traffic, sealed);
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    sealed.append(|room| message.encode(room)).map_err(|_| Refused)?;
                }
                Ok(ConnectionState::TransmitTlsData(message)) => message.done(),
                _ => return Err(Refused),
            }
        }
    }
}

/// The front of `pieces`, together.
fn gather(pieces: &[IoSlice<'_>]) -> ([u8; GATHERED], usize) {
    let mut gathered = [0; GATHERED];
    let mut length = 0;
    for piece in pieces {
        let room = gathered.get_mut(length..).unwrap_or_default();
        let taken = room.len().min(piece.len());
        if let (Some(room), Some(piece)) = (room.get_mut(..taken), piece.get(..taken)) {
            room.copy_from_slice(piece);
        }
        length += taken;
    }
    (gathered, length)
}
