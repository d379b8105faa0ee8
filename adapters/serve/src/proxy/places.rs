//! Places at the upstream server: how many requests it works on at once, and how many wait for it.
//!
//! - A free place goes to the prefix of addresses that has the fewest places, and among equals to the request that has
//!   waited longest. A prefix with many requests waits behind one with few.
//! - If the queue is full, the newest request of the prefix with the most requests in it makes room for one of a prefix
//!   with fewer.
//! - Requests whose content is still on its way get at most half of the places. So slow uploads leave the other half to
//!   requests that are whole.
//! - An answer that its client takes slowly keeps its place as long as nobody waits for it. If a request has waited for a
//!   second, the slowest of these answers is cut off: one whose client takes less than [`RATE`], or one of a prefix that
//!   has more than half of the places.
//!
//! All of this costs little more with many requests than with few, but for the choice of the slowest answer: that looks
//! at each answer that has a place, at most once a second for each request that waits.

use super::counters::Counters;
use crate::later::Sleep;
use futures_util::future::{Either, select};
use parking_lot::Mutex;
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// What a client has to take of an answer, in bytes a second, so that the answer keeps its place while others wait.
pub(super) const RATE: u64 = 16 << 10;
/// After this wait, answers that are taken slowly have to make room.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// Requests that share what they get: those of one prefix, or all whose address is not known.
pub(super) type Group = Option<IpAddr>;

/// All places are taken, and the queue is full or was too slow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The places, and the queue before them.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    places: usize,
    queue: usize,
    patience: Duration,
    sleep: Sleep,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct State {
    free: usize,
    /// Places that requests may take whose content is on its way.
    free_for_uploads: usize,
    waiting: Slab<Waiting>,
    /// The groups that have places or wait.
    groups: HashMap<Group, Standing>,
    /// The groups that wait, those first that are next: for requests that are whole, and for uploads.
    order: [BTreeSet<(usize, u64, Group)>; 2],
    /// The groups that wait, by the number of their requests.
    by_waiting: BTreeSet<(usize, Group)>,
    /// The requests in the queue.
    length: usize,
    tickets: u64,
    /// Answers that are on their way to their clients, and have a place.
    answers: Slab<Answer>,
}

/// What a group has.
#[derive(Debug, Default)]
struct Standing {
    places: usize,
    /// Its requests by their tickets: those that are whole, and uploads.
    waiting: [BTreeMap<u64, usize>; 2],
}

impl Standing {
    fn waiting(&self) -> usize {
        self.waiting.iter().map(BTreeMap::len).sum()
    }
}

/// A request in the queue.
#[derive(Debug)]
struct Waiting {
    group: Group,
    is_upload: bool,
    ticket: u64,
    verdict: Option<Verdict>,
    waker: Option<Waker>,
}

/// How a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The request has a place.
    Enter,
    /// Another one has its place in the queue.
    Leave,
}

/// An answer on its way.
#[derive(Debug)]
struct Answer {
    group: Group,
    /// How long it has waited for its client, before now.
    waited: Duration,
    /// Since when it waits now.
    waits_since: Option<Instant>,
    /// Bytes that its client has taken since it first waited.
    taken: u64,
    is_cut: bool,
    waker: Option<Waker>,
}

/// Wakers, to be woken when the state is unlocked.
type Wakers = Vec<Waker>;

impl Places {
    pub(super) fn new(
        places: usize,
        queue: usize,
        patience: Duration,
        sleep: Sleep,
        counters: Arc<Counters>,
    ) -> Self {
        let state =
            State { free: places, free_for_uploads: (places / 2).max(1), ..State::default() };
        let state = Mutex::new(state);
        Places(Arc::new(Shared { state, places, queue, patience, sleep, counters }))
    }

