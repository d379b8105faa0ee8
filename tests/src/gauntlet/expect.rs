//! What must happen, and whether it did.

use std::fmt;
use std::time::Duration;

use super::notes::{End, Seen};

/// The healthy client's 99th percentile while an attack runs alone, at most.
const HEALTHY: Duration = Duration::from_millis(250);
/// The same while several attacks share the machine.
const HEALTHY_BESIDE_OTHERS: Duration = Duration::from_secs(1);

/// How many more descriptors than expected the server may have: the healthy client opens connections too.
pub(super) const BACK_SPARE: usize = 4;

/// One expectation of an attack.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// The server ends each connection: not before the first number of seconds, and at most
    /// the second after the timer can have started.
    Ended(f64, f64),
    /// The server ends each connection by a reset, between these times.
    Reset(f64, f64),
    /// The last answer of each attacker has one of these statuses.
    Status(&'static [u16]),
    /// No attacker gets an answer that is a success.
    Refuses,
    /// Each attacker gets this many answers.
    Answers(usize),
    /// Each websocket is closed with one of these codes, or each connection of HTTP/2 ends with
    /// GOAWAY and one of these.
    Code(&'static [u32]),
    /// Each client gets everything that it asked for, and is never cut.
    Lives,
    /// The server takes at most this many bytes of each attacker, with what the kernels hold.
    Takes(u64),
    /// The server's memory grows by at most this many bytes for each attacker.
    Memory(u64),
    /// The server's memory grows by at most this many bytes in all.
    Growth(u64),
    /// The server has at most this many sockets of attackers at the same time.
    Holds(usize),
    /// Once the attackers are gone, the server closes its sockets within this many seconds.
    Back(f64),
    /// Each request of the healthy client is answered within this many seconds.
    Visitor(f64),
    /// The healthy client may lose requests while the attack runs, but not after it.
    Recovers,
    /// The server uses at most this share of one core.
    Idle(f64),
}

/// What was measured, for the check.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) seen: Vec<Seen>,
    /// Attackers that failed themselves, such as a client that was cut.
    pub(super) failed: Vec<String>,
    /// Attackers that the server still held when the gauntlet gave up.
    pub(super) unfinished: usize,
    /// How long the gauntlet waited for them.
    pub(super) patience: Duration,
    pub(super) memory_each: Option<u64>,
    pub(super) growth: Option<u64>,
    /// The most descriptors that the server had more than before the attack.
    pub(super) descriptors: Option<usize>,
    /// How long the server kept sockets of attackers that were gone. `None` if it kept them longer
    /// than the gauntlet waited.
    pub(super) back: Option<Duration>,
    /// The share of a core that the server used.
    pub(super) busy: Option<f64>,
    /// The healthy client during the attack.
    pub(super) healthy: usize,
    pub(super) healthy_failed: usize,
    pub(super) healthy_worst: Duration,
    pub(super) healthy_p99: Duration,
    /// No other attack ran at the same time.
    pub(super) alone: bool,
    /// The healthy client is answered after the attack.
    pub(super) recovered: bool,
    pub(super) running: bool,
}

/// How strictly upper bounds of time are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rigour {
    /// All bounds count.
    Full,
    /// Only counts, order and lower bounds count: the machine may be busy with other things.
    Busy,
    /// Another server with timers of its own: only whether it ends its attackers, and memory.
    Foreign,
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(least, most) if *least == 0.0 => write!(f, "closed within {most} s"),
            Self::Ended(least, most) => write!(f, "closed after {least} to {most} s"),
            Self::Reset(least, most) => write!(f, "reset after {least} to {most} s"),
            Self::Status(statuses) => write!(f, "status {}", list(statuses)),
            Self::Refuses => write!(f, "refused"),
            Self::Answers(count) => write!(f, "{count} answers"),
            Self::Code(codes) => write!(f, "code {}", list(codes)),
            Self::Lives => write!(f, "lives"),
            Self::Takes(bytes) => write!(f, "at most {} taken", size(*bytes)),
            Self::Memory(bytes) => write!(f, "at most {} each", size(*bytes)),
            Self::Growth(bytes) => write!(f, "at most {} in all", size(*bytes)),
            Self::Holds(most) => write!(f, "at most {most} at once"),
            Self::Back(most) => write!(f, "sockets closed within {most} s"),
            Self::Visitor(most) => write!(f, "visitor waits at most {most} s"),
            Self::Recovers => write!(f, "recovers"),
            Self::Idle(share) => write!(f, "at most {:.0} % of a core", share * 100.0),
        }
    }
}

