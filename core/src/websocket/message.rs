//! Turns a client's frames into messages and control frames (RFC 6455 5.4, 5.5).
//!
//! In: received bytes, and credit for messages. Out: [`Arrival`]s, which name places in the bytes; or
//! a [`Violation`], after which the receiver reads no more.
//!
//! A message in a single frame that has arrived whole is unmasked in place and lent without a copy.
//! Any other message is assembled in memory that grows as its bytes arrive. If the application takes
//! messages in pieces, it is lent piece by piece instead. In every case the declared length is
//! checked against the limit before any byte of the payload is taken.

mod compressed;
mod payload;

use super::deflate::Inflater;
use super::frame::{self, Header, Look, Opcode};
use super::mask::Mask;
use super::negotiation::Agreed;
use super::utf8::{self, Utf8};
use super::{Cost, Payer, Violation, close};
use crate::event::Message;
use crate::input::{Input, LEAST, Span};
use crate::step::Place;

/// A fragment of fewer bytes costs more work than it carries data: it is charged to the budget.
pub(crate) const TINY: u64 = 64;

/// Turns `bytes` into a message. Text is checked here, where it becomes a `str`, so that it is
/// checked only once.
#[inline]
pub(crate) fn lend(text: bool, bytes: &mut [u8]) -> Result<Message<'_>, Violation> {
    if text {
        utf8::text(bytes).map(Message::Text).map_err(|utf8::Invalid| Violation::Utf8)
    } else {
        Ok(Message::Binary(bytes))
    }
}

/// The size limit of messages, and whether they are lent whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The most bytes of a message; a compressed message counts with its inflated length.
    pub(crate) message: u64,
    /// Messages are lent in pieces as they arrive.
    pub(crate) pieces: bool,
}

/// The most memory that messages take: one that is being assembled, and one that is lent.
pub(crate) fn memory_bound(limits: Limits) -> usize {
    to_usize(limits.message).saturating_add(1).max(LEAST).saturating_mul(2)
}

/// A message or control frame that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A whole message; [`lend`] makes a [`Message`] of it.
    Message {
        text: bool,
        at: Place,
    },
    /// A piece of a message. The text is valid so far, but a piece may begin or end within a character.
    Piece {
        text: bool,
        last: bool,
        at: Place,
    },
    /// A ping; its pong carries the same payload.
    Ping(Span),
    Pong(Span),
    /// The peer's close frame: its code, if it has one, and its reason, which is valid UTF-8. The
    /// receiver reads no more after it.
    Close {
        code: Option<u16>,
        reason: Span,
    },
}

/// How [`Receiver::step`] goes on.
enum Next {
    Step(Arrival),
    Again,
    Wait,
}

/// The kind of the message in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begun {
    text: bool,
    compressed: bool,
}

/// The receiving direction of a websocket.
#[derive(Debug)]
pub(crate) struct Receiver {
    limits: Limits,
    /// The number of messages that may begin in all; or of bytes, if messages are lent in pieces.
    granted: u64,
    /// The number of messages that have begun, or of bytes that were lent.
    taken: u64,
    /// Payload bytes of the current data frame that are still to be taken.
    left: u64,
    /// Payload bytes that the message's frame headers declared so far, the current frame included.
    declared: u64,
    /// Inflated bytes of the message that were lent in pieces.
    lent: u64,
    /// The part of the message that is assembled.
    assembled: Vec<u8>,
    /// Inflates compressed messages, if compression was negotiated.
    inflater: Option<Box<Inflater>>,
    mask: Mask,
    utf8: Utf8,
    message: Option<Begun>,
    /// The header of a data frame was taken, and its payload is not complete.
    in_frame: bool,
    /// The current frame is the last of its message.
    fin: bool,
    /// Compression was negotiated, so that messages may be compressed.
    deflates: bool,
    /// Inflating filled its room: more bytes may come out without new input.
    full: bool,
    /// Inflating stopped to let other connections run. It goes on without new input.
    paused: bool,
    /// Bytes were left in the input for lack of credit.
    blocked: bool,
    /// Messages are discarded.
    discards: bool,
    /// The receiver reads no more: the peer closed, or broke a rule.
    ended: bool,
}

impl Receiver {
    /// A receiver without credit.
    pub(crate) fn new(limits: Limits, deflate: Option<Agreed>) -> Self {
        Receiver {
            limits,
            granted: 0,
            taken: 0,
            left: 0,
            declared: 0,
            lent: 0,
            assembled: Vec::new(),
            deflates: deflate.is_some(),
            full: false,
            paused: false,
            inflater: deflate.map(|agreed| Box::new(Inflater::new(agreed))),
            mask: Mask::default(),
            utf8: Utf8::default(),
            message: None,
            in_frame: false,
            fin: false,
            blocked: false,
            discards: false,
            ended: false,
        }
    }

