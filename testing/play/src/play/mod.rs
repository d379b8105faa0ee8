//! Plays arbitrary bytes against a connection, and asserts the invariants after every call.
//!
//! In: bytes of a property test, a fuzzer or the corpus. Out: nothing, or a panic that names the
//! invariant. All three share these functions, so that each can repeat what another one finds.
//!
//! | function | invariants |
//! |---|---|
//! | [`session`] | deadline, memory, nothing lost, reason |
//! | [`pure`] | pure |
//! | [`cuts`] | cuts |
//! | [`websocket`] | deadline, memory, nothing lost, reason; on a websocket, most of the time |
//! | [`websocket_pure`] | pure |
//! | [`websocket_cuts`] | cuts |
//! | [`tunnel`] | deadline, memory, nothing lost, reason; on a tunnel, most of the time |
//! | [`tunnel_pure`] | pure |
//! | [`http2`] | deadline, memory, nothing lost, reason; on HTTP/2 |
//! | [`http2_tunnels`] | the same, with tunnels on its streams |
//! | [`http2_cuts`] | cuts |
//! | [`same`], [`http2_same`] | cuts, between plaintext and TLS |
//! | [`alive()`] | alive: requests and websockets, with and without TLS |
//!
//! | files | contents |
//! |---|---|
//! | `http_input`, `http2_frames`, `websocket_frames` | the peer's input |
//! | `http2_session`, `http2_sockets`, `http2_tunnels` | sessions of HTTP/2, and websockets and tunnels on its streams |
//! | `http_actions`, `websocket_actions` | the application's actions |
//! | `http_answers`, `websocket_output` | the expected output |
//! | `model`, `websocket_model` | what has to hold after every call |
//! | `http_eager`, `websocket_echo` | an application that answers at once, to compare cuts |
//! | `player`, `settings`, `source` | a session in the order that the bytes describe |
//! | `alive`, `peer`, `chance`, `link` | a live peer behind a random network |

mod alive;
pub mod chance;
pub mod http2_frames;
mod http2_session;
mod http2_sockets;
mod http2_tunnels;
mod http_actions;
mod http_answers;
mod http_eager;
mod http_input;
pub mod link;
mod model;
mod peer;
mod player;
pub mod settings;
mod source;
mod websocket_actions;
mod websocket_echo;
pub mod websocket_frames;
mod websocket_model;
pub mod websocket_output;

pub use alive::alive;
pub use http_eager::{Manner, Told, compare, told};
pub use http2_session::{http2, http2_cuts, http2_same, http2_tunnels};
pub use model::unsent;
pub use websocket_echo::{Echo, Heard, Told as HeardEvent, compare_websocket, heard, left_alone};

pub use source::Source;

use portcullis::{Builder, Config, Connection, Misuse, Stream};
use std::sync::Arc;

/// Drops a connection, and returns how many bytes of heap that freed.
pub type Weigh = fn(Connection) -> usize;

/// Gives credit for `bytes` more than were delivered.
pub fn read_more(mut stream: Stream<'_>, bytes: u64) -> Result<(), Misuse> {
    let end = stream.received().saturating_add(bytes);
    stream.read_to(end)
}

/// Plays `bytes` as a session: input, time and actions of the application in any order, sensible or
/// not. At the end only time passes until the connection has closed. Or the connection is weighed,
/// if `weigh` is given.
pub fn session(bytes: &[u8], weigh: Option<Weigh>) {
    player::play(bytes, true, weigh);
}

/// The same session gives the same result twice, even if the deadline is read less often the second
/// time.
pub fn pure(bytes: &[u8]) {
    let first = player::play(bytes, true, None);
    for looks in [true, false] {
        let again = player::play(bytes, looks, None);
        assert_eq!(
            first, again,
            "pure: the same calls gave another result, deadline read each time: {looks}"
        );
    }
}

/// The input of an attacker that `bytes` describe.
pub fn stream(bytes: &[u8]) -> Vec<u8> {
    let mut source = Source::new(bytes);
    let mut wire = Vec::new();
    while !source.is_empty() && wire.len() < 2048 {
        http_input::write(&mut source, &mut wire);
    }
    wire
}

/// The first bytes describe the application, the rest is input. The output must not depend on how
/// the input is cut.
pub fn cuts(bytes: &[u8]) {
    let Talk { config, manner, wire, seed } = talk(Source::new(bytes));
    compare(&config, manner, &wire, seed);
}