fn list<T: fmt::Display>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(" or ")
}

fn or_none<T: fmt::Display>(value: Option<&T>) -> String {
    value.map_or("none".to_owned(), T::to_string)
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} B"),
        10_000..=9_999_999 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// The faults that these facts show; empty if the verdict holds.
pub(super) fn faults(expect: &[Expect], facts: &Facts, rigour: Rigour) -> Vec<String> {
    let mut faults = Vec::new();
    if !facts.running {
        faults.push("the server has ended".to_owned());
    }
    if let Some(first) = facts.failed.first() {
        faults.push(format!("{} clients failed, such as: {first}", facts.failed.len()));
    }
    let recovers = expect.iter().any(|it| matches!(it, Expect::Recovers));
    if facts.healthy_failed > 0 && !recovers {
        let (failed, all) = (facts.healthy_failed, facts.healthy);
        faults.push(format!("{failed} of {all} healthy requests failed"));
    }
    if !facts.recovered {
        faults.push("the healthy client is not answered after the attack".to_owned());
    }
    let most = if facts.alone { HEALTHY } else { HEALTHY_BESIDE_OTHERS };
    if rigour == Rigour::Full && facts.healthy_p99 > most && !recovers {
        faults.push(format!("the healthy client's p99 is {:?}", facts.healthy_p99));
    }
    faults.extend(expect.iter().filter_map(|it| it.fault(facts, rigour)));
    faults
}

impl Expect {
    /// Why this does not hold.
    fn fault(&self, facts: &Facts, rigour: Rigour) -> Option<String> {
        match *self {
            Self::Ended(least, most) => ended(facts, least, most, rigour),
            Self::Reset(least, most) => ended(facts, least, most, rigour).or_else(|| {
                let other = facts.seen.iter().find(|seen| seen.end != End::Reset);
                other.filter(|_| rigour != Rigour::Foreign)?;
                Some("closed instead of reset".to_owned())
            }),
            _ if rigour == Rigour::Foreign && self.is_own() => None,
            Self::Status(statuses) => facts.seen.iter().find_map(|seen| {
                let last = seen.notes.statuses.last();
                let fits = last.is_some_and(|status| statuses.contains(status));
                (!fits).then(|| format!("status {} instead of {}", or_none(last), list(statuses)))
            }),
            Self::Refuses => facts.seen.iter().find_map(|seen| {
                let status = seen.notes.statuses.last().filter(|status| **status < 400);
                status.map(|status| format!("answered with {status}"))
            }),
            Self::Answers(count) => facts.seen.iter().find_map(|seen| {
                let got = seen.notes.statuses.len();
                (got != count).then(|| format!("{got} answers instead of {count}"))
            }),
            Self::Code(codes) => facts.seen.iter().find_map(|seen| {
                let code = seen.notes.code;
                let fits = code.is_some_and(|code| codes.contains(&code));
                (!fits)
                    .then(|| format!("code {} instead of {}", or_none(code.as_ref()), list(codes)))
            }),
            Self::Lives => (facts.unfinished > 0)
                .then(|| format!("{} clients did not get everything", facts.unfinished)),
            Self::Takes(most) => facts.seen.iter().find_map(|seen| {
                (seen.sent > most).then(|| format!("{} of an attacker were taken", size(seen.sent)))
            }),
            // Few attackers can't be told from what the allocator does.
            Self::Memory(_) | Self::Growth(_) if rigour == Rigour::Busy => None,
            Self::Memory(most) => facts
                .memory_each
                .filter(|each| *each > most)
                .map(|each| format!("{} for each attacker", size(each))),
            Self::Growth(most) => facts
                .growth
                .filter(|growth| *growth > most)
                .map(|growth| format!("memory grew by {}", size(growth))),
            // The healthy client may have a fresh connection, and an acceptor a connection in its hand.
            Self::Holds(most) => facts
                .descriptors
                .filter(|held| *held > most + BACK_SPARE)
                .map(|held| format!("the server had {held} sockets more than before")),
            Self::Back(most) => match facts.back {
                None => Some("sockets of gone attackers are still open".to_owned()),
                Some(back) => (rigour != Rigour::Busy && back.as_secs_f64() > most)
                    .then(|| format!("sockets closed only after {:.1} s", back.as_secs_f64())),
            },
            Self::Visitor(most) => {
                let worst = facts.healthy_worst.as_secs_f64();
                let late = rigour != Rigour::Busy && worst > most;
                late.then(|| format!("the visitor waited for {worst:.1} s"))
            }
            Self::Idle(most) => facts
                .busy
                .filter(|busy| *busy > most && rigour != Rigour::Busy)
                .map(|busy| format!("the server used {:.0} % of a core", busy * 100.0)),
            Self::Recovers => None,
        }
    }

