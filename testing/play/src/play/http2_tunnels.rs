//! Tunnels on streams of HTTP/2 (RFC 9113 8.5), for the sessions of `http2_session`: what the client sends on each of
//! them, the application's actions, and what has to hold.
//!
//! The bytes that the client sends arrive in order and complete. What the client takes of a stream is what the
//! application has sent, in order, and its end comes after the application's.

use super::model::{PATTERN_PERIOD, pattern};
use super::source::Source;
use crate::http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, block, frame, window_update,
};
use bytes::Bytes;
use http::StatusCode;
use portcullis::{Misuse, Stream};
use std::collections::BTreeMap;

/// One tunnel, or a stream that may become one.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    /// Bytes that the client has sent, of which byte `k` is the `k`-th of the pattern.
    said: u64,
    /// The client has sent its end.
    has_said_all: bool,
    /// Other frames were sent on the stream, or some after the end, so the bytes may be others.
    is_vague: bool,
    heard: u64,
    is_accepted: bool,
    /// Bytes that the application has sent, and the client has taken.
    sent: u64,
    taken: u64,
    /// The client has taken the end.
    is_over: bool,
    finished: bool,
    ended: bool,
    /// The application has given up on it.
    is_given_up: bool,
}

/// Every stream for which the client has asked for a tunnel, by its number.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    all: BTreeMap<u32, Tunnel>,
    /// Frames of the server, whole ones or not.
    output: Vec<u8>,
    /// What the client has sent did not arrive as it was sent.
    is_lost: bool,
}

impl Tunnels {
    // ---- the client -----------------------------------------------------------------------------

    /// HEADERS of a CONNECT.
    pub(super) fn open(&mut self, source: &mut Source<'_>, next: &mut u32) -> Vec<u8> {
        let id = *next;
        *next += 2;
        let flags = if source.below(16) == 0 { END_STREAM } else { 0 };
        let has_said_all = flags != 0;
        self.all.insert(id, Tunnel { has_said_all, ..Tunnel::default() });
        let fields = [(":method", "CONNECT"), (":authority", "a:1")];
        frame(HEADERS, END_HEADERS | flags, id, &block(&fields))
    }

    /// DATA on a stream that is a tunnel, or may become one; or more room for what it is sent.
    pub(super) fn speak(&mut self, source: &mut Source<'_>) -> Vec<u8> {
        let place = source.below(self.all.len());
        let Some((id, tunnel)) = self.all.iter_mut().nth(place) else { return Vec::new() };
        match source.below(24) {
            0 => return frame(RST_STREAM, 0, *id, &8_u32.to_be_bytes()),
            1..4 => return window_update(*id, source.size().clamp(1, 1 << 20) as u32),
            4..6 => return window_update(0, source.size().clamp(1, 1 << 20) as u32),
            _ => {}
        }
        let bytes = pattern(tunnel.said, source.size().min(5000));
        tunnel.said += bytes.len() as u64;
        tunnel.is_vague |= tunnel.has_said_all;
        let flags = if source.below(12) == 0 { END_STREAM } else { 0 };
        tunnel.has_said_all |= flags != 0;
        frame(DATA, flags, *id, bytes)
    }

    /// Other bytes were sent, which may be frames on any stream.
    pub(super) fn others(&mut self, mut bytes: &[u8]) {
        while let [a, b, c, kind, _, d, e, f, g, ..] = bytes {
            let length = 9 + u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let id = u32::from_be_bytes([*d, *e, *f, *g]) & 0x7fff_ffff;
            let Some(rest) = bytes.get(length..) else { break };
            if let (DATA, Some(tunnel)) = (*kind, self.all.get_mut(&id)) {
                tunnel.is_vague = true;
            }
            bytes = rest;
        }
        self.is_lost |= !bytes.is_empty();
    }

    /// The server did not read all that was sent.
    pub(super) fn lost(&mut self) {
        self.is_lost = true;
    }

