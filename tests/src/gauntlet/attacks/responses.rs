//! Attacks on answers: rows 25 to 27.

use std::time::Duration;

use super::{LARGE, Result, millis};
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
