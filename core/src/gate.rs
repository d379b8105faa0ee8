//! The gate over all connections: who is let in, who hurries, and who leaves when there is too little for all.
//!
//! A single connection is bounded in time and memory by its own state machine. The gate bounds their sum. It is
//! as pure as a connection: ticks, addresses and reports go in, decisions come out. The driver keeps one for
//! each place where connections come in, or one for several.
//!
//! ```text
//! admit(address)      -> a number, or why not
//! report(number, …)      what the connection would lose by leaving, and what it holds
//! next_to_leave()     -> the number of a connection that is to be closed
//! stress()            -> how much shorter the timers of all connections are
//! leave(number)
//! ```
//!
//! # Pressure
//!
//! Pressure is the largest of three shares, from 0 to 1: connections of [`Limits::connections`] (as the newest
//! one found them), bytes of [`Limits::memory`], and TLS handshakes in progress of those that
//! [`handshakes_share`](Config::handshakes_share) allows. As it grows, the gate does more:
//!
//! | above | what happens |
//! |---|---|
//! | [`pressure_shrink_timers`](Config::pressure_shrink_timers) (50 %) | timers that wait for peers shrink |
//! | [`pressure_end_keep_alive`](Config::pressure_end_keep_alive) (80 %) | connections are not kept for another request |
//! | [`pressure_close_idle`](Config::pressure_close_idle) (90 %) | connections that would lose nothing are closed |
//! | [`pressure_close_waiting`](Config::pressure_close_waiting) (95 %) | connections that wait for their peer are closed, those first that hold most for longest |
//! | 100 % | newcomers wait until a connection has left, or are refused |
//!
//! A step that has begun ends when the pressure is 5 % below its threshold, so that nothing flaps. A time `t`
//! becomes `t * (1 - (p - from) / (1 - from))` at the pressure `p`, in eighths, but not less than 1 s (or `t`).
//!
//! # Who leaves
//!
//! 1. Of a prefix of addresses that has more than a quarter of all connections (and at least 16), its own.
//! 2. Idle connections, the longest idle first; those on which nothing has come for a while after they were
//!    accepted; those whose peer has gone while a handler works; those that only wait for the peer's end.
//! 3. Connections that have waited for their peer for at least 1 s without progress, by time and memory.
//!
//! A connection in which the application works for a live peer never leaves for another one.
//!
//! # Costs
//!
//! Each call takes the same time at 100 and at 100,000 connections. A connection takes 64 bytes here, and a
//! prefix about 150; only prefixes with connections are kept, and at most 4,096 whose rate is still counted.

mod list;
mod members;
mod prefixes;

use crate::config::{Config, EIGHTHS, Stress};
use crate::time::Tick;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;
use list::List;
use members::{Along, Lists, Member, Way};
use prefixes::{Entry, Prefix, Prefixes};
use slab::Slab;
use std::sync::Arc;

/// What a connection would lose if it were closed now, from nothing to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It waits for another request.
    Idle,
    /// Nothing has arrived on it yet. After a while nothing is on its way either.
    Fresh,
    /// Its peer has ended the connection, and a handler works for nobody.
    Gone,
    /// Its last answer is sent, and the peer is silent.
    Lingering,
    /// It waits for its peer: for the rest of a handshake, of a request, or until the peer takes an answer.
    Waiting,
    /// The application works for it, or it is a websocket.
    Working,
}

impl Standing {
    /// Those that would lose nothing, in the order in which they are closed.
    const SPARE: [Standing; 4] =
        [Standing::Idle, Standing::Fresh, Standing::Gone, Standing::Lingering];
}

/// What a connection tells about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it would lose by being closed.
    pub standing: Standing,
    /// The bytes that are held for it.
    pub bytes: u64,
    /// Whether it is within a TLS handshake.
    pub is_handshaking: bool,
    /// Since when it has this standing without progress.
    pub since: Tick,
    /// It is not closed for others before this moment.
    pub until: Tick,
}

impl Report {
    /// The report of a connection that was just accepted. It works until it says otherwise.
    fn new(now: Tick, is_handshaking: bool) -> Self {
        Report { standing: Standing::Working, bytes: 0, is_handshaking, since: now, until: now }
    }
}

/// What all connections may take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most connections; at least 1.
    pub connections: usize,
    /// The most bytes that may be held for them; at least 1.
    pub memory: u64,
}