    /// Gives credit up to a number of messages, or of bytes if messages are lent in pieces.
    pub(crate) fn grant(&mut self, end: u64) {
        self.granted = self.granted.max(end);
    }

    /// The number of messages, or of bytes of pieces, that were delivered.
    pub(crate) fn delivered(&self) -> u64 {
        let in_progress = self.message.is_some() && !self.limits.pieces;
        self.taken - u64::from(in_progress).min(self.taken)
    }

    /// The credit that is left.
    #[inline(always)]
    fn credit(&self) -> u64 {
        self.granted.saturating_sub(self.taken)
    }

    /// Discards messages from now on, without credit: only the peer's close frame still matters. Frees
    /// the assembled part of a message.
    pub(crate) fn discard(&mut self) {
        self.discards = true;
        (self.full, self.paused) = (false, false);
        self.assembled = Vec::new();
        self.inflater = None;
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether bytes are left in the input for lack of credit, or because inflating is paused. They
    /// don't wait for the peer.
    #[inline(always)]
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked || self.paused
    }

    /// Whether inflating is paused. It goes on at the next [`Receiver::step`] whose payer allows it.
    #[inline(always)]
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Payload bytes of the current data frame that are still to be taken.
    pub(crate) fn left_of_frame(&self) -> u64 {
        if self.in_frame { self.left } else { 0 }
    }

    /// Whether messages may be compressed.
    pub(crate) fn deflates(&self) -> bool {
        self.deflates
    }

    /// Whether a message has arrived in part.
    pub(crate) fn is_in_message(&self) -> bool {
        self.message.is_some()
    }

    /// Whether a message has arrived in part, and there is credit for the rest: we wait for the peer.
    pub(crate) fn awaits_more(&self) -> bool {
        self.is_in_message() && self.may_begin_frame()
    }

    /// Whether there is credit for the next data frame.
    #[inline(always)]
    pub(crate) fn has_credit(&self) -> bool {
        self.may_begin_frame()
    }

    /// Whether [`Receiver::step`] can go on inflating without new bytes.
    #[inline(always)]
    pub(crate) fn has_more(&self) -> bool {
        self.paused || (self.full && self.credit() > 0)
    }

    /// Frees memory that is not needed until more bytes arrive.
    pub(crate) fn release(&mut self) {
        if let Some(inflater) = &mut self.inflater {
            inflater.release();
        }
    }

    /// Bytes of a message that is not whole yet.
    pub(crate) fn begun(&self) -> usize {
        self.assembled.len()
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        let inflater = self.inflater.as_ref().map(|it| size_of::<Inflater>() + it.memory());
        self.assembled.capacity() + inflater.unwrap_or(0)
    }

    /// Returns the next arrival that `input` yields. The caller holds the bytes that are not taken.
    /// Messages that don't lie in `input` replace the content of `whole`.
    ///
    /// # Errors
    /// The rule that the peer broke. The receiver returns no arrivals after it.
    #[inline]
    pub(crate) fn step(
        &mut self,
        input: &mut Input<'_>,
        whole: &mut Vec<u8>,
        payer: &mut impl Payer,
    ) -> Result<Option<Arrival>, Violation> {
        (self.blocked, self.paused) = (false, false);
        while !self.ended {
            let next = if self.in_frame {
                self.payload(input, whole, payer)
            } else {
                self.header(input, payer)
            };
            match next {
                Ok(Next::Step(step)) => return Ok(Some(step)),
                Ok(Next::Again) => {}
                Ok(Next::Wait) => return Ok(None),
                Err(violation) => {
                    self.ended = true;
                    self.discard();
                    return Err(violation);
                }
            }
        }
        Ok(None)
    }

    // ---- frames ---------------------------------------------------------------------------------

    /// Takes the header of a data frame, or a whole control frame.
    fn header(&mut self, input: &mut Input<'_>, payer: &mut impl Payer) -> Result<Next, Violation> {
        let Some(first) = input.bytes().first() else { return Ok(Next::Wait) };
        if !frame::is_control(*first) && !self.may_begin_frame() {
            self.blocked = true;
            return Ok(Next::Wait);
        }
        let header = loop {
            match frame::read(input.bytes(), self.deflates)? {
                Look::Whole(header) => break header,
                Look::Short(needed) if input.join(needed) => {}
                Look::Short(_) => return Ok(Next::Wait),
            }
        };
        if header.opcode.is_control() {
            return self.control(input, header, payer);
        }
        self.check(&header, payer)?;
        if let Some(step) = self.lend_at_once(input, &header, payer) {
            return Ok(Next::Step(step));
        }
        input.take(header.size);
        input.part();
        self.begin_frame(&header);
        Ok(Next::Again)
    }

