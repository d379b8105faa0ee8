//! The connection: composes what the protocols share with the protocol in use, and offers the public
//! calls. It has no rule of a protocol of its own.

mod stream;

use crate::close::{CloseReason, Expiry, Fault, Misuse, TlsFailure};
use crate::config::Config;
use crate::event::Event;
use crate::h1::Http1;
use crate::head::{self, RefusedHead, RequestHead, Trailers};
use crate::input::Input;
use crate::protocol::Protocol;
use crate::status::{Party, Phase, Status};
use crate::step::{Desk, Place, Step};
use crate::stream::StreamId;
use crate::time::{Tick, Timer};
use crate::tls;
use crate::transport::Transport;
use crate::websocket::message;
use core::fmt;
use core::mem::{replace, size_of, take};
use core::time::Duration;
use std::io::IoSlice;
use std::sync::Arc;
pub use stream::Stream;

/// The most bytes of a read of content, as a multiple of `receive_buffer_limit`.
const LARGE: u64 = 4;

/// The server's side of one connection.
///
/// A driver passes in the bytes that it reads, the time, and the application's actions. The connection
/// tells it what happened, what to write, what to do next, and until when to wait. No call blocks, reads a
/// clock or panics. Any call may come at any time: a call that makes no sense is a [`Misuse`] and changes
/// nothing.
///
/// After any call, [`status`](Self::status) and [`deadline`](Self::deadline) may have changed;
/// after [`receive`](Self::receive) and all actions there may be [`outgoing`](Self::outgoing)
/// bytes; after actions, [`sent`](Self::sent) and [`tick`](Self::tick) there may be events in
/// [`resume`](Self::resume). Asking too often is harmless and cheap.
///
/// Time that runs backwards counts as no time.
#[derive(Debug)]
pub struct Connection {
    transport: Transport,
    protocol: Protocol,
    /// Events are being pulled. The timers are brought up to date when the events are dropped.
    pulling: bool,
    /// The last [`Events`] were dropped before all of them were pulled.
    unfinished: bool,
    /// The states have changed since the timers were brought up to date.
    unsettled: bool,
    /// The first byte has arrived.
    begun: bool,
}

/// The events of a connection, pulled one by one. Work is done when an event is asked for, and nothing is
/// queued.
///
/// Dropping the events keeps the bytes that were not looked at, so that stopping early loses nothing. The
/// exception is a read of more than `receive_buffer_limit` bytes ([`Connection::receive_limit`]). While
/// events are pulled, the connection gives no other events. Leaked events (`mem::forget`) take their bytes
/// along, and the connection then waits for these bytes until its deadline.
pub struct Events<'c, 'i> {
    connection: &'c mut Connection,
    input: Input<'i>,
    desk: Desk,
    exhausted: bool,
    /// No byte followed the last event, so there is no other event unless the input has ended.
    last: bool,
    /// Other events are being pulled already: these are empty.
    nested: bool,
}

impl Connection {
    /// A connection that was accepted at `now`.
    pub fn new(config: Arc<Config>, now: Tick) -> Self {
        let transport = Transport::new(config, now);
        let mut connection = Connection {
            transport,
            protocol: Protocol::Http1(Http1::new()),
            pulling: false,
            unfinished: false,
            unsettled: false,
            begun: false,
        };
        connection.settle();
        connection
    }

    /// Tells the time of day: `now` is `since_epoch` after the beginning of 1970 (UTC). Refusals that the
    /// connection writes by itself then have a `Date` (RFC 9110 6.6.1).
    ///
    /// There is no clock here. A driver that has one calls this once, when it makes the connection.
    pub fn set_wall_clock(&mut self, now: Tick, since_epoch: Duration) {
        self.transport.set_wall_clock(now, since_epoch);
    }

    // ---- bytes in -------------------------------------------------------------------------------

