//! Whatever happens in whatever order: no limit is exceeded, what comes and goes is balanced, nobody is closed
//! that must not be.

use crate::support::{KIB, address};
use core::time::Duration;
use portcullis::gate::{Denied, Gate, Limits, Report, Standing};
use portcullis::{Config, Tick};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Act {
    Come { from: u32, shakes: bool },
    Report { who: usize, standing: u8, bytes: u64, shakes: bool },
    Leave { who: usize },
    Identify { who: usize, from: u32 },
    Wait { newcomers: usize },
    Ask,
    Stay { who: usize },
    Pass { millis: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        5 => (0_u32..6, any::<bool>()).prop_map(|(from, shakes)| Act::Come { from, shakes }),
        5 => (any::<usize>(), 0_u8..6, 0_u64..200 * KIB, any::<bool>())
            .prop_map(|(who, standing, bytes, shakes)| Act::Report { who, standing, bytes, shakes }),
        2 => any::<usize>().prop_map(|who| Act::Leave { who }),
        1 => (any::<usize>(), 0_u32..6).prop_map(|(who, from)| Act::Identify { who, from }),
        1 => (0_usize..4).prop_map(|newcomers| Act::Wait { newcomers }),
        4 => Just(Act::Ask),
        1 => any::<usize>().prop_map(|who| Act::Stay { who }),
        2 => (0_u64..2000).prop_map(|millis| Act::Pass { millis }),
    ]
}

const STANDINGS: [Standing; 6] = [
    Standing::Idle,
    Standing::Fresh,
    Standing::Gone,
    Standing::Lingering,
    Standing::Waiting,
    Standing::Working,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_calls_keeps_the_accounts(
        connections in 1_usize..40,
        share in 20_u64..=100,
        rate in proptest::option::of(1_u64..20),
        acts in proptest::collection::vec(act(), 1..400),
    ) {
        let config = Config::builder().prefix_share(share).prefix_rate(rate).build().expect("valid");
        let limits = Limits { connections, memory: 1000 * KIB };
        let mut gate = Gate::new(Arc::new(config), limits, 1);
        let mut now = Tick::ZERO;
        // What the gate should know: the address, the report, and whether it is asked.
        let mut members: BTreeMap<usize, (u32, Report, bool)> = BTreeMap::new();
        let mut newcomers = 0;
        let pick = |members: &BTreeMap<usize, (u32, Report, bool)>, who: usize| {
            members.keys().nth(who.checked_rem(members.len())?).copied()
        };
        for act in acts {
            match act {
                Act::Come { from, shakes } => match gate.admit(now, Some(address(from)), shakes) {
                    Ok(number) => {
                        let report = Report {
                            standing: Standing::Working,
                            bytes: 0,
                            is_handshaking: shakes,
                            since: now,
                            until: now,
                        };
                        prop_assert!(members.insert(number, (from, report, false)).is_none());
                    }
                    Err(Denied::Share) => {
                        let count = members.values().filter(|it| it.0 == from).count() as u64;
                        prop_assert!(count * 100 >= share * connections as u64);
                    }
                    Err(Denied::Connections) => prop_assert_eq!(members.len(), connections),
                    Err(Denied::Memory) => prop_assert!(gate.bytes() >= limits.memory),
                    Err(Denied::Rate) => prop_assert!(rate.is_some()),
                    Err(_) => prop_assert!(shakes),
                },
                Act::Report { who, standing, bytes, shakes } => {
                    if let Some(number) = pick(&members, who) {
                        let standing = STANDINGS[usize::from(standing)];
                        let is_handshaking = shakes && standing != Standing::Idle;
                        let report = Report { standing, bytes, is_handshaking, since: now, until: now };
                        gate.report(number, report);
                        if let Some(member) = members.get_mut(&number) {
                            member.1 = report;
                        }
                    }
                }
                Act::Leave { who } => {
                    if let Some(number) = pick(&members, who) {
                        gate.leave(now, number);
                        gate.leave(now, number);
                        members.remove(&number);
                    }
                }
                Act::Identify { who, from } => {
                    if let Some(number) = pick(&members, who)
                        && gate.identify(now, number, address(from)).is_ok()
                        && let Some(member) = members.get_mut(&number)
                    {
                        member.0 = from;
                    }
                }
                Act::Wait { newcomers: count } => {
                    newcomers = count;
                    gate.set_newcomers(count);
                }
                Act::Ask => {
                    if let Ok(number) = gate.next_to_leave(now) {
                        let presses = newcomers > 0 || gate.pressure().most() > 800;
                        prop_assert!(presses, "nobody leaves without need");
                        let Some((_, report, asked)) = members.get_mut(&number) else {
                            panic!("it is a member");
                        };
                        prop_assert!(!*asked, "asked twice");
                        *asked = true;
                        let standing = report.standing;
                        prop_assert_ne!(standing, Standing::Working);
                        if standing == Standing::Waiting {
                            let waited = now.since(report.since);
                            prop_assert!(waited >= Duration::from_secs(1), "{:?}", waited);
                        }
                    }
                }
                Act::Stay { who } => {
                    if let Some(number) = pick(&members, who) {
                        gate.stay(now, number);
                        if let Some((_, report, asked)) = members.get_mut(&number)
                            && std::mem::take(asked)
                        {
                            report.standing = Standing::Working;
                        }
                    }
                }
                Act::Pass { millis } => now = now.after(Duration::from_millis(millis)),
            }
            prop_assert!(gate.connections() <= connections);
            prop_assert_eq!(gate.connections(), members.len());
            let bytes: u64 = members.values().map(|it| it.1.bytes).sum();
            prop_assert_eq!(gate.bytes(), bytes);
            prop_assert_eq!(gate.asked(), members.values().filter(|it| it.2).count());
            for (number, member) in &members {
                prop_assert_eq!(gate.is_asked(*number), member.2);
            }
        }
        for number in members.keys() {
            gate.leave(now, *number);
        }
        prop_assert_eq!((gate.connections(), gate.bytes(), gate.asked()), (0, 0, 0));
        now = now.after(Duration::from_secs(100));
        // Nothing is left of those that came.
        let last = gate.admit(now, Some(address(9)), false).expect("let in");
        gate.leave(now, last);
        prop_assert!(gate.prefixes() <= 7);
    }
}
