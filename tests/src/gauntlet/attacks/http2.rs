//! Attacks on HTTP/2: rows 47 to 60.

use super::{Result, millis, say, say_and_flood, wait};
use crate::gauntlet::Failure;
use crate::gauntlet::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADER_TABLE_SIZE, HEADERS,
    INITIAL_WINDOW_SIZE, PADDED, PING, PREFACE, PRIORITY, SETTINGS, block, frame, get, integer,
    post, rst_stream, settings, string, window_update,
};
use crate::gauntlet::link::Link;
use crate::gauntlet::peer::Peer;

/// A connection whose preface and SETTINGS are sent, and the server's SETTINGS acknowledged.
pub(super) async fn open(peer: &Peer, values: &[(u16, u32)]) -> std::result::Result<Link, Failure> {
    let mut link = peer.http2().await?;
    link.send([PREFACE, &settings(values)].concat()).await;
    link.wait("the server's SETTINGS", |notes| notes.settings).await?;
    link.send(frame(SETTINGS, ACK, 0, &[])).await;
    Ok(link)
}

/// The numbers of the client's streams.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

/// Sends what `part` makes of each next stream, 50 streams in a write, until the end.
async fn on_streams(mut link: Link, first: u32, part: impl Fn(u32) -> Vec<u8>) -> Result {
    link.count_from_now();
    let mut streams = streams().skip_while(|stream| *stream < first);
    loop {
        let bytes: Vec<u8> = streams.by_ref().take(50).flat_map(&part).collect();
        if !link.send(bytes).await || !link.listen(millis(1)).await {
            return Ok(link.seen());
        }
    }
}

pub(in crate::gauntlet) async fn rapid_reset(peer: Peer) -> Result {
    let link = open(&peer, &[]).await?;
    on_streams(link, 1, |stream| [get(stream, "/slow/60000"), rst_stream(stream)].concat()).await
}

/// A WINDOW_UPDATE of zero makes the server reset the stream.
pub(in crate::gauntlet) async fn made_you_reset(peer: Peer) -> Result {
    let link = open(&peer, &[]).await?;
    let part = |stream| [get(stream, "/slow/60000"), window_update(stream, 0)].concat();
    on_streams(link, 1, part).await
}

pub(in crate::gauntlet) async fn continuations(peer: Peer) -> Result {
    let link = open(&peer, &[]).await?;
    let first = frame(HEADERS, END_STREAM, 1, &block("GET", "/hello", &[]));
    let mut field = vec![0];
    string(&mut field, "name");
    string(&mut field, &"v".repeat(1000));
    say_and_flood(link, first, frame(CONTINUATION, 0, 1, &field)).await
}

/// Empty ones bring nothing, and end nothing.
pub(in crate::gauntlet) async fn empty_continuations(peer: Peer) -> Result {
    let link = open(&peer, &[]).await?;
    let first = frame(HEADERS, END_STREAM, 1, &block("GET", "/hello", &[]));
    say_and_flood(link, first, frame(CONTINUATION, 0, 1, b"").repeat(100)).await
}

pub(in crate::gauntlet) async fn settings_flood(peer: Peer) -> Result {
    say_and_flood(open(&peer, &[]).await?, "", settings(&[]).repeat(100)).await
}

pub(in crate::gauntlet) async fn pings(peer: Peer) -> Result {
    say_and_flood(open(&peer, &[]).await?, "", frame(PING, 0, 0, &[0; 8]).repeat(100)).await
}

pub(in crate::gauntlet) async fn priorities(peer: Peer) -> Result {
    let priority = frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]);
    say_and_flood(open(&peer, &[]).await?, "", priority.repeat(100)).await
}

pub(in crate::gauntlet) async fn empty_data(peer: Peer) -> Result {
    let link = open(&peer, &[]).await?;
    say_and_flood(link, post(1, "/sink"), frame(DATA, 0, 1, b"").repeat(100)).await
}

pub(in crate::gauntlet) async fn unknown_frames(peer: Peer) -> Result {
    say_and_flood(open(&peer, &[]).await?, "", frame(0xbb, 0, 0, b"?").repeat(100)).await
}

pub(in crate::gauntlet) async fn window_updates(peer: Peer) -> Result {
    let link = open(&peer, &[]).await?;
    say_and_flood(link, get(1, "/slow/60000"), window_update(1, 1).repeat(100)).await
}

/// One entry of 4 KB in the table, and a thousand references to it in each request.
pub(in crate::gauntlet) async fn bomb(peer: Peer) -> Result {
    let link = open(&peer, &[]).await?;
    let mut entry = block("GET", "/hello", &[]);
    entry.push(0x40);
    string(&mut entry, "huge");
    string(&mut entry, &"v".repeat(4000));
    let references = [block("GET", "/hello", &[]), vec![0x80 | 62; 8000]].concat();
    let flags = END_HEADERS | END_STREAM;
    let mut link = link;
    link.send(frame(HEADERS, flags, 1, &entry)).await;
    link.send(frame(HEADERS, flags, 3, &references)).await;
    link.wait("two answers", |notes| notes.statuses.len() + notes.resets as usize >= 2).await?;
    Ok(link.seen())
}

/// 4,000 crumbs, each a reference to one small entry.
pub(in crate::gauntlet) async fn crumbs(peer: Peer) -> Result {
    let mut link = open(&peer, &[]).await?;
    let mut fields = block("GET", "/hello", &[]);
    // `cookie` is entry 32 of the static table; this one is remembered.
    integer(&mut fields, 0x40, 6, 32);
    string(&mut fields, "a=b");
    fields.extend([0x80 | 62; 4000]);
    link.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields)).await;
    link.wait("an answer", |notes| !notes.statuses.is_empty() || notes.resets > 0).await?;
    Ok(link.seen())
}

