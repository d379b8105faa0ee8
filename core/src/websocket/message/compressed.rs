//! The payload of a compressed message, inflated as it arrives (RFC 7692 7.2.2).
//!
//! In: a frame that was begun. Out: what was assembled, or a piece. What comes out is counted as it
//! does, so that a bomb ends at the limit.

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
        let Some(mut inflater) = self.inflater.take() else { return Err(Violation::Deflated) };
        let new = self.assembled.len();
        let (bytes, _) = self.unmask(input, usize::MAX);
        let length = bytes.len();
        let mut rest = &*bytes;
        loop {
            self.make_room(rest.len())?;
            let inflated = inflater.inflate(rest, &mut self.assembled)?;
            pay_for_blocks(budget, inflated.final_blocks)?;
            rest = rest.get(inflated.taken..).unwrap_or_default();
            let has_room = self.assembled.len() < self.assembled.capacity();
            if rest.is_empty() && has_room {
                break;
            }
            if has_room && inflated.taken == 0 {
                return Err(Violation::Deflated);
            }
        }
        self.take(input, length, budget);
        if self.left == 0 && self.fin {
            loop {
                self.make_room(0)?;
                if inflater.finish(&mut self.assembled)? {
                    break;
                }
            }
        }
        self.inflater = Some(inflater);
        if self.assembled.len() as u64 > self.limits.message {
            return Err(Violation::TooLarge);
        }
        self.check_text(message, new)?;
        self.assembled_so_far(message, whole)
    }

    /// Gives the assembled message more capacity if it is full; `more` compressed bytes are at hand.
    fn make_room(&mut self, more: usize) -> Result<(), Violation> {
        if self.assembled.len() < self.assembled.capacity() {
            return Ok(());
        }
        if self.assembled.len() as u64 > self.limits.message {
            return Err(Violation::TooLarge);
        }
        // One byte past the limit tells that it is exceeded.
        let most = to_usize(self.limits.message).saturating_add(1);
        let more = more.saturating_mul(2).clamp(64, PIECE).min(most - self.assembled.len());
        grow(&mut self.assembled, more, most);
        Ok(())
    }

    /// Lends what there is of a frame, inflated, within the credit.
    pub(super) fn inflate_piece(
        &mut self,
        input: &mut Input<'_>,
        message: Begun,
        whole: &mut Vec<u8>,
        budget: &mut impl Budget,
    ) -> Result<Next, Violation> {
        let Some(mut inflater) = self.inflater.take() else { return Err(Violation::Deflated) };
        let most = to_usize(self.credit).min(PIECE);
        if most == 0 {
            self.inflater = Some(inflater);
            self.blocked = true;
            return Ok(Next::Wait);
        }
        whole.clear();
        if whole.capacity() != most {
            *whole = Vec::with_capacity(most);
        }
        let mut last = false;
        loop {
            let mask = self.mask;
            let (bytes, _) = self.unmask(input, COMPRESSED_PIECE);
            let inflated = inflater.inflate(bytes, whole)?;
            pay_for_blocks(budget, inflated.final_blocks)?;
            let is_all = inflated.taken == bytes.len();
            if let Some(rest) = bytes.get_mut(inflated.taken..) {
                // What did not fit is left as it was.
                self.mask = mask;
                self.mask.skip(inflated.taken);
                self.mask.clone().apply(rest);
            }
            let is_none = inflated.taken == 0;
            self.take(input, inflated.taken, budget);
            if whole.len() == whole.capacity() {
                break;
            }
            if self.left == 0 {
                last = self.fin && inflater.finish(whole)?;
                break;
            }
            if is_none {
                if !is_all {
                    return Err(Violation::Deflated);
                }
                break;
            }
        }
        self.inflater = Some(inflater);
        let length = whole.len() as u64;
        self.credit = self.credit.saturating_sub(length);
        self.lent = self.lent.saturating_add(length);
        if self.lent > self.limits.message {
            return Err(Violation::TooLarge);
        }
        if message.text {
            self.utf8.feed(whole).map_err(|utf8::Invalid| Violation::Utf8)?;
        }
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
}

fn pay_for_blocks(budget: &mut impl Budget, blocks: u32) -> Result<(), Violation> {
    (0..blocks).try_for_each(|_| spend(budget, Some(Cost::FinalBlock)))
}
