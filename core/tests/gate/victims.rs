//! Who is closed for others.

use crate::support::{Crowd, KIB, address, secs};
use portcullis::gate::{Denied, Report, Standing};

/// A crowd that newcomers wait for, of which everybody may be closed.
fn full(standings: &[(u32, Standing, u64)]) -> (Crowd, Vec<usize>) {
    let mut crowd = Crowd::with(standings.len(), |builder| builder.prefix_share(100));
    let join =
        |(from, standing, bytes): &(u32, Standing, u64)| crowd.join(*from, *standing, *bytes);
    let numbers = standings.iter().map(join).collect();
    crowd.gate.set_newcomers(1000);
    crowd.pass(secs(2));
    (crowd, numbers)
}

#[test]
fn those_that_lose_least_go_first_and_those_that_work_never() {
    use Standing::*;
    let order = [Working, Waiting, Lingering, Gone, Fresh, Idle];
    let crowd: Vec<_> = (0..).zip(order).map(|(from, it)| (from, it, KIB)).collect();
    let (mut crowd, numbers) = full(&crowd);
    let expected: Vec<_> = numbers.iter().rev().copied().take(5).collect();
    assert_eq!(crowd.close_all(), expected);
    assert_eq!(crowd.gate.connections(), 1, "the one that works is left");
    assert_eq!(crowd.gate.next_to_leave(crowd.now), Err(None));
}

#[test]
fn of_those_that_wait_the_one_goes_first_that_holds_most_for_longest() {
    let mut crowd = Crowd::new(8);
    let old = crowd.join(1, Standing::Waiting, 2 * KIB);
    crowd.pass(secs(60));
    let large = crowd.join(2, Standing::Waiting, 64 * KIB);
    crowd.pass(secs(8));
    let late = crowd.join(3, Standing::Waiting, 64 * KIB);
    crowd.pass(secs(2));
    crowd.gate.set_newcomers(3);
    // 64 KiB for 10 s, 64 KiB for 2 s, 2 KiB for 70 s.
    assert_eq!(crowd.close_all(), [large, old, late]);
}

#[test]
fn progress_keeps_a_connection_that_waits() {
    let (mut crowd, numbers) =
        full(&[(1, Standing::Waiting, 64 * KIB), (2, Standing::Waiting, KIB)]);
    crowd.stand(numbers[0], Standing::Waiting, 64 * KIB);
    assert_eq!(crowd.close_all(), [numbers[1]]);
    let at = crowd.now.after(secs(1));
    assert_eq!(crowd.gate.next_to_leave(crowd.now), Err(Some(at)));
    crowd.pass(secs(1));
    assert_eq!(crowd.close_all(), [numbers[0]]);
}

#[test]
fn nobody_goes_before_its_time() {
    let (mut crowd, numbers) = full(&[(1, Standing::Working, 0)]);
    let (now, until) = (crowd.now, crowd.now.after(secs(3)));
    let fresh =
        Report { standing: Standing::Fresh, bytes: 0, is_handshaking: false, since: now, until };
    crowd.gate.report(numbers[0], fresh);
    assert_eq!(crowd.gate.next_to_leave(now), Err(Some(until)));
    assert_eq!(crowd.gate.next_to_leave(until), Ok(numbers[0]));
}

#[test]
fn a_prefix_that_has_many_gives_up_its_own_first() {
    let mut crowd = Crowd::with(60, |builder| builder.prefix_share(100));
    let others: Vec<_> = (0..30).map(|it| crowd.join(100 + it, Standing::Idle, KIB)).collect();
    let own: Vec<_> = (0..30).map(|_| crowd.join(1, Standing::Waiting, KIB)).collect();
    crowd.pass(secs(2));
    crowd.gate.set_newcomers(60);
    let closed = crowd.close_all();
    // As long as it has more than a quarter of all, and at least 16.
    assert_eq!(closed[..15], own[..15]);
    assert_eq!(closed[15..45], others[..]);
}

#[test]
fn one_that_stays_is_not_asked_again_until_it_reports() {
    let (mut crowd, numbers) = full(&[(1, Standing::Idle, KIB)]);
    assert_eq!(crowd.gate.next_to_leave(crowd.now), Ok(numbers[0]));
    assert_eq!((crowd.gate.asked(), crowd.gate.is_needed(numbers[0])), (1, true));
    crowd.gate.stay(crowd.now, numbers[0]);
    assert_eq!(crowd.gate.next_to_leave(crowd.now), Err(None));
    crowd.stand(numbers[0], Standing::Idle, KIB);
    assert_eq!(crowd.gate.next_to_leave(crowd.now), Ok(numbers[0]));
    crowd.gate.set_newcomers(0);
    assert!(!crowd.gate.is_needed(numbers[0]), "its place is not needed any more");
}

#[test]
fn one_that_is_not_needed_keeps_its_age() {
    let (mut crowd, numbers) = full(&[(1, Standing::Waiting, KIB), (2, Standing::Waiting, KIB)]);
    crowd.pass(secs(1));
    assert_eq!(crowd.gate.next_to_leave(crowd.now), Ok(numbers[0]));
    crowd.gate.set_newcomers(0);
    crowd.gate.keep(numbers[0]);
    assert_eq!(crowd.gate.asked(), 0);
    crowd.gate.set_newcomers(1);
    assert_eq!(crowd.gate.next_to_leave(crowd.now), Ok(numbers[0]), "at once, and before others");
}

#[test]
fn a_prefix_at_its_share_gives_up_one_of_its_own_for_the_next() {
    let mut crowd = Crowd::with(10, |builder| builder.prefix_share(50));
    let idle: Vec<_> = (0..2).map(|_| crowd.join(1, Standing::Idle, KIB)).collect();
    (0..3).for_each(|_| assert!(crowd.come(1).is_ok()));
    crowd.join(2, Standing::Idle, KIB);
    assert_eq!(crowd.come(1), Err(Denied::Share));
    let own = address(1);
    assert_eq!(crowd.gate.next_of_its_prefix(crowd.now, own), Ok(idle[0]));
    assert_eq!(crowd.gate.next_of_its_prefix(crowd.now, own), Err(Some(crowd.now)), "it leaves");
    crowd.gate.leave(crowd.now, idle[0]);
    crowd.come(1).expect("its place is free");
    assert_eq!(crowd.gate.next_of_its_prefix(crowd.now, own), Ok(idle[1]));
    crowd.gate.stay(crowd.now, idle[1]);
    assert_eq!(crowd.gate.next_of_its_prefix(crowd.now, own), Err(None), "all are busy");
    assert_eq!(crowd.gate.next_of_its_prefix(crowd.now, address(3)), Err(None), "nobody knows it");
}