    /// Takes the bytes that the driver read into its buffer, and lends events out of them.
    ///
    /// The bytes may be changed in place. When the events are dropped, the connection copies bytes that are
    /// incomplete or not asked for yet. Most of the time there are no such bytes.
    ///
    /// # Errors
    /// [`Misuse::NotReading`] when [`status`](Self::status) says not to read, or while events are
    /// pulled;
    /// [`Misuse::Overfed`] for more than [`receive_limit`](Self::receive_limit) bytes. Nothing is
    /// taken then.
    pub fn receive<'c, 'i>(
        &'c mut self,
        now: Tick,
        fresh: &'i mut [u8],
    ) -> Result<Events<'c, 'i>, Misuse> {
        if fresh.len() as u64 > self.transport.config.receive_buffer_limit() {
            self.check_large(fresh.len())?;
        }
        if self.pulling || !self.transport.wants_read() {
            return Err(Misuse::NotReading);
        }
        // The timers decide which guard counts incomplete bytes.
        self.settle_now();
        self.transport.advance(now);
        if !fresh.is_empty() {
            self.protocol.heard(&self.transport);
        }
        let plaintext = self.receive_tls(fresh);
        Ok(self.events(now, fresh.get_mut(..plaintext).unwrap_or_default(), false))
    }

    /// The most bytes that [`receive`](Self::receive) takes now: `receive_buffer_limit`, or up to four
    /// times as many while the application waits for content, which is passed on at once.
    ///
    /// Large reads keep up with a fast peer, because the kernel announces room after each read. They don't
    /// raise the memory that is held: if the events of a large read are dropped while more than
    /// `receive_buffer_limit` bytes are left, the connection closes ([`CloseReason::Aborted`]).
    pub fn receive_limit(&self) -> usize {
        let limit = self.transport.config.receive_buffer_limit();
        // The bytes of an incomplete TLS record are delivered first, and use up their part of the credit.
        let passed_on = match self.transport.held.is_empty() {
            true => self.protocol.passed_on().saturating_sub(self.transport.ahead() as u64),
            false => 0,
        };
        limit.saturating_add(passed_on).min(LARGE * limit) as usize
    }

    #[cold]
    fn check_large(&self, bytes: usize) -> Result<(), Misuse> {
        let limit = self.receive_limit();
        if bytes > limit { Err(Misuse::Overfed { limit: limit as u64 }) } else { Ok(()) }
    }

    /// Opens TLS records in place. Returns the number of plaintext bytes at the front of `fresh`.
    #[inline]
    fn receive_tls(&mut self, fresh: &mut [u8]) -> usize {
        // Only the connection's first byte tells TLS from HTTP. Later the same byte is malformed HTTP.
        let first = !self.begun;
        self.begun |= !fresh.is_empty();
        let Some(tls) = &self.transport.tls else {
            if first && tls::begins_handshake(fresh) {
                self.protocol.end(&mut self.transport, CloseReason::Tls(TlsFailure::OnPlainPort));
            }
            return fresh.len();
        };
        if tls.is_untouched() && tls::begins_plain_http(fresh) {
            self.transport.tls = None;
            self.protocol.end(&mut self.transport, CloseReason::Tls(TlsFailure::PlainHttp));
        }
        if !self.transport.is_open() {
            // A connection that lingers discards its input, sealed or not.
            self.transport.discard(fresh.len());
            return 0;
        }
        let Transport { tls: Some(tls), config, budget, held, now, .. } = &mut self.transport
        else {
            return 0;
        };
        let received = tls.receive(config, budget, *now, fresh, held);
        self.transport.eof |= tls.is_closed_by_peer();
        if received.is_partial {
            self.protocol.trickle(&mut self.transport);
        }
        if received.speaks_other {
            self.protocol.end(&mut self.transport, CloseReason::OtherProtocol);
            return 0;
        }
        received.plaintext
    }

    /// Ends the connection if TLS has failed. Returns whether it has.
    #[inline]
    fn settle_tls(&mut self) -> bool {
        let failure = self.transport.tls.as_mut().and_then(|tls| tls.take_failure());
        failure.map(|failure| self.fail_tls(failure)).is_some()
    }

    #[cold]
    fn fail_tls(&mut self, failure: TlsFailure) {
        self.protocol.end(&mut self.transport, CloseReason::Tls(failure));
        // Output can't be sealed after an alert.
        self.transport.cut_off |= !self.transport.output.is_empty();
        self.transport.output.release();
    }

    /// Goes on with held bytes, and with events that became due after credit, an answer, room in the output,
    /// or a tick. While other events are pulled, `resume` brings no events.
    pub fn resume(&mut self, now: Tick) -> Events<'_, 'static> {
        self.events(now, &mut [], true)
    }

