//! One request and its answer on their way through the application.
//!
//! The handler is polled on the connection's own task, with a waker of its own. The exchange is boxed while
//! it runs, and dropped when its answer is complete.

use crate::address::Address;
use crate::allowance::Allowance;
use crate::bell::{self, Bell, Queue};
use crate::error::{BodyError, BoxError};
use crate::guard::guarded;
use crate::held::Held;
use crate::interim::Interim;
use crate::presence::Presence;
use crate::record::Record;
use crate::reply;
use crate::spare::{self, Slot};
use crate::streams::OfStream;
use crate::upgrade::Tunneling;
use crate::upload::Upload;
use crate::websocket::{CloseFrame, Closed, Meeting, Message, Messaging};
use crate::work::{Outcome, Step, Work};
use http::Response;
use portcullis::{Event, ResetReason, Stream, StreamId};
use std::mem::replace;
use std::sync::Arc;
use std::task::{Context, Waker};

/// The peer's address, among the request's extensions if the server was told to add it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub Address);

/// The application's side of one stream.
pub(crate) struct Exchange<F, B> {
    stream: StreamId,
    task: Task<F, B>,
    shares: Shares,
    /// Wakes this exchange, and no other.
    bell: Arc<Bell>,
    /// It is to be polled, although nothing has woken it.
    is_due: bool,
    /// It is being polled. If this is so afterwards, the application has panicked.
    is_polled: bool,
    /// Its stream has ended early: the next poll is the last one.
    is_reset: bool,
}

/// What the application does on the stream.
enum Task<F, B> {
    /// It answers a request.
    Request(Slot<Work<F, B>>),
    /// The request has become a websocket. The room of its first handler, which may be large, is given back.
    WebSocket(Box<Messaging>),
    /// It has become a tunnel.
    Tunnel(Box<Tunneling>),
}

impl<F, B> OfStream for Exchange<F, B> {
    #[inline]
    fn stream(&self) -> StreamId {
        self.stream
    }
}

/// What the application may hold longer than the exchange lasts, and is told of its end by.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// Where the request's content goes.
    pub(crate) upload: Option<Arc<Upload>>,
    /// Where the handler is told of the peer's end.
    pub(crate) presence: Option<Arc<Presence>>,
    /// What the application holds itself.
    pub(crate) held: Option<Held>,
    /// Where its interim answers come from.
    pub(crate) interim: Option<Interim>,
    /// What the access log and the span are told.
    pub(crate) record: Record,
}

impl Drop for Shares {
    fn drop(&mut self) {
        if let Some(presence) = self.presence.take() {
            spare::keep_presence(presence);
        }
        if let Some(upload) = self.upload.take() {
            upload.end(Err(BodyError::Closed));
        }
    }
}

impl<F, B> Exchange<F, B> {
    pub(crate) fn new(
        stream: StreamId,
        work: Slot<Work<F, B>>,
        shares: Shares,
        bell: Arc<Bell>,
    ) -> Self {
        let task = Task::Request(work);
        Exchange { stream, task, shares, bell, is_due: false, is_polled: false, is_reset: false }
    }

    /// Where its stream is noted when its handler is woken.
    pub(crate) fn queue(&self) -> &Arc<Queue> {
        self.bell.queue()
    }

    /// Whether it is to be polled, although nothing has woken it.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Whether it was being polled when the application panicked.
    pub(crate) fn is_polled(&self) -> bool {
        self.is_polled
    }

    /// Bytes that the exchange holds: content that waits for the handler or for room, and what the handler tells.
    pub(crate) fn memory(&self) -> usize {
        let upload = self.shares.upload.as_ref().map_or(0, |upload| upload.memory());
        let task = match &self.task {
            Task::Request(work) => work.as_ref().as_pin_ref().map_or(0, |work| work.memory()),
            Task::WebSocket(messaging) => messaging.meeting().memory(),
            Task::Tunnel(tunneling) => tunneling.memory(),
        };
        let held = self.shares.held.as_ref().map_or(0, Held::bytes);
        self.shares.record.memory() + upload + task + held
    }

    /// Where messages go, once the request has become a websocket.
    fn meeting(&self) -> Option<&Meeting> {
        match &self.task {
            Task::Request(_) | Task::Tunnel(_) => None,
            Task::WebSocket(messaging) => Some(messaging.meeting()),
        }
    }

