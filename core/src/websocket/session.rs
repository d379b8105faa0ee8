//! A websocket on its connection: what both sides do to it, and until when each is waited for
//! (RFC 6455 5.5, 7).
//!
//! In: bytes, as [`Step`]s are asked for, and actions of the application. Out: steps, which
//! `connection.rs` turns into events, and frames in the output. Pings are answered here, and sent;
//! which timers run follows from the state alone, in [`Session::settle`].
//!
//! | state | what it means | next |
//! |---|---|---|
//! | `Open` | messages in both directions | `Closing`, `Answering`, `Closed` |
//! | `Closing` | our close is out, the peer's is waited for; its messages go nowhere | `Closed` |
//! | `Answering` | the peer's close has come, the application may still say what it was about to | `Closed` |
//! | `Closed` | no more is looked at or sent: the connection lingers | |

use super::ahead::Ahead;
use super::deflate::{self, Deflater};
use super::frame::{self, Opcode, Written};
use super::message::{self, Arrival, Limits, Receiver};
use super::negotiation::Agreed;
use super::{Cost, Violation, close};
use crate::budget::{Budget, USELESS};
use crate::close::code::may_be_sent;
use crate::close::{CloseReason, Misuse, PeerClose, ResetReason};
use crate::config::Config;
use crate::endings::Ending;
use crate::event::Sent;
use crate::input::Input;
use crate::rate::Rate;
use crate::step::{Desk, Step};
use crate::stream::StreamId;
use crate::time::{Tick, Timer};
use crate::transport::Transport;
use crate::waits::Wait;
use bytes::Bytes;
use core::mem::take;
use core::time::Duration;

/// A message that does not fit is begun if there is room for so much of it.
const LEAST_FRAGMENT: usize = 1024;

/// The websocket's own timers.
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
    /// For that reason the connection ends when the peer's close has come.
    Closing(CloseReason),
    /// The peer's close, which is to be answered, had that code.
    Answering(Option<u16>),
    Closed,
}

/// What the request that became the websocket, and its acceptance, have settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) stream: StreamId,
    pub(crate) limits: Limits,
    pub(crate) deflate: Option<Agreed>,
    pub(crate) owned: bool,
}

/// The most memory that a websocket adds which receives under `limits`, and compresses, if it does,
/// with a window of so many bits.
pub(crate) fn memory_bound(config: &Config, limits: Limits, window_bits: Option<u8>) -> usize {
    // A compressed message may go behind an output that is nearly full.
    let behind = config.send_buffer_limit() as usize;
    let contexts = window_bits.map_or(0, |bits| deflate::memory_bound(bits) + behind);
    // What is read ahead, beside what each connection may hold.
    let ahead = 2 * config.receive_buffer_limit() as usize;
    let received = message::memory_bound(limits);
    let own = size_of::<Session>() + frame::LONGEST_CONTROL;
    (own + contexts + ahead).saturating_add(received)
}

#[derive(Debug)]
pub(crate) struct Session {
    stream: StreamId,
    state: State,
    /// Messages that were put together become the application's own.
    owned: bool,
    receiver: Receiver,
    ahead: Ahead,
    deflater: Option<Box<Deflater>>,
    budget: Budget,
    /// The answer to the newest ping, for which there was no room (RFC 6455 5.5.3 allows to leave
    /// out older ones).
    pong: Option<Box<[u8]>>,
    /// The guard over a message that has begun.
    upload: Rate,
    /// When the peer was last heard of.
    heard: Tick,
    /// When a message last passed, in either direction.
    used: Tick,
    /// A ping is out, and nothing has come since.
    pinged: bool,
    /// When the peer could have seen that ping: it was flushed.
    ping_sent: Tick,
    /// Some of a message was sent, and the rest is owed.
    sending: bool,
    /// A message was cut short.
    cut_short: bool,
    /// To be told to the application.
    reset: Option<ResetReason>,
}

impl Session {
    pub(crate) fn new(terms: Terms, transport: &Transport) -> Self {
        Session {
            stream: terms.stream,
            state: State::Open,
            owned: terms.owned,
            receiver: Receiver::new(terms.limits, terms.deflate),
            ahead: Ahead::default(),
            deflater: terms.deflate.map(|agreed| Box::new(Deflater::new(agreed))),
            budget: Budget::new(transport.now),
            pong: None,
            upload: message_guard(transport),
            heard: transport.now,
            used: transport.now,
            pinged: false,
            ping_sent: Tick::NEVER,
            sending: false,
            cut_short: false,
            reset: None,
        }
    }

