//! The gate before the connections of one or more servers, with what the pure [`Gate`] has not: the tasks that it
//! wakes, and the limits of this process.
//!
//! A newcomer is accepted before it has a place. While it waits at its door, as many connections are asked to
//! leave as newcomers wait. A connection may become busy after it was asked. Then another one is asked.

use crate::machine;
use crate::waiting::{Calls, Place, Waiting};
use portcullis::gate::{Denied, Gate, Limits, Pressure, Report};
use portcullis::{Config, ConnectionLimit, MemoryLimit, Stress, Tick};
use slab::Slab;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::task::{Context, Waker};

/// The gate before the connections of one or more servers together. Share it in an `Arc`.
///
/// It limits connections, their memory and their TLS handshakes in all, and connections from one prefix of
/// addresses. [`portcullis::gate`] tells what it does as pressure grows.
pub struct Admission {
    limits: Limits,
    /// The number of members that are asked to leave. It changes only within visits.
    asked: AtomicUsize,
    /// The [place](Stress::index) of the stress in force.
    stress: AtomicU8,
    denied: [AtomicU64; Denied::ALL.len()],
    place: Place<State>,
}

/// What the gate counts, at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Gauge {
    /// What all connections may take together.
    pub limits: Limits,
    /// Connections that are let in now.
    pub connections: usize,
    /// Bytes that are held for them, as the gate knows it.
    pub bytes: u64,
    /// How much of each limit is in use.
    pub pressure: Pressure,
    /// How much shorter timers are, and whether connections are kept.
    pub stress: Stress,
    /// Newcomers that were refused since the start, by reason: label and count.
    pub denied: Vec<(&'static str, u64)>,
    /// How often each [step](portcullis::gate::Step) of the gate has begun since the start: label and count.
    pub steps: Vec<(&'static str, u64)>,
}

struct State {
    gate: Gate,
    /// Each wakes the task of the member with this number.
    wakers: Vec<Option<Waker>>,
    /// A door for each server that has a newcomer.
    doors: Slab<Doorway>,
    /// By how many eighths timers are shorter, as members know that were woken for it.
    known: u8,
    /// The next member that is to be woken because timers have become shorter; `None` if all know.
    untold: Option<usize>,
}

/// The task that waits at a door.
#[derive(Debug)]
struct Doorway {
    waiting: Waiting,
    /// It waits for any connection to leave, and not for one of its prefix.
    is_open_to_all: bool,
}

/// Where the newcomer of a server waits for a place.
#[derive(Debug)]
pub(crate) struct Door {
    admission: Arc<Admission>,
    number: Option<usize>,
}

/// Who wants a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer {
    /// `None` if it counts nowhere.
    pub(crate) address: Option<IpAddr>,
    /// It begins with a TLS handshake.
    pub(crate) is_handshaking: bool,
}

/// Why a newcomer has no place yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) denied: Denied,
    /// There is no use in waiting.
    pub(crate) is_final: bool,
    /// The latest time for another attempt, if there is one.
    pub(crate) until: Option<Tick>,
}

/// What a member that was asked to leave has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody asked it, or its place is not needed any more.
    Unasked,
    Leave,
    /// It stays, since it is not willing.
    Stay,
}

/// The most members that one call asks to leave because of pressure. More are asked by the next calls.
const AT_ONCE: usize = 2;
/// The most members that one call wakes because their timers have become shorter. The next calls wake more, at the
/// latest those of the members that were woken.
const TOLD_AT_ONCE: usize = 16;

impl Admission {
    /// A gate with the limits of a configuration. Percentages count the descriptors that the process may open at
    /// this moment, and the memory that it may use.
    pub fn new(config: &Arc<Config>) -> Self {
        let connections = match config.max_connections() {
            ConnectionLimit::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            ConnectionLimit::DescriptorsPercent(percent) => share(machine::descriptors(), percent),
        };
        let bytes = match config.connections_memory() {
            MemoryLimit::Bytes(bytes) => bytes,
            MemoryLimit::Percent(percent) => {
                let usable = machine::memory().and_then(|bytes| usize::try_from(bytes).ok());
                usable.map_or(u64::MAX, |bytes| share(bytes, percent) as u64)
            }
        };
        Admission::with(config, Limits { connections, memory: bytes })
    }

    /// A gate for a connection that is alone.
    pub(crate) fn of_one(config: &Arc<Config>) -> Self {
        Admission::with(config, Limits { connections: 1, memory: u64::MAX })
    }

