//! The state of one request and its answer. It is created anew for each request, so that no state of
//! one exchange leaks into the next.

use super::body::Content;
use super::response::Asked;
use super::upload::Upload;
use crate::head::{ContentFraming, Head, MethodKind};
use crate::transport::Transport;

#[derive(Debug)]
pub(super) struct Exchange {
    /// The parts of the request that decide how its answer is framed.
    pub(super) asked: Asked,
    /// The decoder of the request's content.
    pub(super) content: Content,
    /// Content was delivered, so that its limit can no longer change.
    pub(super) content_begun: bool,
    /// Bytes of content that were discarded after an early answer.
    pub(super) discarded: u64,
    /// Credit, limit and minimum rate of the content, if the request has content.
    pub(super) upload: Option<Box<Upload>>,
    /// The client waits for a 100 (Continue).
    pub(super) continue_owed: bool,
    /// The connection is kept after this exchange.
    pub(super) keep: bool,
    /// `send` took less than all data: the application is told when there is room.
    pub(super) cut_short: bool,
}

impl Exchange {
    /// Whether the application waits for content.
    pub(super) fn is_awaited(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.is_awaited())
    }

    /// The state while there is no request. A refusal is then written as if to an HTTP/1.1 GET.
    pub(super) fn none() -> Self {
        Exchange {
            asked: Asked::default(),
            content: Content::Length(0),
            content_begun: false,
            discarded: 0,
            upload: None,
            continue_owed: false,
            keep: true,
            cut_short: false,
        }
    }

    /// The exchange that begins with `head`.
    pub(super) fn new(head: &Head, transport: &Transport) -> Self {
        let has_content = head.framing != ContentFraming::Length(0);
        Exchange {
            asked: Asked { http11: head.http11, kind: head.kind },
            content: Content::new(head.framing),
            upload: has_content.then(|| Upload::new(transport)),
            continue_owed: head.expects_continue,
            // Bytes after a CONNECT may be meant for the tunnel that the application refuses.
            keep: head.persist && head.kind != MethodKind::Connect,
            ..Exchange::none()
        }
    }
}
