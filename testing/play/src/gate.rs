//! A gate that is called in any order, against a model of what it should know.
//!
//! Each call checks that no limit is exceeded, that what comes and goes is balanced, and that nobody is closed
//! that must not be.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use portcullis::gate::{Denied, Gate, Limits, Report, Standing};
use portcullis::{Config, Tick};
use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;

const KIB: u64 = 1024;
const STANDINGS: [Standing; 6] = [
    Standing::Idle,
    Standing::Fresh,
    Standing::Gone,
    Standing::Lingering,
    Standing::Waiting,
    Standing::Working,
];
/// More connections than the model has names for would make it slow.
const MOST: u64 = 64;

/// What the gate should know of a member.
#[derive(Clone, Copy, Debug)]
struct Member {
    from: u8,
    report: Report,
    is_asked: bool,
}

/// Bytes that choose what happens.
struct Choices<'b>(&'b [u8]);

impl Choices<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn below(&mut self, most: u64) -> u64 {
        u64::from(self.next().unwrap_or(0)) % most.max(1)
    }
}

/// Plays the calls that the bytes choose.
///
/// # Panics
/// If the gate does not keep its promises.
pub fn play(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let connections = 1 + choices.below(MOST) as usize;
    let share = 1 + choices.below(100);
    let rate = choices.below(20);
    let config = Config::builder().prefix_share(share).prefix_rate((rate > 0).then_some(rate));
    let limits = Limits { connections, memory: 1000 * KIB };
    let gate = Gate::new(Arc::new(config.build().expect("valid")), limits, 1);
    let mut played = Played {
        gate,
        now: Tick::ZERO,
        share,
        rate,
        limits,
        members: BTreeMap::new(),
        newcomers: 0,
    };
    while let Some(choice) = choices.next() {
        played.act(choice, &mut choices);
        played.check();
    }
    played.end();
}

struct Played {
    gate: Gate,
    now: Tick,
    share: u64,
    rate: u64,
    limits: Limits,
    members: BTreeMap<usize, Member>,
    newcomers: usize,
}

fn address(from: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, from).into()
}

impl Played {
    fn act(&mut self, choice: u8, choices: &mut Choices<'_>) {
        match choice % 16 {
            0..=3 => self.come(choices.below(6) as u8, choices.below(2) == 1),
            4..=7 => self.report(choices),
            8 => {
                if let Some(number) = self.pick(choices) {
                    self.gate.leave(self.now, number);
                    self.gate.leave(self.now, number);
                    self.members.remove(&number);
                }
            }
            9 => {
                let from = choices.below(6) as u8;
                if let Some(number) = self.pick(choices)
                    && self.gate.identify(self.now, number, address(from)).is_ok()
                    && let Some(member) = self.members.get_mut(&number)
                {
                    member.from = from;
                }
            }
            10 => {
                self.newcomers = choices.below(4) as usize;
                self.gate.set_newcomers(self.newcomers);
            }
            11 | 12 => {
                if let Ok(number) = self.gate.next_to_leave(self.now) {
                    let presses = self.newcomers > 0 || self.gate.pressure().most() > 800;
                    assert!(presses, "nobody leaves without need");
                    self.asked(number);
                }
            }
            13 => {
                let from = choices.below(6) as u8;
                if let Ok(number) = self.gate.next_of_its_prefix(self.now, address(from)) {
                    assert_eq!(self.members[&number].from, from, "it is of another prefix");
                    assert_ne!(self.members[&number].report.standing, Standing::Waiting);
                    self.asked(number);
                }
            }
            14 => {
                if let Some(number) = self.pick(choices) {
                    let asked = self.members.get(&number).is_some_and(|member| member.is_asked);
                    if asked && !self.gate.is_needed(number) {
                        self.gate.keep(number);
                        self.members.entry(number).and_modify(|member| member.is_asked = false);
                        assert_ne!(self.gate.next_to_leave(self.now), Ok(number), "asked in vain");
                        return;
                    }
                    self.gate.stay(self.now, number);
                    if let Some(member) = self.members.get_mut(&number)
                        && take(&mut member.is_asked)
                    {
                        member.report.standing = Standing::Working;
                    }
                }
            }
            _ => self.now = self.now.after(Duration::from_millis(choices.below(256) * 10)),
        }
    }

