//! The payload of a compressed message, inflated as it arrives (RFC 7692 7.2.2).
//!
//! In: a frame that was begun. Out: what was assembled, or a piece. What comes out is counted as it
//! does, so that a bomb ends at the limit.

use super::super::deflate::{Inflated, Inflater};
use super::{Begun, Next, Place, Receiver, Step, spend, to_usize};
use crate::input::{Input, grow};
use crate::websocket::utf8;
use crate::websocket::{Budget, Cost, Violation};

/// The largest piece of a message.
pub(super) const PIECE: usize = 16 * 1024;
/// Compressed bytes that are inflated at once where what comes of them is bounded by credit.
const COMPRESSED_PIECE: usize = 1024;

impl Receiver {
    /// Takes what there is of a frame, and appends what it inflates to.
    pub(super) fn inflate_whole(
        &mut self,
        input: &mut Input<'_>,
        message: Begun,
        whole: &mut Vec<u8>,
        budget: &mut impl Budget,
    ) -> Result<Next, Violation> {
        if self.left > 0 && input.bytes().is_empty() {
            return Ok(Next::Wait);
        }
        let Some(mut inflater) = self.inflater.take() else { return Err(Violation::Deflated) };
        let (bytes, _) = self.unmask(input, usize::MAX);
        let length = bytes.len();
        let mut rest = &*bytes;
        loop {
            self.make_room(rest.len());
            let new = self.assembled.len();
            let inflated = inflater.inflate(rest, &mut self.assembled);
            self.check_inflated(message, new)?;
            let Inflated { taken, final_block } = inflated?;
            // Each block earns before it is paid for, so that cuts make no difference.
            budget.earn(taken as u64);
            spend(budget, final_block.then_some(Cost::FinalBlock))?;
            rest = rest.get(taken..).unwrap_or_default();
            let has_room = self.assembled.len() < self.assembled.capacity();
            if rest.is_empty() && has_room {
                break;
            }
            if has_room && taken == 0 {
                return Err(Violation::Deflated);
            }
        }
        self.take_earned(input, length);
        while self.left == 0 && self.fin {
            self.make_room(0);
            let new = self.assembled.len();
            let finished = inflater.finish(&mut self.assembled);
            self.check_inflated(message, new)?;
            if finished? {
                break;
            }
        }
        self.inflater = Some(inflater);
        self.assembled_so_far(input, message, whole)
    }

    /// Checks what was inflated from `new` on, in the order of its bytes: what came before a mistake
    /// is judged before it, so that cuts make no difference.
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

    /// Gives the assembled message more capacity if it is full; `more` compressed bytes are at hand.
    fn make_room(&mut self, more: usize) {
        if self.assembled.len() == self.assembled.capacity() {
            // One byte past the limit tells that it is exceeded.
            let most = to_usize(self.limits.message).saturating_add(1);
            let left = most.saturating_sub(self.assembled.len());
            let more = more.saturating_mul(2).clamp(64, PIECE).min(left);
            grow(&mut self.assembled, more, most);
        }
    }

    /// Lends what there is of a frame, inflated, within the credit.
    pub(super) fn inflate_piece(
        &mut self,
        input: &mut Input<'_>,
        message: Begun,
        whole: &mut Vec<u8>,
        budget: &mut impl Budget,
    ) -> Result<Next, Violation> {
        if self.left > 0 && !self.full && input.bytes().is_empty() {
            return Ok(Next::Wait);
        }
        let most = to_usize(self.credit).min(PIECE);
        if most == 0 {
            self.blocked = true;
            return Ok(Next::Wait);
        }
        let Some(mut inflater) = self.inflater.take() else { return Err(Violation::Deflated) };
        whole.clear();
        if whole.capacity() != most {
            *whole = Vec::with_capacity(most);
        }
        let inflated = self.fill(input, &mut inflater, whole, budget);
        self.inflater = Some(inflater);
        self.check_piece(message, whole)?;
        let last = inflated?;
        let length = whole.len() as u64;
        self.credit = self.credit.saturating_sub(length);
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
            return Ok(Next::Step(Step::Piece { text: message.text, last, at: Place::Whole }));
        }
        Ok(if is_over { Next::Again } else { Next::Wait })
    }

    /// Inflates until `whole` is full, or all that there is was taken; true if the message is over.
    fn fill(
        &mut self,
        input: &mut Input<'_>,
        inflater: &mut Inflater,
        whole: &mut Vec<u8>,
        budget: &mut impl Budget,
    ) -> Result<bool, Violation> {
        loop {
            let mut mask = self.mask;
            let (bytes, _) = self.unmask(input, COMPRESSED_PIECE);
            let Inflated { taken, final_block } = inflater.inflate(bytes, whole)?;
            let all_taken = taken == bytes.len();
            if let Some(rest) = bytes.get_mut(taken..) {
                // What did not fit is left as it was.
                mask.skip(taken);
                self.mask = mask;
                mask.apply(rest);
            }
            self.take(input, taken, budget);
            spend(budget, final_block.then_some(Cost::FinalBlock))?;
            if whole.len() == whole.capacity() {
                return Ok(false);
            }
            if self.left == 0 {
                return if self.fin { inflater.finish(whole) } else { Ok(false) };
            }
            match (taken, all_taken) {
                (0, true) => return Ok(false),
                (0, false) => return Err(Violation::Deflated),
                _ => {}
            }
        }
    }

    /// As [`Receiver::check_inflated`], of a piece.
    fn check_piece(&mut self, message: Begun, piece: &[u8]) -> Result<(), Violation> {
        let room = to_usize(self.limits.message.saturating_sub(self.lent));
        if message.text {
            let within = piece.get(..room).unwrap_or(piece);
            self.utf8.feed(within).map_err(|utf8::Invalid| Violation::Utf8)?;
        }
        if piece.len() > room { Err(Violation::TooLarge) } else { Ok(()) }
    }
}
