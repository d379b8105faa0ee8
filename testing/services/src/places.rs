//! The number of connections, and which of them leave for a newcomer.

use super::{
    Adapter, GET, PATIENCE, ask, connect, hello, listener, listener_of_its_own, open, start_server,
};
use crate::adapter::{Admission, Body, Config, Stats};
use axum::body::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use std::future::ready;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const KEPT: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn config(places: u64, fresh: Duration) -> Arc<Config> {
    let config = Config::builder()
        .set("max_connections", &places.to_string())
        .expect("a number")
        .keep_alive_timeout(Duration::from_secs(3600))
        .drain_idle_timeout(fresh);
    Arc::new(config.build().expect("valid"))
}

/// Reads one answer.
fn answer(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    while !answer.ends_with("hello") {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).expect("an answer");
        assert!(count > 0, "{answer:?}");
        answer += std::str::from_utf8(&bytes[..count]).expect("text");
    }
    answer
}

fn made_room(stats: &Stats) -> u64 {
    let closes = stats.snapshot().closes;
    closes.iter().find(|(reason, _)| *reason == "made_room").map_or(0, |(_, count)| *count)
}

pub fn as_many_idle_connections_leave_as_newcomers_come<A: Adapter>() {
    let (listener, address) = listener();
    let stats = Arc::new(Stats::new());
    start_server::<A, _, _, _, _>(
        A::server(listener, config(3, Duration::from_secs(3600)), hello).stats(stats.clone()),
    );
    let mut idle: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = connect(address);
            stream.write_all(KEPT).expect("it reads");
            answer(&mut stream);
            stream
        })
        .collect();
    assert!(ask(address, GET).ends_with("hello"));
    open(&stats, 2);
    let mut newcomer = connect(address);
    newcomer.write_all(KEPT).expect("it reads");
    answer(&mut newcomer);
    assert_eq!(made_room(&stats), 1, "the first newcomer has left its place to the second");
    open(&stats, 3);
    let mut left = 0;
    for stream in &mut idle {
        stream.set_nonblocking(true).expect("it can be set");
        if let Ok(bytes) = stream.read(&mut [0; 100]) {
            assert_eq!(bytes, 0, "an end in good order");
            left += 1;
            continue;
        }
        stream.set_nonblocking(false).expect("it can be set");
        stream.write_all(KEPT).expect("it is open");
        answer(stream);
    }
    assert_eq!(left, 1);
}

pub fn a_newcomer_waits_for_one_of_those_that_are_busy<A: Adapter>() {
    let (listener, address) = listener();
    let (release, released) = async_channel::unbounded::<()>();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let told = calls.clone();
    let service = move |request: Request<Body>| {
        let (released, told) = (released.clone(), told.clone());
        async move {
            let path = request.uri().path().to_owned();
            if path == "/busy" {
                _ = released.recv().await;
            }
            told.lock().expect("no panic").push(path);
            Response::new(Full::<Bytes>::from("hello"))
        }
    };
    let stats = Arc::new(Stats::new());
    let config = config(2, Duration::from_millis(1));
    start_server::<A, _, _, _, _>(A::server(listener, config, service).stats(stats.clone()));
    let mut busy: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = connect(address);
            let request = b"GET /busy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            stream.write_all(request).expect("it reads");
            stream
        })
        .collect();
    let start = Instant::now();
    while !stats.snapshot().phases.contains(&("application", 2)) {
        assert!(start.elapsed() < PATIENCE, "{:?}", stats.snapshot());
        thread::yield_now();
    }
    let mut newcomer = connect(address);
    newcomer.write_all(GET.as_bytes()).expect("the kernel takes it");
    newcomer.set_read_timeout(Some(Duration::from_millis(100))).expect("it can be set");
    assert!(newcomer.read(&mut [0]).is_err(), "it waits");
    newcomer.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    release.send_blocking(()).expect("they wait");
    answer(&mut newcomer);
    assert_eq!(*calls.lock().expect("no panic"), ["/busy", "/"]);
    release.send_blocking(()).expect("one waits");
    busy.iter_mut().for_each(|stream| drop(answer(stream)));
    assert_eq!(made_room(&stats), 0);
}

pub fn silent_connections_leave_too_and_servers_share_their_places<A: Adapter>() {
    let admission = Arc::new(Admission::new(&config(2, Duration::from_millis(50))));
    let stats = Arc::new(Stats::new());
    let addresses = [(); 2].map(|()| {
        let (listener, address) = listener();
        // The server shares places, so this setting does not count.
        let config = config(1000, Duration::from_millis(50));
        let server = A::server(listener, config, hello).stats(stats.clone());
        start_server::<A, _, _, _, _>(server.admission(admission.clone()));
        address
    });
    let silent = addresses.map(connect);
    open(&stats, 2);
    for address in addresses {
        assert!(ask(address, GET).ends_with("hello"));
    }
    assert!(made_room(&stats) >= 1, "{:?}", stats.snapshot());
    drop(silent);
}

pub fn clients_that_came_before_a_drain_are_answered<A: Adapter>() {
    let (listener, address) = listener_of_its_own(2);
    let mut early: Vec<_> = (0..5).map(|_| connect(address)).collect();
    for stream in &mut early {
        stream.write_all(KEPT).expect("the kernel takes it");
    }
    let server = A::server(listener, Arc::default(), hello).with_graceful_shutdown(ready(()));
    let report = start_server::<A, _, _, _, _>(server);
    for mut stream in early {
        assert!(answer(&mut stream).contains("connection: close"));
    }
    let report = report.recv_timeout(PATIENCE).expect("it ends");
    assert_eq!((report.finished, report.cut), (5, 0));
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}
