//! The list of the connections that are open, for people who look: what each does, and which deadline runs.
//!
//! In: what each connection tells after a poll, without a lock. Out: for each phase, copies of those for which most is
//! held. A server keeps no list unless it is given one.

use crate::address::Address;
use crate::clock;
use parking_lot::Mutex;
use portcullis::{Phase, Tick, Timer};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Places that one look visits before others may change the list.
const AT_ONCE: usize = 1024;
/// Not a timer's place.
const NO_TIMER: u8 = u8::MAX;

/// A list of the connections of one or more servers that are open now. Share it in an `Arc`
/// ([`Server::roster`](crate::Server::roster)).
///
/// It costs about 150 bytes for each connection, a lock when one begins and when it ends, and a few instructions
/// for each time that one is polled.
#[derive(Debug, Default)]
pub struct Roster {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    open: Slab<Arc<Entry>>,
    /// The number of the next connection.
    next: u64,
}

/// A connection, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// Its number, in the order in which connections began. No other connection of the list has it.
    pub number: u64,
    /// Who it is from: the client that a trusted proxy names, once it has.
    pub peer: Address,
    /// What it does.
    pub phase: Phase,
    /// The time since it began.
    pub age: Duration,
    /// Bytes that are held for it.
    pub bytes_held: u64,
    /// Requests that it has delivered.
    pub requests: u64,
    /// The deadline that runs, if it waits for its peer: what for, and the time that is left.
    pub deadline: Option<(Timer, Duration)>,
}

/// What a connection tells of itself. The values are read one by one, so they may be of two moments.
#[derive(Debug)]
struct Entry {
    roster: Arc<Roster>,
    /// Its place among the open ones.
    place: usize,
    number: u64,
    peer: Mutex<Address>,
    since: Tick,
    bytes: AtomicU64,
    requests: AtomicU64,
    /// When the timer expires, in nanoseconds.
    deadline: AtomicU64,
    /// The place of the timer in [`Timer::ALL`].
    timer: AtomicU8,
    /// The place of the phase in [`Phase::ALL`].
    phase: AtomicU8,
}

/// A connection's place in the list. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Listed(Arc<Entry>);

impl Roster {
    /// An empty list.
    pub fn new() -> Self {
        Roster::default()
    }

    /// For each phase the connections for which most bytes are held, at most `most` of them: in the order of
    /// [`Phase::ALL`], then of their bytes. Of those with the same number of bytes the oldest come first.
    ///
    /// It looks at all connections, and holds none of them up.
    pub fn largest(&self, most: usize) -> Vec<Row> {
        let mut largest: [BinaryHeap<_>; Phase::ALL.len()] = Default::default();
        let mut next = Some(0);
        while let Some(place) = next {
            let entries = self.entries.lock();
            for place in place..place + AT_ONCE {
                let Some(entry) = entries.open.get(place) else { continue };
                let phase = usize::from(entry.phase.load(Relaxed));
                let Some(largest) = largest.get_mut(phase) else { continue };
                largest.push(Reverse((entry.bytes.load(Relaxed), Reverse(entry.number), place)));
                if largest.len() > most {
                    largest.pop();
                }
            }
            next = Some(place + AT_ONCE).filter(|next| *next < entries.open.capacity());
        }
        let (now, entries) = (clock::tick(Instant::now()), self.entries.lock());
        let row = |(phase, Reverse((_, Reverse(number), place)))| {
            let entry = entries.open.get(place)?;
            // Another connection may have its place by now.
            (entry.number == number).then(|| entry.row(phase, now))
        };
        let sorted = Phase::ALL.into_iter().zip(largest).flat_map(|(phase, largest)| {
            largest.into_sorted_vec().into_iter().map(move |found| (phase, found))
        });
        sorted.filter_map(row).collect()
    }

    pub(crate) fn list(self: &Arc<Self>, peer: &Address, now: Tick) -> Listed {
        let mut entries = self.entries.lock();
        let number = entries.next;
        entries.next += 1;
        let vacancy = entries.open.vacant_entry();
        let entry = Arc::new(Entry {
            roster: self.clone(),
            place: vacancy.key(),
            number,
            peer: Mutex::new(peer.clone()),
            since: now,
            bytes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            timer: AtomicU8::new(NO_TIMER),
            phase: AtomicU8::new(Phase::Idle as u8),
        });
        vacancy.insert(entry.clone());
        Listed(entry)
    }
}

