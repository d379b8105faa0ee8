//! A connection among the others: its place, what it tells the gate, and the waker by which it is asked to
//! leave.
//!
//! Most polls change nothing that the gate has to know, so they don't visit it: a standing that stays, and bytes
//! that change little. A connection that waits for its peer tells its progress about once a second.

use crate::address::Address;
use crate::admission::Verdict;
use crate::shared::Shared;
use portcullis::Tick;
use portcullis::gate::{Denied, Report, Standing};
use std::task::{Context, Waker};

/// About a second. A connection that is idle again and again may count as idle for this much longer than it
/// is.
const COARSE: u32 = 30;
/// Bytes within a second that count as progress: what a peer that is alive moves, and one that only holds its
/// place does not.
const PROGRESS: usize = 1024;
/// Less memory than this is not worth a report.
const SLIGHT: u32 = 4096;

/// A connection's place. It is given back once.
#[derive(Debug)]
pub(crate) struct Membership {
    waker: Option<Waker>,
    /// The number of its place, until it has left.
    number: u32,
    /// What it last told, and when it did.
    standing: Standing,
    is_handshaking: bool,
    moment: u16,
    bytes: u32,
    /// Since when it has stood like this without progress.
    since: Tick,
    /// Bytes that it has moved since it last told of progress.
    moved: usize,
}

/// What a connection may have to tell after a poll.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    pub(crate) standing: Standing,
    pub(crate) bytes: usize,
    pub(crate) is_handshaking: bool,
}

/// The connection has left.
const NONE: u32 = u32::MAX;

impl Membership {
    /// Joins with the place of this number.
    pub(crate) fn join(shared: &Shared, number: usize, now: Tick) -> Self {
        shared.control.join();
        Membership {
            // There are never more places than that.
            number: u32::try_from(number).unwrap_or(NONE),
            waker: None,
            standing: Standing::Working,
            is_handshaking: shared.config.has_tls(),
            moment: 0,
            bytes: 0,
            since: now,
            moved: 0,
        }
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

    /// A proxy has told whom the connection is from, and it counts with this address from now on.
    ///
    /// # Errors
    /// Why the gate does not let it in. This is counted.
    pub(crate) fn identify(
        &self,
        shared: &Shared,
        client: &Address,
        now: Tick,
    ) -> Result<(), Denied> {
        let (Some(number), Some(address)) = (self.number(), client.ip()) else { return Ok(()) };
        let identified = shared.admission.identify(now, number, address);
        identified.inspect_err(|denied| shared.admission.count(*denied))
    }

    /// Whether the connection is listed as idle already. If it had `requests` within a poll, it moves to the
    /// end of the list now and then.
    #[inline]
    pub(crate) fn is_idle(&self, requests: bool, now: Tick) -> bool {
        self.standing == Standing::Idle && !(requests && self.moment != moment(now))
    }

    /// The connection has read or written bytes.
    #[inline]
    pub(crate) fn progress(&mut self, bytes: usize) {
        self.moved = self.moved.wrapping_add(bytes);
    }

    /// Tells the gate what is news to it.
    pub(crate) fn tell(&mut self, shared: &Shared, news: News, now: Tick) {
        let News { standing, bytes, is_handshaking } = news;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let stays = standing == self.standing && is_handshaking == self.is_handshaking;
        let stands_anew = match standing {
            _ if !stays => true,
            // A later request makes it idle anew.
            Standing::Idle => true,
            Standing::Waiting => self.moved >= PROGRESS && self.moment != moment(now),
            _ => false,
        };
        let grown = bytes.abs_diff(self.bytes) >= SLIGHT.max(self.bytes / 4);
        if !stands_anew && !grown {
            return;
        }
        if stands_anew {
            (self.since, self.moment, self.moved) = (now, moment(now), 0);
        }
        (self.standing, self.is_handshaking, self.bytes) = (standing, is_handshaking, bytes);
        let until = match standing {
            // A request may be on its way for as long as when the server drains.
            Standing::Fresh | Standing::Lingering => {
                self.since.after(shared.config.drain_idle_timeout())
            }
            _ => self.since,
        };
        if let Some(number) = self.number() {
            let bytes = bytes.into();
            let report = Report { standing, bytes, is_handshaking, since: self.since, until };
            shared.admission.report(number, report, now);
        }
    }

    /// Whether the connection has to leave, if it was asked to and is `willing`.
    #[cold]
    pub(crate) fn has_to_leave(&mut self, shared: &Shared, willing: bool, now: Tick) -> bool {
        let Some(number) = self.number() else { return false };
        let verdict = shared.admission.judge(number, willing, now);
        if verdict == Verdict::Stay {
            // It counts as working until it tells another standing.
            self.standing = Standing::Working;
        }
        verdict == Verdict::Leave
    }

    /// Leaves, once.
    pub(crate) fn leave(&mut self, shared: &Shared, cut: bool, now: Tick) {
        if let Some(number) = self.number() {
            self.number = NONE;
            shared.admission.leave(number, now);
            shared.control.leave(cut);
        }
    }
}

fn moment(now: Tick) -> u16 {
    (now.as_nanos() >> COARSE) as u16
}
