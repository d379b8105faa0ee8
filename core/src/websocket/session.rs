//! The state of one websocket: its messages, pings, close and timers (RFC 6455 5.5, 7).
//!
//! In: received bytes, and the application's actions. Out: [`Step`]s, which `connection.rs` turns
//! into events, and frames in the output. The session sends pings and answers the peer's. The state
//! alone decides which timers run: see [`Session::settle`].
//!
//! | state | meaning | next |
//! |---|---|---|
//! | `Open` | messages pass in both directions | `Closing`, `Answering`, `Closed` |
//! | `Closing` | our close frame is sent, we wait for the peer's and discard its messages | `Closed` |
//! | `Answering` | the peer's close frame has come, the application may send its last messages | `Closed` |
//! | `Closed` | the session reads and sends no more; the connection lingers | |

use super::ahead::Ahead;
use super::deflate::{self, Deflater};
use super::frame::{self, Opcode, Written};
use super::message::{self, Arrival, Limits, Receiver};
use super::negotiation::Agreed;
use super::{Cost, Violation, close};
use crate::budget::{Budget, USELESS};
use crate::close::code::may_be_sent;
use crate::close::{CloseReason, Expiry, Misuse, PeerClose, ResetReason};
use crate::config::Config;
use crate::endings::Ending;
use crate::event::Sent;
use crate::input::{Input, Span};
use crate::rate::Rate;
use crate::step::{Desk, Place, Step};
use crate::stream::StreamId;
use crate::time::{Tick, Timer};
use crate::transport::Transport;
use crate::waits::Wait;
use bytes::Bytes;
use core::mem::{replace, take};
use core::time::Duration;

/// A message that is too long for the free room is split only if this many bytes fit. So no tiny
/// fragments go out.
const LEAST_FRAGMENT: usize = 1024;

/// All timers of a websocket.
const TIMERS: [Timer; 5] = [
    Timer::WebSocketPing,
    Timer::WebSocketPong,
    Timer::WebSocketMessage,
    Timer::WebSocketIdle,
    Timer::WebSocketClose,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The reason with which the connection ends once the peer's close frame has come.
    Closing(CloseReason),
    /// The code in the peer's close frame, to be sent back in ours.
    Answering(Option<u16>),
    Closed,
}

/// The settings that the handshake and the application's [`Options`](super::Options) fixed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) stream: StreamId,
    pub(crate) limits: Limits,
    pub(crate) deflate: Option<Agreed>,
    pub(crate) owned: bool,
    pub(crate) controls: bool,
}

/// The most memory that a websocket adds to its connection. `window_bits` is the size of the
/// compression window, if compression may be negotiated.
pub(crate) fn memory_bound(config: &Config, limits: Limits, window_bits: Option<u8>) -> usize {
    // A compressed message is queued whole, even if the output is nearly full.
    let behind = config.send_buffer_limit() as usize;
    let contexts = window_bits.map_or(0, |bits| deflate::memory_bound(bits) + behind);
    // Bytes read ahead, on top of the bytes that every connection may hold.
    let ahead = 2 * config.receive_buffer_limit() as usize;
    let received = message::memory_bound(limits);
    let own = size_of::<Session>() + frame::LONGEST_CONTROL;
    (own + contexts + ahead).saturating_add(received)
}

#[derive(Debug)]
pub(crate) struct Session {
    stream: StreamId,
    state: State,
    /// Assembled messages are handed over to the application instead of lent.
    owned: bool,
    /// The application is told of the peer's pings and pongs.
    controls: bool,
    receiver: Receiver,
    ahead: Ahead,
    deflater: Option<Box<Deflater>>,
    /// The pong for the newest ping, while the output is full. Older pings may go unanswered
    /// (RFC 6455 5.5.3).
    pong: Option<Box<[u8]>>,
    /// The minimum rate at which a message that has begun must arrive.
    upload: Rate,
    /// When bytes last arrived from the peer.
    heard: Tick,
    /// When the last message passed, in either direction.
    used: Tick,
    /// A ping was queued, and no bytes have arrived since.
    pinged: bool,
    /// When that ping was flushed; before, the peer could not answer it.
    ping_sent: Tick,
    /// The application's message was sent in part: the next fragment continues it.
    sending: bool,
    /// The peer is not allowed to send on.
    is_shut: bool,
    /// `send_message` took less than the whole message: the application is told when there is room.
    cut_short: bool,
    /// A reset that the application has not been told of yet.
    reset: Option<ResetReason>,
}

