//! Attacks on connections and on request heads: rows 1 to 10.

use super::{HELLO, Result, millis, say, say_and_drip, say_and_flood, wait};
use crate::gauntlet::peer::Peer;

pub(in crate::gauntlet) async fn silent(peer: Peer) -> Result {
    wait(peer.http1().await?).await
}

pub(in crate::gauntlet) async fn idle(peer: Peer) -> Result {
    say(peer.http1().await?, HELLO).await
}

const HEAD: &str = "GET /hello HTTP/1.1\r\nHost: localhost\r\n";

pub(in crate::gauntlet) async fn slow_head(peer: Peer) -> Result {
    say_and_drip(peer.http1().await?, HEAD, "Slow: loris\r\n", millis(200)).await
}

pub(in crate::gauntlet) async fn slow_head_bytes(peer: Peer) -> Result {
    say_and_drip(peer.http1().await?, format!("{HEAD}Slow: "), "x", millis(100)).await
}

pub(in crate::gauntlet) async fn slow_second_head(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send(HELLO).await;
    link.wait("the first answer", |notes| !notes.statuses.is_empty()).await?;
    link.listen(millis(300)).await;
    say_and_drip(link, HEAD, "Slow: loris\r\n", millis(200)).await
}

pub(in crate::gauntlet) async fn blank_lines(peer: Peer) -> Result {
    say_and_flood(peer.http1().await?, "", "\r\n".repeat(100)).await
}

pub(in crate::gauntlet) async fn huge_field(peer: Peer) -> Result {
    say(peer.http1().await?, format!("{HEAD}Huge: {}\r\n\r\n", "x".repeat(1 << 20))).await
}

pub(in crate::gauntlet) async fn many_fields(peer: Peer) -> Result {
    say(peer.http1().await?, format!("{HEAD}{}\r\n", "F: v\r\n".repeat(10_000))).await
}

pub(in crate::gauntlet) async fn long_target(peer: Peer) -> Result {
    let target = "x".repeat(100 << 10);
    say(peer.http1().await?, format!("GET /{target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
}

/// 10,000 requests whose answers are not read.
pub(in crate::gauntlet) async fn pipelined(peer: Peer) -> Result {
    let mut link = peer.http1_narrow().await?;
    link.count_from_now();
    link.flood_unread(HELLO.repeat(10_000)).await;
    Ok(link.seen())
}

/// Small requests without end, 50 in a write.
pub(in crate::gauntlet) async fn churn(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.count_from_now();
    let mut asked = 0;
    while link.send(HELLO.repeat(50)).await {
        asked += 50;
        let answered = |notes: &crate::gauntlet::notes::Notes| {
            notes.statuses.len() >= asked || notes.says_close
        };
        link.wait("its answers", answered).await?;
        if link.notes.says_close {
            link.until_end().await;
        }
    }
    Ok(link.seen())
}
