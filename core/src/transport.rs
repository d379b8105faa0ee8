//! What every protocol of a connection shares: the clock, the timers, TLS, the output, the held bytes, and
//! how the connection ends.
//!
//! A protocol gets `&mut Transport` in each call. The guard over the peer's reading lives here, because
//! it is the same for every protocol: it runs while bytes are unsent.

use crate::budget::Budget;
use crate::close::{CloseReason, PeerClose, TlsFailure};
use crate::config::Config;
use crate::input::Held;
use crate::output::Output;
use crate::rate::Rate;
use crate::status::{Life, Party, Phase};
use crate::time::{Tick, Timer, Timers, nanos};
use crate::tls::Tls;
use crate::waits::{Row, Start, Wait};
use core::mem::replace;
use core::num::NonZeroU64;
use core::time::Duration;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::SystemTime;

/// How many times within `response_silence` the driver is asked what the peer has taken.
const LOOKS: u32 = 4;

/// How far a connection has come in ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    None,
    /// The output ends once it is flushed, and the input goes on: half of a tunnel.
    Finished,
    /// The output is flushed, writing is shut down, and at most `discard` bytes of input are discarded.
    Lingering {
        reason: CloseReason,
        discard: u64,
        /// The held bytes are the beginning of a request that was refused, which the application is told of. They
        /// are kept until then.
        keeps_held: bool,
    },
    Closed(CloseReason),
}

#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) config: Arc<Config>,
    pub(crate) now: Tick,
    pub(crate) timers: Timers,
    pub(crate) output: Output,
    pub(crate) held: Held,
    /// Pays for input that brings nothing, in TLS and in the protocol alike.
    pub(crate) budget: Budget,
    /// TLS beneath the protocol. Without it the bytes are plaintext.
    pub(crate) tls: Option<Box<Tls>>,
    end: End,
    /// The guard over unsent bytes.
    response: Rate,
    /// Sent bytes that the driver has not reported as taken by the peer; always 0 if it reports nothing.
    untaken: u64,
    /// When the wait for a request, or the discarding of unwanted input, began. [`Tick::NEVER`] outside of
    /// both.
    since: Tick,
    /// The row of the table of waits that the connection stands in.
    wait: Wait,
    /// The driver reports what the peer has taken. Bytes that the system accepted don't count as taken then.
    is_measured: bool,
    /// The peer's FIN, or its close_notify, was read.
    pub(crate) eof: bool,
    /// The peer's FIN has arrived behind bytes that the driver has not read yet.
    pub(crate) fin: bool,
    pub(crate) draining: bool,
    /// An answer was begun and will never be completed: the driver has to reset the socket.
    pub(crate) cut_off: bool,
    /// The held bytes wait for the application, and not for more bytes of the peer.
    pub(crate) blocked: bool,
    /// Nanoseconds from the beginning of 1970 to the origin of ticks, if the driver has told the time of
    /// day.
    origin: Option<NonZeroU64>,
    /// More is read although held bytes wait for the application, until `receive_buffer_limit` bytes are
    /// held.
    pub(crate) reads_ahead: bool,
}

impl Transport {
    pub(crate) fn new(config: Arc<Config>, now: Tick) -> Self {
        let mut transport = Transport::bare(config, now);
        if let Some(tls) = Tls::begin(&transport.config) {
            transport.begin_tls(tls);
        }
        if let Some(most) = transport.config.connection_age_limit() {
            transport.timers.set(Timer::ConnectionAge, now.after(most));
        }
        transport
    }

    /// What a websocket over a stream of HTTP/2 has for a transport: the stream is beneath it.
    pub(crate) fn of_stream(outer: &Transport) -> Self {
        let mut transport = Transport::bare(outer.config.clone(), outer.now);
        transport.wait = Wait::WebSocket;
        transport.begin_endless_answer();
        transport
    }

    /// A transport without TLS, on which no timer runs.
    fn bare(config: Arc<Config>, now: Tick) -> Self {
        let response = Rate::new(config.response_minimum(), now);
        Transport {
            config,
            now,
            timers: Timers::new(),
            output: Output::default(),
            held: Held::default(),
            budget: Budget::new(now),
            tls: None,
            end: End::None,
            response,
            untaken: 0,
            since: Tick::NEVER,
            wait: Wait::Request,
            is_measured: false,
            eof: false,
            fin: false,
            draining: false,
            cut_off: false,
            blocked: false,
            origin: None,
            reads_ahead: false,
        }
    }

