//! The prefixes of addresses from which connections come: how many each has, and how fast it makes new ones.
//!
//! Only prefixes that have connections are kept, and a bounded number of those whose rate is still counted. So
//! the table is never larger than the number of connections and that bound, however many addresses an attacker
//! has.

use super::Standing;
use super::list::{Links, List, Nodes};
use crate::config::Config;
use crate::time::Tick;
use core::hash::{BuildHasher, Hasher};
use core::net::IpAddr;
use core::time::Duration;
use slab::Slab;
use std::collections::HashMap;
use std::hash::DefaultHasher;

/// The number of a prefix in the table. There are at most as many as members.
pub(super) type Number = u32;

/// The most prefixes without a connection whose rate is still counted.
const RESTING: usize = 4096;

/// A prefix of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Prefix {
    is_ipv6: bool,
    bits: u128,
}

impl Prefix {
    /// The prefix of an address, with as many bits as `config` says. An IPv4 address that is written as an IPv6
    /// address (RFC 4291 2.5.5.2) is an IPv4 address.
    pub(super) fn of(config: &Config, address: IpAddr) -> Prefix {
        let leading = |bits: u64, width: u32| {
            let zeros = width.saturating_sub(u32::try_from(bits).unwrap_or(width));
            u128::MAX.checked_shl(zeros).unwrap_or(0)
        };
        match address.to_canonical() {
            IpAddr::V4(address) => Prefix {
                is_ipv6: false,
                bits: u128::from(address.to_bits()) & leading(config.prefix_ipv4_bits(), 32),
            },
            IpAddr::V6(address) => Prefix {
                is_ipv6: true,
                bits: address.to_bits() & leading(config.prefix_ipv6_bits(), 128),
            },
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    prefix: Prefix,
    /// Its connections.
    pub(super) count: usize,
    /// Those of them that are asked to leave.
    pub(super) leaving: usize,
    /// Those that may be closed: the ones that would lose nothing, and the ones that wait for their peer.
    pub(super) spare: List,
    pub(super) waiting: List,
    /// When all connections that came have been paid for by the rate.
    paid: Tick,
    /// Its neighbours among those that have about as many connections.
    links: Links,
}

impl Entry {
    /// Whether one more connection is within the rate: `per_second`, and as many at once.
    pub(super) fn is_within(&self, per_second: u64, now: Tick) -> bool {
        let ahead = self.paid.since(now) + interval(per_second);
        ahead <= Duration::from_secs(1).max(interval(per_second))
    }

    /// The list in which a connection of this prefix stands.
    pub(super) fn list(&mut self, standing: Standing) -> Option<&mut List> {
        match standing {
            Standing::Working => None,
            Standing::Waiting => Some(&mut self.waiting),
            _ => Some(&mut self.spare),
        }
    }
}

/// Hashes with a secret, so that nobody can choose addresses that collide.
#[derive(Clone, Copy, Debug)]
struct Secret(u64);

impl BuildHasher for Secret {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

#[derive(Debug)]
pub(super) struct Prefixes {
    numbers: HashMap<Prefix, Number, Secret>,
    entries: Slab<Entry>,
    /// Lists of prefixes by the logarithm of their connections; the first is of those that have none.
    heaps: [List; HEAPS],
    resting: usize,
}

/// One more than the logarithm of the most members.
const HEAPS: usize = 34;

/// The heap of a prefix with so many connections.
fn heap(count: usize) -> usize {
    count.checked_ilog2().map_or(0, |log| log as usize + 1).min(HEAPS - 1)
}

impl Prefixes {
    pub(super) fn new(secret: u64) -> Self {
        Prefixes {
            numbers: HashMap::with_hasher(Secret(secret)),
            entries: Slab::new(),
            heaps: [List::EMPTY; HEAPS],
            resting: 0,
        }
    }

    pub(super) fn find(&self, prefix: Prefix) -> Option<Number> {
        self.numbers.get(&prefix).copied()
    }

    pub(super) fn get(&self, number: Number) -> Option<&Entry> {
        self.entries.get(number as usize)
    }

    pub(super) fn get_mut(&mut self, number: Number) -> Option<&mut Entry> {
        self.entries.get_mut(number as usize)
    }

    /// The number of prefixes in the table.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Counts a connection that comes.
    pub(super) fn join(&mut self, prefix: Prefix, per_second: Option<u64>, now: Tick) -> Number {
        let number = self.find(prefix).unwrap_or_else(|| self.insert(prefix));
        self.count(number, |count| count + 1);
        if let Some(entry) = self.get_mut(number)
            && let Some(per_second) = per_second
        {
            entry.paid = entry.paid.max(now).after(interval(per_second));
        }
        number
    }

    /// Counts a connection that has left.
    pub(super) fn leave(&mut self, number: Number, now: Tick) {
        self.count(number, |count| count.saturating_sub(1));
        let Some(entry) = self.get(number) else { return };
        if entry.count == 0 && entry.paid <= now {
            self.remove(number);
        } else if self.resting > RESTING {
            // The one that has rested longest is forgotten.
            let longest = self.heaps[0].first();
            longest.into_iter().for_each(|number| self.remove(number as Number));
        }
    }

    /// The prefix that has most connections, or one that has at least half as many.
    pub(super) fn heaviest(&self) -> Option<&Entry> {
        let heavy = self.heaps.iter().skip(1).rev().find_map(|heap| heap.first())?;
        self.entries.get(heavy)
    }

    fn insert(&mut self, prefix: Prefix) -> Number {
        let entry = Entry {
            prefix,
            count: 0,
            leaving: 0,
            spare: List::EMPTY,
            waiting: List::EMPTY,
            paid: Tick::ZERO,
            links: Links::NONE,
        };
        let number = self.entries.insert(entry);
        self.heaps[0].append(&mut self.entries, number);
        self.numbers.insert(prefix, number as Number);
        self.resting += 1;
        number as Number
    }

    fn remove(&mut self, number: Number) {
        let Some(Entry { prefix, count, .. }) = self.get(number).copied() else { return };
        self.heaps[heap(count)].unlink(&mut self.entries, number as usize);
        self.resting -= usize::from(count == 0);
        self.numbers.remove(&prefix);
        self.entries.try_remove(number as usize);
        if self.numbers.is_empty() {
            // Memory for many prefixes is not kept for few.
            let secret = *self.numbers.hasher();
            *self = Prefixes::new(secret.0);
        }
    }

    fn count(&mut self, number: Number, change: impl FnOnce(usize) -> usize) {
        let Some(entry) = self.get_mut(number) else { return };
        let before = entry.count;
        entry.count = change(before);
        let after = entry.count;
        self.resting = self.resting + usize::from(after == 0) - usize::from(before == 0);
        if heap(before) != heap(after) {
            self.heaps[heap(before)].unlink(&mut self.entries, number as usize);
            self.heaps[heap(after)].append(&mut self.entries, number as usize);
        }
    }
}

impl Nodes for Slab<Entry> {
    fn links(&mut self, number: usize) -> Option<&mut Links> {
        self.get_mut(number).map(|entry| &mut entry.links)
    }
}

/// The time that pays for one connection.
fn interval(per_second: u64) -> Duration {
    Duration::from_nanos(1_000_000_000 / per_second.max(1))
}
