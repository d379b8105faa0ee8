//! Attacks on answers: rows 25 to 29.

use std::time::Duration;

use super::http2::open;
use super::{LARGE, Result, millis};
use crate::gauntlet::frames::{INITIAL_WINDOW_SIZE, get};
use crate::gauntlet::peer::Peer;
use tokio::time::sleep;

pub(in crate::gauntlet) async fn unread(peer: Peer) -> Result {
    let mut link = peer.http1_narrow().await?;
    link.count_from_now();
    link.send(LARGE).await;
    link.until_end_unread().await;
    Ok(link.seen())
}

/// A hundred bytes a second: less than half of the usual minimum.
pub(in crate::gauntlet) async fn slowly(peer: Peer) -> Result {
    const PAUSE: Duration = millis(200);
    let mut link = peer.http1_narrow().await?;
    link.count_from_now();
    link.send(LARGE).await;
    while link.sip(20).await {
        sleep(PAUSE).await;
    }
    Ok(link.seen())
}

/// Events that nobody reads. The answer before them fills this machine's small buffer, so that the events stay in
/// the server's.
pub(in crate::gauntlet) async fn events_unread(peer: Peer) -> Result {
    let mut link = peer.http1_narrow().await?;
    link.count_from_now();
    let answer = "GET /bytes/200000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    link.send([answer, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat()).await;
    link.until_end_unread().await;
    Ok(link.seen())
}

/// The same on a stream whose window has room for the first event only.
pub(in crate::gauntlet) async fn h2_events_unread(peer: Peer) -> Result {
    let mut link = open(&peer, &[(INITIAL_WINDOW_SIZE, 12)]).await?;
    link.count_from_now();
    link.send(get(1, "/events")).await;
    link.wait("the stream's end", |notes| notes.resets > 0 || notes.ends > 0).await?;
    link.until_end().await;
    Ok(link.seen())
}