    /// The driver read the peer's FIN. It ends the input only: bytes that were received before are still
    /// delivered and answered.
    pub fn receive_eof(&mut self, now: Tick) -> Events<'_, 'static> {
        // The timers of the state before the FIN count from before it.
        self.advance(now);
        if self.transport.is_handshaking() {
            self.protocol.end(&mut self.transport, CloseReason::Tls(TlsFailure::Abandoned));
        }
        self.transport.eof = true;
        self.events(now, &mut [], false)
    }

    /// The peer's FIN has arrived behind bytes that backpressure keeps unread (`POLLRDHUP` on Linux). [`is_half_closed`](Self::is_half_closed) is true from then on, and a
    /// handler may go on for `peer_gone_timeout`. [`receive_eof`](Self::receive_eof) follows when it
    /// was read.
    pub fn fin_arrived(&mut self, now: Tick) {
        self.act(now, |_, transport| transport.fin = true);
    }

    /// Begins a pull of events. `resumes`: it is one of [`resume`](Self::resume).
    // Returned from a call, the events would be copied.
    #[inline(always)]
    fn events<'c, 'i>(
        &'c mut self,
        now: Tick,
        fresh: &'i mut [u8],
        resumes: bool,
    ) -> Events<'c, 'i> {
        // The timers stand still while events are pulled, so they have to be right now.
        self.settle_now();
        self.transport.advance(now);
        let nested = replace(&mut self.pulling, true);
        let held = take(&mut self.transport.held);
        Events {
            input: Input::new(held, fresh),
            desk: Desk::new(resumes),
            connection: self,
            exhausted: nested,
            last: false,
            nested,
        }
    }

    // ---- actions --------------------------------------------------------------------------------

