//! The members that have a place, in lists of those that may be asked to leave. The lists lie within one
//! slab, so each step costs the same for any number of members.

use portcullis::Tick;
use slab::Slab;
use std::task::Waker;
use std::time::Duration;

/// What a connection would lose by leaving now: next to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It waits for another request.
    Idle,
    /// Nothing has arrived on it yet. After a while nothing is on its way either.
    Fresh,
    /// Its peer has ended the connection, and a handler works for nobody.
    Gone,
    /// Its last answer is sent, and the peer is silent.
    Lingering,
}

/// The order in which members are asked.
const STANDINGS: [Standing; 4] =
    [Standing::Idle, Standing::Fresh, Standing::Gone, Standing::Lingering];

/// The list that a member is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// It is busy, and in no list.
    Busy,
    /// It is in the list of this standing.
    Listed(Standing),
    /// It is asked to leave.
    Asked,
}

/// A moment in units of about a millisecond. It can be compared with moments up to 24 days away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment(u32);

impl Moment {
    fn of(tick: Tick) -> Self {
        Moment((tick.as_nanos() >> 20) as u32)
    }

    /// The time until then in the same units; 0 if it has come.
    fn since(self, now: Moment) -> u32 {
        u32::try_from(self.0.wrapping_sub(now.0) as i32).unwrap_or(0)
    }
}

#[derive(Debug)]
pub(super) struct Member {
    /// Wakes the member's task.
    pub(super) waker: Option<Waker>,
    seat: Seat,
    /// The member is not asked to leave before this moment.
    until: Moment,
    /// Its neighbours in its list.
    before: u32,
    behind: u32,
}

/// The number of no member.
const NOBODY: u32 = u32::MAX;
/// So that every number is less than [`NOBODY`].
pub(super) const MOST: usize = NOBODY as usize;

/// The first and the last member of a list.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

#[derive(Debug)]
pub(super) struct Members {
    all: Slab<Member>,
    lists: [List; STANDINGS.len()],
}

