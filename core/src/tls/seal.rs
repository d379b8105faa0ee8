//! Seals plaintext into records, as late as possible: when the driver asks for bytes to write and all
//! earlier records are sent.
//!
//! A record holds one piece of the output, of up to 16 KiB. Small pieces (a head, a chunk's size, short
//! content) are gathered. So a short answer is one record. The beginning of a long answer is one record
//! too, and the client can open it before the rest arrives.

use super::record::{HEADER, PLAINTEXT};
use super::sealed::Sealed;
use super::session::{Tls, Transit};
use crate::close::TlsFailure;
use crate::output::Output;
use rustls::server::ServerConnectionData;
use rustls::unbuffered::{ConnectionState, WriteTraffic};
use std::io::IoSlice;

/// The most plaintext that is sealed at once.
pub(super) const AHEAD: usize = 64 * 1024;
/// Pieces below this size are gathered into records of up to this size.
const GATHERED: usize = 4 * 1024;
/// The most pieces that are gathered into one record.
const PIECES: usize = 16;
/// Bytes that sealing adds to a record: header, nonce (TLS 1.2) or type (1.3), tag.
const OVERHEAD: usize = HEADER + 8 + 16;
/// Bytes that sealing adds to this much plaintext, if only the last piece is small.
pub(super) const fn overhead(plaintext: usize) -> usize {
    (plaintext / GATHERED + 2) * OVERHEAD
}

/// rustls can't seal: the keys are used up, or there are no keys.
struct Refused;

impl Tls {
    /// Seals the front of `output` into records, unless earlier records still wait to be sent.
    pub(crate) fn seal(&mut self, output: &mut Output) {
        if self.unsent() > 0 || output.is_empty() || self.is_handshaking() || self.ended {
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

    /// Seals our close_notify once `output` is empty; no plaintext follows (RFC 8446 6.1).
    pub(crate) fn end(&mut self, output: &Output) {
        if output.is_empty() && !self.is_handshaking() && !self.ended {
            self.ended = true;
            // If rustls can't seal any more, the connection ends without a close_notify.
            let _ = self.with_traffic(|traffic, sealed| {
                sealed.append(|room| traffic.queue_close_notify(room)).map_err(|_| Refused)
            });
        }
    }

    /// Seals one record of at most `most` bytes of plaintext; returns how many it sealed.
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

    /// Calls `seal` with rustls's encrypter, after sealing the records that rustls itself sends.
    fn with_traffic(
        &mut self,
        mut seal: impl FnMut(
            &mut WriteTraffic<'_, ServerConnectionData>,
            &mut Sealed,
        ) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let Transit { pending, sealed, .. } = &mut **self.transit.get_or_insert_default();
        loop {
            // rustls may refer to bytes in `pending`. It opens no record there: all are incomplete.
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

/// Copies the front of `pieces` into one buffer.
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