    /// The client takes bytes of the server.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        while let [a, b, c, kind, flags, d, e, f, g, ..] = self.output[..] {
            let length = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
            if self.output.len() < length {
                break;
            }
            let id = u32::from_be_bytes([d, e, f, g]);
            let whole: Vec<u8> = self.output.drain(..length).collect();
            let accepted = self.all.get_mut(&id).filter(|it| it.is_accepted);
            if let (DATA, Some(tunnel)) = (kind, accepted) {
                tunnel.takes(&whole[9..], flags & END_STREAM != 0, id);
            }
        }
    }

    // ---- the application ------------------------------------------------------------------------

    /// Whether the stream is a tunnel.
    pub(super) fn has(&self, id: u32) -> bool {
        self.all.get(&id).is_some_and(|it| it.is_accepted)
    }

    /// Accepts the stream as a tunnel, whether it asks for one or not. Returns whether it is one from now on.
    pub(super) fn accept(&mut self, stream: &mut Stream<'_>, id: u32) -> bool {
        let accepted = stream.accept_tunnel(StatusCode::OK, []).is_ok();
        if accepted {
            let tunnel = self.all.entry(id).or_default();
            assert!(!tunnel.is_accepted, "{id} is accepted twice");
            // What was sent as a CONNECT of other frames is not known here.
            tunnel.is_vague |= tunnel.said == 0;
            tunnel.is_accepted = true;
        }
        accepted
    }

    /// The application has given up on the stream.
    pub(super) fn given_up(&mut self, id: u32) {
        if let Some(tunnel) = self.all.get_mut(&id) {
            tunnel.is_given_up = true;
        }
    }

    /// Whether a tunnel has to be there for the application; `None` for what is no tunnel.
    pub(super) fn is_there(&self, id: u32) -> Option<bool> {
        let tunnel = self.all.get(&id).filter(|it| it.is_accepted)?;
        let is_over = tunnel.finished && tunnel.ended;
        Some(!tunnel.is_given_up && !is_over)
    }

    /// An action on a tunnel. Returns whether the application takes no part any more.
    pub(super) fn act(
        &mut self,
        stream: &mut Stream<'_>,
        id: u32,
        source: &mut Source<'_>,
    ) -> bool {
        let Some(tunnel) = self.all.get_mut(&id).filter(|it| it.is_accepted) else { return false };
        match source.below(8) {
            0 => {
                let finished = stream.finish(None);
                assert!(finished.is_ok() || tunnel.finished || is_gone(finished), "{finished:?}");
                tunnel.finished |= finished.is_ok();
                false
            }
            1 if source.below(4) == 0 => {
                let closed = stream.close_tunnel();
                assert!(closed.is_ok() || is_gone(closed), "{closed:?}");
                tunnel.finished |= closed.is_ok();
                closed.is_ok()
            }
            _ => {
                let mut data = Bytes::from_static(pattern(tunnel.sent, source.size()));
                let before = data.len();
                match stream.send(&mut data) {
                    Ok(_) => {
                        assert!(!tunnel.finished || before == 0, "{id} has ended");
                        tunnel.sent += (before - data.len()) as u64;
                    }
                    Err(Misuse::TooLong { left: 0 }) => assert!(tunnel.finished),
                    Err(misuse) => assert_eq!(misuse, Misuse::UnknownStream),
                }
                false
            }
        }
    }

    /// The application is told of bytes, or of the end.
    pub(super) fn hears(&mut self, id: u32, bytes: &[u8], is_end: bool) {
        let Some(tunnel) = self.all.get_mut(&id).filter(|it| it.is_accepted) else { return };
        assert!(!tunnel.ended, "{id}: bytes after the end");
        tunnel.ended = is_end;
        if tunnel.is_vague || self.is_lost {
            return;
        }
        for byte in bytes {
            let expected = (tunnel.heard % PATTERN_PERIOD as u64) as u8;
            assert_eq!(*byte, expected, "nothing lost: byte {} of {id}", tunnel.heard);
            tunnel.heard += 1;
        }
        assert!(tunnel.heard <= tunnel.said, "{id}");
        assert!(!is_end || tunnel.heard == tunnel.said, "nothing lost: the end of {id}");
    }
}

impl Tunnel {
    fn takes(&mut self, bytes: &[u8], is_end: bool, id: u32) {
        assert!(!self.is_over, "{id}: DATA after the end");
        self.is_over = is_end;
        for byte in bytes {
            let expected = (self.taken % PATTERN_PERIOD as u64) as u8;
            assert_eq!(*byte, expected, "nothing lost: byte {} that {id} takes", self.taken);
            self.taken += 1;
        }
        assert!(self.taken <= self.sent, "{id}: more than was sent");
        assert!(!is_end || (self.finished && self.taken == self.sent), "{id}: the end");
    }
}

fn is_gone(result: Result<(), Misuse>) -> bool {
    result == Err(Misuse::UnknownStream)
}