impl Default for Members {
    fn default() -> Self {
        let empty = List { first: NOBODY, last: NOBODY };
        Members { all: Slab::new(), lists: [empty; STANDINGS.len()] }
    }
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn join(&mut self) -> usize {
        let (seat, until) = (Seat::Busy, Moment(0));
        self.all.insert(Member { waker: None, seat, until, before: NOBODY, behind: NOBODY })
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Member> {
        self.all.get_mut(number)
    }

    pub(super) fn wakers(&self) -> impl Iterator<Item = &Waker> {
        self.all.iter().filter_map(|(_, member)| member.waker.as_ref())
    }

    pub(super) fn seat(&self, number: usize) -> Option<Seat> {
        self.all.get(number).map(|member| member.seat)
    }

    /// Appends the member to a list. It may be asked to leave from `until` on.
    pub(super) fn list(&mut self, number: usize, standing: Standing, until: Tick) {
        self.move_to(number, Seat::Listed(standing));
        if let Some(member) = self.all.get_mut(number) {
            member.until = Moment::of(until);
        }
    }

    /// Moves the member to the end of another list.
    pub(super) fn move_to(&mut self, number: usize, seat: Seat) {
        let Some(Member { seat: old, before, behind, .. }) = self.all.get(number) else { return };
        let (old, before, behind) = (*old, *before, *behind);
        if let Seat::Listed(standing) = old {
            self.link(standing, before, behind);
        }
        let before = match seat {
            Seat::Listed(standing) => {
                let last = self.lists[standing as usize].last;
                self.link(standing, last, number as u32);
                self.link(standing, number as u32, NOBODY);
                last
            }
            Seat::Busy | Seat::Asked => NOBODY,
        };
        if let Some(member) = self.all.get_mut(number) {
            (member.seat, member.before, member.behind) = (seat, before, NOBODY);
        }
    }

    /// Makes two members neighbours. `NOBODY` stands before the first and after the last.
    fn link(&mut self, standing: Standing, before: u32, behind: u32) {
        match self.all.get_mut(before as usize) {
            Some(member) => member.behind = behind,
            None => self.lists[standing as usize].first = behind,
        }
        match self.all.get_mut(behind as usize) {
            Some(member) => member.before = before,
            None => self.lists[standing as usize].last = before,
        }
    }

    /// The member to be asked next, or the time at which there will be one, if that is known.
    pub(super) fn next(&self, now: Tick) -> Result<usize, Option<Tick>> {
        let moment = Moment::of(now);
        let mut later: Option<u32> = None;
        for standing in STANDINGS {
            let first = self.lists[standing as usize].first as usize;
            let Some(member) = self.all.get(first) else { continue };
            match member.until.since(moment) {
                0 => return Ok(first),
                wait => later = Some(later.map_or(wait, |later| later.min(wait))),
            }
        }
        Err(later.map(|wait| now.after(Duration::from_nanos(u64::from(wait) << 20))))
    }

    /// Removes the member. Returns the list that it was in.
    pub(super) fn remove(&mut self, number: usize) -> Option<(Seat, Member)> {
        let seat = self.seat(number)?;
        self.move_to(number, Seat::Busy);
        let member = self.all.try_remove(number)?;
        if self.all.is_empty() {
            // Memory for many connections is not kept for few.
            self.all.shrink_to_fit();
        }
        Some((seat, member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(standing: Standing) -> Seat {
        Seat::Listed(standing)
    }

    /// Asks members until none is left.
    fn ask_all(members: &mut Members) -> Vec<usize> {
        let mut asked = Vec::new();
        while let Ok(number) = members.next(Tick::ZERO) {
            members.move_to(number, Seat::Asked);
            asked.push(number);
        }
        asked
    }

    #[test]
    fn the_longest_idle_is_asked_first_and_those_that_are_gone_last() {
        let mut members = Members::default();
        let numbers: Vec<_> = (0..7).map(|_| members.join()).collect();
        assert_eq!(members.next(Tick::ZERO), Err(None), "all are busy");
        use Standing::*;
        for (number, standing) in
            numbers.into_iter().zip([Gone, Fresh, Idle, Idle, Gone, Idle, Idle])
        {
            members.move_to(number, listed(standing));
        }
        members.move_to(3, Seat::Busy);
        members.move_to(2, listed(Idle));
        assert_eq!(ask_all(&mut members), [5, 6, 2, 1, 0, 4]);
        assert_eq!(members.remove(5).map(|(seat, _)| seat), Some(Seat::Asked));
        assert!(members.remove(5).is_none());
        assert_eq!(members.len(), 6);
    }

    #[test]
    fn nobody_is_asked_too_early() {
        let mut members = Members::default();
        let (one, two) = (members.join(), members.join());
        // Also where the units begin anew.
        for now in [Tick::ZERO, Tick::from_nanos((1 << 52) - 1)] {
            let second = now.after(Duration::from_secs(1));
            members.list(one, Standing::Fresh, second);
            let Err(Some(at)) = members.next(now) else { panic!("it is known") };
            let error = at.as_nanos().abs_diff(second.as_nanos());
            assert!(error < 2_000_000, "{error}");
            assert!(members.next(second).is_ok() && members.next(at).is_ok());
        }
        members.move_to(two, listed(Standing::Gone));
        assert_eq!(members.next(Tick::ZERO), Ok(two));
    }

    #[test]
    fn any_order_of_moves_keeps_the_lists_whole() {
        let mut members = Members::default();
        let mut random = 1_u32;
        let mut draw = |most: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) as usize % most
        };
        let mut model: Vec<(usize, Option<Standing>)> = Vec::new();
        for _ in 0..10_000 {
            match (draw(4), model.len()) {
                (0, 0..=9) => model.push((members.join(), None)),
                (1, 1..) => {
                    let (number, _) = model.remove(draw(model.len()));
                    assert!(members.remove(number).is_some());
                }
                (_, 1..) => {
                    let (number, _) = model.remove(draw(model.len()));
                    let standing = STANDINGS.get(draw(5)).copied();
                    members.move_to(number, standing.map_or(Seat::Busy, listed));
                    model.push((number, standing));
                }
                _ => {}
            }
            let first = STANDINGS.iter().find_map(|standing| {
                model.iter().find(|(_, other)| other == &Some(*standing)).map(|(number, _)| *number)
            });
            assert_eq!(members.next(Tick::ZERO).ok(), first);
            assert_eq!(members.len(), model.len());
        }
    }
}
