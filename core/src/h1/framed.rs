//! How HTTP/1.1 frames one request and its answer. It is created anew for each request, with the exchange.

use super::body::Content;
use super::response::Framing;
use crate::head::{Head, MethodKind};

#[derive(Debug)]
pub(super) struct Framed {
    /// The decoder of the request's content.
    pub(super) content: Content,
    /// Bytes of content that were discarded after an early answer.
    pub(super) discarded: u32,
    /// How the content of the answer is framed, once its head is written.
    pub(super) framing: Framing,
    /// The connection is kept after this exchange.
    pub(super) keep: bool,
}

impl Framed {
    /// The state while there is no request.
    pub(super) fn none() -> Self {
        Framed { content: Content::Length(0), discarded: 0, framing: Framing::Counted, keep: true }
    }

    /// The framing of the exchange that begins with `head`.
    pub(super) fn new(head: &Head) -> Self {
        Framed {
            content: Content::new(head.framing),
            // Bytes after a CONNECT may be meant for the tunnel that the application refuses.
            keep: head.persist && head.kind != MethodKind::Connect,
            ..Framed::none()
        }
    }

    /// Whether nothing of the request's content is left to come.
    pub(super) fn is_whole(&self) -> bool {
        self.content.is_complete() && !self.content.has_trailers()
    }
}
