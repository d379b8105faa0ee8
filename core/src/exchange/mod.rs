//! One request and its answer: the semantics that all versions of HTTP share (RFC 9110).
//!
//! In: a head that was read, content that arrives, and the application's actions. Out: whether an action is
//! allowed, how much it may send, and until when the peer has to move. A protocol owns an [`Exchange`] for
//! each request, and frames its messages.
//!
//! | room | what it does |
//! |---|---|
//! | `state` | the table of an answer's states |
//! | `upload` | credit, limit and minimum rate of a request's content |
//! | `answer` | the rules for the fields, the status and the length of an answer; the text of a refusal |
//! | `fields` | which fields may stand where |
//! | `grammar`, `target` | the bytes of names, values, hosts and targets |

pub(crate) mod answer;
pub(crate) mod fields;
pub(crate) mod grammar;
mod state;
pub(crate) mod target;
mod upload;

use crate::close::Misuse;
use crate::head::{ContentFraming, Head, MethodKind};
use crate::time::Tick;
use crate::transport::Transport;
use bytes::Bytes;
use core::mem::replace;
use core::time::Duration;
use http::Version;
pub(crate) use state::{Left, Sending};
pub(crate) use upload::{Pace, Upload};

/// The most memory that a request with content needs, apart from buffers.
pub(crate) const MEMORY: usize = size_of::<Upload>();

/// The parts of the request that decide how its answer is framed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) http11: bool,
    pub(crate) kind: MethodKind,
    /// The client asks to leave HTTP on this connection (RFC 9110 7.8).
    pub(crate) upgrade: bool,
}

impl Default for Asked {
    /// No head has been parsed: answer as to an HTTP/1.1 GET.
    fn default() -> Self {
        Asked { http11: true, kind: MethodKind::Plain, upgrade: false }
    }
}

/// The state of one request and its answer. It is created anew for each request, so that no state of one
/// exchange leaks into the next.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) asked: Asked,
    pub(crate) sending: Sending,
    /// Credit, limit and minimum rate of the content, if the request has content.
    pub(crate) upload: Option<Box<Upload>>,
    /// Content was delivered, so that its limit can no longer change.
    content_begun: bool,
    /// The client waits for a 100 (Continue).
    pub(crate) continue_owed: bool,
    /// `send` took less than all data: the application is told when there is room.
    pub(crate) cut_short: bool,
    /// The request has become a tunnel: `sending` and `upload` are its two directions.
    pub(crate) is_tunnel: bool,
}

impl Exchange {
    /// The state while there is no request. A refusal is then written as if to an HTTP/1.1 GET.
    pub(crate) fn none() -> Self {
        Exchange {
            asked: Asked::default(),
            sending: Sending::Idle,
            upload: None,
            content_begun: false,
            continue_owed: false,
            cut_short: false,
            is_tunnel: false,
        }
    }

    /// The exchange that begins with `head`.
    pub(crate) fn new(head: &Head, transport: &Transport) -> Self {
        let has_content = head.framing != ContentFraming::Length(0);
        Exchange {
            asked: Asked {
                http11: head.version != Version::HTTP_10,
                kind: head.kind,
                upgrade: head.asks_for_tunnel,
            },
            sending: Sending::Owed,
            upload: has_content.then(|| Upload::new(transport)),
            continue_owed: head.expects_continue,
            ..Exchange::none()
        }
    }

    // ---- the answer -----------------------------------------------------------------------------

    /// Whether the application owes an answer, or the rest of one.
    pub(crate) fn is_owed(&self) -> bool {
        matches!(self.sending, Sending::Owed | Sending::Content(_))
    }

    /// Fails if the exchange has ended.
    pub(crate) fn check(&self) -> Result<(), Misuse> {
        let goes_on =
            matches!(self.sending, Sending::Owed | Sending::Content(_) | Sending::Finished);
        if goes_on { Ok(()) } else { Err(Misuse::UnknownStream) }
    }

    /// Fails unless the head of the answer is owed.
    pub(crate) fn check_owed(&self) -> Result<(), Misuse> {
        match self.sending {
            Sending::Owed => Ok(()),
            Sending::Content(_) | Sending::Finished => Err(Misuse::AlreadyAnswered),
            Sending::Idle | Sending::Done | Sending::Closed => Err(Misuse::UnknownStream),
        }
    }