    // ---- what the connection tells --------------------------------------------------------------

    /// Takes in an event of its stream. The next poll finds what it brings.
    pub(crate) fn on_event(&mut self, event: Event<'_>) {
        if let Event::Writable { .. } = event {
            // Those that are told of room are polled in the order in which they are told. The poll finds it.
            return self.bell.note();
        }
        self.is_due = true;
        match event {
            Event::Data { data, .. } => {
                if let Some(upload) = &self.shares.upload {
                    upload.push(data);
                }
            }
            Event::End { trailers, .. } => {
                if let Some(upload) = &self.shares.upload {
                    upload.end(Ok(trailers.to_http()));
                }
                if let Task::Tunnel(tunneling) = &mut self.task {
                    tunneling.input_ended();
                }
            }
            Event::Reset { reason, .. } => {
                self.is_reset = true;
                self.tell_reset(reason);
            }
            Event::Ping { payload, .. } => self.on_control(Message::Ping, payload),
            Event::Pong { payload, .. } => self.on_control(Message::Pong, payload),
            Event::Closing { code, reason, .. } => {
                if let Some(meeting) = self.meeting() {
                    meeting.end(Closed::Peer(CloseFrame { code, reason: reason.into() }));
                }
            }
            _ => {}
        }
    }

    #[cold]
    fn on_control(&self, of: fn(bytes::Bytes) -> Message, payload: &[u8]) {
        if let Some(meeting) = self.meeting() {
            meeting.tell(of(bytes::Bytes::copy_from_slice(payload)));
        }
    }

    /// Tells the application, wherever it waits, that the stream has ended early.
    #[cold]
    fn tell_reset(&mut self, reason: ResetReason) {
        self.shares.record.reset(reason);
        if let Some(presence) = &self.shares.presence {
            presence.end();
        }
        if let Some(upload) = &self.shares.upload {
            upload.end(Err(BodyError::Reset(reason)));
        }
        match &self.task {
            Task::Request(_) => {}
            Task::WebSocket(messaging) => messaging.meeting().end(Closed::Reset(reason)),
            Task::Tunnel(tunneling) => tunneling.reset(reason),
        }
    }

    /// The request has become a tunnel. Its own content, of which there is none, goes nowhere any more.
    #[cold]
    fn connected(&mut self, tunneling: Box<Tunneling>)
    where
        F: 'static,
        B: 'static,
    {
        let before = self.shares.upload.replace(tunneling.pipe().upload().clone());
        if let Some(before) = before {
            before.end(Ok(None));
        }
        // It is polled next.
        self.is_due = true;
        if let Task::Request(work) = replace(&mut self.task, Task::Tunnel(tunneling)) {
            spare::keep_box(work);
        }
    }

    /// Takes in content, which keeps `kept` bytes alive.
    pub(crate) fn on_data(&mut self, data: bytes::Bytes, kept: usize) {
        self.is_due = true;
        if let Some(upload) = &self.shares.upload {
            upload.push_shared(data, kept);
        }
    }

    /// Takes in a message of the websocket, which keeps `kept` bytes alive beside its own.
    pub(crate) fn on_message(&mut self, mut stream: Stream<'_>, message: Message, kept: usize) {
        self.is_due = true;
        if let Some(meeting) = self.meeting()
            && meeting.receive(message, kept)
        {
            let end = stream.received() + 1;
            // The stream is alive: a message came just now.
            let _ = stream.read_to(end);
        }
    }

    /// It was woken, or postponed.
    pub(crate) fn hear(&mut self) {
        self.bell.is_heard();
        self.is_due = true;
    }

    /// The turn is over before its poll. Returns whether it is to stand in the queue again, where it needs
    /// no other mark.
    pub(crate) fn postpone(&mut self) -> bool {
        replace(&mut self.is_due, false)
    }

    /// Tells the handler that the peer has sent its FIN and may be gone.
    pub(crate) fn disconnect(&self) {
        if let Some(presence) = &self.shares.presence {
            presence.leave();
        }
    }

