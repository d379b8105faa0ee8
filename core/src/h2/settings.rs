//! What either side has set (RFC 9113 6.5).
//!
//! In: the client's SETTINGS. Out: our own, the values that bind us, and the deadline for the client's
//! acknowledgement.

use super::Http2;
use super::flow;
use super::frame::{self, ACK, Header, LONGEST, MOST};
use super::guard;
use crate::close::Fault;
use crate::time::Tick;
use crate::transport::Transport;

/// The window of a connection, and of a stream until somebody sets another one.
pub(super) const WINDOW: i64 = 65_535;
/// The size of the table for field blocks until somebody sets another one.
pub(super) const TABLE: u32 = 4096;

// The identifiers of settings (RFC 9113 6.5.2, RFC 8441 3, RFC 9218 2.1).
const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;
const NO_RFC7540_PRIORITIES: u16 = 9;

#[derive(Debug)]
pub(super) struct Settings {
    /// Until when the client has to acknowledge our first SETTINGS. [`Tick::NEVER`] before they are written, and
    /// after they are acknowledged. Later ones have no deadline: a client that stands still loses nothing by
    /// them, and nothing depends on them until it has acknowledged them.
    pub(super) ack_until: Tick,
    /// SETTINGS of ours are not acknowledged.
    awaits_ack: bool,
    /// Our SETTINGS are written.
    is_written: bool,
    /// The client's window for a new stream.
    pub(super) their_window: i64,
    /// Our window for a new stream, as the client has acknowledged it.
    pub(super) our_window: i64,
    /// Our window for a new stream, as we have set it.
    pub(super) asked_window: i64,
    /// The longest payload that the client takes. We send no longer one than [`LONGEST`].
    pub(super) longest: u32,
}

impl Settings {
    pub(super) const fn new() -> Self {
        Settings {
            ack_until: Tick::NEVER,
            awaits_ack: false,
            is_written: false,
            their_window: WINDOW,
            our_window: WINDOW,
            asked_window: WINDOW,
            longest: LONGEST,
        }
    }

    /// Writes our SETTINGS, once.
    pub(super) fn write(&mut self, transport: &mut Transport) {
        if self.is_written {
            return;
        }
        (self.is_written, self.awaits_ack) = (true, true);
        let config = &transport.config;
        self.asked_window = flow::stream_window(config);
        let settings = [
            (HEADER_TABLE_SIZE, config.http2_header_table_size() as u32),
            (MAX_CONCURRENT_STREAMS, config.http2_concurrent_streams() as u32),
            (INITIAL_WINDOW_SIZE, self.asked_window as u32),
            (MAX_HEADER_LIST_SIZE, config.http2_header_list_limit() as u32),
            (ENABLE_CONNECT_PROTOCOL, 1),
            (NO_RFC7540_PRIORITIES, 1),
        ];
        self.ack_until = transport.now.after(config.http2_settings_ack_timeout());
        frame::write_settings(&mut transport.output, &settings);
    }

    /// Reading had stopped: the client's acknowledgement may be among what was not read.
    pub(super) fn await_ack_anew(&mut self, transport: &Transport) {
        if self.ack_until != Tick::NEVER {
            self.ack_until = transport.now.after(transport.config.http2_settings_ack_timeout());
        }
    }

    /// Sets another window for streams, once the client has acknowledged the last SETTINGS.
    pub(super) fn ask_window(&mut self, transport: &mut Transport, window: i64) {
        if !self.awaits_ack && self.asked_window != window && !transport.eof {
            (self.asked_window, self.awaits_ack) = (window, true);
            let settings = [(INITIAL_WINDOW_SIZE, window as u32)];
            frame::write_settings(&mut transport.output, &settings);
        }
    }

    /// Whether the client knows that the windows of streams are narrow.
    pub(super) fn is_narrow(&self) -> bool {
        self.our_window == flow::NARROW && self.asked_window == flow::NARROW
    }
}

impl Http2 {
    /// Takes a SETTINGS frame.
    pub(super) fn take_settings(
        &mut self,
        transport: &mut Transport,
        header: Header,
        payload: &[u8],
    ) -> Result<(), Fault> {
        guard::pay(transport, guard::ANSWERED)?;
        if header.has(ACK) {
            self.settings_acknowledged(transport);
            return Ok(());
        }
        let before = self.settings.their_window;
        for setting in payload.chunks_exact(6) {
            let [a, b, value @ ..] = setting else { continue };
            self.take_setting(u16::from_be_bytes([*a, *b]), frame::number(value))?;
        }
        // Once for the frame, since each change costs a look at all streams.
        if self.settings.their_window != before {
            self.change_windows(self.settings.their_window - before)?;
        }
        frame::write_settings_ack(&mut transport.output);
        Ok(())
    }

    fn take_setting(&mut self, identifier: u16, value: u32) -> Result<(), Fault> {
        match identifier {
            HEADER_TABLE_SIZE => self.encoder.set_peer_limit(value),
            ENABLE_PUSH if value > 1 => return Err(Fault::Settings),
            INITIAL_WINDOW_SIZE if value > MOST => return Err(Fault::WindowOverflow),
            INITIAL_WINDOW_SIZE => self.settings.their_window = value.into(),
            MAX_FRAME_SIZE if !(LONGEST..=0xff_ffff).contains(&value) => {
                return Err(Fault::Settings);
            }
            MAX_FRAME_SIZE => self.settings.longest = value.min(LONGEST),
            // The others bind clients, or ask for what we don't do.
            _ => {}
        }
        Ok(())
    }

    /// The client has acknowledged our SETTINGS: they hold from now on.
    fn settings_acknowledged(&mut self, transport: &mut Transport) {
        if !core::mem::take(&mut self.settings.awaits_ack) {
            return;
        }
        self.settings.ack_until = Tick::NEVER;
        self.decoder.set_limit(transport.config.http2_header_table_size() as u32);
        let more = self.settings.asked_window - self.settings.our_window;
        self.settings.our_window += more;
        for place in 0..self.streams.len() {
            if let Some(stream) = self.streams.get_mut(place) {
                stream.allowed += more;
            }
            // Content that is asked for may need a window again.
            self.open_stream(transport, place);
        }
    }
}