    /// Whether this is about an answer that only this server promises.
    fn is_own(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Answers(_) | Self::Code(_) | Self::Takes(_))
    }
}

fn ended(facts: &Facts, least: f64, most: f64, rigour: Rigour) -> Option<String> {
    if facts.unfinished > 0 {
        let (held, patience) = (facts.unfinished, facts.patience.as_secs_f64());
        return Some(format!("{held} attackers are still connected after {patience:.0} s"));
    }
    // On a busy machine the server may start its timer a moment before the attacker notes the time, but not before
    // the attacker has connected.
    let lasted = facts.seen.iter().map(|seen| seen.lasted.as_secs_f64());
    let first = lasted.fold(f64::INFINITY, f64::min);
    let last = facts.seen.iter().map(|seen| seen.held.as_secs_f64()).fold(0.0, f64::max);
    if facts.seen.iter().any(|seen| seen.end == End::Open) {
        return Some("an attacker was not closed".to_owned());
    }
    if rigour != Rigour::Foreign && first < least {
        return Some(format!("an attacker was closed too early, after {first:.2} s"));
    }
    let late = rigour == Rigour::Full && last > most;
    late.then(|| format!("an attacker was closed too late, after {last:.2} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(held: f64, end: End) -> Facts {
        let held = Duration::from_secs_f64(held);
        let seen = Seen { held, lasted: held, end, ..Seen::default() };
        Facts { seen: vec![seen], recovered: true, running: true, ..Facts::default() }
    }

    #[test]
    fn times_are_bounded_on_both_sides() {
        let expect = [Expect::Ended(1.0, 2.0)];
        let count = |held, end, rigour| faults(&expect, &facts(held, end), rigour).len();
        assert_eq!(count(1.5, End::Closed, Rigour::Full), 0);
        assert_eq!(count(0.5, End::Closed, Rigour::Full), 1);
        assert_eq!(count(0.5, End::Closed, Rigour::Busy), 1);
        assert_eq!(count(2.5, End::Closed, Rigour::Full), 1);
        assert_eq!(count(2.5, End::Closed, Rigour::Busy), 0, "the machine may be busy");
        assert_eq!(count(1.5, End::Open, Rigour::Full), 1);
        let unfinished = Facts { unfinished: 1, ..facts(1.5, End::Closed) };
        assert_eq!(faults(&expect, &unfinished, Rigour::Foreign).len(), 1);
    }

    #[test]
    fn answers_of_other_servers_are_their_own() {
        let expect = [Expect::Status(&[408]), Expect::Reset(0.0, 2.0)];
        let facts = facts(1.0, End::Closed);
        assert_eq!(faults(&expect, &facts, Rigour::Full).len(), 2);
        assert_eq!(faults(&expect, &facts, Rigour::Foreign).len(), 0);
    }
}