    /// Waits for a place, for a request of `group` whose content has come, or is on its way. While it waits, answers
    /// have to be taken at a rate after `grace`. Dropping the future leaves the queue.
    pub(super) async fn take(
        &self,
        group: Group,
        is_upload: bool,
        grace: Duration,
    ) -> Result<Place, Full> {
        let shared = &self.0;
        let place = || Place { shared: shared.clone(), group, is_upload };
        let turn = shared.visit(|state, wakers| {
            // Nobody is overtaken: who waits gets a place when it becomes free, before anybody else comes.
            if state.free > 0 && (!is_upload || state.free_for_uploads > 0) {
                state.occupy(group, is_upload);
                return Ok(None);
            }
            if state.length >= shared.queue && !state.make_room_in_queue(group, wakers) {
                return Err(Full);
            }
            Ok(Some(state.queue_up(group, is_upload)))
        })?;
        let Some(key) = turn else { return Ok(place()) };
        let turn = Turn { shared, key };
        let mut left = shared.patience;
        loop {
            let pause = left.min(IMPATIENCE);
            let verdict = poll_fn(|cx| turn.poll(cx));
            let verdict = match select(pin!(verdict), (shared.sleep)(pause)).await {
                Either::Left((verdict, _)) => Some(verdict),
                Either::Right(_) => None,
            };
            if let Some(verdict) = verdict {
                verdict?;
                turn.end();
                return Ok(place());
            }
            left -= pause;
            if left.is_zero() {
                return Err(Full);
            }
            shared.visit(|state, wakers| {
                if state.free == 0 {
                    state.make_room(group, shared.places, grace, Instant::now(), wakers);
                }
            });
        }
    }
}

/// A request in the queue. Dropping it leaves the queue, or gives the place back.
struct Turn<'p> {
    shared: &'p Arc<Shared>,
    key: usize,
}

impl Turn<'_> {
    fn poll(&self, cx: &Context<'_>) -> Poll<Result<(), Full>> {
        let mut state = self.shared.state.lock();
        let Some(waiting) = state.waiting.get_mut(self.key) else { return Poll::Pending };
        match waiting.verdict {
            Some(Verdict::Enter) => Poll::Ready(Ok(())),
            Some(Verdict::Leave) => Poll::Ready(Err(Full)),
            None => {
                waiting.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The place is taken.
    fn end(self) {
        self.shared.state.lock().waiting.try_remove(self.key);
        std::mem::forget(self);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.shared.visit(|state, wakers| {
            let Some(waiting) = state.waiting.try_remove(self.key) else { return };
            let Waiting { group, is_upload, ticket, verdict, .. } = waiting;
            match verdict {
                None => state.leave_queue(group, is_upload, ticket),
                Some(Verdict::Enter) => state.vacate(group, is_upload, wakers),
                Some(Verdict::Leave) => {}
            }
        });
    }
}

/// A place for one request. Dropping it lets the next request in.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    group: Group,
    is_upload: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.visit(|state, wakers| state.vacate(self.group, self.is_upload, wakers));
    }
}

impl Place {
    /// The place of a request whose answer is on its way.
    pub(super) fn answered(self) -> Answering {
        let answer = Answer {
            group: self.group,
            waited: Duration::ZERO,
            waits_since: None,
            taken: 0,
            is_cut: false,
            waker: None,
        };
        let key = self.shared.state.lock().answers.insert(answer);
        Answering { place: self, key }
    }
}

/// The place of an answer on its way. Dropping it lets the next request in.
#[derive(Debug)]
pub(super) struct Answering {
    place: Place,
    key: usize,
}

impl Answering {
    /// The answer waits until its client takes more. Ready if it has to be cut off.
    pub(super) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.place.shared.state.lock();
        let Some(answer) = state.answers.get_mut(self.key) else { return Poll::Pending };
        if answer.is_cut {
            return Poll::Ready(());
        }
        answer.waits_since.get_or_insert_with(Instant::now);
        answer.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The client has taken so many bytes.
    pub(super) fn took(&self, bytes: u64) {
        let mut state = self.place.shared.state.lock();
        if let Some(answer) = state.answers.get_mut(self.key)
            && (answer.waits_since.is_some() || !answer.waited.is_zero())
        {
            answer.taken += bytes;
        }
    }

