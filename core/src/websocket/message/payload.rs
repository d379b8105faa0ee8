//! The payload of a data frame that is not compressed, and what all payloads share.
//!
//! In: a frame that was begun. Out: its message where it lies, what was assembled, or a piece.

use super::{Arrival, Begun, Next, Receiver, to_usize};
use crate::input::{Input, Span, grow};
use crate::step::Place;
use crate::websocket::utf8;
use crate::websocket::{Payer, Violation};

impl Receiver {
    #[inline]
    pub(super) fn payload(
        &mut self,
        input: &mut Input<'_>,
        whole: &mut Vec<u8>,
        payer: &mut impl Payer,
    ) -> Result<Next, Violation> {
        let Some(message) = self.message.filter(|_| !self.discards) else {
            return Ok(self.discard_payload(input));
        };
        match (self.limits.pieces, message.compressed) {
            (false, false) => {
                // Nothing was taken of the message yet, and the rest of it is here.
                let is_all = self.fin && self.left == self.declared;
                if is_all && self.left <= input.bytes().len() as u64 {
                    return Ok(Next::Step(self.lend(input, message, payer)));
                }
                self.assemble(input, message, whole, payer)
            }
            (false, true) => self.inflate_whole(input, message, whole, payer),
            (true, false) => self.piece(input, message, payer),
            (true, true) => self.inflate_piece(input, message, whole, payer),
        }
    }

    /// Lends a message as it lies.
    #[inline]
    fn lend(&mut self, input: &mut Input<'_>, message: Begun, payer: &mut impl Payer) -> Arrival {
        let span = self.take(input, to_usize(self.left), payer);
        self.mask.apply(input.span(span));
        self.end_frame();
        Arrival::Message { text: message.text, at: Place::Input(span) }
    }

    /// Takes what there is of a frame, and appends it to the message.
    fn assemble(
        &mut self,
        input: &mut Input<'_>,
        message: Begun,
        whole: &mut Vec<u8>,
        payer: &mut impl Payer,
    ) -> Result<Next, Violation> {
        // Of a last frame the length of the message is known: that is no reason to get memory for
        // it at once, but for no more.
        let most = if self.fin { self.declared } else { self.limits.message };
        let (bytes, _) = self.unmask(input, usize::MAX);
        let length = bytes.len();
        grow(&mut self.assembled, length, to_usize(most));
        self.assembled.extend_from_slice(bytes);
        let new = self.assembled.len() - length;
        self.check_text(message, new)?;
        self.take(input, length, payer);
        self.assembled_so_far(input, message, whole)
    }

    /// The message is lent if it is complete.
    pub(super) fn assembled_so_far(
        &mut self,
        input: &Input<'_>,
        message: Begun,
        whole: &mut Vec<u8>,
    ) -> Result<Next, Violation> {
        if self.left > 0 {
            // What was held is taken before what is fresh.
            return Ok(if input.is_empty() { Next::Wait } else { Next::Again });
        }
        if !self.end_frame() {
            return Ok(Next::Again);
        }
        self.finish_text(message)?;
        *whole = core::mem::take(&mut self.assembled);
        Ok(Next::Step(Arrival::Message { text: message.text, at: Place::Whole }))
    }

    /// Lends what there is of a frame, within the credit.
    fn piece(
        &mut self,
        input: &mut Input<'_>,
        message: Begun,
        payer: &mut impl Payer,
    ) -> Result<Next, Violation> {
        let (bytes, blocked) = self.unmask(input, to_usize(self.credit));
        let length = bytes.len();
        if message.text {
            self.utf8.feed(bytes).map_err(|utf8::Invalid| Violation::Utf8)?;
        }
        let at = Place::Input(self.take(input, length, payer));
        self.credit -= length as u64;
        if self.left > 0 && length == 0 {
            self.blocked = blocked;
            return Ok(Next::Wait);
        }
        let last = self.left == 0 && self.end_frame();
        if last {
            self.finish_text(message)?;
        }
        let is_something = last || length > 0;
        let piece = Arrival::Piece { text: message.text, last, at };
        Ok(if is_something { Next::Step(piece) } else { Next::Again })
    }

    /// Takes what nobody wants.
    #[cold]
    fn discard_payload(&mut self, input: &mut Input<'_>) -> Next {
        let length = to_usize(self.left).min(input.bytes().len());
        input.take(length);
        self.left -= length as u64;
        if self.left > 0 && input.is_empty() {
            return Next::Wait;
        }
        if self.left > 0 {
            return Next::Again;
        }
        self.end_frame();
        Next::Again
    }

    /// Unmasks what there is of the frame, at most so much; says whether there is more. What is not
    /// taken then has to be masked again.
    pub(super) fn unmask<'b>(
        &mut self,
        input: &'b mut Input<'_>,
        most: usize,
    ) -> (&'b mut [u8], bool) {
        let at_hand = input.bytes();
        let there = to_usize(self.left).min(at_hand.len());
        let length = there.min(most);
        let bytes = at_hand.get_mut(..length).unwrap_or_default();
        self.mask.apply(bytes);
        (bytes, length < there)
    }

    /// These bytes of the frame are done with.
    pub(super) fn take(
        &mut self,
        input: &mut Input<'_>,
        bytes: usize,
        payer: &mut impl Payer,
    ) -> Span {
        payer.earn(bytes as u64);
        self.take_earned(input, bytes)
    }

    /// The same of bytes that have earned already.
    pub(super) fn take_earned(&mut self, input: &mut Input<'_>, bytes: usize) -> Span {
        self.left -= (bytes as u64).min(self.left);
        input.take(bytes)
    }

    /// True if the message ends with the frame.
    pub(super) fn end_frame(&mut self) -> bool {
        self.in_frame = false;
        if self.fin {
            self.message = None;
        }
        self.fin
    }

    /// Checks what was assembled from `new` on.
    pub(super) fn check_text(&mut self, message: Begun, new: usize) -> Result<(), Violation> {
        let new = self.assembled.get(new..).unwrap_or_default();
        if message.text {
            self.utf8.feed(new).map_err(|utf8::Invalid| Violation::Utf8)?;
        }
        Ok(())
    }

    pub(super) fn finish_text(&self, message: Begun) -> Result<(), Violation> {
        if message.text {
            self.utf8.finish().map_err(|utf8::Invalid| Violation::Utf8)?;
        }
        Ok(())
    }
}
