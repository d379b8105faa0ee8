//! Takes the payload of an uncompressed data frame. Compressed payloads share the helpers.
//!
//! In: the payload bytes of the current frame. Out: the message in place, the assembled message, or
//! a piece of it.

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
                // The message's first frame is also its last, and all of its payload is in `input`.
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

    /// Unmasks a message in place, and lends it.
    #[inline]
    fn lend(&mut self, input: &mut Input<'_>, message: Begun, payer: &mut impl Payer) -> Arrival {
        let span = self.take(input, to_usize(self.left), payer);
        self.mask.apply(input.span(span));
        self.end_frame();
        Arrival::Message { text: message.text, at: Place::Input(span) }
    }

    /// Takes the frame's bytes that are in `input`, and appends them to the message.
    fn assemble(
        &mut self,
        input: &mut Input<'_>,
        message: Begun,
        whole: &mut Vec<u8>,
        payer: &mut impl Payer,
    ) -> Result<Next, Violation> {
        // In the last frame the message's length is known, and caps the memory. It is not reserved
        // at once: the peer may never send that much.
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

    /// Lends the assembled message if it is complete.
    pub(super) fn assembled_so_far(
        &mut self,
        input: &Input<'_>,
        message: Begun,
        whole: &mut Vec<u8>,
    ) -> Result<Next, Violation> {
        if self.left > 0 {
            // `input` gives the held bytes first, and then the fresh ones.
            return Ok(if input.is_empty() { Next::Wait } else { Next::Again });
        }
        if !self.end_frame() {
            return Ok(Next::Again);
        }
        self.finish_text(message)?;
        *whole = core::mem::take(&mut self.assembled);
        Ok(Next::Step(Arrival::Message { text: message.text, at: Place::Whole }))
    }

    /// Lends the frame's bytes that are in `input`, as far as the credit goes.
    fn piece(
        &mut self,
        input: &mut Input<'_>,
        message: Begun,
        payer: &mut impl Payer,
    ) -> Result<Next, Violation> {
        let (bytes, blocked) = self.unmask(input, to_usize(self.credit()));
        let length = bytes.len();
        if message.text {
            self.utf8.feed(bytes).map_err(|utf8::Invalid| Violation::Utf8)?;
        }
        let at = Place::Input(self.take(input, length, payer));
        self.taken = self.taken.saturating_add(length as u64);
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

    /// Takes the payload of a discarded message.
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

    /// Unmasks at most `most` of the frame's bytes in `input`; returns whether there are more. The
    /// caller masks the bytes again that it does not take.
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

    /// Takes `bytes` of the frame from `input`, and earns for them.
    pub(super) fn take(
        &mut self,
        input: &mut Input<'_>,
        bytes: usize,
        payer: &mut impl Payer,
    ) -> Span {
        payer.earn(bytes as u64);
        self.take_earned(input, bytes)
    }

    /// Takes `bytes` of the frame from `input` that have earned already.
    pub(super) fn take_earned(&mut self, input: &mut Input<'_>, bytes: usize) -> Span {
        self.left -= (bytes as u64).min(self.left);
        input.take(bytes)
    }

    /// Ends the frame; returns whether the message ends with it.
    pub(super) fn end_frame(&mut self) -> bool {
        self.in_frame = false;
        if self.fin {
            self.message = None;
        }
        self.fin
    }

    /// Checks that the assembled bytes from `new` on are UTF-8, if the message is text.
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