    #[cold]
    fn begin_tls(&mut self, tls: Result<Box<Tls>, TlsFailure>) {
        match tls {
            Ok(tls) => {
                self.tls = Some(tls);
                let deadline = self.now.after(self.config.tls_handshake_timeout());
                self.wait(Wait::Handshake, deadline);
            }
            Err(failure) => self.close(CloseReason::Tls(failure)),
        }
    }

    pub(crate) fn set_wall_clock(&mut self, now: Tick, since_epoch: Duration) {
        self.origin = NonZeroU64::new(nanos(since_epoch).saturating_sub(now.as_nanos()));
    }

    /// The time of day, if the driver has told it.
    pub(crate) fn wall_clock(&self) -> Option<SystemTime> {
        let now = self.now.as_nanos().saturating_add(self.origin?.get());
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(now))
    }

    /// Moves the clock on. An earlier `now` changes nothing.
    pub(crate) fn advance(&mut self, now: Tick) {
        self.now = self.now.max(now);
    }

    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.end, End::None | End::Finished)
    }

    /// The TLS handshake is not complete, so no byte of a request can be here.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.is_open() && self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// No byte is held or unsent, and a TLS handshake has not begun or is complete.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        let tls = self.tls.as_ref().is_none_or(|tls| tls.is_at_rest());
        self.is_open() && tls && self.held.is_empty() && self.is_flushed()
    }

    /// The number of unsent bytes, sealed or not.
    #[inline(always)]
    pub(crate) fn unsent(&self) -> usize {
        self.output.len() + self.tls.as_ref().map_or(0, |tls| tls.unsent())
    }

    /// No byte is unsent.
    #[inline(always)]
    pub(crate) fn is_flushed(&self) -> bool {
        self.unsent() == 0
    }

    /// `send_buffer_limit` bytes are unsent, so the application has to wait.
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.unsent() as u64 >= self.config.send_buffer_limit()
    }

    /// How many more bytes may be unsent.
    #[inline(always)]
    pub(crate) fn room(&self) -> usize {
        (self.config.send_buffer_limit() as usize).saturating_sub(self.unsent())
    }

    /// Whether there is room enough to tell an application that waits for it: half of the limit.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.is_open() && self.unsent() as u64 <= self.config.send_buffer_limit() / 2
    }

    /// How the peer ended the connection, if it did between two requests.
    pub(crate) fn peer_close(&self) -> PeerClose {
        match &self.tls {
            Some(tls) if !tls.is_closed_by_peer() => PeerClose::Unannounced,
            _ => PeerClose::Done,
        }
    }

    /// The protocol that was agreed on in the TLS handshake (RFC 7301).
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.alpn()
    }

    /// A TLS record has begun and is not complete.
    pub(crate) fn has_partial_record(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.partial_record().is_some())
    }

    /// The bytes of an incomplete record that may become content. They pay ahead for a guard. Once the
    /// record is complete, only its content pays.
    pub(crate) fn ahead(&self) -> usize {
        self.tls.as_ref().and_then(|tls| tls.partial_record()).unwrap_or(0)
    }

    /// Begins to linger. `discarded` bytes of `linger_limit` are used up already.
    pub(crate) fn linger(&mut self, reason: CloseReason, discarded: u64) {
        if self.is_open() {
            let most = self.config.linger_limit().unwrap_or(u64::MAX);
            let discard = most.saturating_sub(discarded);
            self.end = End::Lingering { reason, discard, keeps_held: false };
        }
    }

    /// Ends the output, and not the input. What is unsent is still sent.
    #[cold]
    pub(crate) fn finish(&mut self) {
        if self.is_open() {
            self.end = End::Finished;
        }
    }

    /// The output ends, or has ended.
    #[inline(always)]
    pub(crate) fn is_ending(&self) -> bool {
        !matches!(self.end, End::None)
    }

    /// Nothing is added to the output any more.
    #[inline(always)]
    fn is_output_over(&self) -> bool {
        matches!(self.end, End::Finished | End::Lingering { .. })
    }

    /// Why the connection ends, if it does.
    pub(crate) fn end_reason(&self) -> Option<CloseReason> {
        match self.end {
            End::None | End::Finished => None,
            End::Lingering { reason, .. } | End::Closed(reason) => Some(reason),
        }
    }

    /// Closes the connection at once. The reason of a connection that lingers stays, unless this close
    /// cuts off an answer.
    pub(crate) fn close(&mut self, reason: CloseReason) {
        let reason = match self.end {
            End::Lingering { reason: first, .. }
                if self.is_flushed() || first.status().is_some() =>
            {
                first
            }
            End::None | End::Finished | End::Lingering { .. } => reason,
            End::Closed(first) => first,
        };
        self.end = End::Closed(reason);
        self.cut_off |= !self.is_flushed();
        self.output.release();
        self.tls = None;
        self.held = Held::default();
        self.timers.stop_all();
    }

    /// Keeps the held bytes although the connection ends, until the application is told of what they begin.
    #[cold]
    pub(crate) fn keep_held(&mut self, is_kept: bool) {
        if let End::Lingering { keeps_held, .. } = &mut self.end {
            *keeps_held = is_kept;
        }
    }

    /// The drain's deadline runs.
    pub(crate) fn is_timed_drain(&self) -> bool {
        self.timers.is_set(Timer::Drain)
    }

    /// Finishes what is in progress within `drain_timeout`, and begins nothing new.
    #[cold]
    pub(crate) fn begin_timed_drain(&mut self) {
        self.draining = true;
        // A connection that drains can't become too old.
        self.timers.stop(Timer::ConnectionAge);
        self.timers.set(Timer::Drain, self.now.after(self.config.drain_timeout()));
    }

    /// Counts `bytes` that the peer sent while the connection lingers.
    pub(crate) fn discard(&mut self, bytes: usize) {
        if let End::Lingering { discard, .. } = &mut self.end
            && bytes > 0
        {
            *discard = discard.saturating_sub(bytes as u64);
            self.renew_linger();
        }
    }

    /// The peer is not silent, so `linger_silence` begins anew.
    pub(crate) fn renew_linger(&mut self) {
        self.timers.stop(Timer::Linger);
    }

    /// Enters a row of the table of waits: runs the row's timer, and stops the other timers of the table.
    /// `guarded` is the deadline of a row that starts by a guard.
    #[inline]
    pub(crate) fn wait(&mut self, wait: Wait, guarded: Tick) {
        self.wait = wait;
        let Row { timer, start, .. } = wait.row();
        let Some(timer) = timer else { return self.timers.stop_waits() };
        let at = match start {
            Start::Entry => self.running(timer, self.time_of(timer)),
            Start::FirstEntry => self.since_first_entry(timer),
            Start::Guard | Start::Elsewhere => guarded,
        };
        self.timers.stop_waits();
        self.timers.set(timer, at);
    }

    /// The deadline of `timer` if it runs, and otherwise the deadline of a timer that begins now.
    fn running(&self, timer: Timer, time: Duration) -> Tick {
        match self.timers.get(timer) {
            Tick::NEVER => self.now.after(time),
            at => at,
        }
    }

    /// Goes on with another configuration. Of the timers that run for a time of their own, the part that is over
    /// stays over. Guards of rates look at the configuration whenever they are asked.
    #[cold]
    pub(crate) fn reconfigure(&mut self, config: Arc<Config>) {
        let old = replace(&mut self.config, config);
        for timer in Timer::ALL {
            let at = self.timers.get(timer);
            let (Some(before), Some(now)) = (time(timer, &old), time(timer, &self.config)) else {
                continue;
            };
            // A drain has a time of its own for an idle connection.
            let is_other = timer == Timer::KeepAlive && self.is_timed_drain();
            if at != Tick::NEVER && before != now && !is_other {
                let begun = at.as_nanos().saturating_sub(nanos(before));
                self.timers.set(timer, Tick::from_nanos(begun).after(now));
            }
        }
    }

    /// The deadline counted from the first entry into the row. The discarding of unwanted input also ends
    /// when the peer is silent for `linger_silence`.
    fn since_first_entry(&mut self, timer: Timer) -> Tick {
        self.since = self.since.min(self.now);
        let until = self.since.after(self.time_of(timer));
        if timer != Timer::Linger {
            return until;
        }
        until.min(self.running(timer, self.config.linger_silence()))
    }

    /// The time that a row of the table of waits allows.
    fn time_of(&self, timer: Timer) -> Duration {
        match timer {
            Timer::KeepAlive if self.is_timed_drain() => self.config.drain_idle_timeout(),
            _ => time(timer, &self.config).unwrap_or_else(|| self.config.linger_timeout()),
        }
    }

    /// Ends a wait that counts from its first entry.
    pub(crate) fn end_since(&mut self) {
        self.since = Tick::NEVER;
    }

    /// Seals unsent bytes into TLS records, so that they can be written.
    #[inline]
    pub(crate) fn seal(&mut self) {
        let is_over = self.is_output_over();
        if let Some(tls) = &mut self.tls {
            tls.seal(&mut self.output);
            if is_over {
                tls.end(&self.output);
            }
        }
    }

    /// Fills `slices` with the bytes to write now, and returns the number of slices.
    #[inline]
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match &self.tls {
            Some(tls) => tls.slices(slices),
            None => self.output.slices(slices),
        }
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        let tls = self.tls.as_ref().map_or(0, |tls| tls.memory(&self.config));
        self.held.memory() + self.output.memory() + tls
    }

    /// The driver turns to other connections: frees memory that is not needed until it comes back.
    #[inline]
    pub(crate) fn return_buffer(&mut self) -> Vec<u8> {
        let buffer = self.output.hand_back();
        if let Some(tls) = &mut self.tls {
            tls.release(&self.output);
        }
        buffer
    }

    /// The driver wrote `bytes` to the socket.
    pub(crate) fn sent(&mut self, bytes: usize) {
        let was_sent = match &mut self.tls {
            Some(tls) => tls.sent(bytes, &self.output),
            None => self.output.sent(bytes),
        };
        if self.is_half_closed() {
            // The system took bytes, so `peer_gone_timeout` begins anew.
            self.timers.stop(Timer::PeerGone);
        }
        if self.is_measured {
            self.untaken = self.untaken.saturating_add(was_sent as u64);
        } else {
            let minimum = self.config.response_minimum();
            if !self.timers.is_set(Timer::Response) {
                // The bytes were written at this tick, and the timer has not been set yet. The wait has
                // to begin before the peer's progress counts.
                self.response.resume_anew(minimum, self.now);
            }
            self.response.progress(minimum, was_sent, self.now);
        }
        if self.is_flushed() {
            self.end_response();
        } else if !self.is_handshaking() {
            self.begin_response();
        }
    }

    /// Unsent bytes after a moment without any begin a new wait, with the whole grace.
    fn begin_response(&mut self) {
        if !self.timers.is_set(Timer::Response) {
            self.response.resume_anew(self.config.response_minimum(), self.now);
            self.set_response();
        }
    }

    /// Ends the wait for the peer to read. The next wait begins anew.
    fn end_response(&mut self) {
        self.timers.stop(Timer::Response);
        self.response.pause(self.now);
    }

    /// Sets the guard's timer. A driver that reports what was taken is also asked before the deadline:
    /// a single late look would take old progress for new.
    fn set_response(&mut self) {
        let mut at = self.response.deadline(self.config.response_minimum(), 0);
        if self.is_measured {
            at = at.min(self.now.after(self.config.response_silence() / LOOKS));
        }
        self.timers.set(Timer::Response, at);
    }

    /// Whether the timer expired only to ask the driver, and the guard's deadline is still to come.
    #[cold]
    pub(crate) fn goes_on_taking(&mut self) -> bool {
        let deadline = self.response.deadline(self.config.response_minimum(), 0);
        let goes_on = deadline > self.now;
        if goes_on {
            self.set_response();
        }
        goes_on
    }

    /// The number of sent bytes that the driver has not reported as taken.
    pub(crate) fn untaken(&self) -> u64 {
        self.untaken
    }

    /// The system still holds `unacknowledged` bytes for the peer. Returns the number of bytes that the
    /// peer took since the last report, or `None` if it has taken everything: a peer that has more to
    /// take can't have answered the last byte yet.
    pub(crate) fn acknowledged(&mut self, unacknowledged: u64) -> Option<u64> {
        let taken = self.untaken.saturating_sub(unacknowledged);
        self.untaken -= taken;
        self.is_measured = true;
        let minimum = self.config.response_minimum();
        if taken > 0 {
            self.response.progress(minimum, usize::try_from(taken).unwrap_or(usize::MAX), self.now);
        }
        if self.timers.is_set(Timer::Response) {
            self.set_response();
        }
        (unacknowledged > 0).then_some(taken)
    }

    /// Whether a peer that takes `taken` bytes within `wait` keeps the minimum rate.
    pub(crate) fn keeps_up(&self, taken: u64, wait: Duration) -> bool {
        self.config.response_minimum().is_met(taken, wait)
    }

    /// The peer took `taken` bytes and has more to take, so it is not silent.
    pub(crate) fn taking(&mut self, taken: u64) {
        if self.keeps_up(taken, self.config.linger_silence()) {
            self.renew_linger();
        }
    }

    /// The output has no end from now on, so `response_deadline` does not apply.
    pub(crate) fn begin_endless_answer(&mut self) {
        self.response = self.response.without_total();
    }

    /// A new answer begins, and `response_deadline` with it.
    pub(crate) fn begin_answer(&mut self) {
        self.response.restart_total(self.config.response_deadline(), self.now);
    }

    /// The peer has to take the answer within `time`, counted from now on while bytes are unsent.
    pub(crate) fn limit_response_time(&mut self, time: Option<Duration>) {
        self.response.restart_total(time, self.now);
        if self.timers.is_set(Timer::Response) {
            self.set_response();
        }
    }

    /// Brings the shared timers in line with the state.
    pub(crate) fn settle(&mut self) {
        if self.is_handshaking() {
            // One deadline covers the whole handshake.
            return;
        }
        if self.is_output_over()
            && let Some(tls) = &mut self.tls
        {
            tls.end(&self.output);
        }
        if self.is_flushed() {
            self.end_response();
        } else {
            self.begin_response();
            if !self.is_measured {
                self.set_response();
            }
        }
        if let End::Lingering { reason, discard, keeps_held } = self.end {
            self.settle_end(reason, discard, keeps_held);
        }
    }

    #[cold]
    fn settle_end(&mut self, reason: CloseReason, discard: u64, keeps_held: bool) {
        if !keeps_held {
            self.held = Held::default();
        }
        let flushed = self.is_flushed();
        if flushed {
            self.wait(Wait::UnreadContent, Tick::NEVER);
        } else {
            self.timers.stop_waits();
        }
        if flushed && (self.eof || discard == 0) {
            self.close(reason);
        }
    }

    /// How far the connection has come in ending, as the driver is told.
    #[inline(always)]
    pub(crate) fn life(&self) -> Life {
        match self.end {
            End::None => Life::Open,
            End::Finished => Life::Finished { shutdown_write: self.is_flushed() },
            End::Lingering { .. } => Life::Lingering { shutdown_write: self.is_flushed() },
            End::Closed(reason) => Life::Closed { reason, cut_off: self.cut_off },
        }
    }

    /// Held bytes wait for the application, and nothing more is to be read.
    #[inline(always)]
    pub(crate) fn is_held_back(&self) -> bool {
        let is_full = self.held.len() as u64 >= self.config.receive_buffer_limit();
        self.blocked && !self.held.is_empty() && (is_full || !self.reads_ahead)
    }

    /// The most memory of bytes that are read ahead: less than the limit was held before the last read,
    /// the read brought at most the limit, and consumed bytes may occupy half as much.
    pub(crate) fn most_ahead(&self) -> usize {
        3 * self.config.receive_buffer_limit() as usize
    }

    /// The peer's FIN has arrived, read or not.
    pub(crate) fn is_half_closed(&self) -> bool {
        self.eof || self.fin
    }

    #[inline(always)]
    pub(crate) fn wants_read(&self) -> bool {
        let room = match self.end {
            End::None | End::Finished => !self.is_held_back(),
            End::Lingering { discard, .. } => discard > 0,
            End::Closed(_) => false,
        };
        room && !self.eof
    }

    /// The party that has to act next.
    pub(crate) fn party(&self) -> Party {
        match self.end {
            End::None | End::Finished if !self.timers.is_set(Timer::Response) => {
                self.wait.row().party
            }
            End::None | End::Finished | End::Lingering { .. } | End::Closed(_) => Party::Peer,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.end {
            End::Closed(_) => Phase::Closed,
            End::Lingering { .. } => Phase::Lingering,
            End::None | End::Finished if self.timers.is_set(Timer::Response) => Phase::Response,
            End::None | End::Finished => self.wait.row().phase,
        }
    }
}

/// The time for which the timer runs, whatever the peer does meanwhile; `None` if what the peer does changes it.
fn time(timer: Timer, config: &Config) -> Option<Duration> {
    match timer {
        Timer::TlsHandshake => Some(config.tls_handshake_timeout()),
        Timer::KeepAlive => Some(config.keep_alive_timeout()),
        Timer::RequestHead => Some(config.request_head_timeout()),
        Timer::PeerGone => Some(config.peer_gone_timeout()),
        Timer::WebSocketClose => Some(config.websocket_close_timeout()),
        Timer::SettingsAck => Some(config.http2_settings_ack_timeout()),
        _ => None,
    }
}
