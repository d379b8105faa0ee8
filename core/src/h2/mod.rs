//! HTTP/2: many exchanges side by side on a connection (RFC 9113).
//!
//! In: received bytes, and the application's actions. Out: [`Step`](crate::step::Step)s, which `connection.rs`
//! turns into events, and frames in the output.
//!
//! | room | what it does |
//! |---|---|
//! | `frame` | the header of each frame, and the frames that we write |
//! | `hpack` | field blocks (RFC 7541) |
//! | `head` | a field block as the head of a request, or as trailers |
//! | `streams` | the table of a stream's states, and the map of all streams |
//! | `receive` | frames into steps |
//! | `blocks` | HEADERS and CONTINUATION: requests and trailers |
//! | `content` | DATA: the content of requests |
//! | `settings` | what either side has set |
//! | `flow` | the windows: what each side may send |
//! | `schedule` | which stream sends next |
//! | `actions`, `response` | what the application does, and what is written for it |
//! | `tunnel` | a stream that carries another protocol, such as a websocket |
//! | `connect` | a stream that is a tunnel of bytes |
//! | `guard` | what frames cost |
//! | `endings` | how a stream ends, and how the connection does |

mod actions;
mod blocks;
mod connect;
mod content;
mod endings;
mod flow;
pub(crate) mod frame;
mod guard;
mod head;
pub(crate) mod hpack;
mod receive;
mod response;
mod schedule;
mod settings;
mod streams;
pub(crate) mod tunnel;

use crate::close::{CloseReason, Expiry};
use crate::config::Config;
use crate::exchange::Pace;
use crate::rate::Rate;
use crate::stream::StreamId;
use crate::time::{Tick, Timer};
use crate::transport::Transport;
use crate::waits::Wait;
use blocks::Block;
use core::mem::size_of;
use endings::Goaway;
pub(crate) use frame::PREFACE;
use hpack::{Decoder, Encoder};
use receive::Reading;
use settings::Settings;
use streams::{Past, State, Streams};

/// The name in ALPN (RFC 9113 3.2).
pub(crate) const ALPN: &[u8] = b"h2";

#[derive(Debug)]
pub(crate) struct Http2 {
    reading: Reading,
    /// A field block whose end has not come.
    block: Option<Box<Block>>,
    decoder: Decoder,
    encoder: Encoder,
    settings: Settings,
    streams: Streams,
    past: Past,
    /// The stream of the newest step.
    newest: u32,
    requests: u64,
    /// Bytes that the peer lets us send on all streams together.
    window: i64,
    /// Bytes that we let the peer send on all streams together.
    allowed: i64,
    /// The guard over the connection's window, which the peer does not open.
    guard: Option<Box<Rate>>,
    /// Bytes of content that wait for the application, of all streams.
    unread: usize,
    /// Bytes of the messages of all tunnels, in part or delivered.
    hoarded: usize,
    /// A tunnel may be held back because of them.
    holds_back: bool,
    /// The number of streams that wait for room or for their window.
    waiting: u32,
    /// Bytes of room that streams were told of and have not used.
    promised: usize,
    /// A stream may have something for the application that needs no more bytes of the peer.
    is_due: bool,
    /// A stream that waits may have room.
    is_writable: bool,
    /// The number of streams that have left HTTP.
    tunnels: u32,
    /// The content of a stream may be discarded.
    is_discarding: bool,
    /// Reading has stopped because too much is unsent.
    is_stalled: bool,
    goaway: Goaway,
}

/// The most memory that HTTP/2 adds to a connection, besides the streams' own buffers, which the connection's
/// buffers bound.
pub(crate) fn memory_bound(config: &Config) -> usize {
    let streams = (config.http2_concurrent_streams() as usize).next_power_of_two();
    let table = hpack::memory_bound(config.http2_header_table_size() as u32);
    // A block that arrives in pieces, its text, and a cookie that is joined.
    let list = config.http2_header_list_limit() as usize;
    let lines = (config.http2_header_fields_limit() as usize).next_power_of_two() * 8;
    let head = 4 * list + table + lines;
    // Content that waits, in buffers that double, and trailers that wait behind it.
    let unread = 2 * flow::most_unread(config);
    let trailers = streams * (2 * config.trailers_limit() as usize + 1024);
    size_of::<Http2>()
        + size_of::<Rate>()
        + streams * streams::MEMORY
        + head
        + unread
        + trailers
        + hpack::ENCODER_MEMORY
        + frame::HEADER
        + frame::LONGEST as usize
}