    pub(crate) fn stream(&self) -> StreamId {
        self.stream
    }

    /// How many requests were delivered: streams of HTTP/1.1 are numbered in their order, and this was
    /// the last of them.
    pub(crate) fn requests(&self) -> u64 {
        self.stream.as_u64()
    }

    /// An open websocket is in use, also while nothing passes.
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

    /// The most that this becomes, [`Session`] itself included.
    pub(crate) fn memory_bound(&self, config: &Config) -> usize {
        let bits = self.receiver.deflates().then_some(super::negotiation::MOST_BITS);
        memory_bound(config, self.receiver.limits(), bits)
    }

    // ---- bytes in -------------------------------------------------------------------------------

    /// The next thing that happened, if there is one in `input`. What is not taken is to be held.
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
                // No more was read, so that bytes which were held for lack of credit hid what else
                // the peer has sent: they count once as a sign of life.
                self.heard(transport);
            }
        }
        self.flush_pong(transport);
        loop {
            if let Some(reason) = self.reset.take() {
                return Some(Step::Reset(reason));
            }
            if self.cut_short && self.has_room(transport) {
                self.cut_short = false;
                return Some(Step::Writable);
            }
            if !transport.is_open() {
                transport.discard(input.take_all());
                return None;
            }
            if let State::Answering(_) = self.state {
                // Nothing follows a close (RFC 6455 5.5.1).
                input.take_all();
                return None;
            }
            let mut purse = Purse {
                budget: &mut self.budget,
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
                Ok(Some(Arrival::Ping(_))) if was_answered => {}
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
                    // Not while it goes on by itself, and a close is waited for in any case.
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
            // What has begun behind a whole message, or a whole ping, is a wait of its own.
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
                None
            }
            Arrival::Pong(_) => None,
            Arrival::Close { code, reason } => {
                self.closed_by_peer(transport, code);
                Some(Step::Closing { code, reason })
            }
        }
    }

    /// More was read behind bytes that wait for the application: answers the pings among them. Only
    /// as many bytes count as may be held, so that it makes no difference in what pieces they came.
    #[cold]
    pub(crate) fn look_ahead(&mut self, transport: &mut Transport) {
        let most = transport.config.receive_buffer_limit() as usize;
        while self.state == State::Open {
            let held = transport.held.bytes();
            let held = held.get(..most).unwrap_or(held);
            let (begun, deflates) = (self.receiver.left_of_frame(), self.receiver.deflates());
            let (budget, now) = (&mut self.budget, transport.now);
            let pays = || budget.spend(USELESS, now);
            let Some(payload) = self.ahead.ping(held, begun, deflates, pays) else { return };
            self.pong = Some(payload);
            self.flush_pong(transport);
        }
    }

    /// The peer's close was the answer to ours, or is to be answered.
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

    /// Answers the peer's close with its own code; the server then ends the connection (RFC 6455
    /// 5.5.1, 7.1.1).
    fn answer_close(&mut self, transport: &mut Transport, code: Option<u16>) {
        close::write(transport.output.buffer(LONGEST_CLOSE), code, "");
        self.linger(transport, CloseReason::Completed);
    }

    /// What was to be lent as text is none: the caller tells the application.
    #[cold]
    pub(crate) fn violated(&mut self, transport: &mut Transport, violation: Violation) {
        self.fail(transport, CloseReason::Violation(violation));
        self.reset = None;
    }

    /// Whether [`Session::step`] has something to do without new bytes.
    pub(crate) fn has_events(&self, transport: &Transport) -> bool {
        let is_ending = matches!(self.state, State::Answering(_));
        // Bytes that waited for credit may be gone on with, and then the end is looked at.
        let waits = transport.blocked && !self.receiver.has_credit();
        let over = transport.eof && transport.is_open() && !waits && !is_ending;
        let pong = self.pong.is_some() && self.state == State::Open;
        let room = (self.cut_short || pong) && self.has_room(transport);
        self.reset.is_some() || room || over || (transport.is_open() && self.receiver.has_more())
    }

    /// Inflating was left off, so that others get their turn.
    pub(crate) fn is_paused(&self) -> bool {
        self.receiver.is_paused()
    }

    /// The same, of held bytes: what was left for want of credit can be gone on with. What is
    /// incomplete waits for the peer.
    pub(crate) fn may_go_on(&self, transport: &Transport) -> bool {
        !transport.held.is_empty() && transport.blocked && self.receiver.has_credit()
    }

    // ---- actions --------------------------------------------------------------------------------

    /// So many messages may come; or so many bytes, for who takes them in pieces.
    pub(crate) fn read(
        &mut self,
        _: &Transport,
        stream: StreamId,
        credit: u64,
    ) -> Result<(), Misuse> {
        self.check_stream(stream)?;
        self.receiver.add_credit(credit);
        Ok(())
    }

    /// Credit for messages lasts, so there is nothing to take back.
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
        let room = self.free(transport);
        // Whoever is told of room finds enough of it: half of the limit.
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
                // A `Bytes` counts with its length.
                smaller.shrink_to_fit();
                *data = smaller.into();
            }
        }
        let opcode = match (self.sending, text) {
            (true, _) => Opcode::Continuation,
            (false, true) => Opcode::Text,
            (false, false) => Opcode::Binary,
        };
        // Some clients inflate each frame by itself: a compressed message goes whole where it fits into
        // an empty buffer, even if it does not fit behind what is there.
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

    pub(crate) fn ping(
        &mut self,
        transport: &mut Transport,
        stream: StreamId,
        payload: &[u8],
    ) -> Result<(), Misuse> {
        self.check(transport, stream)?;
        if payload.len() > frame::LONGEST_CONTROL {
            return Err(Misuse::TooLong { left: frame::LONGEST_CONTROL as u64 });
        }
        if transport.is_full() {
            return Err(Misuse::Full);
        }
        frame::write_control(transport.output.buffer(LONGEST_CLOSE), Opcode::Ping, payload);
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

    /// How much of a message would be taken now.
    pub(crate) fn room(&self, transport: &Transport, stream: StreamId) -> usize {
        if self.check(transport, stream).is_ok() { self.free(transport) } else { 0 }
    }

    /// The peer took some of what waited: if it was all, its ping was among it.
    #[inline]
    pub(crate) fn sent(&mut self, transport: &Transport) {
        if self.pinged && self.ping_sent == Tick::NEVER && transport.is_flushed() {
            self.ping_sent = transport.now;
        }
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Frees what is of no use until more bytes arrive.
    #[inline]
    pub(crate) fn release(&mut self, transport: &Transport) {
        if transport.held.is_empty() {
            self.receiver.release();
            if let Some(deflater) = &mut self.deflater {
                deflater.release();
            }
        }
    }

    /// Lets the timers follow the state.
    pub(crate) fn settle(&mut self, transport: &mut Transport) {
        let (nothing_held, flushed) = (transport.held.is_empty(), transport.is_flushed());
        if self.state == State::Open && transport.is_half_closed() && transport.blocked {
            // Messages wait for the application, and nothing follows them.
            stop(transport, &TIMERS);
            let wait = if flushed { Wait::GonePeer } else { Wait::WebSocket };
            return transport.wait(wait, Tick::NEVER);
        }
        transport.wait(Wait::WebSocket, Tick::NEVER);
        let timeout = transport.config.websocket_close_timeout();
        match self.state {
            State::Open | State::Closed => {}
            State::Answering(_) => return run(transport, Timer::WebSocketClose, Some(timeout)),
            // What is to be sent before our close falls under another guard.
            State::Closing(_) => {
                return run(transport, Timer::WebSocketClose, flushed.then_some(timeout));
            }
        }
        // Bytes that wait for the application hide what else the peer has sent, once as many are held
        // as may be.
        self.settle_pings(transport, !transport.is_held_back(), flushed);
        // The other guards are over what the application waits for.
        let hears = nothing_held || !transport.blocked;
        let idle_until = transport.config.websocket_idle_timeout().map(|it| self.used.after(it));
        set(transport, Timer::WebSocketIdle, idle_until.filter(|_| hears));
        let is_owed =
            self.receiver.awaits_more() || !nothing_held || transport.has_partial_record();
        if hears && is_owed {
            // What of it came with its beginning has paid already.
            self.upload.resume(transport.now);
            let minimum = transport.config.request_body_minimum();
            let deadline = self.upload.deadline(minimum, transport.ahead());
            transport.timers.set(Timer::WebSocketMessage, deadline);
        } else if transport.timers.is_set(Timer::WebSocketMessage) || self.upload.is_heard() {
            transport.timers.stop(Timer::WebSocketMessage);
            self.upload = message_guard(transport);
        }
    }

    /// Who is silent is pinged, once what is unsent cannot be why: another guard has an eye on that.
    /// The wait for the pong begins when the ping is flushed, and what is sent behind it does not
    /// begin it anew.
    fn settle_pings(&mut self, transport: &mut Transport, hears: bool, flushed: bool) {
        let silent_until =
            transport.config.websocket_ping_interval().map(|it| self.heard.after(it));
        let silent_until = silent_until.filter(|_| hears && flushed && !self.pinged);
        let is_out = hears && self.ping_sent != Tick::NEVER;
        let pong = transport.config.websocket_pong_timeout().map(|it| self.ping_sent.after(it));
        let pong_until = pong.filter(|_| is_out);
        // At most one of the two runs.
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

    /// Bytes arrived, whatever they are: the peer is there.
    #[inline]
    pub(crate) fn heard(&mut self, transport: &Transport) {
        self.heard = transport.now;
        (self.pinged, self.ping_sent) = (false, Tick::NEVER);
    }

    /// The peer is still taking what was sent before our ping, or before our close: it has all of
    /// the time to answer once it has come so far.
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

    /// A timer has expired.
    #[cold]
    pub(crate) fn expire(&mut self, transport: &mut Transport, timer: Timer) {
        let reason = CloseReason::Expired(timer);
        match timer {
            Timer::WebSocketClose => match self.state {
                State::Answering(code) => self.answer_close(transport, code),
                _ => self.end(transport, reason),
            },
            Timer::WebSocketPing => {
                frame::write_control(transport.output.buffer(2), Opcode::Ping, &[]);
                self.pinged = true;
            }
            _ => self.end(transport, reason),
        }
    }

    // ---- the ends of things ---------------------------------------------------------------------

    /// Ends the websocket for `reason`, as the table of endings says.
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

    /// Sends our close, and waits for the peer's.
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

    /// Ends the connection at once: what was received of a message is freed. A reset that the
    /// application has yet to be told of is still told.
    #[cold]
    pub(crate) fn cut(&mut self, transport: &mut Transport, reason: CloseReason) {
        self.state = State::Closed;
        self.silence();
        self.receiver.discard();
        transport.close(reason);
    }

    /// The websocket is at its end for `reason`; the peer is told, if there is a code for that.
    #[cold]
    fn fail(&mut self, transport: &mut Transport, reason: CloseReason) {
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

    /// Nothing follows our close.
    fn silence(&mut self) {
        (self.sending, self.cut_short) = (false, false);
        (self.deflater, self.pong) = (None, None);
    }

    // ---- parts of these -------------------------------------------------------------------------

    /// Between two fragments of a message a pong may go (RFC 6455 5.4).
    fn flush_pong(&mut self, transport: &mut Transport) {
        if self.pong.is_some() && self.state == State::Open && !transport.is_full() {
            let payload = take(&mut self.pong).unwrap_or_default();
            frame::write_control(transport.output.buffer(LONGEST_CLOSE), Opcode::Pong, &payload);
        }
    }

    fn free(&self, transport: &Transport) -> usize {
        (transport.config.send_buffer_limit() as usize).saturating_sub(transport.unsent())
    }

    fn has_room(&self, transport: &Transport) -> bool {
        transport.is_open() && transport.unsent() as u64 <= transport.config.send_buffer_limit() / 2
    }

    fn check_stream(&self, stream: StreamId) -> Result<(), Misuse> {
        if stream == self.stream { Ok(()) } else { Err(Misuse::UnknownStream) }
    }

    /// Something may be sent.
    fn check(&self, transport: &Transport, stream: StreamId) -> Result<(), Misuse> {
        self.check_stream(stream)?;
        let speaks = matches!(self.state, State::Open | State::Answering(_));
        if speaks && transport.is_open() { Ok(()) } else { Err(Misuse::UnknownStream) }
    }
}

/// A control frame at its longest.
const LONGEST_CLOSE: usize = 2 + frame::LONGEST_CONTROL;

/// Pays with the connection's budget.
struct Purse<'b> {
    budget: &'b mut Budget,
    now: Tick,
    /// Bytes of messages that came.
    earned: usize,
    /// Bytes that may still be inflated in this pull of events.
    inflatable: usize,
    /// Pings that were answered, and paid, before their turn came.
    ahead: &'b mut Ahead,
    /// The ping that was paid last was one of them.
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
            // A window is cleared.
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

/// The guard over a message, which may take as long as it likes in all.
fn message_guard(transport: &Transport) -> Rate {
    Rate::new(transport.config.request_body_minimum(), transport.now).without_total()
}

/// Lets a timer run until `at`, or not at all.
fn set(transport: &mut Transport, timer: Timer, at: Option<Tick>) {
    match at {
        Some(at) => transport.timers.set(timer, at),
        None => transport.timers.stop(timer),
    }
}

/// Lets a timer run from the moment at which it was first asked for, or not at all.
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
