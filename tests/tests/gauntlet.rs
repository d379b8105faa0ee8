//! A reduced gauntlet: a few attacks with few attackers, on each runtime. Its verdicts are counts,
//! order and lower bounds, so it does not matter how busy the machine is. The program `gauntlet`
//! plays all attacks with all bounds.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use portcullis_testing::watched;
use portcullis_tests::gauntlet::{
    ATTACKS, Attack, Options, Place, Report, Runtime, Target, build, run,
};

/// Attacks whose verdicts depend on no speed of the machine.
const REDUCED: [&str; 12] = [
    "silent",
    "slow-body",
    "response-unread",
    "tls-slow-handshake",
    "slow-head",
    "pipelined",
    "expects-refusal",
    "smuggling",
    "ws-declared",
    "ws-dead-peer",
    "h2-pings",
    "h2-no-stream",
];
const LANES: usize = 8;
const OPTIONS: Options =
    Options { connections: 20, attackers: Some(16), patience: None, busy: true };
const USUAL: Place = Place { runtime: Runtime::Tokio, tls: false };

fn attack(name: &str) -> &'static Attack {
    ATTACKS.iter().find(|attack| attack.name == name).expect("an attack of this name")
}

fn play(attack: &Attack, place: Place, target: &Target, options: Options) -> Report {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
    let report = run(attack, place, target, options, runtime.handle(), &|_, _| {});
    runtime.shutdown_background();
    report.unwrap_or_else(|error| panic!("{} on {place}: {error}", attack.name))
}

#[test]
fn attackers_are_dropped_and_the_healthy_client_is_served() {
    let _watched = watched();
    let target = Target::Program(build(false).expect("the program builds"));
    let runs = REDUCED.iter().flat_map(|name| {
        let attack = attack(name);
        Place::ALL.into_iter().filter(|place| attack.places.has(*place)).map(move |it| (attack, it))
    });
    let runs = Mutex::new(runs.collect::<Vec<_>>());
    let fallen = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let next = runs.lock().expect("no panic").pop();
                    let Some((attack, place)) = next else { return };
                    let report = play(attack, place, &target, OPTIONS);
                    if !report.faults.is_empty() {
                        let fault = format!("{} on {place}: {:?}", attack.name, report.faults);
                        fallen.lock().expect("no panic").push(fault);
                    }
                }
            });
        }
    });
    let fallen = fallen.into_inner().expect("no panic");
    assert!(fallen.is_empty(), "{fallen:#?}");
}

/// A server that answers requests and never drops anyone.
fn patient_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.is_empty() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok()?;
        }
    }
    None
}

#[test]
fn a_verdict_falls_if_the_server_holds_its_attackers() {
    let _watched = watched();
    let target = Target::Other { address: patient_server(), pids: vec![std::process::id()] };
    let options = Options { patience: Some(Duration::from_secs(2)), ..OPTIONS };
    let report = play(attack("silent"), USUAL, &target, options);
    assert_eq!((report.held, report.dropped), (16, None), "{:?}", report.faults);
    let fault = report.faults.first().expect("the verdict falls");
    assert_eq!(fault, "16 attackers are still connected after 2 s");
    assert!(report.memory.is_some() && report.during.1 > 0);
}