impl Http2 {
    pub(crate) fn new() -> Self {
        Http2 {
            reading: Reading::Preface,
            block: None,
            decoder: Decoder::new(settings::TABLE),
            encoder: Encoder::new(),
            settings: Settings::new(),
            streams: Streams::default(),
            past: Past::default(),
            newest: 0,
            requests: 0,
            window: settings::WINDOW,
            allowed: settings::WINDOW,
            guard: None,
            unread: 0,
            hoarded: 0,
            holds_back: false,
            waiting: 0,
            promised: 0,
            is_due: false,
            is_writable: false,
            tunnels: 0,
            is_discarding: false,
            is_stalled: false,
            goaway: Goaway::None,
        }
    }

    /// The stream of the newest step.
    pub(crate) fn stream(&self) -> StreamId {
        StreamId(self.newest.into())
    }

    /// The number of requests that were delivered.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// Whether nothing of a request has arrived, and no request is being answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.streams.is_empty()
            && self.block.is_none()
            && matches!(self.reading, Reading::Preface | Reading::First | Reading::Frame)
    }

    /// Whether a step can be made without new bytes.
    pub(crate) fn has_events(&self, transport: &Transport) -> bool {
        let is_over = transport.eof && self.streams.is_empty() && !self.is_stalled;
        let over = is_over && transport.is_open();
        let is_writable = self.is_writable && self.waiting > 0 && transport.has_room();
        self.is_due || over || is_writable || self.is_paused()
    }

    /// Whether the held bytes may yield another step.
    pub(crate) fn may_go_on(&self, transport: &Transport) -> bool {
        self.is_stalled && !transport.held.is_empty() && !transport.is_full()
    }

    /// The peer has taken some of the unsent bytes.
    pub(crate) fn sent(&mut self) {
        self.is_writable |= self.waiting > 0;
    }

    /// Frees memory that idle connections don't need.
    pub(crate) fn rest(&mut self) {
        self.streams.rest();
        if self.streams.is_empty() {
            self.guard = None;
        }
    }

    /// The most that [`Http2::memory`] becomes, with the tunnels that there are.
    pub(crate) fn memory_bound(&self, config: &Config) -> usize {
        let tunnels = self.streams.iter().filter_map(|stream| stream.tunnel.as_ref());
        let bounds = tunnels.map(|tunnel| tunnel.memory_bound());
        bounds.fold(memory_bound(config), usize::saturating_add)
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        let block = self.block.as_ref().map_or(0, |it| it.memory());
        size_of::<Http2>()
            + self.guard.as_ref().map_or(0, |_| size_of::<Rate>())
            + self.streams.memory()
            + block
            + self.decoder.memory()
            + self.encoder.memory()
    }

    /// Checks in tests that what is counted is what there is.
    fn check_accounts(&self) {
        let sum = |count: fn(&streams::Stream) -> usize| self.streams.iter().map(count).sum();
        debug_assert_eq!(self.unread, sum(|it| it.waiting_content()), "unread");
        debug_assert_eq!(self.hoarded, sum(|it| it.hoarded()), "hoarded");
        debug_assert_eq!(self.tunnels as usize, sum(|it| it.has_left_http().into()), "tunnels");
        debug_assert_eq!(self.waiting as usize, sum(|it| it.exchange.cut_short.into()), "waiting");
        debug_assert_eq!(self.promised, sum(|it| it.promised), "promised");
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Starts and stops the timers as the states require.
    pub(crate) fn settle(&mut self, transport: &mut Transport) {
        self.check_accounts();
        let content = self.content_deadline(transport);
        let stream = self.window_deadline(transport).min(self.discarding_deadline());
        let stream = stream.min(self.tunnel_deadline(transport));
        let wait = self.waits_for(transport, content, stream);
        transport.timers.stop(Timer::SettingsAck);
        transport.wait(wait, if wait == Wait::Streams { stream } else { content });
        if wait != Wait::RequestBody && content != Tick::NEVER {
            // A head may be awaited beside the content of other streams.
            transport.timers.set(Timer::RequestBody, content);
        }
        // One of the two runs: the earlier one.
        let (stream, ack) = (stream.min(self.goaway.deadline()), self.ack_deadline());
        let (timer, other) = match ack < stream {
            true => (Timer::SettingsAck, Timer::Stream),
            false => (Timer::Stream, Timer::SettingsAck),
        };
        transport.timers.stop(other);
        transport.timers.set(timer, stream.min(ack));
    }

    /// The row in the table of waits that applies to the current states.
    fn waits_for(&self, transport: &Transport, content: Tick, stream: Tick) -> Wait {
        let flushed = transport.is_flushed();
        if self.awaits_head(transport) && !transport.eof {
            return Wait::RequestHead;
        }
        match content {
            Tick::NEVER if self.streams.is_empty() && flushed => Wait::Request,
            Tick::NEVER if stream != Tick::NEVER => Wait::Streams,
            Tick::NEVER if transport.is_half_closed() && flushed => Wait::GonePeer,
            Tick::NEVER => Wait::Application,
            _ => Wait::RequestBody,
        }
    }

    /// Whether the rest of a head is awaited, or of something that may become one. While there is a stream, the
    /// rest of another frame is awaited only if the stream's own deadlines say so.
    fn awaits_head(&self, transport: &Transport) -> bool {
        let is_partial = match self.reading {
            Reading::Preface | Reading::First | Reading::Frame => {
                !transport.held.is_empty() && !transport.blocked
            }
            Reading::Content(_) => false,
        };
        if self.streams.is_empty() {
            return self.block.is_some() || is_partial || transport.has_partial_record();
        }
        self.block.is_some() || (is_partial && frame::begins_head(transport.held.bytes()))
    }

    /// Until when the client has to acknowledge our SETTINGS. While nothing is read, nobody can know.
    fn ack_deadline(&self) -> Tick {
        if self.is_stalled { Tick::NEVER } else { self.settings.ack_until }
    }

    /// The earliest deadline of the content that applications wait for.
    fn content_deadline(&mut self, transport: &Transport) -> Tick {
        let may_send = self.may_send(transport);
        let mut earliest = Tick::NEVER;
        for stream in self.streams.iter_mut() {
            let is_open = stream.state == State::Open && stream.allowed > 0 && may_send;
            let waits = is_open && stream.unread.is_empty();
            let Some(upload) = &mut stream.exchange.upload else { continue };
            if upload.pace == Pace::Tunnel {
                // It has a deadline of its own.
                continue;
            }
            if waits && upload.is_awaited() {
                earliest = earliest.min(upload.wait(transport));
            } else {
                upload.rest(transport.now);
            }
        }
        earliest
    }

    /// Acts on a timer of the connection that expired, or of the content of a stream.
    #[cold]
    pub(crate) fn expire(&mut self, transport: &mut Transport, expiry: Expiry) {
        match expiry {
            Expiry::RequestBody => self.expire_content(transport),
            Expiry::KeepAlive if transport.draining => self.end(transport, CloseReason::Drained),
            _ => self.end(transport, CloseReason::Expired(expiry)),
        }
    }

    /// The client shows with a PING that it is there. That counts where it sends content only when it has
    /// something to say.
    fn hear_sporadic(&mut self, transport: &mut Transport) {
        for stream in self.streams.iter_mut() {
            if let Some(upload) =
                stream.exchange.upload.as_mut().filter(|it| it.pace == Pace::Sporadic)
            {
                upload.hear(transport);
            }
        }
    }

    /// Bytes of an incomplete TLS record arrived. They may become content, so the peer is not silent.
    #[cold]
    pub(crate) fn trickle(&mut self, transport: &mut Transport) {
        for stream in self.streams.iter_mut() {
            if let Some(upload) = stream.exchange.upload.as_mut().filter(|it| it.is_awaited()) {
                upload.hear(transport);
            }
        }
    }
}