    /// The stream with the number `id`, to act on at `now`. If there is no such stream, or it has ended,
    /// each call on it is a [`Misuse::UnknownStream`].
    #[inline]
    pub fn stream(&mut self, now: Tick, id: StreamId) -> Stream<'_> {
        Stream::new(self, now, id)
    }

    /// Drains: finishes the exchange in progress within `drain_timeout`, and then closes. An idle
    /// connection waits `drain_idle_timeout` for a request that may be on its way.
    pub fn drain(&mut self, now: Tick) {
        self.act(now, begin_drain);
    }

    /// Goes on with another configuration: one that [`Config::stressed`] made of that with which the connection
    /// began. Timers that run keep the part of their time that is over.
    ///
    /// # Errors
    /// [`Misuse::OtherConfig`] if it differs in more than that. Nothing changes then.
    pub fn set_config(&mut self, now: Tick, config: Arc<Config>) -> Result<(), Misuse> {
        if !self.transport.config.is_akin(&config) {
            return Err(Misuse::OtherConfig);
        }
        self.act(now, |_, transport| transport.reconfigure(config));
        Ok(())
    }

    /// Closes in good order if it [is idle](Self::is_idle), so that another connection can have its
    /// place. Over TLS the peer is sent a close_notify. Otherwise the call does nothing. Returns whether the
    /// connection closes.
    pub fn close_idle(&mut self, now: Tick) -> bool {
        let idle = self.is_idle();
        if idle {
            self.act(now, |protocol, transport| protocol.end(transport, CloseReason::MadeRoom));
        }
        idle
    }

    /// Closes at once, with the driver's reason; does nothing if it is closed already.
    pub fn abort(&mut self, now: Tick, reason: CloseReason) {
        self.act(now, |protocol, transport| protocol.cut(transport, reason));
    }

    fn act<T>(&mut self, now: Tick, action: impl FnOnce(&mut Protocol, &mut Transport) -> T) -> T {
        self.advance(now);
        let result = action(&mut self.protocol, &mut self.transport);
        self.settle();
        result
    }

    // ---- bytes out ------------------------------------------------------------------------------

    /// Fills `slices` with the bytes to write now, in order, and returns the number of slices. The number
    /// is 0 if there is nothing to write.
    ///
    /// With TLS this call makes the records. The lent bytes stay the same until they are
    /// [`sent`](Self::sent).
    pub fn outgoing<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> usize {
        self.transport.seal();
        if self.settle_tls() {
            self.settle();
        }
        self.transport.slices(slices)
    }

    /// Lends the connection an empty buffer to write its answers in, so that it needs none of its
    /// own while a driver attends to it. Refused, and dropped, if it has one or 4 KiB are exceeded.
    pub fn lend_buffer(&mut self, buffer: Vec<u8>) {
        self.transport.output.lend(buffer);
    }

    /// Asks for the lent buffer back; a connection that has bytes to send keeps it until they are
    /// sent, and an empty one is returned.
    pub fn return_buffer(&mut self) -> Vec<u8> {
        self.protocol.rest();
        self.transport.return_buffer()
    }

    /// The first `bytes` of [`outgoing`](Self::outgoing) were written.
    pub fn sent(&mut self, now: Tick, bytes: usize) {
        self.act(now, |protocol, transport| {
            transport.sent(bytes);
            protocol.sent(transport);
        });
    }

    /// The number of [`sent`](Self::sent) bytes that the driver has not reported as taken by the peer.
    /// Always 0 for a driver that does not call [`acknowledged`](Self::acknowledged).
    pub fn unacknowledged(&self) -> u64 {
        self.transport.untaken()
    }

    /// The system still holds `unacknowledged` of the [`sent`](Self::sent) bytes, because the peer has not
    /// acknowledged them (`SIOCOUTQ` on Linux).
    ///
    /// The system accepts and reports bytes in lumps, so that what it accepts says little about
    /// the peer. A driver that can ask it calls this once at the beginning, with 0. From then on
    /// bytes count as taken only when they are reported here. Call it again before
    /// [`tick`](Self::tick) whenever a deadline has come and
    /// [`unacknowledged`](Self::unacknowledged) is not 0. The deadline may move by it.
    pub fn acknowledged(&mut self, now: Tick, unacknowledged: u64) {
        self.act(now, |protocol, transport| {
            if let Some(taken) = transport.acknowledged(unacknowledged) {
                transport.taking(taken);
                protocol.taking(transport, taken);
            }
        });
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Until when to wait, and for what; `None` while the connection waits for the application
    /// alone, and when it is closed.
    ///
    /// A driver may leave an earlier timer armed, and call [`tick`](Self::tick) for nothing.
    pub fn deadline(&mut self) -> Option<(Tick, Timer)> {
        self.settle_now();
        self.transport.timers.next()
    }

    /// The time is `now`. A deadline at `now` or before has expired; otherwise nothing happens.
    #[inline]
    pub fn tick(&mut self, now: Tick) {
        self.settle_now();
        self.transport.advance(now);
        if self.transport.timers.any_expired(self.transport.now) {
            self.expire();
        }
    }

    #[cold]
    fn expire(&mut self) {
        while let Some(timer) = self.transport.timers.expired(self.transport.now) {
            let Connection { transport, protocol, .. } = self;
            match (timer, Expiry::of(timer)) {
                (Timer::Response, _) if transport.goes_on_taking() => {}
                (_, Some(expiry)) => protocol.expire(transport, expiry),
                (Timer::ConnectionAge, None) => age(protocol, transport),
                (Timer::WebSocketPing, None) => protocol.ping_silent(transport),
                (Timer::Stream, None) => protocol.expire_streams(transport),
                (Timer::SettingsAck, None) => {
                    protocol.end(transport, CloseReason::Fault(Fault::SettingsTimeout));
                }
                // The peer still sends content that we discard, or stopped in the middle of it.
                (_, None) => protocol.cut(transport, CloseReason::UnreadContent),
            }
        }
        self.settle();
    }

    // ---- what is the case -----------------------------------------------------------------------

    /// What the driver has to do next.
    // A driver mostly looks at one field, so that the others need not be computed.
    #[inline(always)]
    pub fn status(&self) -> Status {
        let Connection { transport, protocol, .. } = self;
        Status {
            read: transport.wants_read(),
            write: !transport.is_flushed(),
            resume: self.unfinished
                || protocol.may_go_on(transport)
                || protocol.has_events(transport),
            has_work: self.unfinished || protocol.is_paused(),
            life: transport.life(),
        }
    }

    /// Whether the peer has said that it sends no more: by its FIN, or by a close_notify over TLS.
    /// It may still read. While a handler works for such a peer, `peer_gone_timeout` runs.
    pub fn is_half_closed(&self) -> bool {
        self.transport.is_half_closed()
    }

    /// Whether it finishes what is in progress and then closes: it was told to
    /// [`drain`](Self::drain), or has become older than `connection_age_limit`.
    pub fn is_draining(&self) -> bool {
        self.transport.draining
    }

    /// What the connection is at, for metrics.
    pub fn phase(&mut self) -> Phase {
        self.settle_now();
        self.transport.phase()
    }

    /// Which party has to act next: the column of the [table of waits](crate#the-table-of-waits).
    /// While bytes are unsent, it is the peer.
    pub fn waits_for(&mut self) -> Party {
        self.settle_now();
        self.transport.party()
    }

    /// Whether a TLS handshake is in progress, or has yet to begin.
    pub fn is_handshaking(&self) -> bool {
        self.transport.is_handshaking()
    }

    /// Whether it waits for a request, or for a TLS handshake, of which nothing has arrived, and owes
    /// the peer nothing: neither side loses anything if it closes.
    pub fn is_idle(&self) -> bool {
        !self.unfinished && !self.pulling && self.transport.is_at_rest() && self.protocol.is_idle()
    }

    /// The memory that the connection owns, in bytes: itself and its heap. At most
    /// [`memory_bound`](Self::memory_bound) after every call. While events are pulled, the events own the
    /// held bytes, which are then not counted here.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.transport.memory() + self.protocol.memory()
    }

    /// The most that [`memory`](Self::memory) becomes as long as the protocol stays the same, together
    /// with what [`Events`] have: [`Config::memory_bound`], or more once it is a websocket.
    pub fn memory_bound(&self) -> usize {
        let config = &self.transport.config;
        config.memory_bound().saturating_add(self.protocol.memory_bound(config))
    }

    /// The configuration of the connection.
    pub fn config(&self) -> &Config {
        &self.transport.config
    }

    /// What the TLS handshake has agreed on: the server's name (SNI), ALPN, version, cipher suite, and the client's
    /// certificates. `None` without TLS, before the handshake is complete, and once the connection is closed.
    ///
    /// It is copied at each call, and the copy is not counted in [`memory`](Self::memory): keep it for as
    /// long as it is needed. It does not change.
    #[cfg(feature = "tls")]
    pub fn tls_info(&self) -> Option<tls::TlsInfo> {
        self.transport.tls.as_deref().and_then(tls::TlsInfo::of)
    }

    /// How many requests were delivered.
    pub fn requests(&self) -> u64 {
        self.protocol.requests()
    }

    /// Marks the timers as out of date. They are brought up to date when a caller looks at them, or before
    /// time moves, and at once when the output ends.
    #[inline]
    fn settle(&mut self) {
        self.unsettled = true;
        // While events are pulled, the events own the held bytes.
        if !self.pulling {
            self.protocol.release(&self.transport);
        }
        if self.transport.is_ending() {
            self.settle_now();
        }
    }

    /// Brings the timers up to date with the states, unless events are being pulled.
    #[inline]
    fn settle_now(&mut self) {
        if self.unsettled && !self.pulling {
            self.unsettled = false;
            if self.transport.is_open() && !self.transport.is_handshaking() {
                self.protocol.settle(&mut self.transport);
            }
            self.transport.settle();
        }
    }

    /// Moves time on. Timers of what happened before count from the moment at which it happened.
    #[inline]
    fn advance(&mut self, now: Tick) {
        if now > self.transport.now {
            self.settle_now();
            self.transport.advance(now);
        }
    }
}

