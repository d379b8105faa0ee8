//! Flow control (RFC 9113 5.2, 6.9): how much content each side may send.
//!
//! **What the client may send** follows from what the application reads. A stream's window opens as content is
//! delivered, and further if the application has given credit for more. The connection's window is open for what
//! may be held unread by all streams together, and beside it for the content that applications wait for, up to
//! eight times as much in all. A stream that ends gives back what it held.
//!
//! Streams that nobody reads must not hold up those that somebody reads, though a client may spend the
//! connection's window on any of them. So when much is held unread, SETTINGS makes the window of each stream
//! narrow (RFC 9113 6.9.2). From the client's acknowledgement on, only streams whose content is asked for have
//! a window of size, and the connection's window no longer shrinks by what is held.
//!
//! **What we may send** is the smaller one of the stream's window and the connection's.

use super::Http2;
use super::frame::{self, MOST};
use super::streams::{State, Stream};
use crate::close::Fault;
use crate::config::Config;
use crate::rate::{MinimumRate, Rate, Span};
use crate::time::Tick;
use crate::transport::Transport;
use core::time::Duration;

/// The least by which a window is opened.
const LEAST: i64 = 1024;
/// The window of a stream while much is held unread. It is wide enough for a websocket's control frames, and
/// twice the least step, so that it opens again before it is used up.
pub(super) const NARROW: i64 = 2 * LEAST;

/// The most bytes that wait unread, as long as no application waits for content.
fn window(config: &Config) -> i64 {
    (config.receive_buffer_limit() as i64).clamp(super::settings::WINDOW, i64::from(MOST / 4))
}

/// The window of a new stream: half of the connection's, so that one stream alone can't fill it.
pub(super) fn stream_window(config: &Config) -> i64 {
    window(config) / 2
}

/// The most credit that opens a window, and the most content that waits unread when the streams' windows become
/// narrow. A client whose bytes take 100 ms there and back can send 5 MB/s with the defaults.
fn most_credit(config: &Config) -> u64 {
    8 * window(config) as u64
}

/// The most bytes of content that may wait unread.
pub(super) fn most_unread(config: &Config) -> usize {
    most_credit(config) as usize + config.http2_concurrent_streams() as usize * NARROW as usize
}

impl Http2 {
    // ---- what the client may send ---------------------------------------------------------------

    /// Opens the window of the stream at `place` for what the application has read or asked for.
    pub(super) fn open_stream(&mut self, transport: &mut Transport, place: usize) {
        let is_held_back = self.hold_back(transport, place);
        let Some(stream) = self.streams.get_mut(place) else { return };
        if !matches!(stream.state, State::Open | State::HalfClosedLocal)
            || stream.declared.is_some_and(|it| it as i64 <= stream.allowed)
        {
            return;
        }
        let usual = match &stream.tunnel {
            Some(_) if is_held_back => 0,
            Some(tunnel) if tunnel.takes_more() => stream_window(&transport.config),
            _ => self.settings.asked_window,
        };
        let credit = stream.exchange.upload.as_ref().map_or(0, |upload| upload.credit());
        let credit = credit.min(most_credit(&transport.config)) as i64;
        let target = usual.max(credit) - stream.waiting_content() as i64;
        // What SETTINGS that are on their way open need not be opened twice.
        let allowed =
            stream.allowed + (self.settings.asked_window - self.settings.our_window).max(0);
        let more = target - allowed;
        if is_worth_it(more, allowed, target) {
            stream.allowed += more;
            frame::write_window_update(&mut transport.output, stream.id, more as u32);
        }
    }

