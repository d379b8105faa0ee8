//! Limits the number of connections, and decides which connection leaves when a newcomer needs its place.
//!
//! A newcomer is accepted before it has a place. So exactly as many connections leave as newcomers wait. Only
//! connections that lose nothing are asked to leave: idle ones first, the longest idle before the others;
//! then those of which nothing has come for a while; those whose peer has gone; and those that only wait for
//! the peer's end. A connection may become busy after it was asked. Then another one is asked.

mod members;

use crate::waiting::{Calls, Place, Waiting};
use members::{Members, Seat};
use portcullis::{ConnectionLimit, Tick};
use slab::Slab;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};

pub(crate) use members::Standing;

/// The places for connections that one or more servers have together. Share it in an `Arc`.
///
/// When all places are taken, accepting waits, and as many idle connections are closed as newcomers wait
/// ([`CloseReason::MadeRoom`](portcullis::CloseReason::MadeRoom)).
pub struct Admission {
    most: usize,
    /// The number of members that are asked to leave. It changes only within visits.
    asked: AtomicUsize,
    place: Place<State>,
}

#[derive(Debug, Default)]
struct State {
    members: Members,
    /// A door for each server that has a newcomer.
    doors: Slab<Waiting>,
}

/// Where the newcomer of a server waits for a place.
#[derive(Debug)]
pub(crate) struct Door {
    admission: Arc<Admission>,
    number: Option<usize>,
}

/// What a member that was asked to leave has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody asked it.
    Unasked,
    Leave,
    /// It stays: its place is no longer needed, or it is not willing.
    Stay,
}

impl Admission {
    /// Places for as many connections as `limit` says. A percentage counts the descriptors that the process
    /// may open at this moment.
    pub fn new(limit: ConnectionLimit) -> Self {
        let most = match limit {
            ConnectionLimit::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            ConnectionLimit::DescriptorsPercent(percent) => share(descriptors(), percent),
        };
        let most = most.clamp(1, members::MOST);
        Admission { most, asked: AtomicUsize::new(0), place: Place::default() }
    }

    /// The greatest number of connections.
    pub fn limit(&self) -> usize {
        self.most
    }

    /// Takes a place if there is one.
    pub(crate) fn try_enter(&self) -> Option<usize> {
        self.place.visit(|state, _| self.has_room(state).then(|| state.members.join()))
    }

    fn has_room(&self, state: &State) -> bool {
        state.members.len() < self.most
    }

    /// Asks members to leave until there is a place for each newcomer. Returns the time until which this has
    /// to wait, if it has to.
    fn ask(&self, state: &mut State, now: Tick, calls: &mut Calls) -> Option<Tick> {
        while self.asked.load(SeqCst) < state.doors.len() {
            match state.members.next(now) {
                Ok(number) => {
                    state.members.move_to(number, Seat::Asked);
                    self.asked.fetch_add(1, SeqCst);
                    if let Some(member) = state.members.get_mut(number)
                        && let Some(waker) = &member.waker
                    {
                        calls.wake(waker.clone());
                    }
                }
                Err(later) => return later,
            }
        }
        None
    }

    /// The member's task has another waker from now on.
    pub(crate) fn moved(&self, number: usize, waker: &Waker) {
        // The old waker is dropped after the visit.
        let _old = self.place.visit(|state, _| {
            state.members.get_mut(number).map(|member| member.waker.replace(waker.clone()))
        });
    }

    /// Notes what the member would lose if it left after `until`; `None` for a busy member.
    pub(crate) fn stand(&self, number: usize, standing: Option<(Standing, Tick)>, now: Tick) {
        self.place.visit(|state, calls| {
            if state.members.seat(number) != Some(Seat::Asked) {
                match standing {
                    None => state.members.move_to(number, Seat::Busy),
                    Some((standing, until)) => state.members.list(number, standing, until),
                }
                // A newcomer that found nobody to ask may wait for this, and now there is a time to wait for.
                if self.ask(state, now, calls).is_some() && standing.is_some() {
                    state.doors.iter_mut().for_each(|(_, waiting)| waiting.wake(calls));
                }
            }
        });
    }

    /// Whether any member is asked to leave.
    #[inline]
    pub(crate) fn asks(&self) -> bool {
        self.asked.load(SeqCst) > 0
    }