    /// The answer doesn't wait for its client.
    pub(super) fn goes_on(&self) {
        let mut state = self.place.shared.state.lock();
        if let Some(answer) = state.answers.get_mut(self.key)
            && let Some(since) = answer.waits_since.take()
        {
            answer.waited += since.elapsed();
            answer.waker = None;
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.place.shared.state.lock().answers.try_remove(self.key);
    }
}

impl Shared {
    /// Visits the state, and wakes afterwards.
    fn visit<T>(&self, visit: impl FnOnce(&mut State, &mut Wakers) -> T) -> T {
        let mut wakers = Vec::new();
        let mut state = self.state.lock();
        let result = visit(&mut state, &mut wakers);
        self.counters.stand(self.places.saturating_sub(state.free), state.length);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }
}

impl State {
    fn occupy(&mut self, group: Group, is_upload: bool) {
        self.free -= 1;
        self.free_for_uploads -= usize::from(is_upload);
        self.change(group, |standing| standing.places += 1);
    }

    fn vacate(&mut self, group: Group, is_upload: bool, wakers: &mut Wakers) {
        self.free += 1;
        self.free_for_uploads += usize::from(is_upload);
        self.change(group, |standing| standing.places -= 1);
        while self.free > 0 && self.let_in(wakers) {}
    }

    /// Gives a place to the next request, if there is one that may have it.
    fn let_in(&mut self, wakers: &mut Wakers) -> bool {
        let [whole, uploads] = &self.order;
        let uploads = uploads.first().filter(|_| self.free_for_uploads > 0);
        let next = whole.first().into_iter().chain(uploads).min();
        let Some(&(_, ticket, group)) = next else { return false };
        let Some(key) = self.key_of(group, ticket) else { return false };
        let Some(waiting) = self.waiting.get_mut(key) else { return false };
        waiting.verdict = Some(Verdict::Enter);
        wakers.extend(waiting.waker.take());
        let is_upload = waiting.is_upload;
        self.leave_queue(group, is_upload, ticket);
        self.occupy(group, is_upload);
        true
    }

    fn key_of(&self, group: Group, ticket: u64) -> Option<usize> {
        self.groups.get(&group)?.waiting.iter().find_map(|line| line.get(&ticket)).copied()
    }

    fn queue_up(&mut self, group: Group, is_upload: bool) -> usize {
        let ticket = self.tickets;
        self.tickets += 1;
        self.length += 1;
        let waiting = Waiting { group, is_upload, ticket, verdict: None, waker: None };
        let key = self.waiting.insert(waiting);
        self.change(group, |standing| {
            standing.waiting[usize::from(is_upload)].insert(ticket, key);
        });
        key
    }

    fn leave_queue(&mut self, group: Group, is_upload: bool, ticket: u64) {
        self.length -= 1;
        self.change(group, |standing| {
            standing.waiting[usize::from(is_upload)].remove(&ticket);
        });
    }

    /// Sends the newest request away of the group with the most requests in the queue, for one of a group with fewer.
    /// Returns whether there is one.
    fn make_room_in_queue(&mut self, newcomer: Group, wakers: &mut Wakers) -> bool {
        let own = self.groups.get(&newcomer).map_or(0, Standing::waiting);
        let Some(&(most, group)) = self.by_waiting.last() else { return false };
        if most <= own + 1 {
            return false;
        }
        let Some(standing) = self.groups.get(&group) else { return false };
        let newest = standing.waiting.iter().filter_map(BTreeMap::last_key_value).max();
        let Some((&ticket, &key)) = newest else { return false };
        let Some(waiting) = self.waiting.get_mut(key) else { return false };
        waiting.verdict = Some(Verdict::Leave);
        wakers.extend(waiting.waker.take());
        let is_upload = waiting.is_upload;
        self.leave_queue(group, is_upload, ticket);
        true
    }