    /// Whether the tunnel at `place` is held back, because the messages of the connection take much memory: as
    /// many bytes together as content may wait unread. Then the oldest of the large messages goes on alone, and
    /// none does while the applications keep as much as the largest one may have. Small messages always go on.
    fn hold_back(&mut self, transport: &Transport, place: usize) -> bool {
        let config = &transport.config;
        let is_large = |stream: &Stream| {
            stream.tunnel.as_ref().is_some_and(|it| it.begun() as i64 >= window(config))
        };
        let is_much = self.hoarded as u64 > most_credit(config);
        let is_held_back = is_much && self.streams.get(place).is_some_and(is_large) && {
            let tunnels = self.streams.iter().filter_map(|stream| stream.tunnel.as_ref());
            let delivered: usize = tunnels.map(|tunnel| tunnel.delivered()).sum();
            let oldest = self.streams.iter().position(is_large);
            delivered as u64 > config.websocket_message_limit() || oldest != Some(place)
        };
        if is_held_back || self.holds_back {
            self.holds_back = true;
            let has_events = self.with_tunnel(place, |tunnel| {
                tunnel.hold_back(transport.now, is_held_back);
                tunnel.has_events()
            });
            self.is_due |= has_events == Some(true);
        }
        is_held_back
    }

    /// Less is held: opens the windows that were closed because of it.
    pub(super) fn give_back(&mut self, transport: &mut Transport) {
        self.let_go(transport);
        self.open_connection(transport);
    }

    /// Opens the windows of tunnels that were held back and need not be any more.
    fn let_go(&mut self, transport: &mut Transport) {
        if self.holds_back {
            (0..self.streams.len()).for_each(|place| self.open_stream(transport, place));
            self.holds_back = self.hoarded as u64 > most_credit(&transport.config);
        }
    }

    /// Opens the connection's window.
    pub(super) fn open_connection(&mut self, transport: &mut Transport) {
        let usual = window(&transport.config);
        let unread = self.unread as i64;
        if self.settings.asked_window == NARROW && unread <= usual / 2 {
            self.settings.ask_window(transport, stream_window(&transport.config));
        }
        if self.allowed > usual {
            return;
        }
        let reading = self.streams.iter().filter_map(|stream| stream.exchange.upload.as_ref());
        let credits = reading.filter(|it| it.is_awaited()).map(|it| it.credit());
        let credit = credits
            .fold(0, u64::saturating_add)
            .min(most_credit(&transport.config) - usual as u64) as i64;
        // What nobody reads takes up half of what the window is wider by for what somebody reads.
        if credit > 0 && unread > usual + credit / 2 {
            self.settings.ask_window(transport, NARROW);
        }
        let counted = if self.settings.is_narrow() { 0 } else { unread };
        let target = usual + credit - counted;
        let more = target - self.allowed;
        if is_worth_it(more, self.allowed, target) && !transport.eof {
            self.allowed += more;
            frame::write_window_update(&mut transport.output, 0, more as u32);
        }
    }

    // ---- what we may send -----------------------------------------------------------------------

    /// The client opens the connection's window.
    pub(super) fn widen(&mut self, more: u32) -> Result<(), Fault> {
        self.window = widened(self.window, more.into())?;
        self.is_writable = true;
        Ok(())
    }

    /// The client opens the window of the stream at `place`.
    pub(super) fn widen_stream(&mut self, place: usize, more: u32) -> Result<(), Fault> {
        if let Some(stream) = self.streams.get_mut(place) {
            stream.window = widened(stream.window, more.into())?;
            self.is_writable = true;
        }
        Ok(())
    }

    /// The client changes the windows of all streams. They may become negative (RFC 9113 6.9.2).
    pub(super) fn change_windows(&mut self, more: i64) -> Result<(), Fault> {
        for stream in self.streams.iter_mut() {
            stream.window = widened(stream.window, more)?;
        }
        self.is_writable = true;
        Ok(())
    }

    /// The number of bytes that fit into the windows of the stream at `place`.
    pub(super) fn open_for(&self, place: usize) -> usize {
        let window = self.streams.get(place).map_or(0, |stream| stream.window);
        usize::try_from(window.min(self.window)).unwrap_or(0)
    }

    /// The stream at `place` sends `bytes`.
    pub(super) fn spend_window(&mut self, transport: &Transport, place: usize, bytes: usize) {
        self.window -= bytes as i64;
        let (minimum, now) = (transport.config.response_minimum(), transport.now);
        if let Some(guard) = &mut self.guard {
            guard.progress(minimum, bytes, now);
        }
        if let Some(stream) = self.streams.get_mut(place) {
            stream.window -= bytes as i64;
            stream.sent = stream.sent.saturating_add(bytes as u64);
            stream.turn = stream.turn.saturating_add(bytes as u64);
            if let Some(guard) = &mut stream.guard {
                guard.progress(minimum, bytes, now);
            }
        }
    }

