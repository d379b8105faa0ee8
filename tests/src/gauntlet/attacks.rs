//! The functions that play one attacker each, by what they attack.

pub(super) mod bodies;
pub(super) mod connections;
pub(super) mod crowds;
pub(super) mod http2;
pub(super) mod live;
pub(super) mod live2;
pub(super) mod responses;
pub(super) mod tls;
pub(super) mod websocket;

use std::time::Duration;

use super::Failure;
use super::link::Link;
use super::notes::Seen;

/// What an attacker returns.
pub(super) type Result = std::result::Result<Seen, Failure>;

/// A request that is answered at once.
pub(super) const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// An answer of a gigabyte.
pub(super) const LARGE: &str = "GET /bytes/1000000000 HTTP/1.1\r\nHost: localhost\r\n\r\n";

pub(super) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Waits for the end.
pub(super) async fn wait(mut link: Link) -> Result {
    link.until_end().await;
    Ok(link.seen())
}

/// Sends this, and then waits for the end.
pub(super) async fn say(mut link: Link, bytes: impl AsRef<[u8]>) -> Result {
    link.count_from_now();
    link.send(bytes).await;
    link.until_end().await;
    Ok(link.seen())
}

/// Sends this, and then a part at intervals until the end.
pub(super) async fn say_and_drip(
    mut link: Link,
    bytes: impl AsRef<[u8]>,
    part: impl AsRef<[u8]>,
    pause: Duration,
) -> Result {
    link.count_from_now();
    link.send(bytes).await;
    link.drip(part, pause).await;
    Ok(link.seen())
}

/// Sends this, and then a part without pause until the end.
pub(super) async fn say_and_flood(
    mut link: Link,
    bytes: impl AsRef<[u8]>,
    part: impl AsRef<[u8]>,
) -> Result {
    link.count_from_now();
    link.send(bytes).await;
    if link.is_open() {
        link.flood(part).await;
    }
    Ok(link.seen())
}