/// Finishes the exchange in progress, and begins no other.
fn begin_drain(protocol: &mut Protocol, transport: &mut Transport) {
    if transport.is_open() && !transport.is_timed_drain() {
        transport.begin_timed_drain();
        protocol.drain(transport);
    }
}

/// The connection has become old. An idle one is not closed before its time for that: a proxy may be
/// sending a request, which is then the last.
fn age(protocol: &mut Protocol, transport: &mut Transport) {
    if protocol.is_idle() {
        transport.draining = true;
    } else {
        begin_drain(protocol, transport);
    }
}

impl<'i> Events<'_, 'i> {
    /// The next event, and the connection to act on while reading it.
    // Not an `Iterator`: what it returns is lent.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<(&mut Connection, Event<'_>)> {
        if self.nested {
            return None;
        }
        let Connection { transport, protocol, .. } = &mut *self.connection;
        if take(&mut self.last) && !transport.eof {
            self.exhausted = true;
            return None;
        }
        let Some(step) = protocol.step(transport, &mut self.input, &mut self.desk) else {
            self.exhausted = true;
            return None;
        };
        let stream = protocol.stream();
        let event = match step {
            Step::Request(at) => {
                let Desk { head, lines, whole, .. } = &self.desk;
                let bytes = match at {
                    Place::Input(span) => &*self.input.span(span),
                    Place::Whole => whole,
                };
                Event::Request { stream, head: RequestHead::new(bytes, head, lines, whole) }
            }
            Step::Refused(reason) => {
                let head = RefusedHead::new(&self.desk.whole, &self.desk.head);
                Event::Refused { stream, reason, head }
            }
            Step::Data(at) => {
                let behind = self.input.len();
                let data = lend(&mut self.input, &mut self.desk.whole, at);
                Event::Data { stream, data, behind }
            }
            Step::End(at) => {
                let section = lend(&mut self.input, &mut self.desk.whole, at);
                Event::End { stream, trailers: Trailers::new(section, &self.desk.lines) }
            }
            Step::Writable => Event::Writable { stream },
            Step::Reset(reason) => Event::Reset { stream, reason },
            Step::Message { text, at: Place::Whole } if protocol.hands_over() => {
                let behind = self.input.len();
                self.last = behind == 0;
                let mut bytes = take(&mut self.desk.whole);
                if bytes.capacity() - bytes.len() > bytes.len() / 8 {
                    bytes.shrink_to_fit();
                }
                Event::OwnedMessage { stream, text, bytes, behind }
            }
            Step::Message { text, at } => {
                let behind = self.input.len();
                self.last = behind == 0;
                let bytes = lend(&mut self.input, &mut self.desk.whole, at);
                match message::lend(text, bytes) {
                    Ok(message) => Event::Message { stream, message, behind },
                    Err(violation) => {
                        let reason = protocol.violated(transport, violation);
                        Event::Reset { stream, reason }
                    }
                }
            }
            Step::Piece { text, last, at } => {
                let data = lend(&mut self.input, &mut self.desk.whole, at);
                Event::Piece { stream, text, last, data }
            }
            Step::Control { ping, at } => {
                let payload = &*lend(&mut self.input, &mut self.desk.whole, at);
                if ping { Event::Ping { stream, payload } } else { Event::Pong { stream, payload } }
            }
            Step::Closing { code, reason } => {
                let reason = lend(&mut self.input, &mut self.desk.whole, reason);
                let reason = head::text(reason, 0..reason.len());
                Event::Closing { stream, code, reason }
            }
        };
        Some((self.connection, event))
    }
}

