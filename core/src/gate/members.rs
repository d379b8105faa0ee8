//! The connections that were let in, in lists of those that may be closed for others.
//!
//! A member stands in up to two lists: one of all members, and one of its prefix. The lists lie within one slab,
//! so each step costs the same for any number of members.

use super::list::{Links, List, Nodes};
use super::prefixes::Number;
use super::{Report, Standing};
use crate::time::Tick;
use slab::Slab;

/// Which of its two lists a member's neighbours are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    All,
    Prefix,
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

impl Member {
    pub(super) fn new(prefix: Option<Number>, report: Report) -> Self {
        Member { prefix, report, is_asked: false, links: [Links::NONE; 2] }
    }
}

/// The members, with their neighbours in the lists of one of the two ways.
pub(super) struct Along<'m>(pub(super) &'m mut Slab<Member>, pub(super) Way);

impl Nodes for Along<'_> {
    fn links(&mut self, number: usize) -> Option<&mut Links> {
        self.0.get_mut(number).map(|member| &mut member.links[self.1 as usize])
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
    pub(super) fn next_spare(
        &self,
        members: &Slab<Member>,
        now: Tick,
    ) -> Result<usize, Option<Tick>> {
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
        members: &Slab<Member>,
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
        // The slab needs no bytes of its own to know which places are free.
        assert!(size_of::<Option<Member>>() <= 64, "{}", size_of::<Option<Member>>());
    }

    #[test]
    fn classes_double() {
        let classes = [0, 1023, 2047, 2048, 4096, 1 << 20, u64::MAX].map(class);
        assert_eq!(classes, [0, 0, 0, 1, 2, 10, CLASSES - 1]);
    }
}