    fn with(config: &Arc<Config>, limits: Limits) -> Self {
        let secret = RandomState::new().hash_one(0);
        let gate = Gate::new(config.clone(), limits, secret);
        Admission {
            limits: gate.limits(),
            asked: AtomicUsize::new(0),
            stress: AtomicU8::new(Stress::NONE.index() as u8),
            denied: Default::default(),
            place: Place::new(State {
                gate,
                wakers: Vec::new(),
                doors: Slab::new(),
                known: 0,
                untold: None,
            }),
        }
    }

    /// The greatest number of connections.
    pub fn limit(&self) -> usize {
        self.limits.connections
    }

    /// What the gate counts now.
    pub fn gauge(&self) -> Gauge {
        self.place.visit(|state, _| Gauge {
            limits: self.limits,
            connections: state.gate.connections(),
            bytes: state.gate.bytes(),
            pressure: state.gate.pressure(),
            stress: state.gate.stress(),
            steps: state.gate.steps().map(|(step, count)| (step.label(), count)).collect(),
            denied: Denied::ALL
                .iter()
                .zip(&self.denied)
                .map(|(denied, count)| (denied.label(), count.load(Relaxed)))
                .collect(),
        })
    }

    /// How much the connections have to hurry: the [place](Stress::index) of the stress.
    #[inline]
    pub(crate) fn stress(&self) -> u8 {
        self.stress.load(Relaxed)
    }

    /// A member has heard how much it has to hurry: others are told after it.
    pub(crate) fn tell_on(&self) {
        self.visit(|_, _| ());
    }

