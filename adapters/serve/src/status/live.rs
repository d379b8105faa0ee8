//! What the page at `/status/` shows, as messages of its websocket.
//!
//! All pages share one message, which is made at most twice a second. So many viewers cost little more than one.
//! A page sends short probes and gets them back at once: the time that this takes is what a visitor waits.

use super::Status;
use crate::later::Sleep;
use blocking::unblock;
use bytestring::ByteString;
use futures_util::future::{Either, select};
use parking_lot::Mutex;
use portcullis::{CloseReason, Expiry, PeerClose};
use portcullis_driver::{Roster, Row, WebSocket};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// How often the page is told what is new.
const INTERVAL: Duration = Duration::from_millis(500);
/// The most connections of each phase that are shown one by one.
const SHOWN: usize = 8;

/// The groups of close reasons, by label.
static GROUPS: LazyLock<HashMap<&str, Group>> =
    LazyLock::new(|| CloseReason::all().map(|it| (it.label(), Group::of(it))).collect());

/// How a connection ended, in the eyes of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// In good order.
    Finished,
    /// It was not used any more.
    Idle,
    /// The peer broke it off.
    Left,
    /// A guard ended it.
    Dropped,
}

impl Group {
    const ALL: [Group; 4] = [Group::Finished, Group::Idle, Group::Left, Group::Dropped];

    fn of(reason: CloseReason) -> Group {
        use CloseReason::{
            Completed, Drained, Expired, MadeRoom, OtherProtocol, Peer, RequestLimit, UnreadContent,
        };
        match reason {
            Peer(PeerClose::Done | PeerClose::Unannounced) => Group::Finished,
            Completed | Drained | OtherProtocol | RequestLimit | UnreadContent => Group::Finished,
            Expired(Expiry::KeepAlive) | MadeRoom => Group::Idle,
            Peer(PeerClose::Truncated | PeerClose::Reset) => Group::Left,
            _ => Group::Dropped,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Group::Finished => "finished",
            Group::Idle => "idle",
            Group::Left => "left",
            Group::Dropped => "dropped",
        }
    }
}

/// The source of the page's messages.
pub(super) struct Live {
    status: Arc<Status>,
    sleep: Sleep,
    latest: Mutex<Option<(Instant, ByteString)>>,
}

impl Live {
    /// The most bytes of a probe.
    pub(super) const PROBE: u64 = 32;

    pub(super) fn new(status: Arc<Status>, sleep: Sleep) -> Self {
        Live { status, sleep, latest: Mutex::new(None) }
    }

    pub(super) fn status(&self) -> &Status {
        &self.status
    }

    /// Sends messages until the page leaves.
    pub(super) async fn show(self: Arc<Self>, mut websocket: WebSocket) {
        loop {
            let live = self.clone();
            // Among very many connections a look takes longer than a connection may hold up others.
            let message = unblock(move || live.message(Instant::now())).await;
            if websocket.send(message).await.is_err() {
                return;
            }
            let mut pause = (self.sleep)(INTERVAL);
            loop {
                let probe = match select(&mut pause, pin!(websocket.receive())).await {
                    Either::Left(_) => break,
                    Either::Right((Some(Ok(probe)), _)) => probe,
                    Either::Right(_) => return,
                };
                if websocket.send(probe).await.is_err() {
                    return;
                }
            }
        }
    }

    /// The message of this moment. It may be half an interval old.
    fn message(&self, now: Instant) -> ByteString {
        let mut latest = self.latest.lock();
        match &*latest {
            Some((made, message)) if now.saturating_duration_since(*made) < INTERVAL / 2 => {
                message.clone()
            }
            _ => {
                let message = ByteString::from(self.picture().to_string());
                *latest = Some((now, message.clone()));
                message
            }
        }
    }

    /// The state of the server as the page wants it.
    fn picture(&self) -> Value {
        let mut picture = self.status.counters();
        picture["groups"] = groups(&picture["closes"]);
        let memory = memory_stats::memory_stats();
        picture["resident_bytes"] = json!(memory.map(|memory| memory.physical_mem));
        let rows = self.status.roster.as_ref().map(|roster| rows(roster));
        picture["connections"] = rows.unwrap_or_default().into();
        picture
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("status", &self.status).finish_non_exhaustive()
    }
}

/// The sum of the closes of each group.
fn groups(closes: &Value) -> Value {
    let mut sums = Map::new();
    for group in Group::ALL {
        let closes = closes.as_object().into_iter().flatten();
        let of_group = closes.filter(|(label, _)| GROUPS.get(label.as_str()) == Some(&group));
        let sum: u64 = of_group.filter_map(|(_, count)| count.as_u64()).sum();
        sums.insert(group.label().to_owned(), sum.into());
    }
    sums.into()
}

/// The connections of each phase for which most is held.
fn rows(roster: &Roster) -> Vec<Value> {
    roster.largest(SHOWN).iter().map(row).collect()
}

fn row(row: &Row) -> Value {
    let deadline = row.deadline.map(|(timer, left)| json!([timer.label(), left.as_secs_f32()]));
    json!({
        "number": row.number,
        "phase": row.phase.label(),
        "age": row.age.as_secs_f32(),
        "bytes": row.bytes_held,
        "requests": row.requests,
        "deadline": deadline,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_driver::Stats;

    fn live() -> Live {
        let status = Status::new(Arc::new(Stats::new()), 1000).roster(Arc::new(Roster::new()));
        Live::new(Arc::new(status), |_| Box::pin(std::future::pending()))
    }

    #[test]
    fn all_viewers_of_one_moment_share_a_message() {
        let (live, now) = (live(), Instant::now());
        let first = live.message(now);
        let same = live.message(now + INTERVAL / 4);
        assert_eq!(same.as_ptr(), first.as_ptr());
        let later = live.message(now + INTERVAL);
        assert_ne!(later.as_ptr(), first.as_ptr());
    }

    #[test]
    fn a_message_tells_closes_by_group() {
        let closes = json!({"keep_alive": 3, "request_head": 4, "peer_reset": 5, "completed": 6});
        let expected = json!({"finished": 6, "idle": 3, "left": 5, "dropped": 4});
        assert_eq!(groups(&closes), expected);
        let none = json!({"finished": 0, "idle": 0, "left": 0, "dropped": 0});
        let message: Value = serde_json::from_str(&live().message(Instant::now())).expect("JSON");
        assert_eq!((&message["groups"], &message["connections"]), (&none, &json!([])));
        assert_eq!(message["open"], json!(0));
    }
}
