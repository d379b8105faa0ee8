//! `/healthz` and `/readyz`, and the delay before a drain.

use crate::place::{Place, tests};
use crate::proxies::{haproxy_with, has, wait_until_checked, wait_until_up};
use crate::support::{Program, assert_not_before};
use std::time::{Duration, Instant};
use tempfile::TempDir;

tests! {
    everywhere:
        readiness_ends_first_and_newcomers_are_served_until_the_delay_is_over,
        a_second_signal_ends_the_delay;
    plaintext:
        files_keep_their_names_unless_health_is_asked_for,
        haproxy_sends_nobody_to_a_program_that_is_not_ready;
}

const DELAY: Duration = Duration::from_secs(3);

fn readiness_ends_first_and_newcomers_are_served_until_the_delay_is_over(place: Place) {
    let program = Program::with_args(place, &[], &["--drain-delay", "3s"], None);
    let mut client = program.connect();
    assert_eq!(client.get("/healthz").text(), "serving\n");
    let ready = client.get("/readyz");
    assert_eq!((ready.status, ready.text()), (200, "ready\n"));
    assert!(ready.has_field("cache-control: no-store"), "{ready:?}");
    let begun = Instant::now();
    program.signal("TERM");
    // The signal is on its way. The connection lives until the delay is over.
    let unready = loop {
        let answer = client.get("/readyz");
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(unready.status, 503);
    assert!(!unready.has_field("connection: close"), "the drain has not begun: {unready:?}");
    assert_eq!(client.get("/healthz").status, 200);
    let mut newcomer = program.connect();
    assert_eq!(newcomer.get("/readyz").status, 503);
    assert_eq!(newcomer.get("/hello").text(), "Hello, world!");
    assert_eq!(program.wait(), Some(0));
    assert_not_before(begun.elapsed(), DELAY);
    client.wait_until_closed();
}

fn a_second_signal_ends_the_delay(place: Place) {
    let program = Program::with_args(place, &[], &["--drain-delay", "1h"], None);
    let mut client = program.connect();
    program.signal("TERM");
    while client.get("/readyz").status == 200 {}
    program.signal("TERM");
    assert_ne!(program.wait(), Some(0));
}

fn files_keep_their_names_unless_health_is_asked_for(place: Place) {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("healthz"), "a file").expect("written");
    let root = folder.path().to_str().expect("UTF-8");
    let get = |args: &[&str], path| {
        let program = Program::with_args(place, &[], args, None);
        let answer = program.connect().get(path);
        (answer.status, answer.text().to_owned())
    };
    assert_eq!(get(&["--root", root], "/healthz"), (200, "a file".to_owned()));
    assert_eq!(get(&["--root", root], "/readyz").0, 404);
    let health = ["--root", root, "--health"];
    assert_eq!(get(&health, "/healthz"), (200, "serving\n".to_owned()));
    assert_eq!(get(&health, "/readyz"), (200, "ready\n".to_owned()));
}

/// Two programs after one balancer. While one of them is told to stop, every request is answered.
fn haproxy_sends_nobody_to_a_program_that_is_not_ready(place: Place) {
    if !has("haproxy") {
        return;
    }
    let (one, two) =
        (Program::with_args(place, &[], &["--drain-delay", "1h"], None), Program::with(place, &[]));
    let proxy = haproxy_with(|address| {
        format!(
            "defaults\nmode http\ntimeout connect 1h\ntimeout client 1h\ntimeout server 1h\n\
             timeout check 1h\nfrontend web\nbind {address}\ndefault_backend app\n\
             backend app\noption httpchk GET /readyz\ndefault-server check inter 50ms fall 1\n\
             server one {}\nserver two {}\n",
            one.address, two.address
        )
    });
    wait_until_up(&proxy, "200");
    one.signal("TERM");
    wait_until_checked(&proxy, "DOWN", "503");
    let before = two.status()["requests"].as_u64().expect("a number");
    for _ in 0..20 {
        let mut client = one.connect_through(proxy.address);
        assert_eq!(client.get("/hello").status, 200);
    }
    two.wait_for("all are counted", |status| status["requests"].as_u64() >= Some(before + 20));
}