    /// Tells the handler that the connection drains.
    pub(crate) fn drain(&self) {
        if let Some(presence) = &self.shares.presence {
            presence.drain();
        }
    }

    /// Wakes the reader of the content. A reader that still waits asks for content again; one that was
    /// dropped, or waits for something else, does not.
    pub(crate) fn ask_reader(&mut self) {
        self.is_due = true;
        if let Some(upload) = &self.shares.upload {
            upload.ask_reader();
        }
    }

    /// Whether the reader has asked for content since it was woken. A request without content has none.
    pub(crate) fn is_read(&self) -> bool {
        self.shares.upload.as_ref().is_none_or(|upload| upload.is_read())
    }

    // ---- its end --------------------------------------------------------------------------------

    /// The handler has panicked. Returns whether the exchange goes on: a websocket still sends what its
    /// handler has left to be sent.
    #[cold]
    pub(crate) fn panicked(&mut self) -> bool {
        (self.is_polled, self.is_due) = (false, true);
        match &mut self.task {
            Task::Request(_) | Task::Tunnel(_) => false,
            Task::WebSocket(messaging) => messaging.panicked(),
        }
    }

    /// The handler has panicked, and its stream was given up. `is_answered` says whether by a 500.
    #[cold]
    pub(crate) fn given_up(&mut self, is_answered: bool) {
        self.shares.record.failed(is_answered);
    }

    /// Ends the exchange: drops the handler, and tells the reader of the content. The box is left for the
    /// next exchange.
    pub(crate) fn end(self)
    where
        F: 'static,
        B: 'static,
    {
        let Exchange { task, shares, bell, .. } = self;
        let within = shares.record.enter();
        // The handler goes first, since it may hold its presence and its waker. Dropping it may panic.
        let _ = guarded(|| match task {
            Task::Request(work) => spare::keep_box(work),
            Task::WebSocket(messaging) => drop(messaging),
            Task::Tunnel(tunneling) => drop(tunneling),
        });
        drop(within);
        bell::spare::keep(bell);
        drop(shares);
    }
}

impl<F, B> Exchange<F, B>
where
    F: Future<Output = Result<Response<B>, BoxError>> + 'static,
    B: http_body::Body<Error: Into<BoxError>> + 'static,
{
    /// Lets the application work as far as it can. Returns whether the exchange is over. The connection has
    /// `handlers` exchanges.
    pub(crate) fn poll(
        &mut self,
        mut stream: Stream<'_>,
        allowance: &mut Allowance,
        handlers: usize,
    ) -> bool {
        (self.is_due, self.is_polled) = (false, true);
        let waker = Waker::from(Arc::clone(&self.bell));
        let cx = &mut Context::from_waker(&waker);
        let upload = self.shares.upload.as_deref();
        let _within = self.shares.record.enter();
        let (record, interim) = (&mut self.shares.record, self.shares.interim.as_ref());
        let presence = self.shares.presence.as_deref();
        let mut step =
            Step { stream: &mut stream, upload, interim, presence, allowance, handlers, record };
        let outcome = loop {
            let polled = match &mut self.task {
                Task::WebSocket(messaging) => messaging.poll(cx, step.stream, step.allowance),
                Task::Tunnel(tunneling) => {
                    tunneling.poll(cx, step.stream, step.allowance, step.record)
                }
                Task::Request(work) => match work.as_mut().as_pin_mut() {
                    Some(work) => work.poll(cx, &mut step),
                    None => Outcome::Over,
                },
            };
            match polled {
                Outcome::Upgraded(messaging) => {
                    if let Task::Request(work) = replace(&mut self.task, Task::WebSocket(messaging))
                    {
                        spare::keep_box(work);
                    }
                }
                outcome => break outcome,
            }
        };
        self.is_polled = false;
        if self.is_reset {
            return true;
        }
        match outcome {
            Outcome::Over => {
                self.shares.record.complete();
                return true;
            }
            Outcome::Yields => self.is_due = true,
            Outcome::Connected(tunneling) => self.connected(tunneling),
            Outcome::Waits | Outcome::Upgraded(_) => {}
        }
        // Passes on what the reader of the content asked for, here or on another task.
        reply::pass_wishes(&mut stream, self.shares.upload.as_deref(), cx, handlers);
        false
    }
}