/// A hundred large files, and a window that never opens.
pub(in crate::gauntlet) async fn closed_window(peer: Peer) -> Result {
    let mut link = open(&peer, &[(INITIAL_WINDOW_SIZE, 0)]).await?;
    link.count_from_now();
    let requests = streams().take(100).flat_map(|stream| get(stream, "/bytes/1000000000"));
    link.send(requests.collect::<Vec<_>>()).await;
    link.until_end().await;
    Ok(link.seen())
}

/// The same, and each window opens by a byte now and then.
pub(in crate::gauntlet) async fn window_crumbs(peer: Peer) -> Result {
    let mut link = open(&peer, &[(INITIAL_WINDOW_SIZE, 0)]).await?;
    link.count_from_now();
    let ten = || streams().take(10);
    let requests = ten().flat_map(|stream| get(stream, "/bytes/1000000000"));
    link.send(requests.collect::<Vec<_>>()).await;
    let updates: Vec<u8> = ten().flat_map(|stream| window_update(stream, 1)).collect();
    // Once the streams are gone, updates would only keep the connection busy.
    while link.notes.resets < 10 && link.send(&updates).await && link.listen(millis(200)).await {}
    link.until_end().await;
    Ok(link.seen())
}

/// Ten uploads of a byte each 200 ms beside requests that are healthy.
pub(in crate::gauntlet) async fn slow_streams(peer: Peer) -> Result {
    let mut link = open(&peer, &[]).await?;
    link.send(streams().take(10).flat_map(|stream| post(stream, "/sink")).collect::<Vec<_>>())
        .await;
    let start = std::time::Instant::now();
    let mut slow: Vec<u8> = Vec::new();
    streams().take(10).for_each(|stream| slow.extend(frame(DATA, 0, stream, b"x")));
    let (mut healthy, mut asked) = (21, 0);
    while start.elapsed() < millis(3500) {
        let mut bytes = get(healthy, "/hello");
        // The server resets them after a second; DATA on a reset stream is ignored for a while.
        if start.elapsed() < millis(1000) {
            bytes.extend(&slow);
        }
        (healthy, asked) = (healthy + 2, asked + 1);
        if !link.send(bytes).await || !link.listen(millis(200)).await {
            let code = link.notes.code;
            return Err(format!("the whole connection was closed with code {code:?}").into());
        }
    }
    let answered = link.notes.statuses.iter().filter(|status| **status == 200).count();
    let ended = link.notes.statuses.iter().filter(|status| **status == 408).count();
    match (answered == asked, ended + link.notes.resets as usize >= 10) {
        (true, true) => Ok(link.seen()),
        (false, _) => Err(format!("{answered} of {asked} healthy streams were answered").into()),
        (_, false) => Err("a slow stream was not ended".into()),
    }
}

pub(in crate::gauntlet) async fn no_stream(peer: Peer) -> Result {
    wait(open(&peer, &[]).await?).await
}

/// A hundred streams whose handlers work, and then one more again and again.
pub(in crate::gauntlet) async fn refused_streams(peer: Peer) -> Result {
    let mut link = open(&peer, &[]).await?;
    link.send(streams().take(100).flat_map(|it| get(it, "/slow/60000")).collect::<Vec<_>>()).await;
    on_streams(link, 201, |stream| get(stream, "/slow/60000")).await
}

/// DATA that is padding only.
pub(in crate::gauntlet) async fn padding(peer: Peer) -> Result {
    let link = open(&peer, &[]).await?;
    let data = frame(DATA, PADDED, 1, &[4, 0, 0, 0, 0]);
    say_and_flood(link, post(1, "/sink"), data.repeat(100)).await
}

/// An increment that exceeds the largest window.
pub(in crate::gauntlet) async fn window_overflow(peer: Peer) -> Result {
    say(open(&peer, &[]).await?, window_update(0, 0x7fff_ffff)).await
}

/// Never acknowledges the server's SETTINGS, while a handler works.
pub(in crate::gauntlet) async fn settings_unacknowledged(peer: Peer) -> Result {
    let mut link = peer.http2().await?;
    link.send([PREFACE, &settings(&[]), &get(1, "/slow/60000")].concat()).await;
    link.until_end().await;
    Ok(link.seen())
}

/// Windows and the header table change for ever, while a stream is open.
pub(in crate::gauntlet) async fn settings_games(peer: Peer) -> Result {
    let link = open(&peer, &[]).await?;
    let games: Vec<u8> = [(0, 0), (0x7fff_ffff, 4096), (1, 65_536)]
        .into_iter()
        .flat_map(|(window, table)| {
            settings(&[(INITIAL_WINDOW_SIZE, window), (HEADER_TABLE_SIZE, table)])
        })
        .collect();
    say_and_flood(link, get(1, "/slow/60000"), games.repeat(30)).await
}

/// A head of which a part comes now and then.
pub(in crate::gauntlet) async fn slow_head(peer: Peer) -> Result {
    let mut link = open(&peer, &[]).await?;
    link.count_from_now();
    link.send(frame(HEADERS, END_STREAM, 1, &block("GET", "/hello", &[]))).await;
    let mut field = vec![0];
    string(&mut field, "slow");
    string(&mut field, "loris");
    link.drip(frame(CONTINUATION, 0, 1, &field), millis(200)).await;
    Ok(link.seen())
}
