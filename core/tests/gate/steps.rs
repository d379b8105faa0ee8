//! The steps that pressure takes.

use crate::support::{Crowd, KIB, address, secs};
use core::time::Duration;
use portcullis::gate::{Denied, Gate, Limits, Pressure, Report, Standing, Step};
use portcullis::{Builder, Config, Stress, Tick};
use std::sync::Arc;

#[test]
fn more_and_more_is_done_as_connections_come() {
    let mut crowd = Crowd::new(1000);
    let mut steps = Vec::new();
    let mut before = (Stress::NONE, false);
    for number in 0..1000 {
        let member = crowd.join(number, Standing::Idle, KIB);
        let closes = crowd.gate.next_to_leave(crowd.now);
        if let Ok(asked) = closes {
            // The test keeps it, so that the crowd grows.
            crowd.gate.stay(crowd.now, asked);
            crowd.stand(asked, Standing::Idle, KIB);
        }
        let after = (crowd.gate.stress(), closes.is_ok());
        if after != before {
            steps.push((member + 1, after.0.eighths(), after.0.ends_keep_alive(), after.1));
        }
        before = after;
    }
    assert_eq!(
        steps,
        [
            (502, 1, false, false),
            (564, 2, false, false),
            (627, 3, false, false),
            (689, 4, false, false),
            (752, 5, false, false),
            (802, 5, true, false),
            (814, 6, true, false),
            (877, 7, true, false),
            (902, 7, true, true),
            (939, 8, true, true),
        ]
    );
    assert_eq!(crowd.come(1001), Err(Denied::Connections));
}

#[test]
fn a_step_ends_only_when_the_pressure_is_clearly_lower() {
    let mut crowd = Crowd::new(1000);
    let members: Vec<_> = (0..802).map(|it| crowd.join(it, Standing::Working, 0)).collect();
    assert!(crowd.gate.stress().ends_keep_alive());
    for (count, member) in members.iter().enumerate() {
        crowd.gate.leave(crowd.now, *member);
        let left = 801 - count;
        assert_eq!(crowd.gate.stress().ends_keep_alive(), left > 751, "{left}");
    }
    assert_eq!(crowd.gate.stress(), Stress::NONE);
    assert_eq!(crowd.gate.pressure(), Pressure::default());
}

#[test]
fn idle_connections_are_closed_until_there_is_air() {
    let mut crowd = Crowd::new(1000);
    crowd.join_many(0..901, Standing::Idle);
    assert_eq!(crowd.close_all(), [0; 0]);
    crowd.join(901, Standing::Idle, KIB);
    let closed = crowd.close_all();
    // Those that have been idle longest, down to 5 % below the threshold.
    assert_eq!(closed, (0..51).collect::<Vec<_>>());
    assert_eq!(crowd.gate.connections(), 851);
}

#[test]
fn those_that_wait_for_their_peer_are_closed_later_than_idle_ones() {
    let mut crowd = Crowd::new(1000);
    crowd.join_many(0..951, Standing::Waiting);
    crowd.pass(secs(2));
    assert_eq!(crowd.close_all(), [0; 0], "nobody is idle");
    crowd.join(951, Standing::Waiting, KIB);
    assert_eq!(crowd.close_all().len(), 51);
}

#[test]
fn memory_is_pressure_too() {
    let mut crowd = Crowd::new(1000);
    let all = 1000 * 100 * KIB;
    let hog = crowd.join(1, Standing::Waiting, all / 2);
    let other = crowd.join(2, Standing::Waiting, all / 4);
    crowd.join(3, Standing::Working, all / 4);
    assert_eq!(crowd.gate.pressure().memory, 1000);
    assert_eq!(crowd.come(4), Err(Denied::Memory));
    crowd.pass(secs(2));
    assert_eq!(crowd.close_all(), [hog], "the one that holds most");
    assert!(crowd.gate.connections() == 2 && other != hog);
}

#[test]
fn handshakes_have_a_share() {
    let mut crowd = Crowd::with(100, |builder| builder.handshakes_share(20));
    let shake = |crowd: &mut Crowd, from| crowd.gate.admit(crowd.now, Some(address(from)), true);
    let first = shake(&mut crowd, 0).expect("let in");
    for from in 1..20 {
        shake(&mut crowd, from).expect("let in");
    }
    assert_eq!(shake(&mut crowd, 20), Err(Denied::Handshakes));
    crowd.come(21).expect("others are let in");
    let report = |standing, is_handshaking, now| Report {
        standing,
        bytes: KIB,
        is_handshaking,
        since: now,
        until: now,
    };
    crowd.gate.report(first, report(Standing::Working, false, crowd.now));
    shake(&mut crowd, 22).expect("one is done");
    // Those that take long make room for others.
    for number in 1..20 {
        crowd.gate.report(number, report(Standing::Waiting, true, crowd.now));
    }
    let begin = crowd.now;
    crowd.gate.set_newcomers(1);
    assert_eq!(crowd.gate.next_to_leave(crowd.now), Err(Some(begin.after(secs(1)))));
    crowd.pass(secs(1));
    assert_eq!(crowd.gate.next_to_leave(crowd.now), Ok(1));
}

