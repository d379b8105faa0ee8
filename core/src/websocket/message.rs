//! What the frames of a client add up to (RFC 6455 5.4, 5.5).
//!
//! In: the bytes at hand, and credit for messages. Out: one [`Arrival`] after the other, as places; or
//! the [`Violation`] after which nothing more is looked at.
//!
//! A message in one frame that lies whole in the bytes at hand is unmasked there and lent as it
//! lies. Any other is assembled in memory that grows as its bytes arrive, or, for who wants pieces,
//! lent piece by piece. Either way its declared length is held against the limit before any of it
//! is taken.

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

/// A fragment of fewer bytes costs more than it brings.
pub(crate) const TINY: u64 = 64;

/// The message that lies in `bytes`. Text is checked here, where it becomes a
/// `str`, so that it is checked once.
#[inline]
pub(crate) fn lend(text: bool, bytes: &mut [u8]) -> Result<Message<'_>, Violation> {
    if text {
        utf8::text(bytes).map(Message::Text).map_err(|utf8::Invalid| Violation::Utf8)
    } else {
        Ok(Message::Binary(bytes))
    }
}

/// How much is taken, and in what form it is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of a message, also after inflating.
    pub(crate) message: u64,
    /// Messages are lent in pieces, as they arrive.
    pub(crate) pieces: bool,
}

/// The most memory that is owned of messages: one that is assembled, and one that was assembled and is
/// lent.
pub(crate) fn memory_bound(limits: Limits) -> usize {
    to_usize(limits.message).saturating_add(1).max(LEAST).saturating_mul(2)
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A whole message, to be made a [`Message`] of.
    Message {
        text: bool,
        at: Place,
    },
    /// A piece of a message. Pieces of text are valid, but may begin and end within a character.
    Piece {
        text: bool,
        last: bool,
        at: Place,
    },
    /// A ping to be answered with the same payload.
    Ping(Span),
    Pong(Span),
    /// The peer closes: its code, if it gave one, and its reason, which is UTF-8. Nothing more is
    /// looked at.
    Close {
        code: Option<u16>,
        reason: Span,
    },
}

/// What [`Receiver::step`] does next.
enum Next {
    Step(Arrival),
    Again,
    Wait,
}

/// The message that is being received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begun {
    text: bool,
    compressed: bool,
}

/// One direction of a websocket: what the peer sends.
#[derive(Debug)]
pub(crate) struct Receiver {
    limits: Limits,
    /// Messages that may begin; bytes for who wants pieces.
    credit: u64,
    /// Of the payload of the data frame that was begun.
    left: u64,
    /// Payload of the message in the frames so far, this one's whole included.
    declared: u64,
    /// What was lent of a message in pieces, after inflating.
    lent: u64,
    /// What was assembled of the message.
    assembled: Vec<u8>,
    /// For messages that are compressed, if that was agreed on.
    inflater: Option<Box<Inflater>>,
    mask: Mask,
    utf8: Utf8,
    message: Option<Begun>,
    /// A data frame was begun and is not over.
    in_frame: bool,
    /// That frame is the last of its message.
    fin: bool,
    /// Messages may be compressed.
    deflates: bool,
    /// The last bytes that were inflated filled the room there was: there may be more of them.
    full: bool,
    /// Enough was inflated for now: the rest needs another look, and no new bytes.
    paused: bool,
    /// Bytes were left where they are for want of credit.
    blocked: bool,
    /// Messages go nowhere.
    discards: bool,
    /// Nothing more is looked at.
    ended: bool,
}

impl Receiver {
    /// A receiver without credit.
    pub(crate) fn new(limits: Limits, deflate: Option<Agreed>) -> Self {
        Receiver {
            limits,
            credit: 0,
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

    /// So many more messages may begin; or so many more bytes may be lent, for who wants pieces.
    pub(crate) fn add_credit(&mut self, credit: u64) {
        self.credit = self.credit.saturating_add(credit);
    }

    /// Messages go nowhere from now on, and need no credit: what is still of interest is the
    /// peer's close. What was assembled is freed.
    pub(crate) fn discard(&mut self) {
        self.discards = true;
        (self.full, self.paused) = (false, false);
        self.assembled = Vec::new();
        self.inflater = None;
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Some bytes were not looked at for want of credit, or of time: they don't wait for the peer.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked || self.paused
    }

    /// Inflating goes on at the next [`Receiver::step`] that may inflate.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Bytes of the data frame that was begun which are still to be taken.
    pub(crate) fn left_of_frame(&self) -> u64 {
        if self.in_frame { self.left } else { 0 }
    }

    /// Messages may be compressed.
    pub(crate) fn deflates(&self) -> bool {
        self.deflates
    }

    /// Some of a message has arrived, and the rest has not.
    pub(crate) fn is_in_message(&self) -> bool {
        self.message.is_some()
    }

    /// The same, and the peer is waited for: there is credit for the rest.
    pub(crate) fn awaits_more(&self) -> bool {
        self.is_in_message() && self.may_begin_frame()
    }

    /// There is credit for what may come next.
    pub(crate) fn has_credit(&self) -> bool {
        self.may_begin_frame()
    }

    /// With credit, [`Receiver::step`] has something to give without new bytes.
    pub(crate) fn has_more(&self) -> bool {
        self.paused || (self.full && self.credit > 0)
    }

    /// Frees what is of no use until more bytes arrive.
    pub(crate) fn release(&mut self) {
        if let Some(inflater) = &mut self.inflater {
            inflater.release();
        }
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        let inflater = self.inflater.as_ref().map(|it| size_of::<Inflater>() + it.memory());
        self.assembled.capacity() + inflater.unwrap_or(0)
    }

    /// The next thing that happened, if there is one in `input`. What is not taken is to be held.
    /// `whole` takes messages that don't lie in `input`; what it has is lost.
    ///
    /// # Errors
    /// The rule that the peer broke. There are no steps after it.
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

    /// Takes a header, and all of a control frame.
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

    /// Lends a message that is one frame, and here, without a state in between: most are.
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
        self.credit = self.credit.saturating_sub(1);
        Some(Arrival::Message { text: header.opcode == Opcode::Text, at: Place::Input(span) })
    }

    #[inline]
    fn may_begin_frame(&self) -> bool {
        let is_paid = self.message.is_some() && !self.limits.pieces;
        self.credit > 0 || is_paid || self.discards
    }

    /// Holds a data frame against what came before it, and against the limits.
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

    /// Payload that all frames of a message may have. Compressing hardly makes anything larger: who
    /// sends more makes us work for nothing.
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
                self.credit = self.credit.saturating_sub(1);
            }
        }
        self.in_frame = true;
        self.fin = header.fin;
        self.left = header.length;
        self.declared = self.declared.saturating_add(header.length);
        self.mask = Mask::new(header.key);
    }

    /// Takes a control frame once it is there whole: at most 131 bytes are held for it.
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
