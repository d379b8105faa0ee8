//! The connections that were let in, in lists of those that may be closed for others.
//!
//! A member stands in up to two lists: one of all members, and one of its prefix. The lists lie within one slab,
//! so each step costs the same for any number of members.

use super::prefixes::Number;
use super::{Report, Standing};
use crate::time::Tick;

/// Which of its two lists a member's neighbours are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    All,
    Prefix,
}

/// The members before and behind a member in a list.
#[derive(Clone, Copy, Debug)]
struct Links {
    before: u32,
    behind: u32,
}

/// The first and the last member of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
}

/// The number of no member.
const NOBODY: u32 = u32::MAX;
/// So that every number is less than [`NOBODY`].
pub(super) const MOST: usize = NOBODY as usize;

impl List {
    pub(super) const EMPTY: List = List { first: NOBODY, last: NOBODY };

    pub(super) fn first(self) -> Option<usize> {
        (self.first != NOBODY).then_some(self.first as usize)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Where it is counted; `None` if its address counts nowhere.
    pub(super) prefix: Option<Number>,
    pub(super) report: Report,
    /// It is asked to leave, and stands in no list.
    pub(super) is_asked: bool,
    links: [Links; 2],
}

/// A place of the slab: a member, or the next place that is free.
#[derive(Clone, Copy, Debug)]
enum Seat {
    Taken(Member),
    Free(u32),
}

/// The members. It owns no memory while there are none.
#[derive(Debug)]
pub(super) struct Members {
    seats: Vec<Seat>,
    free: u32,
    count: usize,
}

impl Members {
    pub(super) const fn new() -> Self {
        Members { seats: Vec::new(), free: NOBODY, count: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn join(&mut self, prefix: Option<Number>, report: Report) -> usize {
        let links = [Links { before: NOBODY, behind: NOBODY }; 2];
        let member = Seat::Taken(Member { prefix, report, is_asked: false, links });
        self.count += 1;
        match self.seats.get_mut(self.free as usize) {
            Some(seat) => {
                let number = self.free as usize;
                if let Seat::Free(next) = *seat {
                    self.free = next;
                }
                *seat = member;
                number
            }
            None => {
                self.seats.push(member);
                self.seats.len() - 1
            }
        }
    }

    /// Removes a member, which stands in no list.
    pub(super) fn remove(&mut self, number: usize) -> Option<Member> {
        let free = self.free;
        let seat = self.seats.get_mut(number)?;
        let Seat::Taken(member) = *seat else { return None };
        *seat = Seat::Free(free);
        self.free = u32::try_from(number).unwrap_or(NOBODY);
        self.count -= 1;
        if self.count == 0 {
            // Memory for many connections is not kept for few.
            *self = Members::new();
        }
        Some(member)
    }

    pub(super) fn get(&self, number: usize) -> Option<&Member> {
        match self.seats.get(number)? {
            Seat::Taken(member) => Some(member),
            Seat::Free(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Member> {
        match self.seats.get_mut(number)? {
            Seat::Taken(member) => Some(member),
            Seat::Free(_) => None,
        }
    }

    /// Appends the member to a list.
    pub(super) fn append(&mut self, way: Way, list: &mut List, number: usize) {
        let last = list.last;
        self.link(way, list, last, number as u32);
        self.link(way, list, number as u32, NOBODY);
    }

    /// Takes the member out of its list.
    pub(super) fn unlink(&mut self, way: Way, list: &mut List, number: usize) {
        let Some(Member { links, .. }) = self.get(number) else { return };
        let Links { before, behind } = links[way as usize];
        self.link(way, list, before, behind);
    }

    /// Makes two members neighbours. `NOBODY` stands before the first and after the last.
    fn link(&mut self, way: Way, list: &mut List, before: u32, behind: u32) {
        match self.get_mut(before as usize) {
            Some(member) => member.links[way as usize].behind = behind,
            None => list.first = behind,
        }
        match self.get_mut(behind as usize) {
            Some(member) => member.links[way as usize].before = before,
            None => list.last = before,
        }
    }
}

/// The lists of all members that may be closed.
#[derive(Debug)]
pub(super) struct Lists {
    /// Those that would lose nothing, by what they are.
    spare: [List; Standing::SPARE.len()],
    /// Those that wait for their peers, by the memory that they hold.
    waiting: [List; CLASSES],
    /// Those of them that are within a TLS handshake. They hold about as much each.
    handshakes: List,
}

/// The classes of memory: up to 1 KiB, 2 KiB, and so on; the last has no limit.
const CLASSES: usize = 24;

/// Whether connections with these reports stand in the same list.
pub(super) fn is_alike(one: &Report, other: &Report) -> bool {
    let same = one.standing == other.standing && one.is_handshaking == other.is_handshaking;
    same && (one.standing != Standing::Waiting || class(one.bytes) == class(other.bytes))
}

/// What a TLS handshake holds: 8 KiB or more.
const HANDSHAKE: usize = 3;

fn class(bytes: u64) -> usize {
    let kibibytes = (bytes >> 10).max(1);
    (kibibytes.ilog2() as usize).min(CLASSES - 1)
}

impl Lists {
    pub(super) const fn new() -> Self {
        Lists {
            spare: [List::EMPTY; Standing::SPARE.len()],
            waiting: [List::EMPTY; CLASSES],
            handshakes: List::EMPTY,
        }
    }

    /// The list that a member with this report stands in.
    pub(super) fn of(&mut self, report: &Report) -> Option<&mut List> {
        match report.standing {
            Standing::Working => None,
            Standing::Waiting if report.is_handshaking => Some(&mut self.handshakes),
            Standing::Waiting => self.waiting.get_mut(class(report.bytes)),
            spare => self.spare.get_mut(spare as usize),
        }
    }

    /// The member that would lose nothing and is closed first, or when there will be one.
    pub(super) fn next_spare(&self, members: &Members, now: Tick) -> Result<usize, Option<Tick>> {
        let mut later: Option<Tick> = None;
        for list in &self.spare {
            let Some(number) = list.first() else { continue };
            let Some(member) = members.get(number) else { continue };
            if member.report.until <= now {
                return Ok(number);
            }
            let until = member.report.until;
            later = Some(later.map_or(until, |later| later.min(until)));
        }
        Err(later)
    }

    /// The member that has waited for its peer longest for what it holds: the one with the largest product of
    /// time and memory, of the first of each class. Or when there will be one. `handshakes`: of those that are
    /// within a handshake only.
    pub(super) fn next_waiting(
        &self,
        members: &Members,
        now: Tick,
        handshakes: bool,
    ) -> Result<usize, Option<Tick>> {
        let (mut heaviest, mut later): (Option<(u128, usize)>, Option<Tick>) = (None, None);
        let others = if handshakes { &[][..] } else { &self.waiting[..] };
        let lists = others.iter().enumerate().chain([(HANDSHAKE, &self.handshakes)]);
        for (class, list) in lists {
            let Some(number) = list.first() else { continue };
            let Some(member) = members.get(number) else { continue };
            let Report { since, until, .. } = member.report;
            if until > now {
                later = Some(later.map_or(until, |later| later.min(until)));
                continue;
            }
            let weight = now.since(since).as_nanos().max(1) << class;
            if heaviest.is_none_or(|(most, _)| weight > most) {
                heaviest = Some((weight, number));
            }
        }
        heaviest.map(|(_, number)| number).ok_or(later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_takes_as_much_memory_as_the_docs_say() {
        assert!(size_of::<Seat>() <= 64, "{}", size_of::<Seat>());
    }

    #[test]
    fn classes_double() {
        let classes = [0, 1023, 2047, 2048, 4096, 1 << 20, u64::MAX].map(class);
        assert_eq!(classes, [0, 0, 0, 1, 2, 10, CLASSES - 1]);
    }
}
