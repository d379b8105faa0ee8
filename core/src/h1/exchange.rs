//! One request and its answer: all that belongs to the two, made anew for each request, so that nothing of
//! one exchange can be left for the next.

use super::body::Content;
use super::response::Asked;
use super::upload::Upload;
use crate::head::{ContentFraming, Head, MethodKind};
use crate::transport::Transport;

#[derive(Debug)]
pub(super) struct Exchange {
    /// What the request says about how its answer may be framed.
    pub(super) asked: Asked,
    /// Where in the content of the request the input stands.
    pub(super) content: Content,
    /// The application has asked for content and was given nothing since: it waits.
    pub(super) awaited: bool,
    /// Some content was delivered, so that its limit can no longer change.
    pub(super) content_begun: bool,
    /// How much of the content was discarded after an early answer.
    pub(super) discarded: u64,
    /// Credit, limit and guard of the content, if the request has any.
    pub(super) upload: Option<Box<Upload>>,
    /// The client waits for a 100 (Continue).
    pub(super) continue_owed: bool,
    /// The connection is kept after this exchange.
    pub(super) keep: bool,
    /// `send` was cut short: the application is to be told of room.
    pub(super) cut_short: bool,
}

impl Exchange {
    /// There is no request: a refusal is then written as the answer to a GET of HTTP/1.1.
    pub(super) fn none() -> Self {
        Exchange {
            asked: Asked::default(),
            content: Content::Length(0),
            awaited: false,
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
            // What follows a CONNECT may be meant for the tunnel that the application refuses.
            keep: head.persist && head.kind != MethodKind::Connect,
            ..Exchange::none()
        }
    }
}
