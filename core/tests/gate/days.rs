//! Days with fleets of attackers and visitors, in simulated time. Prints its figures:
//! `cargo test -p portcullis --test gate days -- --nocapture`

use crate::support::{KIB, address, secs};
use core::time::Duration;
use fastrand::Rng;
use portcullis::gate::{Denied, Gate, Limits, Report, Standing};
use portcullis::{Config, Tick};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// What the day's attackers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fleet {
    /// Nobody attacks.
    None,
    /// One address opens all that it can, and says nothing.
    OneAddress,
    /// Many addresses open connections that wait for ever within a request, and hold memory.
    SlowRequests,
    /// Many addresses connect and are silent.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Visitor,
    Attacker,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    VisitorComes,
    AttackerComes,
    /// The visitor's request is answered, and its connection is idle.
    Answered(usize, u64),
    /// The visitor leaves.
    Leaves(usize, u64),
}

#[derive(Default)]
struct Figures {
    visits: u64,
    refused: u64,
    cut: u64,
    attackers: u64,
    attackers_refused: u64,
    attackers_closed: u64,
    peak: usize,
    /// How often a step of the gate began or ended.
    changes: u64,
}

const CONNECTIONS: usize = 1000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn day(fleet: Fleet, seed: u64) -> Figures {
    let mut rng = Rng::with_seed(seed);
    let limits = Limits { connections: CONNECTIONS, memory: 64 << 20 };
    let mut gate = Gate::new(Arc::new(Config::default()), limits, seed);
    let mut figures = Figures::default();
    let mut members: BTreeMap<usize, (Kind, u64, Standing)> = BTreeMap::new();
    let mut queue = BinaryHeap::from([Reverse((Tick::ZERO, Happening::VisitorComes))]);
    if fleet != Fleet::None {
        queue.push(Reverse((Tick::ZERO.after(secs(600)), Happening::AttackerComes)));
    }
    let (mut serial, mut stress) = (0, gate.stress());
    while let Some(Reverse((now, happening))) = queue.pop() {
        if now.since(Tick::ZERO) > DAY {
            break;
        }
        serial += 1;
        let report = |standing, bytes, until| Report {
            standing,
            bytes,
            is_handshaking: false,
            since: now,
            until,
        };
        match happening {
            Happening::VisitorComes => {
                let pause = Duration::from_millis(rng.u64(100..3000));
                queue.push(Reverse((now.after(pause), Happening::VisitorComes)));
                figures.visits += 1;
                match gate.admit(now, Some(address(1_000_000 + rng.u32(0..100_000))), false) {
                    Ok(number) => {
                        members.insert(number, (Kind::Visitor, serial, Standing::Working));
                        let time = Duration::from_millis(rng.u64(5..2000));
                        let answered = Happening::Answered(number, serial);
                        queue.push(Reverse((now.after(time), answered)));
                    }
                    Err(_) => figures.refused += 1,
                }
            }
            Happening::AttackerComes => {
                let pause = Duration::from_millis(rng.u64(50..300));
                queue.push(Reverse((now.after(pause), Happening::AttackerComes)));
                figures.attackers += 1;
                let from = match fleet {
                    Fleet::OneAddress => 1,
                    _ => rng.u32(0..5000),
                };
                let Ok(number) = gate.admit(now, Some(address(from)), false) else {
                    figures.attackers_refused += 1;
                    continue;
                };
                let (standing, bytes, until) = match fleet {
                    Fleet::SlowRequests => (Standing::Waiting, 60 * KIB, now),
                    _ => (Standing::Fresh, KIB, now.after(Duration::from_millis(500))),
                };
                members.insert(number, (Kind::Attacker, serial, standing));
                gate.report(number, report(standing, bytes, until));
            }
            Happening::Answered(number, of) => {
                if let Some((_, known, standing)) = members.get_mut(&number)
                    && *known == of
                {
                    *standing = Standing::Idle;
                    gate.report(number, report(Standing::Idle, KIB, now));
                    let leaves = Happening::Leaves(number, of);
                    queue.push(Reverse((now.after(secs(5)), leaves)));
                }
            }
            Happening::Leaves(number, of) => {
                if members.get(&number).is_some_and(|it| it.1 == of) {
                    members.remove(&number);
                    gate.leave(now, number);
                }
            }
        }
        while let Ok(number) = gate.next_to_leave(now) {
            let (kind, _, standing) = members.remove(&number).expect("a member");
            assert_ne!(standing, Standing::Working, "a visitor's answer was cut");
            match kind {
                Kind::Attacker => figures.attackers_closed += 1,
                Kind::Visitor => figures.cut += 1,
            }
            gate.leave(now, number);
        }
        let after = gate.stress();
        figures.changes += u64::from(std::mem::replace(&mut stress, after) != after);
        figures.peak = figures.peak.max(gate.connections());
        assert!(gate.connections() <= CONNECTIONS);
    }
    figures
}

#[test]
fn visitors_are_served_whatever_the_fleets_do() {
    for (number, fleet) in
        [Fleet::None, Fleet::OneAddress, Fleet::SlowRequests, Fleet::Silent].into_iter().enumerate()
    {
        let Figures {
            visits,
            refused,
            cut,
            attackers,
            attackers_refused,
            attackers_closed,
            peak,
            changes,
        } = day(fleet, 42 + number as u64);
        println!(
            "{fleet:?}: {visits} visits, {refused} refused, {cut} idle ones closed; {attackers} \
             attackers, {attackers_refused} refused, {attackers_closed} closed; at most {peak} \
             connections; {changes} changes of the steps"
        );
        assert_eq!(refused, 0, "{fleet:?}: a visitor was refused");
        assert!(visits > 50_000, "{visits}");
        match fleet {
            Fleet::None => assert_eq!((changes, cut, attackers), (0, 0, 0)),
            _ => {
                assert!(attackers > 400_000 && attackers_closed + attackers_refused > 0);
                // An attack that goes on in the same way changes little after it has begun.
                assert!(changes < 200, "{fleet:?}: the steps flap: {changes}");
            }
        }
    }
}

#[test]
fn who_is_denied_is_told_why() {
    let labels: Vec<_> = Denied::ALL.iter().map(|it| it.label()).collect();
    assert_eq!(labels, ["prefix_share", "prefix_rate", "connections", "memory", "handshakes"]);
    for denied in Denied::ALL {
        assert!(!denied.to_string().is_empty());
        let of_prefix = matches!(denied, Denied::Share | Denied::Rate);
        assert_eq!(denied.is_of_its_prefix(), of_prefix);
    }
}