    /// Fails unless content of the answer may be sent. Returns how much is left.
    pub(crate) fn check_content(&self) -> Result<Left, Misuse> {
        self.check()?;
        match self.sending {
            Sending::Content(left) => Ok(left),
            Sending::Finished => Err(Misuse::TooLong { left: 0 }),
            _ => Err(Misuse::NotAnswered),
        }
    }

    /// Takes from the front of `data` what fits into `free` bytes, to be sent as content. If that is not
    /// all, the application is told when there is room.
    pub(crate) fn take_content(&mut self, data: &mut Bytes, free: usize) -> Result<Bytes, Misuse> {
        let left = self.check_content()?;
        let taken = free.min(data.len());
        if let Left::Exactly(left) = left {
            let after = left.checked_sub(data.len() as u64).ok_or(Misuse::TooLong { left })?;
            let after = after + (data.len() - taken) as u64;
            self.sending.become_next(Sending::Content(Left::Exactly(after)));
        }
        self.cut_short |= taken < data.len();
        Ok(data.split_to(taken))
    }

    /// Fails unless the answer may end now.
    pub(crate) fn check_complete(&self) -> Result<(), Misuse> {
        match self.check_content()? {
            Left::Exactly(missing) if missing > 0 => Err(Misuse::TooShort { missing }),
            Left::Exactly(_) | Left::Unknown => Ok(()),
        }
    }

    // ---- the tunnel ----------------------------------------------------------------------------

    /// The request becomes a tunnel. `has_input`: the peer may send on.
    pub(crate) fn begin_tunnel(&mut self, transport: &Transport, has_input: bool) {
        self.sending.become_next(Sending::Content(Left::Unknown));
        self.upload = has_input.then(|| Upload::of_tunnel(transport));
        (self.is_tunnel, self.content_begun, self.continue_owed) = (true, true, false);
    }

    /// The application ends its direction. Returns whether the peer's goes on.
    pub(crate) fn finish_tunnel(&mut self) -> Result<bool, Misuse> {
        self.check_content()?;
        let goes_on = self.upload.is_some();
        self.sending.become_next(if goes_on { Sending::Finished } else { Sending::Done });
        self.cut_short = false;
        Ok(goes_on)
    }

    /// Bytes have passed through the tunnel.
    pub(crate) fn moved(&mut self) {
        if let Some(upload) = &mut self.upload {
            upload.moved();
        }
    }

    // ---- the content of the request -------------------------------------------------------------

    /// Whether the application waits for content.
    pub(crate) fn is_awaited(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.is_awaited())
    }

    /// The application takes content up to byte `end`. Returns whether a 100 (Continue) is to be sent: the
    /// client may wait for it, and this is the first time that the application asks.
    pub(crate) fn grant(&mut self, end: u64) -> bool {
        let waits = self.upload.as_mut().is_some_and(|upload| upload.grant(end));
        waits && self.sending == Sending::Owed && replace(&mut self.continue_owed, false)
    }

    /// The application no longer waits for content.
    pub(crate) fn cancel(&mut self, transport: &Transport) {
        if let Some(upload) = &mut self.upload {
            upload.cancel(transport);
        }
    }

    /// Bytes of content that were delivered.
    pub(crate) fn received(&self) -> u64 {
        self.upload.as_ref().map_or(0, |upload| upload.delivered())
    }

    /// Sets the limit of the content.
    pub(crate) fn limit_content(&mut self, limit: Option<u64>) -> Result<(), Misuse> {
        self.check()?;
        if self.content_begun {
            return Err(Misuse::ContentBegun);
        }
        if let Some(upload) = &mut self.upload {
            upload.limit = limit.unwrap_or(u64::MAX);
        }
        Ok(())
    }

    /// Sets the time for the whole content.
    pub(crate) fn limit_content_time(
        &mut self,
        time: Option<Duration>,
        now: Tick,
    ) -> Result<(), Misuse> {
        self.check()?;
        if let Some(upload) = &mut self.upload {
            upload.limit_time(time, now);
        }
        Ok(())
    }

    /// Whether `bytes` of content that the peer has announced exceed the limit.
    #[inline(always)]
    pub(crate) fn exceeds_limit(&self, bytes: u64) -> bool {
        self.upload.as_ref().is_some_and(|upload| bytes > upload.limit)
    }

    /// Content was delivered. What it earns, the protocol knows.
    pub(crate) fn deliver(&mut self, transport: &Transport, bytes: usize) {
        self.content_begun = true;
        // The client sends without waiting for the 100.
        self.continue_owed = false;
        if let Some(upload) = &mut self.upload {
            upload.deliver(transport, bytes);
        }
    }
}