impl Session {
    pub(crate) fn new(terms: Terms, transport: &Transport) -> Self {
        Session {
            stream: terms.stream,
            state: State::Open,
            owned: terms.owned,
            controls: terms.controls,
            receiver: Receiver::new(terms.limits, terms.deflate),
            ahead: Ahead::default(),
            deflater: terms.deflate.map(|agreed| Box::new(Deflater::new(agreed))),
            pong: None,
            upload: message_guard(transport),
            heard: transport.now,
            used: transport.now,
            pinged: false,
            ping_sent: Tick::NEVER,
            sending: false,
            is_shut: false,
            cut_short: false,
            reset: None,
        }
    }

    pub(crate) fn stream(&self) -> StreamId {
        self.stream
    }

    /// The number of requests delivered. HTTP/1.1 numbers its streams in order, and the request that
    /// became this websocket was the last.
    pub(crate) fn requests(&self) -> u64 {
        self.stream.as_u64()
    }

    /// An open websocket counts as in use even while no message passes.
    pub(crate) fn is_idle(&self) -> bool {
        false
    }

    pub(crate) fn hands_over(&self) -> bool {
        self.owned
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        let deflater = self.deflater.as_ref().map(|it| size_of::<Deflater>() + it.memory());
        let pong = self.pong.as_ref().map_or(0, |it| it.len());
        size_of::<Session>() + self.receiver.memory() + deflater.unwrap_or(0) + pong
    }

    /// The most memory that this session may take, [`Session`] itself included.
    pub(crate) fn memory_bound(&self, config: &Config) -> usize {
        let bits = self.receiver.deflates().then_some(super::negotiation::MOST_BITS);
        memory_bound(config, self.receiver.limits(), bits)
    }

    // ---- bytes in -------------------------------------------------------------------------------

