//! Replays the inputs that the fuzzers kept (`fuzz/corpus`), in a folder for each target.

use portcullis_play::{against, gate, play};
use portcullis_testing::watched;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Plays each file of a target's corpus, and names those that fail.
fn replay(target: &str, play: impl Fn(&[u8])) {
    let _watched = watched();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).expect("the corpus is part of the repository");
    let (mut played, mut failed) = (0, Vec::new());
    for file in files {
        let path = file.expect("a readable folder").path();
        let bytes = fs::read(&path).expect("a readable file");
        let result = catch_unwind(AssertUnwindSafe(|| play(&bytes)));
        if result.is_err() {
            failed.push(path);
        }
        played += 1;
    }
    assert!(failed.is_empty(), "these files fail: {failed:?}");
    assert!(played >= 20, "only {played} files in {}", folder.display());
}

#[test]
fn sessions() {
    replay("http1", |bytes| {
        play::session(bytes, None);
        play::pure(bytes);
    });
}

#[test]
fn websockets() {
    replay("websocket", |bytes| {
        play::websocket(bytes, None);
        play::websocket_pure(bytes);
    });
}

#[test]
fn tunnels() {
    replay("tunnel", |bytes| {
        play::tunnel(bytes, None);
        play::tunnel_pure(bytes);
        play::http2_tunnels(bytes, None);
    });
}

#[test]
fn websocket_cuts() {
    replay("websocket_cuts", play::websocket_cuts);
}

#[test]
fn cuts() {
    replay("cuts", play::cuts);
}

#[test]
fn http2() {
    replay("http2", |bytes| play::http2(bytes, None));
}

#[test]
fn http2_cuts() {
    replay("http2_cuts", play::http2_cuts);
}

#[test]
fn http2_client() {
    replay("http2_client", against::client);
}

#[test]
fn http2_servers() {
    replay("http2_servers", against::frames);
}

#[test]
fn calls_of_the_gate() {
    replay("gate", gate::play);
}

#[test]
fn hpack() {
    replay("hpack", against::blocks);
}
