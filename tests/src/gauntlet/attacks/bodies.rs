//! Attacks with request content: rows 14 to 24.

use super::{HELLO, Result, millis, say, say_and_drip, say_and_flood, wait};
use crate::gauntlet::peer::Peer;

const POST: &str = "POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
const CHUNKED: &str =
    "POST /sink HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";

pub(in crate::gauntlet) async fn slow(peer: Peer) -> Result {
    say_and_drip(peer.http1().await?, POST, "x", millis(200)).await
}

/// Half of the minimum rate, which the settings put at 1,000 B/s.
pub(in crate::gauntlet) async fn below_the_rate(peer: Peer) -> Result {
    say_and_drip(peer.http1().await?, POST, [b'x'; 50], millis(100)).await
}

pub(in crate::gauntlet) async fn never_sent(peer: Peer) -> Result {
    say(peer.http1().await?, POST).await
}

pub(in crate::gauntlet) async fn declared_too_large(peer: Peer) -> Result {
    let head = "POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000000\r\n\r\n";
    say(peer.http1().await?, head).await
}

pub(in crate::gauntlet) async fn endless_chunks(peer: Peer) -> Result {
    let chunk = [format!("{:x}\r\n", 1 << 20).as_bytes(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    say_and_flood(peer.http1().await?, CHUNKED, chunk).await
}

/// An upload of 64 MiB, four times the usual limit: case 2 of Hypercorn's page.
pub(in crate::gauntlet) async fn large(peer: Peer) -> Result {
    const PARTS: u64 = 64;
    let part = vec![b'x'; 1 << 20];
    let mut link = peer.http1().await?;
    let length = PARTS << 20;
    link.count_from_now();
    let head = "POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: ";
    link.send(format!("{head}{length}\r\n\r\n")).await;
    for _ in 0..PARTS {
        if !link.send(&part).await {
            break;
        }
    }
    wait(link).await
}

pub(in crate::gauntlet) async fn extended_chunks(peer: Peer) -> Result {
    let chunk = format!("1;{}\r\nx\r\n", "e".repeat(200));
    say_and_flood(peer.http1().await?, CHUNKED, chunk.repeat(10)).await
}

/// 200,000 chunks of one byte, which are legal.
pub(in crate::gauntlet) async fn tiny_chunks(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send(format!("{CHUNKED}{}0\r\n\r\n", "1\r\nx\r\n".repeat(200_000))).await;
    link.wait("an answer", |notes| !notes.statuses.is_empty()).await?;
    Ok(link.seen())
}

pub(in crate::gauntlet) async fn endless_trailers(peer: Peer) -> Result {
    say_and_flood(peer.http1().await?, format!("{CHUNKED}0\r\n"), "Trailer: value\r\n").await
}

pub(in crate::gauntlet) async fn endless_extension(peer: Peer) -> Result {
    say_and_flood(peer.http1().await?, format!("{CHUNKED}5;"), "e".repeat(100)).await
}

/// A refused upload that goes on, also after the server has ended its side.
pub(in crate::gauntlet) async fn unread(peer: Peer) -> Result {
    let head = "POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15000000\r\n\r\n";
    say_and_flood(peer.http1().await?, head, vec![b'x'; 10_000]).await
}

const EXPECT: &str = "HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
    Content-Length: 100000\r\n\r\n";

/// Waits for the 100, and then sends nothing.
pub(in crate::gauntlet) async fn expects(peer: Peer) -> Result {
    say(peer.http1().await?, format!("POST /sink {EXPECT}")).await
}

/// The handler refuses, so no 100 may come.
pub(in crate::gauntlet) async fn expects_refusal(peer: Peer) -> Result {
    let mut link = peer.http1().await?;
    link.send(format!("POST /hello {EXPECT}")).await;
    link.wait("an answer", |notes| !notes.statuses.is_empty()).await?;
    Ok(link.seen())
}

/// Requests that two parsers could read differently. Each carries another one.
pub(in crate::gauntlet) const SMUGGLING: [&str; 16] = [
    "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "Content-Length: 4, 5\r\n\r\nabcd",
    "Content-Length: +4\r\n\r\nabcd",
    "Content-Length: 0x4\r\n\r\nabcd",
    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\n\r\n0\r\n\r\n",
    "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n5;a=\"\r\nhello\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
    "Host: another\r\nContent-Length: 0\r\n\r\n",
];

pub(in crate::gauntlet) async fn smuggled(peer: Peer) -> Result {
    let trick = SMUGGLING[peer.index % SMUGGLING.len()];
    let request = format!("POST /sink HTTP/1.1\r\nHost: localhost\r\n{trick}{HELLO}");
    say(peer.http1().await?, request).await
}