/// Why a newcomer is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Denied {
    /// Its prefix has as many connections as it may: [`Config::prefix_share`].
    Share,
    /// Its prefix makes new connections faster than it may: [`Config::prefix_rate`].
    Rate,
    /// There are as many connections as there may be.
    Connections,
    /// As many bytes are held as may be.
    Memory,
    /// As many TLS handshakes are in progress as may be.
    Handshakes,
}

impl Denied {
    /// All reasons.
    pub const ALL: [Denied; 5] =
        [Denied::Share, Denied::Rate, Denied::Connections, Denied::Memory, Denied::Handshakes];

    /// The reason as a label for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Denied::Share => "prefix_share",
            Denied::Rate => "prefix_rate",
            Denied::Connections => "connections",
            Denied::Memory => "memory",
            Denied::Handshakes => "handshakes",
        }
    }

    /// Whether the reason lies with the newcomer's prefix, so that waiting for other prefixes is of no use.
    pub const fn is_of_its_prefix(self) -> bool {
        matches!(self, Denied::Share | Denied::Rate)
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Denied::Share => "its prefix of addresses has as many connections as it may",
            Denied::Rate => "its prefix of addresses makes connections faster than it may",
            Denied::Connections => "there are as many connections as there may be",
            Denied::Memory => "connections hold as many bytes as they may",
            Denied::Handshakes => "as many TLS handshakes are in progress as may be",
        })
    }
}

/// What the gate does more as pressure grows, in this order. The [table](self#pressure) tells when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Timers that wait for peers shrink.
    ShrinkTimers,
    /// Connections are not kept for another request.
    EndKeepAlive,
    /// Connections that would lose nothing are closed.
    CloseIdle,
    /// Connections that wait for their peer are closed.
    CloseWaiting,
    /// Connections within a TLS handshake are closed, because too many are in progress.
    CloseHandshakes,
    /// Newcomers wait or are refused, because a limit is reached.
    HoldNewcomers,
}

impl Step {
    /// All steps.
    pub const ALL: [Step; 6] = [
        Step::ShrinkTimers,
        Step::EndKeepAlive,
        Step::CloseIdle,
        Step::CloseWaiting,
        Step::CloseHandshakes,
        Step::HoldNewcomers,
    ];

    /// The step as a label for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Step::ShrinkTimers => "shrink_timers",
            Step::EndKeepAlive => "end_keep_alive",
            Step::CloseIdle => "close_idle",
            Step::CloseWaiting => "close_waiting",
            Step::CloseHandshakes => "close_handshakes",
            Step::HoldNewcomers => "hold_newcomers",
        }
    }
}

/// How much of each resource is in use, in thousandths of its limit. More than 1,000 are possible for memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// The connections that the newest one found.
    pub connections: u32,
    /// The bytes that are held.
    pub memory: u32,
    /// The TLS handshakes in progress that the newest one found.
    pub handshakes: u32,
}

impl Pressure {
    /// The largest of the three.
    pub fn most(self) -> u32 {
        self.connections.max(self.memory).max(self.handshakes)
    }
}

/// What the members use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    connections: usize,
    handshakes: usize,
    bytes: u64,
}

impl Load {
    fn of(report: &Report) -> Load {
        let handshakes = usize::from(report.is_handshaking);
        Load { connections: 1, handshakes, bytes: report.bytes }
    }