#[test]
fn each_handshake_that_is_too_slow_is_closed_once_its_place_is_wanted() {
    let mut crowd = Crowd::with(100, |builder| builder.handshakes_share(40));
    let since = crowd.now;
    for number in 0..40 {
        let member = crowd.gate.admit(since, Some(address(number)), true).expect("let in");
        let report = Report {
            standing: Standing::Waiting,
            bytes: KIB,
            is_handshaking: true,
            since,
            until: since,
        };
        crowd.gate.report(member, report);
    }
    crowd.pass(secs(1));
    // All newcomers of this moment get in, each for another one of those.
    for number in 0..40 {
        crowd.gate.set_newcomers(1);
        let from = 100 + number;
        while crowd.gate.admit(crowd.now, Some(address(from)), true).is_err() {
            let asked = [(); 8].map(|()| crowd.gate.next_to_leave(crowd.now).ok());
            assert!(asked[0].is_some(), "newcomer {number} has to wait");
            for asked in asked.into_iter().flatten() {
                if crowd.gate.is_needed(asked) {
                    crowd.gate.leave(crowd.now, asked);
                } else {
                    crowd.gate.keep(asked);
                }
            }
        }
        crowd.gate.set_newcomers(0);
    }
}

#[test]
fn a_prefix_has_its_share() {
    let mut crowd = Crowd::with(100, |builder| builder.prefix_share(30));
    let members: Vec<_> = (0..30).map(|_| crowd.join(1, Standing::Working, 0)).collect();
    assert_eq!(crowd.come(1), Err(Denied::Share));
    crowd.come(2).expect("others get in");
    assert!(crowd.gate.admit(crowd.now, None, false).is_ok(), "it counts nowhere");
    crowd.gate.leave(crowd.now, members[3]);
    crowd.come(1).expect("there is room again");
}

#[test]
fn a_prefix_has_as_many_bits_as_the_setting_says() {
    let admits = |change: fn(Builder) -> Builder, addresses: [&str; 2]| {
        let mut crowd = Crowd::with(64, |builder| change(builder).prefix_share(50));
        let [one, other] = addresses.map(|it| Some(it.parse().expect("an address")));
        for _ in 0..32 {
            crowd.gate.admit(crowd.now, one, false).expect("let in");
        }
        crowd.gate.admit(crowd.now, other, false).is_ok()
    };
    for (change, addresses, both) in [
        ((|it| it) as fn(Builder) -> Builder, ["10.0.0.1", "10.0.0.2"], true),
        (|it| it.prefix_ipv4_bits(24), ["10.0.0.1", "10.0.0.2"], false),
        (|it| it.prefix_ipv4_bits(24), ["10.0.0.1", "10.0.1.1"], true),
        (|it| it, ["10.0.0.1", "::ffff:10.0.0.1"], false),
        (|it| it, ["2001:db8::1", "2001:db8:0:ff::1"], false),
        (|it| it, ["2001:db8::1", "2001:db8:0:100::1"], true),
        (|it| it.prefix_ipv6_bits(64), ["2001:db8::1", "2001:db8:0:1::1"], true),
        (|it| it.prefix_ipv6_bits(48), ["2001:db8::1", "2001:db8:0:100::1"], false),
        (|it| it.prefix_ipv6_bits(128), ["2001:db8::1", "2001:db8::2"], true),
    ] {
        assert_eq!(admits(change, addresses), both, "{addresses:?}");
    }
}

#[test]
fn a_prefix_makes_connections_at_its_rate() {
    let mut crowd = Crowd::with(100_000, |builder| builder.prefix_rate(Some(10)));
    let mut admitted = 0;
    for _ in 0..100 {
        for _ in 0..100 {
            if let Ok(number) = crowd.come(1) {
                crowd.gate.leave(crowd.now, number);
                admitted += 1;
            }
        }
        crowd.come(2).map(|number| crowd.gate.leave(crowd.now, number)).expect("another prefix");
        crowd.pass(Duration::from_millis(100));
    }
    // As many as a second brings at once, and then ten a second.
    assert_eq!(admitted, 10 + 99);
    // Slow rates allow one at a time.
    let mut slow = Crowd::with(100, |builder| builder.prefix_rate(Some(1)));
    slow.come(1).expect("the first");
    assert_eq!(slow.come(1), Err(Denied::Rate));
    slow.pass(secs(1));
    slow.come(1).expect("a second later");
}

