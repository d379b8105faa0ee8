//! CONNECT over HTTP/2 (RFC 9113 8.5): a stream that is a tunnel of bytes.
//!
//! In: the application's actions. Out: what becomes of the stream. Its bytes are moved as the content of a request and
//! of an answer are, with the same windows. So what is unsent and unread counts together with that of the other
//! streams.
//!
//! | the peer's direction | the application's | state of the stream |
//! |---|---|---|
//! | open | open | `Open` |
//! | open | ended | `HalfClosedLocal`, and `Finished` |
//! | ended | open | `HalfClosedRemote` |
//! | ended, and the application is not told | ended | `HalfClosedRemote`, and `Finished` |
//! | ended | ended | it is gone |

use super::Http2;
use super::endings::Told;
use super::frame::{self, END_STREAM, Kind};
use super::response;
use super::streams::{State, Stream};
use crate::close::{ErrorCode, Misuse, ResetReason};
use crate::exchange::Sending;
use crate::stream::StreamId;
use crate::time::Tick;
use crate::transport::Transport;
use core::mem::take;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};

impl Http2 {
    /// Answers a CONNECT with the head that makes its stream a tunnel.
    pub(crate) fn accept_tunnel<'f>(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), Misuse> {
        let place = self.find_owed(transport, id)?;
        if transport.is_full() {
            self.wait_for_room(place);
            return Err(Misuse::Full);
        }
        let stream = self.streams.get(place).ok_or(Misuse::UnknownStream)?;
        // What was delivered as content would be missing at the beginning of the tunnel, which has no length.
        if stream.exchange.received() > 0 || stream.declared.is_some() {
            return Err(Misuse::NotUpgradable);
        }
        let (limit, number) = (transport.config.response_head_limit(), stream.id);
        let (asked, output) = (stream.exchange.asked, &mut transport.output);
        let encoder = &mut self.encoder;
        response::write_connected(output, encoder, number, asked, status, fields, limit)?;
        if let Some(stream) = self.streams.get_mut(place) {
            stream.exchange.begin_tunnel(transport, true);
            stream.is_end_told = false;
        }
        // A tunnel has no end, and so no time for the whole.
        let _ = self.limit_wait(transport, place, None);
        self.tunnels += 1;
        self.is_due = true;
        Ok(())
    }

    /// Ends the application's direction of the tunnel at `place`.
    pub(super) fn finish_tunnel(
        &mut self,
        transport: &mut Transport,
        place: usize,
    ) -> Result<(), Misuse> {
        let stream = self.streams.get_mut(place).ok_or(Misuse::UnknownStream)?;
        let waited = stream.exchange.cut_short;
        let goes_on = stream.exchange.finish_tunnel()?;
        self.waiting -= u32::from(waited);
        self.promised -= take(&mut stream.promised);
        transport.output.write(&frame::header(Kind::Data, END_STREAM, stream.id, 0));
        if !goes_on {
            self.forget(transport, place);
        } else if stream.state == State::Open {
            stream.state = State::HalfClosedLocal;
        }
        Ok(())
    }

    /// The application was told that the peer has ended its direction of the tunnel at `place`.
    pub(super) fn tunnel_input_ended(&mut self, transport: &mut Transport, place: usize) {
        let Some(stream) = self.streams.get_mut(place) else { return };
        stream.exchange.upload = None;
        if stream.exchange.sending == Sending::Finished {
            self.forget(transport, place);
        }
    }

    /// Ends both directions of a tunnel. What still comes is discarded.
    pub(crate) fn close_tunnel(
        &mut self,
        transport: &mut Transport,
        id: StreamId,
    ) -> Result<(), Misuse> {
        let place = self.find(transport, id)?;
        let stream = self.streams.get_mut(place).ok_or(Misuse::UnknownStream)?;
        if !stream.exchange.is_tunnel {
            return Err(Misuse::NotTunnel);
        }
        if stream.exchange.sending != Sending::Finished {
            transport.output.write(&frame::header(Kind::Data, END_STREAM, stream.id, 0));
        }
        stream.exchange.sending.become_next(Sending::Done);
        if stream.state == State::HalfClosedRemote {
            self.forget(transport, place);
        } else {
            stream.state = State::HalfClosedLocal;
            self.release(transport, place);
            self.begin_discarding(transport, place);
        }
        Ok(())
    }

    /// The earliest deadline of the tunnels through which nothing passes.
    pub(super) fn quiet_deadline(&mut self, transport: &Transport) -> Tick {
        let may_send = self.may_send(transport);
        let tunnels = self.streams.iter_mut().filter(|stream| stream.exchange.is_tunnel);
        tunnels.map(|stream| quiet_until(stream, may_send, transport)).min().unwrap_or(Tick::NEVER)
    }

    /// Ends the tunnels through which nothing has passed for too long.
    pub(super) fn expire_quiet(&mut self, transport: &mut Transport) {
        if self.tunnels == 0 {
            return;
        }
        let may_send = self.may_send(transport);
        for place in (0..self.streams.len()).rev() {
            let Some(stream) = self.streams.get_mut(place) else { continue };
            if stream.exchange.is_tunnel
                && quiet_until(stream, may_send, transport) <= transport.now
            {
                let told = Told::Reset(ErrorCode::Cancel);
                self.close_stream(transport, place, ResetReason::Timeout, told);
            }
        }
    }

    /// Whether the client may send content on any stream.
    pub(super) fn may_send(&self, transport: &Transport) -> bool {
        self.allowed > 0 && !transport.eof && !self.is_stalled
    }
}

/// Until when something has to pass through a tunnel, if its application waits for the peer. Bytes that wait for a
/// window have a guard of their own.
fn quiet_until(stream: &mut Stream, may_send: bool, transport: &Transport) -> Tick {
    let is_open = matches!(stream.state, State::Open | State::HalfClosedLocal);
    let waits = is_open && may_send && stream.allowed > 0 && stream.unread.is_empty();
    let waits = waits && !stream.waits_for_window();
    let Some(upload) = &mut stream.exchange.upload else { return Tick::NEVER };
    if waits && upload.is_awaited() {
        return upload.wait(transport);
    }
    upload.rest(transport.now);
    Tick::NEVER
}