/// The input of an attacker, and the connection and application that it meets.
struct Talk<M> {
    config: Arc<Config>,
    manner: M,
    wire: Vec<u8>,
    seed: u8,
}

fn talk(mut source: Source<'_>) -> Talk<Manner> {
    let config = settings::profile(&mut source);
    let manner = Manner::choose(&mut source);
    let seed = source.byte();
    let wire = stream(source.rest());
    Talk { config, manner, wire, seed }
}

/// The first byte of TLS. No plaintext begins with it.
const HANDSHAKE_RECORD: u8 = 22;

/// Input over `link` gives the same as in plaintext: content, answers, messages, and the reason of
/// the end. `transport` adds the server's side of the link.
pub fn same<L: link::Link>(
    bytes: &[u8],
    mut link: L,
    transport: impl FnOnce(Builder) -> Arc<Config>,
) {
    let mut source = Source::new(bytes);
    let is_websocket = source.below(2) == 0;
    let sealed = |config: &Arc<Config>| transport(Config::clone(config).into());
    if is_websocket {
        let Talk { config, manner, wire, seed } = websocket_talk(source);
        let next = &mut http_eager::pieces(seed, if seed % 2 == 0 { 23 } else { 5000 });
        let mut plain = heard(&config, &manner, &wire, &mut |left| left);
        let mut over =
            websocket_echo::heard_over(&sealed(&config), &manner, &wire, &mut link, next);
        for heard in [&mut plain, &mut over] {
            heard.forget_pieces();
            heard.forget_pongs();
        }
        assert_eq!(
            over,
            plain,
            "the result differs from plaintext: {:?}",
            wire.escape_ascii().to_string()
        );
        return;
    }
    let Talk { config, manner, wire, seed } = talk(source);
    if wire.first() == Some(&HANDSHAKE_RECORD) {
        return;
    }
    let next = &mut http_eager::pieces(seed, if seed % 2 == 0 { 23 } else { 5000 });
    let plain = told(&config, manner, &wire);
    let over = http_eager::run(&sealed(&config), manner, &wire, &mut link, next);
    assert_eq!(
        over,
        plain,
        "the result differs from plaintext: {:?}",
        wire.escape_ascii().to_string()
    );
}

/// Like [`session`], with a request that becomes a websocket, or may become one.
pub fn websocket(bytes: &[u8], weigh: Option<Weigh>) {
    player::play_websocket(bytes, true, weigh);
}

/// Like [`pure`], for a session of a websocket.
pub fn websocket_pure(bytes: &[u8]) {
    let first = player::play_websocket(bytes, true, None);
    for looks in [true, false] {
        let again = player::play_websocket(bytes, looks, None);
        assert_eq!(
            first, again,
            "pure: the same calls gave another result, deadline read each time: {looks}"
        );
    }
}

/// Like [`session`], with a request that becomes a tunnel most of the time.
pub fn tunnel(bytes: &[u8], weigh: Option<Weigh>) {
    player::play_tunnel(bytes, true, weigh);
}

/// Like [`pure`], for a session of a tunnel.
pub fn tunnel_pure(bytes: &[u8]) {
    let first = player::play_tunnel(bytes, true, None);
    for looks in [true, false] {
        let again = player::play_tunnel(bytes, looks, None);
        assert_eq!(
            first, again,
            "pure: the same calls gave another result, deadline read each time: {looks}"
        );
    }
}

/// Like [`cuts`], for a websocket. The first bytes describe the application, the rest is a
/// handshake, mostly a valid one, and what follows it.
pub fn websocket_cuts(bytes: &[u8]) {
    let Talk { config, manner, wire, seed } = websocket_talk(Source::new(bytes));
    compare_websocket(&config, &manner, &wire, seed);
}

fn websocket_talk(mut source: Source<'_>) -> Talk<Echo> {
    let config = settings::websocket_profile(&mut source);
    let manner = Echo::choose(&mut source, &config);
    let seed = source.byte();
    let place = source.below(3 * websocket_frames::HANDSHAKES.len());
    let mut wire =
        websocket_frames::HANDSHAKES.get(place).unwrap_or(&websocket_frames::HANDSHAKE).to_vec();
    while !source.is_empty() && wire.len() < 2048 {
        websocket_frames::write(&mut source, &mut wire);
    }
    Talk { config, manner, wire, seed }
}
