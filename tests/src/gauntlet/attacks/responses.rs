//! Attacks on answers: rows 25 to 27.

use std::time::Duration;

use super::{LARGE, Result, millis};
use crate::gauntlet::peer::Peer;
use tokio::time::sleep;

pub(in crate::gauntlet) async fn unread(peer: Peer) -> Result {
    let mut link = peer.http1_narrow().await?;
    link.count_from_now();
    link.send(LARGE).await;
    link.until_reset().await;
    Ok(link.seen())
}

/// A kilobyte a second, and the settings ask for a hundred.
pub(in crate::gauntlet) async fn slowly(peer: Peer) -> Result {
    const PAUSE: Duration = millis(200);
    let mut link = peer.http1_narrow().await?;
    link.count_from_now();
    link.send(LARGE).await;
    while link.more_of(200).await {
        sleep(PAUSE).await;
    }
    Ok(link.seen())
}