    /// Whether this member has to leave. It leaves only if it is `willing`. If it stays, it counts as busy.
    pub(crate) fn judge(&self, number: usize, willing: bool, now: Tick) -> Verdict {
        self.place.visit(|state, calls| {
            if state.members.seat(number) != Some(Seat::Asked) {
                return Verdict::Unasked;
            }
            // Another member may have left meanwhile.
            if willing && self.asked.load(SeqCst) <= state.doors.len() {
                return Verdict::Leave;
            }
            state.members.move_to(number, Seat::Busy);
            self.asked.fetch_sub(1, SeqCst);
            self.ask(state, now, calls);
            Verdict::Stay
        })
    }

    /// A member has left.
    pub(crate) fn leave(&self, number: usize) {
        // The member's waker is dropped after the visit.
        let _left = self.place.visit(|state, calls| {
            let left = state.members.remove(number);
            if let Some((Seat::Asked, _)) = left {
                self.asked.fetch_sub(1, SeqCst);
            }
            state.doors.iter_mut().for_each(|(_, waiting)| waiting.wake(calls));
            left
        });
    }

    /// Wakes all members, so that they obey a new order.
    pub(crate) fn wake_all(&self) {
        self.place.visit(|state, calls| {
            state.members.wakers().for_each(|waker| calls.wake(waker.clone()));
        });
    }
}

impl State {
    /// Makes the current task wait at the door of this number, or at a new door.
    fn wait(&mut self, door: &mut Option<usize>, cx: &Context<'_>, calls: &mut Calls) {
        let number = *door.get_or_insert_with(|| self.doors.insert(Waiting::default()));
        if let Some(waiting) = self.doors.get_mut(number) {
            waiting.register(cx, calls);
        }
    }
}

