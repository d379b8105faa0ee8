//! A connection among the others: its place, what it would lose by leaving, and the waker by which it is
//! asked.

use crate::admission::{Standing, Verdict};
use crate::shared::Shared;
use portcullis::Tick;
use std::task::{Context, Waker};

/// About a second. A connection that is idle again and again may count as idle for this much longer than it
/// is.
const COARSE: u32 = 30;

/// A connection's place. It is given back once.
#[derive(Debug)]
pub(crate) struct Membership {
    waker: Option<Waker>,
    /// The number of its place, until it has left.
    number: u32,
    /// The standing that it last told, and when it did.
    standing: Option<Standing>,
    moment: u16,
}

/// The connection has left.
const NONE: u32 = u32::MAX;

impl Membership {
    /// Joins with the place of this number.
    pub(crate) fn join(shared: &Shared, number: usize) -> Self {
        shared.control.join();
        // There are never more places than that.
        let number = u32::try_from(number).unwrap_or(NONE);
        Membership { number, waker: None, standing: None, moment: 0 }
    }

    /// Whether the task is woken by this waker.
    #[inline]
    pub(crate) fn is_told_by(&self, cx: &Context<'_>) -> bool {
        self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
    }

    /// The task is woken by this waker from now on.
    pub(crate) fn moved(&mut self, shared: &Shared, waker: &Waker) {
        if let Some(number) = self.number() {
            shared.admission.moved(number, waker);
        }
        self.waker = Some(waker.clone());
    }

    fn number(&self) -> Option<usize> {
        (self.number != NONE).then_some(self.number as usize)
    }

    /// Whether the connection is listed as idle already. If it had `requests` within a poll, it moves to the
    /// end of the list now and then.
    #[inline]
    pub(crate) fn is_idle(&self, requests: bool, now: Tick) -> bool {
        self.standing == Some(Standing::Idle) && !(requests && self.moment != moment(now))
    }

    /// Tells the connection's standing, if it may have changed.
    pub(crate) fn stand(&mut self, shared: &Shared, standing: Option<Standing>, now: Tick) {
        if standing.is_none() && self.standing.is_none() {
            return;
        }
        (self.standing, self.moment) = (standing, moment(now));
        let until = |standing| match standing {
            // A request may be on its way for as long as when the server drains.
            Standing::Fresh | Standing::Lingering => now.after(shared.config.drain_idle_timeout()),
            Standing::Idle | Standing::Gone => now,
        };
        if let Some(number) = self.number() {
            let standing = standing.map(|standing| (standing, until(standing)));
            shared.admission.stand(number, standing, now);
        }
    }

    /// Whether the connection has to leave, if it was asked to and may.
    #[cold]
    pub(crate) fn has_to_leave(
        &mut self,
        shared: &Shared,
        standing: Option<Standing>,
        now: Tick,
    ) -> bool {
        let Some(number) = self.number() else { return false };
        let verdict = shared.admission.judge(number, standing.is_some(), now);
        if verdict == Verdict::Stay {
            // It counts as busy until it tells another standing.
            self.standing = None;
        }
        verdict == Verdict::Leave
    }

    /// Leaves, once.
    pub(crate) fn leave(&mut self, shared: &Shared, cut: bool) {
        if let Some(number) = self.number() {
            self.number = NONE;
            shared.admission.leave(number);
            shared.control.leave(cut);
        }
    }
}

fn moment(now: Tick) -> u16 {
    (now.as_nanos() >> COARSE) as u16
}
