//! Attacks on the layer of TLS: rows 31 to 36.

use rustls::ContentType;

use super::{HELLO, Result, millis, say, say_and_flood, wait};
use crate::gauntlet::peer::Peer;

pub(in crate::gauntlet) async fn silent(peer: Peer) -> Result {
    wait(peer.tcp().await?).await
}

/// The beginning of a ClientHello, and then a byte at a time.
pub(in crate::gauntlet) async fn dripped(peer: Peer) -> Result {
    let hello = peer.client_hello()?;
    let mut link = peer.tcp().await?;
    for byte in hello {
        if !link.send([byte]).await || !link.listen(millis(50)).await {
            break;
        }
    }
    link.until_end().await;
    Ok(link.seen())
}

pub(in crate::gauntlet) async fn stopped(peer: Peer) -> Result {
    let hello = peer.client_hello()?;
    let mut link = peer.tcp().await?;
    link.send(&hello[..hello.len() / 2]).await;
    wait(link).await
}

/// A whole ClientHello, and nothing after the server's flight.
pub(in crate::gauntlet) async fn unfinished(peer: Peer) -> Result {
    let hello = peer.client_hello()?;
    let mut link = peer.tcp().await?;
    link.send(hello).await;
    wait(link).await
}

/// One handshake after the other for two seconds.
pub(in crate::gauntlet) async fn many_handshakes(peer: Peer) -> Result {
    let start = std::time::Instant::now();
    let mut link = peer.http1().await?;
    while start.elapsed() < millis(2000) {
        link = peer.http1().await?;
    }
    Ok(link.seen())
}

/// A ClientHello that declares 64 KiB, in records of 16 KiB.
pub(in crate::gauntlet) async fn too_large(peer: Peer) -> Result {
    let first = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff, 3, 3][..], &[0; (16 << 10) - 6]].concat();
    let record = [&[22, 3, 1, 0x40, 0][..], &[0; 16 << 10]].concat();
    say_and_flood(peer.tcp().await?, first, record).await
}

/// A KeyUpdate again and again: each makes the server derive new keys.
pub(in crate::gauntlet) async fn key_updates(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.count_from_now();
    loop {
        link.update_keys()?;
        if !link.send("").await || !link.listen(millis(0)).await {
            break;
        }
    }
    Ok(link.seen())
}

/// Sends `first` in a record, and then records of this type without end, 500 in a write.
async fn records(peer: Peer, first: &str, typ: ContentType, payload: &[u8]) -> Result {
    let (mut link, mut sealer) = peer.sealed().await?;
    link.count_from_now();
    link.send(sealer.seal(ContentType::ApplicationData, first.as_bytes())?).await;
    loop {
        let mut bytes = Vec::new();
        for _ in 0..500 {
            bytes.extend(sealer.seal(typ, payload)?);
        }
        if !link.send(bytes).await || !link.listen(millis(0)).await {
            return Ok(link.seen());
        }
    }
}

pub(in crate::gauntlet) async fn empty_records(peer: Peer) -> Result {
    records(peer, HELLO, ContentType::ApplicationData, b"").await
}

/// An upload with a byte in each record.
pub(in crate::gauntlet) async fn tiny_records(peer: Peer) -> Result {
    let upload = "POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n";
    records(peer, upload, ContentType::ApplicationData, b"x").await
}

/// `user_canceled` is the only warning that TLS 1.3 knows beside the end.
pub(in crate::gauntlet) async fn warnings(peer: Peer) -> Result {
    records(peer, HELLO, ContentType::Alert, &[1, 90]).await
}

pub(in crate::gauntlet) async fn plaintext_to_tls(peer: Peer) -> Result {
    say(peer.plain_http1().await?, HELLO).await
}

pub(in crate::gauntlet) async fn tls_to_plaintext(peer: Peer) -> Result {
    let hello = peer.client_hello()?;
    say(peer.tcp().await?, hello).await
}