    /// Changes what a group has, and its place in each order.
    fn change(&mut self, group: Group, change: impl FnOnce(&mut Standing)) {
        let standing = self.groups.entry(group).or_default();
        let keys = |standing: &Standing| {
            let first = |line: &BTreeMap<u64, usize>| {
                line.keys().next().map(|ticket| (standing.places, *ticket, group))
            };
            (standing.waiting.each_ref().map(first), (standing.waiting(), group))
        };
        let (lines, count) = keys(standing);
        for (order, key) in self.order.iter_mut().zip(lines) {
            key.map(|key| order.remove(&key));
        }
        self.by_waiting.remove(&count);
        change(standing);
        let (lines, count) = keys(standing);
        if standing.places == 0 && count.0 == 0 {
            self.groups.remove(&group);
            return;
        }
        for (order, key) in self.order.iter_mut().zip(lines) {
            key.map(|key| order.insert(key));
        }
        if count.0 > 0 {
            self.by_waiting.insert(count);
        }
    }

    /// Cuts off the answer whose client is the slowest, if that is too slow, for a request of `waiting`.
    fn make_room(
        &mut self,
        waiting: Group,
        places: usize,
        grace: Duration,
        now: Instant,
        wakers: &mut Wakers,
    ) {
        let has_too_many = |group: Group| {
            let has = self.groups.get(&group).map_or(0, |standing| standing.places);
            group != waiting && has * 2 > places
        };
        let rate = |(key, answer): (usize, &Answer)| {
            let time = answer.waited + now.saturating_duration_since(answer.waits_since?);
            let rate = answer.taken as f64 / time.as_secs_f64();
            let is_slow = rate < RATE as f64 || has_too_many(answer.group);
            let goes = !answer.is_cut && time >= grace && is_slow;
            goes.then_some((rate, key))
        };
        let slowest =
            self.answers.iter().filter_map(rate).min_by(|one, other| one.0.total_cmp(&other.0));
        if let Some((_, key)) = slowest
            && let Some(answer) = self.answers.get_mut(key)
        {
            answer.is_cut = true;
            wakers.extend(answer.waker.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffers::Buffers;
    use super::*;
    use futures_util::FutureExt;
    use std::future::{pending, ready};
    use std::pin::Pin;

    const GRACE: Duration = Duration::from_secs(5);

    fn of(places: usize, queue: usize, sleep: Sleep) -> Places {
        let counters = Arc::new(Counters::new(places, Arc::new(Buffers::new(0))));
        Places::new(places, queue, Duration::from_secs(1), sleep, counters)
    }

    fn waits() -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(pending())
    }

    fn group(last: u8) -> Group {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    /// A request of this group, which is whole.
    fn take(places: &Places, last: u8) -> Pin<Box<dyn Future<Output = Result<Place, Full>> + '_>> {
        Box::pin(places.take(group(last), false, GRACE))
    }

    #[test]
    fn those_who_wait_are_bounded_served_in_turn_and_free_their_place() {
        let places = of(1, 2, |_| waits());
        let first = take(&places, 1).now_or_never().expect("free").expect("free");
        let (mut second, mut third) = (take(&places, 1), take(&places, 1));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!(take(&places, 1).now_or_never().map(|place| place.err()), Some(Some(Full)));
        drop(first);
        assert!(take(&places, 1).now_or_never().is_none(), "no overtaking");
        // The one that leaves was the next.
        drop(second);
        assert!(third.as_mut().now_or_never().expect("its turn").is_ok());
        assert!(take(&places, 1).now_or_never().expect("free again").is_ok());
        let state = places.0.state.lock();
        assert!(state.waiting.is_empty() && state.groups.is_empty() && state.length == 0);
        assert!(state.order.iter().all(BTreeSet::is_empty) && state.by_waiting.is_empty());
    }

    #[test]
    fn waiting_ends_after_the_time() {
        let places = of(1, 2, |_| Box::pin(ready(())));
        let _first = take(&places, 1).now_or_never().expect("free").expect("free");
        assert_eq!(take(&places, 1).now_or_never().map(|place| place.err()), Some(Some(Full)));
    }

    #[test]
    fn uploads_leave_half_of_the_places() {
        let places = of(2, 5, |_| waits());
        let upload = || Box::pin(places.take(group(1), true, GRACE));
        let first = upload().now_or_never().expect("free").expect("free");
        let mut second = upload();
        assert!(second.as_mut().now_or_never().is_none());
        let whole = take(&places, 1).now_or_never().expect("free").expect("free");
        drop(whole);
        assert!(second.as_mut().now_or_never().is_none(), "the other half is not for it");
        drop(first);
        assert!(second.as_mut().now_or_never().expect("its turn").is_ok());
    }

    #[test]
    fn a_prefix_with_many_requests_waits_behind_one_with_few() {
        let places = of(2, 10, |_| waits());
        let mut held: Vec<_> =
            (0..2).map(|_| take(&places, 1).now_or_never().expect("free").expect("free")).collect();
        let mut many: Vec<_> = (0..8).map(|_| take(&places, 1)).collect();
        assert!(many.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        let mut few = take(&places, 2);
        assert!(few.as_mut().now_or_never().is_none());
        held.pop();
        let few = few.as_mut().now_or_never().expect("it is the first").expect("a place");
        assert!(many.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        held.pop();
        assert!(many[0].as_mut().now_or_never().expect("its turn").is_ok());
        drop(few);
    }

    #[test]
    fn a_full_queue_has_room_for_a_prefix_with_fewer_requests() {
        let places = of(1, 2, |_| waits());
        let _held = take(&places, 1).now_or_never().expect("free").expect("free");
        let mut many: Vec<_> = (0..2).map(|_| take(&places, 1)).collect();
        assert!(many.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        let mut other = take(&places, 2);
        assert!(other.as_mut().now_or_never().is_none(), "it waits");
        let newest = many[1].as_mut().now_or_never().map(|place| place.err());
        assert_eq!(newest, Some(Some(Full)));
        assert!(many[0].as_mut().now_or_never().is_none());
        let third = take(&places, 2).now_or_never().map(|place| place.err());
        assert_eq!(third, Some(Some(Full)), "both have as many");
    }

    #[test]
    fn the_slowest_answer_makes_room_and_a_fast_one_does_not() {
        let places = of(4, 9, |_| waits());
        let cx = Context::from_waker(Waker::noop());
        let answers: Vec<_> = [1, 2, 3, 4]
            .map(|last| take(&places, last).now_or_never().expect("free").expect("free").answered())
            .into();
        assert!(answers.iter().all(|answer| answer.poll_cut(&cx).is_pending()));
        let seconds = 10;
        for (answer, rate) in answers.iter().zip([240, RATE + 1, 100, 0]) {
            answer.took(rate * seconds);
        }
        // This one doesn't wait for its client.
        answers[3].goes_on();
        let now = Instant::now() + Duration::from_secs(seconds);
        let cut = |after: Duration| -> Vec<_> {
            places.0.visit(|state, wakers| state.make_room(group(9), 4, after, now, wakers));
            answers.iter().map(|answer| answer.poll_cut(&cx).is_ready()).collect()
        };
        assert_eq!(cut(Duration::from_secs(60)), [false; 4], "not before its time");
        answers[3].goes_on();
        assert_eq!(cut(GRACE), [false, false, true, false]);
        answers[3].goes_on();
        assert_eq!(cut(GRACE), [true, false, true, false]);
        answers[3].goes_on();
        assert_eq!(cut(GRACE), [true, false, true, false], "the others are fast");
    }

    #[test]
    fn a_prefix_with_more_than_half_makes_room_for_others() {
        let places = of(3, 9, |_| waits());
        let cx = Context::from_waker(Waker::noop());
        let answers: Vec<_> = [1, 1, 2]
            .map(|last| take(&places, last).now_or_never().expect("free").expect("free").answered())
            .into();
        for answer in &answers {
            assert!(answer.poll_cut(&cx).is_pending());
            answer.took(1 << 30);
        }
        let now = Instant::now() + Duration::from_secs(10);
        let cut = |waiting| {
            places.0.visit(|state, wakers| state.make_room(waiting, 3, GRACE, now, wakers));
            answers.iter().filter(|answer| answer.poll_cut(&cx).is_ready()).count()
        };
        assert_eq!(cut(group(1)), 0, "not for itself");
        assert_eq!(cut(group(3)), 1);
    }
}