    /// Lends a message that is a single frame in `input`. Most messages are, and they need no state.
    #[inline]
    fn lend_at_once(
        &mut self,
        input: &mut Input<'_>,
        header: &Header,
        payer: &mut impl Payer,
    ) -> Option<Arrival> {
        let is_whole = header.fin && header.opcode != Opcode::Continuation;
        let is_plain = !header.compressed && !self.limits.pieces && !self.discards;
        let length = header.size.saturating_add(to_usize(header.length));
        if !(is_whole && is_plain && length <= input.bytes().len()) {
            return None;
        }
        let span = input.take(length).skip(header.size);
        input.part();
        Mask::new(header.key).apply(input.span(span));
        payer.earn(header.length);
        self.taken = self.taken.saturating_add(1);
        Some(Arrival::Message { text: header.opcode == Opcode::Text, at: Place::Input(span) })
    }

    #[inline(always)]
    fn may_begin_frame(&self) -> bool {
        let is_paid = self.message.is_some() && !self.limits.pieces;
        self.credit() > 0 || is_paid || self.discards
    }

    /// Checks a data frame's header against the message in progress and the limits.
    #[inline]
    fn check(&self, header: &Header, payer: &mut impl Payer) -> Result<(), Violation> {
        let continues = header.opcode == Opcode::Continuation;
        match self.message {
            Some(_) if !continues => return Err(Violation::Interleaved),
            None if continues => return Err(Violation::Continuation),
            _ => {}
        }
        let cost = if header.length == 0 {
            Some(Cost::EmptyFrame)
        } else {
            let is_fragment = continues || !header.fin;
            (is_fragment && header.length < TINY).then_some(Cost::TinyFragment)
        };
        spend(payer, cost)?;
        let before = if continues { self.declared } else { 0 };
        let compressed = header.compressed || self.message.is_some_and(|it| it.compressed);
        let most = self.most_declared(compressed);
        if !self.discards && before.saturating_add(header.length) > most {
            return Err(Violation::TooLarge);
        }
        Ok(())
    }

    /// The most payload that the frames of a message may declare in all. Compressing makes a message
    /// at most a little larger, so a peer that declares more only makes us work.
    fn most_declared(&self, compressed: bool) -> u64 {
        let limit = self.limits.message;
        if compressed { limit.saturating_add(limit / 8).saturating_add(64) } else { limit }
    }

    fn begin_frame(&mut self, header: &Header) {
        if self.message.is_none() {
            let text = header.opcode == Opcode::Text;
            self.message = Some(Begun { text, compressed: header.compressed });
            self.utf8 = Utf8::default();
            self.declared = 0;
            self.lent = 0;
            if !self.limits.pieces {
                self.taken = self.taken.saturating_add(1);
            }
        }
        self.in_frame = true;
        self.fin = header.fin;
        self.left = header.length;
        self.declared = self.declared.saturating_add(header.length);
        self.mask = Mask::new(header.key);
    }

    /// Takes a control frame once it has arrived whole; at most 131 bytes are held until then.
    fn control(
        &mut self,
        input: &mut Input<'_>,
        header: Header,
        payer: &mut impl Payer,
    ) -> Result<Next, Violation> {
        let length = header.size + header.length as usize;
        while input.bytes().len() < length {
            if !input.join(length) {
                return Ok(Next::Wait);
            }
        }
        let payload = input.take(length).skip(header.size);
        input.part();
        Mask::new(header.key).apply(input.span(payload));
        let step = match header.opcode {
            Opcode::Ping => {
                spend(payer, Some(Cost::Ping))?;
                Arrival::Ping(payload)
            }
            Opcode::Pong => {
                spend(payer, Some(Cost::Pong))?;
                Arrival::Pong(payload)
            }
            _ => {
                let code = close::read(input.span(payload))?.map(|(code, _)| code);
                self.ended = true;
                self.discard();
                Arrival::Close { code, reason: payload.skip(2) }
            }
        };
        Ok(Next::Step(step))
    }
}

fn spend(payer: &mut impl Payer, cost: Option<Cost>) -> Result<(), Violation> {
    match cost {
        Some(cost) if !payer.spend(cost) => Err(Violation::Costly),
        _ => Ok(()),
    }
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