/// The bytes at a place.
fn lend<'e>(input: &'e mut Input<'_>, whole: &'e mut [u8], at: Place) -> &'e mut [u8] {
    match at {
        Place::Input(span) => input.span(span),
        Place::Whole => whole,
    }
}

impl Drop for Events<'_, '_> {
    fn drop(&mut self) {
        if self.nested {
            return;
        }
        let connection = &mut *self.connection;
        let transport = &mut connection.transport;
        if !self.input.is_empty() && transport.is_open() {
            if self.input.fresh_len() as u64 <= transport.config.receive_buffer_limit() {
                let most = if transport.reads_ahead { transport.most_ahead() } else { 0 };
                transport.held = self.input.put_back(most);
            } else {
                connection.protocol.end(transport, CloseReason::Aborted);
            }
        }
        // Who stops early has to come back before more can be read.
        transport.blocked |= !self.exhausted;
        transport.reads_ahead &= self.exhausted;
        if transport.reads_ahead {
            connection.protocol.look_ahead(transport);
        }
        connection.unfinished = !self.exhausted;
        connection.pulling = false;
        connection.settle_tls();
        connection.settle();
        if connection.transport.blocked {
            // The wait for the peer is over, however short the one for the application is.
            connection.settle_now();
        }
    }
}

impl fmt::Debug for Events<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("connection", &self.connection).finish_non_exhaustive()
    }
}