impl Entry {
    fn row(&self, phase: Phase, now: Tick) -> Row {
        let timer = Timer::ALL.get(usize::from(self.timer.load(Relaxed)));
        let left = Tick::from_nanos(self.deadline.load(Relaxed)).since(now);
        Row {
            number: self.number,
            peer: self.peer.lock().clone(),
            phase,
            age: now.since(self.since),
            bytes_held: self.bytes.load(Relaxed),
            requests: self.requests.load(Relaxed),
            deadline: timer.map(|timer| (*timer, left)),
        }
    }
}

impl Listed {
    /// Tells what the connection does now.
    pub(crate) fn tell(
        &self,
        phase: Phase,
        bytes: usize,
        requests: u64,
        deadline: Option<(Tick, Timer)>,
    ) {
        let entry = &*self.0;
        entry.phase.store(phase as u8, Relaxed);
        entry.bytes.store(bytes as u64, Relaxed);
        entry.requests.store(requests, Relaxed);
        let timer = deadline.map_or(NO_TIMER, |(at, timer)| {
            entry.deadline.store(at.as_nanos(), Relaxed);
            timer as u8
        });
        entry.timer.store(timer, Relaxed);
    }

    /// A proxy has told whom the connection is from.
    #[cold]
    pub(crate) fn identify(&self, client: &Address) {
        *self.0.peer.lock() = client.clone();
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut entries = self.0.roster.entries.lock();
        entries.open.try_remove(self.0.place);
        if entries.open.is_empty() {
            // Memory for many connections is not kept for few.
            entries.open = Slab::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_find_their_places() {
        for (place, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, place);
        }
        for (place, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer as usize, place);
        }
    }

    #[test]
    fn the_largest_of_each_phase_come_first_and_of_equal_ones_the_oldest() {
        let roster = Arc::new(Roster::new());
        let now = clock::tick(Instant::now());
        let listed: Vec<_> = [30, 10, 50, 30, 20]
            .into_iter()
            .map(|bytes| {
                let listed = roster.list(&Address::Unknown, now);
                listed.tell(Phase::RequestHead, bytes, 2, None);
                listed
            })
            .collect();
        let numbers =
            |most| -> Vec<u64> { roster.largest(most).into_iter().map(|row| row.number).collect() };
        assert_eq!(numbers(9), [2, 0, 3, 4, 1]);
        assert_eq!(numbers(2), [2, 0]);
        assert_eq!(numbers(0), []);
        let listed: Vec<_> = listed.into_iter().skip(1).collect();
        for one in listed.iter().take(2) {
            one.tell(Phase::Idle, 40, 0, None);
        }
        assert_eq!(numbers(9), [1, 2, 3, 4], "idle ones come before heads");
        assert_eq!(numbers(1), [1, 3]);
        drop(listed);
        assert_eq!(numbers(9), []);
    }

    #[test]
    fn a_row_tells_the_deadline_and_the_client_of_a_proxy() {
        let roster = Arc::new(Roster::new());
        let now = clock::tick(Instant::now());
        let listed = roster.list(&Address::Unknown, now);
        let at = now.after(Duration::from_secs(1000));
        listed.tell(Phase::RequestHead, 7, 3, Some((at, Timer::RequestHead)));
        let client = Address::from(std::net::SocketAddr::from(([192, 0, 2, 1], 80)));
        listed.identify(&client);
        let rows = roster.largest(1);
        let row = rows.first().expect("a row");
        assert_eq!((&row.peer, row.phase), (&client, Phase::RequestHead));
        assert_eq!((row.bytes_held, row.requests), (7, 3));
        let (timer, left) = row.deadline.expect("a deadline");
        assert_eq!(timer, Timer::RequestHead);
        assert!(left <= Duration::from_secs(1000) && left > Duration::from_secs(900), "{left:?}");
        listed.tell(Phase::Application, 7, 3, None);
        assert_eq!(roster.largest(1).first().map(|row| row.deadline), Some(None));
    }

    #[test]
    fn connections_beyond_one_visit_are_found() {
        let roster = Arc::new(Roster::new());
        let listed: Vec<_> =
            (0..3 * AT_ONCE).map(|_| roster.list(&Address::Unknown, Tick::ZERO)).collect();
        let last = listed.last().expect("a connection");
        last.tell(Phase::Idle, 1, 0, None);
        assert_eq!(roster.largest(1).first().map(|row| row.bytes_held), Some(1));
        assert_eq!(roster.largest(usize::MAX).len(), 3 * AT_ONCE);
    }
}