    fn add(&mut self, other: Load) {
        self.connections += other.connections;
        self.handshakes += other.handshakes;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn take(&mut self, other: Load) {
        self.connections = self.connections.saturating_sub(other.connections);
        self.handshakes = self.handshakes.saturating_sub(other.handshakes);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// By how much the pressure has to fall below a threshold before its step ends, in thousandths.
const HYSTERESIS: u32 = 50;
/// The least time without progress after which a connection that waits for its peer may be closed for another.
const PATIENCE: Duration = Duration::from_secs(1);
/// A prefix with less than this many connections is like any other.
const MANY: usize = 16;
/// There may be at least so many handshakes at once, however few connections there may be.
const FEW: usize = 16;

/// A step that begins above a threshold, and ends clearly below it.
#[derive(Clone, Copy, Debug, Default)]
struct Threshold {
    is_passed: bool,
}

impl Threshold {
    fn update(&mut self, percent: u64, pressure: u32) -> bool {
        let above = thousandths(percent);
        let begins = pressure > above;
        let goes_on = self.is_passed && pressure > above.saturating_sub(HYSTERESIS);
        self.is_passed = begins || goes_on;
        self.is_passed
    }
}

fn thousandths(percent: u64) -> u32 {
    u32::try_from(percent.saturating_mul(10)).unwrap_or(u32::MAX)
}

fn share(part: u64, whole: u64) -> u32 {
    // More than a thousandth of 2^64 is too much of anything.
    let share = part.saturating_mul(1000) / whole.max(1);
    u32::try_from(share).unwrap_or(u32::MAX)
}

/// The gate. See the [module](self).
#[derive(Debug)]
pub struct Gate {
    config: Arc<Config>,
    limits: Limits,
    members: Slab<Member>,
    lists: Lists,
    prefixes: Prefixes,
    load: Load,
    /// The part of the load that will go, since its members are asked to leave.
    leaving: Load,
    /// The newcomers that wait for a place.
    newcomers: usize,
    stress: Stress,
    closes_idle: Threshold,
    closes_waiting: Threshold,
    closes_handshakes: Threshold,
    /// A newcomer found a limit reached, and the pressure has not clearly fallen since.
    holds_newcomers: bool,
    /// How often each step has begun.
    steps: [u64; Step::ALL.len()],
}

impl Gate {
    /// A gate with no connection. Of the configuration it takes what concerns all connections, except for the
    /// limits, which the driver works out. Nobody can choose addresses that are slow to look up unless they know
    /// `secret`, so it should be random.
    pub fn new(config: Arc<Config>, limits: Limits, secret: u64) -> Gate {
        let connections = limits.connections.clamp(1, list::MOST);
        Gate {
            config,
            limits: Limits { connections, memory: limits.memory.max(1) },
            members: Slab::new(),
            lists: Lists::new(),
            prefixes: Prefixes::new(secret),
            load: Load::default(),
            leaving: Load::default(),
            newcomers: 0,
            stress: Stress::NONE,
            closes_idle: Threshold::default(),
            closes_waiting: Threshold::default(),
            closes_handshakes: Threshold::default(),
            holds_newcomers: false,
            steps: Default::default(),
        }
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The number of connections.
    pub fn connections(&self) -> usize {
        self.members.len()
    }

    /// Bytes that are held for all connections, as far as they have told.
    pub fn bytes(&self) -> u64 {
        self.load.bytes
    }

    /// The prefixes of addresses in the table.
    pub fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    /// How much of each resource is in use.
    pub fn pressure(&self) -> Pressure {
        self.pressure_of(self.load)
    }

    /// How much shorter the timers of all connections are, and whether they are kept.
    pub fn stress(&self) -> Stress {
        self.stress
    }

    /// How often each step has begun: once for each time that the pressure rose above its threshold, and not again
    /// before it had clearly fallen.
    pub fn steps(&self) -> impl Iterator<Item = (Step, u64)> {
        Step::ALL.into_iter().zip(self.steps)
    }

    /// A step begins if it was not in force before.
    fn note(&mut self, step: Step, before: bool, now: bool) {
        if now && !before {
            self.steps[step as usize] += 1;
        }
    }

    // ---- who comes ------------------------------------------------------------------------------

    /// Lets a connection in, and returns its number. An `address` of `None` counts nowhere: a Unix socket, or a
    /// trusted proxy. `is_handshaking`: it begins with a TLS handshake.
    ///
    /// # Errors
    /// Why it is not let in. Nothing is counted then.
    pub fn admit(
        &mut self,
        now: Tick,
        address: Option<IpAddr>,
        is_handshaking: bool,
    ) -> Result<usize, Denied> {
        let prefix = address.map(|address| Prefix::of(&self.config, address));
        if let Some(prefix) = prefix {
            self.check_prefix(now, prefix)?;
        }
        if let Some(denied) = self.reached(is_handshaking) {
            self.note(Step::HoldNewcomers, self.holds_newcomers, true);
            self.holds_newcomers = true;
            return Err(denied);
        }
        Ok(self.join(now, prefix, is_handshaking))
    }

    /// The limit that keeps another connection out.
    fn reached(&self, is_handshaking: bool) -> Option<Denied> {
        if self.load.connections >= self.limits.connections {
            Some(Denied::Connections)
        } else if self.load.bytes >= self.limits.memory {
            Some(Denied::Memory)
        } else if is_handshaking && self.load.handshakes >= self.handshakes() {
            Some(Denied::Handshakes)
        } else {
            None
        }
    }

    /// Lets a connection in that can't be turned away: it was accepted before the server began to drain.
    pub fn admit_late(&mut self, now: Tick, is_handshaking: bool) -> usize {
        self.join(now, None, is_handshaking)
    }

    /// A proxy has told whom the connection is from. From now on it counts with this address.
    ///
    /// # Errors
    /// [`Denied::Share`] or [`Denied::Rate`]. The connection should be closed; it counts where it did.
    pub fn identify(&mut self, now: Tick, number: usize, address: IpAddr) -> Result<(), Denied> {
        let prefix = Prefix::of(&self.config, address);
        self.check_prefix(now, prefix)?;
        if !self.members.contains(number) {
            return Ok(());
        }
        self.unlist(number);
        let is_asked = self.is_asked(number);
        self.unask(number);
        let rate = self.config.prefix_rate();
        let joined = self.prefixes.join(prefix, rate, now);
        if let Some(member) = self.members.get_mut(number)
            && let Some(old) = member.prefix.replace(joined)
        {
            self.prefixes.leave(old, now);
        }
        self.list(number);
        if is_asked {
            self.ask(number);
        }
        Ok(())
    }

    /// The newcomers that wait for a place.
    pub fn newcomers(&self) -> usize {
        self.newcomers
    }

    /// So many newcomers wait for a place.
    pub fn set_newcomers(&mut self, newcomers: usize) {
        self.newcomers = newcomers;
    }

    fn check_prefix(&self, now: Tick, prefix: Prefix) -> Result<(), Denied> {
        // There are at most 2^32 connections.
        let connections = self.limits.connections as u64;
        let most = (connections * self.config.prefix_share()).div_ceil(100);
        let entry = self.prefixes.find(prefix).and_then(|number| self.prefixes.get(number));
        let Some(entry) = entry else { return Ok(()) };
        if most < connections && entry.count as u64 >= most {
            return Err(Denied::Share);
        }
        match self.config.prefix_rate() {
            Some(rate) if !entry.is_within(rate, now) => Err(Denied::Rate),
            _ => Ok(()),
        }
    }

    fn join(&mut self, now: Tick, prefix: Option<Prefix>, is_handshaking: bool) -> usize {
        let rate = self.config.prefix_rate();
        let prefix = prefix.map(|prefix| self.prefixes.join(prefix, rate, now));
        let report = Report::new(now, is_handshaking);
        self.load.add(Load::of(&report));
        let number = self.members.insert(Member::new(prefix, report));
        self.feel();
        number
    }

    /// The most handshakes at once.
    fn handshakes(&self) -> usize {
        let percent = self.config.handshakes_share() as usize;
        let most = (self.limits.connections.saturating_mul(percent) / 100).max(FEW);
        most.min(self.limits.connections)
    }

    // ---- what they tell -------------------------------------------------------------------------

    /// Takes in what a connection tells about itself.
    pub fn report(&mut self, number: usize, report: Report) {
        let Some(member) = self.members.get(number) else { return };
        let (old, is_asked) = (member.report, member.is_asked);
        let before = Load::of(&old);
        let report = match report.standing {
            Standing::Waiting => Report { until: report.since.after(PATIENCE), ..report },
            _ => report,
        };
        // Without progress it keeps its place in the list.
        let stays = old.since == report.since && members::is_alike(&old, &report);
        if !stays {
            self.unlist(number);
        }
        if let Some(member) = self.members.get_mut(number) {
            member.report = report;
        }
        if !stays {
            self.list(number);
        }
        self.load.take(before);
        self.load.add(Load::of(&report));
        if is_asked {
            self.leaving.take(before);
            self.leaving.add(Load::of(&report));
        }
        self.feel();
    }

    /// A connection has left.
    pub fn leave(&mut self, now: Tick, number: usize) {
        self.unlist(number);
        self.unask(number);
        let Some(member) = self.members.try_remove(number) else { return };
        if self.members.is_empty() {
            // Memory for many connections is not kept for few.
            self.members = Slab::new();
        }
        self.load.take(Load::of(&member.report));
        if let Some(prefix) = member.prefix {
            self.prefixes.leave(prefix, now);
        }
        self.feel();
    }

    // ---- who leaves -----------------------------------------------------------------------------

    /// The number of a connection that is to be closed now. It counts as asked from then on, until it leaves or
    /// [stays](Self::stay).
    ///
    /// # Errors
    /// Nobody is to be closed now. `Some`: somebody may be from that moment on.
    pub fn next_to_leave(&mut self, now: Tick) -> Result<usize, Option<Tick>> {
        let number = self.choose(now)?;
        self.ask(number);
        Ok(number)
    }

    /// The number of a connection that is to be closed for a newcomer of the same prefix, since this has as many
    /// as it may ([`Denied::Share`]): one that would lose nothing.
    ///
    /// # Errors
    /// Nobody is to be closed now. `Some`: somebody may be from that moment on; or one of them leaves already,
    /// if that moment is `now`.
    pub fn next_of_its_prefix(
        &mut self,
        now: Tick,
        address: IpAddr,
    ) -> Result<usize, Option<Tick>> {
        let prefix = self.prefixes.find(Prefix::of(&self.config, address)).ok_or(None)?;
        let entry = self.prefixes.get(prefix).ok_or(None)?;
        if entry.leaving > 0 {
            return Err(Some(now));
        }
        let number = entry.spare.first().ok_or(None)?;
        let until = self.members.get(number).map_or(now, |member| member.report.until);
        if until > now {
            return Err(Some(until));
        }
        self.ask(number);
        Ok(number)
    }

    fn ask(&mut self, number: usize) {
        self.unlist(number);
        let Some(member) = self.members.get_mut(number) else { return };
        member.is_asked = true;
        self.leaving.add(Load::of(&member.report));
        if let Some(entry) = member.prefix.and_then(|prefix| self.prefixes.get_mut(prefix)) {
            entry.leaving += 1;
        }
    }

    /// A member is not asked any more.
    fn unask(&mut self, number: usize) {
        let Some(member) = self.members.get_mut(number) else { return };
        if std::mem::take(&mut member.is_asked) {
            self.leaving.take(Load::of(&member.report));
            if let Some(entry) = member.prefix.and_then(|prefix| self.prefixes.get_mut(prefix)) {
                entry.leaving = entry.leaving.saturating_sub(1);
            }
        }
    }

    /// Whether this connection was asked to leave.
    pub fn is_asked(&self, number: usize) -> bool {
        self.members.get(number).is_some_and(|member| member.is_asked)
    }

    /// The number of connections that are asked to leave.
    pub fn asked(&self) -> usize {
        self.leaving.connections
    }

    /// Whether this connection, which was asked to leave, has to. Others may have left meanwhile.
    pub fn is_needed(&self, number: usize) -> bool {
        let Some(member) = self.members.get(number) else { return false };
        // If it stayed, would it be asked again?
        let mut left = self.load;
        left.take(self.leaving);
        left.add(Load::of(&member.report));
        let Pressure { connections, memory, handshakes } = self.pressure_of(left);
        let waits = self.newcomers >= self.leaving.connections && self.newcomers > 0;
        let is_above = |percent: u64, pressure: u32| {
            pressure > thousandths(percent).saturating_sub(HYSTERESIS)
        };
        let waiting = self.config.pressure_close_waiting();
        waits
            || is_above(self.config.pressure_close_idle().min(waiting), connections.max(memory))
            || is_above(waiting, handshakes)
    }

    /// A connection that was asked to leave stays, since its place is [not needed](Self::is_needed) any more. It
    /// is as old as before, and so among the first that are asked the next time.
    pub fn keep(&mut self, number: usize) {
        if self.is_asked(number) {
            self.unask(number);
            self.in_its_lists(number, |list, mut members| list.prepend(&mut members, number));
        }
    }

    /// A connection that was asked to leave stays, because it has become busy. It counts as working until it
    /// reports again.
    pub fn stay(&mut self, now: Tick, number: usize) {
        if self.is_asked(number) {
            self.unask(number);
            if let Some(member) = self.members.get_mut(number) {
                (member.report.standing, member.report.since) = (Standing::Working, now);
            }
        }
    }

    fn choose(&mut self, now: Tick) -> Result<usize, Option<Tick>> {
        let mut left = self.load;
        left.take(self.leaving);
        let Pressure { connections, memory, handshakes } = self.pressure_of(left);
        let (pressure, config) = (connections.max(memory), &self.config);
        let needs_place = self.newcomers > self.leaving.connections;
        let before = [self.closes_idle, self.closes_waiting, self.closes_handshakes];
        let idle = self.closes_idle.update(config.pressure_close_idle(), pressure);
        let above = config.pressure_close_waiting();
        let waiting = self.closes_waiting.update(above, pressure);
        let shakes = self.closes_handshakes.update(above, handshakes);
        let steps = [Step::CloseIdle, Step::CloseWaiting, Step::CloseHandshakes];
        for ((step, before), now) in steps.into_iter().zip(before).zip([idle, waiting, shakes]) {
            self.note(step, before.is_passed, now);
        }
        let waiting = waiting || needs_place;
        if !(idle || waiting || shakes) {
            return Err(None);
        }
        let of_heavy = if idle || waiting { self.choose_heavy(now, waiting) } else { None };
        if let Some(number) = of_heavy {
            return Ok(number);
        }
        let mut later = None;
        if idle || needs_place {
            match self.lists.next_spare(&self.members, now) {
                Ok(number) => return Ok(number),
                Err(until) => later = until,
            }
        }
        if waiting {
            match self.lists.next_waiting(&self.members, now, false) {
                Ok(number) => return Ok(number),
                Err(until) => later = earliest(later, until),
            }
        }
        if shakes {
            match self.lists.next_waiting(&self.members, now, true) {
                Ok(number) => return Ok(number),
                Err(until) => later = earliest(later, until),
            }
        }
        Err(later)
    }

    /// A member of the prefix that has more than a quarter of all.
    fn choose_heavy(&self, now: Tick, waiting: bool) -> Option<usize> {
        let Entry { count, spare, waiting: waits, .. } = self.prefixes.heaviest()?;
        if *count < MANY || count.saturating_mul(4) <= self.members.len() {
            return None;
        }
        let lists = [Some(spare), waiting.then_some(waits)];
        lists.into_iter().flatten().find_map(|list| {
            let number = list.first()?;
            let member = self.members.get(number)?;
            (member.report.until <= now).then_some(number)
        })
    }

    // ---- accounts -------------------------------------------------------------------------------

    /// Appends a member to the lists of its standing, unless it is asked to leave.
    fn list(&mut self, number: usize) {
        self.in_its_lists(number, |list, mut members| list.append(&mut members, number));
    }

    /// Takes a member out of its lists.
    fn unlist(&mut self, number: usize) {
        self.in_its_lists(number, |list, mut members| list.unlink(&mut members, number));
    }

    /// Visits the lists that belong to a member's report. One that is asked to leave has none.
    fn in_its_lists(&mut self, number: usize, visit: impl Fn(&mut List, Along<'_>)) {
        let Gate { members, lists, prefixes, .. } = self;
        let Some(Member { prefix, report, is_asked: false, .. }) = members.get(number).copied()
        else {
            return;
        };
        if let Some(list) = lists.of(&report) {
            visit(list, Along(members, Way::All));
        }
        if let Some(prefix) = prefix
            && let Some(entry) = prefixes.get_mut(prefix)
            && let Some(list) = entry.list(report.standing)
        {
            visit(list, Along(members, Way::Prefix));
        }
    }

    fn pressure_of(&self, load: Load) -> Pressure {
        let found = |count: usize, most: usize| share(count.saturating_sub(1) as u64, most as u64);
        Pressure {
            connections: found(load.connections, self.limits.connections),
            memory: share(load.bytes, self.limits.memory),
            handshakes: found(load.handshakes, self.handshakes()),
        }
    }

    /// Works out how much the connections have to hurry.
    fn feel(&mut self) {
        let pressure = self.pressure().most();
        let from = thousandths(self.config.pressure_shrink_timers());
        let eighths = |pressure: u32| {
            let above = pressure.min(1000).saturating_sub(from) * u32::from(EIGHTHS);
            above.div_ceil(1000_u32.saturating_sub(from).max(1)).min(EIGHTHS.into()) as u8
        };
        let before = self.stress;
        // They shrink at once, and grow when the pressure has clearly fallen.
        let lazily = eighths(pressure.saturating_add(HYSTERESIS)).min(before.eighths());
        let mut keep_alive = Threshold { is_passed: before.ends_keep_alive() };
        let ends = keep_alive.update(self.config.pressure_end_keep_alive(), pressure);
        let stress = Stress::new(eighths(pressure).max(lazily), ends);
        self.stress = stress;
        self.note(Step::ShrinkTimers, before.eighths() > 0, stress.eighths() > 0);
        self.note(Step::EndKeepAlive, before.ends_keep_alive(), ends);
        self.holds_newcomers &= pressure > 1000 - HYSTERESIS;
    }
}

fn earliest(one: Option<Tick>, other: Option<Tick>) -> Option<Tick> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
