//! Attacks by many connections: rows 11 to 13 and 61 to 67.

use tokio::time::sleep;

use super::{HELLO, Result, millis, wait};
use crate::gauntlet::notes::Seen;
use crate::gauntlet::peer::Peer;
use crate::gauntlet::server::sockets;

/// Connects and resets, 50 times.
pub(in crate::gauntlet) async fn connect_and_reset(peer: Peer) -> Result {
    for _ in 0..50 {
        peer.tcp().await?.reset()?;
    }
    Ok(Seen::default())
}

/// Connects, and stays until the server closes. A connection that the server never accepts is
/// reset in the end.
pub(in crate::gauntlet) async fn takes_descriptors(peer: Peer) -> Result {
    wait(peer.tcp().await?).await
}

/// A handler works for as long as the attack takes.
pub(in crate::gauntlet) async fn busy_for_long(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send("GET /slow/4000 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    link.listen(millis(4000)).await;
    Ok(link.seen())
}

const SLOW: &str = "GET /slow/60000 HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A request to a slow handler, and gone.
pub(in crate::gauntlet) async fn gone_at_once(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send(SLOW).await;
    link.close();
    Ok(Seen::default())
}

/// The same, with a byte of the next request, and a reset a little later.
pub(in crate::gauntlet) async fn gone_behind_a_byte(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send(format!("{SLOW}G")).await;
    link.listen(millis(200)).await;
    link.reset()?;
    Ok(Seen::default())
}

pub(in crate::gauntlet) async fn gone_after_fin(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send(SLOW).await;
    link.finish_sending().await?;
    link.listen(millis(200)).await;
    link.reset()?;
    Ok(Seen::default())
}

/// A vanished host can't be played on loopback. The kernel's table shows whether it would be
/// noticed: the server's socket has a keepalive timer.
pub(in crate::gauntlet) async fn vanished(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send(SLOW).await;
    link.listen(millis(300)).await;
    let local = format!(":{:04X}", peer.address.port());
    let remote = format!(":{:04X}", link.local_port()?);
    let lines = sockets()?;
    let line = lines.iter().find(|line| line[1].ends_with(&local) && line[2].ends_with(&remote));
    let timer = line.ok_or("the server's socket is not in the kernel's table")?[5].clone();
    // Timer 2 is keepalive, in hundredths of a second after the colon.
    let left = timer.strip_prefix("02:").and_then(|it| u64::from_str_radix(it, 16).ok());
    match left {
        Some(left) if left <= 12_000 => Ok(link.seen()),
        _ => Err(format!("no keepalive timer below two minutes: {timer}").into()),
    }
}

/// As much as the server takes of an upload that its handler doesn't read yet.
pub(in crate::gauntlet) async fn at_the_bound(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    let head = "POST /lazy/60000 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n";
    link.send(head).await;
    let upload = async { while link.send([b'x'; 16 << 10]).await {} };
    // The server stops reading, so the upload never ends.
    let _elapsed = tokio::time::timeout(millis(4000), upload).await;
    Ok(link.seen())
}

/// A thousand requests in one write, again and again for three seconds.
pub(in crate::gauntlet) async fn bully(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    let start = std::time::Instant::now();
    while start.elapsed() < millis(3000) {
        let asked = link.notes.statuses.len() + 1000;
        link.send(HELLO.repeat(1000)).await;
        link.wait("its answers", |notes| notes.statuses.len() >= asked).await?;
    }
    Ok(link.seen())
}

/// HEAD of a directory of 10,000 files, ten in a write.
pub(in crate::gauntlet) async fn large_directory(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send("HEAD /many/ HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(10)).await;
    let wait = link.wait("an answer", |notes| !notes.statuses.is_empty());
    // Its content is not sent, so the rest of the answers can't be told apart. Time is enough.
    drop(tokio::time::timeout(millis(3000), wait).await);
    sleep(millis(500)).await;
    Ok(link.seen())
}