    fn pick(&self, choices: &mut Choices<'_>) -> Option<usize> {
        let place = choices.below(self.members.len() as u64) as usize;
        self.members.keys().nth(place).copied()
    }

    fn come(&mut self, from: u8, is_handshaking: bool) {
        let connections = self.limits.connections;
        match self.gate.admit(self.now, Some(address(from)), is_handshaking) {
            Ok(number) => {
                let (standing, now) = (Standing::Working, self.now);
                let report = Report { standing, bytes: 0, is_handshaking, since: now, until: now };
                let member = Member { from, report, is_asked: false };
                assert!(self.members.insert(number, member).is_none(), "a number is used twice");
            }
            Err(Denied::Share) => {
                let count = self.members.values().filter(|it| it.from == from).count() as u64;
                assert!(count * 100 >= self.share * connections as u64, "{count}");
            }
            Err(Denied::Connections) => assert_eq!(self.members.len(), connections),
            Err(Denied::Memory) => assert!(self.gate.bytes() >= self.limits.memory),
            Err(Denied::Rate) => assert!(self.rate > 0),
            Err(_) => assert!(is_handshaking),
        }
    }

    fn report(&mut self, choices: &mut Choices<'_>) {
        let Some(number) = self.pick(choices) else { return };
        let standing = STANDINGS[choices.below(STANDINGS.len() as u64) as usize];
        let bytes = choices.below(256) * KIB;
        let is_handshaking = choices.below(2) == 1;
        let waits = [0, 0, 500][choices.below(3) as usize];
        let until = self.now.after(Duration::from_millis(waits));
        let report = Report { standing, bytes, is_handshaking, since: self.now, until };
        self.gate.report(number, report);
        if let Some(member) = self.members.get_mut(&number) {
            member.report = report;
        }
    }

    /// The gate has chosen this member to leave.
    fn asked(&mut self, number: usize) {
        let member = self.members.get_mut(&number).expect("it is a member");
        assert!(!take(&mut member.is_asked), "it is asked twice");
        member.is_asked = true;
        let Report { standing, since, until, .. } = member.report;
        assert_ne!(standing, Standing::Working, "the application works for it");
        let patient = standing != Standing::Waiting || self.now.since(since).as_secs() >= 1;
        assert!(patient, "it has waited for {:?} only", self.now.since(since));
        assert!(standing == Standing::Waiting || until <= self.now, "it is too early");
    }

    fn check(&self) {
        let Played { gate, members, .. } = self;
        assert!(gate.connections() <= self.limits.connections);
        assert_eq!(gate.connections(), members.len());
        assert_eq!(gate.bytes(), members.values().map(|it| it.report.bytes).sum::<u64>());
        assert_eq!(gate.asked(), members.values().filter(|it| it.is_asked).count());
        for (number, member) in members {
            assert_eq!(gate.is_asked(*number), member.is_asked);
        }
        let prefixes: std::collections::BTreeSet<_> = members.values().map(|it| it.from).collect();
        assert!(gate.prefixes() >= prefixes.len() && gate.prefixes() <= 6);
        let stress = gate.stress();
        if gate.pressure().most() <= 450 {
            assert_eq!(stress.index(), 0, "nobody has to hurry: {stress}");
        }
    }

    fn end(mut self) {
        for number in self.members.keys() {
            self.gate.leave(self.now, *number);
        }
        let Played { gate, .. } = &self;
        assert_eq!((gate.connections(), gate.bytes(), gate.asked()), (0, 0, 0));
        assert_eq!(gate.stress().index(), 0);
        assert!(self.rate > 0 || gate.prefixes() == 0, "something of those that came is kept");
    }
}
