//! Inflates the payload of a compressed message as it arrives (RFC 7692 7.2.2).
//!
//! In: the payload bytes of the current frame. Out: the assembled message, or a piece of it. The
//! inflated bytes are counted as they come out. So a bomb stops at the limit, and inflating pauses
//! on the way to let other connections run.

use super::super::deflate::{Inflated, Inflater};
use super::{Arrival, Begun, Next, Receiver, spend, to_usize};
use crate::input::{Input, grow};
use crate::step::Place;
use crate::websocket::mask::Mask;
use crate::websocket::utf8;
use crate::websocket::{Cost, Payer, Violation};

/// The largest piece of a message.
pub(super) const PIECE: usize = 16 * 1024;
/// Compressed bytes that are unmasked at once. The bytes that the inflater does not take have to be
/// masked again.
const COMPRESSED_PIECE: usize = 1024;

impl Receiver {
    /// Takes the frame's bytes that are in `input`, and appends the inflated bytes to the message.
    pub(super) fn inflate_whole(
        &mut self,
        input: &mut Input<'_>,
        message: Begun,
        whole: &mut Vec<u8>,
        payer: &mut impl Payer,
    ) -> Result<Next, Violation> {
        if self.left > 0 && !self.full && input.bytes().is_empty() {
            return Ok(Next::Wait);
        }
        let Some(mut inflater) = self.inflater.take() else { return Err(Violation::Deflated) };
        while self.left > 0 && !input.bytes().is_empty() || self.full {
            if payer.inflatable() == 0 && !input.is_empty() {
                // The next pull of events inflates the rest, so that other connections get their turn.
                self.paused = true;
                self.inflater = Some(inflater);
                return Ok(Next::Wait);
            }
            self.inflate_some(input, &mut inflater, message, payer)?;
        }
        if self.left == 0 && self.fin {
            self.make_room(0);
            inflater.finish(&mut self.assembled)?;
        }
        self.inflater = Some(inflater);
        self.assembled_so_far(input, message, whole)
    }

    /// Inflates the next compressed bytes, as far as there is room for the output.
    fn inflate_some(
        &mut self,
        input: &mut Input<'_>,
        inflater: &mut Inflater,
        message: Begun,
        payer: &mut impl Payer,
    ) -> Result<(), Violation> {
        let mask = self.mask;
        let there = to_usize(self.left).min(input.bytes().len());
        self.make_room(there);
        let (bytes, _) = self.unmask(input, COMPRESSED_PIECE);
        let there = bytes.len();
        let new = self.assembled.len();
        let inflated = inflater.inflate(bytes, &mut self.assembled);
        let taken = inflated.as_ref().map_or(there, |inflated| inflated.taken);
        self.mask_again(mask, bytes, taken);
        payer.inflated(self.assembled.len() - new);
        self.check_inflated(message, new)?;
        let Inflated { taken, final_block, full } = inflated?;
        // Each block earns before it is paid for, so that the split into reads makes no difference.
        self.take(input, taken, payer);
        spend(payer, final_block.then_some(Cost::FinalBlock))?;
        if taken == 0 && there > 0 && !full && !final_block {
            return Err(Violation::Deflated);
        }
        self.full = full;
        Ok(())
    }

    /// Masks the bytes again that were unmasked but not taken. `mask` is the mask from before.
    fn mask_again(&mut self, mut mask: Mask, bytes: &mut [u8], taken: usize) {
        if let Some(rest) = bytes.get_mut(taken..) {
            mask.skip(taken);
            self.mask = mask;
            mask.apply(rest);
        }
    }

    /// Checks the inflated bytes from `new` on. The first fault in their order decides, so that the
    /// split into reads makes no difference.
    fn check_inflated(&mut self, message: Begun, new: usize) -> Result<(), Violation> {
        let inflated = self.assembled.get(new..).unwrap_or_default();
        let room = to_usize(self.limits.message).saturating_sub(new);
        let is_too_large = inflated.len() > room;
        if message.text {
            let within = inflated.get(..room).unwrap_or(inflated);
            self.utf8.feed(within).map_err(|utf8::Invalid| Violation::Utf8)?;
        }
        if is_too_large { Err(Violation::TooLarge) } else { Ok(()) }
    }