    /// The earliest deadline of the answers that wait for a window. Time counts only while one waits, and all
    /// bytes that the client lets us send pay for it, those before the wait as well. An answer that waits for
    /// the connection's window has no deadline of its own: all streams pay for that wait.
    pub(super) fn window_deadline(&mut self, transport: &Transport) -> Tick {
        let (minimum, now) = (transport.config.response_minimum(), transport.now);
        let (mut earliest, mut waits_for_connection) = (Tick::NEVER, false);
        for stream in self.streams.iter_mut() {
            let waits = stream.waits_for_window();
            waits_for_connection |= waits && stream.window > 0;
            // It counts for whatever the answer waits: its window, the connection's, or room.
            match &mut stream.time {
                Some(time) if waits => earliest = earliest.min(time.resume(now)),
                Some(time) => time.pause(now),
                None => {}
            }
            if waits && stream.window <= 0 {
                let total = minimum.total.filter(|_| stream.time.is_none());
                let (minimum, sent) = (MinimumRate { total, ..minimum }, stream.sent);
                let guard = stream.guard.get_or_insert_with(|| paid(minimum, sent, now));
                guard.resume(now);
                earliest = earliest.min(guard.deadline(minimum, 0));
            } else if let Some(guard) = &mut stream.guard {
                guard.pause(now);
            }
        }
        if waits_for_connection && self.window <= 0 {
            let sent = self.streams.iter().map(|it| it.sent).fold(0, u64::saturating_add);
            let guard = self.guard.get_or_insert_with(|| paid(minimum, sent, now));
            guard.resume(now);
            earliest = earliest.min(guard.deadline(minimum, 0));
        } else if let Some(guard) = &mut self.guard {
            guard.pause(now);
        }
        earliest
    }

    /// The answer at `place` may wait for the client for `time` in all, counted from now on. `None` if there is no such
    /// answer.
    pub(super) fn limit_wait(
        &mut self,
        transport: &Transport,
        place: usize,
        time: Option<Duration>,
    ) -> Option<()> {
        let stream = self.streams.get_mut(place)?;
        if let Some(guard) = &mut stream.guard {
            guard.restart_total(None, transport.now);
        }
        stream.time = Some(Box::new(Span::new(time, transport.now)));
        Some(())
    }

    /// Whether the answer at `place` has waited for a window for too long.
    pub(super) fn has_waited_in_vain(&self, transport: &Transport, place: usize) -> bool {
        let Some(stream) = self.streams.get(place) else { return false };
        if !stream.waits_for_window() {
            return false;
        }
        if stream.time.as_ref().is_some_and(|time| time.is_over(transport.now)) {
            return true;
        }
        let guard = match stream.window {
            ..=0 => &stream.guard,
            _ if self.window <= 0 => &self.guard,
            _ => return false,
        };
        let minimum = transport.config.response_minimum();
        guard.as_ref().is_some_and(|guard| guard.deadline(minimum, 0) <= transport.now)
    }
}

/// A guard over a wait for a window, after `sent` bytes that pay for it.
fn paid(minimum: MinimumRate, sent: u64, now: Tick) -> Box<Rate> {
    let mut guard = Rate::new(minimum, now);
    if sent > 0 {
        guard.progress(minimum, usize::try_from(sent).unwrap_or(usize::MAX), now);
    }
    Box::new(guard)
}

/// Whether to open a window by `more` to its target: that is half of the target, or doubles what is left. Smaller
/// updates would cost both sides more than they bring.
fn is_worth_it(more: i64, left: i64, target: i64) -> bool {
    more >= left.min(target / 2).max(LEAST)
}

/// A window that becomes wider by `more`, which may be negative.
fn widened(window: i64, more: i64) -> Result<i64, Fault> {
    let widened = window + more;
    if widened > i64::from(MOST) { Err(Fault::WindowOverflow) } else { Ok(widened) }
}
