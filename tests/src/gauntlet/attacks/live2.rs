//! Clients that must live, over websockets and HTTP/2: rows 45, L4, L5 and L10 to L12.

use std::time::{Duration, Instant};

use flate2::{Compress, Compression, FlushCompress};
use tokio::time::sleep;

use super::{Result, http2, millis, say, websocket};
use crate::gauntlet::frames::{
    COMPRESSED, END_HEADERS, END_STREAM, FIN, HEADERS, TEXT, UPGRADE, UPGRADE_DEFLATE, WS_PONG,
    block, frame, get, head, message, rst_stream,
};
use crate::gauntlet::link::Link;
use crate::gauntlet::peer::Peer;

/// Answers the pings that came meanwhile.
async fn answer_pings(link: &mut Link, answered: &mut u64) {
    while *answered < link.notes.pings {
        *answered += 1;
        link.send(message(FIN | WS_PONG, b"")).await;
    }
}

/// Answers pings and says nothing.
pub(in crate::gauntlet) async fn quiet(peer: Peer) -> Result {
    let mut link = websocket::open(peer.websocket().await?, UPGRADE).await?;
    let (start, mut answered) = (Instant::now(), 0);
    while start.elapsed() < millis(4000) {
        if !link.listen(millis(50)).await {
            return Err(format!("closed with {:?}", link.notes.code).into());
        }
        answer_pings(&mut link, &mut answered).await;
    }
    if answered < 2 {
        return Err(format!("only {answered} pings came in 4 s").into());
    }
    Ok(link.seen())
}

/// A message of 300 kB at 50 kB/s, with pongs before and after it, in segments of 700 bytes.
pub(in crate::gauntlet) async fn in_pieces(peer: Peer) -> Result {
    const LENGTH: usize = 300_000;
    let mut link = websocket::open(peer.websocket_chopped(700).await?, UPGRADE).await?;
    let mut answered = 0;
    link.send(head(FIN | 2, LENGTH as u64)).await;
    for _ in 0..60 {
        link.send(vec![b'x'; LENGTH / 60]).await;
        if !link.listen(millis(100)).await {
            return Err(format!("closed with {:?}", link.notes.code).into());
        }
    }
    while link.notes.content < LENGTH as u64 {
        answer_pings(&mut link, &mut answered).await;
        link.wait("the echo", |notes| notes.content >= LENGTH as u64 || notes.pings > answered)
            .await?;
    }
    Ok(link.seen())
}

/// A thousand messages of two bytes a second, each in a write of its own.
pub(in crate::gauntlet) async fn chat(peer: Peer) -> Result {
    let mut link = websocket::open(peer.websocket().await?, UPGRADE).await?;
    let start = Instant::now();
    let mut sent = 0;
    while sent < 4000 {
        // In lumps, since a timer of this machine has a millisecond.
        for _ in 0..20 {
            link.send(message(FIN | TEXT, b"hi")).await;
            sent += 1;
        }
        let due = Duration::from_millis(sent).saturating_sub(start.elapsed());
        if !link.listen(due).await {
            return Err(format!("closed with {:?}", link.notes.code).into());
        }
    }
    link.wait("all echoes", |notes| notes.ends >= sent).await?;
    Ok(link.seen())
}

/// A browser with 90 crumbs of cookies and 15 fields.
pub(in crate::gauntlet) async fn browser(peer: Peer) -> Result {
    let mut link = http2::open(&peer, &[]).await?;
    let crumbs: Vec<_> = (0..90).map(|number| format!("crumb{number}=value{number}")).collect();
    let names: Vec<_> = (0..15).map(|number| format!("x-field-{number}")).collect();
    let cookies = crumbs.iter().map(|crumb| ("cookie", crumb.as_str()));
    let others = names.iter().map(|name| (name.as_str(), "a value"));
    let fields: Vec<_> = others.chain(cookies).collect();
    let request = block("GET", "/hello", &fields);
    link.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &request)).await;
    link.wait("an answer", |notes| !notes.statuses.is_empty()).await?;
    match link.notes.statuses[..] {
        [200] => Ok(link.seen()),
        ref other => Err(format!("answered with {other:?}").into()),
    }
}

/// Cancels 100 streams a second beside finished ones, for five seconds.
pub(in crate::gauntlet) async fn cancels(peer: Peer) -> Result {
    let mut link = http2::open(&peer, &[]).await?;
    let mut finished = 0;
    for number in 0..500 {
        let stream = 1 + number * 4;
        let bytes =
            [get(stream, "/slow/60000"), rst_stream(stream), get(stream + 2, "/hello")].concat();
        link.send(bytes).await;
        finished += 1;
        if !link.listen(millis(10)).await {
            return Err(format!("closed with {:?} after {number}", link.notes.code).into());
        }
    }
    link.wait("all answers", |notes| notes.statuses.len() >= finished).await?;
    Ok(link.seen())
}

/// Keeps its deflate context although the server forbids it: the second message refers to the first.
pub(in crate::gauntlet) async fn kept_context(peer: Peer) -> Result {
    let mut link = websocket::open(peer.websocket().await?, UPGRADE_DEFLATE).await?;
    let mut compress = Compress::new(Compression::best(), false);
    let text = b"a text that is long enough to be referred to later, and a bit longer";
    let mut parts = Vec::new();
    for _ in 0..2 {
        let mut part = Vec::with_capacity(4096);
        compress.compress_vec(text, &mut part, FlushCompress::Sync)?;
        // RFC 7692 7.2.1: without the last four bytes.
        part.truncate(part.len() - 4);
        parts.push(message(FIN | COMPRESSED | TEXT, &part));
    }
    link.send(&parts[0]).await;
    link.wait("the first echo", |notes| notes.ends >= 1).await?;
    sleep(millis(50)).await;
    say(link, &parts[1]).await
}