    /// Grows the assembled message if it is full. `more` compressed bytes are at hand.
    fn make_room(&mut self, more: usize) {
        if self.assembled.len() == self.assembled.capacity() {
            // One byte past the limit shows that the message exceeds it.
            let most = to_usize(self.limits.message).saturating_add(1);
            let left = most.saturating_sub(self.assembled.len());
            let more = more.saturating_mul(2).clamp(64, PIECE).min(left);
            grow(&mut self.assembled, more, most);
        }
    }

    /// Inflates the frame's bytes that are in `input`, and lends them as far as the credit goes.
    pub(super) fn inflate_piece(
        &mut self,
        input: &mut Input<'_>,
        message: Begun,
        whole: &mut Vec<u8>,
        payer: &mut impl Payer,
    ) -> Result<Next, Violation> {
        if self.left > 0 && !self.full && input.bytes().is_empty() {
            return Ok(Next::Wait);
        }
        // One byte past the limit shows that the message exceeds it.
        let left = self.limits.message.saturating_sub(self.lent).saturating_add(1);
        let most = to_usize(self.credit().min(left)).min(PIECE);
        if most == 0 {
            self.blocked = true;
            return Ok(Next::Wait);
        }
        if payer.inflatable() == 0 && !input.is_empty() {
            self.paused = true;
            return Ok(Next::Wait);
        }
        let Some(mut inflater) = self.inflater.take() else { return Err(Violation::Deflated) };
        whole.clear();
        if whole.capacity() != most {
            *whole = Vec::with_capacity(most);
        }
        let inflated = self.fill(input, &mut inflater, whole, payer);
        payer.inflated(whole.len());
        self.inflater = Some(inflater);
        self.check_piece(message, whole)?;
        let last = inflated?;
        let length = whole.len() as u64;
        self.taken = self.taken.saturating_add(length);
        self.lent = self.lent.saturating_add(length);
        if last {
            self.finish_text(message)?;
        }
        self.full = !last && whole.len() == whole.capacity();
        let is_over = self.left == 0 && !self.full;
        if is_over {
            self.end_frame();
        }
        if last || length > 0 {
            return Ok(Next::Step(Arrival::Piece { text: message.text, last, at: Place::Whole }));
        }
        Ok(if is_over { Next::Again } else { Next::Wait })
    }

    /// Inflates until `whole` is full or `input` is empty; returns whether the message is complete.
    fn fill(
        &mut self,
        input: &mut Input<'_>,
        inflater: &mut Inflater,
        whole: &mut Vec<u8>,
        payer: &mut impl Payer,
    ) -> Result<bool, Violation> {
        loop {
            let mask = self.mask;
            let (bytes, _) = self.unmask(input, COMPRESSED_PIECE);
            let there = bytes.len();
            let Inflated { taken, final_block, full } = inflater.inflate(bytes, whole)?;
            self.mask_again(mask, bytes, taken);
            self.take(input, taken, payer);
            spend(payer, final_block.then_some(Cost::FinalBlock))?;
            if whole.len() == whole.capacity() {
                return Ok(false);
            }
            if full || final_block {
                continue;
            }
            if self.left == 0 {
                if self.fin {
                    inflater.finish(whole)?;
                }
                return Ok(self.fin);
            }
            match (taken, there) {
                (0, 0) => return Ok(false),
                (0, _) => return Err(Violation::Deflated),
                _ => {}
            }
        }
    }

    /// Checks a piece as [`Receiver::check_inflated`] does.
    fn check_piece(&mut self, message: Begun, piece: &[u8]) -> Result<(), Violation> {
        let room = to_usize(self.limits.message.saturating_sub(self.lent));
        if message.text {
            let within = piece.get(..room).unwrap_or(piece);
            self.utf8.feed(within).map_err(|utf8::Invalid| Violation::Utf8)?;
        }
        if piece.len() > room { Err(Violation::TooLarge) } else { Ok(()) }
    }
}