impl Door {
    pub(crate) fn new(admission: Arc<Admission>) -> Self {
        Door { admission, number: None }
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Takes a place for a newcomer. If there is none, it asks members to leave, and wakes the current task
    /// when another attempt may succeed. It returns the latest time for that attempt, if there is one.
    pub(crate) fn enter(&mut self, cx: &Context<'_>, now: Tick) -> Result<usize, Option<Tick>> {
        let Door { admission, number } = self;
        // The task's waker is dropped after the visit.
        let (entered, _waiting) = admission.place.visit(|state, calls| {
            if admission.has_room(state) {
                let waiting = number.take().and_then(|number| state.doors.try_remove(number));
                return (Ok(state.members.join()), waiting);
            }
            state.wait(number, cx, calls);
            (Err(admission.ask(state, now, calls)), None)
        });
        entered
    }

    /// Asks a member to leave although there are places, because another resource is short.
    pub(crate) fn ask(&mut self, cx: &Context<'_>, now: Tick) {
        let Door { admission, number } = self;
        admission.place.visit(|state, calls| {
            state.wait(number, cx, calls);
            admission.ask(state, now, calls);
        });
    }

    /// Takes a place even if there is none, for a newcomer that cannot wait.
    pub(crate) fn enter_now(&mut self) -> usize {
        self.close();
        self.admission.place.visit(|state, _| state.members.join())
    }

    /// No newcomer waits at this door any more.
    pub(crate) fn close(&mut self) {
        if let Some(number) = self.number.take() {
            let _waiting = self.admission.place.visit(|state, _| state.doors.try_remove(number));
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("limit", &self.most).finish_non_exhaustive()
    }
}

/// A percentage of `all`.
fn share(all: usize, percent: u8) -> usize {
    let percent = usize::from(percent);
    (all / 100).saturating_mul(percent) + all % 100 * percent / 100
}

/// The number of descriptors that the process may open.
#[cfg(unix)]
fn descriptors() -> usize {
    use rustix::process::{Resource, getrlimit};
    let most = getrlimit(Resource::Nofile).current;
    most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}

/// The number of descriptors that the process may open. This system has no limit.
#[cfg(not(unix))]
fn descriptors() -> usize {
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counted::Counted;

    /// Idle members in all places, and their counters.
    fn full(most: u64) -> (Arc<Admission>, Vec<Arc<Counted>>) {
        let admission = Arc::new(Admission::new(ConnectionLimit::Count(most)));
        let members = (0..most as usize).map(|place| {
            let (count, waker) = Counted::task();
            assert_eq!(admission.try_enter(), Some(place));
            admission.moved(place, &waker);
            admission.stand(place, IDLE, Tick::ZERO);
            count
        });
        let members = members.collect();
        assert_eq!(admission.try_enter(), None);
        (admission, members)
    }

    const IDLE: Option<(Standing, Tick)> = Some((Standing::Idle, Tick::ZERO));

    fn woken(members: &[Arc<Counted>]) -> Vec<usize> {
        members.iter().map(|count| count.times_woken()).collect()
    }

    #[test]
    fn one_idle_member_leaves_for_one_newcomer() {
        let (admission, members) = full(3);
        let (server, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        let mut door = Door::new(admission.clone());
        for _ in 0..3 {
            assert_eq!(door.enter(&cx, Tick::ZERO), Err(None));
        }
        assert_eq!(woken(&members), [1, 0, 0], "one is asked, once");
        assert_eq!(admission.judge(1, true, Tick::ZERO), Verdict::Unasked);
        assert_eq!(admission.judge(0, true, Tick::ZERO), Verdict::Leave);
        admission.leave(0);
        assert_eq!(server.times_woken(), 1);
        assert_eq!(door.enter(&cx, Tick::ZERO), Ok(0));
        assert!(!admission.asks());
        assert_eq!(woken(&members), [1, 0, 0]);
    }

    #[test]
    fn a_member_that_is_busy_again_stays_and_another_is_asked() {
        let (admission, members) = full(2);
        let (_, waker) = Counted::task();
        let mut door = Door::new(admission.clone());
        let cx = Context::from_waker(&waker);
        assert!(door.enter(&cx, Tick::ZERO).is_err());
        assert_eq!(admission.judge(0, false, Tick::ZERO), Verdict::Stay);
        assert_eq!(woken(&members), [1, 1]);
        assert_eq!(admission.judge(1, false, Tick::ZERO), Verdict::Stay);
        // The member that became idle first is asked.
        admission.stand(1, IDLE, Tick::ZERO);
        assert_eq!(woken(&members), [1, 2]);
        assert_eq!(admission.judge(1, true, Tick::ZERO), Verdict::Leave);
    }

    #[test]
    fn whoever_is_asked_stays_if_another_has_left_or_the_newcomer_has() {
        let (admission, _) = full(2);
        let (_, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        let mut door = Door::new(admission.clone());
        assert!(door.enter(&cx, Tick::ZERO).is_err());
        admission.leave(1);
        assert!(door.enter(&cx, Tick::ZERO).is_ok());
        assert_eq!(admission.judge(0, true, Tick::ZERO), Verdict::Stay);
        admission.stand(0, IDLE, Tick::ZERO);
        assert!(door.enter(&cx, Tick::ZERO).is_err());
        assert!(admission.asks());
        drop(door);
        assert_eq!(admission.judge(0, true, Tick::ZERO), Verdict::Stay);
        assert!(!admission.asks());
    }

    #[test]
    fn two_servers_share_the_places() {
        let (admission, members) = full(2);
        let (_, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        let mut doors = [(); 2].map(|()| Door::new(admission.clone()));
        for door in &mut doors {
            assert!(door.enter(&cx, Tick::ZERO).is_err());
        }
        assert_eq!(woken(&members), [1, 1], "there are two newcomers");
        admission.leave(0);
        admission.leave(1);
        assert!(doors.iter_mut().all(|door| door.enter(&cx, Tick::ZERO).is_ok()));
    }

    #[test]
    fn a_newcomer_knows_when_it_is_worth_another_try() {
        let (admission, members) = full(1);
        let (server, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        let until = Tick::ZERO.after(std::time::Duration::from_millis(500));
        admission.stand(0, None, Tick::ZERO);
        let mut door = Door::new(admission.clone());
        assert_eq!(door.enter(&cx, Tick::ZERO), Err(None));
        admission.stand(0, Some((Standing::Fresh, until)), Tick::ZERO);
        assert_eq!(server.times_woken(), 1, "it is told that there is a moment");
        let Err(Some(at)) = door.enter(&cx, Tick::ZERO) else { panic!("it is known") };
        assert!(at.as_nanos().abs_diff(until.as_nanos()) < 2_000_000, "{at:?}");
        assert_eq!(woken(&members), [0]);
        assert_eq!(door.enter(&cx, until), Err(None));
        assert_eq!(woken(&members), [1]);
    }

    #[test]
    fn a_share_of_the_descriptors_is_rounded_down_and_nothing_overflows() {
        assert_eq!([share(40, 75), share(1, 75), share(1024, 75)], [30, 0, 768]);
        assert_eq!(share(usize::MAX, 100), usize::MAX);
        assert_eq!(Admission::new(ConnectionLimit::Count(0)).limit(), 1);
        let default = Admission::new(ConnectionLimit::DescriptorsPercent(75));
        assert!(default.limit() > 1);
    }
}