#[test]
fn the_table_of_prefixes_is_bounded() {
    let mut crowd = Crowd::with(1000, |builder| builder.prefix_rate(Some(1)));
    for from in 0..100_000 {
        let number = crowd.come(from).expect("let in");
        crowd.gate.leave(crowd.now, number);
    }
    assert!(crowd.gate.prefixes() <= 4097, "{}", crowd.gate.prefixes());
    crowd.pass(secs(10));
    let mut free = Crowd::new(1000);
    for from in 0..100_000 {
        let number = free.come(from).expect("let in");
        free.gate.leave(free.now, number);
    }
    assert_eq!(free.gate.prefixes(), 0, "without a rate nobody is kept");
}

#[test]
fn a_proxy_that_tells_whom_it_forwards_counts_no_more() {
    let mut crowd = Crowd::with(100, |builder| builder.prefix_share(10));
    for _ in 0..10 {
        let number = crowd.gate.admit(crowd.now, None, false).expect("the proxy");
        crowd.gate.identify(crowd.now, number, address(1)).expect("within its share");
    }
    let number = crowd.gate.admit(crowd.now, None, false).expect("the proxy");
    assert_eq!(crowd.gate.identify(crowd.now, number, address(1)), Err(Denied::Share));
    crowd.gate.identify(crowd.now, number, address(2)).expect("another client");
    crowd.gate.leave(crowd.now, number);
    assert_eq!(crowd.gate.prefixes(), 1);
}

#[test]
fn small_limits_are_used_to_the_last_place() {
    for connections in 1..=10 {
        let mut crowd = Crowd::with(connections, |builder| builder.prefix_share(100));
        let members: Vec<_> =
            (0..connections).map(|_| crowd.join(1, Standing::Idle, KIB)).collect();
        assert_eq!(crowd.close_all(), [0; 0], "{connections}");
        assert_eq!(crowd.come(1), Err(Denied::Connections));
        crowd.gate.set_newcomers(1);
        // One leaves for each newcomer.
        assert_eq!(crowd.gate.next_to_leave(crowd.now), Ok(members[0]));
        assert_eq!(crowd.gate.next_to_leave(crowd.now), Err(None));
    }
}

#[test]
fn steps_that_contradict_each_other_are_refused() {
    let wrong = Config::builder().pressure_close_idle(70).build();
    assert_eq!(
        wrong.expect_err("keep-alive would end later").to_string(),
        "pressure_end_keep_alive must not exceed pressure_close_idle"
    );
}

#[test]
fn a_gate_of_nothing_still_lets_one_in() {
    let limits = Limits { connections: 0, memory: 0 };
    let mut gate = Gate::new(Arc::default(), limits, 0);
    assert!(gate.admit(Tick::ZERO, None, true).is_ok());
    assert_eq!(gate.admit(Tick::ZERO, None, false), Err(Denied::Connections));
}

/// Each step counts once for each time that it begins, and not while the pressure moves about its threshold.
#[test]
fn steps_are_counted_when_they_begin() {
    let mut crowd = Crowd::new(1000);
    let count = |crowd: &Crowd, step: Step| {
        crowd.gate.steps().find(|(it, _)| *it == step).map(|(_, count)| count)
    };
    let counts = |crowd: &Crowd| Step::ALL.map(|step| count(crowd, step).expect("each is counted"));
    assert_eq!(counts(&crowd), [0; 6]);
    crowd.join_many(0..600, Standing::Working);
    assert_eq!(counts(&crowd), [1, 0, 0, 0, 0, 0]);
    crowd.join_many(600..1000, Standing::Working);
    assert_eq!(crowd.close_all(), []);
    assert_eq!(counts(&crowd), [1, 1, 1, 1, 0, 0]);
    for _ in 0..10 {
        assert_eq!(crowd.come(2000), Err(Denied::Connections));
    }
    assert_eq!(counts(&crowd), [1, 1, 1, 1, 0, 1]);
    // One place is free and taken again and again: the pressure has not fallen.
    for _ in 0..10 {
        crowd.gate.leave(crowd.now, 0);
        assert_eq!(crowd.come(2000), Ok(0));
        assert_eq!(crowd.come(2000), Err(Denied::Connections));
    }
    assert_eq!(counts(&crowd), [1, 1, 1, 1, 0, 1]);
    (1..1000).for_each(|number| crowd.gate.leave(crowd.now, number));
    assert_eq!(crowd.close_all(), []);
    crowd.join_many(1..1000, Standing::Working);
    assert_eq!(crowd.close_all(), []);
    assert_eq!(crowd.come(2000), Err(Denied::Connections));
    assert_eq!(counts(&crowd), [2, 2, 2, 2, 0, 2]);
}