    /// Returns the next step that `input` yields. The caller holds the bytes that are not taken.
    pub(crate) fn step(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Option<Step> {
        let (blocked, reads_ahead) =
            (take(&mut transport.blocked), take(&mut transport.reads_ahead));
        if blocked && !input.is_empty() {
            let is_full = input.len() as u64 >= transport.config.receive_buffer_limit();
            if is_full || !reads_ahead {
                // While bytes were held for lack of credit, we read no more and could not see
                // whether the peer was alive. They count once as a sign of life.
                self.heard(transport);
            }
        }
        self.flush_pong(transport);
        loop {
            if let Some(reason) = self.reset.take() {
                return Some(Step::Reset(reason));
            }
            if self.cut_short && transport.has_room() {
                self.cut_short = false;
                return Some(Step::Writable);
            }
            if !transport.is_open() {
                transport.discard(input.take_all());
                return None;
            }
            if let State::Answering(_) = self.state {
                // A peer sends no frames after its close frame (RFC 6455 5.5.1).
                input.take_all();
                return None;
            }
            let mut purse = Purse {
                budget: &mut transport.budget,
                now: transport.now,
                earned: 0,
                inflatable: desk.inflatable,
                ahead: &mut self.ahead,
                was_answered: false,
            };
            let before = input.len();
            let taken = self.receiver.step(input, &mut desk.whole, &mut purse);
            let Purse { earned, inflatable, was_answered, .. } = purse;
            self.ahead.took(before - input.len());
            desk.inflatable = inflatable;
            if earned > 0 {
                self.upload.progress(
                    transport.config.request_body_minimum(),
                    earned,
                    transport.now,
                );
                self.used = transport.now;
            }
            match taken {
                Ok(Some(Arrival::Ping(payload))) if was_answered => {
                    if let Some(step) = self.told(true, payload) {
                        return Some(step);
                    }
                }
                Ok(Some(step)) => {
                    if let Some(step) = self.take_step(transport, input, step) {
                        return Some(step);
                    }
                }
                Ok(None) if transport.eof && !self.receiver.is_blocked() => {
                    self.fail(transport, CloseReason::Peer(PeerClose::Truncated));
                }
                Ok(None) => {
                    transport.blocked = self.receiver.is_blocked();
                    // A paused receiver goes on at the next pull, so it needs no bytes read ahead.
                    transport.reads_ahead = transport.blocked && !self.receiver.is_paused();
                    return None;
                }
                Err(violation) => {
                    self.fail(transport, CloseReason::Violation(violation));
                }
            }
        }
    }

    fn take_step(
        &mut self,
        transport: &mut Transport,
        input: &mut Input<'_>,
        step: Arrival,
    ) -> Option<Step> {
        if !self.receiver.is_in_message() {
            // No message is in progress: the next one starts with a fresh timer and rate.
            transport.timers.stop(Timer::WebSocketMessage);
            self.upload = message_guard(transport);
        }
        match step {
            Arrival::Message { text, at } => {
                self.used = transport.now;
                Some(Step::Message { text, at })
            }
            Arrival::Piece { text, last, at } => {
                self.used = transport.now;
                Some(Step::Piece { text, last, at })
            }
            Arrival::Ping(payload) => {
                if self.state == State::Open {
                    self.pong = Some(input.span(payload).to_vec().into_boxed_slice());
                    self.flush_pong(transport);
                }
                self.told(true, payload)
            }
            Arrival::Pong(payload) => self.told(false, payload),
            Arrival::Close { code, reason } => {
                self.closed_by_peer(transport, code);
                Some(Step::Closing { code, reason: Place::Input(reason) })
            }
        }
    }

    /// The step by which the application is told of a ping or a pong, if it asked for them. After a close of
    /// ours it is told of nothing more.
    fn told(&self, ping: bool, payload: Span) -> Option<Step> {
        let tells = self.controls && self.state == State::Open;
        tells.then_some(Step::Control { ping, at: Place::Input(payload) })
    }

    /// Answers the pings among bytes that wait for the application. Only the first
    /// `receive_buffer_limit` bytes are searched, so that the result doesn't depend on how the bytes
    /// were split into reads.
    #[cold]
    pub(crate) fn look_ahead(&mut self, transport: &mut Transport) {
        let most = transport.config.receive_buffer_limit() as usize;
        while self.state == State::Open {
            let Transport { held, budget, now, .. } = &mut *transport;
            let held = held.bytes();
            let held = held.get(..most).unwrap_or(held);
            let (begun, deflates) = (self.receiver.left_of_frame(), self.receiver.deflates());
            let pays = || budget.spend(USELESS, *now);
            let Some(payload) = self.ahead.ping(held, begun, deflates, pays) else { return };
            self.pong = Some(payload);
            self.flush_pong(transport);
        }
    }

    /// Takes the peer's close frame: it is the reply to ours, or the application may still send
    /// before we reply.
    fn closed_by_peer(&mut self, transport: &mut Transport, code: Option<u16>) {
        match self.state {
            State::Closing(reason) => self.linger(transport, reason),
            State::Open => {
                self.state = State::Answering(code);
                stop(transport, &TIMERS);
            }
            State::Answering(_) | State::Closed => {}
        }
    }

    /// Replies to the peer's close frame with the same code. The server then closes the connection
    /// (RFC 6455 5.5.1, 7.1.1).
    fn answer_close(&mut self, transport: &mut Transport, code: Option<u16>) {
        close::write(transport.output.buffer(LONGEST_CLOSE), code, "");
        self.linger(transport, CloseReason::Completed);
    }

    /// Ends the websocket because a text message is not valid UTF-8. The caller found that out, and
    /// tells the application itself.
    #[cold]
    pub(crate) fn violated(&mut self, transport: &mut Transport, violation: Violation) {
        self.fail(transport, CloseReason::Violation(violation));
        self.reset = None;
    }

    /// Whether [`Session::step`] can do something without new bytes.
    #[inline(always)]
    pub(crate) fn has_events(&self, transport: &Transport) -> bool {
        let is_ending = matches!(self.state, State::Answering(_));
        // After the peer's end of stream, held bytes go first: they wait for credit.
        let waits = transport.blocked && !self.receiver.has_credit();
        let over = transport.eof && transport.is_open() && !waits && !is_ending;
        let pong = self.pong.is_some() && self.state == State::Open;
        let room = (self.cut_short || pong) && transport.has_room();
        self.reset.is_some() || room || over || (transport.is_open() && self.receiver.has_more())
    }

    /// Whether the application takes more of what the peer sends.
    pub(crate) fn takes_more(&self) -> bool {
        self.receiver.has_credit()
    }

    /// Tells whether the peer is not allowed to send on, although the application waits.
    pub(crate) fn hold_back(&mut self, transport: &Transport, is_held_back: bool) {
        if replace(&mut self.is_shut, is_held_back) != is_held_back {
            // What was not allowed to come does not count as silence.
            self.heard(transport);
        }
    }

    /// Whether the peer is not allowed to send on, and the application is owed nothing else.
    pub(crate) fn is_held_back(&self) -> bool {
        self.is_shut && self.reset.is_none() && self.state == State::Open
    }

    /// Bytes of a message that is not whole yet.
    pub(crate) fn begun(&self) -> usize {
        self.receiver.begun()
    }

    /// Whether inflating stopped for this pull of events, so that other connections get their turn.
    #[inline(always)]
    pub(crate) fn is_paused(&self) -> bool {
        self.receiver.is_paused()
    }

    /// Whether held bytes that lacked credit can be taken now. An incomplete frame does not count: it
    /// waits for the peer.
    #[inline(always)]
    pub(crate) fn may_go_on(&self, transport: &Transport) -> bool {
        !transport.held.is_empty() && transport.blocked && self.receiver.has_credit()
    }

    // ---- actions --------------------------------------------------------------------------------

    /// Gives credit up to a number of messages, or of bytes if the application takes messages in pieces.
    pub(crate) fn read_to(
        &mut self,
        _: &Transport,
        stream: StreamId,
        end: u64,
    ) -> Result<(), Misuse> {
        self.check_stream(stream)?;
        self.receiver.grant(end);
        Ok(())
    }

    /// The number of messages, or of bytes of pieces, that were delivered.
    pub(crate) fn received(&self, stream: StreamId) -> u64 {
        if stream == self.stream { self.receiver.delivered() } else { 0 }
    }

    /// Does nothing: the timers of a websocket run whether its application waits or not.
    pub(crate) fn cancel_read(&mut self, _: &Transport, stream: StreamId) -> Result<(), Misuse> {
        self.check_stream(stream)
    }

    pub(crate) fn send_message(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        text: bool,
        data: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        self.check(transport, stream)?;
        let room = transport.room();
        // The application is told of room at half of the limit, so the threshold is no higher.
        let least = LEAST_FRAGMENT.min(transport.config.send_buffer_limit() as usize / 2);
        if room < data.len().clamp(1, least) {
            self.cut_short = true;
            return Ok(Sent::Part);
        }
        let mut compressed = false;
        if !self.sending
            && let Some(deflater) = &mut self.deflater
        {
            let mut smaller = Vec::new();
            compressed = deflater.deflate(data, &mut smaller);
            if compressed {
                // The output counts the length of a `Bytes`, not its capacity.
                smaller.shrink_to_fit();
                *data = smaller.into();
            }
        }
        let opcode = match (self.sending, text) {
            (true, _) => Opcode::Continuation,
            (false, true) => Opcode::Text,
            (false, false) => Opcode::Binary,
        };
        // Some clients inflate each frame by itself. So a compressed message that fits into an empty
        // buffer goes out in one frame, even if the buffer then exceeds its limit.
        let fits = compressed && data.len() as u64 <= transport.config.send_buffer_limit();
        let most = if fits { data.len() } else { room };
        let piece = data.split_to(most.min(data.len()));
        let is_last = data.is_empty();
        let header = Written::new(opcode, is_last, compressed, piece.len() as u64);
        transport.output.write(header.as_bytes());
        transport.output.push(piece);
        self.sending = !is_last;
        self.cut_short |= !is_last;
        self.used = transport.now;
        Ok(Sent::of(data))
    }

    pub(crate) fn await_room(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        self.cut_short = true;
        Ok(())
    }

    /// Sends a ping of the application's, or a pong.
    pub(crate) fn send_control(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        ping: bool,
        payload: &[u8],
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        if payload.len() > frame::LONGEST_CONTROL {
            return Err(Misuse::TooLong { left: frame::LONGEST_CONTROL as u64 });
        }
        if transport.is_full() {
            return Err(Misuse::Full);
        }
        let opcode = if ping { Opcode::Ping } else { Opcode::Pong };
        frame::write_control(transport.output.buffer(LONGEST_CLOSE), opcode, payload);
        Ok(())
    }

    pub(crate) fn close(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        code: Option<u16>,
        reason: &str,
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        if code.is_some_and(|code| !may_be_sent(code)) {
            return Err(Misuse::CloseCode);
        }
        match self.state {
            State::Answering(code) => self.answer_close(transport, code),
            _ => self.begin_close(transport, CloseReason::Completed, code, reason),
        }
        Ok(())
    }

    pub(crate) fn drain(&mut self, transport: &mut Transport) {
        if self.state == State::Open {
            self.end(transport, CloseReason::Drained);
        }
    }

    /// The number of bytes that `send_message` would take now.
    pub(crate) fn room(&self, transport: &Transport, stream: StreamId) -> usize {
        if self.check(transport, stream).is_ok() { transport.room() } else { 0 }
    }

    /// The transport took output. Once it is flushed, our ping is out and the wait for the pong begins.
    #[inline]
    pub(crate) fn sent(&mut self, transport: &Transport) {
        if self.pinged && self.ping_sent == Tick::NEVER && transport.is_flushed() {
            self.ping_sent = transport.now;
        }
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Frees memory that is not needed until more bytes arrive.
    #[inline]
    pub(crate) fn release(&mut self, transport: &Transport) {
        if transport.held.is_empty() {
            self.receiver.release();
            if let Some(deflater) = &mut self.deflater {
                deflater.release();
            }
        }
    }

    /// Starts and stops the timers as the state requires.
    pub(crate) fn settle(&mut self, transport: &mut Transport) {
        let (nothing_held, flushed) = (transport.held.is_empty(), transport.is_flushed());
        if self.state == State::Open && transport.is_half_closed() && transport.blocked {
            // Messages wait for the application, and the peer will send no more.
            stop(transport, &TIMERS);
            let wait = if flushed { Wait::GonePeer } else { Wait::WebSocket };
            return transport.wait(wait, Tick::NEVER);
        }
        transport.wait(Wait::WebSocket, Tick::NEVER);
        let timeout = transport.config.websocket_close_timeout();
        match self.state {
            State::Open | State::Closed => {}
            State::Answering(_) => return run(transport, Timer::WebSocketClose, Some(timeout)),
            // Until our close frame is flushed, the response timer guards the output.
            State::Closing(_) => {
                return run(transport, Timer::WebSocketClose, flushed.then_some(timeout));
            }
        }
        // Once the buffer is full of bytes that wait for the application, we read no more and can't
        // hear the peer: no pings then.
        let hears = !transport.is_held_back() && !self.is_shut;
        self.settle_pings(transport, hears, flushed);
        // The other timers run only while the application waits for the peer.
        let hears = (nothing_held || !transport.blocked) && !self.is_shut;
        let idle_until = transport.config.websocket_idle_timeout().map(|it| self.used.after(it));
        set(transport, Timer::WebSocketIdle, idle_until.filter(|_| hears));
        let is_owed =
            self.receiver.awaits_more() || !nothing_held || transport.has_partial_record();
        if hears && is_owed {
            // The bytes that came together with the message's first frame already count.
            self.upload.resume(transport.now);
            let minimum = transport.config.request_body_minimum();
            let deadline = self.upload.deadline(minimum, transport.ahead());
            transport.timers.set(Timer::WebSocketMessage, deadline);
        } else if transport.timers.is_set(Timer::WebSocketMessage) || self.upload.is_heard() {
            transport.timers.stop(Timer::WebSocketMessage);
            self.upload = message_guard(transport);
        }
    }

    /// Pings a silent peer, but only when nothing is unsent: the response timer guards unsent output.
    /// The wait for the pong begins when the ping is flushed, and output sent after it does not
    /// restart that wait.
    fn settle_pings(&mut self, transport: &mut Transport, hears: bool, flushed: bool) {
        let silent_until =
            transport.config.websocket_ping_interval().map(|it| self.heard.after(it));
        let silent_until = silent_until.filter(|_| hears && flushed && !self.pinged);
        let is_out = hears && self.ping_sent != Tick::NEVER;
        let pong = transport.config.websocket_pong_timeout().map(|it| self.ping_sent.after(it));
        let pong_until = pong.filter(|_| is_out);
        // At most one of the two timers runs.
        match (silent_until, pong_until) {
            (_, Some(at)) => {
                transport.timers.stop(Timer::WebSocketPing);
                transport.timers.set(Timer::WebSocketPong, at);
            }
            (at, None) => {
                transport.timers.stop(Timer::WebSocketPong);
                set(transport, Timer::WebSocketPing, at);
            }
        }
    }

    /// Bytes of an incomplete TLS record arrived: the peer is not silent.
    #[cold]
    pub(crate) fn trickle(&mut self, transport: &Transport) {
        if transport.timers.is_set(Timer::WebSocketMessage) {
            self.upload.hear(transport.config.request_body_minimum(), transport.now);
        }
    }

    /// Bytes arrived: any of them prove that the peer is alive.
    #[inline]
    pub(crate) fn heard(&mut self, transport: &Transport) {
        self.heard = transport.now;
        (self.pinged, self.ping_sent) = (false, Tick::NEVER);
    }

    /// The peer is still acknowledging output that precedes our ping or close frame. The time to
    /// reply starts again, as long as the peer keeps up.
    #[cold]
    pub(crate) fn taking(&mut self, transport: &mut Transport, taken: u64) {
        if self.ping_sent != Tick::NEVER
            && transport.keeps_up(taken, transport.now.since(self.ping_sent))
        {
            self.ping_sent = transport.now;
        }
        if let State::Closing(_) = self.state
            && transport.keeps_up(taken, transport.config.websocket_close_timeout())
        {
            transport.timers.stop(Timer::WebSocketClose);
        }
    }

    /// Acts on a deadline that has passed.
    #[cold]
    pub(crate) fn expire(&mut self, transport: &mut Transport, expiry: Expiry) {
        match (expiry, self.state) {
            (Expiry::WebSocketClose, State::Answering(code)) => self.answer_close(transport, code),
            _ => self.end(transport, CloseReason::Expired(expiry)),
        }
    }

    /// Pings the peer, from which nothing has come for `websocket_ping_interval`.
    #[cold]
    pub(crate) fn ping_silent(&mut self, transport: &mut Transport) {
        frame::write_control(transport.output.buffer(2), Opcode::Ping, &[]);
        self.pinged = true;
    }

    // ---- closing --------------------------------------------------------------------------------

    /// Ends the websocket for `reason`, with the ending that [`Ending::of`] gives.
    #[cold]
    pub(crate) fn end(&mut self, transport: &mut Transport, reason: CloseReason) {
        match (Ending::of(reason), reason) {
            (Ending::Finish, CloseReason::Expired(_)) => {
                self.begin_close(transport, reason, reason.close_code(), "idle");
            }
            (Ending::Finish, _) => self.begin_close(transport, reason, reason.close_code(), ""),
            (Ending::Refuse, _) => self.fail(transport, reason),
            (Ending::Leave | Ending::Cut, _) => self.cut(transport, reason),
        }
    }

    /// Sends our close frame, and waits for the peer's.
    fn begin_close(
        &mut self,
        transport: &mut Transport,
        reason: CloseReason,
        code: Option<u16>,
        text: &str,
    ) {
        close::write(transport.output.buffer(LONGEST_CLOSE), code, text);
        self.state = State::Closing(reason);
        self.silence();
        self.receiver.discard();
        stop(transport, &TIMERS);
    }

    /// Ends the connection at once, and frees the message in progress. A pending reset still reaches
    /// the application.
    #[cold]
    pub(crate) fn cut(&mut self, transport: &mut Transport, reason: CloseReason) {
        self.state = State::Closed;
        self.silence();
        self.receiver.discard();
        transport.close(reason);
    }

    /// Fails the websocket for `reason`. The peer gets a close frame if the reason has a code.
    #[cold]
    fn fail(&mut self, transport: &mut Transport, reason: CloseReason) {
        if self.state == State::Closed {
            // TLS may fail after the websocket has ended.
            return;
        }
        if let (State::Open, Some(code)) = (self.state, reason.close_code()) {
            close::write(transport.output.buffer(LONGEST_CLOSE), Some(code), reason.label());
        }
        self.reset = Some(match reason {
            CloseReason::Expired(_) => ResetReason::Timeout,
            CloseReason::Violation(violation) => ResetReason::Violation(violation),
            _ => ResetReason::Truncated,
        });
        let reason = match self.state {
            State::Closing(first) => first,
            State::Open | State::Answering(_) | State::Closed => reason,
        };
        self.linger(transport, reason);
    }

    fn linger(&mut self, transport: &mut Transport, reason: CloseReason) {
        self.state = State::Closed;
        self.silence();
        self.receiver.discard();
        stop(transport, &TIMERS);
        transport.end_since();
        transport.linger(reason, 0);
    }

    /// Drops what we would still send: no frame follows our close frame.
    fn silence(&mut self) {
        (self.sending, self.cut_short) = (false, false);
        (self.deflater, self.pong) = (None, None);
    }

    // ---- helpers --------------------------------------------------------------------------------

    /// Sends the pending pong if there is room. A pong may go between two fragments of a message
    /// (RFC 6455 5.4).
    fn flush_pong(&mut self, transport: &mut Transport) {
        if self.pong.is_some() && self.state == State::Open && !transport.is_full() {
            let payload = take(&mut self.pong).unwrap_or_default();
            frame::write_control(transport.output.buffer(LONGEST_CLOSE), Opcode::Pong, &payload);
        }
    }

    fn check_stream(&self, stream: StreamId) -> Result<(), Misuse> {
        if stream == self.stream { Ok(()) } else { Err(Misuse::UnknownStream) }
    }

    /// Fails unless this is the websocket's stream and frames may still be sent on it.
    fn check(&self, transport: &Transport, stream: StreamId) -> Result<(), Misuse> {
        self.check_stream(stream)?;
        let speaks = matches!(self.state, State::Open | State::Answering(_));
        if speaks && transport.is_open() { Ok(()) } else { Err(Misuse::UnknownStream) }
    }
}

/// The longest control frame that a server sends, with its header.
const LONGEST_CLOSE: usize = 2 + frame::LONGEST_CONTROL;

/// Pays for costly frames from the connection's budget.
struct Purse<'b> {
    budget: &'b mut Budget,
    now: Tick,
    /// Bytes of messages that arrived in this step.
    earned: usize,
    /// Bytes that may still be inflated in this pull of events.
    inflatable: usize,
    /// Knows the pings that were answered and paid for ahead of their turn.
    ahead: &'b mut Ahead,
    /// The ping of this step was one of them, and gets no second pong.
    was_answered: bool,
}

impl super::Payer for Purse<'_> {
    fn spend(&mut self, cost: Cost) -> bool {
        if cost == Cost::Ping && self.ahead.was_answered() {
            self.was_answered = true;
            return true;
        }
        let points = match cost {
            Cost::EmptyFrame | Cost::TinyFragment | Cost::Ping | Cost::Pong => USELESS,
            // The inflater has to clear its window.
            Cost::FinalBlock => 16 * USELESS,
        };
        self.budget.spend(points, self.now)
    }

    fn earn(&mut self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.budget.earn(bytes);
        self.earned = self.earned.saturating_add(bytes);
    }

    fn inflatable(&self) -> usize {
        self.inflatable
    }

    fn inflated(&mut self, bytes: usize) {
        self.inflatable = self.inflatable.saturating_sub(bytes);
    }
}

/// The minimum rate for a message. There is no deadline for the whole message.
fn message_guard(transport: &Transport) -> Rate {
    Rate::new(transport.config.request_body_minimum(), transport.now).without_total()
}

/// Sets the timer to `at`, or stops it.
fn set(transport: &mut Transport, timer: Timer, at: Option<Tick>) {
    match at {
        Some(at) => transport.timers.set(timer, at),
        None => transport.timers.stop(timer),
    }
}

/// Starts the timer unless it runs already, or stops it.
fn run(transport: &mut Transport, timer: Timer, delay: Option<Duration>) {
    match delay {
        None => transport.timers.stop(timer),
        Some(delay) if !transport.timers.is_set(timer) => {
            transport.timers.set(timer, transport.now.after(delay));
        }
        Some(_) => {}
    }
}

fn stop(transport: &mut Transport, timers: &[Timer]) {
    for timer in timers {
        transport.timers.stop(*timer);
    }
}
