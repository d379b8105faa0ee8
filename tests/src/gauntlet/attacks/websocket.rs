//! Attacks on websockets: rows 37 to 46.

use std::sync::LazyLock;

use flate2::{Compress, Compression, FlushCompress};

use super::{Result, millis, say, say_and_drip, say_and_flood, wait};
use crate::gauntlet::Failure;
use crate::gauntlet::frames::{
    BINARY, COMPRESSED, FIN, TEXT, UPGRADE, UPGRADE_DEFLATE, WS_PING, WS_PONG, head, message,
};
use crate::gauntlet::link::Link;
use crate::gauntlet::peer::Peer;

/// Opens the demo's websocket.
pub(super) async fn open(mut link: Link, upgrade: &str) -> std::result::Result<Link, Failure> {
    link.send(upgrade).await;
    link.wait("the websocket was open", |notes| !notes.statuses.is_empty()).await?;
    match link.notes.statuses[..] {
        [101] => Ok(link),
        ref other => Err(format!("the websocket is refused: {other:?}").into()),
    }
}

async fn opened(peer: &Peer) -> std::result::Result<Link, Failure> {
    open(peer.websocket().await?, UPGRADE).await
}

/// Declares 17 MiB, a byte more than the limit allows by a megabyte.
pub(in crate::gauntlet) async fn declared_too_large(peer: Peer) -> Result {
    say(opened(&peer).await?, head(FIN | BINARY, 17 << 20)).await
}

/// Case 6 of Hypercorn's page: a message of 64 MiB is sent, whatever the server says.
pub(in crate::gauntlet) async fn large(peer: Peer) -> Result {
    let part = vec![0; 1 << 20];
    let mut link = opened(&peer).await?;
    link.count_from_now();
    link.send(head(FIN | BINARY, 64 << 20)).await;
    for _ in 0..64 {
        if !link.send(&part).await {
            break;
        }
    }
    wait(link).await
}

pub(in crate::gauntlet) async fn large_by_fragments(peer: Peer) -> Result {
    let link = opened(&peer).await?;
    let first = message(BINARY, b"begun");
    say_and_flood(link, first, message(0, &vec![0; 1 << 20])).await
}

pub(in crate::gauntlet) async fn declared_not_sent(peer: Peer) -> Result {
    say_and_drip(opened(&peer).await?, head(FIN | BINARY, 16 << 20), "x", millis(100)).await
}

pub(in crate::gauntlet) async fn empty_fragments(peer: Peer) -> Result {
    let link = opened(&peer).await?;
    say_and_flood(link, message(TEXT, b"begun"), message(0, b"").repeat(1000)).await
}

pub(in crate::gauntlet) async fn tiny_fragments(peer: Peer) -> Result {
    let link = opened(&peer).await?;
    say_and_flood(link, message(TEXT, b"begun"), message(0, b"x").repeat(1000)).await
}

pub(in crate::gauntlet) async fn pings(peer: Peer) -> Result {
    say_and_flood(opened(&peer).await?, "", message(FIN | WS_PING, b"").repeat(1000)).await
}

pub(in crate::gauntlet) async fn pongs(peer: Peer) -> Result {
    say_and_flood(opened(&peer).await?, "", message(FIN | WS_PONG, b"").repeat(1000)).await
}

/// Large messages, whose echoes are never read.
pub(in crate::gauntlet) async fn unread(peer: Peer) -> Result {
    let mut link = open(peer.websocket_narrow().await?, UPGRADE).await?;
    link.count_from_now();
    link.flood_unread(message(FIN | BINARY, &vec![0; 1 << 20])).await;
    Ok(link.seen())
}

/// 64 MiB of zeros, compressed.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bomb = Vec::with_capacity(128 << 10);
    let mut compress = Compress::new(Compression::best(), false);
    compress
        .compress_vec(&vec![0; 64 << 20], &mut bomb, FlushCompress::Sync)
        .expect("zeros can be compressed");
    message(FIN | COMPRESSED | BINARY, &bomb)
});

pub(in crate::gauntlet) async fn bomb(peer: Peer) -> Result {
    let bomb = &*BOMB;
    let link = open(peer.websocket().await?, UPGRADE_DEFLATE).await?;
    say(link, bomb).await
}

/// Answers no ping.
pub(in crate::gauntlet) async fn dead(peer: Peer) -> Result {
    wait(opened(&peer).await?).await
}

/// Sends messages instead of an answer to the server's close.
pub(in crate::gauntlet) async fn close_unanswered(peer: Peer) -> Result {
    let mut link = opened(&peer).await?;
    link.wait("the server's close", |notes| notes.code.is_some()).await?;
    link.drip(message(FIN | TEXT, b"still here"), millis(100)).await;
    Ok(link.seen())
}
