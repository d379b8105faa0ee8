//! Clients that must live, over HTTP/1.1: rows 15, 17, 28, 30 and L1 to L9.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::{LARGE, Result, millis};
use crate::gauntlet::Failure;
use crate::gauntlet::link::Link;
use crate::gauntlet::peer::Peer;
use crate::gauntlet::server::signal;

fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
}

/// Waits for an answer with this status.
async fn answered(link: &mut Link, status: u16) -> std::result::Result<(), Failure> {
    link.wait("an answer", |notes| notes.statuses.iter().any(|status| *status >= 200)).await?;
    let last = link.notes.statuses.last();
    if last == Some(&status) {
        return Ok(());
    }
    Err(format!("answered with {last:?} instead of {status}").into())
}

/// Three times the minimum rate, which the settings put at 1,000 B/s.
pub(in crate::gauntlet) async fn above_the_rate(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send(post("/sink", 12_000)).await;
    for _ in 0..40 {
        link.send([b'x'; 300]).await;
        sleep(millis(100)).await;
    }
    answered(&mut link, 200).await?;
    Ok(link.seen())
}

/// The handler asks for the content after three seconds.
pub(in crate::gauntlet) async fn slow_application(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send(post("/lazy/3000", 50_000)).await;
    link.send(vec![b'x'; 50_000]).await;
    answered(&mut link, 200).await?;
    Ok(link.seen())
}

/// Reads an event a second, with timers below that.
pub(in crate::gauntlet) async fn events(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    if link.listen(millis(3500)).await {
        return Ok(link.seen());
    }
    Err("the events ended".into())
}

pub(in crate::gauntlet) async fn half_closed(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send("GET /slow/2000 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    link.finish_sending().await?;
    answered(&mut link, 200).await?;
    Ok(link.seen())
}

/// A kilobyte a second, as `curl --limit-rate 1k`.
pub(in crate::gauntlet) async fn slow_reader(peer: Peer) -> Result {
    let mut link = peer.http1_narrow().await?;
    link.send(LARGE).await;
    for second in 0..12 {
        sleep(millis(1000)).await;
        if !link.more_of(1000).await {
            return Err(format!("cut after {} s", second + 1).into());
        }
    }
    Ok(link.seen())
}

pub(in crate::gauntlet) async fn paused_upload(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send(post("/sink", 2_000_000)).await;
    link.send(vec![b'x'; 1_000_000]).await;
    sleep(millis(8000)).await;
    link.send(vec![b'x'; 1_000_000]).await;
    answered(&mut link, 200).await?;
    Ok(link.seen())
}

pub(in crate::gauntlet) async fn paused_download(peer: Peer) -> Result {
    let mut link = peer.http1_narrow().await?;
    link.send("GET /bytes/2000000 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    link.wait("the first half", |notes| notes.content >= 1_000_000).await?;
    sleep(millis(8000)).await;
    link.wait("the second half", |notes| notes.content >= 2_000_000).await?;
    Ok(link.seen())
}

/// The server's process stands still for longer than every timer. Attacker 0 stops it.
pub(in crate::gauntlet) async fn stopped_server(peer: Peer) -> Result {
    const STOPPED: Duration = millis(2500);
    if peer.index == 0 {
        sleep(millis(300)).await;
        signal(&peer.pids, Signal::SIGSTOP)?;
        sleep(STOPPED).await;
        signal(&peer.pids, Signal::SIGCONT)?;
        let mut link = peer.http1().await?;
        link.send(super::HELLO).await;
        answered(&mut link, 200).await?;
        return Ok(link.seen());
    }
    let mut link = peer.http1().await?;
    match peer.index % 3 {
        // Asks while nobody is there.
        0 => {
            sleep(millis(600)).await;
            link.send(super::HELLO).await;
        }
        // An upload that goes on.
        1 => {
            link.send(post("/sink", 40_000)).await;
            for _ in 0..40 {
                link.send([b'x'; 1000]).await;
                sleep(millis(100)).await;
            }
        }
        // A download that goes on.
        _ => {
            link.send("GET /bytes/2000000 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            while link.notes.content < 2_000_000 {
                if !link.more_of(50_000).await {
                    return Err("a download was cut".into());
                }
                sleep(millis(50)).await;
            }
        }
    }
    answered(&mut link, 200).await?;
    Ok(link.seen())
}

/// Sends 40 MB to something that refuses it, and reads nothing before all is sent.
pub(in crate::gauntlet) async fn refused_upload(peer: Peer) -> Result {
    refused(peer, "/sink", 413).await
}

/// The same, to a route that allows no POST.
pub(in crate::gauntlet) async fn refused_route(peer: Peer) -> Result {
    refused(peer, "/hello", 405).await
}

async fn refused(peer: Peer, path: &str, status: u16) -> Result {
    let mut link = peer.http1().await?;
    link.send(post(path, 40_000_000)).await;
    for _ in 0..40 {
        // A failed write has read the last words of the server.
        if !link.send(vec![b'x'; 1_000_000]).await {
            break;
        }
    }
    answered(&mut link, status).await?;
    Ok(link.seen())
}

/// The requests of health checks.
const CHECKS: [&str; 4] = [
    "OPTIONS / HTTP/1.0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
];

pub(in crate::gauntlet) async fn health_check(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send(CHECKS[peer.index % CHECKS.len()]).await;
    link.wait("an answer", |notes| !notes.statuses.is_empty()).await?;
    match link.notes.statuses[..] {
        [status, ..] if status < 400 => Ok(link.seen()),
        ref other => Err(format!("a health check got {other:?}").into()),
    }
}

/// A proxy that keeps connections: requests at any rhythm, with pauses just below the time that the
/// server keeps an idle one.
pub(in crate::gauntlet) async fn kept_by_a_proxy(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    let start = Instant::now();
    let mut asked = 0;
    while start.elapsed() < millis(6000) {
        link.send(super::HELLO).await;
        asked += 1;
        link.wait("an answer", |notes| notes.statuses.len() >= asked).await?;
        // From no pause to one of 1.4 s; the settings allow 2 s.
        sleep(millis((asked * peer.index * 37 % 1400) as u64)).await;
    }
    Ok(link.seen())
}