    /// Counts a newcomer that is refused.
    pub(crate) fn count(&self, denied: Denied) {
        let place = Denied::ALL.iter().position(|it| *it == denied);
        if let Some(count) = place.and_then(|place| self.denied.get(place)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Takes a place if there is one.
    pub(crate) fn try_enter(&self, now: Tick, newcomer: Newcomer) -> Option<usize> {
        self.visit(|state, _| state.join(now, newcomer).ok())
    }

    /// A proxy has told whom the connection of this number is from.
    pub(crate) fn identify(&self, now: Tick, number: usize, address: IpAddr) -> Result<(), Denied> {
        self.visit(|state, _| state.gate.identify(now, number, address))
    }

    /// Visits the state, and notes what a look without a lock has to find.
    fn visit<T>(&self, visit: impl FnOnce(&mut State, &mut Calls) -> T) -> T {
        self.place.visit(|state, calls| {
            let result = visit(state, calls);
            state.hurry(calls);
            self.asked.store(state.gate.asked(), SeqCst);
            self.stress.store(state.gate.stress().index() as u8, Relaxed);
            result
        })
    }

    /// The member's task has another waker from now on.
    pub(crate) fn moved(&self, number: usize, waker: &Waker) {
        // The old waker is dropped after the visit.
        let _old = self.place.visit(|state, _| {
            state.wakers.get_mut(number).map(|known| known.replace(waker.clone()))
        });
    }

    /// Takes in what a member tells about itself.
    pub(crate) fn report(&self, number: usize, report: Report, now: Tick) {
        self.visit(|state, calls| {
            state.gate.report(number, report);
            // A newcomer that found nobody to ask may wait for this, and now there is a time to wait for.
            if state.ask(now, calls).is_some() {
                state.wake_doors(calls);
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
        self.visit(|state, calls| {
            if !state.gate.is_asked(number) {
                return Verdict::Unasked;
            }
            if !willing {
                state.gate.stay(now, number);
                state.ask(now, calls);
                return Verdict::Stay;
            }
            // Another member may have left meanwhile.
            if state.gate.is_needed(number) {
                return Verdict::Leave;
            }
            // It keeps its age: what it told last is still true.
            state.gate.keep(number);
            Verdict::Unasked
        })
    }

    /// A member has left.
    pub(crate) fn leave(&self, number: usize, now: Tick) {
        // The member's waker is dropped after the visit.
        let _waker = self.visit(|state, calls| {
            state.gate.leave(now, number);
            state.wake_doors(calls);
            let waker = state.wakers.get_mut(number).and_then(Option::take);
            if state.gate.connections() == 0 {
                // Memory for many connections is not kept for few.
                state.wakers = Vec::new();
            }
            waker
        });
    }

    /// Wakes all members, so that they obey a new order.
    pub(crate) fn wake_all(&self) {
        self.place.visit(|state, calls| {
            state.wakers.iter().flatten().for_each(|waker| calls.wake(waker.clone()));
        });
    }
}

impl State {
    fn join(&mut self, now: Tick, newcomer: Newcomer) -> Result<usize, Denied> {
        let Newcomer { address, is_handshaking } = newcomer;
        let number = self.gate.admit(now, address, is_handshaking)?;
        self.note(number);
        Ok(number)
    }

    /// Makes a place for the waker of a member.
    fn note(&mut self, number: usize) {
        if self.wakers.len() <= number {
            self.wakers.resize_with(number + 1, || None);
        }
    }

    /// Asks members to leave: one for each newcomer, and a few because of pressure. Returns the time from which
    /// on there is somebody to ask, if there is nobody now.
    fn ask(&mut self, now: Tick, calls: &mut Calls) -> Option<Tick> {
        for _ in 0..AT_ONCE.max(self.gate.newcomers()) {
            match self.gate.next_to_leave(now) {
                Ok(number) => self.wake(number, calls),
                Err(later) => return later,
            }
        }
        None
    }

    /// Asks a member of the newcomer's prefix to leave, since this has as many as it may. Returns when the
    /// newcomer tries again at the latest, if that is known.
    ///
    /// # Errors
    /// It is of no use to wait.
    fn ask_its_own(
        &mut self,
        now: Tick,
        newcomer: Newcomer,
        calls: &mut Calls,
    ) -> Result<Option<Tick>, Denied> {
        let address = newcomer.address.ok_or(Denied::Share)?;
        match self.gate.next_of_its_prefix(now, address) {
            Ok(number) => {
                self.wake(number, calls);
                Ok(None)
            }
            Err(Some(until)) => Ok(Some(until).filter(|until| *until > now)),
            Err(None) => Err(Denied::Share),
        }
    }

    /// Wakes some members if timers have become shorter: a client that says nothing would keep the longer ones
    /// otherwise. When timers grow again, members find that by themselves.
    fn hurry(&mut self, calls: &mut Calls) {
        let eighths = self.gate.stress().eighths();
        if eighths > self.known {
            self.untold = Some(0);
        }
        self.known = eighths;
        if let Some(next) = self.untold {
            let end = (next + TOLD_AT_ONCE).min(self.wakers.len());
            (next..end).for_each(|number| self.wake(number, calls));
            self.untold = Some(end).filter(|end| *end < self.wakers.len());
        }
    }

    fn wake(&self, number: usize, calls: &mut Calls) {
        if let Some(Some(waker)) = self.wakers.get(number) {
            calls.wake(waker.clone());
        }
    }

    fn wake_doors(&mut self, calls: &mut Calls) {
        self.doors.iter_mut().for_each(|(_, door)| door.waiting.wake(calls));
    }

    /// Makes the current task wait at the door of this number, or at a new door.
    fn wait(
        &mut self,
        number: &mut Option<usize>,
        is_open_to_all: bool,
        cx: &Context<'_>,
        calls: &mut Calls,
    ) {
        let new = || Doorway { waiting: Waiting::default(), is_open_to_all: false };
        let number = *number.get_or_insert_with(|| self.doors.insert(new()));
        if let Some(door) = self.doors.get_mut(number) {
            door.is_open_to_all = is_open_to_all;
            door.waiting.register(cx, calls);
        }
        self.count_newcomers();
    }

    /// No newcomer waits at this door any more. Returns what is to be dropped after the visit.
    fn close(&mut self, number: &mut Option<usize>) -> Option<Doorway> {
        let door = number.take().and_then(|number| self.doors.try_remove(number))?;
        self.count_newcomers();
        Some(door)
    }

    /// Tells the gate how many newcomers wait for any connection to leave. There are as many doors as servers.
    fn count_newcomers(&mut self) {
        self.gate.set_newcomers(self.doors.iter().filter(|(_, door)| door.is_open_to_all).count());
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
    /// when another attempt may succeed.
    pub(crate) fn enter(
        &mut self,
        cx: &Context<'_>,
        now: Tick,
        newcomer: Newcomer,
    ) -> Result<usize, Wait> {
        let Door { admission, number } = self;
        // The task's waker is dropped after the visit.
        let (entered, _door) = admission.visit(|state, calls| {
            let denied = match state.join(now, newcomer) {
                Ok(member) => {
                    let door = state.close(number);
                    state.ask(now, calls);
                    return (Ok(member), door);
                }
                Err(denied) => denied,
            };
            let wait = |is_final, until| Err(Wait { denied, is_final, until });
            if denied == Denied::Share
                && let Ok(until) = state.ask_its_own(now, newcomer, calls)
            {
                state.wait(number, false, cx, calls);
                return (wait(false, until), None);
            }
            if denied.is_of_its_prefix() {
                return (wait(true, None), state.close(number));
            }
            state.wait(number, true, cx, calls);
            let until = state.ask(now, calls);
            (wait(false, until), None)
        });
        entered
    }

    /// Asks a member to leave although there are places, because another resource is short.
    pub(crate) fn ask(&mut self, cx: &Context<'_>, now: Tick) {
        let Door { admission, number } = self;
        admission.visit(|state, calls| {
            state.wait(number, true, cx, calls);
            state.ask(now, calls);
        });
    }

    /// Takes a place even if there is none, for a newcomer that cannot wait.
    pub(crate) fn enter_now(&mut self, now: Tick, newcomer: Newcomer) -> usize {
        self.close();
        self.admission.visit(|state, _| {
            let number = state.gate.admit_late(now, newcomer.is_handshaking);
            state.note(number);
            number
        })
    }

    /// No newcomer waits at this door any more.
    pub(crate) fn close(&mut self) {
        if self.number.is_some() {
            let number = &mut self.number;
            let _waiting = self.admission.visit(|state, _| state.close(number));
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
        f.debug_struct("Admission").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// A percentage of `all`.
fn share(all: usize, percent: u8) -> usize {
    let percent = usize::from(percent);
    (all / 100).saturating_mul(percent) + all % 100 * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counted::Counted;
    use portcullis::gate::Standing;

    const NEWCOMER: Newcomer = Newcomer { address: None, is_handshaking: false };

    /// A gate on which pressure has no effect before all places are taken.
    fn places(most: u64) -> Arc<Admission> {
        let config = Config::builder()
            .max_connections(ConnectionLimit::Count(most))
            .pressure_shrink_timers(100)
            .pressure_end_keep_alive(100)
            .pressure_close_idle(100)
            .pressure_close_waiting(100)
            .build();
        Arc::new(Admission::new(&Arc::new(config.expect("valid"))))
    }

    /// Idle members in all places, and their counters.
    fn full(most: u64) -> (Arc<Admission>, Vec<Arc<Counted>>) {
        let admission = places(most);
        let members = (0..most as usize).map(|place| {
            let (count, waker) = Counted::task();
            assert_eq!(admission.try_enter(Tick::ZERO, NEWCOMER), Some(place));
            admission.moved(place, &waker);
            stand(&admission, place, Standing::Idle, Tick::ZERO);
            count
        });
        let members = members.collect();
        assert_eq!(admission.try_enter(Tick::ZERO, NEWCOMER), None);
        (admission, members)
    }

    fn report(standing: Standing) -> Report {
        let since = Tick::ZERO;
        Report { standing, bytes: 0, is_handshaking: false, since, until: since }
    }

    fn stand(admission: &Admission, number: usize, standing: Standing, until: Tick) {
        admission.report(number, Report { until, ..report(standing) }, Tick::ZERO);
    }

    fn enter(door: &mut Door, cx: &Context<'_>, now: Tick) -> Result<usize, Option<Tick>> {
        door.enter(cx, now, NEWCOMER).map_err(|wait| {
            assert_eq!(wait.denied, Denied::Connections);
            wait.until
        })
    }

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
            assert_eq!(enter(&mut door, &cx, Tick::ZERO), Err(None));
        }
        assert_eq!(woken(&members), [1, 0, 0], "one is asked, once");
        assert_eq!(admission.judge(1, true, Tick::ZERO), Verdict::Unasked);
        assert_eq!(admission.judge(0, true, Tick::ZERO), Verdict::Leave);
        admission.leave(0, Tick::ZERO);
        assert_eq!(server.times_woken(), 1);
        assert_eq!(enter(&mut door, &cx, Tick::ZERO), Ok(0));
        assert!(!admission.asks());
        assert_eq!(woken(&members), [1, 0, 0]);
    }

    #[test]
    fn a_member_that_is_busy_again_stays_and_another_is_asked() {
        let (admission, members) = full(2);
        let (_, waker) = Counted::task();
        let mut door = Door::new(admission.clone());
        let cx = Context::from_waker(&waker);
        assert!(enter(&mut door, &cx, Tick::ZERO).is_err());
        assert_eq!(admission.judge(0, false, Tick::ZERO), Verdict::Stay);
        assert_eq!(woken(&members), [1, 1]);
        assert_eq!(admission.judge(1, false, Tick::ZERO), Verdict::Stay);
        // The member that became idle first is asked.
        stand(&admission, 1, Standing::Idle, Tick::ZERO);
        assert_eq!(woken(&members), [1, 2]);
        assert_eq!(admission.judge(1, true, Tick::ZERO), Verdict::Leave);
    }

    #[test]
    fn whoever_is_asked_stays_if_another_has_left_or_the_newcomer_has() {
        let (admission, _) = full(2);
        let (_, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        let mut door = Door::new(admission.clone());
        assert!(enter(&mut door, &cx, Tick::ZERO).is_err());
        admission.leave(1, Tick::ZERO);
        assert!(enter(&mut door, &cx, Tick::ZERO).is_ok());
        assert_eq!(admission.judge(0, true, Tick::ZERO), Verdict::Unasked);
        assert!(enter(&mut door, &cx, Tick::ZERO).is_err());
        assert!(admission.asks(), "it is asked again without another report");
        drop(door);
        assert_eq!(admission.judge(0, true, Tick::ZERO), Verdict::Unasked);
        assert!(!admission.asks());
    }

    #[test]
    fn two_servers_share_the_places() {
        let (admission, members) = full(2);
        let (_, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        let mut doors = [(); 2].map(|()| Door::new(admission.clone()));
        for door in &mut doors {
            assert!(enter(door, &cx, Tick::ZERO).is_err());
        }
        assert_eq!(woken(&members), [1, 1], "there are two newcomers");
        admission.leave(0, Tick::ZERO);
        admission.leave(1, Tick::ZERO);
        assert!(doors.iter_mut().all(|door| enter(door, &cx, Tick::ZERO).is_ok()));
    }

    #[test]
    fn a_newcomer_knows_when_it_is_worth_another_try() {
        let (admission, members) = full(1);
        let (server, waker) = Counted::task();
        let cx = Context::from_waker(&waker);
        let until = Tick::ZERO.after(std::time::Duration::from_millis(500));
        stand(&admission, 0, Standing::Working, Tick::ZERO);
        let mut door = Door::new(admission.clone());
        assert_eq!(enter(&mut door, &cx, Tick::ZERO), Err(None));
        stand(&admission, 0, Standing::Fresh, until);
        assert_eq!(server.times_woken(), 1, "it is told that there is a moment");
        let Err(Some(at)) = enter(&mut door, &cx, Tick::ZERO) else { panic!("it is known") };
        assert!(at.as_nanos().abs_diff(until.as_nanos()) < 2_000_000, "{at:?}");
        assert_eq!(woken(&members), [0]);
        assert_eq!(enter(&mut door, &cx, until), Err(None));
        assert_eq!(woken(&members), [1]);
    }

    #[test]
    fn members_that_sleep_are_told_when_timers_become_shorter() {
        const MOST: u64 = 200;
        let config = Config::builder().max_connections(ConnectionLimit::Count(MOST)).build();
        let admission = Admission::new(&Arc::new(config.expect("valid")));
        let mut members = Vec::new();
        // From the half on timers shrink.
        let mut enter = |count: usize| {
            for _ in 0..count {
                let (counted, waker) = Counted::task();
                let number = admission.try_enter(Tick::ZERO, NEWCOMER).expect("a place");
                admission.moved(number, &waker);
                members.push(counted);
            }
            woken(&members)
        };
        assert_eq!(enter(101), [0; 101]);
        let told = enter(1);
        assert_eq!(told.iter().filter(|count| **count == 1).count(), TOLD_AT_ONCE);
        let told = enter(100 / TOLD_AT_ONCE);
        assert!(told[..100].iter().all(|count| *count == 1), "each once: {told:?}");
        let told = enter(5);
        assert!(told[..100].iter().all(|count| *count == 1), "the same is not told again");
        // They are told again of the next eighth, and not when timers grow.
        let told = enter(20);
        assert!(told[..100].iter().all(|count| *count >= 2), "{told:?}");
        (20..MOST as usize).take(100).for_each(|number| admission.leave(number, Tick::ZERO));
        let left = woken(&members);
        admission.report(0, report(Standing::Idle), Tick::ZERO);
        assert_eq!(woken(&members), left);
    }

    #[test]
    fn a_share_of_the_descriptors_is_rounded_down_and_nothing_overflows() {
        assert_eq!([share(40, 75), share(1, 75), share(1024, 75)], [30, 0, 768]);
        assert_eq!(share(usize::MAX, 100), usize::MAX);
        assert_eq!(places(1).limit(), 1);
        let default = Admission::new(&Arc::default());
        assert!(default.limit() > 1);
    }
}
